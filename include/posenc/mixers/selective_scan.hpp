// SPDX-License-Identifier: MIT
//
// The three forms of the selective scan (mamba.hpp):
//
//   step       one token of each sequence
//   scan       any number of tokens: the same numbers as token by token, with the same bits
//   parallel   any number of tokens, the definition: every token with all before it, in double, T^2 terms
//
// Each reads a state, writes outputs and leaves the state as it is behind the last token. step and scan allocate nothing
// when they are given a workspace, and give the same bits for any number of threads. Their time is that of the
// exponentials, d_inner d_state of them a token.
//
// Delta = inf forgets the state; one so small that 1 + Delta A is 1 leaves it as it is. Without softplus a negative Delta
// makes a state grow: by at most 2^126 a token.
#pragma once

#include <posenc/mixers/mamba.hpp>
#include <posenc/mixers/operators.hpp>
#include <posenc/mixers/scan_inputs.hpp>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// Bytes of workspace for step() and scan(), of any length, with this executor.
[[nodiscard]] std::size_t workspace_bytes(const SelectiveScan& scan,
                                          const AnyExecutor& executor = {});

/// One token of each sequence: token i of the tensors continues sequence i.
/// Throws Error for shapes that do not fit together, with every problem at once.
void step(const ScanInputs& in, const Result& out, const SelectiveScan& of, State& state,
          const Options& options = {});

/// The next tokens of one sequence.
/// Throws Error for shapes that do not fit together, with every problem at once.
void scan(const ScanInputs& in, const Result& out, const SelectiveScan& of, State& state,
          const Options& options = {});
/// The next tokens of several sequences, one after another along the token axis.
void scan(const ScanInputs& in, const Result& out, const RaggedBatch& batch,
          const SelectiveScan& of, State& state, const Options& options = {});

/// The next tokens of one sequence, by the definition; allocates, and takes no executor.
void parallel(const ScanInputs& in, const Result& out, const SelectiveScan& of, State& state);

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_MIXERS)
#include <posenc/mixers/selective_scan_definitions.hpp>
#endif
