"""What each layer of a model costs: operations, bytes, and time where it is compiled."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

from ..compiler.arguments import placeholders
from ..compiler.compiled import jit
from ..compiler.graph import Node
from ..errors import CompileError
from ..gradients import no_grad
from ..tensors import Tensor
from .module import Module, parameters

_SECONDS = 0.02  # about how long a layer is timed
_EAGER_RUNS = 7
# Kinds of ops that compute nothing, but move what is there.
_MOVING = ("movement", "assemble", "gather", "transpose", "slice", "concat")


class Call(NamedTuple):
    """How a layer was called.

    Attributes:
        args: positional arguments.
        kwargs: those with names.
        result: what it returned.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any


def flops_by_layer(model: Module, inputs: Sequence[Any]) -> dict[str, int]:
    """Floating-point operations of a call by the path of the layer; "" is the model itself.

    A product of [m, k] and [k, n] counts 2 m k n, an operation by elements one for each, a
    reduction one for each element that goes in; what only moves data counts nothing.
    """
    with no_grad():
        traced = jit(_calling(model))._trace(*placeholders(tuple(inputs), {}))
    found: dict[str, int] = defaultdict(int)
    for node in traced.graph.nodes:
        if node.role == "op":
            found[node.layer.partition(".")[2]] += _flops(node)
    return dict(found)


def _calling(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        return function(*args)

    return call


def _flops(node: Node) -> int:
    if node.op == "matmul":
        return 2 * node.size * node.inputs[0].shape[-1]
    if node.kind in _MOVING or node.op in ("astype", "broadcast_to"):
        return 0
    if node.kind == "elementwise":
        return node.size
    return max((x.size for x in node.inputs), default=node.size)


def moved_bytes(layer: Module, calls: Sequence[Call]) -> int:
    """Bytes of the parameters, inputs and results: what a layer has to move at least."""
    tensors: list[Tensor] = [*parameters(layer)] * len(calls)
    for call in calls:
        tensors += [x for x in (*call.args, *call.kwargs.values()) if isinstance(x, Tensor)]
        if isinstance(call.result, Tensor):
            tensors.append(call.result)
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in tensors)


def seconds_of(layer: Module, calls: Sequence[Call]) -> float:
    """The time of the calls of a layer, compiled on its own; op by op where nothing is compiled.

    NaN for a layer that is called with something else than tensors.
    """
    total = 0.0
    for call in calls:
        if call.kwargs or not all(isinstance(x, Tensor) for x in call.args):
            return math.nan
        args = [x.detach() for x in call.args]
        with no_grad():
            try:
                total += jit(_calling(layer)).profile(*args, seconds=_SECONDS).seconds
            except CompileError:
                total += _eager_seconds(layer, args)
    return total


def _eager_seconds(layer: Module, args: Sequence[Any]) -> float:
    times = []
    for _ in range(_EAGER_RUNS):
        begin = time.perf_counter()
        layer(*args)
        times.append(time.perf_counter() - begin)
    return median(times)
