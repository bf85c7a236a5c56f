// expect: a component answers by const members: write `TileClass classify(const Tile& tile) const`
//
// It answers a question, so it is a component, but one of its answers would never be asked for.
#include <posenc/posenc.hpp>

using namespace posenc;

struct Nearby {
  bool visible(const Score& at) const { return at.query_index - at.key_index < 8; }
  TileClass classify(const Tile&) { return TileClass::partial; }
};
auto wrong = encoding(Nearby{});

int main() {}
