# SPDX-License-Identifier: MIT
"""Lays the results of bench/compare.sh side by side: python3 bench/report.py <folder>

Prints a table of every row in the folder's *.json, and draws <folder>/benchmarks.svg with gnuplot
(benchmarks.gp and data/ stay there, so that it can be drawn again after a change).
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "baselines"))
from rows import Size  # noqa: E402

INK, GRID, REFERENCE = "#333333", "#dddddd", "#888888"
# Okabe and Ito's palette, as in the pictures of examples/compare.
COLOURS = {"posenc": "#0072B2", "eigen": "#888888", "openblas": "#CC79A7", "pytorch-sdpa": "#D55E00",
           "pytorch-flex": "#E69F00", "onnxruntime": "#009E73"}
ATTENTION = re.compile(r"([\w-]+)/(\w+)/(\d+):(\d+)/(\d+)/threads:(\d+)")
BACKWARD = re.compile(r"(?:(pytorch)/)?([\w ]+)/(\d+:\d+)/(\d+)/threads:(\d+)")


def read(folder):
    """All rows of attention, those of policies, and those of gradients."""
    attention, policies, backward = [], [], []
    for path in sorted(folder.glob("*.json")):
        for row in json.loads(path.read_text(encoding="utf-8"))["benchmarks"]:
            name = row["name"].removesuffix("/manual_time")
            if "backward/forward" in row:
                match = BACKWARD.fullmatch(name)
                backward.append({**row, "who": match[1] or "posenc", "encoding": match[2], "heads": match[3],
                                 "tokens": int(match[4]), "threads": int(match[5])})
            elif "of_none" in row:
                scheme, tokens = name.rsplit("/", 1)
                policies.append({**row, "scheme": scheme, "tokens": int(tokens)})
            elif match := ATTENTION.fullmatch(name):
                who, what = match[1], match[2]
                tokens, heads, kv_heads, threads = (int(match[i]) for i in (5, 3, 4, 6))
                operations = Size(tokens, heads, kv_heads).operations(what.startswith("causal"))
                attention.append({**row, "who": who, "what": what, "tokens": tokens, "heads": heads,
                                  "grouped": heads != kv_heads, "threads": threads,
                                  "ms_per_head": operations / row["GFLOP/s"] * 1e-6 / heads})
    return attention, policies, backward


def print_gradients(backward):
    """PyTorch stands beside the row with the same encoding."""
    theirs = {(row["encoding"], row["heads"], row["tokens"], row["threads"]): row
              for row in backward if row["who"] == "pytorch"}
    print("\nGradients, causal: ms, over the forward pass, and PyTorch's time over posenc's\n")
    print(f"{'encoding':19} {'heads':>6} {'tokens':>7} {'threads':>7} {'ms':>9} {'of forward':>10} {'of peak':>8} "
          f"{'of none':>8} {'pytorch ms':>11} {'pytorch/posenc':>14}")
    for row in backward:
        if row["who"] == "pytorch":
            continue
        peer = theirs.get((row["encoding"], row["heads"], row["tokens"], row["threads"]))
        beside = f"{peer['backward_ms']:11.1f} {peer['backward_ms'] / row['backward_ms']:14.2f}" if peer else ""
        print(f"{row['encoding']:19} {row['heads']:>6} {row['tokens']:7,} {row['threads']:7} {row['backward_ms']:9.1f} "
              f"{row['backward/forward']:10.2f} {row['of_peak']:8.2f} {row['of_plain']:8.2f} {beside}")


def print_tables(attention, policies):
    lengths = sorted({row["tokens"] for row in attention})
    print("\nGFLOP/s, and the share of the peak of multiply-adds in the same run where it was measured\n")
    print(f"{'who':13} {'what':12} {'key heads':9} {'threads':>7}" + "".join(f"{n:>14,}" for n in lengths))
    order = {who: place for place, who in enumerate(COLOURS)}
    lines = {}
    for row in attention:
        key = (row["what"], row["grouped"], row["threads"], order.get(row["who"], len(order)), row["who"])
        share = f" ({row['of_peak']:.2f})" if "of_peak" in row else ""
        lines.setdefault(key, {})[row["tokens"]] = f"{row['GFLOP/s']:.0f}{share}"
    for (what, grouped, threads, _, who), cells in sorted(lines.items()):
        print(f"{who:13} {what:12} {'shared' if grouped else 'own':9} {threads:7}"
              + "".join(f"{cells.get(n, ''):>14}" for n in lengths))
    if policies:
        print(f"\nTime with an encoding over time without, causal, {policies[0]['tokens']:,} tokens, one thread\n")
        print(f"{'encoding':46} {'of none':>8} {'of RoPE':>8}")
        for row in policies:
            of_rope = f"{row['of_rope']:8.2f}" if "of_rope" in row else ""
            print(f"{row['scheme']:46} {row['of_none']:8.2f} {of_rope:>8}")
    print()


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


class Chart:
    """A gnuplot script of some panels; lengths are in pixels, from the top left."""

    def __init__(self, folder, height, width=1000):
        self.folder, self.height, self.width = folder, height, width
        (folder / "data").mkdir(exist_ok=True)
        self.lines = [
            "# Draws benchmarks.svg.",
            f"set terminal svg size {width},{height} dynamic noenhanced name 'benchmarks' "
            "font 'Helvetica,15' background '#ffffff'",
            "set output 'benchmarks.svg'",
            "set encoding utf8",
            f"set border 3 linecolor rgb '{INK}' linewidth 1",
            f"set tics nomirror out scale 0.5 textcolor rgb '{INK}'",
            *(f"set {part} textcolor rgb '{INK}'" for part in ("xlabel", "ylabel", "key")),
            "set xtics offset 0,0.4",
            f"set grid linecolor rgb '{GRID}' linewidth 1 dashtype 1",
            "set multiplot",
        ]

    def line(self, text):
        self.lines.append(text)

    def data(self, name, rows):
        path = f"data/{name}.tsv"
        (self.folder / path).write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
        return quoted(path)

    def panel(self, title, left, right, top, bottom):
        self.line(f"set label 1 {quoted(title)} at screen {12 / self.width},screen {1 - (top - 33) / self.height} "
                  f"font ',19' textcolor rgb '{INK}'")
        self.line(f"set lmargin at screen {left / self.width}; set rmargin at screen {right / self.width}")
        self.line(f"set tmargin at screen {1 - top / self.height}; set bmargin at screen {1 - bottom / self.height}")

    def draw(self):
        script = self.folder / "benchmarks.gp"
        script.write_text("\n".join(self.lines + ["unset multiplot"]) + "\n", encoding="utf-8")
        if not shutil.which("gnuplot"):
            print(f"No chart: gnuplot was not found (Debian: gnuplot-nox); {script} draws it.")
            return
        subprocess.run(["gnuplot", script.name], cwd=self.folder, check=True)
        print(f"{self.folder / 'benchmarks.svg'}")


def draw_lengths(chart, attention, top, bottom):
    """Causal, a key head for each query head: who needs how long, by one thread and by all."""
    curves = {}
    for row in attention:
        if row["what"] == "causal" and not row["grouped"]:
            curves.setdefault((row["who"], row["threads"]), []).append((row["tokens"], row["ms_per_head"]))
    chart.panel("Time over length: causal, float, 128 channels", 95, 765, top, bottom)
    chart.line("set key at screen 0.785,graph 1 left top vertical Left reverse samplen 2 font ',13'")
    chart.line("set logscale xy; set format y '%g'; set xlabel 'tokens' offset 0,0.8; "
               "set ylabel 'ms per head' offset 0.3,0")
    lengths = sorted({row["tokens"] for row in attention})
    chart.line("set xtics (" + ", ".join(f"'{n:,}' {n}" for n in lengths) + ")")
    chart.line(f"set xrange [{lengths[0] / 1.2}:{lengths[-1] * 1.2}]")
    plots = []
    order = {who: place for place, who in enumerate(COLOURS)}
    for (who, threads), points in sorted(curves.items(), key=lambda item: (order.get(item[0][0], 9), item[0][1])):
        data = chart.data(f"{who}_{threads}", sorted(points))
        width, dash = (3 if who == "posenc" else 2), (1 if threads == 1 else 2)
        title = f"{who}, {threads} thread{'s' if threads > 1 else ''}"
        plots.append(f"{data} using 1:2 with linespoints linecolor rgb '{COLOURS.get(who, INK)}' linewidth {width} "
                     f"dashtype {dash} pointtype 7 pointsize 0.5 title {quoted(title)}")
    chart.line("plot " + ", ".join(plots))


def draw_bars(chart, name, title, axis, rows, top, bottom):
    """A bar for each pair of a name and a ratio to the dashed line."""
    chart.panel(title, 365, 940, top, bottom)
    greatest = max(1.2, *(ratio for _, ratio in rows)) * 1.08
    chart.line(f"unset key; unset logscale; unset ylabel; set xlabel {quoted(axis)} offset 0,0.8; "
               "set format x '%g'")
    chart.line(f"set xrange [0:{greatest:.3f}]; set xtics autofreq; set yrange [{len(rows)}:-1]; set grid noytics")
    chart.line("set ytics scale 0 font ',13' (" + ", ".join(f"{quoted(of)} {i}" for i, (of, _) in enumerate(rows)) + ")")
    chart.line(f"set arrow 1 from 1,graph 0 to 1,graph 1 nohead linecolor rgb '{INK}' dashtype 2 front")
    bars = chart.data(name, [(ratio, i, f"{ratio:.2f}") for i, (_, ratio) in enumerate(rows)])
    chart.line(f"plot {bars} using ($1/2):2:($1/2):(0.36) with boxxyerror linecolor rgb '{COLOURS['posenc']}' "
               f"fillstyle solid 0.75 noborder, {bars} using 1:2:3 with labels left offset 0.5,0 "
               f"font ',12' textcolor rgb '{INK}'")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: python3 bench/report.py <folder with *.json of bench/compare.sh>")
    folder = pathlib.Path(sys.argv[1])
    attention, policies, backward = read(folder)
    if not attention and not policies and not backward:
        sys.exit(f"bench/report.py: no rows of bench_attention, bench_policies or bench_backward in {folder}/*.json.")
    if attention or policies:
        print_tables(attention, policies)
    if backward:
        print_gradients(backward)
    bars = []
    if policies:
        bars.append(("policies", f"Time with an encoding / time without: causal, {policies[0]['tokens']:,} tokens, "
                     "one thread", "time / time of the causal mask alone",
                     [(row["scheme"], row["of_none"]) for row in policies]))
    gradients = [(row["encoding"], row["of_plain"]) for row in backward if row["who"] == "posenc" and
                 (row["heads"], row["tokens"], row["threads"]) == ("1:1", 2048, 1) and row["encoding"] != "none"]
    if gradients:
        bars.append(("gradients", "Gradients with an encoding / without: causal, 2,048 tokens, one thread",
                     "time / time of the gradient with the causal mask alone", gradients))
    if not attention and not bars:
        return
    top = 495 if attention else 0
    chart = Chart(folder, top + sum(20 * len(rows) + 110 for *_, rows in bars))
    if attention:
        draw_lengths(chart, attention, 55, 410)
    for name, title, axis, rows in bars:
        draw_bars(chart, name, title, axis, rows, top + 45, top + 20 * len(rows) + 50)
        top += 20 * len(rows) + 110
    chart.draw()


main()
