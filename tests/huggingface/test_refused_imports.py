"""Folders that cannot be imported, and places that cannot be written: one line says why."""

import json

import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from tests import toys
from tests.huggingface import builders
from tests.huggingface.test_importing import QUIET
from tests.huggingface.test_importing import copy
from tests.huggingface.test_importing import refusal


def change(folder, edit):
  """Changes the tensors of a folder in place."""
  tensors = builders.read_tensors(folder)
  edit(tensors)
  builders.write_tensors(folder, tensors)


@pytest.mark.parametrize(
  'changes, says',
  (
    (
      {'model_type': 'gpt2'},
      ("'gpt2' is not known here", 'bert, roberta, xlm-roberta, electra, deberta'),
    ),
    ({'model_type': None}, ('model_type None is not known',)),
    (
      {'hidden_act': 'gelu_new'},
      ("bert with hidden_act = 'gelu_new' is not supported; it must be 'gelu'",),
    ),
    ({'position_embedding_type': 'relative_key'}, ("it must be 'absolute'",)),
    ({'is_decoder': True}, ('bert with is_decoder = True is not supported',)),
    ({'tie_word_embeddings': False}, ('tie_word_embeddings = False is not supported',)),
    ({'hidden_size': None}, ('config.json lacks hidden_size',)),
    ({'vocab_size': None}, ('config.json lacks vocab_size',)),
    ({'hidden_size': 'wide'}, ('config.json is damaged: a value has the wrong type',)),
    ({'layer_norm_eps': 'small'}, ("'small' is not a value for config.model.norm_epsilon",)),
    ({'hidden_dropout_prob': 2}, ('config.model.dropout = 2.0: must be between 0 and 1',)),
    ({'num_attention_heads': 5}, ('num_attention_heads = 5 does not divide hidden_size = 32',)),
    (
      {'num_hidden_layers': 3},
      ('missing tensors (16): bert.encoder.layer.2.attention.self.query.weight', ', ...'),
    ),
    ({'num_hidden_layers': 1}, ('unexpected tensors (16): bert.encoder.layer.1.', ', ...')),
    (
      {'hidden_size': 64},
      (
        'of another shape than config.json says (',
        'bert.embeddings.word_embeddings.weight [50, 32], not [50, 64]',
      ),
    ),
    ({'vocab_size': 44}, ('the tokenizer has 45 pieces, but the token table only 44 rows',)),
  ),
  ids=str,
)
def test_a_config_that_does_not_fit_is_refused(theirs, changes, says, tmp_path):
  folder = copy(theirs, tmp_path)
  config = json.loads((folder / 'config.json').read_text()) | changes
  (folder / 'config.json').write_text(
    json.dumps({key: value for key, value in config.items() if value is not None})
  )
  message = refusal(folder, tmp_path)
  for each in says:
    assert each in message


@pytest.mark.parametrize(
  'case, changes, says',
  (
    (
      'deberta',
      {'pos_att_type': ['c2p']},
      "pos_att_type = ['c2p'] is not supported; it must be c2p and p2c",
    ),
    ('deberta', {'relative_attention': False}, 'relative_attention = False is not supported'),
    ('deberta', {'position_biased_input': True}, 'position_biased_input = True is not supported'),
    ('deberta_v2', {'conv_groups': 2}, 'conv_groups = 2 is not supported'),
    (
      'deberta_v2',
      {'attention_head_size': 16},
      'attention_head_size = 16 is not supported; it must be 8',
    ),
    ('deberta_v2', {'conv_act': 'relu'}, 'config.model.deberta.convolution_act'),
    ('modernbert', {'norm_bias': True}, 'norm_bias = True is not supported'),
    (
      'modernbert',
      {'layer_types': ['full_attention'] * 2 + ['sliding_attention'] * 3},
      'these layer_types',
    ),
    (
      'modernbert',
      {'rope_parameters': {'full_attention': {'rope_type': 'yarn'}}},
      'rope_type must be default',
    ),
    ('modernbert', {'rope_parameters': 7}, 'config.json is damaged'),
    ('modernbert', {'layer_types': 'all'}, 'layer_types'),
  ),
  ids=str,
)
def test_a_variant_that_no_family_here_has_is_refused(case, changes, says, tmp_path):
  builders.write_published(tmp_path / 'theirs', case, **changes)
  assert says in refusal(tmp_path / 'theirs', tmp_path)


