"""Initial values: sample statistics, seeds, dtypes, and copies of models made of all layers."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn
from cotangent.nn import init

SHAPE = (120, 80)  # fan_in 80, fan_out 120
COUNT = 120 * 80

# name, how it is made, its deviation, the largest value that it can have
RANDOM: list[tuple[str, Callable[..., Any], float, float]] = [
    ("kaiming_uniform", init.kaiming_uniform, math.sqrt(2 / 80), math.sqrt(6 / 80)),
    ("kaiming_normal", init.kaiming_normal, math.sqrt(2 / 80), math.inf),
    ("xavier_uniform", init.xavier_uniform, math.sqrt(2 / 200), math.sqrt(6 / 200)),
    ("xavier_normal", init.xavier_normal, math.sqrt(2 / 200), math.inf),
    ("uniform", lambda s, dtype=None: init.uniform(s, -3.0, 3.0, dtype), math.sqrt(3), 3.0),
    ("normal", lambda s, dtype=None: init.normal(s, 0.0, 0.3, dtype), 0.3, math.inf),
    # A standard normal cut at 2 deviations has the deviation 0.87962566.
    ("trunc_normal", lambda s, dtype=None: init.trunc_normal(s, dtype=dtype), 0.87962566, 2.0),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "make", "std", "top"), RANDOM, ids=[r[0] for r in RANDOM])
def test_mean_deviation_and_range(
    name: str, make: Callable[..., Any], std: float, top: float, dtype: str
) -> None:
    ct.manual_seed(3)
    x = make(SHAPE, dtype=dtype)
    assert (x.shape, x.dtype) == (SHAPE, np.dtype(dtype))
    values = x.numpy().astype(float)
    # Four standard errors; that of a deviation is at most std / sqrt(2 n) for these.
    assert abs(values.mean()) < 4 * std / math.sqrt(COUNT)
    assert abs(values.std() - std) < 4 * std / math.sqrt(2 * COUNT)
    assert np.abs(values).max() <= top * (1 + 1e-6)
    again = make(SHAPE, dtype=dtype).numpy()
    assert not np.array_equal(again, x.numpy())
    ct.manual_seed(3)
    np.testing.assert_array_equal(make(SHAPE, dtype=dtype).numpy(), x.numpy())


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (4, 2, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    q = init.orthogonal(shape, gain=2.0, dtype="float64").numpy().reshape(shape[0], -1)
    small = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)
    assert init.orthogonal((2, 2)).dtype == np.float32


def test_orthogonal_matrices_are_uniform() -> None:
    """Over all rotations and reflections the trace has mean 0 and variance 1."""
    traces = [np.trace(init.orthogonal((4, 4)).numpy()) for _ in range(400)]
    assert abs(np.mean(traces)) < 4 / 20
    assert abs(np.var(traces) - 1) < 4 * math.sqrt(2 / 400)


def test_constants_and_mistakes() -> None:
    assert init.ones((2,)).tolist() == [1.0, 1.0]
    assert init.constant((2,), 0.5, "float64").dtype == np.float64
    for wrong in (lambda: init.trunc_normal((2,), std=0.0), lambda: init.uniform((2,), 2.0, 1.0)):
        with pytest.raises(ct.ArgumentError):
            wrong()
    for make in (init.orthogonal, init.kaiming_normal, init.xavier_uniform):
        with pytest.raises(ct.ShapeError, match="no fans"):
            make((3,))


class Everything(nn.Module):
    """Every layer that holds something."""

    def __init__(self) -> None:
        self.table = nn.Embedding(7, 4, padding_idx=0)
        self.body = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.PReLU(6), nn.Dropout(0.5), nn.LayerNorm(6)
        )
        self.norm = nn.RMSNorm(6)
        self.head = nn.Linear(6, 7)
        self.narrow = nn.Linear(6, 4)

    def forward(self, index: Any) -> Any:
        x = self.norm(self.body(self.table(index)))
        return self.head(x) + self.narrow(x) @ self.table.weight.T  # the table is used twice


def test_copies_pickles_and_state_dicts() -> None:
    model, index = Everything(), np.array([1, 2, 3, 4])
    opt = ct.optim.AdamW(0.01)
    for _ in range(3):
        opt.step(model, nn.cross_entropy_loss(model(index), index).backward())
    loaded = Everything()
    loaded.load_state_dict(model.state_dict())
    model.eval()
    expected = model(index).numpy()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded.eval()):
        np.testing.assert_array_equal(twin(index).numpy(), expected)
        twin.table.weight.assign(0 * twin.table.weight)
        assert not np.array_equal(twin(index).numpy(), expected)
    np.testing.assert_array_equal(model(index).numpy(), expected)
    assert [k for k in model.state_dict() if k.startswith("body.1")] == [
        f"body.1.{n}" for n in ("weight", "bias", "running_mean", "running_var",
                                "num_batches_tracked")
    ]  # fmt: skip
    assert not any("running" in path for path, _ in model.named_parameters())
