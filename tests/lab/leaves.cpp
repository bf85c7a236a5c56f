// SPDX-License-Identifier: MIT
//
// The lab's leaves against their formulas in double, at every level and at sizes that no vector divides.
#include "../support/levels.hpp"
#include "schemes.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <numbers>

namespace leaves_cases {

using namespace lab_test;
using posenc_test::at_every_level;

lab::Matrix random_matrix(Index rows, Index columns, SeededRandom& random) {
  lab::Matrix x(rows, columns);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(random.real(-2, 2));
  return x;
}

TEST_CASE("lab leaves: products, of transposes and of any size, stored and added") {
  at_every_level([] {
    SeededRandom random(1);
    for (const auto& [rows, inner, columns] :
         {std::array<Index, 3>{1, 1, 1}, {7, 5, 3}, {6, 128, 64}, {13, 129, 67}, {25, 300, 160}}) {
      CAPTURE(rows, inner, columns);
      for (const bool a_lies : {false, true})
        for (const bool b_lies : {false, true}) {
          const lab::Matrix a = random_matrix(rows, inner, random);
          const lab::Matrix b = random_matrix(inner, columns, random);
          const lab::Matrix a_transposed = a.transpose(), b_transposed = b.transpose();
          const lab::Factor left = a_lies ? lab::Factor(a_transposed).transposed() : lab::Factor(a);
          const lab::Factor right =
              b_lies ? lab::Factor(b_transposed).transposed() : lab::Factor(b);
          const Eigen::MatrixXd expected = a.cast<double>() * b.cast<double>();
          lab::Matrix c;
          lab::product(left, right, c);
          REQUIRE(c.rows() == rows);
          REQUIRE(c.cols() == columns);
          // Every sum rounds at most `inner` times, terms are at most 4.
          const double bound = 4.0 * static_cast<double>(inner * inner) * 0x1p-24;
          CHECK((c.cast<double>() - expected).cwiseAbs().maxCoeff() <= bound);
          lab::add_product(left, right, c);
          CHECK((c.cast<double>() - 2 * expected).cwiseAbs().maxCoeff() <= 4 * bound);
        }
    }
  });
}

TEST_CASE("lab leaves: GELU and its slope, from zero to where it is x or nothing") {
  at_every_level([] {
    lab::Matrix x(1, 803), y, slope;
    for (Index i = 0; i < 803; ++i) x(0, i) = 0.05F * static_cast<float>(i - 401);
    x(0, 0) = -1e6F, x(0, 802) = 1e6F;
    lab::gelu(x, y, slope);
    for (Index i = 0; i < 803; ++i) {
      const double v = static_cast<double>(x(0, i)), a = std::sqrt(2 / std::numbers::pi),
                   b = 0.044715;
      const double t = std::tanh(a * (v + b * v * v * v));
      CAPTURE(v);
      CHECK_THAT(static_cast<double>(y(0, i)),
                 WithinAbs(0.5 * v * (1 + t), 1e-6 * std::abs(v) + 1e-9));
      const double rises = 0.5 * (1 + t) + 0.5 * v * (1 - t * t) * a * (1 + 3 * b * v * v);
      CHECK_THAT(static_cast<double>(slope(0, i)), WithinAbs(rises, 5e-6));
    }
    lab::Matrix gradient = lab::Matrix::Constant(1, 803, 3);
    lab::gelu_backward(slope, gradient);
    CHECK(gradient == lab::Matrix(3 * slope));
    x(0, 5) = std::numeric_limits<float>::quiet_NaN();  // must not end as a number
    lab::gelu(x, y, slope);
    CHECK(std::isnan(y(0, 5)));
    CHECK(std::isnan(slope(0, 5)));
  });
}

TEST_CASE("lab leaves: losses and their gradient, where numbers are large and sizes odd") {
  at_every_level([] {
    SeededRandom random(2);
    for (const Index vocabulary : {1, 3, 16, 65, 256}) {
      lab::Matrix logits = random_matrix(2, vocabulary, random);
      logits.row(1).array() = 40 * logits.row(1).array() + 1000;
      const lab::Matrix before = logits;
      const std::vector<std::uint8_t> targets(2, static_cast<std::uint8_t>(vocabulary - 1));
      const std::vector<float> weights{0.5F, 2.0F};
      std::vector<float> losses(2);
      lab::Vector log_sum;
      lab::cross_entropy(logits, targets, losses, log_sum);
      CHECK(logits == before);
      lab::cross_entropy_backward(logits, targets, weights, log_sum);
      for (Index i = 0; i < 2; ++i) {
        CAPTURE(vocabulary, i);
        const Eigen::VectorXd x = before.row(i).transpose().cast<double>();
        const double most = x.maxCoeff(), sum = (x.array() - most).exp().sum();
        const auto row = static_cast<std::size_t>(i);
        CHECK_THAT(static_cast<double>(losses[row]),
                   WithinAbs(most + std::log(sum) - x[vocabulary - 1], i == 0 ? 2e-6 : 4e-4));
        for (Index j = 0; j < vocabulary; ++j) {
          const double share = std::exp(x[j] - most) / sum - (j == vocabulary - 1 ? 1 : 0);
          CHECK_THAT(static_cast<double>(logits(i, j)),
                     WithinAbs(static_cast<double>(weights[row]) * share, i == 0 ? 2e-6 : 4e-4));
        }
      }
    }
  });
}

TEST_CASE("lab leaves: norms of rows of any length, and their gradient") {
  at_every_level([] {
    SeededRandom random(3);
    for (const Index width : {1, 7, 16, 37, 128}) {
      CAPTURE(width);
      const lab::Matrix x = random_matrix(2, width, random), gain = random_matrix(1, width, random);
      const lab::Matrix dy = random_matrix(2, width, random);
      const lab::ConstMatrixView gains(gain.data(), 1, width);
      lab::Matrix y, dx = lab::Matrix::Ones(2, width), d_gain = lab::Matrix::Ones(1, width);
      lab::Vector inverse;
      lab::rms_norm(x, gains, y, inverse);
      lab::rms_norm_backward(x, gains, inverse, dy, dx, {d_gain.data(), 1, width});
      Eigen::VectorXd of_gain = Eigen::VectorXd::Zero(width);
      for (Index i = 0; i < 2; ++i) {
        const Eigen::VectorXd v = x.row(i).transpose().cast<double>();
        const Eigen::VectorXd g = gain.row(0).transpose().cast<double>();
        const Eigen::VectorXd d = dy.row(i).transpose().cast<double>();
        const double r = 1 / std::sqrt(v.squaredNorm() / static_cast<double>(width) + 1e-5);
        of_gain += r * d.cwiseProduct(v);
        const Eigen::VectorXd through = d.cwiseProduct(g);
        const Eigen::VectorXd of_x =
            r * (through - v * (through.dot(v) * r * r / static_cast<double>(width)));
        CHECK((y.row(i).transpose().cast<double>() - r * v.cwiseProduct(g)).cwiseAbs().maxCoeff() <
              1e-5);
        CHECK(((dx.row(i).transpose().cast<double>() - of_x).array() - 1).abs().maxCoeff() < 2e-5);
      }
      CHECK((d_gain.row(0).transpose().cast<double>() - of_gain).cwiseAbs().maxCoeff() < 1e-5);
    }
  });
}

}  // namespace leaves_cases
