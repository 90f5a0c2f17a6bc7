"""Epilogues: what the kernel of a matrix product does with its elements besides storing them.

The elementwise nodes of the group are computed for a vector of C at a time. A product of a few
vectors has them in registers. A larger one stores a block of C first, then calls a function of its
own, which reads it from a near cache. So the text of a tile, which is long, is the same for all
epilogues, and an epilogue needs no registers beside those of the tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import CompileError
from ...shapes import Shape, contiguous_strides
from .. import graph as g
from ..fuse import Fusion, Group
from ..graph import Node
from ..views import over, spread
from .chunks import NANOSECONDS_PER_LINE
from .emitter import Value
from .kernel import Kernel, KernelEmitter, lanes_for, without_values
from .nest import Operand

# What the function of an epilogue gets: its slots; the block of C in memory, and the bytes from row
# to row; the number of the matrix; the first row, and how many; the first column, and how many.
PARAMETERS = (
    "ptr %args, ptr %c, i64 %c_row, i64 %matrix, i64 %row, i64 %rows, i64 %column, i64 %columns"
)


class Epilogue:
    """Writes the epilogue of a product, for one vector.

    Args:
        fusion: where values are read.
        group: the product is the first of its nodes; the others are computed here, and all that are
            watched are looked at.
        e: the emitter of the kernel or function.
        is_stored: whether the product itself, if it is needed, is in its memory before.
    """

    def __init__(
        self, fusion: Fusion, group: Group, e: KernelEmitter, is_stored: bool = False
    ) -> None:
        self.product, *self.nodes = group.nodes
        self.shape = self.product.shape
        self.stored = [x for x in group.stored if not (is_stored and x is self.product)]
        self.e = e
        self._checked = group.stored
        self._fusion, self._group = fusion, group
        self._operands: dict[Any, Operand] = {}
        self._inputs = {
            (id(node), i): self._input(x, over(node))
            for node in self.nodes for i, x in enumerate(node.inputs)
        }  # fmt: skip
        strides = contiguous_strides(self.shape)
        self._operands |= {id(node): Operand(node, strides) for node in self.stored}

    def _input(self, x: Node, shape: Shape) -> Any:
        """What an input is: a literal, a node with a value at the same element, or the key of an
        operand."""
        literal = g.uniform(x)
        if literal is not None:
            return (literal, x.dtype)
        own = self._fusion.own_value(self._group, x)
        if own is not None:
            return own
        view = self._fusion.view(x)
        rest = iter(spread(view, shape))
        strides = tuple([0 if n == 1 else next(rest) for n in self.shape])
        key = (id(view.base), strides, view.offset)
        self._operands.setdefault(key, Operand(view.base, strides, view.offset))
        return key

    @property
    def bytes(self) -> int:
        """What is read and written."""
        return sum(o.node.size * o.node.dtype.itemsize for o in self._operands.values())

    @property
    def flops(self) -> int:
        """An operation for each node and element."""
        return self.product.size * len(self.nodes)

    def addresses(self, index: Sequence[str]) -> dict[Any, str]:
        """Where the operands are for one element of the product."""
        found = {
            key: self.e.address(operand.node, operand.offset)
            for key, operand in self._operands.items()
        }
        for axis, i in enumerate(index):
            found = self.along(found, axis, i)
        return found

    def along(self, addresses: dict[Any, str], axis: int, i: str) -> dict[Any, str]:
        """The addresses `i` elements further along an axis."""
        return {key: self._moved(at, key, axis, i) for key, at in addresses.items()}

    def _moved(self, at: str, key: Any, axis: int, i: str) -> str:
        operand = self._operands[key]
        stride, size = operand.strides[axis], operand.node.dtype.itemsize
        if stride == 0 or i == "0":
            return at
        step = str(size) if stride == 1 else self.e.integer(stride * size, "stride")
        return self.e.offset(at, i, step)

    def store(self, value: Value, addresses: dict[Any, str]) -> None:
        """Compute and store what follows from a vector of the product, under the mask."""
        e = self.e
        values: dict[Any, Value] = {id(self.product): value}
        for node in self.nodes:
            inputs = [
                self._value(self._inputs[id(node), i], addresses, values)
                for i in range(len(node.inputs))
            ]
            if node.primitive is None or node.primitive.lower is None:
                raise CompileError(f"the compiler has no lowering for {node.where()}")
            values[id(node)] = node.primitive.lower(e, *inputs, **node.attrs)
        for node in self.stored:
            e.store(values[id(node)], addresses[id(node)])
        watched = self._fusion.watched
        e.check([(values[x], watched[x]) for x in map(id, self._checked) if x in watched])

    def _value(self, operand: Any, addresses: dict[Any, str], values: dict[Any, Value]) -> Value:
        if isinstance(operand, Node):
            return values[id(operand)]
        if operand not in self._operands:
            return self.e.literal(*operand)
        if operand not in values:
            values[operand] = self._load(operand, addresses[operand])
        return values[operand]

    def _load(self, key: Any, at: str) -> Value:
        operand = self._operands[key]
        step = operand.strides[-1] * operand.node.dtype.itemsize
        return self.e.load_along(at, step, operand.node.dtype)


def epilogue_function(fusion: Fusion, group: Group, is_stored: bool) -> Kernel | None:
    """The function that does the epilogue of a product for a block of C in memory; None if there is
    none to do.

    Args:
        is_stored: whether that memory is the product's own, if it is stored.
    """
    product = group.nodes[0]
    if len(group.nodes) == 1 and id(product) not in fusion.watched:
        return None
    e = KernelEmitter(lanes_for([product.dtype]))
    epilogue = Epilogue(fusion, group, e, is_stored)
    index = [*_places(e, product.shape[:-2]), "%row", "%column"]
    start, size = epilogue.addresses(index), str(product.dtype.itemsize)
    before = len(e.lines)

    def row(i: str) -> None:
        c = e.offset("%c", i, "%c_row")
        here = epilogue.along(start, -2, i)

        def vector(j: str) -> None:
            value = e.load(e.offset(c, j, size), product.dtype)
            epilogue.store(value, epilogue.along(here, -1, j))

        whole = e.compute("and", "%columns", str(-e.lanes))
        rest = e.compute("sub", "%columns", whole)

        def vectors() -> Sequence[Value]:
            e.loop(whole, e.lanes, [], without_values(vector))
            return []

        def tail() -> Sequence[Value]:
            e.mask = e.first_lanes(rest)
            vector(whole)
            e.mask = None
            return []

        e.when(e.compare("ne", whole, "0"), [], vectors)
        e.when(e.compare("ne", rest, "0"), [], tail)

    e.loop("%rows", 1, [], without_values(row))
    lines = (len(e.lines) - before) / 2  # the vectors, and the last one
    nanoseconds = product.size / e.lanes * lines * NANOSECONDS_PER_LINE
    return e.finish(epilogue.flops, epilogue.bytes, nanoseconds, parameters=PARAMETERS)


def _places(e: KernelEmitter, batch: Shape) -> list[str]:
    """The place of matrix number ``%matrix`` on each axis of the batch."""
    places, below = [], 1
    for n in reversed(batch):
        place = "0"
        if n > 1:
            place = e.compute("udiv", "%matrix", e.integer(below, "below")) if below > 1 else ""
            place = place or "%matrix"
            if below * n < _count(batch):
                place = e.compute("urem", place, e.integer(n, "axis"))
        places.append(place)
        below *= n
    return places[::-1]


def _count(batch: Shape) -> int:
    count = 1
    for n in batch:
        count *= n
    return count


def home(fusion: Fusion, group: Group) -> Node:
    """The memory in which the elements of a product are when its epilogue reads them: its own if it
    is stored, or that of a result, or scratch memory."""
    product = group.nodes[0]
    if any(node is product for node in group.stored):
        return product
    written = {id(node) for _, node in fusion.writes}
    for node in group.stored:
        if node.dtype == product.dtype and id(node) not in written:
            return node
    return Node("scratch", product.shape, product.dtype)
