# SPDX-License-Identifier: MIT
"""Time of one training step of a small decoder in eager PyTorch on the CPU, float32.

The model: pre-norm, no biases, tied embeddings, 3 layers, 4 heads of 32 channels, MLP of 4 times the width with the
tanh form of GELU, 256 tokens of vocabulary. A step is forward, backward, clipping and AdamW on 16 sequences of 128
random tokens. Prints one line: the scheme, the threads, and the median milliseconds a step.
"""
import argparse
import math
import statistics
import time

import rows

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--scheme", choices=["rope", "alibi", "t5", "none"], default="rope", help="default: rope")
parser.add_argument("--threads", type=int, default=2, help="default: 2")
parser.add_argument("--steps", type=int, default=60, help="default: 60, of which the first 10 are not counted")
options = parser.parse_args()
if options.steps <= 10:
    parser.error("--steps must be more than the 10 that are not counted")
try:
    import torch
    from torch.nn import functional
except ImportError as error:
    rows.skip(f"pytorch_lab.py: no line, {error} (pip install -r bench/baselines/requirements.txt).")

LAYERS, HEADS, HEAD_DIM, VOCABULARY = 3, 4, 32, 256
SEQUENCES, TOKENS = 16, 128
WIDTH = HEADS * HEAD_DIM
MLP = 4 * WIDTH


def t5_bias():
    """[1][head][query][key] of a learned table, as a function: the table changes with every step."""
    distance = torch.arange(TOKENS)[:, None] - torch.arange(TOKENS)[None, :]
    far = 16 + (torch.log(distance.clamp(min=1) / 16) / math.log(8) * 16).long()
    buckets = torch.where(distance < 16, distance.clamp(min=0), far.clamp(max=31))
    hidden = torch.full((TOKENS, TOKENS), float("-inf")).triu(1)
    return lambda table: (functional.embedding(buckets, table).permute(2, 0, 1) + hidden)[None]


def alibi_bias():
    distance = torch.arange(TOKENS)[:, None] - torch.arange(TOKENS)[None, :]
    slopes = torch.tensor([2.0 ** (-8.0 * (head + 1) / HEADS) for head in range(HEADS)])
    return (-slopes[:, None, None] * distance).masked_fill(distance < 0, float("-inf"))[None]


class Model:
    def __init__(self, scheme):
        self.scheme, self.parameters = scheme, []
        self.embedding = self.parameter(torch.randn(VOCABULARY, WIDTH) * 0.02)
        shapes = [(WIDTH,), (3 * WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH,), (MLP, WIDTH), (WIDTH, MLP)]
        self.layers = [[self.parameter(torch.ones(s) if len(s) == 1 else torch.randn(s) * 0.02) for s in shapes]
                       for _ in range(LAYERS)]
        self.last_norm = self.parameter(torch.ones(WIDTH))
        self.table = self.parameter(torch.zeros(32, HEADS)) if scheme == "t5" else None
        self.bias = t5_bias() if scheme == "t5" else None
        self.alibi = alibi_bias() if scheme == "alibi" else None
        angle = torch.arange(TOKENS)[:, None, None, None] * 10000.0 ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM)
        self.cos, self.sin = angle.cos(), angle.sin()

    def parameter(self, values):
        self.parameters.append(torch.nn.Parameter(values))
        return self.parameters[-1]

    def rotated(self, qk):
        """Half split, queries and keys at once: [sequence][token][2][head][channel]."""
        a, b = qk.chunk(2, -1)
        return torch.cat((a * self.cos - b * self.sin, b * self.cos + a * self.sin), -1)

    def loss(self, inputs, targets):
        x = functional.embedding(inputs, self.embedding)
        mask = self.bias(self.table) if self.scheme == "t5" else self.alibi
        for attention_norm, qkv, out, mlp_norm, up, down in self.layers:
            y = functional.linear(norm(x, attention_norm), qkv).view(SEQUENCES, TOKENS, 3, HEADS, HEAD_DIM)
            q, k = (self.rotated(y[:, :, :2]) if self.scheme == "rope" else y[:, :, :2]).unbind(2)
            y = functional.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), y[:, :, 2].transpose(1, 2),
                                                        attn_mask=mask, is_causal=mask is None)
            x = x + functional.linear(y.transpose(1, 2).reshape(SEQUENCES, TOKENS, WIDTH), out)
            x = x + functional.linear(functional.gelu(functional.linear(norm(x, mlp_norm), up), approximate="tanh"), down)
        logits = functional.linear(norm(x, self.last_norm), self.embedding)
        return functional.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))


def norm(x, gain):
    if hasattr(functional, "rms_norm"):
        return functional.rms_norm(x, (WIDTH,), gain, 1e-5)
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * gain


torch.set_num_threads(options.threads)
torch.manual_seed(1)
model = Model(options.scheme)
matrices = [p for p in model.parameters if p.dim() == 2 and p is not model.table]
others = [p for p in model.parameters if p.dim() == 1 or p is model.table]
optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                              lr=1e-3, betas=(0.9, 0.95), fused=True)
seconds = []
for _ in range(options.steps):
    inputs, targets = torch.randint(VOCABULARY, (2, SEQUENCES, TOKENS))
    start = time.perf_counter()
    model.loss(inputs, targets).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.perf_counter() - start)
print(options.scheme, options.threads, "%.2f" % (statistics.median(seconds[10:]) * 1e3))
