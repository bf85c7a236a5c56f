// SPDX-License-Identifier: MIT
//
// The decode kernel: a few queries of each sequence against the keys that a cache holds, generic over
// the type it computes in.
//
//   for each sequence, block of queries and part of its keys, in parallel:
//     for each block of up to 256 keys and each key head:
//       masks:         hidden blocks are not read; mixed ones are halved down to 64 keys
//       distance map:  one product for a uniform block, one per region and a blend for a mixed one
//       products with vectors by distance, biases and score maps in the order written, masks,
//       softmax, weights times values
//     parts are merged in pairs; the last to come adds vectors by distance times their weights, and
//     writes the rows
//
// Keys are what takes time: each is read once, for all query heads of its group, and prefetched before
// it is needed. Where keys are rotated on the way, all heads of a key share its cosines and sines.
#pragma once

#include <posenc/attention/decode/relative_terms.hpp>
#include <posenc/attention/keys/source.hpp>
#include <posenc/attention/score/softmax_state.hpp>
#include <posenc/attention/score/tile.hpp>
#include <posenc/executor/tasks.hpp>

#include <bit>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A sequence of a call, and where its queries stand.
template <class U>
struct DecodeSequence {
  KeySource<U> keys;
  const Rotary* rotary = nullptr;  ///< at the length of the sequence
  Index first = 0, queries = 0;    ///< rows of q
  const void* self = nullptr;
  /// Index and position of a query of the sequence.
  Position (*index)(const void* self, Index query) = nullptr;
  Positions (*place)(const void* self, Index query) = nullptr;
};

/// What a call is about; shared by its workers.
template <class U>
struct DecodeCall {
  Rows<U> q;
  OutRows<U> out;
  std::span<U> lse{};
  Asked<U> asked{};
  DecodeLeaves<U> leaves{};
  std::span<const DecodeSequence<U>> sequences{};
  DecodeShape shape{};
};

template <class U>
class DecodeWorker {
 public:
  DecodeWorker(const DecodeCall<U>& call, const SharedDecode<U>& shared, std::byte* workspace)
      : call_(call), answers_(*call.asked.answers), map_(answers_.map()), shape_(call.shape),
        leaves_(call.leaves), shared_(shared), group_(shape_.heads / shape_.kv_heads),
        arena_(workspace), buffers_(answers_, shape_, arena_), sums_(RowSums<U>(shape_, arena_)),
        relative_(answers_, shape_, leaves_, buffers_, group_) {}

  void operator()(Index task) noexcept {
    const std::span<const Index> first_tasks(shared_.first_task, size(shape_.sequences + 1));
    const Index i = std::ranges::upper_bound(first_tasks, task) - first_tasks.begin() - 1;
    sequence_ = &call_.sequences[size(i)];
    rotary_ = sequence_->rotary;
    turns_ = rotary_->layout && sequence_->keys.state == KeyState::raw;
    const Index keys = sequence_->keys.tokens, parts = DecodePlan::parts_of(keys);
    const Index block = (task - shared_.first_task[i]) / parts;
    const Index part = (task - shared_.first_task[i]) % parts, first_part = task - part;
    begin_queries(block);
    sums_ = shared_.of(shape_, task);
    const Index first = part * DecodePlan::part_of(keys);
    const Index last = std::min(keys, first + DecodePlan::part_of(keys));
    attend_part(part, first, last, false);
    // A weight of zero must not meet a value that is not finite: such values are rare, so they are
    // found afterwards.
    if (!is_finite()) attend_part(part, first, last, true);

    const bool is_last =
        merge_parts(part, parts, shared_.arrived + first_part, [&](Index left, Index right) {
          sums_ = shared_.of(shape_, first_part + left);
          merge(shared_.of(shape_, first_part + right));
        });
    if (!is_last) return;
    sums_ = shared_.of(shape_, first_part);
    finish();
  }

 private:
  static constexpr Index block_keys = DecodePlan::block_keys;

  /// Keys that lie one after another and have consecutive indices.
  struct Block {
    KeyRun run{};
    Tile where{};
    TileClass mask = TileClass::full;
    RegionSet regions = 1;
    [[nodiscard]] Index keys() const { return run.tokens; }
  };

