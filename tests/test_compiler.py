"""The passes of the compiler: trace, simplify, views, fuse, memory plan, code generation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cotangent as ct
from cotangent import nn, ops, optim, testing
from cotangent.compiler import graph as g
from cotangent.compiler import simplify as simplifier
from cotangent.compiler.codegen.build import TARGETS, TILES, build
from cotangent.compiler.codegen.driver import driver_text
from cotangent.compiler.fuse import fuse
from cotangent.compiler.memory import plan
from cotangent.compiler.simplify import simplify
from cotangent.compiler.trace import Trace, run_traced
from cotangent.compiler.views import reshape_strides
from cotangent.errors import CompileError
from cotangent.ops import Primitive
from cotangent.runtime.loader import undefined_symbols
from cotangent.tree import flatten

RNG = np.random.default_rng(0)


def _trace(f, *arrays):
    """The graph of ``f(*arrays)``, and the trace."""
    trace = Trace()

    def run():
        xs = [trace.argument(a.shape, a.dtype, f"x{i}") for i, a in enumerate(arrays)]
        return trace.finish(flatten(f(*xs))[0])

    return run_traced(trace, run), trace


def _random(*shape, dtype="float32"):
    return RNG.uniform(-1, 1, shape).astype(dtype)


def _eager(f, *arrays):
    return [t.numpy() for t in flatten(f(*map(ct.asarray, arrays)))[0]]


def _close(got, expected, largest=1.0, ulps=64):
    """Equal up to a few units in the last place of the largest intermediate."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected)
        return
    scale = max(largest, float(np.max(np.abs(expected), initial=0.0)))
    atol = ulps * float(np.finfo(got.dtype).eps) * scale
    np.testing.assert_allclose(got, expected, rtol=0, atol=atol)


def _check(f, *arrays, largest=1.0, ulps=64):
    """Compiled against eager."""
    compiled = flatten(ct.jit(f)(*map(ct.asarray, arrays)))[0]
    for got, expected in zip(compiled, _eager(f, *arrays), strict=True):
        _close(got.numpy(), expected, largest, ulps)


# -- the graph --------------------------------------------------------------------------------


class MLP(nn.Module):
    def __init__(self, *widths):
        self.layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = layer(x).tanh()
        return self.layers[-1](x)


def _training_step(model, opt):
    def step(x, y):
        loss = nn.cross_entropy_loss(model(x), y)
        opt.step(model, loss.backward())
        return loss

    return step


@pytest.fixture(scope="module")
def step_graph():
    ct.manual_seed(0)
    step = _training_step(MLP(5, 7, 3), optim.Adam(lr=0.1))
    return _trace(step, _random(4, 5), np.array([0, 2, 1, 1]))


def test_a_graph_prints_and_verifies(step_graph):
    graph, trace = step_graph
    text = str(graph.verify())
    assert "matmul" in text and "write variable" in text and text.splitlines()[-1][:6] == "return"
    assert str(simplify(graph).verify()).count("\n") < text.count("\n")
    assert len(trace.variables) == 4 + 4 * 5  # parameters; step, m, v, c1, c2 of each
    assert any(node.layer.endswith("layers.0") for node in graph.nodes)
    assert all(__file__ in node.source for node in graph.nodes if node.role == "op")


def test_a_graph_runs_op_by_op_to_the_eager_values(step_graph):
    graph, trace = step_graph
    x, y = _random(4, 5), np.array([0, 2, 1, 1])
    hosts = [np.asarray(h.value(), n.dtype) for h, n in zip(
        trace.host_functions, graph.hosts, strict=True)]  # fmt: skip
    values = [v.peek() for v in trace.variables]
    for made in (graph, simplify(graph)):
        (loss,), new = made.run([x, y], values, hosts)
        assert np.isfinite(loss) and len(new) == len(made.writes)
    ct.manual_seed(0)
    model, opt = MLP(5, 7, 3), optim.Adam(lr=0.1)
    _close(loss, _training_step(model, opt)(ct.tensor(x), ct.tensor(y)).numpy())
    named = {v.name: v for v in trace.variables}
    assert len(named) >= 4
    for (number, _), value in zip(made.writes, new, strict=True):
        assert value.shape == trace.variables[number].shape


def test_verify_sees_a_node_that_contradicts_its_record():
    graph, _ = _trace(lambda x: x.exp().sum(), _random(3))
    graph.nodes[-1].shape = (7,)
    with pytest.raises(CompileError, match=r"sum .* its record says"):
        graph.verify()


