"""The exact posterior against enumeration of all hidden paths, and what is refused."""

import itertools
import types

import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import vocabulary
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import prepare
from mlm_jax.data import store
from mlm_jax.data.corpus.formats import synthetic
from mlm_jax.evaluation import baselines
from mlm_jax.evaluation import bayes_optimal
from tests import shared_runs
from tests.data.invented import settings
from tests.evaluation.test_baselines import OneBatch

SPECIAL = 5  # special ids come first, then an ordinary token that is not a word, then the words


def prepared_of(*specs, segments=(1,)):
  """Returns what `optimal` reads of a preparation whose tokenizer has the words as pieces."""
  words = max((synthetic.parse(spec).language().words for spec in specs), key=len)
  pieces = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'x', *('\u2581' + word for word in words)]
  special = tuple(range(SPECIAL))
  tokenizer = types.SimpleNamespace(
    size=len(pieces), special_ids=special, mask_id=4, piece=pieces.__getitem__
  )
  entries = [
    {
      'source': spec,
      'documents_read': 3,
      'train': {'documents': 2},
      'validation': {'documents': 1, 'segments': n},
    }
    for spec, n in zip(specs, segments)
  ]
  return types.SimpleNamespace(
    manifest={'sources': entries},
    tokenizer=tokenizer,
    directory='data',
    table=vocabulary.table(len(pieces), 4, special),
  )


def rows(lengths, words, seed=0):
  """Returns a Batch of rows of segments of random words, `lengths` words in each."""
  random = np.random.default_rng(seed)
  length = max(sum(each) + 2 * len(each) for each in lengths) + 1
  tokens_BL = np.zeros((len(lengths), length), np.uint16)
  starts_BS = np.full((len(lengths), max(map(len, lengths))), -1, np.int32)
  for b, segments in enumerate(lengths):
    at = 0
    for s, n in enumerate(segments):
      tokens_BL[b, at : at + n + 2] = [2, *random.integers(SPECIAL + 1, SPECIAL + 1 + words, n), 3]
      starts_BS[b, s], at = at, at + n + 2
  example_B2 = np.stack([np.zeros(len(lengths)), np.arange(len(lengths))], 1).astype(np.uint32)
  return batches.Batch(tokens_BL, starts_BS, example_B2, np.zeros(len(lengths), np.uint32))


def segments_of(row_L):
  """Yields the slices of a row between [CLS] and [SEP]."""
  for begin, end in zip(np.flatnonzero(row_L == 2), np.flatnonzero(row_L == 3)):
    yield slice(begin + 1, end)


def path_probability(language, path):
  p = language.initial_S[path[0]]
  for a, b in zip(path, path[1:]):
    p *= language.transition_SS[a, b]
  return p


def paths_of(language, length):
  return itertools.product(range(len(language.initial_S)), repeat=length)


def enumerated(language, masked, chances):
  """Returns (losses, hits) from the sum over every sequence of states, and of words.

  chances(true word, seen id, chosen) is the probability of what is seen there.
  """
  losses, hits = [], []
  W = language.emission_SW.shape[1]
  for b, row_L in enumerate(masked.targets_BL):
    for part in segments_of(row_L):
      seen = masked.inputs_BL[b, part]
      paths = [(path, path_probability(language, path)) for path in paths_of(language, len(seen))]
      for i in np.flatnonzero(masked.chosen_BL[b, part]):
        p_W = np.zeros(W)
        for path, p in paths:
          others = np.prod(
            [
              sum(language.emission_SW[s, w] * chances(w, x, False) for w in range(W))
              for j, (s, x) in enumerate(zip(path, seen))
              if j != i
            ]
          )
          p_W += (
            p
            * others
            * language.emission_SW[path[i]]
            * [chances(w, seen[i], True) for w in range(W)]
          )
        p_W /= p_W.sum()
        target = row_L[part][i] - SPECIAL - 1
        losses.append(-np.log(p_W[target]))
        hits.append(p_W.argmax() == target)
  return np.array(losses), np.array(hits)


