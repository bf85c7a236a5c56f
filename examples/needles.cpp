// SPDX-License-Identifier: MIT
//
// needles [--tokens 1048576] [--budget 2048] [--needles 16] [--weight 0.9] ...
//
// A long cache that is read on a budget. Most keys are noise; a few, the needles, are what some queries look for. Each
// query is decoded over all keys, and over those that a method chooses:
//
//   window    the first 4 and the most recent tokens, whatever the query is
//   Quest     pages of 16 by the greatest and the least key of each channel
//   MoBA      chunks of 256 by their mean key
//   NSA       blocks of 64 by the probabilities of their mean keys
//
// and what is printed is the time of a token, the share of the softmax's weights that was read, exp(lse of the chosen
// keys - lse of all), and in how many answers the needle's value is the nearest of all. Keys are random and no
// model's: this shows costs, and which kind of key a summary can show. With --weight W a query gives the needle about
// this share of its weights; the channels of the needle do not turn, so that its place does not matter.
#include "support/command_line.hpp"
#include "support/progress.hpp"
#include "support/threads.hpp"

#include <posenc/eigen.hpp>
#include <posenc/posenc.hpp>
#include <posenc/schedule/random.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <functional>
#include <iomanip>
#include <iostream>
#include <numeric>
#include <optional>
#include <vector>

namespace {

using namespace posenc;
using example::with_commas;
using Cache = KeyValueCache<KeyState::rotated, Eigen::bfloat16>;

struct Setting {
  Index tokens = 1 << 20, budget = 2'048, needles = 16;
  double weight = 0.9;
  Index heads = 8, kv_heads = 2, head_dim = 64;
  int threads = 0;
  std::uint64_t seed = 1;

