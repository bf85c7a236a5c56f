// SPDX-License-Identifier: MIT
//
// Queries and keys as the reference implementations rotate them by positions of several
// coordinates (transformers) and by xPos (torchscale). See tests/golden/README.md for their origin.
//
// Tolerance. The references compute in float32, eps = 2^-24. An angle a = p w is a rounded product
// of a coordinate and a frequency that is itself off by eps (2 + ln base), from its exponent and
// its power: eps |a| (4 + ln base) in all. Cosine and sine are off by that and eps, and a pair of
// magnitude below 3 that is rotated by them by 3 (that + 4 eps), ours included. xPos multiplies by
// zeta^e, off by eps (8 + 4 |e|) of itself. No constant is fitted. (The greatest difference over
// all cases is a quarter of it.)
#include <posenc/rotary/axial_2d.hpp>
#include <posenc/rotary/m_rope.hpp>
#include <posenc/rotary/xpos.hpp>

#include "axes.hpp"

#if __has_include(<nlohmann/json.hpp>) && defined(POSENC_GOLDEN_DIR)

#include <nlohmann/json.hpp>

#include <fstream>
#include <map>
#include <optional>

using namespace axes_test;
using Json = nlohmann::json;

namespace golden_axes_cases {

constexpr double eps = 0x1p-24;

std::vector<Json> golden_cases(const char* name) {
  std::ifstream in(std::string(POSENC_GOLDEN_DIR "/") + name);
  const Json file = Json::parse(in);
  return {file.at("cases").begin(), file.at("cases").end()};
}

std::vector<float> floats(const Json& entry, const std::string& key) {
  return entry.at(key).get<std::vector<float>>();
}

template <class LayoutT>
RoPE<LayoutT> rope_of(const Json& entry) {
  return {.head_dim = entry.at("head_dim").get<Index>(),
          .base = entry.at("base").get<double>(),
          .rotary_dim = entry.at("rotary_dim").get<Index>()};
}

MRoPE mrope_of(const Json& entry) {
  const auto sections = entry.at("sections").get<std::vector<Index>>();
  return {.sections = MRoPE::Sections(std::span<const Index>(sections)),
          .interleaved = entry.at("interleaved").get<bool>()};
}

Axial2D axial_of(const Json& entry) {
  return {.frequencies = entry.at("frequencies") == "per_axis" ? AxialFrequencies::per_axis
                                                               : AxialFrequencies::alternating,
          .first = entry.at("first") == "row" ? ImageAxis::row : ImageAxis::column,
          .multiplier = entry.at("multiplier").get<double>()};
}

/// Errors of q and k over the tolerance above, or over that with angles off by so many eps.
struct Errors {
  double greatest = 0;
  double above = 0;  ///< share of those above 1
};

template <class LayoutT, class Component>
Errors errors(const Json& entry, const Component& component, const BindOptions& options = {},
              std::optional<double> angle_eps = {}) {
  const auto bound = bind(rope_of<LayoutT>(entry) | component, options);
  const RotaryState& state = bound.rotary().state;
  const auto ids = entry.at("positions").get<std::vector<double>>();
  const int axes = entry.at("axes").get<int>();
  const Index tokens = std::ssize(ids) / axes, width = state.head_dim;
  const std::vector<Position> whole_ids(ids.begin(), ids.end());
  const bool whole = std::equal(ids.begin(), ids.end(), whole_ids.begin());
  const Positions positions = whole ? Positions(whole_ids, axes) : Positions(ids, axes);

  const double scale_base = entry.value("scale_base", 0.0);

  Errors found;
  double count = 0;
  for (const auto& [name, side] : {std::pair<std::string, Side>{"q", Side::query},
                                   std::pair<std::string, Side>{"k", Side::key}}) {
    const auto expected = floats(entry, name + "_rotated");
    const std::vector<float> got =
        rotated(floats(entry, name), tokens, positions, bound, {.side = side});
    REQUIRE(got.size() == expected.size());
    const Index heads = std::ssize(got) / (tokens * width);
    for (Index t = 0; t < tokens; ++t)
      for (Index i = 0; i < state.pairs(); ++i) {
        const int axis = state.axis.empty() ? 0 : state.axis[size(i)];
        const double angle = ids[size(axis * tokens + t)] * state.inv_freq[i];
        double slack = eps * (1 + angle_eps.value_or(4 + std::log(state.base)) * std::abs(angle));
        double magnitude = 1;
        if (state.growth.size() != 0) {
          const double distance = ids[size(t)] - static_cast<double>(state.centre);
          magnitude = std::exp(state.growth[i] * (side == Side::query ? distance : -distance));
          const double exponent = distance / scale_base;
          slack += eps * (8 + 4 * std::abs(exponent));
        }
        for (Index h = 0; h < heads; ++h)
          for (const Index c :
               {LayoutT::first(i, state.pairs()), LayoutT::second(i, state.pairs())}) {
            const std::size_t at = size((t * heads + h) * width + c);
            const double off =
                std::abs(static_cast<double>(got[at]) - static_cast<double>(expected[at]));
            const double ratio = off / (3 * magnitude * (slack + 4 * eps));
            found.greatest = std::max(found.greatest, ratio);
            found.above += ratio > 1;
            ++count;
          }
      }
    for (Index row = 0; row < tokens * heads; ++row)
      for (Index c = state.rotary_dim; c < width; ++c)
        if (got[size(row * width + c)] != expected[size(row * width + c)])
          found.greatest = HUGE_VAL;
  }
  found.above /= count;
  return found;
}

template <class Component>
Errors errors(const Json& entry, const Component& component, const BindOptions& options = {},
              std::optional<double> angle_eps = {}) {
  return entry.at("layout") == "half_split"
             ? errors<HalfSplit>(entry, component, options, angle_eps)
             : errors<Interleaved>(entry, component, options, angle_eps);
}

template <class Component>
double worst(const Json& entry, const Component& component) {
  return errors(entry, component).greatest;
}

TEST_CASE("golden: M-RoPE and axial rotations of transformers") {
  std::map<std::string, int> seen;
  for (const Json& entry : golden_cases("axes_rotated.json")) {
    INFO(entry.at("name").get<std::string>() << ", " << entry.at("reference").get<std::string>());
    ++seen[entry.at("reference").get<std::string>()];
    if (entry.at("component") == "mrope")
      CHECK(worst(entry, mrope_of(entry)) <= 1);
    else
      CHECK(worst(entry, axial_of(entry)) <= 1);
  }
  CHECK(seen == std::map<std::string, int>{{"Qwen2VLRotaryEmbedding", 6},
                                           {"Qwen3VLTextRotaryEmbedding", 4},
                                           {"Qwen3_5TextRotaryEmbedding", 2},
                                           {"Glm4vTextRotaryEmbedding", 2},
                                           {"Qwen2VLVisionRotaryEmbedding", 2},
                                           {"Llama4VisionRotaryEmbedding", 1},
                                           {"PixtralVisionRotaryEmbedding", 2},
                                           {"DINOv3ViTRopePositionEmbedding", 2}});
}

TEST_CASE("golden: in Hugging Face's mode M-RoPE has its angles, errors and all") {
  // What may be left is the last bit of a frequency, because two libraries have two pow().
  constexpr double last_bit = 2;
  int far = 0;
  for (const Json& entry : golden_cases("axes_rotated.json")) {
    if (entry.at("component") != "mrope") continue;
    INFO(entry.at("name").get<std::string>());
    const BindOptions like_them{.angles = Angles::huggingface};
    CHECK(errors(entry, mrope_of(entry), like_them, last_bit).greatest <= 1);
    CHECK(errors(entry, mrope_of(entry), like_them, 0).above < 0.05);
    if (errors(entry, mrope_of(entry), {}, 0).above > 0.2) ++far;
  }
  CHECK(far >= 7);  // exact angles are not those
}

TEST_CASE("golden: the wrong axes would be noticed") {
  for (const Json& entry : golden_cases("axes_rotated.json")) {
    INFO(entry.at("name").get<std::string>());
    if (entry.at("component") == "mrope") {
      MRoPE other = mrope_of(entry);
      other.interleaved = !other.interleaved;
      if (!other.interleaved || other.sections[1] <= entry.at("rotary_dim").get<Index>() / 6)
        CHECK(worst(entry, other) > 1000);
    } else {
      Axial2D other = axial_of(entry);
      other.first = other.first == ImageAxis::row ? ImageAxis::column : ImageAxis::row;
      CHECK(worst(entry, other) > 1000);
      other = axial_of(entry);
      other.frequencies = other.frequencies == AxialFrequencies::per_axis
                              ? AxialFrequencies::alternating
                              : AxialFrequencies::per_axis;
      CHECK(worst(entry, other) > 1000);
    }
  }
}

TEST_CASE("golden: xPos of torchscale") {
  const std::vector<Json> cases = golden_cases("xpos_rotated.json");
  CHECK(cases.size() == 6);
  for (const Json& entry : cases) {
    INFO(entry.at("name").get<std::string>());
    const XPos xpos{.scale_base = entry.at("scale_base").get<double>(),
                    .centre = entry.at("centre").get<Position>()};
    CHECK(worst(entry, xpos) <= 1);
    const XPos beside{.scale_base = xpos.scale_base, .centre = xpos.centre + 1};
    CHECK(worst(entry, beside) > 50);
  }
}

#endif

}  // namespace golden_axes_cases
