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

from . import ops
from .config import SETTINGS, STATE
from .dtypes import DType, as_dtype, float32, float64, int64, uint32
from .errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, TraceError
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
        return [
            ops.random_bits(low, high, draw, Tensor(positions * count + uint32.type(k)), shift=s)
            for k, s in enumerate(shifts)
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
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ArgumentError(f"uniform: needs finite low <= high, not low={low}, high={high}")
        unit = 2.0**-24 if kind == float32 else 2.0**-53
        x = self._mantissa("uniform", shape, kind, (5, 6)) * unit
        return x if (low, high) == (0.0, 1.0) else x * (high - low) + low

    def normal(self, shape: Any, mean: float = 0.0, std: float = 1.0, dtype: Any = None) -> Tensor:
        """Normal numbers: see `normal`."""
        kind = _kind("normal", dtype)
        if not std >= 0:
            raise ArgumentError(f"normal: std must not be negative, got {std}")
        bits = 24 if kind == float32 else 52
        # Odd multiples of 2**-bits: symmetric about 0, exact, and never -1 or 1.
        whole = self._mantissa("normal", shape, kind, (6, 6))
        x = (whole * 2.0 + (1.0 - 2.0**bits)) * 2.0**-bits
        out = _inverse_error(x, kind) * (math.sqrt(2.0) * std)
        return out if mean == 0 else out + mean

    def permutation(self, n: int) -> Tensor:
        """The integers below `n` in random order: see `permutation`."""
        if isinstance(n, bool) or not hasattr(n, "__index__") or n < 0:
            raise ArgumentTypeError(f"permutation: n must be a non-negative integer, not {n!r}")
        if STATE.trace is not None:
            raise TraceError(
                "permutation: sorting is not available in a compiled function; "
                "make the order outside and pass it in as an argument"
            )
        upper, lower = self._words(np.arange(n, dtype=uint32), 1, 1)
        keys = (upper.numpy().astype(int64) << 31) | lower.numpy()
        return Tensor(np.argsort(keys, kind="stable").astype(int64))


def _words(seed: int) -> tuple[int, int]:
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ArgumentTypeError(f"a seed is an integer, not {seed!r}")
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


# -- the inverse error function ---------------------------------------------------------------

# Polynomials in w - shift (or sqrt(w) - shift) for w = -log(1 - x*x), highest power first, each
# valid up to a limit of w. The relative error is 4e-7 in float32 and 4e-16 in float64.
# Source: M. Giles, "Approximating the erfinv function", GPU Computing Gems Jade Edition, 2011.
_FLOAT32 = (
    (5.0, False, 2.5, (
        2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
        -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
    )),
    (math.inf, True, 3.0, (
        -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
        -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
    )),
)  # fmt: skip
_FLOAT64 = (
    (6.25, False, 3.125, (
        -3.6444120640178196996e-21, -1.685059138182016589e-19, 1.2858480715256400167e-18,
        1.115787767802518096e-17, -1.333171662854620906e-16, 2.0972767875968561637e-17,
        6.6376381343583238325e-15, -4.0545662729752068639e-14, -8.1519341976054721522e-14,
        2.6335093153082322977e-12, -1.2975133253453532498e-11, -5.4154120542946279317e-11,
        1.051212273321532285e-09, -4.1126339803469836976e-09, -2.9070369957882005086e-08,
        4.2347877827932403518e-07, -1.3654692000834678645e-06, -1.3882523362786468719e-05,
        0.0001867342080340571352, -0.00074070253416626697512, -0.0060336708714301490533,
        0.24015818242558961693, 1.6536545626831027356,
    )),
    (16.0, True, 3.25, (
        2.2137376921775787049e-09, 9.0756561938885390979e-08, -2.7517406297064545428e-07,
        1.8239629214389227755e-08, 1.5027403968909827627e-06, -4.013867526981545969e-06,
        2.9234449089955446044e-06, 1.2475304481671778723e-05, -4.7318229009055733981e-05,
        6.8284851459573175448e-05, 2.4031110387097893999e-05, -0.0003550375203628474796,
        0.00095328937973738049703, -0.0016882755560235047313, 0.0024914420961078508066,
        -0.0037512085075692412107, 0.005370914553590063617, 1.0052589676941592334,
        3.0838856104922207635,
    )),
    (math.inf, True, 5.0, (
        -2.7109920616438573243e-11, -2.5556418169965252055e-10, 1.5076572693500548083e-09,
        -3.7894654401267369937e-09, 7.6157012080783393804e-09, -1.4960026627149240478e-08,
        2.9147953450901080826e-08, -6.7711997758452339498e-08, 2.2900482228026654717e-07,
        -9.9298272942317002539e-07, 4.5260625972231537039e-06, -1.9681778105531670567e-05,
        7.5995277030017761139e-05, -0.00021503011930044477347, -0.00013871931833623122026,
        1.0103004648645343977, 4.8499064014085844221,
    )),
)  # fmt: skip


def _inverse_error(x: Tensor, kind: DType) -> Tensor:
    """erfinv(x) for x in (-1, 1), composed of ops so that it can be traced."""
    w = -ops.log((1.0 - x) * (1.0 + x))
    root = ops.sqrt(w)
    out = None
    for limit, rooted, shift, coefficients in reversed(_FLOAT32 if kind == float32 else _FLOAT64):
        t = (root if rooted else w) - shift
        p: Any = coefficients[0]
        for c in coefficients[1:]:
            p = t * p + c
        out = p if out is None else ops.where(w < limit, p, out)
    return x * out


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

    Eager only: a compiled function takes the order as an argument.
    """
    return DEFAULT.permutation(n)
