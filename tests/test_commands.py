"""The commands on tables: what they print, write and return; and files that no one would write."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import cotangent as ct
from cotangent.cli import main

SMALL = ("--hidden", "8", "--epochs", "2", "--batch-size", "64")


def _houses(path: Path, rows: int = 120, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "city", "built", "note", "price", "dear"])
        for i in range(rows):
            size, city = rng.normal(100, 20), rng.integers(3)
            price = 3 * size + 50 * city
            writer.writerow([
                f"{size:.3f}" if i % 10 else "", ["Bern", "Chur", "Genf"][city],
                f"{1950 + i % 70}-0{1 + i % 9}-11", f"house {i}", f"{price:.2f}",
                "yes" if price > 350 else "no",
            ])  # fmt: skip
    return path


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def _train(tmp_path: Path, *words: str, target: str = "price") -> int:
    data, out = tmp_path / "houses.csv", tmp_path / "run"
    other = {"price": "dear", "dear": "price"}[target]
    words = ("--target", target, "--ignore", other, "--out", str(out), *SMALL, *words)
    return main(["train", str(data), *words])


@pytest.fixture
def houses(tmp_path):
    return _houses(tmp_path / "houses.csv")


def test_train_predict_and_evaluate(tmp_path, houses, capsys):
    assert _train(tmp_path) == 0
    said = capsys.readouterr()
    assert "120 rows, 6 columns" in said.out
    assert "note" in said.out and "left out: nearly every row has a text of its own" in said.out
    assert "so this is regression" in said.err
    other, out = _houses(tmp_path / "new.csv", 50, seed=1), tmp_path / "prices.csv"
    assert main(["predict", str(tmp_path / "run"), str(other), "-o", str(out)]) == 0
    rows = _rows(out)
    model = ct.tabular.load(tmp_path / "run")
    frame = ct.data.read_frame(ct.data.open_table(other))
    np.testing.assert_allclose(
        [float(row["price"]) for row in rows], model.predict(frame), rtol=1e-8
    )
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), str(other), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"rows": 50, **model.evaluate(frame)}


def test_classes_are_predicted_with_probabilities(tmp_path, houses, capsys):
    assert _train(tmp_path, "--validation", "0.25", target="dear") == 0
    assert "on rows that were held out:" in capsys.readouterr().out
    assert main(["predict", str(tmp_path / "run"), str(houses)]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert list(rows[0]) == ["dear", "probability of no", "probability of yes"]
    for row in rows:
        chance = float(row[f"probability of {row['dear']}"])
        assert chance >= 0.5


def test_parquet_is_read_like_text(tmp_path, houses, capsys):
    polars = pytest.importorskip("polars")
    polars.read_csv(houses).write_parquet(tmp_path / "houses.parquet")
    assert _train(tmp_path) == 0
    run, printed = str(tmp_path / "run"), []
    for name in ("houses.csv", "houses.parquet"):
        capsys.readouterr()
        assert main(["predict", run, str(tmp_path / name)]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    words = ["train", str(tmp_path / "houses.parquet"), "--target", "price", *SMALL]
    assert main([*words, "--out", str(tmp_path / "other")]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "{houses}"], "say which column to predict, by --target; there are size, city"),
        (["train"], "name either a file or a --dataset"),
        (["train", "{houses}", "--dataset", "digits"], "name either a file or a --dataset"),
        (["train", "{houses}", "--target", "prize"], 'no column \'prize\'; did you mean "price"?'),
        (["train", "{houses}", "--target", "price", "--ignore", "x"], "no column 'x'"),
        (["train", "{houses}", "--target", "price", "--weight-decay", "-1"], "weight_decay must"),
        (["train", "{none}", "--target", "price"], "cannot read"),
        (["train", "{empty}", "--target", "price"], "is empty"),
        (["train", "{header}", "--target", "a"], "has no rows"),
        (["train", "{constant}", "--target", "a"], "the target 'a' is constant ('1')"),
        (["train", "{ragged}", "--target", "a"], "line 3 of"),
        (["train", "{houses}", "--target", "city", "--task", "regression"], "no numbers, such as"),
        (["train", "{houses}", "--target", "price", "--delimiter", "::"], "must be one character"),
        (["train", "{houses}", "--target", "price", "--encoding", "x"], "no text encoding 'x'"),
        (["train", "--dataset", "digits", "--validation", "0.1"], "--validation goes with tables"),
        (["train", "--dataset", "digits", "--target", "x"], "--target and --ignore go with a file"),
        (["predict", "{none}", "{houses}"], "A model is a folder that"),
        (["evaluate", "{none}", "{houses}"], "A model is a folder that"),
    ],
)  # fmt: skip
def test_wrong_use_ends_with_2_and_a_sentence(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    files = {
        "none": tmp_path / "none.csv", "empty": tmp_path / "empty.csv",
        "header": tmp_path / "header.csv", "constant": tmp_path / "constant.csv",
        "ragged": tmp_path / "ragged.csv", "houses": _houses(tmp_path / "houses.csv"),
    }  # fmt: skip
    files["empty"].write_text("")
    files["header"].write_text("a,b\n")
    files["constant"].write_text("a,b\n" + "1,2\n1,3\n" * 20)
    files["ragged"].write_text("a,b\n1,2\n1,2,3\n")
    assert main([word.format(**files) for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_columns_of_another_table_are_named(tmp_path, houses, capsys):
    assert _train(tmp_path) == 0
    (tmp_path / "other.csv").write_text("Size,city,built\n1,Bern,2000-01-01\n")
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "other.csv")]) == 2
    assert 'no column size, which the model needs; did you mean "Size"?' in capsys.readouterr().err


def test_unseen_categories_and_missing_values_are_handled_and_said(tmp_path, houses, capsys):
    assert _train(tmp_path) == 0
    (tmp_path / "new.csv").write_text("size,city,built,note\n,Basel,soon,x\n90,Bern,2000-01-11,y\n")
    out = tmp_path / "out.csv"
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "new.csv"), "-o", str(out)]) == 0
    error = capsys.readouterr().err
    assert "'city': 1 values, such as 'Basel', are rare or not" in error
    assert "'built': 1 values, such as 'soon', are no date" in error
    assert all(np.isfinite(float(row["price"])) for row in _rows(out))


def test_a_run_is_not_overwritten_and_can_be_resumed(tmp_path, houses, capsys):
    assert _train(tmp_path) == 0
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert _train(tmp_path) == 2
    assert "holds a run already: go on with it by --resume" in capsys.readouterr().err
    assert _train(tmp_path, "--resume") == 0
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_an_output_is_replaced_only_when_the_new_one_is_complete(tmp_path, houses, capsys):
    assert _train(tmp_path) == 0
    out = tmp_path / "out.csv"
    out.write_text("precious")
    bad = tmp_path / "bad.csv"
    bad.write_text(houses.read_text() + "1,2\n")  # the last row is ragged
    assert main(["predict", str(tmp_path / "run"), str(bad), "-o", str(out)]) == 2
    assert out.read_text() == "precious"
    assert main(["predict", str(tmp_path / "run"), str(houses), "-o", str(tmp_path)]) == 1
    assert main(["predict", str(tmp_path / "run"), str(houses), "-o", str(houses)]) == 0
    assert len(_rows(houses)) == 120
    assert not list(tmp_path.glob(".*"))  # no temporary file stays behind


def test_a_closed_pipe_and_an_interrupted_run_end_quietly(tmp_path, houses, monkeypatch, capsys):
    assert _train(tmp_path) == 0
    words = [sys.executable, "-m", "cotangent", "predict", str(tmp_path / "run"), str(houses)]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 1 and "Traceback" not in done.stderr

    class Interrupted:
        stopped = "interrupted"

    model = ct.tabular.load(tmp_path / "run")
    model.history = Interrupted()
    monkeypatch.setattr("cotangent.cli.train.fit", lambda *a, **k: model)
    assert _train(tmp_path, "--resume") == 130
    assert "the same command with --resume goes on" in capsys.readouterr().err


def test_a_run_is_written_down_as_a_page(tmp_path, houses, capsys):
    assert _train(tmp_path) == 0
    assert main(["report", str(tmp_path / "run")]) == 0
    assert "<html" in (tmp_path / "run" / "report.html").read_text("utf-8").lower()
    assert main(["report", str(tmp_path)]) == 2
    assert "is not a run's folder" in capsys.readouterr().err


def test_doctor_tells_of_the_machine(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in ("Python", "cores", "GFLOP/s", "GB/s from memory", "cache", "numpy", "polars"):
        assert word in text


def test_digits_by_one_command(tmp_path, capsys):
    words = ["train", "--dataset", "digits", "--out", str(tmp_path / "run"), "--hidden", "32"]
    assert main([*words, "--epochs", "20"]) == 0
    text = capsys.readouterr().out
    assert float(text.partition("test accuracy: ")[2].partition("%")[0]) > 88
    assert "time per epoch: " in text
    assert (tmp_path / "run" / "model.safetensors").is_file()


@pytest.mark.parametrize("command", ["train", "predict", "evaluate", "report", "doctor"])
def test_help_has_examples_and_exit_codes(capsys, command):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert f"examples:\n  cotangent {command}" in text
    assert "2 wrong arguments or data" in text


# -- malformed files --------------------------------------------------------------------------

NUMBERS = st.sampled_from(["1", "2.5", "-3e400", "nan", "inf", "", "NA", "1e308", "0", "007"])
WORDS = st.sampled_from(["x", "yes", "no", "2020-01-01", "31/12/99", "é", '"', '""', "a,b", "'"])
FIELDS = st.one_of(NUMBERS, WORDS, st.text(max_size=4))
ROWS = st.lists(st.lists(FIELDS, min_size=1, max_size=4), max_size=12)
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n"])


@st.composite
def _malformed(draw) -> bytes:
    """Rows that may be ragged, with any delimiter and line end, then some bytes changed."""
    mark, end = draw(st.sampled_from(",;\t|")), draw(ENDS)
    text = end.join(
        mark.join(row) for row in [draw(st.sampled_from([["t", "a"], []])), *draw(ROWS)]
    )
    content = bytearray(
        text.encode(draw(st.sampled_from(["utf-8", "utf-16", "cp1252"])), "replace")
    )
    for _ in range(draw(st.integers(0, 3))):
        if content:
            content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


PATIENT = settings(
    max_examples=150, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@PATIENT
@given(_malformed())
@example(b"t,a\n" + b"1,x\n0,y\n" * 6)
@example(b'"' * 50)
@example(b"\0" * 50)
def test_no_file_leads_to_a_traceback_in_training(tmp_path_factory, capsys, content):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "t.csv").write_bytes(content)
    words = ["train", str(folder / "t.csv"), "--target", "t", "--out", str(folder / "run")]
    code = main([*words, "--hidden", "2", "--epochs", "1", "--eager"])
    error = capsys.readouterr().err
    assert code in (0, 2), error
    assert code == 0 or error.splitlines()[-1].strip()
    assert (folder / "run" / "table.json").exists() == (code == 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    _houses(folder / "houses.csv")
    assert _train(folder) == 0
    return folder


@PATIENT
@given(_malformed(), st.booleans())
def test_no_file_leads_to_a_traceback_or_a_loss_in_prediction(trained, capsys, content, named):
    out, data = trained / "out.csv", trained / "new.csv"
    out.write_text("precious")
    data.write_bytes(b"size,city,built\n" + content if named else content)
    code = main(["predict", str(trained / "run"), str(data), "-o", str(out)])
    assert code in (0, 2), capsys.readouterr().err
    if code == 0:
        rows = _rows(out)
        assert rows and all(np.isfinite(float(row["price"])) for row in rows)
    else:
        assert out.read_text() == "precious"
