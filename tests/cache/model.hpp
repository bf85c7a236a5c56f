// SPDX-License-Identifier: MIT
//
// A plain list of tokens, and a session that does the same to a cache and to the list and compares
// the two. What a call means, and what is refused, is written down here a second time, from the
// documentation; keys are rotated by a loop of their own in long double.
//
// Choices come from a seeded generator or from the bytes of a fuzzer. What does not agree is thrown
// as a Mismatch, with the last calls.
#pragma once

#include "../support/oracle.hpp"

#include <posenc/attention/decode.hpp>
#include <posenc/cache/rerotate.hpp>
#include <posenc/distance/dual_chunk.hpp>

#include <algorithm>
#include <cmath>
#include <deque>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace cache_test {

using namespace posenc;
using attention_test::size;

class Mismatch : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

class Choices {
 public:
  Choices() = default;
  Choices(const Choices&) = delete;
  Choices& operator=(const Choices&) = delete;
  virtual ~Choices() = default;
  virtual std::uint64_t bits() = 0;

  /// Both ends included.
  Position integer(Position low, Position high) {
    return low + static_cast<Position>(bits() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool one_in(Position n) { return integer(1, n) == 1; }
};

class SeededChoices : public Choices {
 public:
  explicit SeededChoices(std::uint64_t seed) : random_(seed) {}
  std::uint64_t bits() override { return random_.bits(); }

 private:
  attention_test::Random random_;
};

// --- The list ------------------------------------------------------------------------------------

struct Token {
  Position index = 0;
  std::vector<Position> at{};    ///< [axis]
  std::vector<double> k{}, v{};  ///< [head][channel], never rotated
  int turns = 0;                 ///< rotations after the first one
  Position greatest() const { return *std::ranges::max_element(at); }
};

struct List {
  std::vector<Token> tokens{};
  Position next_index = 0, next_position = 0;
  std::vector<Position> overwritten{};  ///< indices of those that a ring has no more, rising
  std::vector<Index> pages{};
  int encoding = 0;  ///< which of two rotated the keys

  Index rank_of(Position index) const {
    return std::ranges::count_if(tokens, [&](const Token& t) { return t.index < index; });
  }
  /// Tokens [first, last) leave the sequence but for some; who is left is counted anew.
  void remove(Position first, Position last, const std::vector<Position>& kept = {}) {
    const auto goes = [&](Position i) {
      return i >= first && i < last && std::ranges::count(kept, i) == 0;
    };
    const bool takes_last = next_index > 0 && goes(next_index - 1);
    std::vector<Position> renamed;
    Position left = 0;
    for (Position i = 0; i < next_index; ++i) renamed.push_back(goes(i) ? -1 : left++);
    std::erase_if(tokens, [&](const Token& t) { return goes(t.index); });
    std::erase_if(overwritten, goes);
    for (Token& t : tokens) t.index = renamed[size(t.index)];
    for (Position& i : overwritten) i = renamed[size(i)];
    next_index = left;
    if (takes_last)
      next_position = tokens.empty() ? left : tokens.back().greatest() + left - tokens.back().index;
  }
  void truncate(Position index) { remove(index, next_index); }
};

enum class Kind { contiguous, ring, ring_with_sinks, streaming, paged };

/// What a session is about.
struct Setting {
  Kind kind = Kind::contiguous;
  Index heads = 2, kv_heads = 1;
  Index head_dim = 8, value_dim = 4;
  int axes = 1;
};

// --- The session ---------------------------------------------------------------------------------

template <KeyState State, class T>
class Session {
 public:
  using U = arithmetic_t<T>;
  using CacheT = KeyValueCache<State, T>;
  static constexpr Index sequences = 3, page_tokens = 4, pages = 12;

  /// `a` and `b` rotate the same channels by other frequencies. Elements of tensors follow from the
  /// seed.
  Session(Choices& choices, const Setting& setting, const AnyBound& a, const AnyBound& b,
          std::uint64_t seed = 0)
      : choices_(choices), numbers_(seed), setting_(setting), bounds_{a, b},
        capacity_(choices.integer(6, 19)),
        sinks_(setting.kind == Kind::ring_with_sinks || setting.kind == Kind::streaming
                   ? choices.integer(0, 4)
                   : 0),
        pool_keys_(size(pages * setting.kv_heads * page_tokens * setting.head_dim)),
        pool_values_(size(pages * setting.kv_heads * page_tokens * setting.value_dim)),
        cache_(make()), lists_(size(sequences)) {}

  /// One call, right or wrong, of both; then everything is compared.
  void step() {
    const auto last = is_paged() ? 12 : 10;
    switch (choices_.integer(0, last)) {
      case 0:
      case 1:
      case 2:
      case 3:
        append();
        break;
      case 4:
        truncate();
        break;
      case 5:
        fork();
        break;
      case 6:
        evict();
        break;
      case 7:
        shift();
        break;
      case 8:
        rebase();
        break;
      case 9:
        if (choices_.one_in(4)) clear();
        break;
      case 10:
        keep_path();
        break;
      default:
        set_pages();
    }
    compare();
  }

  /// Calls so far that were to be accepted, and that were to be refused.
  [[nodiscard]] int accepted() const { return accepted_; }
  [[nodiscard]] int refused() const { return refused_; }

  /// Decodes the last tokens of some sequences, in any order.
  void decode() {
    const int encoding = choices_.one_in(2) ? 1 : 0;
    const bool wrong = choices_.one_in(20);
    std::vector<Index> chosen, counts(size(sequences));
    bool is_valid = true;
    for (Index s = 0; s < sequences; ++s) {
      const List& l = lists_[size(s)];
      const bool fits = State == KeyState::raw || l.tokens.empty() || l.encoding == encoding;
      if (!fits && !wrong) continue;
      chosen.insert(choices_.one_in(2) ? chosen.begin() : chosen.end(), s);
      counts[size(s)] =
          choices_.integer(0, wrong ? tokens_of(s) + 1 : std::min<Index>(tokens_of(s), 3));
      is_valid = is_valid && fits && counts[size(s)] <= tokens_of(s) &&
                 !is_missing_keys(l, counts[size(s)], bounds_[encoding]);
    }
    if (chosen.empty()) return;
    std::vector<Index> starts{0};
    for (const Index s : chosen) starts.push_back(starts.back() + counts[size(s)]);

    const Index all = starts.back();
    std::vector<U> q(size(all * setting_.heads * setting_.head_dim)),
        out(size(all * setting_.heads * setting_.value_dim)), lse(size(all * setting_.heads));
    for (U& x : q) x = static_cast<U>(numbers_.integer(-64, 64)) / U{32};
    perform(is_valid, "decode", [&] {
      posenc::decode({q.data(), all, setting_.heads, setting_.head_dim}, cache_,
                     TensorView<U>(out.data(), all, setting_.heads, setting_.value_dim),
                     bounds_[encoding], {.sequences = chosen, .starts = starts, .lse = lse});
    });
    if (!is_valid) return;
    for (std::size_t i = 0; i < chosen.size(); ++i)
      if (counts[size(chosen[i])] > 0)
        compare_decoded(chosen[i], encoding, counts[size(chosen[i])],
                        q.data() + starts[i] * setting_.heads * setting_.head_dim,
                        out.data() + starts[i] * setting_.heads * setting_.value_dim,
                        lse.data() + starts[i] * setting_.heads);
  }

 private:
  [[nodiscard]] bool is_ring() const {
    return setting_.kind != Kind::contiguous && setting_.kind != Kind::paged;
  }
  [[nodiscard]] bool is_paged() const { return setting_.kind == Kind::paged; }
  [[nodiscard]] bool is_streaming() const { return setting_.kind == Kind::streaming; }
  [[nodiscard]] Index tokens_of(Index s) const { return std::ssize(lists_[size(s)].tokens); }

  CacheT make() {
    const CacheShape shape{.sequences = sequences,
                           .kv_heads = setting_.kv_heads,
                           .head_dim = setting_.head_dim,
                           .value_dim = setting_.value_dim,
                           .capacity = capacity_,
                           .axes = setting_.axes};
    switch (setting_.kind) {
      case Kind::contiguous:
        return CacheT::contiguous(shape);
      case Kind::paged:
        return CacheT::paged(shape, {pool_keys_.data(), pool_values_.data(), Index{pages},
                                     Index{page_tokens}});
      case Kind::streaming:
        if constexpr (State == KeyState::raw) return CacheT::streaming(shape, sinks_);
        [[fallthrough]];
      default:
        return CacheT::ring(shape, sinks_);
    }
  }

  // --- Calls -------------------------------------------------------------------------------------

  /// Calls f, which has to be refused where it is not valid.
  template <class F>
  void perform(bool is_valid, const std::string& call, const F& f) {
    log_.push_back(call + (is_valid ? "" : "  (wrong)"));
    if (log_.size() > 12) log_.pop_front();
    ++(is_valid ? accepted_ : refused_);
    std::string sentence;
    try {
      f();
    } catch (const Error& error) {
      sentence = error.what();
      if (error.problems().empty()) fail("an Error without a sentence");
    }
    if (is_valid && !sentence.empty()) fail("it was refused: " + sentence);
    if (!is_valid && sentence.empty()) fail("it was not refused");
  }

  [[noreturn]] void fail(const std::string& why) const {
    std::string text = why + "; capacity " + std::to_string(capacity_) + ", sinks " +
                       std::to_string(sinks_) + ", after";
    for (const std::string& call : log_) text += "\n  " + call;
    throw Mismatch(text);
  }

  template <class... Parts>
  static std::string text(const Parts&... parts) {
    std::ostringstream stream;
    (stream << ... << parts);
    return stream.str();
  }

  /// Mostly a sequence that there is.
  Index any_sequence() {
    return choices_.one_in(50) ? choices_.integer(-1, sequences)
                               : choices_.integer(0, sequences - 1);
  }
  static bool is_sequence(Index s) { return s >= 0 && s < sequences; }
  List& list(Index s) { return lists_[size(std::clamp<Index>(s, 0, sequences - 1))]; }

  /// Mostly an index of the sequence, or one more than the last.
  Position any_index(Index s) {
    const Position end = list(s).next_index;
    if (choices_.one_in(20)) return choices_.integer(-2, end + 2);
    // More often near the end.
    return choices_.one_in(2) ? choices_.integer(0, end)
                              : choices_.integer(std::max<Position>(0, end - 3), end);
  }

  [[nodiscard]] Index users(Index page) const {
    return std::ranges::count_if(lists_, [&](const List& l) {
      return std::ranges::count(l.pages, page) > 0;
    });
  }
  /// May slots [first, last) be written?
  [[nodiscard]] bool are_own(const List& l, Index first, Index last) const {
    if (!is_paged()) return true;
    for (Index slot = first; slot < last; ++slot)
      if (users(l.pages[size(slot / page_tokens)]) > 1) return false;
    return true;
  }
  [[nodiscard]] Index room(const List& l) const {
    return is_paged() ? std::min<Index>(capacity_, std::ssize(l.pages) * page_tokens) : capacity_;
  }

  /// Has a ring overwritten a key that one of some queries would see? Of these, what lies within 64
  /// indices of the first and of the last is asked for.
  [[nodiscard]] bool is_missing_keys(const List& l, Index queries, const AnyBound& bound) const {
    if (is_streaming() || queries > std::ssize(l.tokens)) return false;
    for (const Position key : l.overwritten) {
      if (key > l.overwritten.front() + 64 && key < l.overwritten.back() - 64) continue;
      for (std::size_t i = l.tokens.size() - size(queries); i < l.tokens.size(); ++i) {
        const Position query = l.tokens[i].index;
        if (bound.answers().visible(Score{query, key, query, key, 0})) return true;
      }
    }
    return false;
  }

  void append() {
    const Index s = any_sequence(), n = choices_.integer(0, choices_.one_in(6) ? 9 : 3);
    List& l = list(s);
    const bool misshapen = choices_.one_in(40);
    const int encoding = State == KeyState::raw || l.tokens.empty() || choices_.one_in(30)
                             ? int(choices_.one_in(2))
                             : l.encoding;
    std::vector<Position> ids;
    int axes = 0;
    if (choices_.one_in(is_streaming() ? 30 : 3)) {
      axes = choices_.one_in(2) ? 1 : setting_.axes;
      const Position from = choices_.integer(-40, 900);
      for (Index i = 0; i < n * axes; ++i) ids.push_back(from + choices_.integer(0, 12));
    }
    const bool too_far = choices_.one_in(60) && !ids.empty();
    if (too_far) ids.back() = choices_.one_in(2) ? greatest_position + 1 : -greatest_position - 1;

    const Index width = setting_.head_dim + (misshapen ? 1 : 0);
    std::vector<U> k(size(n * setting_.kv_heads * width)),
        v(size(n * setting_.kv_heads * setting_.value_dim));
    // Exact in all elements.
    for (U& x : k) x = static_cast<U>(numbers_.integer(-127, 127)) / U{64};
    for (U& x : v) x = static_cast<U>(numbers_.integer(-127, 127)) / U{64};

    bool is_valid = is_sequence(s) && !misshapen && !too_far && !(is_streaming() && axes > 0);
    if (!is_ring()) is_valid = is_valid && std::ssize(l.tokens) + n <= room(l);
    if (is_valid && !is_ring())
      is_valid = are_own(l, std::ssize(l.tokens), std::ssize(l.tokens) + n);
    if (State != KeyState::raw && !l.tokens.empty()) is_valid = is_valid && encoding == l.encoding;
    perform(is_valid, text("append ", n, " to ", s, " at ", axes == 0 ? "default" : "ids"), [&] {
      const AppendOptions options =
          axes == 0 ? AppendOptions{} : AppendOptions{Positions(ids, axes)};
      const TensorView<const U> keys(k.data(), n, setting_.kv_heads, width),
          values(v.data(), n, setting_.kv_heads, setting_.value_dim);
      cache_.append(s, keys, values, bounds_[encoding], options);
    });
    if (!is_valid) return;
    if (l.tokens.empty()) l.encoding = encoding;
    const Position from = l.next_position;
    for (Index t = 0; t < n; ++t) {
      Token token{.index = l.next_index++};
      for (int axis = 0; axis < setting_.axes; ++axis)
        token.at.push_back(axes == 0 ? from + t : ids[size((axes == 1 ? 0 : axis) * n + t)]);
      for (Index i = 0; i < setting_.kv_heads * setting_.head_dim; ++i)
        token.k.push_back(static_cast<double>(k[size(t * setting_.kv_heads * width + i)]));
      for (Index i = 0; i < setting_.kv_heads * setting_.value_dim; ++i)
        token.v.push_back(
            static_cast<double>(v[size(t * setting_.kv_heads * setting_.value_dim + i)]));
      l.next_position = token.greatest() + 1;
      if (std::ssize(l.tokens) == capacity_) {
        l.overwritten.push_back(l.tokens[size(sinks_)].index);
        l.tokens.erase(l.tokens.begin() + sinks_);
      }
      l.tokens.push_back(token);
    }
  }

  void truncate() {
    const Index s = any_sequence();
    List& l = list(s);
    const Position index = any_index(s);
    bool is_valid = is_sequence(s) && index >= 0 && index <= l.next_index;
    // A ring that ends at `index` holds its sinks and the tokens from `wanted` on.
    const Position wanted = std::max<Position>(sinks_, index - (capacity_ - sinks_));
    if (is_ring() && is_valid && l.rank_of(index) < std::ssize(l.tokens))
      is_valid = std::ranges::none_of(l.overwritten, [&](Position i) {
        return i < index && (i < sinks_ || i >= wanted);
      });
    perform(is_valid, text("truncate ", s, " at ", index), [&] { cache_.truncate(s, index); });
    if (is_valid) l.truncate(index);
  }

  void clear() {
    const Index s = any_sequence();
    perform(is_sequence(s), text("clear ", s), [&] { cache_.clear(s); });
    if (is_sequence(s)) list(s).truncate(0);
    if (is_sequence(s)) list(s).next_position = 0;
  }

  void evict() {
    const Index s = any_sequence();
    List& l = list(s);
    Position first = any_index(s), last = any_index(s);
    if (first > last && !choices_.one_in(20)) std::swap(first, last);
    bool is_valid = is_sequence(s) && first >= 0 && first <= last && last <= l.next_index;
    if (is_valid) {
      const Index from = l.rank_of(first), to = l.rank_of(last), kept = std::ssize(l.tokens) - to;
      if (from < to && kept > 0) is_valid = are_own(l, from, from + kept);
    }
    perform(is_valid, text("evict [", first, ", ", last, ") of ", s),
            [&] { cache_.evict(s, first, last); });
    if (is_valid) l.remove(first, last);
  }

  void keep_path() {
    const Index s = any_sequence();
    List& l = list(s);
    const Position first = any_index(s);
    std::vector<Position> path;
    for (Position i = first; i < l.next_index; ++i)
      if (choices_.one_in(2)) path.push_back(i);
    if (choices_.one_in(20)) path.push_back(any_index(s));
    bool is_valid = is_sequence(s) && first >= 0 && first <= l.next_index;
    for (std::size_t i = 0; i < path.size(); ++i)
      is_valid = is_valid && path[i] >= first && path[i] < l.next_index &&
                 (i == 0 || path[i] > path[i - 1]) &&
                 std::ranges::count(l.overwritten, path[i]) == 0;
    for (std::size_t i = 0; is_valid && i < path.size(); ++i) {  // where a token gets a slot
      const Index slot = l.rank_of(first) + static_cast<Index>(i);
      if (l.rank_of(path[i]) != slot) is_valid = are_own(l, slot, slot + 1);
    }
    perform(is_valid, text("keep_path of ", s, " from ", first, ", ", path.size(), " tokens"),
            [&] { cache_.keep_path(s, first, path); });
    if (is_valid) l.remove(first, l.next_index, path);
  }

  void fork() {
    const Index from = any_sequence();
    Index to = any_sequence();
    if (to == from && !choices_.one_in(20)) to = (from + 1) % sequences;
    const Position end = choices_.one_in(2) ? list(from).next_index : any_index(from);
    bool is_valid = is_sequence(from) && is_sequence(to) && from != to && end >= 0 &&
                    end <= list(from).next_index;
    if (is_valid) {
      const List &source = list(from), &target = list(to);
      const Index n = source.rank_of(end);
      is_valid = is_ring() ? n == std::ssize(source.tokens) : n <= room(target);
      for (Index slot = 0; is_valid && is_paged() && slot < n; ++slot) {
        const std::size_t page = size(slot / page_tokens);
        is_valid = source.pages[page] == target.pages[page] || users(target.pages[page]) == 1;
      }
    }
    perform(is_valid, text("fork ", from, " into ", to, " at ", end),
            [&] { cache_.fork(from, to, end); });
    if (!is_valid) return;
    std::vector<Index> own = list(to).pages;
    list(to) = list(from);
    list(to).pages = std::move(own);
    list(to).truncate(end);
  }

  void set_pages() {
    const Index s = any_sequence();
    List& l = list(s);
    const Index needed = (std::ssize(l.tokens) + page_tokens - 1) / page_tokens;
    const Index most = (capacity_ - 1) / page_tokens + 1;
    std::vector<Index> table(l.pages.begin(),
                             l.pages.begin() + std::min<Index>(needed, std::ssize(l.pages)));
    if (l.tokens.empty() && choices_.one_in(2)) {  // the beginning of another's
      const List& other = list(choices_.integer(0, sequences - 1));
      table.assign(other.pages.begin(),
                   other.pages.begin() + choices_.integer(0, std::ssize(other.pages)));
    }
    if (choices_.one_in(15) && !table.empty()) table.pop_back();
    const Index more = choices_.integer(0, 3);
    for (Index i = 0; i < more; ++i) {
      // A free one, or any.
      Index page = choices_.integer(0, pages - 1);
      for (Index tries = 0; tries < pages && users(page) + std::ranges::count(table, page) > 0;
           ++tries)
        page = (page + 1) % pages;
      if (choices_.one_in(30)) page = choices_.integer(-1, pages);
      table.push_back(page);
    }
    bool is_valid = is_sequence(s) && std::ssize(table) <= most && std::ssize(table) >= needed;
    for (std::size_t i = 0; i < table.size(); ++i) {
      is_valid =
          is_valid && table[i] >= 0 && table[i] < pages && std::ranges::count(table, table[i]) == 1;
      if (is_valid && i < size(needed)) is_valid = table[i] == l.pages[i];
    }
    perform(is_valid, text("set_pages of ", s, " to ", table.size()),
            [&] { cache_.set_pages(s, table); });
    if (is_valid) l.pages = table;
  }

  void shift() {
    if constexpr (State != KeyState::reduced) {
      const Index s = any_sequence();
      List& l = list(s);
      Position first = any_index(s), last = any_index(s);
      if (first > last && !choices_.one_in(20)) std::swap(first, last);
      Position by = choices_.integer(-60, 60);
      if (choices_.one_in(30)) by = choices_.integer(-1, 1) * (greatest_position * 2 + by % 2);
      const int encoding = choices_.one_in(30) ? 1 - l.encoding : l.encoding;
      const bool without = State == KeyState::raw && choices_.one_in(2);
      bool is_valid = is_sequence(s) && !is_streaming() && first >= 0 && first <= last &&
                      last <= l.next_index && std::abs(by) <= 2 * greatest_position;
      const auto is_meant = [&](const Token& t) { return t.index >= first && t.index < last; };
      if (State == KeyState::rotated && !l.tokens.empty())
        is_valid = is_valid && encoding == l.encoding;
      for (const Token& t : l.tokens)
        for (const Position p : t.at)
          if (is_meant(t)) is_valid = is_valid && std::abs(p + by) <= greatest_position;
      if (first < last && last == l.next_index)
        is_valid = is_valid && std::abs(l.next_position - 1 + by) <= greatest_position;
      if (is_valid && State == KeyState::rotated)
        is_valid = are_own(l, l.rank_of(first), l.rank_of(last));
      perform(is_valid, text("shift [", first, ", ", last, ") of ", s, " by ", by), [&] {
        if constexpr (State == KeyState::raw)
          if (without) return posenc::shift(cache_, s, first, last, by);
        posenc::shift(cache_, s, first, last, by, bounds_[encoding]);
      });
      if (!is_valid) return;
      if (first < last && last == l.next_index) l.next_position += by;
      for (Token& t : l.tokens)
        if (is_meant(t)) {
          t.turns += State == KeyState::rotated ? 1 : 0;
          for (Position& p : t.at) p += by;
        }
    }
  }

  void rebase() {
    if constexpr (State == KeyState::rotated) {
      const Index s = any_sequence();
      List& l = list(s);
      const int from = choices_.one_in(20) ? 1 - l.encoding : l.encoding;
      const int to = int(choices_.one_in(2));
      bool is_valid = is_sequence(s) && (l.tokens.empty() || from == l.encoding);
      if (is_valid) is_valid = are_own(l, 0, std::ssize(l.tokens));
      perform(is_valid, text("rebase ", s, " from ", from, " to ", to),
              [&] { posenc::rebase(cache_, s, bounds_[from], bounds_[to]); });
      if (!is_valid) return;
      l.encoding = to;
      for (Token& t : l.tokens) ++t.turns;
    }
  }

  // --- Comparison --------------------------------------------------------------------------------

  void compare() const {
    for (Index s = 0; s < sequences; ++s) {
      const List& l = lists_[size(s)];
      const auto same = [&](const char* what, auto got, auto wanted) {
        if (got != wanted) fail(text(what, " of ", s, " is ", got, ", not ", wanted));
      };
      same("tokens", cache_.tokens(s), Index{std::ssize(l.tokens)});
      same("next_index", cache_.next_index(s), l.next_index);
      same("next_position", cache_.next_position(s),
           is_streaming() ? std::min<Position>(std::ssize(l.tokens), capacity_ - 1)
                          : l.next_position);
      for (Index rank = 0; rank < std::ssize(l.tokens); ++rank) {
        const Token& token = l.tokens[size(rank)];
        same("index", cache_.index(s, rank), token.index);
        for (int axis = 0; axis < setting_.axes; ++axis)
          same("position", cache_.position(s, rank, axis),
               is_streaming() ? rank : token.at[size(axis)]);
        for (Index h = 0; h < setting_.kv_heads; ++h) {
          compare_row("key", cache_.key(s, rank, h), token.k.data() + h * setting_.head_dim, h,
                      token, l.encoding, State != KeyState::raw, true);
          compare_row("value", cache_.value(s, rank, h), token.v.data() + h * setting_.value_dim, h,
                      token, l.encoding,
                      State != KeyState::raw && bounds_[l.encoding].rotates_values(), false);
        }
      }
    }
  }

  /// Error of an element that was rotated once and then `turns` times, relative to its pair.
  [[nodiscard]] static double rounding(int turns) {
    const double element = element_format<T> == ElementFormat::bfloat16  ? 0x1p-8
                           : element_format<T> == ElementFormat::float16 ? 0x1p-10
                                                                         : 0;
    return (1 + turns) * (element + (sizeof(T) == 8 ? 1e-12 : 1e-6));
  }

  void compare_row(const char* what, std::span<const T> got, const double* raw, Index head,
                   const Token& token, int encoding, bool is_turned, bool is_key) const {
    std::vector<long double> wanted(raw, raw + got.size());
    std::vector<double> bound(got.size(), 0);
    if (bounds_[encoding].has_rotary())
      if (is_turned) {
        const auto& rotary = bounds_[encoding].rotary();
        const RotaryState& state = rotary.state;
        const Index pairs = state.pairs();
        const bool is_half_split = rotary.layout == &layout_rule<HalfSplit>;
        for (Index i = 0; i < pairs; ++i) {
          const int axis = state.axis.empty() || setting_.axes == 1 ? 0 : state.axis[size(i)];
          Position at = token.at[size(axis)];
          if constexpr (State == KeyState::reduced) {
            // The one map that asks for this state.
            const void* map = bounds_[encoding].distance_map().self;
            const Position chunk = static_cast<const DualChunk*>(map)->chunk;
            at = (at % chunk + chunk) % chunk;
          }
          const double rate = state.head_scale.size() == 0 ? 1 : state.head_scale[head * pairs + i];
          const long double angle = static_cast<long double>(state.inv_freq[i]) * rate * at;
          long double grown = 1;
          if (is_key && state.growth.size() != 0)
            grown =
                std::exp(static_cast<long double>(-state.growth[i]) * (token.at[0] - state.centre));
          const Index a = rotary.offset + (is_half_split ? i : 2 * i);
          const Index b = rotary.offset + (is_half_split ? i + pairs : 2 * i + 1);
          const long double x = raw[a], y = raw[b];
          wanted[size(a)] = grown * (x * std::cos(angle) - y * std::sin(angle));
          wanted[size(b)] = grown * (y * std::cos(angle) + x * std::sin(angle));
          bound[size(a)] = bound[size(b)] =
              static_cast<double>(grown * std::hypot(x, y)) * rounding(token.turns) + 0x1p-24;
        }
      }
    for (std::size_t c = 0; c < got.size(); ++c) {
      const double error =
          std::abs(static_cast<double>(static_cast<long double>(widen(got[c])) - wanted[c]));
      if (!(error <= bound[c]))
        fail(text(what, " of index ", token.index, " has ", static_cast<double>(widen(got[c])),
                  " in channel ", c, ", not ", static_cast<double>(wanted[c]), ", after ",
                  token.turns, " turns"));
    }
  }

  void compare_decoded(Index s, int encoding, Index queries, const U* q, const U* out,
                       const U* lse) const {
    const List& l = lists_[size(s)];
    const Index n = std::ssize(l.tokens), first = n - queries;
    std::vector<U> k, v;
    std::vector<Position> at(size(setting_.axes * n)), index;
    int turns = 0;
    double key = 0, value = 0, query = 0, grown = 1;
    for (Index i = 0; i < n; ++i) {
      const Token& token = l.tokens[size(i)];
      double norm = 0;
      for (const double x : token.k) k.push_back(static_cast<U>(x)), norm += x * x;
      for (const double x : token.v)
        v.push_back(static_cast<U>(x)), value = std::max(value, std::abs(x));
      for (int axis = 0; axis < setting_.axes; ++axis)
        at[size(axis * n + i)] = is_streaming() ? i : token.at[size(axis)];
      index.push_back(token.index);
      turns = std::max(turns, token.turns);
      key = std::max(key, std::sqrt(norm));
    }
    std::vector<Position> query_at;
    for (int axis = 0; axis < setting_.axes; ++axis)
      query_at.insert(query_at.end(), at.begin() + axis * n + first, at.begin() + (axis + 1) * n);
    const AnyBound* bound = &bounds_[encoding];
    std::optional<AnyBound> by_length;
    if (bound->depends_on_length()) {
      const Position length = *std::ranges::max_element(at) + 1;
      if (length > 0) bound = &by_length.emplace(bound->at_length(length));
    }
    double amplitude = 1;
    if (bound->has_rotary()) {
      const RotaryState& state = bound->rotary().state;
      amplitude = state.attention_factor * state.attention_factor;
      const auto [least, most] = std::ranges::minmax(at);
      if (state.growth.size() != 0)
        grown = std::exp(state.growth.abs().maxCoeff() * static_cast<double>(most - least));
    }
    const detail::reference::Widened queries_of(
        TensorView<const U>(q, queries, setting_.heads, setting_.head_dim)),
        keys(TensorView<const U>(k.data(), n, setting_.kv_heads, setting_.head_dim)),
        values(TensorView<const U>(v.data(), n, setting_.kv_heads, setting_.value_dim));
    const ReferenceResult wanted =
        detail::reference::Call<double>{
            bound->answers(),
            bound->answers().rotary(),
            queries_of,
            keys,
            values,
            Positions(query_at, setting_.axes),
            Positions(at, setting_.axes),
            Positions(std::span<const Position>(index).subspan(size(first))),
            Positions(index)}
            .attend();
    for (Index i = 0; i < queries * setting_.heads * setting_.head_dim; ++i)
      query = std::max(query, std::abs(static_cast<double>(q[i])));
    query *= std::sqrt(static_cast<double>(setting_.head_dim));
    const double stored =
        State == KeyState::raw ? (sizeof(T) == 8 ? 1e-12 : 1e-6) : rounding(turns);
    const double score =
        std::abs(bound->scale(setting_.head_dim)) * std::max(1.0, amplitude) * grown * query * key;
    const double weight = std::expm1(2 * score * stored) + (sizeof(T) == 8 ? 1e-11 : 2e-5);
    const double of_lse = weight,
                 of_out = 3 * value * weight + (bound->rotates_values() ? 3 * value * stored : 0);
    const auto check = [&](double got, double expected, double tolerance, Index r) {
      if (got == expected ||
          std::abs(got - expected) <= tolerance * std::max(1.0, std::abs(expected)))
        return;
      fail(text("query ", r, " of ", queries, " of ", s, " is ", got, ", not ", expected,
                ", off by more than ", tolerance));
    };
    const Index width = setting_.heads * setting_.value_dim;
    for (std::size_t i = 0; i < wanted.out.size(); ++i)
      check(static_cast<double>(out[i]), wanted.out[i], of_out, static_cast<Index>(i) / width);
    for (std::size_t i = 0; i < wanted.lse.size(); ++i)
      check(static_cast<double>(lse[i]), wanted.lse[i], of_lse,
            static_cast<Index>(i) / setting_.heads);
  }

  Choices& choices_;
  SeededChoices numbers_;  ///< what tensors hold
  Setting setting_;
  AnyBound bounds_[2];
  Index capacity_, sinks_;
  std::vector<T> pool_keys_, pool_values_;
  CacheT cache_;
  std::vector<List> lists_;
  std::deque<std::string> log_;
  int accepted_ = 0, refused_ = 0;
};

}  // namespace cache_test
