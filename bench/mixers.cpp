// SPDX-License-Identifier: MIT
//
// Sequence mixers: prefill in chunks and a token at a time, beside Eigen's products of the same shapes, the token loop
// that other programs run, a copy of the state, and attention. All in float, 8 heads of a layer of 512 unless the
// mixer's own shape is another.
//
//   chunked/<mixer>/keys:<n>/values:<n>/threads:<n>     2,048 tokens of prefill
//     GFLOP/s      operations of a token and head, in chunks of Q = 64, keys of N and values of P channels:
//                  R W Q (N + P) + 2 (R + W) N P, where R rows read and W are written for each token: R = W = 1, with the
//                  delta rule R = 2 and Q = 32, with a removal vector W = 2 as well
//     of_eigen     of the rate of Eigen's four products of a chunk, compiled for this machine
//     of_step, of_loop, of_plain_loop    times as fast as step(), as the token loop at -O3 for this machine, and as
//                  the token loop as this program is compiled; that of a delta rule reads the state first
//   backward/<mixer>/.../threads:<n> the gradient of that prefill
//     of_forward   times as long as the prefill;  of_products  of the rate at which the prefill does its products, when
//                  2.5 times as many are counted (ten products of a chunk, of which half of five is masked);
//                  delta rules go back token by token, without products
//   step/<mixer>/.../threads:<n>     a token
//     of_copy      of the rate at which the state is copied
//     bytes        of the state
//   wkv/channels:<n>/threads:<n>     512 tokens of RWKV-4's prefill; ns of a token and channel. The
//                  loops beside it have one thread.
//   lengths/<what>/threads:<n>       512 to 131,072 tokens: ns_<length> is the time of a token and head, the exponent
//                  that of the time of a sequence in its length, by least squares of logarithms. Attention: to 32,768.
//
//   bench_mixers --benchmark_filter=chunked
#include "mixers/eigen.hpp"
#include "mixers/token_loop.hpp"
#include "support/limits.hpp"
#include "support/paired.hpp"
#include "support/team.hpp"

#include <posenc/attention/decode.hpp>
#include <posenc/mixers/gallery.hpp>
#include <posenc/posenc.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

namespace {

using namespace posenc;
using namespace bench;

std::vector<float> noise(Index n, double low, double high, std::uint64_t seed) {
  SeededRandom random(seed);
  std::vector<float> all(static_cast<std::size_t>(n));
  for (float& x : all) x = static_cast<float>(random.real(low, high));
  return all;
}

/// A mixer and the inputs of so many tokens.
struct Layer {
  mixers::Mixer mixer;
  Index tokens;
  std::vector<float> q, k, v, decay, beta, removal, out;

