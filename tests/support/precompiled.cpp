// SPDX-License-Identifier: MIT
//
// The file for which the header is precompiled; all test programs share it.
#include "precompiled.hpp"
