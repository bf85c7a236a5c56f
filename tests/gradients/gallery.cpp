// SPDX-License-Identifier: MIT
//
// Every encoding of the gallery: the reference against central differences of attention, the kernel
// against the reference at every level.
#include "problem.hpp"

#include <posenc/gallery.hpp>

#include "../support/backwards.hpp"
#include "../support/levels.hpp"

namespace gallery_cases {

using namespace gradient_test;

template <class LayoutT, class F>
void for_each_bound(Index heads, Index width, const F& f) {
  int entries = 0;
  for_each_in_gallery<LayoutT>({.head_dim = width, .num_heads = heads, .trained = 32, .target = 64},
                               [&](const GalleryEntry& entry, const AnyEncoding& encoding) {
                                 const AnyBound bound = bind(encoding, {.num_heads = heads,
                                                                        .num_kv_heads = heads / 2});
                                 ++entries;
                                 INFO(std::string(entry.name));
                                 f(bound);
                               });
  CHECK(entries >= 44);
}

TEST_CASE("gradients: the reference is what central differences say, for the gallery") {
  Problem<double> x(
      {.queries = 11, .keys = 11, .heads = 2, .kv_heads = 1, .width = 12, .value_width = 12});
  for_each_bound<HalfSplit>(2, 12, [&](const AnyBound& bound) {
    const ReferenceGradients d = x.reference(bound);
    const auto loss = [&] { return x.loss(bound); };
    check_differences(x.q, d.q, loss, 7);
    check_differences(x.k, d.k, loss, 5);
    check_differences(x.v, d.v, loss, 5);
  });
}

template <class T, class LayoutT>
void check_kernel(double tolerance) {
  const Problem<T> x({.queries = 150, .keys = 150});
  for_each_bound<LayoutT>(x.n.heads, x.n.width, [&](const AnyBound& bound) {
    const ReferenceGradients expected = x.reference(bound);
    posenc_test::at_every_level([&] {
      const Gradients<T> got = x.kernel(bound);
      check_same(got, expected, tolerance);
      CHECK(got == x.kernel(bound, {.executor = posenc_test::Backwards{5}}));
    });
  });
}
TEST_CASE("gradients: the kernel agrees with the reference for the gallery, float") {
  check_kernel<float, HalfSplit>(1e-5);
}
TEST_CASE("gradients: the kernel agrees with the reference for the gallery, double") {
  check_kernel<double, Interleaved>(1e-10);
}

}  // namespace gallery_cases
