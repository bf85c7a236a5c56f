"""Writes axes_rotated.json and xpos_rotated.json from the reference implementations (see README.md).

xPos comes from torchscale: pip install --no-deps torchscale==0.3.0 (its other dependencies are not needed here).
"""

import importlib.metadata
import importlib.util
import math
import os

import numpy as np
import torch
from transformers import DINOv3ViTConfig, Llama4VisionConfig, PixtralVisionConfig
from transformers.models.dinov3_vit import modeling_dinov3_vit as dinov3
from transformers.models.glm4v import modeling_glm4v as glm4v
from transformers.models.glm4v.configuration_glm4v import Glm4vTextConfig
from transformers.models.llama4 import modeling_llama4 as llama4
from transformers.models.pixtral import modeling_pixtral as pixtral
from transformers.models.qwen2_vl import modeling_qwen2_vl as qwen2_vl
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLTextConfig, Qwen2VLVisionConfig
from transformers.models.qwen3_5 import modeling_qwen3_5 as qwen3_5
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
from transformers.models.qwen3_vl import modeling_qwen3_vl as qwen3_vl
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLTextConfig
from transformers.vision_utils import get_vision_position_ids

from golden_common import f32_list, header, write
from make_rope import inputs, token_major


def case(name, reference, component, layout, shape, ids, q, k, qr, kr, **more):
    """shape: (head_dim, rotary_dim, base); ids: [axes][tokens], integers, or float32 coordinates; q, k: [1, heads, tokens, head_dim]."""
    return dict({
        "name": name, "reference": reference, "component": component, "layout": layout,
        "head_dim": shape[0], "rotary_dim": shape[1], "base": float(shape[2]),
        "heads_q": q.shape[1], "heads_k": k.shape[1], "axes": len(ids), "positions": [v for row in ids for v in row],
    }, **more, **{"q": token_major(q), "k": token_major(k), "q_rotated": token_major(qr), "k_rotated": token_major(kr)})


# ---------------------------------------------------------------------------------------------------------------
# language models: time, height, width
# ---------------------------------------------------------------------------------------------------------------
# Text, two frames of 2 x 3 merged patches from position 3 on, text from the greatest coordinate + 1 on, and far away.
IMAGE = [[0, 1, 2] + [3] * 6 + [4] * 6 + [6, 7], [0, 1, 2] + [3, 3, 3, 4, 4, 4] * 2 + [6, 7], [0, 1, 2] + [3, 4, 5] * 4 + [6, 7]]
FAR = [[131071, 5, 0, 4095], [0, 131071, 32767, 4099], [77, 1, 131071, 4102]]


def mrope_case(rng, name, module, apply, layout, shape, ids, sections, interleaved, heads=(1, 1)):
    q, k = (inputs(rng, h, len(ids[0]), shape[0]) for h in heads)
    cos, sin = module(q, torch.tensor(ids)[:, None, :])
    qr, kr = apply(q, k, cos, sin)
    return case(name, type(module).__name__, "mrope", layout, shape, ids, q, k, qr, kr, sections=sections, interleaved=interleaved)


