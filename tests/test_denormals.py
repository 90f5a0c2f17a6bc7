"""Running means of optimizers end at 0, not among the denormal numbers, which are slow."""

import numpy as np
import pytest

import cotangent as ct
from cotangent import optim

# Above a half, what is left of the smallest denormal number is rounded back to it.
MAKERS = {
    "adam": lambda: optim.Adam(lr=0.01, betas=(0.75, 0.75)),
    "momentum": lambda: optim.SGD(lr=0.01, momentum=0.75),
    "rmsprop": lambda: optim.RMSprop(lr=0.01, alpha=0.75, momentum=0.75, centered=True),
    "lion": lambda: optim.Lion(lr=0.01, betas=(0.75, 0.75)),
}
STEPS = 400  # 0.75**400 is 1e-50


def _means(opt, w):
    return [v.numpy() for v in opt._cells(w).values() if v.shape == w.shape]


def _gradients(dtype):
    """One gradient, then zeros: a unit that dies. The last column lives on."""
    g = np.zeros((STEPS, 3, 5), dtype)
    g[0] = 1.0
    g[:, :, 4] = 0.25
    return g


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("mode", ["eager", "calls", "loop"])
def test_the_means_of_a_dead_unit_become_zero(name, dtype, mode):
    opt, w = MAKERS[name](), ct.var("w", np.ones((3, 5)), dtype=dtype)
    gradients = _gradients(dtype)

    def step(g):
        opt.step(w, g)
        return w.sum()

    if mode == "loop":
        ct.jit(step).loop(ct.asarray(gradients))
    else:
        run = ct.jit(step) if mode == "calls" else step
        for g in gradients:
            run(ct.asarray(g))
    means = _means(opt, w)
    assert means
    for mean in means:
        assert (mean[:, :4] == 0).all()
        assert (mean[:, 4] != 0).all()


def test_what_is_not_small_stays_bit_by_bit():
    opt, w = optim.SGD(lr=0.5, momentum=0.5), ct.var("w", np.zeros(6), dtype="float32")
    g = np.array([2.0**-126, -(2.0**-126), np.nan, np.inf, 2.0**-127, -0.0], np.float32)
    opt.step(w, ct.tensor(g))
    kept = np.array([*g[:4], 0.0, 0.0], np.float32)
    np.testing.assert_array_equal(_means(opt, w)[0], kept)
    # The step itself goes by the mean as it was.
    np.testing.assert_array_equal(w.numpy(), -0.5 * g)


class Counting(optim.Optimizer):
    """An optimizer with an integer, and a mean in another dtype, in its state."""

    def __init__(self):
        self.lr = 1.0

    def init(self, parameter):
        return {
            "n": ct.zeros(parameter.shape, dtype="int32"),
            "m": ct.zeros(parameter.shape, dtype="float64"),
        }

    def update(self, xp, value, gradient, state, hyper):
        return value - gradient * hyper("lr"), {"n": state["n"] + 1, "m": state["m"] + 1e-300}


@pytest.mark.parametrize("compiled", [False, True])
def test_other_state_is_left_alone(compiled):
    opt, w = Counting(), ct.var("w", np.zeros(3), dtype="float32")
    step = (lambda f: ct.jit(f) if compiled else f)(lambda g: opt.step(w, g))
    step(ct.ones((3,)))
    n, m = _means(opt, w)[-2:]
    assert n.dtype == np.int32 and n.tolist() == [1, 1, 1]
    assert m.dtype == np.float64 and m.tolist() == [1e-300] * 3
