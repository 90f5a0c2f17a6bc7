"""Gradient check: the gradients of a network against differences of its loss, in float64.

python examples/gradient_check.py            compiled
python examples/gradient_check.py --eager    op by op
"""

import sys

import numpy as np

import cotangent as ct
from cotangent import nn

H = 1e-5  # the central difference is off by about H**2, and by rounding over H

ct.set_default_dtype(ct.float64)
ct.manual_seed(0)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(16, 4)), rng.integers(0, 3, 16)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3))


def loss():
    return nn.cross_entropy_loss(model(x), y, label_smoothing=0.1)


def gradients():
    return loss().backward()


if "--eager" not in sys.argv:
    loss, gradients = ct.jit(loss), ct.jit(gradients)

grads = gradients()
worst = 0.0
for name, parameter in model.named_parameters():
    values = parameter.numpy()
    slopes = np.zeros(values.shape)
    for place in np.ndindex(values.shape):
        ends = []
        for sign in (1, -1):
            moved = values.copy()
            moved[place] += sign * H
            parameter.assign(moved)
            ends.append(loss().item())
        slopes[place] = (ends[0] - ends[1]) / (2 * H)
    parameter.assign(values)
    error = np.abs(slopes - grads.wrt(parameter).numpy()).max() / np.abs(slopes).max()
    worst = max(worst, error)
    print(f"{name:10} {values.size:3} numbers, relative error {error:.1e}")

print(f"largest relative error: {worst:.1e}")
