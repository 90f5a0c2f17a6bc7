"""A fuzzer of the compiler: random functions, compiled and op by op, must be the same.

    python tests/fuzz.py --graphs 1000 --seed 0

A program is made from a seed: arguments, variables, steps (see `fuzz_steps.py`), outputs, what is
written, and perhaps the gradient of the outputs. It is run eagerly, and through `ct.jit`: twice by
calls, and in some programs by ``loop``, with the variables compared after each. Integers and bools
must be equal; floats may differ by rounding, by as much as `cotangent.compiler.verify` allows:
by the largest intermediate, and by what follows it. Where rounding decides an integer, a bool or
a NaN, the program stood at a tie, and that result is left out.

A program that fails is made smaller: outputs and gradients go, and steps become arguments with
the step's value, as long as it fails.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
import warnings
from typing import Any, NamedTuple

import numpy as np

os.environ.setdefault("COTANGENT_CACHE", "off")

from fuzz_steps import APPLY, MAKERS, Pool

import cotangent as ct
from cotangent.compiler import graph as g
from cotangent.compiler.arguments import placeholders
from cotangent.compiler.verify import Inputs, Judged, judge


class Step(NamedTuple):
    """``number = op(*inputs, **attrs)``; also ``read`` and ``assign`` of a variable."""

    number: int
    op: str
    inputs: tuple[int, ...]
    attrs: dict[str, Any]


class Program(NamedTuple):
    """A random function.

    Attributes:
        arguments: number -> array.
        variables: the values that the variables start with.
        steps: in order; a step's inputs are arguments and earlier steps.
        outputs: numbers of what is returned.
        constants: the arguments that the function closes over instead.
        raw: the arguments that are passed as NumPy arrays of an odd layout.
        gradient: "", "backward" (of the variables), "arguments", or "second" (the gradient of
            the squared gradient too).
        update: whether the variables move along their gradients.
        loop: whether it is also run by ``loop``.
    """

    arguments: dict[int, Any]
    variables: tuple[Any, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    constants: frozenset[int] = frozenset()
    raw: frozenset[int] = frozenset()
    gradient: str = ""
    update: bool = False
    loop: bool = False

    def names(self) -> list[int]:
        """The numbers of what the function takes."""
        return [n for n in self.arguments if n not in self.constants]

    def tensors(self) -> list[Any]:
        """What eager calls take."""
        return [ct.asarray(self.arguments[n]) for n in self.names()]

    def __str__(self) -> str:
        lines = [f"  v{i}: {v.dtype}{list(v.shape)}" for i, v in enumerate(self.variables)]
        for n, v in self.arguments.items():
            how = " constant" if n in self.constants else " raw" if n in self.raw else ""
            lines.append(f"  x{n}: {v.dtype}{list(v.shape)}{how}")
        for step in self.steps:
            inputs = ", ".join(f"x{n}" for n in step.inputs)
            attrs = "".join(f", {k}={v!r}" for k, v in step.attrs.items())
            lines.append(f"  x{step.number} = {step.op}({inputs}{attrs})")
        end = f"  return {', '.join(f'x{n}' for n in self.outputs)}"
        gradient = self.gradient + (" and update" if self.update else "")
        return "\n".join([*lines, end + (f"; gradient: {gradient}" if gradient else "")])


# -- making -----------------------------------------------------------------------------------


def generate(seed: int) -> Program:
    """The program of a seed."""
    rng = np.random.default_rng([seed, 20])
    pool = Pool(rng)
    common = pool.shape()
    variables = tuple(
        np.asarray(rng.uniform(-1, 1, shape).astype(pool.float))
        for shape in (pool.shape(), common, common)
    )
    held = [ct.asarray(v) for v in variables]
    steps: list[Step] = []
    wanted = int(rng.integers(3, 20))
    weights = np.array(list(MAKERS.values()), float)
    makers = list(MAKERS)
    while len(steps) < wanted:
        if rng.random() < 0.12:
            _touch(pool, steps, held)
            continue
        if rng.random() < 0.04:
            _exchange(pool, steps, held)
            continue
        made = makers[int(rng.choice(len(makers), p=weights / weights.sum()))](pool)
        if made is not None:
            _try(pool, steps, *made)
    used = {n for step in steps for n in step.inputs}
    ends = [s.number for s in steps if s.op != "assign" and s.number not in used]
    more = [s.number for s in steps if s.op != "assign" and rng.random() < 0.08]
    more += [n for n in pool.leaves if pool.chance(0.02)]
    gradient = pool.choice(("", "backward", "backward", "arguments"))
    if gradient == "arguments" and len(steps) < 10 and pool.chance(0.4):
        gradient = "second"
    plain = [n for n, x in pool.leaves.items() if x.dtype != "float64"]
    return pruned(
        Program(
            dict(pool.leaves), variables, tuple(steps), tuple(dict.fromkeys([*ends, *more])),
            constants=frozenset(n for n in pool.leaves if pool.chance(0.1)),
            raw=frozenset(n for n in plain if pool.chance(0.15)),
            gradient=gradient, update=gradient == "backward" and pool.chance(0.7),
            loop=pool.chance(0.15),
        )
    )  # fmt: skip


def _try(pool: Pool, steps: list[Step], op: str, inputs: Any, attrs: Any) -> None:
    """Add a step, if the op takes these inputs; large values are made small again."""
    try:
        value = APPLY[op](*[pool.values[n] for n in inputs], **attrs)
    except ct.Error:
        return
    if value.data.size > 9000:
        return
    steps.append(Step(pool.number(), op, tuple(inputs), attrs))
    pool.values[steps[-1].number] = value
    size = np.abs(value.numpy()).max(initial=0) if value.dtype.kind == "f" else 0
    if size > 6 and not pool.wild:
        _try(pool, steps, "squash", (steps[-1].number,), {})


def _touch(pool: Pool, steps: list[Step], held: list[ct.Tensor]) -> None:
    """Read a variable, or write one."""
    i = int(pool.rng.integers(len(held)))
    if pool.chance(0.6) or not pool.values:
        steps.append(Step(pool.number(), "read", (), {"variable": i}))
        pool.values[steps[-1].number] = held[i]
        return
    fit = [n for n, x in pool.values.items() if x.shape == held[i].shape and n not in pool.leaves]
    fit = [n for n in fit if pool.values[n].dtype == held[i].dtype]
    if fit:
        n = pool.choice(fit)
        steps.append(Step(pool.number(), "assign", (n,), {"variable": i}))
        held[i] = pool.values[n]


def _exchange(pool: Pool, steps: list[Step], held: list[ct.Tensor]) -> None:
    """Write variables of one shape at once, with what is made of each other's and their own
    values: which of them can be written in place, and when, has to be found out."""
    old, new = {}, {}
    for i in (1, 2):
        old[i] = pool.number()
        steps.append(Step(old[i], "read", (), {"variable": i}))
        pool.values[old[i]] = held[i]
    for i in (1, 2):
        new[i] = old[3 - i if pool.chance(0.5) else i]
        made = pool.choice((
            ("flip", (new[i],), {"axis": None}), ("roll", (new[i],), {"shift": 1, "axis": None}),
            ("binary", (old[1], old[2]), {"op": "subtract", "domain": ""}),
            ("normalized", (new[i],), {"axis": 0}), None,
        ))  # fmt: skip
        before = len(steps)
        if made is not None:
            _try(pool, steps, *made)
        new[i] = steps[-1].number if len(steps) > before else new[i]
    for i in (1, 2):
        steps.append(Step(pool.number(), "assign", (new[i],), {"variable": i}))
        held[i] = pool.values[new[i]]


def pruned(program: Program) -> Program:
    """Without the steps and arguments that nothing needs, and variables that nothing touches."""
    needed = set(program.outputs)
    steps = []
    for step in reversed(program.steps):
        if step.number in needed or step.op == "assign":
            steps.append(step)
            needed.update(step.inputs)
    arguments = {n: v for n, v in program.arguments.items() if n in needed}
    constants = program.constants & arguments.keys()
    return program._replace(
        steps=tuple(reversed(steps)), arguments=arguments, constants=constants,
        raw=(program.raw & arguments.keys()) - constants,
    )  # fmt: skip


# -- running ----------------------------------------------------------------------------------


def function_of(program: Program, variables: list[Any]) -> Any:
    """The program as a Python function of its arguments, in order."""
    names = program.names()
    floats = tuple(i for i, n in enumerate(names) if program.arguments[n].dtype.kind == "f")
    constants = {n: ct.asarray(program.arguments[n]) for n in program.constants}

    def compute(*args: Any) -> Any:
        values = constants | {n: ct.asarray(x) if isinstance(x, np.ndarray) else x
                              for n, x in zip(names, args, strict=True)}  # fmt: skip
        for step in program.steps:
            if step.op == "read":
                values[step.number] = variables[step.attrs["variable"]].value
            elif step.op == "assign":
                variables[step.attrs["variable"]].assign(values[step.inputs[0]])
            else:
                values[step.number] = APPLY[step.op](
                    *[values[n] for n in step.inputs], **step.attrs
                )
        return [values[n] for n in program.outputs]

    def with_loss(*args: Any) -> Any:
        outputs = compute(*args)
        loss = ct.asarray(np.float32(0))
        for x in outputs:
            if x.dtype.kind == "f" and x.size:
                loss = loss + ct.sum(x * x * 0.25 + x) / x.size
        return loss, outputs

    def backward(*args: Any) -> Any:
        loss, outputs = with_loss(*args)
        if loss.entry is None:  # no variable takes part
            return loss, outputs
        found = loss.backward()
        gradients = [(v, found.get(v)) for v in variables]
        if program.update:
            for v, slope in gradients:
                if slope is not None:
                    v.assign(v - 0.1 * slope)
        return loss, outputs, [slope for _, slope in gradients if slope is not None]

    def squared_slope(*args: Any) -> Any:
        (loss, outputs), slopes = first(*args)
        return loss + sum(ct.sum(g * g) / max(g.size, 1) for g in slopes), outputs

    if program.gradient == "backward":
        return backward
    if program.gradient and floats:
        first = ct.value_and_grad(with_loss, argnums=floats, has_aux=True)
        if program.gradient == "arguments":
            return first
        return ct.value_and_grad(squared_slope, argnums=floats, has_aux=True)
    return compute


def _leaves(result: Any) -> list[Any]:
    """The tensors of a nested result, in order."""
    if isinstance(result, (list, tuple)):
        return [leaf for part in result for leaf in _leaves(part)]
    return [] if result is None else [result]


def _variables(program: Program) -> list[Any]:
    return [ct.var(f"v{i}", v, dtype=v.dtype) for i, v in enumerate(program.variables)]


# -- comparing --------------------------------------------------------------------------------


def check(program: Program) -> str:
    """What is wrong with the compiled program, or ""."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return _check(program)


