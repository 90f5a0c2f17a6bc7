"""Everything that a run needs to go on, as arrays by name and facts for JSON, and back."""

from __future__ import annotations

import platform
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._version import __version__
from ..errors import ArgumentError, FileError
from ..nn.module import load_state_dict, state_dict
from ..optim.plateau import ReduceLROnPlateau
from ..random import DEFAULT
from ..tensors import Tensor
from ..variables import named_variables
from .run import Run

Array = np.ndarray[Any, Any]
Facts = dict[str, Any]

_LAYOUT = 1  # of what follows
_CHECKED = 1 << 14  # about so many elements of an array are compared
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def collect(run: Run, settings: Facts) -> tuple[dict[str, Array], Facts]:
    """The arrays and facts of a run between two steps; `settings` are what it was made with."""
    arrays: dict[str, Array] = {}

    def put(group: str, values: Mapping[str, Any]) -> None:
        arrays.update({f"{group}/{name}": np.asarray(value) for name, value in values.items()})

    put("model", state_dict(run.model))
    put("optimizer", run.optimizer.state_dict(run.model))
    put("random", {name: v.numpy() for name, v in named_variables(DEFAULT)})
    put("losses", {"loss": _joined(run.totals.losses), "weight": _joined(run.totals.weights)})
    for metric in run.totals.metrics:
        put(f"metric/{metric.name}", metric.state_dict())
    if run.mean is not None:
        put("mean", run.mean.state_dict())
    if run.patience is not None:
        put("best", run.patience.weights)
    facts = {
        "layout": _LAYOUT, "settings": settings, "epoch": run.epoch, "batch": run.batch,
        "step": run.step, "rows": run.history.rows, "norms": run.norms,
        "stopped": run.history.stopped, "lr": _rates(run.optimizer),
        "patience": None if run.patience is None else run.patience.state_dict(),
        "plateau": _plateau(run), "callbacks": [c.state_dict() for c in run.callbacks],
        "versions": versions(),
    }  # fmt: skip
    return arrays, facts


def restore(run: Run, arrays: Mapping[str, Array], facts: Facts, settings: Facts) -> None:
    """Put a run where the one was that `collect` was given.

    Raises:
        FileError: if it is the checkpoint of something else.
        ArgumentError: if the run was made with other settings; each is named.
        UnknownKeyError, ShapeError: if the model has other parameters; each is named.
    """
    if facts.get("layout") != _LAYOUT or "settings" not in facts:
        raise FileError(
            f"fit: the checkpoint has layout {facts.get('layout')!r}, not {_LAYOUT}; it was "
            "written by another version of Cotangent, or by something else"
        )
    _compare(facts["settings"], settings)

    def group(name: str) -> dict[str, Array]:
        start = f"{name}/"
        return {key[len(start) :]: x for key, x in arrays.items() if key.startswith(start)}

    load_state_dict(run.model, group("model"))
    run.optimizer.load_state_dict(run.model, group("optimizer"))
    for name, variable in named_variables(DEFAULT):
        variable.assign(Tensor(np.array(group("random")[name], variable.dtype)))
    losses = group("losses")
    if losses["loss"].size:
        run.totals.losses, run.totals.weights = [losses["loss"]], [losses["weight"]]
    for metric in run.totals.metrics:
        metric.load_state_dict(group(f"metric/{metric.name}"))
    if run.mean is not None:
        run.mean.load_state_dict(group("mean"))
    if run.patience is not None and facts["patience"] is not None:
        run.patience.load_state_dict(facts["patience"])
        run.patience.weights = group("best")
    _restore_facts(run, facts)


def _restore_facts(run: Run, facts: Facts) -> None:
    run.epoch, run.batch, run.step = (int(facts[k]) for k in ("epoch", "batch", "step"))
    run.history.rows = list(facts["rows"])
    run.norms = list(facts["norms"])
    for holder, rate in zip(_holders(run.optimizer), facts["lr"], strict=True):
        if rate is not None and holder.lr != rate:
            holder.lr = rate
    if isinstance(run.schedule, ReduceLROnPlateau) and facts["plateau"] is not None:
        known = {k: v for k, v in facts["plateau"].items() if v is not None}
        run.schedule.load_state_dict(run.schedule.state_dict() | known)
    for callback, values in zip(run.callbacks, facts["callbacks"], strict=False):
        callback.load_state_dict(values)
    if facts["stopped"] == "early stopping":
        run.stop("early stopping")


def _joined(arrays: Sequence[Array]) -> Array:
    return np.concatenate(arrays) if arrays else np.empty(0)


def _holders(optimizer: Any) -> list[Any]:
    """What has a learning rate of its own: the optimizer and its groups."""
    return [o for o in (optimizer, *optimizer.groups) if "lr" in vars(o)]


def _rates(optimizer: Any) -> list[float | None]:
    return [None if callable(o.lr) else float(o.lr) for o in _holders(optimizer)]


def _plateau(run: Run) -> Any:
    if not isinstance(run.schedule, ReduceLROnPlateau):
        return None
    found: dict[str, Any] = run.schedule.state_dict()
    return {name: value if np.isfinite(value) else None for name, value in found.items()}


def versions() -> dict[str, str]:
    """What a run was made by."""
    return {
        "cotangent": __version__, "numpy": np.__version__, "python": platform.python_version(),
    }  # fmt: skip


def _compare(before: Facts, now: Facts) -> None:
    """Raise if settings that decide the numbers differ."""
    differ = [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if differ:
        raise ArgumentError(
            f"fit: resume=True, but the run was made with other settings: {'; '.join(differ)}. "
            "Pass the same ones, or begin a new run in another folder"
        )


def described(value: Any) -> Any:
    """A setting as JSON holds it, the same for equal settings in any process."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        return described(value.numpy())
    if isinstance(value, np.ndarray):
        flat = value.reshape(-1)
        some = np.ascontiguousarray(flat[:: max(1, flat.size // _CHECKED)])
        return f"{value.dtype}{list(value.shape)} {zlib.crc32(some.tobytes()):08x}"
    if isinstance(value, (list, tuple)):
        return [described(part) for part in value]
    if isinstance(value, dict):
        return {str(name): described(part) for name, part in value.items()}
    return _ADDRESS.sub("", repr(value))  # of functions
