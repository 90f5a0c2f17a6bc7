"""Which learning rate? 32 networks with seeds and rates of their own, trained as one.

python examples/replicas.py            compiled
python examples/replicas.py --eager    op by op
"""

import sys

import numpy as np

import cotangent as ct
from cotangent import nn, optim

RATES, SEEDS, STEPS, BATCH = np.geomspace(1e-4, 1.0, 8), 4, 600, 32


def network(seed):
    """One hidden layer; its first weights depend on the seed alone."""
    ct.manual_seed(seed)
    return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))


rng = np.random.default_rng(0)
x = rng.uniform(-3, 3, (STEPS, BATCH, 1)).astype(np.float32)
y = np.sin(2 * x)

networks = nn.stack([network(seed) for seed in range(SEEDS) for _ in RATES])
rates = np.tile(RATES, SEEDS).astype(np.float32)
opt = optim.Adam()


def one(model, rate, x, y):
    """A training step of one network, written as for a single one."""
    loss = nn.mse_loss(model(x), y)
    opt.step(model, loss.backward(), lr=rate)
    return loss


def step(x, y):
    return ct.vmap(one, in_axes=(0, 0, None, None))(networks, rates, x, y)


if "--eager" in sys.argv:
    losses = np.stack([step(*batch).numpy() for batch in zip(x, y, strict=True)])
else:
    losses = ct.jit(step).loop(x, y).numpy()

final = losses[-50:].mean(axis=0).reshape(SEEDS, len(RATES))
print("learning rate   mean squared error over the last 50 steps: median of 4 seeds, worst")
for rate, column in zip(RATES, final.T, strict=True):
    print(f"{rate:13.4f}   {np.median(column):.4f}  {column.max():.4f}")

best = nn.unstack(networks)[int(final.argmin())]
points = np.linspace(-3, 3, 200, dtype=np.float32)[:, None]
error = np.abs(best(points).numpy() - np.sin(2 * points)).max()
print(f"best network: learning rate {rates[final.argmin()]:.4f}, largest error {error:.3f}")
