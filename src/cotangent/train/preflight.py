"""A look at model, loss and data before training: what cannot train is said at once.

It costs one pass over the data and one eager step on a few rows, and changes nothing.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from ..callers import levels
from ..errors import ArgumentError, GradientError, ShapeError
from ..gradients import no_grad
from ..nn.looking import mode, untouched
from ..nn.losses import mse_loss
from ..nn.module import parameters
from ..random import DEFAULT
from ..tensors import Tensor
from ..tree import flatten
from ..variables import named_variables
from .examples import Examples
from .objective import Objective
from .tasks import Task

Array = np.ndarray[Any, Any]

ROWS = 32  # on which the step is tried
_BLOCK = 1 << 20  # elements
_FAR = 20.0  # times the usual first loss is worth a word
_SPREAD = 3.0
_LARGE = 10.0  # inputs
_MOVES = {"reshape", "permute_dims", "broadcast_to", "strided_slice", "take"}


class Finding(NamedTuple):
    """What was found.

    Attributes:
        serious: whether training cannot go well; else it is a warning.
        text: what it is, and what to do.
    """

    serious: bool
    text: str


def check(
    model: Any, task: Task, objective: Objective, examples: Examples, predictions: Any
) -> list[Finding]:
    """Everything that is wrong with a model and its examples, as far as it is seen.

    `predictions` are the model's of some rows; None where it was not tried.

    - Numbers in the data that are not finite, and labels that are no class: errors.
    - No parameter is reached by the loss, or the first loss is not finite: errors. Some
      parameters are not reached, one is registered twice: warnings.
    - A softmax before cross-entropy or a sigmoid before BCE with logits: warnings.
    - A last batch of one row that the model cannot train on: an error; see `check_last_batch`.
    - A first loss of twenty times what guessing and new layers give: a warning.
    """
    found = [*_not_finite(examples), *_labels(task, examples.y, predictions), *_twice(model)]
    if any(finding.serious for finding in found):
        return found
    few = examples.rows_of(slice(0, examples.rows, max(1, examples.rows // ROWS)))
    few = few.rows_of(slice(0, ROWS))
    with untouched(model, DEFAULT), mode(model, True):
        loss, _, predictions = objective(model, few.map(Tensor))
    return [
        *found, *_loss(task, few, loss.item()), *_reached(model, loss),
        *_squashed(task, predictions),
    ]  # fmt: skip


def check_last_batch(
    model: Any, objective: Objective, examples: Examples, size: int
) -> list[Finding]:
    """Whether a last batch of a single row can be trained on, which batch normalisation cannot."""
    if examples.rows % size != 1 or size == 1:
        return []
    try:
        with untouched(model, DEFAULT), mode(model, True), no_grad():
            objective(model, examples.rows_of(slice(0, 1)).map(Tensor))
    except ShapeError as error:
        other = next((n for n in range(size - 1, 1, -1) if examples.rows % n != 1), 0)
        fix = f"take batch_size={other}" if other else "give it more rows"
        text = (
            f"the last batch of an epoch has one row ({examples.rows} rows, {size} in a batch), "
            f"which the model cannot train on; {fix}. {error.message}"
        )
        return [Finding(True, text)]
    return []


def report(findings: list[Finding]) -> None:
    """Raise for the serious findings, and warn of the others."""
    serious = [finding.text for finding in findings if finding.serious]
    if serious:
        raise ArgumentError(
            "fit: this cannot train:\n- " + "\n- ".join(serious) + "\n(check=False tries it anyway)"
        )
    for finding in findings:
        warnings.warn(f"fit: {finding.text}", RuntimeWarning, stacklevel=levels())


# -- data -------------------------------------------------------------------------------------


def _not_finite(examples: Examples) -> list[Finding]:
    found = []
    for name, part in (("inputs", examples.x), ("targets", examples.y)):
        for array in flatten(part)[0]:
            if array is None or array.dtype.kind != "f" or _is_mapped(array):
                continue  # a file is not read as a whole for this
            row = _bad_row(array)
            if row is not None:
                found.append(Finding(True, _bad_text(name, array, row)))
    return found


def _is_mapped(array: Any) -> bool:
    """Whether an array lies in a file."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None


