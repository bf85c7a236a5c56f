// SPDX-License-Identifier: MIT
//
// The leaves of the mixers (simd/dispatch.hpp), of one level, as pointers: the operators are compiled once and call
// them.
#pragma once

#include <posenc/mixers/recurrence.hpp>
#include <posenc/simd/level.hpp>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// See mixers/scan.inl.
struct ScanLeaves {
  void (*prepare)(Index tokens, Index row, bool softplus, const float* bias, const float* least,
                  const float* skip, const float* dt, Index dt_row, const float* u, Index u_row,
                  float* delta, float* x, float* y);
  void (*scan)(Index tokens, Index states, const float* a, const float* least, const float* dt,
               const float* write, Index row, const float* b, const float* c, Index state_row,
               float* h, float* y);
  void (*gate)(Index rows, Index width, const float* x, Index x_row, const float* z, Index z_row,
               float* powers, float* y, Index y_row);
  void (*activate)(Index n, float* y);
  void (*convolve)(Index tokens, Index row, Index width, const float* weight, Index weight_row,
                   const float* bias, const float* x, float* y);
};

/// See mixers/gradients.inl.
struct GradientLeaves {
  void (*pairs)(bool before, Index tokens, Index row, const float* q, const float* k,
                const float* decay, Index decay_row, const float* dw, Index w_row, float* dq,
                float* dk);
  void (*decays)(bool before, Index tokens, Index row, const float* q, const float* dq,
                 const float* k, const float* dk, const float* to_end, const float* through,
                 float* gradient);
  void (*add)(Index n, const float* x, float* y);
  void (*add_products)(Index n, const float* x, const float* y, float* z);
  // See mixers/scan_gradients.inl.
  void (*scan_forward)(Index tokens, Index states, const float* a, const float* dt,
                       const float* write, const float* b, Index state_row, float* before,
                       float* decays);
  void (*scan_back)(Index tokens, Index states, const float* a, const float* dt, const float* write,
                    const float* dy, const float* b, const float* c, Index state_row,
                    const float* before, const float* decays, float* dh, float* da, float* db,
                    float* dc, Index sum_row, float* read, float* by_input, float* by_rate);
};

/// See mixers/leaves.inl.
struct Leaves {
  void (*product)(bool add, Index rows, Index inner, Index width, const float* a, Index a_row,
                  Index a_inner, const float* b, float* c, Index stride);
  void (*exponentials)(Index n, const float* x, float* y);
  void (*decay_parts)(Index n, const float* x, float* keep, float* change);
  void (*minus_exponentials)(Index n, const float* x, float* y);
  void (*sigmoid)(Index n, float factor, const float* x, float* y);
  void (*softplus)(Index n, float sign, float factor, const float* x, float* y);
  void (*copy_rows)(Index rows, Index width, const float* x, Index x_row, float* y, Index row);
  void (*fill)(Index n, float x, float* y);
  void (*scale_rows)(Index rows, Index width, float* x, Index row, const float* factor);
  void (*multiply_rows)(Index rows, Index width, const float* x, const float* factors, float* y,
                        Index row);
  void (*multiply)(Index n, const float* x, const float* y, float* z);
  void (*divide)(Index n, const float* x, const float* y, float* z);
  void (*decay_products)(Index tokens, Index row, const float* log_decay, float* decay,
                         Index decay_row, float* total);
  void (*decay_state)(Index rows, Index width, const float* keep, const float* change, float* s,
                      Index row);
  void (*step)(bool before, Index rows, Index width, const float* keep, const float* change,
               const float* q, const float* k, const float* v, const float* erased, const float* u,
               float* s, Index row, float* o);
  void (*erase)(Index rows, Index width, const float* keep, const float* change, const float* k,
                float beta, const float* v, const float* s, Index row, float* u);
  void (*solve)(Index tokens, Index width, const float* w, Index w_row, const float* beta,
                const float* read, float* v, Index row);
  void (*wkv)(Index n, const float* k, const float* v, const float* w, const float* u, float* state,
              Index row, float* y);
  void (*decay_scores)(bool before, Index tokens, Index row, const float* scores,
                       const float* log_decay, const float* write, const float* own, float* w,
                       float* to_end, float* from_start);
  void (*mask_scores)(Index tokens, Index row, const float* scores, const float* write, float* w);
  void (*block_decays)(bool before, Index tokens, Index row, const float* q, const float* k,
                       const float* log_decay, const float* decay, Index decay_row, float* q_from,
                       float* k_to, float* total);
  void (*block_scores)(bool before, Index tokens, Index row, const float* q, const float* k,
                       const float* decay, Index decay_row, const float* own, float* w,
                       Index w_row);
  float (*dot)(Index n, const float* x, const float* y);
  float (*dot3)(Index n, const float* x, const float* u, const float* y);
  float (*sum)(Index n, const float* x);
  void (*add_scaled)(Index n, float factor, const float* x, float* y);
  ScanLeaves scan;
  GradientLeaves gradient;
};

/// Those of the level that runs. Throws Error when a level was asked for that this machine or program lacks.
[[nodiscard]] const Leaves& leaves();

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_MIXERS)
#include <posenc/mixers/leaves_definitions.hpp>
#endif