def test_verify_sees_a_wrong_order():
    graph, _ = _trace(lambda x: x.exp().sum(), _random(3))
    graph.nodes.reverse()
    with pytest.raises(CompileError, match="comes before its input"):
        graph.verify()


def test_a_deep_graph_needs_no_recursion():
    def chain(x):
        for _ in range(5000):
            x = x + x
        return x

    graph, _ = _trace(chain, _random(2))
    assert len(graph.nodes) == 5001
    assert len(simplify(graph).nodes) == 5001


# -- simplify ---------------------------------------------------------------------------------

ONE = np.float32(1)
X = _random(4, 6)

# For each rule a function that it makes shorter.
SHORTER = {
    "fold_constants": lambda x: x + (ct.tensor([1.0, 2.0]).exp() * 3.0).sum(),
    "fold_uniform": lambda x: x.sum() + ct.broadcast_to(ct.tensor(2.0), (100, 100)).exp().T,
    "multiply_by_one": lambda x: (x * 1.0).exp() + ops.mul_no_nan(x, 1.0) * 1.0,
    "divide_by_one": lambda x: (x / 1.0).exp(),
    "product_of_known": lambda x: ops.mul_no_nan(2.0, x),
    "negate_twice": lambda x: ops.negative(-x).exp(),
    "move_nothing": lambda x: ct.permute_dims(ct.broadcast_to(x, x.shape), (0, 1)).exp(),
    "move_once": lambda x: ct.permute_dims(ct.reshape(ct.reshape(x, (24,)), (6, 4)).T, (1, 0)),
    "sum_over_ones": lambda x: ct.sum(ct.reshape(x, (4, 1, 6)), axis=1),
    "cast_to_same": lambda x: ops.astype(x, dtype=X.dtype).exp(),
}


def test_there_is_an_example_for_every_rule():
    assert set(SHORTER) >= {rule.__name__ for rule in simplifier.RULES}


def _size_without(monkeypatch, rule, graph):
    others = [r for r in simplifier.RULES if r.__name__ != rule]
    with monkeypatch.context() as patched:
        patched.setattr(simplifier, "RULES", others)
        return simplify(graph)


@pytest.mark.parametrize("rule", [rule.__name__ for rule in simplifier.RULES])
def test_a_rule_shortens_and_keeps_the_value(rule, monkeypatch):
    graph, _ = _trace(SHORTER[rule], X)
    short, long = simplify(graph).verify(), _size_without(monkeypatch, rule, graph).verify()
    before = graph.run([X], [], [])[0]
    for made in (short, long):
        for got, expected in zip(made.run([X], [], [])[0], before, strict=True):
            np.testing.assert_array_equal(got, expected)
    if rule == "product_of_known":
        assert [n.op for n in short.nodes if n.role == "op"] == ["multiply"]
        assert [n.op for n in long.nodes if n.role == "op"] == ["mul_no_nan"]
    else:
        assert len(short.nodes) < len(long.nodes)


def test_rules_keep_infinities_and_nan():
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], np.float32)

    def f(x):
        return (
            x * 1.0,
            x / 1.0,
            ops.negative(-x),
            ops.mul_no_nan(x, 1.0),
            ops.mul_no_nan(0.0, x),
            x * 0.0,
        )

    graph, _ = _trace(f, x)
    for got, expected in zip(simplify(graph).run([x], [], [])[0], graph.run([x], [], [])[0],
                             strict=True):  # fmt: skip
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("shapes", [((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5))])
def test_a_transposed_product_is_a_product_of_transposes(shapes):
    a, b = (_random(*shape) for shape in shapes)
    graph, _ = _trace(lambda a, b: (a @ b).mT.exp(), a, b)
    made = simplify(graph).verify()
    product = next(node for node in made.nodes if node.op == "matmul")
    users = [node for node in made.nodes if product in node.inputs]
    assert [node.op for node in users] == ["exp"]  # the product is not moved any more
    np.testing.assert_array_equal(made.run([a, b], [], [])[0], graph.run([a, b], [], [])[0])
    _check(lambda a, b: (a @ b).mT.exp(), a, b, largest=5)


def test_two_transposes_cancel():
    a, b = _random(3, 4), _random(5, 4)
    graph, _ = _trace(lambda a, b: (a @ b.T).T, a, b)
    made = simplify(graph)
    assert sorted(n.op for n in made.nodes) == ["argument", "argument", "matmul", "permute_dims"]