def _bad_row(array: Array) -> int | None:
    """The first row with a NaN or an infinity."""
    rows = max(1, _BLOCK // max(array[0].size, 1))
    for first in range(0, len(array), rows):
        block = array[first : first + rows]
        # A sum is quick to take, and not finite if one of its terms is not; but it can overflow.
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(float(block.sum())):
                continue
        bad = ~np.isfinite(block.reshape(len(block), -1)).all(axis=1)
        if bad.any():
            return first + int(bad.argmax())
    return None


def _bad_text(name: str, array: Array, row: int) -> str:
    count = int((~np.isfinite(array.reshape(len(array), -1)).all(axis=1)).sum())
    return (
        f"the {name} of shape {array.shape} have NaN or infinity in {count} rows, the first of "
        f"them row {row}; drop those rows, or fill in such as the column's median"
    )


def _labels(task: Task, y: Any, predictions: Any) -> list[Finding]:
    if not isinstance(y, np.ndarray) or not isinstance(predictions, Tensor) or not y.size:
        return []
    if task.kind == "classes" and y.dtype.kind in "iub":
        classes = predictions.shape[-1]
        low, high = int(y.min()), int(y.max())
        if low >= 0 and high < classes:
            return []
        return [
            Finding(
                True,
                f"the labels run from {low} to {high}, but the model has {classes} outputs, for "
                f"the classes 0 to {classes - 1}; "
                + (
                    "count classes from 0, as np.unique(y, return_inverse=True)[1] does"
                    if low < 0 or high == classes
                    else f"give the last layer {high + 1} outputs"
                ),
            )
        ]
    if task.kind == "binary" and not ((y >= 0) & (y <= 1)).all():
        text = f"the targets run from {y.min():g} to {y.max():g}, and bce takes 0 to 1"
        return [Finding(True, text + "; for more than two classes give the model more outputs")]
    return []


# -- parameters -------------------------------------------------------------------------------


def _twice(model: Any) -> list[Finding]:
    paths: dict[int, list[str]] = {}
    for path, variable in named_variables(model, shared=True):
        if variable.parameter:
            paths.setdefault(variable.leaf.number, []).append(path)
    return [
        Finding(
            False,
            f"{', '.join(names)} are one parameter, registered {len(names)} times, and are "
            "trained as one; if that is not meant, make a layer for each place",
        )
        for names in paths.values()
        if len(names) > 1
    ]


def _reached(model: Any, loss: Tensor) -> list[Finding]:
    trained = [(path, v) for path, v in named_variables(model) if v.parameter and v.requires_grad]
    if not trained:
        frozen = len(parameters(model))
        text = f"all {frozen} parameters of the model are frozen; call model.unfreeze()"
        return [Finding(True, text)]
    try:
        gradients = loss.backward()
    except GradientError:
        return [Finding(True, _UNREACHED)]
    missing = [path for path, v in trained if gradients.get(v) is None]
    if len(missing) == len(trained):
        return [Finding(True, _UNREACHED)]
    bad = [
        path
        for path, v in trained
        if (g := gradients.get(v)) is not None and not np.isfinite(g.numpy()).all()
    ]
    found = []
    if bad:
        text = f"the first gradients of {', '.join(bad)} are not finite; look with ct.debug_nans()"
        found.append(Finding(True, text))
    if missing:
        text = (
            f"the loss does not depend on {', '.join(missing)}, which will not be trained; use "
            "them in forward, look for detach(), or freeze or remove them"
        )
        found.append(Finding(False, text))
    return found


_UNREACHED = (
    "the loss depends on no parameter of the model; look for detach(), no_grad(), .numpy(), and "
    "for a loss of another model's predictions"
)

# -- predictions and the first loss -----------------------------------------------------------


def _squashed(task: Task, predictions: Any) -> list[Finding]:
    if not isinstance(predictions, Tensor):
        return []
    if task.kind == "classes" and _sums_to_one(predictions.numpy()):
        text = "the model ends in a softmax, and cross-entropy makes one of its own; drop the layer"
        return [Finding(False, text + ", or take loss=ct.nn.nll_loss of log_softmax")]
    if task.kind == "binary" and _last_op(predictions) == "sigmoid":
        text = "the model ends in a sigmoid, and bce with logits makes one of its own; drop it"
        return [Finding(False, text + ", or take loss=ct.nn.binary_cross_entropy")]
    return []


def _sums_to_one(rows: Array) -> bool:
    return bool((rows >= 0).all() and np.allclose(rows.sum(axis=-1), 1.0, atol=1e-3))


def _last_op(tensor: Tensor) -> str:
    """The op that a tensor came from, moves apart."""
    entry = tensor.entry
    while entry is not None and entry.primitive is not None:
        if entry.primitive.name not in _MOVES or not entry.parents:
            return str(entry.primitive.name)
        entry = entry.parents[0]
    return ""


def _loss(task: Task, few: Examples, loss: float) -> list[Finding]:
    if not math.isfinite(loss):
        text = f"the first loss is {loss}; look with ct.debug_nans(), and scale the inputs"
        return [Finding(True, text)]
    chance = _chance(task, few)
    if chance is None or loss <= _FAR * chance:
        return []
    return [
        Finding(
            False,
            f"the first loss is {loss:.4g}, where about {chance:.4g} is usual; standardise the "
            "inputs (and the targets of a regression) to mean 0 and deviation 1"
            + (f"; the inputs reach {top:.4g}" if (top := _largest(few.x)) > _LARGE else ""),
        )
    ]


def _largest(x: Any) -> float:
    return max(
        (float(np.abs(a).max()) for a in flatten(x)[0] if a.dtype.kind == "f" and a.size),
        default=0.0,
    )


def _chance(task: Task, few: Examples) -> float | None:
    """The loss of guessing, by predictions as new layers make them of standardised inputs."""
    y = few.y
    if not isinstance(y, np.ndarray) or few.weight is not None:
        return None
    if task.loss is mse_loss and y.dtype.kind == "f":
        # New layers give predictions of deviation 1 to 2 for standardised inputs.
        return float(np.mean((y - y.mean(axis=0)) ** 2)) + _SPREAD
    if task.kind == "binary":
        return math.log(2.0)
    if task.kind == "classes":
        classes = max(int(y.max()) + 1, 2)
        return math.log(classes)
    return None
