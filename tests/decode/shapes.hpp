// SPDX-License-Identifier: MIT
//
// One encoding over all shapes: groups of heads, widths, numbers of queries and of keys, kinds of
// cache, for every element.
#pragma once

#include "../support/cases.hpp"
#include "calls.hpp"

namespace decode_test {

struct Shape {
  Index heads, kv_heads, width, value_dim;
};

/// The widths that are asked of `shape` have to fit the encoding.
template <KeyState State, class T, class Encode>
void check_shapes(const Encode& encode, const std::vector<Shape>& shapes) {
  static posenc_test::Sample sample;
  for (const Shape& shape : shapes)
    for (const Index tokens : {1, 2, 15, 16, 17, 63, 64, 65, 130, 300}) {
      const Sequence<T> sequence(tokens, shape.heads, shape.kv_heads, shape.width, shape.value_dim,
                                 static_cast<std::uint64_t>(tokens));
      const auto bound =
          bind(encode(shape.width),
               {.num_heads = shape.heads, .num_kv_heads = shape.kv_heads, .head_dim = shape.width});
      for (const Kind kind : {Kind::contiguous, Kind::ring, Kind::paged}) {
        if (!sample.next()) continue;
        Holder<State, T> cache(kind, shape_for(sequence));
        append(*cache, 0, sequence, 0, tokens / 2, bound);
        append(*cache, 0, sequence, tokens / 2, tokens, bound);
        for (const Index queries : {1, 2, 8, 9, 20}) {
          if (queries > tokens) continue;
          INFO(shape.heads << "/" << shape.kv_heads << " heads of " << shape.width << " and "
                           << shape.value_dim << ", " << queries << " of " << tokens
                           << " tokens, kind " << static_cast<int>(kind));
          const auto call = sequence.last(queries);
          CHECK(ratio(decoded(call.q, *cache, bound), call, bound) <= 1);
        }
      }
    }
}

}  // namespace decode_test