  [[nodiscard]] Index rows() const { return group_ * queries_; }
  static Index padded(Index keys) { return round_up(keys, DecodePlan::pad); }
  /// Do values turn on their way out of the cache?
  [[nodiscard]] bool turns_values() const { return turns_ && answers_.facts().rotates_values; }
  /// Angles of values stand behind those of all regions.
  [[nodiscard]] int copy_of_values() const { return map_.regions(); }

  // --- Queries ----------------------------------------------------------------------------------

  void begin_queries(Index block) {
    const Index done = block * DecodePlan::most_queries;
    first_query_ = done;
    queries_ = std::min(DecodePlan::most_queries, sequence_->queries - done);
    rotated_ = 0;
    for (Index i = 0; i < queries_; ++i) {
      buffers_.query_index[i] = sequence_->index(sequence_->self, done + i);
      buffers_.query[i] = place(i)[0];
    }
    scale_ = answers_.scale(shape_.head_dim, *rotary_);
    if (relative_.asks) relative_.begin_queries(queries_, scale_, [&] { return plain_queries(); });
  }
  /// Where query i of the block stands, and which row it is.
  [[nodiscard]] Positions place(Index i) const {
    return sequence_->place(sequence_->self, first_query_ + i);
  }
  [[nodiscard]] Index row_of(Index i) const { return sequence_->first + first_query_ + i; }

  /// Query i of the block, of all heads, among rows of queries.
  [[nodiscard]] TensorView<U> heads_of(U* queries, Index i) const {
    return {queries + i * shape_.query_row(), 1, shape_.heads, shape_.head_dim, 0,
            queries_ * shape_.query_row()};
  }
  void load(Index i, const TensorView<U>& y) const {
    for (Index h = 0; h < shape_.heads; ++h) call_.q.load(row_of(i), h, y.row(0, h));
  }
  void scale(const TensorView<U>& y, Index i) const {
    const U factor = static_cast<U>(scale_ * answers_.temperature(buffers_.query[i]));
    for (Index h = 0; h < shape_.heads; ++h) {
      U* const row = y.row(0, h);
      std::fill(row + shape_.head_dim, row + shape_.query_row(), U{0});
      if (factor != 0)
        leaves_.sums->combine(shape_.query_row(), factor, row, U{0}, row);
      else  // keeps what is not finite
        std::transform(row, row + shape_.head_dim, row, [](U x) { return x * 0; });
    }
  }

  /// Queries of all heads as they were passed but for their scale, [row][query_row].
  [[nodiscard]] const U* plain_queries() {
    if (!buffers_.relative.queries) return queries(0);
    for (Index i = 0; i < queries_; ++i) {
      const TensorView<U> y = heads_of(buffers_.relative.queries, i);
      load(i, y);
      scale(y, i);
    }
    return buffers_.relative.queries;
  }
  /// Queries of all heads, rotated for a region and scaled, [row][query_row].
  [[nodiscard]] const U* queries(int region) {
    U* const all = buffers_.queries + region * shape_.rows() * shape_.query_row();
    if ((rotated_ >> region & 1U) != 0) return all;
    rotated_ |= RegionSet{1} << region;
    for (Index i = 0; i < queries_; ++i) {
      const TensorView<U> y = heads_of(all, i);
      load(i, y);
      if (answers_.relative().query_biases > 0) add_query_biases(answers_, y);
      if (rotary_->layout) {
        const double factor = rotary_->state.attention_factor;
        const Turn turn{.amplitude = factor * factor, .side = Side::query};
        const double at = map_.query_position(region, buffers_.query[i]);
        const Positions positions = map_ ? Positions(std::span<const double>(&at, 1)) : place(i);
        leaves_.rotate(*rotary_, rotary_->region_angles(region), turn, positions, y, y);
      }
      scale(y, i);
    }
    return all;
  }

  // --- Keys -------------------------------------------------------------------------------------

