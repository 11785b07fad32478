"""HTML and SVG elements as text; what is put into one is escaped unless it is an element itself."""

import html


class Markup(str):
  """Text that is HTML already."""


def tag(name, /, *children, **attributes):
  """Returns the Markup of an element.

  Attributes are written with _ for -, and with a _ behind names that Python reserves;
  one that is None or False is left out, True is written without a value.
  """
  written = ''.join(
    _attribute(key, value)
    for key, value in attributes.items()
    if value is not None and value is not False
  )
  if name in ('meta', 'wbr'):
    return Markup(f'<{name}{written}>')
  return Markup(f'<{name}{written}>{"".join(map(escape, children))}</{name}>')


def escape(value):
  """Returns Markup as it is and anything else as escaped text."""
  return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def join(parts):
  """Returns elements and texts one behind the other."""
  return Markup(''.join(map(escape, parts)))


def _attribute(key, value):
  key = key.rstrip('_').replace('_', '-')
  return f' {key}' if value is True else f' {key}="{html.escape(str(value))}"'
