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
from cotangent.compiler.codegen.build import native_isa

class Net(nn.Module):
    def __init__(self):
        # The second layer is wide enough to be split among threads.
        self.layers = [nn.Linear(7, 33), nn.Linear(33, 2065), nn.Linear(2065, 16), nn.Linear(16, 5)]
    def forward(self, x):
        x = self.layers[0](x).tanh()
        x = self.layers[1](x).relu()
        x = self.layers[2](x).tanh()
        return self.layers[3](x)

def run(way, dtype="float32", steps=200):
    ct.manual_seed(1)
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
    for way in sys.argv[1:]:
        print(run(way), run(way, "float64", 20))
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


@pytest.fixture(scope="module")
def cold(folder):
    """A first run, which fills the cache."""
    if _isa() == "none":
        pytest.skip("this machine has no code generation")
    hashes, (_, used_llvm) = _run(folder, "calls", "loop", "mixed")
    assert used_llvm == "True"
    return hashes


def _isa():
    from cotangent.compiler.codegen.build import native_isa

    return native_isa()


def test_calls_and_loop_give_the_same_bytes(cold):
    assert len(cold) == 6
    assert cold[0::2] == [cold[0]] * 3
    assert cold[1::2] == [cold[1]] * 3


def test_a_fresh_process_with_a_warm_cache_gives_the_same_bytes_without_llvm(folder, cold):
    hashes, (_, used_llvm) = _run(folder, "calls")
    assert hashes == cold[:2]
    assert used_llvm == "False"


def test_another_instruction_set_gives_the_same_bytes(folder, cold):
    hashes, (isa, _) = _run(folder, "loop", COTANGENT_ISA="avx2")
    assert isa == "avx2"
    assert hashes == cold[:2]


@pytest.mark.parametrize("threads", ["1", "3"])
def test_another_number_of_threads_gives_the_same_bytes(folder, cold, threads):
    hashes, _ = _run(folder, "loop", COTANGENT_NUM_THREADS=threads)
    assert hashes == cold[:2]


def test_without_a_cache_the_bytes_are_the_same(folder, cold):
    hashes, (_, used_llvm) = _run(folder, "loop", COTANGENT_CACHE="off")
    assert hashes == cold[:2]
    assert used_llvm == "True"
