"""The running mean of the weights of a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..checks import real
from ..dtypes import is_float
from ..errors import ArgumentError
from ..nn.module import named_parameters
from ..tensors import Tensor, Variable

Array = np.ndarray[Any, Any]


class WeightMean:
    """The exponential moving average of the parameters that are trained.

    After each update ``c = d * c + (1 - d)`` and ``mean = mean + (1 - d) / c * (p - mean)``, from
    c = 0: the mean of the weights of all updates, that of k updates ago counting ``d**k``; the
    first weights, before any update, have no part in it. Buffers, such as running statistics, and
    frozen parameters are taken as they are.

    Args:
        decay: d, in (0, 1). About ``1 / (1 - d)`` updates have a part.
        model: whose parameters are averaged.

    Source: B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM
    J. Control and Optimization, 1992; the correction as in D. Kingma, J. Ba, ICLR 2015.
    """

    def __init__(self, decay: float, model: Any) -> None:
        if not 0.0 < real("fit", "ema", decay) < 1.0:
            raise ArgumentError(f"fit: ema is the decay of a mean, between 0 and 1, not {decay}")
        self.decay = float(decay)
        self._pairs = [
            (path, p, Variable(p.numpy().copy(), f"{path}.mean", False))
            for path, p in named_parameters(model)
            if p.requires_grad and is_float(p.dtype)
        ]
        self._count = Variable(np.zeros((), np.float64), "weight of the mean", False)
        self._raw: list[Tensor] = []

    def update(self) -> None:
        """Count in the present weights."""
        count = self._count.value * self.decay + (1.0 - self.decay)
        self._count.assign(count)
        part = (1.0 - self.decay) / count
        for _, parameter, mean in self._pairs:
            held = mean.value.detach()
            mean.assign(held + (parameter.value.detach() - held) * part.astype(mean.dtype))

    @property
    def inside(self) -> bool:
        """Whether the model holds the mean at present."""
        return bool(self._raw)

    def enter(self) -> None:
        """Let the model hold the mean, until `leave`."""
        if self._raw or not float(self._count.numpy()):
            return
        self._raw = [parameter.detach() for _, parameter, _ in self._pairs]
        for _, parameter, mean in self._pairs:
            parameter.assign(mean.detach())

    def leave(self) -> None:
        """Let the model hold the weights again that are trained."""
        for (_, parameter, _), raw in zip(self._pairs, self._raw, strict=False):
            parameter.assign(raw)
        self._raw = []

    def settle(self) -> None:
        """Let the model hold the mean for good."""
        self.enter()
        self._raw = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the model hold the mean inside of the context."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def state_dict(self) -> dict[str, Array]:
        """The mean by the paths of the parameters, and the weight that it has."""
        found = {path: mean.numpy() for path, _, mean in self._pairs}
        return {**found, "": self._count.numpy()}

    def load_state_dict(self, values: dict[str, Array]) -> None:
        """Take over what `state_dict` returned."""
        for path, _, mean in self._pairs:
            mean.assign(Tensor(np.array(values[path], mean.dtype)))
        self._count.assign(Tensor(np.array(values[""], np.float64)))
