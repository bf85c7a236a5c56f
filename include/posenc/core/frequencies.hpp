// SPDX-License-Identifier: MIT
//
// Frequencies: an array of double with the arithmetic of whole arrays, so that a frequency transform reads
// like its formula. The names are those of Eigen's arrays; what it is given may be one of these, or a
// std::vector.
#pragma once

#include <posenc/core/types.hpp>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <concepts>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

// NOLINTBEGIN(readability-identifier-naming): Eigen's names
/// A value per rotary pair.
class Frequencies {
 public:
  Frequencies() = default;
  explicit Frequencies(Index size) : values_(static_cast<std::size_t>(size)) {}
  template <class List>
    requires(!std::convertible_to<List, Index> &&
             requires(const List& list, Index i) {
               { list.size() } -> std::convertible_to<Index>;
               { list[i] } -> std::convertible_to<double>;
             })
  Frequencies(const List& list) : Frequencies(static_cast<Index>(list.size())) {
    for (Index i = 0; i < size(); ++i)
      (*this)[i] = static_cast<double>(list[static_cast<decltype(list.size())>(i)]);
  }
  static Frequencies Constant(Index size, double value) {
    Frequencies all(size);
    for (double& one : all.values_) one = value;
    return all;
  }
  static Frequencies Zero(Index size) { return Frequencies(size); }
  static Frequencies Ones(Index size) { return Constant(size, 1); }

  [[nodiscard]] Index size() const { return static_cast<Index>(values_.size()); }
  void resize(Index size) { values_.resize(static_cast<std::size_t>(size)); }
  double& operator[](Index i) { return values_[static_cast<std::size_t>(i)]; }
  double operator[](Index i) const { return values_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] double* data() { return values_.data(); }
  [[nodiscard]] const double* data() const { return values_.data(); }
  [[nodiscard]] double* begin() { return data(); }
  [[nodiscard]] double* end() { return data() + size(); }
  [[nodiscard]] const double* begin() const { return data(); }
  [[nodiscard]] const double* end() const { return data() + size(); }

  /// The right-hand side of an operation: one number for all, or one for each.
  class Operand {
   public:
    Operand(double one) : one_(one) {}
    Operand(const Frequencies& many) : many_(&many) {}
    double operator[](Index i) const { return many_ ? (*many_)[i] : one_; }
    [[nodiscard]] bool fits(Index size) const { return !many_ || many_->size() == size; }

   private:
    double one_ = 0;
    const Frequencies* many_ = nullptr;
  };

  /// f of each; f of each and what stands opposite.
  template <class F>
  [[nodiscard]] Frequencies unaryExpr(const F& f) const {
    Frequencies y = *this;
    for (double& value : y) value = f(value);
    return y;
  }
  template <class F>
  [[nodiscard]] Frequencies binaryExpr(const Operand& other, const F& f) const {
    assert(other.fits(size()));
    Frequencies y = *this;
    for (Index i = 0; i < size(); ++i) y[i] = f(y[i], other[i]);
    return y;
  }

  friend Frequencies operator+(const Frequencies& a, const Operand& b) {
    return a.binaryExpr(b, [](double x, double y) { return x + y; });
  }
  friend Frequencies operator-(const Frequencies& a, const Operand& b) {
    return a.binaryExpr(b, [](double x, double y) { return x - y; });
  }
  friend Frequencies operator*(const Frequencies& a, const Operand& b) {
    return a.binaryExpr(b, [](double x, double y) { return x * y; });
  }
  friend Frequencies operator/(const Frequencies& a, const Operand& b) {
    return a.binaryExpr(b, [](double x, double y) { return x / y; });
  }
  friend Frequencies operator+(double a, const Frequencies& b) { return b + a; }
  friend Frequencies operator-(double a, const Frequencies& b) { return Constant(b.size(), a) - b; }
  friend Frequencies operator*(double a, const Frequencies& b) { return b * a; }
  friend Frequencies operator/(double a, const Frequencies& b) { return Constant(b.size(), a) / b; }
  Frequencies operator-() const { return *this * -1.0; }
  Frequencies& operator+=(const Operand& x) { return *this = *this + x; }
  Frequencies& operator-=(const Operand& x) { return *this = *this - x; }
  Frequencies& operator*=(const Operand& x) { return *this = *this * x; }
  Frequencies& operator/=(const Operand& x) { return *this = *this / x; }

