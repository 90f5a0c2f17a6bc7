"""The op record, the registry, and the constructors for the common families.

A `Primitive` holds everything about one operation: documentation, shape rule, evaluation,
derivatives, lowering, sample inputs. The tape, the derivatives and the compiler all read the
same record, and the registry tests walk all of them, so a new op is tested once it is defined.

Conventions. ``infer(*xs, **attrs)`` gets things with ``.shape`` and ``.dtype`` and returns
``(shape, dtype)``; it raises the error that the user sees. ``eval(xp, *arrays, **attrs)`` gets
the array module. Derivative rules are written with ops on tensors, so they can be
differentiated and compiled in turn: ``vjp[i](g, out, *inputs, **attrs)`` is the cotangent of
input ``i``, ``jvp[i](t, out, *inputs, **attrs)`` what the tangent ``t`` of input ``i`` adds to
the tangent of the output.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..dtypes import DType, bool_, is_float
from ..errors import DTypeError, Error
from ..shapes import Shape, broadcast_shapes

Rule = Callable[..., Any]
Aval = tuple[Shape, DType]


class Sample(NamedTuple):
    """One call for the registry tests: inputs as arrays, attributes, and, for special
    values, the expected result."""

    inputs: tuple[Any, ...]
    attrs: Mapping[str, Any] = MappingProxyType({})
    expected: Any = None


class Interpreter(Protocol):
    """What evaluates primitives. It is installed by the floor above, which has the tape."""

    def bind(self, primitive: Primitive, inputs: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        """Apply `primitive`, recording it where an input is tracked."""

    def lift(self, value: Any) -> Any:
        """`value` as a tensor."""

    def backward(self, y: Any, keep: bool, differentiable: bool) -> Any:
        """The gradients of a scalar tensor."""


class _Link:
    """The one link upwards of the house: records are callable, and only tensors know the tape."""

    interpreter: Interpreter
    bind: Callable[..., Any]


def install(interpreter: Interpreter) -> None:
    """Name the interpreter that calls of primitives go to."""
    _Link.interpreter = interpreter
    _Link.bind = staticmethod(interpreter.bind)


def lift(value: Any) -> Any:
    """`value` (tensor, array, number, nested list) as a tensor."""
    return _Link.interpreter.lift(value)


def backward(y: Any, keep: bool, differentiable: bool) -> Any:
    """The gradients of the scalar tensor `y`."""
    return _Link.interpreter.backward(y, keep, differentiable)


class PerInput:
    """The derivative rules of an op that takes any number of inputs: ``make(i)`` is that of
    input `i`. It stands where other records have a tuple."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[int], Rule]) -> None:
        self.make = make

    def __getitem__(self, index: int) -> Rule:
        return self.make(index)


