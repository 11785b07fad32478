"""A run opened for use: against the model called by hand, and with bad input."""

import json
import math
import shutil

import jax
import numpy as np
import pytest

import mlm_jax
from mlm_jax import __main__
from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax.evaluation import heldout
from mlm_jax.inference import evaluate
from mlm_jax.inference import predictor
from mlm_jax.tasks import pretraining
from mlm_jax.training import logs
from tests import shared_runs
from tests import toys


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return shared_runs.from_the_command_line(tmp_path_factory)


@pytest.fixture(scope='module')
def run(workdir):
  return mlm_jax.open_run(workdir)


@pytest.fixture(scope='module')
def text(workdir, run):
  """A text of a few words of the corpus's kind."""
  rows = np.load(next((workdir / 'data').rglob('train/rows.npy')))
  return run.tokenizer.decode([i for i in rows[0] if i not in run.tokenizer.special_ids][:8])


def by_hand(run, ids):
  """Returns log p [L, V] of a row, one row at a time and without padding."""
  tokens_BL = np.array([ids])
  ones_BL = np.ones_like(tokens_BL)
  positions_BL = np.arange(len(ids))[None]
  hidden_BLD = toys.apply(run.model, run.params, tokens_BL, ones_BL, positions_BL).hidden_BLD
  logits_LV = toys.head(run.model, run.params, hidden_BLD)[0]
  return np.asarray(jax.nn.log_softmax(logits_LV))[:, : run.tokenizer.size]


def test_fill_gives_the_models_probabilities_for_each_mask(run, text):
  words = text.split()
  masked = ' '.join([words[0], '[MASK]', *words[1:], '[MASK]'])
  ids = [run.tokenizer.cls_id, *run.tokenizer.encode_with_masks(masked), run.tokenizer.sep_id]
  log_LV = by_hand(run, ids)
  filled = run.fill(masked, top_k=3)
  where = [i for i, each in enumerate(ids) if each == run.tokenizer.mask_id]
  assert len(filled) == len(where) == 2
  for position, predictions in zip(where, filled):
    best = np.argsort(-log_LV[position])[:3]
    assert [each.token for each in predictions] == [run.tokenizer.piece(int(i)) for i in best]
    np.testing.assert_allclose(
      [each.probability for each in predictions], np.exp(log_LV[position][best]), rtol=1e-4
    )


@pytest.mark.parametrize(
  'bad, says',
  (
    ('no mask here', r'no \[MASK\] in the text'),
    ('', 'the text is empty'),
    ('  \n ', 'the text is empty'),
    (None, r'texts\[0\] = None: must be a str'),
    (b'a [MASK]', r"texts\[0\] = b'a \[MASK\]': must be a str"),
    (['a [MASK]'], 'must be a str'),
  ),
)
def test_fill_says_what_is_wrong_with_a_text(run, bad, says):
  with pytest.raises(config_lib.UserError, match=says):
    run.fill(bad)


@pytest.mark.parametrize('top_k', [0, -1, 10**6, 2.5, 'all', None])
def test_fill_says_what_is_wrong_with_a_number(run, top_k):
  with pytest.raises(config_lib.UserError, match=f'top_k = {top_k}: must be between 1 and'):
    run.fill('a [MASK]', top_k=top_k)


def test_fill_fills_masks_alone(run):
  assert len(run.fill('[MASK]')) == 1 and len(run.fill('[MASK][MASK] [MASK]')) == 3


def test_pseudo_log_likelihood_hides_one_piece_at_a_time(run, text):
  ids = [run.tokenizer.cls_id, *run.tokenizer.encode(text), run.tokenizer.sep_id]
  expected = 0.0
  for i in range(1, len(ids) - 1):
    hidden = [*ids[:i], run.tokenizer.mask_id, *ids[i + 1 :]]
    expected += float(by_hand(run, hidden)[i, ids[i]])
  found = run.pseudo_log_likelihood([text, 'a'])
  assert found.dtype == np.float64 and found[0] == pytest.approx(expected, rel=1e-5)
  assert run.pseudo_log_likelihood([]).shape == (0,)
  for bad, says in (
    (text, 'a list of texts, not one'),
    (b'a', 'a list of texts, not one'),
    (None, 'a list of texts, not NoneType'),
    (['a', None], r'texts\[1\] = None: must be a str'),
    (['a', ' \n'], r'texts\[1\] is empty'),
    ([''], 'the text is empty'),
  ):
    with pytest.raises(config_lib.UserError, match=says):
      run.pseudo_log_likelihood(bad)


