// SPDX-License-Identifier: MIT
//
// Where the gradients of a selective scan go; see scan_backward.hpp.
#pragma once

#include <posenc/core/view.hpp>
#include <posenc/mixers/mamba.hpp>

#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

// NOLINTBEGIN(readability-identifier-naming): the paper's names
/// The gradients of what a Mamba has learned, which backward() adds to.
struct MambaGradients {
  explicit MambaGradients(const SelectiveScan& of)
      : A_log(static_cast<std::size_t>(of.channels() * of.d_state())),
        dt_bias(static_cast<std::size_t>(of.channels())), D(dt_bias.size()) {}

  std::vector<double> A_log;       ///< [d_inner][d_state]
  std::vector<double> dt_bias, D;  ///< [d_inner]
};

/// Where gradients go: as the inputs, overwritten.
struct ScanGradients {
  TensorView<float> u, dt, B, C;
  TensorView<float> z{};              ///< where the scan has it
  MambaGradients* learned = nullptr;  ///< of the same scan; null: not wanted
};
// NOLINTEND(readability-identifier-naming)

}  // namespace mixers

POSENC_NAMESPACE_END
