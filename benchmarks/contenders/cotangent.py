"""The workloads in Cotangent."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

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
