// SPDX-License-Identifier: MIT
//
// Mamba: the parameters of a selective scan (S6).
//
//   Gu and Dao, arXiv 2312.00752; state-spaces/mamba, ops/selective_scan_interface.py (selective_scan_ref),
//   modules/mamba_simple.py.
//
//   h_t[c, n] = exp(Delta_t[c] A[c, n]) h_{t-1}[c, n] + Delta_t[c] B_t[n] u_t[c]
//   y_t[c]    = (sum over n of C_t[n] h_t[c, n] + D[c] u_t[c]) silu(z_t[c])
//
// A = -exp(A_log), Delta_t = softplus(dt_t + dt_bias), and dt, B and C come by token: they are what makes it selective.
// Every channel has a state of d_state numbers and a decay of its own for each of them, so this is no Recurrence, whose
// decays belong to channels of keys that all values share. The input is discretised by Euler's rule, Delta B, as the
// code does and the paper's text does not.
//
// Around it stand, in this order: a projection d_model -> 2 d_inner to [u, z], a causal convolution of u of width 4 with
// SiLU (ShortConvolution), a projection d_inner -> dt_rank + 2 d_state of u to [dt, B, C], one of dt to d_inner, this
// operator, and a projection d_inner -> d_model. A powers-of-one-exponential shortcut for A = -1 ... -N is not taken:
// trained layers do not have those numbers any more.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/mixers/state.hpp>
#include <posenc/schedule/random.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

// NOLINTBEGIN(readability-identifier-naming): the paper's names
struct Mamba {
  static constexpr std::string_view name = "Mamba";

  Index d_inner = 0;
  Index d_state = 16;
  std::vector<float> A_log{};    ///< [d_inner][d_state]
  std::vector<float> dt_bias{};  ///< [d_inner]; empty: 0
  std::vector<float> D{};        ///< [d_inner]; empty: no skip
  bool softplus = true;          ///< otherwise Delta = dt + dt_bias (delta_softplus)

  /// As a layer of this width begins: A = -1 ... -d_state, D of 1, and Delta log-uniform in [0.001, 0.1] where dt is 0.
  [[nodiscard]] static Mamba initial(Index d_model, std::uint64_t seed, Index expand = 2,
                                     Index d_state = 16) {
    Mamba mamba{.d_inner = expand * d_model, .d_state = d_state};
    SeededRandom random(seed);
    for (Index c = 0; c < mamba.d_inner; ++c) {
      const double dt = std::max(std::exp(random.real(std::log(1e-3), std::log(1e-1))), 1e-4);
      mamba.dt_bias.push_back(
          static_cast<float>(dt + std::log(-std::expm1(-dt))));  // softplus of it is dt
      mamba.D.push_back(1);
      for (Index n = 1; n <= d_state; ++n)
        mamba.A_log.push_back(static_cast<float>(std::log(static_cast<double>(n))));
    }
    return mamba;
  }
  /// Numbers between the two projections that lead to dt: a sixteenth of the width, rounded up.
  [[nodiscard]] static Index dt_rank(Index d_model) { return (d_model + 15) / 16; }
  /// The projection from dt_rank to d_inner as it begins, [d_inner][dt_rank]: uniform within dt_rank^-1/2 of 0
  /// (dt_init = "random"), or that number everywhere ("constant").
  [[nodiscard]] static std::vector<float> initial_dt_proj(Index d_inner, Index dt_rank,
                                                          std::uint64_t seed,
                                                          bool constant = false) {
    const double most = 1 / std::sqrt(static_cast<double>(std::max<Index>(dt_rank, 1)));
    SeededRandom random(seed);
    std::vector<float> weight;
    for (Index i = 0; i < d_inner * dt_rank; ++i)
      weight.push_back(static_cast<float>(constant ? most : random.real(-most, most)));
    return weight;
  }

