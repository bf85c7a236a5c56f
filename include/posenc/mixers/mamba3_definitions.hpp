// SPDX-License-Identifier: MIT
//
// Parameters and states of Mamba-3, see mamba3.hpp.
#pragma once

#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/mamba3.hpp>
#include <posenc/mixers/mamba3_worker.hpp>

#include <algorithm>
#include <array>

POSENC_NAMESPACE_BEGIN

namespace mixers {

POSENC_DETAIL_MIXERS Mamba3 Mamba3::initial(Index d_model, Index expand, Index headdim,
                                            Index d_state) {
  Mamba3 of{.nheads = headdim > 0 ? expand * d_model / headdim : 0,
            .headdim = headdim,
            .d_state = d_state};
  const auto size = static_cast<std::size_t>(std::max<Index>(of.nheads, 0));
  of.B_bias.assign(size * static_cast<std::size_t>(std::max<Index>(d_state, 0)), 1);
  of.C_bias = of.B_bias;
  of.D.assign(size, 1);
  return of;
}

POSENC_DETAIL_MIXERS void Mamba3::check(Problems& problems) const {
  problems.require(rope_fraction >= 0 && rope_fraction <= 1,
                   "rope_fraction must be within 0 to 1, got ", rope_fraction, ".");
  problems.require(ngroups >= 1 && nheads >= 1 && nheads % ngroups == 0,
                   "the number of heads must be a multiple of that of groups, got ", nheads,
                   " and ", ngroups, ".");
  Index biases = 0;
  const bool fits = multiply(nheads, d_state, biases);
  problems.require(fits && headdim >= 1 && d_state >= 1,
                   "headdim and d_state must be at least 1, got ", headdim, " and ", d_state, ".");
  const auto size = [&](const char* what, const std::vector<float>& values, Index wanted) {
    problems.require(values.empty() || std::ssize(values) == wanted, what, " must have ", wanted,
                     " numbers, got ", values.size(), ".");
    if (!std::ranges::all_of(values, [](float x) { return std::isfinite(x); }))
      problems.add(what, " must be finite.");
  };
  size("B_bias", B_bias, biases), size("C_bias", C_bias, biases), size("D", D, nheads);
}

/// The frame of R: one log decay by token for each head, passed as it is. Heads have keys of their own, since biases and
/// angles are.
struct TrapezoidalFrame {
  static constexpr std::string_view name = Mamba3::name;
  const Mamba3& of;
  void check(Problems& problems) const { of.check(problems); }
  [[nodiscard]] Recurrence recurrence() const {
    return {.shape = {of.nheads, of.nheads, of.d_state, of.headdim}, .decay = Decay::head};
  }
};

POSENC_DETAIL_MIXERS TrapezoidalScan::TrapezoidalScan(const Mamba3& of)
    : of_(of), mixer_(TrapezoidalFrame{of}) {}

POSENC_DETAIL_MIXERS Mamba3State::Mamba3State(const TrapezoidalScan& of, Index sequences)
    : matrices_(of.mixer(), sequences) {
  const Mamba3& its = of.parameters();
  const auto zeros = [](Index n) { return std::vector<float>(static_cast<std::size_t>(n), 0); };
  last_.assign(static_cast<std::size_t>(sequences),
               {zeros(its.nheads * its.d_state), zeros(its.nheads * its.headdim), zeros(its.nheads),
                zeros(its.nheads), AngleSums(its.nheads, its.pairs())});
}

POSENC_DETAIL_MIXERS void Mamba3State::clear(Index sequence) {
  matrices_.clear(sequence);
  Last& of = last(sequence);
  for (std::vector<float>* numbers : {&of.k, &of.x, &of.gamma, &of.log_alpha})
    std::ranges::fill(*numbers, 0.0F);
  of.theta.clear();
}

POSENC_DETAIL_MIXERS void Mamba3State::copy(const Mamba3State& from, Index from_sequence,
                                            Index to_sequence) {
  matrices_.copy(from.matrices_, from_sequence, to_sequence);
  last(to_sequence) = from.last_[static_cast<std::size_t>(from_sequence)];
}

POSENC_DETAIL_MIXERS void Mamba3State::check_parts(const char* who, Index sequence,
                                                   const Parts& parts) const {
  static_cast<void>(matrices_.tokens(sequence));  // throws where there is none
  const Shape& shape = matrices_.shape();
  const Index pairs = last_[static_cast<std::size_t>(sequence)].theta.pairs();
  Problems problems;
  const auto check = [&](const char* name, const auto& view, Index tokens, Index width) {
    posenc::detail::check_view(problems, name, view);
    problems.require(view.tokens == tokens && view.heads == shape.heads && view.width == width,
                     name, " is ", posenc::detail::ShapeText(view), " but must be [", tokens, ", ",
                     shape.heads, ", ", width, "].");
  };
  check("S", parts.S, shape.key_dim, shape.value_dim);
  check("k", parts.k, 1, shape.key_dim);
  check("x", parts.x, 1, shape.value_dim);
  check("theta", parts.theta, 1, pairs);
  problems.raise_if_any(who);
}

POSENC_DETAIL_MIXERS void Mamba3State::write(Index sequence, const Parts& to) const {
  check_parts("posenc::mixers::Mamba3State::write", sequence, to);
  const auto& [heads, key_heads, keys, values] = matrices_.shape();
  const Last& of = last_[static_cast<std::size_t>(sequence)];
  const TensorView<const float> late = matrices_.matrices(sequence);
  for (Index h = 0; h < heads; ++h) {
    const auto at = static_cast<std::size_t>(h);
    const float alpha = std::exp(of.log_alpha[at]);
    for (Index j = 0; j < values; ++j)
      to.x(0, h, j) = of.x[static_cast<std::size_t>(h * values + j)];
    for (Index n = 0; n < keys; ++n) {
      to.k(0, h, n) = of.k[static_cast<std::size_t>(h * keys + n)];
      for (Index j = 0; j < values; ++j)
        to.S(n, h, j) = alpha * late(n, h, j) + of.gamma[at] * to.k(0, h, n) * to.x(0, h, j);
    }
    for (Index i = 0; i < of.theta.pairs(); ++i) to.theta(0, h, i) = of.theta.angle(h, i);
  }
}

POSENC_DETAIL_MIXERS void Mamba3State::read(Index sequence, const Parts& from) {
  check_parts("posenc::mixers::Mamba3State::read", sequence, from);
  const auto& [heads, key_heads, keys, values] = matrices_.shape();
  Last& of = last(sequence);
  for (Index h = 0; h < heads; ++h) {
    // With nothing to decay and nothing of its own to add, R is S.
    of.log_alpha[static_cast<std::size_t>(h)] = of.gamma[static_cast<std::size_t>(h)] = 0;
    for (Index n = 0; n < keys; ++n) {
      of.k[static_cast<std::size_t>(h * keys + n)] = from.k(0, h, n);
      for (Index j = 0; j < values; ++j) matrices_.matrices(sequence)(n, h, j) = from.S(n, h, j);
    }
    for (Index j = 0; j < values; ++j)
      of.x[static_cast<std::size_t>(h * values + j)] = from.x(0, h, j);
    for (Index i = 0; i < of.theta.pairs(); ++i) of.theta.set_angle(h, i, from.theta(0, h, i));
  }
}

POSENC_DETAIL_MIXERS std::size_t workspace_bytes(const TrapezoidalScan& of,
                                                 const AnyExecutor& executor) {
  const Index bytes = posenc::detail::mamba3_workspace(of, executor);
  Problems problems;
  problems.require(bytes >= 0, "the workspace of ", Mamba3::name, " does not fit in memory.");
  problems.raise_if_any("posenc::mixers::workspace_bytes");
  return static_cast<std::size_t>(bytes);
}

POSENC_DETAIL_MIXERS void step(const Mamba3Inputs& in, const Result& out, const TrapezoidalScan& of,
                               Mamba3State& state, const Options& options) {
  Problems problems;
  posenc::detail::check_mamba3_call(problems, in, out, of, state, in.x.tokens(), options);
  problems.raise_if_any("posenc::mixers::step");
  posenc::detail::Mamba3Worker worker(in, out, of, state, options);
  for (Index i = 0; i < in.x.tokens(); ++i) worker.run(i, i, 1);
}

POSENC_DETAIL_MIXERS void chunked(const Mamba3Inputs& in, const Result& out,
                                  const RaggedBatch& batch, const TrapezoidalScan& of,
                                  Mamba3State& state, const Options& options) {
  Problems problems;
  posenc::detail::check_mixer_batch(problems, batch, in.x.tokens());
  posenc::detail::check_mamba3_call(problems, in, out, of, state, batch.sequences(), options);
  problems.raise_if_any("posenc::mixers::chunked");
  posenc::detail::Mamba3Worker worker(in, out, of, state, options);
  for (Index i = 0; i < batch.sequences(); ++i) worker.run(i, batch.start(i), batch.tokens_of(i));
}

POSENC_DETAIL_MIXERS void chunked(const Mamba3Inputs& in, const Result& out,
                                  const TrapezoidalScan& of, Mamba3State& state,
                                  const Options& options) {
  const std::array<Index, 2> starts{0, std::max<Index>(0, in.x.tokens())};
  chunked(in, out, RaggedBatch{.starts = starts}, of, state, options);
}

}  // namespace mixers

POSENC_NAMESPACE_END
