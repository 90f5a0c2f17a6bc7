"""Every public name compiles to what it means eagerly, or is an error at trace time.

The tables are checked against ``__all__`` of `ct`, `nn` and `optim`: a new public function fails
here until it has a row, or a reason why it has none.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim
from cotangent.tree import flatten

RNG = np.random.default_rng(0)
X = RNG.uniform(0.1, 0.9, (5, 6))  # in the domain of every function of one argument
Y = RNG.uniform(0.1, 0.9, (5, 6))
W = RNG.uniform(-1, 1, (6, 6))
SQUARE = W @ W.T + 6 * np.eye(6)
ONE_TO = RNG.uniform(1.1, 3, (5, 6))
INTS, OTHER_INTS = RNG.integers(1, 9, (2, 5, 6))
BOOLS = RNG.random((5, 6)) < 0.5
INDEX = RNG.integers(0, 5, 7)
CLASSES = RNG.integers(0, 6, 5)


def _parts(result):
    """The arrays of a nested result."""
    if isinstance(result, ct.Gradients):
        result = list(result)
    leaves = flatten(result)[0]
    return [np.asarray(x) for x in leaves]


def _agree(f, *args, rtol=1e-9):
    """Compiled, `f` gives what it gives eagerly; so does its gradient, where it has one."""
    args = [ct.asarray(x) for x in args]
    eager, compiled = _parts(f(*args)), _parts(ct.jit(f)(*args))
    assert len(eager) == len(compiled)
    for x, y in zip(eager, compiled, strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(y.astype("float64"), x.astype("float64"), rtol=rtol, atol=1e-12)
    return eager


def _slopes(f, floats):
    """A function that gives the gradients of a sum of what `f` gives."""

    def total(*args):
        leaves = [x for x in flatten(f(*args))[0] if np.dtype(x.dtype).kind == "f"]
        return sum(ct.sum(ct.square(x) + x) for x in leaves)

    return ct.grad(total, argnums=floats)


UNARY = {
    name: (getattr(ct, name), X)
    for name in (
        "abs", "absolute", "acos", "argmax", "argmin", "argsort", "asin", "asinh", "atan", "atanh",
        "ceil", "cos", "cosh", "count_nonzero", "cumulative_prod", "cumulative_sum", "diagonal",
        "diff", "erf", "exp", "exp2", "expm1", "flatten", "floor", "isfinite", "isinf", "isnan",
        "log", "log10", "log1p", "log2", "log_softmax", "logsumexp", "matrix_transpose", "max",
        "mean", "median", "min", "nan_to_num", "negative", "norm", "ones_like", "prod",
        "reciprocal", "relu", "round", "sigmoid", "sign", "sin", "sinh", "softmax", "softplus",
        "sort", "sqrt", "square", "std", "sum", "tan", "tanh", "tril", "triu", "trunc", "unstack",
        "variance", "zeros_like", "diag", "trace", "any", "all",
    )
}  # fmt: skip
UNARY |= {"cumulative_sum": (lambda x: ct.cumulative_sum(x, axis=1), X),
          "cumulative_prod": (lambda x: ct.cumulative_prod(x, axis=1), X),
          "acosh": (ct.acosh, ONE_TO), "cholesky": (ct.cholesky, SQUARE),
          "any": (lambda x: ct.any(x > 0.5, axis=0), X), "diag": (ct.diag, X[0]),
          "all": (lambda x: ct.all(x > 0.2, axis=0), X)}  # fmt: skip
BINARY = {
    name: (getattr(ct, name), X, Y)
    for name in (
        "add", "atan2", "divide", "equal", "floor_divide", "greater", "greater_equal", "hypot",
        "isclose", "less", "less_equal", "logaddexp", "maximum", "minimum", "mul_no_nan",
        "multiply", "not_equal", "pow", "power", "remainder", "subtract", "vecdot", "xlogy",
    )
}  # fmt: skip
WHOLE = {
    name: (getattr(ct, name), INTS, OTHER_INTS)
    for name in ("bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift",
                 "bitwise_xor")
}  # fmt: skip
LOGIC = {
    name: (getattr(ct, name), BOOLS, ~BOOLS) for name in ("logical_and", "logical_or",
                                                         "logical_xor")
}  # fmt: skip
OTHERS = {
    "bitwise_invert": (ct.bitwise_invert, INTS), "logical_not": (ct.logical_not, BOOLS),
    "arange": (lambda x: x[0] + ct.arange(6, dtype="float64"), X),
    "asarray": (lambda x: x + ct.asarray(x) * 2, X),
    "tensor": (lambda x: x + ct.tensor(x * 2, dtype="float32"), X),
    "astype": (lambda x: ct.astype(x, "float32"), X),
    "broadcast_arrays": (lambda x, y: ct.broadcast_arrays(x, y[0]), X, Y),
    "broadcast_to": (lambda x: ct.broadcast_to(x, (2, 5, 6)), X),
    "checkpoint": (lambda x: ct.checkpoint(lambda x: ct.tanh(x) * x)(x), X),
    "chunk": (lambda x: ct.chunk(x, 3, axis=1), X), "clip": (lambda x: ct.clip(x, 0.3, 0.6), X),
    "concat": (lambda x, y: ct.concat([x, y], axis=1), X, Y),
    "cross": (lambda x, y: ct.cross(x[:, :3], y[:, 3:]), X, Y),
    "einsum": (lambda x, y: ct.einsum("ij,kj->ik", x, y), X, Y),
    "expand_dims": (lambda x: ct.expand_dims(x, axis=1), X),
    "eye": (lambda x: x @ ct.eye(6, dtype="float64"), X), "flip": (ct.flip, X),
    "full": (lambda x: x + ct.full((5, 6), 2.0, dtype="float64"), X),
    "grad": (lambda x: ct.grad(lambda x: ct.sum(ct.tanh(x) ** 2))(x), X),
    "hessian": (ct.hessian(lambda x: ct.sum(x**3)), X[0]),
    "isin": (lambda x: ct.isin(x, [1, 2]), INTS),
    "jacobian": (ct.jacobian(lambda x: x**2), X[0]),
    "jit": (lambda x: ct.jit(ct.tanh)(x) * 2, X),
    "jvp": (lambda x, t: ct.jvp(ct.tanh, (x,), (t,)), X, Y),
    "lerp": (lambda x, y: ct.lerp(x, y, 0.25), X, Y),
    "linspace": (lambda x: x[0] + ct.linspace(0, 1, 6, dtype="float64"), X),
    "masked_fill": (lambda x, m: ct.masked_fill(x, m, 2.0), X, BOOLS),
    "matmul": (ct.matmul, X, W), "meshgrid": (lambda x, y: ct.meshgrid(x[0], y[0]), X, Y),
    "moveaxis": (lambda x: ct.moveaxis(x, 0, 1), X),
    "no_grad": (lambda x: _without_gradient(x), X),
    "one_hot": (lambda i: ct.one_hot(i, 6), CLASSES),
    "outer": (lambda x, y: ct.outer(x[0], y[0]), X, Y),
    "ones": (lambda x: x + ct.ones((5, 6), dtype="float64"), X),
    "pad": (lambda x: ct.pad(x, ((1, 2), (0, 1))), X),
    "permute_dims": (lambda x: ct.permute_dims(x, (1, 0)), X),
    "quantile": (lambda x: ct.quantile(x, 0.3, axis=1), X),
    "repeat": (lambda x: ct.repeat(x, 2, axis=0), X),
    "reshape": (lambda x: ct.reshape(x, (3, 10)), X), "roll": (lambda x: ct.roll(x, 2, axis=1), X),
    "searchsorted": (lambda x, y: ct.searchsorted(ct.sort(x[0]), y), X, Y),
    "solve_triangular": (lambda a, x: ct.solve_triangular(a, x.T), SQUARE, X),
    "split": (lambda x: ct.split(x, 2, axis=1), X),
    "squeeze": (lambda x: ct.squeeze(x[None], axis=0), X),
    "stack": (lambda x, y: ct.stack([x, y], axis=1), X, Y),
    "swapaxes": (lambda x: ct.swapaxes(x, 0, 1), X), "take": (lambda x, i: ct.take(x, i), X, INDEX),
    "take_along_axis": (lambda x, i: ct.take_along_axis(x, i[:, None], axis=1), X, CLASSES),
    "tensordot": (lambda x, y: ct.tensordot(x, y, 2), X, Y),
    "tile": (lambda x: ct.tile(x, (2, 1)), X), "topk": (lambda x: ct.topk(x, 3), X),
    "value_and_grad": (lambda x: ct.value_and_grad(lambda x: ct.sum(x**2))(x), X),
    "vjp": (lambda x, y: ct.vjp(ct.tanh, x)[1](y), X, Y),
    "vmap": (lambda x: ct.vmap(lambda row: ct.softmax(row) * row[0])(x), X),
    "where": (lambda m, x, y: ct.where(m, x, y), BOOLS, X, Y),
    "zeros": (lambda x: x + ct.zeros((5, 6), dtype="float64"), X),
    "custom_vjp": (lambda x: DOUBLED(x), X),
    "allclose": (lambda x: x * ct.allclose(np.ones(2), np.ones(2)), X),
}  # fmt: skip
FUNCTIONS = UNARY | BINARY | WHOLE | LOGIC | OTHERS


def _doubled(x):
    return x * 2


DOUBLED = ct.custom_vjp(_doubled)
DOUBLED.defvjp(lambda x: (x * 2, None), lambda saved, g: (g * 2,))


def _without_gradient(x):
    with ct.no_grad():
        return x * 2


# Public names that are no functions of tensors.
NO_FUNCTIONS = {
    "types": ["Gradients", "Tensor", "Variable"],
    "errors": [name for name in ct.__all__ if name == "Error" or name.endswith("Error")],
    "dtypes and numbers": ["bfloat16", "bool_", "float16", "float32", "float64", "int8", "int16",
                           "int32", "int64", "uint8", "uint16", "uint32", "uint64", "e", "inf",
                           "nan", "newaxis", "pi", "finfo", "iinfo", "result_type"],
    "modules": ["data", "io", "nn", "optim", "random", "tabular", "testing",
                "train", "viz"],
    "settings of the host": ["backend", "debug_nans", "default_dtype", "get_num_threads",
                             "manual_seed", "set_default_dtype", "set_num_threads", "__version__"],
    "files": ["load", "save"], "variables are made before a trace": ["var"],
    "an error at trace time, tested below": ["nonzero"],
}  # fmt: skip


def test_every_public_function_has_a_row_or_a_reason():
    reasons = set(itertools.chain(*NO_FUNCTIONS.values()))
    assert set(ct.__all__) == FUNCTIONS.keys() | reasons
    assert not FUNCTIONS.keys() & reasons


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    f, *args = FUNCTIONS[name]
    results = _agree(f, *args)
    floats = tuple(i for i, x in enumerate(args) if x.dtype.kind == "f")
    if floats and any(x.dtype.kind == "f" for x in results):
        _agree(_slopes(f, floats), *args, rtol=1e-8)
        if name not in ("hessian", "cholesky"):
            slopes = _slopes(f, floats)
            _agree(_slopes(lambda *a: list(slopes(*a)), floats), *args, rtol=1e-7)


# -- nn ----------------------------------------------------------------------------------------

ACTIVATIONS = ["elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_sigmoid",
               "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax",
               "softplus", "softsign", "tanh", "layer_norm", "rms_norm"]  # fmt: skip
LOSSES = {
    "binary_cross_entropy": (X, Y), "binary_cross_entropy_with_logits": (W[:5], Y),
    "cross_entropy_loss": (W[:5], CLASSES), "gaussian_nll_loss": (X, Y, ONE_TO),
    "huber_loss": (X, Y), "kl_div_loss": (np.log(X), Y), "l1_loss": (X, Y), "mse_loss": (X, Y),
    "nll_loss": (np.log(X), CLASSES), "poisson_nll_loss": (X, Y),
    "quantile_loss": (X, Y), "smooth_l1_loss": (X, Y), "soft_cross_entropy_loss": (W[:5], Y),
    "prelu": (W[:5], X[0]),
}  # fmt: skip
LAYERS = {
    "BatchNorm1d": lambda: nn.BatchNorm1d(6), "Dropout": lambda: nn.Dropout(0.5),
    "Flatten": nn.Flatten, "Identity": nn.Identity, "LayerNorm": lambda: nn.LayerNorm(6),
    "Linear": lambda: nn.Linear(6, 3), "RMSNorm": lambda: nn.RMSNorm(6), "PReLU": nn.PReLU,
    "Sequential": lambda: nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)),
    **{name: getattr(nn, name) for name in (
        "ELU", "GELU", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid",
        "LogSoftmax", "Mish", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softplus",
        "Softsign", "Tanh")},
}  # fmt: skip
ELSEWHERE = {
    "dropout": "the layer has a row", "Embedding": "has a test below", "Module": "is a base",
    "Recommendation": "is a record", "recommend": "advice", "init": "a module",
    "load_state_dict": "of the host", "named_parameters": "of the host",
    "parameters": "of the host", "state_dict": "of the host", "watch": "of the host",
    "stack": "makes variables: test_replicas", "unstack": "makes variables",
}  # fmt: skip


def test_every_name_of_nn_has_a_row_or_a_reason():
    assert set(nn.__all__) == {*ACTIVATIONS, *LOSSES, *LAYERS, *ELSEWHERE}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    f = getattr(nn, name)
    _agree(f, W)
    _agree(_slopes(f, (0,)), W, rtol=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    f, args = getattr(nn, name), LOSSES[name]
    more = {"quantile": 0.3} if name == "quantile_loss" else {}
    kinds = [{}] if name == "prelu" else [{"reduction": r} for r in ("mean", "sum", "none")]
    for kind in kinds:
        loss = lambda *a, kind=kind: f(*a, **kind, **more)
        _agree(loss, *args)
        _agree(_slopes(loss, (0,)), *args, rtol=1e-8)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, training):
    def run(compiled):
        ct.manual_seed(0)
        layer = LAYERS[name]()
        layer.train() if training else layer.eval()

        def step(x):
            out = layer(x)
            loss = ct.sum(out * out)
            found = loss.backward() if layer.parameters() else None
            return out, [found.wrt(p) for p in layer.parameters()] if found else []

        step = ct.jit(step) if compiled else step
        first = _parts(step(X.astype("f4") if compiled else ct.tensor(X)))
        return first + _parts(step(ct.tensor(Y))) + _parts(layer.state_dict())

    for x, y in zip(run(False), run(True), strict=True):
        np.testing.assert_allclose(y, x, rtol=2e-5, atol=2e-6)


def test_embedding():
    table = nn.Embedding(6, 3)

    def step(i):
        out = table(i)
        return out, ct.sum(out * out).backward().wrt(table.weight)

    for x, y in zip(_parts(step(CLASSES)), _parts(ct.jit(step)(CLASSES)), strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-6)


# -- optim -------------------------------------------------------------------------------------

OPTIMIZERS = {
    "Adagrad": {}, "Adam": {}, "AdamW": {}, "Lion": {}, "RMSprop": {"momentum": 0.9},
    "SGD": {"momentum": 0.9, "nesterov": True},
}  # fmt: skip
SCHEDULES = {
    "constant": lambda: optim.constant(0.1),
    "cosine_decay": lambda: optim.cosine_decay(0.1, 5),
    "exponential_decay": lambda: optim.exponential_decay(0.1, 0.9),
    "linear": lambda: optim.linear(0.1, 0.01, 5),
    "multi_step_decay": lambda: optim.multi_step_decay(0.1, [2, 4]),
    "one_cycle": lambda: optim.one_cycle(0.1, 6),
    "step_decay": lambda: optim.step_decay(0.1, 2, 0.5),
    "warmup": lambda: optim.warmup(3, optim.constant(0.1)),
    "join": lambda: optim.join([optim.constant(0.1), optim.constant(0.2)], [3]),
    "a function": lambda: lambda step: 0.1 / (1 + step),
}
NO_STEPS = {"Optimizer", "Schedule", "LBFGS", "ReduceLROnPlateau", "clip_norm"}


def test_every_name_of_optim_has_a_row_or_a_reason():
    """LBFGS and ReduceLROnPlateau decide on the host; `clip_norm` is in every test here."""
    assert set(optim.__all__) == OPTIMIZERS.keys() | (SCHEDULES.keys() - {"a function"}) | NO_STEPS


def _weights(make, compiled):
    ct.manual_seed(0)
    w, b = ct.var("w", W), ct.var("b", np.zeros(6))
    opt = make()

    def step(x, y):
        loss = nn.mse_loss(ct.tanh(x @ w + b), y)
        grads, norm = optim.clip_norm(loss.backward(), 0.5)
        opt.step([w, b], grads)
        return loss, norm, w  # a captured variable, after it was written

    step = ct.jit(step) if compiled else step
    rows = [_parts(step(ct.tensor(X), ct.tensor(Y))) for _ in range(6)]
    assert np.array_equal(rows[-1][2], w.numpy())
    return [*itertools.chain(*rows), b.numpy()]


@pytest.mark.parametrize("name", [*OPTIMIZERS, *SCHEDULES])
def test_optimizers_and_schedules(name):
    def make():
        if name in SCHEDULES:
            return optim.Adam(lr=SCHEDULES[name]())
        return getattr(optim, name)(lr=0.01, **OPTIMIZERS[name])

    for x, y in zip(_weights(make, False), _weights(make, True), strict=True):
        np.testing.assert_allclose(y, x, rtol=2e-4, atol=2e-5)


# -- transformations and containers ------------------------------------------------------------


def test_third_derivatives_maps_and_checkpoints_within_one_another():
    def f(x):
        return ct.sum(ct.tanh(x) * ct.exp(x))

    def third(x):
        return ct.grad(lambda x: ct.sum(ct.grad(lambda x: ct.sum(ct.grad(f)(x)))(x)))(x)

    _agree(third, X)
    _agree(ct.vmap(third), X)
    _agree(ct.vmap(ct.grad(ct.checkpoint(f))), X)
    _agree(ct.grad(lambda x: ct.sum(ct.vmap(ct.jit(f))(x) ** 2)), X)
    _agree(lambda x: ct.vmap(lambda row: ct.jvp(f, (row,), (row * 2,)))(x), X)
    _agree(ct.jit(ct.grad(ct.jit(f))), X)


def test_methods_nested_containers_variables_and_gradients_as_results():
    w = ct.var("w", W)

    class Holder:
        def __init__(self, scale):
            self.scale = scale

        @ct.jit
        def compiled(self, batch):
            return self.eager(batch)

        def eager(self, batch):
            loss = ct.sum((batch["x"][0] @ w) * self.scale + batch["y"])
            found = loss.backward()
            return {"loss": [loss, (w,)], "found": found, "slope": found.wrt(w), "none": None}

    batch = {"x": [ct.tensor(X), 3], "y": ct.tensor(Y)}
    for scale in (1.0, 2.5):
        holder = Holder(scale)
        eager, compiled = holder.eager(batch), holder.compiled(batch)
        assert compiled["none"] is None and type(compiled["found"]) is ct.Gradients
        np.testing.assert_allclose(compiled["found"].wrt(w), eager["found"].wrt(w), rtol=1e-6)
        for key in ("loss", "slope"):
            for x, y in zip(_parts(eager[key]), _parts(compiled[key]), strict=True):
                np.testing.assert_allclose(y, x, rtol=1e-6)


REFUSED = {
    "nonzero": lambda x: ct.nonzero(x), "a mask": lambda x: x[x > 0.5],
    "a number": lambda x: x * float(x[0, 0]), "a branch": lambda x: x if x[0, 0] > 0.5 else -x,
    "an array": lambda x: x * x.numpy(), "a list": lambda x: x.tolist(),
    "a length": lambda x: [0] * int(ct.sum(x)), "a shape": lambda x: ct.reshape(x, (7, 7)),
    "a new variable": lambda x: ct.var("new", x),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_compiled_is_an_error_that_names_the_line(what):
    with pytest.raises(ct.Error) as caught:
        ct.jit(REFUSED[what])(X)
    text = str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    assert "test_everything_compiles.py:" in text
