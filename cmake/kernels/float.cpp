// SPDX-License-Identifier: MIT
//
// The kernels for tensors of float, compiled once for all files of a program: see POSENC_KERNELS in
// core/abi.hpp.
#define POSENC_KERNELS_SOURCE
#define POSENC_DETAIL_FLOAT template
#define POSENC_DETAIL_DOUBLE extern template
#define POSENC_DETAIL_BFLOAT16 extern template
#define POSENC_DETAIL_FLOAT16 extern template

#include <posenc/attention/backward/ragged.hpp>
#include <posenc/attention/decode.hpp>
#include <posenc/attention/key_weights.hpp>
#include <posenc/cache/rerotate.hpp>
#include <posenc/rotate/rotations.hpp>
