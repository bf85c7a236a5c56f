// SPDX-License-Identifier: MIT
//
// Gradients of mixers against those of their formulas in long double, which are held to central differences.
#include "backward_call.hpp"
#include "gradient_oracle.hpp"
#include "support/allocations.hpp"
#include "support/backwards.hpp"
#include "support/bits.hpp"
#include "support/cases.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/guards.hpp"

#include <posenc/eigen.hpp>

namespace mixers_test::backward_cases {

using posenc_test::numbers;

/// Those of the gallery whose gradients this file has formulas for; delta_backward.cpp has those of the others.
std::vector<Entry> diagonal(const mixers::GallerySetting& at) {
  std::vector<Entry> all = gallery(at);
  std::erase_if(all, [](const Entry& entry) { return entry.mixer.recurrence().delta; });
  return all;
}

/// Greatest errors over what rounding allows, from gradients of the formula.
class Wanted {
 public:
  /// `drawn` as it is before the call, with the gradient that the state comes with.
  explicit Wanted(const Backward& drawn) : call_(drawn.call) {
    const mixers::Shape& shape = call_.shape();
    auto& d_state = const_cast<mixers::State&>(drawn.d_state);
    for (Index h = 0; h < shape.heads; ++h) {
      Comes comes;
      for (Index t = 0; t < call_.tokens; ++t)
        for (Index j = 0; j < shape.value_dim; ++j)
          comes.out.push_back(drawn.d_out.view()(t, h, j));
      for (Index c = 0; c < shape.key_dim; ++c) {
        for (Index j = 0; j < shape.value_dim; ++j)
          comes.state.push_back(drawn.d_state.matrices()(c, h, j));
        if (d_state.keeps_sum()) comes.sum.push_back(d_state.sums()(0, h, c));
      }
      formulas_.push_back(call_.formula(h, drawn.before));
      const Formula& formula = formulas_.back();
      heads_.push_back(gradient(
          formula.head, comes,
          [&](Index t, Real sum) { return formula.factor(drawn.before.tokens() + t, sum); },
          formula.divides_by_sum));
    }
  }

