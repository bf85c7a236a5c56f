// SPDX-License-Identifier: MIT
//
// The parameters of the gallery's components as text, in the form of expressions: "Llama3{factor=4, ...}".
#pragma once

#include <posenc/config/components.hpp>
#include <posenc/gallery.hpp>

#include <sstream>
#include <string>

namespace compare {

namespace parameters {

/// "Name{key=value, ...}", built pair by pair.
class Text {
 public:
  explicit Text(const char* name) : name_(name) { pairs_.precision(12); }
  template <class V>
  Text&& with(const char* key, const V& value) && {
    pairs_ << (pairs_.str().empty() ? "" : ", ") << key << "=" << value;
    return std::move(*this);
  }
  operator std::string() && {
    return pairs_.str().empty() ? name_ : name_ + "{" + pairs_.str() + "}";
  }

 private:
  std::string name_;
  std::ostringstream pairs_;
};

/// "0.2..2" of a value per head.
template <class V>
std::string range(const std::vector<V>& values) {
  if (values.empty()) return "by rule";
  std::ostringstream text;
  text << values.front();
  if (values.front() != values.back()) text << ".." << values.back();
  return text.str();
}
inline std::string list(const std::vector<posenc::Position>& values) {
  std::ostringstream text;
  for (const auto value : values) text << (text.str().empty() ? "" : "/") << value;
  return text.str();
}

using std::string;

/// Of a component that has no line below.
template <class C>
string of(const C&) {
  return "as in gallery.hpp";
}
template <class L>
string of(const posenc::RoPE<L>& c) {
  return Text("RoPE").with("rotary_dim", c.rotated_channels());
}
inline string of(const posenc::config::Unscaled&) { return "RoPE"; }
inline string of(const posenc::Causal&) { return "Causal"; }
inline string of(const posenc::RotateValues&) { return "RotateValues"; }
inline string of(const posenc::Axial2D&) { return "Axial2D"; }
inline string of(const posenc::MRoPE& c) {
  return Text("MRoPE")
      .with("sections", c.sections[0])
      .with("and", c.sections[1])
      .with("and", c.sections[2])
      .with("interleaved", c.interleaved);
}
inline string of(const posenc::XPos& c) {
  return Text("XPos").with("scale_base", c.scale_base).with("centre", c.centre);
}
inline string of(const posenc::ABF& c) { return Text("ABF").with("beta", c.beta); }
inline string of(const posenc::PI& c) { return Text("PI").with("factor", c.factor); }
inline string of(const posenc::NTK& c) { return Text("NTK").with("alpha", c.alpha); }
inline string of(const posenc::DynamicNTK& c) {
  return Text("DynamicNTK").with("original_context", c.original_context).with("form", "paper");
}
inline string of(const posenc::NTKByParts& c) {
  return Text("NTKByParts")
      .with("factor", c.factor)
      .with("original_context", c.original_context)
      .with("beta_fast", c.beta_fast)
      .with("beta_slow", c.beta_slow);
}
inline string of(const posenc::YaRN& c) {
  return Text("YaRN")
      .with("factor", c.factor)
      .with("original_context", c.original_context)
      .with("beta_fast", c.beta_fast)
      .with("beta_slow", c.beta_slow);
}
inline string of(const posenc::Dynamic<posenc::YaRN>& c) {
  return Text("Dynamic<YaRN>").with("original_context", c.context());
}
inline string of(const posenc::Llama3& c) {
  return Text("Llama3")
      .with("factor", c.factor)
      .with("original_context", c.original_context)
      .with("low_freq_factor", c.low_freq_factor)
      .with("high_freq_factor", c.high_freq_factor);
}
template <posenc::LongRoPESelection selection>
string of(const posenc::BasicLongRoPE<selection>& c) {
  return Text("LongRoPE")
      .with("factor", c.factor)
      .with("original_context", c.original_context)
      .with("short_factor", range(c.short_factor))
      .with("long_factor", range(c.long_factor));
}
inline string of(const posenc::TruncatedBasis& c) {
  return Text("TruncatedBasis").with("wavelength", c.wavelength);
}
inline string of(const posenc::PowerScaling& c) {
  return Text("PowerScaling").with("exponent", c.exponent);
}
inline string of(const posenc::Resonance&) { return "Resonance"; }
inline string of(const posenc::MsPoE& c) {
  return Text("MsPoE").with("least", c.least).with("greatest", c.greatest);
}
inline string of(const posenc::Proportional& c) {
  return Text("Proportional").with("fraction", c.fraction);
}
inline string of(const posenc::ReRoPE& c) { return Text("ReRoPE").with("window", c.window); }
inline string of(const posenc::LeakyReRoPE& c) {
  return Text("LeakyReRoPE").with("window", c.window).with("factor", c.factor);
}
inline string of(const posenc::SelfExtend& c) {
  return Text("SelfExtend").with("window", c.window).with("group", c.group);
}
inline string of(const posenc::DualChunk& c) {
  return Text("DualChunk").with("chunk", c.chunk).with("cap", c.cap);
}
inline string of(const posenc::STRING& c) {
  return Text("STRING").with("shift", c.shift).with("local", c.local);
}
inline string of(const posenc::StreamingLLM& c) {
  return Text("StreamingLLM").with("sinks", c.sinks).with("recent", c.recent);
}
inline string of(const posenc::LMInfinite& c) {
  return Text("LMInfinite").with("window", c.window).with("sinks", c.sinks);
}
inline string of(const posenc::ALiBi& c) {
  return Text("ALiBi").with("max_bias", c.max_bias).with("slope_factor", c.slope_factor);
}
inline string of(const posenc::T5Bias& c) {
  return Text("T5Bias").with("num_buckets", c.num_buckets).with("max_distance", c.max_distance);
}
inline string of(const posenc::KerpleLog& c) {
  return Text("KerpleLog").with("r1", range(c.r1)).with("r2", range(c.r2));
}
inline string of(const posenc::KerplePower& c) {
  return Text("KerplePower").with("r1", range(c.r1)).with("r2", range(c.r2));
}
inline string of(const posenc::Sandwich& c) {
  return Text("Sandwich").with("width", c.width).with("base", c.base);
}
inline string of(const posenc::Fire& c) {
  return Text("Fire")
      .with("c", c.c)
      .with("threshold", c.threshold)
      .with("cached_distances", c.cached_distances);
}
inline string of(const posenc::ShawKeys& c) { return Text("ShawKeys").with("clip", c.clip); }
inline string of(const posenc::ShawValues& c) { return Text("ShawValues").with("clip", c.clip); }
inline string of(const posenc::TransformerXL& c) {
  return Text("TransformerXL").with("clamp_len", c.clamp_len.value_or(0));
}
inline string of(const posenc::DeBERTa& c) {
  return Text("DeBERTa")
      .with("position_buckets", c.position_buckets)
      .with("max_position", c.max_position);
}
inline string of(const posenc::SlidingWindow& c) {
  return Text("SlidingWindow").with("tokens", c.left + 1);
}
inline string of(const posenc::SinkWindow& c) {
  return Text("SinkWindow").with("sinks", c.sinks).with("window", c.window);
}
inline string of(const posenc::ChunkedCausal& c) {
  return Text("ChunkedCausal").with("chunk", c.chunk);
}
inline string of(const posenc::PrefixLM& c) { return Text("PrefixLM").with("prefix", c.prefix); }
inline string of(const posenc::Documents& c) {
  return Text("Documents").with("starts", list(c.starts));
}
inline string of(const posenc::ParallelWindows& c) {
  return Text("ParallelWindows").with("lengths", list(c.lengths));
}
inline string of(const posenc::SoftCap& c) { return Text("SoftCap").with("cap", c.cap); }
inline string of(const posenc::LogN& c) {
  return Text("LogN").with("base_length", c.base_length).with("clipped", c.clipped);
}
inline string of(const posenc::StepTemperature& c) {
  return Text("StepTemperature").with("scale", c.scale).with("context", c.context);
}
inline string of(const posenc::SinkLogit& c) {
  return Text("SinkLogit").with("logits", range(c.logits));
}

}  // namespace parameters

}  // namespace compare
