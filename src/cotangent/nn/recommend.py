"""Which output, activation and loss for which task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import ArgumentError
from ..spelling import closest
from .classification import binary_cross_entropy_with_logits, cross_entropy_loss
from .losses import mse_loss


class Recommendation(NamedTuple):
    """What the end of a model looks like for a task.

    Attributes:
        task: "regression", "binary" or "classes".
        outputs: how many the last layer has.
        activation: what stands after the last layer.
        loss: the loss function, for the outputs of the model and the targets.
        targets: what they look like.
        predict: how to read a prediction from the outputs y.
    """

    task: str
    outputs: str
    activation: str
    loss: Callable[..., Any]
    targets: str
    predict: str

    def __str__(self) -> str:
        texts = self._asdict() | {"loss": f"nn.{self.loss.__name__}"}
        return "\n".join(f"{name:<10}  {text}" for name, text in texts.items())


_KNOWN = {
    "regression": Recommendation(
        "regression",
        "one for each number to predict",
        "none",
        mse_loss,
        "floats of the shape of the outputs, [n, outputs]; scale them to mean 0, deviation 1",
        "y",
    ),
    "binary": Recommendation(
        "binary",
        "1, or one for each yes-or-no question",
        "none: the loss takes logits",
        binary_cross_entropy_with_logits,
        "0 and 1 of the shape of the outputs, [n, 1]",
        "y > 0, or the probability y.sigmoid()",
    ),
    "classes": Recommendation(
        "classes",
        "one for each class",
        "none: the loss takes logits",
        cross_entropy_loss,
        "class numbers from 0, integers of shape [n]",
        "y.argmax(axis=-1), or the probabilities y.softmax()",
    ),
}


def recommend(task: str) -> Recommendation:
    """The usual last layer, activation and loss.

    Args:
        task: "regression" (numbers), "binary" (yes or no, also several questions at once) or
            "classes" (one of several).

    Raises:
        ArgumentError: for another task, with the closest of these.

    >>> print(recommend("binary"))
    task        binary
    outputs     1, or one for each yes-or-no question
    activation  none: the loss takes logits
    loss        nn.binary_cross_entropy_with_logits
    targets     0 and 1 of the shape of the outputs, [n, 1]
    predict     y > 0, or the probability y.sigmoid()
    """
    if isinstance(task, str) and task in _KNOWN:
        return _KNOWN[task]
    close = closest(str(task), _KNOWN, 0.3)
    hint = f'; did you mean "{close}"?' if close else ""
    known = ", ".join(f'"{name}"' for name in _KNOWN)
    raise ArgumentError(f"recommend: no task {task!r}; there are {known}{hint}")
