// SPDX-License-Identifier: MIT
//
// What an encoding of any types is bound to: its components, prepared for heads. See any_encoding.hpp.
#pragma once

#include <posenc/bind/any_encoding.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The components of an encoding, prepared for heads, and what they answer. Copies share them, and what was moved from
/// still answers.
class BoundComponents {
 public:
  /// Throws Error with every problem.
  BoundComponents(const AnyEncoding& encoding, const BindOptions& options);

  [[nodiscard]] const AnyEncoding& encoding() const { return shared_->encoding; }
  [[nodiscard]] const Answers& answers() const { return shared_->answers; }
  /// The options at another length.
  [[nodiscard]] BindOptions at_length(Position length) const {
    BindOptions options = answers().options();
    options.length = length;
    return options;
  }

 private:
  struct Components {
    AnyEncoding encoding;
    std::vector<SharedAny> prepared;
    Answers answers;

    Components(const AnyEncoding& given, const BindOptions& options);

   private:
    Answers answer(const BindOptions& options);
  };
  Shared<Components> shared_;
};

/// The score loops of an encoding's stages, in their order.
struct AnyLoops {
  std::vector<FindLoops<float>> floats;
  std::vector<FindLoops<double>> doubles;
  std::vector<FindDerivative<float>> derivative_floats;
  std::vector<FindDerivative<double>> derivative_doubles;
  int undifferentiable = 0;  ///< score maps

  AnyLoops(const std::vector<AnyComponent>& components, std::size_t stages);
};

}  // namespace detail

/// An AnyEncoding, bound. Its constants say what a type may turn out to be; the rest is in answers().
template <>
class Bound<AnyEncoding> {
 public:
  using encoding_type = AnyEncoding;
  using layout = AnyLayout;
  static constexpr detail::EncodingFacts encoding_facts = [] {  // whatever may turn out
    detail::EncodingFacts facts;
    facts.rotates_values = facts.has_relative_biases = facts.has_relative_vectors = true;
    return facts;
  }();

  /// Throws Error with every problem.
  Bound(const AnyEncoding& encoding, const BindOptions& options);

  [[nodiscard]] const AnyEncoding& encoding() const { return bound_.encoding(); }
  [[nodiscard]] const BindOptions& options() const { return answers().options(); }
  [[nodiscard]] const HeadShape& shape() const { return answers().shape(); }
  [[nodiscard]] Bound at_length(Position length) const {
    return Bound(encoding(), bound_.at_length(length));
  }

  [[nodiscard]] bool has_rotary() const { return answers().rotates(); }
  [[nodiscard]] bool has_distance_map() const { return static_cast<bool>(answers().map()); }
  [[nodiscard]] bool rotates_values() const { return answers().facts().rotates_values; }
  [[nodiscard]] bool depends_on_length() const { return answers().facts().depends_on_length; }
  /// Frequencies, channels and angles; empty without a rotary base.
  [[nodiscard]] const Rotary& rotary() const { return answers().rotary(); }
  [[nodiscard]] const detail::MapOfDistances& distance_map() const { return answers().map(); }
  [[nodiscard]] double scale(Index head_dim) const { return answers().scale(head_dim); }
  [[nodiscard]] double temperature(Position query) const { return answers().temperature(query); }

  [[nodiscard]] const detail::Answers& answers() const { return bound_.answers(); }
  template <class T>
  [[nodiscard]] detail::Asked<T> asked() const {
    if (answers().facts().context_positions > 0) refuse_context();
    return asked_from_behind<T>();
  }
  template <class T>
  [[nodiscard]] detail::Asked<T> asked_from_behind() const {
    if constexpr (std::is_same_v<T, float>)
      return {&answers(), &rotary(), loops_->floats.data()};
    else
      return {&answers(), &rotary(), loops_->doubles.data()};
  }
  /// The derivatives of the stages; throws Error where one has none.
  template <class T>
  [[nodiscard]] const detail::FindDerivative<T>* derivatives() const {
    check_differentiable();
    if constexpr (std::is_same_v<T, float>)
      return loops_->derivative_floats.data();
    else
      return loops_->derivative_doubles.data();
  }

 private:
  /// The encoding, once it is none that the compiler would refuse of an Encoding.
  static const AnyEncoding& composed(const AnyEncoding& encoding);
  void check_differentiable() const;
  static void refuse_context();

  detail::BoundComponents bound_;
  detail::Shared<detail::AnyLoops> loops_;
};
using AnyBound = Bound<AnyEncoding>;

/// Binds an encoding to heads. Throws Error with every problem of every component, and of their
/// composition.
[[nodiscard]] inline AnyBound bind(const AnyEncoding& encoding, const BindOptions& options = {}) {
  return AnyBound(encoding, options);
}

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_DEFINITION)
#include <posenc/bind/any_definitions.hpp>
#endif
