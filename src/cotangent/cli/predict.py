"""`cotangent predict`."""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from typing import Any

from ..data import Frame, read_chunks
from ..data.preparing import ClassTarget
from ..errors import FileError
from ..runtime.files import replace_file
from ..tabular import TableModel, load
from .arguments import WrongUseError, add_command, add_reading, opened, refusing, say

EXAMPLES = """\
  cotangent predict runs/houses new.csv -o prices.csv
  cotangent predict runs/houses new.parquet | head
"""
_MOST_SHOWN_CLASSES = 100


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands, "predict",
        help="predict a column of a table by a model",
        description="Write a CSV file with a prediction for each row of a table, in its order. Of "
        "classes it\nhas the label and the probability of each. The file appears when it is "
        "complete.",
        examples=EXAMPLES,
    )  # fmt: skip
    parser.add_argument("model", help="the folder that `cotangent train` wrote")
    parser.add_argument("data", help="a CSV or Parquet file with the columns of the training table")
    parser.add_argument(
        "-o", "--out", metavar="FILE", help="where to write; standard output unless given"
    )
    add_reading(parser)
    parser.set_defaults(run_command=work)


def work(options: argparse.Namespace) -> None:
    """Do what the command says."""
    with refusing():
        model = load(options.model)
    source = opened(options.data, options)
    text, notes, rows = io.StringIO(), list[str](), 0
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_header(model))
    with refusing():
        for frame in read_chunks(source):
            writer.writerows(_rows(model, frame, notes))
            rows += len(frame)
    if not rows:
        raise WrongUseError(f"{source.path} has no rows")
    say(notes)
    if options.out is None:
        sys.stdout.write(text.getvalue())
        return
    try:
        replace_file(os.fspath(options.out), text.getvalue().encode())
    except OSError as error:
        raise FileError(f"cannot write {options.out}: {error.strerror or error}") from error
    print(f"written: {options.out}, {rows:,} rows")


def _labels(model: TableModel) -> tuple[str, ...]:
    target = model.preparation.target
    few = isinstance(target, ClassTarget) and len(target.labels) <= _MOST_SHOWN_CLASSES
    return target.labels if few and isinstance(target, ClassTarget) else ()


def _header(model: TableModel) -> list[str]:
    name = model.preparation.target.name
    return [name, *(f"probability of {label}" for label in _labels(model))]


def _rows(model: TableModel, frame: Frame, notes: list[str]) -> list[list[Any]]:
    """The rows of the output for some rows of the table."""
    if not isinstance(model.preparation.target, ClassTarget):
        return [[f"{value:.9g}"] for value in model.predict(frame, notes).tolist()]
    chances = model.probabilities(frame, notes)
    labels = model.preparation.target.decode(chances)
    if not _labels(model):
        return [[label] for label in labels]
    return [
        [label, *(f"{chance:.6f}" for chance in row)]
        for label, row in zip(labels, chances.tolist(), strict=True)
    ]
