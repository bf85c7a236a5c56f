// SPDX-License-Identifier: MIT
//
// What has to hold of a call of a mixer.
#pragma once

#include <posenc/core/arena.hpp>
#include <posenc/core/ragged_batch.hpp>
#include <posenc/mixers/state.hpp>
#include <posenc/mixers/tensors.hpp>

#include <initializer_list>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace detail {

inline bool is_shaped(const mixers::Operand& x, Index tokens, Index heads, Index width) {
  return x.tokens() == tokens && x.heads() == heads && x.width() == width;
}

/// A tensor, the name by which sentences call it, and the shape that it must have.
template <class View>
POSENC_DETAIL_COLD void check_tensor(Problems& problems, const char* name, const View& x,
                                     Index tokens, Index heads, Index width) {
  if (!x.is_given())
    return problems.add(name, " is missing: it must be [", tokens, ", ", heads, ", ", width, "].");
  x.with_view([&](const auto& view) {
    check_view(problems, name, view);
    problems.require(
        view.tokens == tokens && view.heads == heads && view.width == width, name, " is ",
        ShapeText(view), " but must be [", tokens, ", ", heads, ", ", width, "].",
        swap_hint(view.tokens == heads && view.heads == tokens && view.width == width));
  });
}

/// Which sequences of a state a call of `sequences` sequences continues.
POSENC_DETAIL_COLD inline void check_slots(Problems& problems, const mixers::State& state,
                                           Index sequences, std::span<const Index> slots) {
  if (slots.empty()) {
    problems.require(state.sequences() == sequences, "the state is of ", state.sequences(),
                     " sequences, but the call has ", sequences,
                     ": give slots to continue some of them.");
    return;
  }
  problems.require(std::ssize(slots) == sequences, "got ", slots.size(), " slots for ", sequences,
                   " sequences.");
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (slots[i] < 0 || slots[i] >= state.sequences())
      return problems.add("slot ", slots[i], " is not among the ", state.sequences(),
                          " sequences of the state.");
    for (std::size_t j = 0; j < i; ++j)
      if (slots[i] == slots[j])
        return problems.add("two sequences cannot continue slot ", slots[i], " in one call.");
  }
}

/// A state and its gradient, for a call of `sequences` sequences.
POSENC_DETAIL_COLD inline void check_state_gradient(Problems& problems, const mixers::State& state,
                                                    const mixers::State& gradient, Index sequences,
                                                    std::span<const Index> slots) {
  problems.require(state.sequences() == gradient.sequences(), "the state is of ", state.sequences(),
                   " sequences, but its gradient of ", gradient.sequences(), ".");
  problems.require(&state != &gradient, "the gradient of the state must not be the state.");
  check_slots(problems, gradient, sequences, slots);
}

/// A result that may lie over none of the tensors that are read while it is written.
POSENC_DETAIL_COLD inline void check_apart(
    Problems& problems, const char* name, const mixers::Result& out,
    std::initializer_list<std::pair<const char*, const mixers::Operand*>> inputs) {
  out.with_view([&](const auto& result) {
    check_result(problems, name, result);
    for (const auto& [input, x] : inputs)
      if (x->is_given())
        x->with_view([&, input = input](const auto& view) {
          problems.require(!overlap(result, view), name, " must not overlap ", input, ".");
        });
  });
}

/// A result that may lie over a tensor only where it is that tensor, element by element.
POSENC_DETAIL_COLD inline void check_in_place(Problems& problems, const char* name,
                                              const mixers::Result& out, const char* input,
                                              const mixers::Operand& x) {
  out.with_view([&](const auto& result) {
    check_result(problems, name, result);
    x.with_view([&](const auto& view) {
      problems.require((x.element_bytes() == out.element_bytes() && same_elements(view, result)) ||
                           !overlap(result, view),
                       name, " must not overlap ", input, ", unless it is ", input, ".");
    });
  });
}

POSENC_DETAIL_COLD inline void check_mixer_batch(Problems& problems, const RaggedBatch& batch,
                                                 Index tokens) {
  batch.check(problems, tokens);
  problems.require(batch.offsets.empty(),
                   "a state knows where its sequence stands, so the batch must have no offsets.");
}

/// What a mixer reads.
POSENC_DETAIL_COLD inline void check_mixer_inputs(Problems& problems, const mixers::Inputs& in,
                                                  const mixers::Mixer& mixer) {
  const mixers::Recurrence& of = mixer.recurrence();
  const auto& [heads, key_heads, key_dim, value_dim] = of.shape;
  const Index tokens = in.v.tokens();
  check_tensor(problems, "q", in.q, tokens, key_heads, key_dim);
  check_tensor(problems, "k", in.k, tokens, key_heads, key_dim);
  check_tensor(problems, "v", in.v, tokens, heads, value_dim);
  if (of.decays_by_token())
    check_tensor(problems, "decay", in.decay, tokens, heads, of.decay_width());
  else
    problems.require(!in.decay.is_given(), mixer.name(),
                     " takes no decay by token: its decays are parameters, if it has any.");
  if (of.delta)
    check_tensor(problems, "beta", in.beta, tokens, heads, of.removal ? key_dim : 1);
  else
    problems.require(!in.beta.is_given(), mixer.name(), " takes no beta: it has no delta rule.");
  if (of.removal)
    check_tensor(problems, "removal", in.removal, tokens, key_heads, key_dim);
  else
    problems.require(!in.removal.is_given(), mixer.name(),
                     " takes no removal vector: what it removes, if anything, is found by keys.");
}

/// A state of this mixer, by the name that sentences call it.
POSENC_DETAIL_COLD inline void check_mixer_state(Problems& problems, const char* name,
                                                 const mixers::State& state,
                                                 const mixers::Mixer& mixer) {
  const mixers::Recurrence& of = mixer.recurrence();
  const auto& [heads, key_heads, key_dim, value_dim] = of.shape;
  const mixers::Shape& its = state.shape();
  problems.require(its == of.shape && state.keeps_sum() == of.keeps_sum, name, " is of ", its.heads,
                   " heads of [", its.key_dim, ", ", its.value_dim, "]",
                   state.keeps_sum() ? " with sums" : "", " but ", mixer.name(), " has ", heads,
                   " heads of [", key_dim, ", ", value_dim, "]", of.keeps_sum ? " with sums" : "",
                   ", over ", key_heads, " of keys.");
}

/// Tensors, state and slots of `sequences` sequences.
POSENC_DETAIL_COLD inline void check_mixer_call(Problems& problems, const mixers::Inputs& in,
                                                const mixers::Result& out,
                                                const mixers::Mixer& mixer,
                                                const mixers::State& state, Index sequences,
                                                std::span<const Index> slots) {
  const mixers::Shape& shape = mixer.shape();
  check_mixer_inputs(problems, in, mixer);
  check_tensor(problems, "out", out, in.v.tokens(), shape.heads, shape.value_dim);
  if (problems.empty())
    check_apart(problems, "out", out,
                {{"q", &in.q},
                 {"k", &in.k},
                 {"v", &in.v},
                 {"decay", &in.decay},
                 {"beta", &in.beta},
                 {"removal", &in.removal}});
  check_mixer_state(problems, "the state", state, mixer);
  check_slots(problems, state, sequences, slots);
}

}  // namespace detail

POSENC_NAMESPACE_END
