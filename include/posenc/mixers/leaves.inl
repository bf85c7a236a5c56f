// The loops of the mixers over many numbers, for one instruction set. Included once within the namespace and the
// region of each level, after the leaves of attention, whose products and exponentials they use.
//
// Rows of buffers are padded with zeros to a multiple of 16 numbers, so loops over them have no rest.

struct MixerLeaves {
  /// C = A B, or C += A B; see AttentionLeaves::product().
  static void product(bool add, Index rows, Index inner, Index width, const float* a, Index a_row,
                      Index a_inner, const float* b, float* c, Index stride) {
    if (add)
      AttentionLeaves::product<true>(rows, inner, width, a, a_row, a_inner, b, c, stride);
    else
      AttentionLeaves::product<false>(rows, inner, width, a, a_row, a_inner, b, c, stride);
  }

  /// y = exp(x) for x of at most 88; y may be x, and n is a multiple of 16.
  static void exponentials(Index n, const float* x, float* y) {
    for (Index i = 0; i < n; i += lanes<float>) store(y + i, exponential(load(x + i)));
  }

  /// exp(x) for x of at most 0 as keep + change, exact relative to it and to what it lacks to 1: 1 and exp(x) - 1 where
  /// it is above 1/2, otherwise 0 and exp(x). `keep` may be x.
  static void decay_parts(Index n, const float* x, float* keep, float* change) {
    const Vec<float> one = broadcast(1.0F), zero = broadcast(0.0F);
    for (Index i = 0; i < n; i += lanes<float>) {
      Vec<float> whole;
      const Vec<float> v = load(x + i), f = fraction(v * broadcast(log2_e), whole);
      const Vec<float> slope = power_slope(f),
                       near_one = greater(v, broadcast(-0.5F * 0.693147181F));
      const Vec<float> power = scale_by_power(fma(slope, f, one), whole);
      store(change + i, blend(power, slope * f, near_one));  // there whole is 0
      store(keep + i, blend(zero, one, near_one));
    }
  }

  /// y = -exp(x), with what is beyond 80 as 80, so that sums of such remain finite; y may be x.
  static void minus_exponentials(Index n, const float* x, float* y) {
    const Vec<float> most = broadcast(80.0F);
    for (Index i = 0; i < n; i += lanes<float>) {
      const Vec<float> v = load(x + i);
      store(y + i, broadcast(0.0F) - exponential(blend(v, most, greater(v, most))));
    }
  }

  /// y = factor / (1 + exp(-x)); y may be x. Below -80 it is that of -80, some e-35.
  static void sigmoid(Index n, float factor, const float* x, float* y) {
    const Vec<float> most = broadcast(80.0F), one = broadcast(1.0F);
    for (Index i = 0; i < n; i += lanes<float>) {
      const Vec<float> v = broadcast(0.0F) - load(x + i);
      store(y + i, broadcast(factor) / (one + exponential(blend(v, most, greater(v, most)))));
    }
  }

  /// y = factor log(1 + exp(sign x)), within 5e-7 relative to it; y may be x.
  static void softplus(Index n, float sign, float factor, const float* x, float* y) {
    for (Index i = 0; i < n; i += lanes<float>) {
      const Vec<float> v = load(x + i) * broadcast(sign);
      store(y + i, softplus(v, exp_of_minus_abs(v)) * broadcast(factor));
    }
  }
  /// max(x, 0) + log(1 + u) with u = exp(-|x|), and log(1 + u) is u times the polynomial of degree 8 whose greatest
  /// relative error on [0, 1] is least (3.3e-8, before rounding) among those that begin with 1.
  static Vec<float> softplus(Vec<float> x, Vec<float> u) {
    Vec<float> p = broadcast(0x1.5f96b0p-8F);
    p = fma(p, u, broadcast(-0x1.ec98f4p-6F));
    p = fma(p, u, broadcast(0x1.446beep-4F));
    p = fma(p, u, broadcast(-0x1.19ad84p-3F));
    p = fma(p, u, broadcast(0x1.88444ep-3F));
    p = fma(p, u, broadcast(-0x1.fd1320p-3F));
    p = fma(p, u, broadcast(0x1.5535dap-2F));
    p = fma(p, u, broadcast(-0x1.ffff14p-2F));
    p = fma(p, u, broadcast(1.0F));
    return fma(u, p, maximum(broadcast(0.0F), x));
  }
  /// exp(-|x|), of which sigmoids and their like are made: at most 1, whatever x is.
  static Vec<float> exp_of_minus_abs(Vec<float> x) {
    const Vec<float> zero = broadcast(0.0F);
    return exponential(zero - maximum(x, zero - x));
  }