def test_a_product_that_is_used_both_ways_stays():
    def f(a, b):
        c = a @ b
        return c, c.T

    graph, _ = _trace(f, _random(3, 4), _random(4, 5))
    assert sum(node.op == "matmul" for node in simplify(graph).nodes) == 1


def test_common_subexpressions_are_one_and_dead_code_goes():
    def f(x):
        (x * 3).sum()
        x.exp().exp().exp()
        return (x.exp() + ct.sum(x, axis=0)) * (x.exp() - ct.sum(x, axis=0))

    graph, _ = _trace(f, X)
    assert not any(n.op == "multiply" and n.shape == () for n in graph.nodes)
    made = simplify(graph)
    assert sum(n.op == "exp" for n in graph.nodes) == 2
    assert sum(n.op == "exp" for n in made.nodes) == 1
    assert sum(n.op == "sum" for n in made.nodes) == 1
    np.testing.assert_array_equal(made.run([X], [], [])[0], graph.run([X], [], [])[0])


def test_an_op_that_can_fail_stays_and_costs_nothing_where_another_checks_the_same():
    table, index = _random(5, 3), np.array([0, 4, 2])

    def checks(f):
        return _trace(f, table, index)[0].checks

    def gradient_of_table(x, i):
        loss = ct.sum(ct.take(x, i) * 2 + x[i])
        return loss, ct.grad(lambda x: ct.sum(ct.take(x, i) * 2 + x[i]))(x)[:0]

    assert [n.op for n in checks(lambda x, i: (x[i], x * 2)[1])] == ["wrap_index"]
    assert [n.op for n in checks(lambda x, i: (x[i, i], i)[1])] == ["wrap_index"] * 2
    assert checks(lambda x, i: x[i]) == checks(gradient_of_table) == ()
    (unused,) = checks(lambda x, i: (ops.scatter_add(x[:3], i, rows=5), x)[1])
    assert (unused.op, unused.inputs[0].role, unused.attrs["size"]) == (
        "check_index",
        "argument",
        5,
    )
    assert checks(lambda x, i: (ops.scatter_add(x[:3], i, rows=5), ops.take(x[:2], i))[1]) == ()
    graph = _trace(lambda x, i: (x[i], x * 2)[1], table, index)[0]
    assert "check %" in str(graph)
    groups = fuse(simplify(graph)).groups
    assert sorted(n.op for group in groups for n in group.nodes) == ["multiply", "wrap_index"]


def test_equal_looking_nodes_with_other_attributes_stay_two():
    graph, _ = _trace(lambda x: ct.sum(x, axis=0).sum() + ct.sum(x, axis=1).sum(), X)
    assert sum(n.op == "sum" for n in simplify(graph).nodes) == 4


# -- views ------------------------------------------------------------------------------------


@st.composite
def _views(draw):
    """A view of an array (permuted, stretched, with steps), and a shape of as many elements."""
    shape = draw(st.lists(st.integers(1, 4), max_size=4).map(tuple))
    array = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    array = array.transpose(draw(st.permutations(range(len(shape)))))
    if draw(st.booleans()):
        ones = [i for i, n in enumerate(array.shape) if n == 1]
        wide = [draw(st.integers(1, 3)) if i in ones else n for i, n in enumerate(array.shape)]
        array = np.broadcast_to(array, wide)
    if array.ndim and draw(st.booleans()):
        array = array[:: draw(st.integers(1, 2))]
    factors = []
    rest = array.size
    while rest > 1:
        factor = draw(st.sampled_from([n for n in range(2, rest + 1) if rest % n == 0]))
        factors.append(factor)
        rest //= factor
    for _ in range(draw(st.integers(0, 2))):
        factors.insert(draw(st.integers(0, len(factors))), 1)
    return array, tuple(factors)


