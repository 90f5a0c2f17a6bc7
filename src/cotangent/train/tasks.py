"""What is to be learnt, found from the targets: a loss, and the metrics that go with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..dtypes import is_float
from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from ..spelling import closest

Array = np.ndarray[Any, Any]

LOSSES: dict[str, tuple[Callable[..., Any], str]] = {
    "mse": (nn.mse_loss, "regression"),
    "mae": (nn.l1_loss, "regression"),
    "l1": (nn.l1_loss, "regression"),
    "huber": (nn.huber_loss, "regression"),
    "smooth_l1": (nn.smooth_l1_loss, "regression"),
    "poisson": (nn.poisson_nll_loss, "regression"),
    "quantile": (nn.quantile_loss, "regression"),
    "bce": (nn.binary_cross_entropy_with_logits, "binary"),
    "binary_cross_entropy": (nn.binary_cross_entropy_with_logits, "binary"),
    "cross_entropy": (nn.cross_entropy_loss, "classes"),
    "nll": (nn.nll_loss, "classes"),
    "soft_cross_entropy": (nn.soft_cross_entropy_loss, "distribution"),
    "kl_div": (nn.kl_div_loss, "distribution"),
}
_KINDS = dict(LOSSES.values())
_METRICS = {"regression": ("mae", "r2"), "binary": ("accuracy",), "classes": ("accuracy",)}


class Task(NamedTuple):
    """What a model is trained for.

    Attributes:
        kind: "regression", "binary", "classes", "distribution", or "own" for a loss of the user's.
        loss: a function of predictions and targets; of model and inputs if there are no targets.
        metrics: the names of the metrics by default.
        why: a sentence that says what was chosen.
    """

    kind: str
    loss: Callable[..., Any]
    metrics: tuple[str, ...]
    why: str


def find_task(loss: Any, y: Any, predictions: Any) -> Task:
    """The task for a loss, or for targets alone.

    Floats are numbers to predict: mean squared error. Integers and bools of two classes before a
    single output: binary cross-entropy with logits; integers otherwise: cross-entropy.

    Args:
        loss: a name in `LOSSES`, a function, or None.
        y: targets, or None.
        predictions: what the model gives for a few rows of inputs.

    Raises:
        ArgumentError: for an unknown name, or no loss where the targets do not say which.
    """
    if isinstance(loss, str):
        if loss not in LOSSES:
            near = closest(loss, LOSSES)
            raise ArgumentError(
                f"fit: no loss is called {loss!r}; " + (f"did you mean {near!r}? " if near else "")
                + f"There are {', '.join(LOSSES)}, or pass a function"
            )  # fmt: skip
        function, kind = LOSSES[loss]
        return _task(kind, function, f"loss {loss}")
    if loss is not None and not callable(loss):
        raise ArgumentTypeError(
            f"fit: loss must be a name, a function of (predictions, targets), or None, not {loss!r}"
        )
    if loss is not None:
        name = getattr(loss, "__name__", type(loss).__name__)
        return _task(_KINDS.get(getattr(loss, "func", loss), "own"), loss, f"loss {name}")
    return _from_targets(y, predictions)


def _from_targets(y: Any, predictions: Any) -> Task:
    if not isinstance(y, np.ndarray) or not hasattr(predictions, "shape"):
        raise ArgumentError(
            "fit: without a single array of targets and a single tensor of predictions the loss "
            "cannot be chosen; pass loss=function(predictions, targets), or, for x alone, "
            "loss=function(model, x)"
        )
    outputs = predictions.shape[-1] if len(predictions.shape) > 1 else 1
    if is_float(y.dtype):
        return _task("regression", nn.mse_loss, "targets are floats: regression by mse")
    if outputs == 1 or predictions.shape[1:] == y.shape[1:]:
        why = "targets are two classes and there is one output: bce with logits"
        return _task("binary", nn.binary_cross_entropy_with_logits, why)
    why = f"targets are integers: {outputs} classes by cross_entropy"
    return _task("classes", nn.cross_entropy_loss, why)


def _task(kind: str, loss: Callable[..., Any], why: str) -> Task:
    return Task(kind, loss, _METRICS.get(kind, ()), why)


def form_of(task: Task, predictions: Any) -> dict[str, bool]:
    """How metrics of classes have to read the predictions of a task.

    They are logits, but for the loss that takes probabilities; and where there are several
    outputs of two classes each, every one has a target of its own.
    """
    function = getattr(task.loss, "func", task.loss)
    from_logits = function is not nn.binary_cross_entropy
    several = math.prod(getattr(predictions, "shape", ())[1:]) > 1
    yes_or_no = task.kind == "binary" or not from_logits
    return {"from_logits": from_logits, "multilabel": yes_or_no and several}


def fitting_targets(task: Task, y: Any, predictions: Any) -> Any:
    """Targets in the shape that the loss of `task` takes: a column where predictions are one.

    Raises:
        ShapeError: if they do not fit the predictions.
    """
    if task.kind not in ("regression", "binary", "classes") or not isinstance(y, np.ndarray):
        return y
    shape = tuple(getattr(predictions, "shape", ()))
    if task.kind == "classes":
        wanted = shape[1:-1]
        column = (*wanted, 1)
    else:
        wanted = shape[1:]
        column = wanted[:-1] if wanted[-1:] == (1,) else (*wanted, 1)
    if y.shape[1:] == wanted:
        return y
    if y.shape[1:] == column:
        return y.reshape((y.shape[0], *wanted))
    raise ShapeError(
        f"fit: the model gives predictions of shape {('rows', *shape[1:])}".replace("'", "")
        + f", which need targets of shape {('rows', *wanted)}".replace("'", "")
        + f", but the targets have shape {y.shape}; change the last layer or the targets"
    )
