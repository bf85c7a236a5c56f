// SPDX-License-Identifier: MIT
//
// A list of pipeline types that covers every pair of
//
//   no rotation, HalfSplit, Interleaved
//   no frequency scheme, a static one, one that depends on the length
//   true distances, ReRoPE, LeakyReRoPE
//   no bias, ALiBi, T5Bias, KerpleLog, Sandwich, a bias of the user
//   no mask, Causal, SlidingWindow, SinkWindow, PrefixLM, Documents, a mask of the user
//   no SoftCap, SoftCap before the bias, SoftCap after the bias
//   LogN or not, SinkLogit or not, RotateValues or not
//
// that can be combined, and a random value for every component. Types are erased here, so that each
// kernel is compiled once: pipelines_*.cpp hold the types, the other files run whatever is in the list.
#pragma once

#include "support/oracle.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/bias/bias.hpp>
#include <posenc/bias/kerple.hpp>
#include <posenc/bias/sandwich.hpp>
#include <posenc/bias/t5_bias.hpp>
#include <posenc/distance/leaky_rerope.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/frequency/abf.hpp>
#include <posenc/frequency/dynamic.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/llama3.hpp>
#include <posenc/frequency/long_rope.hpp>
#include <posenc/frequency/ms_poe.hpp>
#include <posenc/frequency/ntk.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/frequency/power_scaling.hpp>
#include <posenc/frequency/resonance.hpp>
#include <posenc/frequency/truncated_basis.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/mask/any_of.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/documents.hpp>
#include <posenc/mask/mask.hpp>
#include <posenc/mask/prefix_lm.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/rotate/rotate.hpp>
#include <posenc/score/log_n.hpp>
#include <posenc/score/score_map.hpp>
#include <posenc/score/sink_logit.hpp>
#include <posenc/score/soft_cap.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <variant>

namespace attention_test {

/// What random components are made for.
struct Setting {
  Index num_heads = 1, num_kv_heads = 1, head_dim = 64;
  Index rotary_dim = 64, rotary_offset = 0;
  Position tokens = 64;  ///< about the number of tokens, the scale of windows and documents
};

// --- Components that only tests have --------------------------------------------------------------

/// One of several frequency schemes. Every scheme ends as data, so one kernel type serves all.
template <bool by_length, class... Schemes>
struct OneOf {
  static constexpr bool depends_on_length = by_length;
  std::variant<Schemes...> scheme;

