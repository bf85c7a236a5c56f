// SPDX-License-Identifier: MIT
//
// How components of any types are held; see any_encoding.hpp.
#pragma once

#include <posenc/bind/any_encoding.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

POSENC_DETAIL_DEFINITION std::vector<AnyComponent> joined(const SharedAny& owner,
                                                          std::span<const Joining> components) {
  std::vector<AnyComponent> all(components.size());
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i] = components[i].make({owner.owner(), components[i].component});
  return all;
}

}  // namespace detail

POSENC_DETAIL_DEFINITION AnyEncoding::AnyEncoding(const AnyEncoding&) = default;
POSENC_DETAIL_DEFINITION AnyEncoding& AnyEncoding::operator=(const AnyEncoding&) = default;
POSENC_DETAIL_DEFINITION AnyEncoding::~AnyEncoding() = default;

POSENC_DETAIL_DEFINITION AnyEncoding AnyEncoding::rotation() const {
  AnyEncoding rotation;
  for (const detail::AnyComponent& component : components_)
    if (component.describe->rotary_state || component.describe->transform)
      rotation.components_.push_back(component);
  return rotation;
}

POSENC_NAMESPACE_END