def _check(program: Program) -> str:
    arrays = [program.arguments[n] for n in program.names()]
    args = program.tensors()
    given = [_odd(program.arguments[n]) if n in program.raw else x
             for n, x in zip(program.names(), args, strict=True)]  # fmt: skip
    eager, compiled = _variables(program), _variables(program)
    run, step = function_of(program, eager), ct.jit(function_of(program, compiled))
    graph: Any = None
    for call in range(2):
        before = [v.numpy().copy() for v in eager]
        for v, array in zip(compiled, before, strict=True):
            if call and not np.array_equal(v.numpy(), array):  # rounding must not add up
                v.assign(ct.asarray(array))
        try:
            got = [x.numpy() for x in _leaves(step(*given))]
        except Exception:
            return f"call {call}: the compiled function raises\n{traceback.format_exc(limit=-6)}"
        expected = [x.numpy() for x in _leaves(run(*args))]
        if graph is None:
            graph, numbers = _graph(step, args, compiled)
        bounds = allowed(graph, arrays, [before[n] for n in numbers])
        wrong = _differ(f"call {call}: result", got, expected, bounds)
        written = [numbers[n] for n, _ in graph.writes]
        for at, i in enumerate(written):
            wrong = wrong or _differ(f"call {call}: variable {i}", [compiled[i].numpy()],
                                     [eager[i].numpy()], bounds[len(got) + at :][:1])  # fmt: skip
        for i in set(range(len(eager))) - set(written):
            if compiled[i].numpy().tobytes() != before[i].tobytes():
                wrong = wrong or f"call {call}: variable {i} is not written, and has changed"
        if wrong:
            return wrong
    return _check_loop(arrays, step, compiled) if program.loop and arrays else ""


