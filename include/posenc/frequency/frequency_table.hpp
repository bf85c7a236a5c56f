// SPDX-License-Identifier: MIT
//
// FrequencyTable: any frequencies at all, a number per pair.
//
//   w'_i = inv_freq[i]
//
// For schemes that this library does not name, searched or learned tables, and for repeating
// exactly what another program computed: every scheme ends as such a table and an attention factor.
// It replaces the table so far. The base in force stays, though it no longer says anything about
// the frequencies, so schemes that ask for it (the index ramp of YaRN) belong before this one.
#pragma once

#include <posenc/core/concepts.hpp>

#include <cmath>
#include <string_view>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// One finite value per rotary pair: positive, or also zero (a pair that does not turn).
inline void check_pair_list(Problems& problems, std::string_view name,
                            const std::vector<double>& list, Index pairs, bool zero_allowed) {
  const Index size = static_cast<Index>(list.size());
  problems.require(size == pairs, name, " must have a value per rotary pair: ", pairs,
                   " values, got ", size, ".");
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (std::isfinite(list[i]) && (list[i] > 0 || (zero_allowed && list[i] == 0))) continue;
    problems.add(name, "[", i, "] must be finite and ", zero_allowed ? "not negative" : "positive",
                 ", got ", list[i], ".");
    break;  // one example is enough
  }
}

}  // namespace detail

struct FrequencyTable {
  std::vector<double> inv_freq{};  ///< radians per token, one per rotary pair
  double attention_factor = 1;     ///< amplitude that belongs to these frequencies

  void transform(RotaryState& state) const {
    state.inv_freq = inv_freq;
    state.attention_factor *= attention_factor;
  }

  void check(Problems& problems, const RotaryState& state) const {
    detail::check_pair_list(problems, "FrequencyTable: inv_freq", inv_freq, state.pairs(), true);
    problems.require(std::isfinite(attention_factor) && attention_factor > 0,
                     "FrequencyTable: attention_factor must be positive and finite, got ",
                     attention_factor, ".");
  }
};

POSENC_NAMESPACE_END
