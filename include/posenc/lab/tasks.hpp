// SPDX-License-Identifier: MIT
//
// Tasks whose answers are exact: what a scheme can find, rather than what it can guess.
//
//   training.step(CopyTask{}.rows());                               lengths up to that of the training
//   evaluate_task(weights, bound, CopyTask{.exact = true}.rows(), 256, {.sequences = 64});
//
// Tokens are numbers below the model's vocabulary, 0 and 1 with a meaning: 0 is blank, 1 asks. Losses count
// where an answer is expected.
#pragma once

#include <posenc/lab/training.hpp>

#include <algorithm>
#include <numeric>

POSENC_NAMESPACE_BEGIN

namespace lab {

namespace tasks {
inline constexpr std::uint8_t blank = 0, ask = 1;
inline constexpr Index first_symbol = 2;

inline Batch blank_batch(Index sequences, Index length) {
  const auto tokens = static_cast<std::size_t>(sequences * length);
  return {std::vector<std::uint8_t>(tokens, blank), std::vector<std::uint8_t>(tokens, blank),
          std::vector<float>(tokens)};
}
}  // namespace tasks

/// x1 ... xn ask  ->  x1 ... xn, or xn ... x1: copy and reverse (Kazemnejad et al., arXiv 2305.19466). A row of
/// a length holds n up to half of that.
struct CopyTask {
  Index symbols = 32;  ///< different ones
  bool reversed = false;
  bool exact = false;  ///< n is half the length, not anything from 1 to that

  [[nodiscard]] Source rows() const {
    Problems problems;
    problems.require(symbols >= 1 && symbols <= 254, "symbols must lie within [1, 254], got ",
                     symbols, ".");
    problems.raise_if_any("posenc::lab::CopyTask");
    return [task = *this](SeededRandom& random, Index sequences, Index length) {
      Problems short_row;
      short_row.require(length >= 2, "a row has at least 2 tokens, got ", length, ".");
      short_row.raise_if_any("posenc::lab::CopyTask");
      Batch batch = tasks::blank_batch(sequences, length);
      for (Index i = 0; i < sequences; ++i) {
        const Index most = length / 2, count = task.exact ? most : random.integer(1, most);
        std::vector<std::uint8_t> content(static_cast<std::size_t>(count));
        for (std::uint8_t& symbol : content)
          symbol = static_cast<std::uint8_t>(
              random.integer(tasks::first_symbol, tasks::first_symbol + task.symbols - 1));
        const auto row = static_cast<std::size_t>(i * length), n = content.size();
        std::copy(content.begin(), content.end(), batch.inputs.begin() + i * length);
        batch.inputs[row + n] = tasks::ask;
        if (task.reversed) std::reverse(content.begin(), content.end());
        for (std::size_t t = 0; t < n; ++t) {
          if (t + 1 < n) batch.inputs[row + n + 1 + t] = content[t];
          batch.targets[row + n + t] = content[t];
          batch.loss_weights[row + n + t] = 1;
        }
      }
      return batch;
    };
  }
};

/// k1 v1 ... kn vn, then each key once more among blanks, whose value is the answer: multi-query associative recall
/// (Arora et al., Zoology, arXiv 2312.04927), with one question per key. A row of a length holds n = length / 8.
struct RecallTask {
  Index keys = 64, values = 64;  ///< different ones

