// SPDX-License-Identifier: MIT
//
// MsPoE: the ratios of heads against the formula in long double, what they are ordered by, and what is reported.
#include "oracle.hpp"

#include "../support/error_of.hpp"

#include <posenc/bind/any.hpp>
#include <posenc/bind/bind.hpp>
#include <posenc/frequency/ms_poe.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/validate/validate.hpp>

#include <vector>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<MsPoE> && ChecksState<MsPoE> && !LengthDependent<MsPoE>);

namespace ms_poe_cases {

RotaryState with_heads(Index heads) {
  RotaryState s = state(32);
  s.kv_heads = heads;
  return s;
}

/// Head h turns 1 / ratio[h] times as fast, all of its pairs.
void check_heads(const RotaryState& s, const std::vector<Real>& ratio) {
  REQUIRE(s.head_scale.size() == s.kv_heads * s.pairs());
  REQUIRE(std::ssize(ratio) == s.kv_heads);
  for (Index h = 0; h < s.kv_heads; ++h) {
    const RotaryState own = s.of_head(h);
    for (Index i = 0; i < s.pairs(); ++i) {
      const Real wanted = static_cast<Real>(s.inv_freq[i]) / ratio[static_cast<std::size_t>(h)];
      CHECK(std::abs(static_cast<Real>(own.inv_freq[i]) - wanted) <= 1e-15L * wanted);
    }
  }
}

TEST_CASE("MsPoE: ratios are linear over the heads in order, and stop one step short") {
  check_heads(after(MsPoE{}, with_heads(4)), {1.2L, 1.35L, 1.5L, 1.65L});
  check_heads(after(MsPoE{.least = 1, .greatest = 3}, with_heads(5)), {1, 1.4L, 1.8L, 2.2L, 2.6L});
  check_heads(after(MsPoE{.order = {2, 0, 3, 1}}, with_heads(4)), {1.35L, 1.65L, 1.2L, 1.5L});
  check_heads(after(MsPoE{}, with_heads(1)), {1.2L});
}

TEST_CASE("MsPoE: others see the common frequencies, and factors of heads multiply") {
  const RotaryState s = after(MsPoE{}, after(PI{2}, with_heads(2)));
  check_pairs(s, [](Index i) { return plain(i, 32, 10000) / 2; }, 1e-15);
  const RotaryState t = after(PI{2}, after(MsPoE{}, with_heads(2)));
  CHECK((s.inv_freq == t.inv_freq).all());
  CHECK((s.head_scale == t.head_scale).all());
  check_heads(after(MsPoE{.order = {1, 0}}, s), {1.2L * 1.5L, 1.5L * 1.2L});
  CHECK(s.attention_factor == 1);
  CHECK(s.base == 10000);
}

TEST_CASE("MsPoE: bind knows the key heads, by type and by value") {
  const auto encoding = RoPE<HalfSplit>{.head_dim = 32} | MsPoE{} | Causal{};
  const BindOptions options{.num_heads = 8, .num_kv_heads = 4};
  const auto typed = bind(encoding, options);
  const AnyBound composed = bind(AnyEncoding(encoding), options);
  for (const Rotary* rotary : {&typed.rotary(), &composed.rotary()}) {
    check_heads(rotary->state, {1.2L, 1.35L, 1.5L, 1.65L});
    REQUIRE(rotary->rates() == 4);
    for (Index h = 0; h < 4; ++h) CHECK(rotary->of(h).angles.pairs() == 16);
  }
  const auto alike = bind(RoPE<HalfSplit>{.head_dim = 32} | PI{2}, options);
  CHECK(alike.rotary().rates() == 1);
  CHECK(&alike.rotary().of(3) == &alike.rotary());
}

TEST_CASE("MsPoE: what it says twice agrees") {
  CHECK_NOTHROW(validate(MsPoE{}, {.shape = {.num_heads = 8, .num_kv_heads = 4, .head_dim = 32}}));
}

TEST_CASE("MsPoE reports wrong ratios and orders") {
  CHECK(sentences(MsPoE{}, with_heads(3)).empty());
  check_sentence(MsPoE{.least = 0.5}, with_heads(3), "least must be at least 1, got 0.5");
  check_sentence(MsPoE{.least = not_a_number}, with_heads(3), "least must be at least 1, got nan");
  check_sentence(MsPoE{.least = 2, .greatest = 1.5}, with_heads(3),
                 "greatest must be at least the least ratio, 2, got 1.5");
  check_sentence(MsPoE{.greatest = infinity}, with_heads(3), "got inf");
  for (const std::vector<Index>& order :
       {std::vector<Index>{0, 1}, {0, 1, 1}, {0, 1, 3}, {-1, 0, 1}, {0, 1, 2, 3}})
    check_sentence(MsPoE{.order = order}, with_heads(3),
                   "order must name each of the 3 key heads once");
}

/// A component that leaves something wrong for heads.
struct Wrong {
  Index values = 0;
  double value = 1;
  void transform(RotaryState& state) const {
    state.head_scale = Frequencies::Constant(values, value);
  }
};

TEST_CASE("what heads are multiplied by is checked at bind") {
  const auto error = [](Index values, double value) {
    return error_of([&] {
      (void)bind(RoPE<HalfSplit>{.head_dim = 8} | Wrong{values, value}, {.num_heads = 2});
    });
  };
  CHECK(error(8, 0.5) == "nothing was wrong");
  CHECK(error(8, 0) == "nothing was wrong");
  CHECK(error(7, 1).find("head_scale of 7 values for 2 key heads of 4 rotary pairs: it needs 8") !=
        std::string::npos);
  for (const double value : {-1.0, not_a_number, infinity})
    CHECK(error(8, value).find("head_scale that is negative or not finite") != std::string::npos);
}

TEST_CASE("MsPoE: outliers are the weights of more than three times the mean, by key head") {
  // Five keys of mean 0.2 and four query heads: 0.65 and 0.8 are outliers, 0.59 and 0.2 are none.
  const std::vector<double> weights{
      0.65,   0.59,   0.2, 0.80,  //
      0.0875, 0.1025, 0.2, 0.05,  //
      0.0875, 0.1025, 0.2, 0.05,  //
      0.0875, 0.1025, 0.2, 0.05,  //
      0.0875, 0.1025, 0.2, 0.05,
  };
  CHECK(MsPoE::outliers(weights, 4, 4) == std::vector<double>{0.2, 0, 0, 0.2});
  CHECK(MsPoE::outliers(weights, 4, 2) == std::vector<double>{0.1, 0.1});
  CHECK(MsPoE::outliers(weights, 4, 4, 3.5) == std::vector<double>{0, 0, 0, 0.2});
  CHECK(MsPoE::outliers(std::vector<double>(6, 0.0), 2, 1) == std::vector<double>{0});
  CHECK(MsPoE::order_of(std::vector<double>{0.1, 0.3, 0.1, 0.5}) == std::vector<Index>{3, 1, 0, 2});
  CHECK(MsPoE::order_of({}).empty());
}

TEST_CASE("MsPoE reports what are no weights of heads") {
  const auto error = [](const std::vector<double>& weights, Index heads, Index kv_heads,
                        double threshold = 3) {
    return error_of([&] { (void)MsPoE::outliers(weights, heads, kv_heads, threshold); });
  };
  CHECK(error({1, 1, 1}, 3, 2).find("num_kv_heads must divide num_heads, got 2 key heads for 3") !=
        std::string::npos);
  CHECK(error({1}, 0, 0).find("must divide") != std::string::npos);
  CHECK(error({1, 1, 1}, 2, 1).find("got 3 numbers for 2 heads") != std::string::npos);
  CHECK(error({}, 2, 1).find("of at least one key, got 0 numbers") != std::string::npos);
  CHECK(error({1, not_a_number}, 2, 1).find("weights must be finite, got nan") !=
        std::string::npos);
  CHECK(error({1, 1}, 2, 1, 0).find("threshold must be positive, got 0") != std::string::npos);
}

}  // namespace ms_poe_cases