def mrope_cases():
    rng = np.random.default_rng(20250301)
    out = []

    def rope(theta, sections, **more):
        return dict({"rope_type": "default", "rope_theta": float(theta), "mrope_section": sections}, **more)

    def config(kind, width, parameters, **more):
        return kind(hidden_size=2 * width, num_attention_heads=2, num_key_value_heads=1, head_dim=width, rope_parameters=parameters, **more)

    for width, theta, sections in ((128, 1e6, [16, 24, 24]), (64, 1e4, [8, 12, 12]), (32, 1e4, [0, 10, 6])):
        cfg = config(Qwen2VLTextConfig, width, rope(theta, sections))
        for ids in (IMAGE, FAR):
            out.append(mrope_case(rng, "qwen2-vl, %d channels" % width, qwen2_vl.Qwen2VLRotaryEmbedding(cfg), qwen2_vl.apply_rotary_pos_emb,
                                  "half_split", (width, width, theta), ids, sections, False, (2, 1) if width == 64 else (1, 1)))
    for width, theta, sections in ((128, 5e6, [24, 20, 20]), (64, 1e4, [12, 10, 10])):
        cfg = config(Qwen3VLTextConfig, width, rope(theta, sections, mrope_interleaved=True))
        for ids in (IMAGE, FAR):
            out.append(mrope_case(rng, "qwen3-vl, %d channels" % width, qwen3_vl.Qwen3VLTextRotaryEmbedding(cfg), qwen3_vl.apply_rotary_pos_emb,
                                  "half_split", (width, width, theta), ids, sections, True))
    cfg = config(Qwen3_5TextConfig, 256, rope(1e7, [11, 11, 10], mrope_interleaved=True, partial_rotary_factor=0.25))
    for ids in (IMAGE[0:3], FAR):
        out.append(mrope_case(rng, "qwen3.5", qwen3_5.Qwen3_5TextRotaryEmbedding(cfg), qwen3_5.apply_rotary_pos_emb,
                              "half_split", (256, 64, 1e7), ids, [11, 11, 10], True))
    cfg = config(Glm4vTextConfig, 128, rope(1e4, [8, 12, 12], partial_rotary_factor=0.5))
    for ids in (IMAGE, FAR):
        out.append(mrope_case(rng, "glm-4.1v", glm4v.Glm4vTextRotaryEmbedding(cfg), glm4v.apply_rotary_pos_emb,
                              "interleaved", (128, 64, 1e4), ids, [8, 12, 12], False))
    return out


