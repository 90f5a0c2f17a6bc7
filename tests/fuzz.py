"""A fuzzer of the compiler: random functions, compiled and op by op, must be the same.

    python tests/fuzz.py --graphs 1000 --seed 0
    python tests/fuzz.py --graphs 50000 --seed 0 --log fuzz.log

A program is made from a seed (see `fuzz_programs.py`): arguments, variables, steps, outputs, what
is written, and perhaps the gradient of the outputs. It is run eagerly, and through ``jit``; then

- again from the same state, perhaps by more threads: the same bytes;
- from the state that it left, where it writes variables;
- in some programs, by `loop`: the bytes of calls;
- in some, under ``debug_nans`` or verified: the bytes of calls, or a NaN is named that there is;
- in some, with arguments of other shapes.

Integers and bools must be equal; floats may differ by rounding, by as much as
`cotangent.compiler.verify` allows: by the largest intermediate, and by what follows it. Where
rounding decides an integer, a bool or a NaN, the program stood at a tie, and that result is left
out. Where the eager function raises an error, the compiled one must raise the same, with the same
words, and change nothing.

A program that fails is made smaller: outputs and gradients go, and steps become arguments with
the step's value, as long as it fails. With ``--log``, blocks of programs run in processes of
their own (see `fuzz_log.py`), so that crashes and hangs are found too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

os.environ.setdefault("COTANGENT_CACHE", "off")

import fuzz_log
from fuzz_programs import Program, function_of, generate, leaves, pruned, variables_of

import cotangent as ct
from cotangent.compiler import graph as g
from cotangent.compiler import program as programs
from cotangent.compiler.arguments import placeholders
from cotangent.compiler.codegen import chunks, loops, matmul, strips
from cotangent.compiler.verify import Inputs, Judged, bound_for, judge
from cotangent.runtime import pool

# What makes small kernels be cut, and threads be woken for them.
_EVERYTHING_SPLIT = (
    (chunks, "_WORTH_SPLITTING", 0.0), (chunks, "_NANOSECONDS_PER_CHUNK", 1e-3),
    (chunks, "_MANY_ELEMENTS", 64), (loops, "_ELEMENTS_PER_PART", 8),
    (matmul, "_FLOPS_PER_UNIT", 100), (strips, "_FEW_COLUMNS", 40),
    (programs, "_WORTH_WAKING", 0), (pool, "_CAUTION", 0),
)  # fmt: skip


class Outcome(NamedTuple):
    """What a call gave: arrays, or an error of the library; and the variables after it."""

    arrays: list[Any]
    error: ct.Error | None
    variables: list[Any]


# -- comparing --------------------------------------------------------------------------------


def check(program: Program) -> str:
    """What is wrong with the compiled program, or ""."""
    with warnings.catch_warnings(), np.errstate(all="ignore"), _settings(program):
        warnings.simplefilter("ignore")
        try:
            return _check(program)
        except Exception:
            return f"an unexpected error\n{traceback.format_exc(limit=-6)}"


@contextlib.contextmanager
def _settings(program: Program) -> Iterator[None]:
    """One thread at first; everything split, if the program wants it."""
    threads = ct.get_num_threads()
    changes = _EVERYTHING_SPLIT if program.split else ()
    before = [(place, name, getattr(place, name)) for place, name, _ in changes]
    try:
        ct.set_num_threads(1)
        for place, name, value in changes:
            setattr(place, name, value)
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)
        ct.set_num_threads(threads)


def _check(program: Program) -> str:
    pair = _Pair(program)
    start = [v.numpy().copy() for v in pair.compiled]
    arrays = program.arrays()
    wrong, first = pair.compare("call 0", arrays)
    if wrong or first.error is not None:
        return wrong
    _put(pair.compiled, start)
    ct.set_num_threads(program.threads)
    wrong = _same_bytes("a second call", pair.call(pair.step, pair.compiled, pair.given), first)
    if not wrong and program.mode:
        _put(pair.compiled, start)
        wrong = (_check_watched if program.mode == "watched" else _check_verified)(pair, first)
    if not wrong and pair.written(first.variables, start):
        wrong, _ = pair.compare("from the state left", arrays)
    if not wrong and program.loop and arrays:
        wrong = _check_loop(arrays, pair)
    if not wrong and program.other is not None:
        wrong, _ = pair.compare(
            "of other shapes", [program.other[n] for n in program.names()], any_error=True
        )
    return wrong


class _Pair:
    """A program as an eager function and a compiled one, each with variables of its own."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.eager, self.compiled = variables_of(program), variables_of(program)
        self.run = function_of(program, self.eager)
        self.step = ct.jit(function_of(program, self.compiled))
        names = program.names()
        self.given = [
            _odd(program.arguments[n]) if n in program.raw else ct.asarray(program.arguments[n])
            for n in names
        ]

    def verified(self) -> Any:
        """The compiled function, its first call verified."""
        return ct.jit(function_of(self.program, self.compiled), verify=1)

    def call(self, function: Any, variables: list[Any], args: list[Any]) -> Outcome:
        """One call, from the same random state each time."""
        ct.manual_seed(7)
        arrays, error = [], None
        try:
            arrays = [x.numpy() for x in leaves(function(*args))]
        except ct.Error as raised:
            error = raised
        return Outcome(arrays, error, [v.numpy() for v in variables])

    def compare(self, what: str, arrays: list[Any], any_error: bool = False) -> tuple[str, Outcome]:
        """What is wrong with a compiled call; and what the call gave.

        Args:
            any_error: whether an error may be of another class than the eager one.
        """
        before = [v.numpy().copy() for v in self.compiled]
        _put(self.eager, before)  # rounding must not add up
        args = [ct.asarray(x) for x in arrays]
        got = self.call(self.step, self.compiled, self.given if what == "call 0" else args)
        expected = self.call(self.run, self.eager, args)
        if got.error is not None or expected.error is not None:
            return _errors(what, got, expected, before, any_error), got
        bounds = _Bounds(lambda: self._allowed(args, arrays, before))
        wrong = ""
        for part in ("arrays", "variables"):
            pairs = zip(getattr(got, part), getattr(expected, part), strict=True)
            for i, (x, y) in enumerate(pairs):
                kind = "result" if part == "arrays" else "variable"
                wrong = wrong or _differ(f"{what}: {kind} {i}", x, y, bounds, (part, i))
        return wrong, got

    def written(self, after: list[Any], before: list[Any]) -> bool:
        """Whether a call has changed any variable."""
        return any(x.tobytes() != y.tobytes() for x, y in zip(after, before, strict=True))

    def _allowed(self, args: list[Any], arrays: list[Any], before: list[Any]) -> Any:
        """("arrays" or "variables", number) -> how far rounding may move it."""
        _put(self.compiled, before)
        graph, variables = _graph(self.step, args)
        ct.manual_seed(7)
        order = {id(v): i for i, v in enumerate(self.compiled)}
        values = [v.peek() for v in variables]
        found = allowed(graph, arrays, values)
        places = [("arrays", i) for i in range(len(graph.outputs))]
        places += [("variables", order.get(id(variables[n]), -1)) for n, _ in graph.writes]
        return dict(zip(places, found, strict=True))


