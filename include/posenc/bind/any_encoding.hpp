// SPDX-License-Identifier: MIT
//
// AnyEncoding: an encoding that is composed while the program runs.
//
//   AnyEncoding encoding = RoPE<HalfSplit>{.head_dim = 128};
//   if (factor > 1) encoding |= YaRN{.factor = factor, .original_context = 8'192};
//   encoding |= Causal{};
//   const AnyBound bound = bind(encoding, {.num_heads = 32, .num_kv_heads = 8});
//   attention(q, k, v, out, bound);
//
// For models that a file describes, for layers with schedules, for programs that compare schemes: one
// type stands for all of them, and the same kernels run, with results that are the same to the last bit.
// What the types of an Encoding tell the compiler is checked by bind() and by the calls instead, in
// sentences. A component is compiled for all calls there are where it joins an AnyEncoding; the
// encoding itself costs nothing more. A static encoding is bound in the same way (bind/bind.hpp).
#pragma once

#include <posenc/bind/answers.hpp>
#include <posenc/bind/derivatives.hpp>
#include <posenc/core/memory.hpp>
#include <posenc/core/pipeline.hpp>

#include <array>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A component of any type.
struct AnyComponent {
  SharedAny self;
  const Description* describe = nullptr;
  /// What it is prepared to; null where attention has nothing to ask it.
  SharedAny (*prepare)(const SharedAny& self, const HeadShape& shape) = nullptr;
  const Questions* ask = nullptr;
  FindLoops<float> floats = nullptr;
  FindLoops<double> doubles = nullptr;
  bool is_map = false;  ///< a score map; without the following it has no derivative here
  FindDerivative<float> derivative_floats = nullptr;
  FindDerivative<double> derivative_doubles = nullptr;
};

/// A component of type C, without score loops. Not inline, so that a program can have those of the
/// library's own components compiled once (bind/compiled_components.hpp).
template <class C>
POSENC_DETAIL_COLD AnyComponent any_component(const SharedAny& self) {
  AnyComponent any{.self = self, .describe = &description<C>};
  if constexpr (AskedInAttention<C>) {
    using S = prepared_t<C>;
    any.prepare = [](const SharedAny& written,
                     [[maybe_unused]] const HeadShape& shape) -> SharedAny {
      if constexpr (Prepares<C>)
        return shared<S>(detail::prepare(as<C>(written.get()), shape));
      else
        return written;
    };
    any.ask = &questions<S>;
  }
  return any;
}

/// A component and how it joins others.
struct Joining {
  AnyComponent (*make)(const SharedAny& self);
  const void* component;
};
/// Components that live as long as their owner. One function for all types.
std::vector<AnyComponent> joined(const SharedAny& owner, std::span<const Joining> components);

/// The components of an encoding that `owner` holds.
template <class... Ts>
POSENC_DETAIL_COLD std::vector<AnyComponent> any_components(const SharedAny& owner) {
  const void* const encoding = owner.get();
  std::array<Joining, sizeof...(Ts)> all{};
  std::size_t n = 0;
  as<Encoding<Ts...>>(encoding).for_each(
      [&]<class C>(const C& component) { all[n++] = {&any_component<C>, &component}; });
  return joined(owner, all);
}

}  // namespace detail

/// Encoding<...>, whose types the compiler knows (bind/bind.hpp), or AnyEncoding.
template <class E>
class Bound;

namespace detail {
/// Are the components known to the compiler, so that it can refuse what does not fit?
template <class E>
inline constexpr bool is_static = false;
template <class... Ts>
inline constexpr bool is_static<Encoding<Ts...>> = true;
}  // namespace detail

class AnyEncoding {
 public:
  AnyEncoding() = default;
  // A move copies (components are shared): what was moved from is still the encoding that it was.
  AnyEncoding(const AnyEncoding&);
  AnyEncoding& operator=(const AnyEncoding&);
  ~AnyEncoding();

  template <class T>
    requires(!std::same_as<T, AnyEncoding> && detail::ComponentOrEncoding<T>)
  AnyEncoding(const T& part) {
    append(part);
  }

  /// Joins components behind those that are there.
  template <class T>
    requires(detail::ComponentOrEncoding<T> || std::same_as<T, AnyEncoding>)
  AnyEncoding& operator|=(const T& part) {
    if constexpr (std::same_as<T, AnyEncoding>) {
      const auto added = part.components_;  // which may be this one's own
      components_.insert(components_.end(), added.begin(), added.end());
    } else {
      append(part);
    }
    return *this;
  }

  /// Which channels turn, and how fast: the components that say so, without masks, biases and distances.
  [[nodiscard]] AnyEncoding rotation() const;

  [[nodiscard]] std::size_t size() const { return components_.size(); }
  [[nodiscard]] const std::vector<detail::AnyComponent>& components() const { return components_; }

 private:
  template <class E>
  friend class Bound;
  /// An encoding as it is, whose type brings the score loops.
  template <class... Ts>
  POSENC_DETAIL_COLD [[nodiscard]] static AnyEncoding as_written(Encoding<Ts...>&& encoding) {
    AnyEncoding any;
    any.written_ = detail::shared(std::move(encoding));
    any.components_ = detail::any_components<Ts...>(any.written_);
    return any;
  }

  template <class T>
  void append(const T& part) {
    if constexpr (detail::is_encoding<T>)
      part.for_each([&](const auto& component) { append(component); });
    else
      append_component<T>(detail::shared(T(part)));
  }
  template <class C>
  void append_component(const detail::SharedAny& component) {
    static_assert(detail::members_are_answers<C>);
    detail::AnyComponent any = detail::any_component<C>(component);
    if constexpr (AskedInAttention<C>) {
      any.floats = &detail::score_loops<prepared_t<C>, float>;
      any.doubles = &detail::score_loops<prepared_t<C>, double>;
      any.is_map = ScoreMap<prepared_t<C>>;
      if constexpr (detail::SaysDifferentiable<prepared_t<C>>) {
        any.derivative_floats = &detail::derivative<prepared_t<C>, float>;
        any.derivative_doubles = &detail::derivative<prepared_t<C>, double>;
      }
    }
    components_.push_back(std::move(any));
  }

  detail::SharedAny written_;
  std::vector<detail::AnyComponent> components_;
};

template <class T>
  requires(detail::ComponentOrEncoding<T> || std::same_as<T, AnyEncoding>)
[[nodiscard]] AnyEncoding operator|(AnyEncoding left, T right) {
  left |= right;
  return left;
}
template <detail::ComponentOrEncoding T>
[[nodiscard]] AnyEncoding operator|(T left, const AnyEncoding& right) {
  AnyEncoding all(left);
  all |= right;
  return all;
}

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_DEFINITION)
#include <posenc/bind/any_encoding_definitions.hpp>
#endif
