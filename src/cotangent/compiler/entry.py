"""A compiled signature: its program, what it depends on, and how its results are put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..config import EPOCH
from ..tensors import Tensor
from ..tree import LEAF, unflatten
from .graph import Graph
from .guards import Guard
from .program import ARENA, Program
from .results import Rebuild, rebuilt
from .trace import Trace

# Each such call is run twice.
_TRUST = 3


class Traced:
    """A traced call: its graph, and how its results are put together."""

    __slots__ = ("graph", "trace", "structure", "leaves", "places")

    def __init__(
        self, graph: Graph, trace: Trace, structure: Any, leaves: list[Any], places: list[int]
    ) -> None:
        self.graph = graph
        self.trace = trace
        self.structure = structure
        self.leaves = leaves
        self.places = places


class Entry:
    """A compiled signature.

    Attributes:
        program: what runs.
        guard: what the trace depended on.
        structure: the value of ``EPOCH.structure`` at which the guard held.
        results, leaves: the tree of the result, flat: constants, and tensors at `places`.
        single: whether the result is one tensor.
        differentiable: whether gradients can flow through a call: it writes no parameter.
        state: the variables that a differentiable call writes, such as running statistics.
        through: the derivatives, once they were asked for.
        watching: the programs with a check for NaN and infinity, once they were asked for: one that
            takes it that numbers are of common sizes, by True; one that does not, by False.
        trust: how many calls of the former may yet fail where all is finite, before it is the
            latter that is called.
    """

    __slots__ = (
        "program", "guard", "structure", "results", "leaves", "places", "single", "differentiable",
        "state", "loose", "through", "watching", "trust",
    )  # fmt: skip

    def __init__(self, program: Any, guard: Guard, traced: Traced) -> None:
        self.program = program
        self.guard = guard
        self.loose = guard.is_loose
        self.structure = EPOCH.structure
        self.results = traced.structure
        self.leaves = traced.leaves
        self.places = traced.places
        self.single = traced.structure == LEAF and traced.places == [0]
        written = [traced.trace.variables[number] for number, _ in traced.graph.writes]
        self.differentiable = not any(v.parameter for v in written)
        self.state = written if self.differentiable else []
        self.through: Any = None
        self.watching: dict[bool, Any] = {}
        self.trust = _TRUST

    def numbers(self) -> list[int]:
        """For each tensor of the result its number among those that are no values of `Gradients`,
        and -1 for those that are."""
        found: list[int] = []
        count = values = 0
        places = set(self.places)
        for i, leaf in enumerate(self.leaves):
            if isinstance(leaf, Rebuild):
                values = len(leaf.owners)  # they come next
            elif i in places:
                found.append(-1 if values else count)
                count, values = count + (not values), max(values - 1, 0)
        return found

    def run(self, program: Any, inputs: Sequence[Any]) -> tuple[list[Any], Sequence[Tensor]]:
        """The arrays that `program` gives for `inputs`, and what `state` held before."""
        if not self.state:
            return program.call(inputs), ()
        with ARENA.lock:  # no other thread's call comes in between
            before = [Tensor(np.array(variable.peek())) for variable in self.state]
            return program.call(inputs), before

    def use(self, program: Program) -> None:
        """Run `program` from now on."""
        self.program = program

    def current(self) -> bool:
        """Whether the program still is what the function means."""
        if self.structure == EPOCH.structure:
            return not self.loose or self.guard.loose_parts_hold()
        if not self.guard.holds():
            return False
        self.structure = EPOCH.structure
        return True

    def assemble(self, tensors: Iterable[Tensor]) -> Any:
        """The result of the function, with `tensors` in their places."""
        if self.single:
            return next(iter(tensors))
        leaves = list(self.leaves)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        return unflatten(self.results, rebuilt(leaves))


class Recent:
    """A call whose arguments were all arrays or tensors, for the next one to be compared with:
    most calls are like the one before, and take this shorter way.

    Attributes:
        entry: what it ran.
    """

    __slots__ = ("entry", "_program", "_grad", "_kinds")

    def __init__(self, entry: Entry, program: Program, grad: bool, args: tuple[Any, ...]) -> None:
        self.entry = entry
        self._program = program
        self._grad = grad
        self._kinds = [
            (type(x), x.dtype, x.shape, place)
            for x, place in zip(args, program.inputs, strict=True)
        ]

    def call(self, args: tuple[Any, ...], grad: bool) -> list[Any] | None:
        """The results of a call, if it is like this one, recording on or off; else None."""
        entry = self.entry
        if (
            len(args) != len(self._kinds)
            or grad is not self._grad
            or entry.structure != EPOCH.structure
            or (entry.loose and not entry.guard.loose_parts_hold())
        ):
            return None
        return self._program.call_like(args, self._kinds)


def recent_call(entry: Entry, program: Any, grad: bool, args: tuple[Any, ...]) -> Recent | None:
    """A call of `entry` by one of its programs to be compared with, if that is machine code, and
    nothing has to be kept from before a call."""
    if not isinstance(program, Program) or (grad and entry.state):
        return None
    return Recent(entry, program, grad, args)