  [[nodiscard]] Frequencies abs() const {
    return unaryExpr([](double x) { return std::abs(x); });
  }
  [[nodiscard]] Frequencies exp() const {
    return unaryExpr([](double x) { return std::exp(x); });
  }
  [[nodiscard]] Frequencies log() const {
    return unaryExpr([](double x) { return std::log(x); });
  }
  [[nodiscard]] Frequencies cos() const {
    return unaryExpr([](double x) { return std::cos(x); });
  }
  [[nodiscard]] Frequencies sin() const {
    return unaryExpr([](double x) { return std::sin(x); });
  }
  [[nodiscard]] Frequencies min(const Operand& x) const {
    return binaryExpr(x, [](double a, double b) { return std::min(a, b); });
  }
  [[nodiscard]] Frequencies max(const Operand& x) const {
    return binaryExpr(x, [](double a, double b) { return std::max(a, b); });
  }

  /// Comparisons of each.
  class Flags {
   public:
    [[nodiscard]] bool all() const { return count_ == size_; }
    [[nodiscard]] bool any() const { return count_ > 0; }
    [[nodiscard]] Index count() const { return count_; }

    template <class Holds>
    Flags(const Frequencies& a, const Operand& b, const Holds& holds) : size_(a.size()) {
      assert(b.fits(size_));
      for (Index i = 0; i < size_; ++i) count_ += holds(a[i], b[i]) ? 1 : 0;
    }

   private:
    Index size_, count_ = 0;
  };
  // Two of them, since C++20 also tries a == with its sides exchanged.
  friend Flags operator==(const Frequencies& a, const Frequencies& b) { return a.equal(b); }
  friend Flags operator==(const Frequencies& a, double b) { return a.equal(b); }
  friend Flags operator<(const Frequencies& a, const Operand& b) {
    return {a, b, [](double x, double y) { return x < y; }};
  }
  friend Flags operator<=(const Frequencies& a, const Operand& b) {
    return {a, b, [](double x, double y) { return x <= y; }};
  }
  friend Flags operator>(const Frequencies& a, const Operand& b) {
    return {a, b, [](double x, double y) { return x > y; }};
  }
  friend Flags operator>=(const Frequencies& a, const Operand& b) {
    return {a, b, [](double x, double y) { return x >= y; }};
  }

  [[nodiscard]] bool allFinite() const {
    for (const double value : values_)
      if (!std::isfinite(value)) return false;
    return true;
  }
  [[nodiscard]] double sum() const {
    double total = 0;
    for (const double value : values_) total += value;
    return total;
  }
  [[nodiscard]] double maxCoeff() const { return *std::max_element(begin(), end()); }
  [[nodiscard]] double minCoeff() const { return *std::min_element(begin(), end()); }

  /// The first or the last n, to be changed.
  class Part {
   public:
    explicit Part(std::span<double> values) : values_(values) {}
    void operator*=(double x) {
      for (double& value : values_) value *= x;
    }
    void operator/=(double x) {
      for (double& value : values_) value /= x;
    }
    Part& operator=(double x) {
      for (double& value : values_) value = x;
      return *this;
    }
    void setZero() { *this = 0.0; }

   private:
    std::span<double> values_;
  };
  [[nodiscard]] Part head(Index n) {
    return Part(std::span(values_).first(static_cast<std::size_t>(n)));
  }
  [[nodiscard]] Part tail(Index n) {
    return Part(std::span(values_).last(static_cast<std::size_t>(n)));
  }

 private:
  [[nodiscard]] Flags equal(const Operand& other) const {
    return {*this, other, [](double x, double y) { return x == y; }};
  }

  std::vector<double> values_;
};
// NOLINTEND(readability-identifier-naming)

POSENC_NAMESPACE_END