@pytest.mark.parametrize('rate', (0.15, pytest.param(0.5, marks=pytest.mark.slow), 1.0))
def test_the_optimum_equals_the_sum_over_all_hidden_paths(rate):
  prepared, batch = (
    prepared_of('synthetic:3/40'),
    rows([(4, 1), (5,), (2, 3), (1, 1)] * 3, words=40),
  )
  policy = masking.make(prepared.table, rate=rate, corruption_probs=(1.0, 0.0, 0.0))
  (masked,) = baselines.masked_batches(policy, OneBatch(batch))
  losses, hits = enumerated(
    synthetic.parse('synthetic:3/40').language(),
    masked,
    lambda w, x, chosen: 1.0 if x == 4 else float(x == w + SPECIAL + 1),
  )
  found = bayes_optimal.score(prepared, OneBatch(batch), policy)
  assert len(losses) > 3
  assert found == pytest.approx({'loss': losses.mean(), 'accuracy': hits.mean()}, rel=1e-12)


def test_random_and_kept_tokens_are_weighed_by_how_probable_they_are():
  prepared, batch = prepared_of('synthetic:2/40'), rows([(4, 1), (4,), (2, 3)] * 8, words=40)
  rate, m, n, k = 0.6, 0.3, 0.5, 0.2
  policy = masking.make(prepared.table, rate=rate, corruption_probs=(m, n, k), sampling='bernoulli')
  (masked,) = baselines.masked_batches(policy, OneBatch(batch))
  assert {1, 2, 3} <= set(masked.action_BL.ravel()) and (masked.inputs_BL == SPECIAL).any()

  def chances(w, x, chosen):
    if x == 4:
      return rate * m
    same = x == w + SPECIAL + 1
    return rate * n / 41 + rate * k * same + (0 if chosen else (1 - rate) * same)

  losses, hits = enumerated(synthetic.parse('synthetic:2/40').language(), masked, chances)
  found = bayes_optimal.score(prepared, OneBatch(batch), policy)
  assert found == pytest.approx({'loss': losses.mean(), 'accuracy': hits.mean()}, rel=1e-6)


def test_several_languages_are_distinguished_by_what_a_segment_shows():
  specs = ('synthetic:2/40', 'synthetic:1/43/9/1')
  prepared, batch = prepared_of(*specs, segments=(3, 1)), rows([(4, 1), (5,), (2, 3)] * 3, words=43)
  policy = masking.make(prepared.table, rate=0.4, corruption_probs=(1.0, 0.0, 0.0))
  (masked,) = baselines.masked_batches(policy, OneBatch(batch))
  languages = [synthetic.parse(spec).language() for spec in specs]
  losses = []
  for b, row_L in enumerate(masked.targets_BL):
    for part in segments_of(row_L):
      seen = masked.inputs_BL[b, part]
      for i in np.flatnonzero(seen == 4):
        p_W = np.zeros(43)
        for language, share in zip(languages, (0.75, 0.25)):
          for w in range(language.emission_SW.shape[1]):
            words = [w + SPECIAL + 1 if j == i else x for j, x in enumerate(seen)]
            p_W[w] += share * sum(
              path_probability(language, path)
              * np.prod(
                [
                  1.0 if x == 4 else ([*language.emission_SW[s], 0, 0, 0])[x - SPECIAL - 1]
                  for s, x in zip(path, words)
                ]
              )
              for path in paths_of(language, len(seen))
            )
        losses.append(-np.log(p_W[row_L[part][i] - SPECIAL - 1] / p_W.sum()))
  assert bayes_optimal.score(prepared, OneBatch(batch), policy)['loss'] == pytest.approx(
    np.mean(losses), rel=1e-12
  )


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  data = settings(
    source='synthetic:6/40/1500',
    tokenizer='word',
    vocab_size=301,
    row_length=48,
    validation_fraction=0.5,
  )
  make = lambda folder: prepare.prepare(data, folder / 'data', lambda line: None)
  return store.open_prepared(shared_runs.once(tmp_path_factory, 'language', make) / 'data')


