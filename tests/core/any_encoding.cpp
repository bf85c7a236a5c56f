// SPDX-License-Identifier: MIT
//
// Encodings that are composed at run time: what the compiler refuses of others, they say in sentences.
#include <posenc/attention/attention.hpp>
#include <posenc/bias/alibi.hpp>
#include <posenc/bias/t5_bias.hpp>
#include <posenc/bind/any.hpp>
#include <posenc/distance/leaky_rerope.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/rotate/rotate.hpp>

#include "../support/catch.hpp"

#include <vector>

namespace any_encoding_cases {

using namespace posenc;

const RoPE<HalfSplit> rope{.head_dim = 16};

TEST_CASE("AnyEncoding: components join in the order written") {
  AnyEncoding e = rope;
  e |= YaRN{.factor = 4, .original_context = 64};
  e = e | ALiBi{};
  e = Causal{} | e;
  e |= AnyEncoding(rope);
  CHECK(e.size() == 5);
  const AnyEncoding& self = e;
  e |= self;
  CHECK(e.size() == 10);
  const AnyBound bound = bind(Causal{} | AnyEncoding(rope | ALiBi{}), {.num_heads = 8});
  CHECK(bound.has_rotary());
  CHECK_FALSE(bound.has_distance_map());
  CHECK_FALSE(bound.depends_on_length());
  CHECK(bound.answers().asked().size() == 2);
  CHECK(bound.rotary().state.head_dim == 16);
  CHECK(bound.shape().head_dim == 16);
}

TEST_CASE("AnyEncoding: copies outlive what they were copied from") {
  std::vector<AnyBound> bounds;
  {
    AnyEncoding e = rope | T5Bias{.table = std::vector<float>(32 * 4, 0.5F)};
    bounds.push_back(bind(e | Causal{}, {.num_heads = 4}));
    bounds.push_back(bounds.front().at_length(100));
    bounds.push_back(bounds.front());
    bounds.erase(bounds.begin());
  }
  std::vector<float> q(4 * 16, 1), out(4 * 16);
  for (const AnyBound& bound : bounds) {
    attention({q.data(), 1, 4, 16}, {q.data(), 1, 4, 16}, {q.data(), 1, 4, 16},
              TensorView(out.data(), 1, 4, 16), bound);
    CHECK(out == q);
  }
}

TEST_CASE("AnyEncoding: the rotation alone is what turns channels") {
  const AnyEncoding all =
      rope | YaRN{.factor = 4, .original_context = 64} | ALiBi{} | ReRoPE{.window = 7} | Causal{};
  CHECK(all.rotation().size() == 2);
  const auto turned = [](const AnyEncoding& encoding) {
    return bind(encoding, {.num_heads = 4}).rotary().state.inv_freq;
  };
  CHECK((turned(all.rotation()) - turned(all)).abs().maxCoeff() == 0);
  CHECK(AnyEncoding(ALiBi{} | Causal{}).rotation().size() == 0);
}

TEST_CASE("AnyEncoding: a wrong composition is a sentence") {
  const auto problems = [](const AnyEncoding& e) -> std::string {
    try {
      (void)bind(e, {.num_heads = 4});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK_THAT(problems(rope | AnyEncoding(rope)), ContainsSubstring("one rotary base"));
  CHECK_THAT(problems(AnyEncoding(rope | ReRoPE{.window = 4}) | LeakyReRoPE{.window = 4}),
             ContainsSubstring("one distance map"));
  CHECK_THAT(problems(YaRN{.factor = 2, .original_context = 8}),
             ContainsSubstring("no rotary base"));
  CHECK_THAT(problems(ReRoPE{.window = 4}), ContainsSubstring("rewrites rotary distances"));
  CHECK_THAT(problems(AnyEncoding(RotateValues{})), ContainsSubstring("rotates values"));
  CHECK_THAT(problems(AnyEncoding(rope | RotateValues{}) | ReRoPE{.window = 4}),
             ContainsSubstring("rotated differently for every query"));
  CHECK_THAT(problems(AnyEncoding(rope) | YaRN{.factor = -2, .original_context = 8}),
             ContainsSubstring("factor"));
  // All problems at once.
  CHECK_THAT(problems(AnyEncoding(RotateValues{}) | ReRoPE{.window = 4}),
             ContainsSubstring("3 problems"));
  CHECK(problems(AnyEncoding()).empty());
}

TEST_CASE("AnyEncoding: calls that do not exist for an encoding are refused") {
  std::vector<float> x(4 * 16, 1);
  const TensorView view(x.data(), 1, 4, 16);
  CHECK_THROWS_WITH(rotate(view, 0, bind(AnyEncoding(Causal{}), {.num_heads = 4})),
                    ContainsSubstring("nothing to rotate"));
  CHECK_THROWS_WITH(rotate(view, 0,
                           bind(AnyEncoding(rope | ReRoPE{.window = 4}), {.num_heads = 4})),
                    ContainsSubstring("no single rotation"));
  std::vector<float> out(4 * 16);
  const auto attend = [&](const AnyEncoding& e) {
    attention(view, RotatedKeys{view}, view, TensorView(out.data(), 1, 4, 16),
              bind(e, {.num_heads = 4}));
  };
  CHECK_NOTHROW(attend(rope | Causal{}));
  CHECK_THROWS_WITH(attend(rope | ReRoPE{.window = 4}), ContainsSubstring("distance map"));
  CHECK_THROWS_WITH(attend(rope | DynamicNTK{.original_context = 8}),
                    ContainsSubstring("depend on the length"));
}

TEST_CASE("AnyEncoding: rotate gives the bits of the static form") {
  std::vector<float> a(3 * 4 * 16), b;
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i % 7) - 3;
  b = a;
  rotate(TensorView(a.data(), 3, 4, 16), 5, bind(rope));
  rotate(TensorView(b.data(), 3, 4, 16), 5, bind(AnyEncoding(rope)));
  CHECK(a == b);
}

}  // namespace any_encoding_cases
