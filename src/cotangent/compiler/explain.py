"""`explain`: a compiled step in words and numbers."""

from __future__ import annotations

from .codegen.build import TILES, native_isa
from .fuse import Fusion, fuse
from .graph import Graph
from .memory import Plan, plan
from .simplify import simplify


def explain_step(name: str, traced: Graph, passes: bool = False) -> str:
    """The graph, the kernels with FLOPs and bytes, the arena, and why each fusion stopped.

    Args:
        traced: the graph as it was traced.
        passes: what each pass made of it, too.
    """
    isa = native_isa()
    graph = simplify(traced)
    fusion = fuse(graph)
    made = plan(fusion, TILES.get(isa, TILES["avx2"]))
    ops = sum(node.role == "op" for node in graph.nodes)
    flops = sum(kernel.flops for kernel in made.kernels)
    moved = sum(kernel.bytes for kernel in made.kernels)
    lines = [
        f"{name}: {ops} ops in {len(made.kernels)} kernels ({isa}), {flops:,} FLOPs, "
        f"{moved:,} bytes, arena {made.arena:,} bytes",
    ]
    if passes:
        lines += ["", f"traced ({len(traced.nodes)} nodes):", *_indented(str(traced))]
    title = f"simplified ({len(graph.nodes)} nodes):" if passes else "graph:"
    lines += ["", title, *_indented(str(graph))]
    if passes:
        names = {id(node): f"%{i}" for i, node in enumerate(graph.nodes)}
        lines += ["", f"fused ({len(fusion.groups)} groups):", *_group_lines(fusion, names)]
        lines += ["", "memory:", *_place_lines(made, names)]
    lines += ["", "kernels:", *_kernel_lines(made)]
    return "\n".join(lines)


def _indented(text: str) -> list[str]:
    return ["  " + line for line in text.splitlines()]


def _group_lines(fusion: Fusion, names: dict[int, str]) -> list[str]:
    """What is computed together, and which of it is kept in memory."""
    lines = []
    for group in fusion.groups:
        inside = " ".join(names.get(id(node), "copy") for node in group.nodes)
        kept = " ".join(names.get(id(node), "copy") for node in group.stored) or "nothing"
        lines.append(f"  {group.kind} over {list(group.domain)}: {inside}; keeps {kept}")
    return lines


def _place_lines(made: Plan, names: dict[int, str]) -> list[str]:
    """Where the kept values live: a number is the offset in the arena."""
    lines = []
    for node in made.keep:
        place = made.places.get(id(node))
        if place is not None and node.role == "op":
            size = node.size * node.dtype.itemsize
            name = names.get(id(node), f"a copy of {node.op}")
            lines.append(f"  {name}: {place.kind} {place.number}, {size:,} bytes")
    return list(dict.fromkeys(lines))


def _kernel_lines(made: Plan) -> list[str]:
    lines = []
    for i, (kernel, group) in enumerate(zip(made.kernels, made.groups, strict=True)):
        if i == made.computing:
            lines.append("  -- commit --")
        if group is None:
            what, why = "copy into variables", "computed aside, because something still reads them"
        else:
            ops = " ".join(node.op for node in group.nodes)
            what, why = f"{group.kind} over {list(group.domain)}: {ops}", group.why
        lines.append(f"  {i:3} {kernel.flops:>10,} FLOPs {kernel.bytes:>10,} bytes  {what}")
        lines.append(f"      new kernel, because {why}")
    return lines
