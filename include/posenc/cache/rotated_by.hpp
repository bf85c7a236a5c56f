// SPDX-License-Identifier: MIT
//
// How the keys of a cache are rotated, and the rules by which encodings and caches meet.
//
// Keys that were rotated by one encoding and read by another give plausible, wrong scores: what the
// types can tell is refused by the compiler, the rest (frequencies, offsets) when it is met.
#pragma once

#include <posenc/bind/bind.hpp>
#include <posenc/core/key_state.hpp>
#include <posenc/rotate/rows.hpp>
#include <posenc/rotate/tokens.hpp>

#include <type_traits>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Refuses encodings that cannot read keys of this state: by the compiler where it knows their
/// components, and otherwise in a sentence.
template <KeyState State, class E>
constexpr void require_state() {
  if constexpr (is_static<E>) {
    using BoundT = Bound<E>;
    constexpr KeyState stored = BoundT::encoding_facts.stored_keys;
    static_assert(State == KeyState::raw || !BoundT::depends_on_length,
                  "posenc: a scheme whose frequencies depend on the length (DynamicNTK, "
                  "Dynamic<YaRN>, LongRoPE "
                  "by length, ...) needs a cache of raw keys (KeyState::raw): keys rotated at one "
                  "length do not "
                  "fit queries rotated at another.");
    static_assert(
        State != KeyState::rotated || stored == KeyState::rotated,
        "posenc: this distance map (ReRoPE, LeakyReRoPE, SelfExtend, DualChunk, ...) cannot read a "
        "cache of rotated keys: far pairs need the key at another position than its own. Use "
        "KeyState::raw, or KeyState::reduced for DualChunk.");
    static_assert(
        State != KeyState::reduced || stored == KeyState::reduced,
        "posenc: KeyState::reduced is for distance maps that see each key at one position of their "
        "own (DualChunk). Use KeyState::rotated without a distance map, and KeyState::raw for "
        "others.");
    static_assert(
        State == KeyState::raw || !BoundT::encoding_facts.has_relative_queries,
        "posenc: an encoding whose keys meet vectors by distance (DeBERTa) needs a cache of "
        "raw keys (KeyState::raw): these products want the key without its rotation.");
  }
}
POSENC_DETAIL_COLD inline void check_state(Problems& problems, KeyState state,
                                           const Answers& answers) {
  const EncodingFacts& facts = answers.facts();
  if (state == KeyState::raw) return;
  problems.require(
      !facts.depends_on_length,
      "a scheme whose frequencies depend on the length (DynamicNTK, ...) needs a cache "
      "of raw keys (KeyState::raw).");
  problems.require(facts.stored_keys == state,
                   "this encoding cannot read the keys of this cache: KeyState::rotated is for "
                   "encodings without a distance map, KeyState::reduced for maps that see each key "
                   "at one position of their own (DualChunk), KeyState::raw for all.");
  problems.require(!facts.has_relative_queries,
                   "an encoding whose keys meet vectors by distance (DeBERTa) needs a cache of raw "
                   "keys (KeyState::raw).");
}

/// What decides how a key is rotated, and whether its value is.
struct RotatedBy {
  const LayoutRule* layout = nullptr;
  Index offset = 0, head_dim = 0;
  Frequencies inv_freq{}, head_scale{}, growth{};
  std::vector<int> axis{};
  std::vector<Index> ladder{};
  Position centre = 0;
  Angles angles = Angles::exact;
  bool values = false;
  std::vector<Position> reduced{};  ///< where the distance map puts some positions

  RotatedBy() = default;
  explicit RotatedBy(const Answers& answers) {
    if (!answers.rotates()) return;
    const RotaryState& state = answers.rotary().state;
    layout = answers.rotary().layout;
    offset = answers.rotary().offset;
    head_dim = state.head_dim;
    inv_freq = state.inv_freq;
    head_scale = state.head_scale;
    growth = state.growth;
    axis = state.axis;
    ladder = state.ladder;
    centre = state.centre;
    angles = answers.angles();
    values = answers.facts().rotates_values;
    for_probes(answers, [&](Position p) {
      reduced.push_back(p);
      return true;
    });
  }

  /// Would this encoding have rotated them alike?
  [[nodiscard]] bool matches(const Answers& answers) const {
    if (!answers.rotates()) return layout == nullptr;
    const Rotary& rotary = answers.rotary();
    const RotaryState& state = rotary.state;
    const auto same = [](const Frequencies& a, const Frequencies& b) {
      return a.size() == b.size() && (a == b).all();
    };
    auto at = reduced.begin();
    const bool reduces_alike =
        for_probes(answers, [&](Position p) { return at != reduced.end() && *at++ == p; }) &&
        at == reduced.end();
    return layout == rotary.layout && offset == rotary.offset && head_dim == state.head_dim &&
           same(inv_freq, state.inv_freq) && same(head_scale, state.head_scale) &&
           same(growth, state.growth) && axis == state.axis &&
           (growth.size() == 0 || centre == state.centre) && angles == answers.angles() &&
           (angles == Angles::exact || ladder == state.ladder) &&
           values == answers.facts().rotates_values && reduces_alike;
  }