  [[nodiscard]] Source rows() const {
    Problems problems;
    problems.require(keys >= 1 && values >= 1 && keys + values <= 254,
                     "keys and values must be positive and at most 254 together, got ", keys,
                     " and ", values, ".");
    problems.raise_if_any("posenc::lab::RecallTask");
    return [task = *this](SeededRandom& random, Index sequences, Index length) {
      const Index pairs = std::min(length / 8, task.keys);
      Problems short_row;
      short_row.require(pairs >= 1, "a row has at least 8 tokens, got ", length, ".");
      short_row.raise_if_any("posenc::lab::RecallTask");
      Batch batch = tasks::blank_batch(sequences, length);
      std::vector<Index> key(static_cast<std::size_t>(task.keys)),
          place(static_cast<std::size_t>(length - 2 * pairs));
      for (Index i = 0; i < sequences; ++i) {
        std::iota(key.begin(), key.end(), tasks::first_symbol);
        std::iota(place.begin(), place.end(), i * length + 2 * pairs);
        choose(key, pairs, random);
        choose(place, pairs, random);
        for (Index p = 0; p < pairs; ++p) {
          const auto at = static_cast<std::size_t>(i * length + 2 * p);
          const auto asked = static_cast<std::size_t>(place[static_cast<std::size_t>(p)]);
          const auto name = static_cast<std::uint8_t>(key[static_cast<std::size_t>(p)]);
          const auto value = static_cast<std::uint8_t>(tasks::first_symbol + task.keys +
                                                       random.integer(0, task.values - 1));
          batch.inputs[at] = batch.inputs[asked] = name;
          batch.inputs[at + 1] = batch.targets[asked] = value;
          batch.loss_weights[asked] = 1;
        }
      }
      return batch;
    };
  }

 private:
  /// The first `count` of the list become a random choice in random order.
  static void choose(std::vector<Index>& list, Index count, SeededRandom& random) {
    for (Index i = 0; i < count; ++i)
      std::swap(list[static_cast<std::size_t>(i)],
                list[static_cast<std::size_t>(random.integer(i, std::ssize(list) - 1))]);
  }
};

struct TaskOptions {
  Index sequences = 64;
  std::uint64_t seed = 1;
};
struct TaskResult {
  Index length = 0;
  double accuracy = 0;    ///< of the answers' tokens
  double bits = 0;        ///< per token of the answers
  double keys_share = 1;  ///< of the keys that may be seen, those that were read
};

/// Answers to rows of a length. Throws Error.
[[nodiscard]] inline TaskResult evaluate_task(const Weights& weights, const BoundScheme& scheme,
                                              const Source& source, Index length,
                                              const TaskOptions& options = {},
                                              const AnyExecutor& executor = {}) {
  Problems problems;
  problems.require(length >= 1, "length must be positive, got ", length, ".");
  problems.require(options.sequences >= 1, "sequences must be positive, got ", options.sequences,
                   ".");
  problems.raise_if_any("posenc::lab::evaluate_task");
  SeededRandom random(options.seed);
  const Batch batch = source(random, options.sequences, length);
  check_batch(problems, batch, options.sequences * length, weights.shape().vocabulary);
  problems.raise_if_any("posenc::lab::evaluate_task");
  const TokenRows rows{options.sequences, length, batch.inputs, batch.targets};
  struct Sum {
    double answers = 0, right = 0, nats = 0;
    KeysRead keys{};
  };
  std::vector<Sum> sums(static_cast<std::size_t>(options.sequences));
  run_tasks(executor, options.sequences, [&](Index i, Index) {
    Pass pass(false);
    std::vector<float> losses(static_cast<std::size_t>(length));
    pass.forward(weights, scheme, rows.slice(i, 1), losses);
    Sum& sum = sums[static_cast<std::size_t>(i)];
    sum.keys = pass.keys_read();
    for (Index t = 0; t < length; ++t) {
      const auto at = static_cast<std::size_t>(i * length + t);
      if (!batch.loss_weights.empty() && batch.loss_weights[at] == 0) continue;
      Index best = 0;
      pass.logits().row(t).maxCoeff(&best);
      sum.answers += 1;
      sum.right += best == batch.targets[at];
      sum.nats += static_cast<double>(losses[static_cast<std::size_t>(t)]);
    }
  });
  Sum all;
  for (const Sum& sum : sums) {
    all.answers += sum.answers, all.right += sum.right, all.nats += sum.nats;
    all.keys += sum.keys;
  }
  problems.require(all.answers > 0, "no token of these rows is an answer.");
  problems.raise_if_any("posenc::lab::evaluate_task");
  return {length, all.right / all.answers, all.nats / all.answers / std::numbers::ln2,
          all.keys.share()};
}

}  // namespace lab

POSENC_NAMESPACE_END
