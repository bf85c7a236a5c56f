"""Writes gradients.json: torch's autograd in float64 for the settings of attention.json (see README.md).

The loss is the sum of out * d_out; d_out comes from the generator of the inputs, with the seed of the values plus 2.
Of each gradient some elements are kept, evenly spread: those at 0, stride, 2 stride, ... in the order [token][head][channel].
"""

import json
import os

import torch

from golden_common import HERE, digits, header, write
from make_attention import attend, tensor

MOST = 40  # elements kept of the gradient of q, k or v


def gradients(c):
    """By name: q, k, v in the order [token][head][channel], and of the parameters those that the setting has."""
    leaves = {}

    def learn(name, x):
        leaves[name] = x.requires_grad_()
        return leaves[name]

    out, _, _ = attend(c, learn)
    d_out = tensor(c["seed_v"] + 2, c["tq"], c["heads"], c["dv"], 1.0)
    (out * d_out).sum().backward()
    result = {name: x.grad for name, x in leaves.items()}
    for name in "qkv":
        result[name] = result[name].permute(1, 0, 2).reshape(-1)
    for name, x in result.items():
        assert torch.isfinite(x).all(), (c["id"], name)
    return result


if __name__ == "__main__":
    with open(os.path.join(HERE, "attention.json"), encoding="ascii") as file:
        settings = json.load(file)["cases"]
    cases = []
    for c in settings:
        # torch has no gradient for rows without a key, and beyond e^700 of scores nothing is left to compare
        if c["group"] in ("empty rows", "large scores"):
            continue
        row = {"id": c["id"]}
        for name, x in gradients(c).items():
            stride = max(1, -(-x.numel() // MOST)) if name in "qkv" else 1
            row[name] = {"stride": stride, "values": [digits(y) for y in x[::stride].tolist()]}
        cases.append(row)
    assert len(cases) >= 200, len(cases)
    write("gradients.json", header("make_gradients.py", "float64 gradients of the settings of attention.json"), {"cases": cases})
