"""Ops that take tensors apart and put them together: strided slices, slices put in, concat."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..shapes import Shape
from . import batching
from .movement import broadcast_to
from .primitive import Aval, PerInput, Primitive, Sample, lift, register


def window(starts: Shape, sizes: Shape, steps: Shape) -> tuple[slice, ...]:
    """Python slices of `sizes` elements from `starts` on, by `steps`.

    >>> window((3,), (2,), (-3,))
    (slice(3, None, -3),)
    """
    parts = []
    for start, size, step in zip(starts, sizes, steps, strict=True):
        stop = start + (size - 1) * step + (1 if step > 0 else -1)
        parts.append(slice(start, None if stop < 0 else stop, step) if size else slice(0, 0))
    return tuple(parts)


def _ascending(starts: Shape, sizes: Shape, steps: Shape) -> tuple[tuple[slice, ...], Shape]:
    """The window from its lowest element upwards, and the axes along which to reverse it.

    PyTorch has no negative steps.
    """
    down = tuple(axis for axis, step in enumerate(steps) if step < 0)
    if not down:
        return window(starts, sizes, steps), ()
    lowest = tuple(
        start + (size - 1) * step if size and step < 0 else start
        for start, size, step in zip(starts, sizes, steps, strict=True)
    )
    return window(lowest, sizes, tuple(map(abs, steps))), down


def _eval_slice(xp: Any, x: Any, starts: Shape, sizes: Shape, steps: Shape) -> Any:
    place, down = _ascending(starts, sizes, steps)
    return xp.flip(x[place], axis=down) if down else x[place]


def _check_window(name: str, shape: Shape, starts: Shape, sizes: Shape, steps: Shape) -> None:
    if not len(shape) == len(starts) == len(sizes) == len(steps):
        raise ShapeError(
            f"{name}: shape {shape} needs {len(shape)} starts, sizes and steps, not {starts}, "
            f"{sizes} and {steps}"
        )
    for axis, (n, start, size, step) in enumerate(zip(shape, starts, sizes, steps, strict=True)):
        last = start + (size - 1) * step
        if size and not (0 <= start < n and 0 <= last < n):
            raise ShapeError(
                f"{name}: axis {axis} of shape {shape} has {n} elements, which do not hold "
                f"{size} from {start} on in steps of {step}"
            )


def _infer_slice(x: Any, starts: Shape, sizes: Shape, steps: Shape) -> Aval:
    _check_window("strided_slice", x.shape, starts, sizes, steps)
    return sizes, x.dtype


def zeros_as(shape: Shape, dtype: Any) -> Any:
    """Zeros that take no memory until they are needed."""
    zero = lift(np.zeros((), dtype))
    zero = zero if zero.dtype == dtype else lift(np.zeros((), dtype).astype(dtype))
    return broadcast_to(zero, shape=shape) if shape else zero


def _slice_back(g: Any, out: Any, x: Any, starts: Shape, sizes: Shape, steps: Shape) -> Any:
    return put_slice(zeros_as(x.shape, g.dtype), g, starts=starts, steps=steps)


def _slice_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((rng.random(shape),), {"starts": starts, "sizes": sizes, "steps": steps})
        for shape, starts, sizes, steps in [
            ((6,), (1,), (3,), (2,)), ((6,), (5,), (6,), (-1,)), ((4, 5), (1, 0), (2, 5), (1, 1)),
            ((4, 40), (3, 2), (2, 38), (-2, 1)), ((3, 4), (0, 0), (0, 4), (1, 1)), ((), (), (), ()),
            ((2, 3, 4), (0, 2, 1), (2, 1, 2), (1, 1, 2)),
        ]
    ]  # fmt: skip


# A primitive because views cost nothing: the compiler reads it with an offset and strides.
strided_slice: Primitive = register(
    Primitive(
        "strided_slice",
        "along each axis `sizes` elements from `starts` on in `steps`, which may be negative",
        kind="movement",
        infer=_infer_slice,
        eval=_eval_slice,
        vjp=(_slice_back,),
        jvp=(
            lambda t, out, x, starts, sizes, steps: strided_slice(
                t, starts=starts, sizes=sizes, steps=steps
            ),
        ),
        batch=batching.slicing,
        samples=_slice_samples,
    )
)


def _infer_put(x: Any, values: Any, starts: Shape, steps: Shape) -> Aval:
    _check_window("put_slice", x.shape, starts, values.shape, steps)
    return x.shape, x.dtype


def _eval_put(xp: Any, x: Any, values: Any, starts: Shape, steps: Shape) -> Any:
    place, down = _ascending(starts, values.shape, steps)
    out = xp.asarray(x, copy=True)
    out[place] = xp.flip(values, axis=down) if down else values
    return out


def _around(g: Any, out: Any, x: Any, values: Any, starts: Shape, steps: Shape) -> Any:
    return put_slice(g, zeros_as(values.shape, g.dtype), starts=starts, steps=steps)


def _put_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((rng.random(shape), rng.random(inside)), {"starts": starts, "steps": steps})
        for shape, inside, starts, steps in [
            ((5,), (2,), (1,), (2,)), ((4, 5), (2, 5), (1, 0), (1, 1)), ((4,), (4,), (3,), (-1,)),
            ((3, 40), (2, 37), (2, 1), (-2, 1)), ((3, 2), (0, 2), (0, 0), (1, 1)), ((), (), (), ()),
        ]
    ]  # fmt: skip


# The transpose of a slice, and what padding and updates by slice are made of.
put_slice: Primitive = register(
    Primitive(
        "put_slice",
        "x, but with `values` along each axis from `starts` on in `steps`",
        kind="assemble",
        infer=_infer_put,
        eval=_eval_put,
        vjp=(
            _around,
            lambda g, out, x, values, starts, steps: strided_slice(
                g, starts=starts, sizes=values.shape, steps=steps
            ),
        ),
        jvp=(
            _around,
            lambda t, out, x, values, starts, steps: put_slice(
                zeros_as(x.shape, t.dtype), t, starts=starts, steps=steps
            ),
        ),
        batch=batching.slicing,
        samples=_put_samples,
    )
)


def _infer_concat(*xs: Any, axis: int) -> Aval:
    shape = xs[0].shape
    if not 0 <= axis < len(shape):
        raise ShapeError(f"concat: shape {shape} has no axis {axis}")
    for i, x in enumerate(xs):
        same = len(x.shape) == len(shape) and all(
            n == m for a, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if a != axis
        )
        if not same:
            raise ShapeError(
                f"concat: tensor {i} has shape {x.shape} and the first {shape}; along axes other "
                f"than {axis} they must be equal"
            )
    size = sum(x.shape[axis] for x in xs)
    return (*shape[:axis], size, *shape[axis + 1 :]), xs[0].dtype


def start_of(inputs: Any, index: int, axis: int) -> Shape:
    """Where input number `index` begins in a concatenation along `axis`."""
    first = sum(x.shape[axis] for x in inputs[:index])
    return tuple(first if a == axis else 0 for a in range(len(inputs[0].shape)))


def _concat_back(index: int) -> Any:
    def vjp(g: Any, out: Any, *inputs: Any, axis: int) -> Any:
        sizes = inputs[index].shape
        starts = start_of(inputs, index, axis)
        return strided_slice(g, starts=starts, sizes=sizes, steps=(1,) * len(sizes))

    return vjp


def _concat_forward(index: int) -> Any:
    def jvp(t: Any, out: Any, *inputs: Any, axis: int) -> Any:
        starts = start_of(inputs, index, axis)
        return put_slice(zeros_as(out.shape, t.dtype), t, starts=starts, steps=(1,) * len(starts))

    return jvp


concat: Primitive = register(
    Primitive(
        "concat",
        "the tensors one after the other along an axis; the other sizes must be equal",
        kind="assemble",
        infer=_infer_concat,
        eval=lambda xp, *xs, axis: xp.concat(xs, axis=axis),
        vjp=PerInput(_concat_back),
        jvp=PerInput(_concat_forward),
        batch=batching.concatenating,
        samples=lambda rng: [
            Sample(tuple(rng.random(s) for s in shapes), {"axis": axis})
            for shapes, axis in [
                (((2,), (3,)), 0), (((2, 3), (2, 1), (2, 19)), 1), (((1, 2), (3, 2)), 0),
                (((2, 3),), 0), (((0, 2), (2, 2), (1, 2), (3, 2)), 0), (((2, 1, 3), (2, 2, 3)), 1),
            ]
        ],
    )
)  # fmt: skip
