// SPDX-License-Identifier: MIT
//
// The three forms of every mixer. They compute the same, up to rounding, in different orders:
//
//   step       one token of each sequence              O(key_dim value_dim) for a head
//   chunked    any number of tokens, prefill           products of matrices within chunks of 64 tokens, a state from
//                                                      one to the next
//   parallel   any number of tokens, the definition    every token with all before it, in double: T^2 products, for
//                                                      those who want to see or check the formula
//
// Each reads a state, writes outputs and leaves the state as it is behind the last token, so that a sequence may come
// in pieces, by any mixture of the three. Tensors are [tokens, heads, width] with any strides, in float, bfloat16 or
// float16; the state, and what is computed in, is float. A call of step or chunked allocates nothing when it is given
// a workspace, and gives the same bits for any number of threads.
#pragma once

#include <posenc/core/ragged_batch.hpp>
#include <posenc/executor/any_executor.hpp>
#include <posenc/mixers/mixer.hpp>
#include <posenc/mixers/state.hpp>
#include <posenc/mixers/tensors.hpp>

#include <cstddef>
#include <span>

POSENC_NAMESPACE_BEGIN

namespace mixers {

struct Options {
  AnyExecutor executor{};
  std::span<std::byte>
      workspace{};  ///< workspace_bytes(...), aligned to 64 bytes; empty: allocated
  /// Which sequence of the state each sequence of the call continues; empty: the one of the same number, and then
  /// the state has as many as the call.
  std::span<const Index> slots{};
};

/// Bytes of workspace for step() and chunked() of this mixer, of any length, with this executor.
[[nodiscard]] std::size_t workspace_bytes(const Mixer& mixer, const AnyExecutor& executor = {});

/// One token of each sequence: token i of the tensors continues sequence i.
/// Throws Error for shapes that do not fit together, with every problem at once.
void step(const Inputs& in, const Result& out, const Mixer& mixer, State& state,
          const Options& options = {});

/// The next tokens of one sequence.
/// Throws Error for shapes that do not fit together, with every problem at once.
void chunked(const Inputs& in, const Result& out, const Mixer& mixer, State& state,
             const Options& options = {});
/// The next tokens of several sequences, one after another along the token axis. Where a sequence stands follows
/// from its state, so the batch has no offsets.
void chunked(const Inputs& in, const Result& out, const RaggedBatch& batch, const Mixer& mixer,
             State& state, const Options& options = {});

/// The next tokens of one sequence, by the definition; allocates, and takes no executor.
void parallel(const Inputs& in, const Result& out, const Mixer& mixer, State& state);

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_MIXERS)
#include <posenc/mixers/operators_definitions.hpp>
#include <posenc/mixers/parallel_definitions.hpp>
#endif