  /// Rows of numbers as they lie in memory, padded with zeros.
  static void copy_rows(Index rows, Index width, const float* x, Index x_row, float* y, Index row) {
    for (Index r = 0; r < rows; ++r) {
      Index i = 0;
      for (; i + lanes<float> <= width; i += lanes<float>)
        store(y + r * row + i, load(x + r * x_row + i));
      if (i < width) {
        store(y + r * row + i, load_first(x + r * x_row + i, width - i));
        i += lanes<float>;
      }
      for (; i < row; i += lanes<float>) store(y + r * row + i, broadcast(0.0F));
    }
  }

  static void fill(Index n, float x, float* y) {
    for (Index i = 0; i < n; i += lanes<float>) store(y + i, broadcast(x));
  }

  /// Each of some rows times a number of its own.
  static void scale_rows(Index rows, Index width, float* x, Index row, const float* factor) {
    for (Index r = 0; r < rows; ++r)
      for (Index j = 0; j < width; j += lanes<float>)
        store(x + r * row + j, load(x + r * row + j) * broadcast(factor[r]));
  }
  /// y[r] = x[r] times a row, for some rows.
  static void multiply_rows(Index rows, Index width, const float* x, const float* factors, float* y,
                            Index row) {
    for (Index r = 0; r < rows; ++r)
      for (Index j = 0; j < width; j += lanes<float>)
        store(y + r * row + j, load(x + r * row + j) * load(factors + j));
  }

  /// z = x y and z = x / y, number by number; z may be either.
  static void multiply(Index n, const float* x, const float* y, float* z) {
    for (Index i = 0; i < n; i += lanes<float>) store(z + i, load(x + i) * load(y + i));
  }
  static void divide(Index n, const float* x, const float* y, float* z) {
    for (Index i = 0; i < n; i += lanes<float>) store(z + i, load(x + i) / load(y + i));
  }
  /// Decays of tokens become their products from the first on, rows `row` apart; they and their logarithms, whose sum
  /// `total` becomes, are `decay_row` apart.
  static void decay_products(Index tokens, Index row, const float* log_decay, float* decay,
                             Index decay_row, float* total) {
    for (Index c = 0; c < row; c += lanes<float>) {
      Vec<float> sum = broadcast(0.0F), product = broadcast(1.0F);
      for (Index t = 0; t < tokens; ++t) {
        sum = sum + load(log_decay + t * decay_row + c);
        product = product * load(decay + t * decay_row + c);
        store(decay + t * row + c, product);
      }
      store(total + c, sum);
    }
  }

  /// S = keep S + change S, with a number each for each row of a state.
  static void decay_state(Index rows, Index width, const float* keep, const float* change, float* s,
                          Index row) {
    for (Index c = 0; c < rows; ++c) {
      if (keep[c] == 1 && change[c] == 0) continue;
      const Vec<float> stays = broadcast(keep[c]), goes = broadcast(change[c]);
      for (Index j = 0; j < width; j += lanes<float>) {
        const Vec<float> v = load(s + c * row + j);
        store(s + c * row + j, fma(v, goes, v * stays));
      }
    }
  }

