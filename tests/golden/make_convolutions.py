# SPDX-License-Identifier: MIT
"""Writes convolutions.json: outputs of S4D, S4 and Hyena in float64 (see README.md).

No package ships these layers for a CPU in float64, so their formulas are written out here in numpy and torch.fft, from

    S4D     state-spaces/s4, models/s4/s4d.py (S4DKernel, S4D.forward) and src/models/sequence/kernels/dplr.py (lin, inv,
            legs), commits 2ed46fc and 1eb1007; bilinear as in arXiv 2206.11893, equation 4
    S4      arXiv 2111.00396, equation 3 on the dense HiPPO-LegS matrix of src/models/hippo/hippo.py (commit 137e49d);
            C of the modes is carried there by the eigenvectors, with phases such that p is positive
    Hyena   HazyResearch/safari, standalone_hyena.py (fftconv, PositionalEmbedding, Sin, ExponentialModulation,
            HyenaFilter, HyenaOperator without its projections), commit 07fba79

S4D's convolution and its recurrence, and S4's dense recurrence and its powers, must agree before a case is written.
Parameters and inputs are exact in float32 and drawn by splitmix64 from the seed of the case, in the order in which
tests/convolution/golden.cpp draws them.
"""

import math
import platform

import numpy as np
import torch

from cases import Random, write_cases

CASES = 20


def single(x):
    """Rounded to float32, as the library keeps parameters."""
    return np.asarray(x, dtype=np.float64).astype(np.float32).astype(np.float64)


def agree(what, a, b):
    error = np.abs(a - b).max() / max(1.0, np.abs(b).max())
    if not error < 1e-9:
        raise SystemExit("%s: two forms of it differ by %g" % (what, error))


def fftconv(u, k):
    """safari's and S4D's: u, k [channels, tokens]."""
    u, k = torch.tensor(u), torch.tensor(k)
    n = 2 * u.shape[-1]
    return torch.fft.irfft(torch.fft.rfft(u, n=n) * torch.fft.rfft(k, n=n), n=n)[..., : u.shape[-1]].numpy()


