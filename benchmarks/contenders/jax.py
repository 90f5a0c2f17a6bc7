"""The workloads in JAX: a jitted step on pytrees with donated buffers, `lax.scan` for loops."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from functions import Function, inputs, layers
from workloads import LEARNING_RATE, Workload, data, first_weights

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def mse(pred: Any, target: Any) -> Any:
    """Mean squared error."""
    return jnp.mean((pred - target) ** 2)


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Mean cross-entropy of class indices."""
    logs = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(logs, labels[:, None], axis=1))


LOSSES = {"mse": mse, "cross_entropy": cross_entropy}


def adam(params: Any, state: Any, grads: Any) -> Any:
    """Adam on pytrees: the new parameters and the new state."""
    b1, b2, eps = 0.9, 0.999, 1e-8
    count, m, v = state
    count = count + 1
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, grads)
    rate = LEARNING_RATE / (1 - b1**count)
    fix = 1 - b2**count
    update = lambda p, m, v: p - rate * m / (jnp.sqrt(v / fix) + eps)  # noqa: E731
    return jax.tree.map(update, params, m, v), (count, m, v)


class Trainer:
    """Parameters, optimizer state and the jitted step."""

    def __init__(self, work: Workload) -> None:
        activation, loss_fn = ACTIVATIONS[work.activation], LOSSES[work.loss]

        def loss_of(params: Any, x: Any, y: Any) -> Any:
            for weight, bias in params[:-1]:
                x = activation(x @ weight.T + bias)
            weight, bias = params[-1]
            return loss_fn(x @ weight.T + bias, y)

        def update(carry: Any, batch: Any) -> Any:
            params, state = carry
            loss, grads = jax.value_and_grad(loss_of)(params, *batch)
            return adam(params, state, grads), loss

        self.update = partial(jax.jit, donate_argnums=0)(update)
        self.scan = partial(jax.jit, donate_argnums=0)(
            lambda carry, batches: jax.lax.scan(update, carry, batches)
        )
        params = jax.tree.map(jnp.array, first_weights(work))
        zeros = partial(jax.tree.map, jnp.zeros_like)
        self.carry = params, (jnp.zeros((), jnp.float32), zeros(params), zeros(params))
        xs, ys = data(work)
        self.stacked = jnp.array(xs), jnp.array(ys)
        self.batches = [(jnp.array(x), jnp.array(y)) for x, y in zip(xs[:64], ys[:64], strict=True)]
        jax.block_until_ready((self.carry, self.stacked, self.batches))

    def step(self, x: Any, y: Any) -> Any:
        """One update; the loss."""
        self.carry, loss = self.update(self.carry, (x, y))
        return loss

    def loop(self) -> Any:
        """All batches in one call; the losses."""
        self.carry, losses = self.scan(self.carry, self.stacked)
        return losses

    @staticmethod
    def wait(loss: Any) -> None:
        """Results arrive later; a step that gives its loss to Python waits for it."""
        loss.block_until_ready()


def chain(x: Any) -> Any:
    """A gelu and a sigmoid of every element."""
    return jax.nn.gelu(1.1 * x + 0.3, approximate=False) * jax.nn.sigmoid(x)


def softmax(x: Any, g: Any) -> Any:
    """The softmax of each row, and the gradient for a cotangent `g`."""
    y, pullback = jax.vjp(jax.nn.softmax, x)
    return y, *pullback(g)


def normalize(x: Any, weight: Any, bias: Any) -> Any:
    """Each row with mean 0 and variance 1, scaled and shifted."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + 1e-5) * weight + bias


def layer_norm(x: Any, weight: Any, bias: Any, g: Any) -> Any:
    """The normalised rows, and the three gradients for a cotangent `g`."""
    y, pullback = jax.vjp(normalize, x, weight, bias)
    return y, *pullback(g)


def infer(x: Any, params: Any) -> Any:
    """The network of ``infer``."""
    for weight, bias in params[:-1]:
        x = jax.nn.relu(x @ weight.T + bias)
    weight, bias = params[-1]
    return x @ weight.T + bias


def matmul(repeats: int) -> Any:
    """``a @ (... @ (a @ b))`` with `repeats` products."""

    def product(a: Any, b: Any) -> Any:
        for _ in range(repeats):
            b = a @ b
        return b

    return product


class Prepared:
    """A jitted function and its arrays."""

    def __init__(self, function: Function) -> None:
        jax.config.update("jax_enable_x64", function.dtype == "float64")
        bodies = {"chain": chain, "softmax": softmax, "layer_norm": layer_norm, "infer": infer}
        bodies["matmul"] = matmul(function.repeats)
        compiled = jax.jit(bodies[function.body])
        arrays: list[Any] = [jnp.array(array) for array in inputs(function)]
        if function.body == "infer":
            arrays.append(jax.tree.map(jnp.array, layers()))
        jax.block_until_ready(arrays)
        self.call = lambda: compiled(*arrays)

    @staticmethod
    def wait(result: Any) -> None:
        """Results arrive later."""
        jax.block_until_ready(result)

    @staticmethod
    def arrays(result: Any) -> list[np.ndarray]:
        """The results as arrays."""
        return [np.asarray(array) for array in jax.tree.leaves(result)]
