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
from mlm_jax.core import batches
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from tests import toys
from tests.huggingface import builders

pytestmark = pytest.mark.parity
torch.set_num_threads(1)

LOGITS = 1e-5
QUIET = dict(log=lambda line: None)
_TINY = dict(
  vocab_size=50,
  hidden_size=32,
  num_hidden_layers=2,
  num_attention_heads=4,
  intermediate_size=64,
  max_position_embeddings=40,
  initializer_range=0.1,
  pad_token_id=0,
)
_ROBERTA = _TINY | dict(
  pad_token_id=1, max_position_embeddings=42, type_vocab_size=1, bos_token_id=2, eos_token_id=3
)
_DEBERTA = _TINY | dict(
  relative_attention=True,
  pos_att_type=['c2p', 'p2c'],
  position_biased_input=False,
  type_vocab_size=0,
  layer_norm_eps=1e-7,
)
_SECOND = _DEBERTA | dict(position_buckets=16, share_att_key=True, norm_rel_ebd='layer_norm')
_MODERN = _TINY | dict(
  num_hidden_layers=5,
  local_attention=8,
  cls_token_id=2,
  sep_token_id=3,
  bos_token_id=2,
  eos_token_id=3,
)
_DISTIL = dict(
  pad_token_id=0,
  vocab_size=50,
  dim=32,
  n_layers=2,
  n_heads=4,
  hidden_dim=64,
  max_position_embeddings=40,
  initializer_range=0.1,
)
_UNTIED = dict(tie_word_embeddings=False)
# {case: (the name of its class, what its config says)}
CASES = {
  'bert': ('BertForMaskedLM', _TINY),
  'bert_encoder': ('BertModel', _TINY),
  'bert_pairs': ('BertForPreTraining', _TINY),
  'roberta': ('RobertaForMaskedLM', _ROBERTA),
  'roberta_encoder': ('RobertaModel', _ROBERTA),
  'xlm_roberta': ('XLMRobertaForMaskedLM', _ROBERTA),
  'camembert': ('CamembertForMaskedLM', _ROBERTA),
  'camembert_encoder': ('CamembertModel', _ROBERTA),
  'distilbert': ('DistilBertForMaskedLM', _DISTIL),
  'distilbert_encoder': ('DistilBertModel', _DISTIL),
  'electra': ('ElectraForMaskedLM', _TINY | dict(embedding_size=16)),
  'electra_wide': ('ElectraForMaskedLM', _TINY | dict(embedding_size=32)),
  'electra_detector': ('ElectraForPreTraining', _TINY | dict(embedding_size=16)),
  'electra_encoder': ('ElectraModel', _TINY | dict(embedding_size=16)),
  'deberta': ('DebertaForMaskedLM', _DEBERTA),
  'deberta_span': ('DebertaForMaskedLM', _DEBERTA | dict(max_relative_positions=12)),
  'deberta_types': ('DebertaForMaskedLM', _DEBERTA | dict(type_vocab_size=2)),
  'deberta_other_head': ('DebertaForMaskedLM', _DEBERTA | dict(legacy=False)),
  'deberta_encoder': ('DebertaModel', _DEBERTA),
  'deberta_v2': ('DebertaV2ForMaskedLM', _SECOND | dict(conv_kernel_size=3, conv_act='gelu')),
  'deberta_v2_tanh': ('DebertaV2ForMaskedLM', _SECOND | dict(conv_kernel_size=3)),
  'deberta_v2_encoder': ('DebertaV2Model', _SECOND | dict(conv_kernel_size=3, conv_act='gelu')),
  'deberta_v3': ('DebertaV2ForMaskedLM', _SECOND),
  'deberta_v3_own': (
    'DebertaV2ForMaskedLM',
    _SECOND | dict(share_att_key=False, norm_rel_ebd='none'),
  ),
  'deberta_v3_no_buckets': ('DebertaV2ForMaskedLM', _SECOND | dict(position_buckets=-1)),
  'deberta_v3_other_head': ('DebertaV2ForMaskedLM', _SECOND | dict(legacy=False)),
  'modernbert': ('ModernBertForMaskedLM', _MODERN),
  'modernbert_every_second': (
    'ModernBertForMaskedLM',
    _MODERN | dict(global_attn_every_n_layers=2),
  ),
  'modernbert_all_global': ('ModernBertForMaskedLM', _MODERN | dict(global_attn_every_n_layers=1)),
  'modernbert_other_thetas': (
    'ModernBertForMaskedLM',
    _MODERN
    | dict(
      rope_parameters={
        'full_attention': {'rope_type': 'default', 'rope_theta': 50.0},
        'sliding_attention': {'rope_type': 'default', 'rope_theta': 5.0},
      }
    ),
  ),
  'modernbert_encoder': ('ModernBertModel', _MODERN),
  # Other activations.
  'bert_gelu_new': ('BertForMaskedLM', _TINY | dict(hidden_act='gelu_new')),
  'bert_relu': ('BertForMaskedLM', _TINY | dict(hidden_act='relu')),
  'roberta_tanh': ('RobertaForMaskedLM', _ROBERTA | dict(hidden_act='gelu_pytorch_tanh')),
  'electra_silu': ('ElectraForMaskedLM', _TINY | dict(embedding_size=16, hidden_act='silu')),
  'electra_detector_relu': (
    'ElectraForPreTraining',
    _TINY | dict(embedding_size=16, hidden_act='relu'),
  ),
  'deberta_silu': ('DebertaForMaskedLM', _DEBERTA | dict(hidden_act='silu')),
  'deberta_v2_relu': (
    'DebertaV2ForMaskedLM',
    _SECOND | dict(conv_kernel_size=3, conv_act='relu', hidden_act='gelu_new'),
  ),
  'modernbert_relu': (
    'ModernBertForMaskedLM',
    _MODERN | dict(hidden_activation='relu', classifier_activation='silu'),
  ),
  'distilbert_relu': ('DistilBertForMaskedLM', _DISTIL | dict(activation='relu')),
  # Heads with a table of their own.
  'bert_untied': ('BertForMaskedLM', _TINY | _UNTIED),
  'roberta_untied': ('RobertaForMaskedLM', _ROBERTA | _UNTIED),
  'electra_untied': ('ElectraForMaskedLM', _TINY | dict(embedding_size=16) | _UNTIED),
  'deberta_untied': ('DebertaForMaskedLM', _DEBERTA | _UNTIED),
  'deberta_untied_other_head': ('DebertaForMaskedLM', _DEBERTA | dict(legacy=False) | _UNTIED),
  'deberta_v2_untied': ('DebertaV2ForMaskedLM', _SECOND | _UNTIED),
  'modernbert_untied': ('ModernBertForMaskedLM', _MODERN | _UNTIED),
  'distilbert_untied': ('DistilBertForMaskedLM', _DISTIL | _UNTIED),
  # Fine-tuned on other tasks.
  'bert_classifier': ('BertForSequenceClassification', _TINY),
  'bert_answers': ('BertForQuestionAnswering', _TINY),
  'bert_next': ('BertForNextSentencePrediction', _TINY),
  'roberta_labels': ('RobertaForTokenClassification', _ROBERTA),
  'xlm_roberta_classifier': ('XLMRobertaForSequenceClassification', _ROBERTA),
  'camembert_choice': ('CamembertForMultipleChoice', _ROBERTA),
  'electra_choice': ('ElectraForMultipleChoice', _TINY | dict(embedding_size=16)),
  'deberta_classifier': ('DebertaForSequenceClassification', _DEBERTA),
  'deberta_v2_answers': ('DebertaV2ForQuestionAnswering', _SECOND),
  'modernbert_classifier': ('ModernBertForSequenceClassification', _MODERN),
  'modernbert_labels': ('ModernBertForTokenClassification', _MODERN | _UNTIED),
  'distilbert_classifier': ('DistilBertForSequenceClassification', _DISTIL),
  # Other padding than the tokenizer's: an id of text, of the first piece, of the last.
  'roberta_pad_0': ('RobertaForMaskedLM', _ROBERTA | dict(pad_token_id=0)),
  'roberta_pad_7': (
    'RobertaForMaskedLM',
    _ROBERTA | dict(pad_token_id=7, max_position_embeddings=48),
  ),
  'camembert_pad_2': ('CamembertModel', _ROBERTA | dict(pad_token_id=2)),
  'xlm_roberta_pad_3': ('XLMRobertaForMaskedLM', _ROBERTA | dict(pad_token_id=3)),
}
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
)
PUBLISHED_FILE = pathlib.Path(builders.__file__).parent / 'published.json'


