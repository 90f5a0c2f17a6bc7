"""Kernels that put a result together from pieces: concat, and slices put into a tensor.

Each piece is copied, in order, to where it lies in the result. A piece that is one number
throughout (padding, zeros) is not read.
"""

from __future__ import annotations

from typing import NamedTuple

from ...dtypes import DType
from ...ops import concat
from ...ops.slices import start_of
from .. import graph as g
from ..fuse import Fusion, Group
from ..graph import Node
from ..views import View, whole, window
from .chunks import axis_to_split, is_many
from .emitter import Value
from .kernel import Kernel, KernelEmitter, lanes_for, without_values


class _Axis(NamedTuple):
    """One loop: how many steps, and the bytes of a step in the source and in the target."""

    size: int
    source: int
    target: int


def _target_of(node: Node, index: int) -> View:
    """Where input number `index` lies in the result."""
    x, place = node.inputs[index], whole(node)
    if node.primitive is concat:
        starts = start_of(node.inputs, index, node.attrs["axis"])
        return window(place, x.shape, starts, (1,) * len(x.shape))
    if index == 0:
        return place
    return window(place, x.shape, node.attrs["starts"], node.attrs["steps"])


def emit_assemble(fusion: Fusion, group: Group) -> list[Kernel]:
    """The kernels of a result in pieces: one, or one a piece if that is worth splitting; none if
    it has no elements."""
    node = group.nodes[0]
    places = [index for index, x in enumerate(node.inputs) if x.size]
    if node.size == 0:
        return []
    lanes, width = lanes_for([node.dtype]), node.dtype.itemsize
    kernels = []
    if is_many(node.size):
        for index in places:
            e = KernelEmitter(lanes)
            _piece(e, fusion, node, index, True)
            kernels.append(e.finish(0, 2 * node.inputs[index].size * width))
        return kernels
    e = KernelEmitter(lanes)
    for index in places:
        _piece(e, fusion, node, index, False)
    return [e.finish(0, 2 * node.size * width)]


def _piece(e: KernelEmitter, fusion: Fusion, node: Node, index: int, is_split: bool) -> None:
    """Copy one input to its place."""
    x, place = node.inputs[index], _target_of(node, index)
    number = g.uniform(x)
    target = e.address(node, place.offset)
    if number is None:
        view = fusion.view(x)
        axes = _axes(view, place)
        source, filling = e.address(view.base, view.offset), None
    else:
        axes = _axes(View(x, x.shape, (0,) * len(x.shape)), place)
        source, filling = "", e.literal(number, x.dtype)
    split = -1
    if is_split:
        split = axis_to_split([axis.size for axis in axes[:-1]] + [axes[-1].size // e.lanes])
    _nest(e, axes, source, target, x.dtype, filling, split)


def _axes(view: View, place: View) -> list[_Axis]:
    """The loops over a piece: without axes of size 1, and neighbours joined where they can be."""
    width = view.base.dtype.itemsize
    found: list[_Axis] = []
    for size, source, target in zip(view.shape, view.strides, place.strides, strict=True):
        if size == 1:
            continue
        axis = _Axis(size, source * width, target * width)
        if (
            found
            and found[-1].source == axis.source * size
            and found[-1].target == axis.target * size
        ):
            axis = _Axis(found.pop().size * size, axis.source, axis.target)
        found.append(axis)
    return found or [_Axis(1, 0, width)]


def _nest(
    e: KernelEmitter, axes: list[_Axis], source: str, target: str, dtype: DType,
    filling: Value | None, split: int,
) -> None:  # fmt: skip
    """Loops over `axes`; the last one by vectors; number `split` for the steps to be done now."""
    first, width = axes[0], dtype.itemsize

    def outer(i: str) -> None:
        there = source if filling is not None else e.offset(source, i, e.integer(first.source))
        here = e.offset(target, i, e.integer(first.target))
        _nest(e, axes[1:], there, here, dtype, filling, split - 1)

    def inner(j: str) -> None:
        value = filling
        if value is None:
            at = e.offset(source, j, e.integer(first.source)) if first.source else source
            value = e.load_along(at, first.source, dtype)
        here = e.offset(target, j, e.integer(first.target))
        if first.target == width:
            e.store(value, here)
        else:
            e.store_strided(value, here, e.integer(first.target))

    if len(axes) == 1:
        if split == 0:
            e.split_vectors(first.size)(inner)
        else:
            e.vector_loop(first.size, [], without_values(inner))
    elif split == 0:
        e.split_loop(first.size, outer)
    else:
        e.loop(e.integer(first.size), 1, [], without_values(outer))
