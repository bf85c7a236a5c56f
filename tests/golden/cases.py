# SPDX-License-Identifier: MIT
"""What scripts of golden cases share: the numbers that cases are drawn from, as the tests draw them (support/draw.hpp),
and the form of a file, one case a line."""

import json
import math
import os

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
MASK = (1 << 64) - 1


class Random:
    """splitmix64, as in the library and its tests."""

    def __init__(self, seed):
        self.state = seed

    def bits(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def numbers(self, *shape):
        """Multiples of 2^-19 within [-1, 1)."""
        return np.array([(self.bits() >> 44) * 2.0**-19 - 1 for _ in range(math.prod(shape))]).reshape(shape)


def write_cases(name, head, lines):
    """Writes what `head` says of the file, and the cases."""
    with open(os.path.join(HERE, name), "w", encoding="ascii", newline="\n") as file:
        file.write("{\n")
        for key, value in head.items():
            file.write("%s:%s,\n" % (json.dumps(key), json.dumps(value, separators=(",", ":"))))
        file.write('"cases":[\n' + ",\n".join(json.dumps(line, separators=(",", ":")) for line in lines) + "\n]\n}\n")