  void attend_part(Index part, Index first, Index last, bool skip_zeros) {
    skip_zeros_ = skip_zeros;
    for (Index row = 0; row < shape_.heads * queries_; ++row) {
      const SoftmaxStart start =
          part == 0 ? answers_.template softmax_start<U>(row / queries_) : SoftmaxStart{};
      sums_.shift[row] = static_cast<U>(start.shift);
      sums_.sum[row] = static_cast<U>(start.sum);
    }
    std::fill_n(sums_.outputs, shape_.heads * queries_ * shape_.output_row(), U{0});
    sequence_->keys.for_runs(first, last, block_keys,
                             [&](const KeyRun& run) { attend_block(run); });
  }

  void attend_block(const KeyRun& run) {
    const Block block = block_of(run);
    if (block.mask == TileClass::none) return;
    if (run.tokens > DecodePlan::mixed_keys &&
        (block.mask == TileClass::partial || !std::has_single_bit(block.regions))) {
      const Index half = round_up(run.tokens / 2, DecodePlan::mixed_keys);
      attend_block(some_of(run, 0, half));
      attend_block(some_of(run, half, run.tokens - half));
      return;
    }
    begin_block(block);
    for (Index h = 0; h < shape_.kv_heads; ++h) meet(block, h);
  }
  [[nodiscard]] KeyRun some_of(const KeyRun& run, Index first, Index tokens) const {
    const auto bytes = [&](const Rows<U>& rows) {
      return first * rows.token_stride * rows.storage->bytes;
    };
    return {run.rank + first,
            tokens,
            run.keys + bytes(sequence_->keys.keys),
            run.values + bytes(sequence_->keys.values),
            run.index + first,
            run.positions.subspan(size(first), size(tokens))};
  }

  [[nodiscard]] Block block_of(const KeyRun& run) const {
    Block block{.run = run};
    block.where = {bounds(buffers_.query, queries_),
                   bounds(run.positions, 0, run.tokens),
                   bounds(buffers_.query_index, queries_),
                   {run.index, run.index + run.tokens - 1}};
    block.mask = answers_.classify(block.where);
    block.regions = map_.occurring(block.where);
    return block;
  }

  void begin_block(const Block& block) {
    with_angles_ = 0;
    for (Index k = 0; k < padded(block.keys()); ++k) {
      const Index key = std::min(k, block.keys() - 1);
      buffers_.key[k] = block.run.positions[key];
      buffers_.key_index[k] = block.run.index + key;
    }
    if (relative_.asks) relative_.begin_block(block.keys());
  }

  /// A block of keys meets all rows of a key head.
  void meet(const Block& block, Index head) {
    turned_ = -1;
    score_regions(block, head);
    if (relative_.in_scores)
      relative_.add_to_scores(head, [&] { return plain_keys(block, head); }, buffers_.scores);
    const Index first_row = head * rows(), padded = this->padded(block.keys());
    for (Index r = 0; r < rows(); ++r) {
      U* const scores = buffers_.scores + r * block_keys;
      change_scores(block, head, r, scores);
      std::fill(scores + block.keys(), scores + padded, -std::numeric_limits<U>::infinity());
      const Index row = first_row + r;
      const U factor = leaves_.sums->softmax_row(padded, scores, sums_.shift[row], sums_.sum[row]);
      if (factor == 1) continue;
      U* const output = sums_.outputs + row * shape_.output_row();
      leaves_.sums->combine(shape_.output_row(), factor, output, U{0}, output);
    }
    U* const outputs = sums_.outputs + first_row * shape_.output_row();
    if (relative_.in_values) relative_.add_weights(buffers_.scores, outputs);
    // A block is summed by itself first: over many keys of equal weight, one running sum would round
    // the same way each time.
    std::fill_n(buffers_.sums, rows() * shape_.value_row(), U{0});
    add_values(block, head, buffers_.sums);
    for (Index r = 0; r < rows(); ++r)
      leaves_.sums->combine(shape_.value_row(), U{1}, outputs + r * shape_.output_row(), U{1},
                            buffers_.sums + r * shape_.value_row());
  }

