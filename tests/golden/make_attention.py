"""Writes attention.json: float64 attention outputs for seeded random settings (see README.md).

Every term of the score is built here as a dense matrix from its formula; the softmax and the product with the
values are torch.nn.functional.scaled_dot_product_attention in float64 (math backend), except for soft-capped cases.
"""

import math
import random

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from golden_common import digits, header, write

INF = float("inf")
MASK64 = (1 << 64) - 1


# ---------------------------------------------------------------------------------------------------------------
# inputs
# ---------------------------------------------------------------------------------------------------------------
def generate(seed, count, gain):
    """splitmix64; value = gain * (top 24 bits / 2^23 - 1)."""
    state, out = seed & MASK64, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
        z ^= z >> 31
        out.append(gain * ((z >> 40) / 8388608.0 - 1.0))
    return out


def tensor(seed, tokens, heads, width, gain):
    """Generated in the order [tokens][heads][width], returned as [heads, tokens, width]."""
    return torch.tensor(generate(seed, tokens * heads * width, gain), dtype=torch.float64).view(tokens, heads, width).permute(1, 0, 2).contiguous()


# ---------------------------------------------------------------------------------------------------------------
# rotary terms
# ---------------------------------------------------------------------------------------------------------------
def frequencies(rot):
    d, b, scheme = rot["dim"], rot["base"], rot["scheme"]
    amplitude = 1.0
    w = [b ** (-2.0 * i / d) for i in range(d // 2)]
    if scheme == "linear":
        w = [x / rot["factor"] for x in w]
    elif scheme == "ntk":
        b2 = b * rot["factor"] ** (d / (d - 2.0))
        w = [b2 ** (-2.0 * i / d) for i in range(d // 2)]
    elif scheme == "yarn":
        L, s = rot["original_length"], rot["factor"]

        def index_of(rotations):
            return d * math.log(L / (2 * math.pi * rotations)) / (2 * math.log(b))

        lo, hi = index_of(rot["beta_fast"]), index_of(rot["beta_slow"])
        if rot["truncate"]:
            lo, hi = math.floor(lo), math.ceil(hi)
        lo, hi = max(lo, 0), min(hi, d - 1)
        if lo == hi:
            hi += 0.001
        keep = [1.0 - min(1.0, max(0.0, (i - lo) / (hi - lo))) for i in range(d // 2)]
        w = [(1.0 - g) * x / s + g * x for g, x in zip(keep, w)]
        amplitude = 0.1 * math.log(s) + 1.0
    elif scheme == "llama3":
        L, s, low, high = rot["original_length"], rot["factor"], rot["low_freq_factor"], rot["high_freq_factor"]
        out = []
        for x in w:
            wavelength = 2 * math.pi / x
            if wavelength < L / high:
                out.append(x)
            elif wavelength > L / low:
                out.append(x / s)
            else:
                smooth = (L / wavelength - low) / (high - low)
                out.append((1 - smooth) * x / s + smooth * x)
        w = out
    else:
        assert scheme == "default"
    return w, amplitude


def pairs(x, rot):
    """The two components of every rotary pair and the untouched rest."""
    d = rot["dim"]
    if rot["layout"] == "interleaved":
        return x[..., 0:d:2], x[..., 1:d:2], x[..., d:]
    return x[..., : d // 2], x[..., d // 2 : d], x[..., d:]


def rotated(x, positions, w, amplitude, rot):
    """x [heads, tokens, width], each token rotated by positions[token] * w."""
    a, b, _ = pairs(x, rot)
    angle = positions[:, None] * w[None, :]
    c, s = amplitude * torch.cos(angle), amplitude * torch.sin(angle)
    y = x.clone()
    d = rot["dim"]
    if rot["layout"] == "interleaved":
        y[..., 0:d:2], y[..., 1:d:2] = a * c - b * s, a * s + b * c
    else:
        y[..., : d // 2], y[..., d // 2 : d] = a * c - b * s, a * s + b * c
    return y


def dense_product(q, k, G, w, amplitude, rot):
    """q^T R_{-G(i,j)} k for every pair of tokens, straight from the definition (G is a matrix of distances)."""
    qa, qb, qr = pairs(q, rot)
    ka, kb, kr = pairs(k, rot)
    score = qr @ kr.transpose(-1, -2)
    for p in range(rot["dim"] // 2):
        c, s = torch.cos(G * w[p]), torch.sin(G * w[p])
        # R_{-G} k = (ka cos + kb sin, -ka sin + kb cos)
        even = qa[..., p, None] * ka[..., None, :, p] + qb[..., p, None] * kb[..., None, :, p]
        odd = qa[..., p, None] * kb[..., None, :, p] - qb[..., p, None] * ka[..., None, :, p]
        score = score + amplitude * amplitude * (even * c + odd * s)
    return score


def distance_map(rewrite, D):
    if rewrite is None:
        return D
    w = float(rewrite["window"])
    if rewrite["kind"] == "rerope":
        return torch.where(D < w, D, torch.full_like(D, w))
    assert rewrite["kind"] == "leaky_rerope"
    return torch.where(D < w, D, w + (D - w) / rewrite["k"])


# ---------------------------------------------------------------------------------------------------------------
# biases, [heads, Tq, Tk]
# ---------------------------------------------------------------------------------------------------------------
def alibi_slopes(H):
    c = 1
    while 2 * c <= H:
        c *= 2
    slopes = [2.0 ** (-8.0 * h / c) for h in range(1, c + 1)]
    return slopes + [2.0 ** (-8.0 * (2 * t - 1) / (2 * c)) for t in range(1, H - c + 1)]


def t5_bucket(r, num, dist, both):
    out, n = 0, -r
    if both:
        num //= 2
        out, n = (num if r > 0 else 0), abs(r)
    n = max(0, n)
    exact = num // 2
    if n < exact:
        return out + n
    # thresholds as exact integers: bucket exact + t starts where (n / exact)^K >= (dist / exact)^t
    K, t = num - exact, 0
    while t < K - 1 and n ** K * exact ** (t + 1) >= exact ** K * dist ** (t + 1):
        t += 1
    return out + exact + t


def as_it_is(name, x):
    return x


def bias_matrix(bias, H, D, learn=as_it_is):
    if bias is None:
        return torch.zeros(H, *D.shape, dtype=torch.float64)
    kind = bias["kind"]
    if kind == "alibi":
        m = learn("slopes", torch.tensor(bias["slopes"], dtype=torch.float64))[:, None, None]
        return -m * (D.abs() if bias["bidirectional"] else D)
    if kind == "t5":
        table = learn("table", torch.tensor(generate(bias["seed_table"], bias["num_buckets"] * H, bias["table_gain"]), dtype=torch.float64)).view(-1, H)
        index = torch.tensor([[t5_bucket(-int(x), bias["num_buckets"], bias["max_distance"], bias["bidirectional"]) for x in row] for row in D.tolist()])
        return table[index].permute(2, 0, 1)
    r1 = r2 = None
    if kind.startswith("kerple"):
        r1, r2 = (learn(k, torch.tensor(bias[k], dtype=torch.float64))[:, None, None] for k in ("r1", "r2"))
    if kind == "kerple_log":
        return -r1 * torch.log(1.0 + r2 * D.abs())
    if kind == "kerple_power":
        return -r1 * D.abs() ** r2
    assert kind == "sandwich"
    n = bias["dim"] // 2
    total = sum(torch.cos(D * 10000.0 ** (-2.0 * t / bias["dim"])) for t in range(1, n + 1)) - n
    return torch.stack([total * (H / (8.0 * h)) for h in range(1, H + 1)])


# ---------------------------------------------------------------------------------------------------------------
# masks, [Tq, Tk] true where visible
# ---------------------------------------------------------------------------------------------------------------
def visible(mask, i, j):
    D = i[:, None] - j[None, :]
    key = j[None, :].expand_as(D)
    kind = mask["kind"]
    if kind == "none":
        return torch.ones_like(D, dtype=torch.bool)
    if kind == "causal":
        return D >= 0
    if kind == "window":
        ok = torch.ones_like(D, dtype=torch.bool)
        if mask["left"] is not None:
            ok &= D <= mask["left"]
        if mask["right"] is not None:
            ok &= D >= -mask["right"]
        return ok
    if kind == "sink_window":
        return (D >= 0) & ((key < mask["n_sink"]) | (D <= mask["left"]))
    if kind == "prefix":
        return (D >= 0) | (key < mask["prefix"])
    assert kind == "documents"
    ids = torch.tensor(mask["ids"])
    same = ids[i][:, None] == ids[j][None, :]
    return same & (D >= 0) if mask["causal"] else same


# ---------------------------------------------------------------------------------------------------------------
# one case
# ---------------------------------------------------------------------------------------------------------------
def attend(c, learn=as_it_is):
    """The output, the log-sum-exp and that of the keys alone; learn(name, tensor) may ask for a tensor's gradient."""
    H, Hk, Tq, Tk = c["heads"], c["kv_heads"], c["tq"], c["tk"]
    q = learn("q", tensor(c["seed_q"], Tq, H, c["d"], c["q_gain"]))
    k = learn("k", tensor(c["seed_k"], Tk, Hk, c["d"], 1.0))
    v = learn("v", tensor(c["seed_v"], Tk, Hk, c["dv"], 1.0))
    qi, kj = torch.arange(Tq) + (Tk - Tq), torch.arange(Tk)
    i, j = qi.double(), kj.double()
    D = i[:, None] - j[None, :]
    k_all, v_all = (t.repeat_interleave(H // Hk, dim=0) for t in (k, v))

    # the products that scaled_dot_product_attention will compute itself
    rot, rewrite = c["rotary"], None
    qx, kx = q, k
    correction = torch.zeros(H, Tq, Tk, dtype=torch.float64)
    if rot is not None:
        w, amplitude = frequencies(rot)
        rot["amplitude"], rot["inv_freq"] = amplitude, w
        w = learn("inv_freq", torch.tensor(w, dtype=torch.float64))
        qx, kx = rotated(q, i, w, amplitude, rot), rotated(k, j, w, amplitude, rot)
        rewrite = rot["rewrite"]
        # the dense definition; for plain rotary it must agree with the rotated product
        dense = dense_product(q, k_all, distance_map(rewrite, D), w, amplitude, rot)
        product = qx @ kx.repeat_interleave(H // Hk, dim=0).transpose(-1, -2)
        if rewrite is None:
            assert (dense - product).abs().max() < 1e-11 * max(1.0, c["q_gain"]), (c["id"], float((dense - product).abs().max()))
        else:
            correction = dense - product
    else:
        dense = q @ k_all.transpose(-1, -2)
    lam = torch.ones(Tq, dtype=torch.float64)
    if c["logn"] is not None:
        lam = torch.tensor([max(1.0, math.log(int(x) + 1) / math.log(c["logn"])) for x in qi], dtype=torch.float64)
    bias = bias_matrix(c["bias"], H, D, learn)
    hidden = torch.zeros(Tq, Tk, dtype=torch.float64).masked_fill(~visible(c["mask"], qi, kj), -INF)

    score = c["scale"] * lam[:, None] * dense
    cap = c["softcap"]
    if cap is None:
        score = score + bias
    else:
        bound = learn("cap", torch.tensor([cap["cap"]], dtype=torch.float64))
        if cap["order"] == "bias_then_cap":
            score = bound * torch.tanh((score + bias) / bound)
        else:
            score = bound * torch.tanh(score / bound) + bias
    score = score + hidden

    sinks = c["sinks"]
    parts = score
    if sinks is not None:
        column = learn("sinks", torch.tensor(sinks, dtype=torch.float64))[:, None, None].expand(H, Tq, 1)
        parts = torch.cat([score, column], dim=-1)
    lse, lse_keys = torch.logsumexp(parts, -1), torch.logsumexp(score, -1)
    weights = torch.exp(score - torch.where(lse.isinf(), torch.zeros_like(lse), lse)[..., None])
    by_hand = weights @ v_all

    if cap is None:
        c["engine"] = "torch_sdpa"
        additive = c["scale"] * lam[:, None] * correction + bias + hidden
        qs = qx * lam[None, :, None]
        if sinks is not None:  # one more key of zeros whose score is the sink logit and whose value is zero
            kx = torch.cat([kx, torch.zeros(Hk, 1, c["d"], dtype=torch.float64)], dim=1)
            v = torch.cat([v, torch.zeros(Hk, 1, c["dv"], dtype=torch.float64)], dim=1)
            additive = torch.cat([additive, column], dim=-1)
        with sdpa_kernel(SDPBackend.MATH):
            out = F.scaled_dot_product_attention(qs[None], kx[None], v[None], attn_mask=additive[None], scale=c["scale"], enable_gqa=True)[0]
        assert out.dtype == torch.float64
        assert (out - by_hand).abs().max() < 1e-12 * max(1.0, c["q_gain"]), (c["id"], float((out - by_hand).abs().max()))
    else:
        c["engine"] = "torch_softmax"
        out = by_hand
    assert torch.isfinite(out).all(), c["id"]
    return out, lse, lse_keys


def run(c):
    out, lse, lse_keys = attend(c)
    c["empty_rows"] = int((lse_keys[0] == -INF).sum())

    def flat_lse(x):
        return [None if y == -INF else digits(y, 13) for y in x.permute(1, 0).reshape(-1).tolist()]

    c["out"] = [digits(x) for x in out.permute(1, 0, 2).reshape(-1).tolist()]
    c["lse"] = flat_lse(lse)
    if c["sinks"] is not None:
        c["lse_keys"] = flat_lse(lse_keys)
    return c


# ---------------------------------------------------------------------------------------------------------------
# the settings
# ---------------------------------------------------------------------------------------------------------------
HEADS = [(1, 1), (2, 2), (2, 1), (4, 4), (4, 2), (4, 1), (8, 8), (8, 4), (8, 2), (8, 1), (3, 1), (6, 2), (6, 3), (12, 4)]


def shape(rnd, size="small", d=None, cache=None, heads=None):
    """size: small (1..40 tokens), tile (crosses 64 or 128), decode (one to three queries)."""
    c = {}
    c["d"] = d if d is not None else rnd.choice([2, 4, 8, 8, 16, 16, 64])
    c["dv"] = c["d"] if rnd.random() < 0.7 else rnd.choice([1, 2, 3, 4, 5, 8, 12, 16])
    H, Hk = heads or rnd.choice(HEADS[:10] if c["d"] <= 16 else HEADS[:6])
    tk = rnd.randint(1, 40)
    if size == "tile":
        tk = rnd.choice([63, 64, 65, 66, 70, 95, 127, 128, 129, 130])
        c["dv"] = min(c["dv"], 8)
        H, Hk = rnd.choice([(1, 1), (2, 1), (2, 2)])
    tq = tk
    if size == "decode":
        tk = rnd.choice([2, 9, 33, 64, 65, 100, 131])
        tq = rnd.choice([1, 1, 2, 3])
        tq = min(tq, tk)
    elif cache or (cache is None and rnd.random() < 0.3):
        tq = rnd.randint(1, tk)
    # keep the stored output below about 1500 numbers
    while tq * H * c["dv"] > 1500:
        if size == "tile" and c["dv"] > 2:
            c["dv"] //= 2
        elif H > 4 and H * c["dv"] > 64:
            H, Hk = H // 2, max(1, Hk // 2)
        else:
            tq = max(1, tq * 3 // 4)
            if size != "tile" and cache is False:
                tk = tq
    c.update({"heads": H, "kv_heads": Hk, "tq": tq, "tk": tk})
    return c


def rotary(rnd, d, scheme=None, rewrite=None):
    scheme = scheme or rnd.choice(["default", "default", "default", "linear", "ntk", "yarn", "llama3"])
    dim = d
    if d >= 4 and rnd.random() < 0.35:
        dim = rnd.choice([x for x in (2, 4, 6, 8, 16, 24, 32, 48, 64) if x < d])
    if scheme == "ntk" and dim < 4:
        scheme = "linear"
    rot = {"layout": rnd.choice(["half_split", "interleaved"]), "dim": dim, "base": rnd.choice([100.0, 10000.0, 10000.0, 500000.0]), "scheme": scheme}
    if scheme in ("linear", "ntk"):
        rot["factor"] = rnd.choice([2.0, 4.0, 2.5])
    elif scheme == "yarn":
        rot.update({"factor": rnd.choice([4.0, 8.0, 32.0]), "original_length": rnd.choice([64, 256, 4096]), "beta_fast": 32.0, "beta_slow": 1.0,
                    "truncate": rnd.random() < 0.6})
    elif scheme == "llama3":
        rot.update({"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_length": rnd.choice([16, 64, 8192])})
    rot["rewrite"] = rewrite
    return rot


def rewrite_of(rnd, tk):
    w = rnd.choice([1, 2, 3, 5, max(1, tk // 4), max(1, tk // 3), max(1, tk // 2), 16, 33, tk, tk + 3])
    return {"kind": "rerope", "window": w} if rnd.random() < 0.5 else {"kind": "leaky_rerope", "window": w, "k": rnd.choice([1.0, 2.0, 4.0, 16.0, 2.5])}


def documents(rnd, tk, causal):
    ids, n = [], 0
    while len(ids) < tk:
        ids += [n] * rnd.randint(1, max(1, tk // 3))
        n += 1
    return {"kind": "documents", "ids": ids[:tk], "causal": causal}


def mask_of(rnd, kind, tk):
    if kind in ("none", "causal"):
        return {"kind": kind}
    if kind == "window":
        left = rnd.choice([0, 1, 2, 3, 7, 15, 31, None])
        right = rnd.choice([0, 0, 0, 0, 1, 2, 5, None])
        return {"kind": "window", "left": left, "right": right}
    if kind == "sink_window":
        return {"kind": "sink_window", "n_sink": rnd.choice([0, 1, 2, 4]), "left": rnd.choice([0, 1, 3, 7, 15])}
    if kind == "prefix":
        return {"kind": "prefix", "prefix": rnd.randint(0, tk)}
    return documents(rnd, tk, rnd.random() < 0.7)


def forward_only(mask):
    """True when no key after the query is visible."""
    return mask["kind"] in ("causal", "sink_window") or (mask["kind"] == "window" and mask["right"] == 0) or (mask["kind"] == "documents" and mask["causal"])


def bias_of(rnd, kind, H, past_only):
    if kind is None:
        return None
    if kind == "alibi":
        return {"kind": "alibi", "bidirectional": not past_only or rnd.random() < 0.2, "slopes": alibi_slopes(H)}
    if kind == "t5":
        num, dist = rnd.choice([(32, 128), (32, 128), (16, 64), (8, 20), (64, 256)])
        return {"kind": "t5", "num_buckets": num, "max_distance": dist, "bidirectional": not past_only or rnd.random() < 0.3,
                "seed_table": 0, "table_gain": 2.0}
    if kind == "sandwich":
        return {"kind": "sandwich", "dim": rnd.choice([8, 16, 64, 128])}
    top = 2.0 if kind == "kerple_power" else 1.0
    return {"kind": kind, "r1": [round(rnd.uniform(0.05, 1.0 if top == 2.0 else 2.0), 3) for _ in range(H)],
            "r2": [round(rnd.uniform(0.05, top), 3) for _ in range(H)]}


class Cases:
    def __init__(self):
        self.rnd, self.items = random.Random(424242), []

    def add(self, group, base, rotary=None, bias=None, mask=None, logn=None, softcap=None, sinks=None, scale=None, gain=None):
        n = len(self.items)
        c = {"id": n, "group": group, "engine": None}
        c.update({k: base[k] for k in ("tq", "tk", "heads", "kv_heads", "d", "dv")})
        if scale is None:
            scale = 1.0 if bias is not None and bias["kind"] == "t5" else 1.0 / math.sqrt(c["d"])
        if gain is None:
            gain = self.rnd.choice([1.0, 2.0, 4.0, 8.0]) if scale < 1 else self.rnd.choice([0.5, 1.0])
        c.update({"scale": scale, "q_gain": gain, "seed_q": 1000 * n + 1, "seed_k": 1000 * n + 2, "seed_v": 1000 * n + 3})
        if bias is not None and bias["kind"] == "t5":
            bias["seed_table"] = 1000 * n + 4
        c.update({"rotary": rotary, "logn": logn, "bias": bias, "softcap": softcap, "mask": mask or {"kind": "causal"}, "sinks": sinks})
        self.items.append(run(c))

    def sinks(self, H):
        return [round(self.rnd.uniform(-3.0, 3.0), 3) for _ in range(H)]


def build():
    a = Cases()
    rnd = a.rnd
    kinds = ["none", "causal", "window", "sink_window", "prefix", "documents"]

    # plain and rotary under every mask
    for kind in kinds:
        for size in ("small", "small", "decode", "tile"):
            if kind == "documents" and size == "decode":
                size = "small"
            s = shape(rnd, size)
            a.add("mask", s, mask=mask_of(rnd, kind, s["tk"]))
            s = shape(rnd, size)
            a.add("rotary", s, rotary(rnd, s["d"]), mask=mask_of(rnd, kind, s["tk"]))
    # the published head widths
    for d in (64, 80, 96, 128):
        for scheme in ("default", "yarn"):
            s = shape(rnd, "small", d=d, heads=rnd.choice([(2, 1), (4, 2), (1, 1)]))
            s["tq"] = min(s["tq"], 8)
            s["dv"] = rnd.choice([s["dv"], 8])
            a.add("rotary wide", s, rotary(rnd, d, scheme), mask=mask_of(rnd, rnd.choice(["causal", "window"]), s["tk"]))
    # every frequency rule, both layouts by chance
    for scheme in ("default", "linear", "ntk", "yarn", "llama3"):
        for size in ("small", "small", "decode", "tile"):
            s = shape(rnd, size, d=rnd.choice([8, 16, 16, 64]))
            a.add("rotary scaled", s, rotary(rnd, s["d"], scheme))
    # distance rewrites
    for n in range(56):
        s = shape(rnd, ("small", "small", "decode", "tile")[n % 4], d=rnd.choice([2, 4, 8, 16]))
        rw = rewrite_of(rnd, s["tk"])
        mask = {"kind": "causal"} if n % 3 else mask_of(rnd, rnd.choice(["sink_window", "causal"]), s["tk"])
        a.add("rerope" if rw["kind"] == "rerope" else "leaky rerope", s, rotary(rnd, s["d"], rnd.choice(["default", "default", "linear", "yarn"]), rw), mask=mask,
              logn=rnd.choice([None, None, 8, 16]), sinks=a.sinks(s["heads"]) if n % 9 == 8 else None)
    # every bias under several masks
    for kind in ("alibi", "t5", "kerple_log", "kerple_power", "sandwich"):
        for n in range(11):
            s = shape(rnd, ("small", "small", "decode", "tile", "small")[n % 5], heads=rnd.choice(HEADS) if n % 2 else None, d=rnd.choice([2, 4, 8, 16]))
            mask = mask_of(rnd, ("causal", "none", "causal", "window", "prefix", "sink_window", "documents")[n % 7], s["tk"])
            use_rotary = rotary(rnd, s["d"]) if n % 4 == 3 else None
            a.add(kind.replace("_", " "), s, use_rotary, bias_of(rnd, kind, s["heads"], forward_only(mask)), mask)
    # log-n, sinks, odd scales, and their mixtures
    for n in range(14):
        s = shape(rnd, ("small", "decode", "tile", "small")[n % 4])
        a.add("logn", s, rotary(rnd, s["d"]) if n % 2 else None, mask=mask_of(rnd, ("causal", "window", "none")[n % 3], s["tk"]), logn=rnd.choice([2, 4, 10, 16, 512]))
    for n in range(14):
        s = shape(rnd, ("small", "decode", "tile", "small")[n % 4])
        mask = mask_of(rnd, ("causal", "window", "sink_window", "documents", "none")[n % 5], s["tk"])
        a.add("sink logits", s, rotary(rnd, s["d"]) if n % 2 else None, mask=mask, sinks=a.sinks(s["heads"]))
    for n in range(40):
        s = shape(rnd, ("small", "small", "small", "decode", "tile")[n % 5])
        mask = mask_of(rnd, rnd.choice(kinds), s["tk"])
        kind = rnd.choice([None, None, "alibi", "t5", "kerple_log", "kerple_power", "sandwich"])
        a.add("mixture", s, rotary(rnd, s["d"]) if rnd.random() < 0.6 else None, bias_of(rnd, kind, s["heads"], forward_only(mask)), mask,
              logn=rnd.choice([None, None, 4, 16]), sinks=a.sinks(s["heads"]) if rnd.random() < 0.3 else None,
              scale=rnd.choice([None, None, 1.0, 0.0625, 0.3]) if kind != "t5" else None)
    # rows without a visible key: output 0, lse null
    empty = {"heads": 2, "kv_heads": 1, "d": 4, "dv": 4}
    a.add("empty rows", dict(empty, tq=6, tk=3), mask={"kind": "causal"})
    a.add("empty rows", dict(empty, tq=9, tk=4), mask={"kind": "window", "left": 1, "right": 1})
    a.add("empty rows", dict(empty, tq=70, tk=3, dv=2), mask={"kind": "causal"})
    a.add("empty rows", dict(empty, tq=7, tk=5), mask={"kind": "causal"}, sinks=[0.5, -1.0])
    a.add("empty rows", dict(empty, tq=5, tk=2), bias={"kind": "alibi", "bidirectional": False, "slopes": alibi_slopes(2)}, mask={"kind": "causal"})
    a.add("empty rows", dict(empty, tq=8, tk=5), rotary={"layout": "half_split", "dim": 4, "base": 10000.0, "scheme": "default", "rewrite": None}, mask={"kind": "none"})
    # large scores: the softmax must not overflow
    for gain in (1024.0, 65536.0):
        s = shape(rnd, "small", d=8, cache=False)
        a.add("large scores", s, rotary(rnd, 8, "default"), gain=gain)
    s = shape(rnd, "tile", d=4)
    a.add("large scores", s, bias={"kind": "alibi", "bidirectional": False, "slopes": [64.0] * s["heads"]})
    # soft caps (softmax by hand)
    for n in range(20):
        s = shape(rnd, ("small", "decode", "tile", "small")[n % 4])
        mask = mask_of(rnd, ("causal", "window", "none", "sink_window")[n % 4], s["tk"])
        kind = (None, "alibi", "t5", "kerple_log")[n % 4 if n < 16 else 0]
        cap = {"cap": rnd.choice([1.0, 2.0, 5.0, 30.0, 50.0]), "order": "bias_then_cap" if n % 2 == 0 or kind is None else "cap_then_bias"}
        if n % 3 == 0 and kind is not None:
            cap["order"] = "cap_then_bias"
        a.add("soft cap", s, rotary(rnd, s["d"]) if n % 5 < 2 else None, bias_of(rnd, kind, s["heads"], forward_only(mask)), mask, softcap=cap,
              sinks=a.sinks(s["heads"]) if n % 6 == 5 else None, logn=16 if n % 7 == 6 else None)
    return a.items


if __name__ == "__main__":
    cases = build()
    groups, engines = {}, {}
    for c in cases:
        groups[c["group"]] = groups.get(c["group"], 0) + 1
        engines[c["engine"]] = engines.get(c["engine"], 0) + 1
    assert len(cases) >= 220 and engines["torch_sdpa"] >= 200, (len(cases), engines)
    print(groups, engines)
    head = header("make_attention.py", "float64 attention with positional terms; inputs come from the generator described in README.md")
    head["groups"], head["engines"] = groups, engines
    write("attention.json", head, {"cases": cases})
