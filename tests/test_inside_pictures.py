"""Pictures of what happens inside of a model: flow, dead units, histograms, boundary, landscape."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from drawn import Panel, texts

import cotangent as ct
from cotangent import nn, viz
from cotangent.errors import ArgumentError, MissingPackageError, ShapeError
from cotangent.viz.inside import seen, undisturbed
from cotangent.viz.landscape import _filter_normalised

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2)).astype("float32")
Y = (X[:, :1] * X[:, 1:] > 0).astype("float32")


def network():
    ct.manual_seed(3)
    return nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 1))


def by_hand(model):
    """Outputs of the layers of `network`, and gradients of the mean squared error by them."""
    w1, b1, w2, b2 = (p.numpy().astype("float64") for p in model.parameters())
    h = X @ w1.T + b1
    r = np.maximum(h, 0)
    out = r @ w2.T + b2
    g_out = 2 * (out - Y) / len(X)
    g_r = g_out @ w2
    return (h, r, out), (g_r * (h > 0), g_r, g_out)


# -- flow -------------------------------------------------------------------------------------


def test_flow_against_the_derivation_by_hand():
    model = network()
    found = viz.flow(model, X, Y)
    outputs, gradients = by_hand(model)
    assert [d.name for d in found.forward] == ["0", "1", "2"]
    for d, strength, vanished, g in zip(
        found.forward, found.strength, found.vanished, gradients, strict=True
    ):
        out = outputs[int(d.name)]
        assert d.mean == pytest.approx(out.mean(), abs=1e-6)
        assert d.deviation == pytest.approx(out.std(), rel=1e-5)
        assert strength == pytest.approx(np.sqrt((g**2).mean()), rel=1e-4)
        assert vanished == pytest.approx((g == 0).mean(), abs=0.03)
    logs = np.log10(np.abs(gradients[0][gradients[0] != 0]))
    assert found.backward[0].mean == pytest.approx(logs.mean(), rel=1e-4)
    forward, backward = found.drawings()
    shown = texts(found.svg())
    assert {"0", "1", "2", f"σ {found.forward[0].deviation:.2g}"} <= set(shown)
    assert sum("f0" in e for e in forward.elements) == 3  # a ridge for each layer
    assert sum("f1" in e for e in backward.elements) == 3
    assert Panel(forward).inside() and Panel(backward).inside()


def test_the_outline_of_a_ridge_is_the_histogram():
    found = viz.flow(network(), X, Y)
    panel = Panel(found.drawings()[0])
    (path,) = [e for e in found.drawings()[0].elements if "f0" in e][:1]
    numbers = path.split(' d="M')[1].split('"')[0]
    left, right = float(numbers.split()[0]), float(numbers.split("L")[-1].split()[0])
    edges = found.forward[0].edges
    np.testing.assert_allclose(panel.x([left, right]), edges[[0, -1]], atol=0.02 * np.ptp(edges))


def test_vanishing_gradients_of_deep_sigmoids_show():
    ct.manual_seed(0)
    layers = [part for _ in range(6) for part in (nn.Linear(4, 4), nn.Sigmoid())]
    found = viz.flow(nn.Sequential(*layers), RNG.normal(size=(32, 4)))
    assert found.strength[0] < 1e-2 * found.strength[-1]


def test_a_loss_that_is_no_tensor_is_named():
    with pytest.raises(TypeError, match="the loss returns float"):
        seen(network(), (ct.tensor(X),), lambda out: 1.0)


class Noisy(nn.Module):
    def __init__(self):
        self.l1, self.norm = nn.Linear(2, 4), nn.BatchNorm1d(4)
        self.drop, self.l2 = nn.Dropout(0.5), nn.Linear(4, 1)

    def forward(self, x):
        return self.l2(self.drop(self.norm(self.l1(x)).relu()))


LOOKS = {
    "flow": lambda m: viz.flow(m, X, Y),
    "dead units": lambda m: viz.dead_units(m, X),
    "boundary": lambda m: viz.boundary(m, X, Y, points=5),
    "landscape": lambda m: viz.landscape(m, X, Y, nn.mse_loss, points=3),
    "histograms": lambda m: viz.Histograms(X, Y).record(m),
    "summary": lambda m: m.summary(X),
    "graph": lambda m: viz.graph(m, X, backward=True),
}


@pytest.mark.parametrize("look", sorted(LOOKS))
def test_looking_at_a_model_changes_nothing(look):
    ct.manual_seed(1)
    model = Noisy()
    model.drop.eval()
    before = {k: v.tobytes() for k, v in model.state_dict().items()}
    modes = [model.training, model.norm.training, model.drop.training]
    LOOKS[look](model)
    assert {k: v.tobytes() for k, v in model.state_dict().items()} == before
    assert [model.training, model.norm.training, model.drop.training] == modes


def test_a_failed_look_restores_the_modes():
    model = Noisy()
    with pytest.raises(ShapeError), undisturbed(model):
        model(np.ones((3, 7)))
    assert model.training and model.drop.training


# -- dead units -------------------------------------------------------------------------------


def test_dead_units_are_those_that_are_made_dead():
    model = network()
    bias, weight = model[0].bias.numpy().copy(), model[2].weight.numpy().copy()
    bias[1], weight[0, 3] = -1e4, 0.0  # one never fires, nothing reads the other
    model[0].bias.assign(bias)
    model[2].weight.assign(weight)
    found = viz.dead_units(model, X)
    linear, relu, last = found.layers
    assert linear.dead.tolist() == [False, True, False, True, False]
    assert relu.dead.tolist() == [False, True, False, True, False]
    assert not last.dead.any() and found.total == 4 and found.rows == 40
    (h, _, _), _ = by_hand(model)
    alive = np.array([0, 2, 4])
    np.testing.assert_allclose(relu.active[alive], (h > 0).mean(axis=0)[alive], atol=1e-6)
    shown = texts(found.svg())
    assert "0: 2 of 5 dead" in shown and "2: 0 of 1 dead" in shown
    drawn = "".join(found.drawings()[0].elements)
    assert drawn.count("warned") == 4 and drawn.count("<rect") == 11


def test_dead_units_need_rows_and_layers():
    with pytest.raises(ArgumentError, match="two rows or more"):
        viz.dead_units(network(), X[:1])
    with pytest.raises(ArgumentError, match="no layer"):
        viz.dead_units(nn.Linear(2, 1), X)


# -- histograms -------------------------------------------------------------------------------


def test_histograms_follow_training():
    model, record = network(), viz.Histograms(X, Y)
    opt = ct.optim.SGD(lr=0.1)
    kept = []
    for _ in range(15):
        record.record(model)
        kept.append(model[0].weight.numpy())
        opt.step(model, nn.mse_loss(model(X), Y).backward())
    found = record.picture()
    assert found.epochs == tuple(range(1, 16))
    assert list(found.weights) == list(found.gradients) == [n for n, _ in model.named_parameters()]
    assert list(found.activations) == ["0", "1", "2"]
    for d, w in zip(found.weights["0.weight"], kept, strict=True):
        np.testing.assert_array_equal(d.counts, np.histogram(w, 32)[0])
        assert d.mean == pytest.approx(w.astype("float64").mean())
    drawing = found.drawings()[0]
    rows = [e for e in Panel(drawing).texts if e.isdigit()]
    assert {"1", "15"} <= set(rows)  # the first and the last epoch
    assert len([e for e in drawing.elements if "f0" in e]) == 12
    assert all(Panel(d).inside() for d in found.drawings())


def test_histograms_as_a_callback_and_without_rows():
    record, path = viz.Histograms(every=2), viz.Trajectory()
    model = network()
    ct.train.fit(model, (X, Y), epochs=5, callbacks=[record, path], progress=False)
    assert record.epochs == [2, 4]
    assert len(record.picture().weights["2.bias"]) == 2 and not record.picture().gradients
    assert len(path.snapshots) == 6
    end = np.concatenate([p.numpy().ravel() for p in model.parameters()])
    np.testing.assert_array_equal(path.snapshots[-1].astype("float32"), end)
    with pytest.raises(ArgumentError, match="every must be 1 or more"):
        viz.Histograms(every=0)
    with pytest.raises(ArgumentError, match="nothing was recorded"):
        viz.Histograms().picture().svg()


def test_watching_by_histograms_does_not_change_training():
    weights = []
    for callbacks in ([], [viz.Histograms(X, Y), viz.Trajectory()]):
        model = network()
        ct.train.fit(model, (X, Y), epochs=3, callbacks=callbacks, progress=False)
        weights.append(b"".join(p.numpy().tobytes() for p in model.parameters()))
    assert weights[0] == weights[1]


# -- boundary ---------------------------------------------------------------------------------


def test_the_boundary_of_a_linear_model_is_its_line():
    model = nn.Linear(2, 1)
    model.weight.assign([[2.0, -1.0]])
    model.bias.assign([0.5])
    found = viz.boundary(model, X, Y, points=31)
    gx, gy = np.meshgrid(found.x, found.y)
    z = 2 * gx - gy + 0.5
    np.testing.assert_allclose(found.probabilities[..., 1], 1 / (1 + np.exp(-z)), atol=1e-5)
    np.testing.assert_array_equal(found.classes, (z > 0).astype(int))
    assert found.x[0] < X[:, 0].min() and found.y[-1] > X[:, 1].max()


def test_the_boundary_of_several_classes():
    model = nn.Linear(2, 3)
    found = viz.boundary(model, X, RNG.integers(0, 3, 40), points=100)  # in more than one piece
    grid = np.stack(np.meshgrid(found.x, found.y), axis=-1).reshape(-1, 2)
    z = grid @ model.weight.numpy().T + model.bias.numpy()
    np.testing.assert_array_equal(found.classes.ravel(), z.argmax(axis=1))
    np.testing.assert_allclose(found.probabilities.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "x, y, message",
    [
        (np.ones((3, 4)), [0, 1, 1], r"x must be \[rows, 2\], points in the plane, not \(3, 4\)"),
        (np.ones((3, 2)), [0, 1], "3 rows and 2 targets"),
        (np.full((2, 2), np.nan), [0, 1], "not finite"),
    ],
)
def test_the_boundary_says_what_is_wrong(x, y, message):
    with pytest.raises((ShapeError, ArgumentError), match=message):
        viz.boundary(nn.Linear(2, 1), x, y)


# -- landscape --------------------------------------------------------------------------------


def _loss_at(model, vector):
    """The loss with other weights, eagerly."""
    start, values = 0, {}
    for name, p in model.named_parameters():
        values[name] = vector[start : start + p.size].reshape(p.shape)
        start += p.size
    other = network()
    other.load_state_dict(values)
    return nn.mse_loss(other(X), Y).item()


def _weights(model):
    return np.concatenate([p.numpy().ravel() for p in model.parameters()]).astype("float64")


def _compare(model, found):
    for i, j in ((0, 0), (2, 7), (8, 3), (4, 4)):
        moved = _weights(model) + found.a[j] * found.vectors[0] + found.b[i] * found.vectors[1]
        assert found.losses[i, j] == pytest.approx(_loss_at(model, moved), rel=2e-5)


def test_the_landscape_is_the_loss_at_these_weights():
    model = network()
    found = viz.landscape(model, X, Y, nn.mse_loss, points=9, reach=0.8)
    _compare(model, found)
    assert found.a[0] == -0.8 and found.a[4] == 0.0 and found.path.shape == (0, 2)
    assert found.losses[4, 4] == pytest.approx(nn.mse_loss(model(X), Y).item(), rel=1e-6)


def test_random_directions_are_as_long_as_the_filters():
    weights = [
        RNG.normal(size=(3, 4)),
        np.zeros(5),
        RNG.normal(size=(2, 3, 2, 2)),
        np.zeros((2, 2)),
    ]
    found = _filter_normalised(weights, np.random.default_rng(0))
    for w, d in zip(weights, found, strict=True):
        if w.ndim < 2:
            assert not d.any()
        else:
            for row, filter_ in zip(d, w, strict=True):
                assert np.linalg.norm(row) == pytest.approx(np.linalg.norm(filter_))
    again = _filter_normalised(weights, np.random.default_rng(0))
    assert all((a == b).all() for a, b in zip(found, again, strict=True))


def test_the_plane_of_a_trajectory_is_that_of_its_principal_components():
    model, path = network(), viz.Trajectory()
    opt = ct.optim.SGD(lr=0.2)
    for _ in range(12):
        path.record(model)
        opt.step(model, nn.mse_loss(model(X), Y).backward())
    path.record(model)
    found = viz.landscape(model, X, Y, nn.mse_loss, trajectory=path, points=9)
    moved = np.stack(path.snapshots) - _weights(model)
    values, vectors = np.linalg.eigh(moved.T @ moved)
    assert found.explained == pytest.approx(values[-2:].sum() / values.sum(), rel=1e-6)
    for mine, theirs in zip(found.vectors, vectors.T[:-3:-1], strict=True):
        assert abs(mine @ theirs) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found.path[-1], 0, atol=1e-12)
    back = found.path @ found.vectors
    assert np.square(back - moved).sum() == pytest.approx(
        (1 - found.explained) * np.square(moved).sum(), abs=1e-9
    )
    assert found.a[0] < found.path[:, 0].min() and found.b[-1] > found.path[:, 1].max()
    _compare(model, found)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    found = viz.landscape(network(), X, Y, nn.mse_loss, points=3)  # the data need no Matplotlib
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingPackageError, match=r"pip install 'cotangent\[viz\]'"):
        found.svg()


def test_the_landscape_says_what_is_wrong():
    with pytest.raises(ArgumentError, match="no parameters"):
        viz.landscape(nn.ReLU(), X, Y, nn.mse_loss)
    with pytest.raises(
        ArgumentError, match=r"two snapshots or more of 21 weights each, not 1 of \[3\]"
    ):
        viz.landscape(network(), X, Y, nn.mse_loss, trajectory=[np.zeros(3)])
