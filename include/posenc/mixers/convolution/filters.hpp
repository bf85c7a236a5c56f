// SPDX-License-Identifier: MIT
//
// The filters of a long convolution, and their transforms; see long_convolution.hpp.
#pragma once

#include <posenc/core/memory.hpp>
#include <posenc/executor/any_executor.hpp>
#include <posenc/mixers/tensors.hpp>

#include <span>

// Compiled once for a program that links posenc::kernels, and otherwise where it is used.
#if !defined(POSENC_DETAIL_LINKED) && !defined(POSENC_DETAIL_CONVOLUTION)
#define POSENC_DETAIL_CONVOLUTION inline
#endif

POSENC_NAMESPACE_BEGIN

namespace mixers {

struct FilterOptions {
  double tolerance = 0;    ///< what error_bound() may be; 0: transforms are in double
  AnyExecutor executor{};  ///< for the transforms of the filters
};

class LongConvolution {
 public:
  /// Filters [channels][taps]. Keeps 8 bytes for each tap of groups of 16 channels, and 8 or, in float, 4 for each
  /// number of length(), which is 2 taps - 1 or a little more, of each channel.
  /// Throws Error for filters that are missing, too many or not finite.
  LongConvolution(std::span<const double> filters, Index channels,
                  const FilterOptions& options = {});

  [[nodiscard]] Index channels() const { return channels_; }
  [[nodiscard]] Index taps() const { return taps_; }
  /// Of a transform, and whether it is in float.
  [[nodiscard]] Index length() const { return length_; }
  [[nodiscard]] bool in_float() const { return in_float_; }
  /// The error of an output is at most this times ||h||_1 ||u||_2, before it is rounded.
  [[nodiscard]] double error_bound() const;
  [[nodiscard]] std::size_t bytes() const;

  /// For the operators: rows of 16 neighbouring channels, the last ones padded with zeros.
  [[nodiscard]] const double* rows(Index group) const {
    return reinterpret_cast<const double*>(rows_.data()) + group * taps_ * 16;
  }
  /// The transform of a filter, divided by its length: length() + 2 numbers.
  template <class U>
  [[nodiscard]] U* spectrum(Index channel) const {
    return reinterpret_cast<U*>(spectra_.data()) + channel * (length_ + 2);
  }

 private:
  Index channels_, taps_, length_ = 0;
  bool in_float_ = false;
  posenc::detail::Memory rows_, spectra_;
};

/// How a call computes: whichever form is faster, or one of them.
enum class ConvolutionForm { automatic, direct, transforms };

}  // namespace mixers

POSENC_NAMESPACE_END
