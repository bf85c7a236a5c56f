// SPDX-License-Identifier: MIT
//
// A ring of the tokens that a mask can show is all the cache that decoding needs.
#include <posenc/mask/chunked_causal.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>

#include "../support/catch.hpp"
#include "../support/sequence.hpp"

using namespace posenc;

namespace {

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

}  // namespace

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
}

TEST_CASE("rings: ChunkedCausal takes a chunk") {
  ring_suffices(ChunkedCausal{.chunk = 16}, 16, 0);
}
