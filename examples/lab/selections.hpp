// SPDX-License-Identifier: MIT
//
// Schemes that are read with chosen keys, where scheme and method go together.
#pragma once

#include "schemes.hpp"

#include <posenc/config/selector_expression.hpp>
#include <posenc/lab/chosen_keys.hpp>

namespace lab_example {

/// "RoPE, Quest{page=16, budget=64, per=2}"
inline std::string selection_name(const std::string& scheme, const ReadSelector& select) {
  return scheme + ", " + select.text;
}

inline Scheme with_chosen_keys(const Scheme& scheme, const ReadSelector& select) {
  return scheme.read_by(
      std::visit([](const auto& method) { return lab::chosen_keys(method); }, select.selector));
}

/// Why a scheme cannot be read by a method; empty where it can.
inline std::string why_not(const Scheme& scheme, const lab::ModelShape& shape,
                           const ReadSelector& select) {
  try {
    const Scheme chosen = with_chosen_keys(scheme, select);
    static_cast<void>(lab::BoundScheme(chosen, chosen.learned, shape.layers, shape.heads));
    return {};
  } catch (const posenc::Error& error) {
    return error.problems().front();
  }
}

}  // namespace lab_example
