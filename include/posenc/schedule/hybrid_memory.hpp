// SPDX-License-Identifier: MIT
//
// What a sequence takes of memory in a hybrid: states of mixers, whose size does not grow, and caches of attention.
//
//   const HybridMemory all = memory(schedule, 131'072, {.cached_numbers = 2 * 8 * 128, .heads = {.num_heads = 32}});
//   std::cout << explain(schedule, lengths, options);      // which layers are what, and a table over lengths
#pragma once

#include <posenc/core/runs.hpp>
#include <posenc/schedule/hybrid_schedule.hpp>

#include <cstdint>
#include <iomanip>
#include <span>
#include <sstream>
#include <string>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct HybridMemoryOptions {
  /// Numbers that a layer of attention caches of a token: 2 num_kv_heads head_dim, or kv_lora_rank + qk_rope_head_dim
  /// with the latent of MLA.
  Index cached_numbers = 0;
  Index element_bytes = 2;  ///< of a number in the cache; states are float
  BindOptions heads{};      ///< of attention
};

/// In bytes, of one sequence.
struct HybridMemory {
  std::int64_t states = 0;     ///< of mixers, with the inputs that their convolutions remember
  std::int64_t caches = 0;     ///< of attention: tokens that the last one may see
  std::int64_t attention = 0;  ///< caches of the same model with attention in place of the mixers

  [[nodiscard]] std::int64_t total() const { return states + caches; }
};

namespace detail {

/// The keys within [first, last] that a query at `query` may see. Masks that do not classify tiles are asked key by key,
/// and count all keys.
inline Index visible_keys(const Answers& answers, Position query, Position first, Position last) {
  const TileClass seen = answers.classify({.query = {query, query},
                                           .key = {first, last},
                                           .query_index = {query, query},
                                           .key_index = {first, last},
                                           .heads = {0, answers.shape().num_heads - 1}});
  if (seen == TileClass::none) return 0;
  if (seen == TileClass::full || first == last) return last - first + 1;
  const Position middle = first + (last - first) / 2;
  return visible_keys(answers, query, first, middle) +
         visible_keys(answers, query, middle + 1, last);
}

/// The operator of a bound layer, where it has one.
inline std::int64_t bytes_of_state(const BoundHybridLayer& layer, Index conv_width) {
  return std::visit(
      [&]<class T>(const T& of) -> std::int64_t {
        if constexpr (std::is_constructible_v<mixers::AnyOperator, const T&>) {
          const mixers::AnyOperator any(of);
          std::size_t bytes = mixers::state_bytes(any);
          const Index channels = mixers::convolved_channels(any);
          if (conv_width > 0 && channels > 0)
            bytes += mixers::State(mixers::Shape{1, 1, conv_width - 1, channels}).bytes();
          return static_cast<std::int64_t>(bytes);
        } else {
          return 0;
        }
      },
      layer);
}

inline std::string name_of(const HybridLayer& layer) {
  if (const auto* mixer = std::get_if<mixers::AnyMixer>(&layer)) return std::string(mixer->name());
  return std::holds_alternative<AnyEncoding>(layer) ? "attention" : "no mixing";
}

/// In four digits, with a binary unit.
inline std::string in_bytes(std::int64_t bytes) {
  constexpr const char* units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
  auto number = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; number >= 1024; number /= 1024) ++unit;
  std::ostringstream text;
  text << std::setprecision(4) << number << units[unit];
  return std::move(text).str();
}

