// SPDX-License-Identifier: MIT
//
// The rows of bench_decode for one element of the cache; each element is a part of its own, so that
// none takes minutes to compile.
#pragma once

#include "decode/subject.hpp"
#include "support/paired.hpp"

#include <string>
#include <vector>

namespace bench {

struct DecodeChoice {
  bool all = false;                              ///< every row, not only the usual ones
  std::vector<Index> keys{4096, 32768, 131072};  ///< lengths of caches
  bool keys_given = false;
  double memory = 20;  ///< most GiB that a row may need
};

struct DecodeRun {
  benchmark::State& state;
  Team& team;
  DecodeSize size;
};
using RunDecode = void (*)(const DecodeRun&);

/// What a row is called and what it needs.
struct DecodeRow {
  std::string element, what;
  RunDecode run;
  std::size_t bytes;     ///< of an element
  int caches;            ///< made by a run
  bool central = false;  ///< measured at all sizes, not only at 32,768 keys of 8 heads, one thread
  Index held = 0;        ///< tokens that the cache keeps, 0: all
};

/// Registers a row at the lengths, heads and threads that are chosen.
void add_row(const DecodeChoice& choice, const DecodeRow& row);
/// At one size of its own.
void add_row(const DecodeChoice& choice, const DecodeRow& row, const DecodeSize& size, int threads);

// The parts.
void add_float_rows(const DecodeChoice& choice);
void add_bfloat16_rows(const DecodeChoice& choice);
void add_float16_rows(const DecodeChoice& choice);

/// Reports what was read, and the share of the speed at which the same threads can read it.
inline void report_reading(const DecodeRun& run, double bytes, double time, double limit_time) {
  run.state.counters["GB/s"] = bytes / time * 1e-9;
  run.state.counters["read_GB/s"] = bytes / limit_time * 1e-9;
  run.state.counters["share"] = limit_time / time;
}
/// Memory is one bound and the processor another: `near_time` is what the same work takes where keys and
/// values are in a cache.
inline void report_bounds(const DecodeRun& run, double bytes, double time, double limit_time,
                          double near_time) {
  report_reading(run, bytes, time, limit_time);
  run.state.counters["near_GB/s"] = bytes / near_time * 1e-9;
  run.state.counters["of_bound"] = std::max(limit_time, near_time) / time;
}

// Extensions start from a trained length of 4,096.
inline auto rope() { return posenc::RoPE<posenc::HalfSplit>{.head_dim = 128}; }
inline auto with_rope() { return rope() | posenc::Causal{}; }
inline auto with_rerope() { return rope() | posenc::ReRoPE{.window = 2048} | posenc::Causal{}; }
inline auto with_leaky_rerope() {
  return rope() | posenc::LeakyReRoPE{.window = 2048, .factor = 64} | posenc::Causal{};
}
inline auto with_self_extend() {
  return rope() | posenc::SelfExtend{.window = 2048, .group = 64} | posenc::Causal{};
}
inline auto with_dual_chunk() {
  return rope() | posenc::DualChunk::chunk_llama(4096) | posenc::Causal{};
}
inline auto with_string() { return rope() | posenc::STRING::of_length(4096) | posenc::Causal{}; }
inline auto with_alibi() { return posenc::ALiBi{} | posenc::Causal{}; }
inline auto with_nothing() { return posenc::encoding(posenc::Causal{}); }
inline auto with_window() { return rope() | posenc::SlidingWindow{.left = 4095}; }
inline auto with_sinks() { return rope() | posenc::SinkWindow{.sinks = 4, .window = 4096}; }

inline auto with_streaming_llm() {
  return rope() | posenc::StreamingLLM{.sinks = 4, .recent = 4096};
}

template <auto make>
auto bound_for(const DecodeRun& run) {
  return bind(make(), {.num_heads = run.size.heads, .num_kv_heads = run.size.kv_heads});
}
template <KeyState State, class T, auto make>
using PassOf = DecodePass<State, T, decltype(bound_for<make>(std::declval<const DecodeRun&>()))>;

/// The same call over few keys, a few megabytes, which stay in a cache; on one thread.
template <KeyState State, class T, auto make>
class NearPass {
 public:
  explicit NearPass(const DecodeRun& run)
      : size_{run.size.kv_heads > 8 ? 256 : 512, run.size.heads, run.size.kv_heads, run.size.width},
        share_(static_cast<double>(run.size.keys) /
               static_cast<double>(times * size_.keys * run.team.size())),
        run_{run.state, team_, size_}, pass_(size_, bound_for<make>(run_), team_) {}

