"""MNIST: 60,000 handwritten digits, five epochs, 97.5 % or more.

The images are downloaded once; COTANGENT_DATA names the folder that has or gets them.

python examples/mnist.py            compiled
python examples/mnist.py --eager    op by op
"""

import sys
import time

import numpy as np

import cotangent as ct
from cotangent import nn, optim

EPOCHS, BATCH = 5, 100

x_train, y_train, x_test, y_test = ct.data.mnist()
steps = EPOCHS * len(x_train) // BATCH

ct.manual_seed(0)
model = nn.Sequential(
    nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 10)
)
opt = optim.Adam(lr=optim.warmup(100, optim.cosine_decay(0.003, steps - 100)))


def step(x, y):
    loss = nn.cross_entropy_loss(model(x), y)
    opt.step(model, loss.backward())
    return loss


def predict(x):
    return model(x).argmax(axis=-1)


if "--eager" not in sys.argv:
    step, predict = ct.jit(step), ct.jit(predict)

for epoch in range(EPOCHS):
    start = time.perf_counter()
    model.train()
    losses = [step(x, y).item() for x, y in ct.data.batches((x_train, y_train), BATCH, epoch=epoch)]
    model.eval()
    hits = predict(x_test).numpy() == y_test
    seconds = time.perf_counter() - start
    print(f"epoch {epoch + 1}  loss {np.mean(losses):.4f}  test {hits.mean():.2%}  {seconds:.1f} s")
