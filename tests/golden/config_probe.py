"""What a model of transformers does about positions, asked of its own code: no weights are made.

The model is built on the meta device and run on five tokens. In the place of attention stands a probe, which records
what every layer hands to it: heads, scale, and the mask as a function of two indices, of which it asks how far a query
sees. In the place of each function that rotates stands one that rotates unit vectors as well, from which the pairs of
channels and the direction in which they turn follow. Frequencies are those of the model's own rotary modules.
"""

import sys

import torch
from torch import nn
from transformers import masking_utils
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

TOKENS = 5
FAR = 1 << 40
STUBS = ("mlp", "moe", "experts", "feedforward", "mamba", "gateddelta", "shortconv", "lightning", "recurrentblock",
         "linearattention", "kimidelta", "indexer", "ffn", "lrublock")
state = {"calls": [], "rotation": None}


def extent(sees):
    """The greatest distance at which sees(distance) holds, of a rule that ends somewhere; None: it never ends."""
    if not sees(0):
        return -1
    if sees(FAR):
        return None
    low, high = 0, FAR
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sees(middle) else (low, middle)
    return low


def probe_mask(*args, mask_function=None, q_length=TOKENS, kv_length=TOKENS, **kwargs):
    out = torch.empty(1, 1, q_length, kv_length, device="meta")
    try:
        def sees(query, key):
            return bool(mask_function(*(torch.tensor(index) for index in (0, 0, query, key))))

        at = 1 << 41
        past = extent(lambda d: sees(at, at - d))
        ahead = extent(lambda d: sees(at, at + d))
        out.probe = [past, ahead]
    except Exception as error:
        out.probe = "not asked: " + type(error).__name__
    return out


def probe_attention(module, query, key, value, attention_mask, scaling=None, **kwargs):
    mask = getattr(attention_mask, "probe", None) if attention_mask is not None else None
    state["calls"].append({
        "module": type(module).__name__, "layer": getattr(module, "layer_idx", None),
        "heads": query.shape[1], "kv_heads": key.shape[1], "head_dim": query.shape[-1],
        "scale": None if scaling is None else float(scaling), "mask": mask,
        "has_mask": attention_mask is not None, "is_causal": getattr(module, "is_causal", None),
        "rotation": state["rotation"]})
    state["rotation"] = None
    out = torch.empty(query.shape[0], query.shape[2], query.shape[1], value.shape[-1], device="meta")
    return out, None


