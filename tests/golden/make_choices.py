# SPDX-License-Identifier: MIT
"""Writes choices.json: what six methods choose and compute, by the references' own code in float64 (see README.md).

    make_choices.py <folder with clones InfLLM, LongHeads, H2O, SnapKV and MInference>

InfLLM (thunlp/InfLLM): ContextManager reads a text in pieces and then token by token; the blocks that each piece chooses
among those behind its window, and the last outputs. LongHeads (LuLuLuyi/LongHeads): LlamaAttention reads a prompt and
generates; chunks and the outputs of steps. H2O (FMInference/H2O): H2OKVCache_LayerWise, given the weights of attention; tokens kept.
SnapKV (FasterDecoding/SnapKV): SnapKVCluster; tokens kept. MInference (microsoft/MInference): the estimate of
vertical_and_slash_kernel; columns and slashes. DSA: the indexer of transformers' DeepSeek-V3.2; tokens.

Of a class that computes on a GPU only the device is changed. What attends is in float64 too: FlashAttention's functions are
replaced by the formula. Inputs are exact in float32, drawn by splitmix64 from the seed of the case; cases
in which float32 could choose otherwise are drawn anew.
"""

import contextlib
import io
import math
import os
import platform
import sys
from types import SimpleNamespace
from typing import List, Optional, Tuple, Union

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import transformers
from transformers.models.deepseek_v32.modeling_deepseek_v32 import DeepseekV32Indexer

from cases import Random, write_cases
from reference import definitions, in_float64

PINNED = {
    "InfLLM": "12b70798f56e56ebb23c53c7018091a3f540a028",
    "LongHeads": "1c9f72e726401cbccf320d2c5c72244dd92a336f",
    "H2O": "ac75c2a8a9e76832b2a4139b9363373b56336bfb",
    "SnapKV": "e216ddc84c5bd210378cbdbbba12ba02102aa640",
    "MInference": "fb56c917f618e8645f1cfc37535afd7424d78f0d",
}
CASES, MARGIN, BASE = 20, 1e-4, 10000.0


class Margin:
    """How far the least of what was chosen lies above the greatest of the rest, as a share of the greatest; of all choices."""

    def __init__(self):
        self.least = np.inf

    def see(self, scores, count):
        """scores[..., i]; the `count` greatest of each row are chosen."""
        if not 0 < count < scores.shape[-1]:
            return
        rows = np.sort(np.asarray(scores, dtype=np.float64).reshape(-1, scores.shape[-1]), axis=-1)[:, ::-1]
        gaps = (rows[:, count - 1] - rows[:, count]) / np.maximum(np.abs(rows).max(axis=1), 1e-300)
        self.least = min(self.least, gaps.min())


def heads_first(x):
    """[1, head, token, channel]"""
    return torch.tensor(x).permute(1, 0, 2)[None].contiguous()


def lists(x):
    return [[int(i) for i in row] for row in x]


def attended(q, k, v, causal=False, count=None):
    """softmax(q k / sqrt(d)) v of [batch, token, head, channel], of the first `count` keys."""
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[-1])
    at = torch.arange(k.shape[1])
    if causal:
        scores = scores.masked_fill(at[None, :] > torch.arange(q.shape[1])[:, None], -torch.inf)
    if count is not None:
        scores = scores.masked_fill(at[None, None, None, :] >= count[:, None, None, None], -torch.inf)
    return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v)


class Slice(nn.Module):
    """In the place of a projection: channels [first, first + width) of its input."""

    def __init__(self, first, width):
        super().__init__()
        self.first, self.width = first, width
        self.weight = torch.zeros(0)

    def forward(self, x):
        return x[..., self.first : self.first + self.width]


