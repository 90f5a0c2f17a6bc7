"""XOR, the smallest problem that needs a hidden layer: a 2-8-1 network, one sample at a time.

python examples/xor.py            compiled
python examples/xor.py --eager    op by op
"""

import sys

import numpy as np

import cotangent as ct
from cotangent import nn, optim

EPOCHS = 400
INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
TARGETS = np.array([[0], [1], [1], [0]], np.float32)


class XOR(nn.Module):
    """Two inputs, eight hidden units, one output."""

    def __init__(self):
        self.hidden = nn.Linear(2, 8)
        self.output = nn.Linear(8, 1)

    def forward(self, x):
        return self.output(self.hidden(x).relu())


ct.manual_seed(0)
model = XOR()
opt = optim.Adam(lr=0.01)


def step(x, y):
    loss = nn.mse_loss(model(x), y)
    opt.step(model, loss.backward())
    return loss


if "--eager" not in sys.argv:
    step = ct.jit(step)

for epoch in range(EPOCHS):
    losses = [step(x, y).item() for x, y in zip(INPUTS[:, None], TARGETS[:, None], strict=True)]
    if (epoch + 1) % 100 == 0:
        print(f"epoch {epoch + 1:3}  loss {sum(losses) / 4:.6f}")

for x, y in zip(INPUTS, model(INPUTS).numpy(), strict=True):
    print(f"{x[0]:.0f} xor {x[1]:.0f} = {y[0]:.2f}")
