// SPDX-License-Identifier: MIT
//
// What a call takes: views, elements, batches, executors, workspaces.
#include "cases.hpp"
#include "support/allocations.hpp"
#include "support/backwards.hpp"
#include "support/bits.hpp"
#include "support/catch.hpp"
#include "support/guards.hpp"
#include "support/tensor.hpp"

#include <posenc/eigen.hpp>

namespace mixers_test::calls_cases {

using posenc_test::numbers;

struct Ran {
  std::vector<float> chunked, stepped, state;
};
Ran run(const Call& call, const mixers::Options& options = {}) {
  Ran ran;
  Tensor<float> out = call.outputs();
  mixers::State state = call.state(3), other = state;
  mixers::chunked(call.inputs(), out.view(), call.entry.mixer, state, options);
  ran.chunked = numbers(out);
  ran.state = numbers(state.matrices());
  steps(call, out.view(), other, options);
  ran.stepped = numbers(out);
  return ran;
}
void check_same(const Ran& a, const Ran& b) {
  CHECK(posenc_test::same_bits(a.chunked, b.chunked));
  CHECK(posenc_test::same_bits(a.stepped, b.stepped));
  CHECK(posenc_test::same_bits(a.state, b.state));
}

TEST_CASE("mixers: strides change nothing", "[mixers]") {
  for (const Entry& entry : gallery({.heads = 4, .key_dim = 20, .value_dim = 20})) {
    INFO(entry.name);
    const Ran plain = run(Call(entry, 90, 3));
    check_same(run(Call(entry, 90, 3, Tensor<float>::head_major)), plain);
    check_same(run(Call(entry, 90, 3, Tensor<float>::padded)), plain);
  }
}

TEST_CASE("mixers: the same bits for any number of threads, in any order", "[mixers]") {
  for (const Entry& entry : gallery({.heads = 12, .key_dim = 16, .value_dim = 16})) {
    INFO(entry.name);
    const Call call(entry, 130, 5);
    const Ran serial = run(call, {.executor = Serial{}});
    for (const Index threads : {2, 3, 7})
      check_same(run(call, {.executor = posenc_test::Backwards{threads}}), serial);
  }
}

TEST_CASE("mixers: with a workspace nothing is allocated, and nothing is written beside it",
          "[mixers]") {
  for (const Entry& entry : gallery({.heads = 3, .key_dim = 20, .value_dim = 36})) {
    INFO(entry.name);
    const Call call(entry, 70, 6);
    const AnyExecutor executor(posenc_test::Backwards{2});
    const posenc_test::Workspace workspace(mixers::workspace_bytes(entry.mixer, executor));
    Tensor<float> out = call.outputs();
    mixers::State state = call.state(3);
    const std::size_t before = posenc_test::allocations();
    mixers::chunked(call.inputs(), out.view(), entry.mixer, state,
                    {.executor = executor, .workspace = workspace.memory()});
    mixers::step(call.inputs(0, 1), out.view().slice(0, 1), entry.mixer, state,
                 {.executor = executor, .workspace = workspace.memory()});
    CHECK(posenc_test::allocations() == before);
    CHECK(workspace.guards_are_whole());
    check_same(run(call, {.executor = executor, .workspace = workspace.memory()}), run(call));
  }
}

TEST_CASE("mixers: each sequence of a ragged batch is a call of its own", "[mixers]") {
  for (const Entry& entry : gallery({.heads = 2, .key_dim = 16, .value_dim = 24})) {
    INFO(entry.name);
    const Call call(entry, 200, 8);
    const std::vector<Index> starts{0, 1, 1, 70, 200};
    const std::vector<Index> slots{4, 0, 3, 1};
    mixers::State states(entry.mixer, 5);
    for (Index i = 0; i < 5; ++i) states.copy(call.state(static_cast<unsigned>(20 + i)), 0, i);
    mixers::State before = states;
    Tensor<float> out = call.outputs();
    mixers::chunked(call.inputs(), out.view(), RaggedBatch{.starts = starts}, entry.mixer, states,
                    {.executor = posenc_test::Backwards{3}, .slots = slots});
    for (std::size_t i = 0; i < 4; ++i) {
      const Index first = starts[i], count = starts[i + 1] - first;
      mixers::State one(entry.mixer);
      one.copy(before, slots[i], 0);
      Tensor<float> own(count, 2, entry.mixer.shape().value_dim);
      mixers::chunked(call.inputs(first, count), own.view(), entry.mixer, one);
      CHECK(posenc_test::same_bits(numbers(own), numbers(out.view().slice(first, count))));
      CHECK(posenc_test::same_bits(numbers(one.matrices()), numbers(states.matrices(slots[i]))));
      CHECK(states.tokens(slots[i]) == count);
    }
    CHECK(posenc_test::same_bits(numbers(states.matrices(2)), numbers(before.matrices(2))));

    // One token of each of two sequences.
    const std::vector<Index> two{3, 0};
    mixers::State stepped = states;
    mixers::step(call.inputs(10, 2), out.view().slice(0, 2), entry.mixer, stepped, {.slots = two});
    for (Index i = 0; i < 2; ++i) {
      mixers::State one(entry.mixer);
      one.copy(states, two[size(i)], 0);
      Tensor<float> own(1, 2, entry.mixer.shape().value_dim);
      mixers::step(call.inputs(10 + i, 1), own.view(), entry.mixer, one);
      CHECK(posenc_test::same_bits(numbers(own), numbers(out.view().slice(i, 1))));
      CHECK(
          posenc_test::same_bits(numbers(one.matrices()), numbers(stepped.matrices(two[size(i)]))));
    }
  }
}

template <class T>
void check_elements(const Entry& entry) {
  Call call(entry, 75, 9);
  const std::vector<T> q = rounded<T>(call.q.view()), k = rounded<T>(call.k.view()),
                       v = rounded<T>(call.v.view()), decay = rounded<T>(call.decay.view());
  const auto view = [&](const std::vector<T>& x, const TensorView<float>& of) {
    return TensorView<const T>(x.data(), of.tokens, of.heads, of.width);
  };
  mixers::Inputs in{
      .q = view(q, call.q.view()), .k = view(k, call.k.view()), .v = view(v, call.v.view())};
  if (entry.mixer.recurrence().decays_by_token()) in.decay = view(decay, call.decay.view());
  if (entry.mixer.recurrence().delta) in.beta = call.beta.view();
  if (call.removes()) in.removal = call.removal.view();
  std::vector<T> out(v.size());
  mixers::State state = call.state(3);
  mixers::chunked(in,
                  TensorView(out.data(), call.tokens, call.shape().heads, call.shape().value_dim),
                  entry.mixer, state);
  const Ran wanted = run(call);
  bool same = true;
  for (std::size_t i = 0; i < out.size(); ++i)
    same &= posenc_test::same_bits(out[i], narrow<T>(wanted.chunked[i]));
  CHECK(same);
  CHECK(posenc_test::same_bits(numbers(state.matrices()), wanted.state));
  mixers::State other = call.state(3);
  mixers::Inputs mixed = call.inputs();
  mixed.k = in.k;
  Tensor<float> all = call.outputs();
  mixers::chunked(mixed, all.view(), entry.mixer, other);
  CHECK(posenc_test::same_bits(numbers(all), wanted.chunked));
}
TEST_CASE("mixers: elements of 16 bits are floats that are rounded once", "[mixers]") {
  for (const Entry& entry : gallery({.heads = 2, .key_dim = 20, .value_dim = 20})) {
    INFO(entry.name);
    check_elements<Eigen::bfloat16>(entry);
    check_elements<Eigen::half>(entry);
  }
}

TEST_CASE("mixers: states are copied, cleared and as large as they say", "[mixers]") {
  const std::vector<Entry> all = gallery({.heads = 2, .key_dim = 20, .value_dim = 33});
  const Call call(all[0], 40, 1);
  mixers::State state = call.state(3);
  CHECK(state.bytes() == 2 * (20 * 48 + 32) * sizeof(float));
  CHECK(state.sequences() == 1);
  Tensor<float> out = call.outputs();
  mixers::State copy = state;
  mixers::chunked(call.inputs(), out.view(), all[0].mixer, state);
  CHECK_FALSE(posenc_test::same_bits(numbers(copy.matrices()), numbers(state.matrices())));
  copy = state;
  CHECK(posenc_test::same_bits(numbers(copy.matrices()), numbers(state.matrices())));
  CHECK(copy.tokens() == 40);
  state.clear();
  CHECK(numbers(state.matrices()) == std::vector<float>(2 * 20 * 33));
  CHECK(numbers(state.sums()) == std::vector<float>(2 * 20));
  CHECK(state.tokens() == 0);
  CHECK(copy.tokens() == 40);
}

}  // namespace mixers_test::calls_cases
