// SPDX-License-Identifier: MIT
//
// How the keys of a cache are rotated, and the rules by which encodings and caches meet.
//
// Keys that were rotated by one encoding and read by another give plausible, wrong scores: what the
// types can tell is refused by the compiler, the rest (frequencies, offsets) when it is met.
#pragma once

#include <posenc/bind/bind.hpp>
#include <posenc/rotate/rows.hpp>
#include <posenc/core/key_state.hpp>
#include <posenc/rotate/tokens.hpp>

#include <type_traits>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The state in which one copy of a key serves all regions of a distance map; raw: in none other.
template <class Map>
inline constexpr KeyState keys_of_map = [] {
  if constexpr (requires { Map::stored_keys; })
    return Map::stored_keys;
  else
    return KeyState::raw;
}();
template <>
inline constexpr KeyState keys_of_map<TrueDistance> = KeyState::rotated;

template <class BoundT>
using map_of = std::remove_cvref_t<decltype(std::declval<const BoundT&>().distance_map())>;

/// Refuses encodings that cannot read keys of this state.
template <KeyState State, class BoundT>
constexpr void require_state() {
  static_assert(State == KeyState::raw || !BoundT::depends_on_length,
                "posenc: a scheme whose frequencies depend on the length (DynamicNTK, "
                "Dynamic<YaRN>, LongRoPE "
                "by length, ...) needs a cache of raw keys (KeyState::raw): keys rotated at one "
                "length do not "
                "fit queries rotated at another.");
  static_assert(
      State != KeyState::rotated || keys_of_map<map_of<BoundT>> == KeyState::rotated,
      "posenc: this distance map (ReRoPE, LeakyReRoPE, SelfExtend, DualChunk, ...) cannot read a "
      "cache of rotated keys: far pairs need the key at another position than its own. Use "
      "KeyState::raw, or KeyState::reduced for DualChunk.");
  static_assert(
      State != KeyState::reduced || keys_of_map<map_of<BoundT>> == KeyState::reduced,
      "posenc: KeyState::reduced is for distance maps that see each key at one position of their "
      "own (DualChunk). Use KeyState::rotated without a distance map, and KeyState::raw for "
      "others.");
  static_assert(
      State == KeyState::raw || !BoundT::has_relative_queries,
      "posenc: an encoding whose keys meet vectors by distance (DeBERTa) needs a cache of "
      "raw keys (KeyState::raw): these products want the key without its rotation.");
}

template <class LayoutT>
inline constexpr char layout_tag = 0;

/// What decides how a key is rotated, and whether its value is.
struct RotatedBy {
  const void* layout = nullptr;
  Index offset = 0, head_dim = 0;
  Frequencies inv_freq{}, growth{};
  std::vector<int> axis{};
  Position centre = 0;
  Angles angles = Angles::exact;
  bool values = false;
  std::vector<Position> reduced{};  ///< where the distance map puts some positions

  RotatedBy() = default;
  template <class BoundT>
  explicit RotatedBy(const BoundT& bound) {
    if constexpr (BoundT::has_rotary) {
      const RotaryState& state = bound.rotary().state;
      layout = &layout_tag<typename BoundT::rotary_type::layout>;
      offset = bound.rotary().offset;
      head_dim = state.head_dim;
      inv_freq = state.inv_freq;
      growth = state.growth;
      axis = state.axis;
      centre = state.centre;
      angles = bound.angles();
      values = BoundT::rotates_values;
      if constexpr (keys_of_map<map_of<BoundT>> == KeyState::reduced)
        for_probes([&](Position p) {
          reduced.push_back(bound.distance_map().key_position(0, p));
          return true;
        });
    }
  }

