// SPDX-License-Identifier: MIT
#include <posenc/posenc.hpp>

#include "../support/catch.hpp"

#include <algorithm>
#include <bitset>
#include <ranges>
#include <string>
#include <vector>

namespace elsewhere {

/// Components of a user, in a namespace that knows nothing of the library.
struct Bonus {
  float strength = 1;
  [[nodiscard]] double relative_bias(std::ptrdiff_t, std::int64_t) const {
    return static_cast<double>(strength);
  }
};
struct EvenKeys {
  template <class S>
  [[nodiscard]] bool visible(const S& at) const {
    return at.key_index % 2 == 0;
  }
};
/// Its own | must go on meaning what it means.
enum class Flag : unsigned { none = 0, a = 1, b = 2 };
constexpr Flag operator|(Flag x, Flag y) {
  return static_cast<Flag>(static_cast<unsigned>(x) | static_cast<unsigned>(y));
}
enum Plain : unsigned { one = 1, two = 2 };
struct Nothing {};

}  // namespace elsewhere

using namespace posenc;

namespace pipeline_cases {

template <class E>
std::string order(const E& composed) {
  std::string names;
  composed.for_each([&]<class T>(const T&) {
    if constexpr (RotaryBase<T>) names += "rope ";
    if constexpr (std::is_same_v<T, PI>) names += "pi ";
    if constexpr (std::is_same_v<T, ABF>) names += "abf ";
    if constexpr (std::is_same_v<T, ALiBi>) names += "alibi ";
    if constexpr (std::is_same_v<T, SoftCap>) names += "cap ";
    if constexpr (std::is_same_v<T, Causal>) names += "causal ";
  });
  return names;
}

TEST_CASE("pipeline: composition is flat and keeps the order") {
  const RoPE<HalfSplit> rope{.head_dim = 8};
  const auto left = ((rope | PI{.factor = 2}) | ALiBi{}) | Causal{};
  const auto right = rope | (PI{.factor = 2} | (ALiBi{} | Causal{}));
  const auto pairs = (rope | PI{.factor = 2}) | (ALiBi{} | Causal{});
  const auto called = encoding(rope, PI{.factor = 2}, ALiBi{}, Causal{});
  const auto nested = encoding(encoding(rope), PI{.factor = 2} | ALiBi{}, encoding(Causal{}));
  using Expected = Encoding<RoPE<HalfSplit>, PI, ALiBi, Causal>;
  STATIC_REQUIRE(std::is_same_v<decltype(left), const Expected>);
  STATIC_REQUIRE(std::is_same_v<decltype(right), const Expected>);
  STATIC_REQUIRE(std::is_same_v<decltype(pairs), const Expected>);
  STATIC_REQUIRE(std::is_same_v<decltype(called), const Expected>);
  STATIC_REQUIRE(std::is_same_v<decltype(nested), const Expected>);
  for (const auto& each : {left, right, pairs, called, nested}) {
    CHECK(order(each) == "rope pi alibi causal ");
    CHECK(each.get<0>().head_dim == 8);
    CHECK(each.get<1>().factor == 2);
  }
  CHECK(order(rope | ABF{.beta = 2} | PI{.factor = 2}) == "rope abf pi ");
  CHECK(order(rope | PI{.factor = 2} | ABF{.beta = 2}) == "rope pi abf ");
  CHECK(order(SoftCap{5} | ALiBi{} | SoftCap{6}) == "cap alibi cap ");
}

TEST_CASE("pipeline: composing again copies, it does not change") {
  const auto base = RoPE<Interleaved>{.head_dim = 8} | Causal{};
  const auto longer = base | ALiBi{};
  CHECK(order(base) == "rope causal ");
  CHECK(order(longer) == "rope causal alibi ");
}

TEST_CASE("pipeline: encodings of one component and of none") {
  STATIC_REQUIRE(std::is_same_v<decltype(encoding(Causal{})), Encoding<Causal>>);
  STATIC_REQUIRE(std::is_same_v<decltype(encoding(encoding(Causal{}))), Encoding<Causal>>);
  STATIC_REQUIRE(std::is_same_v<decltype(encoding(Causal{}) | ALiBi{}), Encoding<Causal, ALiBi>>);
  STATIC_REQUIRE(std::is_same_v<decltype(encoding()), Encoding<>>);
  STATIC_REQUIRE(std::is_same_v<decltype(encoding() | Causal{}), Encoding<Causal>>);
  CHECK(bind(encoding()).shape().num_heads == 1);
  CHECK(bind(Causal{}, {.num_heads = 3}).shape().num_kv_heads == 3);
}

TEST_CASE("pipeline: constant expressions") {
  constexpr auto composed = RoPE<HalfSplit>{.head_dim = 64, .base = 500'000} |
                            YaRN{.factor = 4, .original_context = 32'768} |
                            ReRoPE{.window = 8'192} | ALiBi{} | SlidingWindow{.left = 65'535} |
                            SoftCap{50};
  STATIC_REQUIRE(composed.get<0>().base == 500'000);
  STATIC_REQUIRE(composed.num_rotary_bases == 1);
  STATIC_REQUIRE(composed.num_distance_maps == 1);
  STATIC_REQUIRE(composed.transforms_frequencies);
  STATIC_REQUIRE(!composed.depends_on_length);
  STATIC_REQUIRE(!composed.rotates_values);
  STATIC_REQUIRE(decltype(composed)::size == 6);
}

TEST_CASE("pipeline: what an encoding says of itself") {
  const RoPE<HalfSplit> rope{.head_dim = 8};
  STATIC_REQUIRE(decltype(rope | DynamicNTK{})::depends_on_length);
  STATIC_REQUIRE(decltype(rope | Dynamic<YaRN>{})::depends_on_length);
  STATIC_REQUIRE(!decltype(rope | YaRN{})::depends_on_length);
  STATIC_REQUIRE(decltype(rope | RotateValues{})::rotates_values);
  STATIC_REQUIRE(decltype(ALiBi{} | Causal{})::num_rotary_bases == 0);
}

TEST_CASE("pipeline: components of others, on either side") {
  STATIC_REQUIRE(Component<elsewhere::Bonus>);
  STATIC_REQUIRE(Component<elsewhere::EvenKeys>);
  STATIC_REQUIRE(!Component<elsewhere::Nothing>);
  const auto left = elsewhere::Bonus{2} | Causal{};
  const auto right = Causal{} | elsewhere::Bonus{3} | elsewhere::EvenKeys{};
  const auto own = encoding(elsewhere::Bonus{4}, elsewhere::EvenKeys{});
  const auto both = elsewhere::Bonus{5} | elsewhere::EvenKeys{};  // the operator is visible here
  STATIC_REQUIRE(std::is_same_v<decltype(left), const Encoding<elsewhere::Bonus, Causal>>);
  STATIC_REQUIRE(std::is_same_v<decltype(own), const decltype(both)>);
  CHECK(left.get<0>().strength == 2);
  CHECK(right.get<1>().strength == 3);
  CHECK(both.get<0>().strength == 5);
}

TEST_CASE("pipeline: components are told by what they answer") {
  STATIC_REQUIRE(RotaryBase<RoPE<HalfSplit>>);
  STATIC_REQUIRE(FrequencyTransform<YaRN>);
  STATIC_REQUIRE(!FrequencyTransform<RoPE<HalfSplit>>);
  STATIC_REQUIRE(DistanceMap<ReRoPE>);
  STATIC_REQUIRE(!DistanceMap<ALiBi>);
  STATIC_REQUIRE(RelativeBias<prepared_t<ALiBi>>);
  STATIC_REQUIRE(ScoreMap<SoftCap>);
  STATIC_REQUIRE(!ScoreBias<SoftCap>);
  STATIC_REQUIRE(TiledMask<Causal>);
  STATIC_REQUIRE(Mask<elsewhere::EvenKeys>);
  STATIC_REQUIRE(!TiledMask<elsewhere::EvenKeys>);
  STATIC_REQUIRE(QueryTemperature<LogN>);
  STATIC_REQUIRE(SoftmaxSink<prepared_t<SinkLogit>>);
  STATIC_REQUIRE(ValueRotation<RotateValues>);
  STATIC_REQUIRE(!Component<int>);
  STATIC_REQUIRE(!Component<std::string>);
  STATIC_REQUIRE(!Component<std::vector<float>>);
  STATIC_REQUIRE(!Component<RoPE<HalfSplit>*>);
}

TEST_CASE("pipeline: | of everybody else is left alone") {
  CHECK((std::bitset<4>(5) | std::bitset<4>(2)) == std::bitset<4>(7));
  CHECK((elsewhere::Flag::a | elsewhere::Flag::b) == static_cast<elsewhere::Flag>(3));
  CHECK((elsewhere::one | elsewhere::two) == 3U);
  CHECK((true | false) == 1);
  CHECK((std::ios::in | std::ios::out) != std::ios::in);
#if !defined(__clang__) || \
    __clang_major__ >= 16  // earlier ones cannot compile <ranges> of libstdc++
  const std::vector<int> numbers{1, 2, 3};
  int sum = 0;
  for (const int x :
       numbers | std::views::transform([](int i) { return 10 * i; }) | std::views::drop(1))
    sum += x;
  CHECK(sum == 50);
#endif
}

}  // namespace pipeline_cases
