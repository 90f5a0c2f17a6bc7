"""Regression: learn a noisy curve, y = sin(3x) + x/2, from 512 points.

python examples/regression.py            compiled
python examples/regression.py --eager    op by op
"""

import sys

import numpy as np

import cotangent as ct
from cotangent import nn, optim

EPOCHS, BATCH, NOISE = 100, 32, 0.1

rng = np.random.default_rng(0)
x_train = rng.uniform(-2, 2, (512, 1)).astype(np.float32)
y_train = np.sin(3 * x_train) + x_train / 2 + NOISE * rng.standard_normal((512, 1))
y_train = y_train.astype(np.float32)

ct.manual_seed(0)
model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
opt = optim.Adam(lr=0.005)


def step(x, y):
    loss = nn.mse_loss(model(x), y)
    opt.step(model, loss.backward())
    return loss


if "--eager" not in sys.argv:
    step = ct.jit(step)

for epoch in range(EPOCHS):
    order = rng.permutation(512).reshape(-1, BATCH)
    losses = [step(x_train[rows], y_train[rows]).item() for rows in order]
    if (epoch + 1) % 25 == 0:
        print(f"epoch {epoch + 1:3}  loss {np.mean(losses):.4f}")

grid = np.linspace(-2, 2, 201, dtype=np.float32)[:, None]
truth = np.sin(3 * grid) + grid / 2
error = np.sqrt(np.mean((model(grid).numpy() - truth) ** 2))
print(f"error against the curve without noise: {error:.3f} (the noise was {NOISE})")
