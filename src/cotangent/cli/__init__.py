"""The `cotangent` command: one file for each of its commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .._version import __version__
from ..errors import Error
from . import demo, doctor, evaluate, predict, report, train
from .arguments import EXIT_CODES, WrongUseError

EXAMPLES = """\
examples:
  cotangent train houses.csv --target price
  cotangent predict runs/houses new.csv -o prices.csv
  cotangent evaluate runs/houses test.csv
  cotangent train --dataset mnist
  cotangent report runs/houses
  cotangent doctor
  cotangent demo

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
    try:
        options.run_command(options)
        sys.stdout.flush()
        return 0
    except WrongUseError as error:
        return _ended(2, str(error))
    except KeyboardInterrupt as error:
        return _ended(130, str(error) or "interrupted")
    except BrokenPipeError:
        # Who read the output has gone; nothing may be flushed into the void at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _ended(1, "there is not enough memory")
    except (Error, OSError) as error:
        return _ended(1, str(error))


def _ended(code: int, text: str) -> int:
    print(f"cotangent: {text}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cotangent",
        description="Deep learning for small and medium networks.",
        epilog=EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cotangent {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in (train, predict, evaluate, report, doctor, demo):
        command.add(commands)
    return parser
