# SPDX-License-Identifier: MIT
"""Folders checkpoints/<family> as transformers and tokenizers save them, of random weights, and what these make of them.

Each has a model of 4 layers of 16 channels (config.json, safetensors) and a tokenizer of some 300 tokens
(tokenizer.json). golden.json: for each family ids of strings, and logits in float64 of the weights as they are stored,
of a text longer than the trained lengths and windows.
"""

import json
import shutil
import sys
from pathlib import Path

import safetensors
import tokenizers
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from make_tokens import CORPUS, published

HERE = Path(__file__).parent / "checkpoints"
SHAPE = dict(hidden_size=16, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, intermediate_size=24,
             rms_norm_eps=1e-5)
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 1000.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16, "rope_theta": 500.0}

# Of each family: what its configuration has besides, the numbers' type, and the size of a shard.
FAMILIES = {
    "llama": (dict(head_dim=8, rope_parameters=LLAMA3, max_position_embeddings=128, tie_word_embeddings=False),
              torch.float32, "20KB"),
    "mistral": (dict(head_dim=8, sliding_window=8, max_position_embeddings=64, tie_word_embeddings=False,
                     rope_parameters={"rope_type": "default", "rope_theta": 10000.0}), torch.float16, "1MB"),
    "qwen2": (dict(rope_parameters=YARN, max_position_embeddings=64, tie_word_embeddings=True), torch.bfloat16, "1MB"),
    "qwen3": (dict(head_dim=8, max_position_embeddings=64, tie_word_embeddings=True, use_sliding_window=True,
                   sliding_window=8, max_window_layers=2,
                   rope_parameters={"rope_type": "default", "rope_theta": 1e6}), torch.bfloat16, "1MB"),
    "smollm3": (dict(no_rope_layer_interval=4, max_position_embeddings=64, tie_word_embeddings=True,
                     pad_token_id=0, bos_token_id=0, eos_token_id=0,
                     rope_parameters={"rope_type": "default", "rope_theta": 2e6}), torch.float16, "1MB"),
}

STRINGS = ["", "a", "The wind came down from the hills.", "It's late, she said; we'll have to go, THEY'RE waiting.",
           "  two spaces\n\n\tand a tab \r\n", "1897, 12 names and 4 numbers: 3.14159", "Gr\u00f6\u00dfe, Stra\u00dfe, \u00fcber",
           "caf\u0065\u0301 n\u0303 \u1112\u1161\u11ab A\u030a\u0327", "\u0928\u093f \u0915\u093c \u0958 \u212b \uf900",
           "晚上风从山上吹下来", "emoji \U0001f468\u200d\U0001f469 \u2764\ufe0f", "x = values[i] + 0x1F; // comment",
           "a \u2581b", " leading", "trailing ", "before<|end|>after <|start|> <|end|>", "<tool>3</tool>"]


def split(numbers):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(published(numbers)), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level(pre, normalizer=None, ignore_merges=False):
    result = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    result.pre_tokenizer = pre
    if normalizer:
        result.normalizer = normalizer
    result.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                                  show_progress=False, special_tokens=["<|start|>", "<|end|>"])
    result.train_from_iterator([CORPUS], trainer)
    result.add_tokens(["<tool>"])
    return result


def by_characters():
    """As Llama 2 and Mistral 7B: characters, spaces as U+2581, bytes where a character has no token."""
    vocabulary = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    ascii_text = "".join(c for c in CORPUS if ord(c) < 0x250)
    trained.train_from_iterator([line for line in ascii_text.split("\n")],
                                trainers.BpeTrainer(vocab_size=150, show_progress=False, special_tokens=["<unk>"]))
    model = json.loads(trained.to_str())["model"]
    vocabulary += [token for token in sorted(model["vocab"], key=model["vocab"].get) if token != "<unk>"]
    merges = [tuple(merge) for merge in model["merges"]]
    result = Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, merges, unk_token="<unk>",
                                  fuse_unk=True, byte_fallback=True))
    result.normalizer = trained.normalizer
    result.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                        decoders.Strip(content=" ", left=1)])
    result.add_special_tokens(["<unk>", "<s>", "</s>"])
    result.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return result


def tokenizer(family):
    if family == "llama":
        result = byte_level(split(r"\p{N}{1,3}"), ignore_merges=True)
        start = result.token_to_id("<|start|>")
        result.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="<|start|> $A", special_tokens=[("<|start|>", start)])])
        return result
    if family == "mistral":
        return by_characters()
    if family == "smollm3":
        return byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]))
    return byte_level(split(r"\p{N}"), normalizers.NFC())


def make(family):
    more, dtype, shard = FAMILIES[family]
    folder = HERE / family
    shutil.rmtree(folder, ignore_errors=True)
    words = tokenizer(family)
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(family, **SHAPE, **more, vocab_size=words.get_vocab_size())
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.2 + (1.0 if "norm" in name else 0.0))
    model = model.to(dtype).eval()
    model.save_pretrained(folder, max_shard_size=shard)
    (folder / "generation_config.json").unlink(missing_ok=True)
    words.save(str(folder / "tokenizer.json"), pretty=False)
    ids = {text: words.encode(text, add_special_tokens=False).ids for text in STRINGS}
    first = [i for i in words.encode("a").ids if i not in words.encode("a", add_special_tokens=False).ids]
    tokens = words.encode("The wind came down from the hills, it's late.").ids[:40]
    assert len(tokens) > 20, tokens
    # Read again: the frequencies of the model that was rounded are rounded, too.
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
    with torch.no_grad():
        logits = model.eval()(torch.tensor([tokens])).logits[0][:, ::10]
    return {"family": family, "layers": SHAPE["num_hidden_layers"], "first": first, "tokens": tokens, "every": 10,
            "logits": [float(f"{x:.9g}") for x in logits.reshape(-1).tolist()],
            "texts": [{"text": text, "ids": of} for text, of in ids.items()]}


def main():
    HERE.mkdir(exist_ok=True)
    cases = [make(family) for family in FAMILIES]
    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "transformers": transformers.__version__,
                "tokenizers": tokenizers.__version__, "safetensors": safetensors.__version__}
    head = {"generated_by": "make_checkpoints.py", "what": "ids and logits of the folders beside this file",
            "versions": versions}
    text = json.dumps(head)[:-1] + ',\n"cases": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n"
    (HERE / "golden.json").write_text(text)


if __name__ == "__main__":
    main()
