// SPDX-License-Identifier: MIT
//
// Vectors by distance, frequencies, embeddings and gradients.
#include <posenc/bias/bias.hpp>

#include "contradictions.hpp"

#include <algorithm>
#include <cmath>

using namespace validate_test;

namespace others_cases {

/// Vectors of eight buckets, four tokens each.
struct Buckets {
  std::vector<float> table = std::vector<float>(8 * 4, 0.5F);
  Index most = 7;  ///< the last bucket
  bool turns_back = false;

  Index bucket(Position distance) const {
    const auto b = static_cast<Index>(std::clamp<Position>(distance / 4, 0, most));
    return turns_back && b == most ? 0 : b;
  }
  RelativeTable relative_keys() const {
    return {.data = table.data(), .buckets = 8, .width = 4, .bucket_stride = 4};
  }
};
struct Reversed : Buckets {
  Interval interval{-3, 31};
  Interval distances() const { return interval; }
};

TEST_CASE("validate: buckets lie within the tables, and do not turn back") {
  CHECK(contradictions(Buckets{}).text.empty());
  says(contradictions(Buckets{.most = 8}),
       "bucket says 8 of distance 32, but relative_keys has buckets 0 to 7.");
  says(contradictions(Buckets{.turns_back = true}),
       "bucket turns back at distance 28, from 6 to 0");
  CHECK(contradictions(Reversed{{.most = 8}}).text.empty());  // never asked farther than 31
  says(contradictions(Reversed{{}, {5, 4}}), "distances() is an interval that ends at 4");
}

/// Frequencies that follow the length.
struct Stretch {
  void transform(RotaryState& state) const {
    if (state.length > 100) state.inv_freq /= 2;
  }
};
struct SaysStretch : Stretch {
  static constexpr bool depends_on_length = true;
};

TEST_CASE("validate: frequencies that follow the length say so") {
  CHECK(contradictions(SaysStretch{}).text.empty());
  says(contradictions(Stretch{}),
       "the type does not say `static constexpr bool depends_on_length = true`");
}

struct Ramp {
  Index written = 8;
  bool adds = false;
  Index embedding_width() const { return 8; }
  void embed(double position, std::span<double> out) const {
    for (Index c = 0; c < written; ++c) {
      double& x = out[static_cast<std::size_t>(c)];
      x = (adds && c == 2 && !std::isnan(x) ? x : 0) + position * static_cast<double>(c);
    }
  }
};

TEST_CASE("validate: an embedding writes its whole width") {
  CHECK(contradictions(Ramp{}).text.empty());
  says(contradictions(Ramp{.written = 7}), "embed leaves element 7 of 8 unwritten");
  says(contradictions(Ramp{.adds = true}), "it must write the vector, not add to it");
}

/// exp(-rate |D|) for each head, with gradients that may be wrong.
struct Decay {
  std::vector<double> rate{0.01, 0.02, 0.03, 0.04};
  double factor = 1;     ///< of the gradient
  bool assigns = false;  ///< instead of adding
  bool squares = false;  ///< what it is given

  double relative_bias(Index head, Position distance) const {
    return std::exp(-rate[static_cast<std::size_t>(head)] *
                    static_cast<double>(std::abs(distance)));
  }
  Index num_parameters() const { return std::ssize(rate); }
  void relative_bias_gradient(Index head, Position distance, double sum,
                              std::span<double> gradient) const {
    const double by = -factor * (squares ? sum * sum : sum) *
                      static_cast<double>(std::abs(distance)) * relative_bias(head, distance);
    double& g = gradient[static_cast<std::size_t>(head)];
    g = (assigns ? 0 : g) + by;
  }
};
constexpr auto moved_rate = [](const Decay& from) {
  return [from](Index i, double by) {
    Decay other = from;
    other.rate[static_cast<std::size_t>(i)] += by;
    return other;
  };
};

TEST_CASE("validate: gradients are added, in proportion, and are derivatives") {
  const Decay right, twice{.factor = 2}, assigns{.assigns = true}, squares{.squares = true};
  CHECK(contradictions(right).text.empty());
  CHECK(contradictions(right, moved_rate(right), 1e-6).text.empty());
  CHECK(contradictions(twice).text.empty());  // which only differences tell
  says(contradictions(twice, moved_rate(twice), 1e-6), "relative_bias_gradient says ");
  says(contradictions(right, moved_rate(right), 0.0), "step must be positive and finite, got 0.");
  says(contradictions(assigns), "it must add");
  says(contradictions(squares), "it must multiply by it");
}

/// A bias by score, whose gradient by tiles leaves the last key out.
struct Learned {
  double weight = 0.5;
  Index left_out = 0;

  double score_bias(const Score& at) const { return weight * static_cast<double>(at.key % 7); }
  Index num_parameters() const { return 1; }
  void score_bias_gradient(const Score& at, double dx, std::span<double> gradient) const {
    gradient[0] += dx * static_cast<double>(at.key % 7);
  }
  template <class X>
  void tile_bias_gradient(const Tile& tile, Index, std::span<const Position> keys, const X* dx,
                          Index stride, std::span<double> gradient) const {
    for (Index k = 0; k < std::ssize(keys) - left_out; ++k)
      for (Index j = 0; j <= tile.query.last - tile.query.first; ++j)
        gradient[0] +=
            dx[k * stride + j] * static_cast<double>(keys[static_cast<std::size_t>(k)] % 7);
  }
};

TEST_CASE("validate: gradients by tiles are the sums of those by scores") {
  CHECK(contradictions(Learned{}).text.empty());
  says(contradictions(Learned{.left_out = 1}), "tile_bias_gradient adds ");
}

TEST_CASE("validate: parameters that its own check refuses are told first, encodings by number") {
  const Said said = contradictions(Decay{} | bias([](Index, Position) { return NAN; }));
  says(said, "component 2: the bias is not a number");
}

}  // namespace others_cases