  [[nodiscard]] double worst_ratio(Backward& got, Real tolerance = 0x1p-24L * 400) {
    worst_ = 0, tolerance_ = tolerance;
    const mixers::Shape& shape = call_.shape();
    const mixers::Recurrence& of = call_.entry.mixer.recurrence();
    const Index K = shape.key_dim, V = shape.value_dim, T = call_.tokens,
                group = shape.heads / shape.key_heads;
    const std::vector<std::vector<Rule>> rules = rule_slopes();
    for (Index t = 0; t < T; ++t) {
      for (Index g = 0; g < shape.key_heads; ++g)
        for (Index c = 0; c < K; ++c) {
          Slope q, k;
          for (Index h = g * group; h < (g + 1) * group; ++h) {
            const HeadGradient& head = heads_[size(h)];
            const Slope &dq = head.q[size(t * K + c)], &dk = head.k[size(t * K + c)];
            const auto scale = static_cast<Real>(of.query_scale);
            const Real write = rules.empty() ? 1 : rules[size(h)][size(t * K + c)].write;
            q.value += scale * dq.value, q.terms += std::abs(scale) * dq.terms;
            k.value += write * dk.value, k.terms += std::abs(write) * dk.terms;
          }
          compare("q", t, got.q.view()(t, g, c), q), compare("k", t, got.k.view()(t, g, c), k);
        }
      for (Index h = 0; h < shape.heads; ++h)
        for (Index j = 0; j < V; ++j)
          compare("v", t, got.v.view()(t, h, j), heads_[size(h)].v[size(t * V + j)]);
    }
    for (Index h = 0; h < shape.heads; ++h) {
      const HeadGradient& head = heads_[size(h)];
      for (Index c = 0; c < K; ++c) {
        for (Index j = 0; j < V; ++j)
          compare("state", c, got.d_state.matrices()(c, h, j), head.state[size(c * V + j)]);
        if (of.keeps_sum) compare("sum", c, got.d_state.sums()(0, h, c), head.sum[size(c)]);
        if (of.reads_before())
          compare("bonus", c, static_cast<Real>(got.learned.bonus[size(h * K + c)]),
                  head.bonus[size(c)]);
      }
      if (!of.skip.empty())
        compare("skip", h, static_cast<Real>(got.learned.skip[size(h)]), head.skip);
      if (of.decay == mixers::Decay::none) continue;
      for (Index c = 0; c < of.decay_width(); ++c) {
        Slope constant;
        for (Index t = 0; t < T; ++t) {
          Slope one;
          for (Index i = of.decay_width() == 1 ? 0 : c; i <= (of.decay_width() == 1 ? K - 1 : c);
               ++i) {
            const Slope& log = head.log_decay[size(t * K + i)];
            const Real chunk = terms_near(h, t, i);
            const Rule rule = rules.empty() ? Rule{} : rules[size(h)][size(t * K + i)];
            one.value += log.value * rule.log_slope +
                         head.k[size(t * K + i)].value * raw_key(h, t, i) * rule.write_slope;
            one.terms +=
                chunk * std::abs(rule.log_slope) +
                std::abs(head.k[size(t * K + i)].terms * raw_key(h, t, i) * rule.write_slope);
          }
          constant.value += one.value, constant.terms += one.terms;
          if (of.decays_by_token()) compare("decay", t, got.decay.view()(t, h, c), one);
        }
        if (!of.decays_by_token())
          compare("log decay", c,
                  static_cast<Real>(got.learned.log_decay[size(h * of.decay_width() + c)]),
                  constant);
      }
    }
    return worst_;
  }
  /// Of which gradient, and at which token or channel.
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  /// What a rule makes of a decay as it was passed, and its slope.
  struct Rule {
    Real write = 1, log_slope = 1, write_slope = 0;
  };
  [[nodiscard]] Real raw_key(Index h, Index t, Index c) const {
    return call_.k.view()(t, h / (call_.shape().heads / call_.shape().key_heads), c);
  }
  /// By central differences of the formula; its decays are elementwise.
  [[nodiscard]] std::vector<std::vector<Rule>> rule_slopes() const {
    const mixers::Recurrence& of = call_.entry.mixer.recurrence();
    std::vector<std::vector<Rule>> all;
    if (!of.decays_by_token() || !of.rule) return all;
    auto& call = const_cast<Call&>(call_);
    const mixers::State empty(call_.entry.mixer);
    // Formulas and decays as they are moved by a step.
    const TensorView<float> x = call.decay.view();
    const std::vector<float> saved = numbers(call.decay);
    const auto moved = [&](float step) {
      std::size_t i = 0;
      for (Index t = 0; t < x.tokens; ++t)
        for (Index h = 0; h < x.heads; ++h)
          for (Index c = 0; c < x.width; ++c, ++i) x(t, h, c) = saved[i] + step;
      std::pair<std::vector<Head>, std::vector<float>> at;
      for (Index h = 0; h < call_.shape().heads; ++h)
        at.first.push_back(call_.formula(h, empty).head);
      at.second = numbers(call.decay);
      return at;
    };
    const auto [more, up] = moved(0x1p-9F);
    const auto [less, down] = moved(-0x1p-9F);
    static_cast<void>(moved(0));
    const Index K = call_.shape().key_dim;
    for (Index h = 0; h < call_.shape().heads; ++h) {
      all.emplace_back();
      for (Index t = 0; t < call_.tokens; ++t)
        for (Index c = 0; c < K; ++c) {
          const std::size_t at = size(t * K + c), i = size(h);
          const std::size_t of_x = size((t * x.heads + h) * x.width + (x.width == 1 ? 0 : c));
          const Real raw = raw_key(h, t, c), width = static_cast<Real>(up[of_x]) - down[of_x];
          all.back().push_back({formulas_[i].head.k[at] / raw,
                                (more[i].log_decay[at] - less[i].log_decay[at]) / width,
                                (more[i].k[at] - less[i].k[at]) / width / raw});
        }
    }
    return all;
  }
  /// Pairs on both sides of a token's decay are a difference of sums over the tokens of its chunk, and rounding is of these.
  [[nodiscard]] Real terms_near(Index h, Index t, Index c) const {
    const Index K = call_.shape().key_dim, first = t / 64 * 64,
                last = std::min(first + 64, call_.tokens);
    const Head& at = formulas_[size(h)].head;
    const HeadGradient& head = heads_[size(h)];
    Real terms = head.log_decay[size(t * K + c)].terms;
    for (Index s = first; s < last; ++s) {
      const std::size_t i = size(s * K + c);
      terms += std::abs(at.q[i]) * head.q[i].terms + std::abs(at.k[i]) * head.k[i].terms;
    }
    return terms;
  }
  void compare(const char* what, Index at, Real got, const Slope& wanted) {
    const Real ratio = std::abs(got - wanted.value) / (tolerance_ * wanted.terms + 1e-30L);
    if (ratio <= worst_) return;  // not where it is NaN
    worst_ = std::isnan(ratio) ? HUGE_VAL : static_cast<double>(ratio);
    where_ = std::string(what) + " " + std::to_string(at);
  }

