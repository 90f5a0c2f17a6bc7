"""The base of layers and models, and the functions that work on any model.

A model is an object. Its parameters are the variables found by walking its attributes, lists,
tuples, dicts and plain objects; a path such as ``layers.0.weight`` names each. The functions
here take any such model; the methods of `Module` call them.

A variable made to be trained is a parameter, frozen or not. One made with
``requires_grad=False`` (running statistics, counters) is a buffer: it is saved, not trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..backends import find_backend
from ..config import EPOCH, STATE
from ..dtypes import bool_, is_float, is_integer, is_supported
from ..errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    Error,
    ShapeError,
    UnknownKeyError,
)
from ..late import late
from ..placement import move_all
from ..random import Generator
from ..spelling import closest
from ..tensors import Tensor, Unplaced, Variable
from ..variables import children, named_variables, walk
from .watching import WATCHES, observed

Array = np.ndarray[Any, Any]


class Module:
    """A layer or model: assign layers and variables to attributes, and define ``forward``.

    Attributes:
        training: what `train` and `eval` set; True at first.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = Tensor.var("factor", 2.0)
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Scale()(3.0).item()
    6.0
    """

    training = True
    announces_changes = True  # to `Watch`: every change of an attribute bumps EPOCH.structure

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        EPOCH.restructure()

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        EPOCH.restructure()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer computes; every layer defines it, and calling the layer calls it."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(self, x)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = STATE.trace
        try:
            if trace is None:
                out = self.forward(*args, **kwargs)
            else:
                trace.enter_layer(self)
                try:
                    out = self.forward(*args, **kwargs)
                finally:
                    trace.leave_layer()
            return observed(self, out) if WATCHES else out
        except Error as error:
            self._locate(error)
            raise

    def _locate(self, error: Error) -> None:
        """Tell an error that it crossed this layer, and where below this layer it came from."""
        inner = getattr(error, "crossed", None)
        name = ""
        if inner is not None:
            name = next((path for path, item in walk(self) if item is inner), "")
        error.enter_layer(name, self.text())
        error.crossed = self  # type: ignore[attr-defined]

    # -- modes ----------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Module:
        """Set `training` here and in every module below, and return the module."""
        for _, item in walk(self):
            if isinstance(item, Module):
                item.training = bool(mode)
        return self

    def eval(self) -> Module:
        """Set `training` to False here and in every module below, and return the module."""
        return self.train(False)

    def freeze(self) -> Module:
        """Stop gradients to all parameters: optimizers skip them until `unfreeze`."""
        for parameter in parameters(self):
            parameter.requires_grad = False
        return self

    def unfreeze(self) -> Module:
        """Let gradients flow to all parameters again; buffers get none."""
        for parameter in parameters(self):
            parameter.requires_grad = True
        return self

    # -- parameters -----------------------------------------------------------------------

    def parameters(self) -> list[Variable]:
        """The parameters, frozen ones too, each once, in the order of the attributes."""
        return parameters(self)

    def named_parameters(self) -> list[tuple[str, Variable]]:
        """Pairs of path and parameter; a shared one has its first path."""
        return named_parameters(self)

    def num_parameters(self) -> int:
        """How many numbers the parameters hold; shared ones count once."""
        return sum(parameter.size for parameter in parameters(self))

    def state_dict(self) -> dict[str, Array]:
        """The values of parameters and buffers by path, as read-only arrays: see `state_dict`."""
        return state_dict(self)

    def load_state_dict(self, values: Mapping[str, Any], strict: bool = True) -> None:
        """Assign values by path: see `load_state_dict`."""
        load_state_dict(self, values, strict)

    def to(self, backend: str, device: Any = None) -> Module:
        """Move the parameters and buffers to another backend, in place, and return the module.

        They stay the same variables; an optimizer's state follows at its next step. The state of
        random generators stays where it is: single numbers of NumPy go with every backend.

        Args:
            backend: "numpy", "torch", or the name of a backend that another package brings.
            device: as that backend names it: for "torch" "cpu" (the default), "cuda", "mps".

        Raises:
            BackendError: if there is no such backend or device, its package is missing, or it
                lacks a dtype; then nothing has moved.

        >>> Module().to("numpy")
        Module()
        """
        target = find_backend(backend, device)
        generators = [item for _, item in walk(self) if isinstance(item, Generator)]
        stay = {v.leaf.number for g in generators for _, v in named_variables(g)}
        move_all([v for _, v in named_variables(self) if v.leaf.number not in stay], target)
        return self

    # -- text -----------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the brackets when the layer is printed, such as ``30 -> 1``."""
        return ""

    def text(self) -> str:
        """The layer on one line, without what is below: ``Linear(30 -> 1)``."""
        return f"{type(self).__name__}({self.extra_repr()})"

    def summary(self, *inputs: Any, measure: bool = True) -> Any:
        """A table of the layers for a batch: output shapes, parameters, FLOPs, bytes and time.

        Args:
            inputs: what the model takes.
            measure: False leaves out FLOPs, bytes and times, which takes a moment: each layer is
                compiled on its own and timed.

        Returns:
            A `Summary`: ``print`` shows it, ``layers`` has the numbers; see `summarize`.

        Raises:
            Error: what the model raises for these inputs.

        >>> from cotangent import nn
        >>> print(nn.Linear(3, 2).summary([[1.0, 2.0, 3.0]], measure=False))
        layer                  output  parameters
               Linear(3 -> 2)  (1, 2)           8
        total                                   8
        """
        return late("nn.summary", "summarize")(self, *inputs, measure=measure)

    def _repr_html_(self) -> str:
        """What a notebook shows: the layers, with the shapes of their parameters."""
        return str(late("nn.summary", "model_html")(self))

    def __repr__(self) -> str:
        rows = [f"({path}): {part!r}" for path, part in _modules_below(self)]
        if not rows:
            return self.text()
        inside = "\n".join([self.extra_repr(), *rows] if self.extra_repr() else rows)
        return f"{type(self).__name__}(\n  " + inside.replace("\n", "\n  ") + "\n)"


