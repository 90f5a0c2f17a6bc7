"""Layers of dense networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from .. import functional, ops
from ..checks import whole
from ..errors import ArgumentTypeError, BoundsError, ShapeError
from ..shapes import normalize_axis
from ..tensors import Tensor, Variable, lift, var
from . import init
from .module import Module


class Linear(Module):
    """An affine map of the last axis, ``y = x @ weight.T + bias``.

    Args:
        in_features: the width of the input.
        out_features: the width of the output.
        bias: whether there is a bias.
        dtype: float32 or float64; the default float unless given.

    Attributes:
        weight: ``[out_features, in_features]``, at first Kaiming uniform, ±sqrt(6 / in_features).
        bias: ``[out_features]``, at first zero; or None.

    Shapes: ``[..., in_features]`` to ``[..., out_features]``.

    Raises:
        ShapeError: if the last axis of the input does not have `in_features` elements.

    >>> Linear(2, 8)([[0.0, 1.0]]).shape
    (1, 8)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None
    ) -> None:
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            whole("Linear", name, size, 1)
        self.in_features = int(in_features)
        self.out_features = int(out_features)
        shape = (self.out_features, self.in_features)
        self.weight: Variable = var("weight", init.kaiming_uniform(shape, dtype), dtype=dtype)
        self.bias: Variable | None = None
        if bias:
            self.bias = var("bias", init.zeros((self.out_features,), dtype), dtype=dtype)

    def forward(self, x: Any) -> Tensor:
        x = lift(x)
        shape = x.shape
        rank = len(shape)
        if rank == 0 or shape[-1] != self.in_features:
            raise ShapeError(self._wrong_width(shape))
        if rank != 2:
            x = ops.reshape(x, shape=(math.prod(shape[:-1]), self.in_features))
        y = ops.matmul(x, ops.swap_last(self.weight.value))
        if self.bias is not None:
            y = ops.add(y, self.bias.value)
        if rank != 2:
            y = ops.reshape(y, shape=(*shape[:-1], self.out_features))
        return y

    def _wrong_width(self, shape: tuple[int, ...]) -> str:
        if not shape:
            return (
                f"{self.text()}: input is a scalar (shape ()), expected {self.in_features} features"
            )
        return (
            f"{self.text()}: input has {shape[-1]} features in its last axis (shape {shape}), "
            f"expected {self.in_features}"
        )

    def extra_repr(self) -> str:
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.in_features} -> {self.out_features}{bias}"


class Sequential(Module):
    """Layers applied one after another.

    Args:
        layers: modules, functions, or anything else that can be called with one tensor.

    The keys of the state dict begin with the number of the layer: ``0.weight``.

    >>> from cotangent.nn import ReLU
    >>> Sequential(Linear(2, 8), ReLU(), Linear(8, 1))([[0.0, 1.0]]).shape
    (1, 1)
    """

    def __init__(self, *layers: Callable[[Any], Any]) -> None:
        for i, layer in enumerate(layers):
            if not callable(layer):
                fix = "; unpack it with *" if isinstance(layer, (list, tuple)) else ""
                raise ArgumentTypeError(
                    f"Sequential: layer {i} is a {type(layer).__name__} and cannot be called{fix}"
                )
            setattr(self, str(i), layer)

    def _layers(self) -> list[Any]:
        return [layer for name, layer in vars(self).items() if name.isdigit()]

    def forward(self, x: Any) -> Any:
        for layer in self._layers():
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self._layers())

    def __getitem__(self, index: int | slice) -> Any:
        layers = self._layers()
        if isinstance(index, slice):
            return Sequential(*layers[index])
        return layers[self._place(index)]

    def __setitem__(self, index: int, layer: Callable[[Any], Any]) -> None:
        if not callable(layer):
            raise ArgumentTypeError(f"Sequential: {type(layer).__name__} cannot be called")
        setattr(self, str(self._place(index)), layer)

    def _place(self, index: int) -> int:
        count = len(self)
        if not -count <= index < count:
            raise BoundsError(f"Sequential: there is no layer {index}; it has {count} layers")
        return index % count

    def __iter__(self) -> Iterator[Any]:
        return iter(self._layers())


class Identity(Module):
    """The input itself."""

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """All axes from `start_axis` on as one: ``[n, 8, 8]`` to ``[n, 64]``."""

    def __init__(self, start_axis: int = 1) -> None:
        self.start_axis = start_axis

    def forward(self, x: Any) -> Any:
        x = lift(x)
        first = normalize_axis("Flatten", self.start_axis, len(x.shape), x.shape)
        return functional.reshape(x, (*x.shape[:first], math.prod(x.shape[first:])))

    def extra_repr(self) -> str:
        return f"start_axis={self.start_axis}"
