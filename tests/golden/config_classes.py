"""The configuration classes of transformers, and what they fill in when a key is missing."""

import dataclasses
import importlib
import inspect
import os
import re
import warnings

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
warnings.filterwarnings("ignore")

import transformers  # noqa: E402
from transformers import PreTrainedConfig  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = os.path.join(HERE, "..", "..", "include", "posenc", "config")
PARTS = ("thinker_config", "vlm_config", "text_config", "llm_config", "language_config")

# Keys whose defaults the reader asks for. (Those of types with a table of positions: only the shape of heads.)
SHAPE = ["num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads", "num_key_value_heads",
         "num_kv_heads", "num_hidden_layers", "n_layer", "n_layers", "num_layers", "hidden_size", "n_embd", "d_model",
         "dim", "head_dim", "attention_head_dim", "kv_channels", "d_kv", "max_position_embeddings", "n_positions", "n_ctx"]
POSITIONS = ["qk_nope_head_dim", "qk_rope_head_dim", "rotary_dim", "partial_rotary_factor", "sliding_window",
             "sliding_window_size", "window_size", "attention_window_size", "local_attention", "use_sliding_window",
             "max_window_layers", "no_rope_layer_interval", "attention_chunk_size", "query_pre_attn_scalar",
             "attention_multiplier", "rope_interleave", "global_head_dim", "num_global_key_value_heads",
             "attention_k_eq_v", "attn_scale", "floor_scale", "relative_attention_num_buckets",
             "relative_attention_max_distance", "position_buckets", "max_relative_positions", "attn_logit_softcapping",
             "mla_use_nope", "multi_query"]
# What constructors take without having it as a field.
EXTRA = {"gpt_neo": {"default_layers": "!" + 12 * "FS"}, "jamba": {"attn_layer_period": 8, "attn_layer_offset": 4},
         "gemma4_text": {"global_head_dim": 512}, "gemma4_unified_text": {"global_head_dim": 512},
         "embedding_gemma2_text": {"global_head_dim": 512, "num_global_key_value_heads": 1, "attention_k_eq_v": True}}
LETTERS = {"full_attention": "F", "sliding_attention": "S", "chunked_attention": "C", "indexed_attention": "I",
           "hybrid": "H", "hybrid_sliding": "h", "linear_attention": "L", "conv": "V", "moe": "E", "mlp": "M",
           "cross_attention": "X"}


def classes():
    """(model type, class) of every configuration class, by module."""
    base = os.path.join(os.path.dirname(transformers.__file__), "models")
    found = []
    for folder in sorted(os.listdir(base)):
        path = os.path.join(base, folder)
        if not os.path.isdir(path):
            continue
        for name in sorted(os.listdir(path)):
            if not (name.startswith("configuration_") and name.endswith(".py")):
                continue
            module = importlib.import_module(f"transformers.models.{folder}.{name[:-3]}")
            for cls in vars(module).values():
                if inspect.isclass(cls) and issubclass(cls, PreTrainedConfig) and cls.__module__ == module.__name__:
                    found.append((cls.model_type, cls))
    return found


def known_types():
    """The model types of the table of architectures."""
    text = open(os.path.join(CONFIG, "architecture_table.hpp")).read()
    rows = text[text.index("architecture_rows[]"):text.index("// clang-format on")]
    types = set()
    for row in re.findall(r'\{((?:"[^"]*"\s*)+),', rows):
        for part in re.findall(r'"([^"]*)"', row):
            types.update(part.split())
    return types


def raw_defaults(cls):
    return {f.name: f.default for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING}


def layer_letters(cls, config):
    """The kinds of layers that a class derives, a letter each: a period, or '!' and all of them."""
    types = getattr(config, "layer_types", None)
    count = getattr(config, "num_hidden_layers", None)
    if not isinstance(types, (list, tuple)) or not isinstance(count, int) or len(types) != count:
        return None
    if any(t not in LETTERS for t in types):
        return None

    def letters(n):
        try:
            return "".join(LETTERS[t] for t in cls(num_hidden_layers=n).layer_types)
        except Exception:
            return None

    whole = "".join(LETTERS[t] for t in types)
    longer = letters(2 * count) or ""
    for period in range(1, min(count, 25)):
        text = whole[:period]
        # The last layer may be full by a rule of its own; the table says so.
        if all((text * n)[:n - 1] == (letters(n) or "?")[:n - 1] for n in (count, count + 1, count + 2, 2 * count)):
            if longer[:-1] == (text * (2 * count))[:2 * count - 1]:
                return text
    return "!" + whole


def class_defaults(cls):
    """What the class fills in, under the keys that the reader asks for."""
    config = cls()
    raw = raw_defaults(cls)
    out = {}
    for key in SHAPE + POSITIONS:
        value = raw.get(key)
        if value is None or isinstance(value, (dict, str)) or callable(value):
            continue
        if isinstance(value, (list, tuple)):
            continue
        if key.startswith("use_") and value is False:
            continue
        out[key] = value
    for key, value in [("attn_logit_softcapping", 0), ("multi_query", True)]:
        if out.get(key) == value:
            del out[key]
    rope = getattr(config, "rope_parameters", None)
    if isinstance(rope, dict) and rope and not isinstance(next(iter(rope.values())), dict):
        rope = dict(rope)
        partial = rope.pop("partial_rotary_factor", None)
        if partial not in (None, 1.0):
            out["partial_rotary_factor"] = partial
        theta = rope.pop("rope_theta", None)
        if theta is not None and theta != 10000.0:
            out["rope_theta"] = theta
        given = raw.get("rope_parameters")
        if rope.get("rope_type", "default") not in ("default", "axial"):
            if theta is not None:
                rope["rope_theta"] = theta
            out["rope_parameters"] = rope
        del given
    elif isinstance(rope, dict) and rope:
        full, local = rope.get("full_attention") or {}, rope.get("sliding_attention") or {}
        simple = all(set(d) <= {"rope_type", "rope_theta"} and d.get("rope_type") == "default" for d in (full, local))
        flat = {"gemma3_text", "gemma3n_text", "olmo3", "modernbert", "modernbert-decoder"}
        if simple and cls.model_type in flat:
            out["rope_theta"] = full["rope_theta"]
            if local["rope_theta"] != full["rope_theta"]:
                out["rope_local_base_freq"] = local["rope_theta"]
        else:
            out["rope_parameters"] = rope
    letters = layer_letters(cls, config)
    if letters is not None:
        out["default_layers"] = letters
    out.update(EXTRA.get(cls.model_type, {}))
    return out


def part_defaults(cls):
    """[(key, type, own)] of the language part of a class; own: the outer object has positions as well."""
    config = cls()
    for part in PARTS:
        inner = config.__dict__.get(part)
        if isinstance(inner, PreTrainedConfig) and inner.model_type:
            own = any(config.__dict__.get(key) for key in ("rope_parameters", "max_position_embeddings"))
            return [(part, inner.model_type, own)]
    return []
