// SPDX-License-Identifier: MIT
//
// Text: bytes to train on and bytes held out.
//
//   const Text text = split(bytes, 0.1);          // the last tenth is held out
//   training.step(text_rows(text.train));
//
// generated_text() makes some where there is none: words of a small language, and passages that are copied from
// before, which a model has to look back for.
#pragma once

#include <posenc/lab/training.hpp>

#include <algorithm>
#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace lab {

struct Text {
  std::vector<std::uint8_t> train{}, held_out{};
};

/// The last `held_out` of the bytes are kept for evaluation. Throws Error.
[[nodiscard]] inline Text split(std::span<const std::uint8_t> bytes, double held_out = 0.1) {
  Problems problems;
  problems.require(held_out > 0 && held_out < 1, "held_out must lie within (0, 1), got ", held_out,
                   ".");
  problems.raise_if_any("posenc::lab::split");
  const auto cut =
      bytes.begin() +
      static_cast<std::ptrdiff_t>(std::llround(static_cast<double>(bytes.size()) * (1 - held_out)));
  return {{bytes.begin(), cut}, {cut, bytes.end()}};
}

/// Windows of the text from anywhere, each byte the target of the one before. The text is borrowed. Drawing throws
/// Error where the text has no window of the length.
[[nodiscard]] inline Source text_rows(std::span<const std::uint8_t> text) {
  return [text](SeededRandom& random, Index sequences, Index length) {
    Problems problems;
    problems.require(std::ssize(text) > length, "a window of ", length,
                     " bytes and its target need ", length + 1, " bytes of text, got ", text.size(),
                     ".");
    problems.raise_if_any("posenc::lab::text_rows");
    Batch batch;
    for (Index i = 0; i < sequences; ++i) {
      const auto window =
          text.subspan(static_cast<std::size_t>(random.integer(0, std::ssize(text) - length - 1)),
                       static_cast<std::size_t>(length) + 1);
      batch.inputs.insert(batch.inputs.end(), window.begin(), window.end() - 1);
      batch.targets.insert(batch.targets.end(), window.begin() + 1, window.end());
    }
    return batch;
  };
}

/// Words of a small language, the nth as often as 1 / n, and passages of 16 to 48 bytes that are copied from at most
/// 96 bytes before.
[[nodiscard]] inline std::vector<std::uint8_t> generated_text(Index bytes, std::uint64_t seed) {
  Problems problems;
  problems.require(bytes >= 0, "a text cannot have ", bytes, " bytes.");
  problems.raise_if_any("posenc::lab::generated_text");
  SeededRandom random(seed);
  std::vector<std::vector<std::uint8_t>> words(60);
  std::vector<double> up_to;  // the shares of words, summed
  for (std::size_t i = 0; i < words.size(); ++i) {
    words[i].resize(static_cast<std::size_t>(random.integer(2, 7)));
    for (std::uint8_t& letter : words[i])
      letter = static_cast<std::uint8_t>(random.integer('a', 'z'));
    words[i].push_back(' ');
    up_to.push_back((up_to.empty() ? 0 : up_to.back()) + 1 / static_cast<double>(i + 1));
  }
  std::vector<std::uint8_t> text;
  text.reserve(static_cast<std::size_t>(bytes) + 48);
  while (std::ssize(text) < bytes) {
    if (std::ssize(text) > 96 && random.integer(0, 15) == 0) {
      const Index count = random.integer(16, 48), back = random.integer(count, 96);
      for (Index i = 0; i < count; ++i)
        text.push_back(text[text.size() - static_cast<std::size_t>(back)]);
    } else {
      const auto at =
          std::lower_bound(up_to.begin(), up_to.end() - 1, random.real(0, up_to.back()));
      const auto& word = words[static_cast<std::size_t>(at - up_to.begin())];
      text.insert(text.end(), word.begin(), word.end());
    }
  }
  text.resize(static_cast<std::size_t>(bytes));
  return text;
}

}  // namespace lab

POSENC_NAMESPACE_END