  void check(Problems& problems) const {
    problems.require(d_inner >= 1 && d_state >= 1, "d_inner and d_state must be at least 1, got ",
                     d_inner, " and ", d_state, ".");
    Index numbers = 0;
    const bool fits = multiply(d_inner, d_state, numbers);
    problems.require(fits && std::ssize(A_log) == numbers,
                     "A_log must have a number for each of the ", d_state, " states of ", d_inner,
                     " channels, got ", A_log.size(), ".");
    for (const auto& [what, values] : {std::pair{"dt_bias", &dt_bias}, std::pair{"D", &D}})
      problems.require(values->empty() || std::ssize(*values) == d_inner, what,
                       " must have a number for each of the ", d_inner, " channels, got ",
                       values->size(), ".");
    for (const auto& [what, values] :
         {std::pair{"A_log", &A_log}, std::pair{"dt_bias", &dt_bias}, std::pair{"D", &D}})
      for (const float x : *values)
        if (!std::isfinite(x)) {
          problems.add(what, " must be finite, got ", x, ".");
          break;
        }
    for (const float x : A_log)
      if (x > 80) {  // exp of it, times Delta, has to stay a float
        problems.add("A_log must be at most 80, got ", x, ".");
        break;
      }
  }
};
// NOLINTEND(readability-identifier-naming)

/// A Mamba whose parameters have been checked, as its kernels read them. Make it once and use it for many calls, from
/// any number of threads.
class SelectiveScan {
 public:
  static constexpr Index block = 16;  ///< channels that lie side by side

  /// Throws Error with every sentence when parameters are wrong.
  explicit SelectiveScan(const Mamba& mamba)
      : channels_(mamba.d_inner), states_(mamba.d_state), softplus_(mamba.softplus) {
    Problems problems;
    mamba.check(problems);
    problems.raise_if_any("posenc::mixers::Mamba");
    const auto size = [](Index n) { return static_cast<std::size_t>(n); };
    rates_.assign(size(blocks() * states_), {});
    for (std::vector<Row>* row : {&bias_, &least_, &skip_}) row->assign(size(blocks()), {});
    const auto of_channel = [](std::vector<Row>& rows, Index i, Index c) -> float& {
      return rows[static_cast<std::size_t>(i)].of[c % block];
    };
    for (Index c = 0; c < channels_; ++c) {
      double most = 0;
      for (Index n = 0; n < states_; ++n) {
        const double rate = std::exp(static_cast<double>(mamba.A_log[size(c * states_ + n)])) *
                            1.4426950408889634;  // decays are powers of two
        of_channel(rates_, c / block * states_ + n, c) = static_cast<float>(-rate);
        most = std::max(most, rate);
      }
      of_channel(least_, c / block, c) = static_cast<float>(-126 / most);
      if (!mamba.dt_bias.empty()) of_channel(bias_, c / block, c) = mamba.dt_bias[size(c)];
      if (!mamba.D.empty()) of_channel(skip_, c / block, c) = mamba.D[size(c)];
    }
  }

  [[nodiscard]] Index channels() const { return channels_; }
  [[nodiscard]] Index d_state() const { return states_; }
  [[nodiscard]] bool softplus() const { return softplus_; }

  /// Empty sequences: for each a float for each channel and state, in blocks of 16 channels, where
  /// state.matrices(sequence)(n, c / 16, c % 16) is h[c, n].
  [[nodiscard]] State state(Index sequences = 1) const { return State(shape(), sequences); }
  [[nodiscard]] Shape shape() const { return {blocks(), blocks(), states_, block}; }

  // For the operators.
  [[nodiscard]] Index blocks() const { return (channels_ + block - 1) / block; }
  /// A / log 2, [block][state][16].
  [[nodiscard]] const float* rates(Index of_block) const {
    return rates_[static_cast<std::size_t>(of_block * states_)].of;
  }
  [[nodiscard]] const float* bias() const { return bias_.data()->of; }
  [[nodiscard]] const float* skip() const { return skip_.data()->of; }
  /// The least Delta of each channel whose exponentials are floats; that of the greatest is -least.
  [[nodiscard]] const float* least() const { return least_.data()->of; }

 private:
  /// A number of each channel of a block: a line of a cache, which loops read at every token.
  struct alignas(64) Row {
    float of[block];
  };

  Index channels_, states_;
  bool softplus_;
  std::vector<Row> rates_, bias_, least_, skip_;
};

}  // namespace mixers

POSENC_NAMESPACE_END
