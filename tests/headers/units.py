#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints which translation units show that every header of a folder compiles alone, a line each:

    <group> <header> <header> ...

A unit that includes a header compiles nothing before that header's first include, nothing before the first include of
that one, and so on: one unit shows of all of them that they compile alone. They stand on its line, and the other
headers have units of their own.

What takes most of a header's time is compiled once for the units of a group: for headers that include it anyway, through
whatever others, it hides nothing that is missing. Headers that are in it have to be shown by a unit of another group.

usage: units.py <include folder> <group>=<header> ...     the groups, those that compile most before others"""

import pathlib
import re
import sys

folder = pathlib.Path(sys.argv[1])
groups = [argument.split("=") for argument in sys.argv[2:]]

includes = {}
for path in sorted(folder.rglob("*")):
    if path.is_file():
        text = path.read_text(encoding="utf-8")
        includes[path.relative_to(folder).as_posix()] = re.findall(r"^ *# *include <([^>]+)>", text, re.MULTILINE)


def reached(header):
    """What a header includes, through whatever others, and the header itself."""
    found, left = {header}, [header]
    while left:
        new = set(includes.get(left.pop(), ())) - found
        found |= new
        left.extend(new)
    return found


# These stop with a sentence where their dependency is missing; tests/executor builds them.
elsewhere = {"posenc/executor/openmp.hpp", "posenc/executor/tbb.hpp"}
headers = [name for name in includes if name.endswith(".hpp") and name not in elsewhere]
compiled_before = {group: reached(base) for group, base in groups} | {"alone": set()}


def group_of(header):
    for group, base in groups:
        if base != header and base in reached(header):
            return group
    return "alone"


def shown_by(header):
    """The headers that a unit of this one shows."""
    before = compiled_before[group_of(header)]
    shown = []
    while header in headers and header not in shown and header not in before:
        shown.append(header)
        header = includes[header][0] if includes[header] else None
    return shown


left = set(headers)
while left:
    firsts = {includes[header][0] for header in left if includes[header]}
    header = min(left - firsts or left)  # (a circle: any of it)
    shown = [header] + [other for other in shown_by(header) if other in left - {header}]
    print(group_of(header), *shown)
    left -= set(shown)
