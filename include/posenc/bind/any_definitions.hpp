// SPDX-License-Identifier: MIT
//
// How an encoding of any types is checked and bound; see any.hpp.
#pragma once

#include <posenc/bind/any.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

POSENC_DETAIL_DEFINITION BoundComponents::BoundComponents(const AnyEncoding& encoding,
                                                          const BindOptions& options)
    : encoding_(encoding), answers_(answer(options)) {}
POSENC_DETAIL_DEFINITION BoundComponents::BoundComponents(const BoundComponents&) = default;
POSENC_DETAIL_DEFINITION BoundComponents& BoundComponents::operator=(const BoundComponents&) =
    default;
POSENC_DETAIL_DEFINITION BoundComponents::~BoundComponents() = default;

POSENC_DETAIL_DEFINITION Answers BoundComponents::answer(const BindOptions& options) {
  const std::vector<AnyComponent>& components = encoding_.components();
  std::vector<Described> described(components.size());
  std::size_t asked = 0;
  for (std::size_t i = 0; i < components.size(); ++i) {
    described[i] = {components[i].self.get(), components[i].describe};
    asked += components[i].prepare ? 1 : 0;
  }
  Problems problems;
  Resolved resolved = resolve(problems, described, options);
  prepared_ = std::vector<SharedAny>(asked);
  std::vector<Stage> stages(asked);
  asked = 0;
  for (const AnyComponent& c : components) {
    if (!c.prepare) continue;
    prepared_[asked] = c.prepare(c.self, resolved.shape);
    stages[asked] = {prepared_[asked].get(), c.ask};
    ++asked;
  }
  Answers answers(std::move(described), std::move(resolved), options);
  answers.ask(std::move(stages));
  return answers;
}

}  // namespace detail

POSENC_DETAIL_DEFINITION AnyBound::Bound(const AnyEncoding& encoding, const BindOptions& options)
    : bound_(composed(encoding), options) {
  for (const detail::AnyComponent& c : encoding.components()) {
    if (!c.prepare) continue;
    floats_.push_back(c.floats);
    doubles_.push_back(c.doubles);
    derivative_floats_.push_back(c.derivative_floats);
    derivative_doubles_.push_back(c.derivative_doubles);
    undifferentiable_ += c.is_map && !c.derivative_floats;
  }
}
POSENC_DETAIL_DEFINITION AnyBound::Bound(const Bound&) = default;
POSENC_DETAIL_DEFINITION AnyBound& AnyBound::operator=(const Bound&) = default;
POSENC_DETAIL_DEFINITION AnyBound::~Bound() = default;

POSENC_DETAIL_DEFINITION void AnyBound::check_differentiable() const {
  Problems problems;
  problems.require(
      undifferentiable_ == 0, undifferentiable_,
      " score maps of this encoding have no derivative: in an AnyEncoding, a score map "
      "says `static constexpr bool differentiable = true`.");
  problems.raise_if_any("posenc::attention_backward");
}

POSENC_DETAIL_DEFINITION void AnyBound::refuse_context() {
  throw Error("posenc", {"positions by context (CoPE) depend on all keys behind one, and the "
                         "kernels meet keys tile by "
                         "tile: reference_attention and reference_attention_backward know them, "
                         "dense and in double."});
}

POSENC_DETAIL_DEFINITION const AnyEncoding& AnyBound::composed(const AnyEncoding& encoding) {
  detail::EncodingFacts facts;
  for (const detail::AnyComponent& c : encoding.components()) facts.add(c.describe->facts);
  Problems problems;
  problems.require(facts.rotary_bases <= 1, "an encoding has one rotary base, but this one has ",
                   facts.rotary_bases,
                   ": keep one, and change its frequencies with ABF, PI, NTK, YaRN, ...");
  problems.require(facts.distance_maps <= 1, "an encoding has one distance map, but this one has ",
                   facts.distance_maps, ": each rewrites the true distance, so keep one.");
  problems.require(facts.score_scales <= 1, facts.score_scales,
                   " components of this encoding set the softmax scale (such as two T5Bias): keep "
                   "one, or give BindOptions::scale and make the other a plain bias.");
  problems.require(facts.context_positions <= 1, facts.context_positions,
                   " components of this encoding position keys by context (such as two CoPE): keep "
                   "one.");
  const auto needs_base = [&](bool asked, const char* what) {
    problems.require(!asked || facts.rotary_bases > 0, "this encoding ", what,
                     " but has no rotary base: begin it with RoPE<HalfSplit>{...} or "
                     "RoPE<Interleaved>{...}.");
  };
  needs_base(facts.transforms_frequencies, "changes rotary frequencies (PI, NTK, YaRN, ...)");
  needs_base(facts.distance_maps > 0, "rewrites rotary distances (ReRoPE, LeakyReRoPE, ...)");
  needs_base(facts.rotates_values, "rotates values (RotateValues)");
  problems.require(!facts.rotates_values || facts.distance_maps == 0,
                   "RotateValues cannot be combined with a distance map (ReRoPE, LeakyReRoPE, "
                   "...): a value would have to be rotated differently for every query.");
  problems.raise_if_any("posenc::bind");
  return encoding;
}

POSENC_NAMESPACE_END
