"""For how many steps a look at variables is good.

An update changes a variable by a bounded amount: ``|x'| <= |x| + d``, as long as what it reads is
in its ranges. So where a look has found ``|x| < r``, it is below ``r + n d`` for n steps, and needs
no look in these, if the proof of `bounds.py` holds for so large an x too. Optimizers add a step to
a weight, and multiply an average by a number of at most 1 before they add to it. What may grow by a
factor is looked at in every step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from . import graph as g
from .bounds import ONE, Proof, prove
from .fuse import Fusion
from .graph import Node
from .groups import Group
from .ranges import STEPS, Range, widest

# How often ranges are widened, as one that depends on others follows them; and by how much more
# than they have to be, so that they need not follow small changes.
_ROUNDS, _ROOM = 5, 2.0


class Settled(NamedTuple):
    """A proof, and the variables that it holds for without a look in every step."""

    proof: Proof
    variables: frozenset[Node]


def settle(fusion: Fusion, group: Group, proof: Proof, own: Mapping[Node, Node]) -> Settled:
    """A proof for a group that holds for `STEPS` steps after a look, for as many variables as can
    be.

    Args:
        proof: that it holds for one step.
        own: new values, by their variables: those that only this group reads and writes.
    """
    chosen = dict(own)
    while chosen:
        found, needed = _widened(fusion, group, proof, chosen)
        if found is not None:
            return Settled(found, frozenset(chosen))
        del chosen[max(needed, key=needed.__getitem__)]
    return Settled(proof, frozenset())


def _widened(
    fusion: Fusion, group: Group, proof: Proof, chosen: Mapping[Node, Node]
) -> tuple[Proof | None, dict[Node, float]]:
    """The proof for ranges that the variables cannot leave in `STEPS` steps, if there is one; and
    how large they were to be when the last one was tried."""
    given: dict[Node, Range] = {}
    for _ in range(_ROUNDS):
        growth = _Growth(fusion, group, proof)
        needed = {x: _after(x, growth.of(new, x)) for x, new in chosen.items()}
        leaving = [x for x, new in chosen.items() if _may_leave(proof, x, new, needed[x])]
        if not leaving and not growth.factors:
            return proof, needed
        given |= {x: Range(-needed[x] * _ROOM, needed[x] * _ROOM) for x in leaving}
        given |= {x: Range(-ONE, ONE) for x in growth.factors}
        wider = prove(fusion, group, given)
        if wider is None:
            return None, needed
        proof = wider
    return None, needed


def _may_leave(proof: Proof, x: Node, new: Node, needed: float) -> bool:
    """Whether a variable may leave the range in which the proof reads it."""
    low, high = proof.read[x]
    return high < needed or (low > -high and proof.stored[id(new)].low < low)


def _after(x: Node, growth: float) -> float:
    """How large `x` may be `STEPS` steps after a look; twice that, for rounding, and for factors
    that are a little more than 1."""
    return 2 * (widest(x.dtype).high + STEPS * growth)


class _Growth:
    """How much larger than a variable, in magnitude, what is computed from it may be.

    Attributes:
        factors: scalars that would have to be at most 1.
    """

    def __init__(self, fusion: Fusion, group: Group, proof: Proof) -> None:
        self.fusion, self.group, self.proof = fusion, group, proof
        self.factors: set[Node] = set()
        self._known: dict[tuple[Node, Node], float] = {}
        self._follows: dict[tuple[Node, Node], bool] = {}

    def of(self, node: Node, x: Node) -> float:
        """The most that ``|node| - |x|`` can be, over all elements of both."""
        own = self.fusion.own_value(self.group, node)
        if own is None:
            return 0.0 if self._is(node, x) else self._size(node)
        if (own, x) not in self._known:
            below = self._by_op(own, x) if self._follows_from(own, x) else math.inf
            self._known[own, x] = min(self._size(own), below)
        return self._known[own, x]

    def _by_op(self, node: Node, x: Node) -> float:
        if node.op in ("add", "subtract"):
            a, b = node.inputs
            return min(self.of(a, x) + self._size(b), self._size(a) + self.of(b, x))
        if node.op == "multiply":
            a, b = node.inputs
            return min(self._times(a, b, x), self._times(b, a, x))
        if node.op == "where":
            return max(self.of(a, x) for a in node.inputs[1:])
        return math.inf

    def _times(self, node: Node, factor: Node, x: Node) -> float:
        """Of `node` times a factor of at most 1, or a scalar that may be one."""
        if not self._follows_from(node, x):
            return math.inf
        if self._size(factor) > ONE:
            if not self._is_scalar(factor):
                return math.inf
            self.factors.add(self.fusion.view(factor).base)
        return self.of(node, x)

    def _follows_from(self, node: Node, x: Node) -> bool:
        """Whether a node is `x`, or computed from it in this group."""
        own = self.fusion.own_value(self.group, node)
        if own is None:
            return self._is(node, x)
        if (own, x) not in self._follows:
            self._follows[own, x] = any(self._follows_from(a, x) for a in own.inputs)
        return self._follows[own, x]

    def _is(self, node: Node, x: Node) -> bool:
        return g.uniform(node) is None and self.fusion.view(node).base is x

    def _is_scalar(self, node: Node) -> bool:
        """Whether a node is a number that is looked at in every step."""
        if g.uniform(node) is not None or self.fusion.own_value(self.group, node) is not None:
            return False
        base = self.fusion.view(node).base
        return base.shape == () and base.role in (g.HOST, "op") and base in self.proof.read

    def _size(self, node: Node) -> float:
        """The largest magnitude."""
        found = self.proof.range_of(node)
        return max(-found.low, found.high)
