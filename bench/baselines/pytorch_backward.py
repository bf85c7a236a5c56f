# SPDX-License-Identifier: MIT
"""PyTorch's gradient of attention on the CPU beside its forward pass, on the sizes of bench_backward.

Rows are called as bench_backward's, with who in front: pytorch/<encoding>/<heads>:<key heads>/<tokens>/threads:<n>.
A learned bias is a table of T5 that is gathered into a mask which wants a gradient: the fused kernel refuses
that, and the path that it then takes has arrays of tokens times tokens.
"""
import sys

import rows

options = rows.arguments(__doc__)
try:
    import torch
    from torch.nn import functional
except ImportError as error:
    rows.skip(f"pytorch_backward.py: no rows, {error} (pip install -r bench/baselines/requirements.txt).")

SIZES = [rows.Size(2048, 4, 4), rows.Size(2048, 8, 2), rows.Size(2048, 1, 1), rows.Size(8192, 1, 1)]


def tensor(size, heads):
    """[batch][heads][tokens][width], memory as posenc's rows have it: [tokens][heads][width]."""
    return torch.randn(1, size.tokens, heads, size.width).transpose(1, 2)


def t5_buckets(tokens):
    """Of a decoder: 32 buckets, far distances by their logarithm up to 128."""
    distance = (torch.arange(tokens)[:, None] - torch.arange(tokens)[None, :]).clamp(min=0)
    far = 16 + (torch.log(distance.clamp(min=1) / 16) / torch.log(torch.tensor(8.0)) * 16).long()
    return torch.where(distance < 16, distance, far.clamp(max=31))


def measure(report, size, threads, learned_bias):
    torch.manual_seed(1)
    q, k, v = (tensor(size, heads).requires_grad_() for heads in (size.heads, size.kv_heads, size.kv_heads))
    d_out = tensor(size, size.heads)
    inputs = [q, k, v]
    if learned_bias:
        table = torch.full((32, size.heads), 0.1, requires_grad=True)
        inputs.append(table)
        buckets = t5_buckets(size.tokens)
        hidden = torch.full((size.tokens, size.tokens), float("-inf")).triu(1)

    def forward():
        if not learned_bias:
            return functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=size.heads != size.kv_heads)
        bias = table[buckets].permute(2, 0, 1) + hidden
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias[None], scale=1.0,
                                                       enable_gqa=size.heads != size.kv_heads)

    with torch.no_grad():
        forward_seconds = rows.median_seconds(forward)

    out = forward()
    backward_seconds = rows.median_seconds(lambda: torch.autograd.grad(out, inputs, d_out, retain_graph=True))
    name = (f"pytorch/{'T5Bias' if learned_bias else 'none'}/{size.heads}:{size.kv_heads}/{size.tokens}"
            f"/threads:{threads}")
    rate = 2.5 * size.operations(True) / backward_seconds * 1e-9
    print(f"{name:50} {forward_seconds * 1e3:9.1f} ms, gradient {backward_seconds * 1e3:9.1f} ms "
          f"{rate:7.1f} GFLOP/s", file=sys.stderr)
    report.rows.append({"name": name, "run_type": "iteration", "real_time": backward_seconds * 1e3, "time_unit": "ms",
                        "forward_ms": forward_seconds * 1e3, "backward_ms": backward_seconds * 1e3,
                        "backward/forward": backward_seconds / forward_seconds, "GFLOP/s": rate})


report = rows.Report({"pytorch": torch.__version__, "cpu_capability": torch.backends.cpu.get_cpu_capability()})
for threads in rows.one_and_all_threads():
    torch.set_num_threads(threads)
    for size in SIZES:
        if size.tokens <= options.up_to:
            for learned_bias in (False, True):
                measure(report, size, threads, learned_bias)
report.write(options)
