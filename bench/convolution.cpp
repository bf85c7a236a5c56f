// SPDX-License-Identifier: MIT
//
// Long convolutions: 16 channels of float in, filters as long as the sequence.
//
//   convolve/<double or float>/tokens:<n>     inner transforms in double or float, one thread
//     ns             a token and channel
//     of_transforms  times as long as a forward and an inverse transform of each channel alone
//     of_direct      times as fast as the direct form, to 8,192 tokens
//   backward/tokens:<n>                       gradients of input and filters, and times as long as the call
//   lengths/<double or float>                 1,024 to 131,072 tokens: the exponents with which the time of a sequence
//                                             grows in n and in n log n, by least squares of logarithms
//   crossover         the least of 32, 48, 64, 96, ... tokens from which on transforms win, as measured, and the one from
//                     which on they are chosen
//   state/<S4D or S4>/tokens:<n>              64 numbers of state: ns a token and channel of recurrent() and convolved()
//   step/<S4D, S4 or Hyena>                   microseconds for a token of 512 channels; Hyena behind 1,023 others
//   hyena/tokens:<n>                          order 2, 64 channels: ns a token and channel, and the share of convolve()
//   hyena_backward/tokens:<n>                 its gradient, and times as long as the call
#include "support/paired.hpp"

#include <posenc/mixers/convolution.hpp>
#include <posenc/mixers/convolution/fft.hpp>
#include <posenc/schedule/random.hpp>

#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

namespace {

using namespace posenc;
using namespace bench;
using mixers::ConvolutionForm;

template <class T>
std::vector<T> noise(Index n, std::uint64_t seed) {
  SeededRandom random(seed);
  std::vector<T> all(static_cast<std::size_t>(n));
  for (T& x : all) x = static_cast<T>(random.real(-1, 1));
  return all;
}

constexpr double float_tolerance = 1e-4;

/// A convolution, its input and its output.
struct Run {
  Index tokens, channels;
  mixers::LongConvolution by;
  std::vector<float> in, out;
  mixers::ConvolutionScratch scratch{};

  Run(Index n, bool in_float, Index channels_ = 16)
      : tokens(n), channels(channels_), by(noise<double>(n * channels_, 1), channels_,
                                           {.tolerance = in_float ? float_tolerance : 0}),
        in(noise<float>(n * channels_, 2)), out(in) {}

