# SPDX-License-Identifier: MIT
"""Writes mixers.json: outputs and states of sequence mixers in float64 (see README.md).

Every case is computed by the token loop below, which states the recurrence of its paper. Where a package ships the
reference, its own function is called as well, in float64, and both must agree: flash-linear-attention (fla-core) for
linear attention, retention, GLA, the delta rules, RWKV-6 (and RWKV-5, which is RWKV-6 with a constant decay) and the scalar decay of
Mamba-2, torchscale for the two normalisers of retention. Inputs are exact in float32 and drawn by splitmix64 from the
seed of the case, so that the file holds results only.
"""

import platform

import numpy as np
import torch

from fla.ops.delta_rule.naive import delta_rule_recurrence
from fla.ops.gated_delta_rule.naive import naive_recurrent_gated_delta_rule
from fla.ops.gla.naive import naive_recurrent_gla
from fla.ops.kda.naive import naive_recurrent_kda
from fla.ops.linear_attn.naive import naive_recurrent_linear_attn
from fla.ops.retention.naive import naive_retention
from fla.ops.rwkv6.recurrent_naive import naive_recurrent_rwkv6
from fla.ops.simple_gla.naive import naive_recurrent_simple_gla
from torchscale.component.multiscale_retention import MultiScaleRetention

from cases import Random, write_cases
from reference import in_float64

CASES, HEADS = 20, 2


def tensor(x, *axes):
    """[tokens, heads, width] with a batch axis before it and the axes in another order."""
    x = torch.tensor(x, dtype=torch.float64)[None]
    return x.permute(0, *axes) if axes else x


def heads_first(x):
    return tensor(x, 2, 1, 3)


def loop(q, k, v, g, state, bonus=None):
    """S_t = diag(exp(g_t)) S_{t-1} + k_t v_t^T; o_t = q_t^T S_t, or of S_{t-1} and a bonus. Also z, and <q_t, z_t>."""
    s, out, z, sums = state.copy(), [], np.zeros_like(k[0]), []
    for t in range(len(q)):
        now = k[t][:, :, None] * v[t][:, None, :]
        after = np.exp(g[t])[:, :, None] * s + now
        read = after if bonus is None else s + bonus[:, :, None] * now
        out.append(np.einsum("hk,hkv->hv", q[t], read))
        s = after
        z = np.exp(g[t]) * z + k[t]
        sums.append((q[t] * z).sum(-1))
    return np.array(out), s, np.array(sums)


def agree(what, a, b):
    b = np.asarray(b.detach() if hasattr(b, "detach") else b, dtype=np.float64).reshape(a.shape)
    error = np.abs(a - b).max() / max(1.0, np.abs(a).max())
    if not error < 1e-12:
        raise SystemExit("%s: the reference and its formula differ by %g" % (what, error))


def linear_attention(draw, T, K, V, normalise):
    q, k = (draw.numbers(T, HEADS, K) * 0.5 + 0.625 for _ in range(2))
    v, s0 = draw.numbers(T, HEADS, V), draw.numbers(HEADS, K, V)
    if normalise:
        s0 = s0 * 0  # the sum begins at 0 as well
    out, s, sums = loop(q, k, v, np.zeros_like(k), s0)
    with in_float64():
        ours, state = naive_recurrent_linear_attn(tensor(q), tensor(k), tensor(v), scale=1.0, normalize=normalise,
                                                  initial_state=None if normalise else tensor(s0), output_final_state=True)
    if normalise:
        out, state = out / (sums + 1e-10)[:, :, None], state[0]
    agree("linear attention", out, ours)
    agree("linear attention's state", s, state)
    return out, s, s0


