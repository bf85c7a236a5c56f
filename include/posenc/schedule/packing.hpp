// SPDX-License-Identifier: MIT
//
// Documents as rows of a fixed length, for training.
//
//   pack(documents, length)                     every token once, in the documents' order
//   LengthMixture{.length, .full_share}.draw()  so many rows, of which a share is one document each and the
//                                               others are several; domains keep their proportions
//
// A row is a list of pieces of documents. What a row looks like to attention is documents(): each piece is
// blind to the others, and its positions restart.
//
// Mixtures are those of continued pretraining on long context (Qwen2.5, arXiv 2412.15115, section 3.3: 40 %
// of the sequences as long as possible, 60 % shorter). That long documents must not shift the domains is the
// finding of Fu et al., arXiv 2402.10171 (per-source length upsampling): here each domain gets its rows first, and
// within it long documents are taken as often as the share asks for.
#pragma once

#include <posenc/mask/documents.hpp>
#include <posenc/schedule/random.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct SourceDocument {
  Index tokens = 0;
  Index domain = 0;  ///< any number from 0 on
};

/// Tokens [first, first + tokens) of a document.
struct PackedPiece {
  Index document = 0, first = 0, tokens = 0;
  bool operator==(const PackedPiece&) const = default;
};

struct PackedRow {
  std::vector<PackedPiece> pieces{};

  [[nodiscard]] Index tokens() const {
    Index sum = 0;
    for (const PackedPiece& piece : pieces) sum += piece.tokens;
    return sum;
  }
  /// The mask of the row; its positions() restart with each piece.
  [[nodiscard]] Documents documents() const {
    Documents mask;
    Position start = 0;
    for (const PackedPiece& piece : pieces) {
      if (start != 0) mask.starts.push_back(start);
      start += piece.tokens;
    }
    return mask;
  }
  bool operator==(const PackedRow&) const = default;
};

namespace detail {

/// Fills rows of one length with piece after piece; what does not fit begins the next row.
class RowFiller {
 public:
  explicit RowFiller(Index length) : length_(length) {}

  void add(PackedPiece piece) {
    while (piece.tokens > 0) {
      if (free_ == 0) {
        rows_.emplace_back();
        free_ = length_;
      }
      const Index some = std::min(free_, piece.tokens);
      rows_.back().pieces.push_back({piece.document, piece.first, some});
      piece.first += some;
      piece.tokens -= some;
      free_ -= some;
    }
  }
  /// Rows that nothing can be added to.
  [[nodiscard]] Index full_rows() const { return std::ssize(rows_) - (free_ > 0); }
  [[nodiscard]] std::vector<PackedRow>& rows() { return rows_; }

 private:
  Index length_, free_ = 0;
  std::vector<PackedRow> rows_;
};

template <class T>
void shuffle(std::vector<T>& values, SeededRandom& random) {
  for (Index i = std::ssize(values) - 1; i > 0; --i)
    std::swap(values[static_cast<std::size_t>(i)],
              values[static_cast<std::size_t>(random.integer(0, i))]);
}

/// `total` things in proportion to weights, exactly so many: the rest goes to the largest remainders.
inline std::vector<Index> in_proportion(Index total, const std::vector<double>& weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<Index> share, order(weights.size());
  std::vector<double> remainder;
  Index given = 0;
  for (const double weight : weights) {
    const double exact = sum > 0 ? static_cast<double>(total) * weight / sum : 0;
    share.push_back(static_cast<Index>(exact));
    remainder.push_back(exact - static_cast<double>(share.back()));
    given += share.back();
  }
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return remainder[static_cast<std::size_t>(a)] > remainder[static_cast<std::size_t>(b)];
  });
  for (std::size_t i = 0; given < total && i < order.size(); ++i, ++given)
    ++share[static_cast<std::size_t>(order[i])];
  return share;
}

inline void check_documents(Problems& problems, std::span<const SourceDocument> documents) {
  for (std::size_t i = 0; i < documents.size(); ++i)
    if (documents[i].tokens < 0 || documents[i].domain < 0)
      return problems.add("document ", i, " has ", documents[i].tokens, " tokens in domain ",
                          documents[i].domain, "; neither may be negative.");
}

}  // namespace detail

