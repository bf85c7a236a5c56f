// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/frequency/abf.hpp>
#include <posenc/frequency/ntk_by_parts.hpp>

#include <vector>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<NTKByParts> && ChecksState<NTKByParts> &&
              !LengthDependent<NTKByParts>);

namespace ntk_by_parts_cases {

struct Golden {
  Index pair;
  double index_ramp, index_share, rotations_ramp, rotations_share;
};
constexpr Golden llama2_128k[] = {
    {21, 0.0468823302, 0.961538, 0.0483092284, 0.991785},
    {30, 8.36656475e-3, 0.615385, 3.62268107e-3, 0.248168},
    {33, 4.46512854e-3, 0.5, 1.52767194e-3, 0.149845},
    {45, 1.05499774e-4, 0.038462, 4.83092284e-5, 0.000125},
};
constexpr NTKByParts llama2{.factor = 32, .original_context = 4096};
constexpr NTKByParts llama2_rotations{
    .factor = 32, .original_context = 4096, .ramp = Ramp::rotations};

Real blend(Real w, Real g, Real s) { return (1 - g) * w / s + g * w; }

Real index_share(Index i, Index d, Real base, Real context, Real fast, Real slow, bool truncate) {
  const auto c = [&](Real turns) {
    return static_cast<Real>(d) * std::log(context / (2 * pi * turns)) / (2 * std::log(base));
  };
  Real low = c(fast), high = c(slow);
  if (truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0L);
  high = std::min(high, static_cast<Real>(d - 1));
  if (low == high) high += 0.001L;
  return 1 - std::min(1.0L, std::max(0.0L, (static_cast<Real>(i) - low) / (high - low)));
}

TEST_CASE("NTKByParts golden numbers of both ramps") {
  const RotaryState before = state(128);
  CHECK(llama2.pair_at(32, before) == printed(20.944, 5e-5));
  CHECK(llama2.pair_at(1, before) == printed(45.027, 5e-5));
  const RotaryState index = after(llama2, before);
  const RotaryState rotations = after(llama2_rotations, before);
  const Frequencies index_kept = llama2.kept(before);
  const Frequencies rotations_kept = llama2_rotations.kept(before);
  for (const Golden& g : llama2_128k) {
    INFO("pair " << g.pair);
    CHECK(index.inv_freq[g.pair] == printed(g.index_ramp, 1e-8));
    CHECK(rotations.inv_freq[g.pair] == printed(g.rotations_ramp, 1e-8));
    CHECK_THAT(index_kept[g.pair], WithinAbs(g.index_share, 1e-6));
    CHECK_THAT(rotations_kept[g.pair], WithinAbs(g.rotations_share, 1e-6));
  }
  CHECK(index.inv_freq[40] / rotations.inv_freq[40] == printed(3.96, 2e-3));
}

TEST_CASE("NTKByParts is its formula") {
  for (Index d : {2, 16, 64, 128})
    for (double base : {1e4, 5e5})
      for (Position context : {4, 128, 4096, 262144})
        for (bool truncate : {true, false}) {
          const NTKByParts index{.factor = 5, .original_context = context, .truncate = truncate};
          check_pairs(after(index, state(d, base)), [&](Index i) {
            const Real g = index_share(i, d, base, static_cast<Real>(context), 32, 1, truncate);
            return blend(plain(i, d, base), g, 5);
          });
          const NTKByParts rotations{
              .factor = 5, .original_context = context, .ramp = Ramp::rotations};
          check_pairs(after(rotations, state(d, base)), [&](Index i) {
            const Real turns = static_cast<Real>(context) * plain(i, d, base) / (2 * pi);
            return blend(plain(i, d, base), std::min(1.0L, std::max(0.0L, (turns - 1) / 31)), 5);
          });
        }
}

TEST_CASE("NTKByParts keeps fast pairs and interpolates slow ones, exactly") {
  const RotaryState before = state(128);
  const RotaryState s = after(llama2, before);
  for (Index i = 0; i <= 20; ++i) CHECK(s.inv_freq[i] == before.inv_freq[i]);
  for (Index i = 46; i < 64; ++i) CHECK(s.inv_freq[i] == before.inv_freq[i] / 32);
}

TEST_CASE("NTKByParts with factor 1 changes nothing") {
  for (Ramp ramp : {Ramp::index, Ramp::rotations})
    for (bool truncate : {true, false})
      for (Index d : {2, 64, 128})
        check_identity(NTKByParts{.original_context = 4096, .ramp = ramp, .truncate = truncate},
                       state(d, 5e5));
}

TEST_CASE("NTKByParts stays between PI and RoPE") {
  for (Ramp ramp : {Ramp::index, Ramp::rotations})
    for (double factor : {1.1, 4.0, 40.0})
      check_between(after(NTKByParts{.factor = factor, .original_context = 4096, .ramp = ramp},
                          state(128)),
                    state(128), factor);
}

TEST_CASE("NTKByParts with equal betas is a step") {
  // Kimi K2: c(1) = 19.16, so pairs 0 to 19 are kept and 20 onwards interpolated.
  const NTKByParts kimi{.factor = 32, .original_context = 4096, .beta_fast = 1, .beta_slow = 1};
  const RotaryState before = state(64, 5e4);
  CHECK(kimi.pair_at(1, before) == printed(19.16, 1e-3));
  for (bool truncate : {true, false}) {
    NTKByParts step = kimi;
    step.truncate = truncate;
    const RotaryState s = after(step, before);
    for (Index i = 0; i < 32; ++i)
      CHECK(s.inv_freq[i] == (i < 20 ? before.inv_freq[i] : before.inv_freq[i] / 32));
  }
  NTKByParts rotations = kimi;
  rotations.ramp = Ramp::rotations;
  const RotaryState s = after(rotations, before);
  for (Index i = 0; i < 32; ++i)
    CHECK(s.inv_freq[i] == (i < 20 ? before.inv_freq[i] : before.inv_freq[i] / 32));
}

TEST_CASE("NTKByParts uses the base in force") {
  const RotaryState direct = after(llama2, state(128, 5e5));
  check_pairs(after(llama2, after(ABF{.beta = 50}, state(128))),
              [&](Index i) { return direct.inv_freq[i]; });
}

TEST_CASE("linear_ramp is a clamped line, or a step") {
  const auto list = [](std::vector<double> values) { return Frequencies(values); };
  const Frequencies x = list({-1, 2, 3, 5, 6});
  const Frequencies line = linear_ramp(x, 2, 4);
  CHECK((line == list({0, 0, 0.5, 1, 1})).all());
  const Frequencies step = linear_ramp(x, 3, 3);
  CHECK((step == list({0, 0, 1, 1, 1})).all());
}

TEST_CASE("NTKByParts reports wrong parameters") {
  CHECK(sentences(llama2, state(128)).empty());
  CHECK(sentences(NTKByParts{.original_context = 64, .beta_fast = 1, .beta_slow = 1}, state(64))
            .empty());
  const auto with = [](auto change) {
    NTKByParts scheme = llama2;
    change(scheme);
    return scheme;
  };
  check_sentence(with([](auto& s) { s.factor = 0.25; }), state(128),
                 "NTKByParts: factor must be at least 1, got 0.25");
  check_sentence(with([](auto& s) { s.factor = not_a_number; }), state(128), "got nan");
  check_sentence(with([](auto& s) { s.original_context = 0; }), state(128),
                 "original_context, the trained length, must be positive, got 0");
  check_sentence(with([](auto& s) { s.beta_fast = 0.5; }), state(128),
                 "at most beta_fast, got beta_fast 0.5 and beta_slow 1");
  check_sentence(with([](auto& s) {
                   s.beta_fast = 0.5;
                   s.ramp = Ramp::rotations;
                 }),
                 state(128), "at most beta_fast");
  check_sentence(with([](auto& s) { s.beta_slow = -1; }), state(128), "beta_slow must be positive");
  check_sentence(with([](auto& s) { s.beta_slow = not_a_number; }), state(128), "beta_slow nan");
  check_sentence(with([](auto& s) { s.beta_fast = infinity; }), state(128), "beta_fast inf");
  check_sentence(llama2, state(128, 1), "needs a base greater than 1, but the base in force is 1");
  CHECK(sentences(llama2_rotations, state(128, 1)).empty());
}

}  // namespace ntk_by_parts_cases