  template <class M>
  Layer(const M& of, double low, double high, Index n) : mixer(of), tokens(n) {
    const mixers::Shape& s = mixer.shape();
    q = noise(n * s.key_heads * s.key_dim, 0.125, 1, 1),
    k = noise(n * s.key_heads * s.key_dim, 0.125, 1, 2);
    v = noise(n * s.heads * s.value_dim, -1, 1, 3), out = v;
    decay = noise(n * s.heads * std::max<Index>(mixer.recurrence().decay_width(), 1), low, high, 4);
    const bool removes = mixer.recurrence().removal;
    beta = noise(n * s.heads * (removes ? s.key_dim : 1), 0, 1, 5);
    removal = k;
    if (mixer.recurrence().delta)  // what erases is of length 1
      for (auto row = removal.begin(); row != removal.end(); row += s.key_dim) {
        const float length = std::sqrt(std::inner_product(row, row + s.key_dim, row, 0.0F));
        std::for_each(row, row + s.key_dim, [=](float& x) { x /= length; });
      }
    if (!removes) k = removal;
  }
  [[nodiscard]] mixers::Inputs inputs(Index first, Index count) const {
    const mixers::Shape& s = mixer.shape();
    const auto view = [&](const std::vector<float>& x, Index heads, Index width) {
      return TensorView<const float>(x.data() + first * heads * width, count, heads, width);
    };
    mixers::Inputs in{.q = view(q, s.key_heads, s.key_dim),
                      .k = view(k, s.key_heads, s.key_dim),
                      .v = view(v, s.heads, s.value_dim)};
    if (mixer.recurrence().decays_by_token())
      in.decay = view(decay, s.heads, mixer.recurrence().decay_width());
    const bool removes = mixer.recurrence().removal;
    if (mixer.recurrence().delta) in.beta = view(beta, s.heads, removes ? s.key_dim : 1);
    if (removes) in.removal = view(removal, s.key_heads, s.key_dim);
    return in;
  }
  [[nodiscard]] TensorView<float> outputs(Index first, Index count) {
    const mixers::Shape& s = mixer.shape();
    return {out.data() + first * s.heads * s.value_dim, count, s.heads, s.value_dim};
  }
};
using MakeLayer = std::function<Layer(Index tokens)>;

/// Memory that a call is given.
struct Scratch {
  explicit Scratch(std::size_t bytes) : memory(bytes + 64) {
    void* at = memory.data();
    std::size_t room = memory.size();
    aligned = {static_cast<std::byte*>(std::align(64, bytes, at, room)), bytes};
  }
  std::vector<std::byte> memory;
  std::span<std::byte> aligned;
};

void chunked(benchmark::State& state, const MakeLayer& make, int threads) {
  constexpr Index tokens = 2048, chunk = 64, few = 256;
  Layer layer = make(tokens);
  Team team(threads);
  const AnyExecutor executor = team.executor();
  const auto& [heads, key_heads, N, P] = layer.mixer.shape();
  const Scratch scratch(mixers::workspace_bytes(layer.mixer, executor));
  const mixers::Options options{.executor = executor, .workspace = scratch.aligned};
  mixers::State prefilled(layer.mixer), stepped(layer.mixer);

  std::vector<float> q = noise(few * heads * N, -1, 1, 5), k = q,
                     v = noise(few * heads * P, -1, 1, 6), out = v,
                     decay = noise(few * heads * N, 0.9, 1, 7),
                     s(static_cast<std::size_t>(heads * N * P));
  const mixers::Recurrence& of = layer.mixer.recurrence();
  TokenLoop loop{few,      heads,        N,        P,         q.data(), k.data(),
                 v.data(), decay.data(), s.data(), out.data()};
  const std::vector<float> erased = noise(few * heads * N, 0, 0.01, 8);
  if (of.delta) loop.removal = erased.data(), loop.erased = erased.data();
  const auto heads_of = [&, heads = heads](auto run) {
    team.run(threads, [&](Index i) { run(i * heads / threads, (i + 1) * heads / threads); });
  };
  std::vector<std::vector<float>> w(static_cast<std::size_t>(threads)), o = w, sums = w;
  const auto products = [&, heads = heads, N = N, P = P](Index i) {
    const auto at = static_cast<std::size_t>(i);
    w[at].resize(chunk * chunk), o[at].resize(static_cast<std::size_t>(chunk * P));
    sums[at].assign(static_cast<std::size_t>(N * P), 0);
    const Index chunks = tokens / chunk * heads;
    for (Index c = i * chunks / threads; c < (i + 1) * chunks / threads; ++c)
      eigen_products(chunk, N, P, q.data(), k.data(), v.data(), w[at].data(), o[at].data(),
                     sums[at].data());
  };
  const auto [prefill, eigen, step, native, plain] = in_turns(
      state,
      [&] {
        mixers::chunked(layer.inputs(0, tokens), layer.outputs(0, tokens), layer.mixer, prefilled,
                        options);
      },
      [&] { team.run(threads, products); },
      [&] {
        for (Index t = 0; t < few; ++t)
          mixers::step(layer.inputs(t, 1), layer.outputs(t, 1), layer.mixer, stepped, options);
      },
      [&] { heads_of([&](Index first, Index last) { token_loop_native(loop, first, last); }); },
      [&] { heads_of([&](Index first, Index last) { token_loop_plain(loop, first, last); }); });
  const auto all = static_cast<double>(tokens * heads), some = static_cast<double>(few * heads);
  const auto shared = static_cast<double>(4 * N * P), scores = static_cast<double>(chunk * (N + P));
  const double readers = of.delta ? 2 : 1, writers = of.removal ? 2 : 1,
               own_scores = of.delta ? scores / 2 : scores,
               operations = readers * writers * own_scores + (readers + writers) / 2 * shared;
  state.counters["ns"] = prefill / all * 1e9;
  state.counters["GFLOP/s"] = operations * all / prefill * 1e-9;
  state.counters["eigen_GFLOP/s"] = (shared + 2 * scores) * all / eigen * 1e-9;
  state.counters["of_eigen"] = operations / prefill / ((shared + 2 * scores) / eigen);
  state.counters["of_step"] = step / some / (prefill / all);
  state.counters["of_loop"] = native / some / (prefill / all);
  state.counters["of_plain_loop"] = plain / some / (prefill / all);
}

void backward(benchmark::State& state, const MakeLayer& make, int threads) {
  constexpr Index tokens = 2048;
  Layer layer = make(tokens);
  Team team(threads);
  const AnyExecutor executor = team.executor();
  const Scratch scratch(mixers::workspace_bytes(layer.mixer, executor)),
      more(mixers::backward_workspace_bytes(layer.mixer, tokens, 1, executor));
  mixers::State prefilled(layer.mixer), d_state(layer.mixer);
  const mixers::State before(layer.mixer);
  const mixers::Shape& s = layer.mixer.shape();
  const std::vector<float> d_out = noise(std::ssize(layer.v), -1, 1, 9);
  std::vector<float> dq(layer.q.size()), dk(layer.k.size()), dv(layer.v.size()),
      d_decay(layer.decay.size()), d_beta(layer.beta.size()), d_removal(layer.k.size());
  mixers::RecurrenceGradients learned(layer.mixer);
  mixers::Gradients to{.q = {dq.data(), tokens, s.key_heads, s.key_dim},
                       .k = {dk.data(), tokens, s.key_heads, s.key_dim},
                       .v = {dv.data(), tokens, s.heads, s.value_dim},
                       .learned = &learned};
  if (layer.mixer.recurrence().decays_by_token())
    to.decay = {d_decay.data(), tokens, s.heads, layer.mixer.recurrence().decay_width()};
  if (layer.mixer.recurrence().delta)
    to.beta = {d_beta.data(), tokens, s.heads,
               layer.mixer.recurrence().removal ? s.key_dim : Index{1}};
  if (layer.mixer.recurrence().removal)
    to.removal = {d_removal.data(), tokens, s.key_heads, s.key_dim};
  const TensorView<const float> back(d_out.data(), tokens, s.heads, s.value_dim);
  const auto [forward, gradient] = in_turns(
      state,
      [&] {
        mixers::chunked(layer.inputs(0, tokens), layer.outputs(0, tokens), layer.mixer, prefilled,
                        {.executor = executor, .workspace = scratch.aligned});
      },
      [&] {
        mixers::backward(layer.inputs(0, tokens), back, before, d_state, to, layer.mixer,
                         {.executor = executor, .workspace = more.aligned});
      });
  state.counters["ns"] = gradient / static_cast<double>(tokens * s.heads) * 1e9;
  state.counters["of_forward"] = gradient / forward;
  state.counters["of_products"] = 2.5 * forward / gradient;
}

void wkv(benchmark::State& state, int threads) {
  constexpr Index tokens = 512, channels = 768;
  const mixers::WKV wkv(mixers::RWKV4::initial(channels, 3, 12));
  Team team(threads);
  const AnyExecutor executor = team.executor();
  const Scratch scratch(mixers::workspace_bytes(wkv, executor));
  const mixers::Options options{.executor = executor, .workspace = scratch.aligned};
  const std::vector<float> k = noise(tokens * channels, -3, 3, 1),
                           v = noise(tokens * channels, -1, 1, 2);
  std::vector<float> out(v.size()), s(3 * channels);
  mixers::State prefilled = wkv.state(), stepped = wkv.state();
  const auto view = [](auto& x, Index first, Index count) {
    return TensorView(x.data() + first * channels, count, 1, channels);
  };
  const WKVLoop loop{tokens,      channels,    k.data(), v.data(),
                     wkv.decay(), wkv.bonus(), s.data(), out.data()};
  const auto [prefill, step, native, plain] = in_turns(
      state,
      [&] {
        mixers::prefill({.q = {}, .k = view(k, 0, tokens), .v = view(v, 0, tokens)},
                        view(out, 0, tokens), wkv, prefilled, options);
      },
      [&] {
        for (Index t = 0; t < tokens; ++t)
          mixers::step({.q = {}, .k = view(k, t, 1), .v = view(v, t, 1)}, view(out, t, 1), wkv,
                       stepped, options);
      },
      [&] { wkv_loop_native(loop); }, [&] { wkv_loop_plain(loop); });
  state.counters["ns"] = prefill / (tokens * channels) * 1e9;
  state.counters["of_step"] = step / prefill;
  state.counters["of_loop"] = native / prefill;
  state.counters["of_plain_loop"] = plain / prefill;
}

void step(benchmark::State& state, const MakeLayer& make, int threads) {
  Layer layer = make(1);
  Team team(threads);
  const AnyExecutor executor = team.executor();
  const Scratch scratch(mixers::workspace_bytes(layer.mixer, executor));
  const mixers::Options options{.executor = executor, .workspace = scratch.aligned};
  mixers::State memory(layer.mixer);
  const auto floats = static_cast<Index>(memory.bytes() / sizeof(float)) / 64 * 64;
  const Scratch copy(static_cast<std::size_t>(floats) *
                     sizeof(float));  // copies past the caches want it aligned
  const auto limit = copy_limit({memory.matrix(0, 0), 1, floats, floats},
                                reinterpret_cast<float*>(copy.aligned.data()), team);
  const mixers::Inputs in = layer.inputs(0, 1);
  const TensorView<float> out = layer.outputs(0, 1);
  paired(
      state, static_cast<double>(2 * memory.bytes()),
      [&] { mixers::step(in, out, layer.mixer, memory, options); }, "copy", limit);
  state.counters["bytes"] = static_cast<double>(memory.bytes());
}

/// seconds_of(tokens) are those of a sequence, of `heads` heads.
void lengths(benchmark::State& state, Index longest, Index heads,
             const std::function<double(Index)>& seconds_of) {
  std::vector<double> tokens, times;
  while (state.KeepRunning()) {
    for (Index n = 512; n <= longest; n *= 4) {
      std::vector<double> some;
      for (double spent = 0; some.size() < 3 || (spent < 0.3 && some.size() < 25);
           spent += some.back())
        some.push_back(seconds_of(n));
      tokens.push_back(static_cast<double>(n)), times.push_back(median(some));
    }
    state.SetIterationTime(times.back());
  }
  for (std::size_t i = 0; i < times.size(); ++i)
    state.counters["ns_" + std::to_string(static_cast<Index>(tokens[i]))] =
        times[i] / tokens[i] / static_cast<double>(heads) * 1e9;
  state.counters["exponent"] = exponent(tokens, times);
}

constexpr Index heads_of_lengths = 4, width_of_lengths = 64;

void prefill_lengths(benchmark::State& state, const MakeLayer& make, int threads) {
  Layer layer = make(131'072);
  Team team(threads);
  mixers::State memory(layer.mixer);
  lengths(state, 131'072, layer.mixer.shape().heads, [&](Index n) {
    return seconds(1, [&] {
      mixers::chunked(layer.inputs(0, n), layer.outputs(0, n), layer.mixer, memory,
                      {.executor = team.executor()});
    });
  });
}

void step_lengths(benchmark::State& state, const MakeLayer& make, int threads) {
  Layer layer = make(256);
  Team team(threads);
  mixers::State memory(layer.mixer);
  // The time of a sequence: that of a token, when the sequence is so long, for each of its tokens.
  lengths(state, 131'072, layer.mixer.shape().heads, [&](Index n) {
    memory.set_tokens(0, n);
    return static_cast<double>(n) / 256 * seconds(1, [&] {
             for (Index t = 0; t < 256; ++t)
               mixers::step(layer.inputs(t, 1), layer.outputs(t, 1), layer.mixer, memory,
                            {.executor = team.executor()});
           });
  });
}

