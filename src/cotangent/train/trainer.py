"""`Trainer`: a model with what trains it, measures it, and predicts with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import real, whole
from ..config import SETTINGS
from ..errors import ArgumentError, ArgumentTypeError, FileError
from ..gradients import no_grad
from ..late import late
from ..nn.looking import mode, untouched
from ..nn.module import load_state_dict
from ..optim.adam import Adam
from ..optim.optimizer import Optimizer
from ..optim.plateau import ReduceLROnPlateau
from ..random import DEFAULT
from ..tensors import Tensor
from ..tree import flatten
from ..variables import named_variables
from . import metrics as known_metrics
from .average import WeightMean
from .callbacks import Callback
from .drivers import RowsDriver
from .evaluation import Evaluation, Totals, pieces
from .examples import Examples, apply, as_arrays, as_examples, dtype_of, each
from .feeds import Rows
from .history import History
from .metrics import Metric
from .objective import Objective, class_weights
from .preflight import ROWS, check, check_last_batch, report
from .progress import Progress
from .run import Run
from .saving import RunFolder
from .state import described
from .steps import Steps, Update
from .stopping import EarlyStopping, Patience, as_stopping, monitored
from .stream import Packing, Stream, StreamDriver
from .tasks import Task, find_task, fitting_targets, form_of

Array = np.ndarray[Any, Any]

_PROBED = 8  # rows on which the model is tried before training
_EPOCHS = 10


class Trainer:
    """A model with its loss, optimizer and metrics. `fit` makes one; its arguments are there.

    Attributes:
        model, optimizer: what is trained, by what.
        task: the `Task`, once data were seen.
        metrics: the metrics, once data were seen.
        mean: the running mean of the weights, or None.
    """

    def __init__(
        self, model: Any, *, loss: Any = None, optimizer: Optimizer | None = None,
        metrics: Any = None, schedule: Any = None, clip_norm: float | None = None,
        clip_value: float | None = None, accumulate: int = 1, class_weight: Any = None,
        ema: float | None = None, compile: bool = True,
    ) -> None:  # fmt: skip
        self.model = model
        self._loss = loss
        self._dtype = dtype_of(model) or SETTINGS.default_float
        if not named_variables(model):
            raise ArgumentError(f"fit: {type(model).__name__} holds no parameters to train")
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            raise ArgumentTypeError(
                f"fit: optimizer must be an optimizer such as optim.Adam(), not {optimizer!r}"
            )
        self.optimizer = Adam() if optimizer is None else optimizer
        if not (schedule is None or callable(schedule) or isinstance(schedule, ReduceLROnPlateau)):
            raise ArgumentTypeError(
                "fit: schedule must be a function of the step number, or a ReduceLROnPlateau, "
                f"not {schedule!r}"
            )
        self.schedule = schedule
        if whole("fit", "accumulate", accumulate) < 1:
            raise ArgumentError(f"fit: accumulate must be at least 1, got {accumulate}")
        self.accumulate = int(accumulate)
        self.class_weight = class_weight
        self.mean = None if ema is None else WeightMean(ema, model)
        self._compiled = bool(compile)
        self._update = Update(model, self.optimizer, clip_value, clip_norm, self.mean)
        self._metrics = metrics
        self.metrics: list[Metric] = []
        self.task: Task | None = None
        self._probed: Any = None
        self._objective: Objective | None = None
        self._evaluation: Evaluation | None = None

    # -- training -------------------------------------------------------------------------

    def fit(
        self, data: Any, *, epochs: int | None = None, steps: int | None = None,
        batch_size: int = 32, shuffle: bool = True, seed: int = 0, validation: Any = None,
        sample_weight: Any = None, early_stopping: Any = None,
        callbacks: Sequence[Callback] = (), check: bool = True, progress: bool | None = None,
        folder: str | os.PathLike[str] | None = None, resume: bool = False,
        checkpoint_seconds: float = 30.0,
    ) -> History:  # fmt: skip
        """Train; see `fit`."""
        told = Progress(progress)
        epochs = _length(epochs, steps)
        source, held = self._sources(data, validation, sample_weight, seed)
        task = self._settle(source, held is not None)
        driver = self._driver(source, batch_size, shuffle, seed, check)
        told.say(self._described(task, epochs, steps))
        run = Run(
            self.model, self.optimizer, epochs=epochs, steps=steps, updates=driver.updates,
            schedule=self.schedule, metrics=self.metrics, mean=self.mean, callbacks=callbacks,
            progress=told, folder=None if folder is None else Path(folder),
        )  # fmt: skip
        if held is not None:
            run.validate = lambda: self._validated(run, held)
        self._watch(run, early_stopping, held is not None)
        run.finished = lambda: self._finish(run)
        if resume and folder is None:
            raise ArgumentError("fit: resume=True needs the folder of the run, as folder=...")
        if run.folder is None:
            run.go(driver.advance)
        else:
            order = {"batch_size": batch_size, "shuffle": bool(shuffle), "seed": seed}
            settings = self._settings(source, order)
            self._kept(run, driver, RunFolder(run.folder, resume, settings), checkpoint_seconds)
        run.history.seconds = run.shares()
        told.shares(run.history.seconds, run.history.stopped)
        if run.folder is not None:
            _write_report(run)
        return run.history

    def _kept(self, run: Run, driver: Any, folder: RunFolder, seconds: float) -> None:
        """A run whose checkpoints are kept in a folder."""
        with folder:
            if folder.begin(run):
                run.say(f"resumed in epoch {run.epoch + 1}, after {run.step} steps")
            run.noted, run.saved = lambda: folder.note(run), lambda: folder.save(run)
            run.save_seconds = real("fit", "checkpoint_seconds", seconds, 0.0)

            def finished() -> None:
                self._finish(run)
                folder.end(run)

            run.finished = finished
            run.go(driver.advance)

    def _settings(self, source: Examples | Stream, order: dict[str, Any]) -> dict[str, Any]:
        """What decides the numbers of a run, apart from its length and what is held out."""
        if isinstance(source, Stream):
            data = f"a stream of {source.count or 'some'} batches"
        else:
            data = described(flatten(source.parts)[0])
        return {
            **order, "data": data, "loss": self.task.why if self.task else "",
            "optimizer": described([self.optimizer, *self.optimizer.groups]),
            "schedule": described(self.schedule), "accumulate": self.accumulate,
            "clip": described(self._update.limits), "class_weight": described(self.class_weight),
            "ema": None if self.mean is None else self.mean.decay,
            "metrics": [metric.name for metric in self.metrics],
        }  # fmt: skip

    def _sources(self, data: Any, validation: Any, sample_weight: Any, seed: int) -> tuple[
        Examples | Stream, Examples | Stream | None
    ]:  # fmt: skip
        """What to train on, and what is held out."""
        examples = as_examples(data, self._dtype)
        source: Examples | Stream = Stream(data, self._dtype) if examples is None else examples
        if sample_weight is not None:
            if examples is None:
                raise ArgumentError(
                    "fit: sample_weight goes with arrays; let batches be (x, y, weight) instead"
                )
            weight = as_arrays(np.asarray(sample_weight), self._dtype).astype(self._dtype)
            source = examples = Examples(
                examples.x, examples.y, checked_weight(weight, examples.rows)
            )
        if validation is None:
            return source, None
        if isinstance(validation, float):
            if examples is None:
                raise ArgumentError(
                    "fit: a fraction can be held out of arrays only; pass validation=(x, y)"
                )
            return examples.split(validation, seed)
        held = as_examples(validation, self._dtype, "validation")
        return source, Stream(validation, self._dtype, "validation") if held is None else held

    def _settle(self, source: Examples | Stream, validated: bool) -> Task:
        """Find the task, the objective and the metrics, once."""
        if isinstance(source, Stream):
            few = source.few(_PROBED)
        else:
            few = source.rows_of(slice(0, _PROBED))
        if self.task is None:
            self._probed = None if few.y is None else self._try(few)
            self.task = find_task(self._loss, few.y, self._probed)
            self._objective = Objective(self.task)
            self._evaluation = Evaluation(self.model, self._objective, self._compiled)
        if self._metrics is None:
            measured = self.task.kind != "regression" or validated
            names: Any = self.task.metrics if measured and few.y is not None else ()
        else:
            one = isinstance(self._metrics, (str, Metric))
            names = [self._metrics] if one else list(self._metrics)
        if names and not isinstance(self._probed, Tensor):
            raise ArgumentError(
                "fit: metrics compare targets with the model's predictions, a single tensor, and "
                + ("there are no targets" if few.y is None else "the model returns several")
                + "; pass metrics=()"
            )
        form = form_of(self.task, self._probed)
        self.metrics = [known_metrics.get_for(name, **form) for name in names]
        return self.task

    def _try(self, few: Examples) -> Any:
        """What the model predicts for a few rows."""
        with mode(self.model, False), no_grad(), untouched(self.model, DEFAULT):
            return apply(self.model, each(Tensor, few.x))

    def _fitted(self, examples: Examples) -> Examples:
        """The examples with targets as the loss takes them."""
        task = self.task
        if task is None or examples.y is None:
            return examples
        y = fitting_targets(task, examples.y, self._probed)
        if task.kind in ("regression", "binary") and isinstance(y, np.ndarray):
            y = np.asarray(y, self._dtype)
        return Examples(examples.x, y, examples.weight)

    def _prepared(self, examples: Examples) -> Examples:
        """The examples to train on, with their weights by class."""
        examples = self._fitted(examples)
        if self.class_weight is None:
            return examples
        weight = class_weights(self.class_weight, examples.y, self._dtype)
        if examples.weight is not None:
            weight = weight * examples.weight
        return Examples(examples.x, examples.y, weight)

    def _driver(
        self, source: Examples | Stream, batch_size: int, shuffle: bool, seed: int, look: bool
    ) -> RowsDriver | StreamDriver:
        """What goes through the data, after a look at them."""
        if isinstance(source, Stream):
            if isinstance(self.class_weight, str):
                raise ArgumentError(
                    'fit: class_weight="balanced" needs all labels; pass one weight a class'
                )
            source.prepare = self._prepared
            packing = Packing(first := self._prepared(source.few(ROWS)))
            self._look(first, look)
            steps = self._steps(packing.select())
            return StreamDriver(source, packing, steps, self.accumulate, bool(self.metrics))
        examples = self._prepared(source)
        feed = Rows(examples, batch_size, shuffle, seed)
        self._look(examples, look, feed.size)
        return RowsDriver(feed, self._steps(feed.select()), self.accumulate, bool(self.metrics))

    def _look(self, examples: Examples, look: bool, size: int | None = None) -> None:
        """Look at everything before training; `size` is that of a batch of rows in memory."""
        if not look or self.task is None or self._objective is None:
            return
        found = []
        if size is not None:
            found += check_last_batch(self.model, self._objective, examples, size)
        report(found or check(self.model, self.task, self._objective, examples, self._probed))

    def _steps(self, select: Any) -> Steps:
        if self._objective is None:
            raise ArgumentError("fit: there is no objective")
        rated = self.schedule is not None and not isinstance(self.schedule, ReduceLROnPlateau)
        return Steps(
            self._objective, self._update, select, rated=rated, accumulate=self.accumulate > 1,
            predictions=bool(self.metrics), compiled=self._compiled,
        )  # fmt: skip

    def _described(self, task: Task, epochs: int | None, steps: int | None) -> str:
        length = f"{epochs} epochs" if epochs is not None else f"{steps} steps"
        return f"{task.why}; {self.optimizer!r}; {length}"

    def _watch(self, run: Run, early_stopping: Any, validated: bool) -> None:
        stopping = as_stopping(early_stopping)
        if stopping is None and run.folder is not None and validated:
            stopping = EarlyStopping(patience=None, restore_best=False)  # for the best checkpoint
        if stopping is not None:
            name, how = monitored(stopping, validated, self.metrics)
            run.patience = Patience(stopping, name, how)
            run.history.monitor, run.history.mode = name, how

    def _validated(self, run: Run, held: Examples | Stream) -> dict[str, Any]:
        """Loss and metrics of the rows that are held out."""
        with run.averaged():
            found = self._measured(held)
        return {f"validation {name}": value for name, value in found.items()}

    def _finish(self, run: Run) -> None:
        """The weights that the run is for: the best, or the mean, or the last."""
        patience = run.patience
        if patience is not None and patience.stopping.restore_best and patience.weights:
            load_state_dict(self.model, patience.weights)
        elif self.mean is not None:
            self.mean.settle()

    # -- afterwards -----------------------------------------------------------------------

    def evaluate(self, data: Any) -> dict[str, Any]:
        """The loss and the metrics of examples, exact however many there are.

        Args:
            data: as `fit` takes it: (x, y), with weights as a third part, or x alone.
        """
        examples = as_examples(data, self._dtype)
        source = Stream(data, self._dtype) if examples is None else examples
        self._settle(source, True)
        return self._measured(source)

    def _measured(self, source: Examples | Stream) -> dict[str, Any]:
        if self._evaluation is None:
            raise ArgumentError("evaluate: there is no objective")
        totals = Totals([metric.new() for metric in self.metrics])
        if isinstance(source, Examples):
            stretches = pieces(self._fitted(source))
        else:
            stretches = ((part.parts, part.rows) for part in map(self._fitted, source.batches(0)))
        self._evaluation.over(stretches, totals.add)
        return totals.values()

    def predict(self, x: Any) -> Any:
        """What the model gives for inputs, as an array ``[rows, ...]``, in evaluation mode."""
        examples = Examples(as_arrays(x, self._dtype))
        found: list[Array] = []

        def use(results: dict[str, Array], _: Any, rows: Array) -> None:
            predictions = results["predictions"]
            found.append(predictions.reshape((-1, *predictions.shape[2:])))

        Evaluation(self.model, None, self._compiled).over(pieces(examples), use)
        return np.concatenate(found)


def _length(epochs: int | None, steps: int | None) -> int | None:
    """The number of epochs; None if steps are given."""
    if epochs is not None and steps is not None:
        raise ArgumentError(f"fit: give epochs={epochs} or steps={steps}, not both")
    for name, value in (("epochs", epochs), ("steps", steps)):
        if value is not None and whole("fit", name, value) < 1:
            raise ArgumentError(f"fit: {name} must be positive, got {value}")
    return _EPOCHS if epochs is None and steps is None else epochs


def _write_report(run: Run) -> None:
    """Write the page that shows a run; that it cannot be written is said, and no reason to lose
    the history."""
    try:
        late("viz.reports", "report")(run.history)
    except FileError as error:
        run.say(str(error))


def checked_weight(weight: Array, rows: int) -> Array:
    """Sample weights, one for each row, finite and not negative."""
    if weight.shape != (rows,):
        raise ArgumentError(
            f"fit: sample_weight of shape {weight.shape} must have one weight for each of the "
            f"{rows} rows"
        )
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ArgumentError("fit: sample_weight must be finite and not negative")
    return weight
