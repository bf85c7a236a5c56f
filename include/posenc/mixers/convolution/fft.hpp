// SPDX-License-Identifier: MIT
//
// RealFFT: Fourier transforms of real sequences by Eigen's unsupported module FFT (kissfft inside), which Debian's
// libeigen3-dev and Eigen's repository have. Only the definitions of this folder include it.
#pragma once

#include <posenc/core/types.hpp>

#include <unsupported/Eigen/FFT>

#include <algorithm>
#include <complex>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The least length of at least `least` that is 4, 5 or 6 times a power of two and a multiple of 4, for which kissfft
/// has its own butterflies and halves the work on real numbers.
inline Index transform_length(Index least) {
  Index best = 4;
  while (best < least) best *= 2;
  for (const Index odd : {Index{3}, Index{5}}) {
    Index n = 4 * odd;
    while (n < least) n *= 2;
    best = std::min(best, n);
  }
  return best;
}

/// Spectra are n / 2 + 1 pairs of a real and an imaginary part. inverse(forward(x)) is n x. Plans of the lengths that
/// were used are kept, so an object belongs to one thread at a time.
template <class U>
class RealFFT {
 public:
  /// Makes the plans of a length, so that transforms of it allocate nothing.
  void prepare(Index n) {
    if (std::ranges::find(lengths_, n) != lengths_.end()) return;
    std::vector<U> x(static_cast<std::size_t>(n)), spectrum(static_cast<std::size_t>(n) + 2);
    forward(n, x.data(), spectrum.data());
    inverse(n, spectrum.data(), x.data());
    lengths_.push_back(n);
  }
  void forward(Index n, const U* x, U* spectrum) {
    fft_.fwd(reinterpret_cast<std::complex<U>*>(spectrum), x, n);
  }
  void inverse(Index n, const U* spectrum, U* x) {
    fft_.inv(x, reinterpret_cast<const std::complex<U>*>(spectrum), n);
  }

 private:
  using Eigens = Eigen::FFT<U>;
  Eigens fft_{typename Eigens::impl_type(),
              static_cast<typename Eigens::Flag>(Eigens::Unscaled | Eigens::HalfSpectrum)};
  std::vector<Index> lengths_;
};

}  // namespace detail

POSENC_NAMESPACE_END
