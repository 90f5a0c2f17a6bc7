"""`debug_nans`: where a NaN or an infinity came from.

Eagerly every op is looked at as it is computed. Compiled functions run other machine code while it
is on: the same kernels, in which those that store floating-point results and new values of
variables check them while they are in registers. What is written in place is known to be finite
before it is computed (`bounds.py`). If a check fails, nothing is written; if not only for a number
beyond its range, the graph is run op by op, and searched from the results backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from ..backends import NUMPY, backend_of
from ..callers import user_line
from ..config import STATE
from ..errors import NonFiniteError, TraceError
from ..ops import Primitive
from ..scopes import Scope
from ..tensors import Tensor
from .bounds import NEVER_LARGER
from .finite import is_finite
from .graph import Graph
from .verify import Inputs, values_of

# Kinds of ops whose results are elements of their inputs.
_MOVING = frozenset(["movement", "gather", "assemble"])


class Watch(Scope):
    """The evaluator that is on with `debug_nans`: it looks at what every eager op computes."""

    looks_on = True

    def passes(self, arrays: Sequence[Any]) -> bool:
        """Whether what several ops computed is finite."""
        return all(map(is_finite, arrays))

    def apply(self, primitive: Primitive, inputs: Sequence[Tensor], attrs: Any) -> Any:
        """The payload of an op's result, which `look` has seen."""
        out = super().apply(primitive, inputs, attrs)
        self.look(primitive, inputs, out)
        return out

    def look(self, primitive: Primitive, inputs: Sequence[Tensor], out: Any) -> None:
        """See that the payload of an op's result is finite unless an input is not.

        Raises:
            NonFiniteError: if it is not.
        """
        if primitive.kind in _MOVING or primitive.name in NEVER_LARGER:
            return
        if not is_finite(out) and all(is_finite(x.data) for x in inputs):
            raise NonFiniteError(
                f"debug_nans: {primitive.name} gives {_what(out)} from finite inputs; "
                f"{_shown(inputs)}\n  in {primitive.name} at {user_line()}"
            )


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


def origin(graph: Graph, inputs: Inputs, name: str) -> NonFiniteError | None:
    """The error for the first op whose NaN or infinity, made of finite inputs, reached a result.

    None if all that are in the results came in with an argument, a variable, a constant or a number
    of the host.
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
    if any(id(x) in bad for x in graph.nodes if x.role != "op"):
        return None
    return NonFiniteError(
        f"debug_nans: {name} gives NaN or infinity from finite inputs where, run op by op, it does "
        "not: rounding decides whether something overflows, or is divided by zero; no variable was "
        "changed"
    )


# -- the switch -------------------------------------------------------------------------------


class debug_nans:  # noqa: N801 (called like a function)
    """Raise where the first NaN or infinity is made: a switch, and a context.

    ``ct.debug_nans(True)`` turns it on in this thread, ``ct.debug_nans(False)`` off, and
    ``with ct.debug_nans():`` is on inside. What is looked at:

    - eagerly, the result of every op, of backward passes too: it is an error if it holds a NaN or
      an infinity and the inputs of the op do not. Of an optimizer's update, the new values: if
      one of them is not finite, the ops of the update;
    - of a call of a compiled function, and of each iteration of its ``loop``, the results and
      the new values of variables. If one of them is not finite, no variable changes, and the
      error names the first op on the way to it that made that of finite inputs. An infinity that
      a later op swallows, as ``where`` and ``exp(-inf)`` do, is not reported; nor is one that
      came in with an argument, a variable or a constant.

    While it is on, a compiled step takes up to 5 % longer, in a ``loop`` of tiny steps up to 7, and
    an eager one 7 to 20 (``benchmarks/nans.py``). Weights and gradients are thought
    to be below 2**32 (2**200 in float64): larger ones are no errors, but a step whose first calls
    find some computes all new values aside from then on, which takes longer. While it is off,
    nothing is checked.

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
