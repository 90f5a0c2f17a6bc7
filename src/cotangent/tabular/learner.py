"""`fit`: from a table to a model, in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import ceil
from typing import Any

import numpy as np

from .. import random
from ..data import shuffled
from ..data.frame import Frame
from ..data.preparing import Preparation, Prepared
from ..data.preparing.targets import first_written, key_of
from ..data.preparing.values import missing, texts
from ..data.sources import open_table, read_frame
from ..errors import ArgumentError
from ..optim import AdamW, cosine_decay
from ..train import EarlyStopping
from ..train import fit as fit_network
from ..viz import Report
from .model import TableModel
from .settings import Settings
from .split import held_out

Array = np.ndarray[Any, Any]

_FEWEST = 2
_MOST_COPIED = 100_000


def fit(
    data: Frame | str | os.PathLike[str], target: str, *, task: str = "auto",
    ignore: Sequence[str] = (), settings: Settings | None = None, compile: bool = True,
    progress: bool | None = False, folder: str | os.PathLike[str] | None = None,
    resume: bool = False, tell: Callable[[str], None] | None = None,
) -> TableModel:  # fmt: skip
    """Train a network to predict one column of a table from the others.

    The kinds of the columns are found from their values (numbers, categories, dates, booleans;
    identifiers and constants are left out); everything about them is learnt from the rows that are
    trained on, and is part of the model.

    Args:
        data: a `Frame`, or the path of a CSV or Parquet file.
        target: the column to predict. Rows where it is empty are left out.
        task: "regression", "classification", or "auto", which finds out.
        ignore: columns to leave out.
        settings: `Settings`; what it leaves open is chosen from the number of rows.
        compile, progress, folder, resume: as `ct.train.fit` takes them.
            A run that was interrupted leaves its checkpoint in the folder, and no model.
        tell: is called with sentences about what was found and chosen.

    Raises:
        FileError: if the file cannot be read.
        UnknownKeyError: if there is no such column.
        ArgumentError: if there is nothing to learn: too few rows, a constant target, no columns.

    >>> x = np.linspace(-1.0, 1.0, 200)
    >>> frame = ct.data.Frame(["x", "y"], [x, 3 * x + 1])
    >>> model = ct.tabular.fit(frame, "y")
    >>> model.evaluate(frame)["r2"] > 0.99
    True
    """
    say = tell or (lambda text: None)
    frame = data if isinstance(data, Frame) else read_frame(open_table(data))
    frame, rest, settings = _divided(frame, target, settings or Settings(), say)
    preparation = Preparation.learn(frame, target, task, ignore)
    for note in preparation.notes:
        say(note)
    train = _known(preparation.apply(frame), say)
    held = _known(preparation.apply(rest), say) if rest is not None else None
    random.manual_seed(settings.seed)
    model = TableModel(
        preparation, settings.hidden or (), settings.dropout or 0.0, {"settings": asdict(settings)}
    )
    model.history = _train(model, train, held, settings, compile, progress, folder, resume)
    if model.history.stopped == "interrupted":
        return model
    if rest is not None:
        model.facts["validation"] = model.evaluate(rest)
    model.facts["rows"] = len(train[0])
    if folder is not None:
        model.save(folder)
    return model


def _divided(
    frame: Frame, target: str, settings: Settings, say: Callable[[str], None]
) -> tuple[Frame, Frame | None, Settings]:
    """The rows to train on, those held out, and the settings for so many."""
    there = ~missing(frame[target])
    if not there.all():
        say(f"{int((~there).sum())} rows have no {target!r} and are left out")
        frame = frame.take(there)
    if len(frame) < _FEWEST:
        raise ArgumentError(
            f"{frame.path} has {len(frame)} rows with a target {target!r}; nothing can be learnt "
            f"from fewer than {_FEWEST}"
        )
    settings = settings.settled(len(frame))
    if not settings.validation:
        return frame, None, settings
    mask = held_out(_classes(frame[target]), len(frame), settings.validation, settings.seed)
    if not mask.any():
        return frame, None, settings
    return frame.take(~mask), frame.take(mask), settings


def _classes(column: Array) -> Array | None:
    """The number of each row's label, where labels come twice on average; None of plain numbers."""
    words = texts(column)
    numbers = {key: place for place, key in enumerate(first_written(words))}
    if len(numbers) * 2 > len(words):
        return None
    return np.array([numbers[key_of(word)] for word in words])


def _known(prepared: Prepared, say: Callable[[str], None]) -> tuple[Array, Array]:
    """Inputs and targets of the rows that have one."""
    for note in prepared.notes:
        say(note)
    if prepared.y is None or prepared.known.all():
        return prepared.x, np.asarray(prepared.y)
    return prepared.x[prepared.known], prepared.y[prepared.known]


def _train(
    model: TableModel, train: tuple[Array, Array], held: tuple[Array, Array] | None,
    settings: Settings, compile: bool, progress: bool | None, folder: Any, resume: bool,
) -> Any:  # fmt: skip
    """The history of training the network."""
    size, epochs = settings.batch_size or 1, settings.epochs or 1
    watched = held is not None and len(held[0]) > 0
    target = model.preparation.target
    shown = held if held is not None and watched else train
    labels = getattr(target, "labels", None)
    pictures = [] if folder is None else [Report(*shown, labels=labels, every=0)]
    rows = _in_batches(len(train[0]), size, settings.passes or 1, settings.seed)
    if rows is not None:
        train = train[0][rows], train[1][rows]
    steps = epochs * ceil(len(train[0]) / size)
    decay = AdamW(lr=settings.lr, weight_decay=settings.weight_decay or 0.0)
    return fit_network(
        model.network, train, optimizer=decay, schedule=cosine_decay(settings.lr, steps),
        epochs=epochs, batch_size=size, seed=settings.seed, validation=held if watched else None,
        early_stopping=EarlyStopping(settings.patience) if watched else None,
        loss="mse" if target.kind == "regression" else "cross_entropy",
        metrics=None if watched else (), compile=compile, progress=progress, folder=folder,
        resume=resume, callbacks=pictures,
        check=False,  # what it looks for, preparing has made sure of
    )  # fmt: skip


def _in_batches(rows: int, size: int, passes: int, seed: int) -> Array | None:
    """The rows of an epoch: all of them `passes` times, then some at random to fill the last batch.

    So every batch is full, and no step follows the gradient of a few rows. None for large tables,
    where it does not matter, and the copy would.
    """
    if rows > _MOST_COPIED:
        return None
    missing = -rows * passes % size
    fill = np.concatenate([shuffled(rows, seed, 2**32 - 2)] * ceil(missing / rows or 1))[:missing]
    return np.concatenate([np.tile(np.arange(rows), passes), fill])
