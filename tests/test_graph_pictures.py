"""Pictures of computation graphs: what is in them, and how they are laid out."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from drawn import parsed, texts
from hypothesis import given, settings
from hypothesis import strategies as st

import cotangent as ct
from cotangent import nn, optim, viz
from cotangent.errors import ArgumentError, ArgumentTypeError
from cotangent.viz.layered import Net, arrange, spaced
from cotangent.viz.nested import grouped

X = np.ones((32, 2), "float32")
Y = np.ones((32, 1), "float32")


class MLP(nn.Module):
    def __init__(self):
        self.l1, self.l2 = nn.Linear(2, 8), nn.Linear(8, 1)

    def forward(self, x):
        return self.l2(self.l1(x).relu())


def training_step():
    model, opt = MLP(), optim.Adam(lr=0.01)

    def step(x, y):
        loss = nn.binary_cross_entropy_with_logits(model(x), y)
        opt.step(model, loss.backward())
        return loss

    return step


def broken(x, y):
    return (MODEL(x) * y[:, :3].reshape((3, -1))).sum()


MODEL = MLP()
CASES = {
    "model": lambda: viz.graph(MODEL, X),
    "backward": lambda: viz.graph(lambda x, y: nn.mse_loss(MODEL(x), y), X, Y, backward=True),
    "step": lambda: viz.graph(training_step(), X, Y),
    "by layer": lambda: viz.graph(training_step(), X, Y).by_layer(),
    "failed": lambda: viz.graph(broken, X, np.ones((32, 6), "float32")),
    "two": lambda: viz.graph(lambda x: (x.sum(), x.max()), X),
    "none": lambda: viz.graph(lambda: ct.ones((2,)) * ct.arange(2.0)),
}
PICTURES = {name: make() for name, make in CASES.items()}


# -- what is in them --------------------------------------------------------------------------


def test_the_graph_of_a_model():
    found = PICTURES["model"]
    kinds = [(n.kind, n.name) for n in found.nodes]
    assert kinds[0] == ("input", "x") and kinds[-1] == ("output", "output")
    parameters = {n.name: n.shape for n in found.nodes if n.kind == "parameter"}
    assert parameters == {n: p.shape for n, p in MODEL.named_parameters()}
    layers = {n.name: n.layer for n in found.nodes}
    assert layers["l1.weight"] == "MLP.l1" and layers["relu"] == "MLP"
    product = next(n for n in found.nodes if n.name == "matmul")
    assert product.groups == ("MLP", "MLP.l1") and product.shape == (32, 8)
    assert {found.nodes[i].name for i in product.inputs} == {"x", "permute_dims"}
    assert product.source.startswith(__file__.rpartition("/")[0]) or "test_graph" in product.source
    assert not any(n.backward for n in found.nodes) and found.error == ""


def test_every_value_is_used_by_what_the_function_computes():
    """The nodes evaluate to the function: by another way than the compiler's."""
    found = viz.graph(lambda x, y: (x * y + 2.0).sum(), X, Y)
    names = [(n.name, n.detail) for n in found.nodes]
    assert names == [
        ("x", ""), ("y", ""), ("multiply", ""), ("add", "2.0"),
        ("sum", "axes=(0, 1), keepdims=False"), ("output", ""),
    ] or [n for n, _ in names] == ["x", "y", "multiply", "add", "sum", "output"]  # fmt: skip
    assert found.edges == [(0, 2), (1, 2), (2, 3), (3, 4), (4, 5)]


def test_forward_backward_and_update_are_told_apart():
    found = PICTURES["step"]
    phases = [n.groups[0] for n in found.nodes if n.kind == "operation"]
    assert [name for name, _ in itertools.groupby(phases)][:3] == ["forward", "backward", "update"]
    backward = [n for n in found.nodes if n.backward]
    assert {n.layer for n in backward} == {"", "MLP", "MLP.l1", "MLP.l2"}
    # The gradient of the first weight is computed in its layer, by a product of the weight's shape.
    gradient = [n for n in backward if n.layer == "MLP.l1" and n.name == "matmul"]
    assert [sorted(n.shape) for n in gradient] == [[2, 8]]
    outputs = {n.name for n in found.nodes if n.kind == "output"}
    assert {"output", *(f"new {name}" for name, _ in MODEL.named_parameters())} <= outputs
    assert any(n.kind == "state" for n in found.nodes)  # Adam's


