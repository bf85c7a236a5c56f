// SPDX-License-Identifier: MIT
//
// The operators of the sequence mixers, compiled once for all files of a program: see POSENC_KERNELS in
// core/abi.hpp.
#define POSENC_KERNELS_SOURCE
#define POSENC_DETAIL_MIXERS
#define POSENC_DETAIL_FLOAT extern template
#define POSENC_DETAIL_DOUBLE extern template

#include <posenc/mixers/backward.hpp>
#include <posenc/mixers/mamba3.hpp>
#include <posenc/mixers/operators.hpp>
#include <posenc/mixers/rwkv4.hpp>
#include <posenc/mixers/scan_backward.hpp>
#include <posenc/mixers/selective_scan.hpp>
#include <posenc/mixers/short_convolution.hpp>
#include <posenc/mixers/short_convolution_backward.hpp>
#include <posenc/mixers/token_shift.hpp>
#include <posenc/mixers/token_shift_backward.hpp>