  /// One token: S = (keep + change) S + k v^T, and o = q^T S; with `before` o is that of S as it was. Where something is
  /// erased S also gets erased u^T, otherwise `erased` is null. A state whose rows are all kept, or none, takes an
  /// operation less for each number, as much as there is time for between reading and writing it.
  static void step(bool before, Index rows, Index width, const float* keep, const float* change,
                   const float* q, const float* k, const float* v, const float* erased,
                   const float* u, float* s, Index row, float* o) {
    Vec<float> most = broadcast(0.0F), lacking = most;  // of numbers that are 0 or 1
    for (Index c = 0; c < (rows + 15) / 16 * 16; c += lanes<float>) {
      most = maximum(most, load(keep + c));
      lacking = maximum(lacking, broadcast(1.0F) - load(keep + c));
    }
    const auto with = [&]<int Keep>(std::integral_constant<int, Keep>) {
      panels<(spare_registers >= 16 ? 4 : 2)>(erased ? width : 0, [&]<int V>(Lanes<V>, Index j) {
        step_panel<V, Keep, Own::erases>(rows, keep, change, q, k, v + j, erased, u + j, s + j, row,
                                         o + j);
      });
      panels<4>(erased ? 0 : width, [&]<int V>(Lanes<V>, Index j) {
        before ? step_panel<V, Keep, Own::is_later>(rows, keep, change, q, k, v + j, erased, u,
                                                    s + j, row, o + j)
               : step_panel<V, Keep, Own::is_read>(rows, keep, change, q, k, v + j, erased, u,
                                                   s + j, row, o + j);
      });
    };
    if (!any(is_not_zero(lacking)))
      with(std::integral_constant<int, 1>{});
    else if (!any(is_not_zero(most)) && !erased)
      with(std::integral_constant<int, 0>{});
    else
      with(std::integral_constant<int, -1>{});
  }

  /// u = beta (v - k^T (keep + change) S): what a token writes by the delta rule. Without `keep` nothing decays.
  static void erase(Index rows, Index width, const float* keep, const float* change, const float* k,
                    float beta, const float* v, const float* s, Index row, float* u) {
    panels<4>(width, [&]<int V>(Lanes<V>, Index j) {
      keep ? erase_panel<V, true>(rows, keep, change, k, beta, v + j, s + j, row, u + j)
           : erase_panel<V, false>(rows, keep, change, k, beta, v + j, s + j, row, u + j);
    });
  }

  /// Rows of a block of the delta rule, one after another: v = beta (v - read - w v), where w holds what rows before are
  /// for this one. Rows of w are `w_row` apart, others `row`.
  static void solve(Index tokens, Index width, const float* w, Index w_row, const float* beta,
                    const float* read, float* v, Index row) {
    panels<4>(width, [&]<int V>(Lanes<V>, Index j) {
      solve_panel<V>(tokens, w, w_row, beta, read + j, v + j, row);
    });
  }

  /// A token of RWKV-4, for n channels, a multiple of 16: y, and the rows p, q, o and what o lacks of the state, `row`
  /// apart (rwkv4.hpp). Where q is 0 nothing was seen.
  static void wkv(Index n, const float* k, const float* v, const float* w, const float* u,
                  float* state, Index row, float* y) {
    const Vec<float> zero = broadcast(0.0F), one = broadcast(1.0F);
    float *const numerator = state, *const denominator = state + row,
                 *const exponent = state + 2 * row, *const rest = state + 3 * row;
    for (Index i = 0; i < n; i += lanes<float>) {
      const Vec<float> key = load(k + i), value = load(v + i), slower = load(w + i);
      const Vec<float> p = load(numerator + i), q = load(denominator + i);
      const Vec<float> o = blend(broadcast(-1e38F), load(exponent + i), is_not_zero(q));

      // The greater of two weights counts as 1, the other as e^-|difference|.
      const Vec<float> lead = o - (key + load(u + i)) + load(rest + i);
      const Vec<float> is_old = greater(lead, zero);
      const Vec<float> less = exponential(blend(lead, zero - lead, is_old));
      const Vec<float> of_old = blend(less, one, is_old), of_new = blend(one, less, is_old);
      const Vec<float> all = fma(of_old, q, of_new);
      store(y + i, blend(zero, fma(of_old, p, of_new * value) / all, is_not_zero(all)));

      // o + w as a sum and what its rounding took
      const Vec<float> sum = o + slower, taken = sum - o;
      const Vec<float> lacks = (o - (sum - taken)) + (slower - taken) + load(rest + i);
      const Vec<float> next_lead = sum - key + lacks, stays = greater(next_lead, zero);
      const Vec<float> other = exponential(blend(next_lead, zero - next_lead, stays));
      const Vec<float> keeps = blend(other, one, stays), adds = blend(one, other, stays);
      store(numerator + i, fma(keeps, p, adds * value));
      store(denominator + i, fma(keeps, q, adds));
      store(exponent + i, blend(key, sum, stays));
      store(rest + i, blend(zero, lacks, stays));
    }
  }

