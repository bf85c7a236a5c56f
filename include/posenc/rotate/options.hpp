// SPDX-License-Identifier: MIT
#pragma once

#include <posenc/core/positions.hpp>
#include <posenc/executor/any_executor.hpp>
#include <posenc/rotate/token_angles.hpp>

#include <optional>

POSENC_NAMESPACE_BEGIN

/// What a call to rotate takes besides tensors and positions.
struct RotateOptions {
  bool attention_factor = true;  ///< multiply by A (divide, in unrotate)
  /// Whether x holds queries or keys; needed by encodings that scale the two differently (XPos), and
  /// known where both are rotated in one call.
  std::optional<Side> side{};
  AnyExecutor executor{};  ///< who runs long calls in parts
};

POSENC_NAMESPACE_END
