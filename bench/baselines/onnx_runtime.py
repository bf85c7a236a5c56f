# SPDX-License-Identifier: MIT
"""ONNX Runtime's attention operators on the CPU, on the sizes of bench_attention.

Of the domain com.microsoft, without rotation: GroupQueryAttention, which is always causal, and
MultiHeadAttention for what is not (with a causal mask it would hold all scores in memory).
"""
import sys

import rows

options = rows.arguments(__doc__)
try:
    import numpy
    import onnxruntime
    from onnx import TensorProto, helper
except ImportError as error:
    rows.skip(f"onnx_runtime.py: no rows, {error} (pip install -r bench/baselines/requirements.txt).")


def model(size, causal):
    shapes = {"q": size.heads, "k": size.kv_heads, "v": size.kv_heads, "out": size.heads}
    value = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size.tokens, heads * size.width])
             for name, heads in shapes.items()}
    inputs, constants = ["q", "k", "v"], []
    outputs = ["out"]
    if not causal:
        kind = "MultiHeadAttention"
        attributes = {"num_heads": size.heads}
    else:
        kind = "GroupQueryAttention"
        attributes = {"num_heads": size.heads, "kv_num_heads": size.kv_heads, "do_rotary": 0}
        constants = [helper.make_tensor("last", TensorProto.INT32, [1], [size.tokens - 1]),
                     helper.make_tensor("tokens", TensorProto.INT32, [], [size.tokens])]
        inputs += ["", "", "last", "tokens"]
        outputs += ["present_key", "present_value"]
    node = helper.make_node(kind, inputs, outputs, domain="com.microsoft", **attributes)
    graph = helper.make_graph([node], "attention", [value["q"], value["k"], value["v"]], [value["out"]], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


class Attention:
    def __init__(self, size, causal, threads):
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(model(size, causal), settings, providers=["CPUExecutionProvider"])
        random = numpy.random.default_rng(1)
        self.q, self.k, self.v = (
            random.standard_normal((1, size.tokens, heads * size.width), dtype=numpy.float32)
            for heads in (size.heads, size.kv_heads, size.kv_heads))
        self.out = numpy.zeros_like(self.q)
        # Bound, so that no memory is allocated for the result in a call.
        self.binding = self.session.io_binding()
        self.bound = {name: onnxruntime.OrtValue.ortvalue_from_numpy(x)
                      for name, x in (("q", self.q), ("k", self.k), ("v", self.v), ("out", self.out))}
        for name in "qkv":
            self.binding.bind_ortvalue_input(name, self.bound[name])
        self.binding.bind_ortvalue_output("out", self.bound["out"])

    def __call__(self):
        self.session.run_with_iobinding(self.binding)


def check(kv_heads, causal):
    """The operator must compute what the formula says."""
    size = rows.Size(tokens=100, heads=4, kv_heads=kv_heads)
    attention = Attention(size, causal, 1)
    attention()
    q, k, v = (x.reshape(size.tokens, -1, size.width).swapaxes(0, 1).astype(float)
               for x in (attention.q, attention.k, attention.v))
    k, v = (numpy.repeat(x, size.heads // kv_heads, axis=0) for x in (k, v))
    scores = q @ k.swapaxes(1, 2) / size.width**0.5
    if causal:
        scores[:, numpy.triu(numpy.ones((size.tokens, size.tokens), bool), 1)] = -numpy.inf
    weights = numpy.exp(scores - scores.max(-1, keepdims=True))
    expected = (weights / weights.sum(-1, keepdims=True)) @ v
    out = attention.bound["out"].numpy().reshape(size.tokens, size.heads, size.width).swapaxes(0, 1)
    difference = abs(out - expected).max()
    if difference > 1e-5:
        sys.exit(f"onnx_runtime.py: attention of {kv_heads} key heads differs from the formula by {difference}.")


check(4, False)
check(4, True)
check(2, True)
report = rows.Report({"onnxruntime": onnxruntime.__version__})
for threads in rows.one_and_all_threads():
    for size in rows.sizes(options):
        for causal in (True, False) if size.heads == size.kv_heads else (True,):
            report.measure("onnxruntime", causal, size, threads, Attention(size, causal, threads))
report.write(options)
