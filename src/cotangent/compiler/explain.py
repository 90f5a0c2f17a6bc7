"""`explain`: a compiled step in words and numbers."""

from __future__ import annotations

from .codegen.build import TILES, native_isa
from .fuse import fuse
from .graph import Graph
from .memory import Plan, plan


def explain_step(name: str, graph: Graph) -> str:
    """The graph, the kernels with FLOPs and bytes, the arena, and why each fusion stopped."""
    isa = native_isa()
    made = plan(fuse(graph), TILES.get(isa, TILES["avx2"]))
    ops = sum(node.role == "op" for node in graph.nodes)
    flops = sum(kernel.flops for kernel in made.kernels)
    moved = sum(kernel.bytes for kernel in made.kernels)
    lines = [
        f"{name}: {ops} ops in {len(made.kernels)} kernels ({isa}), {flops:,} FLOPs, "
        f"{moved:,} bytes, arena {made.arena:,} bytes",
        "",
        "graph:",
        *("  " + line for line in str(graph).splitlines()),
        "",
        "kernels:",
        *_kernel_lines(made),
    ]
    return "\n".join(lines)


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