  const Call& call_;
  std::vector<Formula> formulas_;
  std::vector<HeadGradient> heads_;
  Real tolerance_ = 0;
  double worst_ = 0;
  std::string where_;
};

void check(Wanted& wanted, Backward& got) {
  const double worst = wanted.worst_ratio(got);
  INFO("the gradient of " << wanted.where());
  CHECK(worst <= 1);
}

TEST_CASE("mixers: gradients of the oracle are central differences of its recurrence", "[mixers]") {
  for (const Entry& entry : diagonal({.heads = 2, .key_dim = 4, .value_dim = 3})) {
    INFO(entry.name);
    const Call call(entry, 6, 3);
    const Backward drawn(call, call.state(8));
    Formula formula = call.formula(1, drawn.before);
    Head& head = formula.head;
    Comes comes;
    Random random(5);
    for (std::size_t i = 0; i < head.v.size(); ++i) comes.out.push_back(random.real(-1, 1));
    for (std::size_t i = 0; i < size(head.keys * head.values); ++i)
      comes.state.push_back(random.real(-1, 1));
    const HeadGradient got = gradient(head, comes, formula.factor, formula.divides_by_sum);
    const auto differs = [&](std::vector<Real>& x, const std::vector<Slope>& slopes) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        const Real at = x[i], step = 1e-6L;
        x[i] = at + step;
        const Real more = loss(head, comes, formula.factor);
        x[i] = at - step;
        const Real less = loss(head, comes, formula.factor);
        x[i] = at;
        CHECK(std::abs((more - less) / (2 * step) - slopes[i].value) <=
              1e-8L * (1 + slopes[i].terms));
      }
    };
    differs(head.q, got.q), differs(head.k, got.k), differs(head.v, got.v);
    differs(head.log_decay, got.log_decay), differs(head.bonus, got.bonus),
        differs(head.state, got.state);
    differs(head.sum, got.sum);
    std::vector<Real> skip{head.skip};
    const Real less = (head.skip -= 0.5L, loss(head, comes, formula.factor)),
               more = (head.skip += 1, loss(head, comes, formula.factor));
    CHECK(std::abs(more - less - got.skip.value) <= 1e-12L * (1 + got.skip.terms));
  }
}

TEST_CASE("mixers: gradients agree with the formula at every length, from and to any state",
          "[mixers]") {
  struct Widths {
    Index heads, keys, values;
  };
  posenc_test::Sample sample;
  for (const Widths& at : {Widths{2, 16, 16}, Widths{4, 20, 5}, Widths{2, 2, 33}, Widths{1, 38, 1}})
    for (const Entry& entry :
         diagonal({.heads = at.heads, .key_dim = at.keys, .value_dim = at.values}))
      for (const Index tokens : {1, 2, 15, 16, 17, 33, 63, 64, 65, 80, 130}) {
        const bool is_odd = at.heads != 2 ||
                            at.keys != 16;  // these meet borders of chunks too, and no more lengths
        if ((is_odd && tokens != 17 && tokens != 65) || !sample.next()) continue;
        INFO(entry.name << ", " << tokens << " tokens of [" << at.keys << ", " << at.values << "]");
        const Call call(entry, tokens, static_cast<unsigned>(7 * tokens));
        mixers::State start = call.state(5);
        start.set_tokens(0, 3);
        Backward backward(call, start);
        Wanted wanted(backward);
        backward.run();
        check(wanted, backward);
      }
}

