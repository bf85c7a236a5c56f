// SPDX-License-Identifier: MIT
//
// The leaves of attention, each by itself: products, the softmax of a tile, and copies to and from
// panels. Sums and exponentials are compared with long double, copies to the bit.
//
// Let u be the unit roundoff of T. A sum of n products and one number before them, in order, rounds
// at most 2 n times, so it is within 2 n u / (1 - 2 n u) of the sum of magnitudes.
#include <posenc/attention/backward/leaves.hpp>
#include <posenc/attention/prefill/leaves.hpp>
#include <posenc/simd/panels.hpp>

#include "../support/catch.hpp"
#include "../support/random.hpp"
#include "../support/tensor.hpp"
#include "numbers.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

using namespace posenc;
using posenc_test::noise;
using posenc_test::same_bits;
using posenc_test::size;

namespace {

using Real = long double;

template <class T>
constexpr T inf = std::numeric_limits<T>::infinity();
template <class T>
constexpr T quiet_nan = std::numeric_limits<T>::quiet_NaN();
template <class T>
constexpr Real roundoff = static_cast<Real>(std::numeric_limits<T>::epsilon()) / 2;

/// The leaves of the level that runs.
template <class T>
detail::TileLeaves<T> leaves() {
  return detail::tile_leaves<T>()[static_cast<std::size_t>(simd::level())];
}

/// Widths of panels at the level that runs.
template <class T>
std::vector<Index> widths() {
  std::vector<Index> all;
  for (Index w = leaves<T>().panel_step; w <= leaves<T>().panel; w += leaves<T>().panel_step)
    all.push_back(w);
  return all;
}

// --- Products -----------------------------------------------------------------------------------

constexpr Index most_rows = 64, most_inner = 128;

/// Memory of exactly rows x columns numbers, `gap` apart in a row or in a column, with nothing
/// behind the last one: what reads past it is seen by the address sanitizer.
template <class T>
struct Matrix {
  Index row, column;
  std::vector<T> memory;

  Matrix(Index rows, Index columns, bool row_major, Index gap)
      : row(row_major ? columns + gap : 1), column(row_major ? 1 : rows + gap),
        memory(size((rows - 1) * row + (columns - 1) * column + 1), T{-77}) {}
  T& operator()(Index r, Index c) { return memory[size(r * row + c * column)]; }
};

template <class T>
struct Operands {
  Index width;
  std::vector<T> a = noise<T>(most_rows * most_inner, 1), b = noise<T>(most_inner * width, 2),
                 c = noise<T>(most_rows * width, 3);

  T& A(Index r, Index i) { return a[size(r * most_inner + i)]; }
  T& B(Index i, Index j) { return b[size(i * width + j)]; }
  T& C(Index r, Index j) { return c[size(r * width + j)]; }

  /// The result of a product in memory of the shape that was asked for; what is not part of it has
  /// to stay as it was.
  std::vector<T> run(typename detail::TileLeaves<T>::Product product, Index rows, Index inner,
                     bool row_major, Index gap) {
    Matrix<T> left(rows, inner, row_major, gap), right(inner, width, true, gap),
        sum(rows, width, true, gap);
    for (Index r = 0; r < rows; ++r)
      for (Index i = 0; i < inner; ++i) left(r, i) = A(r, i);
    for (Index i = 0; i < inner; ++i)
      for (Index j = 0; j < width; ++j) right(i, j) = B(i, j);
    for (Index r = 0; r < rows; ++r)
      for (Index j = 0; j < width; ++j) sum(r, j) = C(r, j);
    Matrix<T> expected = sum;
    product(rows, inner, width, left.memory.data(), left.row, left.column, right.memory.data(),
            sum.memory.data(), sum.row);
    std::vector<T> result;
    for (Index r = 0; r < rows; ++r)
      for (Index j = 0; j < width; ++j) {
        result.push_back(sum(r, j));
        expected(r, j) = sum(r, j);
      }
    if (!same_bits(sum.memory, expected.memory)) FAIL_CHECK("wrote beyond the result");
    return result;
  }
};

/// f(rows, inner, row_major, gap) for shapes with all remainders of the blocks.
template <class F>
void for_each_shape(const F& f) {
  for (const Index rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 64})
    for (const Index inner : {1, 2, 7, 64, 128})
      for (const bool row_major : {true, false})
        for (const Index gap : {0, 5}) f(rows, inner, row_major, gap);
}

}  // namespace

