"""Writes configs.json: configurations of every class with positions in attention, and what its code makes of them.

For every class of transformers: the default configuration as 5.x saves it. For every type in posenc's table as well:
the type alone, so that every key is missing; the older spelling with a scaling scheme; windows and few layers. What
the model's code does with each is asked of that code (config_probe.py). Where it cannot be asked, `failed` says why.
"""

import copy
import json
import random
import sys

import config_classes as cc
import config_probe
from golden_common import f32, header, write

TELLING = ("rope", "rotary", "position", "window", "attn", "attention", "head", "layer", "mask", "causal", "alibi",
           "relative", "bucket", "local", "global", "chunk", "pattern", "interval", "hybrid", "scalar", "multiplier",
           "softcap", "hidden_size", "d_model", "n_embd", "d_kv", "dim", "max_", "n_ctx", "block_type", "group_size",
           "multi_query", "channels", "decoder", "bidirectional", "block_types")
HARMLESS = ("dropout", "norm", "vision", "audio", "intermediate", "expert", "moe", "mlp", "router", "token", "label",
            "mamba", "ffn", "init", "_cache", "output_", "linear_", "chunk_size_feed", "time_", "conv_")


SCALED_BEFORE = ("OPTAttention",)  # queries are scaled where they are made
NOT_EXPRESSED = {"deepseek_v4", "nanochat", "phi3small", "t5", "mt5", "umt5", "switch_transformers", "pop2piano"}
COUNTED_OTHERWISE = ("ZambaAttention",)


def pruned(values):
    """The keys that bear on attention, and those that say how large the model is."""
    out = {}
    for key, value in values.items():
        if key == "model_type" or key.startswith("rope_") or key in cc.PARTS or key in ("attn_config", "alibi"):
            out[key] = pruned(value) if isinstance(value, dict) and key in cc.PARTS else value
        elif value is None and key in ("sliding_window", "head_dim"):
            out[key] = value
        elif key == "per_layer_config":
            out[key] = value
        elif any(word in key for word in TELLING) and not any(word in key for word in HARMLESS):
            if not isinstance(value, dict) and value is not None and not key.startswith("_"):
                out[key] = value
    return out


def clean(value):
    """As JSON has it: lists, plain numbers, no infinities."""
    return json.loads(json.dumps(value, default=str).replace("Infinity", "1e30").replace("NaN", "0"))


def language(config):
    """The configuration of the language model, and the keys that lead to it."""
    keys = []
    while True:
        for part in cc.PARTS:
            inner = config.__dict__.get(part)
            if isinstance(inner, cc.PreTrainedConfig):
                keys.append(part)
                config = inner
                break
        else:
            return config, keys


def reference(config, tables):
    """Kinds of layers as the model's code has them."""
    types = list(getattr(config, "layer_types", None) or [])
    answer = config_probe.ask(config)
    if answer.get("failed"):
        return {"failed": answer["failed"]}
    if not answer["calls"] and types and all(cc.LETTERS.get(t) in ("L", "V") for t in types):
        return {"kinds": []}
    if not answer["calls"]:
        return {"failed": "attention is not asked through the common interface"}
    kinds, seen = [], set()
    for order, call in enumerate(answer["calls"]):
        if call["module"] in COUNTED_OTHERWISE:
            return {"failed": "layers of attention have numbers of their own"}
        if call["module"] in SCALED_BEFORE:
            call["scale"] = None
        layer = call["layer"] if call["layer"] is not None else order
        if layer in seen:
            return {"failed": "several attentions in a layer"}
        seen.add(layer)
        mask = call["mask"]
        if isinstance(mask, str) and getattr(config, "attention_chunk_size", None):
            mask = "chunks"
        elif isinstance(mask, str) or (mask is None and call["has_mask"]):
            return {"failed": "mask %s" % mask}
        if mask is None:
            mask = [None, 0] if call["is_causal"] else [None, None]
        rotation = call["rotation"]
        if rotation is not None and "dim" not in rotation:
            return {"failed": "rotation %s" % rotation}
        kind = {"heads": call["heads"], "kv_heads": call["kv_heads"], "head_dim": call["head_dim"],
                "scale": call["scale"], "mask": mask}
        if rotation is not None:
            labels = answer["rope"]
            label = types[layer] if layer < len(types) and types[layer] in labels else ""
            if label not in labels:
                return {"failed": "no frequencies for a layer that rotates"}
            values, factor = labels[label]
            values = [f32(v) for v in values]
            if values not in tables:
                tables.append(values)
            kind["rotation"] = {"layout": rotation["layout"], "dim": rotation["dim"], "forward": rotation["forward"],
                                "frequencies": tables.index(values), "factor": factor}
        for known in kinds:
            if {k: v for k, v in known.items() if k != "layers"} == kind:
                known["layers"].append(layer)
                break
        else:
            kinds.append({**kind, "layers": [layer]})
    return {"kinds": kinds}


