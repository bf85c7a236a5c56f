// SPDX-License-Identifier: MIT
//
// attend_chosen: attention over a whole sequence whose last queries see what a method chooses for each of them, as if
// they were generated token by token; those before them see all keys.
//
//   const AnyEncoding read = encoding_of_choice(problems, Quest{.budget = 1'024}, rope | Causal{}, heads);
//   const KeysRead keys = attend_chosen(Quest{.budget = 1'024}, bind(read, heads), q, k, v, out, first, executor);
//
// It puts together what docs/selection.md says of prompts: choose_blocks() with a choice of each query, the mass that a
// method may ask for, and attention under the mask of what was chosen. For measurements: a choice has no gradient.
#pragma once

#include <posenc/attention/key_weights.hpp>
#include <posenc/bind/any.hpp>
#include <posenc/mask/keys_read.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/select/choose_blocks.hpp>

#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Reads far keys at distances of its own, and chooses by what keys received within its window (InfLLM).
template <class S>
concept HasDistances = requires(const S& s) {
  s.distances();
  { s.window() } -> std::same_as<SlidingWindow>;
};

/// What each key receives from the queries of a window, [key][head].
inline std::vector<double> mass_within(const AnyBound& window, TensorView<const float> q,
                                       TensorView<const float> k, const AnyExecutor& executor) {
  const auto rows = static_cast<std::size_t>(q.tokens * q.heads);
  std::vector<float> out(rows * static_cast<std::size_t>(q.width)), lse(rows);
  // Only the log-sum-exps are wanted: keys stand for the values.
  attention(q, k, k, TensorView<float>(out.data(), q.tokens, q.heads, q.width), window,
            {.lse = lse, .executor = executor});
  std::vector<double> mass(static_cast<std::size_t>(k.tokens * q.heads));
  key_weights(q, k, std::span<const float>(lse), std::span<double>(mass), 1, window,
              {.executor = executor});
  return mass;
}

}  // namespace detail

/// What an encoding is where a method chooses: its own distances join it. Reports what the method cannot choose by.
template <KeySelector S>
[[nodiscard]] AnyEncoding encoding_of_choice(Problems& problems, const S& selector,
                                             AnyEncoding encoding, const BindOptions& heads) {
  const AnyBound own = bind(encoding, heads);
  Problems reported;
  if constexpr (detail::HasDistances<S>) {
    reported.require(
        !own.has_distance_map(), S::name,
        " reads far keys at a distance of its own: it does not go with an encoding that has a "
        "distance map.");
    if (reported.empty() && own.has_rotary()) encoding |= selector.distances();
  }
  if (reported.empty()) detail::check_selector(reported, selector, bind(encoding, heads).answers());
  for (const std::string& sentence : reported.sentences()) problems.add(sentence);
  return encoding;
}

/// q, k and v are of one sequence; its queries from `first` on choose. `full` is what encoding_of_choice() gives, bound.
/// Says what those who choose have read. Throws Error.
template <KeySelector S>
KeysRead attend_chosen(const S& selector, const AnyBound& full, TensorView<const float> q,
                       TensorView<const float> k, TensorView<const float> v, TensorView<float> out,
                       Index first, const AnyExecutor& executor = {}) {
  attention(q.slice(0, first), k.slice(0, first), v.slice(0, first), out.slice(0, first), full,
            {.executor = executor});
  const auto under = [&](const auto& mask) {
    AnyEncoding encoding = full.encoding();
    encoding |= mask;
    return bind(encoding, full.options());
  };
  ChooseOptions options{.executor = executor};
  std::vector<double> mass;
  if constexpr (detail::HasDistances<S>) {
    mass = detail::mass_within(under(selector.window()), q, k, executor);
    options.mass = mass;
  }
  const Index n = q.tokens - first;
  const ChosenBlocks chosen = choose_blocks(q.slice(first, n), k, selector, full, options);
  attention(q.slice(first, n), k, v, out.slice(first, n), under(chosen), {.executor = executor});
  return keys_read(chosen.sets());
}

POSENC_NAMESPACE_END