def retnet(draw, T, K, V, normaliser):
    q, k, v, s0 = (draw.numbers(*shape) for shape in ((T, HEADS, K), (T, HEADS, K), (T, HEADS, V), (HEADS, K, V)))
    s0 = s0 * 0  # the references begin there
    gamma = 1 - 2.0 ** (-5 - np.arange(HEADS))
    g = np.broadcast_to(np.log(gamma)[None, :, None], k.shape)
    scaled = k * K**-0.5
    out, s, sums = loop(q, scaled, v, g, s0)
    row = np.array([[sum(gamma[h] ** i for i in range(t + 1)) for h in range(HEADS)] for t in range(T)])
    with in_float64():
        if normaliser == "plain":
            agree("retention", out.transpose(1, 0, 2), naive_retention(heads_first(q), heads_first(k), heads_first(v)))
        layer = MultiScaleRetention.__new__(MultiScaleRetention)
        torch.nn.Module.__init__(layer)
        layer.num_heads, layer.head_dim, layer.key_dim = HEADS, V, K
        if normaliser == "row":
            out = out / np.sqrt(row)[:, :, None]
            memory, decay = {}, torch.tensor(gamma)
            for t in range(T):
                one = recurrent_step(layer, q[t], scaled[t], v[t], decay, memory)
                agree("torchscale's recurrence", out[t], one)
        if normaliser == "absolute":
            out = out / np.sqrt(row)[:, :, None] / np.maximum(np.abs(sums) / np.sqrt(row), 1)[:, :, None]
            ages = np.arange(T)[:, None] - np.arange(T)[None, :]
            mask = np.where(ages >= 0, gamma[:, None, None] ** np.maximum(ages, 0), 0)
            mask = torch.tensor(mask / np.sqrt(mask.sum(-1, keepdims=True)))
            scores = torch.einsum("thk,mhk->htm", torch.tensor(q), torch.tensor(scaled)) * mask
            # The paper's quotient, as torchscale's parallel form has it; its chunks have the sum of absolute values.
            scores = scores / scores.sum(-1, keepdim=True).abs().clamp(min=1)
            agree("the paper's parallel form", out, torch.einsum("htm,mhv->thv", scores, torch.tensor(v)))
    # The state without the scale of k, which the library gives to q.
    return out, s * K**0.5, s0


def recurrent_step(layer, q, k, v, decay, memory):
    as_tensor = lambda x: torch.tensor(x, dtype=torch.float64)
    return layer.recurrent_forward(as_tensor(q)[None, :, None, :], as_tensor(k)[None, :, None, :],
                                   as_tensor(v.reshape(1, -1)), decay, memory)


def gla(draw, T, K, V, logits):
    q, k, v, x, s0 = (draw.numbers(*shape) for shape in
                      ((T, HEADS, K), (T, HEADS, K), (T, HEADS, V), (T, HEADS, K), (HEADS, K, V)))
    if logits:
        g = -np.logaddexp(0, -8 * x) / 16
    else:
        g = 2 * x - 2
    out, s, _ = loop(q * K**-0.5, k, v, g, s0)
    with in_float64():
        ours, state = naive_recurrent_gla(tensor(q), tensor(k), tensor(v), tensor(g), tensor(s0), True)
    agree("GLA", out, ours)
    agree("GLA's state", s, state)
    return out, s, s0


def mamba2(draw, T, K, V):
    """One group of B and C for all heads; modules/mamba2.py: dt = softplus(dt + dt_bias), A = -exp(A_log)."""
    C, B, x, dt = (draw.numbers(*shape) for shape in ((T, 1, K), (T, 1, K), (T, HEADS, V), (T, HEADS, 1)))
    A_log, dt_bias, D = draw.numbers(HEADS) + 1, 2 * draw.numbers(HEADS) - 2, draw.numbers(HEADS)
    s0 = draw.numbers(HEADS, K, V)
    delta = np.logaddexp(0, 2 * dt + dt_bias[None, :, None])
    g = -np.exp(A_log)[None, :, None] * delta
    q, k = np.repeat(C, HEADS, 1), np.repeat(B, HEADS, 1) * delta
    out, s, _ = loop(q, k, x, np.broadcast_to(g, q.shape), s0)
    with in_float64():
        ours, state = naive_recurrent_simple_gla(tensor(q), tensor(k), tensor(x), tensor(g[:, :, 0]), scale=1.0,
                                                 initial_state=tensor(s0), output_final_state=True)
    agree("SSD", out, ours)
    agree("SSD's state", s, state)
    return out + D[None, :, None] * x, s, s0


def rwkv(draw, T, K, by_token):
    r, k, v, x = (draw.numbers(T, HEADS, K) for _ in range(4))
    time_decay, u = 3 * draw.numbers(HEADS, K) - 2, draw.numbers(HEADS, K)
    s0 = draw.numbers(HEADS, K, K)
    g = -np.exp(3 * x - 2 if by_token else np.broadcast_to(time_decay, x.shape))
    out, s, _ = loop(r, k, v, g, s0, bonus=u)
    with in_float64():
        ours, state = naive_recurrent_rwkv6(heads_first(r), heads_first(k), heads_first(v), heads_first(g),
                                            torch.tensor(u), scale=1.0, initial_state=tensor(s0), output_final_state=True)
    agree("RWKV", out.transpose(1, 0, 2), ours)
    agree("RWKV's state", s, state)
    return out, s, s0


