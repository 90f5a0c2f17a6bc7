"""Clipping of gradients."""

from __future__ import annotations

from .. import ops
from ..errors import ArgumentError, ArgumentTypeError, GradientError
from ..gradients import Gradients
from ..tensors import Tensor


def clip_norm(gradients: Gradients, max_norm: float) -> tuple[Gradients, Tensor]:
    """Gradients scaled down to a global L2 norm of at most `max_norm`, and the norm before.

    The factor is ``min(1, max_norm / (norm + 1e-6))``, as in PyTorch.

    Raises:
        ArgumentError: if `max_norm` is not positive.
        GradientError: if there are no gradients.

    >>> w = Tensor.var("w", [3.0, 4.0])
    >>> grads, norm = clip_norm((w * w).sum().backward(), 1.0)
    >>> norm.item(), round(grads.norm().item(), 4)
    (10.0, 1.0)
    """
    if not isinstance(gradients, Gradients):
        raise ArgumentTypeError(
            f"clip_norm takes the Gradients of loss.backward(), not {type(gradients).__name__}"
        )
    if not max_norm > 0:
        raise ArgumentError(f"clip_norm: max_norm must be positive, got {max_norm}")
    if not len(gradients):
        raise GradientError("clip_norm: there are no gradients; nothing tracked had a part")
    norm = gradients.norm()
    factor = ops.minimum(ops.divide(max_norm, norm + 1e-6), 1.0)
    return gradients * factor, norm
