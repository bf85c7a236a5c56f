// SPDX-License-Identifier: MIT
//
// The schemes by name, each with the state in which its keys are kept.
#pragma once

#include "memory.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace generate {

struct Setting {
  ModelShape shape;
  Position trained = 128;
  Index prompt = 16;   ///< tokens of the prompt
  Index tokens = 320;  ///< of prompt and answer

  [[nodiscard]] double factor() const {
    return std::max(1.0, static_cast<double>(tokens) / static_cast<double>(trained));
  }
};

inline const std::vector<std::string_view> scheme_names{"rope",         "dynamic-ntk", "yarn",
                                                        "dynamic-yarn", "longrope",    "rerope",
                                                        "self-extend",  "dual-chunk",  "alibi"};

/// Calls run(what the keys are like, memory, from scratch) for a scheme. Throws posenc::Error for
/// another name.
template <class Run>
void with_scheme(std::string_view name, const Setting& at, const Run& run) {
  using namespace posenc;
  const Position L = at.trained;
  const RoPE<HalfSplit> rope{.head_dim = at.shape.head_dim};
  const BindOptions heads{.num_heads = at.shape.heads, .num_kv_heads = at.shape.kv_heads};
  const auto keep = [&]<KeyState State, class... Ts>(std::integral_constant<KeyState, State>,
                                                     const Encoding<Ts...>& encoding) {
    using E = Encoding<Ts...>;
    const auto bound = bind(encoding, heads);
    Memory<State, E> memory(at.shape, at.tokens, bound);
    run(State == KeyState::raw       ? "raw keys, rotated while they are read"
        : State == KeyState::rotated ? "keys stored rotated"
                                     : "keys stored rotated at their place in a chunk",
        memory, FromScratch<E>(bound, at.prompt));
  };
  constexpr std::integral_constant<KeyState, KeyState::raw> raw;
  constexpr std::integral_constant<KeyState, KeyState::rotated> rotated;
  constexpr std::integral_constant<KeyState, KeyState::reduced> reduced;
  const YaRN yarn{.factor = at.factor(), .original_context = L};

  if (name == "rope") return keep(rotated, rope | Causal{});
  if (name == "dynamic-ntk")
    return keep(raw, rope | DynamicNTK{.factor = 2, .original_context = L} | Causal{});
  if (name == "yarn") return keep(rotated, rope | yarn | Causal{});
  if (name == "dynamic-yarn")
    return keep(raw, rope | Dynamic<YaRN>{{.original_context = L}} | Causal{});
  if (name == "rerope")
    return keep(raw, rope | ReRoPE{.window = std::max<Position>(1, L / 2)} | Causal{});
  if (name == "self-extend") {
    const auto group = static_cast<Position>(std::ceil(2 * at.factor()));
    const Position window = std::max<Position>(1, L / 2 / group) * group;
    return keep(raw, rope | SelfExtend{.window = window, .group = group} | Causal{});
  }
  if (name == "dual-chunk") return keep(reduced, rope | DualChunk::paper(L) | Causal{});
  if (name == "alibi") return keep(raw, ALiBi{} | Causal{});
  if (name == "longrope") {
    // Trained lists are searched for; these stretch slow pairs and leave fast ones.
    const auto pairs = static_cast<std::size_t>(at.shape.head_dim / 2);
    std::vector<double> near(pairs, 1.0), far(pairs);
    for (std::size_t i = 0; i < pairs; ++i)
      far[i] = std::pow(at.factor(), static_cast<double>(i + 1) / static_cast<double>(pairs));
    const auto list = [&]<class Kind>(Kind kind) {
      kind.short_factor = near;
      kind.long_factor = far;
      kind.factor = at.factor();
      kind.original_context = L;
      return bind(rope | kind | Causal{}, heads);
    };
    const auto by_length = list(LongRoPE{});
    SwitchingMemory memory(at.shape, at.tokens, L, list(LongRoPEShort{}), list(LongRoPELong{}));
    return run("keys stored rotated, by the list of short factors and then of long ones", memory,
               FromScratch(by_length, at.prompt));
  }
  std::string names;
  for (const std::string_view known : scheme_names)
    names += (names.empty() ? "" : ", ") + std::string(known);
  Problems problems;
  problems.add("there is no scheme '", name, "': choose one of ", names, ".");
  problems.raise_if_any("generate");
}

}  // namespace generate
