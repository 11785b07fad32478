"""Entities are those of conlleval; tags are valid where their entities are written so."""

import itertools

import pytest

from mlm_jax.data.examples import tag_schemes

SCHEMES = ('iob2', 'iob1', 'bioes', 'bilou')
TO_BIOES = str.maketrans('LU', 'ES')


def conlleval(tags):
  """The functions endOfChunk and startOfChunk of conlleval.pl, as they are written there."""
  found, begin = [], None
  before, type_before = 'O', ''
  for n, each in enumerate([*tags, 'O']):
    tag, _, kind = each.partition('-')
    tag = tag.translate(TO_BIOES)
    ends = (before, tag) in {
      *(('B', x) for x in 'BO'),
      *(('I', x) for x in 'BO'),
      *(('E', x) for x in 'EIO'),
    }
    starts = (before, tag) in {
      *((x, 'B') for x in 'BIO'),
      *((x, 'E') for x in 'EO'),
      *((x, 'I') for x in 'EO'),
    }
    # The script has [ ] for words alone; S is read so by those that follow it, such as seqeval.
    ends |= before in 'ES' or tag == 'S' and before in 'BI'
    starts |= tag in 'BS' or tag in 'IE' and before == 'S'
    ends |= before != 'O' and type_before != kind
    starts |= tag != 'O' and type_before != kind
    if ends and begin is not None:
      found.append((type_before, begin, n))
      begin = None
    begin = n if starts else begin
    before, type_before = tag, kind
  return found


def written(entities, length, scheme):
  """The tags of a sentence of these entities."""
  tags = ['O'] * length
  end_before, type_before = -1, ''
  for kind, start, end in entities:
    if scheme == 'iob1':
      first = 'B' if (end_before, type_before) == (start, kind) else 'I'
      prefixes = [first] + ['I'] * (end - start - 1)
    elif scheme == 'iob2':
      prefixes = ['B'] + ['I'] * (end - start - 1)
    else:
      last, alone = ('E', 'S') if scheme == 'bioes' else ('L', 'U')
      prefixes = [alone] if end - start == 1 else ['B', *'I' * (end - start - 2), last]
    tags[start:end] = [f'{each}-{kind}' for each in prefixes]
    end_before, type_before = end, kind
  return tags


@pytest.mark.parametrize('scheme', SCHEMES)
def test_every_short_sequence_has_the_entities_of_conlleval(scheme):
  tags = tag_schemes.complete(['x', 'y'], scheme)
  valid = 0
  for length in range(5):
    for each in itertools.product(tags, repeat=length):
      found = tag_schemes.entities(each)
      assert found == conlleval(each), each
      is_own = written(found, length, scheme) == list(each)
      assert tag_schemes.is_valid(each, scheme) == is_own, each
      valid += is_own
  assert valid > 50


def test_tags_of_a_scheme_are_told_from_others():
  assert tag_schemes.is_tag('B-x-y', 'iob2') and tag_schemes.types(['O', 'B-x-y']) == ['x-y']
  for tag, scheme in (
    ('S-x', 'iob2'),
    ('E-x', 'bilou'),
    ('B-', 'iob2'),
    ('-x', 'iob2'),
    ('', 'plain'),
  ):
    assert not tag_schemes.is_tag(tag, scheme)
  assert tag_schemes.is_valid(['a', 'b'], 'plain')
