"""Shapes, axes, dtypes and containers: the ground floor, against NumPy."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

from cotangent import dtypes, shapes, tree
from cotangent.errors import ArgumentTypeError, BoundsError, DTypeError, Error, ShapeError


@pytest.mark.parametrize(
    "given",
    [[(2, 3), (3,)], [(2, 1), (1, 3)], [(), (4,)], [(0, 3), (1,)], [(1,), (0,)],
     [(2, 1, 4), (3, 1), (4,)], [()], [(1, 1), (1,)]],
)  # fmt: skip
def test_broadcasting_is_numpys(given):
    assert shapes.broadcast_shapes("add", *given) == np.broadcast_shapes(*given)


@pytest.mark.parametrize(
    "given", [[(2,), (3,)], [(0,), (2,)], [(2, 3), (2, 1), (2, 4)], [(2, 3), (2,)]]
)
def test_shapes_that_do_not_broadcast_are_named_whole(given):
    with pytest.raises(ShapeError) as caught:
        shapes.broadcast_shapes("add", *given)
    assert all(str(shape) in str(caught.value) for shape in given)


def test_axes():
    assert shapes.normalize_axes("sum", None, (2, 3)) == (0, 1)
    assert shapes.normalize_axes("sum", [-1, 0], (2, 3)) == (0, 1)
    assert shapes.normalize_axes("sum", np.int64(1), (2, 3)) == (1,)
    assert shapes.normalize_axes("sum", (), (2, 3)) == ()
    for axis in (2, -3):
        with pytest.raises(BoundsError, match=rf"sum: axis {axis} is out of range .*\(2, 3\)"):
            shapes.normalize_axes("sum", axis, (2, 3))
    with pytest.raises(ShapeError, match="names an axis twice"):
        shapes.normalize_axes("sum", (0, -2), (2, 3))
    for axis in (True, 1.0, "0"):
        with pytest.raises(ArgumentTypeError, match="an axis is an integer"):
            shapes.normalize_axes("sum", axis, (2, 3))


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((2, 6), (3, -1)),
        ((2, 6), (12,)),
        ((), (1, 1)),
        ((0, 3), (3, 0)),
        ((0, 3), (-1, 3)),
        ((4,), (-1,)),
    ],
)
def test_reshape_sizes_are_numpys(shape, wanted):
    assert shapes.resolve_reshape(shape, wanted) == np.empty(shape).reshape(wanted).shape


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((2, 6), (5, -1)), ((4,), (-1, -1)), ((4,), (3,)), ((0,), (0, -1)), ((4,), (-2, -2))],
)
def test_reshape_refuses_other_sizes(shape, wanted):
    with pytest.raises(ShapeError, match="reshape: "):
        shapes.resolve_reshape(shape, wanted)


def test_strides_are_numpys():
    for shape in [(2, 3, 4), (5,), (), (1, 1)]:
        expected = tuple(s // 8 for s in np.empty(shape).strides)
        assert shapes.contiguous_strides(shape) == expected


def test_promotion_is_symmetric_and_associative_on_floats_and_integers():
    known = [d for d in dtypes.SUPPORTED if d != dtypes.uint64]
    for a in known:
        for b in known:
            joint = dtypes.promote("add", a, b)
            assert joint == dtypes.promote("add", b, a)
            assert joint == dtypes.promote("add", joint, a)
            if a.kind == b.kind:
                assert joint == np.promote_types(a, b)
    with pytest.raises(DTypeError, match="add: uint64 and int8 have no common integer"):
        dtypes.promote("add", dtypes.uint64, dtypes.int8)


def test_dtype_specifications():
    assert dtypes.as_dtype("float32") == dtypes.as_dtype(np.float32) == dtypes.float32
    assert dtypes.as_dtype(float) == dtypes.default_dtype()
    assert dtypes.as_dtype(int) == dtypes.int64 and dtypes.as_dtype(bool) == dtypes.bool_
    for bad in ("complex64", object, "U3", "datetime64[s]"):
        with pytest.raises(DTypeError, match="is not supported"):
            dtypes.as_dtype(bad)
    with pytest.raises(DTypeError, match="is not a dtype"):
        dtypes.as_dtype("real")


Pair = namedtuple("Pair", "left right")


@pytest.mark.parametrize(
    "value",
    [
        1,
        "*",
        None,
        [],
        (),
        {},
        [1, (2, {"a": 3, "b": [4]})],
        Pair(1, [2]),
        {"*": 1, 2: (3,)},
        [None, "*"],
    ],
)
def test_a_tree_comes_back_from_its_leaves(value):
    leaves, structure = tree.flatten(value)
    again = tree.unflatten(structure, iter(leaves))
    assert again == value and type(again) is type(value)
    assert hash(structure) == hash(tree.flatten(value)[1])
    assert tree.flatten(tree.map_leaves(lambda leaf: [leaf], value))[0] == leaves


def test_structures_differ_where_trees_do():
    different = [[1], (1,), {"a": 1}, {"b": 1}, [1, 1], 1, Pair(1, 1), (1, 1), [[1]]]
    assert len({tree.flatten(value)[1] for value in different}) == len(different)


def test_an_error_collects_the_path_of_its_layer():
    error = ShapeError("matmul: no")
    assert str(error) == "matmul: no"
    error.enter_layer("1", "Linear(2 -> 8)")
    error.enter_layer("layers", "Sequential")
    error.enter_layer("", "Net")
    assert str(error) == "matmul: no\n  in layer layers.1: Linear(2 -> 8)"
    assert isinstance(error, Error) and isinstance(error, ValueError)
