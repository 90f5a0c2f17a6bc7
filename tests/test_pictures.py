"""Pictures of curves, functions and predictions: their data, and what is drawn of them."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from drawn import Panel, texts

import cotangent as ct
from cotangent import nn, viz
from cotangent.errors import ArgumentError, ArgumentTypeError, ShapeError
from cotangent.viz.axes import Axes, Scale
from cotangent.viz.drawing import sheet, shortened
from cotangent.viz.training import columns_of

RNG = np.random.default_rng(0)


# -- axes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("low, high", [(0, 1), (-3e-9, 2e-9), (1e6, 1e6 + 3), (-250, 1e5), (7, 8)])
def test_ticks_are_round_numbers_within_the_axis(low, high):
    ticks = Scale(low, high, 0, 100).ticks
    assert 3 <= len(ticks) <= 8
    assert all(low - 1e-6 * (high - low) <= t <= high + 1e-6 * (high - low) for t in ticks)
    step = (ticks[-1] - ticks[0]) / (len(ticks) - 1)
    np.testing.assert_allclose(np.diff(ticks), step, rtol=1e-3)
    assert (
        min(abs(step / 10.0 ** math.floor(math.log10(step) + 1e-9) - m) for m in (1, 2, 5)) < 0.01
    )


@pytest.mark.parametrize("low, high", [(0.01, 3.0), (1e-12, 1e5), (0.9, 1.1)])
def test_ticks_of_a_logarithmic_axis_enclose_the_values(low, high):
    scale = Scale(low, high, 0, 100, log=True)
    assert scale.ticks[0] <= low and scale.ticks[-1] >= high
    assert len(scale.ticks) <= 12
    assert 0 <= scale(low) < scale(high) <= 100.0001


def test_lines_and_dots_stand_where_their_values_are():
    axes = Axes("t", (0, 10), (-1, 1), "x")
    x = np.linspace(0, 10, 7)
    axes.line(x, np.sin(x), 0, "sine")
    axes.dots(x, np.cos(x), 1)
    panel = Panel(axes.drawing())
    (lx, ly), *_ = panel.lines()
    np.testing.assert_allclose(lx, x, atol=0.01)
    np.testing.assert_allclose(ly, np.sin(x), atol=0.01)
    np.testing.assert_allclose(panel.dots()[1], np.cos(x), atol=0.01)
    assert panel.inside() and "sine" in panel.texts


def test_a_line_is_interrupted_where_there_is_no_value():
    axes = Axes("t", (1, 5), (0, 10))
    axes.line([1, 2, 3, 4, 5], [1.0, 2.0, math.nan, 4.0, 99.0], end=True)
    panel = Panel(axes.drawing())
    assert [len(x) for x, _ in panel.lines()] == [2]
    assert np.allclose(panel.dots(), [[4.0], [4.0]], atol=0.05)  # a piece of one point is a dot


def test_axes_that_cannot_be_drawn_are_refused():
    with pytest.raises(ArgumentError, match="cannot end at"):
        Axes("t", (0, math.inf), (0, 1))
    with pytest.raises(ArgumentError, match="logarithmic axis cannot show 0"):
        Axes("t", (0, 1), (0, 1), log=True)


def test_names_are_shortened_in_the_middle_and_text_is_escaped():
    assert shortened("abc", 3) == "abc" and len(shortened("a" * 50, 12)) == 12
    assert texts(sheet("<&>", [])) == ["<&>"]


def test_a_picture_is_written_as_svg_and_nothing_else(tmp_path):
    picture = viz.losses(points=9)
    path = picture.save(tmp_path / "losses.svg")
    assert path.read_text("utf-8") == picture.svg() == picture._repr_html_()
    with pytest.raises(ArgumentError, match=r"'losses\.png' is not; write 'losses\.svg'"):
        picture.save(tmp_path / "losses.png")


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a, b):
    bright, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _deuteranope(colour):
    """Roughly what is left without one kind of cone (Viénot, Brettel, Mollon, 1999)."""
    linear = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]) ** 2.2
    matrix = [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]
    return (np.clip(matrix @ linear, 0, 1)) ** (1 / 2.2)


def test_colours_have_contrast_and_the_first_are_told_apart_without_red_or_green():
    from cotangent.viz.drawing import _DARK, _LIGHT, _NODES

    for hues, paper in ((_LIGHT, "#ffffff"), (_DARK, "#14171d")):
        assert all(_contrast(hue, paper) >= 4.5 for hue in hues)
        for a, b in ((0, 1), (0, 2), (1, 2)):
            assert np.abs(_deuteranope(hues[a]) - _deuteranope(hues[b])).max() > 0.12
    for looks in _NODES.values():
        for look in looks:
            fill, border, ink = look.split()
            assert _contrast(fill, ink) >= 7 and _contrast(fill, border) >= 3


# -- training curves --------------------------------------------------------------------------


class Rows:
    rows = [  # noqa: RUF012
        {"epoch": 1, "loss": 2.0, "validation loss": 2.5, "accuracy": 0.5, "lr": 0.1, "seconds": 1},
        {"epoch": 2, "loss": 1.0, "validation loss": 1.5, "accuracy": 0.75, "lr": 0.1},
        {"epoch": 3, "loss": 0.5, "validation loss": None, "accuracy": 1.0, "lr": 0.1},
    ]


def test_curves_show_the_numbers_of_a_history():
    picture = viz.curves(Rows())
    assert [panel.label for panel in picture.panels] == ["loss", "accuracy"]
    loss, accuracy = map(Panel, picture.drawings())
    (x, training), (_, validation) = loss.lines()
    np.testing.assert_allclose(x, [1, 2, 3], atol=0.01)
    np.testing.assert_allclose(training, [2.0, 1.0, 0.5], atol=0.01)
    np.testing.assert_allclose(validation, [2.5, 1.5], atol=0.01)
    np.testing.assert_allclose(accuracy.lines()[0][1], [0.5, 0.75, 1.0], atol=0.003)
    assert {"training", "validation", "loss", "epoch"} <= set(loss.texts)
    assert "100 %" in accuracy.texts and loss.inside() and accuracy.inside()


def test_a_loss_that_falls_far_has_a_logarithmic_axis():
    values = [10.0 ** (1 - i) for i in range(6)]
    (panel,) = map(Panel, viz.curves({"loss": values}).drawings())
    assert panel.log
    np.testing.assert_allclose(panel.lines()[0][1], values, rtol=0.02)


def test_curves_refuse_what_has_no_numbers():
    with pytest.raises(ArgumentError, match="no finite number"):
        viz.curves({"loss": [math.nan]})
    with pytest.raises(ArgumentError, match="no finite number"):
        viz.curves([])
    with pytest.raises(ArgumentTypeError, match="not int"):
        viz.curves(3)
    assert columns_of([{"a": 1}, {"b": "text"}, {"a": 2.0}])["a"][::2] == [1.0, 2.0]


# -- functions --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(viz.ACTIVATIONS))
def test_derivatives_of_activations_by_finite_differences(name):
    curve = viz.activations([name], low=-5.03, high=5.01, points=73).functions[0]
    h = 1e-5
    function = viz.ACTIVATIONS[name]
    ends = [function(ct.tensor(curve.x + s, dtype=ct.float64)).numpy() for s in (-h, h)]
    smooth = np.min(np.abs(curve.x[:, None] - [-3, -1, 0, 1, 3, 6]), axis=1) > 1e-3  # not at kinks
    slope = (ends[1] - ends[0]) / (2 * h)
    np.testing.assert_allclose(curve.slope[smooth], slope[smooth], atol=1e-8)


def test_values_of_activations_by_their_formulas():
    found = viz.activations(["relu", "sigmoid", "tanh", "gelu", nn.Softplus(), ct.sin])
    x = found.functions[0].x
    gelu = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x]
    wanted = [
        np.maximum(x, 0),
        1 / (1 + np.exp(-x)),
        np.tanh(x),
        gelu,
        np.log1p(np.exp(x)),
        np.sin(x),
    ]
    for curve, values in zip(found.functions, wanted, strict=True):
        np.testing.assert_allclose(curve.y, values, atol=1e-12)
    names = [panel.texts for panel in map(Panel, found.drawings())]
    assert "relu" in names[0] and "Softplus" in names[4] and "sin" in names[5]
    panel = Panel(found.drawings()[2])
    (_, value), (_, slope) = panel.lines()
    np.testing.assert_allclose(value, np.tanh(x), atol=0.02)
    np.testing.assert_allclose(slope, 1 - np.tanh(x) ** 2, atol=0.02)
    assert {"value", "derivative", "input"} <= set(panel.texts) and panel.inside()


def test_activations_say_what_is_wrong():
    with pytest.raises(ArgumentError, match="no activation 'sigmod'; did you mean 'sigmoid'"):
        viz.activations(["sigmod"])
    with pytest.raises(ArgumentError, match="low must be below high"):
        viz.activations(low=2.0, high=1.0)
    with pytest.raises(ArgumentError, match="works element by element"):
        viz.activations([lambda x: x.sum()])
    with pytest.raises(ArgumentTypeError, match="not int"):
        viz.activations([3])


def test_losses_and_gradients_by_their_formulas():
    found = viz.losses()
    p = found.functions[0].x
    squared, binary, classes = found.functions
    np.testing.assert_allclose(squared.y, (1 - p) ** 2, atol=1e-12)
    np.testing.assert_allclose(squared.slope, -2 * (1 - p), atol=1e-12)
    for curve in (binary, classes):
        np.testing.assert_allclose(curve.y, -np.log(p), rtol=1e-10)
        np.testing.assert_allclose(curve.slope, -1 / p, rtol=1e-10)
    np.testing.assert_allclose(found.by_logit[0], -2 * (1 - p) ** 2 * p, atol=1e-10)
    for slope in found.by_logit[1:]:
        np.testing.assert_allclose(slope, -(1 - p), atol=1e-10)
    wrong = p < 0.5  # cross-entropy is steeper than squared error where the prediction is wrong
    assert np.all(np.abs(classes.slope[wrong]) > np.abs(squared.slope[wrong]))
    assert np.all(np.abs(found.by_logit[2][wrong]) > np.abs(found.by_logit[0][wrong]))


def test_the_picture_of_losses_shows_them():
    found = viz.losses()
    loss, by_prediction, by_logit = map(Panel, found.drawings())
    p = found.functions[0].x
    (x, y), *_ = loss.lines()
    np.testing.assert_allclose(y, (1 - x) ** 2, atol=0.03)
    x, y = by_prediction.lines()[2]
    np.testing.assert_allclose(y, 1 / x, rtol=0.05, atol=0.1)
    np.testing.assert_allclose(by_logit.lines()[1][1], 1 - p, atol=0.01)
    for panel in (loss, by_prediction, by_logit):
        assert {"MSE", "BCE", "cross-entropy"} <= set(panel.texts) and panel.inside()


# -- predictions ------------------------------------------------------------------------------


def test_confusion_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    true = RNG.integers(0, 4, 300)
    scores = RNG.normal(size=(300, 4)) + 2 * np.eye(4)[true]
    found = viz.confusion(true, ct.tensor(scores), ["a", "b", "c", "a long name"])
    np.testing.assert_array_equal(found.counts, metrics.confusion_matrix(true, scores.argmax(1)))
    assert found.accuracy == metrics.accuracy_score(true, scores.argmax(1))
    shown = texts(found.svg())
    assert all(str(n) in shown for n in found.counts.ravel() if n)
    assert "a long name" in shown and f"accuracy {found.accuracy:.1%} of 300 rows" in shown


def test_the_fullness_of_a_cell_is_its_share_of_the_row():
    found = viz.confusion([0, 0, 0, 0, 1], [0, 0, 0, 1, 1])
    rects = [e for e in found.drawings()[0].elements if e.startswith("<rect")]
    shares = [(float(r.split('fill-opacity="')[1].split('"')[0]) - 0.05) / 0.95 for r in rects]
    np.testing.assert_allclose(shares, [0.75, 0.25, 0.0, 1.0], atol=1e-3)


@pytest.mark.parametrize("classes", [1, 2, 30, 100])
def test_confusion_of_many_classes_stays_small(classes):
    found = viz.confusion(np.arange(classes), np.arange(classes))
    (drawing,) = found.drawings()
    assert drawing.width < 1000 and drawing.height < 1000
    assert found.accuracy == 1.0


def test_confusion_says_what_is_wrong():
    with pytest.raises(ShapeError, match=r"targets have shape \(3,\), predictions \(2,\)"):
        viz.confusion([0, 1, 1], [0, 1])
    with pytest.raises(ArgumentError, match="targets are classes 0, 1, 2"):
        viz.confusion([0.5, 1], [0, 1])
    with pytest.raises(ArgumentError, match="predictions are classes"):
        viz.confusion([0, 1], [0, -1])
    with pytest.raises(ArgumentError, match="1 labels for 2 classes"):
        viz.confusion([0, 1], [0, 1], ["a"])


def test_residuals_are_drawn_where_they_are():
    true, taken = RNG.normal(size=50), RNG.normal(size=(50, 1))
    found = viz.residuals(true, taken)
    np.testing.assert_allclose(found.residuals, true - taken[:, 0])
    first, second = map(Panel, found.drawings())
    np.testing.assert_allclose(first.dots(), (true, taken[:, 0]), atol=0.02)
    np.testing.assert_allclose(second.dots(), (taken[:, 0], found.residuals), atol=0.03)
    with pytest.raises(ShapeError, match="differ"):
        viz.residuals([1.0], [1.0, 2.0])
    with pytest.raises(ArgumentError, match="no rows"):
        viz.residuals([], [])


# -- distributions ----------------------------------------------------------------------------


def test_a_distribution_counts_every_value():
    values = [0.0, 0.0, 1.5, -2.0, 3.0, math.nan, math.inf]
    found = viz.distribution("w", values, bins=5)
    finite = values[:5]
    for count, a, b in zip(found.counts, found.edges, found.edges[1:], strict=False):
        last = b == found.edges[-1]
        assert count == sum(a <= v < b or (last and v == b) for v in finite)
    assert found.mean == pytest.approx(statistics.fmean(finite))
    assert found.deviation == pytest.approx(statistics.pstdev(finite))
    assert (found.zeros, found.broken) == (pytest.approx(2 / 7), 2)


@pytest.mark.parametrize("values", [[], [math.nan], [3.0], [0.0, 0.0]])
def test_distributions_of_little_can_be_drawn(values):
    found = viz.distribution("w", values)
    assert found.counts.sum() == sum(map(math.isfinite, values))
    picture = viz.HistogramsOverTime((1, 2), {"w": (found, found)})
    assert "nan" not in picture.svg()