/// Of one layer. Reports what does not fit.
inline HybridMemory memory_of_layer(Problems& problems, const HybridLayer& layer,
                                    const BoundHybridLayer& bound, Index tokens,
                                    const HybridMemoryOptions& options) {
  HybridMemory memory;
  if (std::holds_alternative<NoMixing>(layer)) return memory;
  const auto cache = [&](Index seen) {
    Index numbers = 0, bytes = 0;
    if (!multiply(seen, options.cached_numbers, numbers) ||
        !multiply(numbers, options.element_bytes, bytes) || bytes > std::int64_t{1} << 55)
      problems.add("a cache of ", seen, " tokens of ", options.cached_numbers, " numbers of ",
                   options.element_bytes, " bytes is above 2^55 bytes.");
    return bytes;
  };
  memory.attention = cache(tokens);
  if (!problems.empty()) return memory;
  if (const auto* mixer = std::get_if<mixers::AnyMixer>(&layer)) {
    memory.states = bytes_of_state(bound, mixer->conv_width);
  } else if (tokens > 0) {
    const Answers& answers = std::get<AnyBound>(bound).answers();
    memory.caches = cache(visible_keys(answers, tokens - 1, 0, tokens - 1));
    memory.attention = memory.caches;
  }
  return memory;
}

inline void check(Problems& problems, const HybridMemoryOptions& options) {
  problems.require(options.cached_numbers > 0,
                   "cached_numbers, that attention caches of a token, must be positive, got ",
                   options.cached_numbers, ".");
  problems.require(options.element_bytes >= 1 && options.element_bytes <= 8,
                   "element_bytes must lie within [1, 8], got ", options.element_bytes, ".");
}

/// Of all layers, bound.
inline HybridMemory memory_of(const HybridSchedule& schedule, const BoundHybridLayers& bound,
                              Index tokens, const HybridMemoryOptions& options) {
  Problems problems;
  check(problems, options);
  problems.require(tokens >= 0 && tokens <= greatest_position,
                   "tokens must lie within [0, 2^52], got ", tokens, ".");
  HybridMemory all;
  for (Index layer = 0; layer < schedule.size(); ++layer) {
    problems.raise_if_any("posenc::memory");
    const HybridMemory one =
        memory_of_layer(problems, schedule.at(layer), bound[layer], tokens, options);
    all.states += one.states, all.caches += one.caches, all.attention += one.attention;
  }
  problems.raise_if_any("posenc::memory");
  return all;
}

}  // namespace detail

/// Of a sequence of `tokens` tokens. Throws Error where the schedule or the options are wrong.
[[nodiscard]] inline HybridMemory memory(const HybridSchedule& schedule, Index tokens,
                                         const HybridMemoryOptions& options) {
  return detail::memory_of(schedule, schedule.bind(options.heads), tokens, options);
}

/// Which layers are what, and the memory of a sequence for each of some lengths. Throws Error as memory() does.
[[nodiscard]] inline std::string explain(const HybridSchedule& schedule,
                                         std::span<const Index> lengths,
                                         const HybridMemoryOptions& options) {
  const BoundHybridLayers bound = schedule.bind(options.heads);
  std::vector<std::pair<std::string, std::vector<Index>>> groups;  // in the order of first layers
  for (Index layer = 0; layer < schedule.size(); ++layer) {
    const std::string name = detail::name_of(schedule.at(layer));
    std::size_t i = 0;
    while (i < groups.size() && groups[i].first != name) ++i;
    if (i == groups.size()) groups.push_back({name, {}});
    groups[i].second.push_back(layer);
  }
  std::ostringstream out;
  for (const auto& [name, layers] : groups)
    out << std::left << std::setw(16) << name << std::right << std::setw(4) << layers.size()
        << " layers: " << detail::runs(layers) << "\n";
  const auto line = [&](const auto&... cells) {
    ((out << std::setw(14) << cells), ...);
    out << "\n";
  };
  line("tokens", "states", "caches", "in all", "by attention");
  for (const Index tokens : lengths) {
    const HybridMemory at = detail::memory_of(schedule, bound, tokens, options);
    line(tokens, detail::in_bytes(at.states), detail::in_bytes(at.caches),
         detail::in_bytes(at.total()), detail::in_bytes(at.attention));
  }
  return std::move(out).str();
}

POSENC_NAMESPACE_END
