"""A model as a table: its layers, the shapes that they return, their parameters and costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

from ..gradients import no_grad
from ..tensors import Tensor, tensor
from ..variables import walk
from .costs import Call, flops_by_layer, moved_bytes, seconds_of
from .looking import untouched
from .module import Module, named_parameters, parameters


@dataclass(frozen=True)
class LayerSummary:
    """One line of a summary.

    Attributes:
        path: where the layer is, such as ``layers.0``.
        layer: the layer as text, such as ``Linear(64 -> 32)``.
        shape: what it returned, or None if that was not one tensor or it was never called.
        parameters: how many numbers its parameters hold.
        flops: floating-point operations of a call; see `flops_by_layer`. None: not measured.
        bytes: of its parameters, inputs and results.
        seconds: of a call of it alone, compiled; NaN where that cannot be timed.
    """

    path: str
    layer: str
    shape: tuple[int, ...] | None
    parameters: int
    flops: int | None = None
    bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Summary:
    """The layers of a model without layers inside, in their order, and the total.

    Attributes:
        layers: one entry a layer; where operations are counted, also one for each layer with
            layers inside that computes something itself.
        total: the number of parameters of the model, shared ones counted once.
        trainable: how many of them are not frozen.
    """

    layers: tuple[LayerSummary, ...]
    total: int
    trainable: int

    @property
    def measured(self) -> bool:
        """Whether there are operations, bytes and times."""
        return any(line.flops is not None for line in self.layers)

    @property
    def head(self) -> tuple[str, ...]:
        """The names of the columns."""
        basic = ("layer", "", "output", "parameters")
        return (*basic, "MFLOP", "KB", "µs") if self.measured else basic

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of a table below `head`."""
        return [self._cells(line) for line in self.layers]

    def last_row(self) -> tuple[str, ...]:
        """The cells of the total."""
        basic = ("total", "", "", f"{self.total:,}")
        if not self.measured:
            return basic
        flops = sum(line.flops or 0 for line in self.layers)
        moved = sum(line.bytes or 0 for line in self.layers)
        times = [line.seconds for line in self.layers if line.seconds is not None]
        known = sum(t for t in times if not math.isnan(t))
        return (*basic, *_costs(flops, moved, known))

    def _cells(self, line: LayerSummary) -> tuple[str, ...]:
        basic = (line.path, line.layer, str(line.shape or "-"), f"{line.parameters:,}")
        if not self.measured:
            return basic
        return (*basic, *_costs(line.flops, line.bytes, line.seconds))

    def __str__(self) -> str:
        cells = [self.head, *self.rows(), self.last_row()]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.head))]
        return "\n".join(
            "  ".join(
                c.ljust(w) if i < 3 else c.rjust(w)
                for i, (c, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in cells
        )

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return table_html(self.head, [*self.rows(), self.last_row()])


def _costs(flops: int | None, moved: int | None, seconds: float | None) -> tuple[str, str, str]:
    timed = seconds is not None and not math.isnan(seconds)
    return (
        "-" if flops is None else f"{flops / 1e6:,.3f}",
        "-" if moved is None else f"{moved / 1e3:,.1f}",
        f"{seconds * 1e6:,.2f}" if timed and seconds is not None else "-",
    )


def summarize(model: Module, *inputs: Any, measure: bool = False) -> Summary:
    """Run `model` once on `inputs`, record nothing on the tape, and describe its layers.

    Args:
        model: any module; it is called in the mode (training or not) in which it is. Its buffers
            are afterwards what they were.
        inputs: what the model takes, a batch of one for instance.
        measure: also count operations and bytes, and time each layer, compiled on its own.

    Raises:
        Error: what the model raises for these inputs.

    >>> from cotangent.nn import Linear, ReLU, Sequential
    >>> model = Sequential(Linear(2, 8), ReLU(), Linear(8, 1))
    >>> print(summarize(model, [[0.0, 1.0]]))  # doctest: +NORMALIZE_WHITESPACE
    layer                  output  parameters
    0      Linear(2 -> 8)  (1, 8)          24
    1      ReLU()          (1, 8)           0
    2      Linear(8 -> 1)  (1, 1)           9
    total                                  33
    >>> [line.flops for line in summarize(model, [[0.0, 1.0]], measure=True).layers]
    [40, 8, 17]
    """
    modules = [(path, item) for path, item in walk(model) if isinstance(item, Module)]
    leaves = [(path, item) for path, item in modules if not _has_module_below(item)]
    calls: dict[int, list[Call]] = {}
    given = tuple(_as_tensor(x) for x in inputs)
    with untouched(model), no_grad():
        with _watched([item for _, item in leaves], calls):
            model(*given)
        lines = [_line(path, item, calls.get(id(item), [])) for path, item in leaves]
        if measure:
            flops = flops_by_layer(model, given)
            lines = _with_costs(lines, leaves, calls, flops, dict(modules))
    trainable = sum(p.size for p in parameters(model) if p.requires_grad)
    return Summary(tuple(lines), model.num_parameters(), trainable)


def _as_tensor(x: Any) -> Any:
    return tensor(x) if isinstance(x, list) or hasattr(x, "__array_interface__") else x


def _line(path: str, layer: Module, calls: list[Call]) -> LayerSummary:
    shapes = [call.result.shape for call in calls if isinstance(call.result, Tensor)]
    return LayerSummary(path, layer.text(), shapes[-1] if shapes else None, layer.num_parameters())


def _with_costs(
    lines: list[LayerSummary], leaves: list[tuple[str, Module]], calls: dict[int, list[Call]],
    flops: dict[str, int], modules: dict[str, Module],
) -> list[LayerSummary]:  # fmt: skip
    found = []
    for line, (path, layer) in zip(lines, leaves, strict=True):
        called = calls.get(id(layer), [])
        found.append(
            LayerSummary(
                line.path, line.layer, line.shape, line.parameters, flops.get(path, 0),
                moved_bytes(layer, called), seconds_of(layer, called) if called else math.nan,
            )
        )  # fmt: skip
    paths = {path for path, _ in leaves}
    for path, count in flops.items():
        if path not in paths and count:
            name = type(modules[path]).__name__ if path in modules else "model"
            text = f"operations of {name} itself"
            found.append(LayerSummary(path, text, None, 0, count, None, math.nan))
    return found


def _has_module_below(module: Module) -> bool:
    return any(isinstance(item, Module) and item is not module for _, item in walk(module))


@contextmanager
def _watched(modules: list[Module], calls: dict[int, list[Call]]) -> Iterator[None]:
    """Note each call of each module, by the module's id.

    An attribute of the instance takes them; it hides the method of the class. It is set past
    `Module.__setattr__`, because nothing changes that compiled functions would have to know.
    """
    for module in modules:
        object.__setattr__(module, "forward", _noting(module, module.forward, calls))
    try:
        yield
    finally:
        for module in modules:
            object.__delattr__(module, "forward")


def _noting(
    module: Module, forward: Callable[..., Any], calls: dict[int, list[Call]]
) -> Callable[..., Any]:
    def noting(*args: Any, **kwargs: Any) -> Any:
        out = forward(*args, **kwargs)
        calls.setdefault(id(module), []).append(Call(args, kwargs, out))
        return out

    return noting


# -- for notebooks and reports ----------------------------------------------------------------


def table_html(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; columns of numbers are aligned to the right."""
    right = [
        all(row[i].replace(",", "").replace(".", "").isdigit() or row[i] in "-" for row in rows)
        for i in range(len(head))
    ]
    sides = ["right" if r else "left" for r in right]

    def cells(kind: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{kind} style="text-align:{side}">{escape(cell)}</{kind}>'
            for cell, side in zip(row, sides, strict=True)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"


def model_html(model: Module) -> str:
    """A model as a table of its layers with the shapes of their parameters."""
    rows = []
    for path, item in walk(model):
        if isinstance(item, Module) and not _has_module_below(item):
            shapes = [f"{name} {list(p.shape)}" for name, p in named_parameters(item)]
            rows.append((path, item.text(), ", ".join(shapes), f"{item.num_parameters():,}"))
    rows.append(("total", type(model).__name__, "", f"{model.num_parameters():,}"))
    return table_html(("layer", "", "shapes", "parameters"), rows)
