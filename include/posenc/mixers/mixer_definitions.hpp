// SPDX-License-Identifier: MIT
//
// What every recurrence must be; see mixer.hpp.
#pragma once

#include <posenc/core/arena.hpp>
#include <posenc/mixers/mixer.hpp>

#include <algorithm>
#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// The delta rule has beta for the strength with which a token writes: a rule that also gives factors of keys would erase
/// by one key and write another.
POSENC_DETAIL_MIXERS void check_factors(Problems& problems, const Recurrence& of) {
  constexpr Index tokens = 16;
  const Index row = of.decay == Decay::channel ? detail::round_up(of.shape.key_dim, 16) : 1;
  for (Index head = 0; head < of.shape.heads; ++head) {
    std::vector<float> decay(static_cast<std::size_t>(tokens * row)), write(tokens, 1.0F);
    for (std::size_t i = 0; i < decay.size(); ++i)
      decay[i] = 0.25F * static_cast<float>(i % 17) - 2;
    of.rule(of, head, tokens, row, decay.data(), write.data());
    for (const float factor : write)
      if (factor != 1)
        return problems.add(
            "a rule of a delta recurrence leaves the factors of keys at 1, since beta says how "
            "strongly a token writes, but this one made a factor ",
            factor, ".");
  }
}

POSENC_DETAIL_MIXERS void Mixer::finish() {
  const auto& [heads, key_heads, key_dim, value_dim] = recurrence_.shape;
  Problems problems;
  problems.require(heads >= 1 && key_dim >= 1 && value_dim >= 1,
                   "heads, key_dim and value_dim must be at least 1, got ", heads, ", ", key_dim,
                   " and ", value_dim, ".");
  problems.require(key_heads >= 1 && heads % key_heads == 0,
                   "the number of heads must be a multiple of that of heads of keys, got ", heads,
                   " and ", key_heads, ".");
  problems.raise_if_any(who(name_));
  const auto size = [&](const char* what, Index got, Index wanted) {
    problems.require(got == 0 || got == wanted, what, " must have ", wanted, " numbers, got ", got,
                     ".");
  };
  size("the constant decay", std::ssize(recurrence_.log_decay), heads * recurrence_.decay_width());
  size("the bonus", std::ssize(recurrence_.bonus), heads * key_dim);
  problems.require(
      !recurrence_.keeps_sum || recurrence_.bonus.empty(),
      "a mixer with a bonus keeps no sum: what its own token adds to it is not defined.");
  problems.require(!recurrence_.delta || (recurrence_.bonus.empty() && recurrence_.skip.empty() &&
                                          !recurrence_.keeps_sum),
                   "the delta rule goes with no bonus, skip or sum.");
  problems.require(!recurrence_.removal ||
                       (recurrence_.delta && recurrence_.decay == Decay::channel),
                   "a removal vector goes with the delta rule and decays by channel.");
  if (recurrence_.delta && recurrence_.rule && recurrence_.decays_by_token())
    check_factors(problems, recurrence_);
  size("the skip", std::ssize(recurrence_.skip), heads);
  for (const double x : recurrence_.log_decay)
    if (!(x <= 0)) {
      problems.add("a decay must be within [0, 1], got exp(", x, ").");
      break;
    }
  for (const std::vector<float>* values : {&recurrence_.bonus, &recurrence_.skip})
    for (const float x : *values)
      if (!std::isfinite(x)) {
        problems.add("parameters must be finite, got ", x, ".");
        break;
      }
  problems.raise_if_any(who(name_));
  for (const double x : recurrence_.log_decay) log_decays_.push_back(static_cast<float>(x));
  if (!recurrence_.log_decay.empty())
    recurrence_.least_log_decay = *std::ranges::min_element(recurrence_.log_decay);
  const Index row = detail::round_up(key_dim, 16);
  if (!recurrence_.decays_by_token()) {
    const Index width = recurrence_.decay_width();
    for (Index i = 0; i < heads * row; ++i) {
      const Index head = i / row, channel = i % row;
      const bool decays = width == 1 || channel < width;
      const double x =
          decays ? recurrence_.log_decay[static_cast<std::size_t>(head * width + channel % width)]
                 : 0;
      const bool near_one = x > std::log(0.5);
      keep_.push_back(near_one ? 1 : 0);
      change_.push_back(static_cast<float>(near_one ? std::expm1(x) : std::exp(x)));
    }
  }
  if (recurrence_.reads_before())
    for (Index i = 0; i < heads * row; ++i)
      bonus_.push_back(
          i % row < key_dim
              ? recurrence_.bonus[static_cast<std::size_t>(i / row * key_dim + i % row)]
              : 0);
}

}  // namespace mixers

POSENC_NAMESPACE_END
