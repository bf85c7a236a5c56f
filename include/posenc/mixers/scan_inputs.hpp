// SPDX-License-Identifier: MIT
//
// The tensors of a call of a selective scan; see selective_scan.hpp.
#pragma once

#include <posenc/mixers/tensors.hpp>

POSENC_NAMESPACE_BEGIN

namespace mixers {

// NOLINTBEGIN(readability-identifier-naming): the paper's names
/// What a selective scan reads: tensors of the same tokens, of float, bfloat16 or float16.
struct ScanInputs {
  Operand u;    ///< [tokens, 1, d_inner], behind the convolution and SiLU
  Operand dt;   ///< [tokens, 1, d_inner]
  Operand B;    ///< [tokens, 1, d_state]
  Operand C;    ///< [tokens, 1, d_state]
  Operand z{};  ///< [tokens, 1, d_inner]: outputs are multiplied by silu(z); or not given
};
// NOLINTEND(readability-identifier-naming)

}  // namespace mixers

POSENC_NAMESPACE_END
