"""The memory plan: which kernels run when, and where every value lives.

A step has two phases. Kernels that write variables are put into the second, the commit, if
nothing needs their results any more and they cannot fail; they then work in place. All other
new values of variables are computed aside and copied at the end. Temporary values share one
arena by their lifetimes.

In a program for `debug_nans`, only those write in place that cannot make a NaN or an infinity if
what they read lies in certain ranges (see `bounds`). What they read is looked at where it is
computed; variables, by kernels that run once, and again after somebody else may have written them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..dtypes import is_supported
from ..errors import DTypeError
from ..runtime.buffers import STAGGER
from ..shapes import contiguous_strides
from . import graph as g
from .bounds import Proof, prove
from .codegen.assemble import emit_assemble
from .codegen.checks import emit_checks
from .codegen.kernel import Kernel, KernelEmitter, lanes_for
from .codegen.loops import emit_loops
from .codegen.matmul import Tiles, emit_matmul
from .codegen.moves import emit_gather, emit_scatter, emit_transpose
from .codegen.ordered import emit_ordered
from .codegen.triangular import emit_triangular
from .fuse import Fusion, Group
from .graph import Node
from .growth import settle
from .ranges import Range, widest
from .views import View, squeeze

ALIGNMENT = 64
_PAGE = 4096
# Arrays of so many elements are copied without a loop, and so many of them by one kernel.
_SMALL_COPY, _MOST_COPIES = 32, 16


class Place(NamedTuple):
    """Where a value lives.

    Attributes:
        kind: "arena", "argument", "variable", "constant", "host" or "output".
        number: the byte offset in the arena; else which one.
    """

    kind: str
    number: int


class Plan(NamedTuple):
    """What a program needs to run.

    Attributes:
        kernels: in order.
        guarding: how many of them come first and look at constants and variables, if somebody else
            may have written these.
        computing: how many of them come before the status is looked at; the rest commit.
        groups: the group of each kernel; None for the copies into variables.
        places: id(node) -> where it lives.
        constants: arrays, by number.
        arena: size of the arena in bytes.
        written: numbers of the variables that are written.
        keep: the nodes, so that their ids stay theirs.
    """

    kernels: list[Kernel]
    guarding: int
    computing: int
    groups: list[Group | None]
    places: dict[int, Place]
    constants: list[Node]
    arena: int
    written: tuple[int, ...]
    keep: list[Node]


# What is copied: to where, and from where.
Pair = tuple[Node, Node]
_Check = tuple[Node, Range]

_EMITTERS = {
    "assemble": emit_assemble,
    "gather": emit_gather,
    "ordered": emit_ordered,
    "scatter": emit_scatter,
    "transpose": emit_transpose,
    "triangular": emit_triangular,
}


def plan(fusion: Fusion, tiles: Tiles, trusting: bool = True) -> Plan:
    """Order the kernels of `fusion` and give every value a place.

    Args:
        trusting: whether a watched program may take it that most numbers are of common sizes.
    """
    commits = _commits(fusion)
    guards: list[_Check] = []
    checks: list[_Check] = []
    if fusion.watched:
        commits, guards, checks = _watch(fusion, commits if trusting else [])
    ahead = [x for x in fusion.groups if x not in commits]
    kernels: list[tuple[Kernel, Group | None]] = [(x, None) for x in emit_checks(guards)]
    guarding = len(kernels)
    for group in ahead:
        kernels += [(kernel, group) for kernel in _emit(fusion, group, tiles)]
    kernels += [(kernel, None) for kernel in emit_checks(checks)]
    computing = len(kernels)
    for group in commits:
        kernels += [(kernel, group) for kernel in _emit(fusion, group, tiles)]
    committed = {id(node) for group in commits for node in group.stored}
    pairs = [(fusion.graph.variables[i], node) for i, node in fusion.writes]
    for kernel in _copies([pair for pair in pairs if id(pair[1]) not in committed]):
        kernels.append((kernel, None))
    places, constants = _fixed_places(fusion, committed)
    arena = _assign(fusion, [kernel for kernel, _ in kernels], places)
    return Plan(
        [kernel for kernel, _ in kernels], guarding, computing,
        [group for _, group in kernels], places, constants, arena,
        tuple(number for number, _ in fusion.writes),
        [*fusion.stored.values(), *fusion.graph.nodes],
    )  # fmt: skip


def _emit(fusion: Fusion, group: Group, tiles: Tiles) -> list[Kernel]:
    """The kernels of a group; an error names the op and the user's line."""
    try:
        return _emit_by_kind(fusion, group, tiles)
    except DTypeError as error:
        error.message += f"\n  in {_unsupported(group).where()}"
        raise


def _unsupported(group: Group) -> Node:
    """The first node of a group that works in a dtype for which there is no code."""
    for node in group.nodes:
        if any(not is_supported(x.dtype) for x in (node, *node.inputs)):
            return node
    return group.nodes[0]


