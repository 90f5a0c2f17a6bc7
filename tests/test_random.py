"""Random numbers: known answers, statistics, independence of shape, and state."""

from __future__ import annotations

import math

import numpy as np
import pytest

import cotangent as ct
from cotangent.ops.random import threefry
from cotangent.quantiles import inverse_error, log_up_to_one

WORD = 2**32


def _threefry(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """The block function in plain Python integers."""
    return threefry(
        key, counter, lambda a, b: (a + b) % WORD, lambda a, b: a ^ b,
        lambda x, n: ((x << n) | (x >> (32 - n))) % WORD,
    )  # fmt: skip


# The Random123 distribution's known-answer file, rows "threefry2x32 20".
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("key", "counter", "words"), KNOWN)
def test_known_answers(
    key: tuple[int, int], counter: tuple[int, int], words: tuple[int, int]
) -> None:
    assert _threefry(key, counter) == words


def test_bits_are_the_generator_at_seed_draw_and_position() -> None:
    seed = (0x03707344 << 32) | 0x13198A2E
    generator = ct.random.Generator(seed)
    for draw in range(3):
        got = generator.bits((5,), 1).tolist()
        blocks = [_threefry((0x13198A2E, 0x03707344), (draw, block)) for block in range(3)]
        assert got == [word >> 1 for block in blocks for word in block][:5]


def test_uniform_uses_24_bits_in_float32_and_53_in_float64() -> None:
    low = ct.random.Generator(3).bits((6,), 8).numpy()
    single = ct.random.Generator(3).uniform((6,), dtype=ct.float32).numpy()
    np.testing.assert_array_equal(single, (low * 2.0**-24).astype(np.float32))
    words = [word for block in range(6) for word in _threefry((3, 0), (0, block))]
    double = ct.random.Generator(3).uniform((6,), dtype=ct.float64).numpy()
    expected = [
        ((a >> 5) * 2**26 + (b >> 6)) / 2**53 for a, b in zip(words[::2], words[1::2], strict=True)
    ]
    assert double.tolist() == expected


def _largest_gap(sample: np.ndarray, distribution: object) -> float:
    """The Kolmogorov-Smirnov statistic, times the root of the sample size."""
    ordered = np.sort(sample.astype(float).ravel())
    n = ordered.size
    ideal = np.array([distribution(x) for x in ordered])  # type: ignore[operator]
    steps = np.arange(n + 1) / n
    return math.sqrt(n) * max(np.max(steps[1:] - ideal), np.max(ideal - steps[:-1]))


# P(K > 1.95) is 1e-3 for the Kolmogorov distribution; the seeds are fixed.
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", [0, 1, 2**40 + 5])
def test_distributions(dtype: str, seed: int) -> None:
    generator = ct.random.Generator(seed)
    uniform = generator.uniform((4000,), -1.0, 3.0, dtype=dtype).numpy()
    assert uniform.dtype == dtype
    assert uniform.min() >= -1.0
    assert uniform.max() < 3.0
    assert _largest_gap(uniform, lambda x: (x + 1) / 4) < 1.95
    normal = generator.normal((4000,), 1.0, 2.0, dtype=dtype).numpy()
    assert normal.dtype == dtype
    assert _largest_gap(normal, lambda x: 0.5 * math.erfc((1 - x) / 2 / math.sqrt(2))) < 1.95


def test_draws_and_seeds_are_uncorrelated() -> None:
    n = 4000
    rows = [ct.random.Generator(seed).normal((n,)).numpy() for seed in (0, 1, 2)]
    generator = ct.random.Generator(0)
    rows += [generator.normal((n,)).numpy() for _ in range(3)][1:]
    correlation = np.corrcoef(np.array(rows))
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 4 / math.sqrt(n)


def test_a_short_draw_is_the_beginning_of_a_long_one_in_any_shape() -> None:
    for draw in ("uniform", "normal"):
        for dtype in ("float32", "float64"):
            make = lambda shape, d=draw, k=dtype: getattr(ct.random.Generator(5), d)(shape, dtype=k)
            whole = make((24,)).numpy()
            np.testing.assert_array_equal(make((2, 3, 4)).numpy().ravel(), whole)
            np.testing.assert_array_equal(make((7,)).numpy(), whole[:7])
            assert make(()).item() == whole[0]