def test_the_gradient_of_a_layer_belongs_to_it_in_profiles_too():
    step = ct.jit(training_step())
    step(X, Y)
    assert any("MLP.l2" in row.layer for row in step.profile(X, Y, seconds=0.01).rows)


def test_one_node_for_each_layer():
    found = PICTURES["by layer"]
    names = [n.name for n in found.nodes if n.kind == "operation"]
    assert names == [
        "MLP.l1", "MLP", "MLP.l2", "loss", "gradient of the loss", "MLP.l2", "MLP", "MLP.l1",
        "update",
    ]  # fmt: skip
    assert [n.name for n in found.nodes if n.kind == "output"].count("new values of variables") == 1


def test_a_failure_shows_what_was_computed_and_what_failed():
    found = PICTURES["failed"]
    last = found.nodes[-1]
    assert (last.kind, last.name) == ("error", "multiply")
    assert [found.nodes[i].shape for i in last.inputs] == [(32, 1), (3, 32)]
    assert "do not broadcast" in found.error and "test_graph_pictures" in last.source
    assert [n.name for n in found.nodes].count("matmul") == 2  # both layers were run
    svg = found.svg()
    assert 'class="node error"' in svg and "tracing failed" in svg


def test_failures_without_an_operation_of_their_own():
    wrong_width = viz.graph(MODEL, np.ones((4, 3)))
    last = wrong_width.nodes[-1]
    assert (last.name, last.layer, last.kind) == ("Linear", "MLP.l1", "error")
    assert last.groups == ("MLP", "MLP.l1") and last.inputs == (0,)

    def chooses(x):
        return x if x.sum() > 0 else -x

    last = viz.graph(chooses, X).nodes[-1]
    assert last.kind == "error" and "ct.where" in last.detail


def test_a_graph_is_of_a_function():
    with pytest.raises(ArgumentTypeError, match="takes a function, not int"):
        viz.graph(3, X)


# -- the layout -------------------------------------------------------------------------------


def _sizes(found):
    rects = {}
    for e in parsed(found.svg()).iter("{http://www.w3.org/2000/svg}g"):
        (rect,) = e.findall("{http://www.w3.org/2000/svg}rect")[:1] or [None]
        if rect is not None and rect.get("x"):
            rects[len(rects)] = [float(rect.get(k)) for k in ("x", "y", "width", "height")]
    return rects


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_nodes_do_not_overlap_and_lie_in_their_boxes(name):
    found = PICTURES[name]
    placed = found.layout
    from cotangent.viz.graphs import _size

    boxes = [(*placed.nodes[n.number], *_size(n)) for n in found.nodes]
    assert len(boxes) == len(placed.nodes)
    for (x, y, w, h), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
        assert (
            x + w <= x2 + 1e-6 or x2 + w2 <= x + 1e-6 or y + h <= y2 + 1e-6 or y2 + h2 <= y + 1e-6
        )
    for x, y, w, h in boxes:
        assert x >= 0 and y >= 0 and x + w <= placed.width and y + h <= placed.height
    # Two boxes are apart, or one is inside of the other.
    for (_, x, y, w, h), (_, x2, y2, w2, h2) in itertools.combinations(placed.boxes, 2):
        apart = x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
        inside = x <= x2 and y <= y2 and x + w >= x2 + w2 and y + h >= y2 + h2
        assert apart or inside or (x2 <= x and y2 <= y and x2 + w2 >= x + w and y2 + h2 >= y + h)


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_edges_go_down_from_their_source_to_their_sink(name):
    found = PICTURES[name]
    placed = found.layout
    from cotangent.viz.graphs import _size

    sizes = {n.number: _size(n) for n in found.nodes}
    drawn = set()
    for source, sink, points in placed.edges:
        ys = [y for _, y in points]
        assert ys == sorted(ys)
        if source >= 0:
            x, y = placed.nodes[source]
            assert points[0] == pytest.approx((x + sizes[source][0] / 2, y + sizes[source][1]))
        if sink >= 0:
            x, y = placed.nodes[sink]
            assert points[-1] == pytest.approx((x + sizes[sink][0] / 2, y))
        if source >= 0 and sink >= 0:
            drawn.add((source, sink))
    assert drawn <= set(found.edges)
    # No edge passes through a node.
    for source, sink, points in placed.edges:
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            for number, (x, y) in placed.nodes.items():
                w, h = sizes[number]
                middle = y + h / 2
                if number not in (source, sink) and y0 <= middle <= y1 and y0 < y1:
                    at = x0 + (x1 - x0) * (middle - y0) / (y1 - y0)
                    assert not (x < at < x + w), (source, sink, number)
    # Each edge ends at its sink, also those that come through the border of a layer.
    ends = {sink for _, sink, _ in placed.edges if sink >= 0}
    assert ends == {sink for _, sink in found.edges}


