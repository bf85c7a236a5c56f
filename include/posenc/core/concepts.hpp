// SPDX-License-Identifier: MIT
//
// The questions. A component is a plain value type; it takes part in an encoding by answering one
// or more of them, and it answers by having the member function that a concept below names. There
// is no base class to derive from and no enum to extend: what nobody answers is never asked.
//
// Order inside attention, fixed: rotate, dot, products with relative vectors, scale and temperature,
// then the score stages (biases and score maps) in the order written, then masks, then the sink,
// then softmax, then values and relative values.
#pragma once

#include <posenc/core/key_state.hpp>
#include <posenc/core/problems.hpp>
#include <posenc/core/rotary_state.hpp>
#include <posenc/core/score.hpp>
#include <posenc/core/types.hpp>
#include <posenc/core/vector_concepts.hpp>

#include <concepts>
#include <span>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

/// The heads that an encoding is bound to. num_kv_heads divides num_heads.
struct HeadShape {
  Index num_heads = 1;
  Index num_kv_heads = 1;
  Index head_dim = 0;  ///< width of queries and keys; 0 when not known at bind
};

/// The regions that occur in a tile of a distance map, one bit each.
using RegionSet = unsigned;

// --- Questions about embeddings and frequencies -------------------------------------------------

/// embed(position, out): the vector [embedding_width()] that is added to a token's embedding.
///
/// Optional:
///   check_position(problems, position)   reports a position that has no vector, before a call changes
///                                        anything. Without it, every position has
template <class T>
concept InputEmbedding = requires(const T c, double position, std::span<double> out) {
  c.embed(position, out);
  { c.embedding_width() } -> std::convertible_to<Index>;
};

/// Which channels rotate, in which layout, with which frequencies to begin with.
template <class T>
concept RotaryBase = requires(const T c) {
  typename T::layout;
  { c.rotary_state() } -> std::same_as<RotaryState>;
  { c.rotary_offset } -> std::convertible_to<Index>;
};

/// transform(state): changes the frequencies (and the base, the attention factor).
template <class T>
concept FrequencyTransform = requires(const T c, RotaryState& state) { c.transform(state); };

/// A component whose answers change with the current length says so in its type, because keys that
/// were rotated at one length cannot meet queries rotated at another.
template <class T>
concept LengthDependent = requires { requires T::depends_on_length; };

/// Values rotate with the keys, and the output is rotated back by the query's position.
template <class T>
concept ValueRotation = requires { requires T::rotates_values; };

// --- Questions about scores ---------------------------------------------------------------------

/// A rewritten distance g(query, key), split into regions of the (query, key) plane. Within region
/// r the score is the dot product of the query rotated at query_position(r, query) * step(r) with
/// the key rotated at key_position(r, key) * step(r), so every region costs one ordinary tile
/// product.
///   distance(query, key)     g itself, for the reference attention and for pictures
///   region(query, key)       the region of one pair
///   regions(tile)            every region that occurs in the tile (may name more, never fewer)
/// Positions are passed in units of step(r), so that keys stay integers (their angles come from a
/// table) even where a scheme divides positions.
///
/// Optional:
///   key_copy(region)         the least region whose step and key_position are the same for every
///                            key, so that regions that share their keys share one rotated copy of
///                            them; without this member every region has a copy of its own
///   stored_keys              a KeyState: `reduced` where all regions share one copy of the keys, at
///                            key_position(0, key), `rotated` where that is the key's own position.
///                            A cache may then hold this copy; without this member it holds raw keys
template <class T>
concept DistanceMap = requires(const T c, Position p, const Tile& tile, int r) {
  { T::num_regions } -> std::convertible_to<int>;
  { c.distance(p, p) } -> std::convertible_to<double>;
  { c.region(p, p) } -> std::convertible_to<int>;
  { c.regions(tile) } -> std::convertible_to<RegionSet>;
  { c.step(r) } -> std::convertible_to<double>;
  { c.query_position(r, p) } -> std::convertible_to<double>;
  { c.key_position(r, p) } -> std::convertible_to<Position>;
};

/// Added to the scaled score; depends on head and distance (query - key) alone, so the kernel
/// evaluates it once per head and distance, in double, and reads a table.
template <class T>
concept RelativeBias = requires(const T c, Index head, Position distance) {
  { c.relative_bias(head, distance) } -> std::convertible_to<double>;
};

/// Added to the scaled score; may depend on everything in Score.
template <class T>
concept ScoreBias = requires(const T c, const Score& at) {
  { c.score_bias(at) } -> std::convertible_to<double>;
};

namespace detail {
/// Takes whatever function it is handed.
struct TakesFunction {
  template <class F>
  void operator()(const F&) const {}
};
}  // namespace detail

