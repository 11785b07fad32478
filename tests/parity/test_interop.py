"""Folders that `transformers` writes and reads: theirs -> ours -> theirs, and ours -> theirs.

`python -m tests.parity.test_interop` writes tests/huggingface/published.json again.
"""

import json
import pathlib
import shlex
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from tests import toys
from tests.huggingface import builders
from tests.parity.interop import CASES
from tests.parity.interop import QUIET
from tests.parity.interop import assert_back
from tests.parity.interop import loaded
from tests.parity.interop import our_outputs
from tests.parity.interop import rows
from tests.parity.interop import their_model
from tests.parity.interop import their_outputs
from tests.parity.interop import write

pytestmark = pytest.mark.parity

LOGITS = 1e-5
# tests/huggingface/published.json has the names of these.
PUBLISHED = (
  'bert',
  'bert_encoder',
  'bert_pairs',
  'roberta',
  'xlm_roberta',
  'distilbert',
  'electra',
  'electra_detector',
  'deberta',
  'deberta_other_head',
  'deberta_v2',
  'deberta_v3',
  'deberta_v3_own',
  'modernbert',
  'modernbert_encoder',
  'bert_classifier',
  'roberta_classifier',
  'distilbert_classifier',
  'electra_classifier',
  'deberta_classifier',
  'deberta_v2_classifier',
  'modernbert_classifier',
)
PUBLISHED_FILE = pathlib.Path(builders.__file__).parent / 'published.json'


@pytest.mark.parametrize('case', CASES)
def test_there_and_back_no_byte_of_a_tensor_changes(case, tmp_path):
  model = their_model(case)
  theirs = write(model, tmp_path / 'theirs')
  # Classifiers with their heads: see test_classifiers.py.
  importing.run(theirs, tmp_path / 'run', part='encoder', **QUIET)
  run = mlm_jax.open_run(tmp_path / 'run')
  tokens_BL, seen_BL = rows(run.tokenizer.pad_id, builders.PIECES)
  hidden_BLD, logits_BLV = their_outputs(model, tokens_BL, seen_BL)
  ours, our_logits = our_outputs(
    run.model, run.params, tokens_BL, run.tokenizer.pad_id, model.config.vocab_size
  )
  assert np.abs(ours - hidden_BLD)[seen_BL].max() < LOGITS
  if 'MaskedLM' in CASES[case][0]:
    assert np.abs(our_logits - logits_BLV)[seen_BL].max() < LOGITS * max(
      1, np.abs(logits_BLV).max()
    )
  exporting.run(tmp_path / 'run', tmp_path / 'back', **QUIET)
  assert_back(theirs, tmp_path / 'back')
  again = loaded(getattr(transformers, CASES[case][0]), tmp_path / 'back')
  assert np.array_equal(their_outputs(again, tokens_BL, seen_BL)[0], hidden_BLD)
  exporting.run(tmp_path / 'run', tmp_path / 'encoder', part='encoder', **QUIET)
  encoder = loaded(transformers.AutoModel, tmp_path / 'encoder')
  # Written under another name of the same function, which rounds otherwise.
  rounding = 1e-6 if 'gelu_new' in CASES[case][1].values() else 0
  again_BLD = their_outputs(encoder, tokens_BL, seen_BL)[0]
  np.testing.assert_allclose(again_BLD, hidden_BLD, rtol=0, atol=rounding)


def test_a_pooler_that_came_along_goes_with_the_encoder(tmp_path):
  model = their_model('bert_pairs')
  importing.run(write(model, tmp_path / 'theirs'), tmp_path / 'run', **QUIET)
  exporting.run(tmp_path / 'run', tmp_path / 'encoder', part='encoder', **QUIET)
  assert torch.equal(
    loaded(transformers.AutoModel, tmp_path / 'encoder').pooler.dense.weight,
    model.bert.pooler.dense.weight,
  )


@pytest.mark.parametrize(
  'case', ['bert', 'roberta', 'deberta_v2', 'modernbert', 'electra_detector']
)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_halves_come_back_as_halves(case, dtype, tmp_path):
  theirs = write(their_model(case).to(dtype), tmp_path / 'theirs')
  importing.run(theirs, tmp_path / 'run', **QUIET)
  assert (
    mlm_jax.open_run(tmp_path / 'run').params['embeddings']['token']['embedding'].dtype
    == np.float32
  )
  exporting.run(tmp_path / 'run', tmp_path / 'back', **QUIET)
  assert_back(theirs, tmp_path / 'back')


@pytest.mark.parametrize('case', ['bert', 'bert_pairs', 'deberta', 'deberta_v2_encoder'])
def test_old_names_copies_and_buffers_come_back_as_they_were(case, tmp_path):
  theirs = write(their_model(case), tmp_path / 'theirs')
  tensors = safetensors.torch.load_file(theirs / 'model.safetensors')
  old = lambda name: name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace(
    'LayerNorm.bias', 'LayerNorm.beta'
  )
  table = next(name for name in tensors if name.endswith('word_embeddings.weight'))
  tensors = {old(name): tensor for name, tensor in tensors.items()}
  tensors[table.replace('word_embeddings.weight', 'position_ids')] = torch.arange(40)[None]
  if 'cls.predictions.bias' in tensors:
    tensors |= {
      'cls.predictions.decoder.weight': tensors[table].clone(),
      'cls.predictions.decoder.bias': tensors['cls.predictions.bias'].clone(),
    }
  safetensors.torch.save_file(tensors, theirs / 'model.safetensors', {'format': 'pt'})
  importing.run(theirs, tmp_path / 'run', **QUIET)
  exporting.run(tmp_path / 'run', tmp_path / 'back', **QUIET)
  assert_back(theirs, tmp_path / 'back')


