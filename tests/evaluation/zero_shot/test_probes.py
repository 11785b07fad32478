"""Probes on states that are known: those that tell words apart, and those that tell tags."""

import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax.evaluation import zero_shot
from mlm_jax.evaluation.zero_shot import probes

WORDS = [f'{first}{n}' for first in 'ab' for n in range(30)]


class Known:
  """Layer 0 has a column for each word, layer 1 one that is the tag."""

  kind = 'masked'

  def word_states(self, sentences):
    words = [(s, w, word) for s, each in enumerate(sentences) for w, word in enumerate(each)]
    one_hot = np.array([[word == each for each in WORDS] for _, _, word in words], np.float32)
    tag = np.zeros_like(one_hot)
    tag[:, 0] = [word.startswith('a') for _, _, word in words]
    sentence_n, word_n, _ = zip(*words)
    return np.stack([one_hot, tag]), np.array(sentence_n), np.array(word_n)


def write(path, seed):
  words = np.random.default_rng(seed).choice(WORDS, 400)
  lines = [f'{word}\t{word[0].upper()}' + '\n' * (n % 4 == 3) for n, word in enumerate(words)]
  path.write_text('\n'.join(lines) + '\n')


def test_selectivity_is_high_where_a_layer_has_tags_and_low_where_it_has_words(tmp_path):
  write(tmp_path / 'train.conll', 0)
  write(tmp_path / 'dev.conll', 1)
  scores = probes.score(probes.read(str(tmp_path)), Known())
  found = {(each.subset, each.metric): each for each in scores}
  assert found['layer 0', 'accuracy'].score > 0.95
  assert found['layer 0', 'control_accuracy'].score > 0.95
  assert found['layer 1', 'accuracy'].score == 1
  assert found['layer 1', 'control_accuracy'].score < 0.8
  for layer in ('layer 0', 'layer 1'):
    difference = found[layer, 'accuracy'].score - found[layer, 'control_accuracy'].score
    assert found[layer, 'selectivity'].score == pytest.approx(difference)
  assert found['layer 1', 'accuracy'].n == 400


def test_files_that_are_missing_or_wrong_are_named(tmp_path):
  with pytest.raises(config_lib.UserError, match='has no file with train in its name'):
    probes.read(str(tmp_path))
  write(tmp_path / 'train.conll', 0)
  with pytest.raises(config_lib.UserError, match='no file with test, dev or valid in its name'):
    probes.read(str(tmp_path))
  (tmp_path / 'dev.conll').write_text('a\tA\nb\n')
  with pytest.raises(config_lib.UserError, match='dev.conll line 2: 1 columns in place of 2'):
    probes.read(str(tmp_path))


def test_errors_are_over_groups():
  values, groups = np.array([1.0, 1, 0, 0, 1, 0]), np.array([7, 7, 3, 3, 5, 5])
  alone = zero_shot.of_values(('a', 'b', 'c'), values)
  assert alone.standard_error == pytest.approx(np.std(values, ddof=1) / 6**0.5)
  together = zero_shot.of_values(('a', 'b', 'c'), values, groups)
  assert together.standard_error == pytest.approx(np.std([1, 0, 0.5], ddof=1) / 3**0.5)
  assert zero_shot.of_values(('a', 'b', 'c'), [1.0]).standard_error is None
