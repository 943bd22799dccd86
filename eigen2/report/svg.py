"""Figures as SVG inside a page: sharp at any size, in the page's own fonts, with a text for who can't see them."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

# matplotlib numbers the parts of each figure from 1; no reference uses these names, but on a page they would be double
PART_ID = re.compile(r' id="[a-zA-Z0-9.]+_[0-9]+"')
SIZE = re.compile(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>')


@contextmanager
def for_pages() -> Iterator[None]:
    """Inside, figures are made for a page: no text is read as mathematics, since names of columns may hold a $."""
    with mpl.rc_context({"text.parse_math": False, "svg.fonttype": "none"}):
        yield


def svg_of(figure: Figure, name: str, text: str) -> Markup:
    """A figure as an SVG element that tells `text` where it can't be seen; `name` must be the page's only one.

    To be used inside `for_pages`.
    """
    file = io.StringIO()
    # names inside are hashed with the salt: those of two figures never meet, and a page is the same whenever written
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    drawn = file.getvalue()
    drawn = PART_ID.sub("", drawn[drawn.index("<svg") :])
    label = escape(text)
    return Markup(SIZE.sub(lambda found: f'<svg viewBox="{found[1]}" role="img" aria-label="{label}">', drawn, count=1))
