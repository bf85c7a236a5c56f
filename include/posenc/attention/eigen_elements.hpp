// SPDX-License-Identifier: MIT
//
// What posenc::kernels has of tensors and caches of Eigen's 16-bit elements (core/abi.hpp).
#pragma once

#include <posenc/attention/decode.hpp>
#include <posenc/rotate/rotate.hpp>

#include <Eigen/Core>

POSENC_NAMESPACE_BEGIN

#if defined(POSENC_DETAIL_BFLOAT16)
namespace detail {

POSENC_DETAIL_BFLOAT16 void rotate_rows_at_level<HalfSplit, Eigen::bfloat16, Eigen::bfloat16>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&,
    const TensorView<const Eigen::bfloat16>&, const TensorView<Eigen::bfloat16>&);
POSENC_DETAIL_BFLOAT16 void rotate_rows_at_level<Interleaved, Eigen::bfloat16, Eigen::bfloat16>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&,
    const TensorView<const Eigen::bfloat16>&, const TensorView<Eigen::bfloat16>&);
POSENC_DETAIL_BFLOAT16 void rotate_rows_at_level<AnyLayout, Eigen::bfloat16, Eigen::bfloat16>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&,
    const TensorView<const Eigen::bfloat16>&, const TensorView<Eigen::bfloat16>&);
POSENC_DETAIL_BFLOAT16 void rotate_rows_at_level<HalfSplit, float, Eigen::bfloat16>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&, const TensorView<const float>&,
    const TensorView<Eigen::bfloat16>&);
POSENC_DETAIL_BFLOAT16 void rotate_rows_at_level<Interleaved, float, Eigen::bfloat16>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&, const TensorView<const float>&,
    const TensorView<Eigen::bfloat16>&);
POSENC_DETAIL_BFLOAT16 void rotate_rows_at_level<AnyLayout, float, Eigen::bfloat16>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&, const TensorView<const float>&,
    const TensorView<Eigen::bfloat16>&);
POSENC_DETAIL_BFLOAT16 struct RotateKernel<HalfSplit, Eigen::bfloat16, 1>;
POSENC_DETAIL_BFLOAT16 struct RotateKernel<HalfSplit, Eigen::bfloat16, 2>;
POSENC_DETAIL_BFLOAT16 struct RotateKernel<Interleaved, Eigen::bfloat16, 1>;
POSENC_DETAIL_BFLOAT16 struct RotateKernel<Interleaved, Eigen::bfloat16, 2>;
POSENC_DETAIL_BFLOAT16 struct RotateKernel<AnyLayout, Eigen::bfloat16, 1>;
POSENC_DETAIL_BFLOAT16 struct RotateKernel<AnyLayout, Eigen::bfloat16, 2>;
POSENC_DETAIL_BFLOAT16 void store_rows<float, Eigen::bfloat16>(const TensorView<const float>&,
                                                               const TensorView<Eigen::bfloat16>&);
POSENC_DETAIL_BFLOAT16 const simd::ByLevel<Storage<float>>& storage<Eigen::bfloat16>();
POSENC_DETAIL_BFLOAT16 const simd::ByLevel<StoredDots<float>>& dots_leaves<Eigen::bfloat16>();
POSENC_DETAIL_BFLOAT16 const simd::ByLevel<ValueLeaves<float>>& value_leaves<Eigen::bfloat16>();
POSENC_DETAIL_BFLOAT16 const simd::ByLevel<RotatedDots<float>>&
rotated_dots_leaves<HalfSplit, Eigen::bfloat16>();
POSENC_DETAIL_BFLOAT16 const simd::ByLevel<RotatedDots<float>>&
rotated_dots_leaves<Interleaved, Eigen::bfloat16>();
POSENC_DETAIL_BFLOAT16 void
decode_cached<const float, KeyState::raw, Eigen::bfloat16, float, float>(
    const TensorView<const float>&, const KeyValueCache<KeyState::raw, Eigen::bfloat16>&,
    const TensorView<float>&, Asked<float>, const PrefillLeaves<float>&, const DecodeLeaves<float>&,
    const DecodeOptions<float>&);