def _modules_below(root: Any, path: str = "", above: tuple[int, ...] = ()) -> Iterator[Any]:
    """The modules that `root` holds, also in containers, but not those inside of modules."""
    if id(root) in above:
        return
    for name, part in children(root):
        place = f"{path}.{name}" if path else name
        if isinstance(part, Module):
            yield place, part
        elif not isinstance(part, Tensor):
            yield from _modules_below(part, place, (*above, id(root)))


# -- functions of any model -------------------------------------------------------------------


def named_parameters(model: Any) -> list[tuple[str, Variable]]:
    """Pairs of path and parameter of a module, container or plain object, each parameter once.

    >>> layers = {"w": Tensor.var("w", [1.0]), "more": [Tensor.var("v", [2.0])]}
    >>> [path for path, _ in named_parameters(layers)]
    ['w', 'more.0']
    """
    return [(path, v) for path, v in named_variables(model) if v.parameter]


def parameters(model: Any) -> list[Variable]:
    """The parameters of a module, container or plain object, frozen ones too, each once."""
    return [v for _, v in named_parameters(model)]


def state_dict(model: Any) -> dict[str, Array]:
    """The values of all parameters and buffers by path, as read-only arrays that never change.

    The keys are PyTorch's for the same attribute names. A shared (tied) variable is under each of
    its paths.
    """
    return {path: v.numpy() for path, v in named_variables(model, shared=True)}


def load_state_dict(model: Any, values: Mapping[str, Any], strict: bool = True) -> None:
    """Assign `values`, by path, to the parameters and buffers of `model`.

    Everything is checked before anything is assigned.

    Args:
        model: a module, container or plain object.
        values: arrays or tensors by path, as `state_dict` returns them. Floats of any width
            are converted to the variable's.
        strict: whether keys that are missing or unexpected are an error. Of the paths of a
            shared variable one is enough.

    Raises:
        UnknownKeyError: for missing and unexpected keys, with the closest names.
        ShapeError: if a value has another shape than its variable.
        DTypeError: if a value is of another kind than its variable, such as floats for integers.
        ArgumentError: if the paths of one shared variable bring different values.
    """
    if not isinstance(values, Mapping):
        raise ArgumentTypeError(
            f"load_state_dict: takes a dict of arrays by path, not {type(values).__name__}"
        )
    if not isinstance(strict, bool):
        raise ArgumentTypeError(f"load_state_dict: strict is True or False, not {strict!r}")
    targets = named_variables(model, shared=True)
    if strict:
        _check_keys(targets, values)
    new: dict[int, tuple[str, Variable, Array]] = {}
    for path, variable in targets:
        if path not in values:
            continue
        array = _fitting(path, variable, values[path])
        other = new.setdefault(variable.leaf.number, (path, variable, array))
        if other[2] is not array and not np.array_equal(other[2], array, equal_nan=True):
            raise ArgumentError(
                f"load_state_dict: {other[0]!r} and {path!r} are one shared variable here, "
                "but their values differ"
            )
    for _, variable, array in new.values():
        variable.assign(Unplaced(array))


def _check_keys(targets: list[tuple[str, Variable]], values: Mapping[str, Any]) -> None:
    paths = [path for path, _ in targets]
    covered = {v.leaf.number for path, v in targets if path in values}
    missing = [path for path, v in targets if v.leaf.number not in covered]
    known = set(paths)
    unexpected = [key for key in values if key not in known]
    if not missing and not unexpected:
        return
    parts = [
        f"{kind} keys: " + ", ".join(_with_hint(key, others) for key in keys)
        for kind, keys, others in (
            ("missing", missing, unexpected), ("unexpected", unexpected, missing or paths),
        )
        if keys
    ]  # fmt: skip
    raise UnknownKeyError(
        "load_state_dict: " + "; ".join(parts) + ". Pass strict=False to load what fits"
    )


def _with_hint(key: str, names: list[str]) -> str:
    close = closest(str(key), map(str, names))
    return f"{key!r} (close to {close!r})" if close else repr(key)


def _fitting(path: str, variable: Variable, value: Any) -> Array:
    """A copy of `value` in the dtype of `variable`, whose shape it must have."""
    array = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.shape != variable.shape:
        raise ShapeError(
            f"load_state_dict: {path!r} has shape {variable.shape} in the model but "
            f"{array.shape} in what is loaded; build the model with the same sizes"
        )
    held = variable.dtype
    whole = array.dtype == bool_ or (is_integer(held) and array.dtype.kind in "iu")
    if not whole and not (is_float(held) and is_supported(array.dtype.newbyteorder("="))):
        raise DTypeError(
            f"load_state_dict: {path!r} holds {variable.dtype} in the model and cannot take "
            f"values of {array.dtype}"
        )
    return np.array(array, variable.dtype)
