"""Multi-class classification: which arm of a spiral is a point on?

python examples/multiclass.py            compiled
python examples/multiclass.py --eager    op by op
"""

import sys

import numpy as np

import cotangent as ct
from cotangent import nn, optim

ARMS, EPOCHS, BATCH = 3, 60, 50

print(nn.recommend("classes"), end="\n\n")


def spiral(count, rng):
    """Points [count, 2] on the arms of a spiral with noise, and the number of the arm, [count]."""
    arm = rng.integers(0, ARMS, count)
    radius = rng.uniform(0.1, 1.0, count)
    angle = 2 * np.pi * arm / ARMS + 4 * radius + rng.normal(0, 0.1, count)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return points.astype(np.float32), arm


rng = np.random.default_rng(0)
x_train, y_train = spiral(1500, rng)
x_test, y_test = spiral(1000, rng)

ct.manual_seed(0)
model = nn.Sequential(
    nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, ARMS)
)
opt = optim.AdamW(optim.cosine_decay(0.01, EPOCHS * 1500 // BATCH))


def step(x, y):
    loss = nn.cross_entropy_loss(model(x), y)
    opt.step(model, loss.backward())
    return loss


if "--eager" not in sys.argv:
    step = ct.jit(step)

for epoch in range(EPOCHS):
    batches = ct.data.batches((x_train, y_train), BATCH, epoch=epoch)
    losses = [step(x, y).item() for x, y in batches]
    if (epoch + 1) % 20 == 0:
        print(f"epoch {epoch + 1:2}  loss {np.mean(losses):.4f}")

hits = model(x_test).argmax(axis=-1).numpy() == y_test
print(f"accuracy on new points: {hits.mean():.1%}")
