// SPDX-License-Identifier: MIT
//
// The shipped configurations, against numbers computed here in long double from the formulas, or
// taken from the published code of the models.
#include "fixture.hpp"

#include <posenc/bind/bind.hpp>

#include <filesystem>
#include <numbers>
#include <set>

namespace models_cases {

using posenc::Frequencies;
using posenc::Index;
using posenc::Position;
constexpr long double two_pi = 2 * std::numbers::pi_v<long double>;

long double plain(long double base, Index d, Index i) {
  return std::pow(base, -2.0L * static_cast<long double>(i) / static_cast<long double>(d));
}

/// YaRN's blend, from the text of the paper's code.
long double yarn(long double base, Index d, Index i, long double s, long double trained,
                 long double fast = 32, long double slow = 1, bool whole = true) {
  const auto at = [&](long double turns) {
    return static_cast<long double>(d) * std::log(trained / (turns * two_pi)) /
           (2 * std::log(base));
  };
  long double low = at(fast), high = at(slow);
  if (whole) low = std::floor(low), high = std::ceil(high);
  long double share = (static_cast<long double>(i) - low) / (high - low);
  share = share < 0 ? 0 : share > 1 ? 1 : share;
  const long double w = plain(base, d, i);
  return w / s * share + w * (1 - share);
}

long double llama3(long double base, Index d, Index i, long double s, long double low,
                   long double high, long double trained) {
  const long double w = plain(base, d, i), wavelength = two_pi / w;
  if (wavelength < trained / high) return w;
  if (wavelength > trained / low) return w / s;
  const long double share = (trained / wavelength - low) / (high - low);
  return (1 - share) * w / s + share * w;
}

template <class F>
void require_frequencies(const posenc::config::Rotation& rotary, Index pairs, F expected,
                         Position length = 0) {
  const Frequencies inv_freq = rotary.state(length).inv_freq;
  REQUIRE(inv_freq.size() == pairs);
  for (Index i = 0; i < pairs; ++i) {
    INFO("pair " << i);
    const long double value = expected(i);
    CHECK(std::abs(static_cast<long double>(inv_freq[i]) - value) <= 1e-13L * value);
  }
}

void require_plain(const posenc::config::Rotation& rotary, Index d, long double base) {
  require_frequencies(rotary, d / 2, [&](Index i) { return plain(base, d, i); });
  CHECK(rotary.state().attention_factor == 1);
}

constexpr auto half = posenc::huggingface::LayoutName::half_split;
constexpr auto inter = posenc::huggingface::LayoutName::interleaved;

TEST_CASE("every shipped model is read, explained and bound") {
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(POSENC_MODELS_DIR)) {
    if (entry.path().extension() != ".json") continue;
    INFO(entry.path());
    ++models;
    const Model model = posenc::huggingface::read(entry.path());
    REQUIRE_FALSE(model.layers.empty());
    std::set<Index> layers;
    std::size_t named = 0;
    for (const LayerKind& layer : model.layers) {
      named += layer.layers.size();
      layers.insert(layer.layers.begin(), layer.layers.end());
      if (!layer.attends) continue;
      CHECK(layer.num_heads > 0);
      CHECK(layer.head_dim > 0);
      CHECK_NOTHROW(posenc::bind(layer.encoding(), {.num_heads = layer.num_heads,
                                                    .num_kv_heads = layer.num_kv_heads}));
    }
    CHECK(layers.size() == named);  // no layer is of two kinds
    CHECK_THAT(explain(model), ContainsSubstring(model.model_type));
  }
  CHECK(models >= 18);
}

TEST_CASE("models with plain RoPE") {
  require_plain(rotation(shipped("llama-2-7b")), 128, 10000);
  require_plain(rotation(shipped("codellama-7b")), 128, 1e6L);
  require_plain(rotation(shipped("qwen2.5-7b-instruct")), 128, 1e6L);
  require_plain(rotation(shipped("qwen2.5-7b-instruct-1m")), 128, 1e7L);
  require_plain(rotation(shipped("qwen2.5-vl-7b")), 128, 1e6L);
  require_plain(rotation(shipped("smollm3-3b")), 128, 5e6L);
  CHECK(rotation(shipped("llama-2-7b")).layout == half);
}

