"""Writes rope_parameters.json and rope_rotated.json from the reference implementation (see README.md)."""

import copy
import math

import numpy as np
import torch
from transformers import CohereConfig, GlmConfig, GPTNeoXConfig, LlamaConfig, Phi3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.cohere import modeling_cohere as cohere
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek
from transformers.models.glm import modeling_glm as glm
from transformers.models.gpt_neox import modeling_gpt_neox as gpt_neox
from transformers.models.gptj import modeling_gptj as gptj
from transformers.models.llama import modeling_llama as llama
from transformers.models.phi3 import modeling_phi3 as phi3

from golden_common import f32_list, header, write

# The 48 long factors of a published 128K model (96-wide heads), as stored: decimals of float32 values.
PHI3_LONG = [
    1.03, 1.05, 1.05, 1.08, 1.23, 1.23, 1.30, 1.45, 1.60, 1.65, 1.90, 2.86, 3.69, 5.42, 5.49, 5.49, 9.09, 11.58,
    15.66, 15.77, 15.79, 18.36, 21.99, 23.08, 30.01, 32.35, 32.59, 35.56, 39.95, 53.84, 56.20, 57.95, 59.29, 59.77,
    59.92, 61.19, 61.96, 62.50, 63.37, 63.48, 63.48, 63.66, 63.85, 64.08, 64.76, 64.80, 64.81, 64.81,
]


# ---------------------------------------------------------------------------------------------------------------
# rope_parameters.json
# ---------------------------------------------------------------------------------------------------------------
def config(h, theta, mpe, rope=None, partial=None, legacy=False, **extra):
    """A config.json-like dict. legacy: rope_scaling + top-level rope_theta instead of rope_parameters."""
    rope = dict(rope or {})
    c = {"head_dim": h, "hidden_size": 2 * h, "num_attention_heads": 2, "num_key_value_heads": 2}
    c["max_position_embeddings"] = mpe
    if legacy:
        c["rope_theta"] = float(theta)
        if partial is not None:
            c["partial_rotary_factor"] = partial
        if rope:
            rope["type"] = rope.pop("rope_type")
            c["rope_scaling"] = rope
    else:
        rope.setdefault("rope_type", "default")
        rope["rope_theta"] = float(theta)
        if partial is not None:
            rope["partial_rotary_factor"] = partial
        c["rope_parameters"] = rope
    c.update(extra)
    return c


def evaluate(name, kind, cfg, seq_len=None):
    built = LlamaConfig(**copy.deepcopy(cfg))
    if kind == "default":
        # The class that honours partial_rotary_factor; equal to the Llama one when the factor is 1 (asserted).
        inv, att = gpt_neox.GPTNeoXRotaryEmbedding.compute_default_rope_parameters(built)
        if not built.rope_parameters.get("partial_rotary_factor", 1.0) != 1.0:
            assert torch.equal(inv, llama.LlamaRotaryEmbedding.compute_default_rope_parameters(built)[0])
    else:
        inv, att = ROPE_INIT_FUNCTIONS[kind](built, None, seq_len=seq_len)
    assert inv.dtype == torch.float32
    p = built.rope_parameters
    assert p["rope_type"] == kind
    h = cfg["head_dim"]
    rotary = h if kind == "proportional" else int(h * p.get("partial_rotary_factor", 1.0))
    assert rotary % 2 == 0 and inv.numel() == rotary // 2, (name, rotary, inv.numel())
    return {
        "name": name,
        "type": kind,
        "config": {k: v for k, v in cfg.items() if k not in ("hidden_size", "num_attention_heads", "num_key_value_heads")},
        "seq_len": seq_len,
        "rotary_dim": rotary,
        "rope_theta": p["rope_theta"],
        "inv_freq": f32_list(inv),
        "attention_factor": float(att),
    }


