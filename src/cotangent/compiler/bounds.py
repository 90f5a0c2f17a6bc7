"""Which commits cannot make a NaN or an infinity, if what they read lies within bounds.

Under `debug_nans` a value that is not finite must be found before a variable changes. New values of
variables are computed in place, so they have to be known to be finite before they are: they are if
what they are computed from lies in ranges that are checked, and interval arithmetic says that
nothing overflows, and no root or quotient leaves its domain. That holds for all common optimizers.
Groups of which it cannot be said compute their values aside, where these are looked at first.

Numbers beyond the ranges are not errors: a call that finds one is run by a program without ranges,
which computes all new values aside.

Source: R. E. Moore, R. B. Kearfott, M. J. Cloud, "Introduction to Interval Analysis", SIAM 2009.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ..dtypes import bool_, is_float
from . import graph as g
from .fuse import Fusion
from .graph import Node
from .groups import Group
from .ranges import Range, widest


class _Unproved(Exception):  # noqa: N818 (an outcome)
    """A node may not be finite, unless what `below` is computed from has a narrower range."""

    def __init__(self, below: Node) -> None:
        super().__init__(below)
        self.below = below


# Rates, powers and small constants. The lower bound is for those that are divided by.
_SCALAR, _AWAY = Range(-(2.0**12), 2.0**12), 2.0**-40
# A factor at most 1, but for rounding.
ONE = 1 + 2.0**-20
# Where numbers of a dtype end, with room for rounding.
_MOST = {"f": 2.0**126, "d": 2.0**1000}
# More than ops are off by, of a value.
_ROUNDING = {"f": 2.0**-20, "d": 2.0**-49}
_INTEGERS = Range(-(2.0**64), 2.0**64)


class Proof(NamedTuple):
    """That all that a group stores is finite, if what it reads is in these ranges.

    Attributes:
        read: floats in memory, with their ranges.
        stored: ids of the floats that are stored, with the ranges in which they will be.
        range_of: the range of an input of one of the group's nodes.
    """

    read: dict[Node, Range]
    stored: dict[int, Range]
    range_of: Callable[[Node], Range]


def prove(fusion: Fusion, group: Group, given: Mapping[Node, Range] | None = None) -> Proof | None:
    """What a group of loops has to read for all that it stores to be finite; None if that cannot
    be said.

    Args:
        given: ranges of some of what it reads.

    Numbers of the host and scalars are thought to be of some size, and positive where it matters;
    variables of which a root is taken, not to be negative.
    """
    if any(is_float(x.dtype) and x.dtype.char not in _MOST for x in group.nodes):
        return None
    leaves = dict(given or {})
    while True:
        try:
            found = _walk(fusion, group, leaves)
            stored = {id(x): found[id(x)] for x in group.stored}
            return Proof(leaves, stored, _lookup(fusion, group, leaves, found))
        except _Unproved as failure:
            if not _narrow(_leaves_below(fusion, group, failure.below), leaves):
                return None


def _walk(fusion: Fusion, group: Group, leaves: dict[Node, Range]) -> dict[int, Range]:
    """The ranges of the values of a group; what it reads is noted. Raises `_Unproved`."""
    found: dict[int, Range] = {}
    range_of = _lookup(fusion, group, leaves, found)
    for node in group.nodes:
        ranges = [range_of(x) for x in node.inputs]
        if not is_float(node.dtype):
            found[id(node)] = Range(0, 1) if node.dtype == bool_ else _INTEGERS
            continue
        if node.op not in _RULES:
            raise _Unproved(node)
        made, most = _RULES[node.op](node, ranges), _MOST[node.dtype.char]
        if not (-most <= made.low and made.high <= most):
            raise _Unproved(node)
        found[id(node)] = Range(_rounded(made.low, node, -1), _rounded(made.high, node, 1))
    return found


def _lookup(
    fusion: Fusion, group: Group, leaves: dict[Node, Range], found: dict[int, Range]
) -> Callable[[Node], Range]:
    """The range of an input: of a node of the group, or of what is in memory."""

    def range_of(x: Node) -> Range:
        own = fusion.own_value(group, x)
        return _leaf(fusion, x, leaves) if own is None else found[id(own)]

    return range_of


def _rounded(end: float, node: Node, outwards: int) -> float:
    """Where the end of a range may be once values are rounded: a difference of numbers that are
    nearly equal can be 0."""
    moved = end + outwards * abs(end) * _ROUNDING[node.dtype.char]
    # What is positive may become 0, but not negative; and likewise below.
    return 0.0 if moved * outwards < 0 and abs(moved) < 1 / _MOST[node.dtype.char] else moved


def _leaf(fusion: Fusion, x: Node, leaves: dict[Node, Range]) -> Range:
    """The range of a value that a group reads, as far as it is known or demanded by now."""
    value = g.uniform(x)
    if value is None:
        x = fusion.view(x).base
        # Of large ones a graph with other contents may use the same program.
        readable = x.role == g.CONSTANT and g.is_readable(x.payload)
        value = x.payload if readable else None
    if value is not None:
        if not np.all(np.isfinite(value)):
            raise _Unproved(x)
        return Range(float(np.min(value)), float(np.max(value)))
    if x.dtype == bool_:
        return Range(0, 1)
    if not is_float(x.dtype):
        return _INTEGERS
    if x.dtype.char not in _MOST:
        raise _Unproved(x)
    scalar = x.shape == () and x.role != g.VARIABLE
    return leaves.setdefault(x, _SCALAR if scalar else widest(x.dtype))


def _leaves_below(fusion: Fusion, group: Group, node: Node) -> list[Node]:
    """The values in memory from which a group computes one of its nodes."""
    found, stack, seen = [], [node], set()
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        own = fusion.own_value(group, x)
        if own is not None:
            stack += own.inputs
        elif g.uniform(x) is None:
            found.append(fusion.view(x).base)
    return found


def _narrow(below: Iterable[Node], leaves: dict[Node, Range]) -> bool:
    """Demand more, of what most likely is so: first signs, of the host's numbers, then of variables
    and constants, then of other scalars; then that the host's numbers are at most 1."""
    signed = [x for x in below if x in leaves and leaves[x].low < 0]
    hosts = [x for x in signed if x.role == g.HOST]
    variables = [x for x in signed if x.role in (g.VARIABLE, g.CONSTANT)]
    scalars = [x for x in signed if x.shape == ()]
    chosen = hosts or variables or scalars
    for x in chosen:
        leaves[x] = Range(0.0 if chosen is variables else _AWAY, leaves[x].high)
    large = [x for x in below if x.role == g.HOST and x in leaves and leaves[x].high > ONE]
    if not chosen:
        leaves |= {x: leaves[x]._replace(high=ONE) for x in large}
    return bool(chosen or large)


