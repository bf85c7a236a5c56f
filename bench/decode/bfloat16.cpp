// SPDX-License-Identifier: MIT
#include "decode/rows.hpp"

#include <posenc/eigen.hpp>

void bench::add_bfloat16_rows(const DecodeChoice& choice) {
  add_rows_of<Eigen::bfloat16>(choice, "bfloat16");
}