TEMPLATE_TEST_CASE("attention leaves: products are sums of products", "", float, double) {
  using T = TestType;
  at_every_level([] {
    const detail::TileLeaves<T> tile = leaves<T>();
    for (const Index width : widths<T>()) {
      CAPTURE(width);
      Operands<T> x{width};
      // After `inner` terms: the sum, and that of the magnitudes.
      struct Exact {
        Real sum = 0, magnitude = 0;
      };
      std::vector<std::vector<Exact>> exact(size(most_inner + 1));
      exact[0].resize(size(most_rows * width));
      for (Index i = 0; i < most_inner; ++i) {
        exact[size(i + 1)] = exact[size(i)];
        for (Index r = 0; r < most_rows; ++r)
          for (Index j = 0; j < width; ++j) {
            const Real term = static_cast<Real>(x.A(r, i)) * static_cast<Real>(x.B(i, j));
            Exact& e = exact[size(i + 1)][size(r * width + j)];
            e = {e.sum + term, e.magnitude + std::abs(term)};
          }
      }
      Tally tally;
      for_each_shape([&](Index rows, Index inner, bool row_major, Index gap) {
        const Real n = 2 * static_cast<Real>(inner) * roundoff<T>;
        const auto check = [&](const char* name, const std::vector<T>& got, bool accumulate) {
          for (Index r = 0; r < rows; ++r)
            for (Index j = 0; j < width; ++j) {
              const Exact& e = exact[size(inner)][size(r * width + j)];
              const Real before = accumulate ? static_cast<Real>(x.C(r, j)) : 0;
              const Real error =
                  std::abs(static_cast<Real>(got[size(r * width + j)]) - before - e.sum);
              tally.require(error <= n / (1 - n) * (e.magnitude + std::abs(before)), name, " of ",
                            rows, " x ", inner, " at ", r, ", ", j, ": off by ", error);
            }
        };
        check("product", x.run(tile.scores, rows, inner, row_major, gap), false);
        const std::vector<T> sum = x.run(tile.values, rows, inner, row_major, gap);
        check("sum", sum, true);
        // Numbers without a zero: what to do about zeros must not matter.
        tally.require(same_bits(sum,
                                x.run(tile.values_skipping_zeros, rows, inner, row_major, gap)),
                      "skipping zeros differs for ", rows, " x ", inner);
      });
      CHECK(tally.complaint() == "");
    }
  });
}

TEMPLATE_TEST_CASE("attention leaves: a zero weight hides whatever it meets", "", float, double) {
  using T = TestType;
  at_every_level([] {
    const detail::TileLeaves<T> tile = leaves<T>();
    for (const Index width : widths<T>()) {
      CAPTURE(width);
      Operands<T> clean{width};
      // Half of the lanes see an odd term, the other half none of them.
      const auto hides = [](Index i, Index j) { return i % 2 == 1 && j % 2 == 0; };
      for (Index i = 0; i < most_inner; ++i)
        for (Index j = 0; j < width; ++j)
          if (hides(i, j)) clean.B(i, j) = i % 4 == 1 ? T{0} : -T{0};
      Operands<T> poisoned = clean;
      for (Index r = 0; r < most_rows; ++r)
        for (Index i = 1; i < most_inner; i += 2)
          poisoned.A(r, i) = r % 3 == 0 ? inf<T> : r % 3 == 1 ? -inf<T> : quiet_nan<T>;
      Tally tally;
      for_each_shape([&](Index rows, Index inner, bool row_major, Index gap) {
        const std::vector<T> plain = clean.run(tile.values, rows, inner, row_major, gap);
        const std::vector<T> got =
            poisoned.run(tile.values_skipping_zeros, rows, inner, row_major, gap);
        for (Index r = 0; r < rows; ++r)
          for (Index j = 0; j < width; ++j) {
            const T y = got[size(r * width + j)];
            const bool sees = j % 2 == 1 && inner > 1;
            tally.require(sees ? !std::isfinite(y) : same_bits(y, plain[size(r * width + j)]), rows,
                          " x ", inner, " at ", r, ", ", j, ": ", y);
          }
      });
      CHECK(tally.complaint() == "");

      // A weight that is NaN is not zero.
      clean.B(0, 0) = quiet_nan<T>;
      const std::vector<T> got = clean.run(tile.values_skipping_zeros, 13, 7, true, 0);
      for (Index r = 0; r < 13; ++r)
        for (Index j = 0; j < width; ++j)
          if (std::isnan(got[size(r * width + j)]) != (j == 0)) FAIL_CHECK("NaN, lane " << j);
    }
  });
}