def default_cases():
    out = []
    for h in (64, 80, 96, 128, 256):
        for theta in (1e4, 1.5e5, 5e5, 1e6, 1e7):
            out.append(evaluate("h%d" % h, "default", config(h, theta, 4096, legacy=(theta == 5e5))))
    for h, theta, part, name in [
        (96, 1e4, 0.25, "gpt-neox-20b"), (256, 1e4, 0.25, "gpt-j sized"), (80, 1e4, 0.4, "phi-2"),
        (128, 1e4, 0.5, "glm-4"), (64, 1e4, 0.25, "stablelm"), (80, 1e4, 0.25, "pythia"), (256, 1e7, 0.25, "qwen3.5"),
        (128, 5e5, 0.75, ""), (96, 1e4, 0.75, "phi-4-mini base"), (128, 1e6, 0.55, "70.4 truncates to 70"),
        (100, 1e4, 0.29, "28.999... truncates to 28"), (80, 1e6, 0.8, ""), (256, 1e6, 0.5, ""), (64, 5e6, 0.5, ""),
        (128, 1.5e5, 0.125, ""), (64, 1e4, 0.03125, "one pair"),
    ]:
        out.append(evaluate(name, "default", config(h, theta, 2048, partial=part)))
    for h, theta, mpe, name in [
        (128, 1e4, 4096, "llama-2-7b"), (128, 1e6, 16384, "codellama-7b"), (128, 1e4, 32768, "mistral-7b-v0.1"),
        (128, 1e6, 32768, "qwen2.5-7b"), (128, 1e7, 1010000, "qwen2.5-7b-1m"), (128, 5e6, 262144, "qwen3-vl"),
        (256, 1e4, 8192, "gemma-2"), (256, 1e6, 32768, "gemma-3-1b global"), (128, 5e4, 8192, "command-r7b"),
        (128, 5e6, 262144, "intern-s1-pro base"), (64, 1e4, 4096, "deepseek rotary slice"), (2, 1e4, 64, "one pair"),
        (128, 8e6, 8192, ""), (128, 100.0, 8192, "small base"), (64, 2.0, 8192, "tiny base"),
    ]:
        out.append(evaluate(name, "default", config(h, theta, mpe, legacy=True)))
    return out


def linear_cases():
    out = []
    for h in (64, 80, 96, 128, 256):
        for theta, factor in ((1e4, 2.0), (1.5e5, 1.0), (5e5, 4.0), (1e6, 8.0), (1e7, 3.7)):
            out.append(evaluate("", "linear", config(h, theta, 4096, {"rope_type": "linear", "factor": factor}, legacy=(factor == 4.0))))
    for h, theta, factor, part, name in [
        (128, 1e4, 4.0, 0.5, ""), (96, 1e4, 8.0, 0.25, ""), (80, 1e4, 2.0, 0.4, ""), (256, 1e6, 8.0, None, "gemma-3-12b global"),
        (128, 1e6, 8.0, None, "gemma-3-27b global"), (128, 1e4, 8.0, None, "superhot"), (128, 1e5, 4.0, None, "deepseek-coder"),
        (128, 1e4, 1.5, None, ""), (64, 1e4, 16, None, "integer factor"), (64, 5e5, 32.0, None, ""), (128, 1e4, 128.0, None, ""),
        (128, 1e4, 0.5, None, "factor below 1"), (256, 1e4, 10.0, 0.25, ""), (64, 1e6, 2.5, 0.75, ""), (80, 1e6, 6.0, 0.25, ""),
        (128, 1e4, math.pi, None, ""), (2, 1e4, 4.0, None, "one pair"),
    ]:
        out.append(evaluate(name, "linear", config(h, theta, 8192, {"rope_type": "linear", "factor": factor}, part)))
    return out


