// SPDX-License-Identifier: MIT
//
// What attention promises around the numbers: shapes, strides, aliasing, scratch memory, what it asks of
// components and how often. Numbers are compared with attention written out here, in double.
#include <posenc/posenc.hpp>

#include "../support/allocations.hpp"
#include "../support/catch.hpp"
#include "../support/guards.hpp"
#include "../support/random.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

using namespace posenc;
using posenc_test::allocations;
using posenc_test::noise;
using posenc_test::Workspace;

namespace interface_cases {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Index greatest = std::numeric_limits<Index>::max();

template <class T>
TensorView<T> view(std::vector<T>& memory, Index tokens, Index heads, Index width) {
  return {memory.data(), tokens, heads, width};
}

struct Dense {
  std::vector<double> out, lse;
};

/// Attention as it is written on paper. score(x, query row, key row, head) finishes a scaled product;
/// minus infinity hides the key.
template <class T, class Finish>
Dense dense(const TensorView<T>& q, const TensorView<T>& k, const TensorView<T>& v, Finish finish) {
  Dense result;
  for (Index i = 0; i < q.tokens; ++i)
    for (Index h = 0; h < q.heads; ++h) {
      const Index g = h / (q.heads / k.heads);
      std::vector<double> x;
      double most = -infinity, sum = 0;
      for (Index j = 0; j < k.tokens; ++j) {
        double dot = 0;
        for (Index c = 0; c < q.width; ++c)
          dot += static_cast<double>(q(i, h, c)) * static_cast<double>(k(j, g, c));
        x.push_back(finish(dot / std::sqrt(static_cast<double>(q.width)), i, j, h));
        most = std::max(most, x.back());
      }
      for (double& w : x) sum += w = most == -infinity ? 0 : std::exp(w - most);
      for (Index c = 0; c < v.width; ++c) {
        double o = 0;
        for (Index j = 0; j < k.tokens && sum > 0; ++j)
          o += x[static_cast<std::size_t>(j)] / sum * static_cast<double>(v(j, g, c));
        result.out.push_back(o);
      }
      result.lse.push_back(sum == 0 ? -infinity : most + std::log(sum));
    }
  return result;
}
const auto as_it_is = [](double x, Index, Index, Index) { return x; };

template <class T>
double worst(const std::vector<T>& got, const std::vector<double>& expected) {
  double off = got.size() == expected.size() ? 0 : infinity;
  for (std::size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
    const auto g = static_cast<double>(got[i]);
    if (g == expected[i]) continue;
    const double d = std::abs(g - expected[i]);
    off = std::isnan(d) ? infinity : std::max(off, d);
  }
  return off;
}

const RoPE<HalfSplit> rope{.head_dim = 8};

/// Tensors of one call, contiguous.
template <class T = float>
struct Call {
  Index queries, keys, heads, kv_heads, width, value_width;
  std::vector<T> q = noise<T>(queries * heads * width, 1), k = noise<T>(keys * kv_heads * width, 2),
                 v = noise<T>(keys * kv_heads * value_width, 3),
                 out =
                     std::vector<T>(static_cast<std::size_t>(queries * heads * value_width), T{77}),
                 lse = std::vector<T>(static_cast<std::size_t>(queries * heads), T{77});
  TensorView<T> Q() { return view(q, queries, heads, width); }
  TensorView<T> K() { return view(k, keys, kv_heads, width); }
  TensorView<T> V() { return view(v, keys, kv_heads, value_width); }
  TensorView<T> O() { return view(out, queries, heads, value_width); }
};
template <class T = float>
Call<T> call(Index queries, Index keys, Index heads, Index kv_heads, Index width,
             Index value_width) {
  return {queries, keys, heads, kv_heads, width, value_width};
}

// --- Shapes -------------------------------------------------------------------------------------

TEST_CASE("attention: shapes, widths and groups of any size") {
  for (const auto& [queries, keys, heads, kv_heads, width, value_width] :
       std::vector<std::array<Index, 6>>{{1, 1, 1, 1, 1, 1},
                                         {1, 1, 3, 1, 5, 2},
                                         {7, 7, 2, 2, 3, 1},
                                         {33, 65, 4, 2, 8, 17},
                                         {65, 130, 6, 1, 1, 9},
                                         {1, 200, 8, 2, 19, 16},
                                         {64, 64, 1, 1, 33, 40},
                                         {31, 63, 3, 3, 4, 64},
                                         {2, 129, 71, 71, 2, 3}}) {
    INFO(queries << " x " << keys << ", heads " << heads << "/" << kv_heads << ", widths " << width
                 << ", " << value_width);
    const auto check = [&, keys = keys, queries = queries, heads = heads]<class T>(Call<T> c) {
      const auto bound = bind(Causal{}, {.num_heads = heads, .num_kv_heads = c.kv_heads});
      attention(c.Q(), c.K(), c.V(), c.O(), bound, {.lse = c.lse});
      const Dense expected = dense(c.Q(), c.K(), c.V(), [&](double x, Index i, Index j, Index) {
        return j <= i + keys - queries ? x : -infinity;
      });
      const double tolerance = std::is_same_v<T, float> ? 2e-6 : 1e-14;
      CHECK(worst(c.out, expected.out) <= tolerance);
      CHECK(worst(c.lse, expected.lse) <= tolerance);
    };
    check(call<float>(queries, keys, heads, kv_heads, width, value_width));
    check(call<double>(queries, keys, heads, kv_heads, width, value_width));
  }
}

TEST_CASE("attention: the encoding without components is plain softmax attention") {
  auto c = call(5, 9, 2, 2, 4, 3);
  attention(c.Q(), c.K(), c.V(), c.O(), encoding());
  CHECK(worst(c.out, dense(c.Q(), c.K(), c.V(), as_it_is).out) <= 1e-6);
  attention(c.Q(), c.K(), c.V(), c.O(), encoding(Causal{}), {.query_offset = 100});
  CHECK(worst(c.out, dense(c.Q(), c.K(), c.V(), as_it_is).out) <= 1e-6);
}

TEST_CASE("attention: nothing to do, and nothing to see") {
  const auto bound = bind(rope | Causal{}, {.num_heads = 2});
  auto none = call(0, 5, 2, 2, 8, 3);
  CHECK_NOTHROW(attention(none.Q(), none.K(), none.V(), none.O(), bound, {.lse = none.lse}));

  auto no_keys = call(3, 0, 2, 2, 8, 3);
  attention(no_keys.Q(), no_keys.K(), no_keys.V(), no_keys.O(), bound,
            {.query_offset = 0, .lse = no_keys.lse});
  CHECK(no_keys.out == std::vector<float>(18, 0.0F));
  CHECK(no_keys.lse == std::vector<float>(6, -std::numeric_limits<float>::infinity()));

  auto neither = call(0, 0, 2, 2, 8, 3);
  CHECK_NOTHROW(attention(neither.Q(), neither.K(), neither.V(), neither.O(), bound));

  auto no_values = call(3, 4, 2, 2, 8, 0);
  attention(no_values.Q(), no_values.K(), no_values.V(), no_values.O(), bound,
            {.lse = no_values.lse});
  auto with_values = call(3, 4, 2, 2, 8, 3);
  attention(with_values.Q(), with_values.K(), with_values.V(), with_values.O(), bound,
            {.lse = with_values.lse});
  CHECK(no_values.lse == with_values.lse);

  // Queries before every key.
  auto early = call(3, 4, 2, 2, 8, 3);
  attention(early.Q(), early.K(), early.V(), early.O(), bound,
            {.query_offset = 0, .key_offset = 2, .lse = early.lse});
  CHECK(std::all_of(early.out.begin(), early.out.begin() + 12, [](float x) { return x == 0; }));
  CHECK(std::all_of(early.lse.begin(), early.lse.begin() + 4,
                    [](float x) { return x == -std::numeric_limits<float>::infinity(); }));
  CHECK(early.out[12] != 0);
}

TEST_CASE("attention: log-sum-exp is [query][head]") {
  auto c = call<double>(4, 4, 3, 1, 2, 2);
  const auto bound =
      bind(bias([](Index head, Position) { return 10.0 * static_cast<double>(head); }) | Causal{},
           {.num_heads = 3, .num_kv_heads = 1});
  std::fill(c.q.begin(), c.q.end(), 0.0);
  attention(c.Q(), c.K(), c.V(), c.O(), bound, {.lse = c.lse});
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t h = 0; h < 3; ++h)
      CHECK_THAT(c.lse[i * 3 + h],
                 WithinAbs(10 * static_cast<double>(h) + std::log(static_cast<double>(i + 1)),
                           1e-14));
}