def test_one_count_a_draw_whatever_its_size() -> None:
    small, large = ct.random.Generator(9), ct.random.Generator(9)
    small.uniform((1,))
    large.normal((1000,))
    assert small.draw.item() == large.draw.item() == 1
    assert small.uniform((3,)).tolist() == large.uniform((3,)).tolist()


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 5e-7), ("float64", 1e-15)])
def test_the_inverse_error_function(dtype: str, bound: float) -> None:
    mpmath = pytest.importorskip("mpmath", reason="mpmath is the judge")
    bits = 24 if dtype == "float32" else 52
    # Odd multiples of 2**-bits over the whole range, the extremes included.
    offsets = [1, 3, 2**7 + 1, 2 ** (bits // 2) + 1, 2 ** (bits - 2) + 1, 2 ** (bits - 1) + 1]
    odd = [*offsets, *(2**bits - k for k in offsets)]
    x = np.array([k * 2.0**-bits for k in odd], dtype)
    got = inverse_error(ct.asarray(x), np.dtype(dtype)).numpy()
    with mpmath.workdps(40):
        exact = np.array([float(mpmath.erfinv(mpmath.mpf(k) / 2**bits)) for k in odd])
    np.testing.assert_allclose(got, exact, rtol=bound)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 4e-7), ("float64", 8e-16)])
def test_the_logarithm(dtype: str, bound: float) -> None:
    mpmath = pytest.importorskip("mpmath", reason="mpmath is the judge")
    rng = np.random.default_rng(0)
    powers = 2.0 ** -np.arange(0, 31 if dtype == "float32" else 1000, 7)
    near = 1 - rng.random(50) * 1e-4
    x = np.concatenate([rng.random(200), powers, near, [0.7071, 0.70711]]).astype(dtype)
    got = log_up_to_one(ct.asarray(x), np.dtype(dtype)).numpy()
    with mpmath.workdps(40):
        exact = np.array([float(mpmath.log(mpmath.mpf(float(v)))) for v in x])
    np.testing.assert_allclose(got, exact, rtol=bound)


DRAWS = {
    "uniform": lambda: ct.random.uniform((300,), -1.5, 2.7),
    "uniform double": lambda: ct.random.uniform((300,), dtype="float64"),
    "normal": lambda: ct.random.normal((300,), 0.5, 2.0),
    "normal double": lambda: ct.random.normal((300,), dtype="float64"),
    "truncated": lambda: ct.random.truncated_normal((300,), -1.0, 1.5, 0.2, 2.0),
    "bernoulli": lambda: ct.random.bernoulli((300,), 0.3),
    "randint": lambda: ct.random.randint(-5, 1000, (300,)),
    "categorical": lambda: ct.random.categorical(np.linspace(-1, 1, 7), (300,)),
    "permutation": lambda: ct.random.permutation(300),
}


def test_eager_compiled_and_looped_draws_have_equal_bits() -> None:
    def draw_all() -> list:
        return [draw() for draw in DRAWS.values()]

    ct.manual_seed(5)
    eager = [draw_all(), draw_all(), draw_all()]
    ct.manual_seed(5)
    compiled = ct.jit(draw_all)
    for round_ in eager[:2]:
        for name, expected, got in zip(DRAWS, round_, compiled(), strict=True):
            np.testing.assert_array_equal(got.numpy(), expected.numpy(), err_msg=name)
            assert got.dtype == expected.dtype
    looped = ct.jit(lambda x: [draw() + 0 * x for draw in list(DRAWS.values())[2:3]])
    ct.manual_seed(5)
    ct.random.DEFAULT.draw.assign(2)
    rows = looped.loop(np.zeros((2, 300), np.float32))[0].numpy()
    np.testing.assert_array_equal(rows[0], eager[0][2].numpy())
    assert not np.array_equal(rows[0], rows[1])


def test_truncated_normals_follow_the_cut_distribution() -> None:
    phi = lambda x: 0.5 * math.erfc(-x / math.sqrt(2))
    for low, high in ((-2.0, 2.0), (0.5, 4.0), (-math.inf, 0.0)):
        x = ct.random.Generator(3).truncated_normal((4000,), low, high, dtype="float64").numpy()
        assert x.min() >= low
        assert x.max() <= high
        mass = phi(high) - phi(low)
        assert _largest_gap(x, lambda v, a=low, m=mass: (phi(v) - phi(a)) / m) < 1.95


