// SPDX-License-Identifier: MIT
//
// What is wrong is said in one sentence each.
#include "cases.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

#include <posenc/core/ragged_batch.hpp>

#include <array>
#include <limits>

namespace mixers_test::errors_cases {

using namespace posenc::mixers;

template <class M>
std::string error_of_mixer(const M& mixer) {
  return error_of([&] { Mixer{mixer}; });
}

TEST_CASE("mixers: wrong parameters are sentences", "[mixers]") {
  CHECK(error_of_mixer(LinearAttention{}) ==
        "posenc::mixers::LinearAttention: 2 problems\n"
        "  - heads, key_dim and value_dim must be at least 1, got 0, 0 and 0.\n"
        "  - the number of heads must be a multiple of that of heads of keys, got 0 and 0.");
  CHECK(error_of_mixer(
            LinearAttention{.num_heads = 1, .key_dim = 1, .value_dim = 1, .scale = 0, .eps = -1}) ==
        "posenc::mixers::LinearAttention: 2 problems\n"
        "  - scale must be finite and not 0, got 0.\n"
        "  - eps must not be negative, got -1.");
  CHECK(
      error_of_mixer(RetNet{.num_heads = 2, .key_dim = 7, .value_dim = 8}) ==
      "posenc::mixers::RetNet: channels of keys rotate in pairs, so key_dim must be even, got 7.");
  CHECK(error_of_mixer(
            GLA{.num_heads = 1, .key_dim = 8, .value_dim = 8, .gate_logit_normalizer = 0}) ==
        "posenc::mixers::GLA: gate_logit_normalizer must be positive, got 0.");
  CHECK(error_of_mixer(
            Mamba2{.nheads = 2, .A_log = {1}, .dt_bias = {0, 0}, .dt_min = 2, .dt_max = 1}) ==
        "posenc::mixers::Mamba2: 2 problems\n"
        "  - A_log and dt_bias must have a number for each of the 2 heads, got 1 and 2.\n"
        "  - dt_limit must be a range of numbers from 0 on, got [2, 1].");
  CHECK(
      error_of_mixer(Mamba2{.nheads = 3, .ngroups = 2, .A_log = {0, 0, 0}, .dt_bias = {0, 0, 0}}) ==
      "posenc::mixers::Mamba2: the number of heads must be a multiple of that of heads of keys, "
      "got 3 and 2.");
  CHECK(error_of_mixer(Mamba2{.nheads = 1, .A_log = {0}, .dt_bias = {0}, .D = {1, 2}}) ==
        "posenc::mixers::Mamba2: the skip must have 1 numbers, got 2.");
  CHECK(error_of_mixer(RWKV5{
            .num_heads = 1, .head_size = 2, .time_decay = {0, HUGE_VALF}, .time_faaaa = {0}}) ==
        "posenc::mixers::RWKV5: 2 problems\n"
        "  - time_decay must be finite.\n"
        "  - time_faaaa must have a number for each of the 2 channels, got 1.");
  CHECK(error_of_mixer(RWKV6{.num_heads = 1, .head_size = 2}) ==
        "posenc::mixers::RWKV6: time_faaaa must have a number for each of the 2 channels, got 0.");
}

struct Grows {
  static constexpr std::string_view name = "Grows";
  void check(Problems&) const {}
  [[nodiscard]] Recurrence recurrence() const {
    return {.shape = {1, 1, 2, 2},
            .decay = Decay::head,
            .log_decay = {0.5},
            .bonus = {1},
            .keeps_sum = true};
  }
};

/// A delta rule that says twice how strongly a token writes.
struct WritesTwice {
  static constexpr std::string_view name = "WritesTwice";
  void check(Problems&) const {}
  [[nodiscard]] Recurrence recurrence() const {
    return {.shape = {2, 1, 4, 4},
            .decay = Decay::channel,
            .rule =
                [](const Recurrence&, Index head, Index tokens, Index row, float* decay,
                   float* write) {
                  std::fill_n(decay, tokens * row, -0.5F);
                  if (head == 1) write[tokens - 1] = 0.75F;
                },
            .delta = true};
  }
};

TEST_CASE("mixers: a recurrence of its own kind is checked too", "[mixers]") {
  CHECK(
      error_of_mixer(WritesTwice{}) ==
      "posenc::mixers::WritesTwice: a rule of a delta recurrence leaves the factors of keys at 1, "
      "since beta says how strongly a token writes, but this one made a factor 0.75.");
  CHECK(error_of_mixer(Grows{}) ==
        "posenc::mixers::Grows: 3 problems\n"
        "  - the bonus must have 2 numbers, got 1.\n"
        "  - a mixer with a bonus keeps no sum: what its own token adds to it is not defined.\n"
        "  - a decay must be within [0, 1], got exp(0.5).");
}

TEST_CASE("mixers: wrong tensors, states and batches are sentences", "[mixers]") {
  const Mixer gla(GLA{.num_heads = 2, .key_dim = 4, .value_dim = 6});
  std::vector<float> memory(4096), result(4096);
  const auto view = [&](Index tokens, Index heads, Index width) {
    return TensorView<const float>(memory.data(), tokens, heads, width);
  };
  const Inputs good{
      .q = view(3, 2, 4), .k = view(3, 2, 4), .v = view(3, 2, 6), .decay = view(3, 2, 4)};
  const TensorView<float> out(result.data(), 3, 2, 6);
  State state(gla);
  const auto error = [&](const Inputs& in, const Result& to) {
    return error_of([&] { chunked(in, to, gla, state); });
  };
  CHECK(error(good, out) == "nothing was wrong");
  Inputs wrong = good;
  wrong.q = view(2, 3, 4), wrong.decay = {};
  CHECK(error(wrong, out) ==
        "posenc::mixers::chunked: 2 problems\n"
        "  - q is [2, 3, 4] but must be [3, 2, 4]. With tokens and heads swapped it would fit: "
        "the axes of a TensorView are [tokens, heads, width], and memory that lies head by head is "
        "TensorView<T>::head_major(data, heads, tokens, width).\n"
        "  - decay is missing: it must be [3, 2, 4].");
  CHECK(error(good, TensorView<float>(memory.data(), 3, 2, 6)) ==
        "posenc::mixers::chunked: 4 problems\n"
        "  - out must not overlap q.\n  - out must not overlap k.\n  - out must not overlap v.\n"
        "  - out must not overlap decay.");
  CHECK(error(good, TensorView<float>(result.data(), 3, 2, 6, 0, 6)) ==
        "posenc::mixers::chunked: two places of out share an element (strides 0, 6, 1), so it "
        "cannot hold a result.");
  CHECK(error(good, TensorView<float>(nullptr, 3, 2, 6)) ==
        "posenc::mixers::chunked: out is [3, 2, 6] but its data pointer is null.");

  const Mixer retnet(RetNet{.num_heads = 2, .key_dim = 4, .value_dim = 6});
  CHECK(error_of([&] { chunked(good, out, retnet, state); }) ==
        "posenc::mixers::chunked: RetNet takes no decay by token: its decays are parameters, if it "
        "has any.");

  const Mixer delta(DeltaNet{.num_heads = 2, .key_dim = 4, .value_dim = 6});
  CHECK(error_of([&] { chunked({.q = good.q, .k = good.k, .v = good.v}, out, delta, state); }) ==
        "posenc::mixers::chunked: beta is missing: it must be [3, 2, 1].");
  wrong = good, wrong.beta = view(3, 2, 1);
  CHECK(error(wrong, out) == "posenc::mixers::chunked: GLA takes no beta: it has no delta rule.");

  State other(Mixer(GLA{.num_heads = 2, .key_dim = 6, .value_dim = 4}), 2);
  CHECK(
      error_of([&] { step(good, out, gla, other); }) ==
      "posenc::mixers::step: 2 problems\n"
      "  - the state is of 2 heads of [6, 4] but GLA has 2 heads of [4, 6], over 2 of keys.\n"
      "  - the state is of 2 sequences, but the call has 3: give slots to continue some of them.");
  CHECK(error_of([&] { other.copy(state, 0, 0); }) ==
        "posenc::mixers::State::copy: a state of 2 heads of [4, 6] cannot become one of 2 heads of "
        "[6, 4].");
  CHECK(error_of([&] { static_cast<void>(state.tokens(1)); }) ==
        "posenc::mixers::State: sequence 1 is not among the 1 of the state.");
  CHECK(error_of([&] { State(gla, -1); }) ==
        "posenc::mixers::State: the number of sequences must not be negative and states must fit "
        "in memory, got -1 "
        "sequences of 2 heads of [4, 6].");
  CHECK_THAT(error_of([&] { State(gla, std::numeric_limits<Index>::max() / 64); }),
             ContainsSubstring("must fit in memory"));

  const std::array<Index, 3> starts{0, 2, 3}, offsets{0, 0, 0};
  const std::array<Index, 2> same{0, 0}, far{0, 7};
  State two(gla, 2);
  const auto ragged = [&](const RaggedBatch& batch, std::span<const Index> slots) {
    return error_of([&] { chunked(good, out, batch, gla, two, {.slots = slots}); });
  };
  CHECK(ragged({.starts = starts}, {}) == "nothing was wrong");
  CHECK(ragged({.starts = starts}, same) ==
        "posenc::mixers::chunked: two sequences cannot continue slot 0 in one call.");
  CHECK(ragged({.starts = starts}, far) ==
        "posenc::mixers::chunked: slot 7 is not among the 2 sequences of the state.");
  CHECK_THAT(ragged({.starts = std::span(starts).first(2)}, {}),
             ContainsSubstring("starts must go from 0 to the 3"));
  CHECK_THAT(ragged({.starts = starts, .offsets = std::span(offsets).first(2)}, {}),
             ContainsSubstring(
                 "a state knows where its sequence stands, so the batch must have no offsets."));

  alignas(64) std::array<std::byte, 64> small{};
  CHECK_THAT(error_of([&] { chunked(good, out, gla, state, {.workspace = small}); }),
             ContainsSubstring("the workspace has 64 bytes, but"));
}

}  // namespace mixers_test::errors_cases
