// SPDX-License-Identifier: MIT
//
// streaming [--scheme NAME] [--tokens 1000000] [--window 252] [--sinks 4] ...
//
// A text without end through a cache of fixed size: the first tokens (sinks) and the recent ones.
//
//   streaming       positions are places in the cache, keys are rotated while they are read
//                   (StreamingLLM, arXiv 2309.17453, as its code does it)
//   streaming-llm   the same numbers from keys that are stored rotated: the queries move instead
//   lm-infinite     positions are those of the text, none farther away than the window
//                   (LM-Infinite, arXiv 2308.16137)
//
// Nothing is allocated after the first token. At the end memory must not have grown, and the output
// of the last token must be that of the dense formula over the tokens that the cache should hold;
// if not, the exit status is 1. Keys and queries are random: this shows cost, not quality.
#include "streaming/resident.hpp"
#include "streaming/tokens.hpp"
#include "support/command_line.hpp"
#include "support/progress.hpp"

#include <posenc/posenc.hpp>

#include <chrono>
#include <cmath>
#include <exception>
#include <iomanip>
#include <iostream>
#include <optional>
#include <sstream>

namespace {

using namespace posenc;
using example::with_commas;

struct Setting {
  std::string scheme = "streaming";
  Index tokens = 1'000'000, window = 252, sinks = 4;
  Index heads = 2, kv_heads = 1, head_dim = 32;
  unsigned seed = 1;

  [[nodiscard]] CacheShape cache_shape() const {
    return {.kv_heads = kv_heads, .head_dim = head_dim, .capacity = sinks + window};
  }
};

std::optional<Setting> parse_command_line(int argc, char** argv) {
  CLI::App app{
      "Streams any number of tokens through a key-value cache of fixed size, and checks that "
      "memory stays flat\nand that the last output is right."};
  app.name("streaming");
  app.get_formatter()->column_width(26);
  Setting setting;
  const auto number = [&app](const char* name, auto& value, const char* what) {
    app.add_option(name, value, what)->type_name("N")->capture_default_str();
  };
  app.add_option("--scheme", setting.scheme, "streaming, streaming-llm or lm-infinite")
      ->type_name("NAME")
      ->capture_default_str();
  number("--tokens", setting.tokens, "length of the text");
  number("--window", setting.window, "recent tokens that are kept");
  number("--sinks", setting.sinks, "first tokens that are kept");
  number("--heads", setting.heads, "query heads");
  number("--kv-heads", setting.kv_heads, "key and value heads");
  number("--head-dim", setting.head_dim, "channels of a head");
  number("--seed", setting.seed, "of queries, keys and values");
  if (!example::parse(app, argc, argv)) return std::nullopt;
  Problems problems;
  const auto within = [&](const char* option, Index value, Index least, Index most) {
    problems.require(value >= least && value <= most, option, " must lie between ", least, " and ",
                     most, ", got ", value, ".");
  };
  problems.require(setting.scheme == "streaming" || setting.scheme == "streaming-llm" ||
                       setting.scheme == "lm-infinite",
                   "there is no scheme '", setting.scheme,
                   "': choose one of streaming, streaming-llm, lm-infinite.");
  within("--tokens", setting.tokens, 1, Index{1} << 40);
  within("--window", setting.window, 1, 32768);
  within("--sinks", setting.sinks, 0, 1024);
  within("--heads", setting.heads, 1, 1024);
  within("--kv-heads", setting.kv_heads, 1, 1024);
  within("--head-dim", setting.head_dim, 1, 1024);
  problems.raise_if_any("streaming");
  return setting;
}

std::string mebibytes(std::int64_t bytes) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << static_cast<double>(bytes) / (1 << 20) << " MiB";
  return text.str();
}

/// Resident memory after a tenth of the text, and the most of it later.
class Memory {
 public:
  void look() {
    const auto bytes = streaming::resident_bytes();
    if (!bytes) return;
    if (!first_) first_ = most_ = *bytes;
    most_ = std::max(most_, *bytes);
  }
  [[nodiscard]] std::string now() const {
    const auto bytes = streaming::resident_bytes();
    return bytes ? mebibytes(*bytes) + " resident" : "resident memory unknown";
  }
  [[nodiscard]] bool is_flat() const { return !first_ || most_ - *first_ <= slack; }
  [[nodiscard]] std::string result() const {
    if (!first_) return "not known, this system does not tell";
    return mebibytes(*first_) + " after the first tenth, at most " + mebibytes(most_) +
           " afterwards: " + (is_flat() ? "flat" : "NOT FLAT");
  }

 private:
  static constexpr std::int64_t slack = 1 << 20;
  std::optional<std::int64_t> first_{};
  std::int64_t most_ = 0;
};

/// Queries, keys and values of the text.
struct Text {
  streaming::Tokens q, k, v;
  explicit Text(const Setting& at)
      : q(at.heads, at.head_dim, at.seed), k(at.kv_heads, at.head_dim, at.seed + 1),
        v(at.kv_heads, at.head_dim, at.seed + 2) {}
};