TEST_CASE("partial rotary models") {
  const auto gpt_j = rotation(shipped("gpt-j-6b"));
  require_plain(gpt_j, 64, 10000);
  CHECK(gpt_j.layout == inter);
  CHECK(gpt_j.head_dim == 256);
  CHECK(gpt_j.rotary_offset == 0);

  const auto neox = rotation(shipped("gpt-neox-20b"));
  require_plain(neox, 24, 10000);
  CHECK(neox.layout == half);
  CHECK(neox.head_dim == 96);
}

TEST_CASE("llama3 models") {
  require_frequencies(rotation(shipped("llama-3.1-8b")), 64,
                      [](Index i) { return llama3(5e5L, 128, i, 8, 1, 4, 8192); });
  require_frequencies(rotation(shipped("llama-3.2-1b")), 32,
                      [](Index i) { return llama3(5e5L, 64, i, 32, 1, 4, 8192); });
  const auto lambda = [](Index i) {
    return static_cast<double>(plain(5e5L, 128, i)) /
           rotation(shipped("llama-3.1-8b")).state().inv_freq[i];
  };
  CHECK(lambda(28) == Approx(1).epsilon(1e-12));
  CHECK(lambda(29) == Approx(1.20748387).epsilon(1e-8));
  CHECK(lambda(34) == Approx(5.25732659).epsilon(1e-8));
  CHECK(lambda(35) == Approx(8).epsilon(1e-12));
}

TEST_CASE("Llama 4 rotates within chunks, and warms up the layers that do not") {
  const Model scout = shipped("llama-4-scout");
  const LayerKind& chunked = kind(scout, "chunked_attention");
  CHECK(chunked.chunk == 8192);
  CHECK(chunked.layers.size() == 36);
  CHECK(chunked.rotary->layout == inter);
  // equal bounds: a step where a pair turns once in the original context
  require_frequencies(*chunked.rotary, 64, [](Index i) {
    const long double w = plain(5e5L, 128, i);
    return 8192 * w / two_pi >= 1 ? w : w / 16;
  });
  const LayerKind& nope = kind(scout, "no_rope");
  CHECK(nope.layers == std::vector<Index>{3, 7, 11, 15, 19, 23, 27, 31, 35, 39, 43, 47});
  CHECK_FALSE(nope.rotary.has_value());
  CHECK(nope.score.temperature(8190) == 1);
  CHECK(nope.score.temperature(8191) == Approx(1.069314718));
  CHECK(nope.score.temperature(16383) == Approx(1.109861229));
  CHECK(nope.score.temperature(131071) == Approx(1.283321334));
  CHECK(nope.score.temperature(10485759) == Approx(1.715539630));
}

TEST_CASE("YaRN models") {
  const auto yarn_llama = rotation(shipped("yarn-llama-2-7b-128k"));
  require_frequencies(yarn_llama, 64, [](Index i) { return yarn(10000, 128, i, 32, 4096); });
  CHECK(yarn_llama.state().inv_freq[21] == Approx(0.0468823302).epsilon(1e-8));
  CHECK(yarn_llama.state().inv_freq[45] == Approx(1.05499774e-4).epsilon(1e-8));
  CHECK(yarn_llama.state().attention_factor == Approx(1.34657359028));

  const auto qwen = rotation(shipped("qwen2.5-7b-instruct-yarn"));
  require_frequencies(qwen, 64, [](Index i) { return yarn(1e6L, 128, i, 4, 32768); });
  CHECK(qwen.state().inv_freq[24] == Approx(5.37532149e-3).epsilon(1e-8));
  CHECK(qwen.state().inv_freq[63] == Approx(3.1023444e-7).epsilon(1e-8));
  CHECK(qwen.state().attention_factor == Approx(1.13862943611));

  const auto qwen35 = rotation(shipped("qwen3.5-yarn"));
  require_frequencies(qwen35, 32, [](Index i) { return yarn(1e7L, 64, i, 4, 262144); });
  CHECK(qwen35.state().inv_freq[15] == Approx(4.74239823e-4).epsilon(1e-8));
  CHECK(qwen35.head_dim == 256);

  const auto olmo = rotation(shipped("olmo-3-7b"));
  require_frequencies(olmo, 64, [](Index i) { return yarn(5e5L, 128, i, 8, 8192); });
  CHECK(olmo.state().attention_factor == Approx(1 + 0.1 * std::log(8)));
  require_plain(rotation(shipped("olmo-3-7b"), "sliding_attention"), 128, 5e5L);
}

