"""`model.summary`: shapes, parameters, operations, bytes and times of the layers."""

from __future__ import annotations

import math

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn
from cotangent.nn import costs


class Net(nn.Module):
    def __init__(self):
        self.l1, self.act = nn.Linear(6, 16), nn.Tanh()
        self.blocks = [nn.Linear(16, 16), nn.Linear(16, 3)]

    def forward(self, x):
        x = self.act(self.l1(x))
        return self.blocks[1](self.act(self.blocks[0](x))).relu() * 2.0


X = np.ones((32, 6), "float32")


def test_operations_bytes_and_times_by_layer():
    found = Net().summary(X)
    rows = {line.path: line for line in found.layers}
    assert list(rows) == ["l1", "act", "blocks.0", "blocks.1", ""]
    assert rows["l1"].flops == 2 * 32 * 6 * 16 + 32 * 16  # the product and the bias
    assert rows["blocks.0"].flops == 2 * 32 * 16 * 16 + 32 * 16
    assert rows["act"].flops == 2 * 32 * 16  # it is called twice
    assert rows[""].flops == 2 * 32 * 3  # relu and the factor, in the model itself
    assert rows["l1"].bytes == 4 * (16 * 6 + 16 + 32 * 6 + 32 * 16)
    assert rows["act"].bytes == 4 * 2 * 2 * 32 * 16
    assert all(rows[path].seconds > 0 for path in rows if path)
    assert math.isnan(rows[""].seconds)
    assert [line.parameters for line in found.layers] == [112, 0, 272, 51, 0]
    assert (found.total, found.trainable) == (435, 435)


def test_the_text_has_all_columns_and_a_total():
    lines = str(Net().summary(X)).splitlines()
    assert lines[0].split() == ["layer", "output", "parameters", "MFLOP", "KB", "µs"]
    assert "operations of Net itself" in lines[5]
    assert lines[-1].split()[:2] == ["total", "435"] and len({len(line) for line in lines}) == 1
    plain = str(Net().summary(X, measure=False)).splitlines()
    assert plain[0].split() == ["layer", "output", "parameters"]


def test_operations_agree_with_what_the_compiler_counts():
    model = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 4))
    x = np.ones((16, 8), "float32")
    mine = sum(line.flops for line in model.summary(x).layers)
    step = ct.jit(lambda x: model(x))
    with ct.no_grad():
        compiled = sum(row.flops for row in step.profile(x, seconds=0.01).rows)
    assert compiled == pytest.approx(mine, rel=0.1)


def test_layers_that_cannot_be_timed_alone():
    class Pair(nn.Module):
        def forward(self, x, scale=1.0):
            return x * scale

    class Outer(nn.Module):
        def __init__(self):
            self.pair = Pair()

        def forward(self, x):
            return self.pair(x, scale=2.0)

    (line,) = Outer().summary(X).layers
    assert math.isnan(line.seconds) and line.flops == X.size
    assert " - " not in str(line.seconds) and str(Outer().summary(X)).splitlines()[1].endswith("-")


def test_without_machine_code_layers_are_timed_op_by_op(monkeypatch):
    def refuse(*args, **kwargs):
        raise ct.CompileError("no machine code here")

    monkeypatch.setattr("cotangent.compiler.compiled.Jitted.profile", refuse)
    assert Net().summary(X).layers[0].seconds > 0


def test_a_model_shows_itself_as_a_table():
    page = Net()._repr_html_()
    assert "weight [16, 6], bias [16]" in page and "435" in page and page.count("<tr>") == 6
    assert "<script" not in page
    assert "&lt;" in nn.Sequential(Odd())._repr_html_()


class Odd(nn.Module):
    def extra_repr(self):
        return "<b>"


def test_moving_data_counts_nothing():
    class Moves(nn.Module):
        def forward(self, x):
            return ct.concat([x.T, x.T], axis=0).reshape((-1,))

    assert costs.flops_by_layer(Moves(), (ct.tensor(X),)).get("", 0) == 0