  void transform(RotaryState& state) const {
    std::visit([&](const auto& s) { s.transform(state); }, scheme);
  }
  void check(Problems& problems, const RotaryState& state) const {
    std::visit([&](const auto& s) { s.check(problems, state); }, scheme);
  }
};
using StaticScheme =
    OneOf<false, PI, NTK, YaRN, Llama3, ABF, PowerScaling, TruncatedBasis, Resonance, MsPoE>;
using LengthScheme = OneOf<true, DynamicNTK, Dynamic<YaRN>, Dynamic<PI>, LongRoPE>;

/// A bias of everything in Score, exact in float.
struct UserBiasFunction {
  Position modulus = 11;
  double operator()(const Score& at) const {
    const Position mixed = 7 * at.query - 3 * at.key + at.query_index + 2 * at.key_index + at.head;
    return 0.25 * static_cast<double>((mixed % modulus + modulus) % modulus) - 1;
  }
};
using UserBias = ScoreBiasFunction<UserBiasFunction>;

/// A bias of head and distance, not symmetric.
struct UserRelativeFunction {
  double slope = 0.125;
  double operator()(Index head, Position distance) const {
    return slope * static_cast<double>(distance % 16) / static_cast<double>(head + 1);
  }
};
using UserRelativeBias = RelativeBiasFunction<UserRelativeFunction>;

/// A mask that depends on the head and hides about one key in seven.
struct UserMaskFunction {
  Position modulus = 7;
  bool operator()(const Score& at) const {
    return (5 * at.query_index + 3 * at.key_index + at.head) % modulus != 0;
  }
};
using UserMask = MaskFunction<UserMaskFunction>;
using UnitedMask = AnyOf<SlidingWindow, PrefixLM>;

/// Slope at most 1, as the bound of oracle.hpp asks.
struct HalveNegative {
  template <class T>
  T operator()(T x) const {
    return x < T{0} ? T(0.5) * x : x;
  }
};
using UserMap = ScoreMapFunction<HalveNegative>;

// --- A random value of each component -------------------------------------------------------------

template <class C>
struct Make;

template <class LayoutT>
struct Make<RoPE<LayoutT>> {
  static constexpr const char* name =
      std::same_as<LayoutT, HalfSplit> ? "HalfSplit" : "Interleaved";
  static RoPE<LayoutT> make(Random& random, const Setting& at) {
    return {.head_dim = at.head_dim,
            .base = random.pick({100.0, 10'000.0, 500'000.0}),
            .rotary_dim = at.rotary_dim,
            .rotary_offset = at.rotary_offset};
  }
};

template <>
struct Make<StaticScheme> {
  static constexpr const char* name = "StaticScheme";
  static StaticScheme make(Random& random, const Setting& at) {
    const double factor = random.pick({1.0, 2.5, 8.0});
    const auto context = random.pick<Position>({16, 256, 4096});
    switch (random.integer(at.rotary_dim > 2 ? 0 : 1, 8)) {
      case 0:
        return {NTK{.alpha = factor}};
      case 1:
        return {YaRN{.factor = factor, .original_context = context}};
      case 2:
        return {Llama3{.factor = factor, .original_context = context}};
      case 3:
        return {ABF{.beta = 50}};
      case 4:
        return {PowerScaling{.exponent = 0.3}};
      case 5:
        return {TruncatedBasis{.wavelength = 64}};
      case 6:
        return {Resonance{}};
      case 7:
        return {MsPoE{.least = factor, .greatest = 2 * factor}};
      default:
        return {PI{.factor = factor}};
    }
  }
};

template <>
struct Make<LengthScheme> {
  static constexpr const char* name = "LengthScheme";
  static LengthScheme make(Random& random, const Setting& at) {
    const auto context = random.pick<Position>({2, 8, 32, 4096});
    switch (random.integer(at.rotary_dim > 2 ? 0 : 1, 3)) {
      case 0:
        return {DynamicNTK{.factor = 2, .original_context = context}};
      case 1:
        return {Dynamic<YaRN>{.scheme = {.original_context = context}}};
      case 2:
        return {Dynamic<PI>{.original_context = context}};
      default:
        return {LongRoPE{.short_factor = std::vector<double>(size(at.rotary_dim / 2), 1.0),
                         .long_factor = std::vector<double>(size(at.rotary_dim / 2), 3.0),
                         .factor = 4,
                         .original_context = context}};
    }
  }
};

template <>
struct Make<ReRoPE> {
  static constexpr const char* name = "ReRoPE";
  static ReRoPE make(Random& random, const Setting& at) {
    return {.window = random.integer(1, at.tokens + 3)};
  }
};
template <>
struct Make<LeakyReRoPE> {
  static constexpr const char* name = "LeakyReRoPE";
  static LeakyReRoPE make(Random& random, const Setting& at) {
    return {.window = random.integer(1, at.tokens + 3),
            .factor = random.pick({1.0, 2.5, 8.0, 0.25})};
  }
};

template <>
struct Make<ALiBi> {
  static constexpr const char* name = "ALiBi";
  static ALiBi make(Random& random, const Setting&) {
    return {.slope_factor = random.pick({1.0, 0.25})};
  }
};
template <>
struct Make<T5Bias> {
  static constexpr const char* name = "T5Bias";
  static T5Bias make(Random& random, const Setting& at) {
    T5Bias bias{.num_buckets = random.pick<Index>({8, 32}),
                .max_distance = random.pick<Position>({20, 128}),
                .bidirectional = random.chance(0.5),
                .scaled = random.chance(0.7)};
    for (Index i = 0; i < bias.num_buckets * at.num_heads; ++i)
      bias.table.push_back(static_cast<float>(random.real(-2, 2)));
    return bias;
  }
};
template <>
struct Make<KerpleLog> {
  static constexpr const char* name = "KerpleLog";
  static KerpleLog make(Random& random, const Setting& at) {
    KerpleLog bias{.r1 = {}, .r2 = {random.real(0.1, 1)}};
    for (Index h = 0; h < at.num_heads; ++h) bias.r1.push_back(random.real(0.05, 2));
    return bias;
  }
};
template <>
struct Make<KerplePower> {
  static constexpr const char* name = "KerplePower";
  static KerplePower make(Random& random, const Setting&) {
    return {.r1 = {random.real(0.05, 1)}, .r2 = {random.real(0.1, 0.8)}};
  }
};
template <>
struct Make<Sandwich> {
  static constexpr const char* name = "Sandwich";
  static Sandwich make(Random& random, const Setting&) {
    return {.width = random.pick<Index>({8, 64}),
            .cached_distances = random.pick<Index>({0, 64, 300})};
  }
};
template <>
struct Make<UserBias> {
  static constexpr const char* name = "UserBias";
  static UserBias make(Random& random, const Setting&) {
    return {{.modulus = random.integer(2, 13)}};
  }
};
template <>
struct Make<UserRelativeBias> {
  static constexpr const char* name = "UserRelativeBias";
  static UserRelativeBias make(Random& random, const Setting&) {
    return {{.slope = random.pick({0.125, -0.25})}};
  }
};

template <>
struct Make<Causal> {
  static constexpr const char* name = "Causal";
  static Causal make(Random&, const Setting&) { return {}; }
};
template <>
struct Make<SlidingWindow> {
  static constexpr const char* name = "SlidingWindow";
  static SlidingWindow make(Random& random, const Setting& at) {
    return {.left = random.chance(0.2) ? SlidingWindow::unlimited : random.integer(0, at.tokens),
            .right = random.chance(0.5) ? 0 : random.integer(0, at.tokens / 2),
            .dilation = random.pick<Position>({1, 1, 1, 2, 5})};
  }
};
template <>
struct Make<SinkWindow> {
  static constexpr const char* name = "SinkWindow";
  static SinkWindow make(Random& random, const Setting& at) {
    return {.sinks = random.integer(0, 5), .window = random.integer(1, at.tokens)};
  }
};
template <>
struct Make<PrefixLM> {
  static constexpr const char* name = "PrefixLM";
  static PrefixLM make(Random& random, const Setting& at) {
    return {.prefix = random.integer(0, at.tokens)};
  }
};
template <>
struct Make<Documents> {
  static constexpr const char* name = "Documents";
  static Documents make(Random& random, const Setting& at) {
    Documents documents;
    while (documents.starts.back() < at.tokens)
      documents.starts.push_back(documents.starts.back() + random.integer(1, at.tokens / 2 + 1));
    return documents;
  }
};
template <>
struct Make<UserMask> {
  static constexpr const char* name = "UserMask";
  static UserMask make(Random& random, const Setting&) {
    return {{.modulus = random.integer(2, 9)}};
  }
};
template <>
struct Make<UnitedMask> {
  static constexpr const char* name = "any_of(SlidingWindow, PrefixLM)";
  static UnitedMask make(Random& random, const Setting& at) {
    return any_of(Make<SlidingWindow>::make(random, at), Make<PrefixLM>::make(random, at));
  }
};

template <>
struct Make<SoftCap> {
  static constexpr const char* name = "SoftCap";
  static SoftCap make(Random& random, const Setting&) {
    return {.cap = random.pick({1.0, 5.0, 50.0})};
  }
};
template <>
struct Make<UserMap> {
  static constexpr const char* name = "UserMap";
  static UserMap make(Random&, const Setting&) { return {}; }
};
template <>
struct Make<LogN> {
  static constexpr const char* name = "LogN";
  static LogN make(Random& random, const Setting&) {
    return {.base_length = random.pick<Position>({2, 16, 512}), .clipped = random.chance(0.5)};
  }
};
template <>
struct Make<SinkLogit> {
  static constexpr const char* name = "SinkLogit";
  static SinkLogit make(Random& random, const Setting& at) {
    SinkLogit sink{.logits = {}};
    for (Index h = 0; h < at.num_heads; ++h)
      sink.logits.push_back(static_cast<float>(random.real(-3, 3)));
    return sink;
  }
};
template <>
struct Make<RotateValues> {
  static constexpr const char* name = "RotateValues";
  static RotateValues make(Random&, const Setting&) { return {}; }
};

// --- Pipelines without their types ----------------------------------------------------------------

/// One bound encoding: composed at run time, and its attention as the compiler knows it.
class Pipeline {
 public:
  bool depends_on_length, rotates_values, takes_rotated_keys;