  /// Weights of the tokens of a chunk for one another, where a head has one decay for all channels:
  /// w[t][m] = scores[t][m] exp(decays from m to t) write[m] for m < t, zeros behind that up to the next
  /// multiple of 16; rows are `row` apart. What a
  /// token is for itself is its score times write, or own[t] with `before`. `to_end` becomes the log decay from each
  /// token to the end of the chunk, `from_start` that to each token from what was before the chunk.
  static void decay_scores(bool before, Index tokens, Index row, const float* scores,
                           const float* log_decay, const float* write, const float* own, float* w,
                           float* to_end, float* from_start) {
    float since = 0;
    for (Index m = 0; m < row; ++m) to_end[m] = 0;
    for (Index t = 0; t < tokens; ++t) {
      from_start[t] = before ? since : since + log_decay[t];
      since += log_decay[t];
      if (!before) add_to(t, log_decay[t], to_end);
      for (Index m = 0; m <= t; m += lanes<float>)
        store(w + t * row + m,
              load(scores + t * row + m) * exponential(load(to_end + m)) * load(write + m));
      if (before) {
        w[t * row + t] = own[t];
        add_to(t, log_decay[t], to_end);
      }
      clear_later(t, w + t * row);
    }
  }
  /// The same where nothing decays.
  static void mask_scores(Index tokens, Index row, const float* scores, const float* write,
                          float* w) {
    for (Index t = 0; t < tokens; ++t) {
      for (Index m = 0; m <= t; m += lanes<float>)
        store(w + t * row + m, load(scores + t * row + m) * load(write + m));
      clear_later(t, w + t * row);
    }
  }

  /// Decays by channel, within a block of tokens: `q_from` is q times the decays from the start of the block to each
  /// token (to the one before it, with `before`), `k_to` is k times those behind each token to the end of the block,
  /// `total` the log decay of the block. Rows are `row` apart.
  static void block_decays(bool before, Index tokens, Index row, const float* q, const float* k,
                           const float* log_decay, const float* decay, Index decay_row,
                           float* q_from, float* k_to, float* total) {
    for (Index c = 0; c < row; c += lanes<float>) {
      Vec<float> sum = broadcast(0.0F), product = broadcast(1.0F);
      for (Index t = 0; t < tokens; ++t) {
        const Index at = t * row + c;
        const Vec<float> after = product * load(decay + t * decay_row + c);
        store(q_from + at, load(q + at) * (before ? product : after));
        product = after;
        sum = sum + load(log_decay + t * decay_row + c);
      }
      store(total + c, sum);
      product = broadcast(1.0F);
      for (Index t = tokens; t-- > 0;) {
        const Index at = t * row + c;
        store(k_to + at, load(k + at) * product);
        product = product * load(decay + t * decay_row + c);
      }
    }
  }

  /// Decays by channel: the weights of the tokens of a block of at most 16 for one another, zeros for those that
  /// come later. Rows of w are `w_row` apart. `own` is what a token is for itself with `before`.
  static void block_scores(bool before, Index tokens, Index row, const float* q, const float* k,
                           const float* decay, Index decay_row, const float* own, float* w,
                           Index w_row) {
    Vec<float> sums[2][most_block];
    for (Index t = 0; t < tokens; t += 2) {
      for (auto& of_token : sums)
        for (Vec<float>& sum : of_token) sum = broadcast(0.0F);
      const bool both = t + 1 < tokens;
      Index c = 0;
      const auto channels_of = [&]<int Vectors>(std::integral_constant<int, Vectors>) {
        for (; c + Vectors * lanes<float> <= row; c += Vectors * lanes<float>)
          both ? add_weights<Vectors, 2>(before, t, row, q + c, k + c, decay + c, decay_row, sums)
               : add_weights<Vectors, 1>(before, t, row, q + c, k + c, decay + c, decay_row, sums);
      };
      if constexpr (spare_registers >= 16) channels_of(std::integral_constant<int, 4>{});
      channels_of(std::integral_constant<int, 2>{});
      channels_of(std::integral_constant<int, 1>{});
      for (Index i = 0; i < (both ? 2 : 1); ++i) {
        // most_block is a multiple of the lanes of every level
        for (Index m = 0; m < most_block; m += lanes<float>) {
          sum_across<float>(sums[i] + m);
          store(w + (t + i) * w_row + m, sums[i][m]);
        }
        if (before) w[(t + i) * w_row + t + i] = own[t + i];
      }
    }
  }

