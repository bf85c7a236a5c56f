// SPDX-License-Identifier: MIT
//
// AttentionRead: how evaluation may read attention otherwise than over all keys. The transformer knows no more of it,
// so that only those who choose keys (lab/chosen_keys.hpp) compile any choice.
#pragma once

#include <posenc/bind/any.hpp>
#include <posenc/core/problems.hpp>
#include <posenc/core/view.hpp>
#include <posenc/executor/any_executor.hpp>
#include <posenc/mask/keys_read.hpp>

POSENC_NAMESPACE_BEGIN

namespace lab {

class AttentionRead {
 public:
  AttentionRead() = default;
  AttentionRead(const AttentionRead&) = delete;
  AttentionRead& operator=(const AttentionRead&) = delete;
  virtual ~AttentionRead() = default;

  /// What a layer's encoding is when it is read so. Reports encodings that cannot be.
  [[nodiscard]] virtual AnyEncoding encoding(Problems& problems, const AnyEncoding& own,
                                             const BindOptions& heads) const = 0;
  /// Attention of one sequence from its beginning, under what encoding() gave, bound; says what was read.
  [[nodiscard]] virtual KeysRead attend(const AnyBound& bound, TensorView<const float> q,
                                        TensorView<const float> k, TensorView<const float> v,
                                        TensorView<float> out,
                                        const AnyExecutor& executor) const = 0;
};

}  // namespace lab

POSENC_NAMESPACE_END
