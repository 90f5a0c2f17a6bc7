"""Matrices by triangles: the Cholesky factor, and solving with a triangular matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from .contract import matmul, swap_last
from .elementwise import negative, where
from .primitive import Aval, Primitive, Sample, register, require_float


def _infer_cholesky(x: Any) -> Aval:
    require_float("cholesky", x)
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"cholesky: takes square matrices in the last two axes, not {x.shape}")
    return x.shape, x.dtype


def _eval_cholesky(xp: Any, x: Any) -> Any:
    try:
        out = xp.linalg.cholesky(0.5 * (x + xp.matrix_transpose(x)))
        good = xp.all(xp.isfinite(out))  # of infinities, LAPACK makes what it likes
    except (np.linalg.LinAlgError, RuntimeError):
        good = False
    if not good:
        raise ArgumentError(
            f"cholesky: a matrix of shape {tuple(x.shape[-2:])} (in a tensor of shape "
            f"{tuple(x.shape)}) is not positive definite; a covariance that is singular to "
            "rounding becomes so by adding a small multiple of the identity, as in x + 1e-6 * "
            "ct.eye(n)"
        )
    return out


def _below(x: Any, diagonal: float) -> Any:
    """The triangle of `x` below the diagonal, and the diagonal times a number."""
    n = x.shape[-1]
    inside = where(np.eye(n, dtype=bool), diagonal * x, 0.0)
    return where(np.tril(np.ones((n, n), bool), -1), x, inside)


def _even(x: Any) -> Any:
    return 0.5 * (x + swap_last(x))


def _push_cholesky(t: Any, out: Any, x: Any) -> Any:
    """L phi(L^-1 t L^-T), where phi takes the lower triangle with half of the diagonal."""
    left = solve_triangular(out, _even(t), upper=False, transpose=False)
    both = solve_triangular(out, swap_last(left), upper=False, transpose=False)
    return matmul(out, _below(both, 0.5))


def _pull_cholesky(g: Any, out: Any, x: Any) -> Any:
    inner = _below(matmul(swap_last(out), _below(g, 1.0)), 0.5)
    left = solve_triangular(out, inner, upper=False, transpose=True)
    both = solve_triangular(out, swap_last(left), upper=False, transpose=True)
    return _even(both)


def _positive(rng: np.random.Generator, *shape: int) -> Any:
    x = rng.uniform(-1, 1, (*shape, shape[-1]))
    return x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1])


cholesky: Primitive = register(
    Primitive(
        "cholesky",
        "the lower triangular L with L L^T = (x + x^T) / 2, [..., n, n]; an error if that is "
        "not finite and positive definite",
        kind="triangular",
        infer=_infer_cholesky,
        eval=_eval_cholesky,
        vjp=(_pull_cholesky,),
        jvp=(_push_cholesky,),
        saves=("out",),
        can_fail=True,
        samples=lambda rng: [
            Sample((_positive(rng, *s),)) for s in [(1,), (1, 4), (2, 3), (2, 2, 17), (0, 2)]
        ],
    )
)


def _infer_solve(a: Any, b: Any, upper: bool, transpose: bool) -> Aval:
    require_float("solve_triangular", a, b)
    lead, square = a.shape[:-2], len(a.shape) >= 2 and a.shape[-1] == a.shape[-2]
    if (
        not square
        or b.shape[: len(lead) + 1] != (*lead, a.shape[-1])
        or len(b.shape) != len(a.shape)
    ):
        raise ShapeError(
            f"solve_triangular: takes [..., n, n] and [..., n, k], not {a.shape} and {b.shape}"
        )
    return b.shape, b.dtype


def _eval_solve(xp: Any, a: Any, b: Any, upper: bool, transpose: bool) -> Any:
    diagonal = xp.linalg.diagonal(a)
    if xp.any(diagonal == 0):
        raise ArgumentError(
            f"solve_triangular: the matrix of shape {tuple(a.shape)} has a zero on its diagonal, "
            "so it has no inverse"
        )
    a = xp.triu(a) if upper else xp.tril(a)
    if transpose:
        a, upper = xp.matrix_transpose(a), not upper
    if upper:
        return _solve_upper(xp, a, b)
    return xp.flip(_solve_upper(xp, xp.flip(a, axis=(-2, -1)), xp.flip(b, axis=-2)), axis=-2)


def _solve_upper(xp: Any, a: Any, b: Any) -> Any:
    if xp.all(xp.isfinite(a)) and xp.all(xp.isfinite(b)):
        return xp.linalg.solve(a, b)  # elimination finds nothing to eliminate
    # It would multiply zeros with what is not finite: in substitution that reaches only the rows
    # that follow from it.
    n = a.shape[-1]
    rows: Any = b[..., n:, :]
    for i in reversed(range(n)):
        rest = b[..., i : i + 1, :] - xp.matmul(a[..., i : i + 1, i + 1 :], rows)
        rows = xp.concat([rest / a[..., i : i + 1, i : i + 1], rows], axis=-2)
    return rows


def _triangle(x: Any, upper: bool) -> Any:
    n = x.shape[-1]
    whole = np.ones((n, n), bool)
    return where(np.triu(whole) if upper else np.tril(whole), x, 0.0)


def _push_matrix(t: Any, out: Any, a: Any, b: Any, upper: bool, transpose: bool) -> Any:
    moved = _triangle(t, upper)
    change = matmul(swap_last(moved) if transpose else moved, out)
    return negative(solve_triangular(a, change, upper=upper, transpose=transpose))


def _push_right(t: Any, out: Any, a: Any, b: Any, upper: bool, transpose: bool) -> Any:
    return solve_triangular(a, t, upper=upper, transpose=transpose)


def _pull_right(g: Any, out: Any, a: Any, b: Any, upper: bool, transpose: bool) -> Any:
    return solve_triangular(a, g, upper=upper, transpose=not transpose)


def _pull_matrix(g: Any, out: Any, a: Any, b: Any, upper: bool, transpose: bool) -> Any:
    right = _pull_right(g, out, a, b, upper, transpose)
    x, y = (out, right) if transpose else (right, out)
    return negative(_triangle(matmul(x, swap_last(y)), upper))


def _solve_samples(rng: np.random.Generator) -> list[Sample]:
    shapes = [((3,), 2), ((1,), 1), ((2, 4), 3), ((2, 2, 5), 1), ((5,), 35), ((3,), 0), ((0, 2), 2)]
    return [
        Sample(
            (rng.uniform(-1, 1, (*s, s[-1])) + 3 * np.eye(s[-1]), rng.uniform(-1, 1, (*s, k))),
            {"upper": upper, "transpose": transpose},
        )
        for s, k in shapes
        for upper in (False, True)
        for transpose in (False, True)
    ]


solve_triangular: Primitive = register(
    Primitive(
        "solve_triangular",
        "the x with a x = b (or a^T x = b), [..., n, n] and [..., n, k]; one triangle of a is read",
        kind="triangular",
        infer=_infer_solve,
        eval=_eval_solve,
        vjp=(_pull_matrix, _pull_right),
        jvp=(_push_matrix, _push_right),
        saves=(0, "out"),
        can_fail=True,
        samples=_solve_samples,
    )
)
