"""Indexing against NumPy, eager and compiled; updates; gradients; what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import cotangent as ct
from cotangent import testing
from cotangent.errors import (
    ArgumentError,
    ArgumentTypeError,
    BoundsError,
    DTypeError,
    Error,
    ShapeError,
    TraceError,
)

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
KEYS = [
    0, -1, np.s_[:, 1], np.s_[..., 0], np.s_[None, 1:, ::-1], np.s_[::-2, 0:2, None, 3],
    np.s_[[0, 1]], np.s_[[0, 1], :, [1, 2]], np.s_[:, [0, 2]], np.s_[:, [[0, 2], [1, 1]], 1:3],
    np.s_[0, :, [1, -1]], np.s_[:, 0, [1, 2]], X > 5, np.s_[:, X[0] > 3],
    np.s_[:, None, [0, 2], ::2], np.s_[[1], None, [2]], (), np.s_[1:1], np.s_[0, 1, 2],
    np.s_[:, :, np.zeros(0, int)], np.s_[:, [True, False, True]], np.s_[5:2],
    np.s_[[[1]], [[0], [2]]], np.s_[::-1, ::-1, ::-2], np.s_[-1:, -3:-1], np.s_[np.int8(1)],
    np.s_[:, np.array([0, -1], np.int8), 3], np.s_[..., None],
]  # fmt: skip
IDS = [str(key).replace("\n", "")[:40] for key in KEYS]


@pytest.mark.parametrize("key", KEYS, ids=IDS)
def test_reading(key):
    x = ct.tensor(X)
    expected = np.asarray(X[key])
    for got in (x[key], ct.jit(lambda t: t[key] * 1)(x)):
        assert got.shape == expected.shape
        np.testing.assert_array_equal(got.numpy(), expected)


@pytest.mark.parametrize("key", KEYS, ids=IDS)
def test_updates(key):
    x, rng = ct.tensor(X), np.random.default_rng(0)
    values = rng.random(np.asarray(X[key]).shape).astype(np.float32)
    put = X.copy()
    put[key] = values
    added = X.copy()
    np.add.at(added, key, values)
    for jit in (lambda f: f, ct.jit):
        np.testing.assert_array_equal(jit(lambda t, v: t.at[key].set(v))(x, values).numpy(), put)
        got = jit(lambda t, v: t.at[key].add(v))(x, values).numpy()
        np.testing.assert_allclose(got, added, rtol=1e-6)
    np.testing.assert_array_equal(x.numpy(), X)


@pytest.mark.parametrize("key", KEYS, ids=IDS)
def test_gradients(key):
    shape = np.asarray(X[key]).shape
    values = np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape)
    testing.check_gradients(lambda t: (t[key] * t[key]).sum(), X / 8, order=2)
    testing.check_gradients(lambda t, v: (t.at[key].set(v) ** 2).sum(), X / 8, values, order=2)


@pytest.mark.parametrize(
    ("name", "function"), [("multiply", np.multiply), ("max", np.maximum), ("min", np.minimum)]
)
@pytest.mark.parametrize("key", [np.s_[0, 1:], np.s_[:, [2, 0]], X > 7], ids=str)
def test_combining_updates(name, function, key):
    values = np.float32(9.5)
    expected = X.copy()
    expected[key] = function(expected[key], values)
    got = getattr(ct.tensor(X).at[key], name)(values)
    np.testing.assert_array_equal(got.numpy(), expected)


def test_the_last_of_equal_indices_stays_and_alone_gets_a_gradient():
    x, index = ct.tensor([1.0, 2.0, 3.0]), [0, 2, 0]
    got = x.at[index].set([5.0, 6.0, 7.0])
    assert got.tolist() == [7.0, 2.0, 6.0]
    slope = ct.grad(lambda v: (x.at[index].set(v) * ct.tensor([1.0, 10.0, 100.0])).sum())
    assert slope(ct.tensor([5.0, 6.0, 7.0])).tolist() == [0.0, 100.0, 1.0]


def test_repeated_indices_are_refused_where_they_have_no_meaning():
    with pytest.raises(ArgumentError, match="indices repeat"):
        ct.tensor([1.0, 2.0]).at[[0, 0]].multiply(2.0)


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        (5, BoundsError, r"index 5 is out of range for axis 0 of shape \(2, 3, 4\)"),
        (np.s_[0, 7], BoundsError, r"index 7 is out of range for axis 1 of shape \(2, 3, 4\)"),
        (np.s_[:, [0, 3]], BoundsError, r"indexing axis 1 of shape \(2, 3, 4\): index 3"),
        (np.s_[0, 0, 0, 0], BoundsError, "4 indices for a tensor of shape"),
        (1.5, ArgumentTypeError, "not 1.5"),
        ("a", ArgumentTypeError, "not 'a'"),
        (True, ArgumentTypeError, "use None"),
        ([1.5], DTypeError, "must be integers or bools"),
        (np.ones((3, 4), bool), ShapeError, r"mask of shape \(3, 4\) does not fit"),
        (np.s_[..., ...], ArgumentError, "once"),
        (np.s_[::0], ArgumentError, "step other than 0"),
    ],
)
def test_what_is_refused(key, error, words):
    with pytest.raises(error, match=words):
        ct.tensor(X)[key]


def test_a_mask_under_jit_says_what_to_write():
    with pytest.raises(TraceError, match="where"):
        ct.jit(lambda t: t[t > 0])(ct.tensor(X))


def test_a_bad_index_in_compiled_code_is_named():
    f = ct.jit(lambda t, i: t[:, i])
    assert f(X, np.array([0, -1])).shape == (2, 2, 4)
    with pytest.raises(BoundsError, match=r"axis 1 of shape \(2, 3, 4\): index 5"):
        f(X, np.array([0, 5]))


def test_values_must_fit():
    x = ct.tensor(X)
    with pytest.raises(ShapeError, match="do not broadcast"):
        x.at[0].set([1.0, 2.0])
    with pytest.raises(DTypeError, match="cannot go into"):
        ct.tensor([1, 2]).at[0].set(1.5)
    with pytest.raises(Error, match=r"x\.at"):
        x[0] = 5.0


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take_along_axis(axis):
    rng = np.random.default_rng(1)
    index = rng.integers(-2, 2, (2, 3, 4))
    expected = np.take_along_axis(X, index, axis)
    for got in (
        ct.take_along_axis(X, index, axis),
        ct.jit(lambda x, i: ct.take_along_axis(x, i, axis))(X, index),
    ):
        np.testing.assert_array_equal(got.numpy(), expected)
    one = np.argmax(X, axis, keepdims=True)
    np.testing.assert_array_equal(
        ct.take_along_axis(X, one, axis).numpy(), np.take_along_axis(X, one, axis)
    )
    testing.check_gradients(lambda x: (ct.take_along_axis(x, index, axis) ** 2).sum(), X / 8)
    with pytest.raises(BoundsError, match="index 9"):
        ct.take_along_axis(X, index * 0 + 9, axis)


def test_masked_fill_and_nonzero():
    x = ct.tensor(X)
    np.testing.assert_array_equal(ct.masked_fill(x, X > 3, -1.0).numpy(), np.where(X > 3, -1.0, X))
    for a, b in zip(ct.nonzero(X > 3), np.nonzero(X > 3), strict=True):
        np.testing.assert_array_equal(a.numpy(), b)
