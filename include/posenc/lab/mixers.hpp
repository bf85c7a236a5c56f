// SPDX-License-Identifier: MIT
//
// Sequence mixers as layers of the lab's transformer, in place of attention or between layers of it:
//
//   Scheme("RetNet", causal).mixing(all_layers(shape, retnet_mixing))
//   Scheme("hybrid", rope | Causal{}).mixing(some_layers(shape, gla_mixing, 3))        // every third has attention
//
// RetNet, GLA and RWKV-6 have the queries, keys and values of attention (mixer_mixing.hpp). Gates of outputs and token
// shifts of their published blocks are not here, so that schemes differ in how they mix tokens and in little else.
// RetNet rotates queries and keys (RetNet::rotation()). Mamba and Mamba-2 are blocks of their own (mamba.hpp,
// mamba2.hpp).
#pragma once

#include <posenc/lab/mamba.hpp>
#include <posenc/lab/mamba2.hpp>
#include <posenc/lab/mixer_mixing.hpp>
#include <posenc/mixers/gla.hpp>
#include <posenc/mixers/retnet.hpp>
#include <posenc/mixers/rwkv.hpp>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// A layer of a recipe.
[[nodiscard]] inline std::shared_ptr<const TokenMixing> mixing(const MixingPlace& at,
                                                               MixerRecipe recipe) {
  return std::make_shared<const MixerMixing>(at.shape, std::move(recipe));
}

/// RetNet: constant decays, rotation, a norm without a mean.
[[nodiscard]] inline std::shared_ptr<const TokenMixing> retnet_mixing(const MixingPlace& at) {
  return mixing(at, {.mixer =
                         [shape = at.shape](const std::vector<float>&) {
                           return mixers::Mixer(
                               mixers::RetNet{shape.heads, shape.head_dim, shape.head_dim});
                         },
                     .eps = 1e-6,
                     .rotates = true});
}
/// GLA: a decay of each channel by token, which begins as 1/2^(1/16).
[[nodiscard]] inline std::shared_ptr<const TokenMixing> gla_mixing(const MixingPlace& at) {
  return mixing(at,
                {.mixer =
                     [shape = at.shape](const std::vector<float>&) {
                       return mixers::Mixer(mixers::GLA{.num_heads = shape.heads,
                                                        .key_dim = shape.head_dim,
                                                        .value_dim = shape.head_dim});
                     },
                 .decay = std::vector<double>(static_cast<std::size_t>(at.shape.width()), 0.0)});
}
/// RWKV-6: a decay of each channel by token and a bonus, which begin as its layers do, and a norm with a mean.
[[nodiscard]] inline std::shared_ptr<const TokenMixing> rwkv6_mixing(const MixingPlace& at) {
  const mixers::rwkv::Initial initial(at.shape.width(), at.layer, at.shape.layers);
  return mixing(at, {.mixer =
                         [shape = at.shape](const std::vector<float>& bonus) {
                           return mixers::Mixer(mixers::RWKV6{shape.heads, shape.head_dim, bonus});
                         },
                     .bonus = {initial.time_faaaa.begin(), initial.time_faaaa.end()},
                     .decay = {initial.time_decay.begin(), initial.time_decay.end()},
                     .tanh = true,
                     .eps = 64e-5,
                     .centred = true});
}

}  // namespace lab

POSENC_NAMESPACE_END
