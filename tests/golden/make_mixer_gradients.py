# SPDX-License-Identifier: MIT
"""Writes mixer_gradients.json: gradients of sequence mixers by torch's autograd, in float64 (see README.md).

The loss is sum(d_out o) + sum(d_state S_T) of the token loop below, which states the recurrence of its paper as
make_mixers.py and make_rwkv.py do, where it is held to the references. Inputs are drawn as there, and d_out and d_state from
a seed of their own, so that the file holds results only.
"""

import platform

import numpy as np
import torch

from cases import Random, write_cases

CASES, HEADS = 6, 2
softplus = lambda x: torch.logaddexp(torch.zeros_like(x), x)


def loop(q, k, v, g, state, bonus=None):
    """Outputs, the last state, and <q_t, z_t> with z from 0 on."""
    s, z, out, sums = state, torch.zeros_like(q[0]), [], []
    for t in range(len(q)):
        now = k[t][:, :, None] * v[t][:, None, :]
        after = torch.exp(g[t])[:, :, None] * s + now
        out.append(torch.einsum("hk,hkv->hv", q[t], after if bonus is None else s + bonus[:, :, None] * now))
        s, z = after, torch.exp(g[t]) * z + k[t]
        sums.append((q[t] * z).sum(-1))
    return torch.stack(out), s, torch.stack(sums)


def linear_attention(x, T, K, V, normalise):
    q, k = (x("q", T, HEADS, K, factor=0.5, offset=0.625), x("k", T, HEADS, K, factor=0.5, offset=0.625))
    v, s0 = x("v", T, HEADS, V), x("state", HEADS, K, V, factor=0 if normalise else 1)
    out, s, sums = loop(q, k, v, torch.zeros_like(k), s0)
    return (out / (sums + 1e-10)[:, :, None] if normalise else out), s


def retnet(x, T, K, V, normaliser):
    q, k, v, s0 = x("q", T, HEADS, K), x("k", T, HEADS, K), x("v", T, HEADS, V), x("state", HEADS, K, V, factor=0)
    gamma = 1 - 2.0 ** (-5 - torch.arange(HEADS, dtype=torch.float64))
    out, s, sums = loop(q * K**-0.5, k, v, torch.log(gamma)[None, :, None].expand(k.shape), s0)
    row = torch.sqrt((1 - gamma[None] ** torch.arange(1, T + 1)[:, None]) / (1 - gamma[None]))
    if normaliser == "row":
        out = out / row[:, :, None]
    if normaliser == "absolute":
        out = out / torch.maximum(row, sums.abs())[:, :, None]
    return out, s


def gla(x, T, K, V, logits):
    q, k, v = x("q", T, HEADS, K), x("k", T, HEADS, K), x("v", T, HEADS, V)
    d = x("decay", T, HEADS, K, factor=8) if logits else x("decay", T, HEADS, K, factor=2, offset=-2)
    return loop(q * K**-0.5, k, v, -softplus(-d) / 16 if logits else d, x("state", HEADS, K, V))[:2]


def mamba2(x, T, K, V):
    C, B, u, dt = x("q", T, 1, K), x("k", T, 1, K), x("v", T, HEADS, V), x("decay", T, HEADS, 1, factor=2)
    A_log, dt_bias, D = x("A_log", HEADS, factor=1, offset=1), x("dt_bias", HEADS, factor=2, offset=-2), x("skip", HEADS)
    s0 = x("state", HEADS, K, V)
    delta = softplus(dt + dt_bias[None, :, None])
    g = -torch.exp(A_log)[None, :, None] * delta
    out, s, _ = loop(C.expand(T, HEADS, K), B.expand(T, HEADS, K) * delta, u, g.expand(T, HEADS, K), s0)
    return out + D[None, :, None] * u, s


def rwkv(x, T, K, V, by_token):
    r, k, v = x("q", T, HEADS, K), x("k", T, HEADS, K), x("v", T, HEADS, K)
    w = x("decay", T, HEADS, K, factor=3, offset=-2)
    time_decay, u, s0 = x("time_decay", HEADS, K, factor=3, offset=-2), x("bonus", HEADS, K), x("state", HEADS, K, K)
    return loop(r, k, v, -torch.exp(w if by_token else time_decay.expand(w.shape)), s0, bonus=u)[:2]


