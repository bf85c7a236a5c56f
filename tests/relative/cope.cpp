// SPDX-License-Identifier: MIT
//
// CoPE: golden cases of torch, closed forms where gates are known, ShawKeys where all are open, gradients by
// differences; attention, ragged calls and decode against the reference attention; and what is refused.
#include "../support/backwards.hpp"
#include "../support/bind_any.hpp"
#include "../support/catch.hpp"
#include "../support/draw.hpp"
#include "../support/error_of.hpp"

#include <posenc/attention/attention.hpp>
#include <posenc/attention/backward.hpp>
#include <posenc/attention/decode.hpp>
#include <posenc/attention/key_weights.hpp>
#include <posenc/attention/ragged.hpp>
#include <posenc/attention/reference_backward.hpp>
#include <posenc/bias/alibi.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/relative/cope.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/score/log_n.hpp>
#include <posenc/score/soft_cap.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

namespace cope_cases {

using namespace posenc;
using posenc_test::bind_any;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

std::vector<double> doubles(const std::vector<float>& x) { return {x.begin(), x.end()}; }

double worst(const std::vector<double>& got, const std::vector<double>& expected) {
  double off = got.size() == expected.size() ? 0 : HUGE_VAL;
  for (std::size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
    const double d = std::abs(got[i] - expected[i]);
    off = std::isnan(d) ? HUGE_VAL : std::max(off, d);
  }
  return off;
}

/// One call, its loss <d_out, out>, and a table.
struct Problem {
  Index queries = 9, keys = 9, heads = 2, kv_heads = 1, width = 4, value_width = 3, positions = 5;
  std::vector<double> q{}, k{}, v{}, d_out{};
  std::vector<float> table{};
  bool scaled = true;

  Problem& draw(std::uint64_t seed, double gain) {
    posenc_test::Draw draw(seed);
    q = doubles(draw(queries * heads * width, gain));
    k = doubles(draw(keys * kv_heads * width));
    v = doubles(draw(keys * kv_heads * value_width));
    table = draw(positions * width);
    d_out = doubles(draw(queries * heads * value_width));
    return *this;
  }
  [[nodiscard]] CoPE cope() const {
    return {.table = table, .positions = positions, .scaled = scaled};
  }
  [[nodiscard]] BindOptions shape() const { return {.num_heads = heads, .num_kv_heads = kv_heads}; }
  [[nodiscard]] TensorView<const double> queries_of() const {
    return {q.data(), queries, heads, width};
  }
  [[nodiscard]] TensorView<const double> keys_of() const {
    return {k.data(), keys, kv_heads, width};
  }
  [[nodiscard]] TensorView<const double> values_of() const {
    return {v.data(), keys, kv_heads, value_width};
  }
  [[nodiscard]] TensorView<const double> d_out_of() const {
    return {d_out.data(), queries, heads, value_width};
  }

