"""Derivatives: the tape read backwards (VJP) and forwards (JVP), and transformations on top.

An entry has a number, and numbers grow in the order of evaluation, so visiting entries by
number is visiting them in topological order; nothing here recurses. The rules in the op records
work on tensors, so a pass that is itself recorded can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from . import ops
from .config import STATE
from .dtypes import is_float
from .entries import Entry, Shaped
from .errors import ArgumentTypeError, GradientError
from .functional import broadcast_to
from .ops import add, multiply
from .tape import bind, scalar_like
from .tensors import Tensor, Variable, lift


class Modes:
    """The recording mode and the nesting depth, restored on the way out."""

    __slots__ = ("grad", "deeper", "before")

    def __init__(self, grad: bool, deeper: int = 0) -> None:
        self.grad = grad
        self.deeper = deeper
        self.before: list[bool] = []  # a stack, since one object may be entered again inside

    def __enter__(self) -> None:
        self.before.append(STATE.grad)
        STATE.grad = self.grad
        STATE.depth += self.deeper

    def __exit__(self, *exc: object) -> None:
        STATE.grad = self.before.pop()
        STATE.depth -= self.deeper


def no_grad() -> Modes:
    """A context in which nothing is recorded on the tape.

    >>> with no_grad():
    ...     (Tensor.var("w", 1.0) * 2).tracked
    False
    """
    return Modes(False)


# -- reading the tape -------------------------------------------------------------------------


def reach(roots: Iterable[Entry | None], oldest: int) -> list[Entry]:
    """The entries that `roots` were computed from, down to number `oldest`, newest first."""
    seen: dict[int, Entry] = {}
    stack = [entry for entry in roots if entry is not None]
    while stack:
        entry = stack.pop()
        if entry.number < oldest or entry.number in seen:
            continue
        if entry.parents is None:
            raise GradientError(
                "backward: this graph was consumed by an earlier backward pass; "
                "call that one with keep=True to use the graph again"
            )
        seen[entry.number] = entry
        for parent in entry.parents:
            if parent is not None and parent.number not in seen:
                stack.append(parent)
    return [seen[number] for number in sorted(seen, reverse=True)]


def _result(entry: Entry) -> Any:
    """The tensor of an entry, for its derivative rules."""
    if entry.out is None:
        return Shaped(entry.shape, entry.dtype)
    return Tensor(entry.out, entry)


def pull_back(
    seeds: Sequence[tuple[Entry, Tensor]], targets: Sequence[Entry] | None, differentiable: bool
) -> dict[int, tuple[Entry, Tensor]]:
    """Entries with their cotangents, by number: of the leaves, or of `targets`.

    Args:
        seeds: entries with the cotangents that flow into them.
        targets: where to stop, for a transformation; None to go to every leaf.
        differentiable: record the pass itself.
    """
    oldest = 0 if targets is None else min((t.number for t in targets), default=0)
    ends = {t.number for t in targets or ()}
    order = reach([entry for entry, _ in seeds], oldest)
    cotangents: dict[int, Tensor] = {}
    found: dict[int, tuple[Entry, Tensor]] = {}
    with Modes(differentiable and STATE.grad):
        for entry, seed in seeds:
            _accumulate(cotangents, entry.number, seed)
        trace = STATE.trace
        for entry in order:
            g = cotangents.pop(entry.number, None)
            if g is None:
                continue
            if entry.primitive is None or entry.number in ends:
                found[entry.number] = (entry, g)
                continue
            if trace is None:
                _step_back(entry, g, oldest, cotangents)
                continue
            trace.enter_backward(entry.number)
            try:
                _step_back(entry, g, oldest, cotangents)
            finally:
                trace.leave_backward()
    return found


def _step_back(entry: Entry, g: Tensor, oldest: int, cotangents: dict[int, Tensor]) -> None:
    """Carry the cotangent of one result to the inputs of its op."""
    out = _result(entry)
    for i, parent in enumerate(entry.parents):
        if parent is None or parent.number < oldest:
            continue
        rule = entry.primitive.vjp[i]
        if rule is None:
            continue
        part = rule(g, out, *entry.inputs, **entry.attrs)
        if part is not None:
            _accumulate(cotangents, parent.number, part)


def _accumulate(cotangents: dict[int, Any], number: int, part: Any) -> None:
    before = cotangents.get(number)
    if before is None:
        cotangents[number] = part
    elif type(part) is Tensor:
        cotangents[number] = bind(add, (before, part), {})
    else:
        cotangents[number] = before + part  # those of the results of one call: see joint.py


def push_forward(
    roots: Sequence[Entry | None], seeds: dict[int, Tensor], oldest: int
) -> dict[int, Tensor]:
    """Tangents by entry number, from those of the inputs in `seeds`."""
    tangents = dict(seeds)
    for entry in reversed(reach(roots, oldest)):
        if entry.number in tangents or entry.primitive is None:
            continue
        out = _result(entry)
        total = None
        for i, parent in enumerate(entry.parents):
            t = None if parent is None else tangents.get(parent.number)
            rule = entry.primitive.jvp[i] if t is not None else None
            part = None if rule is None else rule(t, out, *entry.inputs, **entry.attrs)
            if part is not None:
                total = part if total is None else total + part
        if total is not None:
            whole = isinstance(total, Tensor)
            tangents[entry.number] = broadcast_to(total, entry.shape) if whole else total
    return tangents


def _consume(seeds: Sequence[tuple[Entry, Tensor]]) -> None:
    """Let go of what the graph holds; a later pass through it says so."""
    for entry in reach([entry for entry, _ in seeds], 0):
        if entry.primitive is not None:
            entry.parents = entry.inputs = entry.out = None


# -- backward and its result ------------------------------------------------------------------


class Gradients:
    """What `backward` returns: a gradient for every variable that had a part.

    Look one up by the variable, as in ``grads.wrt(w)``. Gradients add up (``g1 + g2``) and scale
    (``0.5 * g``), which is what accumulation over batches needs.
    """

    __slots__ = ("_by_leaf",)

    def __init__(self, by_leaf: dict[int, tuple[Any, Tensor]]) -> None:
        self._by_leaf = by_leaf  # leaf number -> (weak reference to the variable, gradient)

    def wrt(self, variable: Tensor) -> Tensor:
        """The gradient with respect to `variable`.

        Raises:
            GradientError: if it had no part in the result.
        """
        found = self.get(variable)
        if found is None:
            raise GradientError(_no_part(variable))
        return found

    def get(self, variable: Tensor) -> Tensor | None:
        """The gradient with respect to `variable`, or None if it had no part in the result."""
        if not isinstance(variable, Variable):
            raise ArgumentTypeError(
                "gradients are looked up by variable (made by ct.var), not by "
                f"{type(variable).__name__}; for other tensors use ct.grad or ct.vjp"
            )
        pair = self._by_leaf.get(variable.leaf.number)
        return None if pair is None else pair[1]

    def map(self, function: Callable[[Tensor], Tensor]) -> Gradients:
        """`function` applied to every gradient."""
        return Gradients({n: (ref, function(g)) for n, (ref, g) in self._by_leaf.items()})

    def items(self) -> Iterator[tuple[Variable, Tensor]]:
        """Pairs of variable and gradient, in the order in which the variables were made."""
        for number in sorted(self._by_leaf):
            reference, gradient = self._by_leaf[number]
            variable = reference() if reference is not None else None
            if variable is not None:
                yield variable, gradient

    def pairs(self) -> Iterator[tuple[int, Any, Tensor]]:
        """Triples (number of the leaf, weak reference to its variable, gradient)."""
        for number, (reference, gradient) in self._by_leaf.items():
            yield number, reference, gradient

    @classmethod
    def of(cls, triples: Iterable[tuple[int, Any, Tensor]]) -> Gradients:
        """Gradients from what `pairs` gave."""
        return cls({number: (reference, g) for number, reference, g in triples})

    def __iter__(self) -> Iterator[tuple[Variable, Tensor]]:
        return self.items()

    def __len__(self) -> int:
        return len(self._by_leaf)

    def __contains__(self, variable: object) -> bool:
        return isinstance(variable, Variable) and self.get(variable) is not None

    def __add__(self, other: Gradients) -> Gradients:
        if not isinstance(other, Gradients):
            return NotImplemented
        joint = dict(self._by_leaf)
        for number, (reference, gradient) in other._by_leaf.items():
            mine = joint.get(number)
            joint[number] = (reference, gradient if mine is None else mine[1] + gradient)
        return Gradients(joint)

    def __mul__(self, factor: Any) -> Gradients:
        return self.map(lambda g: multiply(g, factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Gradients:
        return self.map(lambda g: g / divisor)

    def norm(self) -> Tensor:
        """The square root of the sum of the squares of all elements: the global L2 norm."""
        total = None
        for _, gradient in self._by_leaf.values():
            part = ops.sum(gradient * gradient, axes=tuple(range(gradient.ndim)), keepdims=False)
            total = part if total is None else total + part
        if total is None:
            raise GradientError("norm: there are no gradients; nothing tracked had a part")
        return ops.sqrt(total)

    def __repr__(self) -> str:
        rows = ", ".join(f"{v.name or '?'}: {g.shape}" for v, g in self.items())
        return f"Gradients({rows})"


def _no_part(variable: Any) -> str:
    name = getattr(variable, "name", None) or "the tensor"
    shape = getattr(variable, "shape", "?")
    why = (
        "it is frozen"
        if getattr(variable, "requires_grad", True) is False
        else ("it was not used in computing it, or only through detach(), integers or comparisons")
    )
    return f"wrt: {name} of shape {shape} had no part in the result: {why}"


def backward(y: Tensor, keep: bool = False, differentiable: bool = False) -> Gradients:
    """See `Tensor.backward`."""
    y = y.value if isinstance(y, Variable) else y
    require_scalar("backward", y, "reduce it with .sum() or .mean(), or use ct.vjp")
    if y.entry is None:
        raise GradientError(
            "backward: nothing in this result is tracked, so there is nothing to differentiate; "
            "make parameters with ct.var, and check for detach(), no_grad() and frozen layers; "
            "what a compiled function that assigns parameters returns is not tracked either"
        )
    seeds = [(y.entry, one_like(y))]
    found = pull_back(seeds, None, differentiable)
    if not (keep or differentiable):
        _consume(seeds)
    # A leaf without an owner is the argument of a transformation around or inside this pass.
    owned = {n: (leaf.owner, g) for n, (leaf, g) in found.items() if leaf.owner is not None}
    return Gradients(owned)


def require_scalar(what: str, y: Tensor, fix: str) -> None:
    """Raise `GradientError` unless `y` is one floating-point number."""
    if y.shape != () and y.size != 1:
        raise GradientError(f"{what}: needs a scalar, but the result has shape {y.shape}; {fix}")
    if not is_float(y.dtype):
        raise GradientError(
            f"{what}: needs a floating-point result, but this one is {y.dtype}; "
            "integers and bools have no derivative"
        )


def one_like(y: Tensor) -> Tensor:
    """A one of the shape and dtype of `y`: the cotangent that a backward pass starts from."""
    one = scalar_like(1.0, y)
    return one if y.shape == () else broadcast_to(one, y.shape)


class _Interpreter:
    """What calls of op records go to."""

    bind = staticmethod(bind)
    lift = staticmethod(lift)
    backward = staticmethod(backward)


ops.install(_Interpreter)
