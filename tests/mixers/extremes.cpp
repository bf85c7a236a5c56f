// SPDX-License-Identifier: MIT
//
// Decays from 1 - 2^-16 to 1e-8 and to 0, and long sequences: nothing overflows, and errors stay within the bound that
// follows from the decay.
#include "cases.hpp"
#include "support/cases.hpp"
#include "support/catch.hpp"

#include <limits>

namespace mixers_test::extremes_cases {

/// GLA takes log decays as they are.
std::vector<Entry> of_log_decays(Index keys, Index values) {
  std::vector<Entry> all;
  for (Entry& entry : gallery({.heads = 1, .key_dim = keys, .value_dim = values}))
    if (entry.name == "GLA, log") all.push_back(std::move(entry));
  return all;
}

/// A mixer whose heads have one decay by token, passed as its logarithm.
struct ByHead {
  static constexpr std::string_view name = "ByHead";
  Index keys, values;
  void check(Problems&) const {}
  [[nodiscard]] mixers::Recurrence recurrence() const {
    return {.shape = {1, 1, keys, values}, .decay = mixers::Decay::head};
  }
};
/// The same, but tokens read the state before them.
struct ByHeadBefore : ByHead {
  [[nodiscard]] mixers::Recurrence recurrence() const {
    mixers::Recurrence of = ByHead::recurrence();
    of.bonus.assign(size(keys), 0.5F);
    return of;
  }
};
template <class M>
Entry entry_of(const M& mixer) {
  return {
      std::string(M::name), {M::name, "", -1, 0}, mixers::Mixer(mixer), [mixer](const Raw& raw) {
        Formula to{raw.plain(1)};
        raw.decays(to.head, [&](Index t, Index) { return static_cast<Real>(raw.decay(t, 0, 0)); });
        for (const float u : mixer.recurrence().bonus) to.head.bonus.push_back(u);
        return to;
      }};
}
std::vector<Entry> entries(Index keys, Index values) {
  std::vector<Entry> all = of_log_decays(keys, values);
  all.push_back(entry_of(ByHead{keys, values}));
  all.push_back(entry_of(ByHeadBefore{{keys, values}}));
  return all;
}

void check_forms(const Call& call, const mixers::State& start) {
  const Expected expected(call, start);
  Tensor<float> out = call.outputs();
  mixers::State state = start;
  mixers::chunked(call.inputs(), out.view(), call.entry.mixer, state);
  CHECK(expected.worst_ratio(out, state, 64) <= 1);
  state = start;
  steps(call, out.view(), state);
  CHECK(expected.worst_ratio(out, state, 1) <= 1);
}

TEST_CASE("mixers: constant decays from 1 - 2^-16 to 1e-8, and 0", "[mixers]") {
  for (const Entry& entry : entries(8, 8))
    for (const double decay : {1 - 0x1p-16, 0.999, 0.5, 0.1, 1e-3, 1e-8, 0.0}) {
      INFO(entry.name << ", " << decay);
      Call call(entry, 700, 5);
      const auto log_decay = static_cast<float>(std::log(decay));
      for (Index t = 0; t < call.tokens; ++t)
        for (Index c = 0; c < call.decay.view().width; ++c) call.decay.view()(t, 0, c) = log_decay;
      check_forms(call, call.state(1));
    }
}

TEST_CASE("mixers: decays of all sizes next to each other", "[mixers]") {
  for (const Entry& entry : entries(8, 8)) {
    INFO(entry.name);
    Call call(entry, 900, 6);
    Random random(8);
    const double logs[] = {std::log1p(-0x1p-16), -1e-3, -0.69, -0.7, -3, -18.4, -80, -1e4};
    for (Index t = 0; t < call.tokens; ++t)
      for (Index c = 0; c < call.decay.view().width; ++c)
        call.decay.view()(t, 0, c) = static_cast<float>(logs[random.integer(0, t < 450 ? 7 : 3)]);
    for (Index t = 0; t < call.tokens; t += 90)
      call.decay.view()(t, 0, 0) = -std::numeric_limits<float>::infinity();
    check_forms(call, call.state(1));
  }
}

TEST_CASE("mixers: 131,072 tokens", "[mixers]") {
  const Index tokens = posenc_test::percent_of_cases() < 100 ? 16'384 : 131'072;
  for (const Entry& entry : entries(4, 2))
    for (const double log_decay : {std::log1p(-0x1p-16), -1e-3}) {
      INFO(entry.name << ", log decay " << log_decay);
      Call call(entry, tokens, 5);
      for (Index t = 0; t < call.tokens; ++t)
        for (Index c = 0; c < call.decay.view().width; ++c)
          call.decay.view()(t, 0, c) = static_cast<float>(log_decay);
      const mixers::State start = call.state(1);
      const Expected expected(call, start);
      Tensor<float> out = call.outputs();
      mixers::State state = start;
      mixers::chunked(call.inputs(), out.view(), entry.mixer, state);
      CHECK(expected.worst_ratio(out, state, 64) <= 1);
    }
}

}  // namespace mixers_test::extremes_cases
