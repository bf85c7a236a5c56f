// SPDX-License-Identifier: MIT
//
// Long convolutions, state spaces and Hyena, compiled once for all files of a program where Eigen's unsupported FFT
// is: see POSENC_KERNELS in core/abi.hpp.
#define POSENC_KERNELS_SOURCE
#define POSENC_DETAIL_CONVOLUTION

#if __has_include(<unsupported/Eigen/FFT>)
#include <posenc/mixers/convolution.hpp>
#endif
