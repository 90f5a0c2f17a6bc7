"""A callback that writes the report of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, Error
from ..gradients import no_grad
from ..nn.classification import binary_cross_entropy_with_logits, cross_entropy_loss
from ..nn.losses import mse_loss
from ..nn.summary import summarize
from ..runtime.files import replace_file
from ..tensors import tensor
from ..train.callbacks import Callback
from .facts import encode
from .graphs import graph
from .inside import Histograms, dead_units, flow, undisturbed
from .predictions import confusion, residuals
from .reports import PICTURES, report

_MOST_ROWS = 256  # on which pictures are taken every epoch


class Report(Callback):
    """Writes ``report.html`` into the folder of a run, with pictures of the model at the end.

    Give it to `ct.train.fit` among the callbacks; without a folder nothing is written, and
    `pictures` holds what was taken. What cannot be drawn for a model is said in the report.

    Args:
        x, y: rows that were held out, and their targets: integers for classes, else numbers. For
            pictures inside of the model the first 256 are taken.
        loss: function of (output, y) for gradients; by the targets if None.
        labels: names of the classes.
        every: take histograms every so many epochs; 0: none.

    Attributes:
        pictures: what was taken at the end of the run.
    """

    def __init__(
        self, x: Any, y: Any, *, loss: Callable[[Any, Any], Any] | None = None,
        labels: Sequence[str] | None = None, every: int = 1,
    ) -> None:  # fmt: skip
        self.x = np.asarray(x.numpy() if hasattr(x, "numpy") else x)
        self.y = np.asarray(y.numpy() if hasattr(y, "numpy") else y)
        if len(self.x) != len(self.y) or not len(self.x):
            raise ArgumentError(f"Report: {len(self.x)} rows and {len(self.y)} targets")
        self.loss = loss
        self.labels = labels
        self.pictures: list[Any] = []
        self._every = every
        self._recorder: Histograms | None = None
        self._missing: dict[str, str] = {}

    def on_epoch(self, run: Any, row: dict[str, Any]) -> None:
        """Take histograms."""
        if self._every and run.epoch % self._every == 0:
            if self._recorder is None:
                few = slice(0, _MOST_ROWS)
                self._recorder = Histograms(self.x[few], self.y[few], self._loss_for(run.model))
            recorder = self._recorder
            self._try("histograms", lambda: recorder.record(run.model, run.epoch))

    def on_end(self, run: Any) -> None:
        """Take the pictures, and write the report."""
        shares = run.shares()  # before the pictures take their own time
        self.take(run.model)
        if run.folder is None or not run.history.rows:
            return
        folder = Path(run.folder)
        facts = {"seconds": shares, "stopped": run.history.stopped}
        stored = {
            "facts": facts | {"not drawn": self._missing},
            "pictures": [encode(picture) for picture in self.pictures],
        }
        replace_file(os.fspath(folder / PICTURES), json.dumps(stored).encode())
        run.history.seconds = shares
        report(run.history)

    def take(self, model: Any) -> list[Any]:
        """The pictures of a model as it is now."""
        few = slice(0, _MOST_ROWS)
        x, y, loss = self.x[few], self.y[few], self._loss_for(model)
        attempts: dict[str, Callable[[], Any]] = {
            "predictions": lambda: self._predictions(model),
            "layers": lambda: summarize(model, x, measure=True),
            "graph": lambda: graph(model, x),
            "flow": lambda: flow(model, x, y, loss),
            "dead units": lambda: dead_units(model, x),
        }
        if self._recorder is not None and self._recorder.epochs:
            attempts["histograms"] = self._recorder.picture
        taken = [self._try(name, attempt) for name, attempt in attempts.items()]
        self.pictures = [picture for picture in taken if picture is not None]
        return self.pictures

    def _try(self, name: str, attempt: Callable[[], Any]) -> Any:
        """What `attempt` returns; its error is noted: a picture must not end a run."""
        try:
            return attempt()
        except Error as error:
            self._missing[name] = str(error).partition("\n")[0]
            return None

    def _predictions(self, model: Any) -> Any:
        with undisturbed(model), no_grad():
            out = model(tensor(self.x)).numpy()
        if self.y.dtype.kind not in "iub":
            return residuals(self.y, out)
        one = out.ndim == 1 or out.shape[1] == 1
        return confusion(self.y, (out.ravel() > 0).astype(int) if one else out, self.labels)

    def _loss_for(self, model: Any) -> Callable[[Any, Any], Any]:
        """The loss that goes with the targets, of shapes that fit."""
        if self.loss is not None:
            return self.loss
        if self.y.dtype.kind not in "iub":
            return lambda out, y: mse_loss(out, np.reshape(y, out.shape))
        return _class_loss


def _class_loss(out: Any, y: Any) -> Any:
    if out.ndim == 1 or out.shape[1] == 1:
        return binary_cross_entropy_with_logits(out, np.reshape(y, out.shape).astype(np.float32))
    return cross_entropy_loss(out, np.ravel(y))
