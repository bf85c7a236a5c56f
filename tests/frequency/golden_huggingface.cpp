// SPDX-License-Identifier: MIT
//
// Frequencies and attention factors of Hugging Face's transformers, for several hundred
// configurations. See tests/golden/README.md for their origin.
//
// Tolerance. The reference computes in float32, eps = 2^-24. Rounding the exponent 2i/d moves w =
// base^-x by up to eps ln(base), and pow, reciprocal and division add a few eps. A ramp is rounded
// to a few eps too, more where its band is narrow beside its coordinates, and where a pair is
// interpolated by s, an error of g counts s times. Each case below says how much of that applies to
// it; no constant is fitted. (The greatest difference over all cases is 1.4e-6.)
#include "oracle.hpp"

#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/llama3.hpp>
#include <posenc/frequency/long_rope.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/frequency/proportional.hpp>
#include <posenc/frequency/yarn.hpp>

#if __has_include(<nlohmann/json.hpp>) && defined(POSENC_GOLDEN_DIR)

#include <nlohmann/json.hpp>

#include <fstream>
#include <optional>

using namespace posenc;
using namespace oracle;
using Json = nlohmann::json;

namespace golden_huggingface_cases {

constexpr double eps = 0x1p-24;

const Json& golden_file() {
  static const Json file = [] {
    std::ifstream in(POSENC_GOLDEN_DIR "/rope_parameters.json");
    return Json::parse(in);
  }();
  return file;
}

/// The values of one configuration, found the way the reference finds them.
struct Config {
  const Json& top;
  const Json& rope;

  explicit Config(const Json& config) : top(config), rope(rope_of(config)) {}