@settings(max_examples=300, deadline=None)
@given(_views())
def test_strides_of_a_reshape_are_those_of_numpy(case):
    array, wanted = case
    strides = tuple(s // 8 for s in array.strides)
    got = reshape_strides(array.shape, strides, wanted)
    expected = array.reshape(wanted)
    if got is None:
        assert not np.shares_memory(expected, array)  # NumPy has to copy as well
        return
    view = np.lib.stride_tricks.as_strided(array, wanted, tuple(8 * s for s in got))
    np.testing.assert_array_equal(view, expected)


MOVES = {
    "reshape of a transpose": lambda x: ct.reshape(x.T, (3, 8)) * 2,
    "transpose of a reshape": lambda x: ct.reshape(x, (2, 2, 6)).mT * 2,
    "reshape of a broadcast": lambda x: ct.reshape(ct.broadcast_to(x, (3, 4, 6)), (12, 6)) + 1,
    "broadcast of a reduction": lambda x: x - ct.sum(x, axis=0, keepdims=True),
    "new axes": lambda x: ct.expand_dims(x, 1) * ct.expand_dims(x, 0),
    "a view returned": lambda x: (x.T, ct.reshape(x, (24,)), ct.broadcast_to(x, (2, 4, 6))),
    "column of rows": lambda x: ct.sum(x.T, axis=1) + ct.reshape(x, (6, 4))[0].sum(),
    "permuted batch": lambda x: ct.permute_dims(ct.reshape(x, (2, 3, 4)), (2, 0, 1)) * 1.5,
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moves(name, dtype):
    _check(MOVES[name], X.astype(dtype), largest=8)


# -- fuse -------------------------------------------------------------------------------------


def _fusion(f, *arrays):
    return fuse(simplify(_trace(f, *arrays)[0]))


def _kinds(fusion):
    return [group.kind for group in fusion.groups]


def test_a_chain_is_one_group():
    assert len(_fusion(lambda x: (x.exp() * x + 1).tanh() / 3, X).groups) == 1


def test_a_reduction_swallows_what_it_sums():
    assert len(_fusion(lambda x: ((x.exp() * x + 1) * x).sum(), X).groups) == 1


def test_reductions_over_the_same_axes_share_their_loops():
    assert len(_fusion(lambda x: (x.sum(), (x * x).sum()), X).groups) == 1
    assert len(_fusion(lambda x: (ct.sum(x, axis=0), ct.sum(x, axis=1)), X).groups) == 2


def test_a_value_that_needs_the_whole_reduction_of_a_long_row_is_in_a_later_group():
    groups = _fusion(lambda x: x.exp() - x.exp().sum(), np.ones((3, 4000))).groups
    assert len(groups) == 2
    first = next(i for i, group in enumerate(groups) if any(n.op == "sum" for n in group.nodes))
    assert first == 0 and any(n.op == "subtract" for n in groups[1].nodes)


ROWS = {
    "softmax": lambda x: (ct.softmax(x, -1) * x).sum(),
    "softmax of columns": lambda x: (ct.softmax(x, 0) * x).sum(),
    "log-softmax": lambda x: (ct.log_softmax(x, -1) * x.exp()).sum(),
    "standardised": lambda x: (
        ((x - x.mean(-1, keepdims=True)) ** 3).sum() / ct.sqrt(ct.variance(x) + 1)
    ),
    "weighted": lambda x: (nn.layer_norm(x, x[0] + 2, x[-1]) * x).sum(),
    "columns": lambda x: (x / (1 + ct.std(x, axis=0))).max(),
    "all": lambda x: ((x - x.mean()) / (1 + ct.std(x))).sum(),
    "three steps": lambda x: (
        x / (x / (x - x.max(-1, keepdims=True) - 1).sum(-1, keepdims=True)).max()
    ).sum(),
}


@pytest.mark.parametrize(
    "shape", [(3, 5), (40, 33), (5, 4096), (2, 3, 70), (70, 1), (1, 9), (100, 37), (2, 50, 33)]
)
@pytest.mark.parametrize("name", ROWS)
def test_row_programs_equal_eager(name, shape):
    x = np.random.default_rng(0).normal(size=shape)
    _check(ct.value_and_grad(ROWS[name]), x, largest=500)
    _check(ct.grad(lambda x: (ct.grad(ROWS[name])(x) ** 2).sum()), x, largest=5000)


def test_a_softmax_with_its_gradient_is_one_kernel_for_the_rows():
    f = ct.value_and_grad(lambda x: (ct.softmax(x, -1) * x).sum())
    groups = _fusion(f, np.ones((64, 100))).groups
    assert [group.domain for group in groups] == [(64, 100), (64,)]


def test_a_detour_through_another_group_makes_no_cycle():
    def f(x):
        y = x.exp()
        return (y @ y.T).sum() + y, y * 2

    groups = _fusion(f, X).groups
    place = {id(node): i for i, group in enumerate(groups) for node in group.nodes}
    for i, group in enumerate(groups):
        for node in group.nodes:
            assert all(place.get(id(x), -1) <= i for x in node.inputs)
    _check(f, X, largest=60)


def test_a_copy_is_made_only_where_no_strides_do():
    assert len(_fusion(lambda x: x.T + 1, X).groups) == 1
    assert len(_fusion(lambda x: ct.reshape(x, (2, 12)) + 1, X).groups) == 1
    copied = _fusion(lambda x: ct.reshape(x.T, (24,)) + 1, X)
    assert sum(group.source is not None for group in copied.groups) == 1
    both = _fusion(lambda x: (ct.reshape(x.T, (24,)) + 1, ct.reshape(x.T, (24,)) * 2), X)
    assert sum(group.source is not None for group in both.groups) == 1


def test_what_is_returned_twice_is_two_pieces_of_memory():
    fusion = _fusion(lambda x: (lambda y: (y, y, y.T))(x * 2), X)
    assert len({id(node) for node in fusion.outputs}) == 3


def test_a_large_product_is_alone():
    assert "matmul" in _kinds(_fusion(lambda x: (x @ x.T).exp(), X))


def test_a_gather_checks_its_rows_and_stands_alone():
    assert "gather" in _kinds(_fusion(lambda x: ct.take(x, np.array([1, 2])) + 1, X))


# -- random programs ---------------------------------------------------------------------------


def _random_program(seed):
    """A function of three arrays made of random ops, with writes to two variables."""
    rng = np.random.default_rng(seed)
    u = ct.var("u", rng.uniform(-1, 1, (4, 5)), dtype=ct.float64)
    v = ct.var("v", rng.uniform(-1, 1, (4, 5)), dtype=ct.float64)
    choices = rng.integers(0, 1 << 30, 60)

    def f(a, b, c):
        pick = iter(choices)
        values = [a, b, c, u.value, v.value]

        def some():
            return values[next(pick) % len(values)]

        for _ in range(14):
            values.append(_grow(next(pick) % 9, some(), some()))
        fits = [x for x in values if x.shape == (4, 5)]
        u.assign(fits[next(pick) % len(fits)])
        v.assign(fits[next(pick) % len(fits)])
        return some(), some(), some(), some(), values[-1], u

    shapes = [(4, 5), (5,), (4, 1)]
    return f, (u, v), [rng.uniform(-1, 1, s) for s in shapes]


def _grow(kind, x, y):
    """One more value from two."""
    if kind < 2:
        try:
            return (x + y, x * y)[kind]
        except ct.ShapeError:
            return x * 2
    if kind == 2:
        return x.tanh()
    if kind == 3:
        return ct.sum(x, axis=-1, keepdims=True) if x.ndim else x + 1
    if kind == 4:
        return ct.reshape(x.mT, (-1,)) if x.ndim > 1 else x - 1
    if kind == 5:
        return ct.reshape(x, (4, 5)) if x.size == 20 else x.exp() * 0.1
    if kind == 6 and x.ndim == 2 and y.ndim == 2 and x.shape == y.shape:
        return (x @ y.T).tanh()
    if kind == 7:
        return ct.max(x, axis=0) if x.ndim else -x
    return ct.broadcast_to(x, (4, 5)) if x.shape in ((5,), (4, 1), ()) else x * x * 0.5


@pytest.mark.parametrize("seed", range(40))
def test_a_random_program_is_the_eager_one(seed):
    f, variables, arrays = _random_program(seed)
    before = [v.detach() for v in variables]
    tensors = [ct.asarray(a) for a in arrays]
    expected = [[t.numpy() for t in f(*tensors)] for _ in range(3)]
    state = [v.numpy() for v in variables]
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    step = ct.jit(f)
    largest = max(float(np.max(np.abs(x), initial=1.0)) for row in expected for x in row)
    for row in expected:
        for got, value in zip(step(*tensors), row, strict=True):
            _close(got.numpy(), value, 10 * largest, ulps=1000)
    for variable, value in zip(variables, state, strict=True):
        _close(variable.numpy(), value, 10 * largest, ulps=1000)


@pytest.mark.parametrize("seed", range(40))
def test_no_two_live_values_share_memory(seed):
    f, _, arrays = _random_program(seed)
    graph = simplify(_trace(f, *arrays)[0]).verify()
    made = plan(fuse(graph), TILES["avx2"])
    spans: dict[int, list[int]] = {}
    nodes = {}
    for at, kernel in enumerate(made.kernels):
        for slot in kernel.slots:
            if slot.node is not None and made.places[id(slot.node)].kind == "arena":
                spans.setdefault(id(slot.node), []).append(at)
                nodes[id(slot.node)] = slot.node
    blocks = []
    for key, uses in spans.items():
        start = made.places[key].number
        size = nodes[key].size * nodes[key].dtype.itemsize
        assert start % 64 == 0 and start + size <= made.arena
        blocks.append((start, start + size, min(uses), max(uses)))
    for (a, b, first, last), (c, d, start, end) in itertools.combinations(blocks, 2):
        assert b <= c or d <= a or last < start or end < first


def test_memory_is_used_again():
    def chain(x):
        for _ in range(20):
            x = (x @ x).tanh()
        return x.sum()

    made = plan(fuse(simplify(_trace(chain, _random(32, 32))[0])), TILES["avx2"])
    assert made.arena <= 4 * 32 * 32 * 4 + 1024


def test_an_update_commits_in_place():
    w = ct.var("w", _random(4, 6))
    opt = optim.SGD(lr=0.1)

    def step(x):
        opt.step(w, x)
        return ()

    graph, _ = _trace(step, X)
    made = plan(fuse(simplify(graph)), TILES["avx2"])
    committing = made.kernels[made.computing :]
    for kernel in committing:
        assert any(made.places[id(s.node)].kind == "variable" for s in kernel.slots if s.node)
    assert len(committing) == 2  # the parameter, and the step count
    assert made.arena < 4 * 6 * 4  # no parameter is computed aside


def test_a_write_that_another_kernel_still_reads_is_computed_aside():
    a, b = ct.var("a", _random(4, 6)), ct.var("b", _random(4, 6))

    def swap():
        x, y = a.value, b.value
        a.assign(y)
        b.assign(x)

    graph, _ = _trace(lambda: swap() or (), *())
    made = plan(fuse(simplify(graph)), TILES["avx2"])
    assert made.arena >= 4 * 6 * 4


# -- code -------------------------------------------------------------------------------------


def _texts(graph, isa):
    return {k.name: k.text for k in plan(fuse(simplify(graph)), TILES[isa]).kernels}


@pytest.mark.parametrize("isa", TARGETS)
def test_no_object_has_undefined_symbols(isa, step_graph):
    texts = _texts(step_graph[0], isa)
    for record in ops.REGISTRY.values():
        for dtype in ("float32", "float64"):
            sample = record.samples(np.random.default_rng(0))[0]
            arrays = [np.asarray(x) for x in sample.inputs]
            arrays = [x.astype(dtype) if x.dtype.kind == "f" else x for x in arrays]
            graph, _ = _trace(lambda *xs, r=record, s=sample: r(*xs, **s.attrs), *arrays)
            texts |= _texts(graph, isa)
    driver = driver_text("aarch64" if isa == "aarch64" else "x86_64")
    image = build([*texts.values(), driver], isa)
    assert undefined_symbols(image) == []
    assert len(texts) > 40


def test_an_undefined_symbol_would_be_seen():
    text = "declare float @sinf(float)\ndefine float @k(float %x) {\n" \
           "  %y = call float @sinf(float %x)\n  ret float %y\n}\n"  # fmt: skip
    with pytest.raises(CompileError, match="sinf"):
        build([text], "avx2")
    with pytest.raises(CompileError, match="LLVM refuses"):
        build(["define void @k() { nonsense }"], "avx2")


@pytest.mark.parametrize(
    ("name", "index"),
    [(r.name, i) for r in ops.REGISTRY.values() for i in range(len(r.special))],
)
def test_special_values_compiled(name, index):
    record = ops.REGISTRY[name]
    testing.check_compiled(record, record.special[index])


@pytest.mark.parametrize(
    "lower",
    [
        lambda e, x: e.mul(e.exp(x), e.constant(1.0001, x.dtype)),
        lambda e, x: e.exp(e.neg(x)),
        lambda e, x: x,
    ],
)
def test_a_planted_wrong_lowering_is_caught(lower):
    right = ops.exp
    wrong = Primitive(
        "exp_planted", right.doc, kind=right.kind, infer=right.infer, eval=right.eval,
        samples=right.samples, vjp=right.vjp, jvp=right.jvp, saves=right.saves, lower=lower,
    )  # fmt: skip
    sample = wrong.samples(np.random.default_rng(0))[0]
    with pytest.raises(testing.CheckError, match="exp_planted compiled"):
        testing.check_compiled(wrong, sample)
    with pytest.raises(testing.CheckError, match="exp_planted compiled"):
        testing.check_record(wrong)
    testing.check_compiled(right, sample)


def test_an_op_without_a_lowering_is_an_error_that_names_op_and_line():
    right = ops.exp
    bare = Primitive("exp_bare", right.doc, kind="elementwise", infer=right.infer,
                     eval=right.eval, samples=right.samples)  # fmt: skip
    with pytest.raises(CompileError, match=rf"exp_bare at .*{__name__}\.py:\d+"):
        ct.jit(lambda x: bare(x))(1.0)
    strange = Primitive("exp_strange", right.doc, kind="strange", infer=right.infer,
                        eval=right.eval, samples=right.samples)  # fmt: skip
    with pytest.raises(CompileError, match=rf"'strange': exp_strange at .*{__name__}\.py:\d+"):
        ct.jit(lambda x: strange(x))(1.0)


# -- compiled against eager ---------------------------------------------------------------------

WIDTHS = (1, 2, 3, 7, 16, 17, 31, 32, 33, 64, 100)


def _triples():
    rng = np.random.default_rng(7)
    drawn = [tuple(int(n) for n in rng.choice(WIDTHS, 3)) for _ in range(24)]
    return [*((n, n, n) for n in WIDTHS), *drawn]


@pytest.mark.parametrize(("m", "k", "n"), _triples())
def test_products(m, k, n):
    a, b = _random(m, k), _random(k, n)
    _check(lambda a, b: a @ b, a, b, largest=k)
    _check(lambda a, b: (a.T @ b.T).exp() if m == n == k else a.T.T @ (b * 2), a, b, largest=2 * k)
    _check(lambda a, b: a @ b.T, a, _random(n, k), largest=k)
    _check(lambda a, b: a.T @ b, _random(k, m, dtype="float64"), b.astype("float64"), largest=k)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3, 5, 7), (3, 7, 4)), ((3, 5, 7), (7, 4)), ((5, 7), (3, 7, 4)), ((2, 1, 5, 7), (3, 7, 4)),
        ((2, 3, 1, 33), (1, 3, 33, 1)), ((0, 5, 7), (0, 7, 4)), ((3, 0), (0, 4)), ((0, 4), (4, 3)),
        ((3, 4), (4, 0)), ((2, 17, 33), (2, 33, 18)), ((7,), (7, 3)), ((3, 7), (7,)), ((7,), (7,)),
    ],
)  # fmt: skip
def test_batches_vectors_and_empty_products(left, right):
    a, b = _random(*left), _random(*right)
    _check(lambda a, b: ct.matmul(a, b), a, b, largest=max(left[-1], 1))
    if len(left) > 1 and len(right) > 1:
        _check(lambda a, b: b.mT @ a.mT, a, b, largest=max(left[-1], 1))


