// SPDX-License-Identifier: MIT
//
// A ring of the tokens that a mask can show is all the cache that decoding needs.
#include <posenc/mask/chunked_causal.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>

#include "../support/catch.hpp"
#include "../support/sequence.hpp"

using namespace posenc;

namespace rings_cases {

template <class M>
void ring_suffices(const M& mask, Index capacity, Index sinks) {
  const Sequence s(100);
  const auto encoding = Sequence::rope | mask;
  const Rows expected = s.attend(encoding);
  auto ring = KeyValueCache<KeyState::rotated, double>::ring(Sequence::cache_of(capacity), sinks);
  CHECK(difference(s.decode(ring, encoding), expected) < 1e-13);
  CHECK(ring.tokens(0) == capacity);
  // One token less does not suffice.
  auto less =
      KeyValueCache<KeyState::rotated, double>::ring(Sequence::cache_of(capacity - 1), sinks);
  CHECK_THROWS_WITH(s.decode(less, encoding),
                    ContainsSubstring(", which the mask lets query") &&
                        ContainsSubstring("is a ring of " + std::to_string(capacity - 1)));
}

TEST_CASE("rings: SlidingWindow takes left + 1 keys") {
  ring_suffices(SlidingWindow{.left = 9}, 10, 0);
  ring_suffices(SlidingWindow{.left = 9, .dilation = 3}, 10, 0);
  ring_suffices(SlidingWindow::from_token_count(24), 24, 0);
  // The one that was overwritten last may be hidden, and others before it not.
  const Sequence s(100);
  auto ring = KeyValueCache<KeyState::rotated, double>::ring(Sequence::cache_of(8));
  CHECK_THROWS_WITH(s.decode(ring, Sequence::rope | SlidingWindow{.left = 9, .dilation = 3}),
                    ContainsSubstring(", which the mask lets query"));
}

TEST_CASE("rings: SinkWindow takes its sinks and its window") {
  ring_suffices(SinkWindow{.sinks = 3, .window = 8}, 11, 3);
  // A ring that keeps fewer of them has lost one for good, however long ago.
  const Sequence s(100);
  const auto bound = bind(Sequence::rope | SinkWindow{.sinks = 3, .window = 8},
                          {.num_heads = Sequence::heads, .num_kv_heads = Sequence::kv_heads});
  auto ring = KeyValueCache<KeyState::rotated, double>::ring(Sequence::cache_of(20), 2);
  ring.append(0, s.keys(), s.values(), bound);
  Rows out(s.q.size());
  CHECK_THROWS_WITH(decode(s.queries().slice(99, 1), ring,
                           TensorView(out.data(), 1, Sequence::heads, Sequence::width), bound),
                    ContainsSubstring("overwritten token 2, which the mask lets query 99 see"));
}

/// Every fourth token sees all that went before.
struct Summaries {
  [[nodiscard]] bool visible(const Score& at) const {
    return at.key_index <= at.query_index &&
           (at.query_index % 4 == 3 || at.query_index - at.key_index < 4);
  }
};

TEST_CASE("rings: what one of several queries would miss is found") {
  const Sequence s(8);
  const auto bound = bind(Sequence::rope | Summaries{},
                          {.num_heads = Sequence::heads, .num_kv_heads = Sequence::kv_heads});
  auto ring = KeyValueCache<KeyState::rotated, double>::ring(Sequence::cache_of(6));
  const auto decode_last = [&](Index last, Index queries) {
    Rows out(s.q.size());
    decode(s.queries().slice(last - queries, queries), ring,
           TensorView(out.data(), queries, Sequence::heads, Sequence::width), bound);
  };
  ring.append(0, s.keys().slice(0, 7), s.values().slice(0, 7), bound);
  CHECK_NOTHROW(decode_last(7, 2));
  ring.append(0, s.keys().slice(7, 1), s.values().slice(7, 1), bound);
  CHECK_THROWS_WITH(decode_last(8, 2),
                    ContainsSubstring("overwritten token 1, which the mask lets query 7 see"));
}

TEST_CASE("rings: ChunkedCausal takes a chunk") {
  ring_suffices(ChunkedCausal{.chunk = 16}, 16, 0);
}

}  // namespace rings_cases