TEST_CASE("gpt-oss keeps its band exact") {
  const Model model = shipped("gpt-oss-20b");
  for (const char* name : {"full_attention", "sliding_attention"}) {
    const auto rotary = rotation(model, name);
    require_frequencies(rotary, 32,
                        [](Index i) { return yarn(150000, 64, i, 32, 4096, 32, 1, false); });
    CHECK(rotary.state().inv_freq[16] == Approx(4.56483919e-4).epsilon(1e-8));
    CHECK(rotary.state().inv_freq[31] == Approx(3.02351143e-7).epsilon(1e-8));
    CHECK(rotary.state().attention_factor == Approx(1.34657359028));
  }
  CHECK(kind(model, "sliding_attention").window == 128);
  CHECK(kind(model, "sliding_attention").layers.front() == 0);
  CHECK_THAT(notes_of(model), ContainsSubstring("SinkLogit"));
}

TEST_CASE("latent attention rotates the trailing channels, with the temperature on all") {
  const auto v3 = rotation(shipped("deepseek-v3"));
  CHECK(v3.layout == inter);
  CHECK(v3.head_dim == 192);
  CHECK(v3.rotary_dim == 64);
  CHECK(v3.rotary_offset == 128);
  require_frequencies(v3, 32, [](Index i) { return yarn(10000, 64, i, 40, 4096); });
  CHECK(v3.state().inv_freq[11] == Approx(0.0390069266).epsilon(1e-8));
  CHECK(v3.state().attention_factor == 1);
  CHECK(v3.state().score_factor == Approx(1.87385420709));

  const auto lite = rotation(shipped("deepseek-v2-lite")).state();
  CHECK(lite.attention_factor == 1);
  CHECK(lite.score_factor == Approx(1.26080377741 * 1.26080377741));

  const auto kimi = rotation(shipped("kimi-k2-instruct"));
  require_frequencies(kimi, 32, [](Index i) { return plain(50000, 64, i) / (i <= 19 ? 1 : 32); });
  CHECK(kimi.state().score_factor == Approx(1.81326043404));
  require_frequencies(rotation(shipped("kimi-k2-factor-64")), 32,
                      [](Index i) { return yarn(50000, 64, i, 64, 4096); });
}

TEST_CASE("Phi-4-mini chooses its list by the length, and both have the amplitude") {
  const auto phi = rotation(shipped("phi-4-mini-instruct"), "sliding_attention");
  CHECK(phi.depends_on_length());
  CHECK(phi.rotary_dim == 96);
  require_frequencies(phi, 48, [](Index i) { return plain(10000, 96, i); }, 4096);
  const auto is_long = phi.state(4097);
  for (Index i = 0; i < 31; ++i) {  // the searched list begins as NTK with 32.03
    const long double expected =
        plain(10000, 96, i) / std::pow(32.03L, static_cast<long double>(i) / 31);
    CHECK(is_long.inv_freq[i] == Approx(static_cast<double>(expected)).epsilon(1e-8));
  }
  CHECK(is_long.inv_freq[47] * 47.77 ==
        Approx(static_cast<double>(plain(10000, 96, 47))).epsilon(1e-12));
  CHECK(phi.state(4096).attention_factor == Approx(1.19023807142));
  CHECK(is_long.attention_factor == Approx(1.19023807142));
}

