"""`fit`: train a model in one call.

>>> from cotangent import nn, optim
>>> from cotangent.train import fit
>>> ct.manual_seed(0)
>>> x = np.linspace(-1, 1, 64).reshape(-1, 1)
>>> model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
>>> history = fit(model, (x, x**2), optimizer=optim.Adam(0.01), epochs=100, progress=False)
>>> history.rows[-1]["loss"] < 0.01
True
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..optim.optimizer import Optimizer
from .callbacks import Callback
from .history import History
from .trainer import Trainer


def fit(
    model: Any, data: Any, *, loss: Any = None, optimizer: Optimizer | None = None,
    epochs: int | None = None, steps: int | None = None, batch_size: int = 32,
    shuffle: bool = True, seed: int = 0, validation: Any = None, metrics: Any = None,
    schedule: Any = None, clip_norm: float | None = None, clip_value: float | None = None,
    accumulate: int = 1, class_weight: Any = None, sample_weight: Any = None,
    early_stopping: Any = None, ema: float | None = None, callbacks: Sequence[Callback] = (),
    compile: bool = True, check: bool = True, progress: bool | None = None,
    folder: str | os.PathLike[str] | None = None, resume: bool = False,
    checkpoint_seconds: float = 30.0,
) -> History:  # fmt: skip
    """Train `model` on `data`, and return the `History`: a row of numbers for each epoch.

    Args:
        model: a module, or any callable object that holds variables.
        data: ``(x, y)`` or ``(x, y, weight)``, arrays or tensors with a row an example; a tuple or
            dict as x is the model's arguments; or x alone; or a data set with ``x_train``.
        loss: a name ("mse", "bce", "cross_entropy", ...), or a function of (predictions, targets),
            for x alone of (model, x), that returns the mean or one value a row. None: "mse"
            for floats; for integers "bce" (with logits) before one output, else "cross_entropy".
        optimizer: ``optim.Adam(lr=1e-3)`` by default.
        epochs, steps: passes over the data, or updates; 10 epochs by default.
        batch_size, shuffle, seed: rows in a step, and their order; the last batch may be smaller.
        validation: (x, y), or the fraction of the rows to hold out, measured after each epoch.
        metrics: names or `Metric` objects; "accuracy" for classes, "mae" and "r2" for regression
            with validation. Of training rows, they are of the predictions made while training.
        schedule: a function of the step, from 0, that gives the learning rate (groups with a rate
            of their own keep it); or a `ReduceLROnPlateau`.
        clip_value, clip_norm: the most that an element, then the norm, of the gradients may be.
        accumulate: batches to an update; gradients are averaged over all their rows.
        class_weight, sample_weight: "balanced", one a class or a dict; one a row.
        early_stopping: epochs to wait for a better one, or an `EarlyStopping`.
        ema: decay in (0, 1) of a mean of the weights, which is measured, and left in the model.
        callbacks: `Callback` objects, told of epochs and steps.
        compile, check: False runs the same steps op by op; False skips the look at the start.
        progress: False prints nothing; else a bar on a terminal, and some lines elsewhere.
        folder, resume, checkpoint_seconds: where checkpoints go, whether to go on from the last.
    """
    trainer = Trainer(
        model, loss=loss, optimizer=optimizer, metrics=metrics, schedule=schedule, ema=ema,
        clip_norm=clip_norm, clip_value=clip_value, accumulate=accumulate, compile=compile,
        class_weight=class_weight,
    )  # fmt: skip
    return trainer.fit(
        data, epochs=epochs, steps=steps, batch_size=batch_size, shuffle=shuffle, seed=seed,
        validation=validation, sample_weight=sample_weight, early_stopping=early_stopping,
        callbacks=callbacks, check=check, progress=progress, folder=folder, resume=resume,
        checkpoint_seconds=checkpoint_seconds,
    )  # fmt: skip
