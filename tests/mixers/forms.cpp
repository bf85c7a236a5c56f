// SPDX-License-Identifier: MIT
//
// The three forms of every mixer against its formula in long double, and against each other.
#include "cases.hpp"
#include "support/bits.hpp"
#include "support/cases.hpp"
#include "support/catch.hpp"
#include "support/levels.hpp"

namespace mixers_test::forms_cases {

TEST_CASE("mixers: the recurrence of the oracle is its sum over all tokens before", "[mixers]") {
  for (const Entry& entry : gallery({.heads = 2, .key_dim = 6, .value_dim = 3})) {
    const Call call(entry, 21, 3);
    for (Index h = 0; h < 2; ++h) {
      const Head head = call.formula(h, call.state(9)).head;
      const Outputs unrolled_from = recurrent(head);
      const std::vector<Real> wanted = dense(head);
      for (std::size_t i = 0; i < wanted.size(); ++i)
        CHECK(std::abs(unrolled_from.out[i].value - wanted[i]) <=
              1e-16L * unrolled_from.out[i].terms);
    }
  }
}

TEST_CASE("mixers: three forms agree with the formula at every length and from any state",
          "[mixers]") {
  struct Widths {
    Index keys, values;
  };
  posenc_test::Sample sample;
  for (const Widths& at : {Widths{16, 16}, Widths{20, 33}, Widths{40, 4}, Widths{2, 1}})
    for (const Entry& entry : gallery({.heads = 2, .key_dim = at.keys, .value_dim = at.values})) {
      for (const Index tokens : {1, 2, 15, 16, 17, 33, 63, 64, 65, 80, 129}) {
        if (!sample.next()) continue;
        INFO(entry.name << ", " << tokens << " tokens of [" << at.keys << ", " << at.values << "]");
        const Call call(entry, tokens, static_cast<unsigned>(7 * tokens));
        mixers::State start = call.state(5);
        start.set_tokens(0, 3);
        const Expected expected(call, start);
        const auto check = [&](Index tokens_of_rounding, const auto& form) {
          Tensor<float> out = call.outputs();
          mixers::State state = start;
          form(out.view(), state);
          CHECK(expected.worst_ratio(out, state, tokens_of_rounding) <= 1);
          CHECK(state.tokens() == 3 + tokens);
        };
        check(64, [&](const auto& out, auto& state) {
          mixers::parallel(call.inputs(), out, entry.mixer, state);
        });
        check(64, [&](const auto& out, auto& state) {
          mixers::chunked(call.inputs(), out, entry.mixer, state);
        });
        check(1, [&](const auto& out, auto& state) { steps(call, out, state); });
      }
    }
}

TEST_CASE("mixers: a sequence in pieces is the sequence", "[mixers]") {
  posenc_test::Sample sample;
  for (const Entry& entry : gallery({.heads = 3, .key_dim = 24, .value_dim = 24})) {
    if (!sample.next()) continue;
    INFO(entry.name);
    const Index tokens = 300;
    const Call call(entry, tokens, 11);
    const mixers::State start = call.state(2);
    const Expected expected(call, start);
    Tensor<float> whole = call.outputs(), parts = call.outputs();
    mixers::State of_whole = start, of_parts = start;
    mixers::chunked(call.inputs(), whole.view(), entry.mixer, of_whole);
    // Cut between chunks: the same sums in the same order.
    for (const auto& [first, count] : {std::pair<Index, Index>{0, 128}, {128, 64}, {192, 108}})
      mixers::chunked(call.inputs(first, count), parts.view().slice(first, count), entry.mixer,
                      of_parts);
    const auto numbers = [](const TensorView<const float>& x) {
      std::vector<float> all;
      for (Index t = 0; t < x.tokens; ++t)
        for (Index h = 0; h < x.heads; ++h)
          for (Index c = 0; c < x.width; ++c) all.push_back(x(t, h, c));
      return all;
    };
    CHECK(posenc_test::same_bits(numbers(parts), numbers(whole)));
    CHECK(posenc_test::same_bits(numbers(of_parts.matrices()), numbers(of_whole.matrices())));
    // Cut anywhere, by any mixture of the forms.
    mixers::State state = start;
    mixers::chunked(call.inputs(0, 77), parts.view().slice(0, 77), entry.mixer, state);
    mixers::parallel(call.inputs(77, 40), parts.view().slice(77, 40), entry.mixer, state);
    mixers::chunked(call.inputs(117, 0), parts.view().slice(117, 0), entry.mixer, state);
    mixers::step(call.inputs(117, 1), parts.view().slice(117, 1), entry.mixer, state);
    mixers::chunked(call.inputs(118, 182), parts.view().slice(118, 182), entry.mixer, state);
    CHECK(expected.worst_ratio(parts, state, 32) <= 1);
    CHECK(state.tokens() == tokens);
  }
}

TEST_CASE("mixers: what comes later has no effect", "[mixers]") {
  for (const Entry& entry : gallery({.heads = 2, .key_dim = 16, .value_dim = 16})) {
    INFO(entry.name);
    const Index tokens = 150;
    for (const Index change : {1, 16, 40, 64, 100, 149}) {
      Call call(entry, tokens, 4);
      Tensor<float> before = call.outputs(), after = call.outputs();
      mixers::State state = call.state(1), again = state;
      mixers::chunked(call.inputs(), before.view(), entry.mixer, state);
      for (Tensor<float>* x : {&call.q, &call.k, &call.v, &call.decay, &call.beta, &call.removal})
        for (Index h = 0; h < x->view().heads; ++h) x->view()(change, h, 0) = -0.75F;
      mixers::chunked(call.inputs(), after.view(), entry.mixer, again);
      bool same = true, all_same = true;
      for (Index t = 0; t < tokens; ++t)
        for (Index h = 0; h < 2; ++h)
          for (Index c = 0; c < 16; ++c) {
            const bool equal =
                posenc_test::same_bits(before.view()(t, h, c), after.view()(t, h, c));
            (t < change ? same : all_same) &= equal;
          }
      CHECK(same);
      CHECK_FALSE(all_same);
    }
  }
}

TEST_CASE("mixers: every level computes the same formula", "[mixers]") {
  posenc_test::at_every_level([] {
    for (const Entry& entry : gallery({.heads = 2, .key_dim = 36, .value_dim = 20})) {
      INFO(entry.name);
      const Call call(entry, 83, 21);
      const mixers::State start = call.state(3);
      const Expected expected(call, start);
      Tensor<float> out = call.outputs();
      mixers::State state = start;
      mixers::chunked(call.inputs(), out.view(), entry.mixer, state);
      CHECK(expected.worst_ratio(out, state, 64) <= 1);
      state = start;
      steps(call, out.view(), state);
      CHECK(expected.worst_ratio(out, state, 1) <= 1);
    }
  });
}

}  // namespace mixers_test::forms_cases
