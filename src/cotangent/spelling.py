"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name most like `word`, if one is at least `cutoff` alike (0 to 1).

    >>> closest("weigth", ["bias", "weight"])
    'weight'
    """
    import difflib  # slow to import, and needed only for errors

    found = difflib.get_close_matches(word, list(names), 1, cutoff)
    return found[0] if found else None
