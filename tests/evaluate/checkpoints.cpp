// SPDX-License-Identifier: MIT
//
// Folders as transformers saves them: logits are those of transformers for the same files, and what
// is missing or wrong in a folder is one sentence.
#include "../../examples/evaluate/measure.hpp"

#include "../attention/golden_settings.hpp"

#include <fstream>

namespace checkpoint_cases {

using namespace posenc;
using evaluate::Matrix;
using golden_test::Json;
namespace fs = std::filesystem;

fs::path folder_of(const std::string& family) {
  return fs::path(POSENC_GOLDEN_DIR) / "checkpoints" / family;
}
const Json& golden() {
  static const Json json = golden_test::golden("checkpoints/golden.json");
  return json;
}

TEST_CASE("golden: logits of a folder are those of transformers") {
  CHECK(golden().at("cases").size() == 5);
  for (const Json& expected : golden().at("cases")) {
    const std::string family = expected.at("family");
    INFO(family);
    const evaluate::LanguageModel model = evaluate::read_model(folder_of(family));
    const evaluate::LlamaShape& shape = model.llama.shape;
    CHECK(shape.layers == expected.at("layers").get<Index>());
    CHECK(shape.name == family);
    std::vector<std::int32_t> first;
    if (model.first_token) first.push_back(*model.first_token);
    CHECK(first == expected.at("first").get<std::vector<std::int32_t>>());

    const auto tokens = expected.at("tokens").get<std::vector<std::int32_t>>();
    const auto encodings = evaluate::read_with(shape, "RoPE", std::ssize(tokens)).layers;
    const Matrix states = evaluate::last_states(model.llama, tokens,
                                                evaluate::bind_layers(shape, encodings), Serial{});
    const Matrix logits = evaluate::logits_of(model.llama, states);
    const auto theirs = expected.at("logits").get<std::vector<double>>();
    const auto every = expected.at("every").get<Index>();
    const Index columns = (logits.cols() + every - 1) / every;
    REQUIRE(std::ssize(theirs) == logits.rows() * columns);
    double worst = 0, largest = 0;
    for (Index i = 0; i < logits.rows(); ++i)
      for (Index j = 0; j < columns; ++j) {
        const double their = theirs[static_cast<std::size_t>(i * columns + j)];
        worst = std::max(worst, std::abs(static_cast<double>(logits(i, j * every)) - their));
        largest = std::max(largest, std::abs(their));
      }
    // Sums of some hundred products in float. That the logits are no zeros makes this mean something.
    CHECK(largest > 1);
    CHECK(worst < 2e-5);
  }
}

TEST_CASE(
    "pass key: prompts fit the length and end with the answer, and a length without room is "
    "refused") {
  const evaluate::LanguageModel model = evaluate::read_model(folder_of("llama"));
  const auto answer = model.tokenizer.encode(" 68417");
  for (const double depth : {0.0, 0.5, 1.0}) {
    const evaluate::PassKeyPrompt prompt = evaluate::pass_key_prompt(model, 2000, depth);
    CHECK(std::ssize(prompt.tokens) <= 2000);
    CHECK(std::ssize(prompt.tokens) > 1800);
    CHECK(std::vector<std::int32_t>(prompt.tokens.end() - prompt.answer, prompt.tokens.end()) ==
          answer);
  }
  CHECK(evaluate::pass_key_prompt(model, 2000, 0).tokens !=
        evaluate::pass_key_prompt(model, 2000, 1).tokens);
  CHECK_THROWS_WITH(evaluate::pass_key_prompt(model, 64, 0.5),
                    ContainsSubstring("more than the length of 64"));
}

TEST_CASE("readings: RoPE is the model's own, and what follows it is added to that") {
  const evaluate::LanguageModel llama = evaluate::read_model(folder_of("llama"));
  const evaluate::LlamaShape& shape = llama.llama.shape;
  const auto frequencies = [&](const std::string& expression) {
    const auto bound =
        evaluate::bind_layers(shape, evaluate::read_with(shape, expression, 256).layers);
    return bound[0].rotary().state.inv_freq;
  };
  const Frequencies trained = shape.positions.layers.at(0).rotary->state().inv_freq;
  const Frequencies plain = shape.positions.layers.at(0).rotary->unscaled_state().inv_freq;
  CHECK((trained - plain).abs().maxCoeff() > 1e-3);
  CHECK((frequencies("RoPE") - trained).abs().maxCoeff() == 0);
  CHECK((frequencies("RoPE|PI{factor=2}") - trained / 2).abs().maxCoeff() < 1e-15);
  CHECK((frequencies("RoPE{base=500}|PI{factor=2}") - plain / 2).abs().maxCoeff() < 1e-15);
  CHECK_THAT(evaluate::read_with(shape, "RoPE|PI", 256).text,
             ContainsSubstring("PI{factor=2} | Causal, RoPE with the model's own llama3"));

  // A window and layers without rotation stay.
  const auto sees = [&](const std::string& family, const std::string& expression, Index layer) {
    const evaluate::LlamaShape of = evaluate::read_model(folder_of(family)).llama.shape;
    const auto bound = evaluate::bind_layers(of, evaluate::read_with(of, expression, 64).layers);
    // Scores are all 0, so the weight of the query's own token is 1 over the number of keys that it sees.
    const Index tokens = 41;
    std::vector<float> q(static_cast<std::size_t>(tokens * of.heads * of.head_dim), 0.0F), out = q;
    std::vector<float> k(static_cast<std::size_t>(tokens * of.kv_heads * of.head_dim), 0.0F), v = k;
    v[static_cast<std::size_t>((tokens - 1) * of.kv_heads * of.head_dim)] = 1;
    attention(TensorView<const float>(q.data(), tokens, of.heads, of.head_dim),
              TensorView<const float>(k.data(), tokens, of.kv_heads, of.head_dim),
              TensorView<const float>(v.data(), tokens, of.kv_heads, of.head_dim),
              TensorView<float>(out.data(), tokens, of.heads, of.head_dim), bound[layer]);
    return std::lround(1 / out[static_cast<std::size_t>((tokens - 1) * of.heads * of.head_dim)]);
  };
  for (const char* expression : {"RoPE", "RoPE|PI{factor=2}"}) {
    CHECK(sees("mistral", expression, 0) == 8);
    CHECK(sees("qwen3", expression, 0) == 41);
    CHECK(sees("qwen3", expression, 3) == 8);
  }
  const evaluate::LlamaShape smol = evaluate::read_model(folder_of("smollm3")).llama.shape;
  const auto bound =
      evaluate::bind_layers(smol, evaluate::read_with(smol, "RoPE|PI{factor=2}", 64).layers);
  CHECK(bound[2].has_rotary());
  CHECK(!bound[3].has_rotary());
}

/// A copy of a folder, with one file changed, for as long as it lives.
class Copy {
 public:
  explicit Copy(const std::string& family)
      : path_(fs::temp_directory_path() / ("posenc-" + family)) {
    fs::remove_all(path_);
    fs::copy(folder_of(family), path_);
  }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;
  ~Copy() { fs::remove_all(path_); }

