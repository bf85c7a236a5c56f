// SPDX-License-Identifier: MIT
#include "decode/rows.hpp"

#include <posenc/eigen.hpp>

void bench::add_float16_rows(const DecodeChoice& choice) {
  add_rows_of<Eigen::half>(choice, "float16");
}
