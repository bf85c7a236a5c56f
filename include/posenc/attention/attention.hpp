// SPDX-License-Identifier: MIT
//
// attention: softmax(scores) V with any encoding, any mask, any bias.
//
//   out(i, h) = sum_j softmax_j(x_ij) v_j
//   x_ij      = biases and score maps of (scale * temperature_i * <q_i, k_j> under the rotation)
//
// Vectors by distance (ShawKeys, TransformerXL, DeBERTa, ShawValues) join <q_i, k_j> and v_j.
//
// Shapes: q [queries, heads, head_dim], k [keys, kv heads, head_dim], v [keys, kv heads,
// value_dim], out [queries, heads, value_dim]; strides are free. Query head h reads key head h /
// (heads / kv heads). Elements are float (float32 arithmetic) or double. Keys are as they leave
// their projection; the kernel rotates them. Keys that are rotated already are passed as
// RotatedKeys{k}.
//
// A key that a query may not see has no effect on it, whatever it holds. A row that sees no key is
// zero, with a log-sum-exp of minus infinity. A NaN or plus infinity among the scores that a row
// sees makes the row NaN; a score of minus infinity is a weight of zero. A value that is not finite
// makes its channel of the output not finite in every row that gives it a weight above zero.
#pragma once

#include <posenc/attention/prefill/worker.hpp>
#include <posenc/attention/options.hpp>

#include <memory>
#include <new>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T, class BoundT>
void check_shapes(Problems& problems, const TensorView<const T>& q, const TensorView<const T>& k,
                  const TensorView<const T>& v, const TensorView<T>& out, const BoundT& bound,
                  const AttentionOptions<T>& options) {
  const HeadShape& shape = bound.shape();
  const auto dims = [](const auto& x) { return ShapeText(x); };
  check_view(problems, "q", q);
  check_view(problems, "k", k);
  check_view(problems, "v", v);
  check_view(problems, "out", out);
  const bool addresses_fit = problems.empty();
  problems.require(q.heads == shape.num_heads, "q is ", dims(q), " but the encoding is bound to ",
                   shape.num_heads, " query heads.");
  problems.require(k.heads == shape.num_kv_heads, "k is ", dims(k),
                   " but the encoding is bound to ", shape.num_kv_heads, " key heads.");
  problems.require(v.tokens == k.tokens && v.heads == k.heads, "k is ", dims(k), " and v is ",
                   dims(v), ": they must have the same tokens and heads.");
  problems.require(q.width == k.width, "q is ", dims(q), " and k is ", dims(k),
                   ": they must have the same width.");
  problems.require(shape.head_dim == 0 || q.width == shape.head_dim, "q is ", dims(q),
                   " but the encoding is bound to heads of ", shape.head_dim, " channels.");
  problems.require(out.tokens == q.tokens && out.heads == q.heads && out.width == v.width,
                   "out is ", dims(out), " but must be [", q.tokens, ", ", q.heads, ", ", v.width,
                   "].");
  problems.require(q.width > 0 || q.tokens == 0, "q is ", dims(q),
                   ": heads need at least one channel.");
  if (addresses_fit) {
    problems.require(!overlap(out, k) && !overlap(out, v), "out must not overlap k or v.");
    problems.require(!overlap(out, q) || same_elements(out, q),
                     "out must be the same view as q or must not overlap it.");
    check_result(problems, "out", out);
  }
  if constexpr (BoundT::rotates_values) {
    const Index needed = bound.rotary().offset + bound.rotary().state.rotary_dim;
    problems.require(v.width >= needed, "RotateValues rotates channels up to ", needed,
                     " but v is ", dims(v), ".");
  }
  check_relative_widths(problems, bound, q.width, v.width);
  check_lse(problems, options.lse, q);
}

/// Bytes that one worker needs, or -1 when that does not fit in memory.
template <class T, class BoundT>
Index bytes_per_worker(const BoundT& bound, const Plan& plan, const AttentionShape& shape) {
  Arena measure(nullptr);
  Buffers<T, BoundT>(bound, plan, shape, measure);
  return measure.used();
}

