// SPDX-License-Identifier: MIT
//
// What has to hold of a call of a selective scan, forward or backward.
#pragma once

#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/mamba.hpp>
#include <posenc/mixers/scan_inputs.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// What a scan reads.
POSENC_DETAIL_COLD inline void check_scan_inputs(Problems& problems, const mixers::ScanInputs& in,
                                                 const mixers::SelectiveScan& of) {
  const Index tokens = in.u.tokens();
  check_tensor(problems, "u", in.u, tokens, 1, of.channels());
  check_tensor(problems, "dt", in.dt, tokens, 1, of.channels());
  check_tensor(problems, "B", in.B, tokens, 1, of.d_state());
  check_tensor(problems, "C", in.C, tokens, 1, of.d_state());
  if (in.z.is_given()) check_tensor(problems, "z", in.z, tokens, 1, of.channels());
}
/// A state of this scan, by the name that sentences call it.
POSENC_DETAIL_COLD inline void check_scan_state(Problems& problems, const char* name,
                                                const mixers::State& state,
                                                const mixers::SelectiveScan& of) {
  const mixers::Shape& its = state.shape();
  problems.require(its == of.shape(), name, " is of ", its.heads, " blocks of [", its.key_dim, ", ",
                   its.value_dim, "], but this scan has ", of.blocks(), " of [", of.d_state(), ", ",
                   mixers::SelectiveScan::block, "]: make it by SelectiveScan::state().");
}

}  // namespace detail

POSENC_NAMESPACE_END
