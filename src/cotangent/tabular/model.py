"""A network with what was learnt about the columns of its table: predicts, evaluates, is saved."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..data.frame import Frame
from ..data.preparing import ClassTarget, Preparation
from ..errors import ArgumentError, Error, FileError
from ..gradients import no_grad
from ..io import load as load_weights
from ..io import save as save_weights
from ..runtime.digest import sha256
from ..runtime.files import replace_file
from ..tensors import asarray
from ..train import metrics
from .network import TableNetwork

Array = np.ndarray[Any, Any]

TABLE = "table.json"
WEIGHTS = "model.safetensors"
_FORMAT = "cotangent-table-model-1"
_ROWS = 8192  # predicted at a time
_CLASS_METRICS = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss")
_NUMBER_METRICS = ("r2", "mae", "rmse")


class TableModel:
    """Predicts a column of a table from others. `fit` makes one, `load` reads one.

    Attributes:
        preparation: what the columns are, and how they become numbers.
        network: the `TableNetwork`, in evaluation mode.
        facts: what it was trained with, for people.
        history: of the training, or None.
    """

    def __init__(
        self, preparation: Preparation, hidden: tuple[int, ...], dropout: float,
        facts: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        embedded = preparation.embedded
        self.preparation = preparation
        self.hidden = tuple(hidden)
        self.dropout = dropout
        self.network = TableNetwork(
            preparation.width - len(embedded), embedded, hidden, preparation.target.outputs, dropout
        )
        self.facts = facts or {}
        self.history: Any = None

    def outputs(self, x: Array) -> Array:
        """What the network gives for prepared rows, ``[rows, outputs]``."""
        self.network.eval()
        with no_grad():
            parts = [
                self.network(asarray(x[at : at + _ROWS])).numpy()
                for at in range(0, max(len(x), 1), _ROWS)
            ]
        return np.concatenate(parts)

    def predict(self, frame: Frame, notes: list[str] | None = None) -> Array:
        """The target of each row: numbers, or labels as they were written in training.

        Args:
            frame: the rows; needs the columns of the training table but for the target.
            notes: gets sentences about what was out of the ordinary.

        Raises:
            UnknownKeyError: if a column is not there.
        """
        return self.preparation.target.decode(self._outputs(frame, notes))

    def probabilities(self, frame: Frame, notes: list[str] | None = None) -> Array:
        """The probability of each class, ``[rows, classes]``, in the order of the labels.

        Raises:
            ArgumentError: if the target is a number.
        """
        if not isinstance(self.preparation.target, ClassTarget):
            raise ArgumentError("probabilities: this model predicts numbers; use predict")
        return softmax(self._outputs(frame, notes))

    def _outputs(self, frame: Frame, notes: list[str] | None) -> Array:
        prepared = self.preparation.apply(frame, with_target=False)
        if notes is not None:
            notes.extend(prepared.notes)
        return self.outputs(prepared.x)

    def evaluate(self, frame: Frame, notes: list[str] | None = None) -> dict[str, float]:
        """Metrics on the rows that have a target: of numbers, in the units of the table.

        Raises:
            UnknownKeyError: if a column is not there.
            ArgumentError: if no row has a target.
        """
        prepared = self.preparation.apply(frame)
        if notes is not None:
            notes.extend(prepared.notes)
        if not prepared.known.any():
            raise ArgumentError(
                f"no row of {frame.path} has a target {self.preparation.target.name!r} that the "
                "model knows"
            )
        return self.measured(self.outputs(prepared.x)[prepared.known], frame, prepared)

    def measured(self, outputs: Array, frame: Frame, prepared: Any) -> dict[str, float]:
        """The metrics of the outputs for the rows that have a target."""
        target, known = self.preparation.target, prepared.known
        if isinstance(target, ClassTarget):
            return {
                name: float(_value(metrics.get(name), outputs, prepared.y[known]))
                for name in _CLASS_METRICS
            }
        true = target.true(frame[target.name])[known]
        found = target.decode(outputs)
        return {name: float(_value(metrics.get(name), found, true)) for name in _NUMBER_METRICS}

    # -- on disk --------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``model.safetensors`` and ``table.json`` into a folder; it is made if need be.

        Raises:
            FileError: if they cannot be written.
        """
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make the folder {place}: {error.strerror}") from error
        save_weights(place / WEIGHTS, self.network)
        facts = {
            "format": _FORMAT,
            "preparation": self.preparation.facts(),
            "hidden": list(self.hidden),
            "dropout": self.dropout,
            "weights": sha256((place / WEIGHTS).read_bytes()).hex(),
            "facts": self.facts,
        }
        try:
            replace_file(os.fspath(place / TABLE), (json.dumps(facts, indent=1) + "\n").encode())
        except OSError as error:
            raise FileError(f"cannot write {place / TABLE}: {error.strerror or error}") from error


def load(folder: str | os.PathLike[str]) -> TableModel:
    """A model of tables from its folder.

    Raises:
        FileError: if a file is missing, damaged, or not of this model.
    """
    path = Path(folder) / TABLE
    facts = _facts(path)
    hidden, dropout = facts.get("hidden"), facts.get("dropout")
    if not (isinstance(hidden, list) and all(type(n) is int and 0 < n < 2**20 for n in hidden)):
        raise FileError(f"{path} is damaged: its hidden layers are {hidden!r}")
    if type(dropout) is not float or not 0 <= dropout < 1:
        raise FileError(f"{path} is damaged: its dropout is {dropout!r}")
    preparation = Preparation.from_facts(facts.get("preparation"), os.fspath(path))
    kept = facts.get("facts")
    model = TableModel(preparation, tuple(hidden), dropout, kept if isinstance(kept, dict) else {})
    weights = Path(folder) / WEIGHTS
    try:
        same = sha256(weights.read_bytes()).hex() == facts.get("weights")
    except OSError as error:
        raise FileError(f"cannot read {weights}: {error.strerror or error}") from error
    if not same:
        raise FileError(f"{weights} is damaged, or not the one that {path} was written for")
    try:
        model.network.load_state_dict(load_weights(weights))
    except Error as error:
        raise FileError(f"{weights} does not fit {path}: {error}") from error
    model.network.eval()
    return model


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_bytes())
    except OSError as error:
        hint = "" if path.parent.is_dir() else f"; there is no folder {path.parent}"
        raise FileError(
            f"cannot read {path}: {error.strerror or error}{hint}. A model is a folder that "
            "`cotangent train` has written to its end; go on with one by --resume"
        ) from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged: it is no JSON ({error})") from error
    if not isinstance(facts, dict) or facts.get("format") != _FORMAT:
        raise FileError(f"{path} is no model of tables in the form {_FORMAT}")
    return facts


def softmax(outputs: Array) -> Array:
    """The probabilities of logits ``[rows, classes]``, float64."""
    shifted = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _value(metric: Any, predictions: Array, targets: Array) -> Any:
    metric.update(predictions, targets)
    return metric.value()
