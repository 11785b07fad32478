"""Runs become Hugging Face folders: what they contain, and what is read back from them."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.core import trees
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.huggingface import exported_tokenizers
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import imported_tokenizers
from mlm_jax.huggingface import importing
from tests import shared_runs
from tests import toys
from tests.huggingface import builders

QUIET = dict(log=lambda line: None)
FAMILIES = [name for name in toys.FAMILIES if not name.endswith('enhanced')]
VARIANTS = ('deberta_v2_own', 'deberta_v3', 'distilbert')  # of the others, but for a few names
# The case of published.json whose names a family's run has, where it has as many layers.
CASES = {
  'bert': 'bert',
  'roberta': 'roberta',
  'distilbert': 'distilbert',
  'electra': 'electra',
  'deberta': 'deberta',
  'deberta_v2': 'deberta_v2',
  'deberta_v2_own': None,
  'deberta_v3': 'deberta_v3',
  'modernbert': None,
}
REPLACED = {
  'objective__name': 'rtd',
  'objective__generator_width': 0.5,
  'objective__generator_layers': 0.5,
}


def read(folder, name='config.json'):
  return json.loads((folder / name).read_text())


def written(tmp_path_factory, settings):
  """Returns the folder of a run of these settings that tests share."""
  name = 'written' + ''.join(f'-{key}={value}' for key, value in sorted(settings.items()))
  make = lambda folder: builders.write_run(folder / 'run', **settings)
  return shared_runs.once(tmp_path_factory, name, make) / 'run'


def assert_equal(ours, theirs):
  ours, theirs = trees.paths(ours), trees.paths(theirs)
  assert sorted(ours) == sorted(theirs)
  for path, array in theirs.items():
    np.testing.assert_array_equal(np.asarray(ours[path]), np.asarray(array), path)


def padding_apart(params):
  """Returns params without the rows of the vocabulary that no token has, and of the positions
  before the first.
  """
  params = jax.tree.map(np.asarray, params)
  params['embeddings']['token']['embedding'] = params['embeddings']['token']['embedding'][
    : builders.PIECES
  ]
  if 'head' in params:
    params['head']['bias'] = params['head']['bias'][: builders.PIECES]
  if 'position' in params['embeddings']:
    params['embeddings']['position']['embedding'] = params['embeddings']['position']['embedding'][
      -32:
    ]
  return params


@pytest.mark.parametrize(
  'family',
  [
    pytest.param(family, marks=pytest.mark.slow) if family in VARIANTS else family
    for family in FAMILIES
  ],
)
def test_out_and_in_again_no_number_changes(family, tmp_path):
  builders.write_run(tmp_path / 'run', **toys.FAMILIES[family])
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  if case := CASES[family]:
    assert sorted(builders.read_tensors(tmp_path / 'to')) == sorted(
      builders.PUBLISHED[case]['shapes']
    )
    assert (
      read(tmp_path / 'to')['architectures'] == builders.PUBLISHED[case]['config']['architectures']
    )
  importing.run(tmp_path / 'to', tmp_path / 'again', **QUIET)
  run, again = mlm_jax.open_run(tmp_path / 'run'), mlm_jax.open_run(tmp_path / 'again')
  ours, theirs = padding_apart(again.params), padding_apart(run.params)
  if family == 'modernbert':  # its first layer has no attention norm there
    for params in (ours, theirs):
      params['layers']['attention_norm']['scale'] = params['layers']['attention_norm']['scale'][1:]
  if family == 'roberta':  # it has a type there that every token has
    assert not ours['embeddings'].pop('type')['embedding'].any()
  assert_equal(ours, theirs)
  ours, theirs = (dataclasses.asdict(each.model.architecture) for each in (again, run))
  its_own = {'types': 1, 'position_offset': 1} if family == 'roberta' else {}
  assert ours == theirs | its_own


def test_the_tokenizer_encodes_alike(tmp_path):
  builders.write_run(tmp_path / 'run')
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  ours = mlm_jax.open_run(tmp_path / 'run').tokenizer
  again = tokenizer_lib.make(imported_tokenizers.from_folder(tmp_path / 'to'))
  for text in builders.texts(np.random.default_rng(0), 50):
    assert ours.encode(text) == again.encode(text)
  said = read(tmp_path / 'to', 'tokenizer_config.json')
  assert said['model_max_length'] == 32 and 'token_type_ids' in said['model_input_names']


def test_a_modernbert_says_which_layers_are_global_in_the_words_of_old_and_new_classes(tmp_path):
  builders.write_run(
    tmp_path / 'run', **toys.FAMILIES['modernbert'] | {'model__modernbert__global_every': 2}
  )
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  config = read(tmp_path / 'to')
  assert config['global_attn_every_n_layers'] == 2
  assert config['layer_types'] == ['full_attention', 'sliding_attention'] * 2


@pytest.mark.parametrize(
  'family, rates',
  (
    ('bert', {'hidden_dropout_prob': 0.25, 'attention_probs_dropout_prob': 0.125}),
    ('distilbert', {'dropout': 0.25, 'attention_dropout': 0.125}),
    (
      'modernbert',
      {'attention_dropout': 0.125, 'embedding_dropout': 0.25, 'mlp_dropout': 0.5},
    ),
  ),
)
def test_every_rate_of_dropout_is_kept_both_ways(family, rates, tmp_path):
  builders.write_published(tmp_path / 'theirs', family, **rates)
  importing.run(tmp_path / 'theirs', tmp_path / 'run', **QUIET)
  model = mlm_jax.open_run(tmp_path / 'run').config.model
  if family == 'modernbert':
    assert (model.dropout, model.attention_dropout) == (0.125, 0.125)
    assert (model.modernbert.embedding_dropout, model.modernbert.mlp_dropout) == (0.25, 0.5)
  else:
    assert (model.dropout, model.attention_dropout) == (0.25, 0.125)
  # Without what was kept of the folder, as of a run that was trained on: from the config alone.
  shutil.rmtree(tmp_path / 'run' / 'huggingface')
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  written = read(tmp_path / 'to')
  assert {name: written[name] for name in rates} == rates


def test_a_head_that_no_class_has_is_refused(tmp_path):
  builders.write_run(tmp_path / 'run', model__head_activation='relu')
  with pytest.raises(config_lib.UserError, match='head_activation = relu: BertForMaskedLM has no'):
    exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  exporting.run(tmp_path / 'run', tmp_path / 'to', part='encoder', **QUIET)


@pytest.mark.parametrize('names, before', [(builders.NAMES, 1), (builders.PAD_SECOND, 2)])
def test_positions_of_a_roberta_begin_behind_its_padding_tokens_number(names, before, tmp_path):
  builders.write_run(tmp_path / 'run', names, model__family='roberta')
  ours = mlm_jax.open_run(tmp_path / 'run').params['embeddings']['position']['embedding']
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  theirs = builders.read_tensors(tmp_path / 'to')['roberta.embeddings.position_embeddings.weight']
  assert read(tmp_path / 'to')['max_position_embeddings'] == len(theirs) == 32 + before
  np.testing.assert_array_equal(theirs[before:], ours[2:])


@pytest.mark.parametrize('sharing', [pytest.param('tied', marks=pytest.mark.slow), 'gdes'])
def test_the_parts_of_a_replaced_token_run_are_written(sharing, tmp_path):
  settings = (
    toys.FAMILIES['electra']
    | REPLACED
    | {'objective__sharing': sharing, 'objective__generator_width': 0.75}
  )
  builders.write_run(tmp_path / 'run', **settings)
  run = mlm_jax.open_run(tmp_path / 'run')
  for part, architecture, case in (
    ('generator', 'ElectraForMaskedLM', 'electra'),
    ('discriminator', 'ElectraForPreTraining', 'electra_detector'),
    ('encoder', 'ElectraModel', None),
  ):
    exporting.run(tmp_path / 'run', tmp_path / part, part=part, **QUIET)
    assert read(tmp_path / part)['architectures'] == [architecture]
    tensors = builders.read_tensors(tmp_path / part)
    shapes = (
      builders.PUBLISHED[case]['shapes']
      if case
      else [name for name in builders.PUBLISHED['electra']['shapes'] if name.startswith('electra.')]
    )
    # The generator has one layer.
    assert sorted(tensors) == sorted(
      name for name in shapes if part != 'generator' or '.layer.1.' not in name
    )
    of = (
      run.mlm_params if part == 'generator' else run.params
    )  # the discriminator's table is made of two
    np.testing.assert_array_equal(
      tensors['electra.embeddings.word_embeddings.weight'],
      of['embeddings']['token']['embedding'][: builders.PIECES],
    )
  kernel = builders.read_tensors(tmp_path / 'discriminator')[
    'discriminator_predictions.dense_prediction.weight'
  ]
  np.testing.assert_array_equal(kernel, run.params['head']['out']['kernel'].T)


@pytest.mark.parametrize('family, has_pooler', [('bert', True), ('electra', False)])
def test_an_encoder_has_the_pooler_that_its_class_asks_for(family, has_pooler, tmp_path):
  builders.write_run(tmp_path / 'run', **toys.FAMILIES[family])
  exporting.run(tmp_path / 'run', tmp_path / 'to', part='encoder', **QUIET)
  tensors = builders.read_tensors(tmp_path / 'to')
  assert not any('predictions' in name for name in tensors)
  assert [name for name in tensors if 'pooler' in name] == [
    f'bert.pooler.dense.{name}' for name in ('bias', 'weight')
  ] * has_pooler
  if has_pooler:
    np.testing.assert_array_equal(tensors['bert.pooler.dense.weight'], np.eye(32))


def test_an_imported_pooler_goes_with_the_encoder(tmp_path):
  theirs = builders.write_published(tmp_path / 'theirs', 'bert_encoder')
  importing.run(tmp_path / 'theirs', tmp_path / 'run', **QUIET)
  exporting.run(tmp_path / 'run', tmp_path / 'to', part='encoder', **QUIET)
  np.testing.assert_array_equal(
    builders.read_tensors(tmp_path / 'to')['bert.pooler.dense.weight'],
    theirs['pooler.dense.weight'],
  )


def test_others_can_read_what_is_exported_and_imported(tmp_path):
  builders.write_published(tmp_path / 'theirs', 'bert')
  importing.run(tmp_path / 'theirs', tmp_path / 'run', **QUIET)
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  plain = tmp_path / 'plain'
  plain.touch()
  files = [
    file for name in ('run', 'to') for file in (tmp_path / name).rglob('*') if file.is_file()
  ]
  assert {file.stat().st_mode for file in files} == {plain.stat().st_mode}


def test_sentence_transformers_find_the_encoder_and_the_mean_that_the_run_embeds_by(tmp_path):
  builders.write_run(tmp_path / 'run', model__family='roberta')
  exporting.run(tmp_path / 'run', tmp_path / 'to', sentences=True, **QUIET)
  modules = read(tmp_path / 'to', 'modules.json')
  assert [each['type'].rpartition('.')[2] for each in modules] == [
    'Transformer',
    'Pooling',
  ]
  assert all((tmp_path / 'to' / each['path']).is_dir() for each in modules)
  pooling = read(tmp_path / 'to' / '1_Pooling')
  assert pooling['word_embedding_dimension'] == 32
  assert [name for name, value in pooling.items() if value is True] == ['pooling_mode_mean_tokens']
  assert read(tmp_path / 'to', 'sentence_bert_config.json') == {
    'max_seq_length': 16,  # the rows that it was trained on, of 32 positions
    'do_lower_case': False,
  }
  assert read(tmp_path / 'to')['architectures'] == ['RobertaModel']
  assert 'library_name: sentence-transformers' in (tmp_path / 'to' / 'README.md').read_text()


# What cannot be exported


@pytest.mark.parametrize(
  'settings, asked, says',
  (
    (
      REPLACED,
      {},
      'the run has a generator and a discriminator: say --part=generator, --part=discriminator or '
      '--part=encoder',
    ),
    (
      REPLACED,
      {'part': 'discriminator'},
      'there is no class with a discriminator for bert; say --part=encoder',
    ),
    (
      REPLACED,
      {'part': 'generator'},
      'BertForMaskedLM has no place for project/bias, project/kernel of the run',
    ),
    (
      {},
      {'part': 'generator'},
      '--part=generator is for runs with objective.name = rtd; leave it out',
    ),
    (
      {},
      {'part': 'discriminator'},
      '--part=discriminator is for runs with objective.name = rtd; leave it out',
    ),
    (
      REPLACED,
      {'part': 'generator', 'sentences': True},
      '--sentence-transformers writes the encoder; leave',
    ),
    (
      {'model__embedding_width': 16},
      {},
      'BertForMaskedLM has no place for project/bias, project/kernel of the run',
    ),
    (
      {'model__embedding_width': 16},
      {'part': 'encoder'},
      'BertModel has no place for project/bias',
    ),
    (
      toys.FAMILIES['deberta_v2_enhanced'],
      {},
      'decoder = enhanced: the classes there have no such decoder',
    ),
    ({}, {'step': 7}, 'no checkpoint of step 7'),
  ),
  ids=str,
)
def test_what_the_classes_cannot_express_is_refused_and_leaves_nothing(
  settings, asked, says, tmp_path, tmp_path_factory
):
  run = written(tmp_path_factory, settings)
  with pytest.raises(config_lib.UserError) as raised:
    exporting.run(run, tmp_path / 'to', **asked, **QUIET)
  assert says in str(raised.value) and '\n' not in str(raised.value)
  assert not list(tmp_path.iterdir())


def test_an_enhanced_decoder_is_left_out_of_the_encoder(tmp_path):
  builders.write_run(tmp_path / 'run', **toys.FAMILIES['deberta_v3_enhanced'])
  exporting.run(tmp_path / 'run', tmp_path / 'to', part='encoder', **QUIET)
  assert sorted(builders.read_tensors(tmp_path / 'to')) == sorted(
    name for name in builders.PUBLISHED['deberta_v3']['shapes'] if name.startswith('deberta.')
  )


def test_a_folder_that_is_there_stays_as_it_is(tmp_path):
  builders.write_run(tmp_path / 'run')
  (tmp_path / 'to').mkdir()
  (tmp_path / 'to' / 'mine').write_text('mine')
  for folder in (tmp_path / 'to', tmp_path / 'to' / 'mine'):
    with pytest.raises(config_lib.UserError, match='exists; choose another --to'):
      exporting.run(tmp_path / 'run', folder, **QUIET)
  assert [each.name for each in (tmp_path / 'to').iterdir()] == ['mine']


def test_a_tokenizer_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
  def refuse(*unused):
    raise config_lib.UserError('the tokenizer cannot be written as tokenizer.json')

  builders.write_run(tmp_path / 'run')
  monkeypatch.setattr(exported_tokenizers, 'to_json', refuse)
  with pytest.raises(config_lib.UserError, match='cannot be written'):
    exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  assert [each.name for each in tmp_path.iterdir()] == ['run']


def test_what_is_not_a_run_is_refused(tmp_path):
  with pytest.raises(config_lib.UserError, match='no run in'):
    exporting.run(tmp_path / 'absent', tmp_path / 'to', **QUIET)
  assert not list(tmp_path.iterdir())


def test_heads_of_auxiliary_losses_that_are_left_out_are_named(tmp_path):
  builders.write_run(
    tmp_path / 'run',
    data__pairs='nsp',
    objective__pairs_weight=1.0,
    masking__unit='span',
    objective__sbo_weight=1.0,
  )
  lines = []
  exporting.run(tmp_path / 'run', tmp_path / 'to', log=lines.append)
  assert (
    lines[0]
    == 'left out, since BertForMaskedLM has no place for heads of auxiliary losses: pairs, boundary'
  )
  assert '| left out | pairs, boundary: ' in (tmp_path / 'to' / 'README.md').read_text()
  assert not any(
    'pair' in name or 'boundary' in name for name in builders.read_tensors(tmp_path / 'to')
  )