POSENC_DETAIL_BFLOAT16 void
decode_cached<const float, KeyState::rotated, Eigen::bfloat16, float, float>(
    const TensorView<const float>&, const KeyValueCache<KeyState::rotated, Eigen::bfloat16>&,
    const TensorView<float>&, Asked<float>, const PrefillLeaves<float>&, const DecodeLeaves<float>&,
    const DecodeOptions<float>&);

POSENC_DETAIL_FLOAT16 void rotate_rows_at_level<HalfSplit, Eigen::half, Eigen::half>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&,
    const TensorView<const Eigen::half>&, const TensorView<Eigen::half>&);
POSENC_DETAIL_FLOAT16 void rotate_rows_at_level<Interleaved, Eigen::half, Eigen::half>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&,
    const TensorView<const Eigen::half>&, const TensorView<Eigen::half>&);
POSENC_DETAIL_FLOAT16 void rotate_rows_at_level<AnyLayout, Eigen::half, Eigen::half>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&,
    const TensorView<const Eigen::half>&, const TensorView<Eigen::half>&);
POSENC_DETAIL_FLOAT16 void rotate_rows_at_level<HalfSplit, float, Eigen::half>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&, const TensorView<const float>&,
    const TensorView<Eigen::half>&);
POSENC_DETAIL_FLOAT16 void rotate_rows_at_level<Interleaved, float, Eigen::half>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&, const TensorView<const float>&,
    const TensorView<Eigen::half>&);
POSENC_DETAIL_FLOAT16 void rotate_rows_at_level<AnyLayout, float, Eigen::half>(
    const Rotary&, const AngleTable&, const Turn&, const Positions&, const TensorView<const float>&,
    const TensorView<Eigen::half>&);
POSENC_DETAIL_FLOAT16 struct RotateKernel<HalfSplit, Eigen::half, 1>;
POSENC_DETAIL_FLOAT16 struct RotateKernel<HalfSplit, Eigen::half, 2>;
POSENC_DETAIL_FLOAT16 struct RotateKernel<Interleaved, Eigen::half, 1>;
POSENC_DETAIL_FLOAT16 struct RotateKernel<Interleaved, Eigen::half, 2>;
POSENC_DETAIL_FLOAT16 struct RotateKernel<AnyLayout, Eigen::half, 1>;
POSENC_DETAIL_FLOAT16 struct RotateKernel<AnyLayout, Eigen::half, 2>;
POSENC_DETAIL_FLOAT16 void store_rows<float, Eigen::half>(const TensorView<const float>&,
                                                          const TensorView<Eigen::half>&);
POSENC_DETAIL_FLOAT16 const simd::ByLevel<Storage<float>>& storage<Eigen::half>();
POSENC_DETAIL_FLOAT16 const simd::ByLevel<StoredDots<float>>& dots_leaves<Eigen::half>();
POSENC_DETAIL_FLOAT16 const simd::ByLevel<ValueLeaves<float>>& value_leaves<Eigen::half>();
POSENC_DETAIL_FLOAT16 const simd::ByLevel<RotatedDots<float>>&
rotated_dots_leaves<HalfSplit, Eigen::half>();
POSENC_DETAIL_FLOAT16 const simd::ByLevel<RotatedDots<float>>&
rotated_dots_leaves<Interleaved, Eigen::half>();
POSENC_DETAIL_FLOAT16 void decode_cached<const float, KeyState::raw, Eigen::half, float, float>(
    const TensorView<const float>&, const KeyValueCache<KeyState::raw, Eigen::half>&,
    const TensorView<float>&, Asked<float>, const PrefillLeaves<float>&, const DecodeLeaves<float>&,
    const DecodeOptions<float>&);
POSENC_DETAIL_FLOAT16 void decode_cached<const float, KeyState::rotated, Eigen::half, float, float>(
    const TensorView<const float>&, const KeyValueCache<KeyState::rotated, Eigen::half>&,
    const TensorView<float>&, Asked<float>, const PrefillLeaves<float>&, const DecodeLeaves<float>&,
    const DecodeOptions<float>&);

}  // namespace detail
#endif

POSENC_NAMESPACE_END
