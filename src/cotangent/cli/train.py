"""`cotangent train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..console import Console
from ..data import read_frame
from ..data.preparing.targets import TASKS
from ..errors import ArgumentError, UnknownKeyError
from ..tabular import Settings, TableModel, fit
from ..train import checkpoint
from . import images
from .arguments import (
    WrongUseError,
    add_command,
    add_reading,
    fraction,
    natural,
    opened,
    positive,
    prepare_folder,
    rate,
    refusing,
    say,
    sizes,
    stop_if_interrupted,
)
from .evaluate import shown

EXAMPLES = """\
  cotangent train houses.csv --target price             write runs/houses/
  cotangent train houses.parquet --target price --hidden 256,256 --epochs 50 --out run
  cotangent train houses.csv --target price --resume    go on after an interruption
  cotangent train --dataset mnist                       also fashion_mnist and digits
"""
_MOST_COLUMNS = 40


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands, "train",
        help="train a network on a table, or on a data set of images",
        description="Train a network to predict one column of a table from the others. What the "
        "columns are\nis found from their values: numbers are standardised, categories get a "
        "column each or a\nvector, dates are taken apart, missing values are filled in and marked. "
        "All of that is\nkept with the model.",
        examples=EXAMPLES,
    )  # fmt: skip
    parser.add_argument("data", nargs="?", help="a CSV or Parquet file")
    parser.add_argument("--dataset", choices=sorted(images.SETS), help="instead of a file")
    parser.add_argument("--target", metavar="COLUMN", help="the column to predict")
    parser.add_argument(
        "--task", choices=TASKS, default="auto", help="default auto: found from the target"
    )
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="COLUMN",
        help="a column to leave out; repeatable",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="default runs/ and the data's name")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    _add_settings(parser.add_argument_group("how to train (chosen from the data unless given)"))
    add_reading(parser)
    parser.set_defaults(run_command=work)


def _add_settings(group: Any) -> None:
    group.add_argument("--hidden", type=sizes, metavar="N,N", help="units of the hidden layers")
    group.add_argument("--dropout", type=fraction, metavar="P", help="in the hidden layers")
    group.add_argument("--epochs", type=positive, metavar="N", help="passes over the rows")
    group.add_argument("--batch-size", type=positive, metavar="N", help="rows in a step")
    group.add_argument("--lr", type=rate, metavar="RATE", help="first learning rate")
    group.add_argument("--weight-decay", type=float, metavar="X", help="of AdamW")
    group.add_argument(
        "--validation", type=fraction, metavar="SHARE",
        help="share of the rows held out, for early stopping and to measure; by default 0.2 of "
        "2,000 rows or more, else none",
    )  # fmt: skip
    group.add_argument("--patience", type=positive, metavar="N", help="epochs without a better one")
    group.add_argument("--seed", type=natural, metavar="N", help="default 0")
    group.add_argument("--eager", action="store_true", help="train without the compiler")


NAMES = (
    "hidden", "dropout", "epochs", "batch_size", "lr", "weight_decay", "validation", "patience",
    "seed",
)  # fmt: skip


def work(options: argparse.Namespace) -> None:
    """Do what the command says."""
    if (options.data is None) == (options.dataset is None):
        raise WrongUseError("train: name either a file or a --dataset")
    given = {name: getattr(options, name) for name in NAMES if getattr(options, name) is not None}
    if options.dataset is not None:
        if options.target or options.ignore:
            raise WrongUseError("train: --target and --ignore go with a file, not with --dataset")
        folder = _folder(options, options.dataset)
        images.train(options.dataset, given, folder, options.resume, not options.eager)
        return
    if options.target is None:
        names = ", ".join(opened(options.data, options).names[:20])
        raise WrongUseError(f"train: say which column to predict, by --target; there are {names}")
    with refusing():
        settings = Settings(**given)
        source = opened(options.data, options)
        frame = read_frame(source)
        frame[options.target]
    model = _fitted(frame, settings, options)
    stop_if_interrupted(model.history)
    _report(model, options)


def _fitted(frame: Any, settings: Settings, options: argparse.Namespace) -> TableModel:
    """The trained model. Data that cannot be learnt from are the user's."""
    folder = _folder(options, Path(options.data).stem)
    notes: list[str] = []
    console = Console()
    console.line(f"{frame.path}: {len(frame):,} rows, {len(frame.names)} columns", style="bold")

    def tell(note: str) -> None:
        notes.append(note)
        say([note])

    try:
        return fit(
            frame, options.target, task=options.task, ignore=options.ignore, settings=settings,
            compile=not options.eager, progress=None, folder=folder, resume=options.resume,
            tell=tell,
        )  # fmt: skip
    except (ArgumentError, UnknownKeyError) as error:
        raise WrongUseError(str(error)) from error


def _folder(options: argparse.Namespace, name: str) -> Path:
    """The folder of the run, which can be written to and holds no other run."""
    folder: Path = options.out or Path("runs") / (name or "table")
    wrong = prepare_folder(folder)
    if wrong:
        raise WrongUseError(wrong)
    if checkpoint.exists(folder) and not options.resume:
        raise WrongUseError(
            f"{folder} holds a run already: go on with it by --resume, or name another folder by "
            "--out"
        )
    options.out = folder
    return folder


def _report(model: TableModel, options: argparse.Namespace) -> None:
    """What was made of the columns, how good the model is, and where it lies."""
    console, preparation = Console(), model.preparation
    console.line()
    rows = [(column.name, str(column)) for column in preparation.inputs]
    rows += [(name, f"left out: {why}") for name, why in preparation.dropped.items()]
    console.table(("column", "what it is"), rows[:_MOST_COLUMNS])
    if len(rows) > _MOST_COLUMNS:
        console.line(f"and {len(rows) - _MOST_COLUMNS} columns more")
    console.line(f"target {preparation.target.name}: {preparation.target}")
    console.line()
    found = model.facts.get("validation")
    if found:
        console.line("on rows that were held out:", style="bold")
        console.table(("metric", "value"), shown(found))
    else:
        console.line(
            f"trained on all {model.facts['rows']:,} rows; measure by `cotangent evaluate` on "
            "others, or hold some out by --validation 0.2"
        )
    console.line(f"written: {options.out}")
