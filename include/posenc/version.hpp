// SPDX-License-Identifier: MIT
//
// The version of posenc. CMake reads the three numbers from this file, so they stand only here.
#pragma once

#define POSENC_VERSION_MAJOR 0
#define POSENC_VERSION_MINOR 1
#define POSENC_VERSION_PATCH 0