@pytest.mark.parametrize('case', ['bert', 'modernbert'])
def test_shards_are_read_as_one_file_is(case, tmp_path):
  model = their_model(case)
  theirs = write(model, tmp_path / 'theirs')
  shards = write(model, tmp_path / 'shards', max_shard_size='20KB')
  assert not (shards / 'model.safetensors').exists() and len(list(shards.glob('*.safetensors'))) > 2
  importing.run(shards, tmp_path / 'run', **QUIET)
  exporting.run(tmp_path / 'run', tmp_path / 'back', **QUIET)
  builders.assert_same(builders.read_tensors(tmp_path / 'back'), builders.read_tensors(theirs))


@pytest.mark.parametrize('shards', [False, True])
def test_the_command_that_converts_a_pickle_gives_what_is_imported(shards, tmp_path):
  model = their_model('bert')
  theirs = write(model, tmp_path / 'theirs')
  (theirs / 'model.safetensors').unlink()
  tensors = dict(model.state_dict())  # with the copies that are tied
  names = list(tensors)
  parts = (names[:9], names[9:]) if shards else (names,)
  for n, part in enumerate(parts):
    name = f'pytorch_model-0000{n + 1}-of-00002.bin' if shards else 'pytorch_model.bin'
    torch.save({each: tensors[each] for each in part}, theirs / name)
  with pytest.raises(config_lib.UserError, match='is a pickle') as raised:
    importing.run(theirs, tmp_path / 'run', **QUIET)
  command = shlex.split(str(raised.value).partition('convert it: ')[2])
  assert command[:2] == ['python', '-c']
  subprocess.run([sys.executable, '-c', command[2]], check=True)
  importing.run(theirs, tmp_path / 'run', **QUIET)
  exporting.run(tmp_path / 'run', tmp_path / 'back', **QUIET)
  assert set(builders.read_tensors(tmp_path / 'back')) == set(names)
  found = transformers.BertForMaskedLM.from_pretrained(tmp_path / 'back').state_dict()
  assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


# What our runs become.


@pytest.mark.parametrize('names', [builders.NAMES, builders.PAD_SECOND], ids=['pad 0', 'pad 1'])
@pytest.mark.parametrize('family', [each for each in toys.FAMILIES if 'enhanced' not in each])
def test_a_run_of_ours_gives_the_same_logits_there(family, names, tmp_path):
  builders.write_run(tmp_path / 'run', names, **toys.FAMILIES[family])
  run = mlm_jax.open_run(tmp_path / 'run')
  tokens_BL, seen_BL = rows(run.tokenizer.pad_id, builders.PIECES, 30)
  hidden_BLD, logits_BLV = our_outputs(
    run.model, run.params, tokens_BL, run.tokenizer.pad_id, builders.PIECES
  )
  for part, auto in (('', transformers.AutoModelForMaskedLM), ('encoder', transformers.AutoModel)):
    exporting.run(tmp_path / 'run', tmp_path / f'to{part}', part=part, **QUIET)
    theirs, their_logits = their_outputs(loaded(auto, tmp_path / f'to{part}'), tokens_BL, seen_BL)
    assert np.abs(theirs - hidden_BLD)[seen_BL].max() < LOGITS
    if not part:
      assert np.abs(their_logits - logits_BLV)[seen_BL].max() < LOGITS
  assert_tokenizes_alike(run, tmp_path / 'to')


def assert_tokenizes_alike(run, folder):
  theirs = transformers.AutoTokenizer.from_pretrained(folder)
  for text in builders.texts(np.random.default_rng(0), 50):
    assert theirs(text)['input_ids'] == [
      run.tokenizer.cls_id,
      *run.tokenizer.encode(text),
      run.tokenizer.sep_id,
    ]
  assert (
    theirs.mask_token_id == run.tokenizer.mask_id and theirs.pad_token_id == run.tokenizer.pad_id
  )
  assert ('token_type_ids' in theirs('a')) == (run.config.model.types > 1)


