// SPDX-License-Identifier: MIT
//
// attention.json: outputs of torch's scaled_dot_product_attention in float64 for 284 settings, with every
// positional term built densely from its formula (tests/golden/README.md). The reference and the kernel in
// double agree to the digits that the file holds; the kernel in float within the bound of oracle.hpp.
//
// Cases differ in what they combine, so components that are data are chosen at run time behind one type.
#include "../support/bind_any.hpp"
#include "../support/catch.hpp"
#include "../support/oracle.hpp"

#include <posenc/posenc.hpp>

#include <nlohmann/json.hpp>

#include <fstream>
#include <variant>

namespace attention_test {
namespace golden_sdpa_cases {

using Json = nlohmann::json;

/// No bias, or one of those that depend on head and distance.
struct NoBias {
  double relative_bias(Index, Position) const { return 0; }
};
struct AnyBias {
  struct Prepared {
    std::variant<NoBias, PreparedALiBi, PreparedT5Bias, PreparedKerple<KerpleLog>,
                 PreparedKerple<KerplePower>, PreparedSandwich>
        bias;
    double relative_bias(Index head, Position distance) const {
      return std::visit([&](const auto& b) { return b.relative_bias(head, distance); }, bias);
    }
  };
  std::variant<NoBias, ALiBi, T5Bias, KerpleLog, KerplePower, Sandwich> bias;

  Prepared prepare(const HeadShape& shape) const {
    return std::visit(
        [&]<class B>(const B& b) -> Prepared {
          if constexpr (Prepares<B>)
            return {b.prepare(shape)};
          else
            return {b};
        },
        bias);
  }
};

struct NoMask {
  bool visible(const Score&) const { return true; }
  TileClass classify(const Tile&) const { return TileClass::full; }
};
struct AnyMask {
  std::variant<NoMask, Causal, SlidingWindow, SinkWindow, PrefixLM, Documents> mask;
  bool causal = false;  ///< besides the mask

