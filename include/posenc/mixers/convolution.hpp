// SPDX-License-Identifier: MIT
//
// Mixers with long convolutions: S4, S4D and Hyena, and the convolution itself. An optional face: where posenc::kernels
// is not linked, it needs Eigen's unsupported FFT (Debian: libeigen3-dev has it).
#pragma once

#include <posenc/mixers/convolution/backward.hpp>
#include <posenc/mixers/convolution/hippo.hpp>
#include <posenc/mixers/convolution/hyena.hpp>
#include <posenc/mixers/convolution/hyena_backward.hpp>
#include <posenc/mixers/convolution/hyena_filter.hpp>
#include <posenc/mixers/convolution/hyena_filter_backward.hpp>
#include <posenc/mixers/convolution/long_convolution.hpp>
#include <posenc/mixers/convolution/s4.hpp>
#include <posenc/mixers/convolution/s4d.hpp>
#include <posenc/mixers/convolution/s4d_backward.hpp>
#include <posenc/mixers/convolution/state_space.hpp>
