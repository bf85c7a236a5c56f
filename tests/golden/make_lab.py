# SPDX-License-Identifier: MIT
"""Writes lab.json: losses, gradients and training steps of a small transformer in float64 by torch (see README.md)."""

import math

import torch

from golden_common import digits, header, write
from make_attention import alibi_slopes, t5_bucket

LAYERS, HEADS, HEAD_DIM, MLP_RATIO, VOCABULARY = 2, 2, 4, 2, 16
SEQUENCES, TOKENS = 3, 6
WIDTH, MLP = HEADS * HEAD_DIM, MLP_RATIO * HEADS * HEAD_DIM
BUCKETS, MAX_DISTANCE, LEARNED_POSITIONS = 32, 128, 8
BASE = 10000.0
SCHEMES = ["none", "rope", "alibi", "t5", "sinusoidal", "learned"]

STEPS, WARM_UP, RATE, TABLE_RATES = 3, 1, 2e-3, 20.0
BETAS, EPS, DECAY, MAX_NORM = (0.9, 0.95), 1e-8, 0.1, 0.05
STAGES = [(3, 1e4), (6, 1e4), (18, 5e4)]  # of a step each: tokens of a sequence, base

torch.set_default_dtype(torch.float64)


# ---------------------------------------------------------------------------------------------------------------
# parameters
# ---------------------------------------------------------------------------------------------------------------
def layout():
    """Name and shape of every weight, in the order of the flat array; norms are the vectors."""
    layer = [("attention_norm", (WIDTH,)), ("qkv", (WIDTH, 3 * WIDTH)), ("out", (WIDTH, WIDTH)),
             ("mlp_norm", (WIDTH,)), ("up", (WIDTH, MLP)), ("down", (MLP, WIDTH))]
    return ([("embedding", (VOCABULARY, WIDTH))] + [("%s.%d" % (name, n), shape) for n in range(LAYERS) for name, shape in layer]
            + [("last_norm", (WIDTH,))])


def weights():
    result, start = {}, 0
    for name, shape in layout():
        count = math.prod(shape)
        x = torch.tensor([0.3 * math.sin(0.7 * i + 0.1) + (len(shape) == 1) for i in range(start, start + count)])
        result[name] = x.float().double().view(shape).requires_grad_()  # exact in float32
        start += count
    return result


def learned_numbers(scheme):
    if scheme == "t5":
        x = torch.tensor([0.1 * math.sin(i) for i in range(BUCKETS * HEADS)]).view(BUCKETS, HEADS)
    elif scheme == "learned":
        x = torch.tensor([0.1 * math.cos(i) for i in range(LEARNED_POSITIONS * WIDTH)]).view(LEARNED_POSITIONS, WIDTH)
    else:
        return None
    return x.requires_grad_()


def flat(tensors):
    return [digits(x, 9) for t in tensors for x in t.reshape(-1).tolist()]


# ---------------------------------------------------------------------------------------------------------------
# model
# ---------------------------------------------------------------------------------------------------------------
def norm(x, gain):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5) * gain


def gelu(x):
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def added(scheme, learned, tokens):
    """[token][channel], added to the embeddings."""
    if scheme == "learned":
        return learned[:tokens]
    x = torch.zeros(tokens, WIDTH)
    if scheme == "sinusoidal":
        angle = torch.arange(tokens)[:, None] * BASE ** (-torch.arange(0, WIDTH, 2) / WIDTH)
        x[:, 0::2], x[:, 1::2] = 0.1 * torch.sin(angle), 0.1 * torch.cos(angle)
    return x


def rotated(x, base):
    """Half split: channel c and channel c + HEAD_DIM / 2 are a pair. x is [..., token, channel]."""
    angle = torch.arange(x.shape[-2])[:, None] * base ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    a, b = x.chunk(2, -1)
    return torch.cat((a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()), -1)


def bias(scheme, learned, tokens):
    """[head][query][key], keys after the query hidden."""
    distance = torch.arange(tokens)[:, None] - torch.arange(tokens)[None, :]
    x = torch.zeros(HEADS, tokens, tokens)
    if scheme == "alibi":
        x = -torch.tensor(alibi_slopes(HEADS))[:, None, None] * distance
    elif scheme == "t5":
        buckets = torch.tensor([[t5_bucket(-d, BUCKETS, MAX_DISTANCE, False) for d in row] for row in distance.tolist()])
        x = learned[buckets].permute(2, 0, 1)
    return x.masked_fill(distance < 0, float("-inf"))