TEST_CASE("mixers: gradients of decays from 1 - 2^-16 to 1e-8 and 0", "[mixers]") {
  for (Entry& entry : diagonal({.heads = 2, .key_dim = 16, .value_dim = 8})) {
    if (entry.name != "GLA, log" && entry.name != "RWKV6" && entry.name != "Mamba2") continue;
    INFO(entry.name);
    for (const Index tokens : {40, 150}) {
      Call call(entry, tokens, 9);
      const TensorView<float> x = call.decay.view();
      const bool is_log = entry.name == "GLA, log";
      for (Index t = 0; t < tokens; ++t)
        for (Index h = 0; h < x.heads; ++h)
          for (Index c = 0; c < x.width; ++c) {
            const Index kind = (t * 7 + h * 3 + c * 5) % 11;
            const double log = kind < 6   ? -std::ldexp(1.0, -16)
                               : kind < 8 ? -0.3
                               : kind < 9 ? -18.420681
                                          : -2.0;
            x(t, h, c) = static_cast<float>(is_log ? log : std::log(-log));
          }
      Backward backward(call, call.state(5));
      Wanted wanted(backward);
      backward.run();
      check(wanted, backward);
      if (!is_log) continue;
      // A decay of 0: nothing comes through it, and nothing is not a number.
      for (Index h = 0; h < x.heads; ++h)
        for (Index c = 0; c < x.width; ++c) x(20, h, c) = -HUGE_VALF;
      Backward cut(call, call.state(5));
      cut.run();
      for (const float one : cut.all_numbers()) CHECK(std::isfinite(one));
      for (Index h = 0; h < x.heads; ++h)
        for (Index c = 0; c < x.width; ++c) CHECK(cut.decay.view()(20, h, c) == 0);
      // What comes behind it reaches nothing before it.
      Backward other(call, call.state(5));
      for (Index h = 0; h < x.heads; ++h) other.d_out.view()(25, h, 0) += 1;
      other.run();
      CHECK(posenc_test::same_bits(numbers(other.k.view().slice(0, 20)),
                                   numbers(cut.k.view().slice(0, 20))));
      CHECK_FALSE(posenc_test::same_bits(numbers(other.k.view().slice(20, 6)),
                                         numbers(cut.k.view().slice(20, 6))));
      CHECK(posenc_test::same_bits(numbers(other.d_state.matrices()),
                                   numbers(cut.d_state.matrices())));
    }
  }
  for (const Entry& entry : diagonal({.heads = 1, .key_dim = 16, .value_dim = 8})) {
    if (entry.name != "RWKV6") continue;
    Call call(entry, 70, 9);  // e^-e^90
    for (Index c = 0; c < 16; ++c) call.decay.view()(35, 0, c) = 90;
    Backward backward(call, call.state(5));
    backward.run();
    for (Index c = 0; c < 16; ++c) CHECK(backward.decay.view()(35, 0, c) == 0);
    for (const float one : backward.all_numbers()) CHECK(std::isfinite(one));
  }
}

