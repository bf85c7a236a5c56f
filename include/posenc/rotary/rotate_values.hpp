// SPDX-License-Identifier: MIT
//
// RotateValues: rotary position on values, undone on the output.
//
//   Su, "the second RoPE", kexue.fm/archives/10862; DeepSeek-V4 does it because its keys and values
//   are one shared vector.
//
//   o_n = R_n^T sum_m a_nm R_m v_m = sum_m a_nm R_(m-n) v_m
//
// so each value arrives rotated by its distance to the query. Erratum of common write-ups: without
// the inverse on the output this would be absolute position, not relative. The rotation is unitary:
// an attention factor (YaRN) acts on scores only.
#pragma once

#include <posenc/core/concepts.hpp>

POSENC_NAMESPACE_BEGIN

struct RotateValues {
  static constexpr bool rotates_values = true;
};

POSENC_NAMESPACE_END
