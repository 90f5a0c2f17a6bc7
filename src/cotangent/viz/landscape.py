"""The loss around trained weights, over a plane through them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import real, whole
from ..compiler.compiled import jit
from ..errors import ArgumentError
from ..gradients import no_grad
from ..nn.module import named_parameters, parameters
from ..tensors import tensor
from ..train.callbacks import Callback
from .inside import undisturbed
from .plots import INK, SHADES, Plot, at_most_ticks, axes_on, bar, label, levels

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Landscape(Plot):
    """What `landscape` returns.

    Attributes:
        a, b: offsets along the two directions, [points].
        losses: at each point, [points (b), points (a)].
        path: where training went, [snapshots, 2]; no rows without a trajectory.
        explained: the share of the trajectory's variance that the plane shows; NaN without one.
        directions: what the axes are.
        vectors: the two directions, [2, parameters], in the order of the parameters.
    """

    a: Array
    b: Array
    losses: Array
    path: Array
    explained: float
    directions: tuple[str, str]
    vectors: Array
    title: str = "Loss around the trained weights"
    size = (9.4, 4.3)

    def draw(self, figure: Any) -> None:
        """A contour beside a surface."""
        flat = axes_on(figure, 121)
        shown = np.clip(self.losses, None, np.nanquantile(self.losses, 0.98))
        heights = levels(shown)
        if len(heights) < 2:
            heights = np.array([heights[0] - 0.5, heights[0] + 0.5])
        filled = flat.contourf(self.a, self.b, shown, heights, cmap=SHADES)
        bar(figure, filled, flat, "loss")
        if len(self.path):
            flat.plot(*self.path.T, color="white", linewidth=2.6)
            flat.plot(*self.path.T, color="#c2185b", marker=".", markersize=4, linewidth=1.2)
        flat.plot([0], [0], marker="*", markersize=11, color="white", markeredgecolor="black")
        words = "" if np.isnan(self.explained) else f" ({self.explained:.0%} of the path)"
        label(flat, self.title + words, *self.directions)
        solid = axes_on(figure, 122, projection="3d")
        grid = np.meshgrid(self.a, self.b)
        surface = solid.plot_surface(
            *grid, shown, cmap=SHADES, linewidth=0, antialiased=True, rcount=60, ccount=60
        )
        surface.set_rasterized(True)
        label(solid, "the loss as a surface", *self.directions)
        for axis in (solid.xaxis, solid.yaxis, solid.zaxis):
            axis.set_pane_color((0.5, 0.5, 0.5, 0.08))
            axis.set_major_locator(at_most_ticks(5))
            axis.line.set_color(INK)
        solid.tick_params(axis="z", colors=INK)
        solid.set_box_aspect(None, zoom=0.85)


class Trajectory(Callback):
    """Keeps the weights after every epoch, for `landscape`: a callback of `ct.train.fit`, or call
    `record` yourself.

    >>> from cotangent import nn
    >>> model, path = nn.Linear(2, 1), Trajectory()
    >>> path.record(model)
    >>> path.snapshots[0].shape
    (3,)
    """

    def __init__(self) -> None:
        self.snapshots: list[Array] = []

    def on_start(self, run: Any) -> None:
        """Keep the weights that training begins with."""
        self.record(run.model)

    def on_epoch(self, run: Any, row: dict[str, Any]) -> None:
        """Keep the weights after an epoch."""
        self.record(run.model)

    def record(self, model: Any) -> None:
        """Keep the weights of now."""
        self.snapshots.append(_flat([p.numpy() for p in parameters(model)]))


def landscape(
    model: Any, x: Any, y: Any, loss: Callable[[Any, Any], Any], *,
    trajectory: Trajectory | Sequence[Array] | None = None,
    points: int = 51, reach: float = 1.0, seed: int = 0,
) -> Landscape:  # fmt: skip
    """The loss on a plane through the weights of a model.

    Without a trajectory the plane is spanned by two random directions, of which each filter (a
    row of a weight) has the norm of the weights' filter, and biases and other vectors are 0: H. Li,
    Z. Xu, G. Taylor, C. Studer, T. Goldstein, "Visualizing the loss landscape of neural nets",
    2018. With one, it is spanned by the first two principal components of where the weights went
    relative to where they are.

    All losses are computed by one compiled function. The model is as before afterwards.

    Args:
        model: in whichever mode; the loss is taken in the mode of evaluation.
        x, y: the rows on which the loss is taken.
        loss: function of (output, y).
        trajectory: weights over time; see `Trajectory`. Two or more.
        points: in each direction.
        reach: how far to go in units of the directions, for random ones; 1 goes as far as the
            weights are long.
        seed: of the random directions.

    Raises:
        ArgumentError: for a model without parameters, and snapshots that do not fit it.

    >>> from cotangent import nn
    >>> model = nn.Linear(1, 1)
    >>> model.weight.assign([[2.0]])
    >>> found = landscape(model, [[1.0]], [[2.0]], nn.mse_loss, points=3)
    >>> found.losses.shape, found.losses[1, 1].item()
    ((3, 3), 0.0)
    """
    points = whole("landscape", "points", points, least=2)
    real("landscape", "reach", reach, 1e-9, 1e9)
    weights = [p.numpy() for p in parameters(model)]
    if not weights:
        raise ArgumentError("landscape: the model has no parameters")
    snapshots = trajectory.snapshots if isinstance(trajectory, Trajectory) else trajectory
    if snapshots is None:
        first, second = _random_directions(weights, seed)
        a = b = np.linspace(-reach, reach, points)
        path, explained = np.zeros((0, 2)), float("nan")
        names = ("random direction 1", "random direction 2")
    else:
        first, second, path, explained = _principal(weights, snapshots)
        a, b = (_around(path[:, i], points) for i in (0, 1))
        names = ("principal component 1", "principal component 2")
    losses = _losses(model, x, y, loss, (first, second), a, b)
    vectors = np.stack([_flat(first), _flat(second)])
    return Landscape(a, b, losses, path, explained, names, vectors)


def _random_directions(weights: Sequence[Array], seed: int) -> tuple[list[Array], list[Array]]:
    rng = np.random.default_rng(seed)
    return _filter_normalised(weights, rng), _filter_normalised(weights, rng)


def _filter_normalised(weights: Sequence[Array], rng: np.random.Generator) -> list[Array]:
    """A random direction whose filters are as long as those of the weights."""
    found = []
    for w in weights:
        d: Array = np.asarray(rng.normal(size=w.shape))
        if w.ndim < 2:
            found.append(np.zeros(w.shape))
            continue
        axes = tuple(range(1, w.ndim))
        length = np.sqrt((d**2).sum(axis=axes, keepdims=True))
        wanted = np.sqrt((w.astype(np.float64) ** 2).sum(axis=axes, keepdims=True))
        found.append(d * wanted / np.maximum(length, 1e-300))
    return found


def _principal(
    weights: Sequence[Array], snapshots: Sequence[Array]
) -> tuple[list[Array], list[Array], Array, float]:
    """Two principal components of a trajectory, its places along them, and their share."""
    end = _flat(weights)
    if len(snapshots) < 2 or any(np.size(s) != end.size for s in snapshots):
        sizes = sorted({int(np.size(s)) for s in snapshots})
        raise ArgumentError(
            f"landscape: takes two snapshots or more of {end.size} weights each, not "
            f"{len(snapshots)} of {sizes}"
        )
    moved: Array = np.stack([np.ravel(s) for s in snapshots]).astype(np.float64) - end
    _, sizes_, rows = np.linalg.svd(moved, full_matrices=False)
    path = moved @ rows[:2].T
    variances: Array = np.square(sizes_)
    total = float(variances.sum())
    explained = float(variances[:2].sum()) / total if total else 1.0
    first, second = (_unflat(row, weights) for row in rows[:2])
    return first, second, path, explained


def _around(values: Array, points: int) -> Array:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    margin = 0.25 * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, points)


def _losses(
    model: Any, x: Any, y: Any, loss: Callable[[Any, Any], Any],
    directions: tuple[list[Array], list[Array]], a: Array, b: Array,
) -> Array:  # fmt: skip
    """The loss at every point, from the lower left, row by row, by one native loop."""
    variables = [v for _, v in named_parameters(model)]
    steps = [
        [tensor(d, dtype=v.dtype) for d, v in zip(part, variables, strict=True)]
        for part in directions
    ]
    rows, targets = tensor(x), y if y is None else _as_given(y)

    def at(along: Any, across: Any) -> Any:
        before = [v.detach() for v in variables]
        for v, old, d, e in zip(variables, before, *steps, strict=True):
            v.assign(old + along * d + across * e)
        value = loss(model(rows), targets)
        for v, old in zip(variables, before, strict=True):
            v.assign(old)
        return value.mean()

    grid_b, grid_a = np.meshgrid(b, a, indexing="ij")
    with undisturbed(model), no_grad():
        found = jit(at).loop(
            tensor(grid_a.ravel(), dtype=variables[0].dtype),
            tensor(grid_b.ravel(), dtype=variables[0].dtype),
        )
    return np.asarray(found.numpy(), np.float64).reshape(len(b), len(a))


def _as_given(y: Any) -> Any:
    """Targets as a tensor; integers stay integers."""
    array = np.asarray(y.numpy() if hasattr(y, "numpy") else y)
    return tensor(array)


def _flat(arrays: Sequence[Array]) -> Array:
    return np.concatenate([np.ravel(x).astype(np.float64) for x in arrays])


def _unflat(row: Array, like: Sequence[Array]) -> list[Array]:
    found, start = [], 0
    for x in like:
        found.append(row[start : start + x.size].reshape(x.shape))
        start += x.size
    return found
