// SPDX-License-Identifier: MIT
//
// A selection of keys as a mask, for those who compute without one.
#pragma once

#include <posenc/core/score.hpp>
#include <posenc/select/selection.hpp>

#include <memory>
#include <vector>

namespace posenc_test {

/// What the last `rows` of so many tokens see, [row][head][key]: a component of a user.
struct Chosen {
  std::shared_ptr<const std::vector<char>> seen;
  posenc::Index heads, rows, tokens;

  Chosen(const posenc::Selection& selection, posenc::Index heads_, posenc::Index rows_,
         posenc::Index tokens_)
      : heads(heads_), rows(rows_), tokens(tokens_) {
    auto all = std::make_shared<std::vector<char>>(static_cast<std::size_t>(rows * heads * tokens));
    for (posenc::Index i = 0; i < selection.size(); ++i) {
      const posenc::Selection::Choice choice = selection[i];
      const auto& [query, queries, head, of_heads] = choice.readers;
      for (posenc::Index row = query; row < query + queries; ++row)
        for (posenc::Index h = head; h < head + of_heads; ++h)
          for (const posenc::KeyRange& range : choice.ranges)
            for (posenc::Index k = range.first; k < range.first + range.tokens; ++k)
              (*all)[at(row, h, k)] = 1;
    }
    seen = all;
  }
  bool operator()(const posenc::Score& score) const {
    return (*seen)[at(score.query_index - (tokens - rows), score.head, score.key_index)] != 0;
  }

 private:
  [[nodiscard]] std::size_t at(posenc::Index row, posenc::Index head, posenc::Index key) const {
    return static_cast<std::size_t>((row * heads + head) * tokens + key);
  }
};

}  // namespace posenc_test
