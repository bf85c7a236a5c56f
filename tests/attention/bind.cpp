// SPDX-License-Identifier: MIT
#include <posenc/bind/bind.hpp>
#include <posenc/posenc.hpp>

#include "../support/catch.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace posenc;

namespace bind_cases {

template <class E>
std::vector<std::string> problems_of(const E& encoding, const BindOptions& options) {
  try {
    (void)bind(encoding, options);
  } catch (const Error& error) {
    return error.problems();
  }
  return {};
}

bool mentions(const std::vector<std::string>& problems, const std::string& part) {
  for (const std::string& problem : problems)
    if (problem.find(part) != std::string::npos) return true;
  return false;
}

struct Twice {
  [[nodiscard]] double temperature(Position) const { return 2; }
};
struct ByPosition {
  [[nodiscard]] double temperature(Position query) const { return static_cast<double>(query) + 1; }
};
struct OwnScale {
  double value = 0.25;
  [[nodiscard]] double score_scale(Index head_dim) const {
    return value * static_cast<double>(head_dim);
  }
};
/// Multiplies the softmax scale, as some schemes do with their temperature.
struct ScoreFactor {
  double factor = 1;
  void transform(RotaryState& state) const { state.score_factor *= factor; }
};
/// Ends with whatever it is told to.
struct Sabotage {
  double value = 1;
  Index count = -1;  ///< of frequencies; -1: leave as it is
  void transform(RotaryState& state) const {
    if (count >= 0) state.inv_freq = Frequencies::Ones(count);
    state.inv_freq *= value;
  }
};
struct BadFactor {
  void transform(RotaryState& state) const { state.attention_factor = std::nan(""); }
};

const RoPE<HalfSplit> rope{.head_dim = 8};

TEST_CASE("bind: what follows from the options") {
  const auto bound = bind(rope | Causal{}, {.num_heads = 12, .num_kv_heads = 4});
  CHECK(bound.shape().num_heads == 12);
  CHECK(bound.shape().num_kv_heads == 4);
  CHECK(bound.shape().head_dim == 8);
  CHECK(bound.rotary().pairs() == 4);
  CHECK(bound.rotary().offset == 0);
  CHECK(bound.options().num_heads == 12);
  CHECK(bind(rope, {.num_heads = 7}).shape().num_kv_heads == 7);
  CHECK(bind(ALiBi{} | Causal{}, {.num_heads = 3}).shape().head_dim == 0);
  CHECK(bind(ALiBi{} | Causal{}, {.num_heads = 3, .head_dim = 40}).shape().head_dim == 40);
  CHECK(bind(rope, {.head_dim = 8}).shape().head_dim == 8);
}

TEST_CASE("bind: a sentence for each wrong option") {
  const auto encoding = rope | Causal{};
  CHECK(problems_of(encoding, {.num_heads = 0}).front() ==
        "num_heads must lie within [1, 1048576], got 0.");
  CHECK(mentions(problems_of(encoding, {.num_heads = -4}),
                 "num_heads must lie within [1, 1048576], got -4."));
  CHECK(problems_of(encoding, {.num_heads = 8, .num_kv_heads = 3}) ==
        std::vector<std::string>{
            "num_kv_heads must divide num_heads, got 3 key heads for 8 query heads."});
  CHECK(mentions(problems_of(encoding, {.num_heads = 8, .num_kv_heads = -2}),
                 "got -2 key heads for 8 query heads."));
  CHECK(mentions(problems_of(encoding, {.num_heads = 8, .num_kv_heads = 16}),
                 "got 16 key heads for 8 query heads."));
  CHECK(mentions(problems_of(ALiBi{} | Causal{}, {.head_dim = -1}),
                 "head_dim must not be negative, got -1."));
  for (const double scale : {std::nan(""), std::numeric_limits<double>::infinity()})
    CHECK(mentions(problems_of(encoding, {.scale = scale}), "scale must be finite, got "));
  CHECK(problems_of(encoding, {.scale = 0}).empty());
  CHECK(problems_of(encoding, {.scale = -1}).empty());
  CHECK(
      mentions(problems_of(encoding, {.length = -1}), "length must lie within [0, 2^52], got -1."));
  CHECK(mentions(problems_of(encoding, {.length = (Position{1} << 52) + 1}),
                 "length must lie within"));
  CHECK(problems_of(encoding, {.length = Position{1} << 52}).empty());
  CHECK(mentions(problems_of(encoding, {.head_dim = 16}),
                 "head_dim is 8, but the encoding is bound to heads of 16"));
}

TEST_CASE("bind: every problem of every component at once") {
  const auto encoding = RoPE<HalfSplit>{.head_dim = 7, .base = -1} | ReRoPE{.window = 0} |
                        SlidingWindow{.left = -1} | SoftCap{-3} | SinkLogit{.logits = {1, 2}};
  const BindOptions options{.num_heads = 8, .num_kv_heads = 3, .scale = std::nan(""), .length = -5};
  const auto problems = problems_of(encoding, options);
  for (const char* part :
       {"num_kv_heads must divide", "scale must be finite", "length must lie within",
        "rotary_dim must be even, got 7", "base must be positive and finite, got -1",
        "ReRoPE: window", "SlidingWindow: left", "SoftCap: cap", "SinkLogit: logits"}) {
    INFO(part);
    CHECK(mentions(problems, part));
  }
  CHECK_THROWS_WITH(bind(encoding, options),
                    StartsWith("posenc::bind: " + std::to_string(problems.size()) + " problems"));

  // Frequencies are checked against a base that makes sense.
  const auto frequencies =
      problems_of(rope | PI{.factor = 0.5} | ABF{.beta = -1} | SoftCap{0}, {.num_heads = 0});
  for (const char* part : {"num_heads", "PI: factor", "ABF: ", "SoftCap: cap"}) {
    INFO(part);
    CHECK(mentions(frequencies, part));
  }
}

TEST_CASE("bind: a rotary base that makes no sense is reported, whatever stands behind it") {
  const auto refused = [](const auto& encoding) {
    try {
      (void)bind(encoding);
    } catch (const Error& error) {
      return error.problems().size() >= 1;
    }
    return false;
  };
  constexpr Index big = Index{1} << 40, most = std::numeric_limits<Index>::max(),
                  least = std::numeric_limits<Index>::min();
  for (const RoPE<Interleaved>& base :
       {RoPE<Interleaved>{},
        {.head_dim = -64},
        {.head_dim = 63},
        {.head_dim = big},
        {.head_dim = most},
        {.head_dim = 64, .rotary_dim = -2},
        {.head_dim = 64, .rotary_dim = 7},
        {.head_dim = 64, .rotary_dim = 66},
        {.head_dim = 64, .rotary_dim = big},
        {.head_dim = 64, .rotary_dim = most - 1},
        {.head_dim = 64, .rotary_dim = least},
        {.head_dim = 64, .rotary_dim = 32, .rotary_offset = 33},
        {.head_dim = 64, .rotary_dim = 32, .rotary_offset = -1},
        {.head_dim = 64, .rotary_dim = 32, .rotary_offset = most},
        {.head_dim = 64, .base = 0},
        {.head_dim = 64, .base = -5},
        {.head_dim = 64, .base = std::nan("")},
        {.head_dim = 64, .base = std::numeric_limits<double>::infinity()}}) {
    INFO("head_dim " << base.head_dim << ", rotary_dim " << base.rotary_dim << ", offset "
                     << base.rotary_offset << ", base " << base.base);
    CHECK(refused(encoding(base)));
    CHECK(refused(base | PI{.factor = 4}));
    CHECK(refused(base | YaRN{.factor = 4, .original_context = 4096}));
    CHECK(refused(base | NTK{.alpha = 4} | Llama3{.factor = 8, .original_context = 8192}));
    CHECK(refused(base | DynamicNTK{.original_context = 4096}));
    CHECK(refused(
        base |
        LongRoPE{.short_factor = {1}, .long_factor = {2}, .factor = 2, .original_context = 64}));
    CHECK(refused(base | TruncatedBasis{.wavelength = 4096} | PowerScaling{.exponent = 0.1} |
                  Proportional{.fraction = 0.25}));
    CHECK(refused(base | RotateValues{} | Causal{}));
  }
}

TEST_CASE("bind: frequencies that end badly") {
  CHECK(mentions(problems_of(rope | Sabotage{.count = 3}, {}),
                 "ends with 3 frequencies for 4 rotary pairs."));
  CHECK(mentions(problems_of(rope | Sabotage{.value = -1}, {}),
                 "a frequency that is negative or not finite"));
  CHECK(mentions(problems_of(rope | Sabotage{.value = std::nan("")}, {}),
                 "a frequency that is negative or not finite"));
  CHECK(mentions(problems_of(rope | BadFactor{}, {}), "an attention factor that is not finite."));
  CHECK(problems_of(rope | Sabotage{.value = 0}, {}).empty());
}

TEST_CASE("bind: the softmax scale") {
  CHECK(bind(Causal{}).scale(64) == 0.125);
  CHECK(bind(rope | Causal{}).scale(4) == 0.5);
  CHECK(bind(rope, {.scale = 3}).scale(64) == 3);
  CHECK(bind(rope | OwnScale{}).scale(64) == 16);
  CHECK(bind(rope | OwnScale{}, {.scale = 3}).scale(64) == 3);
  CHECK(bind(rope | ScoreFactor{5}).scale(64) == 0.625);
  CHECK(bind(rope | ScoreFactor{5} | ScoreFactor{2}, {.scale = 3}).scale(64) == 30);
  CHECK(bind(T5Bias{.table = std::vector<float>(32)} | Causal{}).scale(64) == 1);
}

TEST_CASE("bind: temperatures multiply") {
  CHECK(bind(Causal{}).temperature(9) == 1);
  CHECK(bind(rope | Twice{} | Causal{}).temperature(9) == 2);
  CHECK(bind(rope | Twice{} | Causal{} | ByPosition{} | Twice{}).temperature(9) == 40);
  CHECK_THAT(bind(LogN{.base_length = 100, .clipped = true} | Twice{}).temperature(9999),
             WithinAbs(4, 1e-14));
}

TEST_CASE("bind: at another length") {
  const auto encoding = RoPE<HalfSplit>{.head_dim = 16} |
                        DynamicNTK{.original_context = 64, .form = DynamicNTKForm::paper};
  const auto at_rest = bind(encoding, {.num_heads = 4, .num_kv_heads = 2, .scale = 2});
  const auto base_of = [](const auto& bound) { return bound.rotary().state.base; };
  CHECK(at_rest.rotary().state.inv_freq[1] == std::pow(10000.0, -1.0 / 8));
  const auto longer = at_rest.at_length(256);
  CHECK(longer.shape().num_kv_heads == 2);
  CHECK(longer.options().scale == 2.0);
  CHECK(longer.options().length == 256);
  CHECK_THAT(longer.rotary().state.inv_freq[1],
             WithinRel(std::pow(10000 * std::pow(4.0, 16.0 / 14), -1.0 / 8), 1e-13));
  CHECK(base_of(longer.at_length(64)) == base_of(at_rest));
  CHECK((bind(encoding, {.length = 256}).rotary().state.inv_freq == longer.rotary().state.inv_freq)
            .all());
  CHECK_THROWS_AS(at_rest.at_length(-1), Error);
}

TEST_CASE("bind: what was moved from answers as before") {
  auto bound = bind(RoPE<HalfSplit>{.head_dim = 8} | YaRN{.factor = 4, .original_context = 64} |
                        T5Bias{.table = std::vector<float>(32 * 2, 0.5F)} | Causal{},
                    {.num_heads = 2, .num_kv_heads = 1});
  AnyEncoding encoding = RoPE<HalfSplit>{.head_dim = 8} | ALiBi{};
  AnyBound any = bind(encoding, {.num_heads = 2, .num_kv_heads = 1});
  const auto taken = std::move(bound);
  const AnyBound any_taken = std::move(any);
  const AnyEncoding encoding_taken = std::move(encoding);
  CHECK(encoding.size() == encoding_taken.size());  // NOLINT: that is what is tested

  std::vector<float> q(5 * 2 * 8, 0.3F), k(5 * 8, 0.2F), v(5 * 8), out(5 * 2 * 8), same(5 * 2 * 8);
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i);
  const auto attend = [&](const auto& with, std::vector<float>& to) {
    attention(TensorView<const float>(q.data(), 5, 2, 8),
              TensorView<const float>(k.data(), 5, 1, 8),
              TensorView<const float>(v.data(), 5, 1, 8), TensorView<float>(to.data(), 5, 2, 8),
              with);
  };
  attend(taken, out), attend(bound, same);  // NOLINT
  CHECK(out == same);
  attend(any_taken, out), attend(any, same);  // NOLINT
  CHECK(out == same);
}

