// SPDX-License-Identifier: MIT
//
// The gradient of a selective scan by one thread: for each 16 channels a pass forward, which keeps the states at the
// beginnings of chunks of 16 tokens, and one backward through the chunks; see scan_backward.hpp.
#pragma once

#include <posenc/mixers/scan_gradients.hpp>
#include <posenc/mixers/selective_scan_definitions.hpp>

#include <algorithm>
#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// What all workers of a call share beside the scan's own.
struct ScanBackwardCall {
  static constexpr Index size = mixers::SelectiveScan::block, chunk = 16, most_groups = 8;

  ScanCall forward;  ///< its state is the gradient's
  const mixers::State& before;
  Rows<float> d_out;
  OutRows<float> u, dt, b, c, z;
  float* shared = nullptr;  ///< [group][token][2][state row]: dB and dC
  double* learned =
      nullptr;  ///< [sequence][channel of whole blocks][d_state + 2]: of A, dt_bias and D

  ScanBackwardCall(const mixers::ScanInputs& in, const mixers::Operand& d_out_,
                   const mixers::State& before_, mixers::State& d_state,
                   const mixers::ScanGradients& to, const mixers::SelectiveScan& of,
                   std::span<const Index> slots)
      : forward(in, {}, of, d_state, slots), before(before_), d_out(d_out_.rows(level_index())),
        u(rows(to.u)), dt(rows(to.dt)), b(rows(to.B)), c(rows(to.C)), z(rows(to.z)) {}

  /// Groups of blocks whose sums are apart, and floats of a row of sums over states.
  static Index groups(const mixers::SelectiveScan& of) {
    return std::min(of.blocks(), most_groups);
  }
  static Index row(const mixers::SelectiveScan& of) { return round_up(of.d_state(), 16); }
  [[nodiscard]] float* sums(Index group, Index token) const {
    return shared + (group * forward.u.tokens + token) * 2 * row(forward.of);
  }
  [[nodiscard]] double* learned_of(Index sequence, Index channel) const {
    return learned + (sequence * forward.of.blocks() * size + channel) * (forward.of.d_state() + 2);
  }

 private:
  static OutRows<float> rows(const TensorView<float>& x) {
    return mixers::Result(x).rows(level_index());
  }
};

/// One thread: a sequence, for the blocks of a group.
class ScanBackwardWorker {
 public:
  ScanBackwardWorker(const ScanBackwardCall& call, Index chunks, std::byte* memory)
      : call_(call), of_(call.forward.of), leaves_(call.forward.leaves), arena_(memory),
        at_(of_, chunks, arena_) {}

  static Index bytes(const mixers::SelectiveScan& of, Index chunks) {
    Arena arena(nullptr);
    static_cast<void>(Buffers(of, chunks, arena));
    return arena.used();
  }

  void run(Index sequence, Index first, Index tokens, Index group) {
    const Index groups = ScanBackwardCall::groups(of_), blocks = of_.blocks();
    if (tokens > 0)
      leaves_.fill(tokens * 2 * ScanBackwardCall::row(of_), 0, call_.sums(group, first));
    for (Index block = group * blocks / groups; block < (group + 1) * blocks / groups; ++block) {
      block_ = block, sequence_ = sequence, group_ = group;
      slot_ = call_.forward.slot(sequence);
      keep_states(first, tokens);
      for (Index i = (tokens + chunk - 1) / chunk; i-- > 0;)
        back(first + i * chunk, std::min(chunk, tokens - i * chunk), at_.kept + i * numbers());
    }
  }

 private:
  static constexpr Index size = ScanBackwardCall::size, chunk = ScanBackwardCall::chunk;

  struct Buffers {
    float *u, *dt, *x, *z, *d_out, *dy, *write, *read, *by_input, *by_rate;  ///< [chunk][16]
    float *b, *c;                                                            ///< [chunk][state row]
    float *before, *decays;  ///< [chunk + 1][states][16]
    float* da;               ///< [states][16]
    float* kept;             ///< [chunks][states][16], before each chunk

    Buffers(const mixers::SelectiveScan& of, Index chunks, Arena& arena) {
      for (float** const one : {&u, &dt, &x, &z, &d_out, &dy, &write, &read, &by_input, &by_rate})
        *one = arena.take<float>(chunk, size);
      for (float** const one : {&b, &c}) *one = arena.take<float>(chunk, ScanBackwardCall::row(of));
      Index states = 0;
      if (!multiply(of.d_state(), size * (chunk + 1), states)) states = Index{1} << 62;
      for (float** const one : {&before, &decays}) *one = arena.take<float>(1, states);
      da = arena.take<float>(1, of.d_state() * size);
      kept = arena.take<float>(chunks, of.d_state() * size);
    }
  };

  [[nodiscard]] Index numbers() const { return of_.d_state() * size; }
  [[nodiscard]] Index channel() const { return block_ * size; }
  [[nodiscard]] Index count() const { return std::min(size, of_.channels() - channel()); }
  void load(const Rows<float>& from, Index first, Index tokens, float* to) const {
    load_rows(leaves_, channels_of(from, channel(), count()), first, tokens, 0, to, size);
  }