def their_model(case):
  """Returns the PyTorch model of a case with random weights, of biases and norms too."""
  name, settings = CASES[case]
  torch.manual_seed(0)
  of = getattr(transformers, name)
  model = of(of.config_class(**settings)).eval()
  with torch.no_grad():
    for parameter in model.parameters():
      if parameter.ndim == 1:
        parameter += 0.1 * torch.randn_like(parameter)
  return model


def write(model, folder, **settings):
  model.save_pretrained(folder, **settings)
  # The tokenizer of a RoBERTa pads with 1, whatever its config says.
  is_second = model.config.model_type in ('roberta', 'xlm-roberta', 'camembert')
  builders.write_vocabulary(folder, builders.PAD_SECOND if is_second else builders.NAMES)
  return folder


def rows(pad_id, vocab_size, length=33):
  """Returns (tokens_BL, seen_BL) of one document a row, with padding after it."""
  random, lengths = np.random.default_rng(0), (length, 20, 3, 30)
  tokens_BL = np.full((len(lengths), length), pad_id)
  for b, n in enumerate(lengths):
    tokens_BL[b, :n] = [2, *random.integers(5, vocab_size, n - 2), 3]
  return tokens_BL, np.arange(length)[None] < np.array(lengths)[:, None]


def our_outputs(model, params, tokens_BL, pad_id, size):
  """Returns (hidden_BLD, what the head gives of every position)."""
  starts_BS = np.zeros((len(tokens_BL), 1), np.int32)
  encoded = model.apply(
    params,
    tokens_BL,
    batches.segments(tokens_BL, starts_BS, pad_id),
    batches.positions(starts_BS, tokens_BL.shape[1]),
  )
  B, L, D = encoded.decoded_BLD.shape
  head = np.asarray(model.head(params, encoded.decoded_BLD.reshape(B * L, D)))
  return np.asarray(encoded.hidden_BLD), head.reshape(B, L, -1)[:, :, :size]


