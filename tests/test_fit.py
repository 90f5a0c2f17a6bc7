"""`train.fit` against loops written by hand, PyTorch, NumPy, and itself op by op."""

from __future__ import annotations

import math
import os
import signal

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim
from cotangent.data import batches, shuffled
from cotangent.train import Callback, EarlyStopping, History, Trainer, fit

RNG = np.random.default_rng(0)
X = RNG.standard_normal((100, 5)).astype(np.float32)
Y = np.sin(X.sum(axis=1, keepdims=True)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


@pytest.fixture(autouse=True)
def _ctrl_c_is_python_s():
    """As in a terminal; a shell's job in the background begins with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def network(outputs: int = 1, dtype=np.float32) -> nn.Sequential:
    ct.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, outputs))
    for i in (0, 2):
        layer = model[i]
        layer.weight = ct.var("weight", layer.weight.numpy(), dtype=dtype)
        layer.bias = ct.var("bias", layer.bias.numpy(), dtype=dtype)
    return model


def weights(model) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.state_dict().items()}


def run(model, data, **settings):
    return fit(model, data, progress=False, **({"epochs": 3} | settings))


class Noting(Callback):
    """Keeps what it is told."""

    def __init__(self, every: int | None = None) -> None:
        self.every = every
        self.seen: list = []

    def on_start(self, run):
        self.seen.append("start")

    def on_step(self, run):
        self.seen.append(run.step)

    def on_epoch(self, run, row):
        self.seen.append(("epoch", row["epoch"]))

    def on_end(self, run):
        self.seen.append("end")


# -- the same as a loop by hand ---------------------------------------------------------------


@pytest.mark.parametrize("size", [25, 32, 100, 1000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_loop_by_hand_gives_the_same_bytes(size, shuffle):
    model, opt = network(), optim.Adam(0.01)

    @ct.jit
    def step(x, y):
        loss = nn.mse_loss(model(x), y)
        opt.step(model, loss.backward())
        return loss

    means = []
    for epoch in range(3):
        order = shuffled(100, 7, epoch) if shuffle else np.arange(100)
        cut = [order[at : at + size] for at in range(0, 100, size)]
        losses = [step(ct.tensor(X[rows]), ct.tensor(Y[rows])).item() for rows in cut]
        means.append(np.average(losses, weights=[len(rows) for rows in cut]))
    other = network()
    history = run(
        other, (X, Y), batch_size=size, shuffle=shuffle, seed=7, optimizer=optim.Adam(0.01)
    )
    assert weights(other) == weights(model)
    np.testing.assert_allclose(history.series("loss"), means, rtol=1e-12)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("clip", [None, 0.05])
def test_the_trajectory_is_that_of_pytorch(accumulate, clip):
    torch = pytest.importorskip("torch")
    model = network(3, np.float64)
    x = X.astype(np.float64)
    sample, by_class = np.linspace(0.5, 2.0, 100), np.array([1.0, 2.0, 0.5])
    peer = torch.nn.Sequential(
        torch.nn.Linear(5, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3)
    ).double()
    with torch.no_grad():
        for path, value in model.state_dict().items():
            peer.get_parameter(path).copy_(torch.tensor(np.array(value)))
    opt = torch.optim.Adam(peer.parameters(), lr=0.01)
    loss_of = torch.nn.CrossEntropyLoss(weight=torch.tensor(by_class), reduction="none")
    schedule = optim.cosine_decay(0.02, 20)
    step, expected = 0, []
    for epoch in range(3):
        order = shuffled(100, 0, epoch)
        group = 16 * accumulate
        for first in range(0, 100, group):
            rows = order[first : first + group]
            w = torch.tensor(sample[rows])
            labels = torch.tensor(LABELS[rows])
            losses = loss_of(peer(torch.tensor(x[rows])), labels) * w
            loss = losses.sum() / (w * torch.tensor(by_class)[labels]).sum()
            opt.zero_grad()
            loss.backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(peer.parameters(), clip)
            opt.param_groups[0]["lr"] = schedule(step)
            opt.step()
            step += 1
            expected.append(loss.item())
    history = run(
        model, (x, LABELS), batch_size=16, accumulate=accumulate, clip_norm=clip,
        sample_weight=sample, class_weight=by_class, schedule=schedule, optimizer=optim.Adam(0.01),
    )  # fmt: skip
    assert history[-1]["step"] == step
    for path, value in model.state_dict().items():
        np.testing.assert_allclose(
            value, peer.get_parameter(path).detach().numpy(), rtol=1e-9, atol=1e-12
        )


SETTINGS = {
    "plain": {},
    "accumulate": {"accumulate": 3},
    "clip": {"clip_norm": 0.1, "clip_value": 0.02},
    "ema": {"ema": 0.9},
    "schedule": {"schedule": optim.cosine_decay(0.02, 12)},
    "weights": {"class_weight": "balanced", "sample_weight": np.linspace(0, 2, 100)},
    "held out": {"validation": 0.3, "metrics": ["accuracy", "f1_macro"]},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_op_by_op_it_is_the_same_to_rounding(settings):
    found = {}
    for compiled in (True, False):
        model = network(3, np.float64)
        history = run(model, (X, LABELS), optimizer=optim.SGD(0.1), compile=compiled, **settings)
        rows = [[v for k, v in row.items() if k != "seconds"] for row in history]
        found[compiled] = (rows, model.state_dict())
    np.testing.assert_allclose(found[True][0], found[False][0], rtol=1e-9)
    for name, value in found[True][1].items():
        np.testing.assert_allclose(value, found[False][1][name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("every", [1, 2, 5, 7])
def test_cutting_a_run_in_pieces_changes_no_bit(every):
    whole, cut = network(), network()
    a = run(whole, (X, Y), batch_size=20, epochs=4)
    b = run(cut, (X, Y), batch_size=20, epochs=4, callbacks=[Noting(every)])
    assert weights(whole) == weights(cut)
    assert a.series("loss") == b.series("loss")


def test_batches_from_an_iterable_are_trained_like_rows():
    whole, piecewise = network(3), network(3)
    a = run(whole, (X, LABELS), shuffle=False, batch_size=16, validation=(X[:50], LABELS[:50]))
    held = [(X[:20], LABELS[:20]), [X[20:50], LABELS[20:50]]]
    feed = batches((X, LABELS), 16, shuffle=False)
    b = run(piecewise, feed, validation=held)
    assert weights(whole) == weights(piecewise)
    assert a.series("loss") == b.series("loss")
    np.testing.assert_allclose(a.series("validation loss"), b.series("validation loss"), rtol=1e-6)
    assert a.series("validation accuracy") == b.series("validation accuracy")


def test_a_function_of_the_epoch_yields_its_batches():
    epochs = []

    def feed(epoch):
        epochs.append(epoch)
        return batches((X, Y), 25, epoch=epoch)

    model, other = network(), network()
    run(model, feed, epochs=3)
    run(other, (X, Y), batch_size=25)
    assert epochs == [0, 1, 2]
    assert weights(model) == weights(other)


def test_an_iterator_is_gone_through_once():
    def generator():
        yield X, Y

    run(network(), generator(), epochs=1)
    with pytest.raises(ct.ArgumentError, match="an iterator, which can be gone through once"):
        run(network(), generator(), epochs=2)
    with pytest.raises(ct.ArgumentError, match="yields no batch"):
        run(network(), [])


# -- gradients, weights, means ----------------------------------------------------------------


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_accumulated_uneven_batches_give_the_gradient_of_all_rows(compiled, weighted):
    rows = 23
    x, y = X[:rows].astype(np.float64), Y[:rows].astype(np.float64)
    w = np.linspace(0.0, 3.0, rows) if weighted else np.ones(rows)
    model = nn.Linear(5, 1)
    model.weight = ct.var("weight", model.weight.numpy(), dtype=ct.float64)
    model.bias = ct.var("bias", [0.0], dtype=ct.float64)
    before = model.weight.numpy().copy()
    residual = x @ before.T - y
    slope = 2 * (w[:, None] * residual).T @ x / w.sum()
    run(
        model, (x, y), epochs=1, batch_size=5, accumulate=8, optimizer=optim.SGD(1.0),
        compile=compiled, sample_weight=w if weighted else None,
    )  # fmt: skip
    np.testing.assert_allclose(before - model.weight.numpy(), slope, rtol=1e-10)


def test_values_of_gradients_are_cut():
    model = nn.Linear(5, 1)
    before = model.weight.numpy().copy()
    slope = 2 * (X @ before.T - Y).T @ X / 100
    run(model, (X, Y), steps=1, epochs=None, batch_size=100, clip_value=0.1, optimizer=optim.SGD(1))
    moved = before - model.weight.numpy()
    np.testing.assert_allclose(moved, np.clip(slope, -0.1, 0.1), rtol=1e-4, atol=1e-6)


def test_a_batch_that_weighs_nothing_changes_nothing():
    model = network()
    before = weights(model)
    history = run(model, (X, Y), sample_weight=np.zeros(100), optimizer=optim.SGD(0.1))
    assert weights(model) == before
    assert math.isnan(history[-1]["loss"])


def test_the_mean_of_the_weights():
    class Weights(Callback):
        every = 1

        def __init__(self):
            self.seen = []

        def on_step(self, run):
            self.seen.append(run.model.state_dict()["0.weight"].copy())

    model, noted = network(), Weights()
    history = run(model, (X, Y), batch_size=30, ema=0.8, callbacks=[noted], validation=(X, Y))
    ages = 0.8 ** np.arange(len(noted.seen))[::-1]
    expected = np.tensordot(ages / ages.sum(), np.array(noted.seen, np.float64), 1)
    np.testing.assert_allclose(model.state_dict()["0.weight"], expected, rtol=2e-6, atol=1e-7)
    # What is measured is the mean, too.
    loss = nn.mse_loss(model(ct.tensor(X)), ct.tensor(Y)).item()
    assert history[-1]["validation loss"] == pytest.approx(loss, rel=1e-5)


def test_training_goes_on_from_the_weights_and_not_from_their_mean():
    plain, averaged = network(), network()
    a = run(plain, (X, Y), validation=(X, Y))
    b = run(averaged, (X, Y), validation=(X, Y), ema=0.9)
    assert a.series("loss") == b.series("loss")
    assert a.series("validation loss") != b.series("validation loss")


# -- validation, metrics, early stopping ------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 100, 256, 300])
def test_what_is_held_out_is_measured_exactly(rows):
    x = np.random.default_rng(1).standard_normal((rows, 5)).astype(np.float32)
    labels = np.arange(rows) % 3
    trainer = Trainer(network(3))
    found = trainer.evaluate((x, labels))
    logits = trainer.model(ct.tensor(x)).numpy().astype(np.float64)
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert found["loss"] == pytest.approx(-logp[np.arange(rows), labels].mean(), rel=1e-5)
    assert found["accuracy"] == (logits.argmax(axis=1) == labels).mean()
    np.testing.assert_allclose(trainer.predict(x), logits, rtol=1e-5, atol=1e-6)


def test_a_fraction_is_held_out_and_the_same_rows_for_a_seed():
    rows = np.arange(100, dtype=np.float32)[:, None] * np.ones(5, np.float32)
    parts = []

    def loss(model, x):
        return (model(x) ** 2).mean()

    for seed in (3, 3, 4):
        trainer = Trainer(network(), loss=loss)
        examples, held = trainer._sources(rows, 0.25, None, seed)
        assert not set(examples.x[:, 0]) & set(held.x[:, 0])
        assert (examples.rows, held.rows) == (75, 25)
        parts.append(held.x[:, 0].tolist())
    assert parts[0] == parts[1] != parts[2]


def test_the_accuracy_of_the_training_rows_is_of_the_predictions_made():
    model = network(3)
    history = run(model, (X, LABELS), epochs=2, batch_size=32, optimizer=optim.SGD(0.0))
    right = model(ct.tensor(X)).numpy().argmax(axis=1) == LABELS
    assert history.series("accuracy") == [right.mean()] * 2


def test_early_stopping_restores_the_best_weights():
    model = network()
    seen = []

    class Weights(Callback):
        def on_epoch(self, run, row):
            seen.append(weights(run.model))

    # The held-out targets have the wrong sign: the better the fit, the worse.
    history = run(
        model, (X, Y), epochs=50, validation=(X, -Y), early_stopping=4, callbacks=[Weights()]
    )
    losses = history.series("validation loss")
    best = int(np.argmin(losses))
    assert history.stopped == "early stopping"
    assert len(losses) == best + 1 + 4
    assert history.best["epoch"] == best + 1
    assert weights(model) == seen[best]


def test_early_stopping_watches_what_it_is_told_to():
    stopping = EarlyStopping(2, "accuracy", min_delta=2.0)
    history = run(network(3), (X, LABELS), epochs=9, early_stopping=stopping)
    assert (history.monitor, history.mode, len(history)) == ("accuracy", "max", 3)
    with pytest.raises(ct.UnknownKeyError, match="nothing called 'f1'"):
        run(network(3), (X, LABELS), early_stopping=EarlyStopping(monitor="f1"))
    with pytest.raises(ct.ArgumentError, match="needs held-out data"):
        run(network(3), (X, LABELS), early_stopping=EarlyStopping(monitor="validation loss"))


def test_the_learning_rate_falls_on_a_plateau():
    opt = optim.SGD(0.1)
    plateau = optim.ReduceLROnPlateau(opt, factor=0.5, patience=0, threshold=0.9)
    history = run(network(), (X, Y), epochs=4, optimizer=opt, schedule=plateau)
    assert history.series("lr") == [0.1, 0.1, 0.05, 0.025]


# -- tasks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outputs, y, said",
    [
        (1, Y, "regression by mse"),
        (1, Y[:, 0], "regression by mse"),
        (1, LABELS > 0, "bce with logits"),
        (1, (LABELS > 0).astype(np.int32)[:, None], "bce with logits"),
        (3, LABELS, "3 classes by cross_entropy"),
        (3, LABELS.astype(np.uint8)[:, None], "3 classes by cross_entropy"),
    ],
)
def test_the_task_is_found_from_the_targets_and_said(outputs, y, said, capsys):
    history = fit(network(outputs), (X, y), epochs=30, optimizer=optim.Adam(0.01))
    assert said in capsys.readouterr().out
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]


def test_losses_by_name_and_by_function_are_the_same():
    named, given = network(), network()
    run(named, (X, Y), loss="huber")
    run(given, (X, Y), loss=lambda p, t: nn.huber_loss(p, t))
    assert weights(named) == weights(given)
    with pytest.raises(ct.ArgumentError, match="did you mean 'huber'"):
        run(network(), (X, Y), loss="hubert")


def test_a_loss_of_one_value_a_row_can_be_weighted():
    def each(p, t):
        return ((p - t) ** 2).sum(axis=1)

    w = np.linspace(0.1, 1, 100)
    mine, builtin = network(dtype=np.float64), network(dtype=np.float64)
    run(mine, (X, Y), loss=each, sample_weight=w)
    run(builtin, (X, Y), loss="mse", sample_weight=w)
    for name, value in mine.state_dict().items():
        np.testing.assert_allclose(value, builtin.state_dict()[name], rtol=1e-9)
    with pytest.raises(ct.ShapeError, match="one value a row"):
        run(network(), (X, Y), loss=lambda p, t: ((p - t) ** 2).mean(), sample_weight=w)


def test_inputs_alone_and_several_inputs():
    code = nn.Sequential(nn.Linear(5, 2), nn.Linear(2, 5))
    history = run(code, X, loss=lambda model, x: nn.mse_loss(model(x), x), epochs=20)
    assert history[-1]["loss"] < history[0]["loss"]

    with pytest.raises(ct.ArgumentError, match="there are no targets"):
        run(code, X, loss=lambda model, x: nn.mse_loss(model(x), x), metrics=["mae"])

    class Two(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(5, 1)

        def forward(self, a, b):
            return self.layer(a + b)

    made = []
    for x in ((X, X * 2), {"b": X * 2, "a": X}):
        ct.manual_seed(1)
        made.append(Two())
        run(made[-1], (x, Y))
        predicted = Trainer(made[-1]).predict(x)
        np.testing.assert_allclose(predicted, made[-1].layer(ct.tensor(X * 3)).numpy(), rtol=1e-5)
    assert weights(made[0]) == weights(made[1])


# -- the course of a run ----------------------------------------------------------------------


def test_steps_end_inside_of_an_epoch():
    model, history = network(), None
    history = run(model, (X, Y), epochs=None, steps=7, batch_size=20, callbacks=[noted := Noting()])
    assert history.series("step") == [5, 7]
    assert noted.seen == ["start", ("epoch", 1), ("epoch", 2), "end"]
    assert history.stopped == "done"


def test_callbacks_hear_of_every_so_many_steps():
    noted = Noting(4)
    run(network(), (X, Y), batch_size=20, epochs=2, callbacks=[noted])
    assert [x for x in noted.seen if isinstance(x, int)] == [4, 8]


def test_a_callback_ends_a_run():
    class Enough(Callback):
        def on_epoch(self, run, row):
            row["twice"] = 2 * row["loss"]
            if row["epoch"] == 2:
                run.stop("enough")

    history = run(network(), (X, Y), callbacks=[Enough()])
    assert (history.stopped, len(history)) == ("enough", 2)
    assert history.series("twice")[0] == 2 * history.series("loss")[0]


@pytest.mark.parametrize("metrics", [(), ("mae",)])
def test_a_loss_that_is_nan_ends_a_run(metrics):
    with pytest.warns(RuntimeWarning, match="the loss became NaN"):
        history = run(
            network(), (X, Y), epochs=5000, optimizer=optim.SGD(1e9), loss="mse", metrics=metrics
        )
    assert history.stopped == "the loss became NaN"
    assert len(history) < 5000


def test_rows_mapped_from_a_file_are_not_copied(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    trainer = Trainer(network())
    source, _ = trainer._sources((mapped, Y), None, None, 0)
    assert np.shares_memory(source.x, mapped)
    model, other = network(), network()
    run(model, (mapped, Y))
    run(other, (X, Y))
    assert weights(model) == weights(other)


class Interrupting(Callback):
    every = 1

    def __init__(self, times: int) -> None:
        self.times = times

    def on_step(self, run):
        if run.step == 3:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("compiled", [True, False])
def test_ctrl_c_ends_a_run_between_two_steps(compiled, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    model, whole = network(), network()
    history = run(
        model, (X, Y), batch_size=20, compile=compiled, callbacks=[Interrupting(1)], folder=tmp_path
    )
    assert history.stopped == "interrupted"
    assert signal.getsignal(signal.SIGINT) is before
    again = run(network(), (X, Y), batch_size=20, compile=compiled, folder=tmp_path, resume=True)
    run(whole, (X, Y), batch_size=20, compile=compiled)
    assert again.stopped == "done"
    assert (
        ct.load(tmp_path / "model.safetensors")["0.weight"].tobytes()
        == (weights(whole)["0.weight"])
    )


def test_a_second_ctrl_c_is_not_put_off():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(network(), (X, Y), callbacks=[Interrupting(2)])
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_printed(capsys):
    fit(network(), (X, Y), epochs=100)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 11 + 1
    assert lines[1].startswith("epoch   1 of 100  loss ")
    assert lines[-1].startswith("done after ") and "step " in lines[-1]
    run(network(), (X, Y))
    assert capsys.readouterr().out == ""


def test_modes_are_put_back():
    model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    model[1].eval()
    run(model, (X, Y), validation=0.2)
    assert (model.training, model[1].training) == (True, False)


def test_dropout_is_off_where_a_model_is_measured():
    model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.9), nn.Linear(8, 1))
    trainer = Trainer(model, optimizer=optim.SGD(0.0))
    history = trainer.fit((X, Y), validation=(X, Y), epochs=2, progress=False)
    losses = history.series("validation loss")
    assert losses[0] == losses[1] == trainer.evaluate((X, Y))["loss"]
    assert history.series("loss")[0] != history.series("loss")[1]


def test_history():
    history = run(network(), (X, Y))
    assert isinstance(history, History) and len(history) == 3
    assert set(history.seconds) == {"data", "step", "other"}
    assert "<table>" in history._repr_html_() and "done" in repr(history)
    with pytest.raises(ct.UnknownKeyError, match="did you mean 'loss'"):
        history.series("los")


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"epochs": 0}, "epochs must be positive"),
        ({"epochs": 1, "steps": 1}, "not both"),
        ({"batch_size": 0}, "batch_size must be positive"),
        ({"validation": 1.5}, "no fraction of the rows"),
        ({"ema": 1.0}, "between 0 and 1"),
        ({"clip_norm": 0.0}, "clip_norm must be positive"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"optimizer": "adam"}, "optimizer must be an optimizer"),
        ({"schedule": 0.1}, "schedule must be a function"),
        ({"schedule": lambda step: -1.0}, "rate is finite and not negative"),
        ({"sample_weight": np.ones(3)}, "one weight for each of the 100 rows"),
        ({"sample_weight": -np.ones(100)}, "not negative"),
        ({"class_weight": "balanced"}, "needs targets that are classes"),
        ({"metrics": ["acuracy"]}, "did you mean 'accuracy'"),
        ({"early_stopping": "soon"}, "a number of epochs"),
        ({"callbacks": Noting()}, "must be a list of callbacks"),
        ({"callbacks": [print]}, "made from train.Callback"),
        ({"callbacks": [Noting(0)]}, "every must be positive"),
        ({"resume": True}, "needs the folder"),
    ],
)
def test_wrong_settings_are_said(settings, words):
    with pytest.raises(ct.Error, match=words):
        run(network(), (X, Y), **settings)


@pytest.mark.parametrize(
    "data, words",
    [
        ((X, Y[:50]), "as many rows"),
        ((X[:0], Y[:0]), "no rows"),
        ((X, Y, Y, Y), "has 4 parts"),
        (7, "must be .x, y. arrays"),
        (X, "pass loss=function"),
        ((X, LABELS.astype(str)), "encode classes as integers"),
        ((X, np.ones((100, 2), np.float32)), "targets of shape .rows, 1."),
    ],
)
def test_wrong_data_are_said(data, words):
    with pytest.raises(ct.Error, match=words):
        run(network(), data)
