"""Pictures that Matplotlib draws: what is on their axes, and the files that they are written to."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import texts

import cotangent as ct
from cotangent import nn, viz
from cotangent.errors import ArgumentError

pytest.importorskip("matplotlib")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2)).astype("float32")
Y = (X[:, :1] * X[:, 1:] > 0).astype("float32")


def network():
    ct.manual_seed(3)
    return nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 1))


def test_the_boundary_is_drawn():
    found = viz.boundary(network(), X, Y, points=9)
    axes = found.figure().axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("feature 0", "feature 1")
    assert axes.get_xlim() == pytest.approx((found.x[0], found.x[-1]))
    dots = [c.get_offsets() for c in axes.collections if len(c.get_offsets()) > 1]
    np.testing.assert_allclose(
        np.concatenate(dots), np.concatenate([X[Y[:, 0] == i] for i in (0, 1)])
    )
    shown = texts(found.svg())
    assert {"Decision boundary", "class 0", "class 1", "probability of class 1"} <= set(shown)


def test_the_landscape_is_drawn():
    found = viz.landscape(network(), X, Y, nn.mse_loss, points=11)
    figure = found.figure()
    flat, solid = figure.axes[0], figure.axes[-1]
    assert (
        flat.get_xlabel() == "random direction 1" and solid.get_title() == "the loss as a surface"
    )
    assert flat.get_xlim() == (-1.0, 1.0)
    shown = texts(found.svg())
    assert {"Loss around the trained weights", "random direction 2", "loss"} <= set(shown)
    assert found.svg() == found.svg()


def test_pictures_of_matplotlib_are_written_as_files(tmp_path):
    found = viz.landscape(network(), X, Y, nn.mse_loss, points=5)
    assert found.save(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert found.save(tmp_path / "a.svg").read_text("utf-8") == found._repr_html_()
    with pytest.raises(ArgumentError, match=r"\.svg, \.png or \.pdf, not 'a\.gif'"):
        found.save(tmp_path / "a.gif")


def test_a_flat_landscape_can_be_drawn():
    found = viz.landscape(network(), X, Y, lambda out, y: out.sum() * 0.0, points=4)
    assert not found.losses.any()
    assert "Loss around" in found.svg()
