"""Folders that cannot be imported, and places that cannot be written: one line says why."""

import json
import os

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

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
      (
        "'gpt2' is not known here",
        'distilbert, electra, modernbert, roberta, xlm-roberta, camembert',
      ),
    ),
    ({'model_type': None}, ('model_type None is not known',)),
    ({'model_type': ['bert']}, ("model_type ['bert'] is not known here",)),
    ({'model_type': 'mpnet'}, ("'mpnet' is not supported", 'sentence-transformers/all-MiniLM')),
    ({'model_type': 'albert'}, ("'albert' is not supported", 'google/electra-small')),
    ({'hidden_act': 'mish'}, ('hidden_act = "mish": must be one of gelu, ', 'relu, silu')),
    ({'position_embedding_type': 'relative_key'}, ("it must be 'absolute'",)),
    ({'is_decoder': True}, ('bert with is_decoder = True is not supported',)),
    (
      {'tie_word_embeddings': False},
      ('missing tensors (1): cls.predictions.decoder.weight',),
    ),
    ({'hidden_size': None}, ('config.json lacks hidden_size',)),
    ({'vocab_size': None}, ('config.json lacks vocab_size',)),
    ({'hidden_size': 'wide'}, ('hidden_size = "wide": must be a whole number from 1 to 65,536',)),
    ({'layer_norm_eps': 'small'}, ('layer_norm_eps = "small": must be a number from 1e-20',)),
    ({'hidden_dropout_prob': 2}, ('hidden_dropout_prob = 2: must be a number from 0 to 0.996094',)),
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
      'pos_att_type = ["c2p"]: must be c2p and p2c',
    ),
    ('deberta', {'relative_attention': False}, 'relative_attention = False is not supported'),
    ('deberta', {'position_biased_input': True}, 'position_biased_input = True is not supported'),
    ('deberta_v2', {'conv_groups': 2}, 'conv_groups = 2 is not supported'),
    (
      'deberta_v2',
      {'attention_head_size': 16},
      'attention_head_size = 16: must be 8',
    ),
    ('deberta_v2', {'conv_act': 'mish'}, 'conv_act = "mish": must be one of gelu'),
    ('deberta_v2', {'conv_kernel_size': 4}, 'conv_kernel_size = 4: must be odd'),
    ('modernbert', {'norm_bias': True}, 'norm_bias = True is not supported'),
    (
      'modernbert',
      {'layer_types': ['full_attention'] * 2 + ['sliding_attention'] * 3},
      'must be full_attention for layers 0, n, 2 n, ...',
    ),
    (
      'modernbert',
      {'rope_parameters': {'full_attention': {'rope_type': 'yarn'}}},
      'rope_type must be default',
    ),
    ('modernbert', {'rope_parameters': 7}, 'rope_parameters = 7: must be an object'),
    ('modernbert', {'rope_scaling': {'factor': 2}}, 'rope_type must be default'),
    ('modernbert', {'num_attention_heads': 32}, 'heads have an even size'),
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


def _rename_twice(tensors):
  tensors['bert.embeddings.LayerNorm.gamma'] = tensors['bert.embeddings.LayerNorm.weight'] + 1


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
      lambda tensors: tensors.update({'bert.adapter.weight': np.zeros(3, np.float32)}),
      'unexpected tensors (1): bert.adapter.weight',
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
      _rename_twice,
      'bert.embeddings.LayerNorm.gamma is not a copy of bert.embeddings.LayerNorm.weight',
    ),
    (
      lambda tensors: tensors['bert.encoder.layer.0.output.dense.bias'].fill(np.nan),
      'tensors that hold NaN or infinity (1): bert.encoder.layer.0.output.dense.bias',
    ),
    (
      lambda tensors: tensors.update({'cls.predictions.bias': np.full(50, -np.inf, np.float16)}),
      'tensors that hold NaN or infinity (1): cls.predictions.bias',
    ),
    (
      lambda tensors: tensors.update(
        {'bert.pooler.dense.bias': np.full(32, np.nan, ml_dtypes.bfloat16)}
      ),
      'tensors that hold NaN or infinity (1): bert.pooler.dense.bias',
    ),
  ),
)
def test_tensors_that_do_not_fit_are_listed(theirs, edit, says, tmp_path):
  folder = copy(theirs, tmp_path)
  change(folder, edit)
  assert says in refusal(folder, tmp_path)


def _cut(folder, file, keep):
  (folder / file).write_bytes((folder / file).read_bytes()[:keep])


def _replace(folder, file, text):
  (folder / file).write_text(text)


def _make_folder(folder, file):
  (folder / file).unlink()
  (folder / file).mkdir()


