// SPDX-License-Identifier: MIT
//
// A call of the decode kernel: queries, and the sequences whose keys they meet.
#pragma once

#include <posenc/attention/decode/leaves.hpp>
#include <posenc/attention/decode/plan.hpp>
#include <posenc/attention/keys/source.hpp>
#include <posenc/attention/options.hpp>
#include <posenc/bind/answers.hpp>

#include <span>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A sequence of a call, and where its queries stand; or one choice of its keys, and who reads them.
template <class U>
struct DecodeSequence {
  KeySource<U> keys;
  const Rotary* rotary = nullptr;  ///< at the length of the sequence
  Index sequence = 0;              ///< of the cache
  Index first = 0, queries = 0;    ///< rows of q
  Index head = 0, kv_head = 0;     ///< the first ones; how many, the shape of the call says
  const void* self = nullptr;
  /// Index and position of a query of the sequence.
  Position (*index)(const void* self, Index query) = nullptr;
  Positions (*place)(const void* self, Index query) = nullptr;
};

/// `of` is a CachedSequence or ChosenKeys, to be read as long as this is.
template <class Of>
DecodeSequence<typename Of::U> decode_sequence(const Of* of, const Rotary* rotary, Index sequence,
                                               Index first, Index queries, Index head = 0,
                                               Index kv_head = 0) {
  return {of->source(),
          rotary,
          sequence,
          first,
          queries,
          head,
          kv_head,
          of,
          [](const void* self, Index query) { return static_cast<const Of*>(self)->index(query); },
          [](const void* self, Index query) { return static_cast<const Of*>(self)->place(query); }};
}

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
  RowStatistics<U> rows{};
};

}  // namespace detail

POSENC_NAMESPACE_END