# Whether several sequences are packed in one is asked of the values of positions, which nobody has here.
masking_utils.find_packed_sequence_indices = lambda position_ids: None
ALL_ATTENTION_FUNCTIONS.register("probe", probe_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register("probe", probe_mask)


def pairs_of(function, args, kwargs):
    """Layout, rotated channels and direction of a function of (q, k, cos, sin)."""
    q = args[0]
    width = q.shape[-1]
    heads_first = q.ndim == 4 and q.shape[2] == TOKENS
    shape = (1, width, TOKENS, width) if heads_first else (1, TOKENS, width, width)
    unit = torch.zeros(shape)
    for c in range(width):
        (unit[0, c, :, c] if heads_first else unit[0, :, c, c]).fill_(1.0)
    tensors = [a for a in args[1:] if isinstance(a, torch.Tensor)]
    new = [unit]
    wide = [a for a in tensors if a.ndim == q.ndim and a.shape[-1] == width]
    if wide:
        new.append(unit.clone())
    if tensors and torch.is_complex(tensors[-1]):  # cos and sin as one number
        turn = torch.full(tensors[-1].shape, 0.6 + 0.8j)
        out = function(unit, unit.clone(), turn)
        return pairs_from(out[0], width, heads_first)
    cos_sin = [a for a in tensors if not any(a is w for w in wide[:1])][:2]
    named = {n: kwargs[n] for n in ("cos", "sin") if n in kwargs}
    for n in named:
        kwargs = {**kwargs, n: torch.full(named[n].shape, 0.6 if n == "cos" else 0.8)}
    new += [torch.full(a.shape, v) for a, v in zip(cos_sin, (0.6, 0.8))]
    rest = [a for a in args[1:] if not isinstance(a, torch.Tensor)]
    kwargs = {n: v for n, v in kwargs.items() if not (isinstance(v, torch.Tensor) and v.device.type == "meta")}
    out = function(*new, *rest, **kwargs)
    return pairs_from(out[0] if isinstance(out, tuple) else out, width, heads_first)


def pairs_from(out, width, heads_first):
    """The pairs of channels that mix, from rotated unit vectors."""
    rows = (out[0, :, 0, :] if heads_first else out[0, 0, :, :]).double()
    touched = (rows.abs() > 1e-6).double()
    mixed = (touched @ touched.T > 0) & ~torch.eye(width, dtype=torch.bool)
    partner = {int(c): int(other) for c, other in mixed.nonzero()}
    turned = sorted(partner)
    if not turned:
        raise ValueError("nothing turned")
    first, count = turned[0], len(turned)
    half = all(partner[first + i] == first + i + count // 2 for i in range(count // 2))
    interleaved = all(partner[first + 2 * i] == first + 2 * i + 1 for i in range(count // 2))
    a, b = rows[first], rows[partner[first]]
    real, imaginary = int((a - 0.6).abs().argmin()), int((a.abs() - 0.8).abs().argmin())
    forward = abs(float(b[real]) + 0.8) < 1e-5 and abs(float(b[imaginary]) - 0.6) < 1e-5 and float(a[imaginary]) > 0
    layout = "half_split" if half else "interleaved" if interleaved else "other"
    if half and interleaved:
        layout = "either"
    return {"layout": layout, "dim": count, "first": first, "forward": forward, "of": width}


def wrap_rotations(module):
    """Replaces the functions that rotate, in a module of transformers; returns how to undo it."""
    undo = {}
    cache = {}
    for name, function in list(vars(module).items()):
        if not (callable(function) and name.startswith("apply_") and "rot" in name) or isinstance(function, type):
            continue

        def wrapped(*args, function=function, name=name, **kwargs):
            q = args[0] if args else kwargs.get("q")
            key = (name, tuple(q.shape)) if q is not None else None
            if key not in cache:
                try:
                    cache[key] = pairs_of(function, args, kwargs)
                except Exception as error:
                    cache[key] = {"layout": "not asked: " + type(error).__name__}
            state["rotation"] = cache[key]
            return function(*args, **kwargs)

        undo[name] = function
        setattr(module, name, wrapped)
    return undo


class Stub(nn.Module):
    def __init__(self, as_tuple):
        super().__init__()
        self.as_tuple = as_tuple

    def forward(self, *args, **kwargs):
        x = args[0] if args else next(v for v in kwargs.values() if isinstance(v, torch.Tensor))
        return (x, None) if self.as_tuple else x


def stub_out(model, as_tuple):
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            kind = type(child).__name__.lower()
            if kind.endswith(("decoderlayer", "model", "layer", "rotaryembedding", "norm")):
                continue
            if any(word in kind for word in STUBS) and "attention" not in kind.replace("linearattention", ""):
                setattr(parent, name, Stub(as_tuple))


def model_class(config):
    from transformers.models.auto.modeling_auto import MODEL_MAPPING
    try:
        found = MODEL_MAPPING[type(config)]
        return found[0] if isinstance(found, (list, tuple)) else found
    except KeyError:
        pass
    name = type(config).__module__.replace("configuration_", "modeling_")
    __import__(name)
    for cls in vars(sys.modules[name]).values():
        if isinstance(cls, type) and getattr(cls, "config_class", None) is type(config) and issubclass(cls, nn.Module):
            if cls.__module__ == name and cls.__name__.endswith("Model") and "PreTrained" not in cls.__name__:
                return cls
    for cls in vars(sys.modules[name]).values():
        if isinstance(cls, type) and getattr(cls, "config_class", None) is type(config) and issubclass(cls, nn.Module):
            if cls.__module__ == name and "PreTrained" not in cls.__name__:
                return cls
    raise KeyError(type(config).__name__)


def frequencies(model, config):
    """{label: (frequencies, factor)} of the model's rotary modules; the label is "" or a kind of layer."""
    found = {}
    for module in model.modules():
        names = [n for n, _ in module.named_buffers(recurse=False) if n.endswith("inv_freq") and "original" not in n]
        if not names:
            continue
        try:
            real = type(module)(config)
        except Exception:
            try:
                real = type(module)(config=config, device="cpu")
            except Exception:
                continue
        for name in names:
            label = name[:-len("inv_freq")].rstrip("_")
            factor = getattr(real, (label + "_" if label else "") + "attention_scaling", 1.0)
            value = getattr(real, name)
            if type(real).__name__.startswith("Ernie4_5_VL"):  # height and width, which take turns, lie apart
                apart = 2 * real.mrope_section[0]
                value = torch.cat([value[:apart].reshape(2, -1).T.reshape(-1), value[apart:]])
            if label not in found and value is not None and value.device.type == "cpu":
                found[label] = ([float(v) for v in value.float().reshape(-1)], float(factor))
    return found


def ask(config):
    """The calls of attention of one run of a model, its frequencies, and how it was run."""
    cls = model_class(config)
    failures = []
    for as_tuple in (False, True):
        config._attn_implementation = "probe"
        with torch.device("meta"):
            model = cls(config)
        model.eval()
        stub_out(model, as_tuple)
        module = sys.modules[cls.__module__]
        undo = wrap_rotations(module)
        state["calls"], state["rotation"] = [], None
        try:
            with torch.no_grad():
                ids = torch.zeros(1, TOKENS, dtype=torch.long, device="meta")
                try:
                    model(input_ids=ids, use_cache=False)
                except Exception as error:
                    state["calls"], state["rotation"] = [], None
                    size = getattr(config, "image_size", None)
                    if isinstance(size, int):
                        shape = (1, getattr(config, "num_channels", 3), size, size)
                        model(pixel_values=torch.empty(shape, device="meta"))
                    elif isinstance(error, TypeError):
                        model(input_ids=ids)
                    else:
                        raise
            return {"calls": list(state["calls"]), "rope": frequencies(model, config), "class": cls.__name__}
        except Exception as error:
            failures.append("%s: %s" % (type(error).__name__, str(error).split("\n")[0][:90]))
            last = {"calls": list(state["calls"]), "rope": frequencies(model, config), "class": cls.__name__}
        finally:
            for name, function in undo.items():
                setattr(module, name, function)
    last["failed"] = failures[0]
    return last


if __name__ == "__main__":
    import config_classes as cc
    for model_type, cls in cc.classes():
        if model_type in sys.argv[1:]:
            answer = ask(cls())
            for call in answer["calls"][:3] + answer["calls"][-1:]:
                print(call)
            print({k: (len(v[0]), v[0][:2], v[0][-1], v[1]) for k, v in answer["rope"].items()},
                  answer.get("failed"), answer["class"], len(answer["calls"]))
