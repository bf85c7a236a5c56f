// SPDX-License-Identifier: MIT
//
// One look for one scheme, whatever the program that draws it.
#include "../../examples/support/scheme_look.hpp"

#include "../support/catch.hpp"

#include <set>
#include <vector>

namespace look_cases {

using example::look_of, example::short_name;

bool same(std::string_view a, std::string_view b) {
  return std::string(look_of(a).colour) == look_of(b).colour && look_of(a).dash == look_of(b).dash;
}

TEST_CASE("Names of lab, evaluate and compare are one scheme") {
  CHECK(same("RoPE", "as trained"));
  CHECK(same("NTK by parts", "NTKByParts"));
  CHECK(same("Leaky ReRoPE", "LeakyReRoPE"));
  CHECK(same("ReRoPE, log-n", "ReRoPE+LogN"));
  CHECK(same("T5", "T5Bias"));
  CHECK(same("RoPE|YaRN{factor=4, original_context=8}|Causal", "YaRN"));
  CHECK(same("RoPE | ReRoPE{window=8} | LogN{base_length=16}", "ReRoPE+LogN"));
  CHECK(same("RoPE{base=5}|Causal", "RoPE"));
  CHECK_FALSE(same("YaRN", "ReRoPE"));
}

TEST_CASE("Readings of a model can be told apart, and so can encodings of training") {
  for (const auto& names : std::vector<std::vector<const char*>>{
           {"RoPE", "PI", "NTK", "NTKByParts", "YaRN", "ABF", "Llama3", "LongRoPE", "ReRoPE",
            "ReRoPE+LogN", "LeakyReRoPE", "SelfExtend", "DualChunk", "StreamingLLM", "LMInfinite",
            "DynamicNTK", "Dynamic YaRN"},
           {"RoPE", "ALiBi", "T5", "Sinusoidal", "NoPE", "HWFA", "xPos", "KerpleLog", "KerplePower",
            "Sandwich", "Fire"}}) {
    std::set<std::pair<std::string, int>> looks;
    for (const char* name : names) looks.emplace(look_of(name).colour, look_of(name).dash);
    CHECK(looks.size() == names.size());
  }
}

TEST_CASE("A name that nobody knows has a look all the same") {
  CHECK(same("my own", "My-Own"));
  CHECK(look_of("").dash > 0);
}

TEST_CASE("The short name of an expression has what changes something") {
  CHECK(short_name("RoPE|YaRN{factor=4, beta_fast=32}|ReRoPE{window=8}|Causal") == "YaRN+ReRoPE");
  CHECK(short_name("RoPE") == "RoPE");
  CHECK(short_name("RoPE|Causal") == "RoPE");
  CHECK(short_name("ALiBi") == "ALiBi");
  CHECK(short_name("") == "RoPE");
}

}  // namespace look_cases
