// SPDX-License-Identifier: MIT
//
// The tensors of a call: views of float, bfloat16 or float16 in any mixture, with any strides. Operators take them
// through tables of functions, so they are compiled once for all elements. Everything is computed in float.
#pragma once

#include <posenc/attention/keys/storage.hpp>
#include <posenc/core/overlap.hpp>

#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// A view whose element is known while the program runs.
template <class Byte>
class AnyView {
 public:
  AnyView() = default;
  /// Any view, [tokens, heads, width].
  template <class T>
    requires(std::is_const_v<Byte> || !std::is_const_v<T>)
  AnyView(const TensorView<T>& view)
      : bytes_(reinterpret_cast<Byte*>(view.data), view.tokens, view.heads, view.width,
               view.token_stride, view.head_stride, view.channel_stride) {
    using E = std::remove_const_t<T>;
    static_assert(Element<E>, "posenc: mixers take views of float, bfloat16 or float16.");
    if constexpr (Element<E>) {
      static_assert(std::is_same_v<arithmetic_t<E>, float>,
                    "posenc: mixers compute in float: pass views of float, bfloat16 or float16.");
      if constexpr (std::is_same_v<arithmetic_t<E>, float>)
        storage_ = &posenc::detail::storage<E>();
      element_bytes_ = sizeof(E);
    }
  }

  [[nodiscard]] Index tokens() const { return bytes_.tokens; }
  [[nodiscard]] Index heads() const { return bytes_.heads; }
  [[nodiscard]] Index width() const { return bytes_.width; }
  [[nodiscard]] Index element_bytes() const { return element_bytes_; }
  [[nodiscard]] bool is_given() const { return storage_ != nullptr; }

  /// As kernels read it, at a level.
  [[nodiscard]] posenc::detail::Rows<float, Byte> rows(std::size_t level) const {
    posenc::detail::Rows<float, Byte> rows;
    rows.data = bytes_.data;
    rows.tokens = bytes_.tokens, rows.heads = bytes_.heads, rows.width = bytes_.width;
    rows.token_stride = bytes_.token_stride, rows.head_stride = bytes_.head_stride;
    rows.channel_stride = bytes_.channel_stride;
    if (storage_) rows.storage = &(*storage_)[level];
    return rows;
  }

  /// Calls f with a view of elements of the same size.
  template <class F>
  // NOLINTNEXTLINE(modernize-use-nodiscard): f may have effects
  decltype(auto) with_view(const F& f) const {
    return element_bytes_ == 2
               ? f(as<std::conditional_t<std::is_const_v<Byte>, const std::uint16_t,
                                         std::uint16_t>>())
               : f(as<std::conditional_t<std::is_const_v<Byte>, const float, float>>());
  }

 private:
  template <class T>
  [[nodiscard]] TensorView<T> as() const {
    return {reinterpret_cast<T*>(bytes_.data),
            bytes_.tokens,
            bytes_.heads,
            bytes_.width,
            bytes_.token_stride,
            bytes_.head_stride,
            bytes_.channel_stride};
  }

  TensorView<Byte> bytes_{};  // strides count elements of element_bytes_
  const simd::ByLevel<posenc::detail::Storage<float>>* storage_ = nullptr;
  Index element_bytes_ = 4;
};

using Operand = AnyView<const std::byte>;
using Result = AnyView<std::byte>;

/// What a mixer reads: tensors of the same tokens.
struct Inputs {
  Operand q;        ///< [tokens, key_heads, key_dim]; r of RWKV, C of Mamba-2
  Operand k;        ///< [tokens, key_heads, key_dim]; B of Mamba-2
  Operand v;        ///< [tokens, heads, value_dim]; x of Mamba-2
  Operand decay{};  ///< [tokens, heads, 1 or key_dim], for mixers whose decay comes by token
  /// [tokens, heads, 1], for the delta rule: how much of the difference is written, 0 to 1. With a removal vector
  /// [tokens, heads, key_dim]: how much of what it reads is removed (a of RWKV-7).
  Operand beta{};
  Operand removal{};  ///< [tokens, key_heads, key_dim], of length 1; kk of RWKV-7
};

}  // namespace mixers

POSENC_NAMESPACE_END
