"""Counter-based random tensors: the same bits on every machine, platform and library version.

Philox 4x64-10 (Salmon et al., SC'11) through NumPy's raw generator, whose stream is fixed by its
documentation; only integer arithmetic and correctly rounded float64 operations follow, unlike NumPy's
distributions, which may change.
"""

import math

import numpy as np
import torch


class Stream:
    """Tensors drawn one after the other from one seed; `name` separates the streams of one example."""

    def __init__(self, seed: int, name: str) -> None:
        key = int.from_bytes(name.encode()[:8].ljust(8, b"\0"), "little")
        self._bits = np.random.Philox(key=np.array([seed, key], dtype=np.uint64))

    def integers(self, shape: tuple[int, ...], low: int, high: int) -> torch.Tensor:
        """int64 in [low, high)."""
        raw = self._raw(math.prod(shape)) >> np.uint64(32)
        return torch.from_numpy((raw % np.uint64(high - low)).astype(np.int64) + low).reshape(shape)

    def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
        """float64, the scaled sum of four uniforms: mean 0, variance 1, at most 3.5 in magnitude."""
        quarters = self._raw(math.prod(shape)).view(np.uint16).reshape(-1, 4).sum(axis=1, dtype=np.int64)
        return torch.from_numpy((quarters - 2 * 65535) / 37837.0).reshape(shape)

    def uniform(self, shape: tuple[int, ...]) -> torch.Tensor:
        """float64 in [0, 1)."""
        return torch.from_numpy((self._raw(math.prod(shape)) >> np.uint64(11)) / 2.0**53).reshape(shape)

    def signs(self, shape: tuple[int, ...]) -> torch.Tensor:
        """float64, -1 or 1."""
        return self.integers(shape, 0, 2).double() * 2 - 1

    def permutation(self, size: int) -> torch.Tensor:
        """int64, a permutation of range(size)."""
        return torch.from_numpy(np.argsort(self._raw(size), kind="stable"))

    def _raw(self, size: int) -> np.ndarray:
        return np.atleast_1d(self._bits.random_raw(size))