  [[nodiscard]] auto encoding() const {
    return RoPE<HalfSplit>{.head_dim = head_dim, .base = 1e6, .rotary_dim = head_dim / 2} |
           Causal{};
  }
};

std::optional<Setting> parse_command_line(int argc, char** argv) {
  CLI::App app{
      "Looks for needles in a long cache of noise, with all keys and on a budget of them."};
  app.name("needles");
  app.get_formatter()->column_width(26);
  Setting at;
  const auto number = [&app](const char* name, auto& value, const char* what) {
    app.add_option(name, value, what)->type_name("N")->capture_default_str();
  };
  number("--tokens", at.tokens, "that the cache holds");
  number("--budget", at.budget, "tokens that a query reads");
  number("--needles", at.needles, "keys that are looked for, a query each");
  number("--weight", at.weight, "share of a query's weights that its needle is to have");
  number("--heads", at.heads, "query heads");
  number("--kv-heads", at.kv_heads, "key and value heads");
  number("--head-dim", at.head_dim, "channels of a head");
  number("--threads", at.threads, "0: all");
  number("--seed", at.seed, "of keys, values and queries");
  if (!example::parse(app, argc, argv)) return std::nullopt;
  Problems problems;
  const auto within = [&](const char* option, Index value, Index least, Index most) {
    problems.require(value >= least && value <= most, option, " must lie between ", least, " and ",
                     most, ", got ", value, ".");
  };
  within("--tokens", at.tokens, 1'024, Index{1} << 28);
  within("--budget", at.budget, 512, at.tokens);
  within("--needles", at.needles, 1, std::min<Index>(1'000, at.tokens / 4));
  within("--kv-heads", at.kv_heads, 1, 256);
  within("--head-dim", at.head_dim, 16, 1'024);
  within("--threads", at.threads, 0, 1'024);
  problems.require(at.head_dim % 4 == 0, "--head-dim must be a multiple of 4, got ", at.head_dim,
                   ".");
  problems.require(at.kv_heads > 0 && at.heads >= at.kv_heads && at.heads % at.kv_heads == 0,
                   "--heads must be a multiple of --kv-heads, got ", at.heads, " and ", at.kv_heads,
                   ".");
  problems.require(at.weight > 0 && at.weight < 1, "--weight must lie between 0 and 1, got ",
                   at.weight, ".");
  problems.raise_if_any("needles");
  return at;
}

/// Of mean 0 and variance 1, by the sum of twelve uniform numbers.
float normal(SeededRandom& random) {
  double sum = -6;
  for (int i = 0; i < 3; ++i) {
    std::uint64_t bits = random.bits();
    for (int j = 0; j < 4; ++j, bits >>= 16) sum += static_cast<double>(bits & 0xFFFF) / 65536;
  }
  return static_cast<float>(sum);
}

/// Where the needles lie, what their keys and values are, and the queries that look for them.
struct Needles {
  std::vector<Index> place;                  ///< in rising order
  std::vector<float> keys, values, queries;  ///< [needle][kv head or head][channel]
  Index width, kv_heads, heads;

  Needles(const Setting& at, SeededRandom& random)
      : width(at.head_dim), kv_heads(at.kv_heads), heads(at.heads) {
    const Index stretch = (at.tokens - 512) / at.needles;  // none among the most recent
    for (Index i = 0; i < at.needles; ++i)
      place.push_back(i * stretch + static_cast<Index>(random.integer(0, stretch - 1)));
    const double noise = std::sqrt(static_cast<double>(width)),
                 half = static_cast<double>(width) / 2;
    // Scores of noise have variance 1, so their weights add up to tokens e^(1/2).
    const double score =
        std::log(at.weight / (1 - at.weight) * static_cast<double>(at.tokens)) + 0.5;
    for (Index i = 0; i < at.needles; ++i)
      for (Index h = 0; h < kv_heads; ++h) {
        std::vector<float> direction(static_cast<std::size_t>(width), 0.0F);
        double square = 0;
        for (Index c = width / 2; c < width; ++c) {
          const float x = normal(random);
          direction[static_cast<std::size_t>(c)] = x;
          square += static_cast<double>(x) * static_cast<double>(x);
        }
        const double unit = 1 / std::sqrt(square);
        // A key in the direction of the query, as long as the score asks for: <q, k> / sqrt(width).
        const double query = std::sqrt(half), key = score * noise / query;
        for (const float x : direction) {
          keys.push_back(static_cast<float>(static_cast<double>(x) * unit * key));
          values.push_back(normal(random));
        }
        for (Index g = 0; g < heads / kv_heads; ++g)
          for (const float x : direction) {
            const double turning = x == 0 ? static_cast<double>(normal(random)) : 0;
            queries.push_back(static_cast<float>(static_cast<double>(x) * unit * query + turning));
          }
      }
  }
  [[nodiscard]] std::size_t size() const { return place.size(); }
  [[nodiscard]] TensorView<const float> query(std::size_t i) const {
    return {queries.data() + static_cast<Index>(i) * heads * width, 1, heads, width};
  }
  /// Whether the value of this needle is nearer to the output than those of the others, for all heads together.
  [[nodiscard]] bool is_found(std::size_t needle, const std::vector<float>& out) const {
    const auto distance = [&](std::size_t other) {
      double sum = 0;
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < width; ++c) {
          const Index row = static_cast<Index>(other) * kv_heads + h / (heads / kv_heads);
          const double d = static_cast<double>(out[static_cast<std::size_t>(h * width + c)]) -
                           static_cast<double>(values[static_cast<std::size_t>(row * width + c)]);
          sum += d * d;
        }
      return sum;
    };
    const double own = distance(needle);
    double nothing = 0;  // an output of zeros finds nothing, and has to be far behind
    for (Index c = 0; c < kv_heads * width; ++c) {
      const double v = static_cast<double>(
          values[static_cast<std::size_t>(static_cast<Index>(needle) * kv_heads * width + c)]);
      nothing += v * v * static_cast<double>(heads / kv_heads);
    }
    if (!(own < nothing / 2)) return false;
    for (std::size_t other = 0; other < size(); ++other)
      if (other != needle && distance(other) <= own) return false;
    return true;
  }
};

template <class E>
void fill(Cache& cache, const Setting& at, const Needles& needles, const Bound<E>& bound,
          SeededRandom& random) {
  const example::Progress progress("needles");
  constexpr Index together = 8'192;
  const Index row = at.kv_heads * at.head_dim;
  std::vector<float> k(static_cast<std::size_t>(together * row)), v(k.size());
  std::size_t next = 0;
  for (Index first = 0; first < at.tokens; first += together) {
    const Index n = std::min(together, at.tokens - first);
    for (float& x : k) x = normal(random);
    for (float& x : v) x = normal(random);
    for (; next < needles.size() && needles.place[next] < first + n; ++next) {
      const auto from = static_cast<std::ptrdiff_t>(next) * row;
      const auto to = (needles.place[next] - first) * row;
      std::copy_n(needles.keys.begin() + from, row, k.begin() + to);
      std::copy_n(needles.values.begin() + from, row, v.begin() + to);
    }
    cache.append(0, TensorView<const float>(k.data(), n, at.kv_heads, at.head_dim),
                 TensorView<const float>(v.data(), n, at.kv_heads, at.head_dim), bound);
    if (first / together % 16 == 0)
      progress.say(with_commas(first + n) + " of " + with_commas(at.tokens) + " tokens");
  }
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// What a method gave for all queries.
struct Answers {
  std::vector<double> seconds;
  std::vector<std::vector<float>> lse;
  Index found = 0, read = 0;  ///< read: tokens of the last query and its first head
};

/// `choose(query, selection)` fills a selection; null: all keys are read.
using Choose = std::function<void(TensorView<const float>, Selection&)>;

template <class E>
Answers answer(const Cache& cache, const Needles& needles, const Bound<E>& bound,
               const AnyExecutor& executor, const Choose& choose) {
  Answers answers;
  Selection chosen;
  std::vector<float> out(static_cast<std::size_t>(needles.heads * needles.width));
  for (std::size_t i = 0; i < needles.size(); ++i) {
    std::vector<float> lse(static_cast<std::size_t>(needles.heads));
    const auto start = std::chrono::steady_clock::now();
    if (choose) choose(needles.query(i), chosen);
    decode(needles.query(i), cache, TensorView<float>(out.data(), 1, needles.heads, needles.width),
           bound, {.lse = lse, .selection = choose ? &chosen : nullptr, .executor = executor});
    answers.seconds.push_back(seconds_since(start));
    answers.lse.push_back(lse);
    answers.found += needles.is_found(i, out) ? 1 : 0;
  }
  std::nth_element(answers.seconds.begin(),
                   answers.seconds.begin() + std::ssize(answers.seconds) / 2,
                   answers.seconds.end());
  answers.read = choose ? chosen[0].tokens : cache.tokens(0);
  return answers;
}

void print(const char* name, const Answers& answers, const Answers& full, double update) {
  double share = 0;
  std::size_t rows = 0;
  for (std::size_t i = 0; i < full.lse.size(); ++i)
    for (std::size_t h = 0; h < full.lse[i].size(); ++h, ++rows)
      share += std::exp(static_cast<double>(answers.lse[i][h] - full.lse[i][h]));
  const double time = answers.seconds[answers.seconds.size() / 2];
  std::cout << std::left << std::setw(8) << name << std::right << std::setw(12)
            << with_commas(answers.read) << std::fixed << std::setprecision(2) << std::setw(11)
            << 1e3 * time << std::setw(10) << std::setprecision(3)
            << time / full.seconds[full.seconds.size() / 2] << std::setw(10) << std::setprecision(2)
            << share / static_cast<double>(rows) << std::setw(6) << answers.found << " of "
            << full.lse.size();
  if (update > 0) std::cout << std::setprecision(2) << "   summaries in " << update << " s";
  std::cout << "\n";
}

template <class S, class E>
void try_selector(const char* name, const S& selector, const Cache& cache, const Needles& needles,
                  const Bound<E>& bound, const AnyExecutor& executor, const Answers& full) {
  Summaries<S, Eigen::bfloat16> summaries(selector, cache, bound);
  const auto start = std::chrono::steady_clock::now();
  summaries.update(cache, 0, bound, {.executor = executor});
  const double update = seconds_since(start);
  const auto answers =
      answer(cache, needles, bound, executor, [&](TensorView<const float> q, Selection& chosen) {
        select(q, cache, summaries, bound, chosen, {.executor = executor});
      });
  print(name, answers, full, update);
}

}  // namespace

int main(int argc, char** argv) try {
  const auto setting = parse_command_line(argc, argv);
  if (!setting) return 0;
  const Setting& at = *setting;
  const AnyExecutor executor = example::threads_of("needles", at.threads);
  const auto bound = bind(at.encoding(), {.num_heads = at.heads, .num_kv_heads = at.kv_heads});
  SeededRandom random(at.seed);
  const Needles needles(at, random);
  Cache cache =
      Cache::contiguous({.kv_heads = at.kv_heads, .head_dim = at.head_dim, .capacity = at.tokens});
  fill(cache, at, needles, bound, random);

  std::cout << with_commas(at.tokens) << " tokens of bfloat16, " << at.heads << " query and "
            << at.kv_heads << " key heads of " << at.head_dim << " channels; " << at.needles
            << " needles.\n"
            << "method        reads   ms/token   of all   weights  found\n";
  const Answers full = answer(cache, needles, bound, executor, {});
  print("all", full, full, 0);
  const std::vector<KeyRange> window{{0, 4}, {at.tokens - (at.budget - 4), at.budget - 4}};
  print("window",
        answer(cache, needles, bound, executor,
               [&](TensorView<const float>, Selection& chosen) {
                 chosen.clear();
                 chosen.add({0, 1, 0, at.heads}, window);
               }),
        full, 0);
  constexpr ChoicePer per = ChoicePer::key_head;
  try_selector("Quest", Quest{.budget = at.budget, .per = per}, cache, needles, bound, executor,
               full);
  try_selector("MoBA", MoBA{.block = 256, .topk = at.budget / 256, .per = per}, cache, needles,
               bound, executor, full);
  try_selector("NSA", NSASelection{.blocks = at.budget / 64}, cache, needles, bound, executor,
               full);
  if (full.found == at.needles) return 0;
  std::cout << "With all keys, " << at.needles - full.found
            << " needles were not found: give them more --weight.\n";
  return 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 2;
}