def delta(x, T, K, V, width):
    """A decay of no channel, of one for each head, or of all."""
    q, v, d = x("q", T, HEADS, K), x("v", T, HEADS, V), x("decay", T, HEADS, K, offset=-1, width=width)
    beta, k, s = x("beta", T, HEADS, 1, factor=0.5, offset=0.5), x("k", T, HEADS, K, unit=True), x("state", HEADS, K, V)
    out = []
    for t in range(T):
        s = torch.exp(d[t])[:, :, None] * s if width else s
        differs = v[t] - torch.einsum("hk,hkv->hv", k[t], s)
        s = s + k[t][:, :, None] * (beta[t] * differs)[:, None, :]
        out.append(torch.einsum("hk,hkv->hv", q[t] * K**-0.5, s))
    return torch.stack(out), s


def rwkv7(x, T, K, V):
    r, k, v, w = (x(name, T, HEADS, K, factor=factor) for name, factor in (("q", 1), ("k", 1), ("v", 1), ("decay", 3)))
    a, kk = x("beta", T, HEADS, K, factor=0.5, offset=0.5), x("removal", T, HEADS, K, unit=True)
    s = x("state", HEADS, K, K)
    decay = torch.exp(-np.exp(-0.5) * torch.sigmoid(w))
    out = []
    for t in range(T):
        read = torch.einsum("hk,hkv->hv", kk[t], s)
        s = decay[t][:, :, None] * s - (a[t] * kk[t])[:, :, None] * read[:, None, :]
        s = s + k[t][:, :, None] * v[t][:, None, :]
        out.append(torch.einsum("hk,hkv->hv", r[t], s))
    return torch.stack(out), s


MIXERS = {
    "LinearAttention": (0, lambda *at: linear_attention(*at, True)),
    "LinearAttention, plain": (1, lambda *at: linear_attention(*at, False)),
    "RetNet": (2, lambda *at: retnet(*at, "plain")),
    "RetNet, row": (3, lambda *at: retnet(*at, "row")),
    "RetNet, absolute": (4, lambda *at: retnet(*at, "absolute")),
    "GLA": (5, lambda *at: gla(*at, True)),
    "GLA, log": (6, lambda *at: gla(*at, False)),
    "Mamba2": (7, mamba2),
    "RWKV5": (8, lambda *at: rwkv(*at, False)),
    "RWKV6": (9, lambda *at: rwkv(*at, True)),
    "DeltaNet": (10, lambda *at: delta(*at, 0)),
    "GatedDeltaNet": (11, lambda *at: delta(*at, 1)),
    "KDA": (12, lambda *at: delta(*at, at[2])),
    "RWKV7": (13, rwkv7),
}


class Inputs(dict):
    """Draws tensors in the order in which they are asked for, and keeps them, or their first `width` channels, by name.
    With `unit` rows have length 1, up to the rounding of a float."""

    def __init__(self, seed):
        self.draw = Random(seed)

    def __call__(self, name, *shape, factor=1, offset=0, unit=False, width=None):
        drawn = (self.draw.numbers(*shape) * factor + offset)[..., :width]
        if unit:
            drawn = drawn / np.sqrt((drawn * drawn).sum(-1, keepdims=True))
        self[name] = torch.tensor(drawn.astype(np.float32).astype(np.float64), requires_grad=True)
        return self[name]


def main():
    lines = []
    for name, (number, mixer) in MIXERS.items():
        for case in range(CASES):
            seed = 1000 * number + case
            T = [1, 2, 16, 17, 33, 66][case % 6]
            K = [2, 4, 6][case % 3]
            V = K if name.startswith("RWKV") else [1, 3, 5, 4][case % 4]
            x = Inputs(seed)
            out, state = mixer(x, T, K, V)
            draw = Random(seed + 500000)
            d_out, d_state = (torch.tensor(draw.numbers(*y.shape)) for y in (out, state))
            ((out * d_out).sum() + (state * d_state).sum()).backward()
            of = {key: [float("%.9g" % y) for y in value.grad.reshape(-1)] for key, value in x.items() if value.grad is not None}
            lines.append(dict(mixer=name, seed=seed, tokens=T, key_dim=K, value_dim=V, gradients=of))
    head = dict(generated_by="make_mixer_gradients.py", what="gradients of sequence mixers by autograd, float64, two heads",
                versions=dict(python=platform.python_version(), torch=torch.__version__, numpy=np.__version__))
    write_cases("mixer_gradients.json", head, lines)


if __name__ == "__main__":
    main()