TEST_CASE("mixers: gradients of Mamba-2's A_log and dt_bias are central differences", "[mixers]") {
  constexpr Index T = 70, V = 3, K = 4;
  mixers::Mamba2 parameters = mixers::Mamba2::initial(3, 4, 2, V, K);
  parameters.dt_max = 0.9;
  const auto entry_of = [&] {
    mixers::Mamba2 copy = parameters;
    return Entry{"Mamba2", {"Mamba2", "", -4, 4}, mixers::Mixer(copy), [copy](const Raw& raw) {
                   return mixers_test::formula(copy, raw);
                 }};
  };
  const Entry entry = entry_of();
  const Call call(entry, T, 3);
  Backward backward(call, call.state(5));
  const auto loss_of = [&](const Entry& at) {
    Real sum = 0;
    Call other(at, T, 3);
    for (Index h = 0; h < 2; ++h) {
      Comes comes;
      for (Index t = 0; t < T; ++t)
        for (Index j = 0; j < V; ++j) comes.out.push_back(backward.d_out.view()(t, h, j));
      for (Index c = 0; c < K; ++c)
        for (Index j = 0; j < V; ++j) comes.state.push_back(backward.d_state.matrices()(c, h, j));
      sum +=
          loss(other.formula(h, backward.before).head, comes, [](Index, Real) { return Real{1}; });
    }
    return sum;
  };
  const auto slope = [&](float& x) {
    const float at = x, step = 0x1p-10F;
    x = at + step;
    const Real up = x, more = loss_of(entry_of());
    x = at - step;
    const Real down = x, less = loss_of(entry_of());
    x = at;
    return static_cast<double>((more - less) / (up - down));
  };
  std::vector<double> of_log, of_bias, of_skip;
  for (std::size_t h = 0; h < 2; ++h) {
    of_log.push_back(slope(parameters.A_log[h]));
    of_bias.push_back(slope(parameters.dt_bias[h]));
    of_skip.push_back(slope(parameters.D[h]));
  }
  backward.run();
  const mixers::Recurrence& of = entry.mixer.recurrence();
  for (std::size_t h = 0; h < 2; ++h) {
    CHECK(std::abs(backward.learned.rates[h] * static_cast<double>(of.rates[h]) - of_log[h]) <=
          2e-4 * (1 + std::abs(of_log[h])));
    CHECK(std::abs(backward.learned.biases[h] - of_bias[h]) <= 2e-4 * (1 + std::abs(of_bias[h])));
    CHECK(std::abs(backward.learned.skip[h] - of_skip[h]) <= 2e-4 * (1 + std::abs(of_skip[h])));
    CHECK(std::abs(of_log[h]) + std::abs(of_bias[h]) > 1e-2);
  }
}

TEST_CASE("mixers: gradients of a sequence in pieces are those of the sequence", "[mixers]") {
  posenc_test::Sample sample;
  for (const Entry& entry : diagonal({.heads = 2, .key_dim = 20, .value_dim = 24})) {
    if (!sample.next()) continue;
    INFO(entry.name);
    const Index tokens = 140;
    const Call call(entry, tokens, 11);
    Backward whole(call, call.state(2)), pieces(call, call.state(2));
    Wanted wanted(whole);
    whole.run();
    pieces.run_in_pieces({0, 64, 101, 101, tokens});
    check(wanted, whole);
    check(wanted, pieces);
  }
}

TEST_CASE("mixers: gradients do not depend on strides, threads or memory", "[mixers]") {
  for (const Entry& entry : gallery({.heads = 6, .key_dim = 20, .value_dim = 12})) {
    INFO(entry.name);
    const Call call(entry, 150, 5);
    Backward plain(call, call.state(3));
    plain.run();
    const std::vector<float> wanted = plain.all_numbers();
    for (const auto memory : {Tensor<float>::head_major, Tensor<float>::padded}) {
      const Call other(entry, 150, 5, memory);
      Backward apart(other, other.state(3), memory);
      apart.run();
      CHECK(posenc_test::same_bits(apart.all_numbers(), wanted));
    }
    for (const Index threads : {2, 3, 7}) {
      const AnyExecutor executor(posenc_test::Backwards{threads});
      const posenc_test::Workspace workspace(
          mixers::backward_workspace_bytes(entry.mixer, 150, 1, executor));
      Backward by_threads(call, call.state(3));
      const std::size_t before = posenc_test::allocations();
      by_threads.run({.executor = executor, .workspace = workspace.memory()});
      CHECK(posenc_test::allocations() == before);
      CHECK(workspace.guards_are_whole());
      CHECK(posenc_test::same_bits(by_threads.all_numbers(), wanted));
    }
  }
}