REDUCED = [
    ((5,), 0), ((33,), 0), ((1000,), 0), ((3, 4), 0), ((3, 4), 1), ((3, 4), None), ((17, 33), 0),
    ((17, 33), 1), ((33, 17), None), ((2, 3, 40), 1), ((2, 33, 5), (0, 2)), ((7, 1, 9), 1),
    ((4, 0), 1), ((0, 4), 0), ((2, 3, 4, 5), (1, 3)), ((2, 3, 4, 5), (0, 2)), ((64, 100), -1),
    ((100, 64), 0), ((1, 100), 0), ((100, 1), 1), ((), None),
]  # fmt: skip


def _reversed(x):
    return ct.permute_dims(x, tuple(range(x.ndim))[::-1])


@pytest.mark.parametrize(("shape", "axis"), REDUCED)
def test_reductions(shape, axis):
    for dtype in ("float32", "float64"):
        x = _random(*shape, dtype=dtype)
        size = max(x.size, 1)
        _check(lambda x: ct.sum(x, axis=axis), x, largest=size)
        if x.size:
            _check(lambda x: x * 2 - ct.mean(x * x, axis=axis, keepdims=True), x + 1, largest=size)
            _check(lambda x: ct.max(x * 3, axis=axis), x)
            _check(lambda x: (x, ct.sum(_reversed(x)), ct.max(-_reversed(x))), x, largest=size)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4), (4,)), ((3, 4), (3, 1)), ((1, 4), (3, 1)), ((33,), ()), ((2, 1, 35), (3, 1)),
        ((1,), (1, 1)), ((2, 3, 1, 17), (3, 5, 1)), ((0, 3), (3,)), ((64, 1), (1, 33)), ((), ()),
    ],
)  # fmt: skip
def test_broadcasting(a, b):
    x, y = _random(*a), _random(*b)
    _check(lambda x, y: (x + y, x * y.tanh(), x - 2 * y, ct.where(x < y, x, y)), x, y, largest=4)
    _check(lambda x, y: ct.grad(lambda x, y: (x * y.exp()).sum(), (0, 1))(x, y), x, y, largest=100)


