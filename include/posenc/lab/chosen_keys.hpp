// SPDX-License-Identifier: MIT
//
// Trained models of the lab, read with keys that a method chooses (docs/selection.md):
//
//   const lab::Scheme chosen = scheme.read_by(lab::chosen_keys(Quest{.budget = 64}));
//   lab::evaluate(weights, {chosen, learned, layers, heads}, text.held_out, {.length = 1024})    Curve::keys_share
//   lab::evaluate_task(weights, {chosen, ...}, RecallTask{}.rows(), 256)
//
// Every token of a window chooses for itself, as in generation, in each layer that has attention; mixers are as they
// were. Training refuses such a scheme: which keys are chosen is no differentiable function of anything, so a model
// is trained without the choice and read with it.
#pragma once

#include <posenc/lab/attention_read.hpp>
#include <posenc/select/attend_chosen.hpp>
#include <posenc/select/attend_long_heads.hpp>

#include <memory>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// S is a KeySelector or LongHeads.
template <class S>
class ChosenKeys final : public AttentionRead {
 public:
  explicit ChosenKeys(const S& selector) : selector_(selector) {}

  [[nodiscard]] AnyEncoding encoding(Problems& problems, const AnyEncoding& own,
                                     const BindOptions& heads) const override {
    return encoding_of_choice(problems, selector_, own, heads);
  }
  [[nodiscard]] KeysRead attend(const AnyBound& bound, TensorView<const float> q,
                                TensorView<const float> k, TensorView<const float> v,
                                TensorView<float> out, const AnyExecutor& executor) const override {
    return attend_chosen(selector_, bound, q, k, v, out, 0, executor);
  }

 private:
  S selector_;
};

template <class S>
[[nodiscard]] std::shared_ptr<const AttentionRead> chosen_keys(const S& selector) {
  return std::make_shared<const ChosenKeys<S>>(selector);
}

}  // namespace lab

POSENC_NAMESPACE_END
