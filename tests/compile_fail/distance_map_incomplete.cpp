// expect: a distance map has num_regions and the const members distance(query, key), region(query, key), regions(tile), step(region), query_position(region, query) and key_position(region, key)
#include <posenc/posenc.hpp>

using namespace posenc;

struct Halved {
  static constexpr int num_regions = 1;
  double distance(Position query, Position key) const {
    return static_cast<double>(query - key) / 2;
  }
  int region(Position, Position) const { return 0; }
  RegionSet regions(const Tile&) const { return 1; }
  double step(int) const { return 0.5; }
  double queryPosition(int, Position query) const { return static_cast<double>(query); }
  Position key_position(int, Position key) const { return key; }
};
auto wrong = RoPE<HalfSplit>{.head_dim = 8} | Halved{} | Causal{};

int main() {}
