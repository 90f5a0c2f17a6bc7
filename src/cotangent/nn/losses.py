"""Losses for numbers: pure functions that return a scalar, or one value per element.

All take ``reduction="mean"`` (the default), ``"sum"`` or ``"none"``. Shapes must be equal,
because broadcasting would silently compare every prediction with every target.

All take ``sample_weight``, of the shape of the losses or of their leading axes: each loss is
multiplied by its weight, also with "sum" and "none", and the mean divides by the sum of the
weights in the place of the number of losses. If that sum is 0, the mean is NaN.
"""

from __future__ import annotations

import math
from typing import Any

from .. import functional, ops
from ..checks import real
from ..errors import ArgumentError
from ..tensors import Tensor
from .reduction import pair, reduce


def mse_loss(
    pred: Any, target: Any, reduction: str = "mean", *, sample_weight: Any = None
) -> Tensor:
    """The squared error, ``(pred - target)**2``.

    Args:
        pred: any shape.
        target: the same shape.
        reduction: "mean" divides by the number of elements, or the sum of their weights.
        sample_weight: of the shape of `pred`, or of its leading axes.

    Raises:
        ShapeError: if the shapes differ.

    >>> mse_loss([1.0, 2.0], [1.0, 4.0]).item()
    2.0
    """
    pred, target = pair("mse_loss", "pred", pred, "target", target)
    difference = pred - target
    return reduce("mse_loss", difference * difference, reduction, sample_weight)


def l1_loss(
    pred: Any, target: Any, reduction: str = "mean", *, sample_weight: Any = None
) -> Tensor:
    """The absolute error, ``abs(pred - target)``; the slope at 0 is 0.

    Args:
        pred: any shape.
        target: the same shape.
        reduction: "mean" divides by the number of elements, or the sum of their weights.
        sample_weight: of the shape of `pred`, or of its leading axes.

    Raises:
        ShapeError: if the shapes differ.

    >>> l1_loss([1.0, 2.0], [1.0, 4.0]).item()
    1.0
    """
    pred, target = pair("l1_loss", "pred", pred, "target", target)
    return reduce("l1_loss", ops.absolute(pred - target), reduction, sample_weight)


def huber_loss(
    pred: Any,
    target: Any,
    reduction: str = "mean",
    *,
    delta: float = 1.0,
    sample_weight: Any = None,
) -> Tensor:
    """Half the squared error up to `delta`, a straight line beyond.

    With ``d = abs(pred - target)``: ``d**2 / 2`` where d is below `delta`, else
    ``delta * (d - delta / 2)``.

    Args:
        pred: any shape.
        target: the same shape.
        reduction: "mean" divides by the number of elements, or the sum of their weights.
        delta: positive.
        sample_weight: of the shape of `pred`, or of its leading axes.

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: if `delta` is not positive.

    Source: P. Huber, "Robust estimation of a location parameter", Annals of Mathematical
    Statistics, 1964.

    >>> huber_loss([0.0, 0.0], [1.0, 4.0]).item()
    2.0
    """
    if not 0.0 < delta < math.inf:
        raise ArgumentError(f"huber_loss: delta must be positive, got {delta}")
    pred, target = pair("huber_loss", "pred", pred, "target", target)
    values = _huber(ops.absolute(pred - target), delta)
    return reduce("huber_loss", values, reduction, sample_weight)


def _huber(distance: Tensor, delta: float) -> Tensor:
    near = ops.minimum(distance, delta)
    return near * near * 0.5 + (distance - near) * delta


def smooth_l1_loss(
    pred: Any,
    target: Any,
    reduction: str = "mean",
    *,
    beta: float = 1.0,
    sample_weight: Any = None,
) -> Tensor:
    """`huber_loss` with ``delta=beta``, divided by `beta`: a slope of 1 far away.

    Args:
        pred: any shape.
        target: the same shape.
        reduction: "mean" divides by the number of elements, or the sum of their weights.
        beta: positive; for 0 use `l1_loss`.
        sample_weight: of the shape of `pred`, or of its leading axes.

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: if `beta` is not positive.

    >>> smooth_l1_loss([0.0, 0.0], [1.0, 4.0], beta=2.0).item()
    1.625
    """
    if not 0.0 < beta < math.inf:
        raise ArgumentError(f"smooth_l1_loss: beta must be positive, got {beta}; for 0 use l1_loss")
    pred, target = pair("smooth_l1_loss", "pred", pred, "target", target)
    values = _huber(ops.absolute(pred - target), beta) * (1.0 / beta)
    return reduce("smooth_l1_loss", values, reduction, sample_weight)


