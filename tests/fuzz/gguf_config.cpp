// SPDX-License-Identifier: MIT
//
// A fuzzer's bytes as the metadata of a GGUF file: keys that the reader of encodings knows with values
// that they should not have. What it accepts can be explained and bound; what it refuses it refuses in
// sentences of a decent length.
#include <posenc/bind/bind.hpp>
#include <posenc/config/gguf.hpp>

#include "../gguf/writer.hpp"
#include "bytes.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using gguf_test::Bytes;

constexpr const char* keys[] = {"block_count",
                                "attention.head_count",
                                "attention.head_count_kv",
                                "attention.key_length",
                                "attention.key_length_mla",
                                "attention.sliding_window",
                                "attention.sliding_window_pattern",
                                "attention.scale",
                                "attention.causal",
                                "attention.max_alibi_bias",
                                "attn_logit_softcapping",
                                "context_length",
                                "embedding_length",
                                "rope.dimension_count",
                                "rope.dimension_sections",
                                "rope.freq_base",
                                "rope.freq_base_swa",
                                "rope.scale_linear",
                                "rope.scaling.type",
                                "rope.scaling.factor",
                                "rope.scaling.attn_factor",
                                "rope.scaling.original_context_length",
                                "rope.scaling.finetuned",
                                "rope.scaling.yarn_log_multiplier",
                                "rope.scaling.yarn_ext_factor",
                                "rope.scaling.yarn_attn_factor",
                                "rope.scaling.yarn_beta_fast",
                                "rope.scaling.yarn_beta_slow",
                                "rope.unknown"};
constexpr const char* texts[] = {"none", "linear", "yarn", "longrope", "", "\x01\xff"};
constexpr const char* tensors[] = {"rope_freqs.weight", "rope_factors_short.weight",
                                   "rope_factors_long.weight"};
constexpr std::uint32_t counts[] = {0,  1,  2,  3,   4,    6,     7,          8,
                                    16, 32, 64, 128, 4096, 65536, 0xffffffffU};
constexpr float reals[] = {-1, 0, 1e-38F, 0.1F, 0.5F, 1, 1.5F, 4, 32, 1e4F, 1e6F, 1e30F, 3e38F};

std::string architecture(fuzz::Bytes& source) {
  const auto& rows = posenc::gguf::detail::gguf_rows;
  const std::string_view names = rows[source.below(std::size(rows))].names;
  std::size_t at = source.below(names.size());
  while (at > 0 && names[at - 1] != ' ') --at;
  return std::string(names.substr(at, names.find(' ', at) - at));
}

std::vector<std::byte> file(fuzz::Bytes& source) {
  gguf_test::Writer writer;
  const std::string name = architecture(source);
  writer.key_text("general.architecture", name);
  bool given[std::size(keys)] = {};
  const auto put = [&](std::size_t key, std::uint32_t type, const Bytes& value) {
    if (!given[key]) writer.key(name + "." + keys[key], type, value);
    given[key] = true;
  };
  if (source.below(8) != 0)  // mostly a model of a size that a test can bind
    for (const auto& [key, value] :
         {std::pair{0U, 4U}, {1U, 8U}, {2U, 2U}, {3U, 64U}, {11U, 4096U}, {12U, 512U}})
      put(key, gguf_test::u32, Bytes().number(value));
  bool has[std::size(tensors)] = {};
  while (source.are_left() && source.below(16) != 0) {
    const std::size_t key = source.below(std::size(keys));
    switch (source.below(6)) {
      case 0:
        put(key, gguf_test::text, Bytes().text(source.one_of(texts)));
        break;
      case 1:
        put(key, gguf_test::boolean, Bytes().number(static_cast<std::uint8_t>(source.below(2))));
        break;
      case 2: {
        Bytes list;
        const std::size_t length = source.below(9);
        for (std::size_t i = 0; i < length; ++i) list.number(source.one_of(counts));
        put(key, gguf_test::array, gguf_test::array_of(gguf_test::u32, length, list));
        break;
      }
      case 3: {
        const std::size_t tensor = source.below(std::size(tensors));
        if (!has[tensor])
          writer.tensor(tensors[tensor], {32}, 0,
                        gguf_test::floats(std::vector<float>(32, source.one_of(reals))));
        has[tensor] = true;
        break;
      }
      case 4:
        put(key, gguf_test::u32, Bytes().number(source.one_of(counts)));
        break;
      default:
        put(key, gguf_test::f32, Bytes().number(source.one_of(reals)));
    }
  }
  return writer.file();
}

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t count) {
  fuzz::Bytes source(data, count);
  const std::vector<std::byte> bytes = file(source);
  try {
    const auto model = posenc::gguf::parse(posenc::gguf::File::from_bytes(bytes));
    try {
      (void)explain(model);
      for (const auto& layer : model.layers)
        (void)posenc::bind(layer.encoding(), {.num_heads = layer.num_heads,
                                              .num_kv_heads = layer.num_kv_heads,
                                              .head_dim = layer.head_dim});
    } catch (const posenc::Error& error) {
      fail(std::string("accepted, but ") + error.what());
    }
  } catch (const posenc::Error& error) {
    for (const std::string& problem : error.problems())
      if (problem.empty() || problem.size() > 900 || problem.find('\n') != std::string::npos)
        fail("an odd sentence: " + problem.substr(0, 2000));
  }
  return 0;
}
