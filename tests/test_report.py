"""The report of a run: one HTML page, looked at in a browser where there is one."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, viz
from cotangent.errors import ArgumentError, FileError
from cotangent.viz.facts import decode, encode
from cotangent.viz.plots import Plot

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype("float32")
CLASSES = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int) + (X[:, 3] > 1)
NUMBERS = (X[:, :1] - 2 * X[:, 1:2]).astype("float32")
VOID = {"meta", "rect", "path", "circle", "br"}


class Page(HTMLParser):
    """Titles of sections and cells of a page; every element must be closed."""

    def __init__(self, path):
        super().__init__()
        self.open: list[str] = []
        self.titles: list[str] = []
        self.cells: list[str] = []
        self.addresses: list[str] = []
        self.text = Path(path).read_text("utf-8")
        self.feed(self.text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "data", "action")]

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h2", "summary"):
            self.titles.append(data)
        if self.open and self.open[-1] in ("td", "th", "b"):
            self.cells.append(data)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of a classification and of a regression."""
    found = {}
    for name, targets, outputs in (("classes", CLASSES, 3), ("numbers", NUMBERS, 1)):
        ct.manual_seed(0)
        folder = tmp_path_factory.mktemp(name) / "run"
        model = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, outputs))
        ct.train.fit(
            model, (X[:160], targets[:160]), validation=(X[160:], targets[160:]), epochs=4,
            folder=folder, progress=False, callbacks=[viz.Report(X[160:], targets[160:])],
        )  # fmt: skip
        found[name] = (folder, model)
    return found


BOTH = [
    "Curves", "Epochs", "Layers", "Computation graph", "Data flows forward, gradients flow back",
    "Units: activity, and which are dead", "Weights, gradients and activations over time",
    "Where the time went", "What was run",
]  # fmt: skip


@pytest.mark.parametrize(
    "name, more", [("classes", "Confusion matrix"), ("numbers", "Predictions and residuals")]
)
def test_a_run_writes_its_report(runs, name, more):
    folder, model = runs[name]
    page = Page(folder / "report.html")
    assert sorted(page.titles) == sorted([*BOTH, more])
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    for key in ("loss", "validation loss"):
        assert f"{rows[-1][key]:.4g}" in page.cells
    assert "4 epochs" in page.text and f"Cotangent {ct.__version__}" in page.text
    assert "batch_size" in page.cells and "32" in page.cells
    for path, parameter in model.named_parameters():
        assert path in page.text and str(list(parameter.shape)) in page.text


