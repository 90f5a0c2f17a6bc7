"""Columns prepared for a model, judged by NumPy, datetime and scikit-learn."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cotangent as ct
from cotangent.data import Frame
from cotangent.data.preparing import (
    Category,
    ClassTarget,
    Flag,
    Moment,
    Number,
    NumberTarget,
    Preparation,
)  # fmt: skip
from cotangent.data.preparing.kinds import learn_column
from cotangent.data.preparing.targets import learn_target


def _texts(*values: str) -> np.ndarray:
    return np.array(values, object)


def _learnt(*values: str, name: str = "column"):
    return learn_column(name, _texts(*values), [])


def test_numbers_are_standardised_as_scikit_learn_does():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    values = np.random.default_rng(0).normal(3, 5, 50)
    column = _learnt(*map(repr, values.tolist()))
    assert isinstance(column, Number) and not column.indicator
    expected = preprocessing.StandardScaler().fit_transform(values[:, None])
    np.testing.assert_allclose(column.apply(values, []), expected, rtol=1e-12, atol=1e-12)


def test_missing_numbers_become_the_median_with_an_indicator():
    column = _learnt("1", "NA", "2", "", "9")
    assert isinstance(column, Number) and column.median == 2
    made = column.apply(_texts("?", "2", "1"), [])
    np.testing.assert_array_equal(made[:, 1], [1, 0, 0])
    assert made[0, 0] == made[1, 0] > made[2, 0]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["3"] * 30, "constant"),
        (["0.1"] * 30, "constant"),
        (["", "NA", "nan"], "empty"),
        ([str(i) for i in range(30)], "numbers the rows"),
        ([f"name {i}" for i in range(30)], "text of its own"),
        (["2020-01-01"] * 9, "constant"),
        (["x"] * 9, "constant"),
    ],
)
def test_columns_that_say_nothing_are_left_out(values, why):
    assert why in _learnt(*values)


def test_identifiers_are_known_by_name_and_years_are_not_identifiers():
    numbers = [str(1000 + 7 * i) for i in range(30)]
    assert "numbers the rows" in _learnt(*numbers, name="customer_id")
    assert isinstance(_learnt(*numbers, name="price"), Number)
    assert isinstance(_learnt(*[str(1990 + i) for i in range(30)], name="year"), Number)


def test_a_constant_that_is_sometimes_missing_keeps_its_indicator():
    column = _learnt("5", "", "5", "5")
    assert isinstance(column, Number) and column.deviation == 1.0
    np.testing.assert_array_equal(column.apply(_texts("5", ""), []), [[0, 0], [0, 1]])


def test_a_few_words_among_numbers_are_missing_values():
    column = _learnt(*map(str, range(5, 65, 2)), "unknown")
    assert isinstance(column, Number) and column.indicator
    notes: list[str] = []
    column.apply(_texts("7", "lost"), notes)
    assert "1 values, such as 'lost', are no number" in notes[0]
    with pytest.raises(ct.ArgumentError, match="was of kind number in training, but no value"):
        column.apply(_texts("a", "b"), [])


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=3, max_size=30))
def test_any_numbers_are_prepared_finitely(values):
    column = learn_column("x", np.array(values), [])
    if isinstance(column, Number):
        made = column.apply(np.array([*values, 1e308, -1e308, np.inf]), [])
        assert np.isfinite(made.astype(np.float32)).all()


def test_categories_are_columns_when_few_and_indices_when_many():
    few = _learnt("b", "a", "", "b", "c", "a")
    assert isinstance(few, Category) and few.values == ("", "a", "b", "c")
    notes: list[str] = []
    made = few.apply(_texts("a", "new", ""), notes)
    np.testing.assert_array_equal(made, [[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
    assert "1 values, such as 'new', are rare or not in the training rows" in notes[0]
    words = [f"w{i:02}" for i in range(20)]
    many = _learnt(*words * 3, "once")
    assert isinstance(many, Category) and many.embedded and "once" not in many.values
    made = many.apply(_texts("w00", "w19", "once", "other"), [])
    np.testing.assert_array_equal(made, [[1], [20], [0], [0]])


def test_booleans():
    column = _learnt("Yes", "no", "YES", "")
    assert isinstance(column, Flag)
    np.testing.assert_array_equal(
        column.apply(_texts("yes", "NO", "", "maybe"), []), [[1, 0], [-1, 0], [0, 1], [0, 1]]
    )


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%d.%m.%Y", "%Y/%m/%d %H:%M", "%d %b %Y", "%m/%d/%Y"]
)
def test_dates_are_expanded_as_datetime_has_them(form):
    days = [datetime.datetime(2019, 1, 1) + datetime.timedelta(hours=997 * i) for i in range(30)]
    column = _learnt(*(day.strftime(form) for day in days))
    assert isinstance(column, Moment)
    assert set(column.parts) >= {"year", "month", "day", "weekday"}
    assert ("hour" in column.parts) == ("%H" in form)
    made = dict(
        zip(column.labels, column.apply(_texts(days[5].strftime(form)), [])[0], strict=True)
    )
    day = datetime.datetime.strptime(days[5].strftime(form), form)
    for part, value, period in (
        ("month", day.month - 1, 12), ("day", day.day - 1, 31), ("weekday", day.weekday(), 7),
    ):  # fmt: skip
        turn = 2 * np.pi * value / period
        assert made[f"column {part} sine"] == pytest.approx(np.sin(turn), abs=1e-12)
        assert made[f"column {part} cosine"] == pytest.approx(np.cos(turn), abs=1e-12)
    years = np.array([datetime.datetime.strptime(d.strftime(form), form).year for d in days])
    assert made["column year"] == pytest.approx((day.year - years.mean()) / years.std())


def test_ambiguous_dates_and_decimal_commas_are_said():
    notes: list[str] = []
    learn_column("d", _texts("01/02/2020", "03/04/2021", "05/06/2020"), notes)
    assert "read month first" in notes[0]
    assert learn_column("d", _texts("21/02/2020", "03/04/2021"), []).form == "%d/%m/%Y"
    notes.clear()
    learn_column("p", _texts("1,5", "2,5", "1,5"), notes)
    assert "only a point marks decimals" in notes[0]


def test_times_with_zones_are_utc_and_parquet_times_need_no_form():
    column = _learnt("2020-01-01T01:00+02:00", "2021-05-05T12:00+00:00", "2020-07-01T00:00+00:00")
    times = np.array(["2019-12-31T23:00", "2021-05-05T12:00"], "datetime64[us]")
    made = column.apply(_texts("2020-01-01T01:00+02:00", "2021-05-05T12:00+00:00"), [])
    np.testing.assert_allclose(column.apply(times, []), made)


# -- targets ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([str(i % 3) for i in range(60)], "classification"),
        (["0", "1"] * 5, "classification"),
        ([f"{i / 7}" for i in range(60)], "regression"),
        ([str(i) for i in range(60)], "regression"),
        (["red", "blue"] * 5, "classification"),
        (["0.5", "1.5"] * 5, "regression"),
    ],
)
def test_the_task_is_found_from_the_target(values, kind):
    notes: list[str] = []
    assert learn_target("y", _texts(*values), "auto", notes).kind == kind
    assert kind in notes[0]


def test_labels_are_kept_as_written_and_ordered_as_numbers():
    target = learn_target("y", _texts("10", "9", "007", "9.0", ""), "classification", [])
    assert isinstance(target, ClassTarget) and target.labels == ("007", "9", "10")
    y, known = target.encode(np.array([7.0, 9.0, 10.0, 11.0]))
    np.testing.assert_array_equal(y[known], [0, 1, 2])
    assert known.tolist() == [True, True, True, False]
    assert target.decode(np.eye(3)).tolist() == ["007", "9", "10"]


def test_numbers_are_decoded_to_their_units():
    target = learn_target("y", _texts("10", "20", "60"), "regression", [])
    assert isinstance(target, NumberTarget)
    y, _ = target.encode(_texts("10", "20", "60"))
    assert y.mean() == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(target.decode(y), [10, 20, 60], rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        (["5"] * 9, "auto", "constant"),
        (["x", "x", ""], "auto", "constant"),
        (["", "NA"], "auto", "is empty"),
        (["1", "two"], "regression", "no numbers, such as 'two'"),
        ([str(i / 7) for i in range(2000)], "classification", "use task 'regression'"),
    ],
)
def test_targets_that_cannot_be_learnt_are_refused(values, task, message):
    with pytest.raises(ct.ArgumentError, match=message):
        learn_target("y", _texts(*values), task, [])


# -- the whole --------------------------------------------------------------------------------


def _frame(rows: int = 60) -> Frame:
    rng = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(25)], object)
    return Frame(
        ["many", "size", "city", "when", "ok", "id", "y"],
        [
            np.repeat(words, 3)[:rows], rng.normal(size=rows),
            _texts("a", "b", "")[rng.integers(3, size=rows)],
            np.datetime64("2020-01-01T00", "us") + rng.integers(10**15, size=rows),
            _texts("yes", "no")[rng.integers(2, size=rows)], np.arange(float(rows)),
            rng.normal(size=rows),
        ],
    )  # fmt: skip


def test_json_gives_the_same_preparation():
    frame = _frame()
    made = Preparation.learn(frame, "y")
    again = Preparation.from_facts(json.loads(json.dumps(made.facts())))
    one, two = made.apply(frame), again.apply(frame)
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.y, two.y)
    assert made.dropped == {"id": "it numbers the rows"} == again.dropped
    assert made.labels[-1] == "many index" and made.embedded == [21]


def test_other_columns_and_their_order_do_not_matter():
    frame = _frame()
    made = Preparation.learn(frame, "y")
    turned = Frame([*frame.names[::-1], "more"], [*frame.columns[::-1], frame["size"]])
    np.testing.assert_array_equal(made.apply(frame).x, made.apply(turned).x)
    with pytest.raises(ct.UnknownKeyError, match=r"no column when, which the model needs"):
        made.apply(Frame(["many", "size", "city", "ok"], [frame[n] for n in
                         ("many", "size", "city", "ok")]), with_target=False)  # fmt: skip


def test_only_the_rows_given_are_learnt_from():
    frame = _frame()
    changed = frame.columns[1].copy()
    changed[40:] = 1e6
    columns = list(frame.columns)
    columns[1] = changed
    other = Frame(frame.names, columns)
    first = np.arange(40)
    assert (
        Preparation.learn(frame.take(first), "y").facts()
        == Preparation.learn(other.take(first), "y").facts()
    )


def _paths(facts, path=()):
    items = facts.items() if isinstance(facts, dict) else enumerate(facts)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from _paths(value, (*path, key))


@pytest.mark.parametrize("wrong", [None, {"a": 1}, float("nan"), [1], True])
def test_damaged_facts_are_refused_or_equal(wrong):
    whole = Preparation.learn(_frame(), "y").facts()
    for path in list(_paths(json.loads(json.dumps(whole)))):
        facts = json.loads(json.dumps(whole))
        place = facts
        for key in path[:-1]:
            place = place[key]
        if type(place[path[-1]]) is type(wrong) or (path[0] == "dropped" and len(path) > 1):
            continue
        place[path[-1]] = wrong
        with pytest.raises(ct.FileError, match=r"damaged|not a preparation"):
            Preparation.from_facts(facts)


def test_a_table_without_inputs_is_refused():
    frame = Frame(["a", "y"], [np.ones(30), np.arange(30.0)])
    with pytest.raises(ct.ArgumentError, match=r"no column is left .* \(a: it is constant\)"):
        Preparation.learn(frame, "y")
    with pytest.raises(ct.ArgumentError, match="task must be one of"):
        Preparation.learn(frame, "y", task="ranking")
