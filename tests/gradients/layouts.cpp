// SPDX-License-Identifier: MIT
//
// Gradients of tensors that lie oddly in memory and are oddly wide, with indices and ids of their own, against
// the reference.
#include "problem.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/bias/t5_bias.hpp>
#include <posenc/bind/any_encoding.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/score/soft_cap.hpp>

#include "../support/levels.hpp"

namespace layout_cases {

using namespace gradient_test;

/// How a tensor lies: tokens, heads and channels may go backwards, and channels may be apart.
struct Layout {
  bool tokens_backwards = false, heads_backwards = false, channels_backwards = false;
  Index apart = 1;
};
const Layout layouts[] = {{},
                          {.apart = 3},
                          {.tokens_backwards = true},
                          {.heads_backwards = true, .apart = 2},
                          {.channels_backwards = true},
                          {true, true, true, 2}};

/// Memory [token][head][channel] in a layout, with one row more than needed between heads; what lies between the
/// elements is `gap` and has to stay.
class Laid {
 public:
  Laid(const Layout& layout, Index tokens, Index heads, Index width, double gap)
      : gap_(gap),
        memory_(static_cast<std::size_t>(tokens * (heads + 1) * width * layout.apart + 1), gap) {
    const auto stride = [](bool backwards, Index step) { return backwards ? -step : step; };
    const Index channel = stride(layout.channels_backwards, layout.apart),
                head = stride(layout.heads_backwards, width * layout.apart),
                token = stride(layout.tokens_backwards, (heads + 1) * width * layout.apart);
    const auto first = [](Index count, Index step) {
      return step < 0 && count > 0 ? -(count - 1) * step : 0;
    };
    view_ = {memory_.data() + first(tokens, token) + first(heads, head) + first(width, channel),
             tokens,
             heads,
             width,
             token,
             head,
             channel};
  }
  Laid(const Layout& layout, const TensorView<const double>& x)
      : Laid(layout, x.tokens, x.heads, x.width, NAN) {
    each([&](Index t, Index h, Index c) { view_(t, h, c) = x(t, h, c); });
  }
  Laid(const Laid&) = delete;
  Laid& operator=(const Laid&) = delete;

  [[nodiscard]] const TensorView<double>& view() const { return view_; }
  /// The elements in order.
  [[nodiscard]] std::vector<double> elements() const {
    std::vector<double> all;
    each([&](Index t, Index h, Index c) { all.push_back(view_(t, h, c)); });
    return all;
  }
  [[nodiscard]] std::ptrdiff_t gaps() const {
    return std::count(memory_.begin(), memory_.end(), gap_);
  }

 private:
  template <class F>
  void each(const F& f) const {
    for (Index t = 0; t < view_.tokens; ++t)
      for (Index h = 0; h < view_.heads; ++h)
        for (Index c = 0; c < view_.width; ++c) f(t, h, c);
  }

  double gap_;
  std::vector<double> memory_;
  TensorView<double> view_;
};

void check(const Sizes& n, const AnyEncoding& encoding, AttentionOptions<double> options = {}) {
  const Problem<double> x(n);
  const AnyBound bound = bind(encoding, {.num_heads = n.heads, .num_kv_heads = n.kv_heads});
  const ReferenceGradients expected = x.reference(bound, options);
  posenc_test::at_every_level([&] {
    for (std::size_t i = 0; i < std::size(layouts); ++i) {
      const auto layout = [&](std::size_t tensor) {
        return layouts[(i + tensor) % std::size(layouts)];
      };
      const Laid q(layout(0), x.queries()), k(layout(1), x.keys()), v(layout(2), x.values()),
          d_out(layout(3), x.out_gradient());
      const Laid out(layout(4), n.queries, n.heads, n.value_width, 99);
      std::vector<double> lse(static_cast<std::size_t>(n.queries * n.heads));
      options.lse = lse;
      attention<double>(q.view(), k.view(), v.view(), out.view(), bound, options);
      options.lse = {};
      const Laid dq(layout(5), n.queries, n.heads, n.width, 99),
          dk(layout(0), n.keys, n.kv_heads, n.width, 99),
          dv(layout(1), n.keys, n.kv_heads, n.value_width, 99);
      const auto gaps = [&] { return dq.gaps() + dk.gaps() + dv.gaps(); };
      const auto between = gaps() - std::ssize(x.q) - std::ssize(x.k) - std::ssize(x.v);
      ParameterGradients parameters(bound);
      attention_backward<double>({q.view(), k.view(), v.view(), out.view(), lse}, d_out.view(),
                                 {dq.view(), dk.view(), dv.view(), &parameters}, bound, options);
      check_same<double>({dq.elements(),
                          dk.elements(),
                          dv.elements(),
                          {parameters.values().begin(), parameters.values().end()}},
                         expected, 1e-11);
      CHECK(gaps() == between);
    }
  });
}

TEST_CASE("gradients: strides of any size and sign") {
  check({}, RoPE<HalfSplit>{.head_dim = 16} | ALiBi{} | Causal{});
  check({.queries = 70, .keys = 130, .heads = 3, .kv_heads = 1},
        RoPE<Interleaved>{.head_dim = 16} | ReRoPE{.window = 20} | SoftCap{20} | Causal{});
}

TEST_CASE("gradients: values of one channel, heads of an odd number of channels") {
  check({.width = 7, .value_width = 1}, ALiBi{} | SoftCap{5} | Causal{});
  check({.width = 13, .value_width = 1},
        RoPE<HalfSplit>{.head_dim = 13, .rotary_dim = 6} | Causal{});
  check({.queries = 33, .keys = 90, .heads = 2, .kv_heads = 2, .width = 1, .value_width = 19},
        encoding(ALiBi{}));
}

TEST_CASE("gradients: one token") {
  const std::vector<float> table = noise<float>(32 * 4, 3U);
  for (const Index keys : {1, 2, 65})
    check({.queries = 1, .keys = keys},
          RoPE<HalfSplit>{.head_dim = 16} | T5Bias{.table = table} | Causal{});
  check({.queries = 3, .keys = 1}, RoPE<HalfSplit>{.head_dim = 16} | ALiBi{}, {.query_offset = 4});
}

TEST_CASE("gradients: offsets, and ids of queries and keys") {
  const AnyEncoding encoding = RoPE<HalfSplit>{.head_dim = 16} | ALiBi{} | SoftCap{9} | Causal{};
  check({.queries = 40, .keys = 90}, encoding, {.query_offset = 20, .key_offset = 7});
  posenc_test::Random random(5);
  std::vector<Position> queries(40), keys(90);
  for (Position& at : queries) at = random.integer(-20, 400);
  for (Position& at : keys) at = random.integer(-20, 400);
  check({.queries = 40, .keys = 90}, encoding,
        {.query_offset = 50,
         .query_positions = Positions(std::span<const Position>(queries)),
         .key_positions = Positions(std::span<const Position>(keys))});
}

}  // namespace layout_cases
