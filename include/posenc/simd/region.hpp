// SPDX-License-Identifier: MIT
//
// Regions: code compiled for more than the program's baseline.
//
//   POSENC_REGION_BEGIN("avx2,fma,f16c")
//   ... function definitions ...
//   POSENC_REGION_END
//
// Functions, templates, members and lambdas defined between the two lines may use the instructions
// named (friend functions defined within a class may not: GCC 12 passes them over). Only leaves of
// the matching level belong here. Clang drops a whole attribute when it does not know one word of
// it, and only warns: here that is an error.
#pragma once

#define POSENC_DETAIL_PRAGMA(...) _Pragma(#__VA_ARGS__)

#if defined(__clang__)
#define POSENC_REGION_BEGIN(isa)                                                              \
  _Pragma("clang diagnostic push") _Pragma("clang diagnostic error \"-Wignored-attributes\"") \
      POSENC_DETAIL_PRAGMA(                                                                   \
          clang attribute push(__attribute__((target(isa))), apply_to = function))
#define POSENC_REGION_END _Pragma("clang attribute pop") _Pragma("clang diagnostic pop")
#elif defined(__GNUC__)
// The intrinsics of GCC 12 leave operands undefined on purpose, and its warnings take that for a
// mistake of the caller.
#define POSENC_REGION_BEGIN(isa)                                                              \
  _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wuninitialized\"")        \
      _Pragma("GCC diagnostic ignored \"-Wmaybe-uninitialized\"") _Pragma("GCC push_options") \
          POSENC_DETAIL_PRAGMA(GCC target(isa))
#define POSENC_REGION_END _Pragma("GCC pop_options") _Pragma("GCC diagnostic pop")
#endif
