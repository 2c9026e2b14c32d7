"""Pieces of the page: numbers, tables, figures and sections as HTML."""

import base64
import html

import numpy as np


def many(n: float, what: str) -> str:
    """Return a number with its noun, in the plural where needed, e.g. "3 nuclei"."""
    return f"{n:.0f} {what if n == 1 else {'nucleus': 'nuclei'}.get(what, what + 's')}"


def named(names: list[str]) -> str:
    """Return the first 12 names, joined by commas; " ..." if there are more."""
    return ", ".join(names[:12]) + " ..." * (len(names) > 12)


def per_cent(value: float, sign: str = "") -> str:
    """Return a share as a whole number of per cent, with one decimal if it would be 0; a dash if it is not finite.

    Examples
    --------
    >>> per_cent(0.126), per_cent(-0.003, "+"), per_cent(0.003), per_cent(0.0, "+"), per_cent(-0.0001, "+")
    ('13', '-0.3', '0.3', '0', '0')
    """
    if not np.isfinite(value):
        return "–"
    text = f"{100 * value:{sign}.{0 if round(100 * value) else 1}f}"
    return text if float(text) else "0"


def is_certain(row) -> bool:
    """Return whether the interval of a difference, rounded as it is shown, excludes 0."""
    return bool(round(100 * row["low"], 1) > 0 or round(100 * row["high"], 1) < 0)


def difference(row) -> str:
    """Return a difference in points with its interval, and a star if it is significant after Holm's correction."""
    return share(row, "+") + "*" * (is_certain(row) and row["p_holm"] < 0.05)


def share(row, sign: str = "") -> str:
    """Return the share in a row of numbers, in per cent, with its interval; `sign="+"` for a difference in points."""
    value, low, high = (per_cent(row[name], sign) for name in ("value", "low", "high"))
    return value + (f" <small>[{low}, {high}]</small>" if np.isfinite(row["low"]) else "")


def plain(value: float) -> str:
    """Return a number, with two decimals if it is not whole; a dash if it is not finite."""
    return "–" if not np.isfinite(value) else f"{value:.0f}" if float(value).is_integer() else f"{value:.2f}"


def table_of(head, rows, caption: str) -> str:
    """Return an HTML table: cells in `rows` are HTML, `head` and `caption` plain text; a row's first cell names it."""
    heads = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in head)
    cells = (f"<tr><th scope='row'>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>" for row in rows)
    table = f"<caption>{html.escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{''.join(cells)}</tbody>"
    return _wide(caption, f"<table>{table}</table>")


def _wide(name: str, part: str) -> str:
    """Return a part (HTML) in a box that scrolls sideways on a narrow screen, also by keyboard."""
    return f"<div class='wide' tabindex='0' role='region' aria-label='{html.escape(name, quote=True)}'>{part}</div>"


def section(title: str, text: str, *parts: str) -> str:
    """Return a section as HTML; `title` is plain text, `text` and `parts` are HTML."""
    return f"<section><h2>{html.escape(title)}</h2><p>{text}</p>{''.join(parts)}</section>"


def figure_of(figure, alt: str) -> str:
    """Return a figure as an SVG image embedded in the page."""
    from cellcycle.report.figures import svg

    data = base64.b64encode(svg(figure)).decode()
    source = f"src='data:image/svg+xml;base64,{data}'"
    return _wide(alt, f"<img class='plot' alt='{html.escape(alt, quote=True)}' {source}>")
