"""Calls that stand on the tape as one step with a derivative rule of its own.

A call may have several results. Each gets an entry, all of which lead to one entry for the call;
what flows back into that one are the cotangents of all results together, as `Parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .dtypes import float32, is_float
from .entries import Entry
from .errors import GradientError
from .tensors import Tensor


class Parts:
    """Cotangents, or tangents, of the results of one call, by the place of the result."""

    __slots__ = ("by_place",)

    def __init__(self, by_place: dict[int, Tensor]) -> None:
        self.by_place = by_place

    def __add__(self, other: Parts) -> Parts:
        joint = dict(self.by_place)
        for place, part in other.by_place.items():
            joint[place] = joint[place] + part if place in joint else part
        return Parts(joint)


class Result:
    """Stands for the op in the entry of one result of a call."""

    def __init__(self, name: str, place: int) -> None:
        self.name = name
        self.vjp = [lambda g, out: Parts({place: g})]
        self.jvp = [lambda t, out: t.by_place.get(place)]


class Call:
    """Stands for the op in the entry of a call.

    Args:
        name: for messages.
        count: the number of parents.
        pull: from the cotangents of the results, by place, those of the parents, in order.
        push: from the number of a parent and its tangent the tangents of the results, by place;
            None if there is no forward rule.
    """

    def __init__(
        self,
        name: str,
        count: int,
        pull: Callable[[dict[int, Tensor]], Sequence[Tensor | None]],
        push: Callable[[int, Tensor], dict[int, Tensor]] | None,
    ) -> None:
        self.name = name
        self._pull = pull
        self._push = push
        self.vjp = [self._vjp(i) for i in range(count)]
        self.jvp = [self._jvp(i) for i in range(count)]
        self._known: tuple[Parts, Sequence[Tensor | None]] | None = None

    def _vjp(self, i: int) -> Callable[..., Any]:
        def rule(g: Parts, out: Any) -> Tensor | None:
            # One run gives the cotangents of all parents, which the tape asks for in turn.
            if self._known is None or self._known[0] is not g:
                self._known = (g, self._pull(g.by_place))
            found = self._known[1][i]
            if i == len(self.vjp) - 1:
                self._known = None
            return found

        return rule

    def _jvp(self, i: int) -> Callable[..., Any]:
        def rule(t: Tensor, out: Any) -> Parts:
            if self._push is None:
                raise GradientError(
                    f"{self.name} has a reverse rule only, so jvp cannot go through it; use ct.vjp "
                    "or ct.grad"
                )
            return Parts(self._push(i, t))

        return rule


def track(call: Call, parents: Sequence[Entry | None], results: Sequence[Any]) -> list[Any]:
    """`results` with their floating-point tensors on the tape as results of `call`."""
    entry = Entry(call, {}, (), list(parents), None, (), float32)
    return [
        Tensor(x.data, Entry(Result(call.name, i), {}, (), [entry], None, x.shape, x.dtype))
        if isinstance(x, Tensor) and is_float(x.dtype)
        else x
        for i, x in enumerate(results)
    ]
