# SPDX-License-Identifier: MIT
"""Turns the ```cpp blocks of Markdown pages into C++ files and prints their paths.

    extract.py <root> <output folder> <page.md>...

A block with `int main` becomes a file of its own, as it stands. The other blocks are fragments: each
becomes the body of a function in the namespace of its page, and all pages are one file, fragments.cpp,
whose main() calls them in order; `#include` lines of a fragment go to the top of that file. Files that do
not include posenc themselves begin with PROLOGUE. Compiler messages name the page and the line.

Comments above a block change what happens to it:

    <!-- snippet: skip -->             not compiled
    <!-- snippet: continues -->        appended to the block before it
    <!-- snippet: declarations -->     placed at namespace scope, before the page's functions: templates
    <!-- snippet: compile -->          compiled, but not run
    <!-- snippet: given                lines of C++ that readers need not see, before the block
    std::vector<float> q(64);
    -->
"""
import pathlib
import re
import sys

MARK = re.compile(r"<!--\s*snippet:\s*(\w+)(.*?)-->", re.DOTALL)
FENCE = re.compile(r"^( *)(`{3,}|~{3,})[ ]*([\w+-]*)[^\n]*\n(.*?)^ *\2[ ]*$", re.DOTALL | re.MULTILINE)
INCLUDE = re.compile(r"\s*#\s*include\b")
KINDS = {"skip", "continues", "declarations", "compile", "given"}

PROLOGUE = [
    "#include <posenc/posenc.hpp>",
    "#include <posenc/eigen.hpp>",
    *(f"#include <{header}>" for header in ("cmath", "cstdio", "iostream", "vector")),
    "using namespace posenc;",
]


class Block:
    """Lines of C++, with #line directives that say where they come from."""

    def __init__(self, kind):
        self.kind = kind
        self.rows = []

    def append(self, page, line, text):
        self.rows += [f'#line {line} "{page}"', *text.rstrip("\n").split("\n")]

    @property
    def is_program(self):
        return any(re.search(r"\bint\s+main\s*\(", row) for row in self.rows)

    @property
    def includes(self):
        return [row for row in self.rows if INCLUDE.match(row)]

    @property
    def code(self):
        return ["" if INCLUDE.match(row) else row for row in self.rows]


def blocks_of(page, text):
    """The C++ blocks of a page in order, marks applied."""
    events = [(m.start(), "mark", m) for m in MARK.finditer(text)]
    fences = list(FENCE.finditer(text))
    inside = [(m.start(), m.end()) for m in fences]
    events = [e for e in events if not any(a < e[0] < b for a, b in inside)]
    events += [(m.start(), "fence", m) for m in fences]

    blocks = []
    last = None  # the block before, None when it was skipped
    marks, given = [], []
    for _, what, match in sorted(events, key=lambda event: event[0]):
        line = text.count("\n", 0, match.start()) + 1
        if what == "mark":
            kind, rest = match.groups()
            if kind not in KINDS:
                sys.exit(f"{page}:{line}: unknown mark 'snippet: {kind}', known are {sorted(KINDS)}")
            if kind == "given":
                given.append((line, rest))
            else:
                marks.append(kind)
            continue
        indent, _, language, code = match.groups()
        if language.lower() in ("cpp", "c++"):
            if "skip" in marks:
                last = None
            elif "continues" not in marks:
                last = Block(kind=marks[0] if marks else "")
                blocks.append(last)
            if last is not None:
                for given_line, given_code in given:
                    last.append(page, given_line, given_code)
                last.append(page, line + 1, re.sub(rf"^{indent}", "", code, flags=re.MULTILINE))
        marks, given = [], []
    return blocks


def write(path, lines):
    text = "\n".join(lines) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    print(path.as_posix())


def whole_program(block):
    includes_posenc = any("<posenc/" in row for row in block.includes)
    return block.rows if includes_posenc else PROLOGUE + block.rows


def namespace_of_fragments(name, blocks):
    lines = [f"namespace {name} {{"]
    for block in blocks:
        if block.kind == "declarations":
            lines += block.code
    fragments = [block for block in blocks if block.kind != "declarations"]
    for number, block in enumerate(fragments, 1):
        lines += [f"static void fragment_{number}() {{", *block.code, "}"]
    lines += ["static void all() {", f'  std::puts("{name}");']
    for number, block in enumerate(fragments, 1):
        if block.kind != "compile":
            lines.append(f"  fragment_{number}();")
    return lines + ["}", "}"]


def file_of_fragments(pages):
    """pages: the fragments of each, by the name of the page."""
    lines = [row for blocks in pages.values() for block in blocks for row in block.includes]
    lines += PROLOGUE
    for name, blocks in pages.items():
        lines += namespace_of_fragments(name, blocks)
    return lines + ["int main() {", *(f"  {name}::all();" for name in pages), "}"]


def main():
    root, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    output.mkdir(parents=True, exist_ok=True)
    pages = {}
    for path in map(pathlib.Path, sys.argv[3:]):
        if not path.exists():
            continue
        page = path.relative_to(root).as_posix()
        name = re.sub(r"\W", "_", page.removesuffix(".md"))
        blocks = blocks_of(page, path.read_text(encoding="utf-8"))
        programs = [block for block in blocks if block.is_program]
        fragments = [block for block in blocks if not block.is_program]
        if fragments:
            if name in pages:
                sys.exit(f"{page}: another page is called {name} too")
            pages[name] = fragments
        for number, block in enumerate(programs, 1):
            write(output / f"{name}_program_{number}.cpp", whole_program(block))
    write(output / "fragments.cpp", file_of_fragments(pages))


main()