TEST_CASE("bind: transforms apply in the order written, to the state so far") {
  // Dividing by 4 and then cutting slow pairs is not cutting and then dividing.
  const RoPE<HalfSplit> base{.head_dim = 32};
  const auto frequencies = [](const auto& encoding) {
    return bind(encoding).rotary().state.inv_freq;
  };
  const Frequencies plain = frequencies(encoding(base));
  CHECK((frequencies(base | PI{.factor = 2} | PI{.factor = 4}) - plain / 8).abs().maxCoeff() <
        1e-16);
  CHECK_THAT(bind(base | ABF{.beta = 50} | ABF{.beta = 2}).rotary().state.base,
             WithinRel(1e6, 1e-14));
  CHECK((frequencies(base | ABF{.beta = 50} | YaRN{.factor = 4, .original_context = 4096}) -
         frequencies(RoPE<HalfSplit>{.head_dim = 32, .base = 500'000} |
                     YaRN{.factor = 4, .original_context = 4096}))
            .abs()
            .maxCoeff() < 1e-14);
}

TEST_CASE("bind: components are prepared in the order written") {
  const auto bound = bind(ALiBi{} | SoftCap{5} | Causal{}, {.num_heads = 8});
  const std::span<const detail::Stage> stages = bound.answers().asked();
  REQUIRE(stages.size() == 3);
  CHECK(stages[0].ask->change(stages[0].self, 0, {.query = 10}) == -5);
  CHECK(stages[1].ask->change(stages[1].self, 1e9, {}) == 5);
  CHECK(stages[2].ask->visible(stages[2].self, {.query_index = 1}));
  CHECK_FALSE(stages[2].ask->visible(stages[2].self, {.key_index = 1}));
}

TEST_CASE("bind: distance maps") {
  const auto leaky = bind(rope | LeakyReRoPE{.window = 4, .factor = 8});
  STATIC_REQUIRE(decltype(leaky)::has_distance_map);
  CHECK(leaky.distance_map().window == 4);
  CHECK(leaky.rotary().region_angles(LeakyReRoPE::near).step() == 1);
  CHECK(leaky.rotary().region_angles(LeakyReRoPE::far_past).step() == 0.125);
  CHECK(&leaky.rotary().region_angles(LeakyReRoPE::far_past) ==
        &leaky.rotary().region_angles(LeakyReRoPE::far_future));
  CHECK(&leaky.rotary().region_angles(LeakyReRoPE::near) == &leaky.rotary().angles);
  const auto copy = leaky;
  CHECK(&copy.rotary().region_angles(LeakyReRoPE::near) == &copy.rotary().angles);
  CHECK(bind(rope).distance_map().distance(7, 4) == 3);
  CHECK(bind(Causal{} | rope | ALiBi{} | ReRoPE{.window = 5} | SoftCap{}).distance_map().window ==
        5);
}

TEST_CASE("bind: partial rotary truncates as Hugging Face does") {
  CHECK(RoPE<HalfSplit>::partial(80, 0.4).rotary_dim == 32);
  CHECK(RoPE<HalfSplit>::partial(96, 0.25).rotary_dim == 24);
  CHECK(RoPE<HalfSplit>::partial(10, 0.29).rotary_dim == 2);
  CHECK(problems_of(encoding(RoPE<HalfSplit>::partial(100, 0.25)), {}).size() == 1);  // 25 channels
  CHECK(bind(RoPE<HalfSplit>::partial(128, 0.5, 1e6)).rotary().state.base == 1e6);
}

}  // namespace bind_cases
