"""Whole matrices of derivatives: `jacobian` and `hessian`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .creation import eye, zeros_like
from .dtypes import is_float
from .errors import ArgumentError, ArgumentTypeError, GradientError
from .functional import reshape
from .mapping import vmap
from .placement import alongside
from .tensors import Tensor, lift
from .transforms import enter, grad, leave, vjp
from .tree import flatten, unflatten


def jacobian(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that returns all partial derivatives of `f`.

    The pass goes backwards, once for each number in the result, all at once by `vmap`. For a
    function with many more results than inputs, `jvp` costs less.

    Args:
        f: a function of tensors whose result is a floating-point tensor, or a nesting of them.
        argnums: the argument, or arguments, with respect to which to differentiate.

    Returns:
        A function of the same arguments. For a result y and an argument x it gives a tensor of
        shape ``y.shape + x.shape``; nested like the result of `f`; with a tuple of them in each
        place if `argnums` is a tuple.

    Raises:
        ArgumentError: if there is no such argument.

    >>> jacobian(lambda x: x * x)([1.0, 2.0]).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    if not callable(f):
        raise ArgumentTypeError(f"jacobian takes a function, not {type(f).__name__}")
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)

    @functools.wraps(f)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        for n in numbers:
            if not -len(args) <= n < len(args):
                raise ArgumentError(
                    f"jacobian: argnums={argnums} but only {len(args)} positional arguments"
                )
        places = [n % len(args) for n in numbers]
        xs = [enter(_argument(args[n])) for n in places]

        def of(*values: Any) -> Any:
            given = list(args)
            for place, value in zip(places, values, strict=True):
                given[place] = value
            return f(*given, **kwargs)

        y, pullback = vjp(of, *xs)
        outs, structure = flatten(y)
        parts = [_rows(outs, k, structure, pullback, xs) for k in range(len(outs))]
        parts = leave(parts, [x.entry for x in xs if x.entry is not None])
        found = parts if isinstance(argnums, tuple) else [part[0] for part in parts]
        return unflatten(structure, iter(found))

    return differentiated


def hessian(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function that returns the second derivatives of a scalar function.

    Args:
        f: a function whose result is a floating-point scalar.
        argnum: the argument with respect to which to differentiate twice.

    Returns:
        A function of the same arguments, whose result has shape ``x.shape + x.shape``.

    >>> hessian(lambda x: x[0] * x[1])([3.0, 4.0]).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    return jacobian(grad(f, argnum), argnum)


def _argument(x: Any) -> Tensor:
    x = lift(x)
    if not is_float(x.dtype):
        raise GradientError(
            f"jacobian: the argument has dtype {x.dtype}, which has no derivative; pass a float, "
            "or choose another argument by argnums"
        )
    return x


def _rows(
    outs: list[Any], k: int, structure: Any, pullback: Callable[..., Any], xs: list[Tensor]
) -> tuple[Tensor, ...]:
    """The derivatives of result number `k` with respect to each of `xs`."""
    out = lift(outs[k])
    if not is_float(out.dtype):
        raise GradientError(f"jacobian: a result is {out.dtype}, which has no derivative")

    def pull(row: Tensor) -> Any:
        seeds = [row if i == k else zeros_like(o) for i, o in enumerate(outs)]
        return pullback(unflatten(structure, iter(seeds)))

    with alongside(out):
        basis = reshape(eye(out.size, out.dtype), (out.size, *out.shape))
    parts = vmap(pull)(basis)
    return tuple(reshape(part, (*out.shape, *x.shape)) for part, x in zip(parts, xs, strict=True))