TEST_CASE("Gemma: two bases, and scaling on full layers alone") {
  const Model small = shipped("gemma-3-1b");
  require_plain(rotation(small), 256, 1e6L);
  require_plain(rotation(small, "sliding_attention"), 256, 10000);
  CHECK(kind(small, "sliding_attention").window == 512);
  CHECK(kind(small, "full_attention").layers == std::vector<Index>{5, 11, 17, 23});

  const Model large = shipped("gemma-3-27b");
  require_frequencies(rotation(large), 64, [](Index i) { return plain(1e6L, 128, i) / 8; });
  require_plain(rotation(large, "sliding_attention"), 128, 10000);
  CHECK(kind(large, "full_attention").score.score_scale(128) == Approx(1 / std::sqrt(168.0)));

  const Model four = shipped("gemma-4");
  require_frequencies(rotation(four), 256,
                      [](Index i) { return i < 64 ? plain(1e6L, 512, i) : 0.0L; });
  require_plain(rotation(four, "sliding_attention"), 256, 10000);
  CHECK(kind(four, "full_attention").head_dim == 512);
  CHECK(kind(four, "full_attention").score.score_scale(512) == 1);

  const Model two = shipped("gemma-2-9b");
  CHECK(kind(two, "sliding_attention").layers.front() == 0);
  CHECK_THAT(notes_of(two), ContainsSubstring("SoftCap{50}"));
}

TEST_CASE("layers that do not rotate") {
  const Model command = shipped("command-r7b");
  CHECK(kind(command, "no_rope").layers == std::vector<Index>{3, 7, 11, 15, 19, 23, 27, 31});
  require_plain(rotation(command, "sliding_attention"), 128, 50000);
  CHECK(rotation(command, "sliding_attention").layout == inter);
  CHECK(kind(command, "sliding_attention").window == 4096);

  const Model smol = shipped("smollm3-3b");
  CHECK(kind(smol, "no_rope").layers.size() == 9);
  CHECK(kind(smol, "full_attention").layers.size() == 27);

  CHECK(kind(shipped("qwen3.5"), "full_attention").layers ==
        std::vector<Index>{3, 7, 11, 15, 19, 23, 27, 31});
}

TEST_CASE("temperatures, windows and axes") {
  const Model ministral = shipped("ministral-3-8b");
  const auto& score = kind(ministral, "full_attention").score;
  CHECK(score.temperature(16383) == 1);
  CHECK(score.temperature(16384) == Approx(1.069314718));
  CHECK(rotation(ministral).state().attention_factor == 1);

  const Model mistral = shipped("mistral-7b-v0.1");
  CHECK(kind(mistral, "sliding_attention").window == 4096);
  CHECK(kind(mistral, "sliding_attention").layers.size() == 32);

  const Model qwen = shipped("qwen-7b");
  CHECK(rotation(qwen).depends_on_length());
  require_plain(rotation(qwen), 128, 10000);
  for (const auto& [length, alpha] :
       {std::pair<Position, long double>{8193, 3}, {16384, 3}, {16385, 7}})
    require_frequencies(
        rotation(qwen), 64,
        [a = alpha](Index i) {
          return plain(10000, 128, i) * std::pow(a, -2.0L * static_cast<long double>(i) / 126);
        },
        length);
  CHECK(kind(qwen, "full_attention").score.temperature(8191) == 1);
  CHECK(kind(qwen, "full_attention").score.temperature(32767) == Approx(1.15384615));

  CHECK(rotation(shipped("hunyuan-7b")).state().base ==
        Approx(static_cast<double>(10000 * std::pow(1000.0L, 128 / 126.0L))).epsilon(1e-12));
}

TEST_CASE("models with ALiBi") {
  CHECK(kind(shipped("bloom-7b1"), "full_attention").alibi->max_bias == 8);
  CHECK(kind(shipped("mpt-7b"), "full_attention").alibi->slope_factor == 1);
  CHECK(kind(shipped("falcon-rw-1b"), "full_attention").alibi->slope_factor == Approx(1 / 8.0));
  CHECK(kind(shipped("falcon-rw-1b"), "full_attention").num_kv_heads == 32);
}

}  // namespace models_cases