 private:
  /// Where a map that reduces keys puts some positions; false when f was.
  template <class F>
  static bool for_probes(const Answers& answers, const F& f) {
    if (!answers.map() || answers.facts().stored_keys != KeyState::reduced) return true;
    const auto probe = [&](Position p) { return f(answers.map().key_position(0, p)); };
    for (int bit = 0; bit < 40; ++bit)
      if (!probe(-(Position{1} << bit)) || !probe((Position{1} << bit) - 1)) return false;
    return true;
  }
};

/// Reports an encoding that is bound to other heads than those of a cache.
template <class Shape>
POSENC_DETAIL_COLD void check_cache_fits(Problems& problems, const Shape& cache, KeyState state,
                                         const Answers& answers) {
  const HeadShape& shape = answers.shape();
  check_state(problems, state, answers);
  problems.require(cache.kv_heads == shape.num_kv_heads, "the cache has ", cache.kv_heads,
                   " key heads but the encoding is bound to ", shape.num_kv_heads, ".");
  problems.require(shape.head_dim == 0 || cache.head_dim == shape.head_dim,
                   "the cache has keys of ", cache.head_dim,
                   " channels but the encoding is bound to heads of ", shape.head_dim, ".");
  if (!answers.rotates()) return;
  problems.require(cache.axes == 1 || cache.axes == answers.rotary().state.axes,
                   "the cache keeps positions of ", cache.axes,
                   " coordinates, but the encoding turns by ", answers.rotary().state.axes, ".");
  const Index needed = answers.rotary().offset + answers.rotary().state.rotary_dim;
  problems.require(!answers.facts().rotates_values || cache.value_dim >= needed,
                   "RotateValues rotates channels up to ", needed, " but the cache has values of ",
                   cache.value_dim, ".");
}

/// Stores rows in another element or as they are.
template <class X, class T>
void store_rows(const TensorView<const X>& x, const TensorView<T>& y) {
  const auto for_each_row = [&](const auto& store) {
    for (Index t = 0; t < x.tokens; ++t)
      for (Index h = 0; h < x.heads; ++h) store(x.row(t, h), y.row(t, h));
  };
  if constexpr (!std::is_same_v<X, T>)
    if (x.channel_stride == 1 && y.channel_stride == 1)
      return simd::dispatch<T>([&]<class Level>(Level) {
        for_each_row([&](const X* from, T* to) { Level::narrow_row(x.width, from, to); });
      });
  for_each_row([&](const X* from, T* to) {
    copy_channels(x.width, from, x.channel_stride, to, y.channel_stride);
  });
}
#if defined(POSENC_DETAIL_FLOAT)
#endif

/// Rotates keys, and values under RotateValues, on their way into a cache.
template <KeyState State, class LayoutT>
class KeyRotation {
 public:
  explicit KeyRotation(const Answers& answers) : answers_(answers) {}

  template <class T>
  void check(Problems& problems, const Positions& positions, Index tokens) const {
    const RotaryState& state = answers_.rotary().state;
    check_positions(problems, state, positions, tokens);
    if (problems.empty()) check_growth<T>(problems, state, positions, tokens);
  }

  template <class X, class T>
  bool operator()(Index tokens, const Positions& positions, const TensorView<const X>& k,
                  const TensorView<T>& keys, const TensorView<const X>& v,
                  const TensorView<T>& values) const {
    const Rotary& rotary = answers_.rotary();
    const auto rotate = [&](const auto& table_of, const Positions& at, const TensorView<const X>& x,
                            const TensorView<T>& y, const Turn& turn) {
      for_rates(rotary, [&](const Rotary& own, const HeadShare& share) {
        rotate_rows_at_level<LayoutT, X, T>(own, table_of(own), turn, at, heads_of(x, share),
                                            heads_of(y, share));
      });
    };
    const auto angles = [](const Rotary& own) -> const AngleTable& { return own.angles; };
    const Turn turn{.side = Side::key};
    if constexpr (State == KeyState::reduced) {
      std::vector<Position> reduced;
      for (Index t = 0; t < tokens; ++t)
        reduced.push_back(answers_.map().key_position(0, positions[t]));
      rotate([](const Rotary& own) -> const AngleTable& { return own.region_angles(0); },
             Positions(reduced), k, keys, turn);
    } else {
      rotate(angles, positions, k, keys, turn);
    }
    if (answers_.facts().rotates_values)
      rotate(angles, positions, v, values, {});
    else
      store_rows(v, values);
    return true;
  }

 private:
  const Answers& answers_;
};

}  // namespace detail

POSENC_NAMESPACE_END
