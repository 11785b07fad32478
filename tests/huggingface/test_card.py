"""The card of an exported model: what the run was, its scores and its licence, and no place."""

import json

import pytest

from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from tests.huggingface import builders

QUIET = dict(log=lambda line: None)


def test_the_card_tells_what_the_run_was(tmp_path):
  builders.write_run(tmp_path / 'run')
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  card = (tmp_path / 'to' / 'README.md').read_text()
  assert card.startswith('---\nlibrary_name: transformers\n') and '\n# BertForMaskedLM\n' in card
  for row in (
    '| step | 3 of 6 |',
    '| masking | token, uniform, rate 0.15 (constant), corruption 0.8 / 0.1 / 0.1 |',
    '| objective | masked |',
    '| licence | not stated |',
    'At step 3, of about 16 held-out rows of 16 tokens of pydocs.',
    '| masked loss (nats per token) | 2.5000 | all | reference: uniform, 15 % of the tokens, ',
    '| tokenizer | 45 pieces, sha256 ',
  ):
    assert row in card
  builders.write_published(tmp_path / 'theirs', 'bert')
  importing.run(tmp_path / 'theirs', tmp_path / 'imported', **QUIET)
  exporting.run(tmp_path / 'imported', tmp_path / 'back', **QUIET)
  card = (tmp_path / 'back' / 'README.md').read_text()
  assert '| step | imported, not trained here |' in card and 'masking' not in card
  exporting.run(tmp_path / 'imported', tmp_path / 'encoder', part='encoder', **QUIET)
  assert '| pooler | not trained: ' in (tmp_path / 'encoder' / 'README.md').read_text()


def test_the_licence_is_the_one_given_or_imported_and_none_is_made_up(tmp_path):
  builders.write_published(tmp_path / 'theirs', 'bert')
  for card, given, found in (('', '', ''), ('mit', '', 'mit'), ('mit', 'cc0-1.0', 'cc0-1.0')):
    name = f'{card}-{given}'
    if card:
      (tmp_path / 'theirs' / 'README.md').write_text(f'---\nlicense: {card}\n---\nA model\n')
    importing.run(tmp_path / 'theirs', tmp_path / f'run{name}', **QUIET)
    exporting.run(tmp_path / f'run{name}', tmp_path / f'to{name}', licence=given, **QUIET)
    head = (tmp_path / f'to{name}' / 'README.md').read_text().split('---')[1]
    assert f'\nlicense: {found}\n' in head if found else 'license' not in head


def test_the_card_says_which_text_and_masks_each_score_is_of(tmp_path):
  builders.write_run(tmp_path / 'run', masking__unit='word', evaluation__rows=0)
  scores = {
    'reference_loss': 2.5,
    'reference_accuracy': 0.25,
    'reference_perplexity': 12.2,
    'policy_loss': 3.0,
    'reference_loss_on_a|b': 2.25,
  }
  (tmp_path / 'run' / 'evaluations.jsonl').write_text(json.dumps({'step': 3, **scores}) + '\n')
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  section = (tmp_path / 'to' / 'README.md').read_text().split('## Scores\n')[1]
  reference = '| reference: uniform, 15 % of the tokens, all by [MASK] |'
  own = '| the run’s own: word, uniform, rate 0.15 (constant), corruption 0.8 / 0.1 / 0.1 |'
  assert section.splitlines()[5:] == [
    f'| masked loss (nats per token) | 2.5000 | all {reference}',
    f'| accuracy | 0.2500 | all {reference}',
    f'| masked loss (nats per token) | 3.0000 | all {own}',
    f'| masked loss (nats per token) | 2.2500 | a\\|b {reference}',
  ]
  assert 'of all held-out rows of 16 tokens' in section


@pytest.mark.parametrize('sentences', (False, True))
def test_no_file_of_an_export_names_a_folder_of_the_machine(tmp_path, monkeypatch, sentences):
  monkeypatch.setenv('HOME', '/home/somebody')
  builders.write_run(
    tmp_path / 'run',
    data__source=f'text:{tmp_path}/my texts/a.txt,text:/home/somebody/b.txt',
    data__tokenizer=f'{tmp_path}/tokenizer.json',
    data__prepared=str(tmp_path / 'data'),
    init_from='/home/somebody/runs/first',
  )
  scores = {'step': 3, 'reference_loss': 2.5, f'reference_loss_on_{tmp_path}/a': 2.0}
  (tmp_path / 'run' / 'evaluations.jsonl').write_text(json.dumps(scores) + '\n')
  exporting.run(tmp_path / 'run', tmp_path / 'to', sentences=sentences, **QUIET)
  files = [each for each in (tmp_path / 'to').rglob('*') if each.is_file()]
  assert len(files) >= (8 if sentences else 4)
  for file in files:
    for folder in (str(tmp_path.parent), '/home/somebody'):
      assert folder.encode() not in file.read_bytes(), file
  card = (tmp_path / 'to' / 'README.md').read_text()
  assert '| data | text:a.txt,text:b.txt (' in card and '| started from | first |' in card


def test_a_score_that_was_not_a_number_is_left_out_of_the_card(tmp_path):
  builders.write_run(tmp_path / 'run', step=0)
  (tmp_path / 'run' / 'evaluations.jsonl').write_text(
    '{"step": 0, "reference_loss": null, "policy_loss": 1.0}\n'
  )
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  card = (tmp_path / 'to' / 'README.md').read_text()
  assert (
    '| reference' not in card
    and '| masked loss (nats per token) | 1.0000 | all | the run’s own: token, uniform, ' in card
    and '| step | 0 of 6 |' in card
  )