// --- Softmax ------------------------------------------------------------------------------------

namespace {

template <class T>
const detail::SoftmaxLeaves<T>& softmax_leaves() {
  return detail::softmax_leaves<T>(static_cast<std::size_t>(simd::level()));
}

/// One tile and the statistics of its lanes.
template <class T>
struct SoftmaxTile {
  Index keys, width;
  std::vector<T> scores = std::vector<T>(size(keys * width));
  std::vector<T> shift = std::vector<T>(size(width), -inf<T>);
  std::vector<T> sum = std::vector<T>(size(width), T{0});
  std::vector<T> factor = std::vector<T>(size(width), T{-77});
  bool rises = false;

  T& operator()(Index k, Index j) { return scores[size(k * width + j)]; }

  SoftmaxTile& run() {
    rises = softmax_leaves<T>().softmax(keys, width, scores.data(), shift.data(), sum.data(),
                                        factor.data());
    return *this;
  }
  /// What multiplies what was summed in a lane before.
  [[nodiscard]] T change(Index j) const { return rises ? factor[size(j)] : T{1}; }
  [[nodiscard]] bool same_lane(const SoftmaxTile& other, Index j) const {
    bool same = same_bits(shift[size(j)], other.shift[size(j)]) &&
                same_bits(sum[size(j)], other.sum[size(j)]) &&
                same_bits(change(j), other.change(j));
    for (Index k = 0; k < keys; ++k)
      same = same && same_bits(scores[size(k * width + j)], other.scores[size(k * width + j)]);
    return same;
  }
};

/// Bound of the relative error of a weight e^d: the difference d, the constant log2(e) and their
/// product are rounded once each, and the exponential is within 2e-7 (a few u for double).
template <class T>
Real weight_error(Real d) {
  const Real exponential = std::is_same_v<T, float> ? 2e-7L : 4 * roundoff<T>;
  return (exponential + 3.01L * roundoff<T> * std::abs(d)) * 1.001L;
}

/// Right within its bound; below 2^-100 in float also zero, at AVX-512 always; below the least normal number, a step
/// of the subnormals more, or zero.
template <class T>
bool is_weight(T got, Real d, Real& worst) {
  const Real exact = std::exp(d), error = std::abs(static_cast<Real>(got) - exact);
  if (std::is_same_v<T, float> && exact < 0x1p-99L) {
    if (got == 0) return true;
    if (simd::level() >= simd::Level::avx512 && exact < 0x1p-101L) return false;
  }
  if (exact < static_cast<Real>(std::numeric_limits<T>::min()) * (1 + weight_error<T>(d))) {
    const Real step = static_cast<Real>(std::numeric_limits<T>::denorm_min());
    return got == 0 || error <= exact * weight_error<T>(d) + step;
  }
  worst = std::max(worst, error / (exact * weight_error<T>(d)));
  return error <= exact * weight_error<T>(d);
}

template <class F>
void for_each_tile_size(const F& f) {
  for (const Index keys : {1, 2, 3, 7, 63, 64}) f(keys);
}

}  // namespace

