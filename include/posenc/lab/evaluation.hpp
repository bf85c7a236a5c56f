// SPDX-License-Identifier: MIT
//
// What a trained model makes of held-out text, at any length and read with any scheme.
//
//   const Curve curve = evaluate(weights, bound, text.held_out, {.length = 1024});
//   curve.bits        bits per byte, over whole windows that do not overlap
//   curve.last_bits   over the last bytes of each window, which have the longest context
//   curve.by_position by position, in bins
//
// Whole windows hold short contexts too, so they hide what happens at the end; the last bytes show it
// (the "early token curse" of Press et al., arXiv 2108.12409). A length-dependent scheme has the
// frequencies of the whole window for every byte of it, which generation would not have.
//
// evaluate_repeated() shows each passage twice (Su, "Transformer upgrade", 7 to 16): where a model looks back
// as far as the passage is long, the second copy costs less.
#pragma once

#include <posenc/lab/run_tasks.hpp>
#include <posenc/lab/transformer.hpp>

#include <algorithm>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace lab {

struct EvaluationOptions {
  Index length = 128;   ///< of a window
  Index bytes = 16384;  ///< to look at, at most; whole windows, at least one
  Index last = 64;      ///< bytes at the end of a window
  Index bin = 32;       ///< positions of a bin

  void check(Problems& problems) const {
    problems.require(length >= 1 && length <= Index{1} << 24,
                     "length must lie within [1, 2^24], got ", length, ".");
    problems.require(bytes >= 1, "bytes must be positive, got ", bytes, ".");
    problems.require(last >= 1, "last must be positive, got ", last, ".");
    problems.require(bin >= 1, "bin must be positive, got ", bin, ".");
  }
};

struct Curve {
  Index length = 0, windows = 0;
  double bits = 0, last_bits = 0;
  std::vector<double> by_position{};  ///< the last bin may be of fewer positions
  double keys_share = 1;              ///< of the keys that may be seen, those that were read
};

struct RepeatedCurve {
  Index length = 0, windows = 0;
  double first_bits = 0, second_bits = 0;  ///< of the passages, and of their copies
};

namespace detail {

/// Bits of every byte of windows, [window][position], and what was read of the keys.
inline std::pair<std::vector<float>, KeysRead> bits_of_windows(const Weights& weights,
                                                               const BoundScheme& scheme,
                                                               const TokenRows& rows,
                                                               const AnyExecutor& executor) {
  std::vector<float> bits(static_cast<std::size_t>(rows.tokens()));
  std::vector<KeysRead> keys(static_cast<std::size_t>(rows.sequences));
  const auto window = [&](Index i, const AnyExecutor& within) {
    const auto losses = std::span(bits).subspan(static_cast<std::size_t>(i * rows.length),
                                                static_cast<std::size_t>(rows.length));
    Pass pass(false);
    pass.forward(weights, scheme, rows.slice(i, 1), losses, within);
    keys[static_cast<std::size_t>(i)] = pass.keys_read();
  };
  // One window at a time has the threads to itself.
  if (rows.sequences < 2 * executor.concurrency())
    for (Index i = 0; i < rows.sequences; ++i) window(i, executor);
  else
    run_tasks(executor, rows.sequences, [&](Index i, Index) { window(i, Serial{}); });
  for (float& x : bits) x /= static_cast<float>(std::numbers::ln2);
  KeysRead all;
  for (const KeysRead& one : keys) all += one;
  return {std::move(bits), all};
}

/// The mean over windows and over positions [first, last).
inline double mean_bits(std::span<const float> bits, Index length, Index first, Index last) {
  double sum = 0;
  const Index windows = std::ssize(bits) / length;
  for (Index i = 0; i < windows; ++i)
    for (Index t = first; t < last; ++t)
      sum += static_cast<double>(bits[static_cast<std::size_t>(i * length + t)]);
  return sum / static_cast<double>(windows * (last - first));
}

inline void check_text(Problems& problems, std::span<const std::uint8_t> text, Index needed,
                       Index vocabulary) {
  problems.require(std::ssize(text) >= needed, "one window needs ", needed, " bytes of text, got ",
                   text.size(), ".");
  const auto beyond =
      std::find_if(text.begin(), text.end(), [&](std::uint8_t byte) { return byte >= vocabulary; });
  if (beyond != text.end())
    problems.add("byte ", static_cast<int>(*beyond), " of the text is not in a vocabulary of ",
                 vocabulary, ".");
}

}  // namespace detail

/// Windows that lie one after another from the beginning of the text. Throws Error, also where the text has no
/// window of the length and its target.
[[nodiscard]] inline Curve evaluate(const Weights& weights, const BoundScheme& scheme,
                                    std::span<const std::uint8_t> text,
                                    const EvaluationOptions& options,
                                    const AnyExecutor& executor = {}) {
  Problems problems;
  options.check(problems);
  detail::check_text(problems, text, options.length + 1, weights.shape().vocabulary);
  problems.raise_if_any("posenc::lab::evaluate");
  const Index length = options.length;
  const Index windows =
      std::max<Index>(1, std::min<Index>(options.bytes, std::ssize(text) - 1) / length);
  const auto tokens = static_cast<std::size_t>(windows * length);
  const auto [bits, keys] = detail::bits_of_windows(
      weights, scheme, {windows, length, text.first(tokens), text.subspan(1, tokens)}, executor);
  Curve curve{.length = length, .windows = windows, .keys_share = keys.share()};
  curve.bits = detail::mean_bits(bits, length, 0, length);
  curve.last_bits =
      detail::mean_bits(bits, length, std::max<Index>(0, length - options.last), length);
  for (Index at = 0; at < length; at += options.bin)
    curve.by_position.push_back(
        detail::mean_bits(bits, length, at, std::min(length, at + options.bin)));
  return curve;
}

/// Windows of a passage of half their length and its copy. Throws Error.
[[nodiscard]] inline RepeatedCurve evaluate_repeated(const Weights& weights,
                                                     const BoundScheme& scheme,
                                                     std::span<const std::uint8_t> text,
                                                     const EvaluationOptions& options,
                                                     const AnyExecutor& executor = {}) {
  Problems problems;
  options.check(problems);
  problems.require(options.length % 2 == 0, "a passage and its copy have an even length, got ",
                   options.length, ".");
  const Index length = options.length, half = length / 2;
  detail::check_text(problems, text, half, weights.shape().vocabulary);
  problems.raise_if_any("posenc::lab::evaluate_repeated");
  const Index windows = std::max<Index>(
      1, std::min<Index>(options.bytes / length, std::ssize(text) / std::max<Index>(half, 1)));
  std::vector<std::uint8_t> inputs, targets;
  for (Index i = 0; i < windows; ++i) {
    const auto passage =
        text.subspan(static_cast<std::size_t>(i * half), static_cast<std::size_t>(half));
    for (int copy = 0; copy < 2; ++copy)
      inputs.insert(inputs.end(), passage.begin(), passage.end());
    targets.insert(targets.end(), inputs.end() - length + 1, inputs.end());
    targets.push_back(passage.front());  // a third copy would begin so
  }
  const std::vector<float> bits =
      detail::bits_of_windows(weights, scheme, {windows, length, inputs, targets}, executor).first;
  return {length, windows, detail::mean_bits(bits, length, 0, half),
          detail::mean_bits(bits, length, half, length)};
}

}  // namespace lab

POSENC_NAMESPACE_END
