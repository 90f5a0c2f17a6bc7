"""Values at the edges: compiled code gives what eager code gives, or the same error, and the
interpreter lives. NumPy is the second judge, where it has a word to say."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn

SIGNED = ["int8", "int16", "int32", "int64"]
INTEGERS = [*SIGNED, "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "bfloat16", "float32", "float64"]
SIZES = [1, 7, 16, 40]  # scalar code, part of a vector, a whole one, and more than kernels unroll
NAN, INF = float("nan"), float("inf")


def _outcome(f, *args):
    """The arrays that `f` gives, or the class of its error."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = f(*args)
        except ct.Error as error:
            return type(error)
    return [x.numpy() for x in (found if isinstance(found, (tuple, list)) else [found])]


def _same(f, *args):
    """What both give: the bits, but for the sign of a NaN."""
    args = [ct.asarray(x) for x in args]
    eager, compiled = _outcome(f, *args), _outcome(ct.jit(f), *args)
    if isinstance(eager, type) or isinstance(compiled, type):
        assert eager is compiled
        return eager
    for x, y in zip(eager, compiled, strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        wide = "float64" if x.dtype.char in "eEfd" else x.dtype
        np.testing.assert_array_equal(y.astype(wide), x.astype(wide))
    return eager


def _tiled(values, size, dtype):
    whole = all(isinstance(value, int) for value in values)
    return np.resize(np.array(values, object if whole else None).astype(dtype), size)


# -- integers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_division_by_zero_and_of_the_least_by_minus_one(dtype, size):
    """The instruction of the processor ends the process for both."""
    info = np.iinfo(dtype)
    x = _tiled([0, 1, info.min, info.max, 7, info.min, info.min + 1], size, dtype)
    for divisors in ([0], [1, 0, 3], [0, -1, 0, 2, -3], [-1], [info.min, 0, info.max]):
        if info.min == 0 and min(divisors) < 0:
            continue
        y = _tiled(divisors, size, dtype)
        got = _same(lambda x, y: (x // y, x % y), x, y)
        fine = (y != 0) & ~((x == info.min) & (y == np.array(-1).astype(dtype)) & (info.min < 0))
        np.testing.assert_array_equal(got[0][fine], (x[fine] // y[fine]))
        np.testing.assert_array_equal(got[1][fine], (x[fine] % y[fine]))
    _same(lambda x: (x // 0, x % 0), x)
    if info.min:
        _same(lambda x: (x // -1, x % -1), x)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_shifts_by_more_bits_than_there_are(dtype):
    bits = np.iinfo(dtype).bits
    x = np.array([1, 3, np.iinfo(dtype).max, np.iinfo(dtype).min], dtype)
    for count in (0, 1, bits - 1, bits, bits + 1, 100):
        y = np.full(4, count).astype(dtype)
        _same(lambda x, y: (ct.bitwise_left_shift(x, y), ct.bitwise_right_shift(x, y)), x, y)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_arithmetic_wraps(dtype):
    info = np.iinfo(dtype)
    x = np.array([info.min, info.max, 1, 0] * 5, dtype)
    got = _same(lambda x: (x + x, x * x, x - 1, -x if info.min else x, ct.abs(x)), x)
    np.testing.assert_array_equal(got[0], x + x)
    np.testing.assert_array_equal(got[1], x * x)
    _same(lambda x: (ct.sum(x), ct.prod(x), ct.cumulative_sum(x), ct.max(x), ct.sort(x)), x)


# -- indices ----------------------------------------------------------------------------------

EMBEDDING = nn.Embedding(5, 2)
READS = {
    "take": lambda x, i: ct.take(x, i),
    "take of columns": lambda x, i: ct.take(x.T, i, axis=1),
    "brackets": lambda x, i: x[i] * 2,
    "take along": lambda x, i: ct.take_along_axis(x, ct.stack([i, i, i], axis=1), 0),
    "gradient": lambda x, i: ct.grad(lambda x: ct.sum(ct.take(x, i) ** 2))(x),
    "set": lambda x, i: x.at[i].set(1.0),
    "add": lambda x, i: x.at[i].add(ct.ones((i.shape[0], 3))),
    "max": lambda x, i: x.at[i].max(0.5),
    "one-hot": lambda x, i: ct.one_hot(i, 5) @ x,
    "cross-entropy": lambda x, i: nn.cross_entropy_loss(ct.ones((i.shape[0], 5)) * x[0, 0], i),
    "embedding": lambda x, i: EMBEDDING(i) + x[0, 0],
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8"])
@pytest.mark.parametrize("name", READS)
def test_indices_in_and_out_of_range(name, dtype):
    x = np.arange(15, dtype="float32").reshape(5, 3)
    info = np.iinfo(dtype)
    for count in (1, 4, 40):
        for bad in (None, 5, 100, info.max, *((-1, -5, -6, info.min) if info.min else ())):
            index = _tiled([0, 4, 2, 1], count, dtype)
            if bad is not None:
                index[count // 2] = bad
            found = _same(READS[name], x, index)
            if bad is None and (name != "max" or count < 5):
                assert not isinstance(found, type)
            elif bad is not None and (bad >= 5 or bad < -5):
                assert found is ct.BoundsError


UNUSED = {
    "nothing reads it": lambda found, x: x * 2,
    "it is multiplied by nothing": lambda found, x: ct.prod(ct.diff(found[..., :1])),
    "an empty part": lambda found, x: (ct.sum(found[..., :0]), x + 1),
    "its gradient": lambda found, x: ct.grad(lambda y: ct.sum(y * found))(ct.ones_like(found))[:0],
}


@pytest.mark.parametrize("use", UNUSED)
@pytest.mark.parametrize("name", READS)
def test_indices_are_checked_though_nothing_uses_what_they_choose(name, use):
    x = np.arange(15, dtype="float32").reshape(5, 3)

    def f(x, i):
        found = ct.reshape(READS[name](x, i), (-1, 1))
        return UNUSED[use](found, x)

    assert not isinstance(_same(f, x, np.array([4, 0, 3])), type)
    for bad in (5, -6):
        assert _same(f, x, np.array([4, bad, 3])) is ct.BoundsError


@pytest.mark.parametrize("name", ["cholesky", "solve", "repeats"])
def test_what_else_can_fail_does_so_though_nothing_uses_it(name):
    def f(x):
        if name == "cholesky":
            ct.cholesky(x)
        elif name == "solve":
            ct.solve_triangular(x, ct.ones((2, 0)))
        else:
            ct.ones(5).at[ct.astype(x[0], "int32")].max(2.0)
        return x * 2

    fine = np.array([[2, 1], [1, 2]], "float32")
    assert not isinstance(_same(f, fine), type)
    assert _same(f, np.zeros_like(fine)) is ct.ArgumentError


@pytest.mark.parametrize("place", [(0, 0), (2, 2), (2, 0)])
@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_a_matrix_that_is_not_finite_has_no_cholesky_factor(value, place):
    x = np.eye(3, dtype="float32") * 2 + 0.5
    assert not isinstance(_same(lambda x: ct.round(ct.cholesky(x)), x), type)
    x[place] = value
    for made in (x, x[None], x.astype("float64")):
        assert _same(ct.cholesky, made) is ct.ArgumentError


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
def test_what_is_not_finite_in_a_triangular_system_reaches_what_follows_from_it(
    value, upper, transpose
):
    """Judged by substitution, row by row."""
    rng = np.random.default_rng(0)
    a = rng.uniform(0.2, 1, (3, 4, 4)).astype(np.float32) + np.eye(4, dtype=np.float32)
    b = rng.uniform(-1, 1, (3, 4, 2)).astype(np.float32)
    b[0, 1, 0] = b[1, 3, 1] = a[2, 2, 1] = a[2, 1, 2] = value
    triangle = np.triu(a) if upper else np.tril(a)
    if transpose:
        triangle = triangle.mT
    below = upper == transpose
    inside = np.tril(np.ones((4, 4), bool)) if below else np.triu(np.ones((4, 4), bool))
    expected = np.zeros_like(b)
    with np.errstate(all="ignore"):
        for i in range(4) if below else reversed(range(4)):
            total = b[:, i].copy()
            for j in range(4):
                if j != i and inside[i, j]:
                    total -= triangle[:, i, j, None] * expected[:, j]
            expected[:, i] = total / triangle[:, i, i, None]

    def f(a, b):
        return ct.solve_triangular(a, b, upper=upper, transpose=transpose)

    for found in (f(ct.asarray(a), ct.asarray(b)), ct.jit(f)(a, b)):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_a_matrix_at_the_border_of_definite_has_a_factor_or_an_error_that_says_so():
    """Of a product that is singular, rounding decides; op by op it may decide otherwise."""

    @ct.jit
    def factor(y):
        return ct.cholesky(y @ y.mT)

    errors = []
    for seed in range(60):
        try:
            factor(np.random.default_rng(seed).normal(size=(3, 2)).astype(np.float32))
        except ct.ArgumentError as error:
            errors.append(str(error))
    assert all("not positive definite" in text and "in cholesky at" in text for text in errors)


@pytest.mark.parametrize("order", [0, 1])
def test_of_several_errors_the_first_is_raised(order):
    def f(x, i):
        found = [lambda: ct.cholesky(x), lambda: x[i]]
        values = [found[k]() for k in (order, 1 - order)]
        return values[1 - order][:1] + values[order]

    bad, fine = np.zeros((2, 2), "float32"), np.eye(2, dtype="float32")
    expected = (ct.ArgumentError, ct.BoundsError)[order]
    assert _same(f, bad, np.array([0, 2])) is expected
    assert not isinstance(_same(f, fine, np.array([0, 1])), type)


@pytest.mark.parametrize("what", ["multiply", "max", "min"])
def test_indices_that_repeat_are_an_error_where_they_must_not(what):
    x = np.ones((5, 3), "float32")

    def change(x, i):
        return getattr(x.at[i], what)(2.0)

    for index in ([1, 1], [0, 2, -5], [3, 1, 4, 1]):
        assert _same(change, x, np.array(index)) is ct.ArgumentError
    _same(change, x, np.array([3, 1, 4, 0]))
    with pytest.raises(ct.ArgumentError, match=r"indices repeat, which only set and add take"):
        ct.jit(change)(x, np.array([2, 2]))


def test_a_bad_index_leaves_variables_as_they_were():
    table = ct.var("table", np.ones((4, 3)))

    @ct.jit
    def step(i):
        table.assign(table.at[i].add(1.0))
        return table[i] * 1.0

    for bad in (4, -5, 2**31 - 1):
        with pytest.raises(ct.BoundsError):
            step(np.array([0, bad]))
        assert (table.numpy() == 1).all()
    step(np.array([0, -1]))
    assert table.numpy()[:, 0].tolist() == [2, 1, 1, 2]


# -- not a number ------------------------------------------------------------------------------

SPECIAL = [NAN, INF, -INF, 0.0, -0.0, 1.5, -2.5, 3e38, -3e38, 1e-40]
ONE = {
    "relu": ct.relu, "abs": ct.abs, "sign": ct.sign, "max": ct.max, "min": ct.min,
    "max of rows": lambda x: ct.max(ct.reshape(x, (-1, 1)), axis=1),
    "sum": ct.sum, "mean": ct.mean, "prod": ct.prod, "sort": ct.sort, "argsort": ct.argsort,
    "argmax": ct.argmax, "argmin": ct.argmin, "topk": lambda x: ct.topk(x, 1),
    "floor": ct.floor, "round": ct.round, "trunc": ct.trunc, "ceil": ct.ceil,
    "clip": lambda x: ct.clip(x, -1.0, 1.0), "isnan": ct.isnan, "isinf": ct.isinf,
    "nan_to_num": ct.nan_to_num, "count": ct.count_nonzero, "any": ct.any, "all": ct.all,
    "compare": lambda x: (x < 1, x >= x, x == x, x != x),
    "where": lambda x: ct.where(x > 0, x, -x), "not": ct.logical_not,
    "gradient of relu": lambda x: ct.grad(lambda x: ct.sum(ct.relu(x)))(x),
    "gradient of abs": lambda x: ct.grad(lambda x: ct.sum(ct.abs(x)))(x),
    "running sum": ct.cumulative_sum, "leaky": nn.leaky_relu, "hardtanh": nn.hardtanh,
}  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ONE)
def test_values_that_are_not_finite(name, dtype):
    exact = name not in ("sum", "mean", "prod", "running sum")
    for size in SIZES:
        with np.errstate(all="ignore"):
            x = _tiled(SPECIAL if exact else [1.5, NAN, INF], size, "float64").astype(
                ct.asarray(np.zeros(1)).astype(dtype).dtype
            )
        got = _same(ONE[name], x)
        if name in ("relu", "max", "min", "clip") and size > 1:
            assert np.isnan(got[0].astype("float64")).any()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", ["maximum", "minimum", "atan2", "logaddexp", "pow", "remainder"])
def test_pairs_that_are_not_finite(name, dtype):
    x, y = (np.array(a, "float64").ravel() for a in np.meshgrid(SPECIAL[:7], SPECIAL[:7]))
    f, judge = getattr(ct, name), getattr(np, {"atan2": "arctan2", "pow": "power"}.get(name, name))
    with np.errstate(all="ignore"):
        x, y = x.astype(dtype), y.astype(dtype)
        args = ct.asarray(x), ct.asarray(y)
        eager, compiled = f(*args).numpy(), ct.jit(f)(*args).numpy()
        expected = judge(x, y)
    eps = float(np.finfo(dtype).eps)
    for got in (eager, compiled):
        np.testing.assert_allclose(got, expected, rtol=8 * eps)


@pytest.mark.parametrize("source", [*FLOATS, *INTEGERS, "bool"])
@pytest.mark.parametrize("target", [*FLOATS, *INTEGERS, "bool"])
def test_casts_of_anything(source, target):
    values = SPECIAL if source in FLOATS else [0, 1, 2, 100, 127]
    for size in SIZES:
        with np.errstate(all="ignore"):
            x = ct.asarray(_tiled(values, size, "float64")).astype(source)
        _same(lambda x: ct.astype(x, target), x)


# -- nothing -----------------------------------------------------------------------------------

EMPTY = {
    "sum": lambda x: (ct.sum(x), ct.sum(x, axis=0), ct.sum(x, axis=1), ct.prod(x, axis=0)),
    "mean": lambda x: (ct.mean(x), ct.mean(x, axis=0), ct.variance(x, axis=1)),
    "max": lambda x: ct.max(x), "max of columns": lambda x: ct.max(x, axis=0),
    "argmax": lambda x: ct.argmax(x, axis=1), "sort": lambda x: ct.sort(x),
    "topk": lambda x: ct.topk(x, 0), "softmax": lambda x: ct.softmax(x),
    "logsumexp": lambda x: ct.logsumexp(x, axis=1), "norm": lambda x: ct.norm(x, axis=1),
    "product": lambda x: (x @ x.T, x.T @ x), "running": lambda x: ct.cumulative_sum(x, axis=1),
    "concat": lambda x: (ct.concat([x, x]), ct.concat([x, x], axis=1), ct.stack([x, x])),
    "pad": lambda x: ct.pad(x, ((1, 2), (0, 1))), "take": lambda x: ct.take(x, [], axis=1),
    "reshape": lambda x: (ct.reshape(x, (-1,)) if x.shape else x, x.T, ct.flip(x)),
    "layer norm": lambda x: nn.layer_norm(x) if x.shape[-1] else x,
    "loss": lambda x: nn.mse_loss(x, x, reduction="sum"),
    "gradient": lambda x: ct.grad(lambda x: ct.sum(x.exp() @ x.T) + ct.sum(ct.softmax(x)))(x),
    "one-hot": lambda x: ct.one_hot(ct.argmax(x, axis=1), 3),
    "set": lambda x: x.at[:, 0:0].set(1.0), "any": lambda x: (ct.any(x), ct.all(x, axis=0)),
    "vmap": lambda x: ct.vmap(lambda row: row * 2)(x),
    "checkpoint": lambda x: ct.checkpoint(lambda x: x.tanh())(x),
}  # fmt: skip


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (0, 40), (40, 0)])
@pytest.mark.parametrize("name", EMPTY)
def test_tensors_without_elements(name, shape):
    _same(EMPTY[name], np.zeros(shape, "float32"))


def test_a_loop_over_nothing():
    n = ct.var("n", 0.0)

    @ct.jit
    def step(x):
        n.assign(n + 1)
        return ct.sum(x)

    with pytest.raises(ct.ShapeError, match="no leading slices"):
        step.loop(np.zeros((0, 3), "float32"))
    assert step.loop(np.zeros((5, 0), "float32")).tolist() == [0.0] * 5
    assert n.item() == 5
