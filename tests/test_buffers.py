"""Memory of large results: used again when nobody holds it, and never before."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pytest

import cotangent as ct
from cotangent.runtime import buffers

SHAPE, DTYPE = (300, 401), np.dtype("float32")


def _address(array):
    return array.ctypes.data


def _fresh():
    array = buffers.empty(SHAPE, DTYPE)
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype) == (SHAPE, DTYPE)
    assert array.flags.c_contiguous and array.flags.writeable
    assert _address(array) % 64 == 0
    return array


def test_memory_comes_back_when_the_array_dies():
    first = _fresh()
    where = _address(first)
    del first
    assert _address(_fresh()) == where


HOLDERS = {
    "itself": lambda a: a,
    "a slice": lambda a: a[3:5],
    "a view of a view": lambda a: a.T.reshape(SHAPE[1], SHAPE[0])[::2],
    "one row, flat": lambda a: a[1].ravel(),
    "a buffer": memoryview,
    "a tensor": lambda a: ct.Tensor(a),
    "a tensor's array": lambda a: ct.Tensor(a)[2:].numpy(),
    "another dtype": lambda a: a.view(np.uint32),
    "a subclass": lambda a: a.view(np.matrix),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_memory_stays_while_anything_holds_it(name):
    array = _fresh()
    where = _address(array)
    holder = HOLDERS[name](array)
    del array
    others = [_fresh() for _ in range(3)]
    assert where not in map(_address, others)
    del holder, others
    gc.collect()
    held = [_fresh() for _ in range(6)]
    assert where in map(_address, held)


def test_copies_own_their_memory():
    array = _fresh()
    array[...] = 1
    for other in (pickle.loads(pickle.dumps(array)), copy.deepcopy(array), array.copy()):
        assert not np.shares_memory(other, array)
        np.testing.assert_array_equal(other, array)


def test_idle_memory_is_bounded():
    shape = (buffers._MOST_IDLE // 4 // 4,)  # a quarter of what may lie idle
    arrays = [buffers.empty(shape, DTYPE) for _ in range(6)]
    del arrays
    assert buffers._idle_bytes <= buffers._MOST_IDLE
    buffers._IDLE.clear()
    buffers._idle_bytes = 0


def test_results_of_compiled_functions_keep_their_values():
    f = ct.jit(lambda x: (x + 1, x * 2))
    x = np.zeros(SHAPE, "float32")
    kept = [f(ct.tensor(x + k)) for k in range(5)]
    views = [a.numpy()[10] for a, _ in kept]
    del kept
    for _ in range(5):
        f(ct.tensor(x - 7))
    for k, row in enumerate(views):
        np.testing.assert_array_equal(row, k + 1)
