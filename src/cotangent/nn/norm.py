"""Layers that normalise: by row (`LayerNorm`, `RMSNorm`) or by feature (`BatchNorm1d`)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import functional, ops
from ..checks import real, refuse_unknown, whole
from ..dtypes import as_dtype, default_dtype, finfo
from ..errors import ArgumentError, ShapeError
from ..shapes import Shape, as_shape
from ..tensors import Tensor, Variable, lift, var
from . import init
from .module import Module


def layer_norm(
    x: Any, weight: Any = None, bias: Any = None, *, axes: int = 1, eps: float = 1e-5
) -> Tensor:
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` over the last `axes` axes together.

    Args:
        x: at least `axes` axes.
        weight, bias: of the shape of those axes; or None.
        axes: how many axes.
        eps: added to the variance, which divides by the number of elements.

    >>> layer_norm([1.0, 3.0], eps=0.0).tolist()
    [-1.0, 1.0]
    """
    x = lift(x)
    last = tuple(range(len(x.shape) - axes, len(x.shape)))
    centred = x - functional.mean(x, last, keepdims=True)
    y = _scaled(centred, functional.mean(centred * centred, last, keepdims=True), eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x: Any, weight: Any = None, *, axes: int = 1, eps: float | None = None) -> Tensor:
    """``x / sqrt(mean(x * x) + eps) * weight`` over the last `axes` axes together.

    Args:
        x: at least `axes` axes.
        weight: of the shape of those axes; or None.
        axes: how many axes.
        eps: added to the mean square; by default the spacing of the dtype at 1, as in PyTorch.

    >>> rms_norm([3.0, 4.0, 0.0, 0.0]).tolist()
    [1.2..., 1.6..., 0.0, 0.0]
    """
    x = lift(x)
    ops.require_float("rms_norm", x)
    last = tuple(range(len(x.shape) - axes, len(x.shape)))
    small = float(finfo(x.dtype).eps) if eps is None else eps
    y = _scaled(x, functional.mean(x * x, last, keepdims=True), small)
    return y if weight is None else y * weight


def _scaled(x: Any, square: Any, eps: float) -> Any:
    return x * ops.reciprocal(ops.sqrt(square + eps))


class _RowNorm(Module):
    """What normalises the last axes."""

    def __init__(self, normalized_shape: Any, eps: float | None) -> None:
        name = type(self).__name__
        self.normalized_shape: Shape = as_shape(name, normalized_shape)
        if not self.normalized_shape or min(self.normalized_shape) < 1:
            raise ArgumentError(
                f"{name}: normalized_shape must be positive sizes, not {normalized_shape!r}"
            )
        if eps is not None:
            _check_eps(name, eps)
        self.eps = eps

    def _checked(self, x: Any) -> Tensor:
        x = lift(x)
        count = len(self.normalized_shape)
        if len(x.shape) < count or x.shape[-count:] != self.normalized_shape:
            raise ShapeError(
                f"{self.text()}: the input of shape {x.shape} must end in {self.normalized_shape}"
            )
        return x

    def extra_repr(self) -> str:
        shape = self.normalized_shape
        return f"{shape[0] if len(shape) == 1 else shape}"


class LayerNorm(_RowNorm):
    """Normalises each row to mean 0 and variance 1, then scales and shifts: see `layer_norm`.

    Args:
        normalized_shape: the size of the last axis, or the sizes of the last axes, that are
            normalised together.
        eps: added to the variance.
        elementwise_affine: whether there are weight and bias.
        bias: whether there is a bias.
        dtype: float32 or float64; the default float unless given.

    Attributes:
        weight: of shape `normalized_shape`, at first 1; or None.
        bias: of shape `normalized_shape`, at first 0; or None.

    Raises:
        ShapeError: if the input does not end in `normalized_shape`.

    Source: J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016, arXiv 1607.06450.

    >>> LayerNorm(4)(np.ones((2, 4))).tolist()[0]
    [0.0, 0.0, 0.0, 0.0]
    """

    eps: float

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(normalized_shape, eps)
        self.weight: Variable | None = None
        self.bias: Variable | None = None
        if elementwise_affine:
            shape = self.normalized_shape
            self.weight = var("weight", init.constant(shape, 1.0, dtype), dtype=dtype)
            if bias:
                self.bias = var("bias", init.zeros(shape, dtype), dtype=dtype)

    def forward(self, x: Any) -> Tensor:
        count = len(self.normalized_shape)
        return layer_norm(self._checked(x), self.weight, self.bias, axes=count, eps=self.eps)