/// The output of the last token, [heads][head_dim].
template <class Cache, class E>
std::vector<float> stream(const Setting& at, const Text& text, Cache cache, const Bound<E>& bound,
                          Memory& memory) {
  const example::Progress progress("streaming");
  std::vector<float> out(static_cast<std::size_t>(at.heads * at.head_dim));
  std::vector<std::byte> workspace(decode_workspace(bound, cache) + 64);
  void* begin = workspace.data();
  std::size_t room = workspace.size();
  DecodeOptions<float> options;
  options.workspace = {static_cast<std::byte*>(std::align(64, workspace.size() - 64, begin, room)),
                       workspace.size() - 64};

  const auto start = std::chrono::steady_clock::now();
  for (Index token = 0, tenth = 0; token < at.tokens; ++token) {
    cache.append(0, text.k(token), text.v(token), bound);
    decode(text.q(token), cache, TensorView<float>(out.data(), 1, at.heads, at.head_dim), bound,
           options);
    if (10 * (token + 1) / at.tokens == tenth) continue;
    tenth = 10 * (token + 1) / at.tokens;
    memory.look();
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    progress.say(with_commas(token + 1) + " of " + with_commas(at.tokens) + " tokens, " +
                 with_commas(static_cast<Index>(static_cast<double>(token + 1) / passed.count())) +
                 " tokens/s, " + memory.now());
  }
  progress.clear();
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  std::cout << "text          " << with_commas(at.tokens) << " tokens in " << passed.count()
            << " s, "
            << with_commas(static_cast<Index>(static_cast<double>(at.tokens) / passed.count()))
            << " tokens/s\n";
  return out;
}

/// Whether the last output is that of the formula over the sinks and the recent tokens, by an
/// encoding without a window, at their places in the cache or at their positions in the text.
template <class E>
bool check(const Setting& at, const Text& text, const std::vector<float>& out,
           const Bound<E>& bound, bool by_place) {
  std::vector<Position> held;
  const Position recent = std::max(at.sinks, at.tokens - at.window);
  for (Position t = 0; t < std::min(at.sinks, at.tokens); ++t) held.push_back(t);
  for (Position t = recent; t < at.tokens; ++t) held.push_back(t);
  const std::vector<float> k = text.k.dense(held), v = text.v.dense(held);
  const auto view = [&](const std::vector<float>& x) {
    return TensorView<const float>(x.data(), std::ssize(held), at.kv_heads, at.head_dim);
  };
  AttentionOptions<float> options;
  if (!by_place) {
    options.query_positions = Positions(at.tokens - 1);
    options.key_positions = Positions(held);
  }
  const ReferenceResult expected =
      reference_attention(text.q(at.tokens - 1), view(k), view(v), bound, options);
  double difference = 0;
  bool equal = true;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double d = std::abs(static_cast<double>(out[i]) - expected.out[i]);
    difference = std::max(difference, d);
    equal = equal && d <= 1e-5;  // NaN fails too
  }
  std::cout << "last output   differs by at most " << difference << " from the dense formula over "
            << held.size() << " tokens: " << (equal ? "equal" : "NOT EQUAL") << " (bound: 1e-05)\n";
  return equal;
}

}  // namespace

int main(int argc, char** argv) try {
  const auto setting = parse_command_line(argc, argv);
  if (!setting) return 0;
  const Setting& at = *setting;
  const Text text(at);
  Memory memory;
  bool equal = false;
  std::cout << "scheme        " << at.scheme << ": " << at.sinks << " sinks and the last "
            << with_commas(at.window) << " tokens" << std::endl;

  using Raw = KeyValueCache<KeyState::raw>;
  using Rotated = KeyValueCache<KeyState::rotated>;
  const RoPE<HalfSplit> rope{.head_dim = at.head_dim};
  const auto bound_to_heads = [&](const auto& encoding) {
    return bind(encoding, {.num_heads = at.heads, .num_kv_heads = at.kv_heads});
  };
  const auto plain = bound_to_heads(rope | Causal{});
  if (at.scheme == "streaming") {
    Raw cache = Raw::streaming(at.cache_shape(), at.sinks);
    equal = check(at, text, stream(at, text, std::move(cache), plain, memory), plain, true);
  } else if (at.scheme == "streaming-llm") {
    const auto bound = bound_to_heads(rope | StreamingLLM{.sinks = at.sinks, .recent = at.window});
    Rotated cache = Rotated::ring(at.cache_shape(), at.sinks);
    equal = check(at, text, stream(at, text, std::move(cache), bound, memory), plain, true);
  } else {
    const auto bound = bound_to_heads(rope | LMInfinite{.window = at.window, .sinks = at.sinks});
    const auto without_mask = bound_to_heads(rope | ReRoPE{.window = at.window} | Causal{});
    Raw cache = Raw::ring(at.cache_shape(), at.sinks);
    equal = check(at, text, stream(at, text, std::move(cache), bound, memory), without_mask, false);
  }
  std::cout << "memory        " << memory.result() << "\n";
  return equal && memory.is_flat() ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 2;
}
