// SPDX-License-Identifier: MIT
//
// How an encoding of any types is checked and bound; see any.hpp.
#pragma once

#include <posenc/bind/any.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

POSENC_DETAIL_DEFINITION BoundComponents::BoundComponents(const AnyEncoding& encoding,
                                                          const BindOptions& options)
    : shared_(Shared<Components>::make(encoding, options)) {}
POSENC_DETAIL_DEFINITION BoundComponents::Components::Components(const AnyEncoding& given,
                                                                 const BindOptions& options)
    : encoding(given), answers(answer(options)) {}

POSENC_DETAIL_DEFINITION Answers BoundComponents::Components::answer(const BindOptions& options) {
  const std::vector<AnyComponent>& components = encoding.components();
  std::vector<Described> described(components.size());
  std::size_t asked = 0;
  for (std::size_t i = 0; i < components.size(); ++i) {
    described[i] = {components[i].self.get(), components[i].describe};
    asked += components[i].prepare ? 1 : 0;
  }
  Problems problems;
  Resolved resolved = resolve(problems, described, options);
  prepared = std::vector<SharedAny>(asked);
  std::vector<Stage> stages(asked);
  asked = 0;
  for (const AnyComponent& c : components) {
    if (!c.prepare) continue;
    prepared[asked] = c.prepare(c.self, resolved.shape);
    stages[asked] = {prepared[asked].get(), c.ask};
    ++asked;
  }
  Answers all(std::move(described), std::move(resolved), options);
  all.ask(std::move(stages));
  return all;
}

POSENC_DETAIL_DEFINITION AnyLoops::AnyLoops(const std::vector<AnyComponent>& components,
                                            std::size_t stages)
    : floats(stages), doubles(stages), derivative_floats(stages), derivative_doubles(stages) {
  std::size_t stage = 0;
  for (const AnyComponent& c : components) {
    if (!c.prepare) continue;
    floats[stage] = c.floats;
    doubles[stage] = c.doubles;
    derivative_floats[stage] = c.derivative_floats;
    derivative_doubles[stage] = c.derivative_doubles;
    undifferentiable += c.is_map && !c.derivative_floats;
    ++stage;
  }
}

}  // namespace detail

POSENC_DETAIL_DEFINITION AnyBound::Bound(const AnyEncoding& encoding, const BindOptions& options)
    : bound_(composed(encoding), options),
      loops_(detail::Shared<detail::AnyLoops>::make(encoding.components(),
                                                    answers().asked().size())) {}

POSENC_DETAIL_DEFINITION void AnyBound::check_differentiable() const {
  Problems problems;
  problems.require(
      loops_->undifferentiable == 0, loops_->undifferentiable,
      " score maps of this encoding have no derivative: in an AnyEncoding, a score map "
      "says `static constexpr bool differentiable = true`.");
  problems.raise_if_any("posenc::attention_backward");
}

POSENC_DETAIL_DEFINITION void AnyBound::refuse_context() {
  throw Error("posenc", {"positions by context (CoPE) depend on all keys behind one: attention and "
                         "decode know them, and of gradients reference_attention_backward."});
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