def delta(draw, T, K, V, decay):
    """Keys are of length 1 up to the rounding of a float, and are drawn as floats."""
    q, v, x, b = (draw.numbers(*shape) for shape in ((T, HEADS, K), (T, HEADS, V), (T, HEADS, K), (T, HEADS, 1)))
    k, s0 = draw.numbers(T, HEADS, K), draw.numbers(HEADS, K, V)
    k = (k / np.sqrt((k * k).sum(-1, keepdims=True))).astype(np.float32).astype(np.float64)
    beta = b * 0.5 + 0.5
    g = {"none": x * 0, "head": np.broadcast_to(x[:, :, :1] - 1, x.shape), "channel": x - 1}[decay]
    out, s = [], s0.copy()
    for t in range(T):
        s = np.exp(g[t])[:, :, None] * s
        difference = v[t] - np.einsum("hk,hkv->hv", k[t], s)
        s = s + (beta[t] * k[t])[:, :, None] * difference[:, None, :]
        out.append(np.einsum("hk,hkv->hv", q[t] * K**-0.5, s))
    out = np.array(out)
    with in_float64():
        if decay == "none":
            ours, state = delta_rule_recurrence(heads_first(q), heads_first(k), heads_first(v), heads_first(beta), tensor(s0))
            agree("DeltaNet", out.transpose(1, 0, 2), ours)
        if decay == "head":
            ours, state = naive_recurrent_gated_delta_rule(tensor(q), tensor(k), tensor(v), tensor(beta[:, :, 0]),
                                                           tensor(g[:, :, 0]), initial_state=tensor(s0), output_final_state=True)
            agree("Gated DeltaNet", out, ours)
        if decay == "channel":
            ours, state = naive_recurrent_kda(tensor(q), tensor(k), tensor(v), tensor(g), tensor(beta[:, :, 0]),
                                              initial_state=tensor(s0), output_final_state=True)
            agree("KDA", out, ours)
    agree("the state of a delta rule", s, state)
    return out, s, s0


MIXERS = {
    "LinearAttention": lambda *at: linear_attention(*at, True),
    "LinearAttention, plain": lambda *at: linear_attention(*at, False),
    "RetNet": lambda *at: retnet(*at, "plain"),
    "RetNet, row": lambda *at: retnet(*at, "row"),
    "RetNet, absolute": lambda *at: retnet(*at, "absolute"),
    "GLA": lambda *at: gla(*at, True),
    "GLA, log": lambda *at: gla(*at, False),
    "Mamba2": mamba2,
    "RWKV5": lambda draw, T, K, V: rwkv(draw, T, K, False),
    "RWKV6": lambda draw, T, K, V: rwkv(draw, T, K, True),
    "DeltaNet": lambda *at: delta(*at, "none"),
    "GatedDeltaNet": lambda *at: delta(*at, "head"),
    "KDA": lambda *at: delta(*at, "channel"),
}


def digits(x):
    return [float("%.9g" % y) for y in np.asarray(x).reshape(-1)]


def main():
    lines = []
    for number, (name, mixer) in enumerate(MIXERS.items()):
        for case in range(CASES):
            seed = 1000 * number + case
            tokens = [1, 2, 3, 7, 15, 16, 17, 20, 33, 66][case % 10]
            K = [2, 4, 6][case % 3]
            V = K if name.startswith("RWKV") else [1, 3, 5, 4][case % 4]
            out, state, _ = mixer(Random(seed), tokens, K, V)
            lines.append(dict(mixer=name, seed=seed, tokens=tokens, key_dim=K, value_dim=V, out=digits(out), state=digits(state)))
    head = dict(generated_by="make_mixers.py", what="outputs and last states of sequence mixers, float64, two heads",
                versions=dict(python=platform.python_version(), torch=torch.__version__, numpy=np.__version__,
                              **{"fla-core": "0.6.0", "torchscale": "0.3.0"}))
    write_cases("mixers.json", head, lines)


if __name__ == "__main__":
    main()
