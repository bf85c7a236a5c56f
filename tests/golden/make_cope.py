# SPDX-License-Identifier: MIT
"""Writes cope.json: attention with contextual positions (CoPE) and its gradients in float64 (see README.md).

The formula is that of facebookresearch/RAM, projects/cope/src/cope/context_position.py (ContextPosSelfAttn), commit 5420e20,
and with scaled = false that of its option cope_nodiv. It is written out twice, in torch for a whole head with autograd and in
plain loops, which must agree before a case is written. Numbers are exact in float32 and drawn by splitmix64 from the seed
of the case: q, k, v, table, d_out, one behind another. The loss is the sum of out * d_out.
"""

import math
import platform

import numpy as np
import torch

from cases import Random, write_cases


def visible(mask, n, m):
    """May the query at place n see the key at place m?"""
    return {"none": True, "causal": m <= n, "window": n - 3 <= m <= n}[mask]


def attend(q, k, v, table, c):
    """One head in torch: q [queries, width], k [keys, width], v [keys, value width], table [positions, width]."""
    scale = 1 / math.sqrt(q.shape[1])
    first = c["keys"] - c["queries"]
    seen = torch.tensor([[visible(c["mask"], first + n, m) for m in range(c["keys"])] for n in range(c["queries"])], dtype=torch.float64)
    product = q @ k.T * scale
    gates = torch.sigmoid(product) * seen
    position = gates.flip(-1).cumsum(-1).flip(-1).clamp(max=c["positions"] - 1)
    floor, ceil = position.floor().long(), position.ceil().long()
    share = position - floor
    fixed = q @ table.T
    z = fixed.gather(-1, ceil) * share + fixed.gather(-1, floor) * (1 - share)
    score = product + z * (scale if c["scaled"] else 1) + seen.log()
    return torch.softmax(score, -1) @ v, torch.logsumexp(score, -1)


def by_loops(q, k, v, table, c):
    scale, first, out, lse = 1 / math.sqrt(q.shape[1]), c["keys"] - c["queries"], [], []
    for n in range(c["queries"]):
        keys = [m for m in range(c["keys"]) if visible(c["mask"], first + n, m)]
        gate = {m: 1 / (1 + math.exp(-float(q[n] @ k[m]) * scale)) for m in keys}
        score = []
        for m in keys:
            p = min(sum(gate[j] for j in keys if j >= m), c["positions"] - 1)
            low, share = math.floor(p), p - math.floor(p)
            vector = (1 - share) * table[low] + (share * table[low + 1] if share > 0 else 0)
            score.append(float(q[n] @ k[m]) * scale + float(q[n] @ vector) * (scale if c["scaled"] else 1))
        weights = np.exp(np.array(score) - max(score))
        lse.append(max(score) + math.log(weights.sum()))
        out.append((weights / weights.sum()) @ v[keys])
    return np.array(out), np.array(lse)


def digits(x):
    return [float("%.12g" % y) for y in np.asarray(x).reshape(-1)]


def case(number, **c):
    c["seed"] = 100 + number
    random = Random(c["seed"])
    heads, kv_heads, width = c["heads"], c["kv_heads"], c["width"]
    draw = lambda *shape: torch.tensor(random.numbers(*shape), requires_grad=True)
    q, k, v = draw(c["queries"], heads, width), draw(c["keys"], kv_heads, width), draw(c["keys"], kv_heads, c["value_width"])
    table, d_out = draw(c["positions"], width), draw(c["queries"], heads, c["value_width"])
    gained = q * c["gain"]
    gained.retain_grad()
    outs, lses = [], []
    for h in range(heads):
        g = h // (heads // kv_heads)
        out, lse = attend(gained[:, h], k[:, g], v[:, g], table, c)
        other = by_loops(*(x.detach().numpy() for x in (gained[:, h], k[:, g], v[:, g], table)), c)
        for a, b in zip((out, lse), other):
            assert np.abs(a.detach().numpy() - b).max() < 1e-12, number
        outs.append(out)
        lses.append(lse)
    out, lse = torch.stack(outs, 1), torch.stack(lses, 1)
    (out * d_out.detach()).sum().backward()
    numbers = dict(out=out, lse=lse, d_q=gained.grad, d_k=k.grad, d_v=v.grad, d_table=table.grad)
    return {**c, **{name: digits(x.detach().numpy()) for name, x in numbers.items()}}


def main():
    lines = []
    for mask in ("causal", "none", "window"):
        for scaled in (True, False):
            for positions, gain in ((1, 1), (3, 4), (64, 4)):
                number = len(lines)
                queries = [1, 6, 9][number % 3]
                lines.append(case(number, mask=mask, scaled=scaled, positions=positions, gain=gain, queries=queries, keys=9,
                                  heads=[2, 1, 4][number % 3], kv_heads=[1, 1, 2][number % 3], width=[4, 6][number % 2], value_width=3))
    head = dict(generated_by="make_cope.py", what="attention with contextual positions and its gradients, float64",
                versions=dict(python=platform.python_version(), torch=torch.__version__, numpy=np.__version__))
    write_cases("cope.json", head, lines)


if __name__ == "__main__":
    main()