def test_edges_through_borders_are_whole():
    found = PICTURES["model"]
    starts = {(round(p[0][0], 3), round(p[0][1], 3)) for s, _, p in found.layout.edges if s < 0}
    ends = {(round(p[-1][0], 3), round(p[-1][1], 3)) for _, s, p in found.layout.edges if s < 0}
    assert starts and starts <= ends | starts
    for x, y in starts:  # where a piece begins at a border, another one ends
        assert any(abs(x - a) < 0.01 and abs(y - b) < 0.01 for a, b in ends) or (x, y) in {
            (round(p[-1][0], 3), round(p[-1][1], 3)) for _, _, p in found.layout.edges
        }


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_graphs_are_laid_out(data):
    count = data.draw(st.integers(1, 14))
    sizes = {i: (20.0 + 7 * (i % 4), 20.0 + 5 * (i % 3)) for i in range(count)}
    nets = []
    for i in range(count - 1):
        below = st.lists(st.integers(i + 1, count - 1), max_size=3, unique=True)
        sinks = data.draw(below)
        if sinks:
            nets.append(Net(i, tuple(sinks), i))
    drawn = arrange(sizes, nets)
    boxes = [(*drawn.corners[i], *sizes[i]) for i in range(count)]
    for (x, y, w, h), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
        assert x + w <= x2 + 1e-6 or x2 + w2 <= x + 1e-6 or y + h <= y2 or y2 + h2 <= y
    for net, sink, points in drawn.routes:
        x, y = drawn.corners[net.source]
        assert points[0] == pytest.approx((x + sizes[net.source][0] / 2, y + sizes[net.source][1]))
        assert points[-1][1] == drawn.corners[sink][1]
        assert all(a[1] <= b[1] for a, b in itertools.pairwise(points))
    assert max(x + w for x, _, w, _ in boxes) <= drawn.width + 1e-6
    assert max(y + h for _, y, _, h in boxes) <= drawn.height + 1e-6


def test_crossings_that_can_be_avoided_are():
    sizes = dict.fromkeys("abcxyz", (30.0, 20.0))
    nets = [Net("a", ("z",), 1), Net("b", ("y",), 2), Net("c", ("x",), 3)]
    assert arrange(sizes, nets).crossings == 0
    complete = [Net(i, ("x", "y", "z"), i) for i in "abc"]
    assert arrange(sizes, complete).crossings == 9  # as many as K(3,3) in two ranks must have


