// SPDX-License-Identifier: MIT
//
// AnyMixer: the parameters of any sequence mixer as one type, for lists of layers that are put together while the
// program runs. checked() makes the operator of them, which is one of four types, each with calls of its own:
//
//   Mixer              recurrences of the frame: RetNet, GLA, Mamba2, RWKV5 to 7, the delta rules, your own
//   SelectiveScan      Mamba
//   WKV                RWKV4
//   TrapezoidalScan    Mamba3
#pragma once

#include <posenc/mixers/mamba3.hpp>
#include <posenc/mixers/rwkv4.hpp>
#include <posenc/mixers/selective_scan.hpp>
#include <posenc/mixers/short_convolution.hpp>

#include <functional>
#include <string_view>
#include <utility>
#include <variant>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// An operator of any mixer, whose parameters have been checked.
using AnyOperator = std::variant<Mixer, SelectiveScan, WKV, TrapezoidalScan>;

/// The operator of parameters. Throws Error with every sentence when they are wrong.
template <Rule M>
[[nodiscard]] Mixer operator_of(const M& parameters) {
  return Mixer(parameters);
}
[[nodiscard]] inline SelectiveScan operator_of(const Mamba& parameters) {
  return SelectiveScan(parameters);
}
[[nodiscard]] inline WKV operator_of(const RWKV4& parameters) { return WKV(parameters); }
[[nodiscard]] inline TrapezoidalScan operator_of(const Mamba3& parameters) {
  return TrapezoidalScan(parameters);
}

/// Parameters that have an operator.
template <class M>
concept Parameters = requires(const M& parameters) {
  { M::name } -> std::convertible_to<std::string_view>;
  AnyOperator(operator_of(parameters));
};

class AnyMixer {
 public:
  /// `convolution` is the width of the short convolution in front, whose weights are the caller's: 4 in most models, 0: none.
  template <Parameters M>
  AnyMixer(M parameters, Index convolution = 0)
      : conv_width(convolution), name_(M::name),
        make_([p = std::move(parameters)] { return AnyOperator(operator_of(p)); }) {}

  [[nodiscard]] std::string_view name() const { return name_; }

  /// Throws Error with every sentence when parameters are wrong.
  [[nodiscard]] AnyOperator checked() const {
    Problems problems;
    problems.require(conv_width == 0 ||
                         (conv_width >= 2 && conv_width <= ShortConvolution::most_width),
                     "conv_width must lie within [2, ", ShortConvolution::most_width,
                     "], or be 0 without a convolution, got ", conv_width, ".");
    try {
      AnyOperator made = make_();
      if (problems.empty()) return made;
    } catch (const Error& error) {
      for (const std::string& problem : error.problems()) problems.add(problem);
    }
    throw Error("posenc::mixers::" + std::string(name_), problems.sentences());
  }

  Index conv_width = 0;  ///< of the short convolution in front

 private:
  std::string_view name_;
  std::function<AnyOperator()> make_;
};

/// Bytes that an operator remembers of a sequence, whatever its length.
[[nodiscard]] inline std::size_t state_bytes(const AnyOperator& of) {
  struct Bytes {
    std::size_t operator()(const Mixer& one) const { return State(one).bytes(); }
    std::size_t operator()(const SelectiveScan& one) const { return one.state().bytes(); }
    std::size_t operator()(const WKV& one) const { return one.state().bytes(); }
    std::size_t operator()(const TrapezoidalScan& one) const { return Mamba3State(one).bytes(); }
  };
  return std::visit(Bytes{}, of);
}

/// Channels of the short convolution in front of an operator: q, k and v of a recurrence (Mamba-2's C, B and x), and u of
/// Mamba; 0 for RWKV-4 and Mamba-3, which have none.
[[nodiscard]] inline Index convolved_channels(const AnyOperator& of) {
  if (const auto* mixer = std::get_if<Mixer>(&of)) {
    const Shape& s = mixer->shape();
    return 2 * s.key_heads * s.key_dim + s.heads * s.value_dim;
  }
  const auto* scan = std::get_if<SelectiveScan>(&of);
  return scan ? scan->channels() : 0;
}

}  // namespace mixers

POSENC_NAMESPACE_END
