// SPDX-License-Identifier: MIT
//
// The kernels for tensors of bfloat16, compiled once for all files of a program: see POSENC_KERNELS in
// core/abi.hpp.
#define POSENC_KERNELS_SOURCE
#define POSENC_DETAIL_FLOAT extern template
#define POSENC_DETAIL_DOUBLE extern template
#define POSENC_DETAIL_BFLOAT16 template
#define POSENC_DETAIL_FLOAT16 extern template

#include <posenc/attention/eigen_elements.hpp>
