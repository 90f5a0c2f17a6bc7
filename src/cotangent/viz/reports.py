"""The report of a run: one HTML file with all that applies."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from ..errors import ArgumentError, Error, FileError
from ..nn.summary import Summary
from ..runtime.files import replace_file
from ..train.history import History
from .drawing import Drawing, Picture, element, text
from .facts import decode
from .graphs import ComputationGraph
from .page import Section, page, settings_table
from .training import columns_of, curves

PICTURES = "pictures.json"
REPORT = "report.html"
_MOST_ROWS = 12  # of the table of epochs
_MOST_NODES = 70  # of a graph that is drawn op by op
_DRAWN = ("loss", "validation loss")  # without one of these there are no curves
_MANY = 9  # drawings that are folded away

# What each picture tells.
_NOTES = {
    "Confusion": "Rows are the true classes. What is off the diagonal is taken for another class.",
    "Residuals": "Good predictions lie on the diagonal; residuals without a pattern are noise.",
    "HistogramsOverTime": "The first epoch on top. Gradients by the logarithm of their size.",
    "DeadUnits": "A dead unit has the same output for every row, or gets no gradient from any.",
    "Flow": "How outputs spread by layer, and how strong the gradients are that come back.",
    "ComputationGraph": "What is computed, from the top down, grouped by layer.",
}


def report(
    run: str | os.PathLike[str] | History, *, pictures: Sequence[Any] = (),
    path: str | os.PathLike[str] | None = None, title: str = "",
) -> Path:  # fmt: skip
    """Write a run down as one HTML page that needs no network and no scripts.

    It holds what was run, the curves, the metrics, where the time went, and further pictures:
    confusion matrix or residuals, histograms, dead units, the graph and the layers of the model,
    as far as the run wrote them (see `Report`) or they are given.

    Args:
        run: a run's folder, with ``run.json`` and ``history.jsonl``; or a `History`.
        pictures: pictures or model summaries to add.
        path: the file; ``report.html`` in the run's folder by default.
        title: of the page.

    Returns:
        The path of the file.

    Raises:
        FileError: if the folder holds no run, or its files are damaged, or the file cannot be
            written.
        ArgumentError: for a history without a folder, and no `path`.
    """
    facts: dict[str, Any]
    if isinstance(run, History):
        folder = run.folder
        facts = _settings(folder) if folder is not None else {}
        facts |= {"stopped": run.stopped, "seconds": run.seconds}
        rows = run.rows
    else:
        folder = Path(run)
        facts, rows = _settings(folder), _rows(folder)
        if not facts and not rows:
            raise FileError(f"report: {folder} is not a run's folder; it has no run.json")
    if folder is None and path is None:
        raise ArgumentError("report: this history has no folder; say where to write: path=")
    kept, stored = _stored(folder) if folder is not None else ([], {})
    # The seconds that `Report` wrote are without its own.
    facts = {name: value for name, value in facts.items() if value} | stored
    target = Path(path) if path is not None else Path(folder or ".") / REPORT
    try:
        content = compose(title, facts, rows, [*kept, *pictures])
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
        if isinstance(error, Error) and not kept:
            raise
        raise FileError(f"report: what {folder} holds cannot be drawn: {error}") from error
    try:
        replace_file(os.fspath(target), content.encode())
    except OSError as error:
        raise FileError(f"report: cannot write {target}: {error.strerror or error}") from error
    return target


def compose(
    title: str, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]],
    pictures: Sequence[Any],
) -> str:  # fmt: skip
    """The text of a report.

    Args:
        title: of the page; the loss or task if "".
        facts: ``settings``, ``versions``, ``stopped``, ``seconds`` by what they went into, and
            ``not drawn``, sentences.
        rows: the history.
        pictures: pictures and summaries.
    """
    settings = facts.get("settings", {})
    heading = title or str(settings.get("task") or settings.get("loss") or "A training run")
    sections = []
    if any(_is_number(value) for row in rows for name, value in row.items() if name in _DRAWN):
        sections.append(Section("Curves", curves(rows).html()))
    if rows:
        sections.append(Section("Epochs", _epochs(rows), wide=True))
    sections += [_section(picture) for picture in pictures]
    if facts.get("seconds"):
        sections.append(Section("Where the time went", _shares(facts["seconds"])))
    apart = ("settings", "seconds", "not drawn", "stopped")
    what = {**settings, **{name: value for name, value in facts.items() if name not in apart}}
    if what:
        sections.append(Section("What was run", settings_table(what)))
    if facts.get("not drawn"):
        sentences = [f"{name}: {why}" for name, why in dict(facts["not drawn"]).items()]
        sections.append(Section("Not drawn", settings_table({"": sentences})))
    return page(heading, _lead(facts, rows), _cards(rows), sections)


def _section(picture: Any) -> Section:
    name = type(picture).__name__
    if isinstance(picture, Summary):
        return Section("Layers", picture._repr_html_(), _SUMMARY_NOTE, wide=True)
    if isinstance(picture, ComputationGraph):
        shown = picture if len(picture.nodes) <= _MOST_NODES else picture.by_layer()
        return Section("Computation graph", shown.html(), _NOTES[name], wide=True)
    if not isinstance(picture, Picture):
        raise ArgumentError(f"report: takes pictures and summaries, not {name}")
    drawn = picture.html()
    return Section(picture.title, drawn, _NOTES.get(name, ""), closed=drawn.count("<svg") > _MANY)


_SUMMARY_NOTE = (
    "KB: parameters, inputs and outputs. µs: each layer compiled and timed on its own; together "
    "they take less."
)


def _lead(facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    words = [f"{len(rows)} epochs" if len(rows) != 1 else "1 epoch"]
    seconds = sum(_finite(row.get("seconds")) for row in rows)
    if seconds:
        words.append(f"{seconds:.3g} seconds")
    if facts.get("stopped"):
        words.append(f"ended: {facts['stopped']}")
    versions = facts.get("versions", {})
    if versions.get("cotangent"):
        words.append(f"Cotangent {versions['cotangent']}")
    return ", ".join(words)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _finite(value: Any) -> float:
    return float(value) if _is_number(value) else 0.0


def _cards(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The numbers of the last epoch, and the best validation loss."""
    if not rows:
        return []
    skipped = ("epoch", "step", "seconds", "lr", "gradient norm")
    cards = [
        (f"{name}, last epoch", _short(value))
        for name, value in rows[-1].items()
        if name not in skipped and isinstance(value, (int, float))
    ]
    judged = [row for row in rows if isinstance(row.get("validation loss"), (int, float))]
    if judged:
        best = min(judged, key=lambda row: float(row["validation loss"]))
        label = f"best validation loss, epoch {best.get('epoch', '?')}"
        cards.append((label, _short(best["validation loss"])))
    return cards


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _epochs(rows: Sequence[Mapping[str, Any]]) -> str:
    """The numbers of the first, the last, and some epochs between."""
    step = max(1, -(-(len(rows) - 1) // (_MOST_ROWS - 1)))
    chosen = [*rows[: len(rows) - 1 : step], rows[-1]]
    names = list(columns_of(list(rows)))
    cells = [tuple(_short(row.get(name, "")) for name in names) for row in chosen]
    return _table(names, cells)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from_ = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{from_}</tr>{body}</table>"


def _shares(seconds: Mapping[str, Any]) -> str:
    """A bar whose parts are shares of the time."""
    known = {str(name): _finite(value) for name, value in seconds.items()}
    total = sum(known.values()) or 1.0
    left, parts = 16.0, []
    for i, (name, value) in enumerate(known.items()):
        width = 328 * value / total
        parts.append(
            f'<rect class="f{i % 6}" x="{left:.1f}" y="10" width="{width:.1f}" height="22"/>'
        )
        y = 56 + 20 * i
        parts.append(f'<rect class="f{i % 6}" x="16" y="{y - 10}" width="12" height="12"/>')
        parts.append(text(36, y, f"{name}: {value:.3g} s, {value / total:.1%}"))
        left += width
    return element(Drawing(360, 56 + 20.0 * len(known), tuple(parts), "shares of the time"))


# -- a run's folder ---------------------------------------------------------------------------


def _settings(folder: Path) -> dict[str, Any]:
    found = _json(folder / "run.json")
    if found is not None and not isinstance(found, dict):
        raise FileError(f"report: {folder / 'run.json'} is not what a run writes")
    return dict(found or {})


def _json(path: Path) -> Any:
    """What a file of JSON holds; None if there is none."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"report: {path} cannot be read: {error}") from error


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``history.jsonl``; a last line that was not finished is left out."""
    path = folder / "history.jsonl"
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise FileError(f"report: {path} cannot be read: {error}") from error
    rows = []
    for i, line in enumerate(lines):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("it is not a row of numbers by name")
        except (ValueError, RecursionError) as error:
            if i == len(lines) - 1:
                break
            raise FileError(f"report: {path}, line {i + 1} is damaged: {error}") from error
        rows.append(row)
    return rows


def _stored(folder: Path) -> tuple[list[Any], dict[str, Any]]:
    """The pictures that `Report` wrote, and its facts."""
    found = _json(folder / PICTURES)
    if found is None:
        return [], {}
    if not isinstance(found, dict) or not isinstance(found.get("pictures"), list):
        raise FileError(f"report: {folder / PICTURES} is not what a run writes")
    facts = found.get("facts", {})
    return [decode(part) for part in found["pictures"]], facts if isinstance(facts, dict) else {}