class RMSNorm(_RowNorm):
    """Divides each row by its root mean square, then scales: see `rms_norm`.

    Args:
        normalized_shape: the size of the last axis, or the sizes of the last axes.
        eps: added to the mean square; by default the spacing of the dtype at 1.
        elementwise_affine: whether there is a weight.
        dtype: float32 or float64; the default float unless given.

    Attributes:
        weight: of shape `normalized_shape`, at first 1; or None.

    Raises:
        ShapeError: if the input does not end in `normalized_shape`.

    Source: B. Zhang, R. Sennrich, "Root mean square layer normalization", NeurIPS 2019.

    >>> RMSNorm(2)([[3.0, 3.0]]).tolist()
    [[1.0, 1.0]]
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(normalized_shape, eps)
        self.weight: Variable | None = None
        if elementwise_affine:
            ones = init.constant(self.normalized_shape, 1.0, dtype)
            self.weight = var("weight", ones, dtype=dtype)

    def forward(self, x: Any) -> Tensor:
        count = len(self.normalized_shape)
        return rms_norm(self._checked(x), self.weight, axes=count, eps=self.eps)


class BatchNorm1d(Module):
    """Normalises each feature over the batch, then scales and shifts.

    While training ``y = (x - mean) / sqrt(variance + eps) * weight + bias`` with the mean and the
    variance of the batch (which divides by their number n), and the running statistics move:
    ``running = (1 - momentum) * running + momentum * batch``, where the variance of the batch
    divides by n - 1. After ``model.eval()`` the running statistics take the batch's place. They are
    buffers: saved, not trained, and updated by compiled steps too. As in PyTorch.

    Args:
        num_features: the size of axis 1.
        eps: added to the variance.
        momentum: how far the running statistics move, in [0, 1]; None for the plain average of
            all batches so far.
        affine: whether there are weight and bias.
        track_running_stats: if False, batch statistics are used always.
        dtype: float32 or float64; the default float unless given.

    Attributes:
        weight, bias: ``[num_features]``, at first 1 and 0; or None.
        running_mean, running_var: ``[num_features]``, at first 0 and 1; or None.
        num_batches_tracked: how many batches they have seen, int64; or None.

    Shapes: ``[n, num_features]`` or ``[n, num_features, length]``, to the same.

    Raises:
        ShapeError: for another shape, or a batch of one value for each feature while training.

    Source: S. Ioffe, C. Szegedy, "Batch normalization", ICML 2015.

    >>> norm = BatchNorm1d(1, momentum=0.25)
    >>> norm([[1.0], [3.0]]).numpy().round(3).tolist()
    [[-1.0], [1.0]]
    >>> norm.running_mean.tolist()
    [0.5]
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = None,
    ) -> None:
        whole("BatchNorm1d", "num_features", num_features, 1)
        if momentum is not None:
            real("BatchNorm1d", "momentum", momentum, 0.0, 1.0)
        _check_eps("BatchNorm1d", eps)
        self.num_features = int(num_features)
        self.eps = eps
        self.momentum = momentum
        shape, kind = (self.num_features,), default_dtype() if dtype is None else as_dtype(dtype)
        self.weight: Variable | None = None
        self.bias: Variable | None = None
        self.running_mean: Variable | None = None
        self.running_var: Variable | None = None
        self.num_batches_tracked: Variable | None = None
        if affine:
            self.weight = var("weight", np.ones(shape), kind)
            self.bias = var("bias", np.zeros(shape), kind)
        if track_running_stats:
            self.running_mean = var("running_mean", np.zeros(shape), kind, requires_grad=False)
            self.running_var = var("running_var", np.ones(shape), kind, requires_grad=False)
            self.num_batches_tracked = var("num_batches_tracked", 0, requires_grad=False)

    def forward(self, x: Any) -> Tensor:
        x = self._checked(x)
        column = (self.num_features,) + (1,) * (len(x.shape) - 2)
        if self.training or self.running_mean is None or self.running_var is None:
            centred, variance = self._of_batch(x, column)
        else:
            centred = x - functional.reshape(self.running_mean, column)
            variance = functional.reshape(self.running_var, column)
        y = _scaled(centred, variance, self.eps)
        if self.weight is not None:
            y = y * functional.reshape(self.weight, column)
        return y if self.bias is None else y + functional.reshape(self.bias, column)

    def _of_batch(self, x: Tensor, column: Shape) -> tuple[Any, Any]:
        """The input without the mean of the batch, and the variance of the batch."""
        axes = (0, *range(2, len(x.shape)))
        count = math.prod(x.shape[a] for a in axes)
        if count < 2 and self.training:
            raise ShapeError(
                f"{self.text()}: a batch of shape {x.shape} has one value or none for each "
                "feature, which has no variance; use larger batches, or model.eval()"
            )
        mean = functional.mean(x, axes)
        centred = x - functional.reshape(mean, column)
        variance = functional.mean(centred * centred, axes)
        if self.training:
            self._move(mean.detach(), variance.detach() * (count / (count - 1)))
        return centred, functional.reshape(variance, column)

    def _move(self, mean: Any, variance: Any) -> None:
        """Move the running statistics towards those of the batch."""
        running, spread, seen = self.running_mean, self.running_var, self.num_batches_tracked
        if running is None or spread is None or seen is None:
            return
        seen.assign(seen.value + 1)
        part: Any = self.momentum
        if part is None:
            part = ops.reciprocal(functional.astype(seen.value, running.dtype))
        running.assign(running.value * (1.0 - part) + mean * part)
        spread.assign(spread.value * (1.0 - part) + variance * part)

    def _checked(self, x: Any) -> Tensor:
        x = lift(x)
        ops.require_float(self.text(), x)
        if len(x.shape) not in (2, 3) or x.shape[1] != self.num_features:
            raise ShapeError(
                f"{self.text()}: the input of shape {x.shape} must have the axes [n, "
                f"{self.num_features}] or [n, {self.num_features}, length]"
            )
        return x

    def extra_repr(self) -> str:
        return f"{self.num_features}"


def _check_eps(what: str, eps: Any) -> None:
    refuse_unknown(what, "eps", eps)
    if not isinstance(eps, (int, float)) or not 0.0 <= eps < math.inf:
        raise ArgumentError(f"{what}: eps must be a number that is not negative, got {eps!r}")
