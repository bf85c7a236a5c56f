// SPDX-License-Identifier: MIT
//
// The work of choose_blocks: the blocks that groups of queries choose by the summaries (select/choose_call.hpp).
//
// Scores are sums of products over the queries that share a choice, and a sum of products with the same summary is the
// product of the sum: queries are added first, so that a group meets the summaries once. Selectors that weigh the scores of
// a query (NSA) have a product for each.
#pragma once

#include <posenc/attention/decode/plan.hpp>
#include <posenc/mask/chosen_blocks.hpp>
#include <posenc/select/choose.hpp>
#include <posenc/select/choose_call.hpp>

#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

inline Index choices_of(ChoicePer per, const HeadShape& shape) {
  return per == ChoicePer::query_head ? shape.num_heads
         : per == ChoicePer::key_head ? shape.num_kv_heads
                                      : 1;
}

template <class S, class A, class U>
class BlockChooser {
  static constexpr bool weighs = WeighsScores<S>;
  static constexpr Index most_tokens = 16;  ///< queries that are rotated, or weighed, together

 public:
  /// Groups of a task.
  static constexpr Index most_groups = 16;

  BlockChooser(const ChooseCall<S, A, U>& call, const std::vector<float>& summaries,
               BlockSets& sets)
      : call_(call), selector_(call.selector), summaries_(summaries.data()), sets_(sets),
        blocks_(call.k.tokens / selector_.block), group_(call.q.heads / call.k.heads),
        together_(selector_.per == ChoicePer::sequence ? call.k.heads : 1),
        choices_(selector_.per == ChoicePer::query_head ? group_ : 1),
        numbers_(selector_.summary_width(call.k.width)),
        met_row_(round_up(numbers_, DecodePlan::pad)),
        score_row_(round_up(std::max<Index>(blocks_, 1), DecodePlan::pad)) {
    const auto floats = [](Index rows, Index row) {
      return std::vector<float>(static_cast<std::size_t>(rows * row));
    };
    const Index rows = group_ * std::max(most_groups, most_tokens);
    queries_ = floats(most_tokens * group_, call.k.width);
    one_ = floats(1, met_row_);
    met_ = floats(rows, met_row_);
    scores_ = floats(rows, score_row_);
    sums_ = floats(choices_ * most_groups, score_row_);
    best_.resize(static_cast<std::size_t>(2 * std::min(selector_.top(), blocks_) + 2));
  }

  [[nodiscard]] Index tasks() const { return tasks_of_unit() * (call_.k.heads / together_); }

  /// Some groups of queries, for the heads whose choices belong together.
  void operator()(Index task) {
    const Index unit = task / tasks_of_unit();
    first_ = task % tasks_of_unit() * most_groups;
    groups_ = std::min(most_groups, sets_.groups() - first_);
    std::fill(sums_.begin(), sums_.end(), 0.0F);
    for (Index h = unit * together_; h < (unit + 1) * together_; ++h)
      weighs ? add_weighed(h) : add_products(h);
    for (Index c = 0; c < choices_; ++c)
      for (Index i = 0; i < groups_; ++i) choose(unit * choices_ + c, i, sums(c, i));
  }

 private:
  [[nodiscard]] Index tasks_of_unit() const {
    return (sets_.groups() + most_groups - 1) / most_groups;
  }
  [[nodiscard]] float* sums(Index choice, Index i) {
    return sums_.data() + (choice * most_groups + i) * score_row_;
  }
  /// Rows of q of a group.
  [[nodiscard]] Index begin(Index i) const { return (first_ + i) * sets_.sizes().query_block; }
  [[nodiscard]] Index end(Index i) const {
    return std::min(begin(i) + sets_.sizes().query_block, call_.q.tokens);
  }
  /// Keys and blocks that a row may see, and the complete ones among them.
  [[nodiscard]] Index tokens(Index row) const {
    return std::min<Index>(call_.at.query_offset + row + 1, call_.k.tokens);
  }
  [[nodiscard]] Index blocks(Index row) const {
    return tokens(row) == 0 ? 0 : (tokens(row) - 1) / selector_.block + 1;
  }
  [[nodiscard]] Index complete(Index row) const { return tokens(row) / selector_.block; }

  /// Queries of a key head, turned as the selector wants them.
  void load(Index row, Index tokens, Index kv_head) {
    call_.load(call_.q, row, tokens, kv_head * group_, group_, queries_.data());
    if (!call_.rotate) return;
    if constexpr (TurnsQueriesAlike<S>) {
      for (Index t = 0; t < tokens; ++t)
        call_.turn(Side::query, kv_head, Positions(selector_.query_position()),
                   queries_.data() + t * group_ * call_.k.width, 1, group_);
    } else if constexpr (S::rotated) {
      call_.turn(Side::query, kv_head,
                 call_.at.query.subspan(static_cast<std::size_t>(row),
                                        static_cast<std::size_t>(tokens)),
                 queries_.data(), tokens, group_);
    }
  }
  void meet(Index token, Index head, float* to) const {
    selector_.meet(queries_.data() + (token * group_ + head) * call_.k.width, call_.k.width, to);
  }
  void product(Index rows, Index blocks, const float* met, Index summary_head,
               float* scores) const {
    if (blocks > 0)
      call_.dots(rows, blocks, numbers_, met, met_row_,
                 summaries_ + summary_head * blocks_ * numbers_, numbers_, scores, score_row_, {});
  }
  static void add(Index n, const float* x, float* sum) {
    for (Index i = 0; i < n; ++i) sum[i] += x[i];
  }