def test_a_chain_is_straight_and_a_long_edge_passes_beside():
    sizes = dict.fromkeys(range(4), (40.0, 20.0))
    drawn = arrange(sizes, [Net(0, (1, 3), 0), Net(1, (2,), 1), Net(2, (3,), 2)])
    assert drawn.crossings == 0
    (route,) = [points for net, sink, points in drawn.routes if (net.source, sink) == (0, 3)]
    for x, y in route[1:-1]:
        assert not any(cx < x < cx + 40 and cy < y < cy + 20 for cx, cy in drawn.corners.values())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0.5, 5)), min_size=1, max_size=6))
def test_places_are_the_least_squares_solution(pairs):
    wanted, weights = zip(*pairs, strict=True)
    apart = [3.0] * (len(pairs) - 1)
    found = spaced(wanted, weights, apart)
    assert all(b - a >= 3 - 1e-9 for a, b in itertools.pairwise(found))

    def cost(places):
        return sum(w * (p - q) ** 2 for p, q, w in zip(places, wanted, weights, strict=True))

    rng = np.random.default_rng(0)
    for _ in range(30):  # convex: no feasible neighbour is better
        other = np.array(found) + rng.normal(size=len(found)) * rng.choice([0.01, 1.0])
        if all(b - a >= 3 for a, b in itertools.pairwise(other)):
            assert cost(other) >= cost(found) - 1e-9


def test_a_layer_that_is_called_twice_has_two_boxes():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    root = grouped(viz.graph(model, X).nodes)
    assert [g.name for g in root.groups] == ["Sequential"]
    assert len(root.groups[0].groups) == 3


# -- as text ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_the_svg_names_every_node_with_its_shape(name):
    found = PICTURES[name]
    shown = texts(found.svg())
    for node in found.nodes:
        assert any(line.startswith(node.name[:12]) for line in shown)
        if node.shape is not None and node.name != "update":
            assert f"{node.dtype} {list(node.shape)}" in shown
    kinds = set(re.findall(r'class="node (\w+)"', found.svg()))
    wanted = {"backward" if n.backward and n.kind == "operation" else n.kind for n in found.nodes}
    assert kinds == wanted  # and the legend has no more


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_mermaid_has_every_node_edge_and_group(name):
    found = PICTURES[name]
    lines = found.mermaid().splitlines()
    assert lines[0] == "flowchart TD"
    assert len([x for x in lines if x.strip().startswith("subgraph")]) == lines.count("end") + len(
        [x for x in lines if x.strip() == "end" and x != "end"]
    )
    arrows = {tuple(map(int, re.findall(r"n(\d+)", x))) for x in lines if "-->" in x}
    assert arrows == set(found.edges)
    for node in found.nodes:
        (line,) = [x for x in lines if re.match(rf"\s+n{node.number}[\[(]", x)]
        assert node.name in line and line.count('"') == 2
    depth = 0
    for line in (x.strip() for x in lines):
        depth += line.startswith("subgraph") - (line == "end")
        assert depth >= 0
    assert depth == 0
    classed = [n for x in lines if x.strip().startswith("class ") for n in re.findall(r"n(\d+)", x)]
    assert sorted(map(int, classed)) == list(range(len(found.nodes)))


def test_a_graph_is_written_as_svg_html_and_mermaid(tmp_path):
    found = PICTURES["model"]
    assert found.save(tmp_path / "g.mmd").read_text("utf-8") == found.mermaid()
    page = found.save(tmp_path / "g.html").read_text("utf-8")
    assert found.svg() in page and "<script" not in page
    assert found.save(tmp_path / "g.svg").read_text("utf-8") == found.svg()
    with pytest.raises(ArgumentError, match=r"written as \.svg"):
        found.save(tmp_path / "g.png")


def test_names_that_would_break_the_text_are_escaped():
    node = viz.ComputationGraph("<f>", (PICTURES["model"].nodes[0],))
    odd = type(node.nodes[0])(0, "operation", 'a<b>&"c"', "", (1,), "float32")
    found = viz.ComputationGraph('<f> & "g"', (odd,))
    parsed(found.svg())
    assert "<b>" not in found.mermaid() and '&"c' not in found.mermaid()
