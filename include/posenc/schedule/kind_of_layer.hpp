// SPDX-License-Identifier: MIT
//
// Which kind each layer of a configuration is of, collected and checked for schedules.
#pragma once

#include <posenc/config/model.hpp>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

class KindOfLayer {
 public:
  /// `what` wants to know, a function's name for sentences. Throws Error where the configuration does not say how many
  /// layers there are.
  KindOfLayer(const config::Model& model, std::string_view what) : what_(what) {
    Problems problems;
    problems.require(model.num_layers > 0,
                     "the configuration does not say how many layers the model has.");
    problems.raise_if_any(what_);
    kinds_.assign(static_cast<std::size_t>(model.num_layers), none);
  }

  /// Throws Error where there is no such layer.
  void place(Index layer, std::size_t kind) {
    Problems problems;
    problems.require(layer >= 0 && layer < size(), "layer ", layer, " is none of the ", size(),
                     " layers.");
    problems.raise_if_any(what_);
    kinds_[static_cast<std::size_t>(layer)] = kind;
  }

  [[nodiscard]] Index size() const { return std::ssize(kinds_); }
  [[nodiscard]] Index without_kind() const { return std::ranges::count(kinds_, none); }
  [[nodiscard]] std::vector<std::size_t> kinds() && { return std::move(kinds_); }

 private:
  static constexpr auto none = static_cast<std::size_t>(-1);

  std::string_view what_;
  std::vector<std::size_t> kinds_;
};

}  // namespace detail

POSENC_NAMESPACE_END