/// Every token of every document once, in order. The last row may be shorter. Throws Error.
[[nodiscard]] inline std::vector<PackedRow> pack(std::span<const SourceDocument> documents,
                                                 Index length) {
  Problems problems;
  problems.require(length > 0, "rows need a positive length, got ", length, ".");
  detail::check_documents(problems, documents);
  problems.raise_if_any("posenc::pack");
  detail::RowFiller filler(length);
  for (std::size_t i = 0; i < documents.size(); ++i)
    filler.add({static_cast<Index>(i), 0, documents[i].tokens});
  return std::move(filler.rows());
}

struct LengthMixture {
  Index length = 0;         ///< tokens of a row
  double full_share = 0.4;  ///< of the rows: one document each
  std::uint64_t seed = 0;

  /// So many rows of exactly `length` tokens, in random order. Where a domain has fewer documents than its
  /// rows need, they are taken again. Throws Error, also where a domain has no document that is long enough
  /// for the rows of one document, or none for the others.
  [[nodiscard]] std::vector<PackedRow> draw(std::span<const SourceDocument> documents,
                                            Index rows) const {
    Problems problems;
    problems.require(length > 0, "rows need a positive length, got ", length, ".");
    problems.require(full_share >= 0 && full_share <= 1, "full_share must lie within [0, 1], got ",
                     full_share, ".");
    problems.require(rows >= 0, "there cannot be ", rows, " rows.");
    detail::check_documents(problems, documents);
    problems.raise_if_any("posenc::LengthMixture");

    std::vector<Index> domains;
    for (const SourceDocument& document : documents) domains.push_back(document.domain);
    std::sort(domains.begin(), domains.end());
    domains.erase(std::unique(domains.begin(), domains.end()), domains.end());
    std::vector<double> tokens(domains.size());
    for (const SourceDocument& document : documents) {
      const auto at = std::lower_bound(domains.begin(), domains.end(), document.domain);
      tokens[static_cast<std::size_t>(at - domains.begin())] +=
          static_cast<double>(document.tokens);
    }
    problems.require(rows == 0 ||
                         std::any_of(tokens.begin(), tokens.end(), [](double n) { return n > 0; }),
                     "the documents have no tokens to fill ", rows, " rows with.");
    problems.raise_if_any("posenc::LengthMixture");

    const std::vector<Index> of_domain = detail::in_proportion(rows, tokens);
    const std::vector<Index> full = detail::in_proportion(
        static_cast<Index>(std::llround(full_share * static_cast<double>(rows))),
        {of_domain.begin(), of_domain.end()});
    SeededRandom random(seed);
    std::vector<PackedRow> drawn;
    for (std::size_t d = 0; d < domains.size(); ++d)
      draw_domain(documents, domains[d], full[d], of_domain[d] - full[d], random, problems, drawn);
    problems.raise_if_any("posenc::LengthMixture");
    detail::shuffle(drawn, random);
    return drawn;
  }

 private:
  void draw_domain(std::span<const SourceDocument> documents, Index domain, Index full, Index mixed,
                   SeededRandom& random, Problems& problems, std::vector<PackedRow>& to) const {
    std::vector<PackedPiece> whole_rows, shorter;
    for (std::size_t i = 0; i < documents.size(); ++i) {
      if (documents[i].domain != domain) continue;
      const Index tokens = documents[i].tokens, in_rows = tokens / length * length;
      for (Index first = 0; first < in_rows; first += length)
        whole_rows.push_back({static_cast<Index>(i), first, length});
      if (tokens > in_rows) shorter.push_back({static_cast<Index>(i), in_rows, tokens - in_rows});
    }
    problems.require(full == 0 || !whole_rows.empty(), "domain ", domain, " has no document of ",
                     length, " tokens for its ", full, " rows of one document.");
    problems.require(mixed == 0 || !shorter.empty(), "domain ", domain,
                     " has nothing shorter than ", length, " tokens for its ", mixed,
                     " rows of several documents.");
    if ((full > 0 && whole_rows.empty()) || (mixed > 0 && shorter.empty())) return;
    for (Index i = 0; i < full; ++i) {
      const Index at = i % std::ssize(whole_rows);
      if (at == 0) detail::shuffle(whole_rows, random);
      to.push_back({{whole_rows[static_cast<std::size_t>(at)]}});
    }
    detail::RowFiller filler(length);
    for (Index i = 0; filler.full_rows() < mixed; ++i) {
      const Index at = i % std::ssize(shorter);
      if (at == 0) detail::shuffle(shorter, random);
      filler.add(shorter[static_cast<std::size_t>(at)]);
    }
    to.insert(to.end(), filler.rows().begin(), filler.rows().begin() + mixed);
  }
};

POSENC_NAMESPACE_END
