"""Every public function called with arguments that make no sense.

Whatever a user passes, an error is one of the library's own, which says what was wrong; never a
bare KeyError, IndexError or AttributeError, nor text of NumPy. The calls have a fixed seed.
"""

from __future__ import annotations

import functools
import inspect
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim
from cotangent.errors import Error

CALLS = 60
W = ct.var("w", np.ones((2, 3)))
T = ct.ones((2, 3))

# One of each kind: numbers, text, containers, dtypes, arrays of every odd dtype, tensors, layers.
ODD: list[Any] = [
    None, 1, -1, 0, 2.5, True, "x", "", b"b", [], (), {}, [1, 2], [1.0, [2.0]], (0, 1), {"a": 1},
    {1, 2}, object(), 1j, np.nan, np.inf, -np.inf, ct.float32, "float32", np.ones((2, 3)),
    np.ones((2, 3), int), np.zeros((0, 3)), np.array(1.0), np.array(["a"]), np.array([1j]),
    np.array([None]), np.array(["2020-01-01"], "M8[D]"), T, ct.ones((2, 2)), ct.ones(3),
    ct.zeros((0,)), ct.tensor([1, 2]), ct.tensor([True, False]), W, 10**30, slice(0, 1), ...,
    range(3), nn.Linear(2, 1), np.float32(1), np.int8(1), np.bool_(True),
]  # fmt: skip

# They read or write files, settings and threads, or are values.
LEFT_OUT = {
    "save", "load", "manual_seed", "set_default_dtype", "set_num_threads", "backend", "Error",
    "debug_nans",
}  # fmt: skip
OPERATORS = (
    "add", "radd", "sub", "mul", "truediv", "floordiv", "mod", "pow", "rpow", "matmul", "and",
    "or", "xor", "lshift", "rshift", "invert", "neg", "eq", "ne", "lt", "le", "getitem",
)  # fmt: skip


def _public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Functions and classes, and the methods of a tensor."""
    for module in (ct, nn, optim):
        for name in module.__all__:
            found = getattr(module, name)
            an_error = isinstance(found, type) and issubclass(found, BaseException)
            if name not in LEFT_OUT and callable(found) and not an_error:
                yield f"{module.__name__.split('.')[-1]}.{name}", found
    for name in [n for n in dir(ct.Tensor) if not n.startswith("_")]:
        if callable(getattr(ct.Tensor, name)):
            yield f"tensor.{name}", getattr(T, name)
    for name in OPERATORS:
        yield f"tensor.{name}", getattr(T, f"__{name}__")
    for name in ("uniform", "normal", "truncated_normal", "bernoulli", "randint", "permutation"):
        yield f"random.{name}", getattr(ct.random, name)


def _fits(function: Callable[..., Any], args: list[Any]) -> bool:
    """Whether Python itself takes that many arguments."""
    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        return False
    return True


PUBLIC = dict(_public())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PUBLIC)
def test_odd_arguments(name):
    rng = random.Random(name)
    function = PUBLIC[name]
    for _ in range(CALLS):
        args = [rng.choice(ODD) for _ in range(rng.choice([1, 1, 2, 2, 3, 4]))]
        if not _fits(function, args):
            continue
        try:
            function(*args)
        except (Error, NotImplementedError):
            pass
        except Exception as error:
            shown = ", ".join(repr(a) for a in args)
            raise AssertionError(f"{name}({shown}) raised {type(error).__name__}") from error


LOSSES = [n for n in nn.__all__ if n.endswith("loss") or n.startswith("binary_cross")]


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_nothing(name):
    """An empty batch has no mean: an error, or for `reduction="sum"` 0."""
    loss = getattr(nn, name)
    empty = ct.zeros((0, 3))
    target = np.zeros(0, np.int64) if name in ("cross_entropy_loss", "nll_loss") else empty
    extra = (ct.ones((0, 3)),) if name == "gaussian_nll_loss" else ()
    extra = (0.5,) if name == "quantile_loss" else extra
    with pytest.raises(Error):
        loss(empty, target, *extra)


def test_the_harness_sees_a_bare_error():
    def broken(x):
        return {}[x]

    PUBLIC["broken"] = functools.partial(broken)
    try:
        with pytest.raises(AssertionError, match=r"broken\(.*raised (KeyError|TypeError)"):
            test_odd_arguments("broken")
    finally:
        del PUBLIC["broken"]
