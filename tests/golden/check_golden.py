"""Checks the golden files against formulas written a second time in double precision (numpy only).

Reads nothing but the JSON files; prints the largest deviation per family; exits non-zero on a failed check.
"""

import json
import math
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
FAILED = []


def load(name):
    path = os.path.join(HERE, name)
    if not os.path.exists(path):
        print("missing: " + name)
        return None
    with open(path, encoding="ascii") as f:
        return json.load(f)


def expect(ok, *what):
    if not ok:
        FAILED.append(what)
        print("FAILED:", *what)


def close(a, b, tol, *what):
    expect(abs(a - b) <= tol * max(abs(a), abs(b)), a, b, *what)


# ---------------------------------------------------------------------------------------------------------------
# rotary parameters
# ---------------------------------------------------------------------------------------------------------------
def normalise(cfg):
    """config.json keys to one flat dict (type, theta, partial, lengths, the rest as given)."""
    p = dict(cfg.get("rope_parameters") or cfg.get("rope_scaling") or {})
    p["rope_type"] = p.get("rope_type") or p.get("type") or "default"
    p.setdefault("rope_theta", cfg.get("rope_theta", 1e4))
    p.setdefault("partial_rotary_factor", cfg.get("partial_rotary_factor", 1.0))
    top = cfg.get("original_max_position_embeddings")
    p["L"] = top or p.get("original_max_position_embeddings") or cfg["max_position_embeddings"]
    return p


