"""Synthetic languages: what is drawn follows the tables, and depends on numbers alone."""

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax.data.corpus import sources
from mlm_jax.data.corpus.formats import synthetic
from tests.data.invented import settings


def texts(spec):
  return list(synthetic.parse(spec).documents(None, None, None))


def test_the_sizes_left_out_have_values():
  source = synthetic.parse('synthetic:4/100')
  assert (source.states, source.words, source.size, source.seed) == (4, 100, 10_000, 0)
  source = synthetic.parse('synthetic:4/100/30')
  assert (source.size, source.seed) == (30, 0)
  source = synthetic.parse('synthetic:4/100/30/7')
  assert (source.states, source.words, source.size, source.seed) == (4, 100, 30, 7)


@pytest.mark.parametrize(
  'sizes',
  (
    '',
    '4',
    '4/100/30/7/1',
    '0/100',
    '257/100',
    '4/39',
    '4/20001',
    '4/100/0',
    '4/-1',
    '4/100/30/4294967296',
    '4/100/a',
    '4//30',
    '4/1e3',
    '4/²',
    '4/' + '9' * 5000,
  ),
)
def test_sizes_that_cannot_be_are_refused_in_one_line(sizes):
  with pytest.raises(
    config.UserError, match='not a synthetic language; write synthetic:STATES/WORDS'
  ) as raised:
    synthetic.parse(f'synthetic:{sizes}')
  assert '\n' not in str(raised.value)


def test_languages_are_read_beside_other_sources():
  found = sources.parse(settings(source='synthetic:4/100,text:a.txt, synthetic:4/100/30/1'))
  assert [each.name for each in found] == ['synthetic', 'a', 'synthetic_2']


def test_a_language_is_a_stationary_chain_with_a_word_for_each_column():
  for states, words in ((1, 40), (7, 90), (256, 300)):
    language = synthetic.parse(f'synthetic:{states}/{words}').language()
    assert language.transition_SS.shape == (states, states) and language.emission_SW.shape == (
      states,
      words,
    )
    for table in (language.transition_SS, language.emission_SW, language.initial_S[None]):
      assert (table >= 0).all() and (language.emission_SW > 0).all()
      np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(
      language.initial_S @ language.transition_SS, language.initial_S, rtol=1e-9
    )
    assert len(set(language.words)) == words and all(word.isalpha() for word in language.words)


def test_a_document_does_not_depend_on_how_many_there_are():
  assert texts('synthetic:5/70/40/3')[:12] == texts('synthetic:5/70/12/3')


def test_seeds_and_sizes_make_other_languages():
  specs = ('5/70/9/3', '5/70/9/4', '6/70/9/3', '5/71/9/3')
  assert len({texts(f'synthetic:{sizes}')[0] for sizes in specs}) == len(specs)
  first, second = (synthetic.parse(f'synthetic:5/70/9/{seed}').language() for seed in (3, 4))
  assert (first.transition_SS != second.transition_SS).any()
  assert (first.emission_SW != second.emission_SW).any()


def test_lengths_are_spread_evenly():
  lengths = np.array([len(text.split(' ')) for text in texts('synthetic:3/40/8100')])
  counts = np.bincount(lengths, minlength=97)
  assert lengths.min() == 16 and lengths.max() == 96
  # A hundred of each are expected; 6 standard deviations: a false alarm in 81 x 2e-9.
  assert abs(counts[16:] - 100).max() < 60


def test_words_and_their_successors_have_the_language_s_frequencies():
  """At the first place, at any, and for pairs of neighbours, within 6 standard deviations."""
  source = synthetic.Synthetic('', '', states=3, words=6, size=6000, seed=0)
  language = source.language()
  number = {word: i for i, word in enumerate(language.words)}
  documents = [
    [number[word] for word in text.split(' ')] for text in source.documents(None, None, None)
  ]
  word_W = language.initial_S @ language.emission_SW
  pair_WW = np.einsum(
    's,sv,st,tw->vw',
    language.initial_S,
    language.emission_SW,
    language.transition_SS,
    language.emission_SW,
  )
  for place in (0, 10):
    counts_W = np.bincount([each[place] for each in documents], minlength=6)
    assert (abs(counts_W - 6000 * word_W) < 6 * np.sqrt(6000 * word_W)).all()
    pairs_WW = np.zeros((6, 6))
    np.add.at(pairs_WW, tuple(np.array([each[place : place + 2] for each in documents]).T), 1)
    assert (abs(pairs_WW - 6000 * pair_WW) < 6 * np.sqrt(6000 * pair_WW) + 1).all()
