// SPDX-License-Identifier: MIT
//
// What has to hold of the tensors of a call, for attention, ragged calls and decode alike.
#pragma once

#include <posenc/attention/options.hpp>
#include <posenc/bind/answers.hpp>
#include <posenc/core/element.hpp>
#include <posenc/core/overlap.hpp>

#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// arithmetic_t; what is no element stays as it is, so that require_elements() can say so.
template <class T>
struct computed_in {
  using type = T;
};
template <Element T>
struct computed_in<T> {
  using type = arithmetic_t<T>;
};
template <class T>
using computed_in_t = typename computed_in<T>::type;

template <class U, class... Ts>
concept ComputedIn = (Element<std::remove_const_t<Ts>> && ...) &&
                     (std::same_as<arithmetic_t<std::remove_const_t<Ts>>, U> && ...);

/// Elements that meet in one call are all computed in one type, U.
template <class U, class... Ts>
constexpr void require_elements() {
  static_assert((Element<std::remove_const_t<Ts>> && ...),
                "posenc: attention takes float or double, or 16-bit elements: Eigen::bfloat16, "
                "Eigen::half, or "
                "a type of your own with an ElementTraits (core/element.hpp).");
  if constexpr ((Element<std::remove_const_t<Ts>> && ...))
    static_assert((std::is_same_v<arithmetic_t<std::remove_const_t<Ts>>, U> && ...),
                  "posenc: attention computes in float or in double: tensors of double cannot be "
                  "mixed with others in one call.");
}

/// Reports numbers of which there is not one for each row of the queries.
void check_by_row(Problems& problems, const char* what, Index values, const Extent& q);
template <class U>
void check_statistics(Problems& problems, const RowStatistics<U>& rows, const Extent& q) {
  check_by_row(problems, "rows.entropy", std::ssize(rows.entropy), q);
  check_by_row(problems, "rows.greatest", std::ssize(rows.greatest), q);
}

/// Reports results that would overwrite what is still read.
void check_out(Problems& problems, const Extent& q, const Extent& out);

/// Reports vectors that are not as wide as what they meet.
void check_relative_widths(Problems& problems, const Answers& answers, Index width,
                           Index value_dim);

/// Channels that values must have for RotateValues.
inline Index rotated_value_channels(const Answers& answers) {
  if (!answers.facts().rotates_values) return 0;
  return answers.rotary().offset + answers.rotary().state.rotary_dim;
}

/// Reports what is wrong with the tensors of a call; `lse` are as many numbers.
void check_shapes(Problems& problems, const Extent& q, const Extent& k, const Extent& v,
                  const Extent& out, const Answers& answers, Index lse);

}  // namespace detail

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_DEFINITION)
#include <posenc/attention/call/checks_definitions.hpp>
#endif
