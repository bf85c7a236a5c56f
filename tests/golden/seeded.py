# SPDX-License-Identifier: MIT
"""The numbers that cases are drawn from: the same ones here and in the tests (support/draw.hpp)."""

import math

import numpy as np

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
