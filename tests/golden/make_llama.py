# SPDX-License-Identifier: MIT
"""Logits of tiny models of the Llama family by transformers, in float64 -> llama.json

Weight i of matrix or vector k is 0.2 sin(0.37 i + k), plus 1 where it is of a norm. k counts them in this order:
embedding, last norm, then per layer: attention norm, mlp norm, q, k, v, o, gate, up, down, and where the model has
them q, k, v biases, q and k norms. Token i is (7 i + 3) % 20.
"""

import json
import sys
from pathlib import Path

import numpy
import torch
import transformers

SHAPE = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
             intermediate_size=24, vocab_size=20, max_position_embeddings=64, rms_norm_eps=1e-5,
             tie_word_embeddings=True)
TOKENS = 12


def names(model_type):
    yield "model.embed_tokens.weight"
    yield "model.norm.weight"
    for layer in range(SHAPE["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight"
        yield at + "post_attention_layernorm.weight"
        for matrix in "qkvo":
            yield at + f"self_attn.{matrix}_proj.weight"
        for matrix in ("gate", "up", "down"):
            yield at + f"mlp.{matrix}_proj.weight"
        if model_type == "qwen2":
            for matrix in "qkv":
                yield at + f"self_attn.{matrix}_proj.bias"
        if model_type == "qwen3":
            for matrix in "qk":
                yield at + f"self_attn.{matrix}_norm.weight"


def logits(model_type):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **SHAPE)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).to(torch.float64).eval()
    parameters = dict(model.named_parameters())
    for k, name in enumerate(names(model_type)):
        parameter = parameters.pop(name)
        i = torch.arange(parameter.numel(), dtype=torch.float64)
        values = 0.2 * torch.sin(0.37 * i + k) + (1.0 if "norm" in name else 0.0)
        parameter.data.copy_(values.to(torch.float32).to(torch.float64).reshape(parameter.shape))
    assert not parameters, f"weights without a value: {list(parameters)}"
    tokens = torch.tensor([[(7 * i + 3) % 20 for i in range(TOKENS)]])
    with torch.no_grad():
        return model(tokens).logits[0].reshape(-1).tolist()


def main():
    cases = [{"model_type": t, "logits": [float(f"{x:.10g}") for x in logits(t)]} for t in ("llama", "qwen2", "qwen3")]
    versions = {"python": sys.version.split()[0], "torch": torch.__version__,
                "transformers": transformers.__version__, "numpy": numpy.__version__}
    head = {"generated_by": "make_llama.py", "what": "logits of tiny models of the Llama family",
            "versions": versions, "shape": SHAPE, "tokens": TOKENS}
    text = json.dumps(head)[:-1] + ',\n"cases": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n"
    (Path(__file__).parent / "llama.json").write_text(text)


main()
