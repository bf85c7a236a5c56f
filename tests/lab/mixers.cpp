// SPDX-License-Identifier: MIT
//
// Layers of sequence mixers: gradients, training, and what is wrong with them.
#include "gradient.hpp"
#include "support/error_of.hpp"

#include <posenc/lab/mixers.hpp>

#include <sstream>

namespace mixers_cases {

using namespace lab_test;

constexpr lab::MakeMixing all_kinds[] = {lab::retnet_mixing, lab::gla_mixing, lab::rwkv6_mixing,
                                         lab::mamba_mixing, lab::mamba2_mixing};

/// Numbers away from where they begin, so that each has a gradient.
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
    check_gradient(disturbed(scheme), 1 / lab::LearnedParts::unit, 1e-4);
  };
  for (const lab::MakeMixing make : all_kinds) {
    check(no_scheme().mixing(lab::all_layers(tiny, make)));
    check(rope_between(lab::some_layers(tiny, make, 2)));
  }
  // Beside an embedding and encodings that learn.
  check(t5_scheme(std::vector<double>(16), 2).mixing(lab::some_layers(tiny, lab::gla_mixing, 2)));
  check(learned_scheme(std::vector<double>(9 * 8), 8)
            .mixing(lab::all_layers(tiny, lab::rwkv6_mixing)));
}

TEST_CASE("lab mixers: trained to the same bits for any number of threads, and a loss that falls") {
  for (const lab::MakeMixing make : all_kinds) {
    const lab::Scheme scheme = rope_between(lab::some_layers(tiny, make, 2));
    CHECK(trained(scheme, 80, Serial{}) == trained(scheme, 80, threads(3)));
  }
}

TEST_CASE("lab mixers: a token has no effect on those before it, and has one on those behind") {
  const std::vector<std::uint8_t> text = small_text(101);
  std::vector<std::uint8_t> other = text;
  other[70] = static_cast<std::uint8_t>((other[70] + 1) % 16);
  SeededRandom random(3);
  lab::Weights weights = lab::Weights::random(tiny, random);
  for (float& w : weights.values()) w += static_cast<float>(random.real(-0.5, 0.5));
  for (const lab::MakeMixing make : all_kinds) {
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

TEST_CASE("lab mixers: saved and loaded, a training goes on as if nothing had happened") {
  const std::vector<std::uint8_t> text = small_text(3000);
  const lab::Source source = lab::text_rows(text);
  for (const lab::MakeMixing make : all_kinds) {
    const lab::Scheme scheme = rope_between(lab::some_layers(tiny, make, 2));
    const lab::TrainingOptions options{.steps = 5, .length = 12, .sequences = 3};
    lab::Training whole(tiny, scheme, options), first(tiny, scheme, options),
        second(tiny, scheme, options);
    while (!whole.done()) whole.step(source);
    for (int i = 0; i < 2; ++i) first.step(source);
    std::stringstream kept;
    first.save(kept);
    second.load(kept);
    while (!second.done()) second.step(source);
    std::ostringstream a, b;
    whole.save(a), second.save(b);
    CHECK(a.str() == b.str());
  }
}

TEST_CASE("lab mixers: Mamba has as many weights as attention has, and uses them") {
  const lab::MambaMixing mamba({tiny, 0});
  const lab::MixingWidths widths = mamba.widths(tiny);
  CHECK(widths.in == 20);
  CHECK(widths.out == 10);
  // Each number of both matrices has a gradient, and those between them, two here for each channel, have none.
  SeededRandom random(3);
  lab::Weights weights = lab::Weights::random(tiny, random), gradient(tiny);
  for (float& w : weights.values()) w += static_cast<float>(random.real(-0.2, 0.2));
  const std::vector<std::uint8_t> text = small_text(200);
  const lab::TokenRows rows{4, 9, std::span(text).first(36), std::span(text).subspan(1, 36)};
  const lab::Scheme scheme =
      disturbed(no_scheme().mixing(lab::all_layers(tiny, lab::mamba_mixing)));
  const lab::BoundScheme bound(scheme, scheme.learned, tiny.layers, tiny.heads);
  std::vector<float> losses(36);
  std::vector<double> learned(scheme.learned.size());
  lab::Pass pass(true);
  pass.forward(weights, bound, rows, losses);
  pass.backward(weights, bound, rows, std::vector<float>(36, 1.0F / 36), gradient, learned);
  const auto view = gradient.view();
  for (Index l = 0; l < tiny.layers; ++l) {
    CHECK((view.mixing_in(l, 20).array() != 0).all());
    CHECK((view.mixing_out(l, 10).array() != 0).all());
    CHECK((view.mixing_in(l, 22).reshaped<Eigen::RowMajor>().tail(16).array() == 0).all());
  }
  CHECK(std::ranges::none_of(learned, [](double x) { return x == 0; }));
}

TEST_CASE("lab mixers: what is wrong is said") {
  CHECK(
      error_of([] {
        lab::Mamba2Mixing({{.layers = 1, .heads = 4, .head_dim = 1, .vocabulary = 16}, 0});
      }) ==
      "posenc::lab::Mamba2Mixing: B and C have (width - heads) / 2 channels each, which must be at "
      "least 1, got 4 heads of 1.");
  // A mixing whose matrices are more than a layer has.
  class Wide final : public lab::TokenMixing {
   public:
    [[nodiscard]] lab::MixingWidths widths(const lab::ModelShape&) const override {
      return {30, 3};
    }
    [[nodiscard]] Index num_learned() const override { return 0; }
    [[nodiscard]] std::vector<double> initial() const override { return {}; }
    void forward(const lab::MixedRows&, std::span<const double>, lab::Matrix&,
                 std::vector<lab::Matrix>&, const AnyExecutor&) const override {}
    void backward(const lab::MixedRows&, std::span<const double>, const lab::Matrix&,
                  const std::vector<lab::Matrix>&, lab::Matrix&, lab::Matrix&,
                  std::span<double>) const override {}
  };
  const lab::Scheme wide = no_scheme().mixing(
      lab::all_layers(tiny, [](const lab::MixingPlace&) -> std::shared_ptr<const lab::TokenMixing> {
        return std::make_shared<const Wide>();
      }));
  const std::vector<std::uint8_t> some(9);
  std::vector<float> losses(9);
  CHECK(error_of([&] {
          lab::Pass(false).forward(lab::Weights(tiny), {wide, {}, tiny.layers, tiny.heads},
                                   {1, 9, some, some}, losses);
        }) ==
        "posenc::lab::Pass: what mixes tokens must have at least one column before and behind it, "
        "and 32 in all, got 30 and 3.");
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