TEMPLATE_TEST_CASE("attention leaves: weights are exponentials", "", float, double) {
  using T = TestType;
  at_every_level([] {
    for (const Index width : widths<T>()) {
      CAPTURE(width);
      Tally tally;
      Real worst = 0;
      // Ranges around zero, where nothing but the exponential counts; usual scores; and those whose
      // weights are subnormal or vanish, in float.
      const std::pair<double, double> ranges[] = {{-0.35, 0.35}, {-1, 6},     {-40, 6},
                                                  {-88, -80},    {-104, -87}, {-1000, -100}};
      unsigned seed = 4;
      for (const auto& [low, high] : ranges)
        for (int repeat = 0; repeat < 20; ++repeat) {
          SoftmaxTile<T> tile{64, width};
          tile.scores = noise<T>(64 * width, seed++, low, high);
          std::ranges::fill(tile.shift, T{0});
          const std::vector<T> before = noise<T>(width, seed++, 0, 2);
          tile.sum = before;
          const std::vector<T> scores = tile.scores;
          tally.require(!tile.run().rises, "rises");
          for (Index j = 0; j < width; ++j) {
            tally.require(tile.shift[size(j)] == 0, "shift ", tile.shift[size(j)]);
            Real sum = static_cast<Real>(before[size(j)]);
            for (Index k = 0; k < 64; ++k) {
              const auto x = static_cast<Real>(scores[size(k * width + j)]);
              tally.require(is_weight(tile(k, j), x, worst), "exp(", x, ") is ", tile(k, j));
              sum += static_cast<Real>(tile(k, j));
            }
            tally.require(std::abs(static_cast<Real>(tile.sum[size(j)]) - sum) <=
                              64 * roundoff<T> * sum,
                          "sum ", tile.sum[size(j)], " instead of ", sum);
          }
        }
      CHECK(tally.complaint() == "");
      CHECK(worst > 0);  // something was compared with its bound
    }
  });
}

TEMPLATE_TEST_CASE("attention leaves: gradients of scores, where weights are not lost", "", float,
                   double) {
  using T = TestType;
  const Real lost = std::is_same_v<T, float> ? 0x1p-100L : 0x1p-900L;
  at_every_level([&] {
    const detail::GradientLeaves<T>& leaf =
        detail::gradient_leaves<T>(static_cast<std::size_t>(simd::level()));
    for (const Index width : widths<T>()) {
      CAPTURE(width);
      Tally tally;
      unsigned seed = 7;
      for (const auto& [low, high] :
           {std::pair{-8.0, 0.0}, {-80.0, -60.0}, {-120.0, -90.0}, {-760.0, -600.0}}) {
        const std::vector<T> x = noise<T>(64 * width, seed++, low, high),
                             d = noise<T>(64 * width, seed++, -2, 2),
                             lse = noise<T>(width, seed++, -1, 1),
                             mean = noise<T>(width, seed++, -1, 1);
        std::vector<T> weight = x, gradient = d;
        leaf.softmax_backward(64, width, weight.data(), gradient.data(), lse.data(), mean.data());
        for (Index i = 0; i < 64 * width; ++i) {
          const std::size_t at = size(i), lane = size(i % width);
          const Real apart = static_cast<Real>(x[at]) - static_cast<Real>(lse[lane]),
                     p = std::exp(apart), step = static_cast<Real>(d[at] - mean[lane]);
          const Real off = weight_error<T>(apart);
          if (p < lost * (1 - off)) {
            tally.require(weight[at] == 0 && gradient[at] == 0, "exp(", apart, ") counts");
          } else if (p > lost * (1 + off)) {
            tally.require(std::abs(static_cast<Real>(weight[at]) - p) <= p * off, "weight of ",
                          apart);
            tally.require(std::abs(static_cast<Real>(gradient[at]) - p * step) <=
                              2 * p * off * std::abs(step),
                          "gradient of ", apart);
          }
        }
      }
      // What is hidden has no gradient, whatever the rest of its row is; a score that is NaN has one.
      for (const T row : {quiet_nan<T>, inf<T>, T{0}}) {
        std::vector<T> weight(size(width), -inf<T>), gradient(size(width), quiet_nan<T>);
        const std::vector<T> lse(size(width), row), mean(size(width), quiet_nan<T>);
        leaf.softmax_backward(1, width, weight.data(), gradient.data(), lse.data(), mean.data());
        CHECK(weight == std::vector<T>(size(width)));
        CHECK(gradient == std::vector<T>(size(width)));
      }
      std::vector<T> weight(size(width), quiet_nan<T>), gradient(size(width), T{1});
      const std::vector<T> zeros(size(width));
      leaf.softmax_backward(1, width, weight.data(), gradient.data(), zeros.data(), zeros.data());
      for (const T number : gradient) tally.require(std::isnan(number), "NaN has a gradient");
      CHECK(tally.complaint() == "");
    }
  });
}