  template <class... Cs>
  Pipeline(const Encoding<Cs...>& encoding, const BindOptions& options)
      : depends_on_length(Encoding<Cs...>::depends_on_length),
        rotates_values(Encoding<Cs...>::rotates_values),
        bound_(bind(AnyEncoding(encoding), options)), in_float_(known<float>(encoding, options)),
        in_double_(known<double>(encoding, options)) {
    takes_rotated_keys =
        bound_.has_rotary() && !bound_.depends_on_length() && !bound_.has_distance_map();
  }

  [[nodiscard]] bool visible(const Score& at) const { return bound_.answers().visible(at); }
  template <class T>
  [[nodiscard]] ReferenceResult reference(const Arguments<T>& call) const {
    return reference_attention(call.q, call.k, call.v, bound_, call.options);
  }
  template <class T>
  [[nodiscard]] std::vector<RowBound> bounds(const Arguments<T>& call) const {
    return error_bounds(call, bound_);
  }
  template <class T>
  [[nodiscard]] std::size_t workspace(const AttentionShape& shape) const {
    return attention_workspace<T>(bound_, shape);
  }

  /// By the encoding that the compiler knows, and by the same composed at run time: to the last bit the
  /// same. Rows that differ become NaN, which no bound lets pass.
  template <class T>
  void attend(const Arguments<T>& call, TensorView<T> out) const {
    if constexpr (std::is_same_v<T, float>)
      in_float_(call, out);
    else
      in_double_(call, out);
    Tensor<T> other(out.tokens, out.heads, out.width);
    std::vector<T> lse(call.options.lse.size());
    AttentionOptions<T> options = call.options;
    options.lse = lse;
    attention(call.q, call.k, call.v, other.view(), bound_, options);
    const auto same = [](T a, T b) { return a == b || (std::isnan(a) && std::isnan(b)); };
    bool all = std::equal(lse.begin(), lse.end(), call.options.lse.begin(), same);
    for (Index t = 0; t < out.tokens; ++t)
      for (Index h = 0; h < out.heads; ++h)
        for (Index c = 0; c < out.width; ++c)
          all = all && same(out(t, h, c), other.view()(t, h, c));
    if (!all && out.tokens > 0) out(0, 0, 0) = std::numeric_limits<T>::quiet_NaN();
  }
  /// With keys that are rotated first; only where takes_rotated_keys.
  template <class T>
  void attend_rotated(const Arguments<T>& call, TensorView<T> out) const {
    Tensor<T> rotated(call.k.tokens, call.k.heads, call.k.width);
    const Positions positions = !call.options.key_positions
                                    ? Positions(call.options.key_offset)
                                    : Positions(*call.options.key_positions);
    rotate(call.k, rotated.view(), positions, bound_, {.attention_factor = false});
    attention(call.q, RotatedKeys<T>{rotated}, call.v, out, bound_, call.options);
  }

