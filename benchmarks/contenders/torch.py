"""The workloads in PyTorch, eager, as its tutorials write them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from functions import Function, inputs
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


def chain(x: Any) -> Any:
    """A gelu and a sigmoid of every element."""
    return nn.functional.gelu(1.1 * x + 0.3) * torch.sigmoid(x)


def softmax(x: Any) -> Any:
    """The softmax of each row."""
    return torch.softmax(x, dim=-1)


def layer_norm(x: Any, weight: Any, bias: Any) -> Any:
    """Rows with mean 0 and variance 1, scaled and shifted."""
    return nn.functional.layer_norm(x, weight.shape, weight, bias)


class Prepared:
    """A function and its tensors; `compiler` says what is done to the function first."""

    def __init__(self, function: Function, compiler: Any = lambda f: f) -> None:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        tensors = [torch.from_numpy(array) for array in inputs(function)]
        if function.body == "chain":
            compiled = compiler(chain)
            self.call = lambda: (compiled(*tensors),)
        elif function.body == "matmul":
            self.call = lambda: (self._product(*tensors, function.repeats),)
        else:
            forward = compiler({"softmax": softmax, "layer_norm": layer_norm}[function.body])
            *args, cotangent = tensors
            for tensor in args:
                tensor.requires_grad_()
            self.call = lambda: self._both_ways(forward, args, cotangent)

    @staticmethod
    def _product(a: Any, b: Any, repeats: int) -> Any:
        for _ in range(repeats):
            b = a @ b
        return b

    @staticmethod
    def _both_ways(forward: Any, args: list[Any], cotangent: Any) -> tuple[Any, ...]:
        y = forward(*args)
        return y.detach(), *torch.autograd.grad(y, args, cotangent)

    @staticmethod
    def wait(result: Any) -> None:
        """A result is there when the call returns."""

    @staticmethod
    def arrays(result: Any) -> list[np.ndarray]:
        """The results as arrays."""
        return [tensor.numpy() for tensor in result]
