"""The digits: 1,797 handwritten digits of 8 by 8 pixels.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998, https://doi.org/10.24432/C50P49, licensed under CC BY 4.0. This is the test part
of that set, in the copy that scikit-learn distributes. ``README.md`` beside this file says more.
"""

from __future__ import annotations

import math
import os
import zlib
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, FileError
from ..random import Generator
from ..runtime.digest import sha256

_FILE = os.path.join(os.path.dirname(__file__), "digits.csv.gz")
_GZIP = 16 + zlib.MAX_WBITS
_SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"

Array = np.ndarray[Any, Any]


class Digits(NamedTuple):
    """Images and labels, split into a part to train on and a part to test on.

    Attributes:
        x_train, x_test: images, float32 in [0, 1], ``[n, 64]``, row by row from the top left.
        y_train, y_test: the digits 0 to 9, int64, ``[n]``.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


def digits(seed: int = 0, test_fraction: float = 0.2) -> Digits:
    """Real handwriting: 1,797 images of 8 by 8 pixels, by 13 writers, split in two.

    Of every digit the same fraction goes to the test part, and both parts are shuffled.

    Args:
        seed: which split; equal seeds give equal splits.
        test_fraction: in (0, 1); with 0.2 there are 1,438 images to train on and 359 to test on.

    Returns:
        NumPy arrays: ``x_train, y_train, x_test, y_test = ct.data.digits()``.

    Raises:
        ArgumentError: if `test_fraction` is not between 0 and 1.
        FileError: if the file in the package is damaged.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, doi 10.24432/C50P49; CC BY 4.0.

    >>> data = digits()
    >>> data.x_train.shape, data.x_test.shape
    ((1438, 64), (359, 64))
    """
    if not 0.0 < test_fraction < 1.0:
        raise ArgumentError(f"digits: test_fraction must lie between 0 and 1, not {test_fraction}")
    images, labels = _read()
    generator = Generator(seed)
    chosen, order = (generator.permutation(len(labels)).numpy() for _ in range(2))
    held_out = np.zeros(len(labels), bool)
    for digit in range(10):
        rows = chosen[labels[chosen] == digit]
        held_out[rows[: math.floor(len(rows) * test_fraction + 0.5)]] = True
    train, test = order[~held_out[order]], order[held_out[order]]
    return Digits(images[train], labels[train], images[test], labels[test])


def _read() -> tuple[Array, Array]:
    """All images and labels, in the order of the file."""
    try:
        with open(_FILE, "rb") as file:
            packed = file.read()
    except OSError as error:
        raise FileError(f"digits: cannot read {_FILE}: {error.strerror}; reinstall it") from error
    if sha256(packed).hex() != _SHA256:
        raise FileError(f"digits: {_FILE} is damaged (its checksum differs); reinstall cotangent")
    rows = zlib.decompress(packed, _GZIP).decode("ascii").split()
    table = np.array(",".join(rows).split(","), np.uint8).reshape(len(rows), 65)
    return (table[:, :64] / np.float32(16)).astype(np.float32), table[:, 64].astype(np.int64)
