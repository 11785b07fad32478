"""Schemes of tags: what a word's tag says of the entity that it is in.

  iob2   B-TYPE begins every entity, I-TYPE is inside of one, O outside
  iob1   likewise, but B-TYPE only where an entity follows one of its type without a gap
  bioes  B-, I-, E- (the last word), S- (a word alone)
  bilou  the same with L- for E-, U- for S-
  plain  a tag is a class by itself, such as a part of speech

Entities are read from tags by the rules of conlleval, the script of the CoNLL shared tasks of 2000
to 2003, whatever the scheme: what does not fit its scheme begins an entity too, so that every
sequence of tags says which entities there are.
"""

from collections.abc import Iterable
from collections.abc import Sequence
from typing import NamedTuple

OUTSIDE = 'O'
PREFIXES = {
  'iob2': ('B', 'I'),
  'iob1': ('B', 'I'),
  'bioes': ('B', 'I', 'E', 'S'),
  'bilou': ('B', 'I', 'L', 'U'),
}
REPAIR = 'a tag that cannot follow the one before it begins a new entity, as in conlleval'
_AS_BIOES = {'L': 'E', 'U': 'S'}


class Entity(NamedTuple):
  """An entity of a sentence: its words from `start` up to, and without, `end`."""

  type: str
  start: int
  end: int


def is_tag(tag: str, scheme: str) -> bool:
  """Whether a scheme has such a tag."""
  if scheme == 'plain':
    return bool(tag)
  prefix, dash, name = tag.partition('-')
  return tag == OUTSIDE or prefix in PREFIXES[scheme] and bool(dash and name)


def described(scheme: str) -> str:
  """Returns the tags of a scheme, for messages."""
  return ', '.join([OUTSIDE, *(f'{prefix}-TYPE' for prefix in PREFIXES[scheme])])


def types(tags: Iterable[str]) -> list[str]:
  """Returns the sorted types of entities that tags name."""
  return sorted({tag.partition('-')[2] for tag in tags if tag != OUTSIDE})


def complete(types: Sequence[str], scheme: str) -> list[str]:
  """Returns O and each prefix of the scheme with each type."""
  return [OUTSIDE, *(f'{prefix}-{each}' for each in types for prefix in PREFIXES[scheme])]


def entities(tags: Sequence[str]) -> list[Entity]:
  """Returns the entities of a sentence, in their order.

  Args:
    tags: of any scheme but `plain`.
  """
  found, start = [], -1
  before = (OUTSIDE, '')
  for place, tag in enumerate([*tags, OUTSIDE]):
    here = _parted(tag)
    if start >= 0 and _ends(before, here):
      found.append(Entity(before[1], start, place))
      start = -1
    if start < 0 and here[0] != OUTSIDE:
      start = place
    before = here
  return found


def _parted(tag: str) -> tuple[str, str]:
  """Returns (prefix, type), the prefix as in bioes."""
  prefix, _, name = tag.partition('-')
  return _AS_BIOES.get(prefix, prefix), name


def _ends(before: tuple[str, str], here: tuple[str, str]) -> bool:
  """Whether an entity ends with the word before."""
  return before[0] in 'ES' or here[0] in 'BSO' or before[1] != here[1]


def is_valid(tags: Sequence[str], scheme: str) -> bool:
  """Whether each tag may follow the one before it; always so of plain tags."""
  if scheme == 'plain':
    return True
  # What is outside comes before the first and after the last word.
  parted = [(OUTSIDE, ''), *map(_parted, tags), (OUTSIDE, '')]
  return all(_may_follow(here, before, scheme) for before, here in zip(parted, parted[1:]))


def _may_follow(here: tuple[str, str], before: tuple[str, str], scheme: str) -> bool:
  is_same_type = before[1] == here[1] and before[0] != OUTSIDE
  if scheme == 'iob1':
    return here[0] != 'B' or is_same_type
  if scheme == 'iob2':
    return here[0] != 'I' or is_same_type
  is_open = before[0] in 'BI'
  return is_open == (here[0] in 'IE') and (not is_open or is_same_type)