def test_every_word_is_one_piece(prepared):
  language = synthetic.parse('synthetic:6/40/1500').language()
  text = ' '.join(language.words)
  ids = prepared.tokenizer.encode(text)
  assert len(ids) == 40 and prepared.tokenizer.decode(ids) == text
  assert prepared.tokenizer.starts_V[ids].all()


def test_the_loss_agrees_with_the_entropy_of_the_posterior(prepared, monkeypatch):
  """The rows follow the law that scores them: 6 standard errors, a false alarm in 5e8."""
  entropies, losses = [], []
  predict = bayes_optimal._predict

  def noted(language, state_PS, *rest):
    p_PW = state_PS @ language.emission_SW
    entropies.extend(-(p_PW * np.log(p_PW)).sum(axis=1))
    loss_P, hit_P = predict(language, state_PS, *rest)
    losses.extend(loss_P)
    return loss_P, hit_P

  monkeypatch.setattr(bayes_optimal, '_predict', noted)
  loader = loader_lib.EvaluationLoader(prepared, 64)
  scores = [
    bayes_optimal.score(
      prepared, loader, masking.make(prepared.table, rate=rate, corruption_probs=(1.0, 0.0, 0.0))
    )
    for rate in (0.15, 0.5, 0.9)
  ]
  differences = np.subtract(losses, entropies)
  assert len(differences) > 10_000
  assert abs(differences.mean()) < 6 * differences.std() / len(differences) ** 0.5
  # The more is hidden, the worse; and never worse than the frequencies of the words.
  language = synthetic.parse('synthetic:6/40/1500').language()
  unigram_W = language.initial_S @ language.emission_SW
  found = [each['loss'] for each in scores]
  assert found == sorted(found) and found[-1] < -(unigram_W * np.log(unigram_W)).sum() + 0.05


def test_the_optimum_does_not_depend_on_how_rows_are_batched(prepared, monkeypatch):
  whole = bayes_optimal.score(prepared, loader_lib.EvaluationLoader(prepared, 256))
  monkeypatch.setattr(bayes_optimal, '_BLOCK', 100)
  assert bayes_optimal.score(prepared, loader_lib.EvaluationLoader(prepared, 32)) == pytest.approx(
    whole, rel=1e-12
  )


def test_an_exact_budget_with_visible_choices_is_refused(prepared):
  policy = masking.make(prepared.table)
  with pytest.raises(
    config_lib.UserError, match="masking.sampling = 'fixed_count' with random or kept tokens"
  ):
    bayes_optimal.score(prepared, loader_lib.EvaluationLoader(prepared, 64), policy)


def test_rows_whose_words_are_split_are_refused(tmp_path):
  data = settings(
    source='synthetic:6/40/300', tokenizer='bpe', vocab_size=300, validation_fraction=0.5
  )
  split = prepare.prepare(data, tmp_path / 'data', lambda line: None)
  with pytest.raises(
    config_lib.UserError, match=r"not a word of the synthetic.*config.data.tokenizer = 'word'"
  ):
    bayes_optimal.score(split, loader_lib.EvaluationLoader(split, 64))


def test_documents_that_were_dropped_are_refused(tmp_path):
  data = settings(
    source='synthetic:6/40/300',
    tokenizer='word',
    vocab_size=301,
    validation_fraction=0.5,
    max_characters=200,
  )
  cut = prepare.prepare(data, tmp_path / 'data', lambda line: None)
  with pytest.raises(config_lib.UserError, match=r'\d+ documents were dropped'):
    bayes_optimal.score(cut, loader_lib.EvaluationLoader(cut, 64))


def test_the_optimum_is_known_where_every_source_is_synthetic():
  known = prepared_of('synthetic:2/40')
  assert bayes_optimal.is_known(known)
  known.manifest['sources'].append({'source': 'text:a.txt'})
  assert not bayes_optimal.is_known(known)