# -- interval arithmetic --------------------------------------------------------------------------


def _product(x: Range, y: Range) -> Range:
    ends = [a * b for a in x for b in y]
    return Range(min(ends), max(ends))


def _multiply(node: Node, x: list[Range]) -> Range:
    made = _product(*x)
    return Range(max(made.low, 0.0), made.high) if node.inputs[0] is node.inputs[1] else made


def _quotient(node: Node, x: Range, y: Range, below: Node) -> Range:
    least = min(abs(y.low), abs(y.high))
    if y.low <= 0 <= y.high or least < 1 / _MOST[node.dtype.char]:
        raise _Unproved(below)
    return _product(x, Range(1 / y.high, 1 / y.low))


def _root(node: Node, x: list[Range]) -> Range:
    if x[0].low < 0:
        raise _Unproved(node.inputs[0])
    return Range(math.sqrt(x[0].low), math.sqrt(x[0].high))


def _abs(node: Node, x: list[Range]) -> Range:
    low, high = x[0]
    return Range(max(low, -high, 0.0), max(-low, high))


def _either(node: Node, x: list[Range]) -> Range:
    return Range(min(r.low for r in x[-2:]), max(r.high for r in x[-2:]))


def _within_one(node: Node, x: list[Range]) -> Range:
    return Range(-1.0, 1.0)


_RULES: dict[str, Callable[[Node, list[Range]], Range]] = {
    "add": lambda node, x: Range(x[0].low + x[1].low, x[0].high + x[1].high),
    "subtract": lambda node, x: Range(x[0].low - x[1].high, x[0].high - x[1].low),
    "multiply": _multiply,
    "divide": lambda node, x: _quotient(node, x[0], x[1], node.inputs[1]),
    "reciprocal": lambda node, x: _quotient(node, Range(1.0, 1.0), x[0], node.inputs[0]),
    "sqrt": _root,
    "negative": lambda node, x: Range(-x[0].high, -x[0].low),
    "abs": _abs,
    "maximum": lambda node, x: Range(max(r.low for r in x), max(r.high for r in x)),
    "minimum": lambda node, x: Range(min(r.low for r in x), min(r.high for r in x)),
    "relu": lambda node, x: Range(max(x[0].low, 0.0), max(x[0].high, 0.0)),
    "where": _either,
    "astype": lambda node, x: x[0],
    "sign": _within_one,
    "tanh": _within_one,
    "sigmoid": _within_one,
    "sin": _within_one,
    "cos": _within_one,
    "erf": _within_one,
}

# Ops of which finite inputs always have a finite result.
NEVER_LARGER = frozenset([
    "negative", "abs", "maximum", "minimum", "relu", "where", "sign", "tanh", "sigmoid", "sin",
    "cos", "erf",
])  # fmt: skip
