"""Contractions of tensors, made of permutations, reshapes and matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import ops
from .checks import whole
from .errors import ArgumentError, ArgumentTypeError, ShapeError
from .functional import broadcast_to, expand_dims, permute_dims, reshape
from .ops import lift
from .rearrange import diagonal, moveaxis
from .shapes import broadcast_shapes, normalize_axis

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def einsum(subscripts: str, *operands: Any) -> Any:
    """A sum of products, in Einstein's notation: ``"ij,jk->ik"`` is the matrix product.

    A letter names an axis; letters that are not in the result are summed over. Without ``->`` the
    result has the letters that occur once, in alphabetical order. ``...`` stands for axes without
    names: they broadcast, and come first in a result that has no ``->``. Operands are contracted
    from left to right, two at a time, each pair as one matrix product.

    >>> einsum("ij,j->i", lift([[1.0, 2.0], [3.0, 4.0]]), lift([1.0, 1.0])).tolist()
    [3.0, 7.0]
    """
    if not isinstance(subscripts, str):
        raise ArgumentTypeError(
            "einsum: the subscripts come first, as text such as 'ij,jk->ik', not a "
            f"{type(subscripts).__name__}"
        )
    tensors = [lift(x) for x in operands]
    if "." in subscripts:
        subscripts, tensors = _name_the_rest(subscripts, tensors)
    terms, result = _parse(subscripts, tensors)
    pairs = [_without_repeats(x, term) for x, term in zip(tensors, terms, strict=True)]
    left, letters = pairs[0]
    for i, (right, others) in enumerate(pairs[1:], 1):
        later = set(result).union(*(term for _, term in pairs[i + 1 :]))
        left, letters = _contract(left, letters, right, others, later)
    left, letters = _sum_out(left, letters, set(result))
    return permute_dims(left, [letters.index(letter) for letter in result])


def _name_the_rest(subscripts: str, tensors: list[Any]) -> tuple[str, list[Any]]:
    """``...`` written out with letters that are free; axes of size 1 that broadcast are dropped."""
    inputs, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    _check_count(subscripts, terms, tensors)
    shapes = []
    for term, x in zip(terms, tensors, strict=True):
        before, dots, after = term.partition("...")
        rank = len(x.shape) - len(before) - len(after)
        if "." in before + after or rank < 0:
            raise ShapeError(
                f"einsum: {term!r} in {subscripts!r} does not fit a tensor of shape {x.shape}; "
                "'...' stands for any number of axes, once in each term"
            )
        shapes.append(x.shape[len(before) : len(before) + rank] if dots else ())
    joint = broadcast_shapes("einsum", *shapes)
    free = [c for c in _LETTERS if c not in subscripts][: len(joint)]
    if len(free) < len(joint):
        raise ArgumentError(f"einsum: {subscripts!r} leaves no letters for {len(joint)} more axes")
    named = []
    for i, (term, x, shape) in enumerate(zip(terms, tensors, shapes, strict=True)):
        start = term.find("...")
        last = free[len(free) - len(shape) :]
        kept = [c for c, n, m in zip(last, shape, joint[len(joint) - len(shape) :], strict=True)
                if n == m]  # fmt: skip
        if len(kept) < len(shape):
            drop = tuple(start + j for j, c in enumerate(last) if c not in kept)
            tensors[i] = reshape(x, [n for a, n in enumerate(x.shape) if a not in drop])
        named.append(term.replace("...", "".join(kept)))
    if not arrow:
        every = "".join(terms)
        single = sorted(c for c in set(every) - {"."} if every.count(c) == 1)
        result = "..." + "".join(single)
    return f"{','.join(named)}->{result.replace('...', ''.join(free), 1)}", tensors


def _check_count(subscripts: str, terms: list[str], tensors: Sequence[Any]) -> None:
    if len(terms) != len(tensors) or not tensors:
        raise ArgumentError(
            f"einsum: {subscripts!r} is about {len(terms)} tensors, but {len(tensors)} are given"
        )


def _parse(subscripts: str, tensors: Sequence[Any]) -> tuple[list[str], str]:
    """The letters of each operand, and of the result."""
    inputs, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    _check_count(subscripts, terms, tensors)
    if not arrow:
        every = "".join(terms)
        result = "".join(sorted(letter for letter in set(every) if every.count(letter) == 1))
    sizes: dict[str, int] = {}
    for term, x in zip(terms, tensors, strict=True):
        if len(term) != len(x.shape) or not all(c.isalpha() for c in term):
            raise ShapeError(
                f"einsum: {term!r} in {subscripts!r} must be one letter for each axis of the "
                f"tensor of shape {x.shape}"
            )
        for letter, n in zip(term, x.shape, strict=True):
            if sizes.setdefault(letter, n) != n:
                raise ShapeError(
                    f"einsum: {letter!r} in {subscripts!r} is {sizes[letter]} in one tensor and "
                    f"{n} in another; shapes {[t.shape for t in tensors]}"
                )
    if len(set(result)) < len(result) or not set(result) <= set(sizes):
        raise ArgumentError(
            f"einsum: the result of {subscripts!r} must name letters of the operands once each"
        )
    return terms, result


def _without_repeats(x: Any, term: str) -> tuple[Any, str]:
    """Axes of one letter become their diagonal."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            x = diagonal(moveaxis(moveaxis(x, second, -1), first, -2))
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + letter
    return x, term