  bool visible(const Score& at) const {
    return (!causal || Causal{}.visible(at)) &&
           std::visit([&](const auto& m) { return m.visible(at); }, mask);
  }
  TileClass classify(const Tile& tile) const {
    const TileClass a = std::visit([&](const auto& m) { return m.classify(tile); }, mask);
    const TileClass b = causal ? Causal{}.classify(tile) : TileClass::full;
    return a == TileClass::none || b == TileClass::none ? TileClass::none
           : a == TileClass::full                       ? b
                                                        : a;
  }
};

struct MaybeCap {
  std::optional<double> cap;
  template <class T>
  T map_score(T x, const Score& at) const {
    return cap ? SoftCap{*cap}.map_score(x, at) : x;
  }
};
struct MaybeLogN {
  Position base_length = 0;
  double temperature(Position query) const {
    return base_length == 0 ? 1.0
                            : LogN{.base_length = base_length, .clipped = true}.temperature(query);
  }
};

/// A SinkLogit in double, as the file has them.
struct ExactSink {
  std::vector<double> logits;
  double sink_logit(Index head) const {
    return logits.empty() ? -std::numeric_limits<double>::infinity() : logits[size(head)];
  }
};

struct NoScheme {
  void transform(RotaryState&) const {}
};
struct AnyScheme {
  std::variant<NoScheme, PI, NTK, YaRN, Llama3> scheme;
  void transform(RotaryState& state) const {
    std::visit([&](const auto& s) { s.transform(state); }, scheme);
  }
};

AnyScheme scheme_of(const Json& rotary) {
  const std::string scheme = rotary.at("scheme");
  if (scheme == "linear") return {PI{rotary.at("factor")}};
  if (scheme == "ntk") return {NTK{.alpha = rotary.at("factor")}};
  if (scheme == "yarn")
    return {YaRN{.factor = rotary.at("factor"),
                 .original_context = rotary.at("original_length"),
                 .beta_fast = rotary.at("beta_fast"),
                 .beta_slow = rotary.at("beta_slow"),
                 .truncate = rotary.at("truncate")}};
  if (scheme == "llama3")
    return {Llama3{.factor = rotary.at("factor"),
                   .low_freq_factor = rotary.at("low_freq_factor"),
                   .high_freq_factor = rotary.at("high_freq_factor"),
                   .original_context = rotary.at("original_length")}};
  REQUIRE(scheme == "default");
  return {};
}

AnyBias bias_of(const Json& c) {
  const Json& bias = c.at("bias");
  if (bias.is_null()) return {};
  const std::string kind = bias.at("kind");
  if (kind == "alibi") return {ALiBi{.slopes = bias.at("slopes")}};
  if (kind == "kerple_log") return {KerpleLog{bias.at("r1"), bias.at("r2")}};
  if (kind == "kerple_power") return {KerplePower{bias.at("r1"), bias.at("r2")}};
  if (kind == "sandwich") return {Sandwich{.width = bias.at("dim"), .cached_distances = 256}};
  REQUIRE(kind == "t5");
  T5Bias t5{.num_buckets = bias.at("num_buckets"),
            .max_distance = bias.at("max_distance"),
            .bidirectional = bias.at("bidirectional")};
  Random random(bias.at("seed_table").get<std::uint64_t>());
  const double gain = bias.at("table_gain");
  for (Index i = 0; i < t5.num_buckets * c.at("heads").get<Index>(); ++i)
    t5.table.push_back(
        static_cast<float>(gain * (static_cast<double>(random.bits() >> 40) / 8388608.0 - 1.0)));
  return {t5};
}

AnyMask mask_of(const Json& mask) {
  const std::string kind = mask.at("kind");
  if (kind == "causal") return {Causal{}};
  if (kind == "prefix") return {PrefixLM{mask.at("prefix")}};
  if (kind == "sink_window")
    return {SinkWindow{mask.at("n_sink"), mask.at("left").get<Position>() + 1}};
  if (kind == "documents") return {Documents::from_ids(mask.at("ids")), mask.at("causal")};
  if (kind == "window") {
    const auto side = [&](const char* name) {
      return mask.at(name).is_null() ? SlidingWindow::unlimited : mask.at(name).get<Position>();
    };
    return {SlidingWindow{.left = side("left"), .right = side("right")}};
  }
  REQUIRE(kind == "none");
  return {NoMask{}};
}

template <class T>
Tensor<T> generated(const Json& c, const char* seed, Index tokens, Index heads, Index width,
                    double gain) {
  Tensor<T> tensor(tokens, heads, width);
  Random random(c.at(seed).get<std::uint64_t>());
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < heads; ++h)
      for (Index d = 0; d < width; ++d)
        tensor.view()(t, h, d) =
            static_cast<T>(gain * (static_cast<double>(random.bits() >> 40) / 8388608.0 - 1.0));
  return tensor;
}

template <class T>
struct Case {
  Tensor<T> q, k, v;
  Arguments<T> call;

  explicit Case(const Json& c)
      : q(generated<T>(c, "seed_q", c.at("tq"), c.at("heads"), c.at("d"), c.at("q_gain"))),
        k(generated<T>(c, "seed_k", c.at("tk"), c.at("kv_heads"), c.at("d"), 1)),
        v(generated<T>(c, "seed_v", c.at("tk"), c.at("kv_heads"), c.at("dv"), 1)),
        call{q, k, v, {.query_offset = c.at("tk").get<Position>() - c.at("tq").get<Position>()}} {}
};

ReferenceResult expected_of(const Json& c) {
  ReferenceResult expected{c.at("out"), {}};
  for (const Json& lse : c.at("lse"))
    expected.lse.push_back(lse.is_null() ? -std::numeric_limits<double>::infinity()
                                         : lse.get<double>());
  return expected;
}

/// Greatest difference; infinite where only one of two numbers is finite.
template <class Numbers>
double difference(const Numbers& a, const std::vector<double>& b) {
  double worst = a.size() == b.size() ? 0 : std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double d = a[i] == b[i] ? 0 : std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i]));
    worst = d <= worst ? worst : std::isnan(d) ? std::numeric_limits<double>::infinity() : d;
  }
  return worst;
}

