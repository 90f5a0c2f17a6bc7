"""What happens inside of a model: activations forward, gradients backward, units that are dead."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError
from ..gradients import no_grad
from ..nn.looking import mode, untouched
from ..nn.losses import mse_loss
from ..nn.module import named_parameters
from ..nn.watching import Watching, watch
from ..tensors import Tensor, tensor
from ..train.callbacks import Callback
from .distributions import Distribution, HistogramsOverTime, distribution, magnitudes, ridges
from .drawing import Drawing, Picture, shortened, text

Array = np.ndarray[Any, Any]
_MOST_UNITS = 64  # of a layer, that are drawn


@contextlib.contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Look at a model in the mode of evaluation; afterwards all is as before."""
    with mode(model, False), untouched(model):
        yield


@dataclass(frozen=True)
class Flow(Picture):
    """What `flow` returns: a distribution for each layer.

    Attributes:
        forward: of the output of each layer, from the first to the last.
        backward: of the logarithm (base 10) of the size of the loss's gradient by each of these
            outputs, in the same order; exact zeros are left out and counted in `vanished`.
        vanished: the share of gradients that are exactly 0, by layer.
        strength: the root of the mean square of the gradient, by layer.
    """

    forward: tuple[Distribution, ...]
    backward: tuple[Distribution, ...]
    vanished: tuple[float, ...]
    strength: tuple[float, ...]
    title: str = "Data flows forward, gradients flow back"

    def drawings(self) -> list[Drawing]:
        """Activations on the left, gradients on the right; the first layer on top."""
        labels = [shortened(d.name or "model", 14) for d in self.forward]
        spread = [f"σ {_short(d.deviation)}" for d in self.forward]
        sizes = [f"{_short(s)}" for s in self.strength]
        return [
            ridges("outputs, forward ↓  (σ: deviation)", self.forward, labels, spread, 0, "value"),
            ridges(
                "gradients, backward ↑  (root mean square)", self.backward, labels, sizes, 1,
                "log10 of the size of the gradient",
            ),
        ]  # fmt: skip


@dataclass(frozen=True)
class LayerUnits:
    """The units of one layer.

    Attributes:
        path: of the layer.
        active: for each unit, the share of rows in which its output is not 0 and a gradient
            comes back to it, [units].
        dead: for each unit, whether its output is the same for all rows, or no gradient comes
            back in any: then training cannot change what it does, [units].
    """

    path: str
    active: Array
    dead: Array


@dataclass(frozen=True)
class DeadUnits(Picture):
    """What `dead_units` returns.

    Attributes:
        layers: in order.
        rows: how many rows were looked at.
    """

    layers: tuple[LayerUnits, ...]
    rows: int
    title: str = "Units: activity, and which are dead"

    @property
    def total(self) -> int:
        """How many units are dead."""
        return sum(int(layer.dead.sum()) for layer in self.layers)

    def drawings(self) -> list[Drawing]:
        """A strip for each layer: the fuller a cell, the more often the unit is active."""
        return [_strips(self)]


def seen(model: Any, inputs: tuple[Any, ...], loss: Callable[[Any], Any] | None) -> Watching:
    """What `nn.watch` sees in one pass through a model, and back if there is a loss."""
    with undisturbed(model), watch(model) as found:
        if loss is None:
            with no_grad():
                model(*inputs)
        else:
            value = loss(model(*inputs))
            if not isinstance(value, Tensor):
                raise ArgumentTypeError(f"the loss returns {type(value).__name__}, not a tensor")
            value.mean().backward()
    return found


def flow(model: Any, x: Any, y: Any = None, loss: Any = None) -> Flow:
    """How data flows through the layers, and gradients flow back, for one batch.

    Vanishing gradients are a staircase to the left in the picture on the right; activations that
    shrink, explode or saturate show on the left. The model is as before afterwards.

    Args:
        model: a model of one input.
        x: a batch.
        y: targets for `loss`.
        loss: function of (output, y), `nn.mse_loss` by default; without `y` the mean square of the
            output is used.

    Raises:
        ArgumentError: if no layer has an output.

    >>> from cotangent import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> picture = flow(model, np.ones((4, 2)), np.zeros((4, 1)))
    >>> [d.name for d in picture.forward]
    ['0', '1', '2']
    """
    compare = mse_loss if loss is None else loss

    def value(out: Any) -> Any:
        return compare(out, y) if y is not None else (out * out).mean()

    found = seen(model, (tensor(x),), value)
    paths = [path for path in found.outputs if path]
    if not paths:
        paths = list(found.outputs)
    forward, backward, vanished, strength = [], [], [], []
    for path in paths:
        forward.append(distribution(path, found.outputs[path]))
        g = found.gradients[path].numpy() if path in found.gradients else np.zeros(0)
        backward.append(magnitudes(path, g))
        vanished.append(float(np.mean(g == 0)) if g.size else 1.0)
        strength.append(float(np.sqrt(np.mean(g.astype(np.float64) ** 2))) if g.size else 0.0)
    return Flow(tuple(forward), tuple(backward), tuple(vanished), tuple(strength))