def _graph(step: Any, args: list[Any], variables: list[Any]) -> tuple[g.Graph, list[int]]:
    """The traced graph, and which of the program's variables its variables are."""
    traced = step._trace(*placeholders(tuple(args), {}))
    order = {id(v): i for i, v in enumerate(variables)}
    return traced.graph, [order[id(v)] for v in traced.trace.variables]


def allowed(graph: g.Graph, arguments: list[Any], variables: list[Any]) -> list[float | None]:
    """For each output and write: how far rounding may move it; None if it stands at a tie."""
    nodes = [*graph.outputs, *(node for _, node in graph.writes)]
    return [judged.bound for judged in judge(graph, Inputs(arguments, variables), nodes)]


def _differ(what: str, got: list[Any], expected: list[Any], bounds: list[Any]) -> str:
    for i, (x, y, bound) in enumerate(zip(got, expected, bounds, strict=False)):
        if (x.shape, x.dtype) != (y.shape, y.dtype):
            return f"{what} {i}: {x.dtype}{x.shape}, eagerly {y.dtype}{y.shape}"
        at = Judged(y, bound).difference(x)
        if at is not None:
            a, b = np.atleast_1d(x)[at], np.atleast_1d(y)[at]
            return f"{what} {i} at {at}: {a!r}, eagerly {b!r}; allowed {bound:.2g}"
    return ""


