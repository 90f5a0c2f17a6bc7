"""`debug_nans`: where a NaN or an infinity came from.

Eagerly every op is looked at as it is computed. Compiled functions run other machine code while it
is on: the same graph, and one more check before anything is committed, of whether the floating-
point results and the new values of variables are all finite. If they are not, the graph is run op
by op from the unchanged state, and searched from the results backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from .. import ops
from ..backends import NUMPY, backend_of
from ..callers import user_line
from ..config import STATE
from ..dtypes import float32, int64, is_float, is_narrow
from ..errors import BoundsError, NonFiniteError, TraceError
from ..ops import Primitive
from ..scopes import Scope
from ..tensors import Tensor
from . import graph as g
from .graph import Graph, Node
from .link import link
from .program import Failed, Interpreted, Program
from .trace import Trace
from .verify import Inputs, values_of

_CHECK = "debug_nans"


class Watch(Scope):
    """The evaluator that is on with `debug_nans`: it looks at what every eager op computes."""

    def apply(self, primitive: Primitive, inputs: Sequence[Tensor], attrs: Any) -> Any:
        """The payload of an op's result, which is finite unless an input is not.

        Raises:
            NonFiniteError: if it is not.
        """
        out = super().apply(primitive, inputs, attrs)
        if is_float(out.dtype) and not is_finite(out) and all(is_finite(x.data) for x in inputs):
            raise NonFiniteError(
                f"debug_nans: {primitive.name} gives {_what(out)} from finite inputs; "
                f"{_shown(inputs)}\n  in {primitive.name} at {user_line()}"
            )
        return out


def is_finite(array: Any) -> bool:
    """Whether there is no NaN or infinity among floats; other dtypes always are."""
    if not is_float(array.dtype):
        return True
    if isinstance(array, (np.ndarray, np.generic)):
        with np.errstate(all="ignore"):
            return bool(np.isfinite(array).all())
    xp = backend_of(array).xp
    return bool(xp.all(xp.isfinite(array)))


def _what(array: Any) -> str:
    """What is there besides finite numbers, and how often."""
    xp = NUMPY.xp if isinstance(array, (np.ndarray, np.generic)) else backend_of(array).xp
    with np.errstate(all="ignore"):
        counts = [
            (int(xp.count_nonzero(test(array))), name)
            for test, name in ((xp.isnan, "NaN"), (xp.isinf, "infinity"))
        ]
    parts = [f"{name} in {n}" for n, name in counts if n]
    return f"{' and '.join(parts)} of {array.size or 1} elements"


def _shown(inputs: Sequence[Any]) -> str:
    """Shapes and ranges of inputs: tensors or arrays."""
    parts = []
    for x in inputs:
        text = f"{x.dtype} {tuple(x.shape)}"
        if isinstance(x, Tensor):
            x = x.data
        if isinstance(x, np.ndarray) and x.size and x.dtype.kind != "b":
            text += f" in [{x.min():.4g}, {x.max():.4g}]"
        parts.append(text)
    return f"inputs: {', '.join(parts)}"


# -- compiled functions -----------------------------------------------------------------------


def checked(graph: Graph) -> Graph:
    """The graph with one more output, a check that fails unless all else is finite.

    ``x * 0`` is NaN where x is not finite, and 0 elsewhere, and so is its sum.
    """
    results = [*graph.outputs, *(node for _, node in graph.writes)]
    total: Node | None = None
    for node in {id(x): x for x in results if is_float(x.dtype) and x.size}.values():
        like = node
        if is_narrow(node.dtype):
            node = g.apply(ops.astype, [node], {"dtype": float32}, like)
        zero = g.constant(np.zeros((), node.dtype), like)
        part = g.apply(ops.multiply, [node, zero], {}, like)
        if node.shape:
            axes = tuple(range(len(node.shape)))
            part = g.apply(ops.sum, [part], {"axes": axes, "keepdims": False}, like)
        part = g.apply(ops.astype, [part], {"dtype": float32}, like)
        total = part if total is None else g.apply(ops.add, [total, part], {}, like)
    if total is None:
        check = g.constant(np.int64(0))
    else:
        bad = g.apply(ops.not_equal, [total, total], {}, total)
        number = g.apply(ops.astype, [bad], {"dtype": int64}, total)
        check = g.apply(ops.check_index, [number], {"size": 1, "what": _CHECK}, total)
    outputs = [*graph.outputs, check]
    return Graph(graph.arguments, graph.variables, graph.hosts, outputs, graph.writes)


class Checked:
    """A program of a `checked` graph that runs op by op: its check is an outcome too."""

    def __init__(self, program: Interpreted) -> None:
        self.program = program

    def call(self, inputs: Sequence[Any]) -> list[Any]:
        """Run once; variables change only if all results are finite."""
        try:
            return self.program.call(inputs)
        except BoundsError as error:
            if not _is_ours(error):
                raise
            raise Failed(0) from None

    def loop(self, stacked: Sequence[Any], times: int) -> list[Any]:
        """Run on each leading slice; all of it or nothing."""
        written = [self.program.variables[n] for n in self.program.written]
        before = [variable.peek() for variable in written]
        rows: list[list[Any]] = []
        try:
            for i in range(times):
                rows.append(self.call([array[i] for array in stacked]))
        except BaseException as error:
            now = [variable.peek() for variable in written]
            for variable, array in zip(written, before, strict=True):
                variable.claim(array)
            if isinstance(error, Failed):
                raise Failed(len(rows), now) from None
            raise
        return [np.stack(column) for column in zip(*rows, strict=True)]


def _is_ours(error: BoundsError) -> bool:
    return error.message.startswith(_CHECK)


def watching_program(graph: Graph, trace: Trace) -> Program | Checked:
    """A program for a traced graph that fails where a result would not be finite."""
    program = link(checked(graph), trace.variables, trace.host_functions)
    return program if isinstance(program, Program) else Checked(program)


def origin(graph: Graph, inputs: Inputs, name: str) -> NonFiniteError | None:
    """The error for the first op whose NaN or infinity, made of finite inputs, reached a result.

    None if all that are in the results came in with an argument, a variable or a constant.
    """
    values = values_of(graph, inputs)
    bad = {key for key, value in values.items() if not is_finite(value)}
    stack = [x for x in (*graph.outputs, *(n for _, n in graph.writes)) if id(x) in bad]
    reached: set[int] = set()
    while stack:
        node = stack.pop()
        if id(node) not in reached:
            reached.add(id(node))
            stack += [x for x in node.inputs if id(x) in bad]
    for node in graph.nodes:
        if id(node) in reached and node.role == "op" and not any(id(x) in bad for x in node.inputs):
            operands = [values[id(x)] for x in node.inputs]
            return NonFiniteError(
                f"debug_nans: in {name}, {node.op} gives {_what(values[id(node)])} from finite "
                f"inputs, which reach a result, and no variable was changed; {_shown(operands)}\n"
                f"  in {node.where()}"
            )
    return None


# -- the switch -------------------------------------------------------------------------------


class debug_nans:  # noqa: N801 (called like a function)
    """Raise where the first NaN or infinity is made: a switch, and a context.

    ``ct.debug_nans(True)`` turns it on in this thread, ``ct.debug_nans(False)`` off, and
    ``with ct.debug_nans():`` is on inside. What is looked at:

    - eagerly, the result of every op, of backward passes and optimizers too: it is an error if
      it holds a NaN or an infinity and the inputs of the op do not;
    - of a call of a compiled function, and of each iteration of its ``loop``, the results and
      the new values of variables, before they are committed. If one of them is not finite, the
      error names the first op on the way to it that made that of finite inputs. An infinity that
      a later op swallows, as ``where`` and ``exp(-inf)`` do, is not reported; nor is one that
      came in with an argument, a variable or a constant.

    While it is on, every new value of a variable is computed aside, looked at, and then copied: a
    compiled step takes 10 to 20 % longer, one with large parameters 30 to 60 %
    (``benchmarks/nans.py``). While it is off, it costs nothing.

    Args:
        on: whether to turn it on or off.

    Raises:
        NonFiniteError: from the op or call; it names op, layer and line. Of a compiled call, or a
            ``loop``, nothing is committed then.
        TraceError: if it is switched inside a function that is traced or mapped.

    >>> with debug_nans():
    ...     ct.log(ct.tensor([1.0, -1.0]))
    Traceback (most recent call last):
    ...
    cotangent.errors.NonFiniteError: debug_nans: log gives NaN in 1 of 2 elements from finite ...
    """

    __slots__ = ("_before",)

    def __init__(self, on: bool = True) -> None:
        self._before = STATE.trace
        if not (self._before is None or is_on()):
            raise TraceError(
                "debug_nans: it is switched on or off outside of functions that are traced, "
                "mapped or checkpointed; put it around the call"
            )
        STATE.trace = Watch() if on else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        STATE.trace = self._before


def is_on() -> bool:
    """Whether `debug_nans` is on, and no trace or scope inside it."""
    return isinstance(STATE.trace, Watch)
