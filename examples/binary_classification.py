"""Binary classification: which of two interleaved half-moons is a point on?

python examples/binary_classification.py            compiled
python examples/binary_classification.py --eager    op by op
"""

import sys

import numpy as np

import cotangent as ct
from cotangent import nn, optim

EPOCHS, BATCH = 60, 50


def moons(count, rng):
    """Points [count, 2] on two half-circles with noise, and 0 or 1 for each, [count, 1]."""
    which = rng.integers(0, 2, count)
    angle = rng.uniform(0, np.pi, count)
    x = np.where(which == 0, np.cos(angle), 1 - np.cos(angle))
    y = np.where(which == 0, np.sin(angle), 0.5 - np.sin(angle))
    points = np.stack([x, y], axis=1) + rng.normal(0, 0.1, (count, 2))
    return points.astype(np.float32), which[:, None].astype(np.float32)


rng = np.random.default_rng(0)
x_train, y_train = moons(1000, rng)
x_test, y_test = moons(1000, rng)

ct.manual_seed(0)
model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
opt = optim.SGD(lr=0.1, momentum=0.9)


def step(x, y):
    loss = nn.binary_cross_entropy_with_logits(model(x), y)
    opt.step(model, loss.backward())
    return loss


if "--eager" not in sys.argv:
    step = ct.jit(step)

for epoch in range(EPOCHS):
    order = rng.permutation(1000).reshape(-1, BATCH)
    losses = [step(x_train[rows], y_train[rows]).item() for rows in order]
    if (epoch + 1) % 20 == 0:
        print(f"epoch {epoch + 1:2}  loss {np.mean(losses):.4f}")

hits = (model(x_test).numpy() > 0) == (y_test == 1)
print(f"accuracy on new points: {hits.mean():.1%}")
