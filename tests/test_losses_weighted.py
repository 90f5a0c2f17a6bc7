"""The other losses, and all weights: PyTorch's values and gradients, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn

N, K = 6, 4
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, K)) * 3, RNG.normal(size=(N, K)) * 3
LABELS = RNG.integers(0, K, N)
SOME = np.where(np.arange(N) % 3 == 1, -100, LABELS)
PROBS = RNG.random((N, K))
ROWS = PROBS / PROBS.sum(-1, keepdims=True)
CLASS = RNG.random(K) + 0.1
COUNTS = RNG.integers(0, 6, (N, K)).astype(float)


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    ct.set_default_dtype(ct.float64)
    yield
    ct.set_default_dtype(ct.float32)


def _logp(F: Any, x: Any) -> Any:
    return F.log_softmax(x, -1)


# Ours of x and the reduction; PyTorch's of its functions, x and the reduction.
CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "l1": (lambda x, r: nn.l1_loss(x, Y, r), lambda F, t, x, r: F.l1_loss(x, t(Y), reduction=r)),
    "huber": (
        lambda x, r: nn.huber_loss(x, Y, r, delta=2.0),
        lambda F, t, x, r: F.huber_loss(x, t(Y), reduction=r, delta=2.0),
    ),
    "smooth l1": (
        lambda x, r: nn.smooth_l1_loss(x, Y, r, beta=0.7),
        lambda F, t, x, r: F.smooth_l1_loss(x, t(Y), reduction=r, beta=0.7),
    ),
    "gaussian": (
        lambda x, r: nn.gaussian_nll_loss(x, Y, PROBS, r),
        lambda F, t, x, r: F.gaussian_nll_loss(x, t(Y), t(PROBS), reduction=r),
    ),
    "gaussian variance": (
        lambda x, r: nn.gaussian_nll_loss(X, Y, x * x * 1e-3, r, full=True, eps=1e-3),
        lambda F, t, x, r: F.gaussian_nll_loss(
            t(X), t(Y), x * x * 1e-3, reduction=r, full=True, eps=1e-3
        ),
    ),
    "poisson": (
        lambda x, r: nn.poisson_nll_loss(x, COUNTS, r, full=True),
        lambda F, t, x, r: F.poisson_nll_loss(x, t(COUNTS), reduction=r, full=True),
    ),
    "poisson rate": (
        lambda x, r: nn.poisson_nll_loss(x * x, COUNTS, r, log_input=False),
        lambda F, t, x, r: F.poisson_nll_loss(x * x, t(COUNTS), log_input=False, reduction=r),
    ),
    "bce": (
        lambda x, r: nn.binary_cross_entropy(x.sigmoid(), PROBS, r),
        lambda F, t, x, r: F.binary_cross_entropy(x.sigmoid(), t(PROBS), reduction=r),
    ),
    "bce pos_weight": (
        lambda x, r: nn.binary_cross_entropy_with_logits(x, PROBS, r, pos_weight=CLASS),
        lambda F, t, x, r: F.binary_cross_entropy_with_logits(
            x, t(PROBS), reduction=r, pos_weight=t(CLASS)
        ),
    ),
    "nll": (
        lambda x, r: nn.nll_loss(x.log_softmax(), LABELS, r, class_weight=CLASS),
        lambda F, t, x, r: F.nll_loss(_logp(F, x), t(LABELS), weight=t(CLASS), reduction=r),
    ),
    "ce smoothing": (
        lambda x, r: nn.cross_entropy_loss(x, LABELS, r, label_smoothing=0.1),
        lambda F, t, x, r: F.cross_entropy(x, t(LABELS), reduction=r, label_smoothing=0.1),
    ),
    "ce everything": (
        lambda x, r: nn.cross_entropy_loss(
            x, SOME, r, class_weight=CLASS, label_smoothing=0.2, ignore_index=-100
        ),
        lambda F, t, x, r: F.cross_entropy(
            x, t(SOME), weight=t(CLASS), reduction=r, label_smoothing=0.2
        ),
    ),
    "ce ignoring": (
        lambda x, r: nn.cross_entropy_loss(x, LABELS, r, ignore_index=int(LABELS[0])),
        lambda F, t, x, r: F.cross_entropy(
            x, t(LABELS), reduction=r, ignore_index=int(LABELS[0])
        ),
    ),
    "soft ce": (
        lambda x, r: nn.soft_cross_entropy_loss(
            x, ROWS, r, class_weight=CLASS, label_smoothing=0.1
        ),
        lambda F, t, x, r: F.cross_entropy(
            x, t(ROWS), weight=t(CLASS), reduction=r, label_smoothing=0.1
        ),
    ),
    "kl": (
        lambda x, r: nn.kl_div_loss(x.log_softmax(), ROWS, r),
        lambda F, t, x, r: _kl(F, _logp(F, x), t(ROWS), r, False),
    ),
    "kl log": (
        lambda x, r: nn.kl_div_loss(x.log_softmax(), np.log(ROWS), r, log_target=True),
        lambda F, t, x, r: _kl(F, _logp(F, x), t(np.log(ROWS)), r, True),
    ),
    "quantile": (
        lambda x, r: nn.quantile_loss(x, Y, 0.5, r),
        lambda F, t, x, r: F.l1_loss(x, t(Y), reduction=r) / 2,
    ),
    "weighted mse": (
        lambda x, r: nn.mse_loss(x, Y, r, sample_weight=PROBS),
        lambda F, t, x, r: F.mse_loss(x, t(Y), reduction=r, weight=t(PROBS)),
    ),
}  # fmt: skip


def _kl(F: Any, q: Any, p: Any, reduction: str, logs: bool) -> Any:
    if reduction == "none":
        return F.kl_div(q, p, reduction="none", log_target=logs).sum(-1)
    name = {"mean": "batchmean", "sum": "sum"}[reduction]
    return F.kl_div(q, p, reduction=name, log_target=logs)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_equal_pytorch(name: str, reduction: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    ours, theirs = CASES[name]
    v, x = ct.var("x", X), torch.tensor(X, requires_grad=True)
    loss = ours(v, reduction)
    peer = theirs(torch.nn.functional, torch.tensor, x, reduction)
    np.testing.assert_allclose(loss.numpy(), peer.detach().numpy(), rtol=1e-12, atol=1e-14)
    if reduction == "none":
        loss, peer = (loss * loss).sum(), (peer * peer).sum()
    peer.backward()
    np.testing.assert_allclose(
        loss.backward().wrt(v).numpy(), x.grad.numpy(), rtol=1e-11, atol=1e-14
    )


def test_all_losses_compile() -> None:
    def run(x: Any) -> Any:
        losses = [ours for ours, _ in CASES.values()]
        total = lambda a: sum(loss(a * (1 + 0.1 * i), "mean") for i, loss in enumerate(losses))
        return ct.value_and_grad(total)(x)

    x = ct.asarray(X)
    for eager, compiled in zip(run(x), ct.jit(run)(x), strict=True):
        np.testing.assert_allclose(compiled.numpy(), eager.numpy(), rtol=1e-10, atol=1e-12)


WEIGHTED: dict[str, Callable[..., Any]] = {
    "mse": lambda r, w: nn.mse_loss(X, Y, r, sample_weight=w),
    "l1": lambda r, w: nn.l1_loss(X, Y, r, sample_weight=w),
    "huber": lambda r, w: nn.huber_loss(X, Y, r, sample_weight=w),
    "smooth l1": lambda r, w: nn.smooth_l1_loss(X, Y, r, sample_weight=w),
    "quantile": lambda r, w: nn.quantile_loss(X, Y, 0.3, r, sample_weight=w),
    "gaussian": lambda r, w: nn.gaussian_nll_loss(X, Y, PROBS, r, sample_weight=w),
    "poisson": lambda r, w: nn.poisson_nll_loss(X, COUNTS, r, sample_weight=w),
    "kl": lambda r, w: nn.kl_div_loss(np.log(ROWS), ROWS[::-1].copy(), r, sample_weight=w),
    "bce": lambda r, w: nn.binary_cross_entropy(PROBS, ROWS, r, sample_weight=w),
    "bce logits": lambda r, w: nn.binary_cross_entropy_with_logits(X, ROWS, r, sample_weight=w),
    "soft ce": lambda r, w: nn.soft_cross_entropy_loss(X, ROWS, r, sample_weight=w),
    "ce": lambda r, w: nn.cross_entropy_loss(X, LABELS, r, sample_weight=w),
    "nll": lambda r, w: nn.nll_loss(np.log(ROWS), LABELS, r, sample_weight=w),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_weight_of_two_is_the_sample_twice(name: str) -> None:
    weight = np.array([2, 1, 0, 1, 3, 1])
    loss = WEIGHTED[name]
    each = loss("none", None).numpy()
    rows = np.repeat(each, weight, axis=0)
    assert loss("mean", weight).item() == pytest.approx(rows.mean(), rel=1e-12)
    assert loss("sum", weight).item() == pytest.approx(rows.sum(), rel=1e-12)
    column = weight.reshape((N,) + (1,) * (each.ndim - 1))
    np.testing.assert_allclose(loss("none", weight).numpy(), each * column, rtol=1e-12)


def test_class_and_sample_weights_multiply() -> None:
    weight = np.array([2.0, 1.0, 0.0, 1.0, 3.0, 1.0])
    logp = np.log(ROWS)
    both = weight * CLASS[LABELS]
    expected = -(both * logp[np.arange(N), LABELS]).sum() / both.sum()
    got = nn.nll_loss(logp, LABELS, class_weight=CLASS, sample_weight=weight)
    assert got.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_edges() -> None:
    assert np.isnan(nn.cross_entropy_loss(X, np.full(N, 9), ignore_index=9).item())
    small = LABELS.astype(np.uint8)
    assert nn.cross_entropy_loss(X, small, ignore_index=-100).item() == pytest.approx(
        nn.cross_entropy_loss(X, LABELS).item()
    )
    certain = ct.var("p", [1.0, 0.0])
    loss = nn.binary_cross_entropy(certain, [0.0, 1.0])
    assert loss.item() == 100.0
    assert np.isfinite(loss.backward().wrt(certain).numpy()).all()
    v = ct.var("v", [1e-9])
    slope = nn.gaussian_nll_loss([0.0], [1.0], v, eps=1e-2).backward().wrt(v)
    assert slope.item() == pytest.approx(0.5 * (1e2 - 1e4))


def test_recommend() -> None:
    for task, loss in (("regression", nn.mse_loss), ("classes", nn.cross_entropy_loss)):
        assert nn.recommend(task).loss is loss
    assert "nn.binary_cross_entropy_with_logits" in str(nn.recommend("binary"))
    with pytest.raises(ct.ArgumentError, match=r"no task 'clases'.*did you mean"):
        nn.recommend("clases")
    with pytest.raises(ct.ArgumentError, match='"regression", "binary", "classes"'):
        nn.recommend(3)  # type: ignore[arg-type]


def test_mistakes_are_explained() -> None:
    for wrong in (
        lambda: nn.huber_loss(X, Y, delta=0.0), lambda: nn.smooth_l1_loss(X, Y, beta=0.0),
        lambda: nn.quantile_loss(X, Y, 1.0), lambda: nn.mse_loss(X, Y, "avg", sample_weight=PROBS),
        lambda: nn.cross_entropy_loss(X, LABELS, label_smoothing=1.5),
    ):  # fmt: skip
        with pytest.raises(ct.ArgumentError):
            wrong()
    with pytest.raises(ct.ArgumentError, match="logits go to binary_cross_entropy_with_logits"):
        nn.binary_cross_entropy(X, PROBS)
    for loss in (nn.l1_loss, nn.huber_loss, nn.poisson_nll_loss, nn.binary_cross_entropy):
        with pytest.raises(ct.ShapeError, match=r"\(6, 1\).*\(6,\).*reshape"):
            loss(np.ones((6, 1)), np.ones(6))
    with pytest.raises(ct.ShapeError, match=r"sample_weight of shape \(4,\).*\(6, 4\)"):
        nn.mse_loss(X, Y, sample_weight=CLASS)
    with pytest.raises(ct.ShapeError, match="one weight for each of the 4 classes"):
        nn.cross_entropy_loss(X, LABELS, class_weight=[1.0, 2.0])
    with pytest.raises(ct.ShapeError, match="pos_weight"):
        nn.binary_cross_entropy_with_logits(X, PROBS, pos_weight=[1.0, 2.0])
    with pytest.raises(ct.BoundsError, match="nll_loss with 4 classes: index -100"):
        nn.nll_loss(X, SOME)
