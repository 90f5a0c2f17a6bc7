"""Runs that are broken off and resumed: the same bytes as the unbroken run."""

from __future__ import annotations

import json

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim
from cotangent.train import Callback, EarlyStopping, checkpoint, fit

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 6)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


class Net(nn.Module):
    """Everything that has a state: parameters, running statistics, random draws."""

    def __init__(self, names: str = "abc") -> None:
        ct.manual_seed(0)
        made = {
            "a": nn.Linear(6, 12), "b": nn.Sequential(nn.BatchNorm1d(12), nn.Dropout(0.3)),
            "c": nn.Linear(12, 3),
        }  # fmt: skip
        for name in names:
            setattr(self, name, made[name])

    def forward(self, x):
        return self.c(self.b(self.a(x)).tanh())


class Break(Callback):
    every = 1

    def __init__(self, step: int) -> None:
        self.step = step
        self.heard = 0

    def on_step(self, run):
        self.heard += 1
        if run.step == self.step:
            run.stop("broken off")

    def state_dict(self):
        return {"heard": self.heard}

    def load_state_dict(self, values):
        self.heard = values["heard"]


def train(folder, step: int = -1, resume: bool = False, model=None, **settings):
    model = Net() if model is None else model
    told = Break(step)
    given = {
        "optimizer": optim.Adam(), "epochs": 4, "batch_size": 25, "validation": 0.2, "ema": 0.9,
        "schedule": optim.cosine_decay(0.02, 20), "clip_norm": 1.0, "class_weight": "balanced",
        "metrics": ["accuracy", "f1_macro"], "early_stopping": EarlyStopping(3),
    } | settings  # fmt: skip
    history = fit(
        model, (X, LABELS), folder=folder, resume=resume, progress=False, callbacks=[told], **given
    )
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in history]
    return rows, {k: v.tobytes() for k, v in model.state_dict().items()}, history, told.heard


