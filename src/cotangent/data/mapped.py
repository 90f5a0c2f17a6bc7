"""Arrays that stay on disk: files of NumPy's .npy format, mapped into memory."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..errors import FileError

Array = np.ndarray[Any, Any]


def memory_mapped(path: str | os.PathLike[str]) -> Array:
    """An array in a ``.npy`` file, of which only the rows that are looked at are read.

    The system reads pages as they are needed and drops them when memory is short, so the array
    may be larger than memory. It cannot be written to. ``ct.data.batches`` gathers rows from such
    arrays, in any order. ``np.save`` and ``np.lib.format.open_memmap`` write such files.

    Raises:
        FileError: if the file cannot be read, is damaged, shorter than its header says, or holds
            Python objects, which are never loaded.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "x.npy")
    >>> np.save(path, np.arange(6.0).reshape(3, 2))
    >>> x = memory_mapped(path)
    >>> for rows in ct.data.batches(x, 2, shuffle=False):
    ...     print(rows.tolist())
    [[0.0, 1.0], [2.0, 3.0]]
    [[4.0, 5.0]]
    """
    name = os.fspath(path)
    try:
        array = np.load(name, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise FileError(f"memory_mapped: cannot read {name}: {error.strerror or error}") from error
    except Exception as error:  # the header is parsed as Python text, so anything can be wrong
        raise FileError(
            f"memory_mapped: {name} is damaged, or no .npy file of plain numbers ({error})"
        ) from error
    if not isinstance(array, np.memmap):
        raise FileError(
            f"memory_mapped: {name} is an archive of arrays (.npz); save one by np.save"
        )
    return array