TEMPLATE_TEST_CASE("attention leaves: scores that begin a row", "", float, double) {
  using T = TestType;
  at_every_level([] {
    for (const Index width : widths<T>()) {
      CAPTURE(width);
      for_each_tile_size([&](Index keys) {
        CAPTURE(keys);
        // Nothing is seen.
        SoftmaxTile<T> none{keys, width};
        std::ranges::fill(none.scores, -inf<T>);
        none.run();
        CHECK_FALSE(none.rises);
        CHECK(same_bits(none.scores, std::vector<T>(size(keys * width), T{0})));
        CHECK(same_bits(none.shift, std::vector<T>(size(width), -inf<T>)));
        CHECK(same_bits(none.sum, std::vector<T>(size(width), T{0})));

        // All is the same, and half of it hidden.
        for (const T score :
             {T{0}, T{1}, T{-1e4F}, T{1e4F}, T{1e30F}, T{-1e30F}, std::numeric_limits<T>::lowest(),
              std::numeric_limits<T>::max(), std::numeric_limits<T>::denorm_min()}) {
          CAPTURE(score);
          SoftmaxTile<T> equal{keys, width};
          Index seen = 0;
          for (Index k = 0; k < keys; ++k) {
            const bool hidden = k % 2 == 1;
            seen += hidden ? 0 : 1;
            for (Index j = 0; j < width; ++j) equal(k, j) = hidden ? -inf<T> : score;
          }
          equal.run();
          CHECK(equal.rises);
          CHECK(same_bits(equal.shift, std::vector<T>(size(width), score)));
          CHECK(equal.sum == std::vector<T>(size(width), static_cast<T>(seen)));
          CHECK(equal.factor == std::vector<T>(size(width), T{0}));
          bool exact = true;
          for (Index k = 0; k < keys; ++k)
            for (Index j = 0; j < width; ++j)
              exact = exact && same_bits(equal(k, j), k % 2 == 1 ? T{0} : T{1});
          CHECK(exact);
        }
      });
    }
  });
}

TEMPLATE_TEST_CASE("attention leaves: what is not finite stays in its lane", "", float, double) {
  using T = TestType;
  at_every_level([] {
    for (const Index width : widths<T>())
      for_each_tile_size([&](Index keys) {
        CAPTURE(width, keys);
        Tally tally;
        for (const T start : {-inf<T>, T{0}, T{3}})
          for (const T poison : {inf<T>, quiet_nan<T>, -quiet_nan<T>})
            for (const Index lane : {Index{0}, width / 2, width - 1})
              for (const Index key : {Index{0}, keys / 2, keys - 1}) {
                SoftmaxTile<T> clean{keys, width};
                clean.scores = noise<T>(keys * width, 7, -4, 9.2);
                std::ranges::fill(clean.shift, start);
                std::ranges::fill(clean.sum, start == -inf<T> ? T{0} : T{1});
                SoftmaxTile<T> poisoned = clean;
                poisoned(key, lane) = poison;
                clean.run();
                poisoned.run();
                for (Index j = 0; j < width; ++j)
                  tally.require(j == lane ? std::isnan(poisoned.sum[size(j)])
                                          : poisoned.same_lane(clean, j),
                                "lane ", j, " with ", poison, " in lane ", lane, ", shift ", start);
                // And it stays: no later tile makes the lane finite again.
                SoftmaxTile<T> next = poisoned;
                next.scores = noise<T>(keys * width, 8, -4, 40);
                tally.require(std::isnan(next.run().sum[size(lane)]), "forgets ", poison);
              }
        CHECK(tally.complaint() == "");
      });
  });
}

