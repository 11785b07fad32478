"""Texts longer than a row: cut, seen part by part, or refused, as the caller says."""

import jax
import numpy as np
import pytest

from mlm_jax import __main__
from mlm_jax import config as config_lib
from tests import shared_runs
from tests import toys

ROOM = 30  # pieces in a row of 32
WORDS = 'abcd efgh ijkl mnop '


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return shared_runs.from_the_command_line(tmp_path_factory)


@pytest.fixture(scope='module')
def said():
  return []


@pytest.fixture(scope='module')
def run(workdir, said):
  from mlm_jax.inference import predictor

  return predictor.open_run(workdir, log=said.append)


@pytest.fixture(scope='module')
def long(run):
  """A text of two rows and a bit, and its ids."""
  ids = run.tokenizer.encode(WORDS * 20)[: 2 * ROOM + 7]
  return run.tokenizer.decode(ids), ids


def hidden(run, ids):
  row = np.array([[run.tokenizer.cls_id, *ids, run.tokenizer.sep_id]])
  return toys.apply(
    run.model, run.params, row, np.ones_like(row), np.arange(row.size)[None]
  ).hidden_BLD[0]


def log_probabilities(run, ids, place):
  """Returns float32 [V] at a place of the ids, which is hidden."""
  ids = [*ids[:place], run.tokenizer.mask_id, *ids[place + 1 :]]
  logits_V = toys.head(run.model, run.params, hidden(run, ids)[None])[0, place + 1]
  return np.asarray(jax.nn.log_softmax(logits_V))


def test_embed_reads_the_beginning_unless_another_way_is_asked_for(run, said, long):
  text, ids = long
  said.clear()
  found = run.embed([text, 'a', text])
  np.testing.assert_allclose(found[0], hidden(run, ids[:ROOM]).mean(0), rtol=1e-4, atol=1e-5)
  assert said == ['2 of 3 texts exceed 32 tokens: only their beginning is read']
  np.testing.assert_array_equal(found[1], run.embed(['a'])[0])
  said.clear()
  parts = [hidden(run, ids[i : i + ROOM]) for i in (0, ROOM, 2 * ROOM)]
  found = run.embed([text, 'a'], too_long='window')
  np.testing.assert_allclose(found[0], np.concatenate(parts).mean(0), rtol=1e-4, atol=1e-5)
  assert said == [
    '1 of 2 texts exceed 32 tokens: they are read part by part, the parts weighted by their tokens'
  ]
  # Of other ways to pool, the parts' vectors are weighted by their tokens.
  maxima, weights = [part.max(0) for part in parts], [len(part) for part in parts]
  np.testing.assert_allclose(
    run.embed([text], pooling='max', too_long='window')[0],
    np.average(maxima, axis=0, weights=weights),
    rtol=1e-4,
    atol=1e-5,
  )
  [tokens] = run.embed([text], tokens=True, too_long='window')
  joined = [parts[0][:-1], parts[1][1:-1], parts[2][1:]]
  np.testing.assert_allclose(tokens, np.concatenate(joined), rtol=1e-4, atol=1e-5)
  with pytest.raises(config_lib.UserError, match=r'texts\[1\] has 69 tokens .* rows of 32: short'):
    run.embed(['a', text], too_long='error')
  said.clear()
  run.embed([run.tokenizer.decode(ids[:ROOM])], too_long='error')
  assert not said


def test_each_piece_is_scored_with_the_pieces_around_it(run, said, long):
  text, ids = long
  said.clear()
  total = 0.0
  for place, i in enumerate(ids):
    begin = min(max(0, place - ROOM // 2), len(ids) - ROOM)
    total += log_probabilities(run, ids[begin : begin + ROOM], place - begin)[i]
  found = run.pseudo_log_likelihood(['a', text])
  assert found[1] == pytest.approx(total, rel=1e-5)
  assert found[0] == run.pseudo_log_likelihood(['a'])[0]
  assert said == ['1 of 2 texts exceed 32 tokens: each piece is seen with those around it']
  beginning = run.tokenizer.decode(ids[:ROOM])
  assert run.pseudo_log_likelihood([text], too_long='truncate') == pytest.approx(
    run.pseudo_log_likelihood([beginning], too_long='error')
  )
  with pytest.raises(config_lib.UserError, match='the text has 69 tokens .* rows of 32: shorten'):
    run.pseudo_log_likelihood([text], too_long='error')


def test_each_mask_is_filled_with_what_is_around_it(run, said):
  text = '[MASK] ' + WORDS * 8 + '[MASK] ' + WORDS * 8 + '[MASK].'
  ids = run.tokenizer.encode_with_masks(text)
  said.clear()
  filled = run.fill(text, top_k=2)
  places = np.flatnonzero(np.array(ids) == run.tokenizer.mask_id)
  assert len(filled) == len(places) == 3 and max(np.diff(places)) > 32
  for place, predictions in zip(places, filled):
    begin = min(max(0, place - ROOM // 2), len(ids) - ROOM)
    log_V = log_probabilities(run, ids[begin : begin + ROOM], place - begin)
    best = np.argsort(-log_V)[:2]
    assert [each.id for each in predictions] == best.tolist()
    assert [each.probability for each in predictions] == pytest.approx(
      np.exp(log_V[best]), rel=1e-4
    )
  assert said == ['1 of 1 texts exceed 32 tokens: each mask is seen with what is around it']
  assert len(run.fill(text, too_long='truncate')) == 1
  with pytest.raises(config_lib.UserError, match=r'no \[MASK\] in the first 32 tokens of the text'):
    run.fill(text.removeprefix('[MASK]'), too_long='truncate')
  with pytest.raises(config_lib.UserError, match='trained on rows of 32: shorten it'):
    run.fill(text, too_long='error')


def test_the_command_takes_the_choice(workdir, capsys):
  text = WORDS * 20 + '[MASK].'
  __main__.main(['fill', f'--workdir={workdir}', text])
  assert 'each mask is seen' in capsys.readouterr().err
  with pytest.raises(SystemExit) as raised:
    __main__.main(['fill', f'--workdir={workdir}', '--too-long=error', text])
  assert raised.value.code == 2 and capsys.readouterr().err.count('\n') == 1


@pytest.mark.slow
def test_a_million_characters(run):
  text = 'abcd ' * 200_000
  assert np.isfinite(run.embed([text])).all()
  assert np.isfinite(run.embed([text], too_long='window')).all()
  assert len(run.fill(text + '[MASK]')) == 1
  assert np.isfinite(run.pseudo_log_likelihood([text], too_long='truncate')).all()