  /// Scores of all rows of a key head: the product of each region that occurs, each pair taking its
  /// own region's.
  void score_regions(const Block& block, Index head) {
    score(block, head, std::countr_zero(block.regions), buffers_.scores);
    for (RegionSet set = block.regions & (block.regions - 1); set != 0; set &= set - 1) {
      const int region = std::countr_zero(set);
      score(block, head, region, buffers_.blend);
      for (Index i = 0; i < queries_; ++i) {
        map_.ask->region(map_.self, block.keys(), buffers_.query + i, 0, buffers_.key, 1,
                         buffers_.region_of);
        for (Index g = 0; g < group_; ++g)
          for (Index k = 0, at = (g * queries_ + i) * block_keys; k < block.keys(); ++k, ++at)
            if (buffers_.region_of[k] == region) buffers_.scores[at] = buffers_.blend[at];
      }
    }
  }

  /// Biases and score maps of a row, in the order written, then masks where they hide a part.
  void change_scores(const Block& block, Index head, Index r, U* scores) const {
    const std::span<const Stage> stages = answers_.asked();
    const Index i = r % queries_;
    const Position query = buffers_.query[i], index = buffers_.query_index[i];
    const KeyRow row{
        .keys = padded(block.keys()),
        .query = query,
        .query_index = index,
        .head = head * group_ + r / queries_,
        .key = buffers_.key,
        .key_index = buffers_.key_index,
        .where = {{query, query}, block.where.key, {index, index}, block.where.key_index}};
    const auto loops = [&](std::size_t stage) -> const ScoreLoops<U>& {
      return call_.asked.loops[stage](leaves_.level);
    };
    for (std::size_t s = 0; s < stages.size(); ++s)
      if (const auto change = loops(s).change_row) change(stages[s].self, row, scores);
    for (std::size_t s = 0; s < stages.size() && block.mask == TileClass::partial; ++s)
      if (const auto hide = loops(s).hide_row) hide(stages[s].self, row, scores);
  }

  /// Keys and values of a head of a block, as they are stored.
  [[nodiscard]] const std::byte* stored_keys(const Block& block, Index head) const {
    const Rows<U>& rows = sequence_->keys.keys;
    return block.run.keys + head * rows.head_stride * rows.storage->bytes;
  }
  [[nodiscard]] const std::byte* stored_values(const Block& block, Index head) const {
    const Rows<U>& rows = sequence_->keys.values;
    return block.run.values + head * rows.head_stride * rows.storage->bytes;
  }
  [[nodiscard]] const U* plain_keys(const Block& block, Index head) const {
    return loaded(sequence_->keys.keys, stored_keys(block, head), block.keys() * shape_.head_dim,
                  buffers_.relative.plain);
  }
  /// Rows without gaps as numbers, where they are or in a buffer.
  static const U* loaded(const Rows<U>& rows, const std::byte* from, Index n, U* buffer) {
    if (rows.storage->is_plain) return reinterpret_cast<const U*>(from);
    rows.storage->load(n, from, buffer);
    return buffer;
  }

  void score(const Block& block, Index head, int region, U* scores) {
    const U* const q = queries(region) + head * rows() * shape_.query_row();
    const std::byte* const k = stored_keys(block, head);
    const simd::ReadNext next{stored_values(block, head)};
    if (const int copy = turns_ ? map_.key_copy(region) : 0; turns_ && has_angles(block, copy)) {
      if (leaves_.rotated_dots) {
        const AngleRows<U> at = angles(copy);
        const RotaryBlock turned = rotary_->block();
        return leaves_.rotated_dots(rows(), block.keys(), shape_.head_dim, q, shape_.query_row(), k,
                                    {at.cos, at.sin, at.row, turned.offset, turned.pairs}, scores,
                                    block_keys, next);
      }
      if (turned_ != copy) {
        turned_ = copy;
        turn(sequence_->keys.keys, k, block.keys(), shape_.head_dim, angles(copy), buffers_.keys);
      }
      return leaves_.plain->dots(rows(), block.keys(), shape_.head_dim, q, shape_.query_row(),
                                 buffers_.keys, shape_.head_dim, scores, block_keys, next);
    }
    leaves_.stored->dots(rows(), block.keys(), shape_.head_dim, q, shape_.query_row(), k,
                         shape_.head_dim, scores, block_keys, next);
  }

