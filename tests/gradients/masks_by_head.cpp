// SPDX-License-Identifier: MIT
//
// Gradients through masks that differ by head: the kernel against the reference.
#include "problem.hpp"

#include <posenc/mask/a_shape.hpp>
#include <posenc/mask/duo_attention.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/mask/vertical_slash.hpp>
#include <posenc/rotary/rope.hpp>

#include "../support/backwards.hpp"
#include "../support/bind_any.hpp"
#include "../support/levels.hpp"

namespace masks_by_head_cases {

using namespace gradient_test;

template <class T>
void check_kernel(Sizes n, double tolerance) {
  const Problem<T> x(n);
  const RoPE<HalfSplit> rope{.head_dim = n.width};
  VerticalSlash pattern;
  for (Index h = 0; h < n.heads; ++h)
    pattern.heads.push_back({{0, 1 + h, 33, 200}, {0, 1, 5 + h, 70, 140}});
  for (const AnyEncoding& encoding :
       {AnyEncoding(rope | AShape{{{0, 9}, {5, 40}, {0, SlidingWindow::unlimited}, {60, 1}}}),
        AnyEncoding(rope | DuoAttention{{false, true}, 3, 20}), AnyEncoding(rope | pattern)}) {
    const AnyBound bound = bind(encoding, {.num_heads = n.heads, .num_kv_heads = n.kv_heads});
    const ReferenceGradients expected = x.reference(bound);
    posenc_test::at_every_level([&] {
      const Gradients<T> got = x.kernel(bound);
      check_same(got, expected, tolerance);
      AttentionOptions<T> parallel;
      parallel.executor = posenc_test::Backwards{5};
      CHECK(got == x.kernel(bound, parallel));
    });
  }
}
TEST_CASE("gradients: the kernel agrees with the reference where heads see different keys") {
  check_kernel<float>({.queries = 150, .keys = 150}, 1e-5);
  check_kernel<double>({.queries = 300, .keys = 300}, 1e-11);
  check_kernel<double>({.queries = 40, .keys = 230}, 1e-11);
}

}  // namespace masks_by_head_cases
