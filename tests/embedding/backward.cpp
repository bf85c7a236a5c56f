// SPDX-License-Identifier: MIT
//
// add_positions_backward against closed forms, and against central differences of <d, add_positions(x)>.
#include "../support/catch.hpp"
#include "../support/random.hpp"

#include <posenc/embedding/backward.hpp>
#include <posenc/embedding/learned_absolute.hpp>
#include <posenc/embedding/sinusoidal.hpp>

#include <Eigen/Core>

#include <cmath>

using namespace posenc;
using posenc_test::noise;

namespace embedding_backward_cases {

static_assert(InputEmbeddingGradient<LearnedAbsolute> && InputEmbeddingGradient<Sinusoidal>);

/// The loss <d, 0 + p> over tokens and rows, by add_positions itself.
template <class E>
double loss(const E& embedding, const TensorView<const double>& d, const Positions& positions) {
  std::vector<double> x(static_cast<std::size_t>(d.tokens * d.heads * d.width));
  const TensorView<double> view(x.data(), d.tokens, d.heads, d.width);
  add_positions(embedding, view, positions);
  double sum = 0;
  for (Index t = 0; t < d.tokens; ++t)
    for (Index h = 0; h < d.heads; ++h)
      for (Index c = 0; c < d.width; ++c) sum += d(t, h, c) * view(t, h, c);
  return sum;
}

template <class E, class T>
std::vector<double> gradient_of(const E& embedding, TensorView<T> d, const Positions& positions) {
  std::vector<double> gradient(static_cast<std::size_t>(embedding.num_parameters()));
  add_positions_backward(embedding, d, positions, gradient);
  return gradient;
}

std::string complaint(const auto& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("add_positions_backward: rows of the table gather the tokens that read them") {
  const LearnedAbsolute embedding{
      .table = std::vector<float>(5 * 2, 0.5F), .length = 5, .width = 2, .offset = 1, .scale = 4};
  // [heads][tokens][width]: two rows a token.
  const std::vector<float> d{1, 2, 10, 20, 100, 200, 3, 4, 30, 40, 300, 400};
  const auto view = TensorView<const float>::head_major(d.data(), 2, 3, 2);
  CHECK(gradient_of(embedding, view, Positions::borrowed(std::vector<Position>{3, 0, 3})) ==
        std::vector<double>{0, 0, 160, 240, 0, 0, 0, 0, 1616, 2424});
  CHECK(gradient_of(embedding, view, 1) ==
        std::vector<double>{0, 0, 0, 0, 16, 24, 160, 240, 1600, 2400});
}

TEST_CASE("add_positions_backward: the table, also of extended positions, by differences") {
  const Index length = 5, width = 3, tokens = 16;
  const std::vector<double> d = noise<double>(tokens * 2 * width, 1);
  const TensorView<const double> view(d.data(), tokens, 2, width);
  LearnedAbsolute embedding{.table = noise<float>(length * width, 2),
                            .length = length,
                            .width = width,
                            .offset = 1,
                            .scale = 0.75,
                            .hierarchical = 0.4};
  REQUIRE(embedding.reach() == tokens);
  const std::vector<double> gradient = gradient_of(embedding, view, 0);
  REQUIRE(gradient.size() == embedding.table.size());
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const float before = embedding.table[i], more = before + 0.5F, less = before - 0.5F;
    embedding.table[i] = more;
    const double high = loss(embedding, view, 0);
    embedding.table[i] = less;
    const double low = loss(embedding, view, 0);
    embedding.table[i] = before;
    // Linear, so that a difference has no error but rounding.
    CHECK_THAT((high - low) / (static_cast<double>(more) - static_cast<double>(less)),
               WithinAbs(gradient[i], 1e-12));
  }
  // The row in front of position 0 is never read.
  for (std::size_t c = 0; c < 3; ++c) CHECK(gradient[c] == 0);
  CHECK(gradient[3] != 0);
}

TEST_CASE("add_positions_backward: the scale of Sinusoidal") {
  const Index tokens = 4;
  const std::vector<double> positions{0, 3, 7.5, -2};
  for (const Index width : {6, 7})
    for (const SinusoidalLayout layout :
         {SinusoidalLayout::interleaved, SinusoidalLayout::sin_cos, SinusoidalLayout::cos_sin}) {
      Sinusoidal embedding{
          .width = width, .base = 500, .layout = layout, .shift = 1, .scale = 0.25, .offset = 2};
      const std::vector<double> d = noise<double>(tokens * width, 3);
      const TensorView<const double> view(d.data(), tokens, 1, width);
      // Written out: the sine and cosine of each pair, whatever the scale is.
      double expected = 0;
      for (Index t = 0; t < tokens; ++t)
        for (Index i = 0; i < 3; ++i) {
          const double angle = (positions[static_cast<std::size_t>(t)] + 2) *
                               std::pow(500.0, -static_cast<double>(i) / 2);
          Index sine = 2 * i, cosine = 2 * i + 1;
          if (layout == SinusoidalLayout::sin_cos) sine = i, cosine = 3 + i;
          if (layout == SinusoidalLayout::cos_sin) sine = 3 + i, cosine = i;
          expected += view(t, 0, sine) * std::sin(angle) + view(t, 0, cosine) * std::cos(angle);
        }
      const std::vector<double> gradient = gradient_of(embedding, view, positions);
      REQUIRE(gradient.size() == 1);
      CHECK_THAT(gradient[0], WithinAbs(expected, 1e-13));
      embedding.scale = 1.25;
      const double high = loss(embedding, view, positions);
      embedding.scale = -0.75;
      CHECK_THAT((high - loss(embedding, view, positions)) / 2, WithinAbs(expected, 1e-13));
    }
}

TEST_CASE("add_positions_backward: adds, and takes elements of 16 bits") {
  const LearnedAbsolute embedding{.table = {1, 2, 3, 4}, .length = 2, .width = 2};
  std::vector<Eigen::bfloat16> d;
  for (const float x : {0.5F, 1.0F, -2.0F, 4.0F}) d.push_back(static_cast<Eigen::bfloat16>(x));
  std::vector<double> gradient{1, 1, 1, 1};
  const TensorView<Eigen::bfloat16> view(d.data(), 2, 1, 2);
  for (int call = 0; call < 2; ++call) add_positions_backward(embedding, view, 0, gradient);
  CHECK(gradient == std::vector<double>{2, 3, -3, 9});
}

/// A user's own: one slope, p = slope * position in every channel.
struct Slope {
  double slope;
  [[nodiscard]] Index embedding_width() const { return 2; }
  void embed(double position, std::span<double> out) const {
    for (double& x : out) x = slope * position;
  }
  [[nodiscard]] Index num_parameters() const { return 1; }
  void embed_gradient(double position, std::span<const double> d,
                      std::span<double> gradient) const {
    for (const double x : d) gradient[0] += x * position;
  }
};

TEST_CASE("add_positions_backward: an embedding of a user") {
  const std::vector<double> d{1, 2, 3, 4};
  CHECK(gradient_of(Slope{9}, TensorView<const double>(d.data(), 2, 1, 2), 10) ==
        std::vector<double>{3 * 10 + 7 * 11});
}

TEST_CASE("add_positions_backward: what does not fit is refused, and nothing is added") {
  const LearnedAbsolute embedding{
      .table = std::vector<float>(8, 1.0F), .length = 2, .width = 4, .hierarchical = 0.4};
  std::vector<double> d(5 * 4, 1.0), gradient(8, 3.0);
  const TensorView<double> view(d.data(), 4, 1, 4), five(d.data(), 5, 1, 4);
  const auto says = [](const auto& call, const std::string& sentence) {
    const std::string why = complaint(call);
    CHECK_THAT(why, StartsWith("posenc::add_positions_backward: "));
    CHECK_THAT(why, ContainsSubstring(sentence));
  };
  says([&] { add_positions_backward(embedding, five, 0, gradient); },
       "whole positions 0 to 3, got position 4");
  says(
      [&] {
        add_positions_backward(embedding, view,
                               Positions::borrowed(std::vector<double>{0, 1, 2, 1.5}), gradient);
      },
      "whole positions 0 to 3, got position 1.5");
  says(
      [&] {
        add_positions_backward(embedding, view, Positions::borrowed(std::vector<Position>{0, 1}),
                               gradient);
      },
      "tokens: got 2 position ids for 4 tokens");
  says([&] { add_positions_backward(embedding, TensorView(d.data(), 2, 1, 5), 0, gradient); },
       "the view is 5 channels wide, but the encoding 4");
  says(
      [&] { add_positions_backward(embedding, TensorView<double>(nullptr, 2, 1, 4), 0, gradient); },
      "its data pointer is null");
  says([&] { add_positions_backward(embedding, view, 0, std::span(gradient).first(7)); },
       "the embedding has 8 parameters, but there are 7 gradients");
  says([&] { add_positions_backward(embedding, view, 0, std::span(d).first(8)); },
       "must not overlap the view");
  LearnedAbsolute wrong = embedding;
  wrong.offset = 2;
  says([&] { add_positions_backward(wrong, view, 0, gradient); }, "offset, the row of position 0");
  CHECK(gradient == std::vector<double>(8, 3.0));
  CHECK(d == std::vector<double>(5 * 4, 1.0));
}

}  // namespace embedding_backward_cases
