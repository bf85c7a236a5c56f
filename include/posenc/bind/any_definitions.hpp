// SPDX-License-Identifier: MIT
//
// How an encoding of any types is checked and bound; see any.hpp.
#pragma once

#include <posenc/bind/any.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

POSENC_DETAIL_DEFINITION std::shared_ptr<const void> shared(std::unique_ptr<const Held> held,
                                                            const void* value) {
  return {std::shared_ptr<const Held>(std::move(held)), value};
}

POSENC_DETAIL_DEFINITION std::vector<AnyComponent> joined(const std::shared_ptr<const void>& owner,
                                                          std::span<const Joining> components) {
  std::vector<AnyComponent> all(components.size());
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i] = components[i].make({owner, components[i].component});
  return all;
}

}  // namespace detail

POSENC_DETAIL_DEFINITION AnyEncoding::AnyEncoding(const AnyEncoding&) = default;
POSENC_DETAIL_DEFINITION AnyEncoding& AnyEncoding::operator=(const AnyEncoding&) = default;
POSENC_DETAIL_DEFINITION AnyEncoding::~AnyEncoding() = default;

POSENC_DETAIL_DEFINITION AnyBound::Bound(const AnyEncoding& encoding, const BindOptions& options)
    : encoding_(encoding), answers_(answer(options)) {}
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

POSENC_DETAIL_DEFINITION void AnyBound::check_composition(Problems& problems,
                                                          const detail::EncodingFacts& facts) {
  problems.require(facts.rotary_bases <= 1, "an encoding has one rotary base, but this one has ",
                   facts.rotary_bases,
                   ": keep one, and change its frequencies with ABF, PI, NTK, YaRN, ...");
  problems.require(facts.distance_maps <= 1, "an encoding has one distance map, but this one has ",
                   facts.distance_maps, ": each rewrites the true distance, so keep one.");
  problems.require(facts.score_scales <= 1, facts.score_scales,
                   " components of this encoding set the softmax scale (such as two T5Bias): keep "
                   "one, or give BindOptions::scale and make the other a plain bias.");
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
}

POSENC_DETAIL_DEFINITION detail::Answers AnyBound::answer(const BindOptions& options) {
  std::vector<detail::Described> described;
  detail::EncodingFacts facts;
  for (const detail::AnyComponent& c : encoding_.components()) {
    described.push_back({c.self.get(), c.describe});
    facts.add(c.describe->facts);
  }
  Problems problems;
  check_composition(problems, facts);
  problems.raise_if_any("posenc::bind");
  detail::Resolved resolved = detail::resolve(problems, described, options);
  std::vector<detail::Stage> stages;
  for (const detail::AnyComponent& c : encoding_.components()) {
    if (!c.prepare) continue;
    prepared_.push_back(c.prepare(c.self, resolved.shape));
    stages.push_back({prepared_.back().get(), c.ask});
    floats_.push_back(c.floats);
    doubles_.push_back(c.doubles);
    derivative_floats_.push_back(c.derivative_floats);
    derivative_doubles_.push_back(c.derivative_doubles);
    undifferentiable_ += c.is_map && !c.derivative_floats;
  }
  detail::Answers answers(std::move(described), std::move(resolved), options);
  answers.ask(std::move(stages));
  return answers;
}

POSENC_NAMESPACE_END