TEMPLATE_TEST_CASE("attention leaves: the shift follows, beyond its slack", "", float, double) {
  using T = TestType;
  constexpr T slack = 6;
  at_every_level([] {
    for (const Index width : widths<T>())
      for_each_tile_size([&](Index keys) {
        CAPTURE(width, keys);
        Tally tally;
        for (const T start : {T{0}, T{-2}, T{10}, T{-1000}, T{4096}}) {
          SoftmaxTile<T> at{keys, width};
          for (Index k = 0; k < keys; ++k)
            for (Index j = 0; j < width; ++j)
              at(k, j) = start + slack - static_cast<T>((k + 3) % keys);
          std::ranges::fill(at.shift, start);
          std::ranges::fill(at.sum, T{2});
          SoftmaxTile<T> within = at;
          tally.require(!within.run().rises, "rises at its slack, from ", start);
          Real worst = 0;
          for (Index j = 0; j < width; ++j) {
            tally.require(same_bits(within.shift[size(j)], start), "shift ", within.shift[size(j)]);
            for (Index k = 0; k < keys; ++k)
              tally.require(is_weight(within(k, j), static_cast<Real>(at(k, j) - start), worst),
                            "weight ", within(k, j));
          }
          for (const Index lane : {Index{0}, width / 2, width - 1})
            for (const T greatest :
                 {std::nextafter(start + slack, inf<T>), start + 7, start + 60}) {
              SoftmaxTile<T> beyond = at;
              beyond(keys / 2, lane) = greatest;
              tally.require(beyond.run().rises, "does not rise to ", greatest);
              for (Index j = 0; j < width; ++j) {
                if (j != lane) {
                  tally.require(beyond.same_lane(within, j), "lane ", j, " is changed by ", lane);
                  continue;
                }
                tally.require(same_bits(beyond.shift[size(j)], greatest), "shift ",
                              beyond.shift[size(j)]);
                const Real fall = static_cast<Real>(start) - static_cast<Real>(greatest);
                tally.require(is_weight(beyond.factor[size(j)], fall, worst), "factor ",
                              beyond.factor[size(j)]);
                Real sum = 2 * static_cast<Real>(beyond.factor[size(j)]);
                for (Index k = 0; k < keys; ++k) sum += static_cast<Real>(beyond(k, j));
                tally.require(std::abs(static_cast<Real>(beyond.sum[size(j)]) - sum) <=
                                  static_cast<Real>(keys + 1) * roundoff<T> * sum,
                              "sum ", beyond.sum[size(j)]);
                tally.require(same_bits(beyond(keys / 2, j), T{1}), "greatest weight");
              }
            }
        }
        CHECK(tally.complaint() == "");
      });
  });
}

TEMPLATE_TEST_CASE("attention leaves: tiles one after another are one tile", "", float, double) {
  using T = TestType;
  at_every_level([] {
    for (const Index width : widths<T>()) {
      CAPTURE(width);
      Tally tally;
      for (unsigned seed = 20; seed < 40; ++seed) {
        const Index keys = 64;
        // Lanes differ in where their greatest score is and in how far scores are spread.
        const double spread = seed % 2 == 0 ? 3 : 30;
        SoftmaxTile<T> whole{2 * keys, width};
        whole.scores = noise<T>(2 * keys * width, seed, -spread, spread);
        const std::vector<T> scores = whole.scores;
        SoftmaxTile<T> parts{keys, width};
        const auto half = whole.scores.begin() + keys * width;
        parts.scores.assign(whole.scores.begin(), half);
        parts.run();
        parts.scores.assign(half, whole.scores.end());
        parts.run();
        whole.run();
        for (Index j = 0; j < width; ++j) {
          Real exact = 0;
          for (Index k = 0; k < 2 * keys; ++k)
            exact += std::exp(static_cast<Real>(scores[size(k * width + j)]));
          // Each weight and a factor have their own error; sums round 128 times and the product
          // with the factor once. Differences are at most twice the spread.
          const Real bound =
              2 * weight_error<T>(2 * static_cast<Real>(spread)) + 2 * 130 * roundoff<T>;
          const auto check = [&](const SoftmaxTile<T>& tile, const char* name) {
            const Real got = std::exp(static_cast<Real>(tile.shift[size(j)])) *
                             static_cast<Real>(tile.sum[size(j)]);
            tally.require(std::abs(got - exact) <= bound * exact, name, " ", got, " of ", exact);
          };
          check(whole, "whole");
          check(parts, "parts");
        }
      }
      CHECK(tally.complaint() == "");
    }
  });
}

// --- Panels and copies --------------------------------------------------------------------------

