"""Checks axes_rotated.json and xpos_rotated.json against formulas written a second time in double precision (numpy only)."""

import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def load(name):
    with open(os.path.join(HERE, name), encoding="ascii") as f:
        return json.load(f)["cases"]


def angles(c):
    """[tokens][pairs] in double, and how far float32 may be off."""
    p, d = np.array(c["positions"]).reshape(c["axes"], -1), c["rotary_dim"]
    n = d // 2
    w = np.array([c["base"] ** (-2.0 * i / d) for i in range(n)])
    if c["component"] == "xpos":
        a = p[0][:, None] * w
    elif c["component"] == "mrope" and c["interleaved"]:
        _, h, v = c["sections"]
        axis = [1 if i % 3 == 1 and i < 3 * h else 2 if i % 3 == 2 and i < 3 * v else 0 for i in range(n)]
        a = p[axis].T * w
    elif c["component"] == "mrope":
        a = p[[x for x, s in enumerate(c["sections"]) for _ in range(s)]].T * w
    else:
        first, second = (0, 1) if c["first"] == "row" else (1, 0)
        own = w[1::2] if c["frequencies"] == "alternating" else w[0::2]
        a = c["multiplier"] * np.concatenate([p[first][:, None] * w[0::2], p[second][:, None] * own], axis=1)
    return a, 2.0 ** -24 * (1 + np.abs(a) * (4 + np.log(c["base"])))


def rotate(c, x, sign):
    """x [tokens][heads][width] and how far float32 may be off."""
    a, off = angles(c)
    z = np.exp(1j * a)
    if c["component"] == "xpos":
        zeta = (np.arange(0, c["rotary_dim"], 2) / c["rotary_dim"] + 0.4) / 1.4
        power = sign * (np.array(c["positions"]) - c["centre"])[:, None] / c["scale_base"]
        grown = zeta ** power
        z, off = z * grown, grown * (off + 2.0 ** -24 * (8 + 4 * np.abs(power)))
    d = c["rotary_dim"]
    first, second = (slice(0, d, 2), slice(1, d, 2)) if c["layout"] == "interleaved" else (slice(0, d // 2), slice(d // 2, d))
    y, slack = x.copy(), np.zeros_like(x)
    r = (x[..., first] + 1j * x[..., second]) * z[:, None, :]
    y[..., first], y[..., second] = r.real, r.imag
    slack[..., first] = slack[..., second] = 3 * (off + 4 * 2.0 ** -24 * np.abs(z))[:, None, :]  # |(x0, x1)| < 3
    return y, slack


def main():
    failed = 0
    for name in ("axes_rotated.json", "xpos_rotated.json"):
        cases, worst = load(name), 0.0
        for c in cases:
            for what, sign in (("q", 1), ("k", -1)):
                shape = (-1, c["heads_" + what], c["head_dim"])
                want, slack = rotate(c, np.array(c[what]).reshape(shape), sign)
                off = np.abs(np.array(c[what + "_rotated"]).reshape(shape) - want)
                ratio = float(np.max(np.where(slack == 0, np.where(off == 0, 0, np.inf), off / np.where(slack == 0, 1, slack))))
                worst = max(worst, ratio)
                if not ratio <= 1:
                    failed += 1
                    print("FAILED:", name, c["name"], c["reference"], what, ratio)
        print("%s: %d cases, greatest deviation from double %.2f of what float32 explains" % (name, len(cases), worst))
    print("FAILED: %d" % failed if failed else "all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
