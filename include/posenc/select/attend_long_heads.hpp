// SPDX-License-Identifier: MIT
//
// attend_chosen with LongHeads: attention over a whole sequence whose last queries read chunks of their own, moved
// together, as if they were generated token by token; those before them see all keys.
//
//   const AnyEncoding read = encoding_of_choice(problems, LongHeads{}, rope | Causal{}, heads);
//   const KeysRead keys = attend_chosen(LongHeads{}, bind(read, heads), q, k, v, out, first, executor);
//
// The features of a chunk need its queries (select/long_heads.hpp), so all tokens are given to them, and keys and values go
// to a cache of raw keys, where decode() can move them. For measurements: a choice has no gradient.
#pragma once

#include <posenc/attention/decode.hpp>
#include <posenc/mask/keys_read.hpp>
#include <posenc/select/long_heads.hpp>

POSENC_NAMESPACE_BEGIN

/// The encoding itself. Reports what LongHeads cannot choose by, or not move together.
[[nodiscard]] inline AnyEncoding encoding_of_choice(Problems& problems, const LongHeads& method,
                                                    const AnyEncoding& encoding,
                                                    const BindOptions& heads) {
  const AnyBound own = bind(encoding, heads);
  method.check(problems);
  problems.require(own.has_rotary(),
                   "LongHeads takes a feature of each chunk from keys that are rotated by their "
                   "places in it: it needs an encoding that rotates.");
  detail::check_choosable(problems, own.answers());
  detail::check_placement(problems, Placement::contiguous, KeyState::raw, false, {}, own.answers());
  return encoding;
}

/// q, k and v are of one sequence; its queries from `first` on choose. `full` is what encoding_of_choice() gives, bound.
/// Says what those who choose have read. Throws Error.
inline KeysRead attend_chosen(const LongHeads& method, const AnyBound& full,
                              TensorView<const float> q, TensorView<const float> k,
                              TensorView<const float> v, TensorView<float> out, Index first,
                              const AnyExecutor& executor = {}) {
  attention(q.slice(0, first), k.slice(0, first), v.slice(0, first), out.slice(0, first), full,
            {.executor = executor});
  const Index n = q.tokens - first;
  if (n == 0) return {};
  LongHeadsFeatures features(method, q.heads, k.heads, q.width);
  features.append(q, k, v, bind(full.encoding().rotation(), full.options()));
  auto cache = KeyValueCache<KeyState::raw, float>::contiguous(
      {.kv_heads = k.heads, .head_dim = k.width, .value_dim = v.width, .capacity = k.tokens});
  cache.append(0, k, v, full);
  Selection chosen;
  choose_chunks(q.slice(first, n), features, first, chosen);
  decode(q.slice(first, n), cache, out.slice(first, n), full,
         {.selection = &chosen, .executor = executor});
  KeysRead keys;
  for (Index i = 0; i < chosen.size(); ++i) {
    const auto each = static_cast<double>(q.heads);
    keys += {static_cast<double>(chosen[i].tokens) / each,
             static_cast<double>(first + chosen[i].readers.query + 1) / each};
  }
  return keys;
}

POSENC_NAMESPACE_END
