"""Functions that rearrange, against NumPy, eager and compiled, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest

import cotangent as ct
from cotangent import testing
from cotangent.errors import Error

RNG = np.random.default_rng(0)
A = RNG.random((2, 3, 4)).astype(np.float32)
WIDE = RNG.random((3, 70)).astype(np.float32)

CASES = {
    "concat": (
        lambda x: ct.concat([x, x * 2, x], axis=1),
        lambda x: np.concatenate([x, x * 2, x], 1),
    ),
    "concat flat": (lambda x: ct.concat([x, x], axis=None), lambda x: np.concatenate([x, x], None)),
    "stack": (lambda x: ct.stack([x, x * 2], axis=-1), lambda x: np.stack([x, x * 2], -1)),
    "split": (lambda x: ct.split(x, 2, axis=1)[1] * 1, lambda x: x[:, 2:]),
    "split sizes": (lambda x: ct.split(x, [1, 2], axis=1)[1] * 1, lambda x: x[:, 1:]),
    "chunk": (lambda x: ct.chunk(x, 2, axis=1)[0] * 1, lambda x: x[:, :2]),
    "unstack": (lambda x: ct.unstack(x, axis=1)[2] * 1, lambda x: x[:, 2]),
    "flip": (lambda x: ct.flip(x, axis=(0, -1)) + 0, lambda x: np.flip(x, (0, -1))),
    "flip all": (lambda x: ct.flip(x) @ x.mT, lambda x: np.flip(x) @ x.swapaxes(-1, -2)),
    "roll": (lambda x: ct.roll(x, (1, -2), axis=(0, 2)), lambda x: np.roll(x, (1, -2), (0, 2))),
    "roll flat": (lambda x: ct.roll(x, 5), lambda x: np.roll(x, 5)),
    "tile": (lambda x: ct.tile(x, (2, 1, 2)), lambda x: np.tile(x, (2, 1, 2))),
    "tile short": (lambda x: ct.tile(x, 3), lambda x: np.tile(x, 3)),
    "repeat": (lambda x: ct.repeat(x, 3, axis=1), lambda x: np.repeat(x, 3, 1)),
    "repeat flat": (lambda x: ct.repeat(x, 2), lambda x: np.repeat(x, 2)),
    "pad": (
        lambda x: ct.pad(x, ((1, 2), (0, 0), (3, 0)), value=7.0),
        lambda x: np.pad(x, ((1, 2), (0, 0), (3, 0)), constant_values=7.0),
    ),
    "pad and cut": (
        lambda x: ct.pad(x, ((0, 0), (-1, 0), (1, -2))),
        lambda x: np.pad(x[:, 1:, :2], ((0, 0), (0, 0), (1, 0))),
    ),
    "moveaxis": (lambda x: ct.moveaxis(x, 0, -1) + 0, lambda x: np.moveaxis(x, 0, -1)),
    "swapaxes": (lambda x: ct.swapaxes(x, 0, 1) + 0, lambda x: np.swapaxes(x, 0, 1)),
    "flatten": (lambda x: ct.flatten(x, 1) + 0, lambda x: x.reshape(2, 12)),
    "tril": (lambda x: ct.tril(x, k=-1), lambda x: np.tril(x, -1)),
    "triu": (lambda x: ct.triu(x, k=1), lambda x: np.triu(x, 1)),
    "diagonal": (lambda x: ct.diagonal(x, 1) + 0, lambda x: np.diagonal(x, 1, -2, -1)),
    "diagonal below": (lambda x: ct.diagonal(x, -1) + 0, lambda x: np.diagonal(x, -1, -2, -1)),
    "trace": (lambda x: ct.trace(x), lambda x: np.trace(x, axis1=-2, axis2=-1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_like_numpy(name):
    function, expected = CASES[name]
    for got in (function(ct.tensor(A)), ct.jit(function)(A)):
        assert got.shape == expected(A).shape
        np.testing.assert_allclose(got.numpy(), expected(A), rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    function, _ = CASES[name]
    testing.check_gradients(lambda x: (function(x) ** 2).sum(), A)


def test_slices_of_slices_become_one_view():
    def f(x):
        return x[:, 5:65][::-1, ::-3][1:] * 2.0

    np.testing.assert_array_equal(ct.jit(f)(WIDE).numpy(), WIDE[:, 5:65][::-1, ::-3][1:] * 2)


def test_views_with_an_offset_go_into_products_and_sums():
    w = RNG.random((80, 6)).astype(np.float32)

    def f(x, w):
        left, right = x[:, 3:33], x[::-1, 40:70].mT
        return left @ w[10:40, 1:], (w[70:20:-1].mT @ w[:50]).sum(0), left @ right

    for got, expected in zip(ct.jit(f)(WIDE, w), f(ct.tensor(WIDE), ct.tensor(w)), strict=True):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-5)


def test_a_variable_can_be_written_from_a_part_of_itself():
    w = ct.var("w", np.arange(6.0))

    @ct.jit
    def rotate():
        w.assign(ct.concat([w[1:], w[:1]]))
        return w[::-1] * 1.0

    assert rotate().tolist() == [0.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    w2 = ct.var("w2", np.arange(4.0))

    @ct.jit
    def reverse():
        w2.assign(w2[::-1] + 0.5)

    reverse()
    reverse()
    assert w2.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_gather_and_scatter_through_slices():
    def f(x, i):
        rows = ct.take(x[1:], i[2:])
        return rows, ct.grad(lambda t: (ct.take(t[1:], i[2:]) ** 2).sum())(x)

    x, i = RNG.random((5, 19)).astype(np.float32), np.array([9, 9, 0, 3, 3])
    for got, expected in zip(ct.jit(f)(x, i), f(ct.tensor(x), ct.tensor(i)), strict=True):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float64"])
def test_every_dtype_moves(dtype):
    x = (RNG.random((3, 20)) * 3).astype(dtype)

    def f(x):
        return ct.concat([x[:, ::-1], x], axis=1), ct.pad(x, (1, 2), value=1), ct.flip(x, 0)

    expected = (
        np.concatenate([x[:, ::-1], x], 1), np.pad(x, (1, 2), constant_values=1), np.flip(x, 0),
    )  # fmt: skip
    for got in (f(ct.asarray(x)), ct.jit(f)(ct.asarray(x))):
        for a, b in zip(got, expected, strict=True):
            assert a.dtype == dtype
            np.testing.assert_array_equal(a.numpy(), b)


def test_strided_places_are_written_by_elements():
    x, v = np.zeros((2, 40), np.float32), RNG.random((2, 20)).astype(np.float32)
    expected = x.copy()
    expected[:, ::2] = v
    got = ct.jit(lambda x, v: x.at[:, ::2].set(v))(x, v)
    np.testing.assert_array_equal(got.numpy(), expected)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ct.concat([]), "at least one"),
        (lambda: ct.concat(ct.ones(3)), "takes a list"),
        (lambda: ct.concat([ct.ones((2, 3)), ct.ones((3, 2))]), r"\(3, 2\) and the first \(2, 3\)"),
        (lambda: ct.stack([ct.ones(2), ct.ones(3)]), "tensor 1 has shape"),
        (lambda: ct.split(ct.ones(4), [1, 2]), "do not add up"),
        (lambda: ct.split(ct.ones(4), 0), "at least one element"),
        (lambda: ct.chunk(ct.ones(4), 0), "must be positive"),
        (lambda: ct.pad(ct.ones(4), (1, 2, 3)), "a pair for each"),
        (lambda: ct.pad(ct.ones(4), -3), "cut off more"),
        (lambda: ct.tile(ct.ones(4), -1), "cannot be negative"),
        (lambda: ct.repeat(ct.ones(4), -1), "must not be negative"),
        (lambda: ct.tril(ct.ones(4)), "fewer than two axes"),
        (lambda: ct.flip(ct.ones(4), 1), "axis 1 is out of range"),
        (lambda: ct.roll(ct.ones((2, 2)), (1, 2, 3), axis=(0, 1)), "3 shifts for 2 axes"),
    ],
)
def test_mistakes(call, words):
    with pytest.raises(Error, match=words):
        call()


def test_concatenations_promote():
    assert ct.concat([ct.tensor([1]), ct.tensor([1.5])]).dtype == "float32"
    assert ct.concat([ct.ones((0, 2)), ct.ones((3, 2))]).shape == (3, 2)
