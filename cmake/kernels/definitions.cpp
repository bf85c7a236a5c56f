// SPDX-License-Identifier: MIT
//
// Functions that are no templates, compiled once for all files of a program: see
// POSENC_KERNELS in core/abi.hpp.
#define POSENC_KERNELS_SOURCE
#define POSENC_DETAIL_DEFINITION

#include <posenc/attention/call/checks.hpp>
#include <posenc/bind/any.hpp>
#include <posenc/simd/level.hpp>
