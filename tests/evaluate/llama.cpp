// SPDX-License-Identifier: MIT
//
// A model of the Llama family: its logits are those of transformers for the same weights, by matrices and from a GGUF
// file; what is missing in a file is one sentence each.
#include "../../examples/evaluate/measure.hpp"

#include "../attention/golden_settings.hpp"
#include "../gguf/writer.hpp"
#include "small_model.hpp"

#include <string>
#include <vector>

namespace llama_cases {

using namespace posenc;
using namespace small_model;
using golden_test::Json;

std::vector<std::int32_t> golden_tokens() {
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < 12; ++i) tokens.push_back((7 * i + 3) % 20);
  return tokens;
}

double worst_logit(const evaluate::Llama& model, const Json& expected) {
  const LayerSchedule encodings = evaluate::read_with(model.shape, "RoPE", 64).layers;
  const Matrix states = evaluate::last_states(
      model, golden_tokens(), evaluate::bind_layers(model.shape, encodings), Serial{});
  const Matrix logits = evaluate::logits_of(model, states);
  const auto theirs = expected.at("logits").get<std::vector<double>>();
  REQUIRE(std::ssize(theirs) == logits.size());
  double worst = 0;
  for (Index i = 0; i < logits.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(logits.data()[i]) -
                                     theirs[static_cast<std::size_t>(i)]));
  return worst;
}

TEST_CASE("golden: logits of the Llama family are those of transformers") {
  const Json golden = golden_test::golden("llama.json").at("cases");
  CHECK(golden.size() == 3);
  for (const Json& expected : golden) {
    INFO(expected.at("model_type"));
    CHECK(worst_logit(golden_model(expected.at("model_type")), expected) < 2e-6);
  }
}

/// The same model as a file, with rows of q and k in the interleaved order that such files have.
gguf_test::Writer model_file(const evaluate::Llama& model, const std::string& without = "") {
  gguf_test::Writer file;
  const auto count = [&](const std::string& key, Index value) {
    if (key != without) file.key(key, gguf_test::u32, static_cast<std::uint32_t>(value));
  };
  file.key_text("general.architecture", "llama");
  count("llama.block_count", layers);
  count("llama.attention.head_count", heads);
  count("llama.attention.head_count_kv", kv_heads);
  count("llama.attention.key_length", head_dim);
  count("llama.embedding_length", width);
  count("llama.feed_forward_length", mlp);
  count("llama.context_length", 64);
  file.key("llama.attention.layer_norm_rms_epsilon", gguf_test::f32, 1e-5F);
  file.key_text("tokenizer.ggml.model", "gpt2");
  gguf_test::Bytes texts;
  for (int i = 0; i < vocabulary; ++i) texts.text(std::string(1, static_cast<char>('a' + i)));
  file.key("tokenizer.ggml.tokens", gguf_test::array,
           gguf_test::array_of(gguf_test::text, vocabulary, texts));
  const auto tensor = [&](const std::string& name, const auto& m, Index rows) {
    if (name == without) return;
    std::vector<std::uint64_t> shape{static_cast<std::uint64_t>(m.size() / rows)};
    if (rows > 1) shape.push_back(static_cast<std::uint64_t>(rows));
    file.tensor(name, shape, 0,
                gguf_test::floats(std::vector<float>(m.data(), m.data() + m.size())));
  };
  const auto interleaved = [](const Matrix& m) {
    Matrix to(m.rows(), m.cols());
    for (Index r = 0; r < m.rows(); ++r) {
      const Index head = r / head_dim, channel = r % head_dim, half = head_dim / 2;
      to.row(head * head_dim + (channel < half ? 2 * channel : 2 * (channel - half) + 1)) =
          m.row(r);
    }
    return to;
  };
  tensor("token_embd.weight", model.embedding, vocabulary);
  tensor("output_norm.weight", model.last_norm, 1);
  for (Index l = 0; l < layers; ++l) {
    const std::string at = "blk." + std::to_string(l) + ".";
    const evaluate::LlamaLayer& layer = model.layers[static_cast<std::size_t>(l)];
    tensor(at + "attn_norm.weight", layer.attention_norm, 1);
    tensor(at + "ffn_norm.weight", layer.mlp_norm, 1);
    tensor(at + "attn_q.weight", interleaved(layer.q), layer.q.rows());
    tensor(at + "attn_k.weight", interleaved(layer.k), layer.k.rows());
    tensor(at + "attn_v.weight", layer.v, layer.v.rows());
    tensor(at + "attn_output.weight", layer.o, layer.o.rows());
    tensor(at + "ffn_gate.weight", layer.gate, layer.gate.rows());
    tensor(at + "ffn_up.weight", layer.up, layer.up.rows());
    tensor(at + "ffn_down.weight", layer.down, layer.down.rows());
  }
  return file;
}

