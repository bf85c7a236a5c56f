# SPDX-License-Identifier: MIT
"""PyTorch's scaled_dot_product_attention and flex_attention on the CPU, on the sizes of bench_attention.

flex_attention is compiled, which needs a C++ compiler; compiling is not part of its times.
"""
import sys

import rows

options = rows.arguments(__doc__)
try:
    import torch
    from torch.nn import functional
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
except ImportError as error:
    rows.skip(f"pytorch.py: no rows, {error} (pip install -r bench/baselines/requirements.txt).")


def tensors(size):
    """[batch][heads][tokens][width], memory as posenc's rows have it: [tokens][heads][width]."""
    torch.manual_seed(1)
    return [torch.randn(1, size.tokens, heads, size.width).transpose(1, 2)
            for heads in (size.heads, size.kv_heads, size.kv_heads)]


def sdpa(size, causal):
    q, k, v = tensors(size)
    grouped = size.heads != size.kv_heads
    return lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=grouped)


def flex(size, causal):
    q, k, v = tensors(size)
    grouped = size.heads != size.kv_heads
    mask = None
    if causal:
        mask = create_block_mask(lambda b, h, query, key: query >= key, None, None, size.tokens, size.tokens,
                                 device="cpu")
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda: compiled(q, k, v, block_mask=mask, enable_gqa=grouped)


def check(who, make):
    """Both must compute what the formula says."""
    size = rows.Size(tokens=256, heads=4, kv_heads=2)
    for causal in (False, True):
        q, k, v = (x.double() for x in tensors(size))
        k, v = (x.repeat_interleave(2, dim=1) for x in (k, v))
        scores = q @ k.transpose(-1, -2) * size.width**-0.5
        if causal:
            scores = scores.masked_fill(torch.ones(256, 256).triu(1).bool(), float("-inf"))
        difference = (make(size, causal)() - scores.softmax(-1) @ v).abs().max().item()
        if difference > 1e-5:
            sys.exit(f"pytorch.py: {who} differs from the formula by {difference}.")


report = rows.Report({"pytorch": torch.__version__, "cpu_capability": torch.backends.cpu.get_cpu_capability()})
with torch.inference_mode():
    for who, make in (("pytorch-sdpa", sdpa), ("pytorch-flex", flex)):
        for threads in rows.one_and_all_threads():
            torch.set_num_threads(threads)
            torch.compiler.reset()  # compiled code knows its number of threads
            try:
                check(who, make)
                for size in rows.sizes(options):
                    for causal in (True, False):
                        report.measure(who, causal, size, threads, make(size, causal))
            except RuntimeError as error:
                print(f"pytorch.py: no more rows of {who} on {threads} threads: {error}", file=sys.stderr)
report.write(options)
