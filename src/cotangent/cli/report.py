"""`cotangent report`."""

from __future__ import annotations

import argparse
from typing import Any

from ..viz import report
from .arguments import add_command, refusing

EXAMPLES = """\
  cotangent report runs/houses                  write runs/houses/report.html
  cotangent report runs/houses -o houses.html
"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands, "report",
        help="write a run down as a page with its curves",
        description="Write one HTML page about a run, with what was run, its curves and numbers. "
        "It needs no\nnetwork.",
        examples=EXAMPLES,
    )  # fmt: skip
    parser.add_argument("run", help="the folder of a run")
    parser.add_argument(
        "-o", "--out", metavar="FILE", help="default report.html in the run's folder"
    )
    parser.set_defaults(run_command=work)


def work(options: argparse.Namespace) -> None:
    """Do what the command says."""
    with refusing():
        written = report(options.run, path=options.out)
    print(f"written: {written}")
