"""Pseudo-log-likelihood beside brute force: one copy, one row, one forward pass at a time."""

import jax
import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from tests import shared_runs
from tests.inference.test_predictor import by_hand


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  return louder(mlm_jax.open_run(shared_runs.from_the_command_line(tmp_path_factory)))


def louder(run):
  """Returns a run whose predictions depend on what is around: after six steps they hardly do."""
  run.trained = jax.tree.map(lambda x: x * 8 if x.ndim > 1 and x.shape[0] != 2 else x, run.trained)
  layers = jax.tree.map(lambda x: x * 25 if x.ndim > 2 else x, run.trained['layers'])
  run.trained = run.params = run.mlm_params = run.trained | {'layers': layers}
  return run


# Words of one piece and of many, one that is cut at a mark, and one text that is longer than a row.
TEXTS = ['abcdef ghijk', 'a', 'ponmlkjihgfedcba, bad cab.', 'kalo mina' + ' kalo mina' * 11]


def words_of(run, ids):
  """Returns the words as lists of places, by the pieces as they are written."""
  words = []
  for place, i in enumerate(ids):
    before = run.tokenizer.piece(ids[place - 1]) if place else ''
    begins = run.tokenizer.piece(i).startswith('\u2581') or not place
    if begins or run.tokenizer.piece(i) in ',.' or before in (',', '.'):
      words.append([])
    words[-1].append(place)
  return words


def brute_force(run, text, within_word=False, together=1):
  """Returns the sum of log p, copy after copy."""
  ids, total = run.tokenizer.encode(text), 0.0
  room = run.config.data.row_length - 2
  for word in words_of(run, ids):
    for k in range(0, len(word), together):
      part = word[k : k + together]
      hidden = [i if p not in (word[k:] if within_word else part) else run.tokenizer.mask_id
                for p, i in enumerate(ids)]  # fmt: skip
      middle = part[0] + len(part) // 2
      begin = min(max(0, middle - room // 2), max(0, len(ids) - room))
      row = [run.tokenizer.cls_id, *hidden[begin : begin + room], run.tokenizer.sep_id]
      log_LV = by_hand(run, row)
      total += sum(float(log_LV[p - begin + 1, ids[p]]) for p in part)
  return total


@pytest.mark.parametrize('within_word, together', [(False, 1), (True, 1), (False, 2), (True, 3)])
def test_packed_copies_score_as_one_copy_at_a_time(run, within_word, together):
  assert any(len(word) > 3 for word in words_of(run, run.tokenizer.encode(TEXTS[2])))
  found = run.pseudo_log_likelihood(TEXTS, within_word=within_word, masked_together=together)
  expected = [brute_force(run, text, within_word, together) for text in TEXTS]
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  # What is hidden matters to this model.
  others = run.pseudo_log_likelihood(TEXTS[2:3], within_word=not within_word)
  assert abs(others - found[2]) > 1e-3 * abs(found[2])


def test_pseudo_perplexity_is_over_all_pieces(run):
  pieces = sum(len(run.tokenizer.encode(text)) for text in TEXTS)
  total = run.pseudo_log_likelihood(TEXTS, within_word=True).sum()
  assert run.pseudo_perplexity(TEXTS, within_word=True) == pytest.approx(np.exp(-total / pieces))
  with pytest.raises(config_lib.UserError, match='must hold a text'):
    run.pseudo_perplexity([])


def test_equal_texts_score_equal_to_the_last_bit(run):
  many = run.pseudo_log_likelihood(['bad cab', *TEXTS, 'bad  cab', 'bad cab'])
  assert many[0] == many[-1] == many[-2]


@pytest.mark.parametrize('number', [0, -1, 1.5, True, 'two', None])
def test_a_wrong_number_of_pieces_is_refused(run, number):
  with pytest.raises(config_lib.UserError, match='masked_together = .*: must be 1 or more'):
    run.pseudo_log_likelihood(['a'], masked_together=number)