void attention_lengths(benchmark::State& state, int threads) {
  constexpr Index H = heads_of_lengths, W = width_of_lengths, longest = 32'768;
  const std::vector<float> q = noise(longest * H * W, -1, 1, 1),
                           k = noise(longest * H * W, -1, 1, 2), v = k;
  std::vector<float> out(q.size());
  const auto bound =
      bind(RoPE<HalfSplit>{.head_dim = W} | Causal{}, {.num_heads = H, .num_kv_heads = H});
  Team team(threads);
  lengths(state, longest, H, [&](Index n) {
    return seconds(1, [&] {
      attention(TensorView<const float>(q.data(), n, H, W),
                TensorView<const float>(k.data(), n, H, W),
                TensorView<const float>(v.data(), n, H, W), TensorView(out.data(), n, H, W), bound,
                {.executor = team.executor()});
    });
  });
}

void decode_lengths(benchmark::State& state, int threads) {
  constexpr Index H = heads_of_lengths, W = width_of_lengths, longest = 131'072;
  const std::vector<float> k = noise(longest * H * W, -1, 1, 2);
  std::vector<float> out(H * W);
  const auto bound =
      bind(RoPE<HalfSplit>{.head_dim = W} | Causal{}, {.num_heads = H, .num_kv_heads = H});
  Team team(threads);
  lengths(state, longest, H, [&](Index n) {
    auto cache = KeyValueCache<KeyState::rotated, float>::contiguous(
        {.kv_heads = H, .head_dim = W, .capacity = n});
    cache.append(0, TensorView<const float>(k.data(), n, H, W),
                 TensorView<const float>(k.data(), n, H, W), bound);
    const auto one = [&] {
      decode(TensorView<const float>(k.data(), 1, H, W), cache, TensorView(out.data(), 1, H, W),
             bound, {.executor = team.executor()});
    };
    one();
    return static_cast<double>(n) * seconds(1, one);
  });
}