  static const Json& rope_of(const Json& config) {
    static const Json none = Json::object();
    for (const char* key : {"rope_parameters", "rope_scaling"})
      if (config.contains(key)) return config.at(key);
    return none;
  }
  bool has(const char* key) const { return rope.contains(key) && !rope.at(key).is_null(); }
  std::optional<double> find(const char* key) const {
    return has(key) ? std::optional(rope.at(key).get<double>()) : std::nullopt;
  }
  double get(const char* key, double otherwise) const { return find(key).value_or(otherwise); }
  Position max_positions() const { return top.at("max_position_embeddings").get<Position>(); }
  Position original_context() const {
    const char* key = "original_max_position_embeddings";
    if (top.contains(key)) return top.at(key).get<Position>();
    return has(key) ? rope.at(key).get<Position>() : max_positions();
  }
  /// A missing factor is the ratio of the lengths.
  double factor() const {
    return get("factor",
               static_cast<double>(max_positions()) / static_cast<double>(original_context()));
  }
};

struct Result {
  RotaryState state;
  double tolerance;    // relative
  double blended = 0;  // added to it for pairs that are neither kept nor interpolated
  double factor = 1;
};

/// Error of a ramp over [low, high] whose coordinate is rounded by `coordinate` in absolute terms.
double ramp_error(double low, double high, double coordinate, double factor) {
  if (low == high) return 0;
  return std::max(factor, 1 / factor) * (4 * eps + coordinate / std::abs(high - low));
}

Result evaluate(const std::string& type, const Json& config, Index rotary_dim, double base,
                Position length) {
  const Config c(config);
  RotaryState s = state(rotary_dim, base, length);
  const double power = eps * (std::abs(std::log(base)) + 6);
  if (type == "linear") PI{c.factor()}.transform(s);
  if (type == "proportional")
    Proportional{.fraction = c.get("partial_rotary_factor", 1), .factor = c.get("factor", 1)}
        .transform(s);
  if (type == "dynamic") {
    DynamicNTK{.factor = c.factor(), .original_context = c.max_positions()}.transform(s);
    return {.state = s, .tolerance = eps * (std::log(s.base) + 6)};
  }
  if (type == "longrope")
    LongRoPE{.short_factor = c.rope.at("short_factor").get<std::vector<double>>(),
             .long_factor = c.rope.at("long_factor").get<std::vector<double>>(),
             .factor = c.factor(),
             .original_context = c.original_context(),
             .attention_factor = c.find("attention_factor")}
        .transform(s);
  if (type == "llama3") {
    const Llama3 scheme{.factor = c.factor(),
                        .low_freq_factor = c.get("low_freq_factor", 1),
                        .high_freq_factor = c.get("high_freq_factor", 4),
                        .original_context = c.original_context()};
    scheme.transform(s);
    const double low = scheme.low_freq_factor, high = scheme.high_freq_factor;
    return {s, power, ramp_error(low, high, high * power, scheme.factor), scheme.factor};
  }
  if (type == "yarn") {
    const auto beta = [&](const char* key, double otherwise) {
      const double value = c.get(key, otherwise);
      return value == 0 ? otherwise : value;
    };
    const YaRN yarn{.factor = c.factor(),
                    .original_context = c.original_context(),
                    .beta_fast = beta("beta_fast", 32),
                    .beta_slow = beta("beta_slow", 1),
                    .truncate = !c.has("truncate") || c.rope.at("truncate").get<bool>(),
                    .attention_factor = c.find("attention_factor"),
                    .mscale = c.find("mscale"),
                    .mscale_all_dim = c.find("mscale_all_dim")};
    yarn.transform(s);
    const double low = yarn.by_parts().pair_at(yarn.beta_fast, s);
    const double high = yarn.by_parts().pair_at(yarn.beta_slow, s);
    const double coordinate = yarn.truncate ? 0 : 2 * eps * static_cast<double>(rotary_dim);
    return {s, power, ramp_error(low, high, coordinate, yarn.factor), yarn.factor};
  }
  return {.state = s, .tolerance = power};
}

void check_equal(const Result& result, const Json& inv_freq, double attention_factor) {
  REQUIRE(static_cast<std::size_t>(result.state.inv_freq.size()) == inv_freq.size());
  const RotaryState unscaled = state(result.state.rotary_dim, result.state.base);
  for (std::size_t i = 0; i < inv_freq.size(); ++i) {
    const double want = inv_freq[i].get<double>();
    const double got = result.state.inv_freq[static_cast<Index>(i)];
    const double w = unscaled.inv_freq[static_cast<Index>(i)];
    const bool blends = got != w && got != w / result.factor;
    const double tolerance = result.tolerance + (blends ? result.blended : 0);
    if (std::abs(got - want) <= tolerance * std::abs(want)) continue;
    INFO("pair " << i << ", tolerance " << tolerance);
    CHECK(got == want);
  }
  CHECK(result.state.attention_factor == Approx(attention_factor).epsilon(1e-14));
}

TEST_CASE("frequencies equal those of Hugging Face") {
  std::size_t compared = 0;
  for (const Json& item : golden_file().at("cases")) {
    INFO("case " << item.at("id") << ", " << item.at("type") << ", " << item.at("name"));
    const Position length = item.at("seq_len").is_null() ? 0 : item.at("seq_len").get<Position>();
    check_equal(evaluate(item.at("type"), item.at("config"), item.at("rotary_dim").get<Index>(),
                         item.at("rope_theta").get<double>(), length),
                item.at("inv_freq"), item.at("attention_factor").get<double>());
    ++compared;
  }
  CHECK(compared >= 280);
}

TEST_CASE("frequencies over a sequence equal those of Hugging Face") {
  // Its module for dynamic NTK holds the greatest length until one below the original context
  // comes.
  for (const Json& item : golden_file().at("sequences")) {
    const Json& config = item.at("config");
    const bool holds = item.at("type") == "dynamic";
    const Position context = config.at("max_position_embeddings").get<Position>();
    Position held = context;
    for (const Json& call : item.at("calls")) {
      const Position length = call.at("T").get<Position>();
      INFO(item.at("name") << ", length " << length);
      held = length < context ? context : std::max(held, length);
      check_equal(evaluate(item.at("type"), config, config.at("head_dim").get<Index>(),
                           config.at("rope_parameters").at("rope_theta").get<double>(),
                           holds ? held : length),
                  call.at("inv_freq"), call.at("attention_factor").get<double>());
    }
  }
}

#endif

}  // namespace golden_huggingface_cases