TEMPLATE_TEST_CASE("attention leaves: rows to panels and back", "", float, double) {
  using T = TestType;
  at_every_level([] {
    const detail::TileLeaves<T> tile = leaves<T>();
    Tally tally;
    for (Index rows = 1; rows <= tile.panel; ++rows)
      for (const Index columns : {1, 2, 3, 4, 5, 6, 7, 8, 9, 64, 66})
        for (Index width = (rows + tile.panel_step - 1) / tile.panel_step * tile.panel_step;
             width <= tile.panel; width += tile.panel_step) {
          const std::vector<T> factor = noise<T>(rows, 11), x = noise<T>(rows * columns, 12);
          std::vector<T> panel(size(width * columns + 3), T{-77});
          simd::to_panel(rows, columns, width, x.data(), columns, factor.data(), panel.data());
          for (Index c = 0; c < columns; ++c)
            for (Index r = 0; r < width; ++r) {
              const T expected = r < rows ? factor[size(r)] * x[size(r * columns + c)] : T{0};
              tally.require(same_bits(panel[size(c * width + r)], expected), "to a panel, ", rows,
                            " x ", columns, " in ", width, " at ", r, ", ", c);
            }
          tally.require(std::all_of(panel.end() - 3, panel.end(), [](T y) { return y == -77; }),
                        "to a panel: wrote beyond it");

          for (const auto& [row, column] : {std::pair<Index, Index>{columns, 1},
                                            {columns + 3, 1},
                                            {2 * columns, 2},
                                            {3 * columns + 2, 3},
                                            {1, rows},
                                            {1, rows + 2}}) {
            std::vector<T> y(size((rows - 1) * row + (columns - 1) * column + 1), T{-77}),
                expected = y;
            for (Index r = 0; r < rows; ++r)
              for (Index c = 0; c < columns; ++c)
                expected[size(r * row + c * column)] = factor[size(r)] * panel[size(c * width + r)];
            simd::from_panel(rows, columns, width, panel.data(), factor.data(), y.data(), row,
                             column);
            tally.require(same_bits(y, expected), "from a panel, ", rows, " x ", columns, " in ",
                          width, ", strides ", row, ", ", column);
          }
        }
    CHECK(tally.complaint() == "");
  });
}

TEMPLATE_TEST_CASE("attention leaves: rows are scaled lane by lane", "", float, double) {
  using T = TestType;
  at_every_level([] {
    for (const Index width : widths<T>())
      for (const Index rows : {0, 1, 2, 3, 17, 130}) {
        CAPTURE(width, rows);
        std::vector<T> x = noise<T>(rows * width + 1, 13), expected = x;
        const std::vector<T> factor = noise<T>(width, 14);
        for (Index i = 0; i < rows * width; ++i) expected[size(i)] *= factor[size(i % width)];
        softmax_leaves<T>().scale_rows(rows, width, x.data(), factor.data());
        CHECK(same_bits(x, expected));
      }
  });
}

TEMPLATE_TEST_CASE("attention leaves: a copy tells what is finite", "", float, double) {
  using T = TestType;
  at_every_level([] {
    const detail::TileLeaves<T> tile = leaves<T>();
    Tally tally;
    for (Index n = 0; n <= 70; ++n) {
      const auto copy = [&](const std::vector<T>& x, bool finite) {
        std::vector<T> y(size(n + 1), T{-77}), in_place = x, expected = x;
        expected.push_back(T{-77});
        tally.require(tile.copy_finite(n, x.data(), y.data()) == finite, "of ", n);
        tally.require(same_bits(y, expected), "copy of ", n);
        tally.require(tile.copy_finite(n, in_place.data(), in_place.data()) == finite, "in place, ",
                      n);
        tally.require(same_bits(in_place, x), "copy in place of ", n);
      };
      std::vector<T> x = noise<T>(n, 15);
      copy(x, true);
      copy(std::vector<T>(size(n), std::numeric_limits<T>::max()), true);
      copy(std::vector<T>(size(n), std::numeric_limits<T>::lowest()), true);
      copy(std::vector<T>(size(n), -std::numeric_limits<T>::denorm_min()), true);
      copy(std::vector<T>(size(n), -T{0}), true);
      for (Index i = 0; i < n; ++i)
        for (const T poison : {inf<T>, -inf<T>, quiet_nan<T>, -quiet_nan<T>}) {
          const T kept = std::exchange(x[size(i)], poison);
          copy(x, false);
          x[size(i)] = kept;
        }
      if (n >= 2) {  // infinities of both signs do not cancel
        x.front() = inf<T>;
        x.back() = -inf<T>;
        copy(x, false);
      }
    }
    CHECK(tally.complaint() == "");
  });
}
