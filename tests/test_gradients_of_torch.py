"""The derivative rule of every record against PyTorch's own differentiation of its evaluation."""

from __future__ import annotations

import numpy as np
import pytest

import cotangent as ct
from cotangent import ops, testing
from cotangent.dtypes import is_float

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("array_api_compat", reason="array-api-compat is not installed")

from cotangent.backends import find_backend  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:torch.asarray:UserWarning")


def _rows() -> list:
    return [
        pytest.param(name, i, id=f"{name}-{i}")
        for name, record in sorted(ops.REGISTRY.items())
        for i in range(len(record.samples(np.random.default_rng(0))))
    ]


@pytest.mark.parametrize(("name", "index"), _rows())
def test_gradient_equals_that_of_pytorch(name, index):
    record = ops.REGISTRY[name]
    sample = record.samples(np.random.default_rng(0))[index]
    reason = testing.no_derivative(record, sample)
    if reason:
        pytest.skip(reason)
    arrays = [np.asarray(x) for x in sample.inputs]
    floats = [is_float(x.dtype) for x in arrays]
    inputs = [
        torch.tensor(x.astype("float64") if f else x, requires_grad=f)
        for x, f in zip(arrays, floats, strict=True)
    ]
    out = record.eval(find_backend("torch").xp, *inputs, **sample.attrs)
    cotangent = np.random.default_rng(1).uniform(-1, 1, tuple(out.shape))
    wanted = [x for x, f in zip(inputs, floats, strict=True) if f]
    theirs = torch.autograd.grad(
        out, wanted, torch.tensor(cotangent), allow_unused=True, materialize_grads=True
    )
    tensors = [
        ct.asarray(x.astype("float64") if f else x) for x, f in zip(arrays, floats, strict=True)
    ]
    _, pullback = ct.vjp(lambda *xs: record(*xs, **sample.attrs), *tensors)
    ours = [g for g, f in zip(pullback(ct.asarray(cotangent)), floats, strict=True) if f]
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-10, atol=1e-12)
