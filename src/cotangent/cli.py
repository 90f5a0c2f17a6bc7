"""The `cotangent` command."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ._version import __version__
from .console import Console
from .demo import DemoOptions, run
from .errors import Error

EXIT_CODES = """\
exit codes: 0 done, 1 the work failed, 2 wrong arguments, 130 interrupted.
On a terminal the output is live and coloured; NO_COLOR=1 drops the colours.
Compiled code is kept in the user's cache folder; COTANGENT_CACHE names another one.
"""

DEMO_EXAMPLES = """\
examples:
  cotangent demo                        train, and write runs/demo/
  cotangent demo --epochs 5 --seed 7    shorter, with other first weights
  cotangent demo --eager                the same training, op by op

"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    Args:
        arguments: the words after ``cotangent``; None takes the process's own.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    wrong = _prepare(options.out)
    if wrong:
        parser.error(wrong)
    try:
        run(DemoOptions(options.epochs, options.seed, options.out, options.eager), Console())
    except Error as error:
        print(f"cotangent: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cotangent: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="cotangent",
        description="Deep learning for small and medium networks.",
        epilog="example:\n  cotangent demo\n\n" + EXIT_CODES,
        formatter_class=raw,
    )
    parser.add_argument("--version", action="version", version=f"cotangent {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="train a network on handwritten digits and show the result",
        description="Train a 64-64-32-10 network on handwritten digits (8x8 pixels, shipped with "
        "the package), show its accuracy on held-out images, and write the weights "
        "(safetensors) and the training curve (SVG).",
        epilog=DEMO_EXAMPLES + EXIT_CODES,
        formatter_class=raw,
    )
    demo.add_argument("--epochs", type=_positive, default=30, metavar="N", help="default 30")
    demo.add_argument("--seed", type=_natural, default=0, metavar="N", help="default 0")
    demo.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="default runs/demo"
    )
    demo.add_argument("--eager", action="store_true", help="train without the compiler")
    return parser


def _positive(text: str) -> int:
    return _integer(text, 1)


def _natural(text: str) -> int:
    return _integer(text, 0)


def _integer(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"must be {least} or more, got {value}")
    return value


def _prepare(folder: Path) -> str:
    """Make the folder if it is missing; returns why it cannot be written to, or ""."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"cannot write to the folder {folder}: {error.strerror or error}"


if __name__ == "__main__":
    sys.exit(main())