def test_bernoulli_randint_and_categorical_have_their_frequencies() -> None:
    generator = ct.random.Generator(4)
    hits = generator.bernoulli((3, 5000), np.array([[0.1], [0.5], [0.9]])).numpy().mean(1)
    np.testing.assert_allclose(hits, [0.1, 0.5, 0.9], atol=3.3 * 0.5 / 5000**0.5)
    numbers = generator.randint(-2, 4, (6000,)).numpy()
    counts = np.bincount(numbers + 2, minlength=6)
    assert counts.size == 6
    assert ((counts - 1000) ** 2 / 1000).sum() < 20.5  # chi-squared of 5 degrees: P = 1e-3
    p = np.array([0.05, 0.0, 0.25, 0.7])
    with np.errstate(divide="ignore"):
        drawn = generator.categorical(np.log(p), (6000,)).numpy()
    counts = np.bincount(drawn, minlength=4)
    assert counts[1] == 0
    assert ((counts - 6000 * p) ** 2)[p > 0] @ (1 / (6000 * p[p > 0])) < 13.8  # 2 degrees
    rows = generator.categorical(np.array([[0.0, -np.inf], [-np.inf, 0.0]]))
    assert rows.tolist() == [0, 1]
    assert generator.randint(0, 256, (4,), dtype="uint8").dtype == np.uint8


def test_manual_seed_repeats_everything() -> None:
    ct.manual_seed(11)
    first = (ct.nn.Linear(3, 4).weight.numpy(), ct.random.normal((2,)).numpy())
    ct.manual_seed(11)
    again = (ct.nn.Linear(3, 4).weight.numpy(), ct.random.normal((2,)).numpy())
    ct.manual_seed(12)
    other = ct.nn.Linear(3, 4).weight.numpy()
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other)


def test_permutation() -> None:
    generator = ct.random.Generator(0)
    orders = [generator.permutation(50).numpy() for _ in range(200)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(50))
    # The place of element 0 is uniform: a chi-squared of 4 degrees; P(X > 18.5) is 1e-3.
    places = [int(np.flatnonzero(order == 0)[0]) // 10 for order in orders]
    counts = np.bincount(places, minlength=5)
    assert ((counts - 40) ** 2 / 40).sum() < 18.5
    assert generator.permutation(0).shape == (0,)


def test_mistakes_are_explained() -> None:
    with pytest.raises(ct.ArgumentError, match="seed lies in"):
        ct.manual_seed(-1)
    with pytest.raises(ct.ArgumentTypeError, match="seed must be an integer"):
        ct.manual_seed(1.5)  # type: ignore[arg-type]
    with pytest.raises(ct.ArgumentError, match="std"):
        ct.random.normal((2,), std=-1.0)
    with pytest.raises(ct.ArgumentError, match="low <= high"):
        ct.random.uniform((2,), 2.0, 1.0)
    with pytest.raises(ct.DTypeError, match="float32 or float64"):
        ct.random.uniform((2,), dtype="int32")
    with pytest.raises(ct.ShapeError, match="negative"):
        ct.random.uniform((-2,))
    with pytest.raises(ct.ArgumentTypeError, match="permutation"):
        ct.random.permutation(2.0)  # type: ignore[arg-type]
    for wrong in (
        lambda: ct.random.bernoulli((2,), 1.5), lambda: ct.random.randint(3, 3, (2,)),
        lambda: ct.random.randint(0, 300, (2,), dtype="uint8"),
        lambda: ct.random.truncated_normal((2,), 1.0, 1.0),
        lambda: ct.random.truncated_normal((2,), std=0.0),
        lambda: ct.random.truncated_normal((2,), 50.0, 60.0),
    ):  # fmt: skip
        with pytest.raises(ct.ArgumentError):
            wrong()
    with pytest.raises(ct.ArgumentTypeError, match="high must be an integer"):
        ct.random.randint(0, 2.5, (2,))  # type: ignore[arg-type]
    with pytest.raises(ct.ShapeError, match="leading axes"):
        ct.random.categorical(np.zeros((3, 4)), (2,))