  void add_values(const Block& block, Index head, U* sums) {
    const std::byte* const v = stored_values(block, head);
    const Rows<U>& keys = sequence_->keys.keys;
    const simd::ReadNext next{head + 1 < shape_.kv_heads
                                  ? stored_keys(block, head + 1)
                                  : block.run.keys +
                                        block.keys() * shape_.head_dim * keys.storage->bytes};
    const auto add = [&](const RowLeaves<U>& leaves, const void* values) {
      (skip_zeros_ ? leaves.add_values_skipping_zeros
                   : leaves.add_values)(rows(), block.keys(), shape_.value_dim, buffers_.scores,
                                        block_keys, values, sums, shape_.value_row(), next);
    };
    if (!turns_values()) return add(*leaves_.stored, v);
    const int copy = rotary_->state.growth.size() == 0 ? 0 : copy_of_values();
    fill_angles(block, copy, rotary_->angles, block.run.positions);
    turn(sequence_->keys.values, v, block.keys(), shape_.value_dim, angles(copy), buffers_.values);
    add(*leaves_.plain, buffers_.values);
  }

  /// Stored rows as numbers, rotated.
  void turn(const Rows<U>& rows, const std::byte* from, Index n, Index width,
            const AngleRows<U>& angles, U* to) const {
    rows.storage->load(n * width, from, to);
    leaves_.turn(*rotary_, {to, n, 1, width, width, 0}, angles);
  }

  [[nodiscard]] AngleRows<U> angles(int copy) const {
    const Index at = copy * block_keys * shape_.angle_row();
    return {buffers_.cos + at, buffers_.sin + at, shape_.angle_row()};
  }
  /// Computes the angles of a block once; false when its keys stand at zero and need not turn.
  bool has_angles(const Block& block, int copy) {
    if ((with_angles_ >> copy & 1U) != 0) return true;
    Positions positions = block.run.positions;
    if (map_) {
      Position* const at = buffers_.key_copy;
      map_.ask->key_positions(map_.self, copy, block.keys(), buffers_.key, at);
      if (std::all_of(at, at + block.keys(), [](Position p) { return p == 0; })) return false;
      positions = std::span<const Position>(at, size(block.keys()));
    }
    fill_angles(block, copy, rotary_->region_angles(copy), positions);
    return true;
  }
  void fill_angles(const Block& block, int copy, const AngleTable& table,
                   const Positions& positions) {
    if ((with_angles_ >> copy & 1U) != 0) return;
    with_angles_ |= RegionSet{1} << copy;
    const Turn turn{.side = copy == copy_of_values() ? std::optional<Side>{} : Side::key};
    const Index at = copy * block_keys * shape_.angle_row();
    leaves_.sums->angles(*rotary_, table, turn, positions, block.keys(), buffers_.cos + at,
                         buffers_.sin + at, shape_.angle_row());
  }

  // --- Sums -------------------------------------------------------------------------------------

  [[nodiscard]] bool is_finite() const {
    return leaves_.sums->copy_finite(shape_.heads * queries_ * shape_.output_row(), sums_.outputs,
                                     sums_.outputs);
  }

  /// Another part's sums into these.
  void merge(const RowSums<U>& from) {
    for (Index row = 0; row < shape_.heads * queries_; ++row) {
      const auto [mine, theirs] =
          merge_sums(sums_.shift[row], sums_.sum[row], from.shift[row], from.sum[row]);
      const Index at = row * shape_.output_row();
      leaves_.sums->combine(shape_.output_row(), mine, sums_.outputs + at, theirs,
                            from.outputs + at);
    }
  }