def _sum_out(x: Any, letters: str, keep: set[str]) -> tuple[Any, str]:
    """`x` summed over the axes whose letters nobody needs."""
    axes = tuple(i for i, letter in enumerate(letters) if letter not in keep)
    if not axes:
        return x, letters
    left = "".join(letter for letter in letters if letter in keep)
    return ops.sum(x, axes=axes, keepdims=False), left


def _contract(x: Any, a: str, y: Any, b: str, keep: set[str]) -> tuple[Any, str]:
    """Two operands as one, with the letters in `keep` left."""
    x, a = _sum_out(x, a, keep | set(b))
    y, b = _sum_out(y, b, keep | set(a))
    batch = [c for c in a if c in b and c in keep]
    inner = [c for c in a if c in b and c not in keep]
    left, right = [c for c in a if c not in b], [c for c in b if c not in a]
    sizes = dict(zip(a, x.shape, strict=True)) | dict(zip(b, y.shape, strict=True))

    def size(letters: list[str]) -> int:
        return math.prod(sizes[c] for c in letters)

    shape = [sizes[c] for c in batch]
    x = permute_dims(x, [a.index(c) for c in (*batch, *left, *inner)])
    y = permute_dims(y, [b.index(c) for c in (*batch, *inner, *right)])
    x = reshape(x, (*shape, size(left), size(inner)))
    y = reshape(y, (*shape, size(inner), size(right)))
    out = ops.matmul(x, y) if inner else x * y
    letters = [*batch, *left, *right]
    return reshape(out, [sizes[c] for c in letters]), "".join(letters)


