// SPDX-License-Identifier: MIT
#include <posenc/posenc.hpp>
