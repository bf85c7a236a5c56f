// SPDX-License-Identifier: MIT
//
// Random stacks and shapes: the kernel's gradients against the reference's, at every level, for any
// number of threads.
#include "problem.hpp"

#include <posenc/posenc.hpp>

#include "../support/backwards.hpp"
#include "../support/cases.hpp"
#include "../support/levels.hpp"

namespace stacks_cases {

using namespace gradient_test;
using posenc_test::Random;

AnyEncoding random_encoding(Random& random, const Sizes& n, bool& is_by_length) {
  AnyEncoding e;
  const bool rotates = random.chance(0.8);
  if (rotates) {
    const Index dim = n.width / 2 * 2;
    const Index rotary = random.chance(0.5) ? dim : 2 * random.integer(1, dim / 2);
    const Index offset = random.integer(0, n.width - rotary);
    if (random.chance(0.5))
      e |= RoPE<HalfSplit>{.head_dim = n.width, .rotary_dim = rotary, .rotary_offset = offset};
    else
      e |= RoPE<Interleaved>{.head_dim = n.width, .rotary_dim = rotary, .rotary_offset = offset};
    switch (random.integer(0, 5)) {
      case 0:
        e |= PI{.factor = 2};
        break;
      case 1:
        e |= YaRN{.factor = 4, .original_context = 32};
        break;
      case 2:
        e |= DynamicNTK{.original_context = 24, .form = DynamicNTKForm::paper};
        is_by_length = true;
        break;
      default:
        break;
    }
    const Position window = random.integer(1, 60);
    switch (random.integer(0, 8)) {
      case 0:
        e |= ReRoPE{.window = window};
        break;
      case 1:
        e |= LeakyReRoPE{.window = window, .factor = 4};
        break;
      case 2:
        e |= SelfExtend{.window = 8 * (window / 8 + 1), .group = 8};
        break;
      case 3:
        e |= DualChunk::chunk_llama(window + 1);
        break;
      case 4:
        e |= XPos{.scale_base = 64, .centre = 30};
        break;
      case 5:
        if (n.value_width >= offset + rotary) e |= RotateValues{};
        break;
      default:
        break;
    }
  }
  const Index parts = random.integer(0, 4);
  for (Index i = 0; i < parts; ++i) switch (random.integer(0, 10)) {
      case 0:
        e |= ALiBi{.slope_factor = 0.5};
        break;
      case 1:
        e |= T5Bias{.table = noise<float>(8 * n.heads, 7U),
                    .num_buckets = 8,
                    .max_distance = 20,
                    .scaled = true};
        return e;  // one component may set the scale
      case 2:
        e |= KerpleLog{.r1 = {0.5}, .r2 = {0.7}};
        break;
      case 3:
        e |= KerplePower{.r1 = {0.1}, .r2 = {0.7}};
        break;
      case 4:
        e |= SoftCap{random.real(2, 30)};
        break;
      case 5:
        e |= SinkLogit{{static_cast<float>(random.real(-2, 2))}};
        break;
      case 6:
        e |= LogN{.base_length = 20};
        break;
      case 7:
        e |= ShawKeys{.table = noise<float>(11 * n.width, 8U), .clip = 5};
        break;
      case 8:
        e |= ShawValues{.table = noise<float>(11 * n.value_width, 9U), .clip = 5};
        break;
      case 9:
        e |= DeBERTa{.keys = noise<float>(2 * 8 * n.heads * n.width, 10U),
                     .queries = noise<float>(2 * 8 * n.heads * n.width, 11U),
                     .position_buckets = 8,
                     .max_position = 50};
        return e;  // one component may set the scale
      default:
        e |= Sandwich{};
        break;
    }
  return e;
}

void add_mask(AnyEncoding& e, Random& random) {
  switch (random.integer(0, 5)) {
    case 0:
      break;
    case 1:
      e |= SlidingWindow{.left = random.integer(0, 90)};
      break;
    case 2:
      e |= SinkWindow{.sinks = 3, .window = random.integer(1, 70)};
      break;
    case 3:
      e |= Documents{.starts = {0, 40, 100}};
      e |= Causal{};
      break;
    default:
      e |= Causal{};
  }
}

template <class T>
void check_stack(std::uint64_t seed) {
  CAPTURE(seed);
  Random random(seed);
  const Index kv_heads = random.integer(1, 3);
  Sizes n{.queries = random.integer(1, 140),
          .keys = 0,
          .heads = kv_heads * random.integer(1, 3),
          .kv_heads = kv_heads,
          .width = random.integer(2, 40),
          .value_width = random.integer(1, 40)};
  n.keys = n.queries + (random.chance(0.5) ? 0 : random.integer(0, 140));
  bool is_by_length = false;
  AnyEncoding encoding = random_encoding(random, n, is_by_length);
  add_mask(encoding, random);
  const AnyBound bound =
      bind(encoding, {.num_heads = n.heads,
                      .num_kv_heads = n.kv_heads,
                      .head_dim = n.width,
                      .scale = random.chance(0.2) ? std::optional(0.3) : std::nullopt});
  const Problem<T> x(n, static_cast<unsigned>(seed));
  AttentionOptions<T> options;
  if (random.chance(0.3)) options.key_offset = random.integer(0, 1000);
  std::vector<Position> query_ids, key_ids;
  if (random.chance(0.3)) {  // ids that repeat, or lie far apart
    const Position spread = random.pick({Position{50}, Position{100'000}});
    for (Index i = 0; i < n.queries; ++i) query_ids.push_back(random.integer(0, spread));
    for (Index i = 0; i < n.keys; ++i) key_ids.push_back(random.integer(0, spread));
    options.query_positions = query_ids;
    options.key_positions = key_ids;
    // What grows with distance would leave every bound.
    if (spread > 50 && (bound.rotary().state.growth.size() != 0)) return;
  }
  const ReferenceGradients expected = x.reference(bound, options);
  posenc_test::at_every_level([&] {
    const Gradients<T> got = x.kernel(bound, options);
    check_same(got, expected, sizeof(T) == 4 ? 5e-5 : 1e-9, sizeof(T) == 4 ? 2e-3 : 0);
    AttentionOptions<T> threads = options;
    threads.executor = posenc_test::Backwards{static_cast<Index>(seed % 7 + 2)};
    CHECK(got == x.kernel(bound, threads));
  });
}

TEST_CASE("gradients: random stacks, float") {
  for (Index i = 0; i < posenc_test::some_of(120); ++i)
    check_stack<float>(static_cast<std::uint64_t>(i + 1));
}
TEST_CASE("gradients: random stacks, double") {
  for (Index i = 0; i < posenc_test::some_of(120); ++i)
    check_stack<double>(static_cast<std::uint64_t>(i + 1001));
}

}  // namespace stacks_cases