  /// Sums of the queries of each group meet the summaries.
  void add_products(Index kv_head) {
    // A row for each head that chooses for itself or has summaries of its own, and one for all of them otherwise.
    const Index rows = needs_mass<S> ? group_ : choices_;
    std::fill(met_.begin(), met_.end(), 0.0F);
    for (Index i = 0; i < groups_; ++i)
      for (Index row = begin(i); row < end(i); row += most_tokens) {
        const Index n = std::min(most_tokens, end(i) - row);
        load(row, n, kv_head);
        for (Index t = 0; t < n; ++t)
          for (Index g = 0; g < group_; ++g) {
            meet(t, g, one_.data());
            add(numbers_, one_.data(),
                met_.data() + ((rows == 1 ? 0 : g) * groups_ + i) * met_row_);
          }
      }
    const Index most = complete(begin(groups_ - 1)), heads = needs_mass<S> ? group_ : 1,
                together = rows / heads * groups_;
    for (Index h = 0; h < heads; ++h)
      product(together, most, met_.data() + h * together * met_row_, kv_head * heads + h,
              scores_.data() + h * together * score_row_);
    for (Index r = 0; r < rows; ++r)
      for (Index i = 0; i < groups_; ++i)
        add(most, scores_.data() + (r * groups_ + i) * score_row_, sums(choices_ == 1 ? 0 : r, i));
  }

  /// Every query meets the summaries, and what is made of its scores is added.
  void add_weighed([[maybe_unused]] Index kv_head) {
    if constexpr (weighs) {
      for (Index i = 0; i < groups_; ++i)
        for (Index row = begin(i); row < end(i); row += most_tokens) {
          const Index n = std::min(most_tokens, end(i) - row), most = complete(row + n - 1);
          load(row, n, kv_head);
          const Index heads = needs_mass<S> ? group_ : 1, together = group_ / heads * n;
          for (Index t = 0; t < n; ++t)
            for (Index g = 0; g < group_; ++g) meet(t, g, met_.data() + (g * n + t) * met_row_);
          for (Index h = 0; h < heads; ++h)
            product(together, most, met_.data() + h * together * met_row_, kv_head * heads + h,
                    scores_.data() + h * together * score_row_);
          for (Index t = 0; t < n; ++t) {
            const double scale = call_.answers.scale(call_.k.width, call_.rotary) *
                                 call_.answers.temperature(call_.at.query[row + t]);
            for (Index g = 0; g < group_; ++g) {
              float* const x = scores_.data() + (g * n + t) * score_row_;
              selector_.weigh({x, static_cast<std::size_t>(complete(row + t))}, scale);
              add(complete(row + t), x, sums(choices_ == 1 ? 0 : g, i));
            }
          }
        }
    }
  }

  void choose(Index choice, Index i, const float* scores) {
    const Index all = blocks(end(i) - 1), own = blocks(begin(i));
    const Index first = std::min(selector_.forced(all).first, all),
                last =
                    std::max(first, std::min(own - selector_.forced(own).last, complete(begin(i)))),
                top = selector_.top();
    for_chosen(scores, first, last, all, top, best_.data(),
               [&](Index from, Index end) { sets_.add(choice, first_ + i, from, end); });
  }

  const ChooseCall<S, A, U>& call_;
  const S& selector_;
  const float* summaries_;
  BlockSets& sets_;
  Index blocks_, group_, together_, choices_, numbers_, met_row_, score_row_;
  std::vector<float> queries_;       ///< [query][head of the group][width]
  std::vector<float> one_;           ///< [number]
  std::vector<float> met_, scores_;  ///< [head of the group][group or query][number or block]
  std::vector<float> sums_;          ///< [choice][group][block]
  std::vector<std::uint64_t> best_;
  Index first_ = 0, groups_ = 0;  ///< groups of the task
};

template <class S, class A, class U>
void choose_all_blocks(const ChooseCall<S, A, U>& call, BlockSets& sets,
                       const AnyExecutor& executor) {
  if (sets.groups() == 0) return;
  const std::vector<float> summaries = summaries_of(call, executor);
  const Index tasks = BlockChooser<S, A, U>(call, summaries, sets).tasks();
  // Workers allocate, which may throw, so they are made before threads begin.
  std::vector<BlockChooser<S, A, U>> workers;
  for (Index w = 0; w < std::clamp<Index>(tasks, 1, executor.concurrency()); ++w)
    workers.emplace_back(call, summaries, sets);
  run_tasks(executor, std::ssize(workers), tasks, [&](Index w) {
    return [&worker = workers[static_cast<std::size_t>(w)]](Index task) { worker(task); };
  });
}

}  // namespace detail

POSENC_NAMESPACE_END
