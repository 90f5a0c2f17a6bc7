"""`cotangent evaluate`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..console import Console
from ..data import read_frame
from ..tabular import load
from .arguments import add_command, add_reading, opened, refusing, say

EXAMPLES = """\
  cotangent evaluate runs/houses test.csv
  cotangent evaluate runs/houses test.csv --json
"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands, "evaluate",
        help="measure a model on a table that has the target",
        description="Compare the predictions of a model with the target column of a table: "
        "accuracy, F1 and\nlog loss of classes; R², mean absolute and root mean squared error of "
        "numbers.",
        examples=EXAMPLES,
    )  # fmt: skip
    parser.add_argument("model", help="the folder that `cotangent train` wrote")
    parser.add_argument("data", help="a CSV or Parquet file with all columns, the target too")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_reading(parser)
    parser.set_defaults(run_command=work)


def work(options: argparse.Namespace) -> None:
    """Do what the command says."""
    notes: list[str] = []
    with refusing():
        model = load(options.model)
        frame = read_frame(opened(options.data, options))
        found = model.evaluate(frame, notes)
    say(notes)
    if options.json:
        print(json.dumps({"rows": len(frame), **found}))
        return
    target = model.preparation.target
    Console().line(f"{target.name}: {target.kind}, {len(frame):,} rows of {frame.path}")
    Console().table(("metric", "value"), shown(found))


def shown(found: dict[str, float]) -> list[tuple[str, str]]:
    """Metrics as rows of a table."""
    return [(name.replace("_", " "), f"{value:.4f}") for name, value in found.items()]
