// SPDX-License-Identifier: MIT
//
// KERPLE: kernelised relative positional embedding, two of its kernels.
//
//   Chi et al., arXiv 2205.09921; chijames/KERPLE, megatron/mpu/layers.py.
//
//   KerpleLog      score -= r1 ln(1 + r2 |D|)        r1, r2 > 0
//   KerplePower    score -= r1 |D|^r2                r1 > 0, 0 < r2 <= 2
//
// Added after the softmax scale; r1 and r2 are learned, one of each per head. The bounds are what
// makes the kernels conditionally positive definite; the reference clamps both to at least 0.01
// whenever it uses them, so a checkpoint may hold smaller numbers: clamp as you load. KerplePower
// with r2 = 1 is ALiBi with slope r1, and KerpleLog tends to it as r2 falls and r1 r2 stays.
//
// With a causal mask the formula is the paper's; without one it is symmetric. decode() reads both from a
// table that is filled as sequences grow (bias/distance_table.hpp).
#pragma once

#include <posenc/bias/distance_table.hpp>
#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

inline void check_kerple(Problems& problems, const HeadShape& shape, const char* who,
                         const char* name, const std::vector<double>& values, double greatest) {
  problems.require(values.size() == 1 || std::ssize(values) == shape.num_heads, who, ": ", name,
                   " must have one value, or one for each of the ", shape.num_heads,
                   " query heads, got ", values.size(), ".");
  for (const double value : values)
    if (!(std::isfinite(value) && value > 0 && value <= greatest)) {
      if (std::isfinite(greatest))
        problems.add(who, ": ", name, " must be above 0 and at most ", greatest, ", got ", value,
                     ".");
      else
        problems.add(who, ": ", name, " must be positive and finite, got ", value, ".");
    }
}

}  // namespace detail

/// A KERPLE bias with a value of r1 and r2 per head.
template <class Kernel>
struct PreparedKerple {
  std::vector<double> r1, r2;
  Index learned_r1, learned_r2;  ///< values of each: as many as heads, or one for all
  using Table = detail::DistanceTable<double>;
  detail::Shared<Table> table;  ///< for decode

  PreparedKerple(const Kernel& kernel, Index num_heads)
      : r1(per_head(kernel.r1, num_heads)), r2(per_head(kernel.r2, num_heads)),
        learned_r1(std::ssize(kernel.r1)), learned_r2(std::ssize(kernel.r2)),
        table(detail::Shared<Table>::make(num_heads, kernel.cached_distances)) {}

  [[nodiscard]] double relative_bias(Index head, Position distance) const {
    const auto h = static_cast<std::size_t>(head);
    return -r1[h] * Kernel::growth(r2[h], std::abs(static_cast<double>(distance)));
  }
  template <class Use>
  void tile_bias(const Tile& tile, Index head, const Use& use) const {
    table->tile_bias(tile, head, *this, use);
  }
  /// Of r1, then of r2.
  [[nodiscard]] Index num_parameters() const { return learned_r1 + learned_r2; }
  void relative_bias_gradient(Index head, Position distance, double sum,
                              std::span<double> gradient) const {
    const auto h = static_cast<std::size_t>(head);
    const double d = std::abs(static_cast<double>(distance));
    const auto first = static_cast<std::size_t>(learned_r1);
    gradient[learned_r1 == 1 ? 0 : h] -= Kernel::growth(r2[h], d) * sum;
    gradient[first + (learned_r2 == 1 ? 0 : h)] -= r1[h] * Kernel::growth_by_r2(r2[h], d) * sum;
  }

 private:
  static std::vector<double> per_head(const std::vector<double>& values, Index num_heads) {
    if (values.size() != 1) return values;
    return std::vector<double>(static_cast<std::size_t>(num_heads), values.front());
  }
};

struct KerpleLog {
  std::vector<double> r1{1};        ///< amplitude, per query head; one value serves all
  std::vector<double> r2{1};        ///< inverse of the distance where the bias starts to flatten
  Index cached_distances = 65'536;  ///< kept for decode, 8 bytes each and head

  [[nodiscard]] static double growth(double r2, double distance) {
    return std::log1p(r2 * distance);
  }
  [[nodiscard]] static double growth_by_r2(double r2, double distance) {
    return distance / (1 + r2 * distance);
  }

  [[nodiscard]] PreparedKerple<KerpleLog> prepare(const HeadShape& shape) const {
    return {*this, shape.num_heads};
  }
  void check(Problems& problems, const HeadShape& shape) const {
    constexpr double unbounded = std::numeric_limits<double>::infinity();
    detail::check_kerple(problems, shape, "KerpleLog", "r1", r1, unbounded);
    detail::check_kerple(problems, shape, "KerpleLog", "r2", r2, unbounded);
    detail::check_cached_distances(problems, "KerpleLog", shape, cached_distances);
  }
};

struct KerplePower {
  std::vector<double> r1{1};        ///< amplitude, per query head; one value serves all
  std::vector<double> r2{1};        ///< exponent, at most 2
  Index cached_distances = 65'536;  ///< kept for decode, 8 bytes each and head

  [[nodiscard]] static double growth(double r2, double distance) { return std::pow(distance, r2); }
  [[nodiscard]] static double growth_by_r2(double r2, double distance) {
    return distance == 0 ? 0 : std::pow(distance, r2) * std::log(distance);
  }

  [[nodiscard]] PreparedKerple<KerplePower> prepare(const HeadShape& shape) const {
    return {*this, shape.num_heads};
  }
  void check(Problems& problems, const HeadShape& shape) const {
    constexpr double unbounded = std::numeric_limits<double>::infinity();
    detail::check_kerple(problems, shape, "KerplePower", "r1", r1, unbounded);
    detail::check_kerple(problems, shape, "KerplePower", "r2", r2, 2);
    detail::check_cached_distances(problems, "KerplePower", shape, cached_distances);
  }
};

POSENC_NAMESPACE_END
