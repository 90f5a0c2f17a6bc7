"""A model as a table: its layers, the shapes that they return, and their parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..gradients import no_grad
from ..tensors import Tensor
from ..variables import walk
from .module import Module, parameters


@dataclass(frozen=True)
class LayerSummary:
    """One line of a summary.

    Attributes:
        path: where the layer is, such as ``layers.0``.
        layer: the layer as text, such as ``Linear(64 -> 32)``.
        shape: what it returned, or None if that was not one tensor or it was never called.
        parameters: how many numbers its parameters hold.
    """

    path: str
    layer: str
    shape: tuple[int, ...] | None
    parameters: int


@dataclass(frozen=True)
class Summary:
    """The layers of a model without layers inside, in their order, and the total.

    Attributes:
        layers: one entry a layer.
        total: the number of parameters of the model, shared ones counted once.
        trainable: how many of them are not frozen.
    """

    layers: tuple[LayerSummary, ...]
    total: int
    trainable: int

    head = ("layer", "", "output", "parameters")

    def rows(self) -> list[tuple[str, str, str, str]]:
        """The cells of a table below `head`: path, layer, shape, parameters."""
        return [
            (line.path, line.layer, str(line.shape or "-"), f"{line.parameters:,}")
            for line in self.layers
        ]

    def __str__(self) -> str:
        cells = [self.head, *self.rows(), ("total", "", "", f"{self.total:,}")]
        widths = [max(len(row[i]) for row in cells) for i in range(4)]
        return "\n".join(
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}"
            for a, b, c, d in cells
        )


def summarize(model: Module, *inputs: Any) -> Summary:
    """Run `model` once on `inputs`, record nothing on the tape, and describe its layers.

    Args:
        model: any module; it is called in the mode (training or not) in which it is.
        inputs: what the model takes, a batch of one for instance.

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
    """
    modules = [(path, item) for path, item in walk(model) if isinstance(item, Module)]
    leaves = [(path, item) for path, item in modules if not _has_module_below(item)]
    shapes: dict[int, tuple[int, ...]] = {}
    with no_grad(), _watched([item for _, item in leaves], shapes):
        model(*inputs)
    lines = tuple(
        LayerSummary(path, item.text(), shapes.get(id(item)), item.num_parameters())
        for path, item in leaves
    )
    trainable = sum(p.size for p in parameters(model) if p.requires_grad)
    return Summary(lines, model.num_parameters(), trainable)


def _has_module_below(module: Module) -> bool:
    return any(isinstance(item, Module) and item is not module for _, item in walk(module))


@contextmanager
def _watched(modules: list[Module], shapes: dict[int, tuple[int, ...]]) -> Iterator[None]:
    """Note the shape of what each module returns, by the module's id.

    An attribute of the instance takes them; it hides the method of the class. It is set past
    `Module.__setattr__`, because nothing changes that compiled functions would have to know.
    """
    for module in modules:
        object.__setattr__(module, "forward", _noting(module, module.forward, shapes))
    try:
        yield
    finally:
        for module in modules:
            object.__delattr__(module, "forward")


def _noting(
    module: Module, forward: Callable[..., Any], shapes: dict[int, tuple[int, ...]]
) -> Callable[..., Any]:
    def noting(*args: Any, **kwargs: Any) -> Any:
        out = forward(*args, **kwargs)
        if isinstance(out, Tensor):
            shapes[id(module)] = out.shape
        return out

    return noting
