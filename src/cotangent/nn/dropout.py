"""Dropout."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..checks import refuse_unknown
from ..errors import ArgumentError, ArgumentTypeError
from ..placement import alongside
from ..random import DEFAULT, Generator
from ..tensors import Tensor, lift
from .module import Module


def dropout(
    x: Any, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """`x` with each element set to 0 with probability `p`, and the others divided by ``1 - p``.

    Args:
        x: any shape.
        p: in [0, 1), in steps of 2**-24.
        training: if False, the result is `x` itself.
        generator: where the random numbers come from; by default the one that `ct.manual_seed`
            seeds. A call takes one draw, also in a compiled step, whose calls draw anew.

    Raises:
        ArgumentError: if `p` is outside [0, 1).

    Source: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from
    overfitting", JMLR 2014.

    >>> dropout([1.0, 2.0], p=0.5, training=False).tolist()
    [1.0, 2.0]
    """
    check_probability("dropout", p)
    x = lift(x)
    ops.require_float("dropout", x)
    if not training or p == 0:
        return x
    with alongside(x):
        bits = (DEFAULT if generator is None else generator).bits(x.shape, 8)
    # Compared as integers, so that every dtype, eager and compiled, gets the same mask.
    kept = ops.less_equal(round(p * 2**24), bits)
    return ops.where(kept, x * (1.0 / (1.0 - p)), 0.0)


def check_probability(what: str, p: Any) -> None:
    """Raise unless `p` is a number in [0, 1)."""
    refuse_unknown(what, "p", p)
    if isinstance(p, bool) or not isinstance(p, (int, float)):
        raise ArgumentTypeError(f"{what}: p must be a number, not {p!r}")
    if not 0.0 <= p < 1.0:
        raise ArgumentError(f"{what}: p must lie in [0, 1), got {p}")


class Dropout(Module):
    """Sets elements to 0 at random while training, and does nothing after ``model.eval()``.

    Args:
        p: the probability, in [0, 1); what is kept is divided by ``1 - p``.

    The mask is a function of the seed and the number of draws before it, so it is the same
    eager and compiled; every call, also of a compiled step and in its loop, draws a new one. See
    `dropout`.

    >>> Dropout(0.5).eval()([1.0, 2.0]).tolist()
    [1.0, 2.0]
    """

    def __init__(self, p: float = 0.5) -> None:
        check_probability("Dropout", p)
        self.p = p

    def forward(self, x: Any) -> Tensor:
        return dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