class Primitive:
    """One operation, whole. Calling it applies it to tensors.

    Attributes:
        name: unique; the Array API name where that has one.
        doc: one line: formula, shapes, domain, conventions at ties and edges.
        kind: which loops the compiler puts around it ("elementwise", "reduce", "movement", ...).
        infer: the shape-and-dtype rule.
        eval: evaluation by an array module.
        vjp: a rule per input (None where nothing flows); empty for an op without derivatives;
            `PerInput` for an op that takes any number of inputs, whose rules read only shapes.
        jvp: likewise forwards.
        saves: what `vjp` and `jvp` read: input numbers and "out". The tape keeps no more.
        lower: ``(emitter, *values, **attrs) -> value`` on vectors, for the elementwise kind.
        can_fail: whether it raises for some values of its inputs, such as an index out of range.
            The compiler sees to it that it does, though nothing may need the result.
        batch: what the op becomes under `vmap`, for kinds that do not say so: see batching.py.
        uniform_from: inputs from this one on are promoted to one dtype; None leaves all alone.
        samples: ``(rng) -> [Sample]`` inside the domain.
        special: samples with expected values: ties, edges, infinities, NaN.
        accepted: dtype characters of the inputs for which `infer` has passed before; eager
            calls run it only for others, or to explain a failure.
    """

    __slots__ = (
        "name", "doc", "kind", "infer", "eval", "vjp", "jvp", "saves", "keep",
        "keep_out", "lower", "can_fail", "batch", "uniform_from", "samples", "special", "accepted",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        doc: str,
        *,
        kind: str,
        infer: Rule,
        eval: Rule,
        samples: Callable[[np.random.Generator], list[Sample]],
        vjp: Sequence[Rule | None] | PerInput = (),
        jvp: Sequence[Rule | None] | PerInput = (),
        saves: Sequence[int | str] = (),
        lower: Rule | None = None,
        can_fail: bool = False,
        batch: Rule | None = None,
        uniform_from: int | None = 0,
        special: Sequence[Sample] = (),
    ) -> None:
        self.name = name
        self.doc = doc
        self.kind = kind
        self.infer = infer
        self.eval = eval
        self.vjp = vjp if isinstance(vjp, PerInput) else tuple(vjp)
        self.jvp = jvp if isinstance(jvp, PerInput) else tuple(jvp)
        self.saves = tuple(saves)
        self.keep = _keep(self.vjp, self.saves)
        self.keep_out = "out" in saves
        self.lower = lower
        self.can_fail = can_fail
        self.batch = batch
        self.uniform_from = uniform_from
        self.samples = samples
        self.special = tuple(special)
        self.accepted: set[str] = set()

    def __call__(self, *inputs: Any, **attrs: Any) -> Any:
        return _Link.bind(self, inputs, attrs)

    def __repr__(self) -> str:
        return f"<primitive {self.name}: {self.doc}>"

    def __reduce__(self) -> Any:
        return (find, (self.name,))


def _keep(vjp: Any, saves: tuple[int | str, ...]) -> Iterable[bool]:
    """For each input, whether the tape keeps its values."""
    if isinstance(vjp, PerInput):
        return itertools.repeat(False)
    return tuple(i in saves for i in range(max(len(vjp), 3)))


REGISTRY: dict[str, Primitive] = {}


def register(primitive: Primitive) -> Primitive:
    """Enter a record; a name can be taken once."""
    if primitive.name in REGISTRY:
        raise Error(f"an op named {primitive.name!r} is registered already")
    REGISTRY[primitive.name] = primitive
    return primitive


def unregister(name: str) -> None:
    """Take a record out again, for tests that define one."""
    del REGISTRY[name]


def find(name: str) -> Primitive:
    """The record named `name`."""
    return REGISTRY[name]


def require_float(name: str, *xs: Any) -> None:
    """Raise `DTypeError` unless every input is floating-point."""
    for x in xs:
        if not is_float(x.dtype):
            raise DTypeError(
                f"{name} needs a floating-point tensor, not {x.dtype} of shape {x.shape}; "
                "convert it with .astype(ct.float32)"
            )


def require_number(name: str, *xs: Any) -> None:
    """Raise `DTypeError` if an input is bool."""
    for x in xs:
        if x.dtype == bool_:
            raise DTypeError(
                f"{name} does not take bool (shape {x.shape}); "
                "use logical_and, logical_or, logical_not, or .astype(ct.float32)"
            )


def unbroadcast(g: Any, shape: Shape) -> Any:
    """`g` summed over the axes along which `shape` was broadcast."""
    if g.shape == shape:
        return g
    lead = len(g.shape) - len(shape)
    stretched = (i + lead for i, n in enumerate(shape) if n == 1 and g.shape[i + lead] != 1)
    axes = (*range(lead), *stretched)
    summed = REGISTRY["sum"](g, axes=axes, keepdims=False)
    return summed if summed.shape == shape else REGISTRY["reshape"](summed, shape=shape)


def one(out: Any, *inputs: Any) -> int:
    """The partial derivative 1."""
    return 1