TEST_CASE("mixers: gradients of a ragged batch are those of each sequence", "[mixers]") {
  for (const Entry& entry : gallery({.heads = 4, .key_dim = 16, .value_dim = 24})) {
    INFO(entry.name);
    const Call call(entry, 200, 8);
    const std::vector<Index> starts{0, 1, 1, 70, 200}, slots{4, 0, 3, 1};
    mixers::State before(entry.mixer, 5), d_state = before;
    for (Index i = 0; i < 5; ++i) {
      before.copy(call.state(static_cast<unsigned>(20 + i)), 0, i);
      d_state.copy(call.state(static_cast<unsigned>(40 + i)), 0, i);
    }
    Backward all(call, before);
    all.d_state = d_state;
    mixers::backward(call.inputs(), all.d_out.view(), before, all.d_state, all.to(0, 200),
                     RaggedBatch{.starts = starts}, entry.mixer,
                     {.executor = posenc_test::Backwards{3}, .slots = slots});
    mixers::State one(entry.mixer), d_one(entry.mixer);
    Backward each(call, one);
    for (std::size_t i = 0; i < 4; ++i) {
      const Index first = starts[i], count = starts[i + 1] - first;
      one.copy(before, slots[i], 0), d_one.copy(d_state, slots[i], 0);
      mixers::backward(call.inputs(first, count), each.d_out.view().slice(first, count), one, d_one,
                       each.to(first, count), entry.mixer);
      CHECK(posenc_test::same_bits(numbers(d_one.matrices()),
                                   numbers(all.d_state.matrices(slots[i]))));
    }
    CHECK(posenc_test::same_bits(numbers(all.d_state.matrices(2)), numbers(d_state.matrices(2))));
    all.d_state = d_state, each.d_state = d_state;  // compared above
    CHECK(posenc_test::same_bits(all.all_numbers(), each.all_numbers()));
  }
}

template <class T>
void check_elements(const Entry& entry) {
  Call call(entry, 75, 9);
  const auto view = [](const std::vector<T>& x, const TensorView<float>& of) {
    return TensorView<const T>(x.data(), of.tokens, of.heads, of.width);
  };
  const std::vector<T> q = rounded<T>(call.q.view()), k = rounded<T>(call.k.view()),
                       v = rounded<T>(call.v.view());
  Backward wanted(call, call.state(3)), got(call, call.state(3));
  const std::vector<T> d_out = rounded<T>(wanted.d_out.view());
  wanted.run();
  mixers::Inputs in = call.inputs();
  in.q = view(q, call.q.view()), in.k = view(k, call.k.view()), in.v = view(v, call.v.view());
  mixers::backward(in, view(d_out, wanted.d_out.view()), got.before, got.d_state, got.to(0, 75),
                   entry.mixer);
  CHECK(posenc_test::same_bits(got.all_numbers(), wanted.all_numbers()));
}
TEST_CASE("mixers: gradients of elements of 16 bits are those of the floats that they are",
          "[mixers]") {
  for (const Entry& entry : gallery({.heads = 2, .key_dim = 20, .value_dim = 20})) {
    INFO(entry.name);
    check_elements<Eigen::bfloat16>(entry);
    check_elements<Eigen::half>(entry);
  }
}

