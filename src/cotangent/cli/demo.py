"""`cotangent demo`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..console import Console
from ..demo import DemoOptions, run
from .arguments import WrongUseError, add_command, natural, positive, prepare_folder

EXAMPLES = """\
  cotangent demo                        train, and write runs/demo/
  cotangent demo --epochs 5 --seed 7    shorter, with other first weights
  cotangent demo --eager                the same training, op by op
"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    demo = add_command(
        commands, "demo",
        help="train a network on handwritten digits and show the result",
        description="Train a 64-64-32-10 network on handwritten digits (8x8 pixels, shipped with "
        "the package),\nshow its accuracy on held-out images, and write the weights "
        "(safetensors) and the\ntraining curve (SVG).",
        examples=EXAMPLES,
    )  # fmt: skip
    demo.add_argument("--epochs", type=positive, default=30, metavar="N", help="default 30")
    demo.add_argument("--seed", type=natural, default=0, metavar="N", help="default 0")
    demo.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="default runs/demo"
    )
    demo.add_argument("--eager", action="store_true", help="train without the compiler")
    demo.set_defaults(run_command=work)


def work(options: argparse.Namespace) -> None:
    """Do what the command says."""
    wrong = prepare_folder(options.out)
    if wrong:
        raise WrongUseError(wrong)
    run(DemoOptions(options.epochs, options.seed, options.out, options.eager), Console())