TEST_CASE("a GGUF file gives the same model, and says what it lacks") {
  const evaluate::Llama model = golden_model("llama");
  const auto bytes = model_file(model).file();
  const gguf::File file = gguf::File::from_bytes(bytes);
  evaluate::GgufReader reader(file);
  const evaluate::Llama read = reader.llama();
  CHECK(read.shape.positions.layers.at(0).rotary->layout == config::LayoutName::interleaved);
  CHECK(worst_logit(read, golden_test::golden("llama.json").at("cases").at(0)) < 2e-6);
  CHECK(reader.tokenizer().encode("cab") == std::vector<std::int32_t>{2, 0, 1});
  CHECK(!reader.first_token());

  const auto refuses = [&](const std::string& without, const std::string& sentence) {
    INFO(without);
    const auto wrong = model_file(model, without).file();
    const gguf::File lacking = gguf::File::from_bytes(wrong);
    CHECK_THROWS_WITH(evaluate::GgufReader(lacking).llama(), ContainsSubstring(sentence));
  };
  refuses("llama.block_count", "llama.block_count is missing.");
  refuses("llama.attention.key_length",
          "the tensor blk.0.attn_q.weight must be 16 rows of 16, got 32 of 16.");
  refuses("blk.1.ffn_up.weight", "the tensor blk.1.ffn_up.weight is missing.");
  refuses("output_norm.weight", "the tensor output_norm.weight is missing.");
}

TEST_CASE("measure: windows end at the same token, stretches are means of their own tokens") {
  evaluate::Llama llama = golden_model("llama");
  const evaluate::LanguageModel model{llama, {std::vector<std::string>{"a"}, {}, "default"}};
  std::vector<std::int32_t> text;
  for (int i = 0; i < 40; ++i) text.push_back((i * i + 3 * i) % 20);
  const LayerSchedule encodings = evaluate::read_with(llama.shape, "RoPE", 24).layers;
  const evaluate::MeasureOptions options{.last = 8, .stretch = 4, .sampled = 2};
  const evaluate::Measured m = evaluate::measure(model, text, 24, encodings, options, Serial{});
  // By hand: all of the window's tokens at once.
  const std::vector<std::int32_t> window(text.end() - 24, text.end());
  const Matrix logits = evaluate::logits_of(
      llama, evaluate::last_states(llama, window, evaluate::bind_layers(llama.shape, encodings),
                                   Serial{}));
  const auto nats = [&](Index t) {
    const auto before = logits.row(t - 1).array().cast<double>();
    return std::log(before.exp().sum()) - before(window[static_cast<std::size_t>(t)]);
  };
  double last = 0;
  for (Index t = 16; t < 24; ++t) last += nats(t) / 8;
  CHECK_THAT(m.last, WithinAbs(last, 1e-5));
  REQUIRE(m.by_position.size() == 6);
  CHECK(m.by_position[0].first == 4);
  CHECK_THAT(m.by_position[0].second, WithinAbs((nats(2) + nats(3)) / 2, 1e-5));
  CHECK(m.by_position[5].first == 24);
  CHECK_THAT(m.by_position[5].second,
             WithinAbs((nats(20) + nats(21) + nats(22) + nats(23)) / 4, 1e-5));
  CHECK_THAT(m.perplexity(), WithinRel(std::exp(last), 1e-5));
}

}  // namespace llama_cases