def _emit_by_kind(fusion: Fusion, group: Group, tiles: Tiles) -> list[Kernel]:
    if group.kind == "loops":
        return emit_loops(fusion, group)
    if group.kind == "matmul":
        return emit_matmul(fusion, group, tiles)  # with the looks that are needed
    kernels = _EMITTERS[group.kind](fusion, group)
    watched = fusion.watched
    return kernels + emit_checks((x, watched[id(x)]) for x in group.stored if id(x) in watched)


# -- the two phases ---------------------------------------------------------------------------


def _commits(fusion: Fusion) -> list[Group]:
    """The groups that can write variables in place, in an order in which that is safe.

    Such a group stores nothing but new values of variables, which no other kernel reads; it has no
    checks; and it reads the old values only where it writes the new ones, each of them once. A
    group that reads a variable which another one writes goes first.
    """
    writes = {id(node): number for number, node in fusion.writes}
    chosen: list[Group] = []
    readers: dict[int, set[int]] = {}  # number of a group -> those of the variables that it reads
    for group in fusion.groups:
        updating = group.kind == "loops" or (group.kind == "matmul" and len(group.nodes) > 1)
        if not updating or not all(id(node) in writes for node in group.stored):
            continue
        numbers = {writes[id(node)] for node in group.stored}
        needed = any(other.before & group.bit for other in fusion.groups)
        overlaps = group.kind == "matmul" and fusion.varying & set(group.domain)
        if needed or overlaps or _is_checking(group):
            continue
        views = _views_read(fusion, group)
        if _reads_in_place(group, views, numbers):
            chosen.append(group)
            readers[group.number] = {x.base.payload for x in views if x.base.role == g.VARIABLE}
    return _ordered(chosen, writes, readers)


def _is_checking(group: Group) -> bool:
    return any(node.primitive is not None and node.primitive.can_fail for node in group.nodes)


def _reads_in_place(group: Group, views: list[View], numbers: set[int]) -> bool:
    """Whether a group, which reads `views`, reads the variables in `numbers` only at the elements
    that it writes."""
    if any(node.kind == "reduce" for node in group.nodes):
        return False
    domain = squeeze(group.domain)
    dense = contiguous_strides(domain)
    for view in views:
        if view.base.role == g.VARIABLE and view.base.payload in numbers:
            strides = tuple(s for s, n in zip(view.strides, view.shape, strict=True) if n != 1)
            if squeeze(view.shape) != domain or strides != dense or view.offset:
                return False
    return True


def _views_read(fusion: Fusion, group: Group) -> list[View]:
    """What a group of loops, or a product with its epilogue, reads from memory."""
    if group.source is not None:
        return [group.source]
    views, nodes = [], group.nodes
    if group.kind == "matmul":
        product, *nodes = nodes
        views = [fusion.view(product.inputs[0]), fusion.right_side(product)]
    return views + [
        fusion.view(x)
        for node in nodes
        for x in node.inputs
        if g.uniform(x) is None and not fusion.is_inside(group, node, x)
    ]


def _ordered(
    chosen: list[Group], writes: dict[int, int], readers: dict[int, set[int]]
) -> list[Group]:
    """`chosen` with readers of a variable before its writer; groups in a cycle are left out."""
    waiting, order = list(chosen), []
    while waiting:
        ready = [x for x in waiting if not _overwrites(x, waiting, writes, readers)]
        if not ready:
            waiting.pop()  # it will be computed aside
            continue
        order.append(ready[0])
        waiting.remove(ready[0])
    return order


def _overwrites(
    group: Group, others: list[Group], writes: dict[int, int], readers: dict[int, set[int]]
) -> bool:
    numbers = {writes[id(node)] for node in group.stored}
    return any(readers[x.number] & numbers for x in others if x is not group)


def _watch(fusion: Fusion, commits: list[Group]) -> tuple[list[Group], list[_Check], list[_Check]]:
    """Those of `commits` that cannot make a NaN or an infinity, if what they read is in its range;
    what to look at before the first of `STEPS` steps, and what in every step. What a kernel
    computes, that kernel looks at."""
    proofs = [(x, prove(fusion, x) if x.kind == "loops" else None) for x in commits]
    proved = [(group, proof) for group, proof in proofs if proof is not None]
    ranges: dict[Node, Range] = {}
    stored: dict[int, Range] = {}
    settled: set[Node] = set()
    for group, first in proved:
        others = {x for other, proof in proved if other is not group for x in proof.read}
        proof, variables = settle(fusion, group, first, _own(fusion, group, first, others))
        settled |= variables
        stored |= proof.stored
        for node, allowed in proof.read.items():
            ranges[node] = _both(ranges.get(node, allowed), allowed)
    for number in stored:
        fusion.watched.pop(number, None)
    written = dict(fusion.writes)
    for node, allowed in ranges.items():
        new = written.get(node.payload) if node.role == g.VARIABLE else node
        if new is not None and new.role == "op" and node not in settled:
            if id(new) in stored and stored[id(new)].low >= allowed.low:
                allowed = allowed._replace(low=-allowed.high)
            known = fusion.watched.get(id(new)) or allowed  # it may be read by two names
            fusion.watched[id(new)] = _both(known, allowed)
    for node in settled:  # from there they do not get beyond the range of the proof
        most = widest(node.dtype).high
        ranges[node] = Range(max(ranges[node].low, -most), most)
    incoming = [x for x in ranges.items() if x[0].role != "op"]
    checks = [x for x in incoming if x[0].role == g.ARGUMENT or x[0].attrs.get("varying")]
    guards = [x for x in incoming if x not in checks]
    return [group for group, _ in proved], guards, checks


