"""Models of tables: what they learn, and that they come back from disk as they were."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import cotangent as ct
from cotangent.data import Frame
from cotangent.data.preparing import Preparation, TableStream
from cotangent.tabular import Settings, TableNetwork, fit, load
from cotangent.tabular.split import held_out

QUICK = Settings(hidden=(16,), epochs=2, batch_size=64)


def _frame(rows: int = 300, seed: int = 0) -> Frame:
    """y is 3 size + the effect of one of 30 words; the class says whether it is above 0."""
    rng = np.random.default_rng(seed)
    size, word = rng.normal(size=rows), rng.integers(30, size=rows)
    y = 3 * size + np.sin(word)
    words = np.array([f"w{i:02}" for i in range(30)], object)[word]
    labels = np.array(["below", "above"], object)[(y > 0).astype(int)]
    return Frame(["size", "word", "y", "class"], [size, words, y, labels])


def test_regression_on_numbers_and_embedded_words():
    model = fit(_frame(600), "y", ignore=["class"])
    assert model.preparation.embedded == [31]
    found = model.evaluate(_frame(seed=1))
    assert found["r2"] > 0.95
    predicted = model.predict(_frame(seed=1))
    true = _frame(seed=1)["y"]
    assert found["rmse"] == pytest.approx(np.sqrt(((predicted - true) ** 2).mean()))
    assert found["mae"] == pytest.approx(np.abs(predicted - true).mean())
    with pytest.raises(ct.ArgumentError, match="predicts numbers"):
        model.probabilities(_frame())


def test_classification_keeps_labels_and_gives_probabilities():
    model = fit(_frame(600), "class", ignore=["y"])
    other = _frame(seed=1)
    predicted, chances = model.predict(other), model.probabilities(other)
    assert set(predicted) == {"below", "above"}
    assert model.evaluate(other)["accuracy"] == pytest.approx((predicted == other["class"]).mean())
    assert model.evaluate(other)["accuracy"] > 0.93
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_array_equal(predicted == "below", chances[:, 1] > 0.5)


def test_equal_seeds_give_equal_bytes_compiled_or_by_epochs(tmp_path):
    frame = _frame()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(frame, "y", settings=replace(QUICK, seed=seed)).save(tmp_path / name)
    a, b, c = ((tmp_path / n / "model.safetensors").read_bytes() for n in "abc")
    assert a == b != c


def test_a_model_comes_back_as_it_was(tmp_path):
    frame = _frame()
    for target in ("y", "class"):
        model = fit(frame, target, settings=QUICK)
        model.save(tmp_path / target)
        again = load(tmp_path / target)
        np.testing.assert_array_equal(model.predict(frame), again.predict(frame))
        assert again.facts["rows"] == 300


def test_damaged_models_are_refused_with_the_file(tmp_path):
    fit(_frame(), "y", settings=QUICK).save(tmp_path)
    table, weights = tmp_path / "table.json", tmp_path / "model.safetensors"
    whole, arrays = table.read_bytes(), weights.read_bytes()
    for content in (b"", b"[", whole[:200], b"[]", b"{}", b"[" * 100_000):
        table.write_bytes(content)
        with pytest.raises(ct.FileError, match=r"table.json"):
            load(tmp_path)
    for name, value in (("hidden", [-1]), ("hidden", [17]), ("dropout", 2), ("preparation", 1)):
        table.write_text(json.dumps(json.loads(whole) | {name: value}))
        with pytest.raises(ct.FileError, match=r"table.json"):
            load(tmp_path)
    table.write_bytes(whole)
    weights.write_bytes(arrays[:-1] + bytes([arrays[-1] ^ 1]))
    with pytest.raises(ct.FileError, match=r"model.safetensors is damaged, or not the one"):
        load(tmp_path)
    weights.unlink()
    with pytest.raises(ct.FileError, match=r"cannot read .*model.safetensors"):
        load(tmp_path)
    with pytest.raises(ct.FileError, match="there is no folder"):
        load(tmp_path / "nowhere")


def test_held_out_rows_are_a_share_of_each_class_and_measured():
    groups = np.repeat([0, 1, 2], [50, 10, 1])
    mask = held_out(groups, 61, 0.2, seed=3)
    assert [mask[groups == g].sum() for g in range(3)] == [10, 2, 0]
    assert (held_out(groups, 61, 0.2, seed=3) == mask).all()
    assert (held_out(groups, 61, 0.2, seed=4) != mask).any()
    assert held_out(None, 61, 0.2, seed=0).sum() == 12
    model = fit(_frame(), "class", settings=replace(QUICK, validation=0.2))
    assert model.facts["rows"] == 240
    assert 0 <= model.facts["validation"]["accuracy"] <= 1
    assert "validation loss" in model.history.names


def test_settings_follow_the_size_and_are_checked():
    assert Settings().settled(100).batch_size == 32
    assert Settings().settled(100).validation == 0
    large = Settings().settled(1_000_000)
    assert (large.batch_size, large.validation, large.epochs) == (512, 0.2, 40)
    assert Settings(epochs=3, validation=0.5).settled(100).epochs == 3
    for wrong in ({"epochs": 0}, {"lr": 0.0}, {"dropout": 1.0}, {"hidden": (0,)}, {"seed": -1},
                  {"validation": 1.5}, {"lr": float("nan")}, {"weight_decay": -1.0}):  # fmt: skip
        with pytest.raises(ct.ArgumentError):
            Settings(**wrong)


def test_rows_without_a_target_are_left_out_and_said():
    frame = _frame()
    holes = frame["y"].copy()
    holes[:50] = np.nan
    said: list[str] = []
    columns = [*frame.columns[:2], holes]
    model = fit(Frame(["size", "word", "y"], columns), "y", settings=QUICK, tell=said.append)
    assert "50 rows have no 'y' and are left out" in said
    assert model.facts["rows"] == 250
    notes: list[str] = []
    model.evaluate(Frame(["size", "word", "y"], columns), notes)
    assert any("50 rows have no target that is known, the first is row 1" in n for n in notes)
    empty = Frame(["size", "word", "y"], [*frame.columns[:2], np.full(300, np.nan)])
    with pytest.raises(ct.ArgumentError, match=r"no row of .* has a target"):
        model.evaluate(empty)
    with pytest.raises(ct.ArgumentError, match="has 0 rows with a target"):
        fit(empty, "y")


def test_the_vector_of_unseen_values_is_zero_and_the_network_is_what_numpy_says():
    ct.manual_seed(0)
    network = TableNetwork(1, [4], [3], 2, 0.0).eval()
    x = np.array([[0.5, 0.0], [-1.0, 3.0]], np.float32)
    vectors = network.embeddings[0].weight.numpy()
    assert not vectors[0].any() and vectors[1:].any()
    state = {name: np.asarray(value) for name, value in network.state_dict().items()}
    first, last = ([state[f"layers.{i}.{kind}"] for kind in ("weight", "bias")] for i in (0, 3))
    hidden = np.concatenate([x[:, :1], vectors[[0, 3]]], axis=1) @ first[0].T + first[1]
    expected = np.maximum(hidden, 0) @ last[0].T + last[1]
    np.testing.assert_allclose(network(x).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_run_in_a_folder_can_be_resumed_to_the_same_bytes(tmp_path):
    frame = _frame()
    fit(frame, "y", settings=QUICK, folder=tmp_path / "one")
    fit(frame, "y", settings=QUICK, folder=tmp_path / "two")
    (tmp_path / "two" / "table.json").unlink()
    fit(frame, "y", settings=QUICK, folder=tmp_path / "two", resume=True)
    one, two = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("one", "two"))
    assert one == two
    assert (load(tmp_path / "two").predict(frame) == load(tmp_path / "one").predict(frame)).all()


def test_a_stream_of_chunks_has_every_row_once_and_trains(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "t.csv"
    x = rng.permutation(100)
    lines = [f"{v},{2 * v}" if v % 10 else f"{v}," for v in x]
    path.write_text("\n".join(["x,y", *lines]) + "\n")
    source = ct.data.open_table(path)
    learnt = Preparation.learn(ct.data.read_frame(source), "y", "regression")
    stream = TableStream(source, learnt, 8, seed=3, rows=30)
    orders = []
    for epoch in (0, 0, 1):
        stream.set_epoch(epoch)
        batches = list(stream)
        assert [len(b) for _, b in batches] == [8] * 11 + [2]
        orders.append(learnt.target.decode(np.concatenate([b for _, b in batches])).round())
        assert sorted(orders[-1]) == [2 * v for v in range(100) if v % 10]
    assert (orders[0] == orders[1]).all() and (orders[0] != orders[2]).any()
    model = ct.nn.Linear(1, 1)
    history = ct.train.fit(model, stream, epochs=30, optimizer=ct.optim.Adam(0.05), progress=False)
    assert history.rows[-1]["loss"] < 1e-2
    path.write_text(path.read_text() + "1,2,3\n")
    with pytest.raises(ct.FileError, match="line 102 of"):
        ct.train.fit(model, stream, epochs=1, progress=False)
