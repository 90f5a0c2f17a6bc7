"""The check of values that `debug_nans` watches, where the kernel that stores them has none."""

from __future__ import annotations

from collections.abc import Iterable

from ..graph import Node
from ..ranges import Range
from .kernel import Kernel, KernelEmitter, lanes_for

# Floats in memory, and the range in which each is to be; see `KernelEmitter.check`.
Checks = Iterable[tuple[Node, Range | None]]


def emit_checks(checks: Checks) -> list[Kernel]:
    """Kernels that report what is not in its range: one for all scalars, one for each array."""
    checks = [(node, allowed) for node, allowed in checks if node.size]
    scalars = [x for x in checks if x[0].size == 1]
    kernels = [_of_scalars(scalars)] if scalars else []
    return kernels + [_of_array(*x) for x in checks if x[0].size > 1]


def _of_scalars(checks: Checks) -> Kernel:
    e = KernelEmitter(1)
    e.check([(e.load_one(e.address(node), node.dtype), allowed) for node, allowed in checks])
    return e.finish(0, sum(node.dtype.itemsize for node, _ in checks))


def _of_array(node: Node, allowed: Range | None) -> Kernel:
    e = KernelEmitter(lanes_for([node.dtype]))
    start, width = e.address(node), str(node.dtype.itemsize)

    def check(j: str) -> None:
        e.check([(e.load(e.offset(start, j, width), node.dtype), allowed)])

    e.split_vectors(node.size)(check)
    return e.finish(0, node.size * node.dtype.itemsize)
