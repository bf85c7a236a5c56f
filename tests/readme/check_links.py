# SPDX-License-Identifier: MIT
"""Every relative link of Markdown pages leads to a file, and every path in `code` style exists.

    check_links.py <root> <page.md>...

Links are relative to the page. A path in code style, such as `include/posenc/rotary/rope.hpp` or
`tests/odr/`, counts when it starts with a folder of the repository; it is relative to the root.
"""
import pathlib
import re
import sys

LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)|(?:src|href)=\"([^\"]+)\"",
                  re.MULTILINE)
CODE_PATH = re.compile(r"`((?:include|tests|bench|examples|cmake|docs|\.ci)/[\w./-]*)`")
BLOCK = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1[ ]*$", re.DOTALL | re.MULTILINE)


def anchors_of(page):
    """The anchors that GitHub gives to the headings of a page."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+\s+(.*?)\s*#*$", text, re.MULTILINE)
    anchors = set(re.findall(r"(?:id|name)=\"([^\"]+)\"", text))
    for heading in headings:
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (anchor if number == 0 else f"{anchor}-{number}") in anchors:
            number += 1
        anchors.add(anchor if number == 0 else f"{anchor}-{number}")
    return anchors


def main():
    root = pathlib.Path(sys.argv[1])
    problems = []
    count = 0
    for page in map(pathlib.Path, sys.argv[2:]):
        if not page.exists():
            problems.append(f"{page.relative_to(root)} does not exist")
            continue
        text = BLOCK.sub(lambda block: "\n" * block.group().count("\n"), page.read_text(encoding="utf-8"))

        def complain(match, what, text=text, page=page):
            line = text.count("\n", 0, match.start()) + 1
            problems.append(f"{page.relative_to(root)}:{line}: {what}")

        for match in LINK.finditer(text):
            link = next(group for group in match.groups() if group)
            if re.match(r"[a-z][a-z0-9+.-]*:", link):
                continue
            count += 1
            target, _, anchor = link.partition("#")
            path = page.parent / target if target else page
            if not path.exists():
                complain(match, f"link to {target}, which does not exist")
            elif anchor and path.suffix == ".md" and anchor not in anchors_of(path):
                complain(match, f"link to {link}, but the page has no such heading")
        for match in CODE_PATH.finditer(text):
            count += 1
            if not (root / match.group(1)).exists():
                complain(match, f"mentions {match.group(1)}, which does not exist")
    for problem in problems:
        print(problem)
    print(f"{count} paths checked, {len(problems)} problems")
    sys.exit(1 if problems else 0)


main()