class _Bounds:
    """Bounds that are computed when a result is not equal to the last bits or so."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self._compute = compute
        self._found: Any = None

    def of(self, place: Any) -> float | None:
        """The bound of a result; 0 for a variable that is not written."""
        if self._found is None:
            self._found = self._compute()
        bound: float | None = self._found.get(place, 0.0)
        return bound


def _put(variables: list[Any], arrays: list[Any]) -> None:
    """Assign, where that changes something."""
    for v, array in zip(variables, arrays, strict=True):
        if v.numpy().tobytes() != array.tobytes():
            v.assign(ct.asarray(array))


def _graph(step: Any, args: list[Any]) -> tuple[g.Graph, Any]:
    """The traced graph, and its variables."""
    traced = step._trace(*placeholders(tuple(args), {}))
    return traced.graph, traced.trace.variables


def allowed(graph: g.Graph, arguments: list[Any], variables: list[Any]) -> list[float | None]:
    """For each output and write: how far rounding may move it; None if it stands at a tie."""
    nodes = [*graph.outputs, *(node for _, node in graph.writes)]
    return [judged.bound for judged in judge(graph, Inputs(arguments, variables), nodes)]


def _differ(what: str, x: Any, y: Any, bounds: _Bounds, place: Any) -> str:
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return f"{what}: {x.dtype}{x.shape}, eagerly {y.dtype}{y.shape}"
    if Judged(y, bound_for(y, 0.0)).difference(x) is None:
        return ""
    bound = bounds.of(place)
    at = Judged(y, bound).difference(x)
    if at is None:
        return ""
    a, b = np.atleast_1d(x)[at], np.atleast_1d(y)[at]
    return f"{what} at {at}: {a!r}, eagerly {b!r}; allowed {bound:.2g}"


def _errors(what: str, got: Outcome, expected: Outcome, before: list[Any], any_error: bool) -> str:
    """What is wrong with a call that raises."""
    same = type(got.error) is type(expected.error)
    if not same and not (any_error and got.error is not None and expected.error is not None):
        return f"{what}: {_says(got)} compiled, {_says(expected)} eagerly"
    if same and not any_error and not got.error.message.startswith(expected.error.message):
        return f"{what}: {_says(got)} compiled, {_says(expected)} eagerly"
    changed = any(x.tobytes() != y.tobytes() for x, y in zip(got.variables, before, strict=True))
    return f"{what}: the call raises, and has changed a variable" if changed else ""


def _says(outcome: Outcome) -> str:
    error = outcome.error
    return "no error" if error is None else f"{type(error).__name__}: {error}"


def _same_bytes(what: str, got: Outcome, expected: Outcome) -> str:
    if got.error is not None:
        return f"{what}: {_says(got)}"
    for part in ("arrays", "variables"):
        pairs = zip(getattr(got, part), getattr(expected, part), strict=True)
        for i, (x, y) in enumerate(pairs):
            if x.tobytes() != y.tobytes():
                return f"{what}: {part}[{i}] has other bytes"
    return ""


def _odd(array: Any) -> Any:
    """An array of the same values, in another layout: backwards, or columns first."""
    if array.ndim == 1:
        return np.array(array[::-1])[::-1]
    return np.array(array, order="F")


def _check_watched(pair: _Pair, plain: Outcome) -> str:
    """Under ``debug_nans`` a call gives the same bytes, or names a NaN or infinity in them."""
    before = [v.numpy().copy() for v in pair.compiled]
    with ct.debug_nans():
        got = pair.call(pair.step, pair.compiled, pair.given)
    if got.error is None:
        return _same_bytes("under debug_nans", got, plain)
    if not isinstance(got.error, ct.NonFiniteError) or pair.written(got.variables, before):
        return f"under debug_nans: {_says(got)}"
    values = [x for x in (*plain.arrays, *plain.variables) if x.dtype.kind not in "iub"]
    if all(np.isfinite(x.astype("float64")).all() for x in values):
        return f"under debug_nans: a false alarm, {_says(got)}"
    return ""


def _check_verified(pair: _Pair, plain: Outcome) -> str:
    """A verified call gives the same bytes."""
    return _same_bytes("verified", pair.call(pair.verified(), pair.compiled, pair.given), plain)


def _check_loop(arrays: list[Any], pair: _Pair) -> str:
    """``loop`` gives the bytes that calls give."""
    rows = [np.stack([x, x[..., ::-1] if x.ndim else x, x]) for x in arrays]
    if any(x.dtype.kind in "iu" for x in arrays):
        rows = [np.stack([x, x, x]) for x in arrays]
    start = [v.numpy().copy() for v in pair.compiled]
    ct.manual_seed(7)
    calls = [leaves(pair.step(*[ct.asarray(r[i]) for r in rows])) for i in range(3)]
    columns = [np.stack([x.numpy() for x in column]) for column in zip(*calls, strict=True)]
    ends = Outcome(columns, None, [v.numpy() for v in pair.compiled])
    _put(pair.compiled, start)
    looped = pair.call(pair.step.loop, pair.compiled, [ct.asarray(r) for r in rows])
    return _same_bytes("loop, after calls", looped, ends)


# -- making smaller ---------------------------------------------------------------------------


def shrink(program: Program, attempts: int = 150) -> Program:
    """A smaller program that still fails."""
    smaller = True
    while smaller and attempts > 0:
        smaller = False
        for candidate in _smaller(program):
            attempts -= 1
            if attempts > 0 and check(candidate):
                program, smaller = candidate, True
                break
    return program


def _smaller(program: Program) -> Any:
    if program.loop:
        yield program._replace(loop=False)
    if program.gradient:
        yield program._replace(gradient="", update=False)
    if program.update:
        yield program._replace(update=False)
    if program.other is not None:
        yield program._replace(other=None)
    if program.split:
        yield program._replace(split=False, threads=1)
    if program.raw:
        yield program._replace(raw=frozenset())
    if program.mode:
        yield program._replace(mode="")
    if program.constants:
        yield program._replace(constants=frozenset())
    if len(program.outputs) > 1:
        for n in program.outputs:
            yield pruned(program._replace(outputs=(n,)))
    values = _eager_values(program)
    for i in reversed(range(len(program.steps))):
        step = program.steps[i]
        steps = (*program.steps[:i], *program.steps[i + 1 :])
        if step.op == "assign":
            yield pruned(program._replace(steps=steps))
        elif step.number in values and len(program.steps) > 1:
            new = {**program.arguments, step.number: values[step.number]}
            yield pruned(program._replace(steps=steps, arguments=new))


def _eager_values(program: Program) -> dict[int, Any]:
    numbers = [s.number for s in program.steps if s.op != "assign"]
    whole = program._replace(outputs=tuple(numbers), gradient="")
    args = [ct.asarray(x) for x in program.arrays()]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        run = function_of(whole, variables_of(program))
        ct.manual_seed(7)
        try:
            found = run(*args)
        except ct.Error:  # an index that is out of range
            return {}
    return {n: x.numpy().copy() for n, x in zip(numbers, found, strict=True)}


def report(seed: int, small: bool = True) -> str:
    """What is wrong with the program of a seed, made small; "" if nothing is."""
    program = generate(seed)
    wrong = check(program)
    if not wrong:
        return ""
    made = shrink(program) if small else program
    return f"seed {seed}: {check(made) or wrong}\n{made}"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Compare random functions compiled and eager.")
    parser.add_argument("--graphs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first program")
    parser.add_argument("--whole", action="store_true", help="do not make failures smaller")
    parser.add_argument("--log", help="run blocks in processes, and write (or continue) this file")
    parser.add_argument("--marks", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.log:
        return fuzz_log.run(options.log, options.seed, options.graphs)
    start, failed, shapes = time.perf_counter(), 0, 0
    for seed in range(options.seed, options.seed + options.graphs):
        if options.marks is not None:
            os.pwrite(options.marks, b"%20d" % seed, 0)
        shapes += generate(seed).other is not None
        text = report(seed, not options.whole)
        if text:
            failed += 1
            print(text, flush=True)
    spent = time.perf_counter() - start
    print(
        f"{options.graphs} graphs, {shapes} with other shapes too, {failed} failed, "
        f"{options.graphs / spent:.1f} a second"
    )
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
