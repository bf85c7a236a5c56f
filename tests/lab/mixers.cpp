// SPDX-License-Identifier: MIT
//
// Layers of sequence mixers: gradients, training, and what is wrong with them.
#include "gradient.hpp"
#include "support/error_of.hpp"

#include <posenc/lab/mixers.hpp>

#include <sstream>

namespace mixers_cases {

using namespace lab_test;

/// Weights of the decays' network away from where they begin, so that each has a gradient.
lab::Scheme disturbed(lab::Scheme scheme) {
  SeededRandom random(8);
  for (double& x : scheme.learned) x += random.real(-4, 4);
  return scheme;
}
lab::Scheme rope_between(const lab::Mixings& mixings) {
  return lab::Scheme("hybrid", rope() | Causal{}).mixing(mixings);
}

TEST_CASE("lab mixers: the gradient is that of the loss, along random directions") {
  // What is learned moves as far as weights do. A norm of heads turns fast where an output is small.
  const auto check = [](const lab::Scheme& scheme) {
    check_gradient(disturbed(scheme), 1 / lab::MixerMixing::unit, 1e-4);
  };
  for (const lab::MakeMixing make : {lab::retnet_mixing, lab::gla_mixing, lab::rwkv6_mixing}) {
    check(no_scheme().mixing(lab::all_layers(tiny, make)));
    check(rope_between(lab::some_layers(tiny, make, 2)));
  }
  // Beside an embedding and encodings that learn.
  check(t5_scheme(std::vector<double>(16), 2).mixing(lab::some_layers(tiny, lab::gla_mixing, 2)));
  check(learned_scheme(std::vector<double>(9 * 8), 8)
            .mixing(lab::all_layers(tiny, lab::rwkv6_mixing)));
}

TEST_CASE("lab mixers: trained to the same bits for any number of threads, and a loss that falls") {
  for (const lab::MakeMixing make : {lab::retnet_mixing, lab::gla_mixing, lab::rwkv6_mixing}) {
    const lab::Scheme scheme = rope_between(lab::some_layers(tiny, make, 2));
    CHECK(trained(scheme, 80, Serial{}) == trained(scheme, 80, threads(3)));
  }
}

TEST_CASE("lab mixers: a token has no effect on those before it, and has one on those behind") {
  const std::vector<std::uint8_t> text = small_text(101);
  std::vector<std::uint8_t> other = text;
  other[70] = static_cast<std::uint8_t>((other[70] + 1) % 16);
  SeededRandom random(3);
  const lab::Weights weights = lab::Weights::random(tiny, random);
  for (const lab::MakeMixing make : {lab::retnet_mixing, lab::gla_mixing, lab::rwkv6_mixing}) {
    const lab::Scheme scheme = no_scheme().mixing(lab::all_layers(tiny, make));
    const lab::BoundScheme bound(scheme, scheme.learned, tiny.layers, tiny.heads);
    std::vector<float> one(100), two(100);
    const auto losses = [&](const std::vector<std::uint8_t>& of, std::vector<float>& to) {
      lab::Pass(false).forward(
          weights, bound, {1, 100, std::span(of).first(100), std::span(text).subspan(1, 100)}, to);
    };
    losses(text, one), losses(other, two);
    for (std::size_t i = 0; i < 70; ++i) CHECK(one[i] == two[i]);
    CHECK(one[71] != two[71]);
    CHECK(one[99] != two[99]);
  }
}

TEST_CASE("lab mixers: what is wrong is said") {
  const lab::Mixings mixings = lab::all_layers(tiny, lab::retnet_mixing);
  CHECK(error_of([&] { static_cast<void>(no_scheme().mixing(mixings).mixing(mixings)); }) ==
        "posenc::lab::Scheme none: its layers mix otherwise already.");
  const lab::Scheme scheme = no_scheme().mixing(mixings);
  CHECK(error_of([&] { lab::BoundScheme(scheme, scheme.learned, 3, 2); }) ==
        "posenc::lab::Scheme none: it has mixings for 2 layers, the model has 3.");
  CHECK(error_of([&] { lab::BoundScheme(scheme, {}, 2, 2); }) ==
        "posenc::lab::Scheme none: it learns 16 numbers, but got 0.");
  CHECK(error_of([&] { static_cast<void>(lab::some_layers(tiny, lab::retnet_mixing, 0)); }) ==
        "posenc::lab::some_layers: the period of the layers of attention must be positive, got 0.");
}

}  // namespace mixers_cases
