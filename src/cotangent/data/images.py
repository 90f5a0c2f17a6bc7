"""MNIST and Fashion-MNIST, from a folder or downloaded into it; both are checked.

Sources: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", licensed under
CC BY-SA 3.0; H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for
benchmarking machine learning algorithms", 2017, arXiv 1708.07747, MIT licence.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from typing import Any, NamedTuple

import numpy as np

from ..errors import FileError
from ..runtime.digest import sha256
from ..runtime.files import replace_file

_GZIP = 16 + zlib.MAX_WBITS

Array = np.ndarray[Any, Any]


class Images(NamedTuple):
    """Grey images and their classes, in the order of the files.

    Attributes:
        x_train, x_test: images, float32 in [0, 1], ``[60000, 28, 28]`` and ``[10000, 28, 28]``.
        y_train, y_test: classes 0 to 9, int64.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


class _Set(NamedTuple):
    """Where a data set is found. The checksums are SHA-256, of the files after decompression."""

    name: str
    folder: str
    url: str
    checksums: dict[str, str]


_MNIST = _Set(
    "mnist", "mnist", "https://ossci-datasets.s3.amazonaws.com/mnist/",
    {
        "train-images-idx3-ubyte":
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte":
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte":
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte":
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)  # fmt: skip
_FASHION = _Set(
    "fashion_mnist", "fashion-mnist",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    {
        "train-images-idx3-ubyte":
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte":
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte":
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte":
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)  # fmt: skip


def mnist(folder: str | os.PathLike[str] | None = None, url: str | None = None) -> Images:
    """70,000 handwritten digits of 28 by 28 pixels, 60,000 of them to train on.

    The four files (``train-images-idx3-ubyte.gz``, ...) are read from ``mnist`` in the data folder.
    One that is missing is downloaded and kept there. All are checked, so a damaged or
    different file is an error.

    Args:
        folder: the data folder; by default what the environment variable ``COTANGENT_DATA``
            names, or else ``cotangent/data`` in the user's cache folder.
        url: where to download from; the four names are put behind it. A ``file:`` address will do.

    Returns:
        NumPy arrays: ``x_train, y_train, x_test, y_test = ct.data.mnist()``.

    Raises:
        FileError: if a file is missing and cannot be downloaded, or is not the right one.
    """
    return _load(_MNIST, folder, url)


def fashion_mnist(folder: str | os.PathLike[str] | None = None, url: str | None = None) -> Images:
    """70,000 pictures of clothes of 28 by 28 pixels, in 10 classes; otherwise as `mnist`.

    The classes are: T-shirt, trousers, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle
    boot. The files are in ``fashion-mnist`` in the data folder.
    """
    return _load(_FASHION, folder, url)


def data_folder() -> str:
    """Where data sets are kept: ``$COTANGENT_DATA``, or ``cotangent/data`` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("COTANGENT_DATA") or os.path.join(base, "cotangent", "data")


def _load(which: _Set, folder: Any, url: str | None) -> Images:
    place = os.path.join(data_folder() if folder is None else os.fspath(folder), which.folder)
    found = [
        _array(which.name, os.path.join(place, name), _content(which, place, name, url))
        for name in which.checksums
    ]
    images = [(x / np.float32(255)).astype(np.float32) for x in found[::2]]
    labels = [y.astype(np.int64) for y in found[1::2]]
    return Images(images[0], labels[0], images[1], labels[1])


def _content(which: _Set, place: str, name: str, url: str | None) -> bytes:
    """What a file holds, checked; from the folder, or downloaded into it."""
    path = os.path.join(place, name + ".gz")
    try:
        with open(path, "rb") as file:
            packed = file.read()
    except FileNotFoundError:
        packed = b""
    except OSError as error:
        raise FileError(f"{which.name}: cannot read {path}: {error.strerror or error}") from error
    if packed:
        content = _unpack(packed)
        if sha256(content).hex() != which.checksums[name]:
            raise FileError(
                f"{which.name}: {path} is damaged, or not the file of this data set (its checksum "
                "differs); delete it, and it is downloaded again"
            )
        return content
    address = (url or which.url).rstrip("/") + f"/{name}.gz"
    packed = _download(which, path, address)
    content = _unpack(packed)
    if sha256(content).hex() != which.checksums[name]:
        raise FileError(
            f"{which.name}: {address} did not give the file of this data set (its checksum "
            f"differs); nothing was kept. Put the right one into {place}"
        )
    with contextlib.suppress(OSError):  # a folder that cannot be written to only costs time
        os.makedirs(place, exist_ok=True)
        replace_file(path, packed)
    return content


def _download(which: _Set, path: str, address: str) -> bytes:
    """The bytes at an address. The package that fetches them takes long to import."""
    import urllib.request

    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            data: bytes = answer.read()
    except (OSError, ValueError) as error:
        raise FileError(
            f"{which.name}: {path} does not exist and cannot be downloaded from {address} "
            f"({error}). Put the four .gz files into {os.path.dirname(path)}, or name "
            f"the folder above it by folder= or COTANGENT_DATA"
        ) from error
    return data


def _unpack(packed: bytes) -> bytes:
    """What was compressed; nothing if it is damaged, which the checksum then shows."""
    try:
        return zlib.decompress(packed, _GZIP)
    except zlib.error:
        return b""


def _array(name: str, path: str, content: bytes) -> Array:
    """The array in a file of the IDX format: bytes in row-major order behind a header."""
    axes = content[3] if len(content) > 4 and content[:3] == b"\0\0\x08" else 0
    start = 4 + 4 * axes
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if not axes or len(content) != start + int(np.prod(shape)):
        raise FileError(f"{name}: {path} is not a file of bytes in the IDX format")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
