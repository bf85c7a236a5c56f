// SPDX-License-Identifier: MIT
//
// A call of backward() of a mixer of the gallery.
#pragma once

#include "cases.hpp"

#include <posenc/mixers/backward.hpp>

namespace mixers_test {

using posenc_test::numbers;

/// A call of backward() with random numbers, and what it gives.
struct Backward {
  const Call& call;
  mixers::State before, d_state;
  Tensor<float> d_out, q, k, v, decay, beta, removal;
  mixers::RecurrenceGradients learned;

  Backward(const Call& of, const mixers::State& state,
           Tensor<float>::Memory memory = Tensor<float>::token_major)
      : call(of), before(state), d_state(of.entry.mixer),
        d_out(of.tokens, of.shape().heads, of.shape().value_dim, memory),
        q(of.tokens, of.shape().key_heads, of.shape().key_dim, memory),
        k(of.tokens, of.shape().key_heads, of.shape().key_dim, memory),
        v(of.tokens, of.shape().heads, of.shape().value_dim, memory),
        decay(of.tokens, of.shape().heads,
              std::max<Index>(1, of.entry.mixer.recurrence().decay_width()), memory),
        beta(of.tokens, of.shape().heads, rule().removal ? of.shape().key_dim : 1, memory),
        removal(of.tokens, of.shape().key_heads, of.shape().key_dim, memory),
        learned(of.entry.mixer) {
    Call::draw(d_out.view(), 71, -1, 1);
    Call::draw(d_state.matrices(), 72, -1, 1);
    Call::draw(d_state.sums(), 73, -1, 1);
  }
  [[nodiscard]] const mixers::Recurrence& rule() const { return call.entry.mixer.recurrence(); }
  [[nodiscard]] mixers::Gradients to(Index first, Index count) {
    mixers::Gradients all{.q = q.view().slice(first, count),
                          .k = k.view().slice(first, count),
                          .v = v.view().slice(first, count),
                          .learned = &learned};
    if (rule().decays_by_token()) all.decay = decay.view().slice(first, count);
    if (rule().delta) all.beta = beta.view().slice(first, count);
    if (rule().removal) all.removal = removal.view().slice(first, count);
    return all;
  }
  void run(const mixers::Options& options = {}) {
    mixers::backward(call.inputs(), d_out.view(), before, d_state, to(0, call.tokens),
                     call.entry.mixer, options);
  }
  /// The same in pieces between cuts, the first of which is 0 and the last all tokens: states at the cuts, and then the
  /// pieces from the last to the first.
  void run_in_pieces(const std::vector<Index>& cuts) {
    const mixers::Mixer& mixer = call.entry.mixer;
    std::vector<mixers::State> states{before};
    Tensor<float> out = call.outputs();
    const auto first = [&](std::size_t i) { return cuts[i]; };
    const auto count = [&](std::size_t i) { return cuts[i + 1] - cuts[i]; };
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      states.push_back(states.back());
      mixers::chunked(call.inputs(first(i), count(i)), out.view().slice(first(i), count(i)), mixer,
                      states.back());
    }
    for (std::size_t i = cuts.size() - 1; i-- > 0;)
      mixers::backward(call.inputs(first(i), count(i)), d_out.view().slice(first(i), count(i)),
                       states[i], d_state, to(first(i), count(i)), mixer);
  }
  [[nodiscard]] std::vector<float> all_numbers() {
    std::vector<float> all;
    const auto add = [&](const TensorView<const float>& x) {
      const std::vector<float> some = numbers(x);
      all.insert(all.end(), some.begin(), some.end());
    };
    add(q), add(k), add(v), add(d_state.matrices()), add(d_state.sums());
    if (rule().decays_by_token()) add(decay);
    if (rule().delta) add(beta);
    if (rule().removal) add(removal);
    for (const auto* x :
         {&learned.log_decay, &learned.bonus, &learned.skip, &learned.rates, &learned.biases})
      for (const double one : *x) all.push_back(static_cast<float>(one));
    return all;
  }
};

}  // namespace mixers_test
