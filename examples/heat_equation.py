"""A physics-informed network: solve u_t = u_xx / 10 by penalising what violates it.

The network takes (x, t) and is asked to start as sin(pi x), to be 0 at x = 0 and x = 1, and to
obey the equation at random points; its derivatives are taken through the network. The exact
solution is exp(-pi**2 t / 10) sin(pi x).

python examples/heat_equation.py            compiled
python examples/heat_equation.py --eager    op by op
"""

import sys

import numpy as np

import cotangent as ct
from cotangent import nn, optim

STEPS, POINTS, DIFFUSION = 1500, 128, 0.1

ct.manual_seed(0)
net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
opt = optim.Adam(lr=optim.cosine_decay(0.01, STEPS))


def u(x, t):
    """The network's solution, forced to be 0 at both ends; x, t and u have the shape [n, 1]."""
    inputs = x * np.float32([[1, 0]]) + t * np.float32([[0, 1]])
    return net(inputs) * x * (1 - x)


def along(f):
    """The derivative of each row of f(x, t) with respect to the same row of x."""
    return ct.grad(lambda x, t: f(x, t).sum(), argnums=0)


u_x = along(u)
u_xx = along(u_x)
u_t = ct.grad(lambda x, t: u(x, t).sum(), argnums=1)


def step(x, t):
    equation = u_t(x, t) - DIFFUSION * u_xx(x, t)
    start = u(x, 0 * t) - ct.sin(np.pi * x)
    loss = (equation * equation).mean() + 10 * (start * start).mean()
    opt.step(net, loss.backward())
    return loss


if "--eager" not in sys.argv:
    step = ct.jit(step)

rng = np.random.default_rng(0)
for i in range(STEPS):
    x, t = rng.random((2, POINTS, 1), dtype=np.float32)
    loss = step(x, t)
    if (i + 1) % 500 == 0:
        print(f"step {i + 1:4}  loss {loss.item():.6f}")

x, t = (axis.reshape(-1, 1) for axis in np.meshgrid(*[np.linspace(0, 1, 41, dtype=np.float32)] * 2))
exact = np.exp(-DIFFUSION * np.pi**2 * t) * np.sin(np.pi * x)
print(f"largest error against the exact solution: {np.abs(u(x, t).numpy() - exact).max():.4f}")