def _misshape(tensors):
  tensors['cls.predictions.bias'] = np.zeros((50, 1), np.float32)
  tensors['bert.embeddings.LayerNorm.bias'] = np.zeros(33, np.float32)


def _untie(tensors):
  tensors['cls.predictions.decoder.weight'] = tensors['bert.embeddings.word_embeddings.weight'] + 1


@pytest.mark.parametrize(
  'edit, says',
  (
    (
      lambda tensors: tensors.pop('bert.encoder.layer.1.output.dense.bias'),
      'missing tensors (1): bert.encoder.layer.1.output.dense.bias',
    ),
    (
      lambda tensors: tensors.pop('cls.predictions.bias'),
      'missing tensors (1): cls.predictions.bias',
    ),
    (
      lambda tensors: tensors.update({'classifier.weight': np.zeros(3, np.float32)}),
      'unexpected tensors (1): classifier.weight',
    ),
    (
      _misshape,
      'tensors of another shape than config.json says (2): bert.embeddings.LayerNorm.bias [33], '
      'not [32], '
      'cls.predictions.bias [50, 1], not [50]',
    ),
    (
      lambda tensors: tensors.update({'cls.predictions.bias': np.zeros(50, np.int8)}),
      'of a type that is not float32 or float16 or bfloat16 (1): cls.predictions.bias int8',
    ),
    (
      _untie,
      'cls.predictions.decoder.weight is not a copy of bert.embeddings.word_embeddings.weight',
    ),
  ),
)
def test_tensors_that_do_not_fit_are_listed(theirs, edit, says, tmp_path):
  folder = copy(theirs, tmp_path)
  change(folder, edit)
  assert says in refusal(folder, tmp_path)


def _cut(folder, file, keep):
  (folder / file).write_bytes((folder / file).read_bytes()[:keep])


def _rename(folder, was, now):
  (folder / was).rename(folder / now)


def _replace_vocabulary(folder, was, now):
  (folder / 'vocab.txt').write_text((folder / 'vocab.txt').read_text().replace(was, now))


@pytest.mark.parametrize(
  'damage, says',
  (
    (
      lambda folder: _cut(folder, 'model.safetensors', -10),
      'model.safetensors is missing, damaged or cut short',
    ),
    (
      lambda folder: _cut(folder, 'model.safetensors', 20),
      'model.safetensors is missing, damaged or cut short',
    ),
    (
      lambda folder: _cut(folder, 'model.safetensors', 0),
      'model.safetensors is missing, damaged or cut short',
    ),
    (lambda folder: (folder / 'model.safetensors').unlink(), 'has no model.safetensors'),
    (
      lambda folder: _rename(folder, 'model.safetensors', 'pytorch_model.bin'),
      'pytorch_model.bin is a pickle, which can run any program and is not opened; convert it: '
      'python -c "import glob',
    ),
    (lambda folder: _rename(folder, 'model.safetensors', 'weights.pkl'), 'weights.pkl is a pickle'),
    (
      lambda folder: _rename(folder, 'model.safetensors', 'pytorch_model-00001-of-00002.bin'),
      'is a pickle',
    ),
    (lambda folder: (folder / 'config.json').unlink(), 'has no config.json'),
    (lambda folder: _cut(folder, 'config.json', -3), 'config.json is damaged'),
    (
      lambda folder: (folder / 'config.json').write_text('[]'),
      'config.json is damaged: it must hold an object',
    ),
    (lambda folder: (folder / 'config.json').write_bytes(b'\xff\xfe{'), 'config.json is damaged'),
    (
      lambda folder: (folder / 'vocab.txt').unlink(),
      'has no tokenizer: it must have tokenizer.json or vocab.txt',
    ),
    (
      lambda folder: (folder / 'tokenizer.json').write_text('{"a"'),
      'tokenizer.json is damaged',
    ),
    (
      lambda folder: _replace_vocabulary(folder, '[UNK]', 'unknown'),
      'has no unk piece; it must have [UNK] or <unk>',
    ),
  ),
)
def test_a_damaged_folder_is_refused(theirs, damage, says, tmp_path):
  folder = copy(theirs, tmp_path)
  damage(folder)
  assert says in refusal(folder, tmp_path)