def frequencies(cfg, T=None):
    p = normalise(cfg)
    h, b, kind, A = cfg["head_dim"], p["rope_theta"], p["rope_type"], 1.0
    d = int(h * p["partial_rotary_factor"])
    mpe = cfg["max_position_embeddings"]
    w = np.array([b ** (-2.0 * i / d) for i in range(d // 2)])
    if kind == "linear":
        w = w / p["factor"]
    elif kind == "proportional":
        n = int(p["partial_rotary_factor"] * h // 2)
        w = np.array([b ** (-2.0 * i / h) if i < n else 0.0 for i in range(h // 2)]) / p.get("factor", 1.0)
    elif kind == "dynamic":
        a = p["factor"]
        bb = b * (a * max(T or mpe, mpe) / mpe - (a - 1)) ** (d / (d - 2))
        w = np.array([bb ** (-2.0 * i / d) for i in range(d // 2)])
    elif kind == "llama3":
        lo, hi, s, L = p["low_freq_factor"], p["high_freq_factor"], p["factor"], p["L"]
        out = []
        for x in w:
            r = L * x / (2 * math.pi)
            g = 1.0 if r > hi else 0.0 if r < lo else (r - lo) / (hi - lo)
            out.append((1 - g) * x / s + g * x)
        w = np.array(out)
    elif kind == "longrope":
        s = p.get("factor") or mpe / p["L"]
        A = p.get("attention_factor")
        if A is None:
            A = 1.0 if s <= 1 else math.sqrt(1 + math.log(s) / math.log(p["L"]))
        w = w / np.array(p["long_factor"] if T and T > p["L"] else p["short_factor"])
    elif kind == "yarn":
        L, s = p["L"], p["factor"]
        s = mpe / L if s is None else s
        m = lambda mu: 1.0 if s <= 1 else 0.1 * mu * math.log(s) + 1
        A = p.get("attention_factor")
        if A is None:
            both = p.get("mscale") and p.get("mscale_all_dim")
            A = m(p["mscale"]) / m(p["mscale_all_dim"]) if both else m(1)
        c = lambda rot: d * math.log(L / (2 * math.pi * rot)) / (2 * math.log(b))
        lo, hi = c(p.get("beta_fast") or 32), c(p.get("beta_slow") or 1)
        if p.get("truncate", True):
            lo, hi = math.floor(lo), math.ceil(hi)
        lo, hi = max(lo, 0), min(hi, d - 1)
        if lo == hi:
            hi += 0.001
        g = 1 - np.clip((np.arange(d // 2) - lo) / (hi - lo), 0, 1)
        w = (1 - g) * w / s + g * w
    return w, A


def quoted_rotary_numbers(by_name):
    """Numbers quoted from the literature and hand derivations, not computed here."""
    def inv(name, i, n=0):
        return by_name[name][n]["inv_freq"][i]

    for name, i, value in [
        ("llama-2-7b", 1, 0.86596432336), ("llama-2-7b", 63, 1.15478198469e-4),
        ("yarn-llama-2-7b-128k", 21, 0.0468823302), ("yarn-llama-2-7b-128k", 30, 8.36656475e-3),
        ("yarn-llama-2-7b-128k", 33, 4.46512854e-3), ("yarn-llama-2-7b-128k", 45, 1.05499774e-4),
        ("gpt-oss", 9, 0.0317056962), ("gpt-oss", 16, 4.56483919e-4), ("gpt-oss", 31, 3.02351143e-7),
        ("gpt-oss, truncate true", 16, 5.809e-4), ("gpt-oss, truncate true", 17, 2.279e-4),
        ("deepseek-v3", 11, 0.0390069266), ("deepseek-v3", 22, 1.77827941e-4), ("deepseek-v3", 31, 3.33380358e-6),
        ("qwen2.5-7b x4", 24, 5.37532149e-3), ("qwen2.5-7b x4", 39, 6.49039432e-5), ("qwen2.5-7b x4", 63, 3.1023444e-7),
        ("qwen3.5 x4", 15, 4.74239823e-4), ("qwen3.5 x4", 31, 4.13704275e-8),
    ]:
        close(inv(name, i), value, 5e-4 if "truncate true" in name else 2e-6, name, i)
    for name, value in [
        ("yarn-llama-2-7b-128k", 1.34657359028), ("yarn-mistral-7b-128k", 1.27725887222), ("qwen2.5-7b x4", 1.13862943611),
        ("mscale alone is ignored", 1.36888794541), ("deepseek-v3", 1.0), ("deepseek-v2-lite", 1.0), ("phi-3 128k", 1.19023807142),
    ]:
        close(by_name[name][0]["attention_factor"], value, 1e-11, name)
    llama = by_name["llama-3.1-8b"][0]["inv_freq"]
    for i in range(64):
        lam = 5e5 ** (-i / 64) / llama[i]
        want = {29: 1.20748387, 30: 1.55341463, 31: 2.02631321, 32: 2.69452969, 33: 3.68425253, 34: 5.25732659}
        close(lam, want.get(i, 1.0 if i <= 28 else 8.0), 2e-6, "llama-3.1", i)
    at_2l = [c for c in by_name["goldens at T = 2L"] if c["seq_len"] == 4096][0]
    close(at_2l["inv_freq"][1], 30527.7367488 ** (-1 / 64), 2e-6, "dynamic at 2L")


def check_rope_parameters():
    data = load("rope_parameters.json")
    if data is None:
        return
    worst, by_name = {}, {}
    for c in data["cases"]:
        by_name.setdefault(c["name"], []).append(c)
        w, A = frequencies(c["config"], c["seq_len"])
        got = np.array(c["inv_freq"])
        expect(len(got) == len(w) == c["rotary_dim"] // 2, "length", c["id"])
        expect(np.array_equal(got == 0, w == 0), "zeros", c["id"])
        rel = np.max(np.abs(got - w) / np.where(w == 0, 1, w)) if len(w) else 0.0
        worst[c["type"]] = max(worst.get(c["type"], 0.0), float(rel))
        expect(rel < 2e-6 * (10 if c["type"] == "llama3" else 1), "inv_freq", c["id"], c["type"], c["name"], rel)
        close(c["attention_factor"], A, 1e-14, "attention factor", c["id"])
    quoted_rotary_numbers(by_name)
    print("rope_parameters: %d cases, relative deviation from double: %s" % (len(data["cases"]), {k: "%.1e" % v for k, v in worst.items()}))
    for s in data["sequences"]:
        cached = L = s["config"]["max_position_embeddings"]
        used, top = None, 0.0
        for call in s["calls"]:
            T = call["T"]
            if s["type"] == "longrope":
                used = T
            else:  # grow when longer than ever since the last reset; reset only strictly below L
                if T > cached:
                    cached = used = T
                elif T < L and cached > L:
                    cached, used = L, None
            w, A = frequencies(s["config"], used)
            top = max(top, float(np.max(np.abs(np.array(call["inv_freq"]) / w - 1))))
            close(call["attention_factor"], A, 1e-14, s["name"])
        expect(top < 5e-6, "sequence", s["name"], top)
        print("  sequence %-45s %.1e" % (s["name"], top))


def check_rope_rotated():
    data = load("rope_rotated.json")
    if data is None:
        return
    angle_err = rot_err = 0.0
    for c in data["cases"] + data["extra_cases"]:
        n, d, h = len(c["positions"]), c["rotary_dim"], c["head_dim"]
        cos, sin = (np.array(c[k]).reshape(n, d // 2) for k in ("cos", "sin"))
        # the reference rounds position * frequency to float32 before taking the cosine
        ang = (np.array(c["positions"], np.float32)[:, None] * np.array(c["inv_freq"], np.float32)[None, :]).astype(np.float64)
        A = c["attention_factor"]
        angle_err = max(angle_err, np.max(np.abs(cos - A * np.cos(ang))), np.max(np.abs(sin - A * np.sin(ang))))
        for x, y, heads in (("q", "q_rotated", c["heads_q"]), ("k", "k_rotated", c["heads_k"])):
            x, y = (np.array(c[t]).reshape(n, heads, h) for t in (x, y))
            z = (cos + 1j * sin)[:, None, :]
            want = x.copy()
            if c["layout"] == "half_split":
                r = (x[..., : d // 2] + 1j * x[..., d // 2 : d]) * z
                want[..., : d // 2], want[..., d // 2 : d] = r.real, r.imag
            else:
                r = (x[..., 0:d:2] + 1j * x[..., 1:d:2]) * z
                if c["layout"] == "interleaved":
                    want[..., 0:d:2], want[..., 1:d:2] = r.real, r.imag
                else:
                    want[..., : d // 2], want[..., d // 2 : d] = r.real, r.imag
            expect(np.array_equal(want[..., d:], y[..., d:]), "pass-through", c["id"])
            rot_err = max(rot_err, float(np.max(np.abs(want - y))))
        if c["scheme"] != "default":
            T = max(c["positions"]) + 1
            w, A2 = frequencies(dict(c["config"], head_dim=h), T)
            expect(np.max(np.abs(np.array(c["inv_freq"]) / w - 1)) < 2e-5, "inv_freq", c["id"], c["name"])
            close(A, A2, 1e-12, "amplitude", c["id"])
    expect(angle_err < 3e-7, "cos/sin", angle_err)
    expect(rot_err < 1e-6, "rotation", rot_err)
    print("rope_rotated: %d cases, cos/sin %.1e, rotation %.1e" % (len(data["cases"] + data["extra_cases"]), angle_err, rot_err))


# ---------------------------------------------------------------------------------------------------------------
# biases
# ---------------------------------------------------------------------------------------------------------------
def t5_bucket(r, num, dist, both):
    """Exact integer form of the bucket rule: no logarithm."""
    nb = num // 2 if both else num
    n = abs(r) if both else max(0, -r)
    base = nb if both and r > 0 else 0
    me = nb // 2
    if n < me:
        return base + n
    K = nb - me
    t = 0
    # largest t <= K - 1 with n^K * me^t >= me^K * dist^t
    while t + 1 < K and n ** K * me ** (t + 1) >= me ** K * dist ** (t + 1):
        t += 1
    return base + me + t


def alibi_slopes(H, top=8.0):
    c = 1 << (H.bit_length() - 1)
    first = [2.0 ** (-top * k / c) for k in range(1, c + 1)]
    return first + [2.0 ** (-top * (2 * t - 1) / (2 * c)) for t in range(1, H - c + 1)]


def check_bias():
    data = load("t5_bias.json")
    if data is not None:
        rel = list(range(data["relative_position_first"], data["relative_position_last"] + 1))
        bad = 0
        for c in data["buckets"]:
            key = (c["num_buckets"], c["max_distance"], c["bidirectional"])
            for r, b in zip(rel + data["far_relative_positions"], c["buckets"] + c["far_buckets"]):
                if t5_bucket(min(max(r, -5000), 5000), *key) != b:
                    bad += 1
                    print("  t5 bucket: relative position %d, %s: reference %d, exact integers %d" % (r, key, b, t5_bucket(r, *key)))
            if key[:2] == (32, 128):
                side = [c["buckets"][700 - n] for n in range(701)]
                starts = [n for n in range(1, 701) if side[n] != side[n - 1]]
                want = list(range(1, 8)) + [8, 12, 16, 23, 32, 46, 64, 91]
                if not key[2]:
                    want = list(range(1, 16)) + [16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]
                expect(starts == want, "t5 breakpoints", key, starts)
        expect(bad == 0, "t5 buckets", bad)
        for c in data["biases"]:
            table = np.array(c["table"]).reshape(c["num_buckets"], 4)
            for i in range(c["q_len"]):
                for j in range(c["k_len"]):
                    b = t5_bucket(j - i - c["past"], c["num_buckets"], c["max_distance"], c["bidirectional"])
                    got = [c["bias"][(h * c["q_len"] + i) * c["k_len"] + j] for h in range(4)]
                    expect(np.array_equal(got, table[b]), "t5 bias", c["q_len"], c["k_len"], i, j)
        print("t5_bias: %d bucket tables, %d biases" % (len(data["buckets"]), len(data["biases"])))
    data = load("alibi.json")
    if data is not None:
        worst = {"bloom": 0.0, "mpt_8": 0.0, "mpt_4": 0.0}
        for c in data["slopes"]:
            for key, top in (("bloom", 8.0), ("mpt_8", 8.0), ("mpt_4", 4.0)):
                want = np.array(alibi_slopes(c["heads"], top))
                expect(len(c[key]) == c["heads"], "alibi heads", c["heads"])
                worst[key] = max(worst[key], float(np.max(np.abs(np.array(c[key]) / want - 1))))
        twelve = [2.0 ** -e for e in (1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5)]
        expect(np.max(np.abs(np.array(data["slopes"][11]["bloom"]) / twelve - 1)) < 1e-6, "12 heads")
        expect(max(worst.values()) < 1e-5, "alibi slopes", worst)
        for c in data["tensors"]:
            top = c.get("bias_max", 8)
            m = np.array(alibi_slopes(c["heads"], top))
            if c["reference"] == "mpt":
                want = m[:, None, None] * np.arange(1 - c["length"], 1)[None, None, :]
            else:
                mask = np.array(c["attention_mask"])
                want = (m[None, :, None] * ((mask.cumsum(-1) - 1) * mask)[:, None, :]).reshape(-1, 1, mask.shape[1])
            expect(list(want.shape) == c["shape"], "alibi shape", c)
            expect(np.max(np.abs(np.array(c["bias"]).reshape(c["shape"]) - want)) < 1e-5, "alibi tensor", c["reference"], c["heads"])
        print("alibi: 128 head counts, relative deviation from double %s" % {k: "%.1e" % v for k, v in worst.items()})


# ---------------------------------------------------------------------------------------------------------------
# attention
# ---------------------------------------------------------------------------------------------------------------
def splitmix(seed, count, gain=1.0):
    """Vectorised over the counter: the state after n steps is seed + n * increment."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return gain * ((z >> np.uint64(40)).astype(np.float64) / 2.0 ** 23 - 1.0)


def rotary_spec(rot):
    d, s = rot["dim"], rot.get("factor")
    if rot["scheme"] == "ntk":
        return np.array([rot["base"] ** (-2.0 * i / d) * s ** (-2.0 * i / (d - 2)) for i in range(d // 2)]), 1.0
    keys = {k: v for k, v in rot.items() if k in ("factor", "beta_fast", "beta_slow", "truncate", "low_freq_factor", "high_freq_factor")}
    keys.update({"rope_type": rot["scheme"], "rope_theta": rot["base"]})
    L = rot.get("original_length", 4096)
    return frequencies({"head_dim": d, "max_position_embeddings": L, "rope_parameters": dict(keys, original_max_position_embeddings=L)})


def as_complex(x, rot):
    d = rot["dim"]
    if rot["layout"] == "interleaved":
        return x[..., 0:d:2] + 1j * x[..., 1:d:2]
    return x[..., : d // 2] + 1j * x[..., d // 2 : d]


def sees(mask, i, j):
    kind, D = mask["kind"], i - j
    if kind == "none":
        return True
    if kind == "causal":
        return j <= i
    if kind == "window":
        return (mask["left"] is None or D <= mask["left"]) and (mask["right"] is None or -D <= mask["right"])
    if kind == "sink_window":
        return j <= i and (j < mask["n_sink"] or D <= mask["left"])
    if kind == "prefix":
        return j < mask["prefix"] or j <= i
    return mask["ids"][i] == mask["ids"][j] and (j <= i or not mask["causal"])


def bias_value(b, h, H, D, table):
    kind = b["kind"]
    if kind == "alibi":
        return -b["slopes"][h] * (abs(D) if b["bidirectional"] else D)
    if kind == "t5":
        return table[t5_bucket(-D, b["num_buckets"], b["max_distance"], b["bidirectional"])][h]
    if kind == "kerple_log":
        return -b["r1"][h] * math.log1p(b["r2"][h] * abs(D))
    if kind == "kerple_power":
        return -b["r1"][h] * float(abs(D)) ** b["r2"][h]
    n = b["dim"] // 2
    return (sum(math.cos(D * 10000.0 ** (-t / n)) for t in range(1, n + 1)) - n) * H / (8.0 * (h + 1))


def check_attention():
    data = load("attention.json")
    if data is None:
        return
    worst_out = worst_lse = 0.0
    empty = 0
    for c in data["cases"]:
        H, Hk, Tq, Tk, d, dv = (c[k] for k in ("heads", "kv_heads", "tq", "tk", "d", "dv"))
        q = splitmix(c["seed_q"], Tq * H * d, c["q_gain"]).reshape(Tq, H, d)
        k = splitmix(c["seed_k"], Tk * Hk * d).reshape(Tk, Hk, d)
        v = splitmix(c["seed_v"], Tk * Hk * dv).reshape(Tk, Hk, dv)
        out, lse = np.array(c["out"]).reshape(Tq, H, dv), np.array([-np.inf if x is None else x for x in c["lse"]]).reshape(Tq, H)
        keys_only = np.array([-np.inf if x is None else x for x in c.get("lse_keys", c["lse"])]).reshape(Tq, H)
        rot, bias, cap, table = c["rotary"], c["bias"], c["softcap"], None
        if rot is not None:
            w, A = rotary_spec(rot)
            expect(np.max(np.abs(np.array(rot["inv_freq"]) / w - 1)) < 1e-12 and abs(A - rot["amplitude"]) < 1e-12, "attention frequencies", c["id"])
            rw = rot["rewrite"]
        if bias is not None:
            if bias["kind"] == "t5":
                table = splitmix(bias["seed_table"], bias["num_buckets"] * H, bias["table_gain"]).reshape(-1, H)
            if bias["kind"] == "alibi" and c["group"] != "large scores":
                expect(bias["slopes"] == alibi_slopes(H), "slopes", c["id"])
            known = {}
        for r in range(Tq):
            i = r + Tk - Tq
            seen = [j for j in range(Tk) if sees(c["mask"], i, j)]
            empty += not seen
            for h in range(H):
                g = h // (H // Hk)
                x, K = q[r, h], k[seen, g]
                if rot is None:
                    s = K @ x
                else:
                    dist = np.array([float(i - j) for j in seen])
                    if rw is not None:
                        step = 0.0 if rw["kind"] == "rerope" else 1.0 / rw["k"]
                        dist = np.minimum(dist, rw["window"]) + np.maximum(dist - rw["window"], 0.0) * step
                    z = np.conj(as_complex(x, rot))[None, :] * as_complex(K, rot) * np.exp(-1j * dist[:, None] * w[None, :])
                    s = A * A * z.real.sum(-1) + K[:, rot["dim"] :] @ x[rot["dim"] :]
                s = s * c["scale"]
                if c["logn"] is not None:
                    s = s * max(1.0, math.log(i + 1) / math.log(c["logn"]))
                b = np.zeros(len(seen))
                if bias is not None:
                    for n, j in enumerate(seen):
                        if (h, i - j) not in known:
                            known[h, i - j] = bias_value(bias, h, H, i - j, table)
                        b[n] = known[h, i - j]
                if cap is None:
                    s = s + b
                elif cap["order"] == "bias_then_cap":
                    s = cap["cap"] * np.tanh((s + b) / cap["cap"])
                else:
                    s = cap["cap"] * np.tanh(s / cap["cap"]) + b
                sink = c["sinks"][h] if c["sinks"] is not None else -np.inf
                top = max([sink] + s.tolist())
                if top == -np.inf:
                    expect(np.all(out[r, h] == 0) and lse[r, h] == -np.inf, "empty row", c["id"], r)
                    continue
                e = np.exp(s - top)
                total = e.sum() + math.exp(sink - top)
                unit = max(1.0, c["q_gain"] / 64)  # the large-score cases lose absolute digits in the score
                worst_out = max(worst_out, float(np.max(np.abs(e @ v[seen, g] / total - out[r, h]))) / unit)
                worst_lse = max(worst_lse, abs(top + math.log(total) - lse[r, h]) / max(1.0, abs(lse[r, h])) / unit)
                if seen:
                    worst_lse = max(worst_lse, abs(top + math.log(e.sum()) - keys_only[r, h]) / max(1.0, abs(keys_only[r, h])) / unit) if e.sum() > 0 else worst_lse
                else:
                    expect(keys_only[r, h] == -np.inf, "empty row with a sink", c["id"], r)
    expect(worst_out < 2e-10, "attention outputs", worst_out)
    expect(worst_lse < 2e-10, "attention lse", worst_lse)
    print("attention: %d cases, output %.1e, lse %.1e, %d empty rows" % (len(data["cases"]), worst_out, worst_lse, empty))


if __name__ == "__main__":
    check_rope_parameters()
    check_rope_rotated()
    check_bias()
    check_attention()
    print("FAILED: %d" % len(FAILED) if FAILED else "all checks passed")
    sys.exit(1 if FAILED else 0)