def quantile_loss(
    pred: Any,
    target: Any,
    quantile: float = 0.5,
    reduction: str = "mean",
    *,
    sample_weight: Any = None,
) -> Tensor:
    """The loss whose best prediction is a quantile: ``max(q * d, (q - 1) * d)``, d = target - pred.

    Args:
        pred: any shape.
        target: the same shape.
        quantile: q, in (0, 1); 0.5 gives half the absolute error.
        reduction: "mean" divides by the number of elements, or the sum of their weights.
        sample_weight: of the shape of `pred`, or of its leading axes.

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: if `quantile` is not between 0 and 1.

    Source: R. Koenker, G. Bassett, "Regression quantiles", Econometrica, 1978.

    >>> quantile_loss([1.0, 1.0], [3.0, 0.0], 0.75).item()
    0.875
    """
    if not 0.0 < real("quantile_loss", "quantile", quantile) < 1.0:
        raise ArgumentError(f"quantile_loss: quantile must lie between 0 and 1, got {quantile}")
    pred, target = pair("quantile_loss", "pred", pred, "target", target)
    d = target - pred
    values = ops.maximum(d * quantile, d * (quantile - 1.0))
    return reduce("quantile_loss", values, reduction, sample_weight)


def gaussian_nll_loss(
    mean: Any,
    target: Any,
    var: Any,
    reduction: str = "mean",
    *,
    full: bool = False,
    eps: float = 1e-6,
    sample_weight: Any = None,
) -> Tensor:
    """The negative log-likelihood of a normal distribution whose variance is predicted too.

    ``(log(v) + (mean - target)**2 / v) / 2`` with ``v = max(var, eps)``; the gradient takes no
    notice of the maximum, so that a variance that became too small can grow again.

    Args:
        mean: any shape.
        target: the same shape.
        var: the same shape; not negative. Predict its logarithm, or put a softplus before it.
        reduction: "mean" divides by the number of elements, or the sum of their weights.
        full: whether to add the constant ``log(2 * pi) / 2``.
        eps: the smallest variance.
        sample_weight: of the shape of `mean`, or of its leading axes.

    Raises:
        ShapeError: if the shapes differ.

    Source: D. Nix, A. Weigend, "Estimating the mean and variance of the target probability
    distribution", ICNN 1994.

    >>> gaussian_nll_loss([1.0], [3.0], [1.0]).item()
    2.0
    """
    name = "gaussian_nll_loss"
    mean, target = pair(name, "mean", mean, "target", target)
    mean, var = pair(name, "mean", mean, "var", var)
    var = var + (ops.maximum(var, eps) - var).detach()
    difference = mean - target
    values = (ops.log(var) + difference * difference / var) * 0.5
    if full:
        values = values + 0.5 * math.log(2.0 * math.pi)
    return reduce(name, values, reduction, sample_weight)


def poisson_nll_loss(
    log_rate: Any,
    target: Any,
    reduction: str = "mean",
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    sample_weight: Any = None,
) -> Tensor:
    """The negative log-likelihood of counts, ``exp(z) - target * z``, z the logarithm of the rate.

    Args:
        log_rate: any shape; with ``log_input=False`` the rate r itself, and then
            ``r - target * log(r + eps)``.
        target: the same shape; counts, which are converted to floats.
        reduction: "mean" divides by the number of elements, or the sum of their weights.
        log_input: whether `log_rate` is a logarithm.
        full: whether to add Stirling's formula for log(target!) where the target is above 1.
        eps: keeps the logarithm of a rate finite.
        sample_weight: of the shape of `log_rate`, or of its leading axes.

    Raises:
        ShapeError: if the shapes differ.

    >>> poisson_nll_loss([0.0], [3]).item()
    1.0
    """
    name = "poisson_nll_loss"
    z, t = pair(name, "log_rate", log_rate, "target", target)
    values = ops.exp(z) - t * z if log_input else z - t * ops.log(z + eps)
    if full:
        above = ops.less(1.0, t)
        safe = ops.where(above, t, 1.0)
        stirling = safe * ops.log(safe) - safe + ops.log(safe * (2.0 * math.pi)) * 0.5
        values = values + ops.where(above, stirling, 0.0)
    return reduce(name, values, reduction, sample_weight)


def kl_div_loss(
    log_pred: Any,
    target: Any,
    reduction: str = "mean",
    *,
    log_target: bool = False,
    sample_weight: Any = None,
) -> Tensor:
    """The Kullback-Leibler divergence of predicted from true probabilities.

    ``sum(target * (log(target) - log_pred))`` over the last axis; where `target` is 0, so is the
    term.

    Args:
        log_pred: ``[..., classes]``, logarithms of probabilities, as from `log_softmax`.
        target: the same shape; probabilities, or their logarithms with ``log_target=True``.
        reduction: "mean" divides by the number of rows, the product of the leading axes (which
            PyTorch calls "batchmean"), or the sum of their weights.
        log_target: whether `target` holds logarithms.
        sample_weight: one for each row.

    Returns:
        A scalar, or with "none" the shape of the leading axes.

    Raises:
        ShapeError: if the shapes differ, or have no axis.

    >>> round(kl_div_loss(np.log([0.5, 0.5]), [1.0, 0.0]).item(), 6)
    0.693147
    """
    name = "kl_div_loss"
    q, p = pair(name, "log_pred", log_pred, "target", target)
    ops.require_float(name, q)
    log_p = p if log_target else ops.log(p)
    p = ops.exp(p) if log_target else p
    terms = ops.mul_no_nan(p, log_p) - ops.mul_no_nan(p, q)
    return reduce(name, functional.sum(terms, -1), reduction, sample_weight)
