"""Helpers shared by the golden-file scripts: headers, number printing, JSON writing."""

import json
import os
import platform

import numpy as np
import torch
import transformers

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()

HERE = os.path.dirname(os.path.abspath(__file__))


def header(script, what):
    return {
        "generated_by": script,
        "what": what,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": np.__version__,
        },
    }


def f32(x):
    """A float32 as the double whose shortest decimal form is the shortest that reads back as that float32."""
    s = np.float32(x)
    d = float(str(s))
    if not np.float32(d) == s:
        raise ValueError("float32 does not round-trip: %r" % x)
    return d


def f32_list(t):
    return [f32(v) for v in np.asarray(t.detach().cpu() if hasattr(t, "detach") else t, dtype=np.float32).reshape(-1)]


def digits(x, n=10):
    """A double cut to n significant digits."""
    return float("%.*g" % (n, x))


def dumps(obj):
    return json.dumps(obj, separators=(",", ":"), allow_nan=False)


def write(name, head, sections):
    """Writes {header..., section: [one item per line]} so that a changed case is one changed line."""
    path = os.path.join(HERE, name)
    with open(path, "w", encoding="ascii", newline="\n") as out:
        out.write("{\n")
        out.write(",\n".join("%s:%s" % (json.dumps(k), dumps(v)) for k, v in head.items()))
        for key, items in sections.items():
            out.write(",\n%s:[\n" % json.dumps(key))
            out.write(",\n".join(dumps(item) for item in items))
            out.write("\n]")
        out.write("\n}\n")
    print("%-22s %8.1f KiB  %s" % (name, os.path.getsize(path) / 1024, {k: len(v) for k, v in sections.items()}))