  /// Delta, Delta u and B of some tokens; u as it is, and x, what Delta is made of.
  void load_tokens(Index first, Index tokens) const {
    load(call_.forward.u, first, tokens, at_.u);
    load(call_.forward.dt, first, tokens, at_.dt);
    for (Index i = 0; i < tokens * size; ++i)
      at_.x[i] = at_.dt[i] + of_.bias()[channel() + i % size];
    leaves_.scan.prepare(tokens, size, of_.softplus(), of_.bias() + channel(),
                         of_.least() + channel(), of_.skip() + channel(), at_.dt, size, at_.u, size,
                         at_.dt, at_.write, at_.dy);
    load_rows(leaves_, call_.forward.b, first, tokens, 0, at_.b, ScanBackwardCall::row(of_));
  }
  void states(Index tokens) const {
    leaves_.gradient.scan_forward(tokens, of_.d_state(), of_.rates(block_), at_.dt, at_.write,
                                  at_.b, ScanBackwardCall::row(of_), at_.before, at_.decays);
  }

  void keep_states(Index first, Index tokens) const {
    std::copy_n(call_.before.matrix(slot_, block_), numbers(), at_.before);
    for (Index done = 0; done < tokens; done += chunk) {
      std::copy_n(at_.before, numbers(), at_.kept + done / chunk * numbers());
      if (done + chunk >= tokens) return;
      load_tokens(first + done, chunk);
      states(chunk);
      std::copy_n(at_.before + chunk * numbers(), numbers(), at_.before);
    }
  }

  void back(Index first, Index tokens, const float* state) const {
    const Index row = ScanBackwardCall::row(of_), n = tokens * size;
    load_tokens(first, tokens);
    load_rows(leaves_, call_.forward.c, first, tokens, 0, at_.c, row);
    load(call_.d_out, first, tokens, at_.d_out);
    const bool gated = call_.forward.z.storage != nullptr;
    if (gated) load(call_.forward.z, first, tokens, at_.z);
    std::copy_n(state, numbers(), at_.before);
    states(tokens);
    if (gated)
      leaves_.scan.gate(tokens, size, at_.d_out, size, at_.z, size, at_.dy, at_.dy, size);
    else
      std::copy_n(at_.d_out, n, at_.dy);
    leaves_.fill(numbers(), 0, at_.da);
    leaves_.gradient.scan_back(tokens, of_.d_state(), of_.rates(block_), at_.dt, at_.write, at_.dy,
                               at_.b, at_.c, row, at_.before, at_.decays,
                               call_.forward.state.matrix(slot_, block_), at_.da,
                               call_.sums(group_, first), call_.sums(group_, first) + row, 2 * row,
                               at_.read, at_.by_input, at_.by_rate);
    for (Index i = 0; i < n; ++i) of_token(i, gated);
    for (Index c = 0; c < count(); ++c) {
      double* const learned = call_.learned_of(sequence_, channel() + c);
      for (Index s = 0; s < of_.d_state(); ++s)
        learned[s] += static_cast<double>(at_.da[s * size + c]);
    }
    const auto store = [&](const OutRows<float>& to, const float* from) {
      const OutRows<float> rows = channels_of(to, channel(), count());
      for (Index t = 0; t < tokens; ++t) rows.store(first + t, 0, from + t * size);
    };
    store(call_.u, at_.by_input), store(call_.dt, at_.by_rate);
    if (gated) store(call_.z, at_.read);
  }

  /// by_input becomes du, by_rate that of dt, read that of z.
  void of_token(Index i, bool gated) const {
    const Index c = channel() + i % size;
    const auto real = [](float x) { return static_cast<double>(x); };
    const double u = real(at_.u[i]), delta = real(at_.dt[i]), dy = real(at_.dy[i]);
    const double skip = real(of_.skip()[c]), by_input = real(at_.by_input[i]);
    const double of_delta = real(at_.by_rate[i]) * 0.6931471805599453 + u * by_input;
    const double x = real(at_.x[i]);
    const double slope = of_.softplus() ? 1 / (1 + std::exp(-x)) : x < real(of_.least()[c]) ? 0 : 1;
    double* const learned = call_.learned_of(sequence_, c) + of_.d_state();
    learned[0] += of_delta * slope, learned[1] += dy * u;
    if (gated) {
      const double z = real(at_.z[i]), open = 1 / (1 + std::exp(-z));
      at_.read[i] = static_cast<float>(real(at_.d_out[i]) * (real(at_.read[i]) + skip * u) * open *
                                       (1 + z * (1 - open)));
    }
    at_.by_input[i] = static_cast<float>(skip * dy + delta * by_input);
    at_.by_rate[i] = static_cast<float>(of_delta * slope);
  }

  const ScanBackwardCall& call_;
  const mixers::SelectiveScan& of_;
  const mixers::Leaves& leaves_;
  Arena arena_;
  Buffers at_;
  Index block_ = 0, group_ = 0, sequence_ = 0, slot_ = 0;
};

}  // namespace detail

POSENC_NAMESPACE_END