@pytest.mark.parametrize("index", [[2], [0, 3, 3], [[1, 2], [0, 1]], [], 3])
@pytest.mark.parametrize("tail", [(), (1,), (5,), (33,), (2, 17)])
def test_gather_and_scatter(index, tail):
    x, i = _random(4, *tail), np.array(index, np.int64)
    _check(lambda x, i: ct.take(x, i), x, i)
    _check(lambda x, i: ct.take(x * 2, i.astype(ct.int32)).exp(), x, i)
    _check(lambda x, i: ct.grad(lambda x: (ct.take(x, i) * ct.take(x, i)).sum())(x), x, i)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_permutations(axes):
    x = _random(3, 18, 35)
    _check(
        lambda x: (ct.permute_dims(x, axes), ct.permute_dims(x, axes).exp().sum()), x, largest=4e3
    )
    shape = tuple(x.shape[a] for a in axes)
    _check(lambda x: ct.reshape(ct.permute_dims(x, axes), (shape[0], -1)) * 2, x)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint32"])
def test_integers(dtype):
    x = RNG.integers(0, 100, (5, 7)).astype(dtype)
    y = RNG.integers(1, 10, (5, 7)).astype(dtype)
    _check(lambda x, y: (x + y, x * y, x - y, ct.maximum(x, y), x < y, x == y), x, y)
    _check(lambda x, y: (ct.sum(x, axis=0), ct.max(x, axis=1), x.astype(ct.float32) * 2), x, y)
    _check(lambda x, y: (x > y, ct.logical_and(x < 50, y < 5), ct.where(x < y, x, y)), x, y)


