"""The check of values that `debug_nans` watches, where the kernel that stores them has none."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Node
from .kernel import Kernel, KernelEmitter, lanes_for


def emit_finite(nodes: Sequence[Node]) -> list[Kernel]:
    """A kernel for each of `nodes`, which are floats in memory, that reports what is not finite."""
    kernels = []
    for node in nodes:
        e = KernelEmitter(lanes_for([node.dtype]))
        start, width = e.address(node), str(node.dtype.itemsize)

        def check(
            j: str, e: KernelEmitter = e, at: tuple[str, str, Node] = (start, width, node)
        ) -> None:
            start, width, node = at
            e.check_finite([e.load(e.offset(start, j, width), node.dtype)])

        e.split_vectors(node.size)(check)
        kernels.append(e.finish(0, node.size * node.dtype.itemsize))
    return kernels
