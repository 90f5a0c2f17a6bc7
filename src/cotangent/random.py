"""Random numbers that depend only on (seed, draw, position).

The state of a generator is its seed and the number of draws made so far. A draw takes one
count, whatever its size, and element ``i`` of it is a function of (seed, draw, i): a shorter
draw is the beginning of a longer one, and threads, compilation and the shape change nothing.
The state is held in variables, so a compiled step carries it along.

The bits are those of the `random_bits` op (Threefry-2x32).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import functional, ops
from .checks import real, whole
from .config import SETTINGS
from .dtypes import DType, as_dtype, float32, float64, int64, uint32
from .errors import ArgumentError, DTypeError, ShapeError
from .placement import allocate, alongside
from .quantiles import inverse_error, log_up_to_one
from .shapes import Shape, as_shape
from .tensors import Tensor, Variable

_WORD = 2**32


class Generator:
    """A stream of random numbers.

    Args:
        seed: an integer from 0 up to ``2**64 - 1``. Equal seeds give equal streams.

    Attributes:
        seed_low, seed_high: the words of the seed, as 0-d uint32 variables.
        draw: how many draws have been made, as a 0-d uint32 variable; it wraps after 2**32.

    >>> a, b = Generator(7), Generator(7)
    >>> a.uniform((3,)).tolist() == b.uniform((5,)).tolist()[:3]
    True
    """

    def __init__(self, seed: int = 0) -> None:
        low, high = _words(seed)
        self.seed_low = Variable(np.array(low, uint32), "seed_low", False)
        self.seed_high = Variable(np.array(high, uint32), "seed_high", False)
        self.draw = Variable(np.array(0, uint32), "draw", False)

    def reseed(self, seed: int) -> None:
        """Start the stream of `seed` from its beginning."""
        low, high = _words(seed)
        for variable, word in ((self.seed_low, low), (self.seed_high, high), (self.draw, 0)):
            variable.assign(Tensor(np.array(word, uint32)))

    def bits(self, shape: Any, shift: int) -> Tensor:
        """Random 32-bit words shifted right by `shift` (1 to 31), as int32; takes one draw."""
        sizes = _sizes("bits", shape)
        return self._words(np.arange(math.prod(sizes), dtype=uint32).reshape(sizes), shift)[0]

    def _words(self, positions: np.ndarray[Any, Any], *shifts: int) -> list[Tensor]:
        """One draw. With n shifts, element ``i`` gets the words at ``i * n + k``."""
        draw = self.draw.value
        self.draw.assign(draw + 1)
        count = uint32.type(len(shifts))
        low, high = self.seed_low.value, self.seed_high.value
        places = [positions * count + uint32.type(k) for k in range(len(shifts))]
        return [
            ops.random_bits(low, high, draw, Tensor(allocate(place)), shift=s)
            for place, s in zip(places, shifts, strict=True)
        ]

    def _mantissa(self, what: str, shape: Any, dtype: DType, wide: tuple[int, int]) -> Tensor:
        """Random integers in `dtype`: 24 bits in float32; in float64 as many as `wide` leaves
        of two words."""
        sizes = _sizes(what, shape)
        positions = np.arange(math.prod(sizes), dtype=uint32).reshape(sizes)
        if dtype == float32:
            return self._words(positions, 8)[0].astype(float32)
        upper, lower = self._words(positions, *wide)
        return upper.astype(float64) * 2.0 ** (32 - wide[1]) + lower.astype(float64)

    def uniform(self, shape: Any, low: float = 0.0, high: float = 1.0, dtype: Any = None) -> Tensor:
        """Uniform numbers: see `uniform`."""
        kind = _kind("uniform", dtype)
        _numbers("uniform", low=low, high=high)
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ArgumentError(f"uniform: needs finite low <= high, not low={low}, high={high}")
        unit = 2.0**-24 if kind == float32 else 2.0**-53
        x = self._mantissa("uniform", shape, kind, (5, 6)) * unit
        return x if (low, high) == (0.0, 1.0) else x * (high - low) + low

    def normal(self, shape: Any, mean: float = 0.0, std: float = 1.0, dtype: Any = None) -> Tensor:
        """Normal numbers: see `normal`."""
        kind = _kind("normal", dtype)
        _numbers("normal", mean=mean, std=std)
        if not std >= 0:
            raise ArgumentError(f"normal: std must not be negative, got {std}")
        bits = 24 if kind == float32 else 52
        # Odd multiples of 2**-bits: symmetric about 0, exact, and never -1 or 1.
        whole = self._mantissa("normal", shape, kind, (6, 6))
        x = (whole * 2.0 + (1.0 - 2.0**bits)) * 2.0**-bits
        out = inverse_error(x, kind) * (math.sqrt(2.0) * std)
        return out if mean == 0 else out + mean

    def truncated_normal(
        self,
        shape: Any,
        low: float = -2.0,
        high: float = 2.0,
        mean: float = 0.0,
        std: float = 1.0,
        dtype: Any = None,
    ) -> Tensor:
        """Normal numbers between two bounds: see `truncated_normal`."""
        kind = _kind("truncated_normal", dtype)
        _numbers("truncated_normal", low=low, high=high, mean=mean, std=std)
        if not (std > 0 and low < high):
            raise ArgumentError(
                f"truncated_normal: needs std > 0 and low < high, not std={std}, low={low}, "
                f"high={high}"
            )
        root = math.sqrt(2.0) * std
        below, above = math.erf((low - mean) / root), math.erf((high - mean) / root)
        if not below < above:
            raise ArgumentError(
                f"truncated_normal: [{low}, {high}] is too far from the mean {mean} for std {std}"
            )
        edge = 1.0 - (2.0**-24 if kind == float32 else 2.0**-52)
        u = self.uniform(shape, below, above, kind)
        u = ops.minimum(ops.maximum(u, -edge), edge)
        x = inverse_error(u, kind) * root + mean
        return ops.minimum(ops.maximum(x, low), high)

    def bernoulli(self, shape: Any, p: Any = 0.5) -> Tensor:
        """Bools that are true with probability `p`: see `bernoulli`."""
        if isinstance(p, (int, float)) and not 0.0 <= p <= 1.0:
            raise ArgumentError(f"bernoulli: p must lie in [0, 1], got {p}")
        with alongside(ops.lift(p)):
            return ops.less(self.uniform(shape), p)

    def randint(self, low: int, high: int, shape: Any, dtype: Any = None) -> Tensor:
        """Integers in ``[low, high)``: see `randint`."""
        low, high = whole("randint", "low", low), whole("randint", "high", high)
        kind = int64 if dtype is None else as_dtype(dtype)
        if kind.kind not in "iu":
            raise DTypeError(f"randint: makes integers, not {kind}")
        limits = np.iinfo(kind)
        if not (limits.min <= low < high <= limits.max + 1 and high - low <= 2**53):
            raise ArgumentError(
                f"randint: needs low < high, in the range of {kind} and at most 2**53 apart, not "
                f"low={low}, high={high}"
            )
        # Below 2**53 the product never rounds up to high - low.
        place = self.uniform(shape, dtype=float64) * float(high - low)
        return (place.astype(int64) + int(low)).astype(kind)

    def categorical(self, logits: Any, shape: Any = None) -> Tensor:
        """Class numbers with the probabilities softmax(logits): see `categorical`."""
        z = ops.lift(logits)
        ops.require_float("categorical", z)
        if not z.shape or z.shape[-1] == 0:
            raise ShapeError(f"categorical: logits of shape {z.shape} have no last axis of classes")
        rows = z.shape[:-1] if shape is None else _sizes("categorical", shape)
        lead = z.shape[:-1]
        if rows[len(rows) - len(lead) :] != lead or len(rows) < len(lead):
            raise ShapeError(
                f"categorical: shape {rows} must end in the leading axes of the logits, {lead}"
            )
        kind = float64 if z.dtype == float64 else float32
        bits = 24 if kind == float32 else 52
        with alongside(z):
            whole = self._mantissa("categorical", (*rows, z.shape[-1]), kind, (6, 6))
        # The race of exponential variables: the first to arrive, -log(u) / p, wins.
        wait = -log_up_to_one((whole * 2.0 + 1.0) * 2.0 ** -(bits + 1), kind)
        wait = log_up_to_one(wait * 2.0**-6, kind)  # -log(u) < 64; the shift changes no winner
        return functional.argmax(z.detach().astype(kind) - wait, -1)

    def permutation(self, n: int) -> Tensor:
        """The integers below `n` in random order: see `permutation`."""
        n = whole("permutation", "n", n, 0)
        upper, lower = self._words(np.arange(n, dtype=uint32), 1, 1)
        return ops.argsort(upper.astype(int64) * 2**31 + lower.astype(int64))


def _numbers(what: str, **values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, float):  # infinities and NaN are for the ranges to refuse
            real(what, name, value)


def _words(seed: int) -> tuple[int, int]:
    seed = int(seed) if type(seed) is int else whole("manual_seed", "the seed", seed)
    if not 0 <= seed < _WORD * _WORD:
        raise ArgumentError(f"a seed lies in [0, 2**64), not {seed}")
    return int(seed) % _WORD, int(seed) // _WORD


def _sizes(what: str, shape: Any) -> Shape:
    sizes = as_shape(what, shape)
    if min(sizes, default=0) < 0:
        raise ShapeError(f"{what}: a size cannot be negative: {sizes}")
    if math.prod(sizes) >= _WORD // 2:
        raise ShapeError(f"{what}: shape {sizes} has more than 2**31 elements for one draw")
    return sizes


def _kind(what: str, dtype: Any) -> DType:
    kind = SETTINGS.default_float if dtype is None else as_dtype(dtype)
    if kind not in (float32, float64):
        raise DTypeError(f"{what}: makes float32 or float64, not {kind}; convert the result")
    return kind


# -- the default generator --------------------------------------------------------------------

DEFAULT = Generator(0)


def manual_seed(seed: int) -> None:
    """Start the default generator again, from `seed` (0 up to ``2**64 - 1``).

    >>> manual_seed(1)
    >>> first = uniform((2,))
    >>> manual_seed(1)
    >>> uniform((2,)).tolist() == first.tolist()
    True
    """
    DEFAULT.reseed(seed)


def uniform(shape: Any, low: float = 0.0, high: float = 1.0, dtype: Any = None) -> Tensor:
    """Numbers uniform in ``[low, high)``, from the default generator.

    Multiples of 2**-24 in float32 and of 2**-53 in float64, scaled; rounding of
    the scaled value may give `high` itself.

    Args:
        shape: an integer or a sequence of them.
        dtype: float32 or float64; the default float unless given.

    Raises:
        ArgumentError: if `low` > `high`, or one is not finite.
    """
    return DEFAULT.uniform(shape, low, high, dtype)


def normal(shape: Any, mean: float = 0.0, std: float = 1.0, dtype: Any = None) -> Tensor:
    """Numbers of a normal distribution, from the default generator.

    ``mean + std * sqrt(2) * erfinv(u)`` with u uniform in (-1, 1). The largest possible deviation
    is 5.4 in float32 and 8.1 in float64.

    Args:
        shape: an integer or a sequence of them.
        dtype: float32 or float64; the default float unless given.

    Raises:
        ArgumentError: if `std` is negative.
    """
    return DEFAULT.normal(shape, mean, std, dtype)


def permutation(n: int) -> Tensor:
    """The integers below `n` in random order, as int64, from the default generator.

    >>> sorted(permutation(3).tolist())
    [0, 1, 2]
    """
    return DEFAULT.permutation(n)


def truncated_normal(
    shape: Any,
    low: float = -2.0,
    high: float = 2.0,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: Any = None,
) -> Tensor:
    """Numbers of a normal distribution, given that they lie in ``[low, high]``.

    Drawn by the inverse of the distribution function, so none is thrown away.

    Args:
        shape: an integer or a sequence of them.
        low, high: the bounds; at least part of them within 5 deviations of the mean in float32,
            8 in float64.
        mean, std: of the normal distribution, before it is cut.
        dtype: float32 or float64; the default float unless given.

    Raises:
        ArgumentError: if `std` is not positive, or `low` not below `high`.
    """
    return DEFAULT.truncated_normal(shape, low, high, mean, std, dtype)


def bernoulli(shape: Any, p: Any = 0.5) -> Tensor:
    """Bools that are true with probability `p`, from the default generator.

    Args:
        shape: an integer or a sequence of them.
        p: a number in [0, 1], or a tensor of them that broadcasts to `shape`.

    >>> bernoulli((3,), 1.0).tolist()
    [True, True, True]
    """
    return DEFAULT.bernoulli(shape, p)


def randint(low: int, high: int, shape: Any, dtype: Any = None) -> Tensor:
    """Integers uniform in ``[low, high)``, from the default generator.

    Args:
        low, high: the bounds, at most 2**53 apart. No number is more likely than another by more
            than a factor of ``1 + (high - low) / 2**53``.
        shape: an integer or a sequence of them.
        dtype: an integer dtype that holds the bounds; int64 unless given.

    >>> randint(7, 8, (2,)).tolist()
    [7, 7]
    """
    return DEFAULT.randint(low, high, shape, dtype)


def categorical(logits: Any, shape: Any = None) -> Tensor:
    """Class numbers drawn with the probabilities ``softmax(logits)``, as int64.

    Args:
        logits: ``[..., classes]``; -inf for a class that is never drawn. For probabilities p pass
            ``ct.log(p)``.
        shape: of the result; it must end in the leading axes of `logits`, which it is by default.

    >>> categorical([0.0, -np.inf], (3,)).tolist()
    [0, 0, 0]
    """
    return DEFAULT.categorical(logits, shape)
