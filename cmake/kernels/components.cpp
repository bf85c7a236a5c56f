// SPDX-License-Identifier: MIT
//
// The library's own components, compiled once for all files of a program: see
// POSENC_KERNELS in core/abi.hpp.
#define POSENC_KERNELS_SOURCE
#define POSENC_DETAIL_COMPONENTS template

#include <posenc/bind/compiled_components.hpp>
