// SPDX-License-Identifier: MIT
//
// Checks and the loop over tokens; see token_shift.hpp.
#pragma once

#include <posenc/mixers/call.hpp>
#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/token_shift.hpp>

#include <algorithm>
#include <array>

POSENC_NAMESPACE_BEGIN

namespace detail {

POSENC_DETAIL_COLD inline void check_mix(Problems& problems, std::span<const float> mix,
                                         Index channels) {
  problems.require(std::ssize(mix) == channels, "mix must have a number for each of the ", channels,
                   " channels, got ", mix.size(), ".");
}
/// A state of token_shift(), by the name that sentences call it.
POSENC_DETAIL_COLD inline void check_token_shift_state(Problems& problems, const char* name,
                                                       const mixers::State& state, Index channels) {
  const mixers::Shape& its = state.shape();
  problems.require(its == mixers::Shape{1, 1, 1, channels} && !state.keeps_sum(), name, " is of ",
                   its.heads, " heads of [", its.key_dim, ", ", its.value_dim,
                   "] but must be that of token_shift_state(", channels, ").");
}

}  // namespace detail

namespace mixers {

POSENC_DETAIL_MIXERS void token_shift(const Operand& x, std::span<const Shifted> to,
                                      const RaggedBatch& batch, State& state,
                                      const Options& options) {
  const Index tokens = x.tokens(), channels = x.width();
  Problems problems;
  posenc::detail::check_mixer_batch(problems, batch, tokens);
  posenc::detail::check_tensor(problems, "x", x, tokens, 1, channels);
  for (const Shifted& shifted : to) {
    posenc::detail::check_mix(problems, shifted.mix, channels);
    posenc::detail::check_tensor(problems, "out", shifted.out, tokens, 1, channels);
    if (problems.empty()) posenc::detail::check_apart(problems, "out", shifted.out, {{"x", &x}});
  }
  posenc::detail::check_token_shift_state(problems, "the state", state, channels);
  posenc::detail::check_slots(problems, state, batch.sequences(), options.slots);
  problems.raise_if_any("posenc::mixers::token_shift");

  const std::size_t level = posenc::detail::level_index();
  constexpr Index most =
      256;  // channels at a time, so that the rows of all projections are at hand
  std::array<float, most> now, mixed;
  for (Index i = 0; i < batch.sequences(); ++i) {
    const Index slot = options.slots.empty() ? i : options.slots[static_cast<std::size_t>(i)];
    for (Index channel = 0; channel < channels; channel += most) {
      const Index n = std::min(most, channels - channel);
      const auto from = posenc::detail::channels_of(x.rows(level), channel, n);
      float* const last = state.matrix(slot, 0) + channel;
      for (Index t = batch.start(i); t < batch.start(i + 1); ++t) {
        from.load(t, 0, now.data());
        for (const Shifted& shifted : to) {
          const float* const mix = shifted.mix.data() + channel;
          const float *const a = shifted.of_previous ? last : now.data(), *const b =
                                                                              shifted.of_previous
                                                                                  ? now.data()
                                                                                  : last;
          for (Index c = 0; c < n; ++c)
            mixed[static_cast<std::size_t>(c)] = mix[c] * a[c] + (1 - mix[c]) * b[c];
          posenc::detail::channels_of(shifted.out.rows(level), channel, n)
              .store(t, 0, mixed.data());
        }
        std::copy_n(now.data(), n, last);
      }
    }
    state.set_tokens(slot, state.tokens(slot) + batch.tokens_of(i));
  }
}

POSENC_DETAIL_MIXERS void token_shift(const Operand& x, std::span<const Shifted> to, State& state,
                                      const Options& options) {
  const std::array<Index, 2> starts{0, std::max<Index>(0, x.tokens())};
  token_shift(x, to, RaggedBatch{.starts = starts}, state, options);
}

}  // namespace mixers

POSENC_NAMESPACE_END
