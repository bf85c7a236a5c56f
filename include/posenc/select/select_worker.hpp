// SPDX-License-Identifier: MIT
//
// The work of a call to select: up to eight queries of a sequence meet the summaries of a key head, and choose.
//
// A task is that of one key head, or of all of them where they share a choice. It depends on nothing but the call, and
// so does what comes out.
#pragma once

#include <posenc/attention/decode/sequences.hpp>
#include <posenc/select/choose.hpp>
#include <posenc/select/summaries.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Sizes of a call to select.
struct SelectShape {
  static constexpr Index most_queries = 8;  ///< of a task
  Index heads = 0, kv_heads = 0, head_dim = 0;
  Index summary_heads = 0, summary_width = 0, block = 0, top = 0;
  ChoicePer per = ChoicePer::query_head;
  Index queries = 0;  ///< most of a sequence
  Index blocks = 0;   ///< most of a sequence

  [[nodiscard]] Index group() const { return heads / kv_heads; }
  /// Key heads whose choices belong together, and choices of a query.
  [[nodiscard]] Index heads_together() const { return per == ChoicePer::sequence ? kv_heads : 1; }
  [[nodiscard]] Index choices() const {
    return per == ChoicePer::query_head ? heads : per == ChoicePer::key_head ? kv_heads : 1;
  }
  /// Most ranges of a choice: those of the blocks with the greatest scores, of forced ones before and behind them,
  /// and of tokens in no block.
  [[nodiscard]] Index ranges() const { return std::min(top, blocks) + 3; }
  [[nodiscard]] Index query_row() const { return round_up(summary_width, DecodePlan::pad); }
  /// Products are written by whole vectors, those of a ring in two pieces.
  [[nodiscard]] Index score_row() const {
    return round_up(blocks, DecodePlan::pad) + DecodePlan::pad;
  }
};

/// Memory of a worker.
struct SelectRoom {
  float* query = nullptr;         ///< [head of a group][head_dim]
  float* met = nullptr;           ///< [head of a group][query][query_row]
  float* scores = nullptr;        ///< [head of a group][query][score_row]
  float* sums = nullptr;          ///< [query][score_row]
  std::uint64_t* best = nullptr;  ///< [2 top]

  SelectRoom(const SelectShape& shape, Arena& arena) {
    const Index queries = std::min(shape.queries, SelectShape::most_queries),
                rows = shape.group() * queries;
    query = arena.take<float>(shape.group(), shape.head_dim);
    met = arena.take<float>(rows, shape.query_row());
    scores = arena.take<float>(rows, shape.score_row());
    if (shape.per != ChoicePer::query_head) sums = arena.take<float>(queries, shape.score_row());
    best = arena.take<std::uint64_t>(2, std::min(shape.top, shape.blocks));
  }
};

/// What is chosen, by row of q and choice of it.
struct SelectResults {
  KeyRange* ranges = nullptr;  ///< [row][choice][ranges]
  Index* count = nullptr;      ///< [row][choice]
  SelectResults(const SelectShape& shape, Index rows, Arena& arena)
      : ranges(arena.take<KeyRange>(rows * shape.choices(), shape.ranges())),
        count(arena.take<Index>(rows, shape.choices())) {}
};

/// A sequence of a call.
template <class C>
struct SelectSequence {
  CachedSequence<C> cached;
  const Rotary* rotary = nullptr;
  BlockGrid grid{};
  Index sequence = 0;
  Index first_task = 0;
};

/// What a call is about; A is what queries are computed in.
template <class S, Element T, class C, class A>
struct SelectCall {
  const Summaries<S, T>& summaries;
  const Answers& answers;
  Rows<A> q;
  RotateRows<float> rotate = nullptr;
  StoredDots<float> dots = nullptr;
  SelectShape shape{};
  std::span<const SelectSequence<C>> sequences{};
  SelectResults results;
};

template <class S, Element T, class C, class A>
class SelectWorker {
 public:
  SelectWorker(const SelectCall<S, T, C, A>& call, std::byte* memory)
      : call_(call), selector_(call.summaries.selector()), shape_(call.shape), room_([&] {
          Arena arena(memory);
          return SelectRoom(call.shape, arena);
        }()) {}

  void operator()(Index task) {
    const auto next = std::upper_bound(call_.sequences.begin(), call_.sequences.end(), task,
                                       [](Index t, const auto& s) { return t < s.first_task; });
    sequence_ = &*(next - 1);
    const Index units = shape_.kv_heads / shape_.heads_together(),
                at = task - sequence_->first_task;
    first_ = at / units * SelectShape::most_queries;
    count_ = std::min(SelectShape::most_queries, sequence_->cached.queries - first_);
    const Index head = at % units * shape_.heads_together();
    if (room_.sums) std::fill_n(room_.sums, count_ * shape_.score_row(), 0.0F);
    for (Index h = head; h < head + shape_.heads_together(); ++h) {
      score(h);
      if (room_.sums)
        add();
      else
        for (Index g = 0; g < shape_.group(); ++g) choose_all(h * shape_.group() + g, scores(g, 0));
    }
    if (room_.sums) choose_all(shape_.per == ChoicePer::sequence ? 0 : head, room_.sums);
  }

