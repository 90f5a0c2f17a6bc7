"""Counter-based random bits (Threefry-2x32, 20 rounds).

The state of a generator is (seed, draw): every draw uses the next value of `draw`, whatever its
size, and element i of it comes from block i // 2. So a draw depends on nothing but (seed, draw,
position): not on threads, on the order of evaluation, or on compilation.

Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC 2011.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import int32, int64, uint32
from ..errors import DTypeError
from ..shapes import broadcast_shapes
from .primitive import Aval, Primitive, Sample, register

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
_MASK = 0xFFFFFFFF


def threefry(
    key: tuple[Any, Any], counter: tuple[Any, Any], add: Any, xor: Any, rotate: Any
) -> tuple[Any, Any]:
    """The block function on 32-bit words, in the arithmetic that is passed in.

    Args:
        key: two words: the seed.
        counter: two words: (draw, block).
        add: addition modulo 2**32; takes Python integers as the second operand.
        xor: exclusive or; likewise.
        rotate: rotation to the left by a Python integer.
    """
    keys = (key[0], key[1], xor(xor(key[0], key[1]), PARITY))
    x, y = add(counter[0], keys[0]), add(counter[1], keys[1])
    for group in range(5):
        for amount in ROTATIONS[group % 2]:
            x = add(x, y)
            y = xor(rotate(y, amount), x)
        x = add(x, keys[(group + 1) % 3])
        y = add(add(y, keys[(group + 2) % 3]), group + 1)
    return x, y


def _eval_bits(xp: Any, low: Any, high: Any, draw: Any, position: Any, shift: int) -> Any:
    """In uint32 with NumPy, which is quickest; else in int64, because PyTorch cannot add uint32.

    The sums of 32-bit words are cut to their lower 32 bits, which uint32 does of itself.
    """
    native = getattr(xp, "adds_uint32", False)
    kind = uint32 if native else int64

    def word(x: Any) -> Any:
        return xp.asarray(x, dtype=kind)

    def add(a: Any, b: Any) -> Any:
        return xp.add(a, word(b)) if native else xp.add(a, word(b)) & word(_MASK)

    def rotate(x: Any, amount: int) -> Any:
        left = x << word(amount)
        return (left if native else left & word(_MASK)) | (x >> word(32 - amount))

    if not native:
        low, high, draw, position = (xp.astype(x, kind) for x in (low, high, draw, position))
    even, odd = threefry(
        (low, high), (draw, position >> word(1)), add,
        lambda a, b: xp.bitwise_xor(a, word(b)), rotate,
    )  # fmt: skip
    chosen = xp.where((position & word(1)) == word(0), even, odd)
    return xp.astype(chosen >> word(shift), int32)


def _lower_bits(e: Any, low: Any, high: Any, draw: Any, position: Any, shift: int) -> Any:
    def word(x: Any) -> Any:
        return e.constant(x, uint32) if isinstance(x, int) else x

    def rotate(x: Any, amount: int) -> Any:
        return e.or_(e.shl(x, word(amount)), e.shr(x, word(32 - amount)))

    even, odd = threefry(
        (low, high), (draw, e.shr(position, word(1))),
        lambda a, b: e.add(a, word(b)), lambda a, b: e.xor(a, word(b)), rotate,
    )  # fmt: skip
    is_even = e.eq(e.and_(position, word(1)), word(0))
    return e.cast(e.shr(e.select(is_even, even, odd), word(shift)), int32)


def _samples(rng: np.random.Generator) -> list[Sample]:
    words = (np.uint32(0x13198A2E), np.uint32(0x03707344), np.uint32(7))
    key = tuple(np.asarray(w) for w in words)
    return [Sample((*key, np.arange(37, dtype=uint32)), {"shift": 8})]


def _known_answer(
    key: tuple[int, int], counter: tuple[int, int], words: tuple[int, int]
) -> list[Sample]:
    """A test vector of the authors' Random123 distribution, at shift 1."""
    base = 2 * counter[1] % 2**32
    return [
        Sample(
            tuple(np.asarray(w, uint32) for w in (*key, counter[0], base + i)),
            {"shift": 1},
            np.asarray(words[i] >> 1, int32),
        )
        for i in (0, 1)
    ]


def _infer_bits(*words: Any) -> Aval:
    for x in words:
        if x.dtype != uint32:
            raise DTypeError(f"random_bits takes uint32 words, not {x.dtype}")
    return broadcast_shapes("random_bits", *(x.shape for x in words)), int32


random_bits = register(
    Primitive(
        "random_bits",
        "random words at (seed low, seed high, draw, position), shifted right, as int32",
        kind="elementwise",
        infer=lambda *words, shift: _infer_bits(*words),
        eval=_eval_bits,
        lower=_lower_bits,
        samples=_samples,
        special=[
            *_known_answer((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ],
    )
)
