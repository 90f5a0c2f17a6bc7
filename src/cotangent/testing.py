"""Checks of derivatives and of op records, for the test suite and for users' own functions.

Two judges of derivatives that do not know each other: central differences see a wrong formula,
and the adjoint identity ``<g, J t> = <transpose(J) g, t>`` sees a VJP that is not the transpose of
the JVP. Where both rules come from one wrong partial, only the first notices, so both are needed.
Compiled code is judged by evaluation.

Derivatives are checked in float64. Tolerances follow from the dtype: a central difference with
the step ``cbrt(eps)`` is off by about ``eps ** (2/3)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .backends import NUMPY
from .compiler.compiled import jit
from .dtypes import FLOATS, DType, float16, float32, float64, is_float
from .entries import Shaped
from .errors import Error
from .mapping import vmap
from .ops import PerInput, Primitive, Sample
from .ops.batching import rule_of
from .tensors import Tensor, asarray
from .transforms import jvp, vjp
from .tree import flatten

EPS = float(np.finfo(np.float64).eps)
STEP = EPS ** (1 / 3)
DIFFERENCE_TOLERANCE = 100 * EPS ** (2 / 3)  # 100: third derivatives of a few tens
ROUNDING = 64  # units in the last place of the largest term


class CheckError(Error, AssertionError):
    """A check that failed; the message shows both sides."""


# -- checks of any function -------------------------------------------------------------------


def check_gradients(f: Callable[..., Any], *xs: Any, order: int = 2, seed: int = 0) -> None:
    """Check the derivatives of ``f(*xs)`` up to `order`, forwards and backwards.

    Args:
        f: a function of tensors that returns a tensor or a nesting of them. It must be smooth
            around `xs`: keep away from ties of `max`, from `abs` at 0, and the like.
        xs: arrays or numbers; floats are taken as float64.
        order: 1 for the gradient only; 2 for the derivative of the gradient too, and so on.
        seed: of the random directions and cotangents.

    Raises:
        CheckError: if a JVP differs from central differences, or a VJP from the JVP.

    >>> check_gradients(lambda x: (x.exp() * x).sum(), [0.5, -1.0])
    """
    rng = np.random.default_rng(seed)
    arrays = [_float64(x) for x in xs]
    _check(f, arrays, order, rng, "f")


def _check(
    f: Callable[..., Any], xs: list[Any], order: int, rng: np.random.Generator, name: str
) -> None:
    check_jvp_of(f, xs, rng, name)
    check_adjoint_of(f, xs, rng, name)
    if order > 1:
        pulled, inputs = _pulled_back(f, xs, rng)
        _check(pulled, inputs, order - 1, rng, f"the VJP of {name}")


def check_jvp_of(
    f: Callable[..., Any], xs: Sequence[Any], rng: np.random.Generator, name: str = "f"
) -> None:
    """Check the JVP of `f` against central differences, along one input at a time."""
    for i, x in enumerate(xs):
        if not is_float(x.dtype):
            continue
        tangents = [np.zeros_like(other) for other in xs]
        tangents[i] = rng.uniform(-1, 1, x.shape)
        _, forward = jvp(f, [asarray(x) for x in xs], [asarray(t) for t in tangents])
        slopes = _float_arrays(forward)
        plus = _float_arrays(f(*_moved(xs, tangents, STEP)))
        minus = _float_arrays(f(*_moved(xs, tangents, -STEP)))
        for slope, above, below in zip(slopes, plus, minus, strict=True):
            expected = (above - below) / (2 * STEP)
            scale = 1 + _largest(expected) + _largest(above)
            what = f"JVP of {name} for input {i} against central differences"
            _compare(what, slope, expected, DIFFERENCE_TOLERANCE * scale)


def check_adjoint_of(
    f: Callable[..., Any], xs: Sequence[Any], rng: np.random.Generator, name: str = "f"
) -> None:
    """Check ``<g, J t> = <transpose(J) g, t>`` for random `g` and `t`."""
    tangents = [rng.uniform(-1, 1, x.shape) if is_float(x.dtype) else x * 0 for x in xs]
    tensors = [asarray(x) for x in xs]
    y, pullback = vjp(f, *tensors)
    _, forward = jvp(f, tensors, [asarray(t) for t in tangents])
    cotangents = _random_like(y, rng)
    back = pullback(cotangents)
    left = [g * t for g, t in zip(_arrays(cotangents), _arrays(forward), strict=True)]
    right = [g.numpy() * t for g, t in zip(back, tangents, strict=True) if g is not None]
    for i, (g, x) in enumerate(zip(back, xs, strict=True)):
        if g is not None and (g.shape != x.shape or g.dtype != x.dtype):
            raise CheckError(
                f"VJP of {name}: the cotangent of input {i} is {g.dtype} {g.shape}, "
                f"but the input is {x.dtype} {x.shape}"
            )
    scale = sum(float(np.abs(part).sum()) for part in (*left, *right)) + 1.0
    a, b = (np.asarray(sum(float(part.sum()) for part in side)) for side in (left, right))
    _compare(f"<g, JVP> against <VJP, t> of {name}", a, b, ROUNDING * EPS * scale)


def _pulled_back(
    f: Callable[..., Any], xs: Sequence[Any], rng: np.random.Generator
) -> tuple[Callable[..., Any], list[Any]]:
    """The VJP of `f` as a function of the inputs and the cotangents, and values for those."""
    outs, _ = flatten(f(*[asarray(x) for x in xs]))
    seeds = [_arrays(_random_like(out, rng))[0] for out in outs]
    count = len(xs)

    def pulled(*inputs: Any) -> Any:
        y, pullback = vjp(f, *inputs[:count])
        cotangents = inputs[count:]
        whole = cotangents[0] if isinstance(y, Tensor) else type(y)(cotangents)
        return tuple(g for g in pullback(whole) if g is not None)

    return pulled, [*xs, *seeds]


# -- checks of op records ---------------------------------------------------------------------


def no_derivative(record: Primitive, sample: Sample) -> str:
    """Why derivatives cannot be checked at `sample`, or "" if they can."""
    if not record.vjp:
        return f"{record.name} has no derivatives"
    inputs = _inputs(sample, float64)
    if not any(is_float(x.dtype) for x in inputs):
        return f"{record.name}: the sample has no floating-point input"
    _, dtype = record.infer(*map(_shaped, inputs), **sample.attrs)
    return "" if dtype == float64 else f"{record.name}: the result is {dtype}"


def check_shape_rule(record: Primitive, sample: Sample) -> None:
    """Check `infer` against what evaluation gives, shape and dtype, in float32 and float64."""
    for dtype in (float32, float64):
        inputs = _inputs(sample, dtype)
        said = record.infer(*map(_shaped, inputs), **sample.attrs)
        got = NUMPY.evaluate(record.eval, inputs, sample.attrs)
        if (got.shape, got.dtype) != said:
            raise CheckError(
                f"{record.name}: the shape rule says {said} but evaluation gives "
                f"{(got.shape, got.dtype)} for inputs {[(x.shape, x.dtype) for x in inputs]}"
            )
        bound = record(*map(asarray, inputs), **sample.attrs)
        if (bound.shape, bound.dtype) != said:
            raise CheckError(f"{record.name}: bound, it gives {(bound.shape, bound.dtype)}")


def check_jvp(record: Primitive, sample: Sample, seed: int = 0) -> None:
    """Check the JVP rules against central differences."""
    check_jvp_of(*_as_function(record, sample), np.random.default_rng(seed), record.name)


def check_adjoint(record: Primitive, sample: Sample, seed: int = 0) -> None:
    """Check the VJP rules against the JVP rules."""
    check_adjoint_of(*_as_function(record, sample), np.random.default_rng(seed), record.name)


def check_second_order(record: Primitive, sample: Sample, seed: int = 0) -> None:
    """Check the derivatives of the VJP, as a function of inputs and cotangent."""
    rng = np.random.default_rng(seed)
    pulled, inputs = _pulled_back(*_as_function(record, sample), rng)
    name = f"the VJP of {record.name}"
    check_jvp_of(pulled, inputs, rng, name)
    check_adjoint_of(pulled, inputs, rng, name)


def check_derivative_dtypes(record: Primitive, sample: Sample) -> None:
    """Check that derivatives have the dtypes of what they belong to, in float16 and float32."""
    for dtype in (float16, float32):
        tensors = [asarray(x) for x in _inputs(sample, dtype)]
        y, pullback = vjp(lambda *xs: record(*xs, **sample.attrs), *tensors)
        _, forward = jvp(lambda *xs: record(*xs, **sample.attrs), tensors, tensors)
        pairs = [("JVP", forward, y)]
        pairs += [("VJP", g, x) for g, x in zip(pullback(y), tensors, strict=True) if g is not None]
        for which, derivative, value in pairs:
            if derivative.dtype != value.dtype or derivative.shape != value.shape:
                raise CheckError(
                    f"{which} of {record.name}: {derivative.dtype} {derivative.shape} belongs to "
                    f"a value that is {value.dtype} {value.shape}"
                )


def check_special(record: Primitive, sample: Sample) -> None:
    """Check the result at a special value (a tie, an edge, infinity, NaN), float32 and float64."""
    expected = np.asarray(sample.expected)
    for dtype in (float32, float64):
        inputs = _inputs(sample, dtype)
        got = record(*map(asarray, inputs), **sample.attrs).numpy()
        what = f"{record.name}({', '.join(map(str, inputs))}) in {dtype}"
        if not is_float(got.dtype) and got.dtype != expected.dtype:
            raise CheckError(f"{what}: the result is {got.dtype}, expected {expected.dtype}")
        _compare(what, got, expected, 4 * float(np.finfo(dtype).eps))


def check_compiled(record: Primitive, sample: Sample) -> None:
    """Check compiled code against evaluation, in float32 and float64, and special values too.

    Elementwise records are run on a long vector as well, which takes a loop and a masked rest.
    Integers and bools must be equal; floats may differ by a few units in the last place
    of the largest intermediate.
    """
    for dtype in (float32, float64):
        inputs = _inputs(sample, dtype)
        _compare_compiled(record, inputs, sample.attrs)
        if record.kind == "elementwise" and all(x.size for x in inputs):
            _compare_compiled(record, [np.resize(x, 53) for x in inputs], sample.attrs)


def check_batched(record: Primitive, sample: Sample) -> None:
    """Check the batch rule against one example after another: each input mapped alone, and all
    together."""
    for dtype in (float32, float64):
        inputs = _inputs(sample, dtype)
        count = len(inputs)
        for axes in {*(tuple(i == j for j in range(count)) for i in range(count)), (True,) * count}:
            _compare_batched(record, inputs, axes, sample.attrs)


def _compare_batched(record: Primitive, inputs: list[Any], mapped: Any, attrs: Any) -> None:
    examples = [[x, x[::-1] if x.ndim else x, x] for x in inputs]
    given = [np.stack(e) if m else e[0] for e, m in zip(examples, mapped, strict=True)]
    in_axes = tuple(0 if m else None for m in mapped)
    got = vmap(lambda *xs: record(*xs, **attrs), in_axes)(*map(asarray, given)).numpy()
    expected = [
        record(*[asarray(e[k if m else 0]) for e, m in zip(examples, mapped, strict=True)], **attrs)
        for k in range(3)
    ]
    eps = float(np.finfo(got.dtype).eps) if is_float(got.dtype) else 0.0
    tolerance = ROUNDING * eps * max(1.0, _largest(got[np.isfinite(got)]))
    what = f"{record.name} mapped along {in_axes}, for inputs {[x.shape for x in inputs]}"
    _compare(what, got, np.stack([x.numpy() for x in expected]), tolerance)


def _compare_compiled(record: Primitive, inputs: list[Any], attrs: Any) -> None:
    tensors = [asarray(x) for x in inputs]
    expected = record(*tensors, **attrs).numpy()
    got = jit(lambda *xs: record(*xs, **attrs))(*tensors).numpy()
    what = f"{record.name} compiled, for inputs {[(x.shape, str(x.dtype)) for x in inputs]}"
    if (got.shape, got.dtype) != (expected.shape, expected.dtype):
        raise CheckError(
            f"{what}: it gives {got.dtype} {got.shape}, evaluation {expected.dtype} "
            f"{expected.shape}"
        )
    tolerance = 0.0
    if is_float(got.dtype):
        eps = float(max(np.finfo(x.dtype).eps for x in (*inputs, got) if is_float(x.dtype)))
        tolerance = 8 * eps * _largest_intermediate(record, inputs, expected, attrs)
    with np.errstate(all="ignore"):
        close = (got == expected) | (np.abs(got * 1.0 - expected) <= tolerance)
    if not np.all(close | ((got != got) & (expected != expected))):
        raise CheckError(
            f"{what}: {got.tolist()} differs from evaluation, {expected.tolist()}, by more than "
            f"{tolerance:.1e}"
        )


def _largest_intermediate(record: Primitive, inputs: list[Any], expected: Any, attrs: Any) -> float:
    """The largest finite magnitude among inputs, result, and what is added up on the way."""
    values = [x for x in (*inputs, expected) if x.dtype.kind == "f"]
    if record.kind in ("reduce", "matmul", "scatter"):
        sizes = [np.abs(x) if x.dtype.kind == "f" else x for x in inputs]
        values.append(NUMPY.evaluate(record.eval, sizes, attrs))
    return max(1.0, *(_largest(x[np.isfinite(x)]) for x in values))


def check_documented(record: Primitive) -> None:
    """Check that the record says what it is, and has samples and consistent rules."""
    vjp, jvp = ([r[0]] if isinstance(r, PerInput) else r for r in (record.vjp, record.jvp))
    problems = [
        (not record.doc, "has no doc"),
        ("\n" in record.doc, "has a doc of several lines"),
        (not record.kind, "has no kind"),
        (rule_of(record) is None, "has no batch rule"),
        (not record.samples(np.random.default_rng(0)), "has no samples"),
        (len(vjp) != len(jvp), "has VJP and JVP rules of different numbers"),
        (
            any((a is None) != (b is None) for a, b in zip(vjp, jvp, strict=False)),
            "has a VJP without a JVP for an input, or the reverse",
        ),
    ]
    for failed, text in problems:
        if failed:
            raise CheckError(f"{record.name} {text}")


# Checks of a record at one of its samples: name -> check. Those in the second table need a
# derivative.
SAMPLE_CHECKS: dict[str, Callable[[Primitive, Sample], None]] = {
    "shape rule": check_shape_rule,
    "compiled": check_compiled,
    "batched": check_batched,
}
DERIVATIVE_CHECKS: dict[str, Callable[[Primitive, Sample], None]] = {
    "jvp": check_jvp,
    "adjoint": check_adjoint,
    "second order": check_second_order,
    "dtypes": check_derivative_dtypes,
}


def check_record(record: Primitive, seed: int = 0) -> None:
    """Run every check on every sample of `record`: what a new op has to pass.

    >>> from cotangent import ops
    >>> check_record(ops.exp)
    """
    check_documented(record)
    for sample in record.samples(np.random.default_rng(seed)):
        for check in SAMPLE_CHECKS.values():
            check(record, sample)
        if not no_derivative(record, sample):
            for check in DERIVATIVE_CHECKS.values():
                check(record, sample)
    for sample in record.special:
        check_special(record, sample)
        check_compiled(record, sample)


# -- small parts ------------------------------------------------------------------------------


def _float64(x: Any) -> Any:
    array = np.asarray(x)
    return array.astype(float64) if is_float(array.dtype) else array


def _inputs(sample: Sample, dtype: DType) -> list[Any]:
    """The inputs of a sample as arrays, floats as `dtype`."""
    arrays = [np.asarray(x) for x in sample.inputs]
    return [x.astype(dtype) if x.dtype in FLOATS else x for x in arrays]


def _shaped(x: Any) -> Shaped:
    return Shaped(x.shape, x.dtype)


def _as_function(record: Primitive, sample: Sample) -> tuple[Callable[..., Any], list[Any]]:
    return lambda *xs: record(*xs, **sample.attrs), _inputs(sample, float64)


def _moved(xs: Sequence[Any], tangents: Sequence[Any], step: float) -> list[Tensor]:
    return [
        asarray(x + step * t) if is_float(x.dtype) else asarray(x)
        for x, t in zip(xs, tangents, strict=True)
    ]


def _arrays(tree: Any) -> list[Any]:
    return [asarray(leaf).numpy() for leaf in flatten(tree)[0]]


def _float_arrays(tree: Any) -> list[Any]:
    return [array for array in _arrays(tree) if is_float(array.dtype)]


def _random_like(tree: Any, rng: np.random.Generator) -> Any:
    if isinstance(tree, Tensor):
        return asarray(rng.uniform(-1, 1, tree.shape).astype(tree.dtype))
    return type(tree)(_random_like(part, rng) for part in tree)


def _largest(x: Any) -> float:
    return float(np.max(np.abs(x), initial=0.0))


def _compare(what: str, got: Any, expected: Any, tolerance: float) -> None:
    """Raise `CheckError` unless equal to `tolerance` (absolute, and relative where it is large)."""
    with np.errstate(all="ignore"):
        close = np.isclose(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    if got.shape != expected.shape or not np.all(close):
        raise CheckError(
            f"{what}: {np.asarray(got).tolist()} differs from {np.asarray(expected).tolist()} "
            f"by more than {tolerance:.1e}"
        )
