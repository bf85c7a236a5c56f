// SPDX-License-Identifier: MIT
//
// GGUF metadata: what is read of it rotates as ggml does by its formulas, and is what the
// config.json of the same model gives; what is wrong or not known is a sentence.
#include <posenc/config/gguf.hpp>

#include "../gguf/writer.hpp"
#include "fixture.hpp"

namespace gguf_model_cases {

using namespace posenc;
using gguf_test::Writer;

/// A file of keys of one architecture.
class Keys {
 public:
  explicit Keys(std::string name) : name_(std::move(name)) {
    writer_.key_text("general.architecture", name_);
  }
  Keys& count(const std::string& key, std::uint32_t value) {
    writer_.key(name_ + "." + key, gguf_test::u32, value);
    return *this;
  }
  Keys& real(const std::string& key, double value) {
    writer_.key(name_ + "." + key, gguf_test::f32, static_cast<float>(value));
    return *this;
  }
  Keys& text(const std::string& key, const std::string& value) {
    writer_.key_text(name_ + "." + key, value);
    return *this;
  }
  Keys& flag(const std::string& key, bool value) {
    writer_.key(name_ + "." + key, gguf_test::boolean, static_cast<std::uint8_t>(value));
    return *this;
  }
  Keys& counts(const std::string& key, const std::vector<std::uint32_t>& values) {
    gguf_test::Bytes bytes;
    for (const std::uint32_t value : values) bytes.number(value);
    writer_.key(name_ + "." + key, gguf_test::array,
                gguf_test::array_of(gguf_test::u32, values.size(), bytes));
    return *this;
  }
  Keys& reals(const std::string& key, const std::vector<float>& values) {
    writer_.key(name_ + "." + key, gguf_test::array,
                gguf_test::array_of(gguf_test::f32, values.size(), gguf_test::floats(values)));
    return *this;
  }
  Keys& list(const std::string& tensor, const std::vector<float>& values) {
    writer_.tensor(tensor, {values.size()}, 0, gguf_test::floats(values));
    return *this;
  }
  /// Layers, heads, key heads, channels of a head, tokens, channels of a token.
  Keys& shape(std::uint32_t layers, std::uint32_t heads, std::uint32_t kv, std::uint32_t head_dim,
              std::uint32_t tokens, std::uint32_t width = 0) {
    return count("block_count", layers)
        .count("attention.head_count", heads)
        .count("attention.head_count_kv", kv)
        .count("attention.key_length", head_dim)
        .count("context_length", tokens)
        .count("embedding_length", width != 0 ? width : heads * head_dim);
  }
  [[nodiscard]] config::Model read() const {
    const auto bytes = writer_.file();
    return gguf::parse(gguf::File::from_bytes(bytes));
  }
  [[nodiscard]] std::string error() const {
    try {
      static_cast<void>(read());
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

 private:
  std::string name_;
  Writer writer_{};
};

/// ggml_rope_ext's angle of a pair for position 1, and its amplitude, in double.
struct Ggml {
  Index dim = 0;
  double base = 10000, freq_scale = 1, ext_factor = 0, attn_factor = 1, beta_fast = 32,
         beta_slow = 1;
  double original = 0;
  std::vector<float> factors{};

  [[nodiscard]] double angle(Index i) const {
    const double theta =
        std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dim)) /
        (factors.empty() ? 1.0 : static_cast<double>(factors[static_cast<std::size_t>(i)]));
    if (ext_factor == 0) return freq_scale * theta;
    const auto pair_of = [&](double turns) {
      return static_cast<double>(dim) * std::log(original / (turns * 2 * 3.141592653589793)) /
             (2 * std::log(base));
    };
    const double low = std::max(0.0, std::floor(pair_of(beta_fast)));
    const double high = std::min(static_cast<double>(dim) - 1, std::ceil(pair_of(beta_slow)));
    const double y = (static_cast<double>(i) - low) / std::max(0.001, high - low);
    const double mix = (1 - std::min(1.0, std::max(0.0, y))) * ext_factor;
    return freq_scale * theta * (1 - mix) + theta * mix;
  }
  /// llama.cpp hands over attn_factor without the amplitude that ggml multiplies by itself.
  [[nodiscard]] double amplitude() const {
    return attn_factor * (ext_factor == 0 ? 1 : 1 + 0.1 * std::log(1 / freq_scale));
  }
};

void check(const config::Rotation& rotation, const Ggml& ggml) {
  const RotaryState state = rotation.state(rotation.trained_context + 1);
  REQUIRE(2 * state.pairs() == ggml.dim);
  for (Index i = 0; i < state.pairs(); ++i)
    CHECK_THAT(state.inv_freq[i], WithinRel(ggml.angle(i), 1e-6));
  CHECK_THAT(state.attention_factor, WithinRel(ggml.amplitude(), 1e-6));
}

TEST_CASE("gguf: rotations are ggml's") {
  const auto keys = [] {
    return Keys("qwen2").shape(4, 8, 2, 64, 8192).real("rope.freq_base", 1e6);
  };
  const auto rotation_of = [](const config::Model& model) {
    REQUIRE(model.layers.size() == 1);
    return *model.layers[0].rotary;
  };
  check(rotation_of(keys().read()), {.dim = 64, .base = 1e6});
  check(rotation_of(keys().count("rope.dimension_count", 32).read()), {.dim = 32, .base = 1e6});
  check(rotation_of(keys().real("rope.scaling.factor", 4).read()),
        {.dim = 64, .base = 1e6, .freq_scale = 0.25});
  check(rotation_of(keys().real("rope.scale_linear", 4).read()),
        {.dim = 64, .base = 1e6, .freq_scale = 0.25});
  check(rotation_of(keys().real("rope.scaling.factor", 0).read()), {.dim = 64, .base = 1e6});
  check(rotation_of(keys().text("rope.scaling.type", "none").real("rope.scaling.factor", 4).read()),
        {.dim = 64, .base = 1e6});
  check(rotation_of(keys()
                        .text("rope.scaling.type", "linear")
                        .real("rope.scaling.factor", 4)
                        .real("rope.scaling.attn_factor", 1.25)
                        .read()),
        {.dim = 64, .base = 1e6, .freq_scale = 0.25, .attn_factor = 1.25});
  const auto yarn = [&] {
    return keys()
        .text("rope.scaling.type", "yarn")
        .real("rope.scaling.factor", 4)
        .count("rope.scaling.original_context_length", 2048);
  };
  const Ggml four{.dim = 64, .base = 1e6, .freq_scale = 0.25, .ext_factor = 1, .original = 2048};
  check(rotation_of(yarn().read()), four);
  Ggml other = four;
  other.attn_factor = 0.5, other.beta_fast = 16, other.beta_slow = 2;
  check(rotation_of(yarn()
                        .real("rope.scaling.attn_factor", 0.5)
                        .real("rope.scaling.yarn_beta_fast", 16)
                        .real("rope.scaling.yarn_beta_slow", 2)
                        .real("rope.scaling.yarn_ext_factor", 1)
                        .read()),
        other);
  // The original length is the trained one where no key says it.
  other = four, other.original = 8192;
  check(rotation_of(keys().text("rope.scaling.type", "yarn").real("rope.scaling.factor", 4).read()),
        other);

  std::vector<float> shorts(32), longs(32);
  for (std::size_t i = 0; i < 32; ++i) {
    shorts[i] = 1.0F + 0.01F * static_cast<float>(i);
    longs[i] = 1.0F + static_cast<float>(i);
  }
  check(rotation_of(keys().list("rope_freqs.weight", longs).read()),
        {.dim = 64, .base = 1e6, .factors = longs});
  const config::Rotation by_length =
      rotation_of(keys()
                      .list("rope_factors_short.weight", shorts)
                      .list("rope_factors_long.weight", longs)
                      .real("rope.scaling.attn_factor", 1.19)
                      .count("rope.scaling.original_context_length", 4096)
                      .read());
  CHECK(by_length.depends_on_length());
  check(by_length, {.dim = 64, .base = 1e6, .attn_factor = 1.19, .factors = longs});
  CHECK_THAT(by_length.state(4096).inv_freq[31],
             WithinRel(Ggml{.dim = 64, .base = 1e6, .factors = shorts}.angle(31), 1e-6));
}

/// Two readers, of two files of one model: the same layers see the same, and rotate by the same angles.
void check_same(const config::Model& ours, const config::Model& theirs, bool permuted = false) {
  INFO(explain(ours) << explain(theirs));
  CHECK(ours.num_layers == theirs.num_layers);
  if (theirs.max_position_embeddings != 0)
    CHECK(ours.max_position_embeddings == theirs.max_position_embeddings);
  REQUIRE(ours.layers.size() == theirs.layers.size());
  for (std::size_t i = 0; i < ours.layers.size(); ++i) {
    const LayerKind &a = ours.layers[i], &b = theirs.layers[i];
    CHECK(a.layers == b.layers);
    CHECK((a.num_heads == b.num_heads && a.num_kv_heads == b.num_kv_heads &&
           a.head_dim == b.head_dim));
    CHECK((a.window == b.window && a.ahead == b.ahead && a.chunk == b.chunk));
    CHECK_THAT(a.score.score_scale(a.head_dim), WithinRel(b.score.score_scale(b.head_dim), 1e-6));
    for (const Position n : {0, 10000, 300000})
      CHECK_THAT(a.score.temperature(n), WithinRel(b.score.temperature(n), 1e-6));
    CHECK(a.alibi.has_value() == b.alibi.has_value());
    if (a.alibi && b.alibi) CHECK(a.alibi->max_bias == b.alibi->max_bias);
    REQUIRE(a.rotary.has_value() == b.rotary.has_value());
    const BindOptions heads{.num_heads = a.num_heads, .num_kv_heads = a.num_kv_heads};
    CHECK_NOTHROW(bind(a.encoding(), heads));
    if (!a.rotary) continue;
    CHECK(a.rotary->layout == (permuted ? config::LayoutName::interleaved : b.rotary->layout));
    CHECK((a.rotary->rotary_dim == b.rotary->rotary_dim &&
           a.rotary->rotary_offset == b.rotary->rotary_offset));
    CHECK(a.rotary->axes.rule == b.rotary->axes.rule);
    for (const Position length : {Position{0}, 2 * theirs.max_position_embeddings}) {
      const RotaryState one = a.rotary->state(length), two = b.rotary->state(length);
      CHECK(((one.inv_freq / two.inv_freq - 1).abs() < 1e-6).all());
      CHECK_THAT(one.attention_factor, WithinRel(two.attention_factor, 1e-6));
      CHECK_THAT(one.score_factor, WithinRel(two.score_factor, 1e-6));
    }
  }
}

TEST_CASE("gguf: the same model as its config.json gives") {
  // Llama 3.1: the converter writes the divisors as a tensor, by the formula of its scaling.
  std::vector<float> divisors;
  for (int i = 0; i < 64; ++i) {
    const double wavelength = 2 * 3.141592653589793 * std::pow(500000.0, i / 64.0);
    const double smooth = (8192 / wavelength - 1) / 3;
    divisors.push_back(static_cast<float>(wavelength < 2048   ? 1
                                          : wavelength > 8192 ? 8
                                                              : 1 / ((1 - smooth) / 8 + smooth)));
  }
  check_same(Keys("llama")
                 .shape(32, 32, 8, 128, 131072)
                 .real("rope.freq_base", 5e5)
                 .count("rope.dimension_count", 128)
                 .list("rope_freqs.weight", divisors)
                 .read(),
             shipped("llama-3.1-8b"), true);
  check_same(Keys("qwen2")
                 .shape(28, 28, 4, 128, 32768)
                 .real("rope.freq_base", 1e6)
                 .text("rope.scaling.type", "yarn")
                 .real("rope.scaling.factor", 4)
                 .count("rope.scaling.original_context_length", 32768)
                 .read(),
             shipped("qwen2.5-7b-instruct-yarn"));
  check_same(Keys("smollm3").shape(36, 16, 4, 128, 65536).real("rope.freq_base", 5e6).read(),
             shipped("smollm3-3b"), true);
  check_same(Keys("gemma3")
                 .shape(62, 32, 16, 128, 131072, 5376)
                 .count("attention.sliding_window", 1024)
                 .real("rope.freq_base", 1e6)
                 .text("rope.scaling.type", "linear")
                 .real("rope.scaling.factor", 8)
                 .read(),
             shipped("gemma-3-27b"));
  check_same(
      Keys("gemma2").shape(42, 16, 8, 256, 8192).count("attention.sliding_window", 4096).read(),
      shipped("gemma-2-9b"));
  check_same(Keys("cohere2")
                 .shape(32, 32, 8, 128, 8192)
                 .count("attention.sliding_window", 4096)
                 .real("rope.freq_base", 50000)
                 .text("rope.scaling.type", "none")
                 .read(),
             shipped("command-r7b"));
  check_same(Keys("olmo2")
                 .shape(32, 32, 32, 128, 65536)
                 .count("attention.sliding_window", 4096)
                 .real("rope.freq_base", 5e5)
                 .text("rope.scaling.type", "yarn")
                 .real("rope.scaling.factor", 8)
                 .count("rope.scaling.original_context_length", 8192)
                 .read(),
             shipped("olmo-3-7b"));
  check_same(Keys("deepseek2")
                 .count("block_count", 61)
                 .count("attention.head_count", 128)
                 .count("attention.head_count_kv", 1)
                 .count("attention.key_length", 576)
                 .count("attention.key_length_mla", 192)
                 .count("context_length", 163840)
                 .count("embedding_length", 7168)
                 .count("rope.dimension_count", 64)
                 .real("rope.freq_base", 10000)
                 .text("rope.scaling.type", "yarn")
                 .real("rope.scaling.factor", 40)
                 .count("rope.scaling.original_context_length", 4096)
                 .real("rope.scaling.yarn_log_multiplier", 0.1)
                 .read(),
             shipped("deepseek-v3"));
  const auto deepseek = [](double amplitude) {
    return Keys("deepseek2")
        .shape(2, 4, 4, 64, 4096)
        .count("rope.dimension_count", 32)
        .text("rope.scaling.type", "yarn")
        .real("rope.scaling.factor", 40)
        .real("rope.scaling.yarn_log_multiplier", 0.1)
        .real("rope.scaling.attn_factor", amplitude)
        .read()
        .layers[0];
  };
  CHECK_THAT(deepseek(1).score.score_scale(64), WithinRel(0.125, 1e-12));
  CHECK_THAT(deepseek(2).score.score_scale(64), WithinRel(0.5, 1e-12));
  CHECK(deepseek(2).rotary->state().attention_factor ==
        deepseek(1).rotary->state().attention_factor);
  check_same(Keys("gptneox").shape(44, 64, 64, 96, 2048).count("rope.dimension_count", 24).read(),
             shipped("gpt-neox-20b"));
  check_same(Keys("bloom").shape(30, 32, 32, 128, 2048).read(), shipped("bloom-7b1"));
  check_same(Keys("mpt").shape(32, 32, 32, 128, 2048).real("attention.max_alibi_bias", 8).read(),
             shipped("mpt-7b"));
  check_same(Keys("qwen2vl")
                 .shape(28, 28, 4, 128, 128000)
                 .real("rope.freq_base", 1e6)
                 .counts("rope.dimension_sections", {16, 24, 24, 0})
                 .read(),
             shipped("qwen2.5-vl-7b"));
}

TEST_CASE("gguf: heads and windows by layer, masks of both sides, layers without rotation") {
  const config::Model lists = Keys("openelm")
                                  .count("block_count", 3)
                                  .counts("attention.head_count", {4, 8, 4})
                                  .counts("attention.head_count_kv", {2, 4, 2})
                                  .count("attention.key_length", 64)
                                  .read();
  REQUIRE(lists.layers.size() == 2);
  CHECK(lists.layers[0].layers == std::vector<Index>{0, 2});
  CHECK(lists.layers[1].num_heads == 8);
  CHECK(lists.layers[1].num_kv_heads == 4);

  const auto windows = [] {
    return Keys("gemma3").shape(4, 4, 2, 64, 512).count("attention.sliding_window", 128);
  };
  CHECK(windows().read().layers.size() == 1);
  CHECK(windows().count("attention.sliding_window_pattern", 2).read().layers[1].layers ==
        std::vector<Index>{1, 3});
  CHECK(
      windows().counts("attention.sliding_window_pattern", {1, 0, 0, 1}).read().layers[0].layers ==
      std::vector<Index>{0, 3});

  const config::Model all =
      windows().count("attention.sliding_window_pattern", 0).read();  // as a period of 0
  REQUIRE(all.layers.size() == 1);
  CHECK(all.layers[0].window == 128);
  CHECK(windows().count("attention.sliding_window_pattern", 1).read().layers.at(0).window == 0);

  const config::Model both =
      Keys("gemma-embedding").shape(6, 4, 2, 64, 512).count("attention.sliding_window", 128).read();
  CHECK(both.layers[0].window == 65);
  CHECK(both.layers[0].ahead == 64);
  CHECK(both.layers[1].ahead == LayerKind::everything);
  CHECK(Keys("llama")
            .shape(2, 4, 2, 64, 512)
            .flag("attention.causal", false)
            .read()
            .layers[0]
            .ahead == LayerKind::everything);
  CHECK(!Keys("granite")
             .shape(2, 4, 2, 64, 512)
             .real("attention.scale", 0.5)
             .flag("rope.scaling.finetuned", false)
             .read()
             .layers[0]
             .rotary);
  CHECK(Keys("granite")
            .shape(2, 4, 2, 64, 512)
            .real("attention.scale", 0.5)
            .read()
            .layers[0]
            .score.softmax_scale == 0.5);

  const config::Model unscaled =
      Keys("llama").shape(2, 4, 2, 64, 512).real("attention.scale", 0.5).read();
  CHECK(unscaled.layers[0].score.score_scale(64) == 0.125);
  CHECK_THAT(explain(unscaled), ContainsSubstring("ignored: \"llama.attention.scale\""));

  const config::Model overwritten =
      Keys("llama4").shape(8, 4, 2, 64, 16384).count("attention.sliding_window", 1024).read();
  CHECK(overwritten.layers[0].chunk == 8192);
  CHECK_THAT(explain(overwritten), ContainsSubstring("is overwritten with 8192"));
  const config::Model chunks = Keys("llama4").shape(8, 4, 2, 64, 16384).read();
  CHECK(chunks.layers[0].chunk == 8192);
  CHECK(chunks.layers[1].layers == std::vector<Index>{3, 7});
  CHECK(!chunks.layers[1].rotary);
  CHECK_THAT(chunks.layers[1].score.temperature(8191), WithinRel(1 + 0.1 * std::log(2.0), 1e-9));
  CHECK_THAT(
      explain(Keys("phi3").shape(2, 4, 2, 64, 512).count("attention.sliding_window", 128).read()),
      ContainsSubstring(
          "ignored: \"phi3.attention.sliding_window\", which llama.cpp does not read"));
  CHECK_THAT(explain(Keys("gemma2").shape(2, 4, 2, 64, 512).read()),
             ContainsSubstring("append SoftCap{50}"));
}

TEST_CASE("gguf: what is wrong is a sentence that names the key") {
  const auto llama = [] { return Keys("llama").shape(2, 4, 2, 64, 512); };
  const auto says = [](const Keys& keys, const std::string& sentence) {
    CHECK_THAT(keys.error(), ContainsSubstring(sentence));
  };
  CHECK(llama().error().empty());
  says(Keys("mamba9"), "general.architecture \"mamba9\" is not in posenc's table, so the layout");
  says(Keys("t5"),
       "general.architecture \"t5\" cannot be expressed: its biases are a table of weights.");
  says(Keys("llama"), "llama.block_count is missing.");
  says(Keys("llama").count("block_count", 2), "llama.attention.head_count is missing.");
  says(Keys("llama")
           .count("block_count", 2)
           .count("attention.head_count", 3)
           .count("embedding_length", 64),
       "llama.attention.key_length is missing, and embedding_length (64) is not a multiple of "
       "head_count.");
  says(Keys("llama").count("block_count", 0).count("attention.head_count", 3),
       "llama.block_count must lie within [1, 65536], got 0.");
  says(Keys("llama")
           .count("block_count", 2)
           .count("attention.head_count", 4)
           .count("attention.head_count_kv", 3),
       "4 query heads cannot share 3 key heads.");
  says(Keys("llama").count("block_count", 2).counts("attention.head_count", {4, 4, 4}),
       "llama.attention.head_count must have a number for each of 2, got 3.");
  says(Keys("llama").count("block_count", 2).reals("attention.head_count", {4, 4.5F}),
       "llama.attention.head_count must have whole numbers, got 4.5.");
  says(llama().count("rope.dimension_count", 128),
       "llama.rope.dimension_count must lie within [2, 64], got 128.");
  says(llama().count("rope.dimension_count", 7), "even");
  says(llama().real("rope.freq_base", 1), "llama.rope.freq_base must lie within");
  says(llama().text("rope.scaling.type", "dynamic"),
       "llama.rope.scaling.type = \"dynamic\" is not one of none, linear, yarn");
  says(llama().text("rope.scaling.type", "longrope"),
       "needs the tensors rope_factors_short.weight");
  says(llama().list("rope_freqs.weight", {1, 2, 3}),
       "must have a number for each of the 32 rotary pairs, got 3.");
  says(llama().list("rope_freqs.weight", std::vector<float>(32, 0)), "factors");
  says(llama().list("rope_freqs.weight", std::vector<float>(32, 2)).real("rope.scaling.factor", 4),
       "beside a tensor of rotary factors is not supported.");
  says(llama().list("rope_factors_long.weight", std::vector<float>(32, 2)), "only one is there.");
  says(llama()
           .text("rope.scaling.type", "yarn")
           .real("rope.scaling.factor", 4)
           .real("rope.scaling.yarn_ext_factor", 0.5),
       "llama.rope.scaling.yarn_ext_factor must be 1");
  says(llama().text("rope.scaling.type", "yarn").real("rope.scaling.yarn_log_multiplier", 0.1),
       "is read for deepseek2 only.");
  says(llama().real("rope.scaling.alpha", 4),
       "\"llama.rope.scaling.alpha\" is not a key that posenc reads");
  says(llama().text("rope.freq_base", "x"),
       "is of the type string and was asked for as a floating-point number.");
  says(Keys("llama4").shape(8, 4, 2, 64, 512).count("attention.sliding_window", 0),
       "llama4.attention.sliding_window must not be 0");
  says(Keys("gemma3").shape(2, 4, 2, 64, 512), "gemma3.attention.sliding_window is missing.");
  says(Keys("qwen2vl").shape(2, 4, 2, 64, 512),
       "qwen2vl.rope.dimension_sections must have four numbers");
  says(Keys("baichuan").shape(2, 4, 2, 64, 512), "Baichuan rotates with 32 heads");
}

}  // namespace gguf_model_cases
