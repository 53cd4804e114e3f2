"""Display in notebooks: plain text here."""

from typing import Any


def make_table_html_repr(obj: Any, title: Any = None, max_height: str = "none") -> str:
    """obj as HTML: its repr, escaped."""
    import html

    return f"<pre>{html.escape(repr(obj))}</pre>"
