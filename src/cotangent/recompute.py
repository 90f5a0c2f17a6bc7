"""Checkpointing: parts of a computation that are computed again in the backward pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .config import STATE
from .entries import Entry, next_number
from .errors import ArgumentTypeError, GradientError
from .gradients import Modes, pull_back, push_forward, reach
from .joint import Call, track
from .scopes import Scope
from .tensors import Tensor, Variable
from .tree import flatten, unflatten


class Recorder(Scope):
    """Remembers the value that each variable had when it was first read."""

    def __init__(self) -> None:
        self.values: dict[int, tuple[Variable, Tensor]] = {}

    def read(self, variable: Variable) -> Tensor:
        value = super().read(variable)
        self.values.setdefault(id(variable), (variable, value))
        return value

    def write(self, variable: Variable, new: Tensor) -> None:
        self.read(variable)
        super().write(variable, new)


class Substitution(Scope):
    """Gives variables the values that a call saw, and keeps what is written to itself, so that a
    second run computes the same, random numbers included, and changes nothing.

    Args:
        values: pairs of a variable and its value.
    """

    def __init__(self, values: Iterable[tuple[Variable, Tensor]]) -> None:
        self._values = {id(variable): value for variable, value in values}

    def read(self, variable: Variable) -> Tensor:
        value = self._values.get(id(variable))
        return super().read(variable) if value is None else value

    def write(self, variable: Variable, new: Tensor) -> None:
        self._values[id(variable)] = variable.wrap(new.data)


class Replay(Substitution):
    """A `Substitution` in a region of its own: what a checkpoint computes again is merged with
    nothing."""

    def __enter__(self) -> Replay:
        super().__enter__()
        self.enter_region()
        return self

    def __exit__(self, *exc: object) -> None:
        self.leave_region()
        super().__exit__(*exc)


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function that computes what `f` does, but keeps only its inputs for the backward pass.

    The backward pass calls `f` again, on the same inputs, with the variables (and the state of
    random generators) as they were in the first call, so dropout drops the same elements. It
    takes about a third more time in training, and the intermediate results of `f` take no memory
    between the passes. Whatever `f` assigns to variables happens in the first call only.

    Args:
        f: any function of tensors; a layer, too. It must compute the same when it is called again.

    Returns:
        A function of the same arguments, with equal results and gradients of every order.

    Source: T. Chen, B. Xu, C. Zhang, C. Guestrin, "Training deep nets with sublinear memory
    cost", 2016.

    >>> from cotangent.transforms import grad
    >>> grad(checkpoint(lambda x: x.sin().sin()))(0.0).item()
    1.0
    """
    if not callable(f):
        raise ArgumentTypeError(f"checkpoint takes a function, not {type(f).__name__}")

    @functools.wraps(f, assigned=("__name__", "__qualname__", "__doc__"), updated=())
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if not STATE.grad:
            return f(*args, **kwargs)
        newest = next_number()
        recorder = Recorder()
        with recorder:
            result = f(*args, **kwargs)
        outs, structure = flatten(result)
        outs = [x.value if isinstance(x, Variable) else x for x in outs]
        parents = inputs_of(outs, newest)
        if not parents:
            return result
        again = _Again(f, args, kwargs, recorder.values, parents)
        call = Call(f"checkpoint of {_name(f)}", len(parents), again.pull, again.push)
        return unflatten(structure, iter(track(call, parents, outs)))

    return checkpointed


def _name(f: Any) -> str:
    return getattr(f, "__name__", type(f).__name__)


def inputs_of(results: Sequence[Any], newest: int) -> list[Entry]:
    """The entries numbered up to `newest` that `results` were computed from by later ones."""
    found: dict[int, Entry] = {}
    roots = [x.entry for x in results if isinstance(x, Tensor) and x.entry is not None]
    for entry in [*reach(roots, newest), *(e for e in roots if e.number < newest)]:
        if entry.number < newest:
            found[entry.number] = entry
            continue
        for parent in entry.parents:
            if parent is not None and parent.number < newest:
                found[parent.number] = parent
    return [found[number] for number in sorted(found)]


class _Again:
    """The second run of a checkpointed call, and the passes through it."""

    def __init__(
        self, f: Any, args: Any, kwargs: Any, values: Any, parents: Sequence[Entry]
    ) -> None:
        self._call = (f, args, kwargs)
        self._values = values
        self._parents = parents

    def _run(self) -> list[Any]:
        f, args, kwargs = self._call
        with Replay(self._values.values()), Modes(True):
            return flatten(f(*args, **kwargs))[0]

    def pull(self, cotangents: dict[int, Tensor]) -> list[Tensor | None]:
        outs = self._run()
        seeds = []
        for place, g in cotangents.items():
            out = outs[place] if place < len(outs) else None
            if not isinstance(out, Tensor) or out.shape != g.shape:
                raise GradientError(
                    f"checkpoint of {_name(self._call[0])}: called again, it returned something "
                    "else; it must depend on nothing but its arguments and variables"
                )
            if out.entry is not None:
                seeds.append((out.entry, g))
        found = pull_back(seeds, self._parents, STATE.grad)
        pairs = [found.get(parent.number) for parent in self._parents]
        return [None if pair is None else pair[1] for pair in pairs]

    def push(self, i: int, t: Tensor) -> dict[int, Tensor]:
        outs = self._run()
        entries = [x.entry if isinstance(x, Tensor) else None for x in outs]
        number = self._parents[i].number
        found = push_forward(entries, {number: t}, number)
        return {
            place: found[entry.number]
            for place, entry in enumerate(entries)
            if entry is not None and entry.number in found
        }