 private:
  template <class T>
  using Attend = std::function<void(const Arguments<T>&, TensorView<T>)>;

  template <class T, class... Cs>
  static Attend<T> known(const Encoding<Cs...>& encoding, const BindOptions& options) {
    return [bound = bind(encoding, options)](const Arguments<T>& call, TensorView<T> out) {
      attention(call.q, call.k, call.v, out, bound, call.options);
    };
  }

  AnyBound bound_;
  Attend<float> in_float_;
  Attend<double> in_double_;
};

struct PipelineType {
  std::string name;
  std::function<std::unique_ptr<Pipeline>(Random&, const Setting&)> make;
};

template <class... Cs>
PipelineType pipeline() {
  std::string name;
  ((name += (name.empty() ? "" : " | ") + std::string(Make<Cs>::name)), ...);
  return {name, [](Random& random, const Setting& at) -> std::unique_ptr<Pipeline> {
            // Braces, because they are evaluated from left to right.
            const Encoding<Cs...> components{Make<Cs>::make(random, at)...};
            const BindOptions options{.num_heads = at.num_heads, .num_kv_heads = at.num_kv_heads};
            return std::make_unique<Pipeline>(components, options);
          }};
}

std::vector<PipelineType> pipelines_1();
std::vector<PipelineType> pipelines_2();
std::vector<PipelineType> pipelines_3();
std::vector<PipelineType> pipelines_4();
std::vector<PipelineType> pipelines_5();
std::vector<PipelineType> pipelines_6();
std::vector<PipelineType> pipelines_7();
std::vector<PipelineType> pipelines_8();
std::vector<PipelineType> pipelines_9();
std::vector<PipelineType> pipelines_10();

inline std::vector<PipelineType> all_pipelines() {
  std::vector<PipelineType> all;
  for (auto part : {pipelines_1, pipelines_2, pipelines_3, pipelines_4, pipelines_5, pipelines_6,
                    pipelines_7, pipelines_8, pipelines_9, pipelines_10})
    for (PipelineType& type : part()) all.push_back(std::move(type));
  return all;
}

// --- Random calls ---------------------------------------------------------------------------------

/// A random call, before it has an element type.
struct Scenario {
  Setting at;
  Index queries = 1, keys = 1, value_dim = 1;
  double gain = 1;
  std::optional<Position> query_offset{};
  Position key_offset = 0;
  std::vector<Position> query_positions{}, key_positions{};  ///< empty: the indices
  std::uint64_t seed = 0;
  int memory = 0;
  bool own_workspace = false, hide_non_finite = false;

