"""The demo: its steps fit the time it is given, and it says when it loses."""

import pathlib

import pytest

from mlm_jax import config as config_lib
from mlm_jax import demo
from mlm_jax.tasks import pretraining
from tests import toys


@pytest.mark.parametrize('seconds', (1, 60, 300, 3000))
def test_steps_fit_the_time_and_the_schedule_the_steps(seconds):
  fitted = demo.fit_to(pretraining.resolve(demo.config()), seconds, seconds_per_step=0.1)
  config_lib.check(fitted)
  assert fitted.total_steps == max(40, seconds * 10)
  assert 0 < fitted.optim.warmup_steps < fitted.total_steps


def test_the_verdict_says_so_when_the_model_loses():
  scores = {
    name: {'loss': loss} for name, loss in (('unigram', 6.0), ('bigram', 4.0), ('the model', 5.0))
  }
  said = demo.verdict(scores)
  assert (
    '1.000 nats below the unigram baseline' in said
    and '1.000 nats ABOVE the bigram baseline' in said
  )


def test_the_demo_runs_from_corpus_to_filled_masks_and_resumes(tmp_path, monkeypatch):
  corpus = toys.write_corpus(tmp_path / 'corpus.txt')
  small = toys.training_config(
    corpus, data__row_length=64, model__max_positions=64, mesh__devices=1
  )
  monkeypatch.setattr(demo, 'config', lambda: small.copy_and_resolve_references())
  lines = []
  assert demo.run(tmp_path / 'run', 0.01, lines.append)
  said = '\n'.join(lines)
  for part in (
    'unigram',
    'bigram',
    'the model',
    '[MASK]',
    'The run is in',
    'mlm-jax fill --workdir=',
  ):
    assert part in said
  assert (pathlib.Path(tmp_path) / 'run' / 'config.json').exists()
  again = []
  assert demo.run(tmp_path / 'run', 0.01, again.append)
  assert any('is finished' in line for line in again)
  assert again[again.index('') :] == lines[lines.index('') :]
