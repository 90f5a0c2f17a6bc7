"""The look before training: what it says, what it lets pass, and that it changes nothing."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn
from cotangent.random import DEFAULT
from cotangent.train import Trainer, fit
from cotangent.train.preflight import check

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 6)).astype(np.float32)
LABELS = RNG.integers(0, 3, 300)


def classifier(*last: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), *last)


def look(model, x, y, **settings) -> list[str]:
    """What is found, an error ending in an exclamation mark."""
    trainer = Trainer(model, **settings)
    source, _ = trainer._sources((x, y), None, None, 0)
    task = trainer._settle(source, False)
    examples = trainer._prepared(source)
    found = check(model, task, trainer._objective, examples, trainer._probed)
    return [finding.text + ("!" if finding.serious else "") for finding in found]


class Part(nn.Module):
    """A model with a layer that forward leaves out, or cuts off."""

    def __init__(self, cut: bool = False) -> None:
        self.used, self.left_out, self.cut = nn.Linear(6, 3), nn.Linear(2, 2), cut

    def forward(self, x):
        out = self.used(x)
        return out.detach() if self.cut else out


def shared() -> nn.Sequential:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(6, 3))


BAD = X.copy()
BAD[[7, 9], 2] = np.nan, np.inf

CASES = {
    "nan": (classifier, BAD, LABELS, "infinity in 2 rows, the first of them row 7; drop.*!"),
    "labels from 1": (classifier, X, LABELS + 1, "run from 1 to 3, but the model has 3.*unique.*!"),
    "negative": (classifier, X, LABELS - 1, "run from -1 to 1, .*!"),
    "too many": (classifier, X, LABELS * 4, "give the last layer 9 outputs!"),
    "not binary": (lambda: nn.Linear(6, 1), X, LABELS, "run from 0 to 2, and bce takes 0 to 1.*!"),
    "frozen": (lambda: classifier().freeze(), X, LABELS, "all 4 parameters .* are frozen.*!"),
    "detached": (lambda: Part(cut=True), X, LABELS, "depends on no parameter of the model.*!"),
    "left out": (Part, X, LABELS, "does not depend on left_out.weight, left_out.bias, .*"),
    "twice": (shared, X, LABELS, "0.weight, 2.weight are one parameter, registered 2 times.*"),
    "softmax": (lambda: classifier(nn.Softmax()), X, LABELS, "ends in a softmax.*"),
    "sigmoid": (
        lambda: nn.Sequential(nn.Linear(6, 1), nn.Sigmoid()), X, LABELS > 0, "ends in a sigmoid.*",
    ),
    "scale": (classifier, X * 1000, LABELS, "the first loss is .* standardise .* reach .*"),
    "targets": (lambda: nn.Linear(6, 1), X, X[:, :1] + 1e3, "the first loss is .* standardise.*"),
}  # fmt: skip


@pytest.mark.parametrize("make, x, y, words", CASES.values(), ids=CASES)
def test_what_is_wrong_is_said_and_nothing_else(make, x, y, words):
    ct.manual_seed(0)
    found = look(make(), x, y)
    assert found and all(re.search(words.rstrip("!"), text) for text in found[:1])
    assert found[0].endswith("!") == words.endswith("!")
    if "registered" not in words:
        assert len(found) == 1, found


def test_serious_findings_are_an_error_and_others_a_warning():
    with pytest.raises(ct.ArgumentError, match=r"(?s)cannot train.*labels.*check=False"):
        fit(classifier(), (X, LABELS + 1), progress=False)
    with pytest.warns(RuntimeWarning, match="ends in a softmax") as caught:
        fit(classifier(nn.Softmax()), (X, LABELS), epochs=1, progress=False)
    assert caught[0].filename == __file__
    with pytest.raises(ct.BoundsError):
        fit(classifier(), (X, LABELS + 1), progress=False, check=False)


def norms() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


@pytest.mark.parametrize("make", [classifier, norms, lambda: nn.Linear(6, 3)])
@pytest.mark.parametrize("seed", range(5))
def test_ordinary_models_are_let_pass(make, seed):
    ct.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert look(make(), X, LABELS) == []
        assert look(make(), X.astype(np.float64) * 3 + 1, LABELS.astype(np.int8)) == []
        assert look(make(), X, X[:, :3] * 0.01) == []
        assert look(nn.Linear(6, 1), X, X[:, 0] * 10) == []


def test_a_last_batch_of_one_row_is_found_before_training():
    with pytest.raises(ct.ArgumentError, match=r"has one row \(33 rows, 32 in .* batch_size=31"):
        fit(norms(), (X[:33], LABELS[:33]), progress=False)
    fit(norms(), (X[:33], LABELS[:33]), batch_size=31, epochs=1, progress=False)
    fit(classifier(), (X[:33], LABELS[:33]), epochs=1, progress=False)


def test_a_large_sum_is_no_infinity():
    big = np.full((300, 6), 3e38, np.float32)
    model = nn.Sequential(nn.Linear(6, 3))
    model[0].weight.assign(np.zeros((3, 6), np.float32))
    assert not any("infinity" in text for text in look(model, big, LABELS))


def test_nothing_is_changed():
    model = norms()
    before = {name: value.copy() for name, value in model.state_dict().items()}
    draw = DEFAULT.draw.item()
    assert look(model, X, LABELS) == []
    assert DEFAULT.draw.item() == draw
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    looked, unlooked = [], []
    for found, flag in ((looked, True), (unlooked, False)):
        ct.manual_seed(3)
        model = norms()
        fit(model, (X, LABELS), epochs=2, progress=False, check=flag)
        found += [value.tobytes() for value in model.state_dict().values()]
    assert looked == unlooked
