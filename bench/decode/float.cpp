// SPDX-License-Identifier: MIT
#include "decode/rows.hpp"

void bench::add_float_rows(const DecodeChoice& choice) { add_rows_of<float>(choice, "float"); }
