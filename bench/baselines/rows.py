# SPDX-License-Identifier: MIT
"""What the scripts here share: the sizes of bench_attention, its counters, and its way of timing.

Rows have the names and fields of bench_attention's, in JSON as Google Benchmark writes it:
<who>/<what>/<query heads>:<key heads>/<tokens>/threads:<n>, times in milliseconds.
"""
import argparse
import dataclasses
import json
import os
import statistics
import sys
import time


@dataclasses.dataclass(frozen=True)
class Size:
    tokens: int
    heads: int
    kv_heads: int
    width: int = 128

    def operations(self, causal):
        """4 N^2 d per head, half of them where keys after the query are hidden."""
        return (2 if causal else 4) * self.tokens**2 * self.width * self.heads


SIZES = [Size(512, 32, 32), Size(512, 32, 8), Size(2048, 32, 32), Size(2048, 32, 8), Size(8192, 32, 32),
         Size(8192, 32, 8), Size(32768, 4, 4), Size(32768, 4, 1)]


def arguments(description):
    """Options of every script."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", default="-", help="JSON file to write (default: standard output)")
    parser.add_argument("--up-to", type=int, default=32768, metavar="TOKENS", help="leave out longer sequences")
    return parser.parse_args()


def sizes(options):
    return [size for size in SIZES if size.tokens <= options.up_to]


def one_and_all_threads():
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return sorted({1, processors})


def median_seconds(call):
    """The median of 25 calls, or of as many as three seconds hold, at least three."""
    call()
    times = []
    while len(times) < 3 or (len(times) < 25 and sum(times) <= 3):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def skip(sentence):
    """Ends the script: there is nothing to measure."""
    print(sentence, file=sys.stderr)
    sys.exit(3)


class Report:
    def __init__(self, context):
        self.context, self.rows = context, []

    def measure(self, who, causal, size, threads, call):
        name = (f"{who}/{'causal' if causal else 'full'}/{size.heads}:{size.kv_heads}/{size.tokens}"
                f"/threads:{threads}")
        seconds = median_seconds(call)
        rate = size.operations(causal) / seconds * 1e-9
        print(f"{name:50} {seconds * 1e3:10.2f} ms {rate:8.1f} GFLOP/s", file=sys.stderr)
        self.rows.append({"name": name, "run_type": "iteration", "real_time": seconds * 1e3,
                          "time_unit": "ms", "GFLOP/s": rate})

    def write(self, options):
        text = json.dumps({"context": self.context, "benchmarks": self.rows}, indent=1)
        if options.out == "-":
            print(text)
        else:
            with open(options.out, "w", encoding="utf-8") as file:
                file.write(text + "\n")