def _link(folder, file, to):
  (folder / file).unlink()
  (folder / file).symlink_to(to)


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
    (lambda folder: _replace(folder, 'config.json', '{"a": 1' + 9999 * '0'), 'is damaged'),
    (lambda folder: _replace(folder, 'config.json', '[' * 100_000), 'config.json is damaged'),
    (lambda folder: _replace(folder, 'config.json', '{"a": NaN}'), 'damaged: NaN is no number'),
    (lambda folder: _replace(folder, 'config.json', '{"a": 1e999}'), 'damaged: 1e999 is no number'),
    (lambda folder: _make_folder(folder, 'config.json'), 'config.json: Is a directory'),
    (lambda folder: _link(folder, 'config.json', 'config.json'), 'config.json is a link to'),
    (lambda folder: _link(folder, 'config.json', '../../blobs/a'), 'link to ../../blobs/a, which'),
    (
      lambda folder: _link(folder, 'vocab.txt', '../../blobs/a'),
      'vocab.txt is a link to ../../blobs/a, which is not there; download it again',
    ),
    (
      lambda folder: _link(folder, 'model.safetensors', '../../blobs/a'),
      'model.safetensors is a link to ../../blobs/a, which is not there; download it again',
    ),
    (
      lambda folder: _make_folder(folder, 'model.safetensors'),
      'model.safetensors: Is a directory',
    ),
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


def test_shards_hold_what_their_index_says_and_nothing_twice(theirs, tmp_path):
  folder = copy(theirs, tmp_path)
  _rename(folder, 'model.safetensors', 'a.safetensors')
  tensors = list(safetensors.numpy.load_file(folder / 'a.safetensors'))
  index = folder / 'model.safetensors.index.json'
  write = lambda places: index.write_text(json.dumps({'weight_map': places}))
  write(dict.fromkeys([*tensors, 'bert.more', 'bert.most'], 'a.safetensors'))
  message = refusal(folder, tmp_path)
  assert 'index.json names tensors that no shard holds (2): bert.more, bert.most' in message
  builders.write_tensors(folder, {tensors[0]: np.zeros(3, np.float32)}, 'b.safetensors')
  write(dict.fromkeys(tensors, 'a.safetensors') | {tensors[0]: 'b.safetensors'})
  assert f'{tensors[0]} is both in ' in refusal(folder, tmp_path)
  # A tensor that the index lacks is read all the same, as `transformers` does.
  (folder / 'b.safetensors').unlink()
  write(dict.fromkeys(tensors[1:], 'a.safetensors'))
  importing.run(folder, tmp_path / 'run', **QUIET)


def test_a_folder_or_file_that_may_not_be_read_says_so(theirs, tmp_path):
  with toys.read_only_folder(*theirs.iterdir()) as folder:
    for name in ('config.json', 'model.safetensors'):
      os.seteuid(os.getuid())
      (folder / name).chmod(0)
      if os.getuid() == 0:
        os.seteuid(65534)
      with pytest.raises(config_lib.UserError, match=f'{name}.*Permission denied'):
        importing.read(folder)
      os.seteuid(os.getuid())
      (folder / name).chmod(0o644)


@pytest.mark.parametrize('dtype', ['F8_E4M3', 'F8_E5M2', 'F4', 'C64'])
def test_a_type_that_no_array_here_holds_is_named(theirs, dtype, tmp_path):
  folder = copy(theirs, tmp_path)
  data = (folder / 'model.safetensors').read_bytes()
  length = int.from_bytes(data[:8], 'little')
  header = json.loads(data[8 : 8 + length])
  name, more = 'bert.pooler.extra', len(data) - 8 - length
  header[name] = {'dtype': dtype, 'shape': [8], 'data_offsets': [more, more + 8]}
  if dtype == 'F4':
    header[name]['shape'] = [16]
  if dtype == 'C64':
    header[name]['shape'] = [1]
  text = json.dumps(header).encode()
  (folder / 'model.safetensors').write_bytes(
    len(text).to_bytes(8, 'little') + text + data[8 + length :] + bytes(8)
  )
  message = refusal(folder, tmp_path)
  assert f'(1): {name} {dtype}' in message or 'is missing, damaged or cut short' in message


def test_what_is_neither_a_folder_nor_a_name_is_refused(tmp_path):
  assert 'is not a folder with config.json' in refusal(tmp_path / 'absent', tmp_path)
  (tmp_path / 'models--a').mkdir()
  (tmp_path / 'models--a' / 'snapshots').mkdir()
  assert 'has no snapshot' in refusal(tmp_path / 'models--a', tmp_path)
  assert 'cannot read aaaa' in refusal(300 * 'a', tmp_path)
  assert 'is an empty name' in refusal('', tmp_path)


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