def _both(a: Range, b: Range) -> Range:
    """What two ranges have in common."""
    return Range(max(a.low, b.low), min(a.high, b.high))


def _own(fusion: Fusion, group: Group, proof: Proof, others: set[Node]) -> dict[Node, Node]:
    """The new values of the variables that of all commits only `group` reads and writes."""
    written = dict(fusion.writes)
    return {
        x: written[x.payload]
        for x in proof.read
        if x.role == g.VARIABLE and x not in others and id(written.get(x.payload)) in proof.stored
    }


def _copies(pairs: list[Pair]) -> list[Kernel]:
    """Kernels that copy into the first of each pair what the second holds: one for all scalars,
    some for small arrays, one for each of the others."""
    scalars = [pair for pair in pairs if pair[1].size == 1]
    small = [pair for pair in pairs if 1 < pair[1].size <= _SMALL_COPY]
    parts = [small[i : i + _MOST_COPIES] for i in range(0, len(small), _MOST_COPIES)]
    batches = [scalars, *parts, *([pair] for pair in pairs if pair[1].size > _SMALL_COPY)]
    return [_copy_kernel(batch) for batch in batches if batch]


def _copy_kernel(batch: list[Pair]) -> Kernel:
    scalars = batch[0][1].size == 1
    e = KernelEmitter(1 if scalars else lanes_for([node.dtype for _, node in batch]))
    moved = 0
    for held, node in batch:
        source, target = e.address(node), e.address(held)
        width = str(node.dtype.itemsize)
        moved += 2 * node.size * node.dtype.itemsize
        if scalars:
            e.store(e.load_one(source, node.dtype), target)
            continue

        def part(j: str, at: Any = (source, target, width, node.dtype)) -> None:
            there, here, step, dtype = at
            e.store(e.load(e.offset(there, j, step), dtype), e.offset(here, j, step))

        e.split_vectors(node.size)(part)
    return e.finish(0, moved)


# -- places -----------------------------------------------------------------------------------


def _fixed_places(fusion: Fusion, committed: set[int]) -> tuple[dict[int, Place], list[Node]]:
    """Places outside of the arena, and the constants that need memory."""
    graph = fusion.graph
    places: dict[int, Place] = {}
    for kind, leaves in (
        ("argument", graph.arguments), ("variable", graph.variables), ("host", graph.hosts),
    ):  # fmt: skip
        for node in leaves:
            places[id(node)] = Place(kind, node.payload)
    constants = [node for node in fusion.stored.values() if node.role == g.CONSTANT]
    for number, node in enumerate(constants):
        places[id(node)] = Place("constant", number)
    for number, node in enumerate(fusion.outputs):
        places[id(node)] = Place("output", number)
    for number, node in fusion.writes:
        if id(node) in committed:
            places[id(node)] = Place("variable", number)
    return places, constants


def _assign(fusion: Fusion, kernels: list[Kernel], places: dict[int, Place]) -> int:
    """Give the remaining values offsets in the arena by their lifetimes; the arena's size."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    nodes: dict[int, Node] = {}
    for at, kernel in enumerate(kernels):
        for slot in kernel.slots:
            if slot.node is not None and id(slot.node) not in places:
                nodes[id(slot.node)] = slot.node
                first.setdefault(id(slot.node), at)
                last[id(slot.node)] = at
    live: list[tuple[int, int, int]] = []  # (start, stop, last use)
    size = 0
    for key, node in nodes.items():
        live = [block for block in live if block[2] >= first[key]]
        need = -(-max(node.size * node.dtype.itemsize, 1) // ALIGNMENT) * ALIGNMENT
        need += STAGGER if need >= _PAGE else 0
        start = _gap(live, need)
        live.append((start, start + need, last[key]))
        live.sort()
        places[key] = Place("arena", start)
        size = max(size, start + need)
    return size


def _gap(live: list[tuple[int, int, int]], need: int) -> int:
    """The first room for `need` bytes between blocks, which are in order."""
    at = 0
    for start, stop, _ in live:
        if start - at >= need:
            return at
        at = max(at, stop)
    return at