@pytest.mark.parametrize(
  'use',
  [
    lambda run: run.fill('a [MASK]'),
    lambda run: run.embed(['a']),
    lambda run: run.embed(['a'], tokens=True),
    lambda run: run.pseudo_log_likelihood(['a']),
  ],
)
def test_weights_that_are_not_numbers_are_named_and_never_give_a_result(workdir, use):
  broken = mlm_jax.open_run(workdir)
  layers = broken.params['layers']
  norm = layers['attention_norm'] | {
    'scale': layers['attention_norm']['scale'].at[0, 3].set(np.nan)
  }
  broken.params = broken.mlm_params = broken.params | {'layers': layers | {'attention_norm': norm}}
  says = 'at step 6 gives no numbers: its parameter layers/attention_norm/scale is not finite'
  with pytest.raises(config_lib.UserError, match=says):
    use(broken)


def test_masked_shows_what_a_policy_does(run, text):
  policy = masking.make(run.tokenizer.table(), rate=0.5, corruption_probs=(0.5, 0.25, 0.25))
  shown = run.masked([text] * 20, policy)
  actions = [piece.action for row in shown for piece in row]
  assert set(actions) == {'', 'mask', 'random', 'keep'}
  for row in shown:
    assert row[0].piece == '[CLS]' and row[0].action == ''
    for piece in row:
      assert (piece.shown == '[MASK]') == (piece.action == 'mask')
      assert piece.action in ('mask', 'random') or piece.shown == piece.piece
  assert shown == run.masked([text] * 20, policy) != run.masked([text] * 20, policy, seed=1)
  with pytest.raises(config_lib.UserError, match='prepared without collocations'):
    run.masked([text], masking.make(run.tokenizer.table(), unit='collocation', rate=0.15))
  with pytest.raises(config_lib.UserError, match='the text has 402 tokens .* shorten it$'):
    run.masked(['a ' * 200], policy)
  many = run.masked([text] * 70, policy)
  assert len(many) == 70 and many[:20] == shown and run.masked([]) == []
  assert many._repr_html_().count('<p dir=') == 70  # as a notebook shows it


def test_only_fill_takes_brackets_for_a_mask(run):
  [row] = run.masked(['a [MASK]'], masking.make(run.tokenizer.table(), rate=1e-6))
  assert '[MASK]' not in [piece.piece for piece in row]
  assert run.fill('a \udce9 [MASK]')


def test_a_run_opens_wherever_it_is_moved_and_without_its_data(workdir, run, text, tmp_path):
  moved = tmp_path / 'elsewhere'
  shutil.copytree(workdir, moved)
  shutil.rmtree(moved / 'data')
  np.testing.assert_array_equal(mlm_jax.open_run(moved).embed([text]), run.embed([text]))


def test_what_is_not_a_run_or_does_not_fit_is_reported(workdir, tmp_path):
  with pytest.raises(config_lib.UserError, match='no run in'):
    mlm_jax.open_run(tmp_path)
  with pytest.raises(config_lib.UserError, match='no checkpoint of step 77'):
    mlm_jax.open_run(workdir, step=77)
  moved = tmp_path / 'run'
  shutil.copytree(workdir, moved)
  config = (moved / 'config.json').read_text()
  (moved / 'config.json').write_text(config.replace('"width": 32', '"width": 64'))
  with pytest.raises(config_lib.UserError, match='does not fit'):
    mlm_jax.open_run(moved)
  (moved / 'config.json').write_text(config)
  environment = (moved / 'environment.json').read_text()
  (moved / 'environment.json').write_text(environment.replace('"tokenizer": "', '"tokenizer": "0'))
  with pytest.raises(config_lib.UserError, match='is not the tokenizer'):
    mlm_jax.open_run(moved)
  (moved / 'environment.json').write_text('{')
  with pytest.raises(config_lib.UserError, match='environment.json is damaged'):
    mlm_jax.open_run(moved)
  (moved / 'environment.json').write_text(environment)
  shutil.rmtree(moved / 'checkpoints')
  with pytest.raises(config_lib.UserError, match='no intact checkpoint'):
    mlm_jax.open_run(moved)