@pytest.mark.parametrize(
  'index', ['{', '[]', '{"weight_map": {"a": "../a.safetensors"}}', '{"weight_map": {"a": 1}}']
)
def test_a_damaged_index_of_shards_is_refused(theirs, index, tmp_path):
  folder = copy(theirs, tmp_path)
  (folder / 'model.safetensors').unlink()
  (folder / 'model.safetensors.index.json').write_text(index)
  assert 'model.safetensors.index.json' in refusal(folder, tmp_path)


def test_what_is_neither_a_folder_nor_a_name_is_refused(tmp_path):
  assert 'is not a folder with config.json' in refusal(tmp_path / 'absent', tmp_path)
  (tmp_path / 'models--a').mkdir()
  (tmp_path / 'models--a' / 'snapshots').mkdir()
  assert 'has no snapshot' in refusal(tmp_path / 'models--a', tmp_path)


def test_a_name_that_the_hub_does_not_give_is_one_line(tmp_path, monkeypatch):
  def refuse(name, **unused):
    raise ConnectionError(f'no way to\n{name}')

  monkeypatch.setattr('huggingface_hub.snapshot_download', refuse)
  message = refusal('some/bert', tmp_path)
  assert (
    message == 'some/bert is not a folder here, and could not be downloaded from the hub '
    '(no way to some/bert)'
  )


def test_a_run_that_is_there_stays_as_it_is(theirs, tmp_path):
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run' / 'config.json').write_text('mine')
  with pytest.raises(config_lib.UserError, match='run exists; choose another --workdir'):
    importing.run(theirs, tmp_path / 'run', **QUIET)
  assert [each.name for each in tmp_path.iterdir()] == ['run']
  assert (tmp_path / 'run' / 'config.json').read_text() == 'mine'
  (tmp_path / 'run' / 'config.json').unlink()
  importing.run(theirs, tmp_path / 'run', **QUIET)  # an empty folder will do
  assert mlm_jax.open_run(tmp_path / 'run').step == 0


def test_a_place_that_cannot_be_written_is_reported(theirs, tmp_path):
  with toys.read_only_folder() as folder:
    with pytest.raises(
      config_lib.UserError,
      match='cannot write .*run: .*Permission denied.*choose another --workdir',
    ):
      importing.run(theirs, folder / 'run', **QUIET)


def test_a_run_whose_origin_is_damaged_says_so(theirs, tmp_path):
  importing.run(theirs, tmp_path / 'run', **QUIET)
  (tmp_path / 'run' / 'huggingface' / 'names.json').write_text('{"a": ["b", "float32"]}')
  with pytest.raises(config_lib.UserError, match='huggingface is damaged .*; import the run again'):
    exporting.run(tmp_path / 'run', tmp_path / 'back', **QUIET)
  (tmp_path / 'run' / 'huggingface' / 'rest.safetensors').write_text('')
  with pytest.raises(config_lib.UserError, match='damaged'):
    exporting.run(tmp_path / 'run', tmp_path / 'back', part='encoder', **QUIET)
  assert not list(tmp_path.glob('back*'))