  /// Often: the first time they come from memory, where others have worked since.
  void operator()() const {
    for (int i = 0; i < times; ++i) pass_();
  }
  /// Seconds that the threads of the run would take for all of its keys.
  [[nodiscard]] double of_all(double seconds) const { return seconds * share_; }

 private:
  static constexpr int times = 50;
  DecodeSize size_;
  double share_;
  Team team_{1};
  DecodeRun run_;
  PassOf<State, T, make> pass_;
};

/// Raw keys that are rotated on the way are compared with keys that are stored rotated, too.
template <KeyState State, class T, auto make>
void decode_row(const DecodeRun& run) {
  const auto bound = bound_for<make>(run);
  const PassOf<State, T, make> pass(run.size, bound, run.team);
  const NearPass<State, T, make> near(run);
  const auto limit = pass.limit();
  if constexpr (State == KeyState::raw && decltype(bound)::has_rotary) {
    const PassOf<KeyState::rotated, T, with_rope> rotated(run.size, bound_for<with_rope>(run),
                                                          run.team);
    const auto [time, limit_time, near_time, rotated_time] =
        once_in_turns(run.state, pass, limit, near, rotated);
    report_bounds(run, limit.work(), time, limit_time, near.of_all(near_time));
    run.state.counters["of_rotated"] = time / rotated_time;
  } else {
    const auto [time, limit_time, near_time] = once_in_turns(run.state, pass, limit, near);
    report_bounds(run, limit.work(), time, limit_time, near.of_all(near_time));
  }
}

/// The last 4,096 tokens of a cache that holds more.
template <class T>
void window_row(const DecodeRun& run) {
  const PassOf<KeyState::rotated, T, with_window> pass(run.size, bound_for<with_window>(run),
                                                       run.team);
  const auto limit = pass.limit(std::min<Index>(4096, run.size.keys));
  const auto [time, limit_time] = once_in_turns(run.state, pass, limit);
  report_reading(run, limit.work(), time, limit_time);
}

/// 4 sinks and the last 4,096 tokens of many, which are all that is kept.
inline constexpr Index ring_tokens = 4 + 4096;
template <KeyState State, class T, auto make>
void ring_row(const DecodeRun& run) {
  using Cache = posenc::KeyValueCache<State, T>;
  const posenc::CacheShape shape{
      .kv_heads = run.size.kv_heads, .head_dim = run.size.width, .capacity = ring_tokens};
  Cache cache = [&] {
    if constexpr (State == KeyState::raw)
      return Cache::streaming(shape, 4);
    else
      return Cache::ring(shape, 4);
  }();
  const PassOf<State, T, make> pass(run.size, std::move(cache), bound_for<make>(run), run.team);
  const auto limit = pass.limit();
  const auto [time, limit_time] = once_in_turns(run.state, pass, limit);
  report_reading(run, limit.work(), time, limit_time);
}

/// Keys that are changed in place, read and written, beside x *= a over as much memory.
template <class T, class Change>
void change_row(const DecodeRun& run, const Change& change) {
  posenc::KeyValueCache<KeyState::rotated, T> cache =
      posenc::KeyValueCache<KeyState::rotated, T>::contiguous(
          {.kv_heads = run.size.kv_heads, .head_dim = run.size.width, .capacity = run.size.keys});
  fill(cache, run.size.keys, bound_for<with_rope>(run));
  const Memory<T> memory(run.size.keys * run.size.kv_heads * run.size.width);
  const auto limit =
      scale_limit({memory.floats(), static_cast<Index>(memory.bytes() / sizeof(float))}, run.team);
  bool back = false;
  const auto pass = [&] {
    change(cache, back);
    back = !back;
  };
  const auto [time, limit_time] = once_in_turns(run.state, pass, limit);
  run.state.counters["GB/s"] = limit.work() / time * 1e-9;
  run.state.counters["scale_GB/s"] = limit.work() / limit_time * 1e-9;
  run.state.counters["of_scale"] = limit_time / time;
}
/// All tokens a thousand positions up, and down again.
template <class T>
void shift_row(const DecodeRun& run) {
  const auto bound = bound_for<with_rope>(run);
  change_row<T>(run, [&](auto& cache, bool back) {
    shift(cache, 0, 0, run.size.keys, back ? -1000 : 1000, bound, run.team.executor());
  });
}
/// To four times the base, and back.
template <class T>
void rebase_row(const DecodeRun& run) {
  const auto from = bound_for<with_rope>(run);
  const auto to = bind(posenc::RoPE<posenc::HalfSplit>{.head_dim = run.size.width, .base = 40000} |
                           posenc::Causal{},
                       {.num_heads = run.size.heads, .num_kv_heads = run.size.kv_heads});
  change_row<T>(run, [&](auto& cache, bool back) {
    if (back)
      rebase(cache, 0, to, from, run.team.executor());
    else
      rebase(cache, 0, from, to, run.team.executor());
  });
}

/// One token to a cache that begins anew when it is full, and to a ring that is full.
template <KeyState State, class T, bool ring>
void append_row(const DecodeRun& run) {
  using Cache = posenc::KeyValueCache<State, T>;
  const auto bound = bound_for<with_rope>(run);
  const posenc::CacheShape shape{
      .kv_heads = run.size.kv_heads, .head_dim = run.size.width, .capacity = run.size.keys};
  Cache cache = ring ? Cache::ring(shape, 4) : Cache::contiguous(shape);
  fill(cache, run.size.keys, bound);
  const NormalTensor k(1, run.size.kv_heads, run.size.width, 2),
      v(1, run.size.kv_heads, run.size.width, 3);
  const auto pass = [&] {
    if (!ring && cache.tokens(0) == run.size.keys) cache.clear(0);
    cache.append(0, k.view, v.view, bound);
  };
  once_in_turns(run.state, pass);
}

template <class T>
void add_rows_of(const DecodeChoice& choice, const std::string& element) {
  using enum KeyState;
  const auto add = [&](const char* what, RunDecode run, int caches = 1, bool central = false) {
    add_row(choice, {element, what, run, sizeof(T), caches, central});
  };
  const bool central = sizeof(T) == 2 && element == "bfloat16";
  add("rotated/RoPE", decode_row<rotated, T, with_rope>, 1, central);
  add("raw/RoPE", decode_row<raw, T, with_rope>, 2, central);
  add("raw/ReRoPE", decode_row<raw, T, with_rerope>, 2);
  add("raw/LeakyReRoPE", decode_row<raw, T, with_leaky_rerope>, 2);
  add("raw/SelfExtend", decode_row<raw, T, with_self_extend>, 2);
  add("rotated/STRING", decode_row<rotated, T, with_string>);
  add("raw/DualChunk", decode_row<raw, T, with_dual_chunk>, 2);
  add("reduced/DualChunk", decode_row<reduced, T, with_dual_chunk>);
  add("raw/none", decode_row<raw, T, with_nothing>);
  add("raw/ALiBi", decode_row<raw, T, with_alibi>);
  add("rotated/SlidingWindow", window_row<T>);

  const DecodeSize million{.keys = Index{1} << 20, .heads = 32, .kv_heads = 8};
  const DecodeSize usual{.keys = 32768, .heads = 32, .kv_heads = 8};
  const auto add_one = [&](const char* what, RunDecode run, const DecodeSize& size,
                           Index held = 0) {
    add_row(choice, {element, what, run, sizeof(T), 1, false, held}, size, 1);
  };
  add_one("ring/SinkWindow", ring_row<rotated, T, with_sinks>, million, ring_tokens);
  add_one("ring/StreamingLLM", ring_row<rotated, T, with_streaming_llm>, million, ring_tokens);
  add_one("streaming/RoPE", ring_row<raw, T, with_rope>, million, ring_tokens);
  for (const int threads : one_and_all_threads()) {
    add_row(choice, {element, "shift", shift_row<T>, sizeof(T), 1, false, 0}, usual, threads);
    add_row(choice, {element, "rebase", rebase_row<T>, sizeof(T), 1, false, 0}, usual, threads);
  }
  add_one("append/rotated", append_row<rotated, T, false>, usual);
  add_one("append/raw", append_row<raw, T, false>, usual);
  add_one("append/ring", append_row<rotated, T, true>, usual);
}

}  // namespace bench