def dead_units(model: Any, x: Any) -> DeadUnits:
    """Which units of each layer do nothing for any row of `x`.

    A unit is dead if its output is the same for all rows, or if no gradient comes back to it from
    any: rectified units whose input is always negative, saturated ones, and those that nothing
    uses. Gradients are those of a random projection of the output (seed 0), so that no target is
    needed. The model is as before afterwards.

    Args:
        model: a model of one input.
        x: rows, two or more, [rows, ...]; some hundreds tell more than a few.

    Raises:
        ArgumentError: for fewer than two rows, and a model without layers of [rows, units].

    >>> from cotangent import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> model[0].bias.assign([0.0, 0.0, -1e6])
    >>> dead_units(model, np.random.default_rng(0).normal(size=(64, 2))).layers[1].dead[2].item()
    True
    """
    rows = tensor(x)
    if rows.ndim < 1 or rows.shape[0] < 2:
        raise ArgumentError(f"dead_units: takes two rows or more, not shape {rows.shape}")

    def projection(out: Any) -> Any:
        return (out * np.random.default_rng(0).normal(size=out.shape)).sum()

    found = seen(model, (rows,), projection)
    layers = [
        _units(path, found.outputs[path].numpy(), found.gradients.get(path))
        for path in found.outputs
        if path and found.outputs[path].ndim >= 2
    ]
    if not layers:
        raise ArgumentError("dead_units: no layer of this model has an output [rows, ..., units]")
    return DeadUnits(tuple(layers), rows.shape[0])


def _units(path: str, out: Array, gradient: Any) -> LayerUnits:
    flat = out.reshape(-1, out.shape[-1])
    constant = flat.max(axis=0) == flat.min(axis=0)
    g = np.zeros_like(flat) if gradient is None else gradient.numpy().reshape(flat.shape)
    active = np.mean((flat != 0) & (g != 0), axis=0)
    return LayerUnits(path, active, constant | (g == 0).all(axis=0))


class Histograms(Callback):
    """Records the distributions of weights, gradients and activations by epoch.

    As a callback of `ct.train.fit` it records after each epoch; in a loop of your own call
    `record`. It looks at one fixed batch, op by op, so an epoch costs one small step more.

    Args:
        x: a batch on which activations and gradients are taken; None records weights alone.
        y: the targets of this batch.
        loss: function of (output, y); `nn.mse_loss` by default.
        every: record every so many epochs.

    >>> from cotangent import nn
    >>> model, record = nn.Sequential(nn.Linear(2, 1)), Histograms(np.ones((4, 2)), np.ones((4, 1)))
    >>> record.record(model)
    >>> list(record.picture().activations), len(record.picture().weights["0.weight"])
    (['0'], 1)
    """

    def __init__(self, x: Any = None, y: Any = None, loss: Any = None, every: int = 1) -> None:
        if every < 1:
            raise ArgumentError(f"Histograms: every must be 1 or more, got {every}")
        self.x, self.y, self._every = x, y, every
        self.loss = mse_loss if loss is None else loss
        self.epochs: list[int] = []
        self._kinds: tuple[dict[str, list[Distribution]], ...] = ({}, {}, {})

    def on_epoch(self, run: Any, row: dict[str, Any]) -> None:
        """Record after an epoch."""
        if run.epoch % self._every == 0:
            self.record(run.model, run.epoch)

    def record(self, model: Any, epoch: int | None = None) -> None:
        """Take the distributions now."""
        self.epochs.append(len(self.epochs) + 1 if epoch is None else epoch)
        weights, gradients, activations = self._kinds
        for path, variable in named_parameters(model):
            weights.setdefault(path, []).append(distribution(path, variable))
        if self.x is None:
            return
        with undisturbed(model), watch(model) as found:
            out = model(tensor(self.x))
            value = self.loss(out, self.y) if self.y is not None else (out * out).mean()
            grads = value.mean().backward()
        for path, variable in named_parameters(model):
            gradient = grads.get(variable)
            values = np.zeros(0) if gradient is None else gradient.numpy()
            gradients.setdefault(path, []).append(magnitudes(path, values))
        for path in found.outputs:
            if path:
                entry = distribution(path, found.outputs[path])
                activations.setdefault(path, []).append(entry)

    def picture(self) -> HistogramsOverTime:
        """What was recorded so far."""
        weights, gradients, activations = (
            {path: tuple(series) for path, series in kind.items()} for kind in self._kinds
        )
        return HistogramsOverTime(tuple(self.epochs), weights, gradients, activations)


def _short(value: float) -> str:
    return f"{value:.2g}"


def _strips(picture: DeadUnits) -> Drawing:
    width, cell, left = 360, 14, 16
    across = (width - 2 * left) // cell
    elements, top = [], 4.0
    for layer in picture.layers:
        count, dead = layer.active.size, int(layer.dead.sum())
        note = f"{dead} of {count} dead"
        if count > _MOST_UNITS:
            note += f"; the first {_MOST_UNITS} are drawn"
        elements.append(text(left, top + 14, f"{shortened(layer.path, 18)}: {note}"))
        top += 20
        for i in range(min(count, _MOST_UNITS)):
            x, y = left + cell * (i % across), top + cell * (i // across)
            elements.append(_unit(x, y, cell - 2, float(layer.active[i]), bool(layer.dead[i])))
        top += cell * (-(-min(count, _MOST_UNITS) // across)) + 10
    elements.append(text(left, top + 12, "the fuller, the more rows a unit is active in; ×: dead",
                         style="quiet"))  # fmt: skip
    return Drawing(width, top + 22, tuple(elements), "units by activity")


def _unit(x: float, y: float, size: float, active: float, dead: bool) -> str:
    cell = (
        f'<rect class="f0" x="{x:g}" y="{y:g}" width="{size}" height="{size}" rx="2" '
        f'fill-opacity="{0.06 + 0.94 * active:.2f}"/>'
    )
    if not dead:
        return cell
    cross = f"M{x + 2:g} {y + 2:g}l{size - 4} {size - 4}m0 {4 - size}l{4 - size} {size - 4}"
    return cell + f'<path class="warned" stroke-width="2" fill="none" d="{cross}"/>'