  /// y = <x, y> and the like of padded rows.
  static float dot(Index n, const float* x, const float* y) {
    return AttentionLeaves::dot<float>(n, x, y);
  }
  /// <x, u y>
  static float dot3(Index n, const float* x, const float* u, const float* y) {
    Vec<float> sum = broadcast(0.0F);
    for (Index i = 0; i < n; i += lanes<float>)
      sum = fma(load(x + i) * load(u + i), load(y + i), sum);
    float lane[lanes<float>], total = 0;
    store(lane, sum);
    for (const float part : lane) total += part;
    return total;
  }
  static float sum(Index n, const float* x) {
    Vec<float> sum = broadcast(0.0F);
    for (Index i = 0; i < n; i += lanes<float>) sum = sum + load(x + i);
    float lane[lanes<float>], total = 0;
    store(lane, sum);
    for (const float part : lane) total += part;
    return total;
  }
  static void add_scaled(Index n, float factor, const float* x, float* y) {
    AttentionLeaves::add_scaled<float>(n, factor, x, y);
  }

 private:
  static constexpr float log2_e = 1.442695041F;
  static constexpr Index most_block = 16;

  static Vec<float> exponential(Vec<float> x) { return exp2(x * broadcast(log2_e)); }

  /// Zeros for the tokens behind t, up to the end of its block.
  static void clear_later(Index t, float* w) {
    for (Index m = t + 1; m % most_block != 0; ++m) w[m] = 0;
  }
  /// Adds to the first n numbers; those beyond, up to a vector, are of tokens to come and stay as they are.
  static void add_to(Index n, float x, float* y) {
    Index i = 0;
    for (; i + lanes<float> <= n; i += lanes<float>) store(y + i, load(y + i) + broadcast(x));
    for (; i < n; ++i) y[i] += x;
  }

  template <int V>
  using Lanes = std::integral_constant<int, V>;
  /// Calls f(Lanes<V>, first) for all numbers of a row, with panels of Vectors vectors and then of one.
  template <int Vectors, class F>
  static void panels(Index width, const F& f) {
    Index j = 0;
    for (; j + Vectors * lanes<float> <= width; j += Vectors * lanes<float>) f(Lanes<Vectors>{}, j);
    for (; j < width; j += lanes<float>) f(Lanes<1>{}, j);
  }

  /// What a token of a step does with what it writes: reads it, will have it read by later ones, or erases as well.
  enum class Own { is_read, is_later, erases };