SETTINGS = {
    "everything": {},
    "accumulate": {"accumulate": 2},
    "op by op": {"compile": False, "epochs": 2},
    "plateau": {"schedule": None},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_resumed_run_ends_in_the_same_bytes(settings, tmp_path):
    def one(name, **more):
        given = dict(settings)
        if given.get("schedule", 0) is None:
            given["optimizer"] = opt = optim.Adam(0.02)
            given["schedule"] = optim.ReduceLROnPlateau(opt, patience=0, threshold=0.5)
        return train(tmp_path / name, **given, **more)

    rows, state, _, heard = one("whole")
    for step in (1, 2, 4, 5, 7):
        one(f"{step}", step=step)
        again = one(f"{step}", resume=True)
        assert again[1] == state, step
        assert again[0] == rows, step
        assert again[3] == heard


def test_a_run_is_broken_off_twice_and_then_lengthened(tmp_path):
    long = train(tmp_path / "long", epochs=6)
    train(tmp_path / "cut", step=3)
    train(tmp_path / "cut", step=9, resume=True)
    train(tmp_path / "cut", resume=True)
    again = train(tmp_path / "cut", resume=True, epochs=6)
    assert again[:2] == long[:2]


def test_a_run_whose_steps_end_inside_of_an_epoch_is_lengthened(tmp_path):
    whole = train(tmp_path / "whole", epochs=3)
    short = train(tmp_path / "cut", epochs=None, steps=6)
    assert [row["step"] for row in short[0]] == [4, 6]
    assert train(tmp_path / "cut", resume=True, epochs=None, steps=6)[:2] == short[:2]
    assert train(tmp_path / "cut", resume=True, epochs=3)[:2] == whole[:2]


def test_a_run_that_has_ended_gives_its_model_again(tmp_path):
    first = train(tmp_path, early_stopping=EarlyStopping(1, min_delta=10.0))
    assert first[2].stopped == "early stopping"
    again = train(tmp_path, resume=True, early_stopping=EarlyStopping(1, min_delta=10.0))
    assert again[:2] == first[:2]
    assert again[2].stopped == "early stopping"


def test_batches_from_an_iterable_are_resumed_where_they_were(tmp_path):
    feed = ct.data.batches((X, LABELS), 25, seed=1)

    def one(folder, step=-1, resume=False):
        model = Net()
        fit(
            model, feed, epochs=3, folder=tmp_path / folder, resume=resume, progress=False,
            callbacks=[Break(step)],
        )  # fmt: skip
        return {k: v.tobytes() for k, v in model.state_dict().items()}

    whole = one("whole")
    one("cut", 7)
    assert one("cut", resume=True) == whole
    batches, feed = feed, lambda epoch: batches
    one("short", 8)
    batches = ct.data.batches((X[:50], LABELS[:50]), 25, seed=1)
    with pytest.raises(ct.ArgumentError, match=r"has had 3 batches of epoch 2, .* yield only 2"):
        one("short", resume=True)
    feed = batches
    with pytest.raises(ct.ArgumentError, match=r"data was 'a stream of 5 .* and is 'a stream of 2"):
        one("cut", resume=True)


def test_layers_in_another_order_get_their_own_state(tmp_path):
    _, state, _, _ = train(tmp_path / "whole")
    train(tmp_path / "cut", step=5)
    _, again, _, _ = train(tmp_path / "cut", resume=True, model=Net("cab"))
    assert again == state


def test_another_model_is_an_error_by_name(tmp_path):
    train(tmp_path, step=5)
    model = Net()
    model.d = nn.Linear(2, 2)
    with pytest.raises(ct.UnknownKeyError, match=r"missing keys: 'd.weight'"):
        train(tmp_path, resume=True, model=model, check=False)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"batch_size": 30}, "batch_size was 25 and is 30"),
        ({"optimizer": optim.SGD(0.1)}, r"optimizer was \['Adam.* and is \['SGD"),
        ({"ema": None}, "ema was 0.9 and is None"),
        ({"schedule": optim.cosine_decay(0.1, 20)}, "schedule was 'cosine_decay.lr=0.02"),
        ({"seed": 5}, "seed was 0 and is 5"),
        ({"class_weight": None}, "class_weight was 'balanced' and is None"),
    ],
)
def test_other_settings_are_an_error_that_names_them(settings, words, tmp_path):
    train(tmp_path, step=2)
    with pytest.raises(ct.ArgumentError, match=words):
        train(tmp_path, resume=True, **settings)


def test_other_data_are_an_error(tmp_path):
    train(tmp_path, step=2)
    before = X[3, 3]
    X[3, 3] = 100.0
    try:
        with pytest.raises(ct.ArgumentError, match="data was "):
            train(tmp_path, resume=True)
    finally:
        X[3, 3] = before


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    train(tmp_path, step=2)
    with pytest.raises(ct.FileError, match="holds a run already; pass resume=True"):
        train(tmp_path)


def test_resume_begins_where_there_is_nothing(tmp_path):
    assert train(tmp_path / "new", resume=True)[:2] == train(tmp_path / "other")[:2]


def test_the_files_of_a_run(tmp_path):
    rows, state, history, _ = train(tmp_path)
    written = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in written] == rows
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts["settings"]["batch_size"] == 25 and facts["versions"]["numpy"] == np.__version__
    model = ct.load(tmp_path / "model.safetensors")
    assert {k: v.tobytes() for k, v in model.items()} == state
    best = checkpoint.read(tmp_path, best=True)
    found = {k.removeprefix("best/"): v.tobytes() for k, v in best.arrays.items() if "best/" in k}
    assert found == state
    assert history.folder == tmp_path


def test_checkpoints_are_written_while_training(tmp_path):
    class Look(Callback):
        every = 3

        def __init__(self):
            self.steps = []

        def on_step(self, run):
            if checkpoint.exists(run.folder):
                self.steps.append(checkpoint.read(run.folder).facts["step"])

    look = Look()
    fit(
        Net(), (X, LABELS), epochs=3, batch_size=25, folder=tmp_path, checkpoint_seconds=0.0,
        callbacks=[look], progress=False,
    )  # fmt: skip
    assert look.steps == sorted(look.steps) and len(set(look.steps)) > 2