/// tile_bias(tile, head, use): the same question, or that of a RelativeBias, for a rectangle of one
/// head's scores. Calls use(f) once, with a function of Score that is score_bias(at), or the relative
/// bias at its distance, at all of them but may know more: that tables reach so far, or which case of a
/// definition by cases applies. (The rectangle may go on beyond the last query: f is called there, and
/// what it says is not used.) The function becomes a loop over consecutive queries, and vector code if
/// it has no branches and reads tables by at.query, at.key or at.distance(). (decode() asks for one
/// query and some keys, and the loop is over these, which need not be consecutive. A relative bias is
/// asked by decode() alone.)
template <class T>
concept TiledBias =
    (ScoreBias<T> || RelativeBias<T>) && requires(const T c, const Tile& tile, Index head) {
      c.tile_bias(tile, head, detail::TakesFunction{});
    };

/// known_tokens(sequence): of how many tokens of a sequence there are data. Calls with a later one are refused.
template <class T>
concept KnowsTokens = requires(const T c, Index sequence) {
  { c.known_tokens(sequence) } -> std::convertible_to<Position>;
};

/// Replaces the score; map_score(x, at) is called with x of the kernel's own type.
template <class T>
concept ScoreMap = requires(const T c, const Score& at) {
  { c.map_score(1.0, at) } -> std::convertible_to<double>;
  { c.map_score(1.0F, at) } -> std::convertible_to<double>;
};

/// Multiplies every score of a query row.
template <class T>
concept QueryTemperature = requires(const T c, Position query) {
  { c.temperature(query) } -> std::convertible_to<double>;
};

/// The softmax scale that the encoding was trained with, where it is not 1/sqrt(head_dim).
template <class T>
concept ScoreScale = requires(const T c, Index head_dim) {
  { c.score_scale(head_dim) } -> std::convertible_to<double>;
};

/// visible(at): may the query see the key?
template <class T>
concept Mask = requires(const T c, const Score& at) {
  { c.visible(at) } -> std::convertible_to<bool>;
};

/// classify(tile): the same question for a rectangle, of all its heads, in constant time. `partial` is
/// always a correct answer; `none` and `full` are promises.
template <class T>
concept TiledMask = Mask<T> && requires(const T c, const Tile& tile) {
  { c.classify(tile) } -> std::same_as<TileClass>;
};

/// One more logit per head in the softmax, with no value behind it.
template <class T>
concept SoftmaxSink = requires(const T c, Index head) {
  { c.sink_logit(head) } -> std::convertible_to<double>;
};

namespace detail {
/// A function that is no answer only because it cannot be called while it is const.
template <class F, class... Arguments>
concept CalledUnlessConst =
    std::is_invocable_v<F&, Arguments...> && !std::is_invocable_v<const F&, Arguments...>;
}  // namespace detail

// --- Binding ------------------------------------------------------------------------------------

/// prepare(shape): what the kernel asks in the component's stead, with per-head tables built. For
/// components whose answers need the number of heads or a table.
template <class T>
concept Prepares = requires(const T c, const HeadShape& shape) { c.prepare(shape); };

/// check(problems, shape): reports every wrong parameter, a sentence each.
template <class T>
concept Checks =
    requires(const T c, Problems& problems, const HeadShape& shape) { c.check(problems, shape); };

/// The same for frequency transforms, which are checked against the state that they will see.
template <class T>
concept ChecksState =
    requires(const T c, Problems& problems, const RotaryState& state) { c.check(problems, state); };

namespace detail {
template <class T>
struct prepared {
  using type = T;
};
template <Prepares T>
struct prepared<T> {
  using type = decltype(std::declval<const T&>().prepare(std::declval<const HeadShape&>()));
};
}  // namespace detail

/// The type that answers for T once it is bound: T itself, or what its prepare() returns.
template <class T>
using prepared_t = typename detail::prepared<T>::type;

namespace detail {

/// What answers for the component once it is bound.
template <class T>
constexpr prepared_t<T> prepare(const T& component, const HeadShape& shape) {
  if constexpr (Prepares<T>)
    return component.prepare(shape);
  else
    return component;
}

}  // namespace detail

/// Answers to be asked during attention, by the component itself or by what it prepares.
template <class T>
concept ScoreStage =
    RelativeBias<prepared_t<T>> || ScoreBias<prepared_t<T>> || ScoreMap<prepared_t<T>>;

/// Vectors by distance, of any kind.
template <class T>
concept RelativeVectors = RelativeKeys<prepared_t<T>> || RelativeQueries<prepared_t<T>> ||
                          RelativeValues<prepared_t<T>> || QueryBias<prepared_t<T>>;

/// Anything that attention asks while it runs. What the other components say is known before: it is
/// in the table of frequencies and in the scale.
template <class T>
concept AskedInAttention =
    DistanceMap<prepared_t<T>> || RelativeVectors<T> || ContextPositions<prepared_t<T>> ||
    ScoreStage<T> || QueryTemperature<prepared_t<T>> || Mask<prepared_t<T>> ||
    SoftmaxSink<prepared_t<T>>;

/// Anything that answers at least one question.
template <class T>
concept Component = InputEmbedding<T> || RotaryBase<T> || FrequencyTransform<T> ||
                    ValueRotation<T> || ScoreScale<T> || AskedInAttention<T>;

POSENC_NAMESPACE_END
