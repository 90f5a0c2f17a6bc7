"""What a metric is: a number that is built up batch by batch, on the host, in float64.

A metric adds up what it needs of each batch, so its value does not depend on how the rows are cut
into batches (up to the rounding of float64 sums).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ...errors import UnknownKeyError

Array = np.ndarray[Any, Any]


class Metric:
    """A number about predictions and their targets, exact over batches of any sizes.

    Attributes:
        name: how it is called in a history, such as ``"f1"``.
        higher_is_better: True for accuracy, False for an error, None where it says neither.

    - A row of weight 0 is as if it were not there; a row of weight 2 is as if it were there twice.
    - Without rows, the value is NaN. If any prediction was NaN, the value is NaN.

    A subclass says in `sums` and `rows` which arrays it holds: sums, which stand in `state`, and
    rows that have to be kept, in `kept`.
    """

    name: str = ""
    higher_is_better: bool | None = True
    sums: ClassVar[tuple[str, ...]] = ()
    rows: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.spoiled = False
        self.state: dict[str, Array] = {}
        self.kept: list[tuple[Array, ...]] = []
        self.reset()

    def update(self, predictions: Any, targets: Any, weights: Any = None) -> None:
        """Add a batch.

        Args:
            predictions: what the model returned for the batch; the metric says in which form.
            targets: what was right, one row for each row of predictions.
            weights: how much each row counts, 0 or more; None counts each once.

        Raises:
            ShapeError: if the shapes do not fit.
            ArgumentError, BoundsError, DTypeError: if values are not what the metric takes.
        """
        raise NotImplementedError

    def value(self) -> Any:
        """The metric of everything that was added since the last `reset`."""
        return self.undefined() if self.spoiled else self.result()

    def result(self) -> Any:
        """The value, given that no prediction was NaN."""
        raise NotImplementedError

    def undefined(self) -> Any:
        """The value if a prediction was NaN."""
        return math.nan

    def reset(self) -> None:
        """Forget all batches."""
        self.spoiled = False
        self.state.clear()
        self.kept.clear()

    def new(self) -> Metric:
        """A metric of the same settings that nothing was added to."""
        made = copy.copy(self)
        made.state, made.kept = {}, []
        made.reset()
        return made

    def of(self, predictions: Any, targets: Any, weights: Any = None) -> Any:
        """The metric of these rows alone; what was added before is forgotten."""
        self.reset()
        self.update(predictions, targets, weights)
        return self.value()

    def all_rows(self) -> tuple[Array, ...]:
        """The rows that were kept, an array for each name in `rows`; () if there are none."""
        if len(self.kept) > 1:
            columns = zip(*self.kept, strict=True)
            self.kept[:] = [tuple(np.concatenate(column) for column in columns)]
        return self.kept[0] if self.kept else ()

    def state_dict(self) -> dict[str, Array]:
        """What has been added so far, as arrays by name; for a checkpoint."""
        kept = dict(zip(self.rows, self.all_rows(), strict=False))
        arrays = {**self.state, **kept, "spoiled": np.array(self.spoiled)}
        return {key: np.array(value) for key, value in arrays.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            UnknownKeyError: if it is the state of another metric.
        """
        known = {"spoiled", *self.sums, *self.rows}
        if "spoiled" not in state or set(state) - known or set(self.sums) - set(state):
            raise UnknownKeyError(
                f"{self.name}: a state with {sorted(state)} is not of this metric, which holds "
                f"{sorted(known)}"
            )
        self.reset()
        self.spoiled = bool(state["spoiled"])
        self.state.update({key: np.array(state[key]) for key in self.sums})
        if self.rows and all(key in state for key in self.rows):
            self.kept.append(tuple(np.array(state[key]) for key in self.rows))

    def __repr__(self) -> str:
        return f"<metric {self.name}: {self.value()}>"