  template <class B>
  [[nodiscard]] ReferenceResult attend(const B& bound,
                                       const AttentionOptions<double>& options = {}) const {
    return reference_attention(queries_of(), keys_of(), values_of(), bound, options);
  }
  template <class B>
  [[nodiscard]] ReferenceGradients gradients(const B& bound) const {
    return reference_attention_backward(queries_of(), keys_of(), values_of(), d_out_of(), bound);
  }
  template <class B>
  [[nodiscard]] double loss(const B& bound) const {
    const ReferenceResult y = attend(bound);
    double sum = 0;
    for (std::size_t i = 0; i < y.out.size(); ++i) sum += d_out[i] * y.out[i];
    return sum;
  }
};

TEST_CASE("CoPE: torch's attention and its gradients", "[relative]") {
  std::ifstream file(POSENC_GOLDEN_DIR "/cope.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  CHECK(golden["cases"].size() == 18);
  for (const auto& c : golden["cases"]) {
    INFO("seed " << c["seed"]);
    Problem x{.queries = c["queries"],
              .keys = c["keys"],
              .heads = c["heads"],
              .kv_heads = c["kv_heads"],
              .width = c["width"],
              .value_width = c["value_width"],
              .positions = c["positions"],
              .scaled = c["scaled"]};
    x.draw(c["seed"], c["gain"]);
    const auto check = [&](const auto& encoding) {
      const AnyBound bound = bind_any(encoding, x.shape());
      const ReferenceResult y = x.attend(bound);
      CHECK(worst(y.out, c["out"]) <= 1e-11);
      CHECK(worst(y.lse, c["lse"]) <= 1e-10);
      const ReferenceGradients d = x.gradients(bound);
      CHECK(worst(d.q, c["d_q"]) <= 1e-11);
      CHECK(worst(d.k, c["d_k"]) <= 1e-11);
      CHECK(worst(d.v, c["d_v"]) <= 1e-11);
      CHECK(worst(d.parameters, c["d_table"]) <= 1e-11);
    };
    if (c["mask"] == "causal")
      check(x.cope() | Causal{});
    else if (c["mask"] == "window")
      check(x.cope() | SlidingWindow{.left = 3});
    else
      check(encoding(x.cope()));
  }
}

TEST_CASE("CoPE: keys that say nothing are half a step each", "[relative]") {
  // Keys are zero, so every gate is 1/2 and scores are the vectors' alone: lerp of <q, e> at (n - m + 1) / 2.
  Problem x;
  x.draw(1, 2);
  for (double& number : x.k) number = 0;
  for (const bool scaled : {true, false}) {
    x.scaled = scaled;
    const ReferenceResult y = x.attend(bind(x.cope() | Causal{}, x.shape()));
    for (Index n = 0; n < x.queries; ++n)
      for (Index h = 0; h < x.heads; ++h) {
        long double sum = 0;
        for (Index m = 0; m <= n; ++m) {
          const long double p = std::min<long double>(static_cast<long double>(n - m + 1) / 2, 4);
          const Index low = (n - m + 1) / 2 >= 4 ? 4 : (n - m + 1) / 2,
                      high = std::min<Index>(low + 1, 4);
          const auto product = [&](Index i) {
            long double dot = 0;
            for (Index c = 0; c < 4; ++c)
              dot += static_cast<long double>(x.q[size((n * 2 + h) * 4 + c)]) *
                     x.table[size(i * 4 + c)];
            return dot;
          };
          const long double share = p - static_cast<long double>(low);
          sum += std::exp(((1 - share) * product(low) + share * product(high)) / (scaled ? 2 : 1));
        }
        CHECK(std::abs(y.lse[size(n * 2 + h)] - static_cast<double>(std::log(sum))) <= 1e-13);
      }
  }
}

TEST_CASE("CoPE: where all gates are open it counts tokens, as ShawKeys does", "[relative]") {
  // One channel is the same and large for every pair: gates are 1 to the last bit, and the softmax does not see it.
  Problem x;
  x.draw(2, 2);
  for (std::size_t i = 0; i < x.q.size(); i += 4) x.q[i] = 40;
  for (std::size_t i = 0; i < x.k.size(); i += 4) x.k[i] = 40;
  for (std::size_t i = 0; i < x.table.size(); i += 4) x.table[i] = 0;
  // The key itself is one step away, keys beyond three tokens four.
  ShawKeys shaw{.table = std::vector<float>(7 * 4), .clip = 3};
  for (Index d = 0; d <= 3; ++d)
    for (Index c = 0; c < 4; ++c)
      shaw.table[size((3 - d) * 4 + c)] = x.table[size((d + 1) * 4 + c)];
  const ReferenceResult got = x.attend(bind(x.cope() | Causal{}, x.shape())),
                        expected = x.attend(bind(shaw | Causal{}, x.shape()));
  CHECK(worst(got.out, expected.out) <= 1e-12);
  CHECK(worst(got.lse, expected.lse) <= 1e-11);
}

TEST_CASE("CoPE: what is hidden does not count, whatever it holds, nor where tokens stand",
          "[relative]") {
  Problem x;
  x.draw(3, 2);
  const auto bound = bind(x.cope() | Causal{}, x.shape());
  const ReferenceResult all = x.attend(bound);
  const ReferenceResult far = x.attend(bound, {.query_offset = 1'000'000, .key_offset = 1'000'000});
  CHECK(far.out == all.out);
  for (Index c = 0; c < x.width; ++c) x.k[size(8 * x.width + c)] = NAN;
  const ReferenceResult some = x.attend(bound);
  for (std::size_t i = 0; i < size(8 * x.heads * x.value_width); ++i)
    CHECK(some.out[i] == all.out[i]);
  for (std::size_t i = size(8 * x.heads * x.value_width); i < all.out.size(); ++i)
    CHECK(std::isnan(some.out[i]));
}

TEST_CASE("CoPE: gradients by differences, among other components", "[relative]") {
  Problem x{.positions = 3};
  x.draw(4, 2);
  const auto check = [&](const auto& make) {
    const ReferenceGradients d = x.gradients(make());
    const auto differences = [&](auto& numbers, std::span<const double> gradient, double h) {
      REQUIRE(numbers.size() == gradient.size());
      double off = 0;
      for (std::size_t i = 0; i < numbers.size(); i += 2) {
        const auto before = numbers[i];
        using Number = std::remove_cvref_t<decltype(before)>;
        const auto more = static_cast<Number>(before + h), less = static_cast<Number>(before - h);
        numbers[i] = more;
        const double above = x.loss(make());
        numbers[i] = less;
        const double below = x.loss(make());
        numbers[i] = before;
        off = std::max(off, std::abs((above - below) /
                                         (static_cast<double>(more) - static_cast<double>(less)) -
                                     gradient[i]));
      }
      return off;
    };
    CHECK(differences(x.q, d.q, 1e-6) <= 1e-7);
    CHECK(differences(x.k, d.k, 1e-6) <= 1e-7);
    CHECK(differences(x.v, d.v, 1e-6) <= 1e-7);
    CHECK(differences(x.table, std::span(d.parameters).first(x.table.size()), 0x1p-10) <= 1e-5);
  };
  check([&] { return bind_any(x.cope() | Causal{}, x.shape()); });
  x.scaled = false;
  check([&] {
    return bind_any(RoPE<HalfSplit>{.head_dim = 4} | x.cope() | ALiBi{} | SoftCap{5} |
                        LogN{.base_length = 3} | SlidingWindow{.left = 5},
                    x.shape());
  });
}

/// A temperature that learns its factor.
struct Warmth {
  double factor = 1.25;
  [[nodiscard]] double temperature(Position) const { return factor; }
  [[nodiscard]] Index num_parameters() const { return 1; }
  void temperature_gradient(Position, double sum, std::span<double> gradient) const {
    gradient[0] += sum;
  }
};

TEST_CASE("CoPE: a temperature warms gates too, and what it learns says so", "[relative]") {
  Problem x{.positions = 3};
  x.draw(5, 2);
  for (const bool scaled : {true, false}) {
    x.scaled = scaled;
    const auto loss = [&](double factor) {
      return x.loss(bind(Warmth{factor} | x.cope() | Causal{}, x.shape()));
    };
    const double expected = (loss(1.25 + 1e-6) - loss(1.25 - 1e-6)) / 2e-6;
    const ReferenceGradients d = x.gradients(bind(Warmth{} | x.cope() | Causal{}, x.shape()));
    CHECK(std::abs(d.parameters[0] - expected) <= 1e-7);
  }
}

/// Attention, and decode of the last queries, against the reference attention.
template <class T>
class Kernel {
 public:
  Kernel(Index queries, Index keys, Index kv_heads, Index group, std::uint64_t seed, double gain)
      : queries_(queries), keys_(keys), kv_heads_(kv_heads), heads_(kv_heads * group) {
    posenc_test::Draw draw(seed);
    const auto numbers = [&](Index n, double by) {
      const std::vector<float> x = draw(n, by);
      return std::vector<T>(x.begin(), x.end());
    };
    q_ = numbers(queries * heads_ * width, gain);
    k_ = numbers(keys * kv_heads_ * width, 1);
    v_ = numbers(keys * kv_heads_ * value_width, 1);
  }

  /// The queries are the last ones of the keys.
  template <class E>
  void check(const E& encoding, double bound_of_error) const {
    const AnyBound bound = bind_any(encoding, {.num_heads = heads_, .num_kv_heads = kv_heads_});
    const AttentionOptions<T> options{.query_offset = keys_ - queries_};
    const std::vector<double> q = wide(q_), k = wide(k_), v = wide(v_);
    const ReferenceResult expected =
        reference_attention(TensorView<const double>(q.data(), queries_, heads_, width),
                            TensorView<const double>(k.data(), keys_, kv_heads_, width),
                            TensorView<const double>(v.data(), keys_, kv_heads_, value_width),
                            bound, AttentionOptions<double>{.query_offset = keys_ - queries_});
    std::vector<T> out(size(queries_ * heads_ * value_width)), lse(size(queries_ * heads_));
    AttentionOptions<T> own = options;
    own.lse = lse;
    attention(view(q_, queries_, heads_, width), view(k_, keys_, kv_heads_, width),
              view(v_, keys_, kv_heads_, value_width), result(out), bound, own);
    CHECK(worst(wide(out), expected.out) <= bound_of_error);
    CHECK(worst(wide(lse), expected.lse) <= bound_of_error * 10);
    std::vector<T> with_threads(out.size());
    own.executor = posenc_test::Backwards{5};
    attention(view(q_, queries_, heads_, width), view(k_, keys_, kv_heads_, width),
              view(v_, keys_, kv_heads_, value_width), result(with_threads), bound, own);
    CHECK(with_threads == out);
    if constexpr (std::is_same_v<T, float>) {
      auto cache = KeyValueCache<KeyState::raw, float>::contiguous(
          {.kv_heads = kv_heads_, .head_dim = width, .value_dim = value_width, .capacity = keys_});
      cache.append(0, view(k_, keys_, kv_heads_, width), view(v_, keys_, kv_heads_, value_width));
      for (const Index last : {Index{1}, std::min<Index>(queries_, 11)}) {
        std::vector<T> decoded(size(last * heads_ * value_width));
        const auto before = static_cast<std::ptrdiff_t>(queries_ - last);
        decode({q_.data() + before * heads_ * width, last, heads_, width}, cache,
               TensorView<T>(decoded.data(), last, heads_, value_width), bound);
        const std::vector<double> rows(expected.out.begin() + before * heads_ * value_width,
                                       expected.out.end());
        CHECK(worst(wide(decoded), rows) <= bound_of_error);
      }
    }
  }

  static constexpr Index width = 16, value_width = 8;

 private:
  static std::vector<double> wide(const std::vector<T>& x) { return {x.begin(), x.end()}; }
  static TensorView<const T> view(const std::vector<T>& x, Index tokens, Index heads, Index w) {
    return {x.data(), tokens, heads, w};
  }
  TensorView<T> result(std::vector<T>& x) const {
    return {x.data(), queries_, heads_, value_width};
  }

  Index queries_, keys_, kv_heads_, heads_;
  std::vector<T> q_, k_, v_;
};

TEST_CASE("CoPE: the kernels and the reference agree", "[relative]") {
  posenc_test::Draw draw(7);
  std::uint64_t seed = 0;
  for (const Index positions : {Index{1}, Index{2}, Index{24}, Index{300}}) {
    for (const bool scaled : {true, false}) {
      const CoPE cope{.table = draw(positions * 16), .positions = positions, .scaled = scaled};
      const RoPE<HalfSplit> rope{.head_dim = 16};
      for (const auto& [queries, keys] :
           {std::pair<Index, Index>{1, 1}, {5, 64}, {70, 70}, {9, 321}, {300, 555}}) {
        INFO("positions " << positions << ", scaled " << scaled << ", queries " << queries
                          << ", keys " << keys);
        ++seed;
        const Kernel<float> floats(queries, keys, 1 + static_cast<Index>(seed % 2),
                                   1 + static_cast<Index>(seed % 3), seed, 2);
        floats.check(cope | Causal{}, 2e-5);
        floats.check(rope | cope | SlidingWindow{.left = 37}, 2e-5);
        floats.check(encoding(cope), 2e-5);
        const Kernel<double> doubles(queries, keys, 2, 2, seed, 2);
        doubles.check(rope | ReRoPE{.window = 20} | cope | ALiBi{} | SoftCap{5} | Causal{}, 1e-11);
        doubles.check(LogN{.base_length = 50} | cope | Causal{}, 1e-11);
      }
    }
  }
}

TEST_CASE("CoPE: hidden keys have no part, and each sequence of a batch counts by itself",
          "[relative]") {
  const Index tokens = 200, heads = 3, width = 16;
  posenc_test::Draw draw(11);
  const auto q = draw(tokens * heads * width, 2), v = draw(tokens * heads * width);
  auto k = draw(tokens * heads * width);
  const auto view = [&](const std::vector<float>& x, Index first, Index count) {
    return TensorView<const float>(x.data() + first * heads * width, count, heads, width);
  };
  const auto bound = bind(CoPE{.table = draw(40 * width), .positions = 40} | Causal{},
                          {.num_heads = heads, .head_dim = width});
  const auto attend = [&](Index first, Index count) {
    std::vector<float> out(size(count * heads * width));
    attention(view(q, first, count), view(k, first, count), view(v, first, count),
              TensorView(out.data(), count, heads, width), bound);
    return out;
  };
  const std::vector<float> before = attend(0, tokens);

  // Rows of one call, of parts of a batch, and rows that see none of what is not a number.
  const std::vector<Index> starts{0, 1, 1, 90, tokens};
  std::vector<float> batch(before.size());
  attention(view(q, 0, tokens), view(k, 0, tokens), view(v, 0, tokens),
            TensorView(batch.data(), tokens, heads, width), RaggedBatch{starts}, bound);
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    const std::vector<float> alone = attend(starts[i], starts[i + 1] - starts[i]);
    CHECK(std::equal(alone.begin(), alone.end(), batch.begin() + starts[i] * heads * width));
  }
  for (Index i = 150 * heads * width; i < tokens * heads * width; ++i)
    k[size(i)] = i % 2 == 0 ? NAN : HUGE_VALF;
  const std::vector<float> after = attend(0, tokens);
  CHECK(std::equal(before.begin(), before.begin() + 150 * heads * width, after.begin()));
  for (Index i = 150 * heads * width; i < tokens * heads * width; ++i)
    CHECK(std::isnan(after[size(i)]));

  // No key at all.
  std::vector<float> out(size(2 * heads * width), 7);
  attention(view(q, 0, 2), view(k, 0, 0), view(v, 0, 0), TensorView(out.data(), 2, heads, width),
            bound, {.query_offset = 0});
  CHECK(std::all_of(out.begin(), out.end(), [](float x) { return x == 0; }));
}

TEST_CASE("CoPE reports wrong tables, and what does not know it refuses it", "[relative]") {
  using posenc_test::error_of;
  const auto error = [](const CoPE& cope, Index head_dim = 0) {
    return error_of([&] { (void)bind(cope | Causal{}, {.head_dim = head_dim}); });
  };
  const std::vector<float> table(12, 0.5F);
  CHECK(error({.table = table, .positions = 3}, 4) == "nothing was wrong");
  CHECK(
      error({.table = table, .positions = 0}).find("positions must lie within [1, 2^20], got 0") !=
      std::string::npos);
  CHECK(error({.table = table, .positions = 5})
            .find("must have 5 rows (positions) of one width, got 12") != std::string::npos);
  CHECK(error({.positions = 3}).find("got 0 values") != std::string::npos);
  CHECK(error({.table = table, .positions = 3}, 8).find("rows of 4 channels, but heads have 8") !=
        std::string::npos);
  std::vector<float> wrong = table;
  wrong[7] = NAN;
  CHECK(error({.table = wrong, .positions = 3}).find("must be finite, got nan at element 7") !=
        std::string::npos);

  const AnyEncoding cope(CoPE{.table = table, .positions = 3} | Causal{});
  const AnyBound bound = bind(cope);
  std::vector<float> x(4);
  const TensorView<float> one(x.data(), 1, 1, 4);
  const std::vector<float> lse(1);
  std::vector<double> sums(1);
  const std::string refused = "positions by context (CoPE) depend on all keys behind one";
  CHECK(error_of([&] { key_weights(one, one, lse, sums, 1, bound); }).find(refused) !=
        std::string::npos);
  CHECK(error_of([&] {
          attention_backward<float>({one, one, one, one, lse}, one, {one, one, one}, bound);
        }).find(refused) != std::string::npos);
  CHECK(error_of([&] {
          (void)bind(cope | cope);
        }).find("2 components of this encoding position keys by context") != std::string::npos);
  std::vector<float> narrow(3);
  const TensorView<const float> three(narrow.data(), 1, 1, 3);
  CHECK(error_of([&] {
          (void)reference_attention(three, three, three, bound);
        }).find("positions by context of 4 channels, but queries have 3") != std::string::npos);
}

}  // namespace cope_cases