LOSSES = {
    "mse": (lambda p, t, c: nn.mse_loss(p, t)),
    "cross entropy": (lambda p, t, c: nn.cross_entropy_loss(p, c)),
    "binary": (lambda p, t, c: nn.binary_cross_entropy_with_logits(p, t)),
    "soft": (lambda p, t, c: nn.soft_cross_entropy_loss(p, t)),
    "log_softmax": (lambda p, t, c: (ct.log_softmax(p, axis=-1) * t).sum()),
    "softmax": (lambda p, t, c: (ct.softmax(p, axis=0) * t).sum()),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (7, 33), (33, 10)])
def test_losses_and_their_gradients(loss, shape, dtype):
    f = LOSSES[loss]
    p, t = _random(*shape, dtype=dtype) * 5, np.abs(_random(*shape, dtype=dtype))
    c = RNG.integers(0, shape[1], shape[0])
    _check(lambda p, t, c: ct.value_and_grad(lambda p: f(p, t, c))(p), p, t, c, largest=200)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("widths", [(1, 1, 1), (2, 8, 1), (7, 17, 33, 3), (31, 64, 100, 16)])
def test_gradients_of_a_network(widths, dtype):
    with np.errstate(all="ignore"):
        model = MLP(*widths)
    for variable in model.parameters():
        variable.assign(_random(*variable.shape))
    arrays = [v.numpy().astype(dtype) for v in model.parameters()]
    x, y = _random(5, widths[0], dtype=dtype), RNG.integers(0, widths[-1], 5)

    def loss(x, y, *parameters):
        pairs = list(zip(parameters[::2], parameters[1::2], strict=True))
        for weight, bias in pairs[:-1]:
            x = (x @ weight.T + bias).tanh()
        return nn.cross_entropy_loss(x @ pairs[-1][0].T + pairs[-1][1], y)

    f = ct.value_and_grad(loss, tuple(range(2, 2 + len(arrays))))
    _check(f, x, y, *arrays, largest=max(widths))


def test_constants_of_any_layout():
    table = ct.tensor(np.arange(12.0).reshape(3, 4))
    flipped = ct.tensor(np.arange(12.0).reshape(4, 3)[::-1].T)
    _check(
        lambda x: (x + table, x * flipped, table, flipped.T, x @ table.T), _random(3, 4), largest=80
    )


def test_nodes_are_described_in_errors():
    graph, _ = _trace(lambda x: x.exp(), X)
    assert graph.nodes[-1].where().startswith("exp at ")
    assert g.constant(np.ones(2)).where() == "constant at an unknown line"