def legs(N):
    """HiPPO-LegS as eigenvalues, p and eigenvectors of one of each conjugate pair."""
    q = np.arange(N, dtype=np.float64)
    col, row = np.meshgrid(q, q)
    T = np.sqrt(np.diag(2 * q + 1))
    A = T @ -(np.where(row >= col, 2 * q + 1, 0) - np.diag(q)) @ np.linalg.inv(T)
    P = np.sqrt(0.5 + q)
    skew = A + np.outer(P, P) + 0.5 * np.eye(N)
    omega, V = np.linalg.eigh(skew * -1j)
    omega, V = omega[N // 2 :], V[:, N // 2 :]
    p = V.conj().T @ P
    return A, np.diag(T), omega, V * (p / np.abs(p))[None, :]


def s4d(draw, T, H, N, init, rule):
    log_dt, C, D, u = single(2 * draw.numbers(H) - 4), draw.numbers(H, N // 2, 2), draw.numbers(H), draw.numbers(T, H)
    n = np.arange(N // 2)
    imag = {"lin": math.pi * n, "inv": 1 / math.pi * N * (N / (1 + 2 * n) - 1), "legs": legs(N)[2]}[init]
    A = -np.exp(single(np.log(0.5 * np.ones((H, N // 2))))) + 1j * single(imag)
    dt = np.exp(log_dt)
    C = C[..., 0] + 1j * C[..., 1]
    dtA = A * dt[:, None]
    if rule == "zoh":
        a, b = np.exp(dtA), (np.exp(dtA) - 1) / A
        K = 2 * np.einsum("hn,hnl->hl", C * (np.exp(dtA) - 1.0) / A, np.exp(dtA[..., None] * np.arange(T))).real
    else:
        a, b = (1 + dtA / 2) / (1 - dtA / 2), dt[:, None] / (1 - dtA / 2)
        K = 2 * np.einsum("hn,hnl->hl", C * b, a[..., None] ** np.arange(T)).real
    y = fftconv(u.T, K).T + u * D
    x, out = np.zeros((H, N // 2), complex), []
    for t in range(T):
        x = a * x + b * u[t][:, None]
        out.append(2 * (C * x).sum(-1).real + D * u[t])
    agree("S4D", np.array(out), y)
    return y, x / b  # the library's state has B_bar taken out


def s4(draw, T, H, N):
    log_dt, C, D, u = single(2 * draw.numbers(H) - 4), draw.numbers(H, N // 2, 2), draw.numbers(H), draw.numbers(T, H)
    C = C[..., 0] + 1j * C[..., 1]
    A, B, _, V = legs(N)
    y, last = np.zeros((T, H)), np.zeros((H, N // 2), complex)
    for h in range(H):
        dt = np.exp(log_dt[h])
        inverse = np.linalg.inv(np.eye(N) - dt / 2 * A)
        a, b = inverse @ (np.eye(N) + dt / 2 * A), inverse @ B * dt
        c = 2 * (C[h] @ V.conj().T).real  # y = 2 Re(C V^* x)
        x = np.zeros(N)
        for t in range(T):
            x = a @ x + b * u[t, h]
            y[t, h] = c @ x + D[h] * u[t, h]
        K = np.array([c @ np.linalg.matrix_power(a, l) @ b for l in range(T)])
        agree("S4", fftconv(u[:, h][None], K[None])[0] + D[h] * u[:, h], y[:, h])
        last[h] = V.conj().T @ x
    return y, last


def hyena(draw, T, D, order, l_max, width, emb_dim):
    x = draw.numbers(T, order + 1, D)
    short, short_bias = draw.numbers(order + 1, D, 3), draw.numbers(order + 1, D)
    W0, b0 = single(draw.numbers(width, emb_dim)), draw.numbers(width)
    W, b = single(draw.numbers(2, width, width) * 0.25), draw.numbers(2, width)
    freq = draw.numbers(width) * 0.5 + 1
    last, bias = draw.numbers((order - 1) * D, width) * 0.25, draw.numbers((order - 1) * D)

    t = np.linspace(0, 1, l_max)[:, None]
    bands = (emb_dim - 1) // 2
    w = 2 * math.pi * np.linspace(0, l_max - 1, l_max)[:, None] / l_max
    z = np.exp(-1j * np.linspace(1e-4, bands - 1, bands)[None] * w)
    z = np.concatenate([t, z.real, z.imag], axis=-1)
    a = np.sin(freq * (z @ W0.T + b0))
    for i in range(2):
        a = np.sin(freq * (a @ W[i].T + b[i]))
    deltas = np.linspace(math.log(1e-2) / 1.5, math.log(1e-2) / 0.3, (order - 1) * D)[None]
    h = (a @ last.T) * (np.exp(-t * np.abs(deltas)) + 0.0)

    u = np.pad(x, ((2, 0), (0, 0), (0, 0)))
    u = short_bias + sum(short[..., j] * u[j : j + T] for j in range(3))
    v = u[:, order]
    k = h[:T].T.reshape(order - 1, D, T)
    for o, x_i in enumerate(reversed([u[:, i] for i in range(1, order)])):
        v = v * x_i
        v = fftconv(v.T, k[o]).T + v * bias.reshape(order - 1, D)[o]
    return v * u[:, 0], h[:, -1]


def digits(x):
    return [float("%.12g" % y) for y in np.asarray(x).reshape(-1)]


def main():
    lines = []
    for number, (init, rule) in enumerate((i, r) for i in ("lin", "inv", "legs") for r in ("zoh", "bilinear")):
        for case in range(CASES):
            seed, T, H, N = 1000 * number + case, [1, 2, 3, 16, 17, 31, 33, 64][case % 8], [1, 2, 3][case % 3], [2, 4, 8, 16][case % 4]
            y, x = s4d(Random(seed), T, H, N, init, rule)
            lines.append(dict(mixer="S4D", init=init, rule=rule, seed=seed, tokens=T, channels=H, d_state=N, out=digits(y),
                              state=digits(np.stack([x.real, x.imag], -1))))
    for case in range(CASES):
        seed, T, H, N = 7000 + case, [1, 2, 3, 16, 17, 31, 33, 64][case % 8], [1, 2, 3][case % 3], [2, 4, 8, 16][case % 4]
        y, x = s4(Random(seed), T, H, N)
        lines.append(dict(mixer="S4", seed=seed, tokens=T, channels=H, d_state=N, out=digits(y),
                          state=digits(np.stack([x.real, x.imag], -1))))
    for case in range(CASES):
        seed, T, D = 8000 + case, [1, 2, 3, 7, 16, 17, 33, 40][case % 8], [1, 2, 3][case % 3]
        order, l_max, width, emb = [2, 2, 3, 4][case % 4], T + [0, 5, 24][case % 3] + (T == 1), [4, 8][case % 2], [3, 5, 9][case % 3]
        y, filter_ = hyena(Random(seed), T, D, order, l_max, width, emb)
        lines.append(dict(mixer="Hyena", seed=seed, tokens=T, channels=D, order=order, l_max=l_max, width=width, emb_dim=emb,
                          out=digits(y), filter=digits(filter_)))
    head = dict(generated_by="make_convolutions.py", what="outputs of S4D, S4 and Hyena, float64",
                versions=dict(python=platform.python_version(), torch=torch.__version__, numpy=np.__version__))
    write_cases("convolutions.json", head, lines)


if __name__ == "__main__":
    main()
