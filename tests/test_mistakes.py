"""What users get wrong, and what they are told: one row a mistake.

A message names the operation (and the layer, where there is one), the full shapes as passed, and
the fix. Each error is one of the library's own and also the built-in exception that people expect.
"""

from __future__ import annotations

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim
from cotangent.errors import (
    ArgumentError,
    ArgumentTypeError,
    BoundsError,
    DTypeError,
    Error,
    GradientError,
    MutationError,
    ShapeError,
    TraceError,
    UnknownKeyError,
)


class Net(nn.Module):
    """Layers in a list, so that paths have several parts."""

    def __init__(self):
        self.layers = [nn.Linear(2, 8), nn.Linear(8, 1)]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


W = ct.var("w", [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
X = ct.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def _unknown_key():
    model = nn.Linear(2, 1)
    model.load_state_dict({"weigth": np.ones((1, 2)), "bias": np.ones(1)})


def _wrong_shape_in_state():
    nn.Linear(2, 1).load_state_dict({"weight": np.ones((2, 1)), "bias": np.ones(1)})


def _branch_on_a_trace():
    @ct.jit
    def f(x):
        return x if x.sum() > 0 else -x

    f(X)


def _number_of_a_trace():
    @ct.jit
    def f(x):
        return x * x.sum().item()

    f(X)


def _augmented():
    w = W
    w += 1.0


def _twice():
    loss = (W * W).sum()
    loss.backward()
    loss.backward()


def _loss_of_columns():
    return nn.mse_loss(ct.ones((64, 1)), ct.ones(64))


LOGITS = ct.zeros((4, 3))

MISTAKES = {
    # layers and losses
    "wrong width into a layer": (
        lambda: Net()(ct.ones((5, 3))), ShapeError, ValueError,
        ["Linear(2 -> 8)", "(5, 3)", "expected 2", "in layer layers.0: Linear(2 -> 8)"],
    ),
    "wrong width between layers": (
        lambda: nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(4, 1))(ct.ones((5, 2))),
        ShapeError, ValueError, ["(5, 8)", "expected 4", "in layer 2: Linear(4 -> 1)"],
    ),
    "(64, 1) against (64,)": (
        _loss_of_columns, ShapeError, ValueError,
        ["mse_loss", "(64, 1)", "(64,)", ".reshape((64, 1))"],
    ),
    "float class indices": (
        lambda: nn.cross_entropy_loss(LOGITS, ct.zeros(4)), DTypeError, TypeError,
        ["cross_entropy_loss", "integers", "float32", "(4,)", ".astype(ct.int64)"],
    ),
    "one-hot labels as indices": (
        lambda: nn.cross_entropy_loss(LOGITS, np.zeros((4, 3), int)), ShapeError, ValueError,
        ["cross_entropy_loss", "(4, 3)", "(4,)", "soft_cross_entropy_loss"],
    ),
    "a label out of range": (
        lambda: nn.cross_entropy_loss(LOGITS, [0, 1, 2, 3]), BoundsError, IndexError,
        ["cross_entropy_loss", "index 3 is out of range", "0 to 2", "(4,)"],
    ),
    "an unknown reduction": (
        lambda: nn.mse_loss(X, X, reduction="avg"), ArgumentError, ValueError,
        ["mse_loss", "'avg'", "mean", "sum", "none"],
    ),
    # optimizers and state
    "a negative learning rate": (
        lambda: optim.Adam(lr=-0.1), ArgumentError, ValueError,
        ["Adam", "lr", "not negative", "-0.1"],
    ),
    "a gradient where Gradients belong": (
        lambda: optim.SGD(lr=0.1).step(Net(), X), ArgumentTypeError, TypeError,
        ["SGD.step", "loss.backward()", "Tensor"],
    ),
    "an unknown key": (
        _unknown_key, UnknownKeyError, KeyError,
        ["load_state_dict", "missing", "'weight'", "'weigth'", "strict=False"],
    ),
    "a state of other sizes": (
        _wrong_shape_in_state, ShapeError, ValueError,
        ["load_state_dict", "'weight'", "(1, 2)", "(2, 1)", "same sizes"],
    ),
    # shapes
    "shapes that do not broadcast": (
        lambda: X + ct.ones(4), ShapeError, ValueError,
        ["add", "(2, 3)", "(4,)", "axis -1", "3 and 4", "expand_dims"],
    ),
    "matmul of mismatched sides": (
        lambda: X @ X, ShapeError, ValueError,
        ["matmul", "(2, 3) @ (2, 3)", "3", "2", ".mT"],
    ),
    "matmul with a number": (
        lambda: X @ 2.0, ShapeError, ValueError, ["matmul", "(2, 3)", "()", "*"],
    ),
    "reshape to another size": (
        lambda: X.reshape(4, -1), ShapeError, ValueError,
        ["reshape", "(2, 3)", "6 elements", "(4, -1)"],
    ),
    "an axis that is not there": (
        lambda: X.sum(axis=2), BoundsError, IndexError,
        ["sum", "axis 2", "(2, 3)", "2 axes"],
    ),
    "an axis that is no integer": (
        lambda: X.sum(axis="rows"), ArgumentTypeError, TypeError, ["sum", "axis", "'rows'"],
    ),
    "an index out of range": (
        lambda: ct.take(X, [0, 7]), BoundsError, IndexError,
        ["take", "index 7", "0 to 1", "(2,)"],
    ),
    "a ragged list": (
        lambda: ct.tensor([[1.0, 2.0], [3.0]]), ShapeError, ValueError, ["tensor", "ragged"],
    ),
    "item of a vector": (
        lambda: X.item(), ShapeError, ValueError, ["item", "(2, 3)", "6 elements"],
    ),
    "an assignment of another shape": (
        lambda: W.assign(ct.ones(3)), ShapeError, ValueError,
        ["assign", "w", "(2, 3)", "(3,)", "reshape or broadcast"],
    ),
    # dtypes
    "complex numbers": (
        lambda: ct.tensor([1j]), DTypeError, TypeError, ["tensor", "complex128", "floats"],
    ),
    "a mean of integers": (
        lambda: ct.mean(ct.tensor([1, 2])), DTypeError, TypeError,
        ["mean", "int64", "(2,)", ".astype(ct.float32)"],
    ),
    "a condition that is no bool": (
        lambda: ct.where(X, 1.0, 0.0), DTypeError, TypeError,
        ["where", "float32", "(2, 3)", "x > 0"],
    ),
    # gradients
    "backward of a non-scalar": (
        lambda: (W * 2).backward(), GradientError, RuntimeError,
        ["backward", "scalar", "(2, 3)", ".sum()", "ct.vjp"],
    ),
    "backward of nothing": (
        lambda: X.sum().backward(), GradientError, RuntimeError,
        ["backward", "tracked", "ct.var", "no_grad()"],
    ),
    "the gradient of an unused variable": (
        lambda: W.sum().backward().wrt(ct.var("other", 1.0)), GradientError, RuntimeError,
        ["wrt", "other", "()", "had no part", "detach()"],
    ),
    "a gradient by tensor": (
        lambda: W.sum().backward().wrt(X), ArgumentTypeError, TypeError, ["ct.var", "ct.grad"],
    ),
    "backward twice": (
        _twice, GradientError, RuntimeError, ["backward", "consumed", "keep=True"],
    ),
    "grad of a loss": (
        lambda: ct.grad(X.sum()), ArgumentTypeError, TypeError, ["grad", "loss.backward()"],
    ),
    # tensors are values
    "assignment to an item": (
        lambda: X.__setitem__(0, 1.0), MutationError, TypeError,
        ["x[0] = ...", "(2, 3)", "ct.where", "w.assign"],
    ),
    "augmented assignment": (
        _augmented, MutationError, TypeError, ["w += ...", "w.assign(w + ...)"],
    ),
    "a variable without a name": (
        lambda: ct.var([1.0]), TypeError, TypeError, [],
    ),
    "name and data exchanged": (
        lambda: ct.var(np.ones(2), "w"), ArgumentTypeError, TypeError, ["ct.var('w', data)"],
    ),
    # odd dtypes and containers
    "an array of objects": (
        lambda: ct.tensor(np.array([None, 1])), DTypeError, TypeError, ["tensor", "object"],
    ),
    "text": (lambda: ct.tensor(["a", "b"]), DTypeError, TypeError, ["tensor", "<U1"]),
    "a set": (lambda: ct.tensor({1.0, 2.0}), DTypeError, TypeError, ["tensor", "set"]),
    "a dtype that is none": (
        lambda: ct.zeros(3, dtype="float33"), DTypeError, TypeError, ["'float33'", "ct.float32"],
    ),
    "a cast to complex": (
        lambda: X.astype("complex64"), DTypeError, TypeError, ["complex64", "not supported"],
    ),
    "integers without a common dtype": (
        lambda: ct.tensor(np.ones(2, "uint64")) + ct.tensor([1, 2]), DTypeError, TypeError,
        ["add", "uint64", "int64", ".astype"],
    ),
    "a difference of bools": (
        lambda: ct.tensor([True]) - ct.tensor([False]), DTypeError, TypeError,
        ["subtract", "bool", "logical_and"],
    ),
    "a number that does not fit": (
        lambda: ct.tensor([300], dtype="int8"), ArgumentError, ValueError, ["300", "int8"],
    ),
    "tensors that are not in a list": (
        lambda: ct.concat(X, X), ArgumentTypeError, TypeError, ["concat", "list", "Tensor"],
    ),
    "a generator of tensors": (
        lambda: ct.stack(x for x in [X]), ArgumentTypeError, TypeError, ["stack", "generator"],
    ),
    "tensors of other widths": (
        lambda: ct.concat([X, ct.ones((2, 4))]), ShapeError, ValueError,
        ["concat", "(2, 4)", "(2, 3)"],
    ),
    # axes, indices, sizes
    "an axis twice": (
        lambda: X.sum(axis=(0, -2)), ShapeError, ValueError, ["sum", "twice", "(2, 3)"],
    ),
    "an axis that is a float": (
        lambda: X.sum(axis=1.0), ArgumentTypeError, TypeError, ["sum", "integer", "1.0"],
    ),
    "an axis that is an array": (
        lambda: X.sum(axis=np.array([0, 1])), ArgumentTypeError, TypeError, ["sum", "axis"],
    ),
    "an index that is a float": (
        lambda: X[0.5], ArgumentTypeError, TypeError, ["indexing", "0.5"],
    ),
    "too many indices": (
        lambda: X[0, 0, 0], BoundsError, IndexError, ["3 indices", "(2, 3)", "2 axes"],
    ),
    "a mask of another shape": (
        lambda: X[np.ones(3, bool)], ShapeError, ValueError, ["mask", "(3,)", "(2, 3)"],
    ),
    "pads of three numbers": (
        lambda: ct.pad(X, [(1, 2, 3)]), ArgumentTypeError, TypeError, ["pad", "a pair", "(2, 3)"],
    ),
    "parts that do not add up": (
        lambda: ct.split(X, [1, 1, 5]), ShapeError, ValueError, ["split", "(1, 1, 5)", "(2, 3)"],
    ),
    "a shape of text": (
        lambda: ct.zeros(("a",)), ArgumentTypeError, TypeError, ["zeros", "integers", "'a'"],
    ),
    "a shape larger than memory": (
        lambda: ct.zeros((10**12, 10**12)), ShapeError, ValueError, ["zeros", "memory"],
    ),
    "einsum with letters that are not there": (
        lambda: ct.einsum("ij,jk->iz", X, X.T), ArgumentError, ValueError,
        ["einsum", "'ij,jk->iz'"],
    ),
    "einsum with a letter of two sizes": (
        lambda: ct.einsum("ij,jk->ik", X, X), ShapeError, ValueError, ["einsum", "'j'", "3", "2"],
    ),
    "einsum with the tensor first": (
        lambda: ct.einsum(X, "ij->i"), ArgumentTypeError, TypeError, ["einsum", "come first"],
    ),
    "too many tensors for an op": (
        lambda: ct.exp(X, X), ArgumentTypeError, TypeError, ["exp", "1 tensor", "not 2"],
    ),
    "a matrix that is not positive definite": (
        lambda: ct.cholesky([[1.0, 2.0], [2.0, 1.0]]), ArgumentError, ValueError,
        ["cholesky", "positive definite", "ct.eye"],
    ),
    "a function of NumPy that is not ours": (
        lambda: np.hypot(X, X), ArgumentTypeError, TypeError, ["np.hypot", "t.numpy()"],
    ),
    # layers, losses, optimizers
    "a width that is a float": (
        lambda: nn.Linear(2.5, 1), ArgumentTypeError, TypeError, ["Linear", "in_features", "2.5"],
    ),
    "a negative width": (
        lambda: nn.Linear(2, -1), ArgumentError, ValueError, ["Linear", "out_features", "-1"],
    ),
    "a dropout of everything": (
        lambda: nn.Dropout(1.5), ArgumentError, ValueError, ["Dropout", "[0, 1)", "1.5"],
    ),
    "an index beyond the embedding": (
        lambda: nn.Embedding(3, 2)([0, 3]), BoundsError, IndexError, ["Embedding", "index 3"],
    ),
    "a batch norm of one row": (
        lambda: nn.BatchNorm1d(3)(ct.ones((1, 3))), ShapeError, ValueError,
        ["BatchNorm1d", "(1, 3)", "eval()"],
    ),
    "an empty batch": (
        lambda: nn.mse_loss(ct.zeros((0, 3)), ct.zeros((0, 3))), ShapeError, ValueError,
        ["mse_loss", "(0, 3)", "empty"],
    ),
    "probabilities that are none": (
        lambda: nn.binary_cross_entropy(ct.full((2,), 1.5), ct.ones(2)), ArgumentError, ValueError,
        ["binary_cross_entropy", "[0, 1]", "logits"],
    ),
    "a layer that is a number": (
        lambda: nn.Sequential(3), ArgumentTypeError, TypeError, ["Sequential", "layer 0"],
    ),
    "a state that is a list": (
        lambda: nn.Linear(2, 1).load_state_dict([1.0]), ArgumentTypeError, TypeError,
        ["load_state_dict", "dict", "list"],
    ),
    "a state of text": (
        lambda: nn.Linear(1, 1).load_state_dict({"weight": np.array([["a"]]), "bias": [0.0]}),
        DTypeError, TypeError, ["load_state_dict", "'weight'", "<U1"],
    ),
    "a learning rate that is NaN": (
        lambda: optim.SGD(lr=float("nan")), ArgumentError, ValueError, ["SGD", "lr", "nan"],
    ),
    "a learning rate of text": (
        lambda: optim.Adam(lr="0.1"), ArgumentTypeError, TypeError, ["Adam", "lr", "'0.1'"],
    ),
    "a decay above 1": (
        lambda: optim.Adam(lr=0.1, betas=(0.9, 1.5)), ArgumentError, ValueError,
        ["Adam", "betas[1]", "1.5"],
    ),
    "a negative norm to clip to": (
        lambda: optim.clip_norm(W.sum().backward(), -1.0), ArgumentError, ValueError,
        ["clip_norm", "-1.0"],
    ),
    "an argument that is not there": (
        lambda: ct.grad(lambda x: x.sum(), argnums=3)(X), ArgumentError, ValueError,
        ["argnums=3", "1 positional"],
    ),
    "a layer that was not watched": (
        lambda: nn.watch(nn.Linear(2, 1)).outputs["x"], UnknownKeyError, KeyError,
        ["watch", "'x'", "none yet"],
    ),
    # the compiler
    "no function to compile": (
        lambda: ct.jit(3), ArgumentTypeError, TypeError, ["jit", "@ct.jit"],
    ),
    "explain before the first call": (
        lambda: ct.jit(lambda x: x).explain(), ArgumentError, ValueError, ["explain", "call"],
    ),
    "a loop over other lengths": (
        lambda: ct.jit(lambda x, y: x + y).loop(np.ones((3, 2)), np.ones((4, 2))), ShapeError,
        ValueError, ["loop", "(3, 2)", "(4, 2)"],
    ),
    "control flow on a traced value": (
        _branch_on_a_trace, TraceError, RuntimeError,
        ["if", "shape ()", "test_mistakes.py:", "ct.where"],
    ),
    "a number of a traced value": (
        _number_of_a_trace, TraceError, RuntimeError, ["numpy()", "test_mistakes.py:", "return"],
    ),
}  # fmt: skip

NEED_JIT = {"control flow on a traced value", "a number of a traced value"}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake):
    code, kind, builtin, phrases = MISTAKES[mistake]
    if mistake in NEED_JIT and not hasattr(ct, "jit"):
        pytest.skip("ct.jit does not exist yet")
    with pytest.raises(kind) as caught:
        code()
    assert isinstance(caught.value, builtin)
    if issubclass(kind, Error):
        assert type(caught.value) is kind
    missing = [phrase for phrase in phrases if phrase not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


def test_a_mistake_changes_nothing():
    before = W.tolist()
    for mistake in MISTAKES:
        if mistake not in NEED_JIT:
            with pytest.raises(Exception):  # noqa: B017
                MISTAKES[mistake][0]()
    assert W.tolist() == before
    assert (W * 2).sum().backward().wrt(W).tolist() == [[2.0] * 3] * 2


def test_errors_show_the_layer_and_stay_catchable():
    net = Net()
    with pytest.raises(ValueError, match="in layer") as caught:
        net(ct.ones((5, 3)))
    assert caught.value.layer.endswith("layers.0")
    assert caught.value.message in str(caught.value)
