"""Writes t5_bias.json and alibi.json from the reference implementation (see README.md)."""

import numpy as np
import torch
from transformers import T5Config
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from golden_common import f32_list, header, write

HUGE = [701, 1000, 1023, 1024, 4095, 4096, 65535, 65536, 1048576, 16777217, 2147483647]


def t5():
    bucket = T5Attention._relative_position_bucket
    near = torch.arange(-700, 701)
    far = torch.tensor([-n for n in reversed(HUGE)] + HUGE)
    buckets = []
    for num, dist in [(32, 128), (64, 256), (16, 64), (8, 20), (128, 1024), (320, 800), (12, 100), (24, 96), (256, 512), (4, 7), (64, 64), (40, 300), (32, 4096)]:
        for both in (True, False):
            b = bucket(near, bidirectional=both, num_buckets=num, max_distance=dist)
            g = bucket(far, bidirectional=both, num_buckets=num, max_distance=dist)
            assert 0 <= int(b.min()) and int(max(b.max(), g.max())) < num
            buckets.append({"num_buckets": num, "max_distance": dist, "bidirectional": both, "buckets": b.tolist(), "far_buckets": g.tolist()})
    rng = np.random.default_rng(7)
    biases = []
    for decoder, num, dist, shapes in [
        (False, 32, 128, [(1, 1, 0), (5, 5, 0), (3, 40, 0), (17, 9, 0)]),
        (True, 32, 128, [(6, 6, 0), (1, 200, 199), (4, 30, 26), (3, 150, 147)]),
        (False, 8, 20, [(9, 9, 0), (2, 48, 30)]),
        (True, 16, 64, [(8, 8, 0), (2, 100, 98)]),
    ]:
        att = T5Attention(T5Config(num_heads=4, d_kv=8, d_model=32, relative_attention_num_buckets=num, relative_attention_max_distance=dist,
                                   is_decoder=decoder), has_relative_attention_bias=True, layer_idx=0)
        table = rng.integers(-256, 257, size=(num, 4)) / 64.0
        with torch.no_grad():
            att.relative_attention_bias.weight.copy_(torch.tensor(table, dtype=torch.float32))
            for tq, tk, past in shapes:
                bias = att.compute_bias(tq, tk, past_seen_tokens=past)
                assert bias.shape == (1, 4, tq, tk)
                biases.append({"num_buckets": num, "max_distance": dist, "bidirectional": not decoder, "num_heads": 4, "q_len": tq, "k_len": tk,
                               "past": past, "table": table.reshape(-1).tolist(), "bias": f32_list(bias)})
    head = header("make_bias.py", "T5 relative position buckets and biases")
    head["relative_position_first"], head["relative_position_last"] = -700, 700
    head["far_relative_positions"] = far.tolist()
    write("t5_bias.json", head, {"buckets": buckets, "biases": biases})


def alibi():
    slopes = []
    for heads in range(1, 129):
        bloom = build_alibi_tensor(torch.ones(1, 2, dtype=torch.int64), heads, torch.float32)[:, 0, 1]
        mpt = [-build_mpt_alibi_tensor(heads, 2, alibi_bias_max=m)[:, 0, 0] for m in (8, 4)]
        assert all(t.shape == (heads,) and t.dtype == torch.float32 for t in [bloom] + mpt)
        slopes.append({"heads": heads, "bloom": f32_list(bloom), "mpt_8": f32_list(mpt[0]), "mpt_4": f32_list(mpt[1])})
    tensors = []
    for heads, mask in [(4, [[1] * 6]), (12, [[1] * 5]), (3, [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])]:
        t = build_alibi_tensor(torch.tensor(mask), heads, torch.float32)
        tensors.append({"reference": "bloom", "heads": heads, "attention_mask": mask, "shape": list(t.shape), "bias": f32_list(t)})
    for heads, length, top in [(4, 6, 8), (12, 5, 8), (3, 4, 4), (16, 3, 8)]:
        t = build_mpt_alibi_tensor(heads, length, alibi_bias_max=top)
        tensors.append({"reference": "mpt", "heads": heads, "length": length, "bias_max": top, "shape": list(t.shape), "bias": f32_list(t)})
    write("alibi.json", header("make_bias.py", "ALiBi slopes and bias tensors"), {"slopes": slopes, "tensors": tensors})


if __name__ == "__main__":
    t5()
    alibi()
