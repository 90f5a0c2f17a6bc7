"""The workloads in PyTorch, eager, as its tutorials write them."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn
from workloads import LEARNING_RATE, Workload, data, first_weights

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}
LOSSES = {"mse": nn.functional.mse_loss, "cross_entropy": nn.functional.cross_entropy}


def mlp(work: Workload) -> nn.Sequential:
    """Linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for weight, bias in first_weights(work):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
        layers += [layer, ACTIVATIONS[work.activation]()]
    return nn.Sequential(*layers[:-1])


class Trainer:
    """A model, its optimizer and its step."""

    def __init__(self, work: Workload) -> None:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self.model, self.loss_of = mlp(work), LOSSES[work.loss]
        self.opt = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE)
        xs, ys = (torch.from_numpy(array) for array in data(work))
        self.batches = [(x.clone(), y.clone()) for x, y in zip(xs[:64], ys[:64], strict=True)]

    def step(self, x: Any, y: Any) -> Any:
        """One update; the loss."""
        self.opt.zero_grad()
        loss = self.loss_of(self.model(x), y)
        loss.backward()
        self.opt.step()
        return loss.detach()

    @staticmethod
    def wait(loss: Any) -> None:
        """A result is there when the call returns."""