def losses(w, scheme, learned, inputs, targets, tokens=TOKENS, base=BASE):
    """-log p(target) in nats, [sequence * token]."""
    sequences = len(inputs) // tokens
    x = w["embedding"][inputs.view(sequences, tokens)] + added(scheme, learned, tokens)
    mask = bias(scheme, learned, tokens)
    for n in range(LAYERS):
        qkv = norm(x, w["attention_norm.%d" % n]) @ w["qkv.%d" % n]
        q, k, v = (y.view(sequences, tokens, HEADS, HEAD_DIM).transpose(1, 2) for y in qkv.split(WIDTH, -1))
        if scheme == "rope":
            q, k = rotated(q, base), rotated(k, base)
        p = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(HEAD_DIM) + mask, -1)
        x = x + (p @ v).transpose(1, 2).reshape(sequences, tokens, WIDTH) @ w["out.%d" % n]
        x = x + gelu(norm(x, w["mlp_norm.%d" % n]) @ w["up.%d" % n]) @ w["down.%d" % n]
    logits = norm(x, w["last_norm"]) @ w["embedding"].T
    return -torch.log_softmax(logits, -1).view(-1, VOCABULARY).gather(1, targets[:, None])[:, 0]


def batch(step):
    i = torch.arange(SEQUENCES * TOKENS)
    return (7 * i + 3 + step) % VOCABULARY, (5 * i + 1 + step) % VOCABULARY


# ---------------------------------------------------------------------------------------------------------------
# cases
# ---------------------------------------------------------------------------------------------------------------
def case(scheme):
    w, learned = weights(), learned_numbers(scheme)
    loss = losses(w, scheme, learned, *batch(0))
    loss_weight = 1.0 + torch.arange(SEQUENCES * TOKENS) % 3
    (loss * loss_weight / loss_weight.sum()).sum().backward()
    return {"scheme": scheme, "losses": flat([loss]), "gradient": flat(x.grad for x in w.values()),
            "learned_gradient": [] if learned is None else flat([learned.grad])}


def rate(step):
    if step < WARM_UP:
        return RATE * (step + 1) / WARM_UP
    return RATE * (0.1 + 0.9 * 0.5 * (1.0 + math.cos(math.pi * (step - WARM_UP + 1) / (STEPS - WARM_UP))))


def training(scheme, stages):
    w, learned = weights(), learned_numbers(scheme)
    others = [] if learned is None else [learned]
    optimizer = torch.optim.AdamW([{"params": [x for x in w.values() if x.dim() == 2], "weight_decay": DECAY, "rates": 1.0},
                                   {"params": [x for x in w.values() if x.dim() == 1], "weight_decay": 0.0, "rates": 1.0},
                                   {"params": others, "weight_decay": 0.0, "rates": TABLE_RATES}],
                                  lr=RATE, betas=BETAS, eps=EPS)
    before, norms = [], []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate(step) * group["rates"]
        loss = losses(w, scheme, learned, *batch(step), *stages[step]).mean()
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_([*w.values(), *others], MAX_NORM))
        assert norms[-1] > MAX_NORM, (step, norms)
        optimizer.step()
        before.append(loss.detach())
    return {"scheme": scheme, "steps": STEPS, "losses": flat(before), "gradient_norms": flat(norms),
            "weights": flat(w.values()), "learned": flat(others)}


if __name__ == "__main__":
    head = header("make_lab.py", "float64 losses, gradients and AdamW steps of a small decoder")
    head["shape"] = {"layers": LAYERS, "heads": HEADS, "head_dim": HEAD_DIM, "mlp_ratio": MLP_RATIO, "vocabulary": VOCABULARY,
                     "sequences": SEQUENCES, "tokens": TOKENS}
    head["training"] = training("t5", [(TOKENS, BASE)] * STEPS)
    head["stages"] = training("rope", STAGES)
    write("lab.json", head, {"cases": [case(scheme) for scheme in SCHEMES]})