  /// Would this encoding have rotated them alike?
  template <class BoundT>
  [[nodiscard]] bool matches(const BoundT& bound) const {
    if constexpr (!BoundT::has_rotary) {
      return layout == nullptr;
    } else {
      const RotaryState& state = bound.rotary().state;
      const auto same = [](const Frequencies& a, const Frequencies& b) {
        return a.size() == b.size() && (a == b).all();
      };
      bool reduces_alike = true;
      if constexpr (keys_of_map<map_of<BoundT>> == KeyState::reduced) {
        auto at = reduced.begin();
        for_probes([&](Position p) {
          reduces_alike = at != reduced.end() && *at++ == bound.distance_map().key_position(0, p);
          return reduces_alike;
        });
      } else {
        reduces_alike = reduced.empty();
      }
      return layout == &layout_tag<typename BoundT::rotary_type::layout> &&
             offset == bound.rotary().offset && head_dim == state.head_dim &&
             same(inv_freq, state.inv_freq) && same(growth, state.growth) && axis == state.axis &&
             (growth.size() == 0 || centre == state.centre) && angles == bound.angles() &&
             values == BoundT::rotates_values && reduces_alike;
    }
  }

 private:
  template <class F>
  static void for_probes(const F& f) {
    for (int bit = 0; bit < 40; ++bit)
      if (!f(-(Position{1} << bit)) || !f((Position{1} << bit) - 1)) return;
  }
};

/// Reports an encoding that is bound to other heads than those of a cache.
template <class Shape, class BoundT>
void check_cache_fits(Problems& problems, const Shape& cache, const BoundT& bound) {
  const HeadShape& shape = bound.shape();
  problems.require(cache.kv_heads == shape.num_kv_heads, "the cache has ", cache.kv_heads,
                   " key heads but the encoding is bound to ", shape.num_kv_heads, ".");
  problems.require(shape.head_dim == 0 || cache.head_dim == shape.head_dim,
                   "the cache has keys of ", cache.head_dim,
                   " channels but the encoding is bound to heads of ", shape.head_dim, ".");
  if constexpr (BoundT::has_rotary) {
    problems.require(cache.axes == 1 || cache.axes == bound.rotary().state.axes,
                     "the cache keeps positions of ", cache.axes,
                     " coordinates, but the encoding turns by ", bound.rotary().state.axes, ".");
    if constexpr (BoundT::rotates_values) {
      const Index needed = bound.rotary().offset + bound.rotary().state.rotary_dim;
      problems.require(cache.value_dim >= needed, "RotateValues rotates channels up to ", needed,
                       " but the cache has values of ", cache.value_dim, ".");
    }
  }
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

/// Rotates keys, and values under RotateValues, on their way into a cache.
template <KeyState State, class BoundT>
class KeyRotation {
 public:
  explicit KeyRotation(const BoundT& bound) : bound_(bound) {}

  template <class T>
  void check(Problems& problems, const Positions& positions, Index tokens) const {
    const RotaryState& state = bound_.rotary().state;
    check_positions(problems, state, positions, tokens);
    if (problems.empty() && state.growth.size() != 0)
      check_growth<T>(problems, state, positions, tokens);
  }

  template <class X, class T>
  bool operator()(Index tokens, const Positions& positions, const TensorView<const X>& k,
                  const TensorView<T>& keys, const TensorView<const X>& v,
                  const TensorView<T>& values) const {
    using LayoutT = typename BoundT::rotary_type::layout;
    simd::dispatch<T>([&]<class Level>(Level) {
      const auto rotate = [&](const AngleTable& table, const Positions& at, const auto& x,
                              const auto& y, const Turn& turn) {
        rotate_rows<Level, LayoutT, X, T>(bound_.rotary(), table, turn, at, x, y);
      };
      const Turn turn{.side = Side::key};
      if constexpr (State == KeyState::reduced) {
        std::vector<Position> reduced;
        for (Index t = 0; t < tokens; ++t)
          reduced.push_back(bound_.distance_map().key_position(0, positions[t]));
        rotate(bound_.region_angles(0), Positions(reduced), k, keys, turn);
      } else {
        rotate(bound_.rotary().angles, positions, k, keys, turn);
      }
      if constexpr (BoundT::rotates_values)
        rotate(bound_.rotary().angles, positions, v, values, {});
      else
        store_rows(v, values);
    });
    return true;
  }

 private:
  const BoundT& bound_;
};

}  // namespace detail

POSENC_NAMESPACE_END
