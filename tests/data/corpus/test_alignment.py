"""A cleaned text leads back to the text as it was given."""

import types

import numpy as np
import pytest

from mlm_jax.data.corpus import alignment
from mlm_jax.data.corpus import clean

PARTS = (
  *'ab .,',
  '  ',
  '\n\t',
  '\x00',
  '\x7f',
  '\ufeff',
  '\u2581',
  'e\u0301',
  '\u0301',
  '\u0323',
  'é',
  '\u1100',
  '\u1161',
  '\u11a8',
  '\ufb01',
  '\u00a8',
  'ｶ',
  '\uff9e',
  '中',
  '\u0f73',
  '\ud800',
  '\U0001f600',
)


def data(**settings):
  rules = {'unicode': 'NFC', 'control_characters': 'remove', 'boundary_mark': 'replace'}
  return types.SimpleNamespace(**{**rules, 'white_space': 'collapse', **settings})


def test_where_nothing_changes_it_is_the_identity():
  found = alignment.align('as it is, 中文', data())
  assert found.text == 'as it is, 中文'
  assert found.begin_C.tolist() == list(range(12)) and found.end_C.tolist() == list(range(1, 13))
  assert found.cleaned(3, 8) == (3, 8)


@pytest.mark.parametrize(
  'given, span, cleaned',
  (
    ('a \n b  c', (4, 5), 'b'),
    ('a \n b  c', (3, 8), ' b c'),
    ('cafe\u0301 x', (0, 5), 'café'),
    ('cafe\u0301 x', (6, 7), 'x'),
    ('a\x00\ufeffb', (3, 4), 'b'),
    ('e\x00\u0301b', (3, 4), 'b'),
    ('\u1100\x00\u1161b', (3, 4), 'b'),
    ('x\u2581y', (1, 3), '_y'),
  ),
)
def test_places_lead_there_and_back(given, span, cleaned):
  found = alignment.align(given, data())
  begin, end = found.cleaned(*span)
  assert found.text[begin:end] == cleaned
  if cleaned.strip() == cleaned:
    assert (found.begin_C[begin], found.end_C[end - 1]) == span


@pytest.mark.parametrize('unicode', ('NFC', 'NFKC', 'none'))
@pytest.mark.parametrize('white_space', ('collapse', 'keep'))
def test_every_part_of_any_text_is_cleaned_to_its_characters(unicode, white_space):
  rules = data(unicode=unicode, white_space=white_space)
  random = np.random.default_rng(0)
  for _ in range(1000):
    given = ''.join(PARTS[i] for i in random.integers(0, len(PARTS), random.integers(0, 12)))
    found = alignment.align(given, rules)
    assert found.text == clean.given(given, rules)
    assert len(found.begin_C) == len(found.end_C) == len(found.text)
    assert (np.diff(found.begin_C) >= 0).all() and (np.diff(found.end_C) >= 0).all()
    # What shares no place with its neighbours is what its own part of the given text becomes.
    for i, letter in enumerate(found.text):
      begin, end = found.begin_C[i], found.end_C[i]
      is_alone = (i == 0 or found.end_C[i - 1] <= begin) and (
        i == len(found.text) - 1 or found.begin_C[i + 1] >= end
      )
      if is_alone and not letter.isspace():
        assert clean.given(given[begin:end], rules) == letter