const bool registered = [] {
  const auto add = [](const std::string& name, const auto& run, bool once) {
    for (const int threads : one_and_all_threads()) {
      auto* const it =
          benchmark::RegisterBenchmark((name + "/threads:" + std::to_string(threads)).c_str(),
                                       [=](benchmark::State& state) { run(state, threads); });
      it->UseManualTime();
      if (once) it->Iterations(1);
    }
  };
  const auto of_shape = [&](const mixers::GallerySetting& at, bool plain_only) {
    mixers::for_each_in_gallery(at, [&](const mixers::GalleryEntry& entry, const auto& mixer) {
      if (plain_only && entry.name.find(',') != std::string_view::npos) return;
      const MakeLayer make = [=](Index tokens) {
        return Layer(mixer, entry.decay_low, entry.decay_high, tokens);
      };
      const mixers::Shape shape = mixers::Mixer(mixer).shape();
      std::string name(entry.name);
      std::erase_if(name, [](char c) { return c == ',' || c == ' '; });
      name +=
          "/keys:" + std::to_string(shape.key_dim) + "/values:" + std::to_string(shape.value_dim);
      add(
          "chunked/" + name,
          [=](benchmark::State& state, int threads) { chunked(state, make, threads); }, false);
      add(
          "backward/" + name,
          [=](benchmark::State& state, int threads) { backward(state, make, threads); }, false);
      add(
          "step/" + name, [=](benchmark::State& state, int threads) { step(state, make, threads); },
          false);
    });
  };
  of_shape({.heads = 8, .key_dim = 64, .value_dim = 64}, false);
  of_shape({.heads = 8, .key_dim = 128, .value_dim = 128}, true);
  of_shape({.heads = 24, .key_dim = 128, .value_dim = 64}, true);  // Mamba-2 of 768
  mixers::for_each_in_gallery(
      {.heads = heads_of_lengths, .key_dim = width_of_lengths, .value_dim = width_of_lengths},
      [&](const mixers::GalleryEntry& entry, const auto& mixer) {
        if (entry.name != "RetNet" && entry.name != "RWKV6" && entry.name != "Mamba2") return;
        const MakeLayer make = [=](Index tokens) {
          return Layer(mixer, entry.decay_low, entry.decay_high, tokens);
        };
        const std::string name(entry.name);
        add(
            "lengths/prefill/" + name,
            [=](benchmark::State& state, int threads) { prefill_lengths(state, make, threads); },
            true);
        add(
            "lengths/step/" + name,
            [=](benchmark::State& state, int threads) { step_lengths(state, make, threads); },
            true);
      });
  add("wkv/channels:768", wkv, false);
  add("lengths/prefill/attention", attention_lengths, true);
  add("lengths/step/attention", decode_lengths, true);
  return true;
}();

}  // namespace