@pytest.mark.parametrize(
  'family, settings',
  (
    ('bert', {'types': 0}),
    ('bert', {'position_offset': 3}),
    ('bert', {'norm_epsilon': 0.1}),
    ('roberta', {'types': 3, 'position_offset': 0}),
    ('roberta', {'uncounted_id': 7, 'position_offset': 8}),
    ('roberta', {'uncounted_id': 9, 'position_offset': 2, 'tied_head': False}),
    ('bert', {'activation': 'relu', 'tied_head': False}),
    ('roberta', {'activation': 'silu'}),
    ('electra', {'activation': 'tanh', 'tied_head': False}),
    ('distilbert', {'activation': 'gelu_tanh', 'tied_head': False}),
    ('deberta', {'activation': 'silu', 'tied_head': False}),
    ('deberta_v3', {'activation': 'gelu_tanh', 'tied_head': False}),
    ('modernbert', {'activation': 'silu', 'head_activation': 'relu', 'tied_head': False}),
    ('electra', {'types': 0, 'embedding_width': 32}),
    ('deberta', {'deberta__span': 12, 'types': 2}),
    (
      'deberta_v2',
      {'deberta__convolution': 5, 'deberta__convolution_act': 'tanh', 'deberta__span': 20},
    ),
    ('deberta_v3', {'deberta__buckets': 0, 'deberta__span': 9}),
    ('modernbert', {'modernbert__global_theta': 50.0, 'modernbert__local_theta': 5.0}),
    ('modernbert', {'modernbert__global_every': 2, 'modernbert__window': 9, 'norm_epsilon': 0.1}),
  ),
  ids=str,
)
def test_numbers_that_are_not_the_familys_own_are_expressed(family, settings, tmp_path):
  settings = {f'model__{name}': value for name, value in settings.items()}
  builders.write_run(tmp_path / 'run', **toys.FAMILIES[family] | settings)
  run = mlm_jax.open_run(tmp_path / 'run')
  tokens_BL, seen_BL = rows(run.tokenizer.pad_id, builders.PIECES, 30)
  _, logits_BLV = our_outputs(
    run.model, run.params, tokens_BL, run.tokenizer.pad_id, builders.PIECES
  )
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  theirs = loaded(transformers.AutoModelForMaskedLM, tmp_path / 'to')
  assert np.abs(their_outputs(theirs, tokens_BL, seen_BL)[1] - logits_BLV)[seen_BL].max() < LOGITS


@pytest.mark.parametrize('sharing', ['tied', 'none', 'gdes'])
@pytest.mark.parametrize(
  'family, width', [('electra', 0.5), ('deberta_v3', 1.0), ('modernbert', 1.0)]
)
def test_the_parts_of_a_replaced_token_run_give_the_same_there(family, width, sharing, tmp_path):
  settings = toys.FAMILIES[family] | {
    'objective__name': 'rtd',
    'objective__generator_width': width,
    'objective__generator_layers': 0.5,
    'objective__sharing': sharing,
  }
  builders.write_run(tmp_path / 'run', **settings)
  run = mlm_jax.open_run(tmp_path / 'run')
  tokens_BL, seen_BL = rows(run.tokenizer.pad_id, builders.PIECES, 30)
  of = {
    'generator': (transformers.AutoModelForMaskedLM, run.mlm, run.mlm_params),
    'encoder': (transformers.AutoModel, run.model, run.params),
  }
  if family == 'electra':
    of['discriminator'] = (transformers.AutoModelForPreTraining, run.model, run.params)
  for part, (auto, model, params) in of.items():
    exporting.run(tmp_path / 'run', tmp_path / part, part=part, **QUIET)
    theirs, their_logits = their_outputs(loaded(auto, tmp_path / part), tokens_BL, seen_BL)
    hidden_BLD, head = our_outputs(model, params, tokens_BL, run.tokenizer.pad_id, builders.PIECES)
    assert np.abs(theirs - hidden_BLD)[seen_BL].max() < LOGITS
    if part != 'encoder':
      head = head[:, :, 0] if part == 'discriminator' else head
      assert np.abs(their_logits - head)[seen_BL].max() < LOGITS


# The names that the tests without PyTorch go by.


def published():
  """Returns what PUBLISHED_FILE holds."""
  found = {}
  for case in PUBLISHED:
    model = their_model(case)
    config = json.loads(model.config.to_json_string(use_diff=False))
    config |= {'architectures': [CASES[case][0]]}
    wanted = set(CASES[case][1]) | {
      'architectures',
      'model_type',
      'hidden_act',
      'layer_types',
      'rope_parameters',
      'legacy',
      'conv_kernel_size',
      'conv_act',
      'embedding_size',
      'type_vocab_size',
    }
    tied = set(model._tied_weights_keys or ())
    found[case] = {
      'config': {name: config[name] for name in sorted(wanted & set(config))},
      'shapes': {name: list(x.shape) for name, x in model.state_dict().items() if name not in tied},
    }
  return found


def test_names_and_shapes_are_those_that_the_other_tests_go_by():
  assert published() == builders.PUBLISHED, (
    'transformers writes other names than tests/huggingface/published.json has: see what changed, '
    'then run python -m tests.parity.test_interop'
  )


if __name__ == '__main__':
  lines = lambda entries: ',\n'.join(
    f'   {json.dumps(key)}: {json.dumps(each)}' for key, each in entries.items()
  )
  text = ',\n'.join(
    f' {json.dumps(case)}: {{\n  "config": {json.dumps(each["config"])},\n'
    f'  "shapes": {{\n{lines(each["shapes"])}}}}}'
    for case, each in published().items()
  )
  PUBLISHED_FILE.write_text(f'{{\n{text}\n}}\n')
