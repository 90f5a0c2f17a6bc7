"""Same bits every time: by calls, by `loop`, in a new process, from the cache, on any processor,
on any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import hashlib, sys
import numpy as np
import cotangent as ct
from cotangent import nn, optim
from cotangent.compiler import program
from cotangent.compiler.codegen.build import native_isa
from cotangent.runtime import pool

class Net(nn.Module):
    def __init__(self):
        # The second layer is wide enough to be split among threads.
        self.layers = [nn.Linear(7, 33), nn.Linear(33, 2065), nn.Linear(2065, 16), nn.Linear(16, 5)]
        self.dropout = nn.Dropout(0.2)
    def forward(self, x):
        x = self.layers[0](x).tanh()
        x = self.dropout(self.layers[1](x).relu())
        x = self.layers[2](x).tanh()
        return self.layers[3](self.dropout(x))

def run(way, threads, dtype="float32", steps=200):
    ct.manual_seed(1)
    ct.set_num_threads(threads)
    ct.set_default_dtype(dtype)
    model, opt = Net(), optim.Adam(lr=0.003)
    scale = ct.var("scale", np.ones(45))
    def step(x, y):
        noise = ct.random.normal(x.shape) * 0.01
        logits = model(x + noise)
        loss = nn.cross_entropy_loss(logits, y) + 1e-3 * (scale.exp().log() ** 2).mean()
        opt.step([model, scale], loss.backward())
        return loss, ct.log_softmax(logits, axis=0).sum()
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(steps, 19, 7)).astype(dtype)
    ys = rng.integers(0, 5, (steps, 19))
    step = ct.jit(step)
    a, b = steps // 3, steps // 2
    if way == "calls":
        rows = [step(x, y) for x, y in zip(xs, ys)]
        out = [np.stack([r[i].numpy() for r in rows]) for i in range(2)]
    elif way == "mixed":
        first = [t.numpy() for t in step.loop(xs[:a], ys[:a])]
        rows = [step(x, y) for x, y in zip(xs[a:b], ys[a:b])]
        second = [np.stack([r[i].numpy() for r in rows]) for i in range(2)]
        third = [t.numpy() for t in step.loop(xs[b:], ys[b:])]
        out = [np.concatenate(parts) for parts in zip(first, second, third)]
    else:
        out = [t.numpy() for t in step.loop(xs, ys)]
    state = hashlib.sha256()
    for part in (*out, *model.state_dict().values(), *opt.state_dict([model, scale]).values(),
                 scale.numpy()):
        state.update(np.ascontiguousarray(part).tobytes())
    assert np.isfinite(out[0]).all() and out[0][-1] != out[0][0]
    ct.set_default_dtype("float32")
    return state.hexdigest()

if __name__ == "__main__":
    # Whatever is split is shared by the threads, also where it would not pay.
    program._WORTH_WAKING, pool._CAUTION = 0, 0
    for word in sys.argv[1:]:
        way, threads = word.split(":")
        print(run(way, int(threads)), run(way, int(threads), "float64", 20))
        assert len(pool.POOL.threads) == int(threads) - 1
    print(native_isa(), "llvmlite.binding" in sys.modules, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("determinism")


def _run(folder, *ways, **variables):
    """The hashes that a fresh process prints, and what it says of itself."""
    path = folder / "script.py"
    path.write_text(SCRIPT)
    environment = {**os.environ, "COTANGENT_CACHE": str(folder / "cache"), **variables}
    done = subprocess.run(
        [sys.executable, str(path), *ways],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr.split()[-2:]


def _isa():
    from cotangent.compiler.codegen.build import native_isa

    return native_isa()


THREADS = (1, 2, 3, 8)
# By calls and by `loop`, on every number of threads.
WAYS = [f"{way}:{threads}" for threads in THREADS for way in ("calls", "loop")]


@pytest.fixture(scope="module")
def cold(folder):
    """The hashes of a first run, which fills the cache: the weights in float32 and float64."""
    if _isa() == "none":
        pytest.skip("this machine has no code generation")
    hashes, (_, used_llvm) = _run(folder, *WAYS, "mixed:2")
    assert used_llvm == "True"
    assert len(hashes) == 2 * len(WAYS) + 2
    return hashes


def _all_equal(hashes, cold):
    assert hashes[0::2] == [cold[0]] * (len(hashes) // 2)
    assert hashes[1::2] == [cold[1]] * (len(hashes) // 2)


def test_calls_and_loop_on_any_number_of_threads_give_the_same_bytes(cold):
    _all_equal(cold, cold)


def test_a_fresh_process_with_a_warm_cache_gives_the_same_bytes_without_llvm(folder, cold):
    hashes, (_, used_llvm) = _run(folder, *WAYS)
    assert used_llvm == "False"
    _all_equal(hashes, cold)


@pytest.mark.parametrize("used", ["True", "False"], ids=["cold", "warm"])
def test_another_instruction_set_gives_the_same_bytes(folder, cold, used):
    hashes, (isa, used_llvm) = _run(folder, *WAYS, COTANGENT_ISA="avx2")
    assert (isa, used_llvm) == ("avx2", used if _isa() == "avx512" else "False")
    _all_equal(hashes, cold)


@pytest.mark.parametrize("threads", THREADS)
def test_a_process_that_starts_with_so_many_threads_gives_the_same_bytes(folder, cold, threads):
    hashes, _ = _run(folder, f"loop:{threads}", COTANGENT_NUM_THREADS=str(threads))
    _all_equal(hashes, cold)


def test_without_a_cache_the_bytes_are_the_same(folder, cold):
    hashes, (_, used_llvm) = _run(folder, "loop:2", COTANGENT_CACHE="off")
    assert used_llvm == "True"
    _all_equal(hashes, cold)