/// A rule that does not know its gradient.
struct Own {
  static constexpr std::string_view name = "Own";
  void check(Problems&) const {}
  [[nodiscard]] mixers::Recurrence recurrence() const {
    return {.shape = {2, 2, 4, 4},
            .decay = mixers::Decay::head,
            .rule = [](const mixers::Recurrence&, Index, Index, Index, float*, float*) {}};
  }
};
TEST_CASE("mixers: what is wrong with a call of backward is said in sentences", "[mixers]") {
  const std::vector<Entry> all = gallery({.heads = 2, .key_dim = 4, .value_dim = 4});
  const auto entry = [&](std::string_view name) -> const Entry& {
    return *std::ranges::find_if(all, [&](const Entry& one) { return one.name == name; });
  };
  const Call call(entry("GLA"), 5, 1), delta(entry("DeltaNet"), 5, 1), plain(entry("RetNet"), 5, 1);
  Backward good(call, call.state(1)), of_delta(delta, delta.state(1)),
      of_plain(plain, plain.state(1));
  const auto error = [&](const mixers::Inputs& in, const mixers::Operand& d_out,
                         const mixers::Gradients& to) {
    return error_of(
        [&] { mixers::backward(in, d_out, good.before, good.d_state, to, call.entry.mixer); });
  };
  mixers::Gradients without = of_delta.to(0, 5);
  without.beta = {};
  CHECK(error_of([&] {
          mixers::backward(delta.inputs(), of_delta.d_out.view(), of_delta.before, of_delta.d_state,
                           without, delta.entry.mixer);
        }) == "posenc::mixers::backward: the gradient of beta is missing: it must be [5, 2, 1].");
  without = good.to(0, 5);
  without.removal = of_plain.q.view();
  CHECK(error(call.inputs(), good.d_out.view(), without) ==
        "posenc::mixers::backward: GLA takes no removal vector, so there is no gradient of it.");
  mixers::Gradients to = good.to(0, 5);
  to.decay = {};
  CHECK(error(call.inputs(), good.d_out.view(), to) ==
        "posenc::mixers::backward: the gradient of the decay is missing: it must be [5, 2, 4].");
  to = good.to(0, 5);
  to.q = to.k;
  CHECK(error(call.inputs(), good.d_out.view(), to) ==
        "posenc::mixers::backward: the gradient of k must not overlap the gradient of q.");
  to = good.to(0, 5);
  to.v = TensorView<float>(good.d_out.view().data, 5, 2, 4);
  CHECK(error(call.inputs(), good.d_out.view(), to) ==
        "posenc::mixers::backward: the gradient of v must not overlap d_out.");
  CHECK(error(call.inputs(), good.d_out.view().slice(0, 4), good.to(0, 5)) ==
        "posenc::mixers::backward: d_out is [4, 2, 4] but must be [5, 2, 4].");
  mixers::RecurrenceGradients other(plain.entry.mixer);
  to = good.to(0, 5);
  to.learned = &other;
  CHECK(error(call.inputs(), good.d_out.view(), to) ==
        "posenc::mixers::backward: the gradients of what is learned are not those of GLA.");
  to = of_plain.to(0, 5);
  to.decay = good.decay.view();
  CHECK(error_of([&] {
          mixers::backward(plain.inputs(), of_plain.d_out.view(), of_plain.before, of_plain.d_state,
                           to, plain.entry.mixer);
        }) ==
        "posenc::mixers::backward: RetNet takes no decay by token, so there is no gradient of it.");
  mixers::State two(call.entry.mixer, 2);
  CHECK(error_of([&] {
          mixers::backward(call.inputs(), good.d_out.view(), two, good.d_state, good.to(0, 5),
                           call.entry.mixer);
        }) == "posenc::mixers::backward: the state is of 2 sequences, but its gradient of 1.");
  CHECK(error_of([&] {
          mixers::backward(call.inputs(), good.d_out.view(), good.d_state, good.d_state,
                           good.to(0, 5), call.entry.mixer);
        }) == "posenc::mixers::backward: the gradient of the state must not be the state.");
  CHECK(
      error_of(
          [&] { static_cast<void>(mixers::backward_workspace_bytes(call.entry.mixer, -1)); }) ==
      "posenc::mixers::backward_workspace_bytes: the longest sequence and the number of sequences "
      "must not be negative, got -1 and 1.");
  // A rule that does not know its gradient.
  CHECK(error_of([&] {
          mixers::backward(call.inputs(), good.d_out.view(), good.before, good.d_state,
                           good.to(0, 5), mixers::Mixer(Own{}));
        }) ==
        "posenc::mixers::backward: Own has a rule for its decays that does not say its gradient "
        "(rule_gradient).");
  // No tokens: the gradient of the state stays what it is.
  mixers::State same = good.d_state;
  mixers::backward(call.inputs(0, 0), good.d_out.view().slice(0, 0), good.before, good.d_state,
                   good.to(0, 0), call.entry.mixer);
  CHECK(posenc_test::same_bits(numbers(good.d_state.matrices()), numbers(same.matrices())));
}

}  // namespace mixers_test::backward_cases
