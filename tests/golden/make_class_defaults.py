"""Writes class_defaults.hpp of the reader of config.json: what the classes of transformers fill in."""

import json
import os

import config_classes as cc

HEAD = """// SPDX-License-Identifier: MIT
//
// Defaults of Hugging Face's classes: what transformers @ fills in when a config.json lacks a key.
//
// Written by tests/golden/make_class_defaults.py; not by hand. Rows of the model types of the table of
// architectures, and of multimodal types the type of their language part. `default_layers` has a letter
// per layer (layer_types.hpp), repeated, or after '!' for exactly so many layers. Rows of types whose code
// comes with their checkpoints have what that code fills in.
#pragma once

#include <posenc/core/types.hpp>

#include <string_view>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

struct ClassDefaults {
  std::string_view types;  ///< apart by blanks
  std::string_view json;
};

/// Types whose class has a language part, under which key, of which type, and whether the outer
/// object has positions of its own.
struct OuterTypes {
  std::string_view part, model_type;
  bool own_positions;
  std::string_view types;  ///< apart by blanks
};

// clang-format off
inline constexpr OuterTypes outer_types_table[] = {
%s};

inline constexpr ClassDefaults class_defaults_table[] = {
"""
TAIL = """};
// clang-format on

}  // namespace huggingface
POSENC_NAMESPACE_END
"""
# Of types whose code comes with their checkpoints (tests/config/own_code.hpp says which it is).
OWN_CODE = {"chatglm": {"partial_rotary_factor": 0.5, "multi_query_group_num": 1},
            "RefinedWeb": {"multi_query": False}, "RefinedWebModel": {"multi_query": False},
            "minimax_text_01": {"num_key_value_heads": 8, "rope_theta": 1000000.0},
            "MiniMaxText01": {"num_key_value_heads": 8, "rope_theta": 1000000.0}}


def parts(cls):
    try:
        return cc.part_defaults(cls)
    except Exception:
        return []


def main():
    known = cc.known_types()
    rows, outer = dict(OWN_CODE), {}
    # A part may be an outer object itself, as in omni models.
    outer_types = {key[1] for _, cls in cc.classes() for key in parts(cls) if "thinker" in key[1] or "gemma" in key[1]}
    for model_type, cls in cc.classes():
        if not model_type:
            continue
        try:
            if model_type in known:
                values = cc.class_defaults(cls)
                if model_type in rows:
                    assert rows[model_type] == values, model_type
            else:
                values = {}
                for key in cc.part_defaults(cls):
                    if key[1] not in known and key[1] not in outer_types:
                        continue
                    outer.setdefault(key, [])
                    if model_type not in outer[key]:
                        outer[key].append(model_type)
            if values and model_type not in rows:
                rows[model_type] = values
        except Exception as error:  # a class that cannot be made without arguments has no defaults
            print("left out:", model_type, str(error)[:80])
    path = os.path.join(cc.CONFIG, "huggingface", "class_defaults.hpp")
    with open(path, "w") as file:
        lines = ['    {"%s", "%s", %s, "%s"},\n' % (part, inner, str(own).lower(), " ".join(types))
                 for (part, inner, own), types in sorted(outer.items())]
        file.write(HEAD.replace("@", cc.transformers.__version__) % "".join(lines))
        alike = {}
        for model_type in sorted(rows):
            alike.setdefault(json.dumps(rows[model_type], separators=(",", ":")), []).append(model_type)
        for text, types in alike.items():
            file.write('    {"%s", R"(%s)"},\n' % (" ".join(types), text))
        file.write(TAIL)
    print(len(rows), "rows")


if __name__ == "__main__":
    main()
