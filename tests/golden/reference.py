# SPDX-License-Identifier: MIT
"""How scripts run a reference: definitions out of files of a repository at a commit, without what these import, in float64."""

import ast
import contextlib
import subprocess

import torch


def definitions(clone, commit, path, names, scope, changes=()):
    """Runs the functions and classes of these names in `scope`; "outer.inner" is one within another.

    `changes` are pairs of texts, of which the second takes the place of the first (a device, say).
    """
    text = subprocess.run(["git", "-C", clone, "show", f"{commit}:{path}"], capture_output=True, text=True, check=True).stdout
    for before, after in changes:
        if before not in text:
            raise SystemExit("%s of %s does not say %r" % (path, clone, before))
        text = text.replace(before, after)
    tree, results = ast.parse(text), []
    for name in names:
        node = tree
        for part in name.split("."):
            inside = [x for x in node.body if isinstance(x, (ast.FunctionDef, ast.ClassDef)) and x.name == part]
            if len(inside) != 1:
                raise SystemExit("%s of %s has %d definitions of %s" % (path, clone, len(inside), name))
            node = inside[0]
        exec(compile(ast.Module([node], []), path, "exec"), scope)
        results.append(scope[node.name])
    return results


@contextlib.contextmanager
def in_float64():
    """References say float() and float32; here they mean float64."""
    saved = torch.Tensor.float, torch.float32, torch.float
    torch.Tensor.float, torch.float32, torch.float = torch.Tensor.double, torch.float64, torch.float64
    try:
        yield
    finally:
        torch.Tensor.float, torch.float32, torch.float = saved