def dynamic_cases():
    out = []
    base = [
        (128, 1e4, 2048, 2.0, None, "goldens at T = 2L"), (128, 1e4, 4096, 8.0, None, ""), (64, 1e4, 2048, 4.0, None, ""),
        (80, 1e4, 2048, 2.0, None, ""), (96, 1.5e5, 8192, 4.0, None, ""), (256, 5e5, 8192, 2.0, None, ""),
        (128, 1e6, 32768, 4.0, None, ""), (128, 1e7, 262144, 2.0, None, ""), (128, 1e4, 8192, 1.0, None, "factor 1: plain NTK"),
        (96, 1e4, 2048, 2.0, 0.25, ""), (80, 1e4, 2048, 3.0, 0.4, ""), (128, 5e5, 8192, 8.0, 0.5, ""),
        (128, 1e4, 4096, 2.5, None, ""), (64, 1.5e5, 4096, 32.0, None, ""), (256, 1e4, 8192, 16.0, 0.25, ""),
        (4, 1e4, 64, 2.0, None, "two pairs"),
    ]
    for n, (h, theta, mpe, factor, part, name) in enumerate(base):
        cfg = config(h, theta, mpe, {"rope_type": "dynamic", "factor": factor}, part, legacy=(n % 4 == 1))
        for T in (None, max(1, mpe // 3), mpe, mpe + 1, 2 * mpe, int(factor * mpe) + 7):
            out.append(evaluate(name, "dynamic", cfg, T))
    return out


def yarn_cases():
    out = []

    def add(name, h, theta, mpe, factor, orig, part=None, legacy=False, top=None, **keys):
        rope = {"rope_type": "yarn", "factor": factor}
        if orig is not None:
            rope["original_max_position_embeddings"] = orig
        rope.update(keys)
        extra = {} if top is None else {"original_max_position_embeddings": top}
        out.append(evaluate(name, "yarn", config(h, theta, mpe, rope, part, legacy, **extra)))

    add("yarn-llama-2-7b-128k", 128, 1e4, 131072, 32.0, 4096)
    add("yarn-mistral-7b-128k", 128, 1e4, 131072, 16.0, 8192, legacy=True)
    add("qwen2.5-7b x4", 128, 1e6, 32768, 4.0, 32768)
    add("qwen2.5-7b x4 legacy", 128, 1e6, 131072, 4.0, 32768, legacy=True)
    add("qwen3.5 x4", 256, 1e7, 262144, 4.0, 262144, part=0.25)
    add("deepseek-v2-lite", 64, 1e4, 163840, 40, 4096, beta_fast=32, beta_slow=1, mscale=0.707, mscale_all_dim=0.707)
    add("deepseek-v3", 64, 1e4, 163840, 40, 4096, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=1.0)
    add("kimi-k2", 64, 5e4, 131072, 32.0, 4096, beta_fast=1.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0)
    add("kimi-k2 factor 64", 64, 5e4, 262144, 64.0, 4096, beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0)
    add("gpt-oss", 64, 1.5e5, 131072, 32.0, 4096, beta_fast=32.0, beta_slow=1.0, truncate=False)
    add("gpt-oss, truncate true", 64, 1.5e5, 131072, 32.0, 4096, beta_fast=32.0, beta_slow=1.0, truncate=True)
    add("ministral-3", 128, 1e6, 262144, 16.0, 16384, beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0)
    add("mistral4 test config", 64, 1e4, 1048576, 128.0, 8192, beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0)
    for h in (64, 80, 96, 128, 256):
        for theta, factor, orig in ((1e4, 2.0, 2048), (1.5e5, 8.0, 4096), (5e5, 16.0, 8192), (1e6, 4.0, 32768), (1e7, 3.5, 65536)):
            add("", h, theta, int(factor * orig), factor, orig)
    for h, part in ((80, 0.4), (96, 0.25), (96, 0.75), (128, 0.5), (256, 0.25), (64, 0.5)):
        add("partial", h, 1e4, 32768, 8.0, 4096, part=part)
        add("partial", h, 1e6, 65536, 2.0, 32768, part=part, truncate=False)
    for bf, bs in ((16.0, 1.0), (32.0, 2.0), (64.0, 4.0), (8.0, 0.5), (1.0, 1.0), (2.0, 1.0), (256.0, 1.0), (32.0, 0.01)):
        add("betas", 128, 1e4, 32768, 8.0, 4096, beta_fast=bf, beta_slow=bs)
        add("betas, exact band", 64, 5e5, 131072, 16.0, 8192, beta_fast=bf, beta_slow=bs, truncate=False)
    add("betas null: defaults", 128, 1e4, 32768, 8.0, 4096, beta_fast=None, beta_slow=None)
    add("betas zero: defaults", 128, 1e4, 32768, 8.0, 4096, beta_fast=0, beta_slow=0)
    add("factor null: ratio of lengths", 128, 1e4, 131072, None, 4096)
    add("factor null: ratio 2.5", 64, 5e5, 20480, None, 8192, mscale=1.0, mscale_all_dim=0.5)
    add("no original length: max_position_embeddings", 128, 1e4, 8192, 4.0, None)
    add("factor null, no original length: ratio 1", 128, 1e4, 8192, None, None)
    add("top-level original length wins", 128, 1e4, 65536, 16.0, 8192, top=4096)
    add("top-level original length only", 128, 1e4, 65536, 16.0, None, legacy=True, top=4096)
    add("attention_factor given", 128, 1e4, 131072, 32.0, 4096, attention_factor=1.0)
    add("attention_factor given", 128, 1e4, 131072, 32.0, 4096, attention_factor=0.8782488562869419, mscale=1.0, mscale_all_dim=0.5)
    add("attention_factor zero is honoured", 64, 1e4, 16384, 4.0, 4096, attention_factor=0.0)
    add("mscale alone is ignored", 64, 1e4, 163840, 40.0, 4096, mscale=0.707)
    add("mscale_all_dim alone is ignored", 64, 1e4, 163840, 40.0, 4096, mscale_all_dim=0.707)
    add("mscale zero is ignored", 64, 1e4, 163840, 40.0, 4096, mscale=0.0, mscale_all_dim=1.0)
    add("mscale pair", 64, 1e4, 163840, 40.0, 4096, mscale=1.0, mscale_all_dim=0.707)
    add("mscale pair", 64, 1e4, 163840, 40.0, 4096, mscale=0.5, mscale_all_dim=2.0)
    add("factor 1", 128, 1e4, 4096, 1.0, 4096)
    add("factor below 1", 128, 1e4, 4096, 0.5, 4096)
    add("low end clamped to 0", 128, 1e4, 1024, 8.0, 128)
    add("low end clamped to 0, exact", 128, 1e4, 1024, 8.0, 128, truncate=False)
    add("high end beyond the last pair", 64, 1e4, 1048576, 4.0, 262144)
    add("high end beyond the last pair, exact", 64, 100.0, 1048576, 4.0, 262144, truncate=False)
    add("both ends beyond the clamp", 16, 3.0, 1048576, 4.0, 1048576)
    add("original length below 2 pi", 16, 1e4, 16, 4.0, 4)
    return out


def longrope_cases():
    out = []

    def add(name, h, theta, mpe, orig, short, long, lens, part=None, legacy=False, top=None, **keys):
        rope = {"rope_type": "longrope", "short_factor": short, "long_factor": long}
        if orig is not None:
            rope["original_max_position_embeddings"] = orig
        rope.update(keys)
        extra = {} if top is None else {"original_max_position_embeddings": top}
        cfg = config(h, theta, mpe, rope, part, legacy, **extra)
        for T in lens:
            out.append(evaluate(name, "longrope", cfg, T))

    def ramp(n, top, power=1.0):
        return [round(1.0 + (top - 1.0) * (i / max(1, n - 1)) ** power, 4) for i in range(n)]

    ones48 = [1.0] * 48
    phi3_short = [round(1.05 + 2.0 * max(0, i - 4) / 43, 2) for i in range(48)]
    phi4_long = [round(32.03 ** (i / 31), 6) for i in range(31)] + [round(32.03 + 15.74 * i / 16, 2) for i in range(17)]
    L = 4096
    add("phi-3 128k", 96, 1e4, 131072, L, phi3_short, PHI3_LONG, (None, 1, 4095, 4096, 4097, 131072))
    add("phi-3 128k, top-level original", 96, 1e4, 131072, None, phi3_short, PHI3_LONG, (4096, 4097), legacy=True, top=L)
    add("phi-4-mini shaped", 128, 1e4, 131072, L, ones48, phi4_long, (None, 4096, 4097), part=0.75)
    for n, (h, part) in enumerate(((64, None), (80, None), (96, None), (128, None), (256, None), (80, 0.4), (96, 0.25), (128, 0.5), (256, 0.25))):
        d = int(h * (part or 1.0)) // 2
        for m, (theta, orig, s) in enumerate(((1e4, 4096, 32.0), (1.5e5, 8192, 8.0), (5e5, 8192, 16.0), (1e6, 32768, 4.0), (1e7, 65536, 2.0))):
            if (n + m) % 2 and n > 4:
                continue
            lens = ((None, orig + 1), (orig, 2 * orig), (orig - 1, orig + 1))[(n + m) % 3]
            keys = ({}, {"factor": s}, {"attention_factor": round(1.0 + 0.03 * m, 3)})[(n + 2 * m) % 3]
            add("", h, theta, int(s * orig), orig, ramp(d, 1.5), ramp(d, s, 1.7), lens, part=part, **keys)
    d = 32
    add("factor overrides the ratio", 64, 1e4, 131072, L, ramp(d, 2.0), ramp(d, 30.0), (None, 8192), factor=8.0)
    add("ratio 1: amplitude 1", 64, 1e4, L, L, ramp(d, 2.0), ramp(d, 3.0), (None, 8192))
    add("ratio below 1: amplitude 1", 64, 1e4, 2048, L, ramp(d, 2.0), ramp(d, 3.0), (2048, 8192))
    add("factors 1", 64, 1e4, 131072, L, [1.0] * d, [1.0] * d, (4096, 4097))
    add("factors s: interpolation", 64, 1e4, 131072, L, [1.0] * d, [32.0] * d, (4096, 4097))
    add("factors below 1", 64, 1e4, 8192, L, [0.9] * d, [0.5] * d, (4096, 4097))
    add("attention_factor 1", 64, 1e4, 131072, L, ramp(d, 2.0), ramp(d, 30.0), (4096, 4097), attention_factor=1.0)
    return out


def llama3_cases():
    out = []

    def add(name, h, theta, mpe, factor, lo, hi, orig, part=None, legacy=False, top=None):
        rope = {"rope_type": "llama3", "factor": factor, "low_freq_factor": lo, "high_freq_factor": hi}
        if orig is not None:
            rope["original_max_position_embeddings"] = orig
        extra = {} if top is None else {"original_max_position_embeddings": top}
        out.append(evaluate(name, "llama3", config(h, theta, mpe, rope, part, legacy, **extra)))

    add("llama-3.1-8b", 128, 5e5, 131072, 8.0, 1.0, 4.0, 8192)
    add("llama-3.1-8b legacy keys", 128, 5e5, 131072, 8.0, 1.0, 4.0, 8192, legacy=True)
    add("llama-3.2-1b", 64, 5e5, 131072, 32.0, 1.0, 4.0, 8192)
    add("llama-3.2-3b", 128, 5e5, 131072, 32.0, 1.0, 4.0, 8192)
    add("llama-4-scout: equal bounds, a step", 128, 5e5, 10485760, 16.0, 1.0, 1.0, 8192)
    for h in (64, 80, 96, 128, 256):
        for theta, factor, lo, hi, orig in (
            (1e4, 4.0, 1.0, 4.0, 4096), (1.5e5, 2.0, 1.0, 8.0, 8192), (5e5, 16.0, 1.0, 4.0, 8192),
            (1e6, 8.0, 2.0, 32.0, 32768), (1e7, 3.0, 0.5, 2.0, 16384),
        ):
            add("", h, theta, int(factor * orig), factor, lo, hi, orig)
    for h, part in ((80, 0.4), (96, 0.25), (128, 0.5), (256, 0.25), (128, 0.75)):
        add("partial", h, 5e5, 131072, 8.0, 1.0, 4.0, 8192, part=part)
    add("factor 1", 128, 5e5, 131072, 1.0, 1.0, 4.0, 8192)
    add("all pairs fast", 64, 10.0, 131072, 8.0, 1.0, 4.0, 8192)
    add("all pairs slow", 64, 1e4, 64, 8.0, 1.0, 4.0, 4)
    add("wide band", 128, 5e5, 131072, 8.0, 1.0, 512.0, 8192)
    add("narrow band", 128, 5e5, 131072, 8.0, 1.0, 1.01, 8192)
    add("equal bounds at 2", 128, 1e4, 131072, 8.0, 2.0, 2.0, 8192)
    add("no original length: max_position_embeddings", 128, 5e5, 8192, 8.0, 1.0, 4.0, None)
    add("top-level original length wins", 128, 5e5, 131072, 8.0, 1.0, 4.0, 8192, top=4096)
    add("integer keys", 128, 500000, 131072, 8, 1, 4, 8192)
    add("large factor", 128, 5e5, 4194304, 512.0, 1.0, 4.0, 8192)
    return out


def proportional_cases():
    out = []

    def add(name, h, theta, part=None, factor=None):
        rope = {"rope_type": "proportional"}
        if factor is not None:
            rope["factor"] = factor
        out.append(evaluate(name, "proportional", config(h, theta, 131072, rope, part)))

    add("gemma-4 full layers", 512, 1e6, 0.25)
    add("gemma-4 full layers, 256 wide", 256, 1e6, 0.25)
    for h in (64, 80, 96, 128, 256):
        for theta, part in ((1e4, 0.25), (1.5e5, 0.5), (5e5, 0.75), (1e6, 1.0), (1e7, 0.4)):
            add("", h, theta, part)
        add("with factor", h, 1e6, 0.25, 8.0)
    add("no key: everything rotates", 128, 1e6)
    add("no key, factor", 128, 1e6, None, 4.0)
    add("nothing rotates", 64, 1e6, 0.0)
    add("nothing rotates: below one pair", 64, 1e6, 0.02)
    add("one pair", 64, 1e6, 0.03125)
    add("truncation 0.29 * 100 / 2", 100, 1e4, 0.29)
    add("truncation 0.3", 64, 1e4, 0.3)
    add("truncation 0.55", 128, 1e4, 0.55)
    add("truncation 0.99", 128, 1e4, 0.99)
    add("with factor", 80, 1e4, 0.4, 2.5)
    add("with factor", 128, 5e5, 0.5, 1.0)
    return out


def sequences():
    """The stateful part: one rotary module called with growing and shrinking lengths (last position = T - 1)."""
    out = []
    d64 = [round(1.0 + 15.0 * i / 31, 4) for i in range(32)]
    for name, cfg, lens in [
        ("dynamic grows, holds, resets below L", config(64, 1e4, 2048, {"rope_type": "dynamic", "factor": 2.0}),
         [1000, 2048, 2049, 4096, 3000, 2048, 5000, 2047, 2500, 100]),
        ("dynamic, large base", config(64, 1e6, 32768, {"rope_type": "dynamic", "factor": 4.0}), [40000, 131072, 65536, 32767, 32769]),
        ("longrope follows the length of each call", config(64, 1e4, 65536, {
            "rope_type": "longrope", "short_factor": [1.0] * 32, "long_factor": d64, "original_max_position_embeddings": 4096}),
         [10, 4096, 4097, 4096, 65536, 1]),
    ]:
        module = llama.LlamaRotaryEmbedding(LlamaConfig(**copy.deepcopy(cfg)))
        calls = []
        for T in lens:
            module(torch.zeros(1), torch.tensor([[0, T - 1]]))
            calls.append({"T": T, "inv_freq": f32_list(module.inv_freq), "attention_factor": float(module.attention_scaling)})
        out.append({"name": name, "type": cfg["rope_parameters"]["rope_type"],
                    "config": {k: v for k, v in cfg.items() if k not in ("hidden_size", "num_attention_heads", "num_key_value_heads")},
                    "calls": calls})
    return out


def make_parameters():
    makers = (default_cases, linear_cases, dynamic_cases, yarn_cases, longrope_cases, llama3_cases, proportional_cases)
    cases = [c for maker in makers for c in maker()]
    counts = {}
    for n, c in enumerate(cases):
        counts[c["type"]] = counts.get(c["type"], 0) + 1
        c.update({"id": n})
    assert all(v >= 40 for v in counts.values()), counts
    assert set(counts) == set(ROPE_INIT_FUNCTIONS) | {"default"}, (counts, list(ROPE_INIT_FUNCTIONS))
    print(counts)
    head = header("make_rope.py", "inverse frequencies and attention factors of the reference rope parameter functions")
    head["counts"] = counts
    write("rope_parameters.json", head, {"cases": [dict([("id", c["id"])] + [kv for kv in c.items() if kv[0] != "id"]) for c in cases],
                                         "sequences": sequences()})


# ---------------------------------------------------------------------------------------------------------------
# rope_rotated.json
# ---------------------------------------------------------------------------------------------------------------
def inputs(rng, heads, tokens, width):
    """Multiples of 1/32 in [-2, 2): short to print, exact in every float format."""
    return torch.tensor(rng.integers(-64, 64, size=(1, heads, tokens, width)) / 32.0, dtype=torch.float32)


def token_major(x):
    """[1][heads][tokens][width] to a flat list in the order [tokens][heads][width]."""
    return f32_list(x[0].transpose(0, 1).contiguous())


def rotated_case(rng, name, scheme, reference, layout, cfg, positions, heads, run, width, paired):
    """run(q, k, position_ids) -> q', k', cos, sin, inv_freq, attention_factor; paired: cos has repeated neighbours."""
    hq, hk = heads
    q, k = inputs(rng, hq, len(positions), width), inputs(rng, hk, len(positions), width)
    qr, kr, cos, sin, inv, att = run(q, k, torch.tensor([positions]))
    half = inv.numel()
    if paired is not None:
        cos, sin = (t[..., ::2] if paired else t[..., :half] for t in (cos, sin))
    assert cos.shape[-1] == half and qr.dtype == torch.float32 and cos.dtype == torch.float32
    return {
        "name": name, "scheme": scheme, "reference": reference, "layout": layout, "config": cfg,
        "head_dim": width, "rotary_dim": 2 * half, "heads_q": hq, "heads_k": hk, "positions": positions,
        "inv_freq": f32_list(inv), "attention_factor": float(att), "cos": f32_list(cos[0]), "sin": f32_list(sin[0]),
        "q": token_major(q), "k": token_major(k), "q_rotated": token_major(qr), "k_rotated": token_major(kr),
    }


def module_run(module, apply):
    def run(q, k, ids):
        cos, sin = module(q, ids)
        qr, kr = apply(q, k, cos, sin)
        return qr, kr, cos, sin, module.inv_freq, module.attention_scaling
    return run


def make_rotated():
    rng = np.random.default_rng(20240817)
    cases, extra = [], []
    near, mid, far = [0, 1, 7, 4095], [0, 1, 7, 4095, 32767], [0, 1, 7, 4095, 32767, 131071]

    def shown(cfg):
        return {k: v for k, v in cfg.items() if k not in ("hidden_size", "num_attention_heads", "num_key_value_heads", "pad_token_id")}

    def add_llama(name, cfg, positions, heads=(1, 1)):
        module = llama.LlamaRotaryEmbedding(LlamaConfig(**copy.deepcopy(cfg)))
        cases.append(rotated_case(rng, name, cfg["rope_parameters"]["rope_type"], "LlamaRotaryEmbedding", "half_split", shown(cfg), positions,
                                  heads, module_run(module, llama.apply_rotary_pos_emb), cfg["head_dim"], False))

    def add(name, scheme, module, apply, layout, cfg, positions, width, paired, heads=(1, 1), bucket=cases):
        bucket.append(rotated_case(rng, name, scheme, type(module).__name__, layout, shown(cfg), positions, heads,
                                   module_run(module, apply), width, paired))

    def rope(kind, **keys):
        return dict({"rope_type": kind}, **keys)

    add_llama("h64", config(64, 1e4, 4096), near, (2, 1))
    add_llama("h80", config(80, 1e4, 4096), near, (2, 2))
    add_llama("h96", config(96, 1.5e5, 4096), mid)
    add_llama("h128", config(128, 5e5, 8192), far)
    add_llama("h256", config(256, 1e6, 8192), [7, 131071])
    add_llama("h128 base 1e7", config(128, 1e7, 8192), [1, 32767, 131071])
    add_llama("linear 4", config(128, 1e4, 4096, rope("linear", factor=4.0)), mid)
    add_llama("linear 8", config(64, 1e6, 32768, rope("linear", factor=8.0)), far, (2, 1))
    add_llama("linear 3.7", config(80, 5e5, 4096, rope("linear", factor=3.7)), near)
    y = rope("yarn", factor=32.0, original_max_position_embeddings=4096)
    add_llama("yarn 32", config(128, 1e4, 131072, y), far)
    add_llama("gpt-oss", config(64, 1.5e5, 131072, dict(y, truncate=False, beta_fast=32.0, beta_slow=1.0)), far, (2, 1))
    add_llama("deepseek numbers", config(64, 1e4, 163840, rope("yarn", factor=40.0, original_max_position_embeddings=4096, mscale=1.0, mscale_all_dim=1.0)), far)
    add_llama("qwen x4", config(128, 1e6, 131072, rope("yarn", factor=4.0, original_max_position_embeddings=32768)), far)
    add_llama("yarn h256", config(256, 1e4, 32768, rope("yarn", factor=8.0, original_max_position_embeddings=4096)), [1, 4095])
    l3 = rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
    add_llama("llama-3.1", config(128, 5e5, 131072, l3), far)
    add_llama("llama-3.2-1b", config(64, 5e5, 131072, dict(l3, factor=32.0)), far, (2, 1))
    add_llama("llama-4 step", config(96, 5e5, 131072, dict(l3, factor=16.0, high_freq_factor=1.0)), mid)
    short = [round(1.0 + i / 64, 4) for i in range(48)]
    lr = rope("longrope", short_factor=short, long_factor=PHI3_LONG, original_max_position_embeddings=4096)
    add_llama("longrope, T = L: short", config(96, 1e4, 131072, lr), [0, 1, 7, 4095])
    add_llama("longrope, T = L + 1: long", config(96, 1e4, 131072, lr), [0, 1, 7, 4096])
    add_llama("longrope, long", config(96, 1e4, 131072, lr), far)
    dyn = rope("dynamic", factor=2.0)
    add_llama("dynamic below L", config(128, 1e4, 4096, dyn), [0, 1, 7, 2000])
    add_llama("dynamic at L", config(64, 1e4, 4096, dyn), near)
    add_llama("dynamic at L + 1", config(64, 1e4, 4096, dyn), [0, 1, 7, 4096])
    add_llama("dynamic at 8L", config(128, 1e4, 4096, dyn), mid)
    add_llama("dynamic, factor 4", config(80, 1e6, 32768, rope("dynamic", factor=4.0)), far)

    neox_cfg = {"hidden_size": 192, "num_attention_heads": 2, "rotary_pct": 0.25, "rotary_emb_base": 10000, "max_position_embeddings": 2048}
    neox = gpt_neox.GPTNeoXRotaryEmbedding(GPTNeoXConfig(**neox_cfg))
    add("gpt-neox-20b sized", "default", neox, gpt_neox.apply_rotary_pos_emb, "half_split", neox_cfg, near + [2047], 96, False, (2, 2))
    neox_cfg = {"hidden_size": 160, "num_attention_heads": 2, "rotary_pct": 0.4, "rotary_emb_base": 500000, "max_position_embeddings": 2048}
    neox = gpt_neox.GPTNeoXRotaryEmbedding(GPTNeoXConfig(**neox_cfg))
    add("partial 0.4 of 80", "default", neox, gpt_neox.apply_rotary_pos_emb, "half_split", neox_cfg, far, 80, False)
    part = config(128, 1e4, 131072, rope("yarn", factor=8.0, original_max_position_embeddings=16384), partial=0.5)
    keep = ("hidden_size", "num_attention_heads", "max_position_embeddings", "rope_parameters")  # this config type has no head_dim
    module = gpt_neox.GPTNeoXRotaryEmbedding(GPTNeoXConfig(**{k: copy.deepcopy(part[k]) for k in keep}))
    add("yarn on half the head", "yarn", module, gpt_neox.apply_rotary_pos_emb, "half_split", part, far, 128, False)
    part = config(128, 1e4, 131072, dict(lr, short_factor=[1.0] * 48), partial=0.75)
    module = phi3.Phi3RotaryEmbedding(Phi3Config(pad_token_id=0, **copy.deepcopy(part)))
    add("phi-4-mini shaped, short", "longrope", module, phi3.apply_rotary_pos_emb, "half_split", part, near, 128, False)

    def gptj_run(rotary, table):
        def run(q, k, ids):
            sincos = table[ids[0]][None]
            sin, cos = torch.split(sincos, sincos.shape[-1] // 2, dim=-1)
            res = []
            for x in (q, k):
                x = x.transpose(1, 2)
                res.append(torch.cat([gptj.apply_rotary_pos_emb(x[..., :rotary], sin, cos), x[..., rotary:]], dim=-1).transpose(1, 2))
            inv = 1.0 / (10000 ** (torch.arange(0, rotary, 2, dtype=torch.int64) / rotary))
            return res[0], res[1], cos, sin, inv, 1.0
        return run

    for name, rotary, width, positions, heads in (("gpt-j-6b", 64, 256, near[:3] + [2047], (1, 1)), ("rotary 16 of 64", 16, 64, far, (2, 1))):
        table = gptj.create_sinusoidal_positions(max(positions) + 1, rotary)
        cfg = {"rotary_dim": rotary, "head_dim": width, "rope_theta": 10000.0}
        cases.append(rotated_case(rng, name, "default", "GPTJAttention", "interleaved", cfg, positions, heads, gptj_run(rotary, table), width, None))

    cfg = {"hidden_size": 256, "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 8192,
           "rope_parameters": {"rope_type": "default", "rope_theta": 50000.0}}
    module = cohere.CohereRotaryEmbedding(CohereConfig(**copy.deepcopy(cfg)))
    add("cohere", "default", module, cohere.apply_rotary_pos_emb, "interleaved", dict(cfg, head_dim=128), far, 128, True)
    cfg = config(128, 1e4, 131072, partial=0.5)
    module = glm.GlmRotaryEmbedding(GlmConfig(pad_token_id=0, **copy.deepcopy(cfg)))
    add("glm-4", "default", module, glm.apply_rotary_pos_emb, "interleaved", cfg, far, 128, False)
    cfg = config(64, 1e4, 65536, rope("yarn", factor=16.0, original_max_position_embeddings=4096), partial=0.5)
    module = glm.GlmRotaryEmbedding(GlmConfig(pad_token_id=0, **copy.deepcopy(cfg)))
    add("interleaved yarn on half the head", "yarn", module, glm.apply_rotary_pos_emb, "interleaved", cfg, far, 64, False, (2, 1))

    cfg = config(64, 1e4, 163840, rope("yarn", factor=40.0, original_max_position_embeddings=4096, mscale=1.0, mscale_all_dim=1.0))
    module = llama.LlamaRotaryEmbedding(LlamaConfig(**copy.deepcopy(cfg)))
    add("deepseek-v3: interleaved in, half-split out", "yarn", module, deepseek.apply_rotary_pos_emb_interleave,
        "interleaved_in_half_split_out", cfg, far, 64, False, bucket=extra)

    head = header("make_rope.py", "float32 rotated queries and keys of the reference models")
    for n, c in enumerate(cases + extra):
        c["id"] = n
    write("rope_rotated.json", head, {"cases": cases, "extra_cases": extra})


if __name__ == "__main__":
    make_parameters()
    make_rotated()