def minus_one(out: Any, *inputs: Any) -> int:
    """The partial derivative -1."""
    return -1


def _scale(partial: Rule, bounded: bool) -> Rule:
    """The diagonal map ``t * partial``, which is both the JVP and the VJP of an elementwise op."""
    if partial is one:
        return lambda t, out, *inputs, **attrs: t
    if partial is minus_one:
        return lambda t, out, *inputs, **attrs: -t
    product = "multiply" if bounded else "mul_no_nan"

    def scaled(t: Any, out: Any, *inputs: Any, **attrs: Any) -> Any:
        return REGISTRY[product](t, partial(out, *inputs, **attrs))

    return scaled


def _back(slope: Rule | None, index: int) -> Rule | None:
    if slope is None:
        return None

    def vjp(g: Any, out: Any, *inputs: Any, **attrs: Any) -> Any:
        return unbroadcast(slope(g, out, *inputs, **attrs), inputs[index].shape)

    return vjp


def elementwise(
    name: str,
    doc: str,
    *,
    eval: Rule,
    lower: Rule,
    samples: Callable[[np.random.Generator], list[Sample]],
    partials: Sequence[Rule | None] | None = None,
    slopes: Sequence[Rule | None] | None = None,
    bounded: bool = True,
    saves: Sequence[int | str] = (),
    takes: Rule | None = None,
    gives: DType | None = None,
    special: Sequence[Sample] = (),
) -> Primitive:
    """Register an op that works element by element on broadcast inputs.

    The derivative is stated once, as ``partials`` (``(out, *inputs) -> d out / d input``) or,
    where a product would be wrong or wasteful, as ``slopes`` (``(t, out, *inputs) -> t *
    partial``). JVP and VJP both follow.

    Args:
        bounded: False where a partial can be infinite; products then use `mul_no_nan`.
        saves: what the partials read.
        takes: ``(name, *inputs)`` that raises for dtypes outside the op's domain.
        gives: dtype of the result; by default that of the inputs.
    """

    def infer(*xs: Any, **attrs: Any) -> Aval:
        if takes is not None:
            takes(name, *xs)
        return broadcast_shapes(name, *(x.shape for x in xs)), gives or xs[-1].dtype

    if partials is not None:
        slopes = [None if p is None else _scale(p, bounded) for p in partials]
    slopes = slopes or ()
    return register(
        Primitive(
            name, doc, kind="elementwise", infer=infer, eval=eval, lower=lower, samples=samples,
            vjp=[_back(slope, i) for i, slope in enumerate(slopes)], jvp=slopes,
            saves=saves, special=special,
        )
    )  # fmt: skip


def linear_in_each(name: str, count: int) -> list[Rule]:
    """JVP rules of an op that is linear in each input: put the tangent in its place."""

    def rule(index: int) -> Rule:
        def jvp(t: Any, out: Any, *inputs: Any, **attrs: Any) -> Any:
            moved = (*inputs[:index], t, *inputs[index + 1 :])
            return REGISTRY[name](*moved, **attrs)

        return jvp

    return [rule(i) for i in range(count)]


def real(*shapes: Shape, low: float = -2.0, high: float = 2.0) -> Any:
    """A sample maker: one call with an input per shape, uniform in [low, high)."""

    def samples(rng: np.random.Generator) -> list[Sample]:
        return [Sample(tuple(rng.uniform(low, high, shape) for shape in shapes))]

    return samples


def pairs(*, low: float = -2.0, high: float = 2.0) -> Any:
    """A sample maker for two inputs: equal shapes, a row, a column, a scalar, no elements."""
    shapes = [((2, 3), (2, 3)), ((2, 3), (3,)), ((4, 1), (1, 5)), ((), (3,)), ((0, 2), (2,))]

    def samples(rng: np.random.Generator) -> list[Sample]:
        return [Sample((rng.uniform(low, high, a), rng.uniform(low, high, b))) for a, b in shapes]

    return samples