def cholesky(x: Any, *, upper: bool = False) -> Any:
    """The triangular L with ``L @ L.mT = x``, for symmetric positive definite [..., n, n].

    What is decomposed is ``(x + x.mT) / 2``, so that rounding in `x` does not matter and the
    gradient is symmetric.

    Args:
        upper: give the transpose of L.

    Raises:
        ArgumentError: for a matrix that is not positive definite; compiled code changes nothing.

    >>> cholesky(lift([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    factor = ops.cholesky(lift(x))
    return ops.swap_last(factor) if upper else factor


def solve_triangular(a: Any, b: Any, *, upper: bool = False, transpose: bool = False) -> Any:
    """The x with ``a @ x = b``, for a triangular matrix a. Leading axes broadcast.

    Args:
        a: [..., n, n]; only its lower triangle is read, or with `upper` the upper one.
        b: [..., n, k], or a vector [n].
        transpose: solve ``a.mT @ x = b``.

    Raises:
        ArgumentError: for a zero on the diagonal.

    >>> solve_triangular(lift([[2.0, 0.0], [1.0, 4.0]]), lift([2.0, 9.0])).tolist()
    [1.0, 2.0]
    """
    a, b = lift(a), lift(b)
    vector = len(b.shape) == 1
    if len(a.shape) < 2 or not b.shape or b.shape[0 if vector else -2] != a.shape[-1]:
        raise ShapeError(
            f"solve_triangular: takes [..., n, n] and [..., n, k] or [n], not {a.shape} and "
            f"{b.shape}"
        )
    if vector:
        b = expand_dims(b, 1)
    lead = broadcast_shapes("solve_triangular", a.shape[:-2], b.shape[:-2])
    a, b = (broadcast_to(v, (*lead, *v.shape[-2:])) for v in (a, b))
    out = ops.solve_triangular(a, b, upper=bool(upper), transpose=bool(transpose))
    return reshape(out, out.shape[:-1]) if vector else out


def tensordot(x: Any, y: Any, axes: int | Sequence[Any] = 2) -> Any:
    """Sums of products over several axes.

    Args:
        axes: how many last axes of `x` meet as many first axes of `y`; or two lists, of the axes
            of `x` and of `y` that meet.

    >>> tensordot(lift([1.0, 2.0]), lift([3.0, 4.0]), axes=1).item()
    11.0
    """
    x, y = lift(x), lift(y)
    if not isinstance(axes, (tuple, list)) or len(axes) != 2:
        axes = whole("tensordot", "axes (a number, or two lists)", axes, 0)
        mine = list(range(len(x.shape) - axes, len(x.shape)))
        yours = list(range(axes))
    else:
        mine, yours = (list(a) if isinstance(a, (tuple, list)) else [a] for a in axes)
    mine = [normalize_axis("tensordot", a, len(x.shape), x.shape) for a in mine]
    yours = [normalize_axis("tensordot", a, len(y.shape), y.shape) for a in yours]
    if [x.shape[a] for a in mine] != [y.shape[a] for a in yours]:
        raise ShapeError(
            f"tensordot: axes {mine} of shape {x.shape} and {yours} of {y.shape} differ in size"
        )
    left = [a for a in range(len(x.shape)) if a not in mine]
    right = [a for a in range(len(y.shape)) if a not in yours]
    count = math.prod(x.shape[a] for a in mine)
    rows = tuple(x.shape[a] for a in left)
    columns = tuple(y.shape[a] for a in right)
    a = reshape(permute_dims(x, left + mine), (math.prod(rows), count))
    b = reshape(permute_dims(y, yours + right), (count, math.prod(columns)))
    return reshape(ops.matmul(a, b), rows + columns)


def vecdot(x: Any, y: Any, axis: int = -1) -> Any:
    """Sums of products along one axis; the others broadcast.

    >>> vecdot(lift([1.0, 2.0]), lift([3.0, 4.0])).item()
    11.0
    """
    product = lift(x) * lift(y)
    number = normalize_axis("vecdot", axis, len(product.shape), product.shape)
    return ops.sum(product, axes=(number,), keepdims=False)


def diag(x: Any, offset: int = 0) -> Any:
    """A vector as the diagonal of a matrix; the diagonal of a matrix as a vector.

    >>> diag(lift([1, 2])).tolist()
    [[1, 0], [0, 2]]
    """
    x = lift(x)
    if len(x.shape) == 2:
        return diagonal(x, offset)
    if len(x.shape) != 1:
        raise ShapeError(f"diag: takes a vector or a matrix, not shape {x.shape}")
    offset = whole("diag", "offset", offset)
    n = x.shape[0] + abs(offset)
    row, column = max(-offset, 0), max(offset, 0)
    zeros = ops.broadcast_to(ops.astype(lift(0), dtype=x.dtype), shape=(n * n,))
    start = row * n + column if x.shape[0] else 0
    step = n + 1 if x.shape[0] > 1 else 1
    flat = ops.put_slice(zeros, x, starts=(start,), steps=(step,))
    return reshape(flat, (n, n))
