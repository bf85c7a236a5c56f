// SPDX-License-Identifier: MIT
#include "fixture.hpp"

#include <algorithm>

using posenc::config::ExplainOptions;

namespace explain_cases {
void says(const std::string& text, std::initializer_list<const char*> fragments) {
  for (const char* fragment : fragments) CHECK_THAT(text, ContainsSubstring(fragment));
}

TEST_CASE("explain: which key won, the layout and why, the pairs") {
  says(explain(shipped("llama-3.1-8b")),
       {"layout: model_type \"llama\"", "HalfSplit, channels 0..127 of 128", "32 layers (0-31)",
        "32 query, 8 key", "base 500000 from rope_theta", "trained context: 8192", "0..28", "kept",
        "blended", "35..63", "interpolated"});
  says(explain(shipped("deepseek-v3")),
       {"Interleaved, channels 128..191 of 192", "attention factor: 1\n",
        "softmax scale times: 1.873854207", "DeepSeek: m(mscale)"});
  says(explain(shipped("gemma-3-1b")), {"sliding window of 512 tokens", "left = 511", "0-4 6-10",
                                        "base 10000 from rope_local_base_freq"});
  says(explain(shipped("llama-4-scout")),
       {"chunks of 8192", "no position in attention", "1 + 0.1 ln(1 + floor((n + 1) / 8192))"});
  says(explain(shipped("gemma-4")), {"64..255", "off"});
  says(explain(shipped("hunyuan-7b")),
       {"base in force: 11158839.93", "ignored: rope_scaling.beta_fast = 32"});
  says(explain(shipped("qwen2.5-7b-instruct-yarn")),
       {"attention factor: 1.138629436", "0.1 ln(factor) + 1",
        "32768 is less than the 131072 positions"});
  says(explain(shipped("bloom-7b1")), {"ALiBi: max_bias 8"});
}

TEST_CASE("explain: at a length, and pair by pair") {
  const Model phi = shipped("phi-4-mini-instruct");
  says(explain(phi), {"shown for 4096", "cache raw keys", "0..47"});
  says(explain(phi, ExplainOptions{.length = 4097}), {"shown for 4097", "47.77", "rescaled"});
  const std::string all = explain(shipped("llama-2-7b"), ExplainOptions{.every_pair = true});
  CHECK(std::count(all.begin(), all.end(), '\n') > 64);
}

}  // namespace explain_cases