def their_outputs(model, tokens_BL, seen_BL):
  """Returns (hidden_BLD, logits or None)."""
  # A choice is one row of several there; here each row is the only one.
  is_choice = 'MultipleChoice' in type(model).__name__
  as_choices = lambda x_BL: torch.tensor(x_BL[:, None] if is_choice else x_BL)
  with torch.no_grad():
    found = model(
      input_ids=as_choices(tokens_BL),
      attention_mask=as_choices(seen_BL.astype(np.int64)),
      output_hidden_states=True,
    )
  return found.hidden_states[-1].numpy(), found.logits.numpy() if 'logits' in found else None


def loaded(auto, folder):
  """Returns the model that an Auto class loads; nothing was missing or left over."""
  model, report = auto.from_pretrained(folder, output_loading_info=True)
  assert not {name: keys for name, keys in report.items() if keys}
  return model.eval()


def assert_back(theirs, folder):
  """Compares the files of two folders."""
  builders.assert_same(builders.read_tensors(folder), builders.read_tensors(theirs))
  assert (folder / 'config.json').read_bytes() == (theirs / 'config.json').read_bytes()


@pytest.mark.parametrize('case', CASES)
def test_there_and_back_no_byte_of_a_tensor_changes(case, tmp_path):
  model = their_model(case)
  theirs = write(model, tmp_path / 'theirs')
  importing.run(theirs, tmp_path / 'run', **QUIET)
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