  void finish() {
    for (Index i = 0; i < queries_; ++i)
      for (Index h = 0; h < shape_.heads; ++h) {
        const Index row = h * queries_ + i;
        U* const output = sums_.outputs + row * shape_.output_row();
        const U sum = sums_.sum[row];
        if (sum != 0)  // a row that sees no key is zero already
          leaves_.sums->combine(shape_.value_row(), 1 / sum, output, U{0}, output);
        if (!call_.lse.empty())
          call_.lse[size(row_of(i) * shape_.heads + h)] = log_sum_exp(sums_.shift[row], sum);
        if (answers_.facts().rotates_values) {
          const TensorView<U> y(output, 1, 1, shape_.value_dim, 0, 0);
          leaves_.rotate(*rotary_, rotary_->angles, {.inverse = true}, place(i), y, y);
        }
        if (!relative_.in_values) call_.out.store(row_of(i), h, output);
      }
    if (!relative_.in_values) return;
    keep_outputs();
    relative_.sum_vectors(sums_);  // which do not turn
    for (Index i = 0; i < queries_; ++i)
      for (Index h = 0; h < shape_.heads; ++h) {
        const Index row = h * queries_ + i;
        const U factor = sums_.sum[row] == 0 ? U{1} : 1 / sums_.sum[row];
        const U* const vectors = sums_.outputs + row * shape_.output_row();
        U* const kept = kept_output(row);
        for (Index c = 0; c < shape_.value_dim; ++c) kept[c] += vectors[c] * factor;
        call_.out.store(row_of(i), h, kept);
      }
  }
  /// Sets the outputs of all rows aside: sums of vectors take their place.
  void keep_outputs() {
    for (Index row = 0; row < shape_.heads * queries_; ++row)
      std::copy_n(sums_.outputs + row * shape_.output_row(), shape_.value_dim, kept_output(row));
  }
  [[nodiscard]] U* kept_output(Index row) const {
    return buffers_.relative.outputs + row * shape_.value_row();
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  const DecodeCall<U>& call_;
  const Answers& answers_;
  const MapOfDistances& map_;
  const DecodeShape& shape_;
  const DecodeLeaves<U>& leaves_;
  const SharedDecode<U>& shared_;
  Index group_;  ///< query heads per key head
  Arena arena_;
  DecodeBuffers<U> buffers_;
  RowSums<U> sums_;
  DecodeRelative<U> relative_;

  const DecodeSequence<U>* sequence_ = nullptr;
  const Rotary* rotary_ = nullptr;
  bool turns_ = false;                       ///< keys are rotated on their way out of the cache
  double scale_ = 1;                         ///< of scores, before temperature
  Index first_query_ = 0, queries_ = 0;      ///< the block of queries
  RegionSet rotated_ = 0, with_angles_ = 0;  ///< regions with queries, and with angles of the block
  int turned_ = -1;                          ///< whose keys the buffer holds
  bool skip_zeros_ = false;
};

/// Runs a call in memory of decode_bytes().
template <class U>
void run_decode(const DecodeCall<U>& call, Index workers, const AnyExecutor& executor,
                std::byte* workspace) {
  const DecodeShape& shape = call.shape;
  const Index each = decode_worker_bytes<U>(*call.asked.answers, shape);
  Arena rest(workspace + workers * each);
  const SharedDecode<U> shared(shape, rest);
  shared.first_task[0] = 0;
  for (Index i = 0; i < shape.sequences; ++i) {
    const DecodeSequence<U>& sequence = call.sequences[static_cast<std::size_t>(i)];
    shared.first_task[i + 1] =
        shared.first_task[i] +
        DecodePlan::blocks_of(sequence.queries) * DecodePlan::parts_of(sequence.keys.tokens);
  }
  for (Index task = 0; task < shape.tasks; ++task) new (&shared.arrived[task]) std::atomic_flag;
  run_tasks(executor, workers, shape.tasks,
            [&](Index w) { return DecodeWorker<U>(call, shared, workspace + w * each); });
}

#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT void run_decode<float>(const DecodeCall<float>&, Index, const AnyExecutor&,
                                           std::byte*);
POSENC_DETAIL_DOUBLE void run_decode<double>(const DecodeCall<double>&, Index, const AnyExecutor&,
                                             std::byte*);
#endif

}  // namespace detail

POSENC_NAMESPACE_END
