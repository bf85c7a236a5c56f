// SPDX-License-Identifier: MIT
//
// CoPE: contextual position encoding. What a key counts for the distance to it, its contents decide.
//
//   Golovneva, Wang, Weston and Sukhbaatar, "Contextual Position Encoding", arXiv 2405.18719, section 4.
//   Reference: facebookresearch/RAM, projects/cope/src/cope/context_position.py (ContextPosSelfAttn).
//
//   g_nj  = sigmoid(<q_n, k_j> / sqrt(head_dim))        of the keys j that n sees
//   p_nm  = min(sum over j >= m of g_nj, positions - 1)
//   z_nm  = lerp(<q_n, e[floor p_nm]>, <q_n, e[ceil p_nm]>)
//   score = (<q_n, k_m> + z_nm) / sqrt(head_dim), as the reference by default; with scaled = false
//           <q_n, k_m> / sqrt(head_dim) + z_nm, as its option cope_nodiv and the listing of the paper
//
// A position counts words, sentences, or whatever the gates have learned to open for, so one layer can ask for the
// third comma back. Under a causal mask the query itself is the first key that counts: its own position is its gate.
// Gates see the softmax scale of the encoding and temperatures, and no biases; with a rotary base, the product of
// rotated vectors. The reference's other gates (keys of their own, values) are not here.
//
// A position depends on all keys behind one, so attention, ragged calls and decode walk the keys of a query from the last
// on, in one part (attention/prefill/context_terms.hpp). Gradients are known to reference_attention_backward; kernels of
// gradients, of sums of weights and of chosen keys refuse it in a sentence.
#pragma once

#include <posenc/relative/shaw.hpp>

POSENC_NAMESPACE_BEGIN

struct CoPE {
  std::vector<float>
      table{};  ///< [positions][head_dim], row i the vector e of position i, for all heads of a layer
  Index positions =
      64;              ///< p_max of the paper plus one (npos); what lies farther counts as the last
  bool scaled = true;  ///< products with vectors are divided by sqrt(head_dim) too

  [[nodiscard]] ContextTable context_positions() const {
    const Index width = positions > 0 ? std::ssize(table) / positions : 0;
    return {{.data = table.data(), .buckets = positions, .width = width, .bucket_stride = width},
            scaled};
  }
  /// Of the table.
  [[nodiscard]] Index num_parameters() const { return std::ssize(table); }
  void context_positions_gradient(Index, Index position, std::span<const double> vector,
                                  std::span<double> gradient) const {
    detail::add_to_row(position, vector, gradient);
  }

  void check(Problems& problems, const HeadShape& shape) const {
    constexpr Index most = Index{1} << 20;
    if (positions < 1 || positions > most)
      return problems.add("CoPE: positions must lie within [1, 2^20], got ", positions, ".");
    const Index width = std::ssize(table) / positions;
    const bool is_whole = width > 0 && width * positions == std::ssize(table);
    problems.require(is_whole, "CoPE: the table must have ", positions,
                     " rows (positions) of one width, got ", table.size(), " values.");
    problems.require(!is_whole || shape.head_dim <= 0 || width == shape.head_dim,
                     "CoPE: the table has rows of ", width, " channels, but heads have ",
                     shape.head_dim, ".");
    detail::check_finite(problems, "CoPE", "the table", table);
  }
};

POSENC_NAMESPACE_END