def runs(layers):
    """[first, last, first, last, ...] of neighbours."""
    out = []
    for layer in sorted(layers):
        if out and out[-1] == layer - 1:
            out[-1] = layer
        else:
            out += [layer, layer]
    return out


def variants(model_type, cls, rng):
    """(name, keys) of configurations to vary from the defaults."""
    defaults = cc.raw_defaults(cls)
    base = {"model_type": model_type}
    yield "type alone", base
    schemes = [{"type": "linear", "factor": rng.choice([2.0, 4.0])},
               {"rope_type": "yarn", "factor": rng.choice([4.0, 8.0]), "original_max_position_embeddings": 4096},
               {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 2048},
               {"type": "dynamic", "factor": 2.0}]
    layers = {"num_hidden_layers": 9} if "num_hidden_layers" in defaults else {}
    if "rope_parameters" in defaults:
        yield "older spelling", {**base, **layers, "rope_theta": float(rng.choice([20000, 250000, 1000000])),
                                 "max_position_embeddings": 16384, "rope_scaling": rng.choice(schemes)}
    if "sliding_window" in defaults:
        keys = {**base, **layers, "sliding_window": rng.choice([128, 1000, 4096])}
        if "use_sliding_window" in defaults:
            keys["use_sliding_window"] = True
        if "max_window_layers" in defaults:
            keys["max_window_layers"] = rng.choice([2, 5])
        yield "windows", keys
    if layers:
        yield "few layers", {**base, "num_hidden_layers": rng.choice([5, 7, 11])}


def main():
    only = set(sys.argv[1:])
    rng = random.Random(12)
    known = cc.known_types()
    tables, cases, memory = [], [], {}
    for model_type, cls in cc.classes():
        if only and model_type not in only:
            continue
        try:
            config = cls()
        except Exception as error:
            print("left out:", cls.__name__, str(error)[:60].replace("\n", " "))
            continue
        inner, keys = language(config)
        jobs = [("default", clean(config.to_dict()), lambda: inner)]
        if model_type in known and not keys:
            jobs += [(name, values, lambda v=values: cls(**copy.deepcopy({k: x for k, x in v.items()
                                                                          if k != "model_type"})))
                     for name, values in variants(model_type, cls, rng)]
        for name, values, make in jobs:
            case = {"type": model_type, "class": cls.__name__, "name": name, "file": pruned(values)}
            try:
                asked = make()
                memo = json.dumps(clean(asked.to_dict()), sort_keys=True)
                if memo not in memory:
                    memory[memo] = (reference(asked, tables) if asked.model_type in known - NOT_EXPRESSED
                                    else {"failed": "the type is not in the table"})
                found = copy.deepcopy(memory[memo])
            except Exception as error:
                found = {"failed": "%s: %s" % (type(error).__name__, str(error).split("\n")[0][:90])}
            if name != "default" and "failed" in found:
                continue
            for kind in found.get("kinds", []):
                kind["layers"] = runs(kind["layers"])
            cases.append({**case, **found})
            print(cls.__name__, name, found.get("failed", "asked"), flush=True)
    head = header("make_configs.py", "configurations, and what the code of their models does about positions")
    write("configs.json", head, {"frequencies": tables, "cases": cases})


if __name__ == "__main__":
    main()
