"""Several models as one, for training them together by `vmap`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from ..placement import allocate, home_of
from ..tensors import Variable
from ..variables import named_variables

Model = TypeVar("Model")


def stack(models: Sequence[Model]) -> Model:
    """One model whose variables hold those of all `models` along a new first axis.

    Settings and everything else that is not a variable are those of the first model. Use it as a
    mapped argument of `ct.vmap`; inside, it is one model again, and parameters, buffers, random
    generators that the models hold, and optimizer state differ between them.

    Args:
        models: modules, or containers of variables, built in the same way.

    Raises:
        ArgumentError: if the models do not have the same variables.
        ShapeError: if a variable has different shapes in two of them.

    >>> from cotangent import nn
    >>> from cotangent.mapping import vmap
    >>> both = stack([nn.Linear(3, 1), nn.Linear(3, 1)])
    >>> both.weight.shape
    (2, 1, 3)
    >>> vmap(lambda model, x: model(x), in_axes=(0, None))(both, [[1.0, 2.0, 3.0]]).shape
    (2, 1, 1)
    """
    if isinstance(models, str) or not isinstance(models, Sequence) or not models:
        raise ArgumentTypeError(f"stack takes a list of at least one model, not {models!r}")
    rows = [named_variables(model) for model in models]
    for number, row in enumerate(rows):
        _check_alike(number, rows[0], row)
    memo: dict[int, Any] = {}
    for column in zip(*rows, strict=True):
        first = column[0][1]
        memo[id(first)] = _variable(first, np.stack([v.numpy() for _, v in column]))
    return copy.deepcopy(models[0], memo)


def unstack(model: Model) -> list[Model]:
    """The models that `stack` made one of, with the values that they hold now.

    >>> from cotangent import nn
    >>> pair = [nn.Linear(3, 1), nn.Linear(3, 1)]
    >>> again = unstack(stack(pair))
    >>> again[1].weight.tolist() == pair[1].weight.tolist()
    True
    """
    named = named_variables(model)
    sizes = {v.shape[:1] for _, v in named}
    if len(sizes) != 1 or () in sizes:
        shapes = ", ".join(f"{path} {v.shape}" for path, v in named)
        raise ShapeError(
            "unstack: the first axes of the variables must be equal, as nn.stack makes them; they "
            f"are {shapes or 'none'}"
        )
    return [
        copy.deepcopy(model, {id(v): _variable(v, v.numpy()[i].copy()) for _, v in named})
        for i in range(next(iter(sizes))[0])
    ]


def _variable(like: Variable, array: Any) -> Variable:
    payload = allocate(np.asarray(array), home_of(like.peek()))
    made = Variable(payload, like.name, like.requires_grad)
    made.parameter = like.parameter
    return made


def _check_alike(
    number: int, first: list[tuple[str, Variable]], other: list[tuple[str, Variable]]
) -> None:
    if [path for path, _ in first] != [path for path, _ in other]:
        raise ArgumentError(
            f"stack: model {number} has the variables {', '.join(p for p, _ in other) or 'none'}, "
            f"and the first {', '.join(p for p, _ in first) or 'none'}; build all in the same way"
        )
    for (path, a), (_, b) in zip(first, other, strict=True):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise ShapeError(
                f"stack: {path!r} has shape {b.shape} and dtype {b.dtype} in model {number}, but "
                f"{a.shape} and {a.dtype} in the first"
            )