template <class E>
void check_case(const Json& c, const E& encoding) {
  const auto bound = posenc_test::bind_any(encoding, {.num_heads = c.at("heads"),
                                                      .num_kv_heads = c.at("kv_heads"),
                                                      .head_dim = c.at("d"),
                                                      .scale = c.at("scale").get<double>()});
  const ReferenceResult expected = expected_of(c);
  const double tolerance = c.at("group") == "large scores" ? 1e-7 : 1e-9;
  const Case<double> in_double(c);
  const Arguments<double>& call = in_double.call;

  const ReferenceResult reference =
      reference_attention(call.q, call.k, call.v, bound, call.options);
  CHECK(difference(reference.out, expected.out) < tolerance);
  CHECK(difference(reference.lse, expected.lse) < tolerance);

  const Output<double> kernel = attend(call, bound);
  const TensorView<const double> out = kernel.out;
  const std::vector<double> numbers(out.data, out.data + out.tokens * out.heads * out.width);
  CHECK(difference(numbers, expected.out) < tolerance);
  CHECK(difference(kernel.lse, expected.lse) < tolerance);

  // Ten digits are more than float has, except where the bound itself is smaller than they are.
  const Case<float> in_float(c);
  const Output<float> narrow = attend(in_float.call, bound);
  std::vector<RowBound> bounds = error_bounds(in_float.call, bound);
  for (RowBound& row : bounds) row = {row.out + tolerance, row.lse + tolerance};
  CHECK(worst_ratio<float>(narrow.out, narrow.lse, expected, bounds) <= 1);
}

template <class LayoutT, class Stages>
void check_rotary(const Json& c, const Stages& stages) {
  const Json& rotary = c.at("rotary");
  const auto rope = RoPE<LayoutT>{
      .head_dim = c.at("d"), .base = rotary.at("base"), .rotary_dim = rotary.at("dim")};
  const auto encoding = rope | scheme_of(rotary);

  // The file repeats frequencies and amplitude in full digits.
  const auto bound = posenc_test::bind_any(encoding);
  const std::vector<double> inv_freq = rotary.at("inv_freq");
  for (std::size_t i = 0; i < inv_freq.size(); ++i)
    CHECK_THAT(bound.rotary().state.inv_freq[static_cast<Index>(i)], WithinRel(inv_freq[i], 1e-13));
  CHECK_THAT(bound.rotary().state.attention_factor,
             WithinRel(rotary.at("amplitude").get<double>(), 1e-13));

  const Json& rewrite = rotary.at("rewrite");
  if (rewrite.is_null())
    check_case(c, encoding | stages);
  else if (rewrite.at("kind") == "rerope")
    check_case(c, encoding | ReRoPE{rewrite.at("window")} | stages);
  else
    check_case(c, encoding | LeakyReRoPE{rewrite.at("window"), rewrite.at("k")} | stages);
}

TEST_CASE("golden: attention equals torch's", "[attention][golden]") {
  std::ifstream file(POSENC_GOLDEN_DIR "/attention.json");
  REQUIRE(file.good());
  const Json golden = Json::parse(file);
  CHECK(golden.at("cases").size() >= 220);

  for (const Json& c : golden.at("cases")) {
    INFO("case " << c.at("id") << ", " << c.at("group"));
    MaybeCap before, after;
    if (const Json& cap = c.at("softcap"); !cap.is_null())
      (cap.at("order") == "cap_then_bias" ? before : after).cap = cap.at("cap").get<double>();
    MaybeLogN log_n;
    if (!c.at("logn").is_null()) log_n.base_length = c.at("logn");
    ExactSink sink;
    if (!c.at("sinks").is_null()) sink.logits = c.at("sinks").get<std::vector<double>>();

    const auto stages = before | bias_of(c) | after | log_n | sink | mask_of(c.at("mask"));
    if (c.at("rotary").is_null())
      check_case(c, stages);
    else if (c.at("rotary").at("layout") == "half_split")
      check_rotary<HalfSplit>(c, stages);
    else
      check_rotary<Interleaved>(c, stages);
  }
}

}  // namespace golden_sdpa_cases
}  // namespace attention_test
