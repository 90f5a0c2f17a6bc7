"""The digits: shapes, split, source, and that they are scikit-learn's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cotangent as ct
from cotangent.data import handwriting


def _whole(seed: int = 0) -> np.ndarray:
    data = ct.data.digits(seed)
    x, y = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
    rows = np.column_stack([x * 16, y])
    return rows[np.lexsort(rows.T[::-1])]


def test_shapes_and_ranges() -> None:
    x_train, y_train, x_test, y_test = ct.data.digits()
    assert (x_train.shape, y_train.shape) == ((1438, 64), (1438,))
    assert (x_test.shape, y_test.shape) == ((359, 64), (359,))
    assert x_train.dtype == x_test.dtype == np.float32
    assert y_train.dtype == y_test.dtype == np.int64
    assert (x_train.min(), x_train.max()) == (0.0, 1.0)


def test_the_split_is_stratified_shuffled_and_a_function_of_the_seed() -> None:
    one, again, other = (ct.data.digits(seed) for seed in (0, 0, 1))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.x_test, other.x_test)
    totals = np.bincount(np.concatenate([one.y_train, one.y_test]))
    assert np.abs(np.bincount(one.y_test) - totals / 5).max() <= 0.5
    assert len(set(one.y_train[:50])) == 10
    np.testing.assert_array_equal(_whole(0), _whole(1))
    with pytest.raises(ct.ArgumentError, match="test_fraction"):
        ct.data.digits(test_fraction=1.0)


def test_they_are_scikit_learns() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is the judge")
    x, y = datasets.load_digits(return_X_y=True)
    rows = np.column_stack([x, y])
    np.testing.assert_array_equal(_whole(), rows[np.lexsort(rows.T[::-1])])


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(Path(handwriting._FILE).read_bytes())
    data[1000] ^= 1
    (tmp_path / "digits.csv.gz").write_bytes(data)
    monkeypatch.setattr(handwriting, "_FILE", str(tmp_path / "digits.csv.gz"))
    with pytest.raises(ct.FileError, match="checksum"):
        ct.data.digits()
    monkeypatch.setattr(handwriting, "_FILE", str(tmp_path / "nothing"))
    with pytest.raises(ct.FileError, match="cannot read"):
        ct.data.digits()


def test_source_and_licence_are_named() -> None:
    readme = (Path(handwriting._FILE).parent / "README.md").read_text()
    for text in ("CC BY 4.0", "10.24432/C50P49", handwriting._SHA256):
        assert text in readme
