"""Tensors as values: what reading, assigning, converting and promoting mean; and the functions
of tensors against NumPy and PyTorch."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest

import cotangent as ct
from cotangent.config import EPOCH
from cotangent.errors import (
    ArgumentError,
    ArgumentTypeError,
    BoundsError,
    DTypeError,
    MutationError,
    ShapeError,
)


@pytest.fixture
def w():
    return ct.var("w", [[1.0, 2.0], [3.0, 4.0]])


@pytest.fixture
def double_by_default():
    ct.set_default_dtype(ct.float64)
    yield
    ct.set_default_dtype(ct.float32)


# -- tensors are values ------------------------------------------------------------------------


def test_what_was_read_before_keeps_its_value(w):
    reads = {
        "detach": w.detach(),
        "numpy": w.numpy(),
        "asarray": np.asarray(w),
        "transpose": w.T,
        "transposed array": w.T.numpy(),
        "row": w[0],
        "value": w.value,
        "reshaped": w.reshape(4),
        "broadcast": ct.broadcast_to(w, (3, 2, 2)),
    }
    before = {name: np.array(read) for name, read in reads.items()}
    tape = (w * w).sum()
    epoch = EPOCH.value
    w.assign(w * 100.0)
    assert EPOCH.value > epoch
    for name, read in reads.items():
        np.testing.assert_array_equal(np.asarray(read), before[name], err_msg=name)
    assert (w - reads["detach"]).tolist() == [[99.0, 198.0], [297.0, 396.0]]
    assert tape.backward().wrt(w).tolist() == [[2.0, 4.0], [6.0, 8.0]]


def test_assign_of_a_variable_or_an_array_shares_nothing(w):
    other, array = ct.var("v", [[0.0, 0.0], [0.0, 0.0]]), np.ones((2, 2))
    other.assign(w)
    w.assign(array)
    array[:] = 7.0
    w.assign(w * 2)
    assert other.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert w.tolist() == [[2.0, 2.0], [2.0, 2.0]]


def test_assign_keeps_identity_shape_and_dtype(w):
    leaf = w.leaf
    w.assign(np.zeros((2, 2), np.int64))
    assert (w.leaf, w.dtype, w.shape) == (leaf, ct.float32, (2, 2))
    with pytest.raises(ShapeError, match=r"assign: w has shape \(2, 2\).*shape \(2,\)"):
        w.assign([1.0, 2.0])
    assert w.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_assign_takes_arrays_in_the_dtype_of_the_variable():
    wide = ct.var("wide", np.ones(3), dtype=ct.float64)
    wide.assign(np.full(3, 1 / 3))
    np.testing.assert_array_equal(wide.numpy(), np.full(3, 1 / 3))  # not by way of float32
    wide.assign([0.1, 0.2, 0.3])
    assert wide.tolist() == [0.1, 0.2, 0.3]


def test_assign_drops_the_history(w):
    w.assign(w * 2)
    assert (w * 1).sum().backward().wrt(w).tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_arrays_out_are_read_only(w):
    for array in (w.numpy(), np.asarray(w), w.detach().numpy(), (w + 1).numpy()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0
    free = np.array(w)
    free[0] = 0.0
    assert w[0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("make", [ct.tensor, ct.asarray, lambda a: ct.var("v", a)])
def test_arrays_in_are_copied(make):
    array = np.ones(3, np.float32)
    t = make(array)
    array[0] = 5.0
    assert t.tolist() == [1.0, 1.0, 1.0]


def test_a_tensor_of_a_tensor_is_a_detached_copy(w):
    t = ct.tensor(w)
    assert not t.tracked and t.tolist() == w.tolist()
    assert ct.tensor(ct.asarray(np.ones(2))).dtype == ct.float64  # a tensor keeps its dtype


@pytest.mark.parametrize("symbol", ["+", "-", "*", "/", "**", "@"])
def test_augmented_assignment_of_a_variable_says_what_to_write(w, symbol):
    with pytest.raises(MutationError, match=r"w\.assign\(w .* \.\.\.\)"):
        exec(f"w {symbol}= 2.0", {"w": w})
    assert w.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_augmented_assignment_of_a_tensor_makes_a_new_one():
    a = b = ct.tensor([1.0])
    a += 1.0
    assert (a.tolist(), b.tolist()) == ([2.0], [1.0])


def test_item_assignment_says_what_to_write(w):
    with pytest.raises(MutationError, match=r"w\[0\] = .*w\.assign"):
        w[0] = 1.0
    with pytest.raises(MutationError, match=r"ct\.where"):
        ct.tensor([1.0])[0] = 1.0
    with pytest.raises(TypeError):
        w[0] = 1.0


def test_copies():
    t = ct.tensor([1.0])
    assert copy.deepcopy(t) is t
    v = ct.var("v", [1.0])
    for twin in (copy.copy(v), copy.deepcopy(v)):
        assert twin is not v and twin.leaf is not v.leaf and twin.leaf.owner() is twin
        twin.assign([2.0])
        assert v.tolist() == [1.0] and twin.name == "v"


# -- dtypes ------------------------------------------------------------------------------------


def test_what_comes_in():
    assert ct.tensor(1.0).dtype == ct.float32
    assert ct.tensor([1, 2]).dtype == ct.int64
    assert ct.tensor(True).dtype == ct.bool_
    assert ct.tensor(np.ones(2)).dtype == ct.float32
    assert ct.tensor(np.ones(2), dtype=ct.float64).dtype == ct.float64
    assert ct.tensor(np.ones(2, np.float16)).dtype == ct.float16
    assert ct.tensor(np.arange(2, dtype=np.uint8)).dtype == ct.uint8
    assert ct.var("v", np.ones(2)).dtype == ct.float32
    assert ct.var("v", [1, 2]).dtype == ct.int64
    assert not ct.var("v", [1, 2]).requires_grad
    assert ct.asarray(np.ones(2)).dtype == ct.float64
    assert ct.asarray([1.0]).dtype == ct.float64
    assert ct.tensor([]).shape == (0,) and ct.tensor([]).dtype == ct.float32
    assert (np.ones(2) + ct.tensor(1.0)).dtype == ct.float32
    assert (ct.tensor([1.0]) + np.ones(1)).dtype == ct.float32
    assert (ct.tensor([1.0]) + ct.asarray(np.ones(1))).dtype == ct.float64


def test_the_default_dtype(double_by_default):
    assert ct.tensor(1.0).dtype == ct.float64 == ct.default_dtype()
    assert ct.zeros(2).dtype == ct.float64
    assert (ct.tensor([1, 2]) * 0.5).dtype == ct.float64
    assert (ct.tensor([1.0], dtype="float32") * 0.5).dtype == ct.float32
    assert ct.tensor([1, 2]).astype(float).dtype == ct.float64
    with pytest.raises(ArgumentTypeError, match=r"float32 or ct\.float64"):
        ct.set_default_dtype("int32")


INT, FLOAT, DOUBLE, HALF, SMALL, BYTE, BOOL = (
    "int64", "float32", "float64", "float16", "int8", "uint8", "bool"
)  # fmt: skip

PROMOTIONS = [
    (INT, INT, INT), (INT, FLOAT, FLOAT), (INT, HALF, HALF), (SMALL, INT, INT),
    (SMALL, BYTE, "int16"), (FLOAT, DOUBLE, DOUBLE), (HALF, FLOAT, FLOAT), (BOOL, FLOAT, FLOAT),
    (BOOL, INT, INT), ("uint32", "int32", INT), ("uint64", FLOAT, FLOAT),
]  # fmt: skip


@pytest.mark.parametrize("shapes", [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())])
@pytest.mark.parametrize(("a", "b", "joint"), PROMOTIONS)
def test_promotion_of_tensors(a, b, joint, shapes):
    x, y = (ct.asarray(np.ones(s, d)) for s, d in zip(shapes, (a, b), strict=True))
    if BOOL not in (a, b):
        assert (x + y).dtype == joint == (y + x).dtype
    assert ct.where(True, x, y).dtype == joint
    assert ct.where(ct.tensor([True, False]), x, y).dtype == joint


@pytest.mark.parametrize(
    ("dtype", "number", "joint"),
    [
        (INT, 2, INT), (INT, 2.0, FLOAT), (FLOAT, 2, FLOAT), (FLOAT, 2.0, FLOAT),
        (HALF, 2.0, HALF), (DOUBLE, 2.0, DOUBLE), (SMALL, 2, SMALL), (SMALL, 2.5, FLOAT),
        (FLOAT, np.float64(2), FLOAT), (HALF, np.float32(2), HALF), (INT, np.float64(2), FLOAT),
        (SMALL, np.int64(2), SMALL), (FLOAT, np.int64(2), FLOAT), (FLOAT, True, FLOAT),
        (DOUBLE, np.float32(2), DOUBLE),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(2,), ()])
def test_numbers_are_weak(dtype, number, joint, shape):
    x = ct.asarray(np.ones(shape, dtype))
    assert (x * number).dtype == joint == (number * x).dtype
    assert (x * number).shape == shape


def test_numbers_alone():
    assert ct.add(1, 2).dtype == ct.int64
    assert ct.add(1, 2.0).dtype == ct.float32
    assert ct.where(True, 1, 2.0).dtype == ct.float32
    assert ct.exp(1.0).dtype == ct.float32
    assert (ct.tensor([1, 2]) / 2).tolist() == [0.5, 1.0]
    assert (2 / ct.tensor([1, 2])).tolist() == [2.0, 1.0]


def test_signed_zero_and_true_are_not_confused_with_their_equals():
    for _ in range(2):
        assert math.copysign(1, ct.multiply(-0.0, 1.0).item()) == -1
        assert math.copysign(1, ct.multiply(0.0, 1.0).item()) == 1
    assert ct.where(True, 1.0, True).dtype == ct.float32


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: ct.tensor(300, dtype="uint8"), ArgumentError, "300 does not fit into uint8"),
        (lambda: ct.tensor([np.nan], dtype="int32"), ArgumentError, "nan does not fit into int32"),
        (lambda: ct.tensor([1, 2], dtype="uint8") + 300, ArgumentError, "300 does not fit"),
        (lambda: ct.tensor([1j]), DTypeError, "complex128"),
        (lambda: ct.tensor([1.0]) * 1j, DTypeError, "complex128"),
        (lambda: ct.tensor([1.0]) * np.complex64(1j), DTypeError, "complex64"),
        (lambda: ct.tensor("text"), DTypeError, "class str"),
        (lambda: ct.tensor([1.0]) + None, DTypeError, "class NoneType"),
        (lambda: ct.tensor([1.0]).astype("complex64"), DTypeError, "complex64 is not supported"),
        (lambda: ct.tensor([1.0]).astype("number"), DTypeError, "is not a dtype"),
        (lambda: ct.exp(ct.tensor([1])), DTypeError, r"exp needs a floating-point.*int64.*\(1,\)"),
        (lambda: ct.tensor([True]) + True, DTypeError, "add does not take bool"),
        (lambda: ct.asarray(np.ones(1, "uint64")) + ct.asarray([1]), DTypeError, "no common"),
    ],
)
def test_dtype_errors(make, kind, text):
    with pytest.raises(kind, match=text):
        make()


# -- values out, conversions -------------------------------------------------------------------


def test_conversions_to_python():
    assert ct.tensor([[2.5]]).item() == 2.5
    assert (float(ct.tensor(2.5)), int(ct.tensor(2.9)), bool(ct.tensor(0.0))) == (2.5, 2, False)
    assert list(range(5))[ct.tensor(2)] == 2
    assert ct.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ShapeError, match=r"item: shape \(2,\) has 2 elements"):
        float(ct.tensor([1.0, 2.0]))
    with pytest.raises(ShapeError, match="2 elements"):
        bool(ct.tensor([True, False]))
    with pytest.raises(DTypeError, match="index"):
        [1, 2][ct.tensor(1.0)]
    with pytest.raises(ArgumentTypeError, match="0-d"):
        len(ct.tensor(1.0))
    with pytest.raises(TypeError):
        list(ct.tensor(1.0))


def test_numpy_protocol():
    t = ct.tensor([1.0, 2.0])
    assert np.asarray(t).dtype == np.float32
    assert np.asarray(t, dtype="float64").dtype == np.float64
    assert np.array(t).flags.writeable
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(t, dtype="float64", copy=False)
    product = np.array([2.0, 3.0]) * t
    assert isinstance(product, ct.Tensor) and product.tolist() == [2.0, 6.0]
    assert isinstance(np.float64(2.0) * t, ct.Tensor)
    assert (np.ones((2, 2)) @ t).tolist() == [3.0, 3.0]
    assert ct.tensor([ct.tensor(1.0), 2.0]).tolist() == [1.0, 2.0]


def test_length_iteration_and_indexing():
    t = ct.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert len(t) == 3 and [row.tolist() for row in t] == t.tolist()
    assert t[-1].tolist() == [5.0, 6.0]
    assert t[[2, 0]].tolist() == [[5.0, 6.0], [1.0, 2.0]]
    assert t[np.array([0])].shape == (1, 2) and t[ct.tensor(1)].tolist() == [3.0, 4.0]
    assert t[1:, 0].tolist() == [3.0, 5.0] and t[..., 1].tolist() == [2.0, 4.0, 6.0]
    assert t[t[:, 0] > 2.0].tolist() == [[3.0, 4.0], [5.0, 6.0]]
    assert t[0, 1].item() == 2.0 and (t[0, 1] + 1.0).shape == ()
    for key in (3, -4, [0, 3]):
        with pytest.raises(BoundsError, match=r"out of range"):
            t[key]
    with pytest.raises(BoundsError, match=r"indexing: .*shape \(3, 2\)"):
        t[0, 5]
    w = ct.var("w", t)
    assert w[1].sum().backward().wrt(w).tolist() == [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    assert w[0, 1].backward().wrt(w).tolist() == [[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]


def test_repr():
    assert repr(ct.tensor([[1.0, 2.0]])) == "Tensor([[1., 2.]], dtype=float32)"
    assert repr(ct.tensor(1)) == "Tensor(1, dtype=int64)"
    assert repr(ct.var("w", 1.5)) == "Tensor(1.5, dtype=float32, name='w', tracked)"
    assert repr(ct.exp).startswith("<primitive exp")


def test_attributes():
    t = ct.zeros((2, 0, 3))
    assert (t.shape, t.ndim, t.size, len(t)) == ((2, 0, 3), 3, 0, 2)
    assert ct.tensor(1.0).size == 1
    assert {t: 1}[t] == 1


# -- IEEE arithmetic, without warnings (which are errors here) ---------------------------------


def test_nan_and_infinity_follow_ieee_without_warnings():
    x = ct.tensor([-1.0, 0.0, np.inf, np.nan])
    np.testing.assert_array_equal((1.0 / x).numpy(), [-1.0, np.inf, 0.0, np.nan])
    np.testing.assert_array_equal(ct.log(x).numpy(), [np.nan, -np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(ct.sqrt(x).numpy(), [np.nan, 0.0, np.inf, np.nan])
    np.testing.assert_array_equal((x - x).numpy(), [0.0, 0.0, np.nan, np.nan])
    np.testing.assert_array_equal((x == x).numpy(), [True, True, True, False])
    np.testing.assert_array_equal(x.astype("int32").numpy(), [-1, 0, 2**31 - 1, 0])
    np.testing.assert_array_equal(ct.exp(x * 1000).numpy(), [0.0, 1.0, np.inf, np.nan])
    assert (x.max().item(), x.min().item()) == pytest.approx((np.nan, np.nan), nan_ok=True)


def test_overflow_gives_infinity_without_warnings():
    assert ct.tensor(1e300).item() == np.inf
    assert (ct.tensor([1.0]) * 1e300).item() == np.inf
    assert ct.var("w", [-1e300]).item() == -np.inf
    assert ct.asarray([1e300]).astype("float32").item() == np.inf
    assert ct.full((1,), 1e300).item() == np.inf
    w = ct.var("w", [1.0])
    w.assign(ct.asarray([1e300]))
    assert w.item() == np.inf


# -- creation ----------------------------------------------------------------------------------


def test_creation():
    assert ct.zeros((2, 3)).shape == (2, 3) and ct.zeros(2).dtype == ct.float32
    assert ct.ones(2, dtype="int32").tolist() == [1, 1]
    assert ct.full((2,), 7).dtype == ct.int64 and ct.full((), 0.5).item() == 0.5
    assert ct.zeros_like(ct.tensor([[1, 2]])).tolist() == [[0, 0]]
    assert ct.ones_like(ct.asarray([1.0])).dtype == ct.float64
    assert ct.arange(2, 8, 2).tolist() == [2, 4, 6] and ct.arange(0.0, 1.0, 0.5).dtype == ct.float32
    assert ct.linspace(0, 1, 5).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert ct.eye(2).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(ShapeError, match="negative"):
        ct.zeros((2, -1))
    with pytest.raises(ArgumentTypeError, match="zeros: a shape is integers"):
        ct.zeros(2.0)
    with pytest.raises(ArgumentError, match="step cannot be 0"):
        ct.arange(1, 2, 0)


# -- functions against NumPy -------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(3, 4, 5))


def _same(got, expected, dtype="float64"):
    expected = np.asarray(expected)
    assert got.shape == expected.shape and got.dtype == dtype
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1, -1), ()])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
def test_reductions(name, axis, keepdims):
    got = getattr(ct, name)(ct.asarray(X), axis, keepdims=keepdims)
    _same(got, getattr(np, name)(X, axis=axis, keepdims=keepdims))
    _same(getattr(ct.asarray(X), name)(axis, keepdims=keepdims), got.numpy())


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_extremes_of_integers(dtype):
    limits = np.iinfo(dtype)
    x = np.array([limits.min, 1, limits.max, 5], dtype)
    for name in ("min", "max"):
        got = getattr(ct, name)(ct.asarray(x))
        assert (got.item(), got.dtype) == (int(getattr(x, name)()), dtype)


def test_argmax():
    x = np.array([[1.0, 3.0, 3.0], [np.nan, 5.0, np.nan], [-np.inf, -np.inf, -np.inf]])
    _same(ct.argmax(ct.asarray(x), 1), [1, 0, 0], "int64")
    _same(ct.argmax(ct.asarray(x), 0), np.argmax(x, 0), "int64")
    _same(ct.argmax(ct.asarray(X)), np.argmax(X), "int64")
    for axis, keep in itertools.product((None, 0, 1, -1), (False, True)):
        _same(
            ct.argmax(ct.asarray(X), axis, keepdims=keep),
            np.argmax(X, axis, keepdims=keep),
            "int64",
        )
    assert ct.argmax(ct.tensor([3, 9, 9])).item() == 1
    with pytest.raises(ShapeError, match="no elements"):
        ct.argmax(ct.zeros((0, 3)), 0)


def test_shapes_of_movement():
    t = ct.asarray(X)
    _same(t.reshape(-1, 5), X.reshape(-1, 5))
    _same(t.reshape((12, 5)), X.reshape(12, 5))
    _same(t.permute_dims(2, 0, 1), X.transpose(2, 0, 1))
    _same(ct.permute_dims(t, (-1, 0, 1)), X.transpose(2, 0, 1))
    _same(t.mT, X.swapaxes(1, 2))
    _same(ct.expand_dims(t, -1), X[..., None])
    _same(ct.squeeze(ct.expand_dims(t, 1), 1), X)
    _same(ct.broadcast_to(t, (2, 3, 4, 5)), np.broadcast_to(X, (2, 3, 4, 5)))
    a, b = ct.broadcast_arrays(ct.ones((2, 1)), ct.ones(3))
    assert a.shape == b.shape == (2, 3)
    _same(ct.take(t, [3, 0], axis=1), X[:, [3, 0]])
    _same(ct.take(t, np.array([[1, 2]])), X[[[1, 2]]])
    _same(ct.take(t, []), X[[]])


@pytest.mark.parametrize(
    ("a", "b"),
    [((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
     ((3,), (5, 3, 4)), ((5, 2, 3), (3,)), ((2, 1, 2, 3), (4, 3, 2)), ((0, 3), (3, 2)),
     ((2, 0), (0, 2))],
)  # fmt: skip
def test_matmul(a, b):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=a), rng.normal(size=b)
    _same(ct.asarray(x) @ ct.asarray(y), x @ y)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, -1, -2, 2.0, 0.5, -0.5, np.int64(3)])
def test_power(n):
    x = np.abs(X) + 0.5
    _same(ct.asarray(x) ** n, x ** float(n))


@pytest.mark.parametrize("n", [1.5, np.nan, ct.tensor([1.0, 2.0]), ct.tensor(0.5), [2, 3]])
def test_power_takes_any_number(n):
    got = ct.tensor([1.0, 2.0]) ** n
    np.testing.assert_allclose(got.numpy(), np.array([1.0, 2.0]) ** np.asarray(n), rtol=1e-6)


def test_power_refuses_text():
    with pytest.raises(DTypeError, match="str"):
        ct.tensor([1.0, 2.0]) ** "2"


def test_clip_and_comparisons():
    t = ct.asarray(X)
    _same(ct.clip(t, -0.5, 0.5), np.clip(X, -0.5, 0.5))
    _same(ct.clip(t, max=0.0), np.minimum(X, 0.0))
    _same(ct.greater(t, 0.0), X > 0, "bool")
    _same(ct.greater_equal(0.0, t), X <= 0, "bool")
    _same((t > 0) & ~(t > 1) | (t < -1), (X > 0) & ~(X > 1) | (X < -1), "bool")
    assert ct.count_nonzero(ct.tensor([0, 3, 4])).item() == 2
    _same(ct.count_nonzero(t > 0, 0), np.count_nonzero(X > 0, 0), "int64")
    _same(abs(t), np.abs(X))
    _same(+(-t), -X)


@pytest.mark.parametrize(
    ("dtype", "classes"), [("int64", 3), ("uint8", 256), ("int8", 300), ("int32", 3)]
)
def test_one_hot(dtype, classes):
    index = np.array([[0, 2], [1, 2]], dtype)
    _same(ct.one_hot(index, classes), np.eye(classes)[index], "float32")
    with pytest.raises(
        BoundsError, match=r"one_hot: index -?[0-9]+ is out of range; with 2 of them"
    ):
        ct.one_hot(index, 2)


def test_empty_and_zero_dimensional():
    assert ct.sum(ct.zeros((0, 3)), 0).tolist() == [0.0, 0.0, 0.0]
    assert (ct.zeros((0, 3)) + ct.ones(3)).shape == (0, 3)
    assert ct.max(ct.tensor(2.0)).item() == 2.0
    assert ct.softmax(ct.zeros((0, 3))).shape == (0, 3)
    with pytest.raises(ShapeError, match=r"mean: shape \(0, 3\) has no elements"):
        ct.mean(ct.zeros((0, 3)), 0)
    with pytest.raises(ShapeError, match="no elements along axis 0"):
        ct.max(ct.zeros((0, 3)), 0)


# -- functions against PyTorch, infinities included --------------------------------------------

ROWS = np.array([
    [1.0, 2.0, 3.0], [1000.0, 0.0, -1000.0], [-np.inf, 0.0, 1.0], [-np.inf, -np.inf, -np.inf],
    [np.inf, 0.0, 1.0], [np.nan, 0.0, 1.0], [5.0, 5.0, 5.0],
])  # fmt: skip


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_row_functions_against_torch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for values, axis in ((ROWS, 1), (X, 0), (X, -1)):
        expected = getattr(torch, name)(torch.tensor(values), axis).numpy()
        _same(getattr(ct, name)(ct.asarray(values), axis), expected)


def test_logsumexp_over_several_axes():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for axis, keep in itertools.product(((0, 1), (1, 2)), (False, True)):
        expected = torch.logsumexp(torch.tensor(X), axis, keepdim=keep).numpy()
        _same(ct.logsumexp(ct.asarray(X), axis, keepdims=keep), expected)
    _same(ct.logsumexp(ct.asarray(X)), np.log(np.exp(X).sum()))


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "relu"])
def test_activations_against_torch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = np.array(
        [-1e4, -50.0, -1.0, -0.0, 0.0, 1e-9, 0.5, 15.0, 50.0, 1e4, np.inf, -np.inf, np.nan]
    )
    t = torch.tensor(x, requires_grad=True)
    reference = (
        torch.nn.functional.softplus(t, threshold=1e9)
        if name == "softplus"
        else getattr(torch, name)(t)
    )
    value, slope = [], []
    for v in x:
        a, b = ct.value_and_grad(getattr(ct, name))(ct.asarray(v))
        value.append(a.item())
        slope.append(b.item())
    finite = np.isfinite(x)
    expected = torch.autograd.grad(reference.sum(), t)[0].numpy()
    plain = reference.detach().numpy()
    keep = np.isfinite(plain)  # torch's softplus overflows from 710 on
    np.testing.assert_allclose(np.array(value)[keep], plain[keep], rtol=1e-13, atol=1e-300)
    keep = finite & np.isfinite(expected)
    np.testing.assert_allclose(np.array(slope)[keep], expected[keep], rtol=1e-10, atol=1e-300)


def test_formats_are_those_of_the_number():
    loss = ct.tensor(1.23456)
    assert (
        f"{loss:.2f}|{loss:8.1e}|{ct.tensor([3]):d}|{ct.var('w', 2.5):.1f}" == "1.23| 1.2e+00|3|2.5"
    )
    assert f"{loss}" == str(loss)
    with pytest.raises(ShapeError, match=r"shape \(2,\) has 2 elements"):
        f"{ct.tensor([1.0, 2.0]):.2f}"


@pytest.mark.parametrize("dtype", [ct.float16, ct.float32, ct.float64])
def test_numbers_of_numpy_are_weak_in_powers_and_quotients(dtype):
    x = ct.asarray(np.array([1.0, 2.0], dtype))
    for number in (np.float64(0.3), np.float32(0.3), np.int64(3), np.int8(2)):
        for result in (x**number, number**x, x / number, number / x):
            assert result.dtype == dtype
    whole = ct.tensor([1, 2])
    assert (np.float64(0.3) ** whole).dtype == (whole ** np.float64(0.3)).dtype == ct.float32
    assert (whole / np.int64(3)).dtype == (np.int64(3) / whole).dtype == ct.float32


def test_a_number_put_at_an_index_keeps_its_digits():
    x = ct.asarray(np.zeros(3))
    assert x.at[1].set(0.1).tolist() == [0.0, 0.1, 0.0]
    assert x.at[:2].add(0.1).tolist() == [0.1, 0.1, 0.0]
