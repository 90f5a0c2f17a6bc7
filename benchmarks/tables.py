"""Models of tables against scikit-learn's perceptrons, with the defaults of both.

    python benchmarks/tables.py                    all tables, 5 folds, 3 seeds
    python benchmarks/tables.py iris wine --seeds 1

On each of scikit-learn's bundled tables both learn from the same folds: `ct.tabular.fit`, and
`MLPClassifier` or `MLPRegressor` behind a `StandardScaler`. Printed are the mean accuracy, or R²,
of the rows that were left out, and the mean seconds of a fit, taken in turns. A fit of ours begins
from the columns of a `Frame` and finds their kinds; compiling is in its time. The exit code is 0
if ours is at least as good on every table, in less time on every table.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from typing import Any

import numpy as np

TABLES = ["breast_cancer", "wine", "diabetes", "digits", "iris"]
Scores = tuple[float, float]


def main() -> int:
    """Print a row for each table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    unknown = sorted(set(options.tables) - set(TABLES))
    if unknown:
        parser.error(f"no such table: {', '.join(unknown)}; there are {', '.join(TABLES)}")
    print(f"{'table':<14} {'rows':>5}  {'ours':>7} {'theirs':>7}  {'ours':>8} {'theirs':>8}  ratio")
    good = True
    for name in options.tables or TABLES:
        rows, found = compare(name, options.seeds, options.folds)
        (ours, seconds), (theirs, longer) = np.mean(found, axis=0)
        print(
            f"{name:<14} {rows:>5}  {ours:>7.4f} {theirs:>7.4f}  {seconds:>6.2f} s {longer:>6.2f} s"
            f"  {seconds / longer:.2f}", flush=True,
        )  # fmt: skip
        good &= bool(ours >= theirs and seconds < longer)
    return 0 if good else 1


def compare(name: str, seeds: int, folds: int) -> tuple[int, list[tuple[Scores, Scores]]]:
    """The scores and seconds of both, for each fold of each seed."""
    from sklearn import datasets, model_selection

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    numbers = name == "diabetes"
    splitter = model_selection.KFold if numbers else model_selection.StratifiedKFold
    found = []
    for seed in range(seeds):
        for train, test in splitter(folds, shuffle=True, random_state=seed).split(x, y):
            ours = by_cotangent(x, y, train, test, numbers, seed)
            found.append((ours, by_scikit_learn(x, y, train, test, numbers, seed)))
    return len(x), found


def by_cotangent(x: Any, y: Any, train: Any, test: Any, numbers: bool, seed: int) -> Scores:
    """Score on the test rows, and seconds of the fit."""
    import cotangent as ct

    names = [*(f"x{i}" for i in range(x.shape[1])), "y"]
    frame = ct.data.Frame(names, [*x.T, y.astype(float)])
    begin = time.perf_counter()
    model = ct.tabular.fit(frame.take(train), "y", settings=ct.tabular.Settings(seed=seed))
    seconds = time.perf_counter() - begin
    found = model.evaluate(frame.take(test))
    return found["r2" if numbers else "accuracy"], seconds


def by_scikit_learn(x: Any, y: Any, train: Any, test: Any, numbers: bool, seed: int) -> Scores:
    """The same for scikit-learn."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = (MLPRegressor if numbers else MLPClassifier)(random_state=seed)
    model = make_pipeline(StandardScaler(), network)
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 200 epochs are its default, and not always enough
        model.fit(x[train], y[train])
    return model.score(x[test], y[test]), time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