def _odd(array: Any) -> Any:
    """An array of the same values, in another layout: backwards, or columns first."""
    if array.ndim == 1:
        return np.array(array[::-1])[::-1]
    return np.array(array, order="F")


def _check_loop(arrays: list[Any], step: Any, variables: list[Any]) -> str:
    """``loop`` gives the bytes that calls give."""
    rows = [np.stack([x, x[..., ::-1] if x.ndim else x, x]) for x in arrays]
    if any(x.dtype.kind == "i" for x in arrays):
        rows = [np.stack([x, x, x]) for x in arrays]
    start = [v.numpy().copy() for v in variables]
    calls = [_leaves(step(*[ct.asarray(r[i]) for r in rows])) for i in range(3)]
    ends = [v.numpy().copy() for v in variables]
    for v, array in zip(variables, start, strict=True):
        v.assign(ct.asarray(array))
    looped = _leaves(step.loop(*[ct.asarray(r) for r in rows]))
    for i, x in enumerate(looped):
        together = np.stack([call[i].numpy() for call in calls])
        if x.numpy().tobytes() != together.tobytes():
            return f"result {i} of loop has other bytes than the calls"
    for i, (v, end) in enumerate(zip(variables, ends, strict=True)):
        if v.numpy().tobytes() != end.tobytes():
            return f"variable {i} has other bytes after loop than after the calls"
    return ""


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
    if program.raw:
        yield program._replace(raw=frozenset())
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
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        run = function_of(whole, _variables(program))
        found = run(*program.tensors())
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
    options = parser.parse_args()
    start, failed = time.perf_counter(), 0
    for seed in range(options.seed, options.seed + options.graphs):
        text = report(seed, not options.whole)
        if text:
            failed += 1
            print(text, flush=True)
    spent = time.perf_counter() - start
    print(f"{options.graphs} graphs, {failed} failed, {options.graphs / spent:.1f} a second")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
