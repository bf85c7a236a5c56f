// SPDX-License-Identifier: MIT
//
// Recurrence: what a sequence mixer is, as data.
//
//   S_t = diag(a_t) S_{t-1} + k_t v_t^T          a state S [key_dim, value_dim] for each head
//   o_t = q_t^T S_t                              or q_t^T (S_{t-1} + diag(u) k_t v_t^T) with a bonus u
//
// or, with the delta rule, what a token writes is by how much its value differs from what its key reads:
//
//   S_t = diag(a_t) S_{t-1} + beta_t k_t (v_t - (diag(a_t) S_{t-1})^T k_t)^T
//
// or, where what is removed is found by a vector of its own, z_t, before the decay, and beta goes by channel:
//
//   S_t = diag(a_t) S_{t-1} - (beta_t o z_t) (S_{t-1}^T z_t)^T + k_t v_t^T
//
// A mixer (LinearAttention, RetNet, ...) is a plain value type that answers two questions: check(), what is wrong
// with its parameters, and recurrence(), which place in this frame it takes. The operators know no mixer by name,
// so all of them share one set of kernels, and a further mixer is one header.
//
// Decays are kept as their logarithms, which are at most 0: products of decays are sums, of which none cancels.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <concepts>
#include <limits>
#include <string_view>
#include <vector>

// The operators are compiled once for a program that links posenc::kernels, and otherwise where they are used.
#if !defined(POSENC_DETAIL_LINKED) && !defined(POSENC_DETAIL_MIXERS)
#define POSENC_DETAIL_MIXERS inline
#endif

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// The heads of a mixer.
struct Shape {
  Index heads = 0;      ///< of values, states and outputs
  Index key_heads = 0;  ///< of queries and keys: heads / key_heads neighbouring heads share one
  Index key_dim = 0;    ///< channels of a query and of a key
  Index value_dim = 0;  ///< channels of a value and of an output

  friend bool operator==(const Shape&, const Shape&) = default;
};

/// How many numbers the decay of a head is: none (it is one), one, or one for each channel of the key.
enum class Decay { none, head, channel };

struct Recurrence;

/// Turns what the caller passes as `decay` into log decays, in place: rows of tokens, `row` apart, of one number or
/// of all channels (and of padding, which may become anything finite). `write`, one per token and 1 before, may
/// become the factor by which a token's key is written; a delta rule has beta for that, and has to leave it at 1, which
/// a Mixer tries out when it is made.
using DecayRule = void (*)(const Recurrence& of, Index head, Index tokens, Index row, float* decay,
                           float* write);

/// What rules have parameters of a head for: the gradients of rates[head] and of biases[head].
struct RuleSums {
  double rate = 0, bias = 0;
};

/// The way back through a DecayRule: `gradient`, of the log decays, becomes that of what was passed, and sums are added
/// to. `passed` is what the rule was given, and may be changed; `of_write` is the gradient of the factors.
using DecayGradientRule = void (*)(const Recurrence& of, Index head, Index tokens, Index row,
                                   float* passed, float* gradient, const float* of_write,
                                   RuleSums& sums);

/// By what the output of a token is multiplied. `token` counts those that the state has seen before it;
/// `sum` is <q_t, z_t> with z_t = diag(a_t) z_{t-1} + k_t, where the recurrence keeps it, and otherwise 0.
using NormaliserRule = float (*)(const Recurrence& of, Index head, Position token, float sum);

/// The derivative of that factor by `sum`.
using NormaliserSlope = float (*)(const Recurrence& of, Index head, Position token, float sum);

struct Recurrence {
  Shape shape{};
  Decay decay = Decay::none;
  /// Log decays that are the same for all tokens, [heads] or [heads][key_dim]; empty: they come by token.
  std::vector<double> log_decay{};
  DecayRule rule = nullptr;                   ///< by token; null: log decays are passed as they are
  DecayGradientRule rule_gradient = nullptr;  ///< backward() of a mixer with a rule needs it
  std::vector<float> rates{};                 ///< what the rule wants to know of each head
  std::vector<float> biases{};
  std::vector<float> bonus{};  ///< u [heads][key_dim]; then a token reads the state before it
  std::vector<float> skip{};   ///< D [heads]: o_t += D v_t
  /// What no log decay is below, by what the rule does to them. Where that is near 0, as `whole_chunks` says, the
  /// decays of a chunk are divided by one another, and its weights are plain products of matrices.
  double least_log_decay = -std::numeric_limits<double>::infinity();
  bool delta = false;      ///< the delta rule; beta comes by token
  bool removal = false;    ///< its second form: z comes by token, and beta for each channel
  double query_scale = 1;  ///< of q, on its way in
  bool keeps_sum = false;  ///< z, for the normaliser
  NormaliserRule normaliser = nullptr;
  NormaliserSlope normaliser_slope = nullptr;  ///< backward() needs it where a sum is kept

  [[nodiscard]] bool decays_by_token() const { return decay != Decay::none && log_decay.empty(); }
  [[nodiscard]] bool reads_before() const { return !bonus.empty(); }
  /// Decays by channel of which 64 multiply to no less than e^-40: neither that nor its reciprocal leaves the floats.
  [[nodiscard]] bool whole_chunks() const {
    return decay == Decay::channel && least_log_decay >= -0.625;
  }
  /// Numbers in the decay of a head and a token.
  [[nodiscard]] Index decay_width() const {
    return decay == Decay::none ? 0 : decay == Decay::head ? 1 : shape.key_dim;
  }
};

/// A type that says what a mixer is.
template <class M>
concept Rule = requires(const M& mixer, Problems& problems) {
  { M::name } -> std::convertible_to<std::string_view>;
  mixer.check(problems);
  { mixer.recurrence() } -> std::same_as<Recurrence>;
};

}  // namespace mixers

POSENC_NAMESPACE_END
