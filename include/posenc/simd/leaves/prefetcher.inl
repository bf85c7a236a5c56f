// How the leaves of decoding fetch ahead. Included once within the namespace and the region of each level.

inline constexpr Index cache_line = 64;

/// Prefetches what will be read, in the order of memory, as reading goes on.
///
/// Where several rows of queries meet what is read, or keys turn, a line far ahead goes to the
/// second-level cache, and later to the first, shortly before it is read. Prefetched right to the first, it
/// would hold one of its few buffers of misses for as long as memory takes, and loads would wait behind it:
/// then reading and computing take turns. One row in vectors of 64 bytes computes so little that
/// the processor's own prefetches are faster, which end with a page: there only the beginning of the next page is
/// prefetched.
template <bool Busy>
class Prefetcher {
 public:
  /// `together` bytes are read at the same time, so they have to be near by then. Nothing beyond the
  /// next rows is prefetched.
  Prefetcher(const void* rows, Index bytes, Index together, simd::ReadNext next)
      : rows_(address(rows)), bytes_(static_cast<std::uintptr_t>(bytes)), next_(address(next.rows)),
        distance_(next_ == 0 ? 0 : std::min(far, bytes_)),
        near_(std::min(std::max(near, static_cast<std::uintptr_t>(together)), distance_)) {}

  /// Where reading goes on. Where nothing is worth a prefetch, that itself is prefetched.
  void go_to(Index offset) {
    const std::uintptr_t here = static_cast<std::uintptr_t>(offset), there = here + distance_;
    at_ = there < bytes_ ? rows_ + there : next_ + (there - bytes_);
    if constexpr (Busy) near_at_ = rows_ + here + near_;
  }
  /// So many bytes, not more than a line, have been read. Addresses are numbers, not pointers: they
  /// may lie beyond all memory.
  __attribute__((always_inline)) void advance(Index bytes) {
    if (Busy || at_ % page < 2 * cache_line)
      __builtin_prefetch(reinterpret_cast<const char*>(at_), 0, 2);
    at_ += static_cast<std::uintptr_t>(bytes);
    if constexpr (Busy) {
      __builtin_prefetch(reinterpret_cast<const char*>(near_at_), 0, 3);
      near_at_ += static_cast<std::uintptr_t>(bytes);
    }
  }

 private:
  static constexpr std::uintptr_t page = 4096, far = Busy ? 8192 : page, near = 1024;
  static std::uintptr_t address(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }
  std::uintptr_t rows_, bytes_, next_, distance_, near_, at_ = 0, near_at_ = 0;
};