# ---------------------------------------------------------------------------------------------------------------
# vision models: row, column
# ---------------------------------------------------------------------------------------------------------------
def axial_cases():
    rng = np.random.default_rng(20250302)
    out = []

    def add(name, module, layout, shape, ids, run, **more):
        q, k = (inputs(rng, h, len(ids[0]), shape[0]) for h in (1, 1))
        qr, kr = run(q, k)
        out.append(case(name, type(module).__name__, "axial_2d", layout, shape, ids, q, k, qr, kr, **more))

    for width, grid in ((80, (1, 4, 6)), (64, (2, 2, 2))):
        cfg = Qwen2VLVisionConfig(embed_dim=2 * width, num_heads=2, rope_parameters={"rope_type": "axial", "rope_theta": 10000.0}, head_dim=width)
        module = qwen2_vl.Qwen2VLVisionRotaryEmbedding(cfg)
        ids = get_vision_position_ids(torch.tensor([grid]), 2)  # [tokens, 2], in blocks of 2 x 2

        def run(q, k):
            cos, sin = module(q, ids)
            qr, kr = qwen2_vl.apply_rotary_pos_emb_vision(q[0].transpose(0, 1), k[0].transpose(0, 1), cos, sin)
            return qr.transpose(0, 1)[None], kr.transpose(0, 1)[None]

        add("qwen2-vl vision", module, "half_split", (width, width, 1e4), ids.T.tolist(), run, frequencies="per_axis", first="row", multiplier=1.0)

    cfg = Llama4VisionConfig(hidden_size=176, num_attention_heads=2, image_size=42, patch_size=14, rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    module = llama4.Llama4VisionRotaryEmbedding(cfg)
    # 3 x 3 patches at 1, 2, 3, and the class token, which comes last and does not turn
    ids = [[1 + i // 3 for i in range(9)] + [0], [1 + i % 3 for i in range(9)] + [0]]
    add("llama-4 vision", module, "interleaved", (88, 88, 1e4), ids,
        lambda q, k: tuple(x.transpose(1, 2) for x in llama4.vision_apply_rotary_emb(q.transpose(1, 2), k.transpose(1, 2), module(q))),
        frequencies="per_axis", first="column", multiplier=1.0)

    for width in (64, 32):
        cfg = PixtralVisionConfig(hidden_size=2 * width, num_attention_heads=2, head_dim=width, rope_parameters={"rope_type": "axial", "rope_theta": 10000.0})
        module = pixtral.PixtralVisionRotaryEmbedding(cfg)
        ids = torch.tensor([[0, 0, 0, 1, 1, 2, 63, 63], [0, 1, 2, 0, 1, 3, 0, 63]])
        add("pixtral", module, "half_split", (width, width, 1e4), ids.tolist(),
            lambda q, k: pixtral.apply_rotary_pos_emb(q, k, *module(q, ids.T), unsqueeze_dim=0), frequencies="alternating", first="row", multiplier=1.0)

    for width, (h, w) in ((64, (3, 4)), (128, (2, 5))):
        cfg = DINOv3ViTConfig(hidden_size=2 * width, num_attention_heads=2, patch_size=16, rope_theta=100.0)
        module = dinov3.DINOv3ViTRopePositionEmbedding(cfg).eval()
        centres = dinov3.get_patches_center_coordinates(h, w, torch.float32, torch.device("cpu"))
        # the class token and one register come first and do not turn
        ids = [[0.0, 0.0] + f32_list(centres[:, axis]) for axis in (0, 1)]
        add("dinov3", module, "half_split", (width, width, 100.0), ids,
            lambda q, k: dinov3.apply_rotary_pos_emb(q, k, *module(torch.zeros(1, 3, 16 * h, 16 * w))),
            frequencies="per_axis", first="row", multiplier=2 * math.pi)
    return out


# ---------------------------------------------------------------------------------------------------------------
# xPos
# ---------------------------------------------------------------------------------------------------------------
def torchscale_xpos():
    """The one module, without importing the package around it (which wants more than torch)."""
    folder = importlib.metadata.distribution("torchscale").locate_file("torchscale/component/xpos_relative_position.py")
    spec = importlib.util.spec_from_file_location("xpos_relative_position", os.fspath(folder))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def xpos_cases():
    xpos = torchscale_xpos()
    rng = np.random.default_rng(20250303)
    out = []
    for width, scale_base, total, rows in (
        (64, 512, 8, list(range(8))), (128, 512, 2000, [0, 1, 7, 999, 1000, 1001, 1999]), (32, 64, 301, [0, 150, 151, 300]),
        (64, 8192, 4096, [0, 31, 2048, 4095]), (4, 128, 77, [0, 38, 39, 76]),
    ):
        module = xpos.XPOS(width, scale_base)
        q, k = inputs(rng, 1, len(rows), width), inputs(rng, 1, len(rows), width)

        def run(x, downscale):
            full = torch.zeros(1, total, width)
            full[:, rows] = x[:, 0]
            return module(full, offset=0, downscale=downscale)[:, rows][:, None]

        out.append(case("length %d" % total, "XPOS", "xpos", "interleaved", (width, width, 1e4), [rows], q, k, run(q, False), run(k, True),
                        scale_base=float(scale_base), centre=(total + 1) // 2))
    # the last tokens of a sequence, as in decoding
    width, offset, new = 64, 100, 3
    module = xpos.XPOS(width, 512)
    q, k = inputs(rng, 1, new, width), inputs(rng, 1, new, width)
    out.append(case("decoding", "XPOS", "xpos", "interleaved", (width, width, 1e4), [list(range(offset, offset + new))], q, k,
                    module(q[:, 0], offset=offset)[:, None], module(k[:, 0], offset=offset, downscale=True)[:, None],
                    scale_base=512.0, centre=(offset + new + 1) // 2))
    return out


def make():
    head = header("make_axes.py", "float32 queries and keys rotated by positions of several coordinates")
    write("axes_rotated.json", head, {"cases": mrope_cases() + axial_cases()})
    head = header("make_axes.py", "float32 queries and keys rotated and scaled by xPos")
    head["versions"]["torchscale"] = importlib.metadata.version("torchscale")
    write("xpos_rotated.json", head, {"cases": xpos_cases()})


if __name__ == "__main__":
    make()
