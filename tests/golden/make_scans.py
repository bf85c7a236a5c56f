# SPDX-License-Identifier: MIT
"""Writes scans.json: outputs and states of Mamba's selective scan, Mamba-3 and the short convolution in float64 (see README.md).

The references are functions of state-spaces/mamba as they stand in its files, in float64: selective_scan_ref, and
mamba3_siso_step_ref, to which its tests hold the kernels; they are cut out of the files, which import CUDA. The convolution
is torch's own. selective_scan_ref begins with an empty state, so cases are computed by the loop below, which must agree with
it there. Inputs are exact in float32 and drawn by splitmix64 from the seed of the case, so that the file holds results only.

    python make_scans.py <folder of state-spaces/mamba>
"""

import ast
import math
import os
import platform
import sys

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat

from cases import Random, write_cases

CASES = 20
COMMIT = "e9594ce1c732d97440f0332fdc43170a2294dbfa"


def function_of(path, name):
    """A function of a file that cannot be imported; where it says float32, it gets float64."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    if len(found) != 1:
        raise SystemExit("%s has no function %s" % (path, name))
    found[0].returns = None
    for argument in found[0].args.args:
        argument.annotation = None
    source = ast.unparse(found[0]).replace("torch.float32", "torch.float64").replace(".float()", ".double()")
    names = dict(torch=torch, F=F, math=math, rearrange=rearrange, repeat=repeat)
    exec(source, names)
    return names[name]


def tensor(x):
    return torch.tensor(x, dtype=torch.float64)


def agree(what, a, b):
    error = np.abs(a - np.asarray(b)).max() / max(1.0, np.abs(a).max())
    if not error < 1e-12:
        raise SystemExit("%s: the reference and its formula differ by %g" % (what, error))


def mamba(draw, T, case, reference):
    E, N = [1, 3, 16, 17, 40][case % 5], [1, 4, 16][case % 3]
    u, dt, B, C, z = (draw.numbers(*shape) for shape in ((T, E), (T, E), (T, N), (T, N), (T, E)))
    dt, A_log, bias, D, h0 = 2 * dt, 2 * draw.numbers(E, N), 2 * draw.numbers(E) - 2, draw.numbers(E), draw.numbers(E, N)
    A = -np.exp(A_log)

    def loop(h):
        out = []
        for t in range(T):
            delta = np.logaddexp(0, dt[t] + bias)[:, None]
            h = np.exp(delta * A) * h + delta * B[t] * u[t][:, None]
            out.append(((h * C[t]).sum(-1) + D * u[t]) * z[t] / (1 + np.exp(-z[t])))
        return np.array(out), h

    across = lambda x: tensor(x.T[None].copy())
    ours, last = reference(across(u), across(dt), tensor(A), across(B), across(C), tensor(D), across(z), tensor(bias), True, True)
    out, state = loop(h0 * 0)
    agree("the selective scan", out, ours[0].T)
    agree("the state of the selective scan", state, last[0])
    out, state = loop(h0)
    return dict(channels=E, states=N), out, dict(state=state)


def convolution(draw, T, case, _):
    E, W = [1, 3, 16, 65][case % 4], [2, 4, 3, 4, 7][case % 5]
    x, weight, bias, before = draw.numbers(T, E), draw.numbers(E, W), draw.numbers(E), draw.numbers(W - 1, E)
    every = np.concatenate([before, x])
    out = F.silu(F.conv1d(tensor(every.T[None].copy()), tensor(weight)[:, None], tensor(bias), groups=E))[0].T
    return dict(channels=E, width=W), out, dict(state=every[T:])


def mamba3(draw, T, case, reference):
    H, G = [(1, 1), (2, 1), (4, 2)][case % 3]
    N, P, fraction = [8, 12, 16][case % 3], [1, 5, 8, 3][case % 4], [0.5, 1.0][case % 2]
    pairs = int(N * fraction) // 2
    x, B, C, z = (draw.numbers(*shape) for shape in ((T, H, P), (T, G, N), (T, G, N), (T, H, P)))
    dt, decay, trap = draw.numbers(T, H) * 0.5 + 0.5, draw.numbers(T, H) - 1, 4 * draw.numbers(T, H)
    angles, B_bias, C_bias, D = 2 * draw.numbers(T, H, pairs), draw.numbers(H, N), draw.numbers(H, N), draw.numbers(H)
    S, k, v, theta = draw.numbers(H, N, P), draw.numbers(H, N), draw.numbers(H, P), draw.numbers(H, pairs)
    across = lambda a: tensor(a.T[None].copy())
    states = (tensor(theta)[None], tensor(S).transpose(1, 2)[None], tensor(k)[None], tensor(v)[None])
    out, (theta, S, k, v) = reference(tensor(C)[None], tensor(B)[None], tensor(x)[None], across(decay), across(dt), across(trap),
                                      tensor(C_bias), tensor(B_bias), tensor(angles)[None], tensor(D), tensor(z)[None], states)
    shape = dict(heads=H, groups=G, keys=N, values=P, fraction=fraction)
    return shape, out[0], dict(state=S[0].transpose(1, 2), k=k[0], x=v[0], theta=theta[0])


def digits(x):
    return [float("%.9g" % y) for y in np.asarray(x).reshape(-1)]


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    source = lambda *path: os.path.join(sys.argv[1], *path)
    scan = function_of(source("mamba_ssm", "ops", "selective_scan_interface.py"), "selective_scan_ref")
    trapezoidal = function_of(source("tests", "ops", "triton", "test_mamba3_siso.py"), "mamba3_siso_step_ref")
    lines = []
    for number, (name, make, reference) in enumerate([("Mamba", mamba, scan), ("ShortConvolution", convolution, None),
                                                      ("Mamba3", mamba3, trapezoidal)]):
        for case in range(CASES):
            seed = 5000 + 1000 * number + case
            T = [1, 2, 3, 7, 16, 17, 20, 33, 66][case % 9]
            shape, out, states = make(Random(seed), T, case, reference)
            lines.append(dict(operator=name, seed=seed, tokens=T, **shape, out=digits(out), **{key: digits(x) for key, x in states.items()}))
    head = dict(generated_by="make_scans.py", what="outputs and last states of Mamba, Mamba-3 and short convolutions, float64",
                versions={"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
                          "state-spaces/mamba": COMMIT})
    write_cases("scans.json", head, lines)


if __name__ == "__main__":
    main()
