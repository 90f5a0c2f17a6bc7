"""Views: how a node reads another node's memory, without copying.

Reshapes, permutations, broadcasts and slices of a stored value are strides and an offset, and
nothing more. Strides and offsets are in elements.
"""

from __future__ import annotations

from typing import NamedTuple

from ..ops import broadcast_to, permute_dims, reshape, strided_slice
from ..shapes import Shape, contiguous_strides
from . import graph as g
from .graph import Node


class View(NamedTuple):
    """The memory of `base` from element `offset` on, seen under `shape` with `strides`."""

    base: Node
    shape: Shape
    strides: Shape
    offset: int = 0


def over(node: Node) -> Shape:
    """The shape over which a node reads its inputs."""
    return node.inputs[0].shape if node.kind == "reduce" else node.shape


def batch_stride(view: View, axis: int) -> int:
    """The stride of one side of a product along axis `axis` of the batch, counted from its end as
    -1; 0 where the side is repeated."""
    place = len(view.shape) - 2 + axis
    return view.strides[place] if place >= 0 and view.shape[place] != 1 else 0


def squeeze(shape: Shape) -> Shape:
    """`shape` without its axes of size 1."""
    return tuple([n for n in shape if n != 1])


def whole(node: Node) -> View:
    """The value of a node in its own memory: row-major, or as the constant's array lies."""
    if node.role == g.CONSTANT:
        size = node.dtype.itemsize
        return View(node, node.shape, tuple(s // size for s in node.payload.strides))
    return View(node, node.shape, contiguous_strides(node.shape))


def move(node: Node, below: View) -> View | None:
    """The view that a movement node makes of the view below it; None if it takes a copy."""
    if node.primitive is permute_dims:
        axes = node.attrs["axes"]
        return View(below.base, node.shape, tuple(below.strides[a] for a in axes), below.offset)
    if node.primitive is strided_slice:
        return window(below, node.shape, node.attrs["starts"], node.attrs["steps"])
    if node.primitive is broadcast_to:
        lead = len(node.shape) - len(below.shape)
        stretched = [
            0 if n == 1 and node.shape[i + lead] != 1 else s
            for i, (n, s) in enumerate(zip(below.shape, below.strides, strict=True))
        ]
        return View(below.base, node.shape, (*[0] * lead, *stretched), below.offset)
    strides = reshape_strides(below.shape, below.strides, node.shape)
    return None if strides is None else View(below.base, node.shape, strides, below.offset)


def window(view: View, shape: Shape, starts: Shape, steps: Shape) -> View:
    """Every `steps`-th element of `view` from `starts` on, `shape` of them."""
    offset = sum(s * start for s, start in zip(view.strides, starts, strict=True))
    strides = tuple(s * step for s, step in zip(view.strides, steps, strict=True))
    return View(view.base, shape, strides, view.offset + (offset if 0 not in shape else 0))


def spread(view: View, over: Shape) -> Shape:
    """The strides of `view` over the axes of `over`, to which it broadcasts, without those of
    size 1."""
    lead = len(over) - len(view.shape)
    strides = []
    for i, n in enumerate(over):
        if n != 1:
            inside = i >= lead and view.shape[i - lead] != 1
            strides.append(view.strides[i - lead] if inside else 0)
    return tuple(strides)


def reshape_strides(shape: Shape, strides: Shape, wanted: Shape) -> Shape | None:
    """Strides under which the elements appear in the order of a reshape to `wanted`, if any.

    Axes of the old and new shape are matched in runs of equal size; within a run the old axes must
    lie densely.
    """
    if 0 in wanted:
        return contiguous_strides(wanted)  # nothing is read
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    out = [0] * len(wanted)
    places = [i for i, n in enumerate(wanted) if n != 1]
    at = 0
    start = 0
    while start < len(places):
        stop, new_size = start + 1, wanted[places[start]]
        old_size, first = 1, at
        while old_size != new_size:
            if old_size < new_size:
                if at == len(old):
                    return None
                old_size *= old[at][0]
                at += 1
            else:
                new_size *= wanted[places[stop]]
                stop += 1
        if any(old[i][1] != old[i + 1][0] * old[i + 1][1] for i in range(first, at - 1)):
            return None
        stride = old[at - 1][1]
        for place in reversed(places[start:stop]):
            out[place] = stride
            stride *= wanted[place]
        start = stop
    return tuple(out)


def same_elements(node: Node) -> Node:
    """The node below moves that only add or drop axes of size 1."""
    while (
        node.primitive in (reshape, broadcast_to)
        and node.size == node.inputs[0].size
        and squeeze(node.shape) == squeeze(node.inputs[0].shape)
    ):
        node = node.inputs[0]
    return node