  [[nodiscard]] std::string describe() const {
    std::ostringstream text;
    text << at.num_heads << "/" << at.num_kv_heads << " heads of " << at.head_dim << ", rotary ["
         << at.rotary_offset << ", +" << at.rotary_dim << "), " << queries << " queries, " << keys
         << " keys, values of " << value_dim << ", query_offset "
         << (query_offset ? std::to_string(*query_offset) : "default") << ", key_offset "
         << key_offset << (query_positions.empty() ? "" : ", query ids")
         << (key_positions.empty() ? "" : ", key ids") << ", gain " << gain << ", memory " << memory
         << (own_workspace ? ", own workspace" : "")
         << (hide_non_finite ? ", NaN in hidden keys" : "");
    return text.str();
  }
};

/// Shapes of heads alone, with a number of tokens to choose windows for.
inline Setting random_setting(Random& random) {
  Setting at;
  const auto [heads, kv_heads] =
      random.pick<std::pair<Index, Index>>({{1, 1}, {2, 2}, {4, 1}, {8, 1}, {8, 2}, {3, 1}});
  at.num_heads = heads;
  at.num_kv_heads = kv_heads;
  at.head_dim = random.pick<Index>({2, 6, 10, 14, 34, 64, 80, 96, 128, 256});
  at.rotary_dim = random.chance(0.6) ? at.head_dim : 2 * random.integer(1, at.head_dim / 2);
  at.rotary_offset = random.integer(0, at.head_dim - at.rotary_dim);
  at.tokens = random.pick<Index>({1, 2, 31, 32, 33, 63, 64, 65, 127, 130});
  return at;
}

/// A call of up to `work` multiplications for its scores.
inline Scenario random_scenario(Random& random, double work, const Setting& at) {
  Scenario s{.at = at};
  s.keys = random.chance(0.02) ? 0 : s.at.tokens;
  s.queries = random.chance(0.4) ? s.keys : random.pick<Index>({1, 2, 31, 33, 64, 65, 127, 130});
  const double per_query =
      static_cast<double>(s.keys + 1) * static_cast<double>(s.at.num_heads * s.at.head_dim);
  s.queries = std::min(s.queries, std::max<Index>(1, static_cast<Index>(work / per_query)));
  s.value_dim = random.pick<Index>({s.at.head_dim, s.at.head_dim, 1, 3, 16, 40, 72});
  s.gain = random.pick({0.5, 1.0, 4.0});
  s.seed = random.bits();
  s.memory = static_cast<int>(random.integer(0, 2));
  s.own_workspace = random.chance(0.3);
  s.hide_non_finite = random.chance(0.4);

  const auto ids = [&](Index count, Position low, Position high) {
    std::vector<Position> positions;
    for (Index t = 0; t < count; ++t) positions.push_back(random.integer(low, high));
    return positions;
  };
  switch (random.integer(0, 5)) {
    case 0:
      s.key_offset = random.integer(0, 100);
      break;
    case 1:
      s.key_offset = random.integer(1'000'000, 3'000'000);
      break;
    case 2:
      s.query_offset = random.integer(-3, s.keys + 70);
      s.key_offset = random.integer(0, 3);
      break;
    case 3:
      s.query_positions = ids(s.queries, 0, 2 * s.keys);
      s.key_positions = ids(s.keys, 0, 2 * s.keys);
      break;
    case 4: {
      const Position low = random.pick<Position>({-50, 0, 1'200'000});
      if (random.chance(0.7)) s.query_positions = ids(s.queries, low, low + s.keys + 5);
      s.key_positions = ids(s.keys, low, low + s.keys);
      break;
    }
    default:
      break;
  }
  if (!s.query_offset && s.queries > s.keys) s.query_offset = random.integer(0, s.keys + 5);
  return s;
}

/// A scenario's inputs; `call` points into this object.
template <class T>
struct ScenarioInputs {
  const Scenario& scenario;
  Tensor<T> q, k, v;
  Arguments<T> call;