  void operator()(ConvolutionForm form) {
    mixers::convolve(TensorView<const float>(in.data(), tokens, 1, channels),
                     TensorView<float>(out.data(), tokens, 1, channels), by,
                     {.scratch = &scratch, .form = form});
  }
  [[nodiscard]] double ns(double time) const {
    return time * 1e9 / static_cast<double>(tokens * channels);
  }
};

template <class U>
void convolve(benchmark::State& state, Index tokens) {
  Run run(tokens, sizeof(U) == 4);
  const Index n = run.by.length();
  detail::RealFFT<U> fft;
  fft.prepare(n);
  const std::vector<U> x = noise<U>(n, 3);
  std::vector<U> y(x.size()), spectrum(x.size() + 2);
  const auto convolve = [&] { run(ConvolutionForm::transforms); };
  const auto transforms = [&] {
    for (Index c = 0; c < run.channels; ++c) {
      fft.forward(n, x.data(), spectrum.data());
      fft.inverse(n, spectrum.data(), y.data());
    }
  };
  if (tokens <= 8192) {
    const auto [mine, alone, direct] =
        in_turns(state, convolve, transforms, [&] { run(ConvolutionForm::direct); });
    state.counters["ns"] = run.ns(mine);
    state.counters["of_transforms"] = mine / alone;
    state.counters["of_direct"] = direct / mine;
  } else {
    const auto [mine, alone] = in_turns(state, convolve, transforms);
    state.counters["ns"] = run.ns(mine);
    state.counters["of_transforms"] = mine / alone;
  }
}

void backward(benchmark::State& state, Index tokens) {
  Run run(tokens, false);
  const std::vector<float> d_out = noise<float>(tokens * run.channels, 4);
  std::vector<float> d_in = d_out;
  std::vector<double> filters(d_out.size());
  const auto view = [&](const std::vector<float>& x) {
    return TensorView<const float>(x.data(), tokens, 1, run.channels);
  };
  const auto [mine, call] = in_turns(
      state,
      [&] {
        mixers::backward(view(run.in), view(d_out),
                         {.in = TensorView<float>(d_in.data(), tokens, 1, run.channels),
                          .filters = filters},
                         run.by, {.scratch = &run.scratch});
      },
      [&] { run(ConvolutionForm::automatic); });
  state.counters["ns"] = run.ns(mine);
  state.counters["of_call"] = mine / call;
}

void lengths(benchmark::State& state, bool in_float) {
  std::vector<double> n, n_log_n, times;
  while (state.KeepRunning()) {
    for (Index tokens = 1024; tokens <= 131'072; tokens *= 2) {
      Run run(tokens, in_float);
      std::vector<double> some;
      for (double spent = 0; some.size() < 3 || (spent < 0.3 && some.size() < 25);
           spent += some.back())
        some.push_back(seconds(1, [&] { run(ConvolutionForm::transforms); }));
      n.push_back(static_cast<double>(tokens));
      n_log_n.push_back(n.back() * std::log2(n.back()));
      times.push_back(median(some));
      state.counters["ns_" + std::to_string(tokens)] = run.ns(times.back());
    }
    state.SetIterationTime(times.back());
  }
  state.counters["exponent_n"] = exponent(n, times);
  state.counters["exponent_n_log_n"] = exponent(n_log_n, times);
}

void crossover(benchmark::State& state, bool in_float) {
  Index measured = 0, chosen = 0;
  while (state.KeepRunning()) {
    for (const Index base : {32, 48})
      for (Index tokens = base; tokens <= 4096; tokens *= 2) {
        Run run(tokens, in_float);
        const auto median_of = [&](ConvolutionForm form) {
          std::vector<double> some;
          for (int i = 0; i < 15; ++i) some.push_back(seconds(8, [&] { run(form); }));
          return median(some);
        };
        if (median_of(ConvolutionForm::transforms) > median_of(ConvolutionForm::direct))
          measured = std::max(measured, tokens);
        if (mixers::convolution_form(run.by, tokens, tokens) == ConvolutionForm::direct)
          chosen = std::max(chosen, tokens);
      }
    state.SetIterationTime(1);
  }
  state.counters["measured_above"] = static_cast<double>(measured);
  state.counters["chosen_above"] = static_cast<double>(chosen);
}

template <class M>
void state_space(benchmark::State& state, Index tokens) {
  constexpr Index channels = 16;
  const M of = M::initial(channels, 1);
  const mixers::StateSpace by(of);
  const mixers::LongConvolution kernel(of.kernel(tokens), channels);
  mixers::StateSpaceState memory(by);
  Run run(tokens, false);
  const TensorView<const float> in(run.in.data(), tokens, 1, channels);
  const TensorView<float> out(run.out.data(), tokens, 1, channels);
  const auto [recurrent, convolved, convolution] = in_turns(
      state, [&] { mixers::recurrent(in, out, by, memory); },
      [&] { mixers::convolved(in, out, by, kernel, memory, 0, {.scratch = &run.scratch}); },
      [&] { run(ConvolutionForm::automatic); });
  state.counters["ns_recurrent"] = run.ns(recurrent);
  state.counters["ns_convolved"] = run.ns(convolved);
  state.counters["ns_convolution"] = run.ns(convolution);
}

template <class M>
void state_space_step(benchmark::State& state) {
  constexpr Index channels = 512;
  const mixers::StateSpace by(M::initial(channels, 1));
  mixers::StateSpaceState memory(by);
  std::vector<float> in = noise<float>(channels, 1), out = in;
  const auto [time] = in_turns(state, [&] {
    mixers::step(TensorView<const float>(in.data(), 1, 1, channels),
                 TensorView<float>(out.data(), 1, 1, channels), by, memory);
  });
  state.counters["us"] = time * 1e6;
  state.counters["bytes"] = static_cast<double>(memory.bytes());
}

/// A layer and a sequence in it.
struct HyenaRun {
  Index tokens, width;
  mixers::HyenaOperator by;
  mixers::HyenaState state;
  std::vector<float> in, out;
  mixers::ConvolutionScratch scratch{};

