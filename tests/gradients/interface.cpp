// SPDX-License-Identifier: MIT
//
// attention_backward as a call: what it refuses, what it needs, tensors of any strides, numbers that are
// not finite, properties of gradients.
#include "problem.hpp"

#include <posenc/gallery.hpp>

#include "../support/allocations.hpp"
#include "../support/backwards.hpp"
#include "../support/levels.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>

namespace interface_cases {

using namespace gradient_test;

const RoPE<HalfSplit> rope{.head_dim = 16};
constexpr BindOptions heads{.num_heads = 4, .num_kv_heads = 2};

/// A call that may be spoilt.
template <class T>
struct Call {
  Problem<T> x;
  std::vector<T> out, lse;
  Gradients<T> d;

  explicit Call(Sizes n = {})
      : x(n), out(x.d_out.size()), lse(static_cast<std::size_t>(n.queries * n.heads)),
        d{std::vector<T>(x.q.size()), std::vector<T>(x.k.size()), std::vector<T>(x.v.size()), {}} {}

  [[nodiscard]] TensorView<T> result() {
    return {out.data(), x.n.queries, x.n.heads, x.n.value_width};
  }
  [[nodiscard]] AttentionForward<T> forward() {
    return {x.queries(), x.keys(), x.values(), result(), lse};
  }
  [[nodiscard]] AttentionGradients<T> gradients() {
    return {{d.q.data(), x.n.queries, x.n.heads, x.n.width},
            {d.k.data(), x.n.keys, x.n.kv_heads, x.n.width},
            {d.v.data(), x.n.keys, x.n.kv_heads, x.n.value_width}};
  }
  template <class BoundT>
  void attend(const BoundT& bound) {
    attention(x.queries(), x.keys(), x.values(), result(), bound, {.lse = lse});
  }
};

TEST_CASE("gradients: a wrong call is a sentence") {
  const auto bound = bind(rope | Causal{}, heads);
  Call<float> c;
  const auto says = [&](const AttentionForward<float>& f, const TensorView<const float>& d_out,
                        const AttentionGradients<float>& d, const std::string& sentence) {
    CHECK_THROWS_WITH(attention_backward<float>(f, d_out, d, bound), ContainsSubstring(sentence));
  };
  AttentionForward<float> f = c.forward();
  f.lse = {};
  says(f, c.x.out_gradient(), c.gradients(), "lse is empty: pass the one that attention returned");
  f = c.forward();
  f.lse = f.lse.first(3);
  says(f, c.x.out_gradient(), c.gradients(), "lse has 3 elements for 70 queries of 4 heads");
  f = c.forward();
  f.out = f.q;
  says(f, c.x.out_gradient(), c.gradients(),
       "out overlaps q: a gradient needs the queries, which attention overwrote");
  f = c.forward();
  f.out = f.out.slice(0, 69);
  says(f, c.x.out_gradient(), c.gradients(), "out is [69, 4, 16] but must be [70, 4, 16]");
  says(c.forward(), c.x.out_gradient().slice(0, 3), c.gradients(),
       "d_out is [3, 4, 16] but must be as out, [70, 4, 16]");
  AttentionGradients<float> d = c.gradients();
  d.k = d.k.slice(0, 5);
  says(c.forward(), c.x.out_gradient(), d,
       "the gradient of k is [5, 2, 16] but must be as k, [70, 2, 16]");
  d = c.gradients();
  d.v = d.k;
  says(c.forward(), c.x.out_gradient(), d, "must not overlap each other");
  d = c.gradients();
  d.q = c.result();
  says(c.forward(), c.x.out_gradient(), d,
       "the gradient of q must not overlap q, k, v, out, lse or d_out");

  const auto other = bind(ALiBi{} | Causal{}, heads);
  ParameterGradients of_other(other);
  d = c.gradients();
  d.parameters = &of_other;
  says(c.forward(), c.x.out_gradient(), d, "the ParameterGradients are those of another encoding");
  CHECK_THROWS_WITH(attention_backward<float>(c.forward(), c.x.out_gradient(), c.gradients(), bound,
                                              {.lse = c.lse}),
                    ContainsSubstring("lse of the options is a result of attention"));
  const auto xl =
      bind(TransformerXL{.head_dim = 16, .rows = std::vector<float>(3 * 4 * 16)} | Causal{}, heads);
  CHECK_THROWS_WITH(attention_backward<float>(c.forward(), c.x.out_gradient(), c.gradients(), xl),
                    ContainsSubstring("but the encoding has vectors for distances 0 to 2"));
  const AnyEncoding mute = AnyEncoding(rope) | score_map([](auto x) { return x; });
  CHECK_THROWS_WITH(attention_backward<float>(c.forward(), c.x.out_gradient(), c.gradients(),
                                              bind(mute, heads)),
                    ContainsSubstring("1 score maps of this encoding have no derivative"));
}

TEST_CASE("gradients: with a workspace nothing is allocated") {
  const auto bound = bind(rope | ALiBi{} | SoftCap{9} | ReRoPE{.window = 9} | Causal{}, heads);
  Call<float> c;
  c.attend(bound);
  ParameterGradients parameters(bound);
  AttentionGradients<float> d = c.gradients();
  d.parameters = &parameters;
  attention_backward<float>(c.forward(), c.x.out_gradient(), d, bound);
  const Gradients<float> expected = c.d;
  const AttentionShape shape{70, 70, 16, 16};
  for (const Index threads : {1, 5}) {
    const posenc_test::Backwards executor{threads};
    const std::size_t bytes = attention_backward_workspace<float>(bound, shape, executor);
    std::vector<std::byte> memory(bytes + 64);
    void* aligned = memory.data();
    std::size_t space = memory.size();
    std::byte* const at = static_cast<std::byte*>(std::align(64, bytes, aligned, space));
    const AttentionOptions<float> options{.executor = executor, .workspace = {at, bytes}};
    const auto before = posenc_test::allocations();
    attention_backward<float>(c.forward(), c.x.out_gradient(), d, bound, options);
    CHECK(posenc_test::allocations() == before);
    CHECK(c.d == expected);
    AttentionOptions<float> small = options;
    small.workspace = {at, bytes / 2};
    CHECK_THROWS_WITH(attention_backward<float>(c.forward(), c.x.out_gradient(), d, bound, small),
                      ContainsSubstring("bytes are needed") || ContainsSubstring("are needed"));
  }
  for (const Index wrong : {Index{-1}, std::numeric_limits<Index>::max()})
    CHECK_THROWS_WITH(attention_backward_workspace<float>(bound, {wrong, 2, 3, 4}),
                      ContainsSubstring("sizes must not be negative and must fit in memory"));
  // O(tokens)
  const auto of = [&](Index n) {
    return attention_backward_workspace<float>(bound, {n, n, 16, 16});
  };
  CHECK(of(64000) < 3 * of(32000));
}

TEST_CASE("gradients: tensors of any strides") {
  const auto bound = bind(rope | Causal{}, heads);
  Call<double> c;
  c.attend(bound);
  attention_backward<double>(c.forward(), c.x.out_gradient(), c.gradients(), bound);
  // Channels two apart, heads before tokens.
  const Index n = 70;
  const auto spread = [](const auto& view) {
    std::vector<double> memory(static_cast<std::size_t>(2 * view.tokens * view.heads * view.width),
                               3);
    const TensorView<double> to(memory.data(), view.tokens, view.heads, view.width, 2 * view.width,
                                2 * view.width * view.tokens, 2);
    for (Index t = 0; t < view.tokens; ++t)
      for (Index h = 0; h < view.heads; ++h)
        for (Index d = 0; d < view.width; ++d) to(t, h, d) = view(t, h, d);
    return memory;
  };
  const auto view = [&](std::vector<double>& memory, Index num_heads) {
    return TensorView<double>(memory.data(), n, num_heads, 16, 32, 32 * n, 2);
  };
  auto q = spread(c.x.queries()), k = spread(c.x.keys()), v = spread(c.x.values()),
       out = spread(c.result()), d_out = spread(c.x.out_gradient());
  std::vector<double> dq(q.size(), 5), dk(k.size(), 5), dv(v.size(), 5);
  attention_backward<double>({view(q, 4), view(k, 2), view(v, 2), view(out, 4), c.lse},
                             view(d_out, 4), {view(dq, 4), view(dk, 2), view(dv, 2)}, bound);
  const auto check = [&](std::vector<double>& got, const std::vector<double>& expected, Index h) {
    const TensorView<double> x = view(got, h);
    Index i = 0;
    for (Index t = 0; t < n; ++t)
      for (Index head = 0; head < h; ++head)
        for (Index d = 0; d < 16; ++d) {
          const double e = expected[static_cast<std::size_t>(i++)];
          if (std::abs(x(t, head, d) - e) > 1e-13 * std::max(1.0, std::abs(e))) return false;
          if (x.row(t, head)[2 * d + 1] != 5) return false;  // what lies between stays
        }
    return true;
  };
  CHECK(check(dq, c.d.q, 4));
  CHECK(check(dk, c.d.k, 2));
  CHECK(check(dv, c.d.v, 2));
}

TEST_CASE("gradients: without parameters the others are the same") {
  const std::vector<float> table = noise<float>(5 * 16, 3U);
  for (const AnyEncoding& e : {AnyEncoding(ALiBi{}) | ShawKeys{.table = table, .clip = 2} |
                                   ShawValues{.table = table, .clip = 2} | SinkLogit{},
                               AnyEncoding(rope) | DeBERTa{.keys = noise<float>(2 * 8 * 4 * 16, 3U),
                                                           .position_buckets = 8,
                                                           .max_position = 50}}) {
    const AnyBound bound = bind(e | Causal{}, heads);
    Call<float> with, without;
    with.attend(bound), without.attend(bound);
    ParameterGradients parameters(bound);
    AttentionGradients<float> d = with.gradients();
    d.parameters = &parameters;
    attention_backward<float>(with.forward(), with.x.out_gradient(), d, bound);
    attention_backward<float>(without.forward(), without.x.out_gradient(), without.gradients(),
                              bound);
    CHECK(with.d == without.d);
    CHECK(std::ranges::any_of(parameters.values(), [](double x) { return x != 0; }));
  }
}

/// As soft masks of minus infinity have it.
struct DoubledScore {
  template <class T>
  T map_score(T x, const Score&) const {
    return x * T(2);
  }
};

TEST_CASE("gradients: a score of minus infinity has no weight, whatever a map makes of it") {
  const Problem<double> x({});
  const auto masked = bind(rope | DoubledScore{} | Causal{}, heads);
  const auto soft =
      bind(rope | bias([](const Score& at) {
             return at.key > at.query ? -std::numeric_limits<double>::infinity() : 0.0;
           }) | DoubledScore{},
           heads);
  const Gradients<double> got = x.kernel(soft), expected = x.kernel(masked);
  CHECK(worst(got.q, expected.q) <= 1e-13);
  CHECK(worst(got.k, expected.k) <= 1e-13);
  CHECK(worst(got.v, expected.v) <= 1e-13);
}

TEST_CASE("gradients: so many parameters that heads follow each other") {
  const Index rows = 300, wide = 16;
  Problem<double> x({.queries = 300, .keys = 300, .heads = 4, .kv_heads = 4});
  for (const Index more : {Index{0}, Index{6'000}, Index{20'000}}) {  // rows that no distance has
    TransformerXL xl{.head_dim = wide, .rows = noise<float>(rows * 4 * wide, 3U)};
    const auto small = bind(xl | Causal{}, {.num_heads = 4});
    xl.rows.resize(static_cast<std::size_t>((rows + more) * 4 * wide), 0.5F);
    const auto large = bind(xl | Causal{}, {.num_heads = 4});
    Gradients<double> expected = x.kernel(small);
    const Gradients<double> got = x.kernel(large, {.executor = posenc_test::Backwards{3}});
    CHECK(got.q == expected.q);
    expected.parameters.resize(got.parameters.size());
    CHECK(worst(got.parameters, expected.parameters) <= 1e-12);
  }
}

TEST_CASE("gradients: what a query may not see has no gradient and gives none") {
  const auto bound = bind(rope | ALiBi{} | SoftCap{30} | SlidingWindow{.left = 10}, heads);
  posenc_test::at_every_level([&] {
    Call<float> clean;
    clean.attend(bound);
    attention_backward<float>(clean.forward(), clean.x.out_gradient(), clean.gradients(), bound);
    Call<float> c;
    // Keys that nobody sees, because the queries begin behind them.
    Call<float> late({.queries = 20, .keys = 70});
    for (Index i = 0; i < 30 * 2 * 16; ++i)
      late.x.k[static_cast<std::size_t>(i)] = NAN, late.x.v[static_cast<std::size_t>(i)] = INFINITY;
    late.attend(bound);
    attention_backward<float>(late.forward(), late.x.out_gradient(), late.gradients(), bound);
    for (const float x : late.d.q) REQUIRE(std::isfinite(x));
    for (Index i = 0; i < 39 * 2 * 16; ++i) REQUIRE(late.d.k[static_cast<std::size_t>(i)] == 0);
    for (const float x : late.d.k) REQUIRE(std::isfinite(x));
    for (const float x : late.d.v) REQUIRE(std::isfinite(x));
    // A row of d_out that is not finite: of the keys in its window alone.
    for (Index i = 0; i < 4 * 16; ++i) c.x.d_out[static_cast<std::size_t>(30 * 4 * 16 + i)] = NAN;
    c.attend(bound);
    attention_backward<float>(c.forward(), c.x.out_gradient(), c.gradients(), bound);
    for (Index t = 0; t < 70; ++t) {
      const bool in_window = t >= 20 && t <= 30;
      for (Index i = 0; i < 2 * 16; ++i) {
        const auto at = static_cast<std::size_t>(t * 2 * 16 + i);
        REQUIRE(std::isnan(c.d.v[at]) == in_window);
        REQUIRE(std::isnan(c.d.k[at]) == in_window);
        if (!in_window) REQUIRE(std::abs(c.d.v[at] - clean.d.v[at]) <= 1e-5F);
      }
      REQUIRE(std::isnan(c.d.q[static_cast<std::size_t>(t * 4 * 16)]) == (t == 30));
    }
  });
}

TEST_CASE("gradients: rows without weights, and no rows at all") {
  // Later keys alone, so that queries see nothing.
  const auto bound = bind(rope | Causal{}, heads);
  Call<double> c({.queries = 8, .keys = 8});
  attention(c.x.queries(), c.x.keys(), c.x.values(), c.result(), bound,
            {.query_offset = 0, .key_offset = 4, .lse = c.lse});
  attention_backward<double>(c.forward(), c.x.out_gradient(), c.gradients(), bound,
                             {.query_offset = 0, .key_offset = 4});
  for (std::size_t i = 0; i < 4 * 4 * 16; ++i) REQUIRE(c.d.q[i] == 0);
  for (const double x : c.d.k) REQUIRE(std::isfinite(x));
  for (const Sizes n : {Sizes{.queries = 0, .keys = 0}, Sizes{.queries = 0, .keys = 5}}) {
    Call<double> none(n);
    none.d.k.assign(none.d.k.size(), 3);
    none.attend(bound);
    attention_backward<double>(none.forward(), none.x.out_gradient(), none.gradients(), bound);
    for (const double x : none.d.k) CHECK(x == 0);
  }
}

TEST_CASE("gradients: a shift of all positions changes nothing, factor 1 is RoPE") {
  const Problem<double> x({.queries = 80, .keys = 80});
  const auto bound = bind(rope | ALiBi{} | Causal{}, heads);
  const Gradients<double> here = x.kernel(bound), there = x.kernel(bound, {.key_offset = 5000});
  CHECK(worst(here.q, there.q) <= 1e-11);
  CHECK(worst(here.k, there.k) <= 1e-11);
  CHECK(worst(here.v, there.v) <= 1e-11);
  CHECK(worst(here.parameters, there.parameters) <= 1e-9);
  CHECK(x.kernel(bind(rope | PI{.factor = 1} | Causal{}, heads)) ==
        x.kernel(bind(rope | Causal{}, heads)));
}

TEST_CASE("gradients: keys in parts, whose outputs are merged") {
  const auto bound = bind(rope | ALiBi{} | SoftCap{5} | Causal{}, heads);
  const Problem<double> x({});
  const Gradients<double> whole = x.kernel(bound);
  Call<double> c;
  c.attend(bound);  // what merging the parts gives
  Gradients<double> sum{std::vector<double>(x.q.size()),
                        std::vector<double>(x.k.size(), NAN),
                        std::vector<double>(x.v.size(), NAN),
                        {}};
  ParameterGradients parameters(bound);
  for (const auto& [first, count] : {std::pair<Index, Index>{0, 41}, {41, 29}}) {
    std::vector<double> dq(x.q.size());
    const TensorView<double> dk(sum.k.data(), 70, 2, 16), dv(sum.v.data(), 70, 2, 16);
    attention_backward<double>(
        {x.queries(), x.keys().slice(first, count), x.values().slice(first, count), c.result(),
         c.lse},
        x.out_gradient(),
        {{dq.data(), 70, 4, 16}, dk.slice(first, count), dv.slice(first, count), &parameters},
        bound, {.query_offset = 0, .key_offset = first});
    for (std::size_t i = 0; i < dq.size(); ++i) sum.q[i] += dq[i];
  }
  CHECK(worst(sum.q, whole.q) <= 1e-13);
  CHECK(worst(sum.k, whole.k) <= 1e-13);
  CHECK(worst(sum.v, whole.v) <= 1e-13);
  const std::vector<double> learned(parameters.values().begin(), parameters.values().end());
  CHECK(worst(learned, whole.parameters) <= 1e-11);
}

/// A bias by query: its gradients are the sums of rows.
struct ByRow {
  double operator()(const Score& at) const { return 0.01 * static_cast<double>(at.query); }
  [[nodiscard]] static Index num_parameters() { return 70; }
  void gradient(const Score& at, double dx, std::span<double> gradient) const {
    gradient[static_cast<std::size_t>(at.query)] += dx;
  }
};

TEST_CASE("gradients: those of a row's scores sum to zero, unless a sink takes a share") {
  const Problem<double> x({});
  const auto rows = [&](const auto& bound) {
    std::vector<double> sums = x.kernel(bound).parameters;
    sums.resize(70);
    return *std::ranges::max_element(sums,
                                     [](double a, double b) { return std::abs(a) < std::abs(b); });
  };
  CHECK(std::abs(rows(bind(bias(ByRow{}) | Causal{}, heads))) <= 1e-14);
  CHECK(std::abs(rows(bind(rope | bias(ByRow{}) | ALiBi{} | SlidingWindow{.left = 9}, heads))) <=
        1e-14);
  CHECK(std::abs(rows(bind(rope | bias(ByRow{}) | SinkLogit{} | Causal{}, heads))) > 1e-3);
}

TEST_CASE("gradients: an encoding at run time has the bits of its type") {
  const Problem<float> x({.queries = 130, .keys = 130});
  const auto stack =
      rope | ALiBi{} | SoftCap{20} | T5Bias{.table = noise<float>(128, 4U)} | Causal{};
  constexpr ParameterOptions learned{.frequencies = true};
  CHECK(x.kernel(bind(stack, heads), {}, learned) ==
        x.kernel(bind(AnyEncoding(stack), heads), {}, learned));
}

}  // namespace interface_cases
