"""The workloads in Cotangent."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from functions import Function, inputs, layers
from workloads import LEARNING_RATE, Workload, data, first_weights

import cotangent as ct
from cotangent import nn, optim

LOSSES = {"mse": nn.mse_loss, "cross_entropy": nn.cross_entropy_loss}


class MLP(nn.Module):
    """Linear layers with an activation between them."""

    def __init__(self, work: Workload) -> None:
        self.layers = [nn.Linear(*pair) for pair in pairwise(work.sizes)]
        self.activation = ct.relu if work.activation == "relu" else ct.tanh
        for layer, (weight, bias) in zip(self.layers, first_weights(work), strict=True):
            layer.weight.assign(ct.tensor(weight))
            layer.bias.assign(ct.tensor(bias))

    def forward(self, x: Any) -> Any:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


class Trainer:
    """A model, its optimizer and its step."""

    def __init__(self, work: Workload) -> None:
        model, loss_of = MLP(work), LOSSES[work.loss]
        opt = optim.Adam(lr=LEARNING_RATE)

        def step(x: Any, y: Any) -> Any:
            loss = loss_of(model(x), y)
            opt.step(model, loss.backward())
            return loss

        self.step = step if work.mode == "eager" else ct.jit(step)
        xs, ys = data(work)
        self.stacked = ct.tensor(xs), ct.tensor(ys)
        few = slice(None, 64)
        self.batches = [(ct.tensor(x), ct.tensor(y)) for x, y in zip(xs[few], ys[few], strict=True)]

    def loop(self) -> Any:
        """All batches in one call; the losses."""
        return self.step.loop(*self.stacked)

    @staticmethod
    def wait(loss: Any) -> None:
        """A result is there when the call returns."""


def chain(x: Any) -> Any:
    """A gelu and a sigmoid of every element."""
    return nn.gelu(1.1 * x + 0.3) * ct.sigmoid(x)


def softmax(x: Any, g: Any) -> Any:
    """The softmax of each row, and the gradient for a cotangent `g`."""
    y, pullback = ct.vjp(ct.softmax, x)
    return y, *pullback(g)


def layer_norm(x: Any, weight: Any, bias: Any, g: Any) -> Any:
    """The normalised rows, and the three gradients for a cotangent `g`."""
    y, pullback = ct.vjp(nn.layer_norm, x, weight, bias)
    return y, *pullback(g)


def infer() -> Any:
    """A network in eval mode."""
    modules: list[Any] = []
    for weight, bias in layers():
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.assign(ct.tensor(weight))
        linear.bias.assign(ct.tensor(bias))
        modules += [linear, nn.ReLU()]
    model = nn.Sequential(*modules[:-1])
    model.eval()
    return lambda x: model(x)


def matmul(repeats: int) -> Any:
    """``a @ (... @ (a @ b))`` with `repeats` products."""

    def product(a: Any, b: Any) -> Any:
        for _ in range(repeats):
            b = a @ b
        return b

    return product


def body(function: Function) -> Any:
    """The function itself, not yet compiled."""
    if function.body == "infer":
        return infer()
    if function.body == "matmul":
        return matmul(function.repeats)
    return {"chain": chain, "softmax": softmax, "layer_norm": layer_norm}[function.body]


class Prepared:
    """A compiled function and its tensors."""

    def __init__(self, function: Function) -> None:
        compiled = ct.jit(body(function))
        tensors = [ct.asarray(array) for array in inputs(function)]
        self.call = lambda: compiled(*tensors)

    @staticmethod
    def wait(result: Any) -> None:
        """A result is there when the call returns."""

    @staticmethod
    def arrays(result: Any) -> list[np.ndarray]:
        """The results as arrays."""
        return [np.asarray(t) for t in (result if isinstance(result, tuple) else (result,))]
