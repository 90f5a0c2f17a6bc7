"""Verification: machine code against the graph evaluated op by op, within a bound for rounding.

The bound of a value is::

    16 eps (largest magnitude in it) + 32 spread

The spread is measured: the graph is run three times with the result of every inexact op moved at
random by up to 2 eps of its size (for sums and products, of the sum of the magnitudes that are
added up), and the spread is how far the largest change of the value then is. So it follows from
the largest intermediate, through cancellation and through ill-conditioned steps such as Adam's
first, whose direction is the sign of the gradient. Where the perturbation changes an integer, a
bool, or which elements are finite, the value is decided by rounding and is not compared.

Such a bound can be wide for an updated parameter. So the values that the kernels keep, and every
sum and product, gradients among them, are compared too, each within its own bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..dtypes import DType, is_float
from ..errors import Error, VerificationError
from ..tensors import Variable
from . import graph as g
from .fuse import fuse
from .graph import Graph, Node
from .interpreted import Interpreted
from .link import link
from .program import ARENA, Failed, Program
from .simplify import simplify
from .trace import Host

CALLS = 3  # that are verified with ``verify=True``
_RUNS = 3
_EXACT = frozenset((
    "negative", "abs", "relu", "maximum", "minimum", "where", "sign", "floor", "ceil", "round",
    "trunc", "max", "take", "put_rows", "put_slice", "concat",
))  # fmt: skip
_SUMS = ("sum", "matmul", "scatter_add", "cumulative_sum")
_PRODUCTS = ("reduce", "matmul", "scatter")


class Judged(NamedTuple):
    """A value by its definition, and how far machine code may be from it.

    Attributes:
        value: the array, evaluated op by op.
        bound: None if rounding decides the value, so that nothing can be said.
    """

    value: Any
    bound: float | None

    def difference(self, got: Any) -> tuple[int, ...] | None:
        """The first place where `got` is too far away; None if there is none."""
        if self.bound is None:
            return None
        value = self.value
        equal = got == value
        if is_float(value.dtype):
            a, b = np.asarray(got, np.float64), np.asarray(value, np.float64)
            with np.errstate(invalid="ignore"):
                near = np.isfinite(b) & (np.abs(a - b) <= self.bound)
            equal = equal | near | (np.isnan(a) & np.isnan(b))
        if np.all(equal):
            return None
        return tuple(int(i[0]) for i in np.nonzero(~np.atleast_1d(equal)))


class Inputs(NamedTuple):
    """Arrays for the leaves of a graph, in the order of its arguments, variables and hosts."""

    arguments: Sequence[Any]
    variables: Sequence[Any]
    hosts: Sequence[Any] = ()


def judge(graph: Graph, inputs: Inputs, nodes: Sequence[Node]) -> list[Judged]:
    """The values of `nodes` of a graph, with their bounds."""
    base = values_of(graph, inputs)
    wanted = [base[id(node)] for node in nodes]
    spreads: list[float | None] = [0.0] * len(nodes)
    for run in range(_RUNS):
        moved = values_of(graph, inputs, np.random.default_rng(run), base)
        for i, node in enumerate(nodes):
            spreads[i] = _further(spreads[i], wanted[i], moved[id(node)])
    return [Judged(x, bound_for(x, spread)) for x, spread in zip(wanted, spreads, strict=True)]


def values_of(
    graph: Graph,
    inputs: Inputs,
    rng: np.random.Generator | None = None,
    base: dict[int, Any] | None = None,
) -> dict[int, Any]:
    """id(node) -> value, of all nodes; with inexact results moved at random, if `rng` is given, and
    `base`, the values without that."""
    leaves = {g.ARGUMENT: inputs.arguments, g.VARIABLE: inputs.variables, g.HOST: inputs.hosts}
    values: dict[int, Any] = {}
    for node in graph.nodes:
        if node.role == g.CONSTANT:
            values[id(node)] = node.payload
        elif node.role != "op":
            values[id(node)] = np.asarray(leaves[node.role][node.payload])
        else:
            operands = [values[id(x)] for x in node.inputs]
            out = g.evaluate(node, operands)
            if rng is not None and _is_inexact(node):
                out = _moved(node, operands, out, rng)
            elif base is not None and node.op in ("equal", "not_equal"):
                out = out ^ _near(operands, [base[id(x)] for x in node.inputs])
            values[id(node)] = out
    return values


def _near(moved: Sequence[Any], base: Sequence[Any]) -> Any:
    """Where two numbers are not equal, but rounding could have made them so: they are as near as
    it moves them. No random move would hit that."""
    if not is_float(base[0].dtype):
        return np.zeros((), bool)
    a, b = (np.asarray(x, np.float64) for x in base)
    with np.errstate(all="ignore"):
        far = sum(np.abs(np.asarray(x, np.float64) - y) for x, y in zip(moved, base, strict=True))
        return (a != b) & (np.abs(a - b) <= 32 * far)


def _is_inexact(node: Node) -> bool:
    """Whether the result is rounded."""
    return is_float(node.dtype) and node.kind != "movement" and node.op not in _EXACT


def _moved(node: Node, operands: Sequence[Any], out: Any, rng: np.random.Generator) -> Any:
    size = out
    if node.op == "logaddexp":  # max(x, y) + log(1 + ...), which may cancel
        size = np.maximum(*map(np.abs, operands))
    elif node.op in _SUMS:
        size = g.evaluate(node, [np.abs(x) if is_float(x.dtype) else x for x in operands])
    wide = np.asarray(out, np.float64)
    step = 2 * eps_of(out.dtype) * np.abs(np.asarray(size, np.float64))
    with np.errstate(all="ignore"):
        return (wide + step * rng.uniform(-1, 1, out.shape)).astype(out.dtype)


def _further(spread: float | None, x: Any, y: Any) -> float | None:
    if spread is None or not is_float(x.dtype):
        return spread if np.array_equal(x, y) else None
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return None
    far = float(np.abs(a[finite] - b[finite]).max(initial=0.0))
    return max(spread, far) if np.isfinite(far) else None


def bound_for(x: Any, spread: float | None) -> float | None:
    """How far machine code may be from `x`, whose spread is known; at a spread of 0, the least."""
    if spread is None or not is_float(x.dtype):
        return spread
    wide = np.asarray(x, np.float64)
    largest = float(np.abs(wide[np.isfinite(wide)]).max(initial=0.0))
    return 16 * eps_of(x.dtype) * largest + 32 * spread + 4 * _TINY.get(x.dtype.char, 0.0)


_EPS = {"e": 2.0**-10, "E": 2.0**-7, "f": 2.0**-23, "d": 2.0**-52}
_TINY = {"e": 2.0**-24, "E": 2.0**-133, "f": 2.0**-149, "d": 2.0**-1074}


def eps_of(dtype: DType) -> float:
    """The distance from 1 to the next number of a floating-point dtype."""
    return _EPS[dtype.char]


# -- the first calls of a program -------------------------------------------------------------


class Verifying:
    """Stands for a program in its first calls, and compares each with the definition.

    Attributes:
        program: what is verified.
        variables, written, arguments, outputs: those of the program.
    """

    def __init__(
        self, program: Program, graph: Graph, hosts: Sequence[Host], times: int, name: str,
        done: Callable[[Program], None],
    ) -> None:  # fmt: skip
        self.program = program
        self.variables = program.variables
        self.written = program.written
        self.arguments = program.arguments
        self.outputs = program.outputs
        self._graph = graph
        self._simple = simplify(graph)
        self._hosts = hosts
        self._left = times
        self._name = name
        self._done = done
        self._kept = kept_nodes(self._simple)
        self._keeper = self._returning(self._kept)

    def _returning(self, nodes: Sequence[Node]) -> Program | Interpreted:
        """A program that computes `nodes` and writes nothing."""
        s = self._simple
        return link(
            Graph(s.arguments, s.variables, s.hosts, nodes, ()), self.variables, self._hosts
        )

    def call(self, inputs: Sequence[Any]) -> list[Any]:
        """Run once, and verify. If it disagrees, the state is what it was before.

        Raises:
            VerificationError: naming the first op that differs.
        """
        with ARENA.lock:
            before = self._state()
            kept = self._keeper.call(inputs)
            got = self.program.call(inputs)
            try:
                self._verify(inputs, before, kept, got)
            except BaseException:
                self._restore(before)
                raise
        self._left -= 1
        if not self._left:
            self._done(self.program)
        return got

    def loop(self, stacked: Sequence[Any], times: int) -> list[Any]:
        """Run `times` times; the iterations that are still to be verified go one by one."""
        before = self._state()
        ahead = min(self._left, times)
        rows: list[list[Any]] = []
        try:
            for i in range(ahead):
                rows.append(self.call([x[i] for x in stacked]))
            rest = self.program.loop([x[ahead:] for x in stacked], times - ahead)
        except Failed as failure:
            state = [self.variables[n].peek().copy() for n in self.written]
            values = state if failure.values is None else failure.values
            self._restore(before)
            raise Failed(len(rows) + failure.iteration, values) from None
        except BaseException:
            self._restore(before)
            raise
        first = zip(*rows, strict=True) if rows else [()] * len(rest)
        return [
            np.concatenate([np.array(part, x.dtype).reshape(-1, *x.shape[1:]), x])
            for part, x in zip(first, rest, strict=True)
        ]

    def _state(self) -> list[Any]:
        """The values of the variables; copies of those that will be written."""
        values = [v.peek() for v in self.variables]
        return [x.copy() if n in self.written else x for n, x in enumerate(values)]

    def _restore(self, before: Sequence[Any]) -> None:
        for n in self.written:
            self.variables[n].claim(before[n].copy())

    # -- comparing ------------------------------------------------------------------------

    def _verify(
        self, inputs: Sequence[Any], before: Sequence[Any], kept: Sequence[Any], got: Sequence[Any]
    ) -> None:
        arrays = Inputs(
            [np.asarray(x, dtype) for x, (_, dtype) in zip(inputs, self.arguments, strict=True)],
            before,
            [np.asarray(host.value(), node.dtype)
             for host, node in zip(self._hosts, self._graph.hosts, strict=True)],
        )  # fmt: skip
        judged = judge(self._simple, arrays, self._kept)
        for node, value, judgement in zip(self._kept, kept, judged, strict=True):
            if judgement.difference(value) is not None:
                self._restore(before)
                raise self._found_inside(node, value, judgement, inputs, arrays)
        self._verify_results(arrays, got)

    def _verify_results(self, arrays: Inputs, got: Sequence[Any]) -> None:
        """The outputs and the new values of the variables, by the graph as it was traced."""
        graph = self._graph
        new = [self.variables[n].peek() for n, _ in graph.writes]
        named = [(f"the new value of {_name(self.variables[n])}", node) for n, node in graph.writes]
        named += [(f"result {i}", node) for i, node in enumerate(graph.outputs)]
        try:
            judged = judge(graph, arrays, [node for _, node in named])
        except Error as error:
            raise VerificationError(
                f"jit(verify): {self._name} runs compiled, but op by op it raises\n  {error}"
            ) from error
        for (what, node), value, judgement in zip(named, [*new, *got], judged, strict=True):
            if judgement.difference(value) is not None:
                why = (
                    f"{what}; every value that it is made of agrees when it is returned, so a "
                    "simplification, or how kernels share memory, is at fault"
                )
                raise self._error(node, value, judgement, why)

    def _found_inside(
        self, node: Node, value: Any, judgement: Judged, inputs: Sequence[Any], arrays: Inputs
    ) -> VerificationError:
        """The error for the first op that differs among those that one kernel computes."""
        inside = _computed_with(node, self._kept)
        values = self._returning(inside).call(inputs)
        judged = judge(self._simple, arrays, inside)
        for x, got, wanted in zip(inside, values, judged, strict=True):
            if wanted.difference(got) is not None:
                return self._error(x, got, wanted, "")
        return self._error(node, value, judgement, "")

    def _error(self, node: Node, got: Any, judgement: Judged, why: str) -> VerificationError:
        place = judgement.difference(got) or ()
        expected = np.atleast_1d(judgement.value)[place or 0]
        at = f" at {list(place)}" if node.shape else ""
        inputs = ", ".join(f"{x.dtype}{x.shape}" for x in node.inputs)
        why = f"; {why}" if why else ""
        return VerificationError(
            f"jit(verify): {self._name} differs from its evaluation op by op, first in\n"
            f"  {node.where()}: {node.dtype}{node.shape} from ({inputs}){why}\n"
            f"  compiled {np.atleast_1d(got)[place or 0]}{at}, op by op {expected}; they may "
            f"differ by {judgement.bound:.2g}\n"
            "  This is a bug of Cotangent, and no variable was changed. Until it is repaired, call "
            "the function without ct.jit"
        )


def _name(variable: Variable) -> str:
    return variable.name or "a variable"


def kept_nodes(graph: Graph) -> list[Node]:
    """The values that kernels keep in memory, and all sums and products, in order."""
    stored = fuse(graph).stored
    return [
        node for node in graph.nodes
        if node.role == "op" and node.kind != "movement"
        and (id(node) in stored or node.kind in _PRODUCTS)
    ]  # fmt: skip


def _computed_with(node: Node, kept: Sequence[Node]) -> list[Node]:
    """`node` and the ops below it whose values are not kept, in order."""
    known = {id(x) for x in kept}
    inside = {id(node)}
    stack = [node]
    while stack:
        for x in stack.pop().inputs:
            if x.role == "op" and id(x) not in known | inside:
                inside.add(id(x))
                stack.append(x)
    return [x for x in g.ordered([node]) if id(x) in inside and x.kind != "movement"]
