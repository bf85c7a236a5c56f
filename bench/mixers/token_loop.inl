// The loop of bench/mixers/token_loop.hpp, compiled in two files with different flags.
static void token_loop(const bench::TokenLoop& at, long first_head, long last_head) {
  const long K = at.key_dim, V = at.value_dim;
  for (long t = 0; t < at.tokens; ++t)
    for (long h = first_head; h < last_head; ++h) {
      const float* const q = at.q + (t * at.heads + h) * K;
      const float* const k = at.k + (t * at.heads + h) * K;
      const float* const a = at.decay + (t * at.heads + h) * K;
      const float* __restrict const v = at.v + (t * at.heads + h) * V;
      float* __restrict const out = at.out + (t * at.heads + h) * V;
      if (at.removal) {
        const float* const z = at.removal + (t * at.heads + h) * K;
        const float* const b = at.erased + (t * at.heads + h) * K;
        float read[256];  // V is at most that
        for (long j = 0; j < V; ++j) read[j] = out[j] = 0;
        for (long c = 0; c < K; ++c) {
          const float* __restrict const s = at.s + (h * K + c) * V;
          for (long j = 0; j < V; ++j) read[j] += z[c] * s[j];
        }
        for (long c = 0; c < K; ++c) {
          float* __restrict const s = at.s + (h * K + c) * V;
          for (long j = 0; j < V; ++j) {
            s[j] = s[j] * a[c] + k[c] * v[j] - b[c] * read[j];
            out[j] += q[c] * s[j];
          }
        }
        continue;
      }
      for (long j = 0; j < V; ++j) out[j] = 0;
      for (long c = 0; c < K; ++c) {
        float* __restrict const s = at.s + (h * K + c) * V;
        for (long j = 0; j < V; ++j) {
          s[j] = s[j] * a[c] + k[c] * v[j];
          out[j] += q[c] * s[j];
        }
      }
    }
}

static void wkv_loop(const bench::WKVLoop& at) {
  for (long t = 0; t < at.tokens; ++t)
    for (long c = 0; c < at.channels; ++c) {
      float &p = at.s[c], &q = at.s[at.channels + c], &o = at.s[2 * at.channels + c];
      const float k = at.k[t * at.channels + c], v = at.v[t * at.channels + c];
      float most = std::max(o, at.u[c] + k);
      float old = std::exp(o - most), now = std::exp(at.u[c] + k - most);
      at.out[t * at.channels + c] = (old * p + now * v) / (old * q + now);
      most = std::max(at.w[c] + o, k);
      old = std::exp(at.w[c] + o - most), now = std::exp(k - most);
      p = old * p + now * v, q = old * q + now, o = most;
    }
}