def test_evaluate_repeats_the_last_line_of_the_log(workdir):

  scores = evaluate.evaluate(workdir)
  last = logs.read_log(workdir, 'evaluations')[-1]
  assert scores == pytest.approx(last, rel=1e-5)
  guessed = evaluate.evaluate(workdir, with_baselines=True)
  assert set(guessed) - set(scores) == {
    'unigram_loss',
    'unigram_accuracy',
    'bigram_loss',
    'bigram_accuracy',
  }


def test_evaluate_scores_under_another_policy_too(workdir):
  reference = config_lib.override(
    config_lib.base(), [('masking.rate', '0.15'), ('masking.corruption_probs', '(1.0, 0.0, 0.0)')]
  )
  scores = evaluate.evaluate(workdir, other=reference.masking.to_dict())
  assert (
    [scores[f'other_{name}'] for name in ('loss', 'accuracy', 'rate')]
    == [scores[f'reference_{name}'] for name in ('loss', 'accuracy', 'rate')]
    != [scores[f'policy_{name}'] for name in ('loss', 'accuracy', 'rate')]
  )
  adaptive = config_lib.override(config_lib.base(), [('masking', 'amlm')]).masking.to_dict()
  assert evaluate.evaluate(workdir, other=adaptive)['other_loss'] > 0
  with pytest.raises(config_lib.UserError, match='prepared without config.data.collocations'):
    evaluate.evaluate(workdir, other=adaptive | {'unit': 'collocation', 'selection': 'uniform'})


def test_evaluate_refuses_rows_beyond_the_positions_and_losses_that_are_not_numbers(
  workdir, tmp_path, monkeypatch
):
  corpus = toys.write_corpus(tmp_path / 'corpus.txt')
  model = next((workdir / 'tokenizer').iterdir())
  longer = toys.training_config(
    corpus,
    data__row_length=64,
    model__max_positions=64,
    data__tokenizer=str(model),
    data__prepared=str(tmp_path / 'longer'),
  )
  pretraining.prepare_data(longer, None, lambda line: None)
  with pytest.raises(config_lib.UserError, match='rows of 64, beyond the 32 positions'):
    evaluate.evaluate(workdir, data=tmp_path / 'longer')
  with pytest.raises(config_lib.UserError, match='nowhere: say with --data where it is'):
    evaluate.evaluate(workdir, data=tmp_path / 'nowhere')
  opened = mlm_jax.open_run(workdir)
  opened.trained = jax.tree.map(lambda x: x * np.nan, opened.trained)
  monkeypatch.setattr(predictor, 'open_run', lambda *rest: opened)
  with pytest.raises(config_lib.UserError, match='the reference loss of step 6 is not a number'):
    evaluate.evaluate(workdir)


def test_a_loss_of_nothing_is_absent_and_not_refused(tmp_path_factory, capsys):
  """At the end of this schedule nothing is hidden, so there is no loss under the run's policy."""
  run = shared_runs.trained(
    tmp_path_factory,
    'ends_at_0',
    masking__rate=0.5,
    masking__final_rate=0.0,
    masking__schedule='linear',
  )
  last = logs.read_log(run, 'evaluations')[-1]
  assert 'policy_loss' not in last and 'policy_perplexity' not in last and None not in last.values()
  __main__.main(['evaluate', f'--workdir={run}', '--baselines'])
  found = json.loads(capsys.readouterr().out)
  assert found['policy_loss'] is None
  named = {name: value for name, value in found.items() if name != 'policy_loss'}
  assert all(map(math.isfinite, named.values()))
  assert {name: named[name] for name in last} == pytest.approx(last, rel=1e-5)
  # In the middle of the training there is one.
  assert evaluate.evaluate(run, step=4)['policy_loss'] > 0


def test_a_score_beside_the_loss_that_is_no_number_is_refused(workdir, monkeypatch):
  found = lambda self, *rest: {'loss': 1.0, 'rtd_loss': math.nan}
  monkeypatch.setattr(heldout.Evaluator, '__call__', found)
  with pytest.raises(
    config_lib.UserError, match='the reference rtd_loss of step 6 is not a number'
  ):
    evaluate.evaluate(workdir)