/// Bytes that the kernel needs for this call or a smaller one, or -1 when that does not fit in
/// memory.
template <class T, class BoundT>
Index workspace_bytes(const BoundT& bound, const AttentionShape& shape, Index concurrency) {
  constexpr Index most = Index{1} << 48;  // small enough for sums and roundings of sizes
  for (const Index size : {shape.queries, shape.keys, shape.head_dim, shape.value_dim})
    if (size < 0 || size > most) return -1;
  const Plan plan(leaves<T, BoundT>().tile, bound.shape(), shape, concurrency,
                  value_buckets(bound));
  const Index each = bytes_per_worker<T>(bound, plan, shape);
  const Index shared = SharedSums<T>::most_bytes(plan, shape);
  Index bytes = 0;
  const bool fits = each >= 0 && shared >= 0 && multiply(each, plan.most_workers, bytes) &&
                    bytes <= std::numeric_limits<Index>::max() - shared;
  return fits ? bytes + shared : -1;
}

/// Scratch memory: the caller's, or its own.
class Workspace {
 public:
  Workspace(std::span<std::byte> given, Index bytes) : data_(given.data()) {
    if (!given.empty()) return;
    own_.reset(static_cast<std::byte*>(
        ::operator new[](static_cast<std::size_t>(bytes), std::align_val_t{workspace_alignment})));
    data_ = own_.get();
  }
  [[nodiscard]] std::byte* data() const { return data_; }

 private:
  struct Release {
    void operator()(std::byte* p) const {
      ::operator delete[](p, std::align_val_t{workspace_alignment});
    }
  };
  std::byte* data_;
  std::unique_ptr<std::byte[], Release> own_;
};

/// Reports a workspace of less than `bytes` bytes, which is negative when they do not fit in memory.
inline void check_workspace(Problems& problems, std::span<const std::byte> given, Index bytes) {
  problems.require(bytes >= 0, "the workspace does not fit in memory.");
  problems.require(given.empty() || std::ssize(given) >= bytes, "the workspace has ", given.size(),
                   " bytes, but ", bytes, " are needed.");
  problems.require(reinterpret_cast<std::uintptr_t>(given.data()) % workspace_alignment == 0,
                   "the workspace must be aligned to ", workspace_alignment, " bytes.");
}

/// Where the tokens of a call stand, if nothing is wrong with it.
template <class T, class BoundT>
Coordinates check_call(const TensorView<const T>& q, const TensorView<const T>& k,
                       const TensorView<const T>& v, const TensorView<T>& out, const BoundT& bound,
                       const AttentionOptions<T>& options) {
  Problems problems;
  check_shapes(problems, q, k, v, out, bound, options);
  const Coordinates at = coordinates(problems, q.tokens, k.tokens, options, bound);
  check_distances(problems, bound, at, q.tokens, k.tokens);
  problems.raise_if_any("posenc::attention");
  return at;
}

template <bool KeysAreRotated, class T, class BoundT>
void attend_checked(const TensorView<const T>& q, const TensorView<const T>& k,
                    const TensorView<const T>& v, const TensorView<T>& out, const BoundT& bound,
                    const Coordinates& at, const AttentionOptions<T>& options) {
  Problems problems;
  const AttentionShape shape{q.tokens, k.tokens, q.width, v.width};
  const Index concurrency = options.executor.concurrency();  // once: the next answer may differ
  const Index bytes = workspace_bytes<T>(bound, shape, concurrency);
  if (bytes < 0)
    problems.add("the workspace for ", q.tokens, " queries, ", k.tokens, " keys and widths of ",
                 q.width, " and ", v.width, " does not fit in memory.");
  else
    check_workspace(problems, options.workspace, bytes);
  problems.raise_if_any("posenc::attention");

  const Workspace workspace(options.workspace, bytes);
  const Leaves<T, BoundT> leaves = detail::leaves<T, BoundT>();
  const Plan plan(leaves.tile, bound.shape(), shape, concurrency, value_buckets(bound));
  const Index each = bytes_per_worker<T>(bound, plan, shape);
  Arena rest(workspace.data() + each * plan.workers());
  const SharedSums<T> shared(plan, shape, rest);
  run_tasks<KeysAreRotated>(Problem<T, BoundT>{q, k, v, out, bound, at, options.lse, leaves, plan,
                                               shared},
                            options.executor, workspace.data(), each);
}

