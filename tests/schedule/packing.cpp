// SPDX-License-Identifier: MIT
//
// Packing: no token is lost or read twice, rows look to attention as documents by themselves, mixtures are what
// they say.
#include <posenc/posenc.hpp>
#include <posenc/schedule/packing.hpp>

#include "../support/catch.hpp"
#include "../support/random.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

using namespace posenc;

namespace packing_cases {

std::vector<SourceDocument> random_documents(Index count, Index longest, Index domains,
                                             std::uint64_t seed) {
  posenc_test::Random random(seed);
  std::vector<SourceDocument> documents;
  for (Index i = 0; i < count; ++i)
    documents.push_back(
        {random.chance(0.3) ? random.integer(longest, 4 * longest) : random.integer(0, longest - 1),
         random.integer(0, domains - 1)});
  return documents;
}

TEST_CASE("pack: every token once, in order, in full rows") {
  for (const Index length : {1, 7, 64, 1000}) {
    const std::vector<SourceDocument> documents = random_documents(60, 50, 2, 3);
    const std::vector<PackedRow> rows = pack(documents, length);
    Index document = 0, next = 0;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      if (r + 1 < rows.size()) REQUIRE(rows[r].tokens() == length);
      REQUIRE(rows[r].tokens() <= length);
      for (const PackedPiece& piece : rows[r].pieces) {
        while (next == documents[static_cast<std::size_t>(document)].tokens) ++document, next = 0;
        REQUIRE(piece.document == document);
        REQUIRE(piece.first == next);
        REQUIRE(piece.tokens > 0);
        next += piece.tokens;
      }
    }
    while (next == documents[static_cast<std::size_t>(document)].tokens &&
           document + 1 < std::ssize(documents))
      ++document, next = 0;
    CHECK((document == 59 && next == documents.back().tokens));
  }
  CHECK(pack({}, 8).empty());
  const std::vector<SourceDocument> empty{{0}, {0}};
  CHECK(pack(empty, 8).empty());
}

TEST_CASE("pack: to attention each piece is a sequence of its own") {
  const std::vector<SourceDocument> documents{{5}, {9}, {3}, {20}};
  const PackedRow row = pack(documents, 32).front();
  const Documents mask = row.documents();
  CHECK(mask.starts == std::vector<Position>{0, 5, 14, 17});
  constexpr Index width = 8, tokens = 32;
  const std::vector<float> q = posenc_test::noise<float>(tokens * width, 1U),
                           k = posenc_test::noise<float>(tokens * width, 2U),
                           v = posenc_test::noise<float>(tokens * width, 3U);
  std::vector<float> out(q.size()), alone(q.size());
  const std::vector<Position> ids = mask.positions(tokens);
  const auto rope = RoPE<HalfSplit>{.head_dim = width} | ALiBi{};
  const auto bound = bind(rope | mask | Causal{}, {.num_heads = 1});
  using In = TensorView<const float>;
  attention(In(q.data(), tokens, 1, width), In(k.data(), tokens, 1, width),
            In(v.data(), tokens, 1, width), TensorView<float>(out.data(), tokens, 1, width), bound,
            {.query_positions = ids, .key_positions = ids});
  const auto one = bind(rope | Causal{}, {.num_heads = 1});
  Index at = 0;
  for (const PackedPiece& piece : row.pieces) {
    const auto from = static_cast<std::size_t>(at * width);
    attention(In(q.data() + from, piece.tokens, 1, width),
              In(k.data() + from, piece.tokens, 1, width),
              In(v.data() + from, piece.tokens, 1, width),
              TensorView<float>(alone.data() + from, piece.tokens, 1, width), one);
    at += piece.tokens;
  }
  for (std::size_t i = 0; i < out.size(); ++i) CHECK(std::abs(out[i] - alone[i]) <= 1e-6F);
}

TEST_CASE("LengthMixture: shares of rows and of domains, exact in tokens") {
  const std::vector<SourceDocument> documents = random_documents(500, 64, 3, 5);
  std::vector<double> tokens(3);
  for (const SourceDocument& d : documents)
    tokens[static_cast<std::size_t>(d.domain)] += static_cast<double>(d.tokens);
  const double all = tokens[0] + tokens[1] + tokens[2];
  for (const double share : {0.0, 0.4, 1.0}) {
    const LengthMixture mixture{.length = 64, .full_share = share, .seed = 7};
    const std::vector<PackedRow> rows = mixture.draw(documents, 1000);
    REQUIRE(rows.size() == 1000);
    Index full = 0;
    std::map<Index, Index> of_domain;
    for (const PackedRow& row : rows) {
      REQUIRE(row.tokens() == 64);
      full += row.pieces.size() == 1 && row.pieces[0].tokens == 64;
      for (const PackedPiece& piece : row.pieces) {
        const SourceDocument& d = documents[static_cast<std::size_t>(piece.document)];
        REQUIRE((piece.first >= 0 && piece.tokens > 0 && piece.first + piece.tokens <= d.tokens));
        of_domain[d.domain] += piece.tokens;
      }
    }
    CHECK(full == static_cast<Index>(share * 1000));
    for (std::size_t d = 0; d < 3; ++d)  // within one row
      CHECK(std::abs(static_cast<double>(of_domain[static_cast<Index>(d)]) -
                     64'000 * tokens[d] / all) <= 64);
    CHECK(rows == mixture.draw(documents, 1000));
    CHECK(rows !=
          LengthMixture{.length = 64, .full_share = share, .seed = 8}.draw(documents, 1000));
  }
}

TEST_CASE("LengthMixture: no document twice while there are others") {
  std::vector<SourceDocument> documents(20, {64});
  for (Index i = 0; i < 40; ++i) documents.push_back({16});
  const std::vector<PackedRow> rows =
      LengthMixture{.length = 64, .full_share = 20.0 / 30}.draw(documents, 30);
  std::map<Index, int> seen;
  for (const PackedRow& row : rows)
    for (const PackedPiece& piece : row.pieces) ++seen[piece.document];
  CHECK(seen.size() == 60);
  for (const auto& [document, times] : seen) CHECK(times == 1);
}

TEST_CASE("packing: wrong values are sentences") {
  const std::vector<SourceDocument> documents{{100}, {5}}, bad{{3}, {-1}};
  const auto says = [](const auto& f, const std::string& sentence) {
    CHECK_THROWS_WITH(f(), ContainsSubstring(sentence));
  };
  says([&] { (void)pack(documents, 0); }, "rows need a positive length, got 0");
  says([&] { (void)pack(bad, 4); }, "document 1 has -1 tokens in domain 0");
  says([&] { (void)LengthMixture{.length = 200}.draw(documents, 10); },
       "domain 0 has no document of 200 tokens for its 4 rows of one document");
  says([&] { (void)LengthMixture{.length = 5}.draw(documents, 10); },
       "domain 0 has nothing shorter than 5 tokens for its 6 rows of several documents");
  says([&] { (void)LengthMixture{.length = 5, .full_share = 2}.draw(documents, 10); },
       "full_share must lie within [0, 1], got 2");
  says([&] { (void)LengthMixture{.length = 5}.draw(documents, -1); }, "there cannot be -1 rows");
  says([&] { (void)LengthMixture{.length = 5}.draw({}, 3); },
       "the documents have no tokens to fill 3 rows");
  CHECK(LengthMixture{.length = 5}.draw({}, 0).empty());
  // Domains may have any names.
  const std::vector<SourceDocument> far{{100, Index{1} << 60}, {3, Index{1} << 60}};
  CHECK(LengthMixture{.length = 10}.draw(far, 10).size() == 10);
}

}  // namespace packing_cases
