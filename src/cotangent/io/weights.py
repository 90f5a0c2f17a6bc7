"""Weights in files of the safetensors format, which PyTorch, JAX and others read too."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..dtypes import as_dtype
from ..errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    FileError,
    MissingPackageError,
)
from ..runtime.files import replace_file
from ..tensors import Tensor
from ..variables import named_variables

Array = np.ndarray[Any, Any]


def _format() -> Any:
    """The safetensors package, imported when the first file is read or written."""
    try:
        import safetensors.numpy
    except ImportError:
        raise MissingPackageError(
            "ct.save and ct.load need the package safetensors; "
            "install it with: pip install safetensors"
        ) from None
    return safetensors


def save(path: str | os.PathLike[str], model: Any) -> None:
    """Write weights to a safetensors file.

    The file appears under its name only when it is complete and on the disk, so an interruption
    or a full disk leaves the old one as it was.

    Args:
        path: where to; by convention it ends in ``.safetensors``.
        model: a module, any container or object of variables, or a dict of arrays or tensors
            by name, such as a state dict. A tied variable is written under each of its paths.

    Raises:
        FileError: if the file cannot be written.
        ArgumentError: if there is nothing to save.
    """
    arrays = _arrays(model)
    data = _format().numpy.save(arrays, metadata={"format": "pt"})
    try:
        replace_file(os.fspath(path), data)
    except OSError as error:
        raise FileError(
            f"save: cannot write {os.fspath(path)}: {error.strerror or error}"
        ) from error


def _arrays(model: Any) -> dict[str, Array]:
    if isinstance(model, dict) and all(
        isinstance(x, (Tensor, np.ndarray, np.generic)) for x in model.values()
    ):
        found = {_key(name): np.asarray(value) for name, value in model.items()}
    elif isinstance(model, Tensor):
        raise ArgumentTypeError("save: a tensor has no name; save a dict, as in {'x': x}")
    else:
        found = {path: v.numpy() for path, v in named_variables(model, shared=True)}
    if not found:
        raise ArgumentError(f"save: {type(model).__name__} holds no variables to save")
    # The format wants C order; `np.ascontiguousarray` would turn 0-d arrays into 1-d ones.
    return {name: np.asarray(value, order="C") for name, value in found.items()}


def _key(name: Any) -> str:
    if not isinstance(name, str):
        raise ArgumentTypeError(f"save: names must be text, not {name!r}")
    return name


def load(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays of a safetensors file, by name; for ``model.load_state_dict``.

    Raises:
        FileError: if the file is missing, damaged, of another format, or holds a dtype that NumPy
            does not have (float8).
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = file.read()
    except OSError as error:
        raise FileError(f"load: cannot read {name}: {error.strerror or error}") from error
    package = _format()
    try:
        return {key: _array(part) for key, part in package.deserialize(data)}
    except Exception as error:  # the package raises classes of its own, and of its parser
        raise FileError(
            f"load: {name} cannot be read as a safetensors file ({error}); it is damaged or of "
            "another format. Files of torch.save are not read: convert them with safetensors.torch"
        ) from error


# The dtypes of the format, by its names.
DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32",
    "I32": "int32", "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16",
    "F32": "float32", "F64": "float64",
}  # fmt: skip


def _array(part: dict[str, Any]) -> Array:
    """One entry of a file as an array."""
    if part["dtype"] not in DTYPES:
        raise DTypeError(f"dtype {part['dtype']} is not one that a tensor holds")
    flat = np.frombuffer(part["data"], as_dtype(DTYPES[part["dtype"]]))
    return flat.reshape(part["shape"])