/// The kernel takes the answers alone; an encoding by length has to be found first.
template <bool KeysAreRotated, class T, class BoundT>
void attend(const TensorView<const T>& q, const TensorView<const T>& k,
            const TensorView<const T>& v, const TensorView<T>& out, const BoundT& bound,
            const AttentionOptions<T>& options) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>,
                "posenc: attention takes float or double.");
  const Coordinates at = detail::check_call<T>(q, k, v, out, bound.answers(), options);
  if constexpr (BoundT::depends_on_length) {
    const Position length = context_length(at, q.tokens, k.tokens);
    if (bound.options().length == 0 && length != 0)
      return detail::attend_checked<KeysAreRotated, T>(
          q, k, v, out, bound.at_length(length).answers(), at, options);
  }
  detail::attend_checked<KeysAreRotated, T>(q, k, v, out, bound.answers(), at, options);
}

}  // namespace detail

/// Bytes of workspace for calls of up to this shape with this executor; pass them aligned to 64 bytes in
/// AttentionOptions::workspace and the call allocates nothing.
/// Throws Error when the size does not fit in memory.
template <class T, class E>
[[nodiscard]] std::size_t attention_workspace(const Bound<E>& bound, const AttentionShape& shape,
                                              const AnyExecutor& executor = {}) {
  const Index bytes = detail::workspace_bytes<T>(bound.answers(), shape, executor.concurrency());
  Problems problems;
  problems.require(bytes >= 0, "sizes must not be negative and must fit in memory, got ",
                   shape.queries, " queries, ", shape.keys, " keys, widths ", shape.head_dim,
                   " and ", shape.value_dim, ".");
  problems.raise_if_any("posenc::attention_workspace");
  return static_cast<std::size_t>(bytes);
}

/// Attention over keys as they leave their projection. See the head of this file.
///
/// An encoding whose frequencies depend on the length is evaluated at the length of this call (one
/// more than its greatest position), unless it was bound with a length of its own; that costs a
/// rebuild of its tables.
/// Throws Error for shapes that do not fit together, with every problem at once.
template <class T, class E>
void attention(std::type_identity_t<TensorView<const T>> q,
               std::type_identity_t<TensorView<const T>> k,
               std::type_identity_t<TensorView<const T>> v, TensorView<T> out,
               const Bound<E>& bound,
               const std::type_identity_t<AttentionOptions<T>>& options = {}) {
  detail::attend<false, T>(q, k, v, out, bound, options);
}

/// Attention over keys that were rotated at their own positions, as a cache may hold them.
template <class T, class E>
void attention(std::type_identity_t<TensorView<const T>> q, std::type_identity_t<RotatedKeys<T>> k,
               std::type_identity_t<TensorView<const T>> v, TensorView<T> out,
               const Bound<E>& bound,
               const std::type_identity_t<AttentionOptions<T>>& options = {}) {
  static_assert(
      !Bound<E>::depends_on_length,
      "posenc: RotatedKeys cannot meet a scheme whose frequencies depend on the length "
      "(DynamicNTK, Dynamic<YaRN>, LongRoPE by length, ...): keys rotated at one length do not fit "
      "queries rotated at another. Keep raw keys and pass them as they are.");
  static_assert(
      !Bound<E>::has_distance_map,
      "posenc: RotatedKeys cannot meet a distance map (ReRoPE, LeakyReRoPE, ...): far pairs need "
      "the key at another position than its own. Keep raw keys and pass them as they are.");
  static_assert(!Bound<E>::has_relative_queries,
                "posenc: RotatedKeys cannot meet an encoding whose keys meet vectors by distance "
                "(DeBERTa): these products want the key without its rotation. Keep raw keys and "
                "pass them as they are.");
  detail::attend<true, T>(q, k.keys, v, out, bound, options);
}

/// Binds the encoding and attends, in one call; the heads are those of q and k.
template <class T, class... Ts>
void attention(std::type_identity_t<TensorView<const T>> q,
               std::type_identity_t<TensorView<const T>> k,
               std::type_identity_t<TensorView<const T>> v, TensorView<T> out,
               const Encoding<Ts...>& encoding,
               const std::type_identity_t<AttentionOptions<T>>& options = {}) {
  attention(q, k, v, out, bind(encoding, {.num_heads = q.heads, .num_kv_heads = k.heads}), options);
}

POSENC_NAMESPACE_END
