"""Packed products: the same bits as without packing, whatever the way they are done."""

from __future__ import annotations

import numpy as np
import pytest

import cotangent as ct
from cotangent.compiler.codegen import blocking, packed
from cotangent.compiler.codegen.build import TILES
from cotangent.compiler.graph import Node
from cotangent.compiler.views import whole

# Rows, depth and columns: B read in place; in one and in several blocks of the depth; with an odd
# depth, a narrow strip, tiles of two heights; with more than one block of columns.
SHAPES = {
    "in place": (49, 71, 100),
    "in place, deep": (33, 805, 37),
    "one block": (40, 129, 200),
    "blocks of the depth": (57, 771, 150),
    "blocks of columns": (37, 385, 1100),
}
FEW_ROWS = 16  # not packed


def _random(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def _product(a, b):
    return np.asarray(ct.jit(lambda x, y: x @ y)(ct.asarray(a), ct.asarray(b)))


def _by_few_rows(a, b):
    """The product, a few rows at a time."""
    return np.concatenate([_product(a[i : i + FEW_ROWS], b) for i in range(0, len(a), FEW_ROWS)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SHAPES)
def test_packing_does_not_change_a_bit(name, dtype):
    m, k, n = SHAPES[name]
    a, b = _random(m, k, dtype=dtype), _random(k, n, dtype=dtype, seed=1)
    got = _product(a, b)
    assert got.tobytes() == _by_few_rows(a, b).tobytes()
    np.testing.assert_allclose(got, a.astype("longdouble") @ b, atol=k * np.finfo(dtype).eps * 8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_left_side_by_columns_gives_the_same_bits(dtype):
    a, b = _random(391, 45, dtype=dtype), _random(391, 150, dtype=dtype, seed=1)
    got = np.asarray(ct.jit(lambda x, y: x.T @ y)(ct.asarray(a), ct.asarray(b)))
    assert got.tobytes() == _product(np.ascontiguousarray(a.T), b).tobytes()


@pytest.mark.parametrize("count", [3, 40])
def test_matrices_of_a_batch_have_the_bits_of_single_ones(count):
    a, b = _random(count, 33, 50), _random(count, 50, 131, seed=1)
    got = _product(a, b)
    for i in (0, 1, count - 1):
        assert got[i].tobytes() == _product(a[i], b[i]).tobytes()


def test_very_many_columns_are_packed_where_they_are_used(monkeypatch):
    a, b = _random(40, 60), _random(60, 2000, seed=1)
    expected = _by_few_rows(a, b)
    for module in (blocking, packed):
        monkeypatch.setattr(module, "BYTES_OF_B", 1 << 14)
    sides = [Node("argument", x.shape, x.dtype) for x in (a, b)]
    node = Node("op", (40, 2000), a.dtype)
    tile = TILES["avx512"].packed
    assert packed.PackedEmitter(node, whole(sides[0]), whole(sides[1]), tile).alone
    assert _product(a, b).tobytes() == expected.tobytes()


def test_infinities_reach_only_their_rows_and_columns():
    a, b = _random(39, 137), _random(137, 140, seed=1)
    a[38, 136], b[136, 139] = np.inf, np.nan
    got = _product(a, b)
    assert np.isnan(got[:, 139]).all() and np.isinf(got[38, :139]).all()
    assert np.isfinite(got[:38, :139]).all()


@pytest.mark.parametrize("turned", [False, True], ids=["by rows", "by columns"])
def test_a_sum_of_minus_zero_stays_one_where_the_depth_is_odd(turned):
    """Strips are filled up behind the last product, which is too small for a float32."""
    a, b = np.zeros((39, 131), "float32"), np.zeros((131, 140), "float32")
    a[:, -1], b[-1] = -1e-30, 1e-30
    left = np.ascontiguousarray(a.T) if turned else a
    product = ct.jit(lambda x, y: (x.T if turned else x) @ y)
    assert np.signbit(np.asarray(product(ct.asarray(left), ct.asarray(b)))).all()
