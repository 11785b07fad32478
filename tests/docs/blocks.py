"""The guides, and the fenced blocks in them."""

import dataclasses
import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).parents[2]
GUIDES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
PAGES = [*GUIDES, ROOT / 'CONTRIBUTING.md']
NOTES = sorted((ROOT / 'experiments').glob('*/NOTES.md'))
_FENCE = re.compile(r'^```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Block:
  """A fenced block.

  Attributes:
    where: FILE:LINE of its first line.
    language: sh, python, text, ...
    text: what is in it.
  """

  where: str
  language: str
  text: str

  @property
  def commands(self):
    """The commands of a block of sh, one line each, without comments."""
    lines = self.text.replace('\\\n', ' ').splitlines()
    return [' '.join(shlex.split(line, comments=True, posix=False)) for line in lines if line]


def of(page):
  """Returns the Blocks of a page, in order."""
  text = page.read_text()
  return [
    Block(
      f'{page.relative_to(ROOT)}:{text[: match.start(2)].count(chr(10)) + 1}',
      match.group(1),
      match.group(2),
    )
    for match in _FENCE.finditer(text)
  ]


def prose(page):
  """Returns the text of a page without its fenced blocks."""
  return _FENCE.sub('', page.read_text())


def spans(page):
  """Returns what is in `backticks` outside of the blocks."""
  return re.findall(r'`([^`]+)`', prose(page))
