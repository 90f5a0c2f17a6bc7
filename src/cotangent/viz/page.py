"""The frame of a report: one HTML page with its own styles, without scripts or network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from .drawing import STYLE

_PAGE = """
:root { color-scheme: light dark; --ink: #1f2430; --quiet: #4d5564; --back: #f3f5f9;
  --paper: #ffffff; --edge: #d9dde5; --accent: #0b62c4; --warn: #c22b2b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ee; --quiet: #a9b1c1;
  --back: #0c0e12; --paper: #14171d; --edge: #2f3541; --accent: #6cb0ff; --warn: #ff7a7a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; -webkit-text-size-adjust: 100%; }
main { max-width: 1140px; margin: 0 auto; padding: 12px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .6rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .5rem; }
p { margin: .3rem 0; } .quiet { color: var(--quiet); } .warn { color: var(--warn); }
section { background: var(--paper); border: 1px solid var(--edge); border-radius: 10px;
  padding: 14px 12px; margin: 0 0 12px; }
nav { display: flex; flex-wrap: wrap; gap: 4px 14px; margin: 0 0 12px; }
a { color: var(--accent); }
.cards { display: flex; flex-wrap: wrap; gap: 10px; margin: 0 0 12px; }
.card { flex: 1 1 140px; background: var(--paper); border: 1px solid var(--edge);
  border-radius: 10px; padding: 8px 12px; }
.card b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.card span { color: var(--quiet); font-size: .85rem; }
.wide { overflow-x: auto; } .wide svg.ct { max-width: none !important; }
.ct-row { display: flex; flex-wrap: wrap; gap: 8px; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 10px 3px 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--edge); overflow-wrap: anywhere; }
.wide td, .wide th { white-space: nowrap; }
td:first-child, th:first-child { white-space: nowrap; }
details > summary { cursor: pointer; font-weight: 600; margin: .2rem 0 .6rem; }
@media print { section { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: its heading.
        body: HTML.
        note: a sentence below the heading.
        wide: scroll sideways rather than shrink.
        closed: show the heading alone until it is opened.
    """

    title: str
    body: str
    note: str = ""
    wide: bool = False
    closed: bool = False


def page(
    title: str, lead: str, cards: Sequence[tuple[str, str]], sections: Sequence[Section]
) -> str:
    """The text of an HTML page."""
    names = [f"s{i}" for i in range(len(sections))]
    links = "".join(
        f'<a href="#{name}">{escape(section.title)}</a>'
        for name, section in zip(names, sections, strict=True)
    )
    facts = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in cards
    )
    body = "".join(_section(n, s) for n, s in zip(names, sections, strict=True))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{escape(title)}</title>\n<style>{_PAGE}{STYLE}</style></head>\n<body><main>"
        f'<h1>{escape(title)}</h1><p class="quiet">{escape(lead)}</p>'
        f'<nav>{links}</nav><div class="cards">{facts}</div>\n{body}</main></body></html>\n'
    )


def _section(name: str, section: Section) -> str:
    body = f'<div class="wide">{section.body}</div>' if section.wide else section.body
    note = f'<p class="quiet">{escape(section.note)}</p>' if section.note else ""
    if section.closed:
        inside = f"<details><summary>{escape(section.title)}</summary>{note}{body}</details>"
    else:
        inside = f"<h2>{escape(section.title)}</h2>{note}{body}"
    return f'<section id="{name}">{inside}</section>\n'


def settings_table(settings: Mapping[str, Any]) -> str:
    """Names and values, those inside of others with a path; what is None is left out."""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
        for name, value in _flattened("", settings)
    )
    return f"<table>{rows}</table>"


def _flattened(path: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        found = []
        for name, part in value.items():
            found += _flattened(f"{path}.{name}" if path else str(name), part)
        return found
    if isinstance(value, (list, tuple)):
        words = ", ".join(str(part) for part in value if part is not None)
        return [(path, words)] if words else []
    return [] if value is None else [(path, str(value))]