  /// Keep: 1 or 0 for all rows, or -1 for what each says.
  template <int Vectors, int Keep, Own With>
  static void step_panel(Index rows, const float* keep, const float* change, const float* q,
                         const float* k, const float* v, const float* erased, const float* u,
                         float* s, Index row, float* o) {
    Vec<float> value[Vectors], less[Vectors], out[Vectors];
#pragma GCC unroll 4
    for (int i = 0; i < Vectors; ++i) {
      value[i] = load(v + i * lanes<float>);
      if constexpr (With == Own::erases) less[i] = load(u + i * lanes<float>);
      out[i] = broadcast(0.0F);
    }
    for (Index c = 0; c < rows; ++c, s += row) {
      const Vec<float> goes = broadcast(change[c]), key = broadcast(k[c]), query = broadcast(q[c]);
#pragma GCC unroll 4
      for (int i = 0; i < Vectors; ++i) {
        const Vec<float> old = load(s + i * lanes<float>);
        Vec<float> now;
        if constexpr (Keep == 1)
          now = fma(old, goes, fma(key, value[i], old));
        else if constexpr (Keep == 0)
          now = fma(old, goes, key * value[i]);
        else
          now = fma(old, goes, fma(old, broadcast(keep[c]), key * value[i]));
        if constexpr (With == Own::erases) now = fma(broadcast(erased[c]), less[i], now);
        store(s + i * lanes<float>, now);
        out[i] = fma(query, With == Own::is_later ? old : now, out[i]);
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < Vectors; ++i) store(o + i * lanes<float>, out[i]);
  }

  template <int Vectors, bool Decays>
  static void erase_panel(Index rows, const float* keep, const float* change, const float* k,
                          float beta, const float* v, const float* s, Index row, float* u) {
    Vec<float> kept[Vectors], changed[Vectors];
#pragma GCC unroll 4
    for (int i = 0; i < Vectors; ++i) kept[i] = changed[i] = broadcast(0.0F);
    for (Index c = 0; c < rows; ++c, s += row) {
      const Vec<float> stays = broadcast(Decays ? keep[c] * k[c] : k[c]);
      const Vec<float> goes = broadcast(Decays ? change[c] * k[c] : 0.0F);
#pragma GCC unroll 4
      for (int i = 0; i < Vectors; ++i) {
        const Vec<float> x = load(s + i * lanes<float>);
        kept[i] = fma(stays, x, kept[i]);
        if constexpr (Decays) changed[i] = fma(goes, x, changed[i]);
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < Vectors; ++i)
      store(u + i * lanes<float>,
            broadcast(beta) * (load(v + i * lanes<float>) - (kept[i] + changed[i])));
  }

  template <int Vectors>
  static void solve_panel(Index tokens, const float* w, Index w_row, const float* beta,
                          const float* read, float* v, Index row) {
    for (Index t = 0; t < tokens; ++t) {
      Vec<float> known[Vectors];
#pragma GCC unroll 4
      for (int i = 0; i < Vectors; ++i) known[i] = load(read + t * row + i * lanes<float>);
      for (Index m = 0; m < t; ++m) {
        const Vec<float> weight = broadcast(w[t * w_row + m]);
#pragma GCC unroll 4
        for (int i = 0; i < Vectors; ++i)
          known[i] = fma(weight, load(v + m * row + i * lanes<float>), known[i]);
      }
#pragma GCC unroll 4
      for (int i = 0; i < Vectors; ++i) {
        float* const at = v + t * row + i * lanes<float>;
        store(at, (load(at) - known[i]) * broadcast(beta[t]));
      }
    }
  }

  /// sums[i][m] += the products of some channels of token t + i with each m up to it, for one or two tokens. A query
  /// decays on its way back: by the decay of its own token first, which one that reads before has not met.
  template <int Vectors, int Tokens>
  static void add_weights(bool before, Index t, Index row, const float* q, const float* k,
                          const float* decay, Index decay_row, Vec<float> (*sums)[most_block]) {
    Vec<float> w[Tokens][Vectors];
#pragma GCC unroll 2
    for (int i = 0; i < Tokens; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) w[i][v] = load(q + (t + i) * row + v * lanes<float>);
    if constexpr (Tokens == 2) {  // the second meets itself, and the first where that has begun
      if (!before) {
        meet<Vectors>(w[1], k + (t + 1) * row, sums[1][t + 1]);
        decay_by<Vectors>(w[1], decay + (t + 1) * decay_row);
      }
      meet<Vectors>(w[1], k + t * row, sums[1][t]);
      decay_by<Vectors>(w[1], decay + t * decay_row);
    }
    if (!before) {
      meet<Vectors>(w[0], k + t * row, sums[0][t]);
      decay_by<Vectors>(w[0], decay + t * decay_row);
    }
    for (Index m = t - 1; m >= 0; --m) {
      Vec<float> sum[Tokens];
#pragma GCC unroll 2
      for (int i = 0; i < Tokens; ++i) sum[i] = sums[i][m];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) {
        const Vec<float> key = load(k + m * row + v * lanes<float>);
        const Vec<float> change = load(decay + m * decay_row + v * lanes<float>);
#pragma GCC unroll 2
        for (int i = 0; i < Tokens; ++i) {
          sum[i] = fma(w[i][v], key, sum[i]);
          w[i][v] = w[i][v] * change;
        }
      }
#pragma GCC unroll 2
      for (int i = 0; i < Tokens; ++i) sums[i][m] = sum[i];
    }
  }
  template <int Vectors>
  __attribute__((always_inline)) static void meet(const Vec<float>* w, const float* k,
                                                  Vec<float>& sum) {
    Vec<float> total = sum;
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) total = fma(w[v], load(k + v * lanes<float>), total);
    sum = total;
  }
  template <int Vectors>
  __attribute__((always_inline)) static void decay_by(Vec<float>* w, const float* decay) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) w[v] = w[v] * load(decay + v * lanes<float>);
  }
};
