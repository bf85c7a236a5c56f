# SPDX-License-Identifier: MIT
"""Writes rwkv.json: outputs and states of RWKV-4 and RWKV-7 in float64, and what stands around RWKV-7 (see README.md).

Every case is computed here as its paper states it, and by a reference, in float64; both must agree. RWKV-7: the loop of
flash-linear-attention's generalised delta rule (fla-core, dplr/naive.py), its reference of the key's update and of the
bonus. RWKV-4: transformers' rwkv_linear_attention_cpu; here it is the sum over all tokens before, without a running
maximum. Inputs are exact in float32 and drawn by splitmix64 from the seed of the case.
"""

import platform

import numpy as np
import torch
import transformers

from fla.ops.generalized_delta_rule.dplr.naive import dplr_recurrence
from fla.ops.rwkv7.fused_k_update import k_update_ref
from fla.ops.rwkv7.gate_output_correction import gate_output_correction_ref
from transformers.models.rwkv.modeling_rwkv import rwkv_linear_attention_cpu

from make_mixers import CASES, HEADS, agree, digits, heads_first, tensor
from reference import in_float64
from cases import Random, write_cases


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rwkv7(draw, T, K):
    """The block from projected r, x, k, v and a to the output of its recurrence, group norm and bonus."""
    r, x, k, v, logit = (draw.numbers(T, HEADS, K) for _ in range(5))
    k_k, k_a, r_k, weight, bias = (draw.numbers(HEADS, K) for _ in range(5))
    s0 = draw.numbers(HEADS, K, K)  # [keys][values]
    a = (logit * 0.5 + 0.5).astype(np.float32).astype(np.float64)
    w = np.exp(-np.exp(-0.5) * sigmoid(6 * x))
    kk = k * k_k
    kk = kk / np.maximum(np.sqrt((kk * kk).sum(-1, keepdims=True)), 1e-12)
    written = k * (1 + (a - 1) * k_a)
    flat = lambda y: torch.tensor(y.reshape(T, -1))
    agree("RWKV-7's key", written.reshape(T, -1), k_update_ref(flat(k), flat(a), torch.tensor(k_a.reshape(-1))))
    s, out = s0.transpose(0, 2, 1).copy(), []  # S [values][keys], as the paper has it
    for t in range(T):
        removed = np.einsum("hvk,hk->hv", s, kk[t])
        s = s * w[t][:, None, :] - removed[:, :, None] * (a[t] * kk[t])[:, None, :] + v[t][:, :, None] * written[t][:, None, :]
        out.append(np.einsum("hvk,hk->hv", s, r[t]))
    out, s = np.array(out), s.transpose(0, 2, 1)
    with in_float64():
        ours, state = dplr_recurrence(heads_first(r) * K**0.5, heads_first(written), heads_first(v), heads_first(-kk),
                                      heads_first(kk * a), heads_first(np.log(w)), tensor(s0))
    agree("RWKV-7", out.transpose(1, 0, 2), ours)
    agree("RWKV-7's state", s, state)
    norm = torch.nn.functional.group_norm(flat(out), HEADS, torch.tensor(weight.reshape(-1)),
                                          torch.tensor(bias.reshape(-1)), eps=64e-5)
    block = gate_output_correction_ref(norm[None], torch.tensor(r)[None], torch.tensor(written)[None],
                                       torch.tensor(r_k), torch.tensor(v)[None], torch.ones(1, T, HEADS * K, dtype=torch.float64))
    by_hand = norm.numpy().reshape(T, HEADS, K) + (r * written * r_k).sum(-1, keepdims=True) * v
    agree("RWKV-7's bonus", by_hand.reshape(1, T, -1), block)
    return dict(out=digits(out), state=digits(s), removal=digits(kk), key=digits(written), block=digits(by_hand))


def rwkv4(draw, T, C):
    """Channels of their own; half of the cases continue a state."""
    k, v = 4 * draw.numbers(T, C), draw.numbers(T, C)
    time_decay, time_first = 4 * draw.numbers(C) - 3, 2 * draw.numbers(C)
    p0, q0, o0 = draw.numbers(C), draw.numbers(C) * 0.5 + 1, 4 * draw.numbers(C)
    continues = C % 2 == 0
    if not continues:
        p0, q0, o0 = p0 * 0, q0 * 0, o0 * 0 - 1e38
    w = -np.exp(time_decay)
    out = []
    for t in range(T):
        before = np.exp(t * w + o0) if continues else 0 * w
        numerator, denominator = before * p0, before * q0
        for i in range(t):
            weight = np.exp((t - 1 - i) * w + k[i])
            numerator, denominator = numerator + weight * v[i], denominator + weight
        own = np.exp(time_first + k[t])
        out.append((numerator + own * v[t]) / (denominator + own))
    state = [torch.tensor(x)[None] for x in (p0, q0, o0)]
    with in_float64():
        ours, last = rwkv_linear_attention_cpu(torch.tensor(time_decay), torch.tensor(time_first), torch.tensor(k)[None],
                                               torch.tensor(v)[None], state, True)
    out = np.array(out)
    agree("RWKV-4", out, ours)
    return dict(out=digits(out), state=digits(np.concatenate([x.numpy() for x in last])))


def main():
    lines = []
    for number, (name, mixer) in enumerate({"RWKV7": rwkv7, "RWKV4": rwkv4}.items()):
        for case in range(CASES):
            seed = 100_000 + 1000 * number + case
            tokens = [1, 2, 3, 7, 15, 16, 17, 20, 33, 66][case % 10]
            width = [2, 4, 6][case % 3] if name == "RWKV7" else [4, 5, 17, 32][case % 4]
            lines.append(dict(mixer=name, seed=seed, tokens=tokens, width=width, **mixer(Random(seed), tokens, width)))
    head = dict(generated_by="make_rwkv.py", what="RWKV-7, two heads, and RWKV-4, float64",
                versions=dict(python=platform.python_version(), torch=torch.__version__, numpy=np.__version__,
                              transformers=transformers.__version__, **{"fla-core": "0.6.0"}))
    write_cases("rwkv.json", head, lines)


if __name__ == "__main__":
    main()
