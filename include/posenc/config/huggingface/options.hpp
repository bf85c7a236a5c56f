// SPDX-License-Identifier: MIT
//
// Options of the reader, and the words in which its sentences name them.
#pragma once

#include <posenc/config/architectures.hpp>
#include <posenc/frequency/long_rope.hpp>

#include <optional>
#include <string>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

/// What the sentences of the reader tell the caller to do. A program with options of its own says
/// which those are.
struct Remedies {
  std::string layout =
      "pass {.layout = huggingface::LayoutName::half_split} if the model's code has rotate_half on "
      "two halves, {.layout = huggingface::LayoutName::interleaved} if it pairs channels 2i and 2i "
      "+ 1";
  std::string ignore_unknown_keys = "pass {.ignore_unknown_keys = true}";
};

struct Options {
  std::optional<config::LayoutName> layout{};  ///< for a model_type that posenc does not know
  LongRoPESelection long_rope = LongRoPESelection::by_length;  ///< which list of longrope applies
  /// Go on where a rotary dictionary has a key unknown to posenc, and where a model of an unknown
  /// type has keys about positions that were not read; explain() lists them.
  bool ignore_unknown_keys = false;
  Remedies remedies{};
};

}  // namespace huggingface
POSENC_NAMESPACE_END
