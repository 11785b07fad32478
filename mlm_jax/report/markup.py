"""HTML and SVG elements as text; their contents are escaped unless they are elements themselves."""

from collections.abc import Iterable
import html
from typing import Any


class Markup(str):
  """Text that is HTML already."""


def tag(name: str, /, *children: object, **attributes: Any) -> Markup:
  """Returns the Markup of an element.

  Attributes are passed with _ for -, and with a _ after names that Python reserves;
  one that is None or False is left out, True is written without a value.
  """
  written = ''.join(
    _attribute(key, value)
    for key, value in attributes.items()
    if value is not None and value is not False
  )
  if name in ('meta', 'wbr'):  # elements that have no end tag
    return Markup(f'<{name}{written}>')
  return Markup(f'<{name}{written}>{"".join(map(escape, children))}</{name}>')


def escape(value: object) -> Markup:
  """Returns Markup as it is and anything else as escaped text."""
  return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def join(parts: Iterable[object]) -> Markup:
  """Returns elements and texts, joined in their order."""
  return Markup(''.join(map(escape, parts)))


def _attribute(key: str, value: object) -> str:
  key = key.rstrip('_').replace('_', '-')
  return f' {key}' if value is True else f' {key}="{html.escape(str(value))}"'
