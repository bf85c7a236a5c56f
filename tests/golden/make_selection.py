# SPDX-License-Identifier: MIT
"""Writes selection.json: the blocks of keys that the references of three methods choose, in float64 (see README.md).

    make_selection.py <clone of mit-han-lab/Quest> <clone of MoonshotAI/MoBA>

Quest: evaluation/quest_attention.py, whose local_heavy_hitter_mask takes the pages; its bounds are the lines of forward()
before that call. The last page is read in any case, as quest/utils/controller.py and the kernels have it: its bound
becomes infinite. The budget is theirs too: forward() lowers it to the number of tokens, and so leaves out a page of a sequence
that is within its budget and does not end with one. MoBA: moba/moba_naive.py; a value that names its chunk shows which chunks a query has attended to. NSA:
fla/ops/nsa/naive.py of fla-core. Inputs are exact in float32, drawn by splitmix64 from the seed of the case, queries
first; cases in which float32 could choose otherwise are drawn anew.
"""

import importlib.metadata
import math
import platform
import sys

import numpy as np
import torch

from cases import Random, write_cases
from reference import definitions, in_float64

with in_float64():
    from fla.ops.nsa.naive import naive_nsa_topk

PINNED = {"Quest": "24c9c6fcac9f9e936847f511da414f1150cc9fb4", "MoBA": "61e456bc956c5a25fd9c84e5496b661329cb1b72"}
MARGIN = 1e-4


def margin(scores, chosen):
    """How far the least chosen score lies above the greatest other one, as a share of all of them."""
    inside, outside = scores[chosen], scores[~chosen]
    if len(inside) == 0 or len(outside) == 0:
        return np.inf
    return (inside.min() - outside.max()) / max(np.ptp(scores), 1e-300)


def quest(mask_of, q, k, block, budget):
    """[query head]: pages of the last token."""
    group = q.shape[1] // k.shape[1]
    keys = torch.tensor(np.repeat(k, group, axis=1)).transpose(0, 1)  # [head, token, channel]
    query = torch.tensor(q[-1])[:, None, :]
    tokens = keys.shape[1]
    pages = -(-tokens // block)
    sign = (query > 0) + (~(query > 0)) * -1
    signed = keys * sign
    bounds = torch.stack([signed[:, p * block : (p + 1) * block].amax(1) for p in range(pages)], 1)
    bounds = torch.matmul(query * sign, bounds.transpose(1, 2))  # [head, 1, page]
    forced = bounds.clone()
    forced[:, :, -1] = np.inf
    weights = forced.repeat_interleave(block, dim=-1)[None, :, :, :tokens]
    mask = mask_of(weights, budget, block)[0, :, 0]
    chosen, least = [], np.inf
    for h in range(q.shape[1]):
        is_chosen = mask[h].numpy()[::block]
        chosen.append([[int(p) for p in np.flatnonzero(is_chosen)]])
        least = min(least, margin(bounds[h, 0].numpy()[:-1], is_chosen[:-1]))
    return [list(row) for row in zip(*chosen)], least


def moba(attend, q, k, block, topk):
    """[query][head]: chunks."""
    tokens, heads = k.shape[:2]
    chunks = -(-tokens // block)
    width = max(chunks, k.shape[2])
    wide = lambda x: torch.tensor(np.concatenate([x, np.zeros((tokens, heads, width - x.shape[2]))], 2))
    names = torch.eye(width, dtype=torch.float64)[torch.arange(tokens) // block][:, None].repeat(1, heads, 1)
    with in_float64():
        out = attend(wide(q), wide(k), names, torch.tensor([0, tokens]), tokens, block, topk).numpy()
    means = np.stack([k[c * block : (c + 1) * block].mean(0) for c in range(chunks)])
    chosen, least = [], np.inf
    for t in range(tokens):
        chosen.append([])
        for h in range(heads):
            is_chosen = out[t, h, :chunks] > 0
            chosen[-1].append([int(c) for c in np.flatnonzero(is_chosen)])
            own = t // block
            least = min(least, margin(means[:own, h] @ q[t, h], is_chosen[:own]))
    return chosen, least


def nsa(q, k, block, blocks):
    """[query][key head]: blocks."""
    tokens, kv_heads, width = k.shape
    means = np.stack([k[b : b + block].mean(0) for b in range(0, tokens, block)])
    scale = width**-0.5
    with in_float64():
        found = naive_nsa_topk(torch.tensor(q)[None], torch.tensor(means)[None], blocks, block, scale)[0].numpy()
    chosen, least = [], np.inf
    group = q.shape[1] // kv_heads
    for t in range(tokens):
        chosen.append([sorted(int(b) for b in row if b >= 0) for row in found[t]])
        whole, own = (t + 1) // block, t // block
        for h in range(kv_heads):
            scores = np.exp(scale * q[t, h * group : (h + 1) * group] @ means[:whole, h].T)
            scores = (scores / scores.sum(1, keepdims=True)).sum(0)[: max(own - 1, 0)]
            is_chosen = np.isin(np.arange(len(scores)), chosen[-1][h])
            least = min(least, margin(scores[1:], is_chosen[1:]))
    return chosen, least


def main():
    scope = dict(torch=torch, math=math)
    quest_file, moba_file = "evaluation/quest_attention.py", "moba/moba_naive.py"
    (mask_of,) = definitions(sys.argv[1], PINNED["Quest"], quest_file, ["local_heavy_hitter_mask"], scope)
    (attend,) = definitions(sys.argv[2], PINNED["MoBA"], moba_file, ["moba_attn_varlen_naive"], scope)
    plans = [("Quest", n, 4, 2, 16, b, c) for n in (9, 48, 49, 333, 640) for b, c in ((16, 64), (16, 128), (4, 100))]
    plans += [("MoBA", n, 2, 2, 12, b, c) for n in (7, 64, 91, 130) for b, c in ((16, 1), (16, 3), (8, 4))]
    plans += [("NSA", n, 4, 2, 8, b, c) for n in (5, 64, 100, 139) for b, c in ((8, 3), (8, 6), (16, 4))]
    cases, seed = [], 0
    for method, tokens, heads, kv_heads, width, block, count in plans:
        least = 0
        while least < MARGIN:
            seed += 1
            random = Random(seed)
            q, k = random.numbers(tokens, heads, width), random.numbers(tokens, kv_heads, width)
            if method == "Quest":
                chosen, least = quest(mask_of, q, k, block, count)
            elif method == "MoBA":
                chosen, least = moba(attend, q, k, block, count)
            else:
                chosen, least = nsa(q, k, block, count)
        cases.append(dict(method=method, seed=seed, tokens=tokens, heads=heads, kv_heads=kv_heads, width=width, block=block,
                          count=count, chosen=chosen))
    versions = dict(python=platform.python_version(), torch=torch.__version__.split("+")[0], numpy=np.__version__,
                    fla_core=importlib.metadata.version("fla-core"), **PINNED)
    write_cases("selection.json", dict(generated_by="make_selection.py", what=__doc__.split("\n")[0], versions=versions), cases)


if __name__ == "__main__":
    main()