 private:
  /// Rows of a group that meet its summaries: one where their scores are added and are products as they are, since a sum of
  /// products with one summary is the product of the sum.
  [[nodiscard]] Index rows_of_group() const {
    const bool as_they_are = !WeighsScores<S> && shape_.summary_heads == shape_.kv_heads;
    return room_.sums && as_they_are ? 1 : shape_.group();
  }
  [[nodiscard]] float* scores(Index head_of_group, Index query) const {
    return room_.scores + (head_of_group * count_ + query) * shape_.score_row();
  }
  /// Tokens that a query of the task sees, itself the last of them, and their blocks.
  [[nodiscard]] Index tokens(Index query) const {
    return sequence_->cached.rank(first_ + query) + 1;
  }
  [[nodiscard]] Index blocks(Index query) const { return sequence_->grid.blocks(tokens(query)); }
  /// Blocks that the query meets: those with a summary, and where its own block is read in any case no keys after it.
  [[nodiscard]] Index met(Index query) const {
    const Index all = blocks(query);
    return std::min(call_.summaries.blocks(sequence_->sequence),
                    selector_.forced(all).last > 0 ? sequence_->grid.whole(tokens(query)) : all);
  }

  /// Scores of all queries of the task and all query heads of a key head.
  void score(Index kv_head) {
    const Index group = shape_.group(), width = shape_.head_dim;
    for (Index i = 0; i < count_; ++i) {
      const Index row = sequence_->cached.first + first_ + i;
      for (Index g = 0; g < group; ++g)
        load_floats(call_.q, row, kv_head * group + g, room_.query + g * width);
      if (call_.rotate) {
        const Rotary& rotary = sequence_->rotary->of(kv_head);
        const double factor = rotary.state.attention_factor;
        const TensorView<float> y(room_.query, 1, group, width, 0, width);
        call_.rotate(rotary, rotary.angles, {.amplitude = factor * factor, .side = Side::query},
                     place(i), TensorView<const float>(y), y);
      }
      for (Index g = 0; g < group; ++g) {
        float* const to = room_.met + (g * count_ + i) * shape_.query_row();
        std::fill(to + shape_.summary_width, to + shape_.query_row(), 0.0F);
        selector_.meet(room_.query + g * width, width, to);
        float* const sum = room_.met + i * shape_.query_row();
        for (Index c = 0; g > 0 && rows_of_group() == 1 && c < shape_.summary_width; ++c)
          sum[c] += to[c];
      }
    }
    // The last query sees the most blocks.
    const Index most = met(count_ - 1), heads = shape_.summary_heads / shape_.kv_heads,
                rows = rows_of_group() / heads * count_;
    const Index in_a_row = call_.summaries.in_a_row(sequence_->sequence);
    for (Index h = 0; h < heads; ++h)
      for (Index from = 0; from < most; from += in_a_row)
        call_.dots(rows, std::min(most - from, in_a_row), shape_.summary_width,
                   room_.met + h * rows * shape_.query_row(), shape_.query_row(),
                   call_.summaries.row(sequence_->sequence, kv_head * heads + h, from),
                   shape_.summary_width, room_.scores + h * rows * shape_.score_row() + from,
                   shape_.score_row(), {});
    if constexpr (WeighsScores<S>)
      for (Index i = 0; i < count_; ++i) {
        const double scale = call_.answers.scale(width, *sequence_->rotary) *
                             call_.answers.temperature(sequence_->cached.place(first_ + i)[0]);
        for (Index g = 0; g < group; ++g)
          selector_.weigh({scores(g, i), static_cast<std::size_t>(met(i))}, scale);
      }
  }
  /// Where a query of the task stands when it meets summaries.
  [[nodiscard]] Positions place(Index query) const {
    if constexpr (TurnsQueriesAlike<S>)
      return Positions(selector_.query_position());
    else
      return sequence_->cached.place(first_ + query);
  }
  void add() {
    for (Index g = 0; g < rows_of_group(); ++g)
      for (Index i = 0; i < count_; ++i) {
        float* const sum = room_.sums + i * shape_.score_row();
        const float* const row = scores(g, i);
        for (Index b = 0; b < met(i); ++b) sum[b] += row[b];
      }
  }
  void choose_all(Index choice, const float* scores) {
    for (Index i = 0; i < count_; ++i) {
      const Index at = (sequence_->cached.first + first_ + i) * shape_.choices() + choice;
      call_.results.count[at] =
          choose(i, scores + i * shape_.score_row(), call_.results.ranges + at * shape_.ranges());
    }
  }
  /// Writes ranges, and returns how many.
  Index choose(Index query, const float* scores, KeyRange* to) {
    const Index all = blocks(query);
    const ForcedBlocks forced = selector_.forced(all);
    // Blocks at the beginning of the sequence, of which a ring may have overwritten some.
    const Index first = std::clamp<Index>(forced.first - sequence_->grid.first, 0, all),
                last = std::max(first, std::min(all - forced.last, met(query)));
    BlockRanges ranges(sequence_->grid.origin, shape_.block, tokens(query), to);
    for_chosen(scores, first, last, all, shape_.top, room_.best,
               [&](Index from, Index end) { ranges.add(from, end); });
    return ranges.count();
  }

  const SelectCall<S, T, C, A>& call_;
  const S& selector_;
  const SelectShape& shape_;
  SelectRoom room_;
  const SelectSequence<C>* sequence_ = nullptr;
  Index first_ = 0, count_ = 0;  ///< queries of the task, of those of the sequence
};

}  // namespace detail

POSENC_NAMESPACE_END
