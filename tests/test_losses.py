"""Losses: values and gradients against PyTorch, reductions, extremes, and messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    ct.set_default_dtype(ct.float64)
    yield
    ct.set_default_dtype(ct.float32)


def _rows(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    p = rng.random(shape)
    return p / p.sum(-1, keepdims=True)


CASES = {
    "mse_loss": lambda rng: (rng.normal(size=(5, 3)), rng.normal(size=(5, 3))),
    "binary_cross_entropy_with_logits": lambda rng: (
        rng.normal(size=(5, 3)) * 9, rng.random((5, 3)),
    ),
    "cross_entropy_loss": lambda rng: (rng.normal(size=(6, 4)) * 5, rng.integers(0, 4, 6)),
    "soft_cross_entropy_loss": lambda rng: (rng.normal(size=(6, 4)) * 5, _rows(rng, (6, 4))),
}  # fmt: skip
PEERS = {
    "mse_loss": "mse_loss",
    "binary_cross_entropy_with_logits": "binary_cross_entropy_with_logits",
    "cross_entropy_loss": "cross_entropy",
    "soft_cross_entropy_loss": "cross_entropy",
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_equal_pytorch(name: str, reduction: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    x, target = CASES[name](np.random.default_rng(0))
    weight = np.random.default_rng(1).random(6 if "cross_entropy_loss" in name else (5, 3))
    v = ct.var("x", x)
    loss = getattr(nn, name)(v, target, reduction=reduction)
    t = torch.tensor(x, requires_grad=True)
    peer = getattr(torch.nn.functional, PEERS[name])(t, torch.tensor(target), reduction=reduction)
    np.testing.assert_allclose(loss.numpy(), peer.detach().numpy(), rtol=1e-12)
    if reduction == "none":
        loss, peer = (loss * weight).sum(), (peer * torch.tensor(weight)).sum()
    peer.backward()
    np.testing.assert_allclose(
        loss.backward().wrt(v).numpy(), t.grad.numpy(), rtol=1e-11, atol=1e-15
    )


def test_cross_entropy_takes_leading_axes_and_single_rows() -> None:
    rng = np.random.default_rng(2)
    z, index = rng.normal(size=(2, 3, 4)), rng.integers(0, 4, (2, 3))
    whole = nn.cross_entropy_loss(z, index).item()
    assert whole == pytest.approx(nn.cross_entropy_loss(z.reshape(6, 4), index.ravel()).item())
    assert nn.cross_entropy_loss(z[0, 0], 1, reduction="none").shape == ()
    for dtype in ("uint8", "int32"):
        assert nn.cross_entropy_loss(z, index.astype(dtype)).item() == pytest.approx(whole)


def test_soft_targets_that_are_one_hot_equal_class_indices() -> None:
    rng = np.random.default_rng(3)
    z, index = rng.normal(size=(5, 4)), rng.integers(0, 4, 5)
    hard = nn.cross_entropy_loss(z, index, reduction="none").numpy()
    soft = nn.soft_cross_entropy_loss(z, np.eye(4)[index], reduction="none").numpy()
    np.testing.assert_allclose(soft, hard, rtol=1e-14)


def test_extreme_logits_stay_finite() -> None:
    z = ct.var("z", [[1e4, -1e4], [-1e4, 1e4]])
    loss = nn.binary_cross_entropy_with_logits(z, [[1, 0], [1, 0]])
    assert loss.item() == 5e3
    np.testing.assert_array_equal(loss.backward().wrt(z).numpy(), [[0, 0], [-0.25, 0.25]])
    hard = nn.cross_entropy_loss(z, [0, 0])
    assert hard.item() == 1e4
    assert np.isfinite(hard.backward().wrt(z).numpy()).all()


def test_masked_classes() -> None:
    z = ct.var("z", [[0.0, -np.inf, 0.0]])
    for loss in (
        nn.cross_entropy_loss(z, [0]),
        nn.soft_cross_entropy_loss(z, [[0.5, 0.0, 0.5]]),
    ):
        assert loss.item() == pytest.approx(np.log(2))
        gradient = loss.backward().wrt(z).numpy()
        assert np.isfinite(gradient).all()
        assert gradient[0, 1] == 0


@pytest.mark.parametrize("targets", [[1, 0, 1], [True, False, True]])
def test_bce_converts_integer_and_bool_targets(targets: list[Any]) -> None:
    z = np.array([0.3, -1.0, 2.0])
    expected = nn.binary_cross_entropy_with_logits(z, [1.0, 0.0, 1.0]).item()
    assert nn.binary_cross_entropy_with_logits(z, targets).item() == expected


@pytest.mark.parametrize("name", ["mse_loss", "binary_cross_entropy_with_logits"])
def test_a_column_against_a_vector_is_an_error_with_the_fix(name: str) -> None:
    with pytest.raises(ct.ShapeError) as caught:
        getattr(nn, name)(np.ones((64, 1)), np.ones(64))
    text = str(caught.value)
    assert name in text
    assert "(64, 1)" in text
    assert "(64,)" in text
    assert ".reshape((64, 1))" in text


def test_mistakes_with_classes_are_explained() -> None:
    z = np.zeros((4, 3))
    with pytest.raises(ct.DTypeError, match="soft_cross_entropy_loss"):
        nn.cross_entropy_loss(z, np.zeros(4))
    with pytest.raises(ct.BoundsError, match="cross_entropy_loss with 3 classes: index 3"):
        nn.cross_entropy_loss(z, [0, 1, 3, 2])
    with pytest.raises(ct.BoundsError, match="index -1"):
        nn.cross_entropy_loss(z, [0, 1, -1, 2])
    with pytest.raises(ct.ShapeError, match=r"\(4, 3\).*\(4,\).*\(4, 1\).*reshape"):
        nn.cross_entropy_loss(z, np.zeros((4, 1), int))
    with pytest.raises(ct.ShapeError, match="one-hot"):
        nn.cross_entropy_loss(z, np.zeros((4, 3), int))
    with pytest.raises(ct.ShapeError, match="no last axis"):
        nn.cross_entropy_loss(1.0, 0)
    with pytest.raises(ct.DTypeError, match="floating-point"):
        nn.cross_entropy_loss(np.zeros((4, 3), int), np.zeros(4, int))
    with pytest.raises(ct.ArgumentError, match='"mean", "sum" or "none", not \'avg\''):
        nn.mse_loss(z, z, reduction="avg")
    with pytest.raises(ct.ShapeError, match="no elements"):
        nn.mse_loss(np.zeros((0, 3)), np.zeros((0, 3)))
