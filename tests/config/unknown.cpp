// SPDX-License-Identifier: MIT
//
// Types that the table lacks: what must be said, what is refused, what is assumed.
#include "fixture.hpp"

using posenc::huggingface::LayoutName;
using posenc::huggingface::parse;

namespace unknown_cases {

const Options half{.layout = LayoutName::half_split};
const Options ignoring{.layout = LayoutName::half_split, .ignore_unknown_keys = true};

json other(const json& more = json::object()) {
  json config = llama({{"model_type", "brand_new"}});
  config.update(more);
  return config;
}

TEST_CASE("unknown type: every key about attention that was not read is named") {
  for (const json& more : std::vector<json>{{{"global_attn_every_n_layers", 4}},
                                            {{"hybrid_layer_pattern", {0, 1, 0, 1}}},
                                            {{"local_rope_theta", 5000}},
                                            {{"attention_chunk_size", 2048}},
                                            {{"rope_local_base_freq", 5000}},
                                            {{"mamba_d_state", 16}},
                                            {{"nope_layers", {3}}},
                                            {{"use_rope", false}},
                                            {{"alibi_bias_max", 8}},
                                            {{"relative_attention_num_buckets", 32}},
                                            {{"linear_attn_config", {{"kda_layers", {1, 2}}}}},
                                            {{"index_topk", 2048}},
                                            {{"swa_rope_theta", 10000}},
                                            {{"attention_sink_bias", true}},
                                            {{"softmax_scale", 0.1}},
                                            {{"kv_head_scale", 2}},
                                            {{"mask_type", "prefix"}},
                                            {{"is_prefix_lm", true}, {"prefix_length", 4}},
                                            {{"global_head_dim", 128}},
                                            {{"attention_value_scale", 0.7}},
                                            {{"no_rope_on_full_layers", true}}}) {
    const std::string key = more.begin().key();
    INFO(more.dump());
    const std::string wrong = wrong_with(other(more), half);
    CHECK_THAT(wrong, ContainsSubstring("bears on attention"));
    CHECK_THAT(wrong, ContainsSubstring(".ignore_unknown_keys = true"));
    CHECK(wrong_with(other(more), ignoring).empty());
    CHECK_THAT(explain(parse(other(more), ignoring)),
               ContainsSubstring("ignored, as the caller says: "));
    if (more.size() == 1) CHECK_THAT(wrong, ContainsSubstring(key + " = "));
    // Of a type whose code is known it is said that they have no part.
    if (more.size() == 1)
      CHECK_THAT(explain(parse(llama(more))),
                 ContainsSubstring("not read by posenc: " + key) || ContainsSubstring("ignored"));
  }
}

TEST_CASE("unknown type: keys of training and of other parts do not matter") {
  CHECK(wrong_with(other({{"attention_dropout", 0.1},
                          {"attention_bias", true},
                          {"attn_pdrop", 0.1},
                          {"hidden_act", "silu"},
                          {"rms_norm_eps", 1e-6},
                          {"initializer_range", 0.02},
                          {"mlp_bias", false},
                          {"num_experts_per_tok", 8},
                          {"routed_scaling_factor", 2.5},
                          {"first_k_dense_replace", 1},
                          {"num_nextn_predict_layers", 1},
                          {"vocab_size", 1000},
                          {"tie_word_embeddings", false},
                          {"use_cache", true},
                          {"torch_dtype", "bfloat16"},
                          {"architectures", {"BrandNewForCausalLM"}},
                          {"use_sliding_window", false},
                          {"sliding_window", 4096},
                          {"max_window_layers", 28},
                          {"layer_norm_eps", 1e-5},
                          {"moe_intermediate_size", 128},
                          {"use_rope_scaling_note", nullptr},
                          {"alibi", false},
                          {"auto_map", {{"AutoModel", "x"}}},
                          {"quantization_config", {{"modules_to_not_convert", {"a"}}}}}),
                   half)
            .empty());
}

TEST_CASE("unknown type: windows need to be placed, unless they never bite") {
  CHECK_THAT(wrong_with(other({{"sliding_window", 512}}), half),
             ContainsSubstring("which layers slide is not known"));
  CHECK(wrong_with(other({{"sliding_window", 4096}}), half).empty());  // as many positions
  const json types = {"sliding_attention", "full_attention", "sliding_attention", "full_attention"};
  CHECK(kind(parse(other({{"sliding_window", 512},
                          {"layer_types", types},
                          {"sliding_window_pattern", 2}}),
                   half),
             "sliding_attention")
            .window == 512);
}

TEST_CASE("unknown type: rope_interleave settles the layout") {
  CHECK(rotation(parse(other({{"rope_interleave", true}}))).layout == LayoutName::interleaved);
  CHECK(rotation(parse(other({{"rope_interleave", false}}))).layout == LayoutName::half_split);
  CHECK(rotation(parse(other({{"rotary_emb_interleaved", true}}))).layout ==
        LayoutName::interleaved);
}

TEST_CASE("unknown type: mscale_all_dim is a matter of the code") {
  const json yarn = {{"rope_type", "yarn"},
                     {"factor", 40},
                     {"mscale", 1.0},
                     {"mscale_all_dim", 1.0},
                     {"original_max_position_embeddings", 4096}};
  CHECK_THAT(wrong_with(other({{"rope_scaling", yarn}}), half),
             ContainsSubstring("rope_scaling.mscale_all_dim = 1"));
  CHECK(wrong_with(other({{"rope_scaling", yarn}}), ignoring).empty());
}

TEST_CASE("unknown type: explain() says what stood in for the table") {
  const std::string text = explain(parse(other(), half));
  CHECK_THAT(text, ContainsSubstring("\"brand_new\" is not in posenc's table; assumed: every layer "
                                     "attends, causally, and rotates"));
  CHECK_THAT(text, ContainsSubstring("layout: as the caller says"));
  CHECK_THAT(text, !ContainsSubstring("Hugging Face's class"));
}

TEST_CASE("unknown type: a program's own words for its options") {
  Options options;
  options.remedies = {.layout = "add --layout", .ignore_unknown_keys = "add --ignore"};
  CHECK_THAT(wrong_with(other(), options), ContainsSubstring("never says it: add --layout."));
  options.layout = LayoutName::half_split;
  CHECK_THAT(wrong_with(other({{"mamba_d_state", 16}}), options),
             ContainsSubstring("add --ignore to go on"));
}

TEST_CASE("unknown type: words of attention in keys of many authors") {
  for (const char* key : {"use_swa",
                          "swa_size",
                          "num_query_groups",
                          "pos_emb_type",
                          "pe_type",
                          "pos_embed",
                          "rel_pos_bins",
                          "max_rel_pos",
                          "use_rpe",
                          "qk_scaling",
                          "query_scaling",
                          "base_freq",
                          "logits_soft_cap",
                          "is_encoder_decoder",
                          "segment_length",
                          "retention_gamma",
                          "kda_config",
                          "nsa_config",
                          "moba_topk",
                          "attn_logit_scale",
                          "attention_chunk_tokens",
                          "n_global_tokens",
                          "attention_sink_tokens",
                          "attention_norm_scale",
                          "initial_context_length",
                          "attn_topk_blocks",
                          "attention_group"}) {
    INFO(key);
    CHECK_THAT(wrong_with(other({{key, true}}), half), ContainsSubstring(key));
  }
  for (const char* key : {"unidirectional", "use_attention_mask", "scale_attn_weights"})
    CHECK_THAT(wrong_with(other({{key, false}}), half), ContainsSubstring(key));
  CHECK_THAT(wrong_with(other({{"decoder_config", {{"a", {{"sliding_window", 512}}}}}}), half),
             ContainsSubstring("decoder_config.a.sliding_window = 512 bears on attention"));
}

TEST_CASE("unknown type: what files commonly have besides is passed over") {
  for (const char* key : {"initializer_range",
                          "tokenizer_class",
                          "pad_token_id",
                          "mask_token_id",
                          "hidden_act",
                          "rms_norm_eps",
                          "layer_norm_epsilon",
                          "tie_word_embeddings",
                          "attention_dropout",
                          "attention_bias",
                          "torch_dtype",
                          "use_cache",
                          "vocab_size",
                          "num_beam_groups",
                          "length_penalty",
                          "chunk_size_feed_forward",
                          "final_logit_softcapping",
                          "logit_scale",
                          "scale_embedding",
                          "topk_method",
                          "topk_group",
                          "n_group",
                          "decoder_sparse_step",
                          "output_attentions",
                          "transformers_version",
                          "classifier_dropout",
                          "type_vocab_size",
                          "num_experts_per_tok",
                          "bos_token_id",
                          "pretraining_tp",
                          "task_specific_params"}) {
    INFO(key);
    CHECK(wrong_with(other({{key, 1}}), half) == "");
  }
  CHECK(wrong_with(other({{"id2label", {{"0", "POSITION"}}},
                          {"label2id", {{"head_position", 0}}},
                          {"is_decoder", false},
                          {"is_encoder_decoder", false},
                          {"add_cross_attention", false},
                          {"pruned_heads", json::object()}}),
                   half) == "");
}

TEST_CASE("unknown type: a dictionary for layers that there are not") {
  const json ropes = {{"full_attention", {{"rope_type", "default"}}},
                      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", -5}}}};
  const json config = other({{"rope_parameters", ropes}});
  CHECK_THAT(wrong_with(config, half),
             ContainsSubstring("rope_parameters.sliding_attention") && ContainsSubstring("-5"));
  CHECK_THAT(explain(parse(config, ignoring)),
             ContainsSubstring("ignored: rope_parameters.sliding_attention"));
}

TEST_CASE("unread keys within attn_config, and beside a part, are named") {
  const Model mpt = parse({{"model_type", "mpt"},
                           {"attn_config",
                            {{"prefix_lm", true},
                             {"sliding_window_size", 16},
                             {"kv_n_heads", 2},
                             {"attn_uses_sequence_id", false},
                             {"attn_pdrop", 0},
                             {"alibi", true}}}});
  CHECK_THAT(explain(mpt),
             ContainsSubstring("not read by posenc: attn_config.kv_n_heads = 2, "
                               "attn_config.prefix_lm = true, attn_config.sliding_window_size"));
  const Model llava = parse({{"model_type", "llava"},
                             {"rope_scaling", {{"rope_type", "linear"}, {"factor", 2}}},
                             {"vision_config", {{"num_attention_heads", 2}}},
                             {"text_config", llama()}});
  CHECK_THAT(explain(llava),
             ContainsSubstring("not of text_config, and so not read: rope_scaling"));
}

}  // namespace unknown_cases
