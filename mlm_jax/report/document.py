"""What the pages have in common: one file that needs nothing else, figures, legends, tables."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import importlib.resources
from typing import Any

from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import tag

# The page may load nothing: it is one file, and texts in it cannot reach anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_WIDTHS = {'wide': 860, 'narrow': 328}  # of figures, pixels; narrow is a phone's, less its margins
# Of what has no order, on a light and a dark page; distinct for colour-blind readers too.
_COLORS = (
  ('#0072b2', '#56a9e0'),
  ('#d55e00', '#f08a45'),
  ('#008f68', '#35c79b'),
  ('#b25590', '#e093c0'),
  ('#8a7a00', '#d8c840'),
  ('#3d9ec9', '#8fd0f0'),
  ('#7a5c3e', '#c7a27d'),
  ('#6a5acd', '#a99bff'),
)
_WORDS = ('interval', 'verdict', 'state', 'value')  # columns that do not hold numbers


def render(title: str, colors: str, *sections: object) -> str:
  """Returns the text of a page; `colors` are rules of style, see `colors`."""
  head = tag(
    'head',
    tag('meta', charset='utf-8'),
    tag('meta', http_equiv='Content-Security-Policy', content=_POLICY),
    tag('meta', name='viewport', content='width=device-width, initial-scale=1'),
    tag('title', title),
    tag('style', Markup(colors + _file('report.css'))),
  )
  body = tag('body', tag('main', *sections), tag('script', Markup(_file('report.js'))))
  return '<!DOCTYPE html>\n' + tag('html', head, body, lang='en') + '\n'


def _file(name: str) -> str:
  return importlib.resources.files('mlm_jax.report').joinpath(name).read_text(encoding='utf-8')


def color(number: int) -> tuple[str, str]:
  """Returns a colour for a light and one for a dark page, others for each of a few numbers."""
  return _COLORS[number % len(_COLORS)]


def colors(pairs: Sequence[tuple[str, str]]) -> str:
  """Returns the rules of style that give what has data-arm = i the colours pairs[i]."""
  # By number: the name of an arm may have characters that a selector cannot.
  light, dark = (
    [f'[data-arm="{number}"] {{ --arm: {pair[side]} }}' for number, pair in enumerate(pairs)]
    for side in (0, 1)
  )
  return '\n'.join([*light, '@media (prefers-color-scheme: dark) {', *dark, '}\n'])


def at_widths(draw: Callable[[int], Markup | None]) -> dict[str, Markup]:
  """Returns {name of a width: draw(the width)}, without those that are None."""
  return {name: svg for name, width in _WIDTHS.items() if (svg := draw(width))}


def figure(drawn: Mapping[str, Markup], legend: str, note: str) -> Markup:
  """Returns a figure drawn at each width; the page shows the one that fits."""
  return tag(
    'figure',
    *(tag('div', svg, class_=name) for name, svg in drawn.items()),
    tag('output'),  # where report.js writes values
    legend,
    tag('figcaption', note, class_='note'),
  )


def legend(numbers: Mapping[str, int]) -> Markup:
  """Returns a legend of {name: number, as of its colour}; a click on a name hides its curve."""
  switches = (
    tag(
      'button',
      tag('span', class_='swatch'),
      name,
      type='button',
      aria_pressed='true',
      data_arm=number,
    )
    for name, number in numbers.items()
  )
  return tag('div', *switches, class_='legend')


def table(
  headers: Sequence[str], rows: Sequence[Sequence[Markup]], foot: Markup | None = None
) -> Markup:
  """Returns a table that sorts by a click on a header; each row is a list of `cell`."""
  head = tag(
    'thead',
    tag(
      'tr',
      *(
        tag(
          'th',
          tag('button', each, type='button'),
          scope='col',
          class_='left' if each in _WORDS else None,
        )
        for each in headers
      ),
    ),
  )
  end = tag('tfoot', foot) if foot else ''
  body = tag('tbody', *(tag('tr', *row) for row in rows))
  # On a phone it scrolls by itself, also by the arrow keys, and a shadow says so; never the page.
  return tag(
    'div',
    tag('table', head, body, end),
    class_='scroll',
    tabindex=0,
    role='region',
    aria_label=f'table of {", ".join(headers)}; scrolls sideways where it is wide',
  )


def cell(
  content: object, sort: Any = None, class_: str | None = None, style: str | None = None
) -> Markup:
  """Returns a cell; `sort` is the value that its row is sorted by, the content if not given."""
  return tag('td', content, data_sort=content if sort is None else sort, class_=class_, style=style)