  [[nodiscard]] const fs::path& path() const { return path_; }
  [[nodiscard]] std::string text(const std::string& name) const {
    std::ifstream file(path_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  /// The file with `from` replaced by `to`, which has to occur.
  void replace(const std::string& name, const std::string& from, const std::string& to) const {
    std::string all = text(name);
    const std::size_t at = all.find(from);
    REQUIRE(at != std::string::npos);
    write(name, all.replace(at, from.size(), to));
  }
  [[nodiscard]] std::string error() const {
    try {
      static_cast<void>(evaluate::read_model(path_));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

 private:
  fs::path path_;
};

TEST_CASE("a folder that lacks something, or contradicts itself, is a sentence") {
  const auto refuses = [](const std::string& family, const auto& change,
                          const std::string& sentence) {
    const Copy copy(family);
    change(copy);
    CHECK_THAT(copy.error(), ContainsSubstring(sentence));
  };
  CHECK(Copy("smollm3").error().empty());
  for (const char* name : {"config.json", "tokenizer.json"})
    refuses(
        "smollm3", [&](const Copy& c) { fs::remove(c.path() / name); },
        std::string(name) + ": no such file");
  refuses(
      "smollm3", [](const Copy& c) { fs::remove(c.path() / "model.safetensors"); },
      "has neither model.safetensors nor model.safetensors.index.json.");
  refuses(
      "llama", [](const Copy& c) { fs::remove(c.path() / "model-00003-of-00005.safetensors"); },
      "cannot be opened");
  refuses(
      "llama",
      [](const Copy& c) { c.replace("model.safetensors.index.json", "00001-of", "00002-of"); },
      "is not in");
  refuses(
      "llama",
      [](const Copy& c) { c.replace("model.safetensors.index.json", "\"model-0", "\"../model-0"); },
      "must be in a file of the folder");
  refuses(
      "llama",
      [](const Copy& c) { c.replace("model.safetensors.index.json", "weight_map", "weights"); },
      "an index must have an object weight_map.");
  refuses(
      "qwen2", [](const Copy& c) { c.replace("config.json", "\"qwen2\"", "\"olmo\""); },
      "model_type must be llama, mistral, qwen2, qwen3 or smollm3, got olmo.");
  refuses(
      "mistral", [](const Copy& c) { c.replace("config.json", "\"silu\"", "\"gelu\""); },
      "hidden_act must be silu, got gelu.");
  refuses(
      "mistral",
      [](const Copy& c) { c.replace("config.json", "\"hidden_size\": 16", "\"hidden_size\": 24"); },
      "the tensor model.embed_tokens.weight must be 408 rows of 24, got 408 of 16.");
  refuses(
      "mistral", [](const Copy& c) { c.replace("config.json", "\"hidden_size\": 16,", ""); },
      "hidden_size is missing.");
  refuses(
      "mistral",
      [](const Copy& c) { c.replace("config.json", "\"vocab_size\": 408", "\"vocab_size\": 400"); },
      "the tensor model.embed_tokens.weight must be 400 rows of 16, got 408 of 16.");
  refuses(
      "smollm3",
      [](const Copy& c) { c.replace("config.json", "embeddings\": true", "embeddings\": false"); },
      "the tensor lm_head.weight is missing.");
  refuses(
      "smollm3",
      [](const Copy& c) { c.replace("model.safetensors", "layers.0.mlp.up", "layers.0.mlp.un"); },
      "the tensor model.layers.0.mlp.up_proj.weight is missing.");
  CHECK_THROWS_WITH(evaluate::read_model(folder_of("smollm3") / "model.safetensors"),
                    ContainsSubstring("give its folder"));
}

}  // namespace checkpoint_cases
