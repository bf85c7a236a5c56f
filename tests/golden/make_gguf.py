"""Blocks of every type as the Python package gguf dequantises them, and a whole file as it writes one."""

import json
import os
import platform
import tempfile
from importlib.metadata import version

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

HERE = os.path.dirname(os.path.abspath(__file__))

# Halfs with which conversions go wrong first: zeros, subnormals, the least normal one, the greatest, ones.
HALFS = [0x0000, 0x8000, 0x0001, 0x8001, 0x0200, 0x03FF, 0x83FF, 0x0400, 0x8400, 0x7BFF, 0xFBFF, 0x3C00, 0xBC00, 0x3555]

# Where a block of each type has its halfs, in bytes.
HALFS_AT = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
}

# Rows, and blocks in a row.
SHAPES = {Type.Q4_K: (4, 3), Type.Q5_K: (4, 3), Type.Q6_K: (4, 3)}


def finite_half(random):
    half = int(random.integers(0, 1 << 16))
    return half if half & 0x7C00 != 0x7C00 else half ^ 0x4000


def blocks(kind, random):
    """[rows, bytes of a row]: quants, 6-bit and 8-bit scales are random bytes, among them blocks of zeros and of ones."""
    rows, per_row = SHAPES.get(kind, (6, 4))
    size = gguf.GGML_QUANT_SIZES[kind][1]
    data = random.integers(0, 256, (rows * per_row, size), dtype=np.uint8)
    data[1], data[2] = 0, 255
    for at in HALFS_AT[kind]:
        special = list(random.permutation(HALFS))
        for i in range(rows * per_row):
            half = special.pop() if special and i % 2 == 0 else finite_half(random)
            data[i, at:at + 2] = [half & 255, half >> 8]
    return data.reshape(rows, per_row * size)


def single(kind, random):
    """Rows of 37, no multiple of anything. NaN is left to bfloat16, whose bits are only moved."""
    bits = 32 if kind == Type.F32 else 16
    numbers = [int(x) for x in random.integers(0, 1 << bits, 74)]
    if kind == Type.F16:
        numbers = HALFS + [0x7C00, 0xFC00] + [finite_half(random) for _ in range(58)]
    elif kind == Type.BF16:
        numbers[:8] = [0x0000, 0x8000, 0x0001, 0x807F, 0x7F7F, 0x7F80, 0xFF80, 0x7FC0]
    else:
        numbers[:6] = [0x00000000, 0x80000000, 0x00000001, 0x7F7FFFFF, 0x7F800000, 0x7FC00000]
    return np.array(numbers, dtype="<u%d" % (bits // 8)).view(np.uint8).reshape(2, -1)


def bits_of(floats):
    """Eight hex digits for each."""
    return "".join("%08x" % bits for bits in np.asarray(floats, dtype=np.float32).ravel().view(np.uint32))


def case(kind, random):
    data = blocks(kind, random) if kind in HALFS_AT else single(kind, random)
    floats = gguf.dequantize(data, kind)
    return {
        "type": int(kind),
        "name": kind.name,
        "shape": [int(floats.shape[1]), int(floats.shape[0])],
        "blocks": data.tobytes().hex(),
        "floats": bits_of(floats),
    }


def whole_file(random):
    """A file with a key of every type and three tensors, in hex, with what it says."""
    values = {
        "uint8": 200, "int8": -100, "uint16": 60000, "int16": -30000, "uint32": 4000000000, "int32": -2000000000,
        "uint64": 9000000000000000000, "int64": -9000000000000000000, "float32": 0.15625, "float64": 0.1,
        "bool": True, "string": "Grüße",
    }
    arrays = {"array.integers": [1, -2, 300], "array.floats": [0.5, -1.25], "array.bools": [True, False],
              "array.strings": ["a", "", "ccc"]}
    tensors = {"norm": (Type.F32, random.standard_normal((3, 5)).astype(np.float32)),
               "half": (Type.F16, random.standard_normal((2, 3, 4)).astype(np.float16)),
               "blocks": (Type.Q4_1, blocks(Type.Q4_1, random))}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "golden.gguf")
        writer = gguf.GGUFWriter(path, "golden")
        writer.add_custom_alignment(64)
        for name, value in values.items():
            getattr(writer, "add_" + name)("value." + name, value)
        for name, value in arrays.items():
            writer.add_array(name, value)
        for name, (kind, data) in tensors.items():
            writer.add_tensor(name, data, raw_dtype=kind if kind in HALFS_AT else None)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with open(path, "rb") as f:
            content = f.read()
        said = [{"name": t.name, "type": int(t.tensor_type), "shape": [int(n) for n in t.shape],
                 "floats": bits_of(gguf.dequantize(t.data, t.tensor_type))} for t in gguf.GGUFReader(path).tensors]
    return {"bytes": content.hex(), "values": values, "arrays": arrays, "tensors": said}


def dumps(value):
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def main():
    random = np.random.default_rng(20)
    kinds = [Type.F32, Type.F16, Type.BF16, *HALFS_AT]
    versions = {"python": platform.python_version(), "gguf": version("gguf"), "numpy": np.__version__}
    cases = [case(kind, random) for kind in kinds]
    sections = [("generated_by", dumps("make_gguf.py")), ("what", dumps(__doc__)), ("versions", dumps(versions)),
                ("cases", "[\n%s\n]" % ",\n".join(map(dumps, cases))), ("file", dumps(whole_file(random)))]
    with open(os.path.join(HERE, "gguf.json"), "w", encoding="ascii", newline="\n") as out:
        out.write("{\n%s\n}\n" % ",\n".join('"%s":%s' % section for section in sections))


main()