def inf_llm(clone, case, draw, margin):
    heads, kv_heads = [(2, 2), (4, 2), (4, 1)][case % 3]
    width, block, per_head = 8, 8, case % 5 == 4
    init, local, piece = [8, 16, 0, 8][case % 4], [16, 32, 24][case % 3], [16, 8, 16, 12][case % 4]
    topk, representatives, steps = 2 + case % 2, [1, 2, 4][case % 3], 3 + case % 10
    prompt = piece * (110 // piece + case % 3)
    tokens = prompt + steps
    q, k, v = (draw.numbers(tokens, h, width) for h in (heads, kv_heads, kv_heads))
    scope = dict(torch=torch, Optional=Optional, Tuple=Tuple, Union=Union, math=math)
    folder, at = "inf_llm/attention/", (clone, PINNED["InfLLM"])
    definitions(*at, folder + "dot_production_attention/base.py", ["MultiStageDotProductionAttention"], scope)
    definitions(*at, folder + "dot_production_attention/torch_impl.py", ["TorchMultiStageDotProductionAttention"], scope)
    on_cpu = [('device="cuda"', 'device="cpu"')]
    (rotary,) = definitions(*at, folder + "rope.py", ["RotaryEmbeddingESM"], scope, on_cpu)
    changes = [('device = "cuda"', 'device = "cpu"'), ("device='cuda'", "device='cpu'"), ("assert _t.is_cuda", "pass"),
               # Where the window of a query begins, counted from the end of a text in place of its own piece: early queries
               # of a piece would read keys twice, as of their window and as behind it.
               ("sliding_window = (self.global_remainder[0].size(-2) + rmd_st",
                "sliding_window = (self._global_remainder_ed - self._global_remainder_st + rmd_st")]
    scope.update(GLOBAL_STREAM=None, deepcopy=__import__("copy").deepcopy)
    scope["get_multi_stage_dot_production_attention"] = lambda _: (scope["TorchMultiStageDotProductionAttention"], False)
    names = ["CudaCache", "MemoryUnit", "VectorTensor", "ContextManager"]
    vectors, manager = definitions(*at, folder + "context_manager.py", names, scope, changes)[2:]

    seen = []

    class Seen(manager):
        def calc_block_topk(self, queries):
            found = super().calc_block_topk(queries)
            seen.append([sorted(x + init // block for x in unit) for unit in found])
            return found

        def get_block_k(self, keys, score):
            margin.see(score.numpy(), self.repr_topk)
            return super().get_block_k(keys, score)

    plain = vectors.get_topk

    def get_topk(self, query, count):
        margin.see((self.get_data() @ query)[None].numpy(), count)
        return plain(self, query, count)

    vectors.get_topk = get_topk
    context = Seen(rotary(width, BASE), init, local, block, 64, topk, piece, repr_topk=representatives, perhead=per_head)
    out = []
    for first, last in [(0, prompt)] + [(t, t + 1) for t in range(prompt, tokens)]:
        part = [heads_first(x[first:last]) for x in (q, k, v)]
        out.append(context.append(*part, *part)[0].permute(1, 0, 2).numpy())
    return dict(heads=heads, kv_heads=kv_heads, width=width, tokens=tokens, prompt=prompt, piece=piece, block=block, n_init=init,
                n_local=local, topk=topk, repr_topk=representatives, per_head=per_head, chosen=seen), np.concatenate(out)[-3:]


def long_heads(clone, case, draw, margin):
    heads, width, chunk, length = [1, 2, 3][case % 3], 8, [32, 64][case % 2], 256
    prompt, steps = 260 + 29 * case, 4
    if case % 4 == 3:
        prompt = prompt // chunk * chunk - 2  # the steps come to the end of a chunk, and begin another
    tokens, channels = prompt + steps, heads * width
    q, k, v = (draw.numbers(tokens, heads, width) for _ in range(3))
    from einops import rearrange

    causal = lambda softmax_scale, causal: lambda qkv: attended(*qkv.unbind(2), causal)
    scope = dict(torch=torch, nn=nn, F=F, math=math, rearrange=rearrange, Optional=Optional, Tuple=Tuple, List=List,
                 LlamaConfig=None, FlashSelfAttention=causal,
                 flash_attn_qkvpacked_func=lambda qkv, softmax_scale, causal: attended(*qkv.unbind(2), causal),
                 flash_attn_with_kvcache=lambda q, k_cache, v_cache, softmax_scale=None, causal=False, cache_seqlens=None:
                 attended(q, k_cache, v_cache, causal, cache_seqlens))
    names = ["_pad_to_chunk_size", "rotate_half", "apply_rotary_pos_emb", "apply_rotary_pos_emb_for_relative_keys",
             "apply_rotary_pos_emb_for_relative_query", "LlamaRotaryEmbedding", "LlamaAttention"]
    attention = definitions(clone, PINNED["LongHeads"], "modeling_longheads/modeling_llama.py", names, scope)[-1](
        SimpleNamespace(hidden_size=channels, num_attention_heads=heads, max_position_embeddings=2048, cpu_offload=False,
                        batch_encoding=case % 2 == 0, encoding_batch_size=16, atten_length=length,
                        begin_selective_length=length, window_size=chunk))
    for i, name in enumerate(("q_proj", "k_proj", "v_proj")):
        setattr(attention, name, Slice(i * channels, channels))
    attention.o_proj = nn.Identity()
    hidden = torch.tensor(np.concatenate([x.reshape(tokens, channels) for x in (q, k, v)], 1))[None]

    found, topk = [], torch.topk
    rows = sorted(set(range(length, prompt, 31)) | {prompt - 1})  # of the prompt, those whose choice is kept

    def see(scores, k, **options):
        greatest = torch.finfo(scores.dtype).max
        kept = scores[0][:, [t - length for t in rows]] if scores.dim() == 4 else scores[0]
        for row in kept.reshape(-1, scores.shape[-1]).numpy():
            margin.see(row[np.abs(row) < greatest], k - int((row == greatest).sum()))
        found.append(topk(scores, k=k, **options))
        return found[-1]

    past, out, choices = (None, None, None), [], []
    for first, last in [(0, prompt)] + [(t, t + 1) for t in range(prompt, tokens)]:
        found.clear()
        torch.topk = see
        result, _, past = attention(hidden[:, first:last], torch.ones(1, last), torch.arange(first, last)[None],
                                    past[0], past[1], past[2], use_cache=True)
        torch.topk = topk
        chunks = found[0][1][0]  # [head, token, chunk], or [head, chunk] of a step without those that are read in any case
        if first == 0:
            choices += [dict(token=t, chunks=lists(chunks[:, t - length].sort().values)) for t in rows]
        else:
            choices.append(dict(token=first, chunks=lists((chunks + 1).sort().values)))
            out.append(result[0, 0].numpy())
    return dict(heads=heads, width=width, tokens=tokens, prompt=prompt, chunk=chunk, chunks=length // chunk, chosen=choices), out


def heavy_hitters(clone, case, draw, margin):
    heads = [1, 3, 1, 2][case % 4]
    width, prompt, steps = 8, 20 + 3 * case, [12, 0, 30, 0][case % 4]
    heavy, recent, tokens = 4 + case % 5, 3 + case % 4, prompt + steps
    q, k = draw.numbers(tokens, heads, width), draw.numbers(tokens, heads, width)
    (layer,) = definitions(clone, PINNED["H2O"], "h2o_hf/utils_real_drop/modify_llama.py", ["H2OKVCache_LayerWise"], dict(torch=torch))
    with contextlib.redirect_stdout(io.StringIO()):
        cache = layer(hh_size=heavy, recent_size=recent)
    keys, names, kept = heads_first(k[:0]), torch.zeros(1, heads, 0, width), []
    for first, last in [(0, prompt)] + [(t, t + 1) for t in range(prompt, tokens)]:
        keys = torch.cat([keys, heads_first(k[first:last])], 2)
        names = torch.cat([names, torch.arange(first, last).double()[None, None, :, None].expand(1, heads, -1, width)], 2)
        scores = heads_first(q[first:last]) @ keys.transpose(2, 3) / math.sqrt(width)
        if first == 0:
            scores = scores + torch.full((prompt, prompt), -torch.inf).triu(1)
        update = cache._update_hh_score

        def see(weights):
            update(weights)
            if cache.hh_score.shape[1] > heavy + recent:
                margin.see(cache.hh_score[:, :-recent].numpy(), heavy)

        cache._update_hh_score = see
        # The class squeezes what has one head; its mask then has a head more than the keys.
        with squeezing_batches():
            keys, names = cache((keys, names), scores.softmax(-1))
        cache._update_hh_score = update
        kept.append(lists(names[0, :, :, 0]))
    return dict(heads=heads, width=width, tokens=tokens, prompt=prompt, heavy=heavy, recent=recent, kept=kept), None


@contextlib.contextmanager
def squeezing_batches():
    """squeeze() without an axis takes away the batch alone, as it does for models of many heads."""
    plain = torch.Tensor.squeeze
    torch.Tensor.squeeze = lambda x, *axes: plain(x, *axes) if axes else plain(x, 0)
    try:
        yield
    finally:
        torch.Tensor.squeeze = plain


def snap_kv(clone, case, draw, margin):
    heads, kv_heads = [(2, 2), (4, 2), (3, 1)][case % 3]
    width, tokens, window, kernel = 8, 30 + 9 * case, 4 + case % 6, [5, 3, 1, 7][case % 4]
    # Neighbours have their greatest in common: with whole runs of them fewer choices are among equals.
    pooling, chosen = [("avgpool", 6 + case % 9), ("maxpool", kernel * (1 + case % 3))][case % 2]
    capacity = window + chosen
    if case == 3:
        capacity = tokens  # of a prompt that just fits, all is kept
    q, k = draw.numbers(tokens, heads, width), draw.numbers(tokens, kv_heads, width)
    scope = dict(torch=torch, nn=nn, F=F, math=math)
    (cluster,) = definitions(clone, PINNED["SnapKV"], "snapkv/monkeypatch/snapkv_utils.py", ["SnapKVCluster"], scope)
    keys = heads_first(np.repeat(k, heads // kv_heads, axis=1))
    names = torch.arange(tokens).double()[None, None, :, None].expand(1, heads, -1, width)
    topk = torch.Tensor.topk

    def see(x, count, **options):
        margin.see(x[0].numpy(), count)
        return topk(x, count, **options)

    torch.Tensor.topk = see
    found = cluster(window, capacity, kernel, pooling).update_kv(keys, heads_first(q), names, None, heads // kv_heads)[1]
    torch.Tensor.topk = topk
    return dict(heads=heads, kv_heads=kv_heads, width=width, tokens=tokens, window=window, capacity=capacity, kernel=kernel,
                greatest=pooling == "maxpool", kept=lists(found[0, :, :, 0].sort().values)), None


def vertical_slash(clone, case, draw, margin):
    heads, kv_heads, width = [(1, 1), (4, 2)][case % 2] + (8,)
    tokens = [40, 64, 65, 100, 131, 200, 257][case % 7] + case
    columns, slashes = [30, 40, 1][case % 3], [100, 120, 160][case % 3]
    q, k = draw.numbers(tokens, heads, width), draw.numbers(tokens, kv_heads, width)
    at = torch.arange(64)
    scope = dict(torch=torch, math=math, self=SimpleNamespace(head_dim=width), q_len=tokens, vertical_slash_sparse_attention=lambda *x: x[3:],
                 LAST_Q_MASK=at[None, None, :, None] >= at[None, None, None, :])
    names = ["sum_all_diagonal_matrix", "gather_last_q_vertical_slash_topk_v4.vertical_and_slash_kernel"]
    path = "minference/modules/minference_forward.py"
    estimate = definitions(clone, PINNED["MInference"], path, names, scope)[-1]
    topk, found = torch.topk, []

    def see(x, count, axis):
        scores = x.reshape(1, -1).numpy()
        margin.see(scores[np.isfinite(scores)][None], count - int(np.isinf(scores).sum()))
        return topk(x, count, axis)

    torch.topk = see
    for h in range(heads):
        one = lambda x, h: torch.tensor(x[:, h])[None, None]
        found.append([sorted(int(i) for i in x.reshape(-1)) for x in
                      estimate(one(q, h), one(k, h // (heads // kv_heads)), None, columns, slashes)])
    torch.topk = topk
    return dict(heads=heads, kv_heads=kv_heads, width=width, tokens=tokens, columns=columns, slashes=slashes, found=found), None


def indexer(_, case, draw, margin):
    heads, width, rotated = [4, 6, 8][case % 3], [8, 16][case % 2], [4, 8, 8][case % 3]
    tokens, top = 20 + 7 * case, [1, 5, 16][case % 3]
    q, w, k = draw.numbers(tokens, heads, width), draw.numbers(tokens, heads) + 1, draw.numbers(tokens, width)
    sizes = SimpleNamespace(hidden_size=width + heads, index_n_heads=heads, index_head_dim=width, qk_rope_head_dim=rotated,
                            index_topk=top, q_lora_rank=heads * width)
    model = DeepseekV32Indexer(sizes, 0)
    model.wq_b, model.k_norm = nn.Identity(), nn.Identity()
    model.wk, model.weights_proj = Slice(0, width), Slice(width, heads)
    angles = torch.arange(tokens).double()[:, None] * BASE ** -(torch.arange(0, rotated, 2).double() / rotated)
    angles = torch.cat([angles, angles], 1)[None]
    mask = torch.full((tokens, tokens), -torch.inf).triu(1)[None]
    topk = torch.Tensor.topk

    def see(x, count, **options):
        for t in range(tokens):
            margin.see(x[0, t, : t + 1][None].numpy(), count)
        return topk(x, count, **options)

    torch.Tensor.topk = see
    hidden = torch.tensor(np.concatenate([k, w], 1))[None]
    found = model(hidden, torch.tensor(q.reshape(1, tokens, -1)), (angles.cos(), angles.sin()), mask, None)[0]
    torch.Tensor.topk = topk
    # A row of fewer tokens than are wanted is filled up with later ones, which the mask hides.
    return dict(heads=heads, width=width, rotary_dim=rotated, tokens=tokens, top=top,
                chosen=[sorted(int(m) for m in row if m <= t) for t, row in enumerate(found)]), None


def main():
    methods = [("InfLLM", inf_llm), ("LongHeads", long_heads), ("H2O", heavy_hitters), ("SnapKV", snap_kv),
               ("MInference", vertical_slash), ("DSA", indexer)]
    torch.cuda.Event, torch.cuda.stream = lambda: SimpleNamespace(record=lambda _: None, wait=lambda: None), lambda _: contextlib.nullcontext()
    torch.cuda.current_stream = lambda: None
    torch.set_default_dtype(torch.float64)
    lines, seed = [], 0
    for name, method in methods:
        for case in range(CASES):
            margin = Margin()
            margin.least = 0
            while margin.least < MARGIN:
                seed += 1
                print("\r%s %d, seed %d " % (name, case, seed), end="", file=sys.stderr, flush=True)
                margin = Margin()
                with in_float64(), torch.no_grad():
                    found, out = method(os.path.join(sys.argv[1], name), case, Random(seed), margin)
            line = dict(method=name, seed=seed, **found)
            if out is not None:
                line["out"] = [float("%.15g" % x) for x in np.array(out).reshape(-1)]
            lines.append(line)
    versions = dict(python=platform.python_version(), torch=torch.__version__.split("+")[0], numpy=np.__version__,
                    transformers=transformers.__version__, **PINNED)
    write_cases("choices.json", dict(generated_by="make_choices.py", what=__doc__.split("\n")[0], versions=versions), lines)


if __name__ == "__main__":
    main()