TEST_CASE("attention: tokens and heads that changed places are told so, and only those") {
  const auto bound = bind(ALiBi{} | Causal{}, {.num_heads = 4, .num_kv_heads = 2});
  const auto complaint = [&](auto change) -> std::string {
    auto c = call(3, 5, 4, 2, 8, 8);
    TensorView<float> q = c.Q(), k = c.K(), v = c.V(), out = c.O();
    change(q, k, v, out);
    try {
      attention(q, k, v, out, bound);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const auto swap = [](TensorView<float>& x) { std::swap(x.tokens, x.heads); };
  using View = TensorView<float>&;
  const std::string hint =
      " With tokens and heads swapped it would fit: the axes of a TensorView are "
      "[tokens, heads, width]";
  CHECK_THAT(
      complaint([&](View q, View, View, View out) { swap(q), swap(out); }),
      ContainsSubstring("q is [4, 3, 8] but the encoding is bound to 4 query heads." + hint));
  CHECK_THAT(complaint([&](View, View k, View v, View) { swap(k), swap(v); }),
             ContainsSubstring("k is [2, 5, 8] but the encoding is bound to 2 key heads." + hint));
  CHECK_THAT(complaint([&](View, View, View v, View) { swap(v); }),
             ContainsSubstring("they must have the same tokens and heads." + hint));
  CHECK_THAT(complaint([&](View, View, View, View out) { swap(out); }),
             ContainsSubstring("out is [4, 3, 8] but must be [3, 4, 8]." + hint));
  for (const std::string& other :
       {complaint([](View q, View, View, View out) { q.heads = out.heads = 3; }),
        complaint([](View, View, View v, View) { v.tokens = 2; }),
        complaint([](View, View, View, View out) { out.tokens = 4; }),
        complaint([&](View, View, View, View out) { swap(out), out.width = 7; }),
        complaint([&](View, View k, View v, View) { swap(k), swap(v), k.width = 7; })}) {
    CHECK_FALSE(other.empty());
    CHECK_THAT(other, !ContainsSubstring("swapped"));
  }
}

TEST_CASE("attention: a sentence for every shape that does not fit") {
  const auto bound = bind(rope | RotateValues{} | Causal{}, {.num_heads = 4, .num_kv_heads = 2});
  const auto complaint = [&](auto change) -> std::string {
    auto c = call(3, 5, 4, 2, 8, 8);
    TensorView<float> q = c.Q(), k = c.K(), v = c.V(), out = c.O();
    AttentionOptions<float> options{.lse = c.lse};
    change(q, k, v, out, options);
    const std::vector<float> before = c.out;
    std::string said;
    try {
      attention(q, k, v, out, bound, options);
    } catch (const Error& error) {
      said = error.what();
      CHECK(c.out == before);
    }
    return said;
  };
  using View = TensorView<float>&;
  using Options = AttentionOptions<float>&;
  CHECK(complaint([](View, View, View, View, Options) {}).empty());
  const std::vector<std::pair<std::string, std::string>> cases{
      {complaint([](View q, View, View, View out, Options) { q.heads = out.heads = 2; }),
       "q is [3, 2, 8] but the encoding is bound to 4 query heads."},
      {complaint([](View, View k, View v, View, Options) { k.heads = v.heads = 1; }),
       "k is [5, 1, 8] but the encoding is bound to 2 key heads."},
      {complaint([](View, View, View v, View, Options) { v.tokens = 4; }),
       "k is [5, 2, 8] and v is [4, 2, 8]: they must have the same tokens and heads."},
      {complaint([](View, View, View v, View, Options) { v.heads = 1; }),
       "they must have the same tokens and heads."},
      {complaint([](View, View k, View, View, Options) { k.width = 6; }),
       "q is [3, 4, 8] and k is [5, 2, 6]: they must have the same width."},
      {complaint([](View q, View k, View, View, Options) { q.width = k.width = 6; }),
       "q is [3, 4, 6] but the encoding is bound to heads of 8 channels."},
      {complaint([](View, View, View, View out, Options) { out.tokens = 2; }),
       "out is [2, 4, 8] but must be [3, 4, 8]."},
      {complaint([](View, View, View, View out, Options) { out.width = 7; }),
       "out is [3, 4, 7] but must be [3, 4, 8]."},
      {complaint([](View, View, View v, View out, Options) { v.width = out.width = 6; }),
       "RotateValues rotates channels up to 8 but v is [5, 2, 6]."},
      {complaint([](View, View, View, View, Options o) { o.lse = o.lse.first(11); }),
       "lse has 11 elements for 3 queries of 4 heads."},
      {complaint([](View q, View, View, View, Options) { q.data = nullptr; }),
       "q is [3, 4, 8] but its data pointer is null."},
      {complaint([](View, View, View, View out, Options) { out.data = nullptr; }),
       "out is [3, 4, 8] but its data pointer is null."},
      {complaint([](View q, View, View, View out, Options) { q.tokens = out.tokens = -1; }),
       "sizes must not be negative and must fit in memory, but q is [-1, 4, 8]."},
      {complaint([](View, View k, View v, View, Options) { k.tokens = v.tokens = 2; }),
       "there are 3 queries but only 2 keys, so queries are not the last tokens of the sequence: "
       "set query_offset."},
      {complaint([](View, View, View, View, Options o) { o.key_offset = Position{1} << 53; }),
       "keys: positions must lie within +-2^52"},
      {complaint([](View, View, View, View, Options o) { o.query_offset = -(Position{1} << 53); }),
       "queries: positions must lie within +-2^52"},
  };
  for (const auto& [said, expected] : cases)
    CHECK_THAT(said, StartsWith("posenc::attention") && ContainsSubstring(expected));

  const std::vector<Position> two{1, 2}, bad{1, 2, 3, 4, Position{1} << 53};
  CHECK_THAT(complaint([&](View, View, View, View, Options o) { o.query_positions = two; }),
             ContainsSubstring("queries: got 2 position ids for 3 tokens."));
  CHECK_THAT(complaint([&](View, View, View, View, Options o) { o.key_positions = two; }),
             ContainsSubstring("keys: got 2 position ids for 5 tokens."));
  CHECK_THAT(complaint([&](View, View, View, View, Options o) { o.key_positions = bad; }),
             ContainsSubstring("keys: positions must lie"));

  const std::string all = complaint([](View q, View k, View v, View out, Options o) {
    q.heads = 3;
    k.width = 5;
    v.tokens = 1;
    out.width = 2;
    o.lse = o.lse.first(1);
  });
  for (const char* part :
       {"problems", "4 query heads", "same width", "same tokens", "out is", "lse has 1"})
    CHECK_THAT(all, ContainsSubstring(part));
}

TEST_CASE("attention: sizes beyond memory are refused before anything is touched") {
  float x = 0;
  const auto bound = bind(ALiBi{} | Causal{}, {.num_heads = 1});
  const auto fake = [&](Index tokens, Index width) {
    return TensorView<float>(&x, tokens, 1, width, 0, 0, 0);
  };
  const auto out = [&](Index tokens, Index width) {
    return TensorView<float>(reinterpret_cast<float*>(std::uintptr_t{1} << 46), tokens, 1, width, 0,
                             0, 0);
  };
  CHECK_THROWS(
      attention(fake(1, 1), fake(greatest / 8, 1), fake(greatest / 8, 1), out(1, 1), bound));
  CHECK_THROWS(attention(fake(greatest / 8, 1), fake(1, 1), fake(1, 1), out(greatest / 8, 1), bound,
                         {.query_offset = 0}));
  CHECK_THROWS(
      attention(fake(1, greatest / 64), fake(1, greatest / 64), fake(1, 1), out(1, 1), bound));
  CHECK_THROWS(
      attention(fake(1, 1), fake(1, 1), fake(1, greatest / 16), out(1, greatest / 16), bound));
  CHECK_THROWS(attention(fake(1, 1), fake(greatest, 1), fake(greatest, 1), out(1, 1), bound));
  CHECK_THROWS(attention(fake(greatest, greatest), fake(greatest, greatest),
                         fake(greatest, greatest), out(greatest, greatest), bound));

  for (const AttentionShape& shape : {AttentionShape{greatest, greatest, 64, 64},
                                      {greatest, 1, 64, 64},
                                      {1, greatest, 64, 64},
                                      {1, 1, greatest, 64},
                                      {1, 1, 64, greatest},
                                      {1, 1, greatest / 64, 64},
                                      {greatest / 4, greatest / 4, 1, 1},
                                      {-1, 1, 64, 64},
                                      {1, -1, 64, 64},
                                      {1, 1, -64, 64},
                                      {1, 1, 64, -64}}) {
    INFO(shape.queries << ", " << shape.keys << ", " << shape.head_dim << ", " << shape.value_dim);
    CHECK_THROWS_WITH(attention_workspace<float>(bound, shape),
                      ContainsSubstring("sizes must not be negative and must fit in memory"));
  }
}

// --- Memory -------------------------------------------------------------------------------------

TEST_CASE("attention: every stride gives the numbers of contiguous memory, to the bit") {
  constexpr Index queries = 35, keys = 70, heads = 4, kv_heads = 2, width = 8, value_width = 6;
  const auto bound =
      bind(rope | ALiBi{} | Causal{}, {.num_heads = heads, .num_kv_heads = kv_heads});
  auto c = call(queries, keys, heads, kv_heads, width, value_width);
  attention(c.Q(), c.K(), c.V(), c.O(), bound);

  std::vector<std::vector<float>> memories;
  memories.reserve(100);
  const auto copy_as = [&](int kind, const TensorView<float>& from) {
    memories.emplace_back(static_cast<std::size_t>(from.tokens * from.heads * from.width * 4),
                          5.0F);
    float* const first = memories.back().data();
    const Index t = from.tokens, h = from.heads, w = from.width;
    TensorView<float> to;
    switch (kind) {
      case 0:
        to = TensorView<float>::head_major(first, h, t, w);
        break;
      case 1:
        to = {first, t, h, w, 2 * h * w, 2 * w, 2};
        break;
      case 2:
        to = {first, t, h, w, 1, t, t * h};
        break;
      case 3:
        to = {first + t * h * w - 1, t, h, w, -h * w, -w, -1};
        break;
      default:
        to = {first + (t - 1) * w, t, h, w, -w, t * w, 1};
        break;
    }
    for (Index i = 0; i < t; ++i)
      for (Index j = 0; j < h; ++j)
        for (Index d = 0; d < w; ++d) to(i, j, d) = from(i, j, d);
    return to;
  };
  for (int kind = 0; kind < 5; ++kind) {
    const auto q = copy_as(kind, c.Q()), k = copy_as((kind + 1) % 5, c.K()),
               v = copy_as((kind + 2) % 5, c.V());
    std::vector<float> zeros(c.out.size());
    const auto out = copy_as((kind + 3) % 5, view(zeros, queries, heads, value_width));
    attention(q, k, v, out, bound);
    bool same = true;
    for (Index i = 0; i < queries; ++i)
      for (Index h = 0; h < heads; ++h)
        for (Index d = 0; d < value_width; ++d) same = same && out(i, h, d) == c.O()(i, h, d);
    INFO("kind " << kind);
    CHECK(same);
    const auto& written = memories.back();
    CHECK(std::count(written.begin(), written.end(), 5.0F) == 3 * queries * heads * value_width);
  }

  // Keys and values that all heads share, by a stride of zero.
  auto shared = call(queries, keys, heads, 1, width, value_width);
  attention(shared.Q(), shared.K(), shared.V(), shared.O(),
            bind(rope | ALiBi{} | Causal{}, {.num_heads = heads, .num_kv_heads = 1}));
  const std::vector<float> expected = shared.out;
  attention(shared.Q(), TensorView<float>(shared.k.data(), keys, kv_heads, width, width, 0),
            TensorView<float>(shared.v.data(), keys, kv_heads, value_width, value_width, 0),
            shared.O(), bound);
  CHECK(shared.out == expected);
}

TEST_CASE("attention: the output may take the place of the queries") {
  const auto bound = bind(rope | Causal{}, {.num_heads = 4, .num_kv_heads = 2});
  auto c = call(70, 70, 4, 2, 8, 8);
  attention(c.Q(), c.K(), c.V(), c.O(), bound);
  auto in_place = c;
  attention(in_place.Q(), in_place.K(), in_place.V(), in_place.Q(), bound);
  CHECK(in_place.q == c.out);

  // The queries' part of one packed buffer [tokens][q | k | v].
  constexpr Index row = (4 + 2 + 2) * 8;
  std::vector<float> packed(70 * row);
  const TensorView<float> q(packed.data(), 70, 4, 8, row, 8),
      k(packed.data() + 32, 70, 2, 8, row, 8), v(packed.data() + 48, 70, 2, 8, row, 8);
  for (Index t = 0; t < 70; ++t)
    for (Index d = 0; d < 8; ++d) {
      for (Index h = 0; h < 4; ++h) q(t, h, d) = c.Q()(t, h, d);
      for (Index h = 0; h < 2; ++h) k(t, h, d) = c.K()(t, h, d), v(t, h, d) = c.V()(t, h, d);
    }
  const std::vector<float> before = packed;
  attention(q, k, v, q, bound);
  bool same = true, kept = true;
  for (Index t = 0; t < 70; ++t) {
    for (Index h = 0; h < 4; ++h)
      for (Index d = 0; d < 8; ++d) same = same && q(t, h, d) == c.O()(t, h, d);
    for (Index d = 32; d < row; ++d)
      kept = kept && packed[static_cast<std::size_t>(t * row + d)] ==
                         before[static_cast<std::size_t>(t * row + d)];
  }
  CHECK(same);
  CHECK(kept);

  // One token: whatever its stride says.
  std::vector<float> one(before.begin(), before.begin() + row);
  CHECK_NOTHROW(attention(TensorView<float>(one.data(), 1, 4, 8, row, 8), c.K(), c.V(),
                          TensorView<float>(one.data(), 1, 4, 8), bound));
}

TEST_CASE("attention: the output may not lie over what is still to be read") {
  const auto bound = bind(rope | Causal{}, {.num_heads = 2});
  auto c = call(10, 10, 2, 2, 8, 8);
  std::vector<float> memory = noise<float>(400, 1);
  const TensorView<float> there(memory.data(), 10, 2, 8);
  const TensorView<float> a_bit_further(memory.data() + 8, 10, 2, 8);
  const std::vector<float> before = memory;
  CHECK_THROWS_WITH(attention(c.Q(), there, c.V(), there, bound),
                    ContainsSubstring("out must not overlap k or v."));
  CHECK_THROWS_WITH(attention(c.Q(), c.K(), there, a_bit_further, bound),
                    ContainsSubstring("out must not overlap k or v."));
  CHECK_THROWS_WITH(attention(there, c.K(), c.V(), a_bit_further, bound),
                    ContainsSubstring("out must be the same view as q or must not overlap it."));
  CHECK_THROWS_WITH(attention(there, c.K(), c.V(),
                              TensorView<float>::head_major(memory.data(), 2, 10, 8), bound),
                    ContainsSubstring("out must be the same view as q"));
  CHECK(memory == before);
  CHECK_NOTHROW(attention(there, there, there, c.O(), bound));
}

TEST_CASE("attention: heads of an output that share memory are refused") {
  const auto bound = bind(rope | Causal{}, {.num_heads = 2});
  auto c = call(10, 10, 2, 2, 8, 8);
  CHECK_THROWS_AS(attention(c.Q(), c.K(), c.V(), TensorView<float>(c.out.data(), 10, 2, 8, 8, 0),
                            bound),
                  Error);
  const TensorView<float> shared(c.q.data(), 10, 2, 8, 8, 0);
  CHECK_THROWS_AS(attention(shared, c.K(), c.V(), shared, bound), Error);
}

TEST_CASE("attention: the workspace that is asked for is enough, and its content does not matter") {
  const auto check = [](const auto& encoding, Index queries, Index keys, Index value_width) {
    const auto bound = bind(encoding, {.num_heads = 4, .num_kv_heads = 2});
    auto c = call(queries, keys, 4, 2, 8, value_width);
    attention(c.Q(), c.K(), c.V(), c.O(), bound, {.lse = c.lse});
    const auto out = c.out, lse = c.lse;

    const std::size_t bytes = attention_workspace<float>(bound, {queries, keys, 8, value_width});
    for (const int content : {0xff, 0x00, 0x7f}) {
      const Workspace workspace(bytes, content);
      std::fill(c.out.begin(), c.out.end(), 3.0F);
      attention(c.Q(), c.K(), c.V(), c.O(), bound, {.lse = c.lse, .workspace = workspace.memory()});
      CHECK(c.out == out);
      CHECK(c.lse == lse);
      CHECK(workspace.guards_are_whole());
    }
    const Workspace workspace(bytes + 8);
    const std::span<std::byte> memory = workspace.memory();
    CHECK_THROWS_WITH(attention(c.Q(), c.K(), c.V(), c.O(), bound,
                                {.workspace = memory.first(bytes - 1)}),
                      ContainsSubstring("the workspace has " + std::to_string(bytes - 1) +
                                        " bytes, but " + std::to_string(bytes) + " are needed."));
    CHECK_THROWS_WITH(attention(c.Q(), c.K(), c.V(), c.O(), bound,
                                {.workspace = memory.subspan(8)}),
                      ContainsSubstring("the workspace must be aligned to 64 bytes."));
  };
  for (const auto& [queries, keys, width] :
       std::vector<std::array<Index, 3>>{{1, 1, 1}, {1, 100, 8}, {33, 65, 9}, {100, 130, 8}}) {
    check(encoding(Causal{}), queries, keys, width);
    check(rope | ReRoPE{.window = 20} | ALiBi{} | T5Bias{.table = noise<float>(32 * 4, 5)} |
              Causal{},
          queries, keys, width);
    check(rope | LeakyReRoPE{.window = 20} | SinkLogit{} | SoftCap{5} | SlidingWindow{.left = 40},
          queries, keys, width);
  }
}

TEST_CASE(
    "attention: nothing in the workspace grows with the tokens but the tables of relative biases") {
  const auto plain =
      bind(rope | ReRoPE{.window = 512} | LogN{} | Causal{}, {.num_heads = 32, .num_kv_heads = 8});
  const auto biased = bind(ALiBi{} | Causal{}, {.num_heads = 32, .num_kv_heads = 8});
  const auto size = [](const auto& bound, Index n) {
    return attention_workspace<float>(bound, {n, n, 8, 8});
  };
  // Parts of the keys may be merged from 4,096 tokens on: so many at most, however many tokens.
  CHECK(size(plain, 5'000) == size(plain, 10'000));
  CHECK(size(plain, 5'000) == size(plain, 100'000));
  CHECK(size(plain, 1'000) <= size(plain, 5'000));
  // A float per distance for each of the four query heads of a key head.
  CHECK(size(biased, 10'000) - size(biased, 5'000) <= 4 * sizeof(float) * 2 * 5'000 + 64);
  CHECK(size(biased, 100'000) - size(biased, 10'000) <= 4 * sizeof(float) * 2 * 90'000 + 64);
}

TEST_CASE("attention: a workspace for larger calls serves smaller ones") {
  const auto bound = bind(rope | ALiBi{} | Causal{}, {.num_heads = 2});
  const std::size_t large = attention_workspace<float>(bound, {100, 300, 8, 16});
  for (const auto& [queries, keys, width] : std::vector<std::array<Index, 3>>{
           {0, 0, 0}, {1, 1, 1}, {100, 300, 16}, {1, 300, 16}, {100, 100, 5}})
    CHECK(attention_workspace<float>(bound, {queries, keys, 8, width}) <= large);
}

TEST_CASE("attention: with a workspace, nothing is allocated") {
  const auto check = [](const auto& encoding, Call<float> c, Index key_stride) {
    const auto bound = bind(encoding, {.num_heads = c.heads, .num_kv_heads = c.kv_heads});
    const std::size_t bytes =
        attention_workspace<float>(bound, {c.queries, c.keys, c.width, c.value_width});
    std::vector<std::byte> memory(bytes + 64);
    std::byte* const aligned =
        memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64;
    TensorView<float> k = c.K(), v = c.V();
    k.token_stride *= key_stride;
    v.token_stride *= key_stride;
    const std::size_t before = allocations();
    attention(c.Q(), k, v, c.O(), bound,
              {.query_offset = c.keys - c.queries, .lse = c.lse, .workspace = {aligned, bytes}});
    const std::size_t with_workspace = allocations();
    attention(c.Q(), k, v, c.O(), bound, {.query_offset = c.keys - c.queries});
    const std::size_t without = allocations();
    CHECK(with_workspace == before);
    CHECK(without == before + 1);  // the scratch memory, in one piece
  };
  check(rope | ReRoPE{.window = 30} | ALiBi{} | Documents{.starts = {0, 9}} | SinkLogit{} |
            SoftCap{3} | Causal{},
        call(70, 100, 4, 2, 8, 8), 1);
  // Sizes with many digits: descriptions of the shapes must not be made before they are needed.
  Call<float> large = call(1, 1, 1, 1, 8, 8);
  large.keys = 1'000'000;
  check(encoding(SlidingWindow{.left = 10}), large, 0);
}

// --- What components are asked ------------------------------------------------------------------

/// A distance map of two regions that counts how many keys are rotated in each.
struct CountingMap {
  Position window = 0;
  std::array<long, 2>* packed = nullptr;
  long* asked_region = nullptr;

  static constexpr int num_regions = 2;
  [[nodiscard]] double distance(Position query, Position key) const {
    return static_cast<double>(std::min(query - key, window));
  }
  [[nodiscard]] int region(Position query, Position key) const {
    ++*asked_region;
    return query - key >= window ? 1 : 0;
  }
  [[nodiscard]] RegionSet regions(const Tile& tile) const {
    return (tile.least_distance() < window ? 1U : 0U) |
           (tile.greatest_distance() >= window ? 2U : 0U);
  }
  [[nodiscard]] double step(int) const { return 1; }
  [[nodiscard]] double query_position(int region, Position query) const {
    return static_cast<double>(region == 0 ? query : window);
  }
  [[nodiscard]] Position key_position(int region, Position key) const {
    ++(*packed)[static_cast<std::size_t>(region)];
    return region == 0 ? key : 0;
  }
};

/// Hides the keys before a boundary, tile by tile, and counts the questions about single pairs.
struct CountingMask {
  Position first_visible = 0;
  long* asked = nullptr;
  [[nodiscard]] bool visible(const Score& at) const {
    ++*asked;
    return at.key_index >= first_visible;
  }
  [[nodiscard]] TileClass classify(const Tile& tile) const {
    if (tile.key_index.first >= first_visible) return TileClass::full;
    return tile.key_index.last < first_visible ? TileClass::none : TileClass::partial;
  }
};

TEST_CASE(
    "attention: a tile of one region rotates its keys once, and only mixed tiles rotate them "
    "twice") {
  // Decoding makes it plain: one query, so every tile of keys is packed once. Tiles are powers of two
  // of at most 256 keys, and a query is padded to a vector, of at most 8 doubles. The window begins in the middle
  // of a tile.
  constexpr Index keys = 2048;
  constexpr long asked_of_a_tile =
      2 * 256 * 8;  // by both heads; all tiles would ask 8 times as many
  for (const Position window : {Position{1}, Position{700}, Position{1025}, Position{5000}}) {
    std::array<long, 2> packed{};
    long asked = 0;
    auto c = call<double>(1, keys, 2, 1, 8, 4);
    const auto bound = bind(rope | CountingMap{window, &packed, &asked} | Causal{},
                            {.num_heads = 2, .num_kv_heads = 1});
    attention(c.Q(), c.K(), c.V(), c.O(), bound);
    INFO("window " << window << ": " << packed[0] << " near, " << packed[1] << " far");
    const long near = static_cast<long>(std::min<Position>(window, keys)), far = keys - near;
    CHECK(packed[0] >= near);
    CHECK(packed[1] >= far);
    CHECK(packed[0] + packed[1] <= keys + (far > 0 ? 256 : 0));
    CHECK(asked <= (far > 0 ? asked_of_a_tile : 0));
  }
  // One block of queries whose distances all lie on one side of the window.
  for (const Position window : {Position{1}, Position{100'000}}) {
    std::array<long, 2> packed{};
    long asked = 0;
    auto c = call<double>(8, 64, 1, 1, 8, 4);
    const auto bound = bind(rope | CountingMap{window, &packed, &asked});
    attention(c.Q(), c.K(), c.V(), c.O(), bound, {.query_offset = 5000});
    CHECK(packed[window == 1 ? 1 : 0] == 64);
    CHECK(packed[window == 1 ? 0 : 1] == 0);
    CHECK(asked == 0);
  }
}

TEST_CASE("attention: hidden tiles are skipped and visible ones ask the mask nothing") {
  constexpr Index keys = 2048;
  for (const Position first : {Position{0}, Position{1024}, Position{1000}, Position{2048}}) {
    long asked = 0;
    std::array<long, 2> packed{};
    long regions_asked = 0;
    auto c = call<double>(4, keys, 1, 1, 8, 4);
    const auto bound =
        bind(rope | CountingMap{1 << 20, &packed, &regions_asked} | CountingMask{first, &asked});
    attention(c.Q(), c.K(), c.V(), c.O(), bound);
    INFO("visible from " << first << ": asked " << asked << " times, packed " << packed[0]);
    if (first % 1024 == 0) {  // on the edge of every tile
      CHECK(asked == 0);
      CHECK(packed[0] == keys - first);
    } else {
      CHECK(asked <= 4 * 256);
      CHECK(packed[0] <= keys - first + 256);
    }
    // The hidden keys may hold anything.
    std::vector<double> before = c.out;
    std::fill(c.k.begin(), c.k.begin() + first * 8, std::nan(""));
    std::fill(c.v.begin(), c.v.begin() + first * 4, infinity);
    attention(c.Q(), c.K(), c.V(), c.O(), bound);
    CHECK(c.out == before);
  }
}

TEST_CASE("attention: a bias sees where each score stands") {
  constexpr Index queries = 35, keys = 70;
  const std::vector<Position> query_ids = [] {
    std::vector<Position> ids;
    for (Index i = 0; i < queries; ++i) ids.push_back(500 + 7 * i % 90);
    return ids;
  }();
  const std::vector<Position> key_ids = [] {
    std::vector<Position> ids;
    for (Index j = 0; j < keys; ++j) ids.push_back(400 - 3 * j);
    return ids;
  }();
  for (const bool with_ids : {false, true}) {
    std::set<std::tuple<Position, Position, Position, Position, Index>> seen;
    auto c = call<double>(queries, keys, 4, 2, 3, 2);
    const auto value = [](const Score& at) {
      return 1e-3 * static_cast<double>(at.query) - 2e-3 * static_cast<double>(at.key) +
             1e-4 * static_cast<double>(at.query_index * at.key_index % 97) +
             0.1 * static_cast<double>(at.head);
    };
    const auto bound = bind(encoding(bias([&seen, value](const Score& at) {
                              seen.emplace(at.query, at.key, at.query_index, at.key_index, at.head);
                              return value(at);
                            })),
                            {.num_heads = 4, .num_kv_heads = 2});
    AttentionOptions<double> options{.query_offset = 1000, .key_offset = 950, .lse = c.lse};
    if (with_ids) {
      options.query_positions = query_ids;
      options.key_positions = key_ids;
    }
    attention(c.Q(), c.K(), c.V(), c.O(), bound, options);
    const auto at = [&](Index i, Index j, Index h) {
      return Score{with_ids ? query_ids[static_cast<std::size_t>(i)] : 1000 + i,
                   with_ids ? key_ids[static_cast<std::size_t>(j)] : 950 + j, 1000 + i, 950 + j, h};
    };
    const Dense expected = dense(c.Q(), c.K(), c.V(), [&](double x, Index i, Index j, Index h) {
      return x + value(at(i, j, h));
    });
    CHECK(worst(c.out, expected.out) <= 1e-13);
    CHECK(worst(c.lse, expected.lse) <= 1e-13);
    std::set<std::tuple<Position, Position, Position, Position, Index>> all;
    for (Index i = 0; i < queries; ++i)
      for (Index j = 0; j < keys; ++j)
        for (Index h = 0; h < 4; ++h) {
          const Score s = at(i, j, h);
          all.emplace(s.query, s.key, s.query_index, s.key_index, s.head);
        }
    CHECK(seen == all);
  }
}

TEST_CASE("attention: a relative bias goes by positions, from a table or not") {
  const auto value = [](Index head, Position d) {
    return std::sin(0.3 * static_cast<double>(d)) * static_cast<double>(head + 1);
  };
  for (const Index queries : {Index{1}, Index{5}, Index{31}, Index{32}, Index{33}, Index{80}})
    for (const int ids : {0, 1, 2}) {  // none, close together, far apart
      constexpr Index keys = 90;
      std::vector<Position> query_ids, key_ids;
      for (Index i = 0; i < queries; ++i)
        query_ids.push_back(ids == 1 ? 60 + i / 2 : (i * i * 100'003) % 1'000'003);
      for (Index j = 0; j < keys; ++j)
        key_ids.push_back(ids == 1 ? 40 + j / 3 : -(j * j * 70'001) % 1'000'003);
      auto c = call<double>(queries, keys, 4, 2, 3, 2);
      AttentionOptions<double> options{.query_offset = 1'000, .key_offset = 970, .lse = c.lse};
      if (ids) {
        options.query_positions = query_ids;
        options.key_positions = key_ids;
      }
      attention(c.Q(), c.K(), c.V(), c.O(),
                bind(encoding(bias(value)) |
                         bias([](Index, Position d) { return 1e-3 * static_cast<double>(d); }),
                     {.num_heads = 4, .num_kv_heads = 2}),
                options);
      const Dense expected = dense(c.Q(), c.K(), c.V(), [&](double x, Index i, Index j, Index h) {
        const Position d =
            ids ? query_ids[static_cast<std::size_t>(i)] - key_ids[static_cast<std::size_t>(j)]
                : 1'000 + i - 970 - j;
        return x + value(h, d) + 1e-3 * static_cast<double>(d);
      });
      INFO(queries << " queries, ids " << ids);
      CHECK(worst(c.out, expected.out) <= 1e-12);
      CHECK(worst(c.lse, expected.lse) <= 1e-11);
    }
}

TEST_CASE("attention: score stages act in the order written") {
  auto c = call<double>(5, 9, 2, 2, 4, 3);
  const auto twice = score_map([](auto x) { return x * 2; });
  const auto one_more = bias([](Index, Position) { return 1.0; });
  const auto by_key = bias([](const Score& at) { return static_cast<double>(at.key_index); });
  const auto lse_of = [&](const auto& encoding) {
    attention(c.Q(), c.K(), c.V(), c.O(), encoding, {.lse = c.lse});
    return c.lse;
  };
  const auto expected = [&](auto finish) { return dense(c.Q(), c.K(), c.V(), finish).lse; };
  CHECK(worst(lse_of(encoding(twice, one_more, by_key)),
              expected([](double x, Index, Index j, Index) {
                return 2 * x + 1 + static_cast<double>(j);
              })) < 1e-13);
  CHECK(worst(lse_of(encoding(one_more, twice, by_key)),
              expected([](double x, Index, Index j, Index) {
                return 2 * (x + 1) + static_cast<double>(j);
              })) < 1e-13);
  CHECK(worst(lse_of(encoding(by_key, one_more, twice, twice)),
              expected([](double x, Index, Index j, Index) {
                return 4 * (x + 1 + static_cast<double>(j));
              })) < 1e-13);
  CHECK(worst(lse_of(encoding(twice, by_key, score_map([](auto x, const Score& at) {
                                return at.head == 0 ? x : x / 3;
                              }),
                              one_more)),
              expected([](double x, Index, Index j, Index h) {
                return (2 * x + static_cast<double>(j)) / (h == 0 ? 1 : 3) + 1;
              })) < 1e-13);
  CHECK(worst(lse_of(encoding(by_key, SoftCap{2})), expected([](double x, Index, Index j, Index) {
                return 2 * std::tanh((x + static_cast<double>(j)) / 2);
              })) < 1e-13);
  CHECK(worst(lse_of(encoding(SoftCap{2}, by_key)), expected([](double x, Index, Index j, Index) {
                return 2 * std::tanh(x / 2) + static_cast<double>(j);
              })) < 1e-13);
}

/// Answers two questions about scores: a bias and then a map.
struct BiasAndMap {
  [[nodiscard]] double relative_bias(Index, Position d) const {
    return 0.1 * static_cast<double>(d);
  }
  template <class T>
  [[nodiscard]] T map_score(T x, const Score&) const {
    return x * 3;
  }
};
struct OddKeysAndBias {
  [[nodiscard]] bool visible(const Score& at) const { return at.key_index % 2 == 1; }
  [[nodiscard]] double score_bias(const Score& at) const {
    return 0.2 * static_cast<double>(at.key_index);
  }
  [[nodiscard]] double temperature(Position) const { return 2; }
};

TEST_CASE("attention: a component may answer several questions") {
  auto c = call<double>(5, 9, 2, 2, 4, 3);
  attention(c.Q(), c.K(), c.V(), c.O(), encoding(OddKeysAndBias{}), {.lse = c.lse});
  CHECK(worst(c.lse, dense(c.Q(), c.K(), c.V(), [](double x, Index, Index j, Index) {
                       return j % 2 == 1 ? 2 * x + 0.2 * static_cast<double>(j) : -infinity;
                     }).lse) < 1e-13);
  attention(c.Q(), c.K(), c.V(), c.O(), encoding(BiasAndMap{}), {.lse = c.lse});
  CHECK(worst(c.lse, dense(c.Q(), c.K(), c.V(), [](double x, Index i, Index j, Index) {
                       return 3 * (x + 0.1 * static_cast<double>(4 + i - j));
                     }).lse) < 1e-13);
}

TEST_CASE("attention: keys that were rotated before are the same keys") {
  const auto check = [](const auto& encoding) {
    const auto bound = bind(encoding, {.num_heads = 4, .num_kv_heads = 2});
    auto c = call<double>(40, 70, 4, 2, 8, 8);
    const std::vector<Position> ids = [] {
      std::vector<Position> p;
      for (Index j = 0; j < 70; ++j) p.push_back(3 * j + 1);
      return p;
    }();
    const AttentionOptions<double> options{.query_offset = 5000, .key_positions = ids};
    attention(c.Q(), c.K(), c.V(), c.O(), bound, options);
    const std::vector<double> expected = c.out;
    if constexpr (decltype(bound)::has_rotary)
      rotate(c.K(), ids, bound, {.attention_factor = false});
    attention(c.Q(), RotatedKeys{c.K()}, c.V(), c.O(), bound, options);
    CHECK(worst(c.out, expected) <= 1e-14);
  };
  check(rope | YaRN{.factor = 8, .original_context = 4096} | Causal{});
  check(rope | RotateValues{} | Causal{});
  check(ALiBi{} | Causal{});
}

}  // namespace interface_cases