  HyenaRun(Index n, Index width_)
      : tokens(n), width(width_), by(mixers::Hyena::initial(width_, n, 1)), state(by),
        in(noise<float>(n * 3 * width_, 2)), out(static_cast<std::size_t>(n * width_)) {}

  void operator()(Index first, Index count) {
    state.set_tokens(first);
    mixers::hyena(TensorView<const float>(in.data() + first * 3 * width, count, 3, width),
                  TensorView<float>(out.data() + first * width, count, 1, width), by, state,
                  {.scratch = &scratch});
  }
};

void hyena(benchmark::State& state, Index tokens) {
  HyenaRun run(tokens, 64);
  std::vector<float> v = run.out;
  const auto [all, convolution] = in_turns(
      state, [&] { run(0, tokens); },
      [&] {
        mixers::convolve(TensorView<const float>(run.state.kept(0), tokens, 1, run.width),
                         TensorView<float>(v.data(), tokens, 1, run.width), run.by.filter(0),
                         {.scratch = &run.scratch});
      });
  state.counters["ns"] = all * 1e9 / static_cast<double>(tokens * run.width);
  state.counters["of_it_convolve"] = convolution / all;
}

void hyena_backward(benchmark::State& state, Index tokens) {
  HyenaRun run(tokens, 64);
  const std::vector<float> d_out = noise<float>(tokens * run.width, 3);
  std::vector<float> d_in = run.in;
  mixers::HyenaGradients learned(run.by);
  const auto [mine, call] = in_turns(
      state,
      [&] {
        mixers::backward(TensorView<const float>(run.in.data(), tokens, 3, run.width),
                         TensorView<const float>(d_out.data(), tokens, 1, run.width),
                         {.in = TensorView<float>(d_in.data(), tokens, 3, run.width),
                          .learned = &learned},
                         run.by, {.scratch = &run.scratch});
      },
      [&] { run(0, tokens); });
  state.counters["ns"] = mine * 1e9 / static_cast<double>(tokens * run.width);
  state.counters["of_call"] = mine / call;
}

void hyena_step(benchmark::State& state) {
  HyenaRun run(1024, 512);
  run(0, 1024);
  const auto [time] = in_turns(state, [&] { run(1023, 1); });
  state.counters["us"] = time * 1e6;
  state.counters["bytes"] = static_cast<double>(run.state.bytes());
}

const bool registered = [] {
  const auto add = [](const std::string& name, const auto& run) {
    return benchmark::RegisterBenchmark(name.c_str(), run)->UseManualTime();
  };
  for (const Index n : {256, 1024, 4096, 16'384, 131'072}) {
    const std::string tokens = "/tokens:" + std::to_string(n);
    add("convolve/double" + tokens, [=](benchmark::State& state) { convolve<double>(state, n); });
    add("convolve/float" + tokens, [=](benchmark::State& state) { convolve<float>(state, n); });
  }
  for (const bool in_float : {false, true}) {
    const std::string of = in_float ? "/float" : "/double";
    add("lengths" + of, [=](benchmark::State& state) { lengths(state, in_float); })->Iterations(1);
    add("crossover" + of, [=](benchmark::State& state) {
      crossover(state, in_float);
    })->Iterations(1);
  }
  for (const Index n : {1024, 16'384, 131'072}) {
    const std::string tokens = "/tokens:" + std::to_string(n);
    add("state/S4D" + tokens, [=](benchmark::State& state) { state_space<mixers::S4D>(state, n); });
    add("state/S4" + tokens, [=](benchmark::State& state) { state_space<mixers::S4>(state, n); });
    if (n == 131'072) continue;
    add("backward" + tokens, [=](benchmark::State& state) { backward(state, n); });
    add("hyena" + tokens, [=](benchmark::State& state) { hyena(state, n); });
    add("hyena_backward" + tokens, [=](benchmark::State& state) { hyena_backward(state, n); });
  }
  add("step/S4D", [](benchmark::State& state) { state_space_step<mixers::S4D>(state); });
  add("step/S4", [](benchmark::State& state) { state_space_step<mixers::S4>(state); });
  add("step/Hyena", [](benchmark::State& state) { hyena_step(state); });
  return true;
}();

}  // namespace
