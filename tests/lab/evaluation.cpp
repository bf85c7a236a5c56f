// SPDX-License-Identifier: MIT
//
// Evaluation: windows, positions and copies are those that are said; readings are those of the scheme.
#include "schemes.hpp"

#include <numeric>

namespace evaluation_cases {

using namespace lab_test;

lab::Weights random_weights(std::uint64_t seed = 8) {
  SeededRandom random(seed);
  lab::Weights weights = lab::Weights::random(tiny, random);
  for (float& w : weights.values()) w *= 8;
  return weights;
}
lab::BoundScheme bound(const lab::Scheme& scheme) {
  return {scheme, scheme.learned, tiny.layers, tiny.heads};
}

TEST_CASE("evaluate: a model that knows nothing needs the bits of its vocabulary") {
  const std::vector<std::uint8_t> text = small_text(300);
  const lab::Curve curve = lab::evaluate(lab::Weights(tiny), bound(no_scheme()), text,
                                         {.length = 50, .bytes = 200, .last = 7, .bin = 16});
  CHECK(curve.windows == 4);
  CHECK_THAT(curve.bits, WithinAbs(4, 1e-5));
  CHECK_THAT(curve.last_bits, WithinAbs(4, 1e-5));
  CHECK(curve.by_position.size() == 4);
}

TEST_CASE("evaluate: windows do not see each other, and their parts add up") {
  const std::vector<std::uint8_t> text = small_text(300);
  const lab::Weights weights = random_weights();
  const lab::BoundScheme scheme = bound({"ALiBi", ALiBi{} | Causal{}});
  const lab::EvaluationOptions options{.length = 40, .bytes = 120, .last = 10, .bin = 10};
  const lab::Curve all = lab::evaluate(weights, scheme, text, options);
  CHECK(all.windows == 3);
  double bits = 0, last = 0;
  for (Index i = 0; i < 3; ++i) {
    lab::EvaluationOptions one = options;
    one.bytes = 40;
    const lab::Curve curve = lab::evaluate(
        weights, scheme, std::span(text).subspan(static_cast<std::size_t>(40 * i)), one);
    CHECK(curve.windows == 1);
    bits += curve.bits / 3, last += curve.last_bits / 3;
  }
  CHECK_THAT(all.bits, WithinAbs(bits, 1e-12));
  CHECK_THAT(all.last_bits, WithinAbs(last, 1e-12));
  CHECK(all.by_position.size() == 4);
  CHECK_THAT(all.by_position.back(), WithinAbs(all.last_bits, 1e-12));
  CHECK_THAT(std::accumulate(all.by_position.begin(), all.by_position.end(), 0.0) / 4,
             WithinAbs(all.bits, 1e-12));
  const lab::Curve by_threads = lab::evaluate(weights, scheme, text, options, threads(2));
  CHECK(by_threads.bits == all.bits);
  lab::EvaluationOptions tiny_windows = options;
  tiny_windows.length = 5;
  CHECK(lab::evaluate(weights, scheme, text, tiny_windows, threads(2)).by_position ==
        lab::evaluate(weights, scheme, text, tiny_windows).by_position);
}

TEST_CASE("evaluate_repeated: passages, and their copies") {
  const std::vector<std::uint8_t> text = small_text(300);
  const lab::Weights weights = random_weights();
  const lab::BoundScheme scheme = bound({"rope", rope() | Causal{}});
  const lab::RepeatedCurve twice =
      lab::evaluate_repeated(weights, scheme, text, {.length = 60, .bytes = 120});
  CHECK(twice.windows == 2);
  // The first copy of each passage but for its last byte, whose target is the copy's first.
  std::vector<std::uint8_t> window(text.begin(), text.begin() + 30);
  window.insert(window.end(), text.begin(), text.begin() + 31);
  const lab::Curve by_hand =
      lab::evaluate(weights, scheme, window, {.length = 60, .bytes = 60, .last = 30, .bin = 30});
  const lab::RepeatedCurve once =
      lab::evaluate_repeated(weights, scheme, text, {.length = 60, .bytes = 60});
  CHECK_THAT(once.first_bits, WithinAbs(by_hand.by_position[0], 1e-6));
  CHECK(once.second_bits != once.first_bits);
  // All but the last byte: a third copy would begin with the first byte, the text goes on.
  CHECK_THAT(once.second_bits, WithinAbs(by_hand.by_position[1], 0.3));
}

TEST_CASE("read_with: the scheme of each length, and nothing else") {
  const std::vector<std::uint8_t> text = small_text(300);
  const lab::Weights weights = random_weights();
  const lab::Reading pi{"PI", [](Index length) {
                          return AnyEncoding(
                              rope() | PI{.factor = static_cast<double>(length) / 16} | Causal{});
                        }};
  const lab::Curves curves = lab::read_with(weights, pi, text, {16, 64}, {.bytes = 128});
  REQUIRE(curves.text.size() == 2);
  REQUIRE(curves.repeated.size() == 2);
  CHECK(curves.text[0].bits == lab::evaluate(weights, bound({"rope", rope() | Causal{}}), text,
                                             {.length = 16, .bytes = 128})
                                   .bits);
  CHECK(curves.text[1].bits == lab::evaluate(weights,
                                             bound({"pi", rope() | PI{.factor = 4} | Causal{}}),
                                             text, {.length = 64, .bytes = 128})
                                   .bits);
  CHECK(curves.text[1].bits != lab::evaluate(weights, bound({"rope", rope() | Causal{}}), text,
                                             {.length = 64, .bytes = 128})
                                   .bits);
}

TEST_CASE("train_and_test: every scheme with every seed, a user's own among them") {
  const lab::Text text = lab::split(small_text(4000), 0.25);
  const std::vector<lab::Scheme> schemes{no_scheme(),
                                         {"mine", bias([](Index, Position distance) {
                                                    return -0.1 * static_cast<double>(distance);
                                                  }) | Causal{}}};
  const lab::ExperimentOptions options{.shape = tiny,
                                       .training = {.steps = 3, .length = 16, .sequences = 2},
                                       .evaluation = {.bytes = 64, .last = 8, .bin = 8},
                                       .lengths = {16, 33},
                                       .seeds = {1, 2}};
  std::vector<std::string> ended;
  Index steps = 0;
  const auto results = lab::train_and_test(
      schemes, text, options, Serial{}, [&](const auto&, const auto&, double) { ++steps; },
      [&](const lab::Training& training, const lab::SchemeResult& r) {
        CHECK(training.done());
        ended.push_back(r.scheme + std::to_string(r.seed));
      });
  CHECK(steps == 12);
  CHECK(ended == std::vector<std::string>{"none1", "mine1", "none2", "mine2"});
  for (const lab::SchemeResult& r : results) {
    CHECK(r.training_bits.size() == 3);
    CHECK(r.curves.text.size() == 2);
    CHECK(r.curves.repeated.size() == 1);  // of even lengths
  }
  CHECK(results[0].curves.text[0].bits != results[2].curves.text[0].bits);
  CHECK(lab::train_and_test(schemes, text, options)[3].curves.text[1].bits ==
        results[3].curves.text[1].bits);
}

TEST_CASE("evaluate: what is wrong is said") {
  const auto refuses = [](const auto& f, const std::string& sentence) {
    CHECK_THROWS_WITH(f(), ContainsSubstring(sentence));
  };
  const std::vector<std::uint8_t> text = small_text(30), beyond(30, 99);
  const lab::Weights weights(tiny);
  const lab::BoundScheme scheme = bound(no_scheme());
  refuses([&] { static_cast<void>(lab::evaluate(weights, scheme, text, {.length = 30})); },
          "one window needs 31 bytes of text, got 30");
  refuses([&] { static_cast<void>(lab::evaluate(weights, scheme, text, {.length = 0})); },
          "length must lie within [1, 2^24], got 0");
  refuses([&] { static_cast<void>(lab::evaluate(weights, scheme, beyond, {.length = 3})); },
          "byte 99 of the text is not in a vocabulary of 16");
  refuses([&] { static_cast<void>(lab::evaluate_repeated(weights, scheme, text, {.length = 5})); },
          "an even length, got 5");
  refuses([] { static_cast<void>(lab::split(small_text(5), 1)); },
          "held_out must lie within (0, 1), got 1");
}

}  // namespace evaluation_cases