@pytest.mark.parametrize("name", ["classes", "numbers"])
def test_the_report_needs_no_network_and_no_scripts(runs, name):
    page = Page(runs[name][0] / "report.html")
    assert all(address.startswith("#") for address in page.addresses)
    assert "<script" not in page.text and "@import" not in page.text and "url(" not in page.text
    assert set(re.findall(r"https?://[^\s\"'<]*", page.text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\son\w+=", page.text)
    assert "default-src 'none'" in page.text
    assert "prefers-color-scheme: dark" in page.text and "width=device-width" in page.text
    assert len(page.text) < 1_000_000


def test_a_folder_can_be_drawn_again(runs, tmp_path):
    folder = shutil.copytree(runs["classes"][0], tmp_path / "copy")
    before = (folder / "report.html").read_text("utf-8")
    (folder / "report.html").unlink()
    assert viz.report(folder) == folder / "report.html"
    assert (folder / "report.html").read_text("utf-8") == before
    other = viz.report(str(folder), path=tmp_path / "other.html", title="A <title>")
    assert "<h1>A &lt;title&gt;</h1>" in other.read_text("utf-8")


def test_the_confusion_matrix_of_the_report_is_that_of_the_model(runs):
    folder, model = runs["classes"]
    wanted = viz.confusion(CLASSES[160:], model(X[160:]))
    assert (
        viz.Report(X[160:], CLASSES[160:]).take(model)[0].counts.tolist() == wanted.counts.tolist()
    )
    assert f"accuracy {wanted.accuracy:.1%} of 40 rows" in Page(folder / "report.html").text


def test_a_run_without_pictures_and_a_history_have_reports_too(tmp_path):
    model = nn.Linear(4, 1)
    history = ct.train.fit(model, (X, NUMBERS), epochs=2, progress=False)
    with pytest.raises(ArgumentError, match="say where to write: path="):
        viz.report(history)
    picture = viz.residuals(NUMBERS, model(X))
    path = viz.report(history, path=tmp_path / "r.html", pictures=[picture, model.summary(X)])
    titles = Page(path).titles
    assert {"Curves", "Predictions and residuals", "Layers", "Where the time went"} <= set(titles)
    folder = tmp_path / "run"
    ct.train.fit(model, (X, NUMBERS), epochs=2, progress=False, folder=folder)
    assert "Curves" in Page(viz.report(folder)).titles


def test_a_history_shows_its_curves_in_a_notebook():
    history = ct.train.fit(nn.Linear(4, 1), (X, NUMBERS), epochs=2, progress=False)
    shown = history._repr_html_()
    assert shown.startswith("<svg") and "2 epochs, done" in shown and "</table>" in shown
    assert ct.train.History()._repr_html_().startswith("<table")


def test_a_run_whose_report_cannot_be_written_keeps_its_history(tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "pictures.json").write_text("{")
    history = ct.train.fit(nn.Linear(4, 1), (X, NUMBERS), epochs=2, folder=folder, progress=True)
    assert len(history) == 2 and (folder / "model.safetensors").exists()
    assert "pictures.json cannot be read" in capsys.readouterr().out


def test_pictures_of_matplotlib_stand_in_a_report(tmp_path):
    pytest.importorskip("matplotlib")

    class Dot(Plot):
        title, size = "A dot", (2.0, 2.0)

        def draw(self, figure):
            figure.add_subplot(111).plot([1], [2], "o")

    history = ct.train.fit(nn.Linear(4, 1), (X, NUMBERS), epochs=1, progress=False)
    text = viz.report(history, path=tmp_path / "r.html", pictures=[Dot()]).read_text("utf-8")
    assert 'class="ct-plot"' in text and "<?xml" not in text and "A dot" in text


def test_what_cannot_be_drawn_is_said(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            self.l1 = nn.Linear(4, 1)

        def forward(self, x):
            return self.l1(x)

    folder = tmp_path / "run"
    ct.train.fit(
        Two(), (X, NUMBERS), epochs=1, progress=False, folder=folder,
        callbacks=[viz.Report(X[:1], NUMBERS[:1])],
    )  # fmt: skip
    page = Page(folder / "report.html")
    assert "Not drawn" in page.titles
    assert "dead units: dead_units: takes two rows or more" in page.text


def test_reports_say_what_is_wrong(tmp_path):
    with pytest.raises(FileError, match=r"not a run's folder; it has no run\.json"):
        viz.report(tmp_path)
    with pytest.raises(ArgumentError, match="3 rows and 2 targets"):
        viz.Report(np.ones((3, 1)), [0, 1])


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("run.json", "{", "cannot be read"),
        ("run.json", "[1]", "not what a run writes"),
        ("run.json", "\x00\xff", "cannot be read"),
        ("history.jsonl", "{}\nnonsense\n{}\n", "line 2 is damaged"),
        ("history.jsonl", "3\n{}\n", "line 1 is damaged"),
        ("pictures.json", "[]", "not what a run writes"),
        ("pictures.json", '{"pictures": [{"class": "Path", "fields": {}}]}', "are damaged"),
        (
            "pictures.json",
            '{"pictures": [{"class": "Confusion", "fields": {"a": 1}}]}',
            "are damaged",
        ),
        ("pictures.json", '{"pictures": [{"array": ["x"], "dtype": "object"}]}', "are damaged"),
        ("pictures.json", '{"pictures": [3]}', "cannot be drawn"),
        ("pictures.json", "[" * 100_000, "cannot be read"),
    ],
)
def test_damaged_files_are_refused(runs, tmp_path, file, content, message):
    folder = shutil.copytree(runs["classes"][0], tmp_path / "copy")
    (folder / file).write_bytes(content.encode("latin-1"))
    with pytest.raises(FileError, match=message):
        viz.report(folder)


def test_every_cut_of_a_folders_files_is_drawn_or_refused(runs, tmp_path):
    folder = shutil.copytree(runs["numbers"][0], tmp_path / "copy")
    for name in ("history.jsonl", "pictures.json", "run.json"):
        whole = (folder / name).read_bytes()
        for cut in np.linspace(0, len(whole) - 1, 12).astype(int):
            (folder / name).write_bytes(whole[:cut])
            with contextlib.suppress(FileError):
                Page(viz.report(folder))
        (folder / name).write_bytes(whole)


def test_what_a_folder_says_is_text_and_not_html(runs, tmp_path):
    folder = shutil.copytree(runs["classes"][0], tmp_path / "copy")
    evil = "<script>alert(1)</script>"
    pictures = json.loads((folder / "pictures.json").read_text())
    text = json.dumps(pictures).replace('"matmul"', json.dumps(evil))
    (folder / "pictures.json").write_text(text)
    (folder / "run.json").write_text(json.dumps({"settings": {evil: evil, "loss": evil}}))
    (folder / "history.jsonl").write_text(json.dumps({"epoch": 1, evil: 1.0, "loss": 2.0}) + "\n")
    assert "<script" not in Page(viz.report(folder)).text


def test_pictures_survive_json():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    record = viz.Histograms(X)
    record.record(model)
    for picture in (
        viz.confusion([0, 1], [1, 1]), viz.residuals([1.0, np.inf], [2.0, 1.0]), viz.flow(model, X),
        viz.dead_units(model, X), viz.graph(model, X), model.summary(X), record.picture(),
    ):  # fmt: skip
        again = decode(json.loads(json.dumps(encode(picture), allow_nan=False)))
        assert type(again) is type(picture)
        assert encode(again) == encode(picture)


# -- in a browser -----------------------------------------------------------------------------

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
]  # fmt: skip


@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_in_a_browser(runs, tmp_path, width, dark):
    image = pytest.importorskip("matplotlib.image")
    shot = tmp_path / "shot.png"
    more = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [
            BROWSER, *QUIET, *more, f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={shot}", f"--window-size={width},1600",
            f"file://{runs['classes'][0] / 'report.html'}",
        ],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    if not shot.exists():
        pytest.skip(f"Chromium takes no screenshots here: {done.stderr.decode()[-200:]}")
    pixels = image.imread(shot)[..., :3]
    assert pixels.shape[1] == width
    paper = np.median(pixels.reshape(-1, 3), axis=0).mean()
    assert paper < 0.2 if dark else paper > 0.8
    away = np.abs(pixels.mean(axis=2) - paper)
    assert (away > 0.4).mean() > 0.005  # ink with contrast
    # Nothing runs over the right edge: the last pixels are those of the page's margin.
    assert away[:, -4:].max() < 0.3
