// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/posenc.hpp>

namespace attention_test {

namespace {

template <class T>
double norm(const TensorView<const T>& x, Index token, Index head) {
  double sum = 0;
  for (Index d = 0; d < x.width; ++d)
    sum += static_cast<double>(x(token, head, d)) * static_cast<double>(x(token, head, d));
  return std::sqrt(sum);
}

template <class T>
double greatest(const TensorView<const T>& x, Index token, Index head) {
  double most = 0;
  for (Index d = 0; d < x.width; ++d)
    most = std::max(most, std::abs(static_cast<double>(x(token, head, d))));
  return most;
}

/// Sum of the magnitudes of all biases and of the sink, and the number of score stages.
std::pair<double, double> biases(const detail::Answers& answers, const Score& at) {
  double magnitude = 0, stages = 0;
  for (const auto& [self, ask] : answers.asked()) {
    double b = 0;
    if (ask->change) {
      b = ask->change(self, 0, at);
      stages += 1;
    }
    if (ask->sink_logit) b = ask->sink_logit(self, at.head);
    if (std::isfinite(b)) magnitude += std::abs(b);
  }
  return {magnitude, stages};
}

/// The window of a map of distances, if it is one of these types and has one.
template <class... Maps>
double window_of(const detail::MapOfDistances& map) {
  double window = 0;
  const auto ask = [&]<class M>(std::type_identity<M>) {
    if constexpr (requires(const M& m) { m.window; })
      if (map.ask == &detail::map_questions<M>)
        window = static_cast<double>(static_cast<const M*>(map.self)->window);
  };
  (ask(std::type_identity<Maps>{}), ...);
  return window;
}

/// P of the head of oracle.hpp.
template <class T>
double reach(const Arguments<T>& call, const detail::MapOfDistances& map) {
  double most = 0;
  bool negative = false;
  for (Index r = 0; r < call.q.tokens; ++r)
    for (Index c = 0; c < call.k.tokens; ++c) {
      const Score at = call.score(r, c, 0);
      const double distance = map.distance(at.query, at.key);
      most = std::max({most, std::abs(static_cast<double>(at.query)),
                       std::abs(static_cast<double>(at.key)), std::abs(distance)});
      negative = negative || at.query < 0 || at.key < 0 || distance < 0;
    }
  return most + (negative ? 0x1p14 : 0) +
         window_of<ReRoPE, LeakyReRoPE, SelfExtend, DualChunk, StreamingLLM, LMInfinite>(map);
}

}  // namespace

template <class T>
std::vector<RowBound> error_bounds(const Arguments<T>& call, const detail::Answers& answers,
                                   const Rotary& rotary) {
  const double u = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;
  const auto d = static_cast<double>(call.q.width);

  double angle = 0, amplitude = 1;
  if (answers.rotates()) {
    const RotaryState& state = rotary.state;
    const double w = state.inv_freq.size() == 0 ? 0 : state.inv_freq.maxCoeff();
    angle = (sizeof(T) == sizeof(float) ? 1e-7 : 0) +
            0x1p-53 * (8 * reach(call, answers.map()) * w + 16);
    amplitude = state.attention_factor * state.attention_factor;
  }
  const bool rotates_values = answers.facts().rotates_values;

  std::vector<RowBound> rows;
  const Index group = call.q.heads / call.k.heads;
  for (Index r = 0; r < call.q.tokens; ++r)
    for (Index h = 0; h < call.q.heads; ++h) {
      double dot = 0, magnitude = 0, stages = 0, value = 0, n = 0;
      for (Index c = 0; c < call.k.tokens; ++c) {
        const Score at = call.score(r, c, h);
        if (!answers.visible(at)) continue;
        const double score =
            std::abs(answers.scale(call.q.width, rotary) * answers.temperature(at.query)) *
            std::max(1.0, amplitude) * norm(call.q, r, h) * norm(call.k, c, h / group);
        const auto [bias, count] = biases(answers, at);
        dot = std::max(dot, score);
        magnitude = std::max(magnitude, score + bias);
        value = std::max(value, greatest(call.v, c, h / group));
        stages = count;
        n += 1;
      }
      const double e_dot = dot * ((d + 18) * u + 3 * angle);
      const double e_weight = e_dot + (10 * stages + 8) * u * magnitude + 4 * u + 4 * n * u;
      const double e_row = 1.1 * (e_weight + (n + 4) * u);
      RowBound row{.out = 2 * value * e_row, .lse = e_row + 2 * u * (magnitude + std::log(n + 1))};
      if (rotates_values) row.out = std::sqrt(2) * (row.out + 2 * value * (1.5 * angle + 9 * u));
      row.out = std::min(row.out, (rotates_values ? 3 : 2) * value);
      rows.push_back(row);
    }
  return rows;
}

template std::vector<RowBound> error_bounds<float>(const Arguments<float>&, const detail::Answers&,
                                                   const Rotary&);
template std::vector<RowBound> error_bounds<double>(const Arguments<double>&,
                                                    const detail::Answers&, const Rotary&);

}  // namespace attention_test
