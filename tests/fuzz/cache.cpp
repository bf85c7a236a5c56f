// SPDX-License-Identifier: MIT
//
// A fuzzer's bytes as calls to a cache: the session of tests/cache/model.hpp, whose choices are
// these bytes. The first two say which encoding and which kind of cache.
#include "../cache/model.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/distance/dual_chunk.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/eigen.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/rotary/m_rope.hpp>
#include <posenc/rotary/xpos.hpp>

#include <cstdio>
#include <cstdlib>

namespace cache_test {
namespace {

/// A byte for a choice; two for numbers of rows would only be harder to find. Zeros at the end.
class Bytes : public Choices {
 public:
  Bytes(const std::uint8_t* data, std::size_t count) : data_(data), left_(count) {}
  std::uint64_t bits() override {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  [[nodiscard]] bool are_left() const { return left_ > 0; }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

template <KeyState State, class T>
void run(Bytes& bytes, const AnyBound& a, const AnyBound& b, Setting setting) {
  const bool has_streaming = State == KeyState::raw && setting.axes == 1;
  constexpr Kind kinds[] = {Kind::contiguous, Kind::ring, Kind::ring_with_sinks, Kind::paged,
                            Kind::streaming};
  setting.kind = kinds[bytes.integer(0, has_streaming ? 4 : 3)];
  // Numbers of k, v and q have nothing to tell a fuzzer: they follow from one byte.
  Session<State, T> session(bytes, setting, a, b, static_cast<std::uint64_t>(bytes.bits()));
  for (int call = 0; call < 200 && bytes.are_left(); ++call) {
    session.step();
    if (bytes.one_in(4)) session.decode();
  }
}

template <class Encode>
AnyBound bound_to(const Encode& encode, double base) {
  return bind(AnyEncoding(encode(base)), {.num_heads = 2, .num_kv_heads = 1});
}

/// Bound once: binding takes longer than a session.
template <KeyState State, class T, class Encode>
void run(Bytes& bytes, const Encode& encode, const Setting& setting = {}) {
  static const AnyBound a = bound_to(encode, 100), b = bound_to(encode, 10'000);
  run<State, T>(bytes, a, b, setting);
}

void session_of(Bytes& bytes) {
  using enum KeyState;
  const auto rope = [](double base) { return RoPE<HalfSplit>{.head_dim = 8, .base = base}; };
  switch (bytes.integer(0, 4)) {
    case 0:
      return run<raw, float>(bytes, [&](double base) {
        return rope(base) | ReRoPE{.window = 4} | SinkWindow{.sinks = 2, .window = 9};
      });
    case 1:
      return run<rotated, Eigen::half>(bytes, [&](double base) {
        return rope(base) | XPos{.scale_base = 32'768} | SlidingWindow::from_token_count(5);
      });
    case 2:
      return run<rotated, float>(
          bytes, [&](double base) { return rope(base) | MRoPE{.sections = {2, 1, 1}} | Causal{}; },
          {.axes = 3});
    case 3:
      return run<reduced, float>(bytes, [&](double base) {
        return rope(base) | DualChunk{.chunk = 5, .cap = 7} | Causal{};
      });
    default:
      return run<raw, double>(bytes, [&](double base) {
        return RoPE<Interleaved>{.head_dim = 8, .base = base, .rotary_dim = 4, .rotary_offset = 3} |
               ALiBi{} | Causal{};
      });
  }
}

}  // namespace
}  // namespace cache_test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t count) {
  cache_test::Bytes bytes(data, count);
  try {
    cache_test::session_of(bytes);
  } catch (const cache_test::Mismatch& mismatch) {
    std::fprintf(stderr, "%s\n", mismatch.what());
    std::abort();
  }
  return 0;
}