  explicit ScenarioInputs(const Scenario& s)
      : scenario(s), q(s.queries, s.at.num_heads, s.at.head_dim, memory(0)),
        k(s.keys, s.at.num_kv_heads, s.at.head_dim, memory(1)),
        v(s.keys, s.at.num_kv_heads, s.value_dim, memory(2)) {
    q.fill(Random(s.seed), s.gain);
    k.fill(Random(s.seed + 1));
    v.fill(Random(s.seed + 2));
    call = {q, k, v, {.query_offset = s.query_offset, .key_offset = s.key_offset}};
    if (!s.query_positions.empty()) call.options.query_positions = s.query_positions;
    if (!s.key_positions.empty()) call.options.key_positions = s.key_positions;
  }
  ScenarioInputs(const ScenarioInputs&) = delete;

  /// Keys that no row of their heads sees hold infinities and NaN from here on.
  void poison_hidden_keys(const Pipeline& pipeline) {
    const T infinity = std::numeric_limits<T>::infinity();
    const Index group = q.view().heads / k.view().heads;
    for (Index c = 0; c < scenario.keys; ++c)
      for (Index kv_head = 0; kv_head < k.view().heads; ++kv_head) {
        bool seen = false;
        for (Index r = 0; r < scenario.queries && !seen; ++r)
          for (Index g = 0; g < group; ++g)
            seen = seen || pipeline.visible(call.score(r, c, kv_head * group + g));
        if (seen) continue;
        for (Index d = 0; d < scenario.at.head_dim; ++d)
          k.view()(c, kv_head, d) = d % 3 == 0   ? std::numeric_limits<T>::quiet_NaN()
                                    : d % 3 == 1 ? infinity
                                                 : -infinity;
        for (Index d = 0; d < scenario.value_dim; ++d)
          v.view()(c, kv_head, d) = d % 2 == 0 ? std::numeric_limits<T>::quiet_NaN() : infinity;
      }
  }

 private:
  [[nodiscard]] typename Tensor<T>::Memory memory(int tensor) const {
    return static_cast<typename Tensor<T>::Memory>(
        (scenario.memory + tensor * (scenario.memory / 2)) % 3);
  }
};

}  // namespace attention_test
