"""What the commands share: kinds of arguments, mistakes of the user, and the help's last lines."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

from ..data import open_table
from ..data.frame import Source
from ..errors import Error

EXIT_CODES = """\
exit codes: 0 done, 1 the work failed, 2 wrong arguments or data, 130 interrupted.
On a terminal the output is live and coloured; NO_COLOR=1 drops the colours.
Compiled code is kept in the user's cache folder; COTANGENT_CACHE names another one.
"""


class WrongUseError(Exception):
    """Arguments or data that a command cannot work with; it ends with exit code 2."""


@contextmanager
def refusing() -> Iterator[None]:
    """Errors of the library inside are the user's: of the arguments, or of the data."""
    try:
        yield
    except Error as error:
        raise WrongUseError(str(error)) from error


def add_command(
    commands: Any, name: str, *, help: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """The parser of a command, with its examples at the end of its help."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=f"examples:\n{examples}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_reading(parser: argparse.ArgumentParser) -> None:
    """The options that say how a text file is to be read."""
    reading = parser.add_argument_group("how a text file is read (found out unless given)")
    reading.add_argument("--delimiter", metavar="CHAR", help="between fields; 'tab' is a tab")
    reading.add_argument(
        "--header", choices=("yes", "no"), help="whether the first line has the columns' names"
    )
    reading.add_argument("--encoding", metavar="NAME", help="of the text, such as cp1252")


def opened(path: str, options: argparse.Namespace) -> Source:
    """The table of that name, read as the options say; what was decided goes to standard error.

    Raises:
        WrongUseError: if it cannot be read.
    """
    mark = {"tab": "\t", "\\t": "\t"}.get(options.delimiter, options.delimiter)
    header = None if options.header is None else options.header == "yes"
    with refusing():
        source = open_table(path, delimiter=mark, header=header, encoding=options.encoding)
    say(source.notes)
    return source


def stop_if_interrupted(history: Any) -> None:
    """End as Ctrl-C does if it ended the training, whose checkpoint is there.

    Raises:
        KeyboardInterrupt: with what to say.
    """
    if history.stopped == "interrupted":
        raise KeyboardInterrupt("interrupted; the same command with --resume goes on")


def say(notes: Sequence[str], most: int = 20) -> None:
    """Print notes to standard error; of very many, the first, and each once."""
    different = list(dict.fromkeys(notes))
    for note in different[:most]:
        print(f"note: {note}", file=sys.stderr)
    if len(different) > most:
        print(f"note: and {len(different) - most} more such notes", file=sys.stderr)


def positive(text: str) -> int:
    """An integer from 1."""
    return _integer(text, 1)


def natural(text: str) -> int:
    """An integer from 0."""
    return _integer(text, 0)


def _integer(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"must be {least} or more, got {value}")
    return value


def sizes(text: str) -> tuple[int, ...]:
    """Positive integers between commas; none at all for "0"."""
    return () if text.strip() == "0" else tuple(positive(part) for part in text.split(","))


def rate(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return value


def fraction(text: str) -> float:
    """A number from 0 to below 1."""
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to below 1, got {text}")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def prepare_folder(folder: Path) -> str:
    """Make the folder if it is missing; returns why it cannot be written to, or ""."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"cannot write to the folder {folder}: {error.strerror or error}"
