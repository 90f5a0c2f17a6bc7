"""Random programs: what one is, how it is made from a seed, and how it is run."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from fuzz_ops import APPLY
from fuzz_steps import MAKERS, SIZES, Pool, kind, update
from fuzz_wide import WIDE_MAKERS

import cotangent as ct
from cotangent.dtypes import as_dtype

_MAKERS = MAKERS | WIDE_MAKERS
# Elements of a value; else:
_MOST = {"layer": 30_000, "matmul": 30_000, "matmul transposed": 30_000}
_MOST_ELEMENTS = 9000


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
        split: whether all kernels are cut into as many chunks as there can be, and parts.
        threads: how many threads a second call has.
        mode: "", "watched" (it is called under `debug_nans`, too) or "verified".
        other: arguments of other shapes, with which the function is called too.
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
    split: bool = False
    threads: int = 1
    mode: str = ""
    other: dict[int, Any] | None = None

    def names(self) -> list[int]:
        """The numbers of what the function takes."""
        return [n for n in self.arguments if n not in self.constants]

    def arrays(self) -> list[Any]:
        """What the function is called with."""
        return [self.arguments[n] for n in self.names()]

    def __str__(self) -> str:
        lines = [f"  v{i}: {v.dtype}{list(v.shape)}" for i, v in enumerate(self.variables)]
        for n, v in self.arguments.items():
            how = " constant" if n in self.constants else " raw" if n in self.raw else ""
            lines.append(f"  x{n}: {v.dtype}{list(v.shape)}{how}")
        for step in self.steps:
            inputs = ", ".join(f"x{n}" for n in step.inputs)
            attrs = "".join(f", {k}={v!r}" for k, v in step.attrs.items())
            lines.append(f"  x{step.number} = {step.op}({inputs}{attrs})")
        lines += (
            [
                "  also of shapes "
                + ", ".join(f"x{n}: {list(x.shape)}" for n, x in self.other.items())
            ]
            if self.other
            else []
        )
        end = f"  return {', '.join(f'x{n}' for n in self.outputs)}"
        more = [f"gradient: {self.gradient}"] if self.gradient else []
        more += [name for name in ("update", "loop", "split") if getattr(self, name)]
        more += [f"{self.threads} threads"] if self.threads > 1 else []
        more += [self.mode] if self.mode else []
        return "\n".join([*lines, "; ".join([end, *more])])


# -- making -----------------------------------------------------------------------------------


def generate(seed: int) -> Program:
    """The program of a seed."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return _generate(seed)


def _generate(seed: int) -> Program:
    rng = np.random.default_rng([seed, 21])
    pool = Pool(rng)
    ct.manual_seed(seed)
    common = pool.shape()
    variables = tuple(
        np.asarray(rng.uniform(-1, 1, shape)).astype(as_dtype(pool.float))
        for shape in (pool.shape(), common, common)
    )
    held = [ct.asarray(v) for v in variables]
    steps: list[Step] = []
    # Many small ones: most errors need few steps, and a small program is soon compiled.
    wanted = int(rng.integers(*pool.choice(((1, 5), (2, 7), (2, 7), (4, 10), (8, 18)))))
    weights = np.array(list(_MAKERS.values()), float)
    makers = list(_MAKERS)
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
    gradient = pool.choice(("", "", "backward", "backward", "arguments"))
    if gradient == "arguments" and len(steps) < 10 and pool.chance(0.4):
        gradient = "second"
    # NumPy arrays of float64 would become the default float; those of narrow floats are not raw.
    plain = [n for n, x in pool.leaves.items() if x.dtype in ("float32", "int32", "int64", "bool")]
    split = pool.chance(0.25)
    program = pruned(
        Program(
            dict(pool.leaves), variables, tuple(steps), tuple(dict.fromkeys([*ends, *more])),
            constants=frozenset(n for n in pool.leaves if pool.chance(0.1)),
            raw=frozenset(n for n in plain if pool.chance(0.15)),
            gradient=gradient, update=gradient == "backward" and pool.chance(0.7),
            loop=pool.chance(0.15), split=split, threads=pool.choice((1, 2, 3)) if split else 1,
            mode=pool.choice(("watched", "verified")) if pool.chance(0.12) else "",
        )
    )  # fmt: skip
    if pool.chance(0.05):
        program = _out_of_range(program, pool)
    return program._replace(other=_resized(program, pool)) if pool.chance(0.4) else program


def _out_of_range(program: Program, pool: Pool) -> Program:
    """With one index that is too large or too small, if there are indices."""
    fit = [n for n in pool.indices if n in program.arguments and program.arguments[n].size]
    if not fit:
        return program
    n = pool.choice(fit)
    array, count = program.arguments[n].copy(), pool.indices[n]
    array.flat[pool.rng.integers(array.size)] = pool.choice((count, -count - 1, 2**31 - 1))
    return program._replace(arguments={**program.arguments, n: array})


def _resized(program: Program, pool: Pool) -> dict[int, Any] | None:
    """The arguments with one size replaced by another: a size above 32 by one above 32, so that
    the same kernels do it. None if there is no such size."""
    names = program.names()
    sizes = sorted({size for n in names for size in program.arguments[n].shape})
    large = [size for size in sizes if size > 32]
    if not sizes or (not large and pool.chance(0.6)):
        return None
    old = pool.choice(large or sizes)
    new = pool.choice((33, 34, 47, 48, 64, 66, 70, 97)) if large else pool.choice(SIZES)
    return {
        n: np.resize(x, [new if size == old else size for size in x.shape]) if x.size else x
        for n, x in program.arguments.items() if n in names
    }  # fmt: skip


def _try(pool: Pool, steps: list[Step], op: str, inputs: Any, attrs: Any) -> None:
    """Add a step, if the op takes these inputs; large values are made small again."""
    try:
        value = APPLY[op](*[pool.values[n] for n in inputs], **attrs)
    except ct.Error:
        return
    if value.data.size > _MOST.get(op, _MOST_ELEMENTS):
        return
    steps.append(Step(pool.number(), op, tuple(inputs), attrs))
    pool.values[steps[-1].number] = value
    size = np.abs(value.numpy()).max(initial=0) if kind(value.dtype) == "f" else 0
    if size > 6 and not pool.wild:
        _try(pool, steps, "squash", (steps[-1].number,), {})


def _touch(pool: Pool, steps: list[Step], held: list[ct.Tensor]) -> None:
    """Read a variable, or write one."""
    i = int(pool.rng.integers(len(held)))
    if pool.chance(0.3) and held[i].shape:
        _put(pool, steps, held, i)
        return
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


def _put(pool: Pool, steps: list[Step], held: list[ct.Tensor], i: int) -> None:
    """Write some rows of a variable, by a slice or by indices."""
    read = pool.number()
    steps.append(Step(read, "read", (), {"variable": i}))
    pool.values[read] = held[i]
    made = update(pool, read)
    if made is not None:
        before = len(steps)
        _try(pool, steps, *made)
        if len(steps) > before:
            n = steps[-1].number
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
    floats = tuple(i for i, n in enumerate(names) if kind(program.arguments[n].dtype) == "f")
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
            if kind(x.dtype) == "f" and x.size:
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


def leaves(result: Any) -> list[Any]:
    """The tensors of a nested result, in order."""
    if isinstance(result, (list, tuple)):
        return [leaf for part in result for leaf in leaves(part)]
    return [] if result is None else [result]


def variables_of(program: Program) -> list[Any]:
    """New variables, with the values that they start with."""
    return [ct.var(f"v{i}", v, dtype=v.dtype) for i, v in enumerate(program.variables)]
