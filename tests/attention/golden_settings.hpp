// SPDX-License-Identifier: MIT
//
// The settings of attention.json (tests/golden/README.md): encodings and inputs, made from what the file
// says of each.
#pragma once

#include "../support/catch.hpp"
#include "../support/oracle.hpp"

#include <posenc/posenc.hpp>

#include <nlohmann/json.hpp>

#include <fstream>

namespace golden_test {

using namespace posenc;
using attention_test::Arguments;
using posenc_test::Random;
using posenc_test::size;
using posenc_test::Tensor;
using Json = nlohmann::json;

inline Json golden(const std::string& name) {
  std::ifstream file(POSENC_GOLDEN_DIR "/" + name);
  REQUIRE(file.good());
  return Json::parse(file);
}

/// A SinkLogit in double, as the file has them.
struct ExactSink {
  std::vector<double> logits;
  [[nodiscard]] double sink_logit(Index head) const { return logits[size(head)]; }
  [[nodiscard]] Index num_parameters() const { return std::ssize(logits); }
  void sink_logit_gradient(Index head, double sum, std::span<double> gradient) const {
    gradient[size(head)] += sum;
  }
};

/// Numbers of the generator, [-gain, gain).
inline std::vector<double> generated(std::uint64_t seed, Index count, double gain) {
  Random random(seed);
  std::vector<double> values(size(count));
  for (double& x : values) x = gain * (static_cast<double>(random.bits() >> 40) / 8388608.0 - 1.0);
  return values;
}

inline void add_scheme(AnyEncoding& e, const Json& rotary) {
  const std::string scheme = rotary.at("scheme");
  if (scheme == "linear")
    e |= PI{rotary.at("factor")};
  else if (scheme == "ntk")
    e |= NTK{.alpha = rotary.at("factor")};
  else if (scheme == "yarn")
    e |= YaRN{.factor = rotary.at("factor"),
              .original_context = rotary.at("original_length"),
              .beta_fast = rotary.at("beta_fast"),
              .beta_slow = rotary.at("beta_slow"),
              .truncate = rotary.at("truncate")};
  else if (scheme == "llama3")
    e |= Llama3{.factor = rotary.at("factor"),
                .low_freq_factor = rotary.at("low_freq_factor"),
                .high_freq_factor = rotary.at("high_freq_factor"),
                .original_context = rotary.at("original_length")};
  else
    REQUIRE(scheme == "default");
}

template <class LayoutT>
AnyEncoding rotary_of(const Json& c) {
  const Json& rotary = c.at("rotary");
  AnyEncoding e = RoPE<LayoutT>{
      .head_dim = c.at("d"), .base = rotary.at("base"), .rotary_dim = rotary.at("dim")};
  add_scheme(e, rotary);
  // The file repeats frequencies and amplitude in full digits.
  const RotaryState state = bind(e).rotary().state;
  const std::vector<double> inv_freq = rotary.at("inv_freq");
  for (std::size_t i = 0; i < inv_freq.size(); ++i)
    CHECK_THAT(state.inv_freq[static_cast<Index>(i)], WithinRel(inv_freq[i], 1e-13));
  CHECK_THAT(state.attention_factor, WithinRel(rotary.at("amplitude").get<double>(), 1e-13));

  const Json& rewrite = rotary.at("rewrite");
  if (rewrite.is_null()) return e;
  if (rewrite.at("kind") == "rerope") return e | ReRoPE{rewrite.at("window")};
  return e | LeakyReRoPE{rewrite.at("window"), rewrite.at("k")};
}

inline void add_bias(AnyEncoding& e, const Json& c) {
  const Json& bias = c.at("bias");
  if (bias.is_null()) return;
  const std::string kind = bias.at("kind");
  if (kind == "alibi")
    e |= ALiBi{.slopes = bias.at("slopes")};
  else if (kind == "kerple_log")
    e |= KerpleLog{bias.at("r1"), bias.at("r2")};
  else if (kind == "kerple_power")
    e |= KerplePower{bias.at("r1"), bias.at("r2")};
  else if (kind == "sandwich")
    e |= Sandwich{.width = bias.at("dim"), .cached_distances = 256};
  else {
    REQUIRE(kind == "t5");
    const Index buckets = bias.at("num_buckets");
    const std::vector<double> table = generated(
        bias.at("seed_table"), buckets * c.at("heads").get<Index>(), bias.at("table_gain"));
    e |= T5Bias{.table = {table.begin(), table.end()},
                .num_buckets = buckets,
                .max_distance = bias.at("max_distance"),
                .bidirectional = bias.at("bidirectional")};
  }
}

inline void add_mask(AnyEncoding& e, const Json& mask) {
  const std::string kind = mask.at("kind");
  if (kind == "causal")
    e |= Causal{};
  else if (kind == "prefix")
    e |= PrefixLM{mask.at("prefix")};
  else if (kind == "sink_window")
    e |= SinkWindow{mask.at("n_sink"), mask.at("left").get<Position>() + 1};
  else if (kind == "documents") {
    e |= Documents::from_ids(mask.at("ids"));
    if (mask.at("causal")) e |= Causal{};
  } else if (kind == "window") {
    const auto side = [&](const char* name) {
      return mask.at(name).is_null() ? SlidingWindow::unlimited : mask.at(name).get<Position>();
    };
    e |= SlidingWindow{.left = side("left"), .right = side("right")};
  } else {
    REQUIRE(kind == "none");
  }
}

/// The encoding of a setting, bound to its heads.
inline AnyBound bound_of(const Json& c) {
  AnyEncoding e;
  if (const Json& rotary = c.at("rotary"); !rotary.is_null())
    e = rotary.at("layout") == "half_split" ? rotary_of<HalfSplit>(c) : rotary_of<Interleaved>(c);
  const Json& cap = c.at("softcap");
  const auto cap_if = [&](const char* order) {
    if (!cap.is_null() && cap.at("order") == order) e |= SoftCap{cap.at("cap")};
  };
  cap_if("cap_then_bias");
  add_bias(e, c);
  cap_if("bias_then_cap");
  if (!c.at("logn").is_null()) e |= LogN{.base_length = c.at("logn"), .clipped = true};
  if (!c.at("sinks").is_null()) e |= ExactSink{c.at("sinks")};
  add_mask(e, c.at("mask"));
  return bind(e, {.num_heads = c.at("heads"),
                  .num_kv_heads = c.at("kv_heads"),
                  .head_dim = c.at("d"),
                  .scale = c.at("scale").get<double>()});
}

/// The inputs of a setting.
template <class T>
struct Case {
  Tensor<T> q, k, v;
  Arguments<T> call;

  explicit Case(const Json& c)
      : q(of(c, "seed_q", c.at("tq"), c.at("heads"), c.at("d"), c.at("q_gain"))),
        k(of(c, "seed_k", c.at("tk"), c.at("kv_heads"), c.at("d"), 1)),
        v(of(c, "seed_v", c.at("tk"), c.at("kv_heads"), c.at("dv"), 1)),
        call{q, k, v, {.query_offset = c.at("tk").get<Position>() - c.at("tq").get<Position>()}} {}

  static Tensor<T> of(const Json& c, const char* seed, Index tokens, Index heads, Index width,
                      double gain) {
    Tensor<T> tensor(tokens, heads, width);
    const std::vector<double> values =
        generated(c.at(seed).get<std::uint64_t>(), tokens * heads * width, gain);
    auto next = values.begin();
    for (Index t = 0; t < tokens; ++t)
      for (Index h = 0; h < heads; ++h)
        for (Index d = 0; d < width; ++d) tensor.view()(t, h, d) = static_cast<T>(*next++);
    return tensor;
  }
};

}  // namespace golden_test
