"""Folders of sentence-transformers in the forms of its versions: read, kept, and written again.

tests/parity/test_sentence_transformers.py compares the vectors with the library's own.
"""

import json

import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from mlm_jax.huggingface import sentence_transformers
from mlm_jax.inference import predictor
from mlm_jax.models import pooling
from mlm_jax.models.text_embedding import TextEmbedding
from tests.huggingface import builders
from tests.huggingface.test_importing import QUIET
from tests.huggingface.test_importing import refusal

OLD, NEW = 'sentence_transformers.models.', 'sentence_transformers.sentence_transformer.modules.'
TEXTS = ['ab cd', 'a', '', 'abc def ghi']
SWITCHES = {
  'pooling_mode_cls_token': False,
  'pooling_mode_mean_tokens': False,
  'pooling_mode_max_tokens': False,
  'pooling_mode_mean_sqrt_len_tokens': False,
}


def write(path, content):
  path.parent.mkdir(exist_ok=True)
  path.write_text(json.dumps(content))


def sentence_folder(folder, pooled, *layers, where=OLD, inner='', texts=None, whole=None):
  """Writes a folder with a BERT of width 32 and 40 positions.

  Args:
    folder: path; made here.
    pooled: config.json of its Pooling.
    *layers: (kind, config.json, {name: array}) of what is behind it.
    where: the module of the classes.
    inner: the folder of the model, inside.
    texts, whole: sentence_bert_config.json and config_sentence_transformers.json.
  """
  builders.write_published(folder / inner, 'bert_encoder')
  kinds = ['Transformer', 'Pooling', *(kind for kind, *_ in layers)]
  modules = [
    {'idx': n, 'name': str(n), 'path': f'{n}_{kind}' if n else inner, 'type': where + kind}
    for n, kind in enumerate(kinds)
  ]
  write(folder / 'modules.json', modules)
  write(folder / '1_Pooling' / 'config.json', {'word_embedding_dimension': 32} | pooled)
  for n, (kind, settings, tensors) in enumerate(layers, 2):
    write(folder / f'{n}_{kind}' / 'config.json', settings)
    if tensors:
      builders.write_tensors(folder / f'{n}_{kind}', tensors)
  if texts is not None:
    write(folder / inner / 'sentence_bert_config.json', texts)
  if whole is not None:
    write(folder / 'config_sentence_transformers.json', whole)
  return folder


def dense(width=5, **settings):
  random = np.random.default_rng(0)
  tensors = {
    'linear.weight': random.normal(size=(width, 32)).astype(np.float32),
    'linear.bias': random.normal(size=width).astype(np.float32),
  }
  settings = {'in_features': 32, 'out_features': width, 'bias': True} | settings
  return 'Dense', settings, tensors


def imported(folder, tmp_path, name='run'):
  importing.run(folder, tmp_path / name, **QUIET)
  return predictor.open_run(tmp_path / name, log=lambda line: None)


@pytest.mark.parametrize(
  'pooled, modes',
  (
    ({}, ('mean',)),
    (SWITCHES | {'pooling_mode_cls_token': True}, ('cls',)),
    (SWITCHES | {'pooling_mode_max_tokens': True, 'pooling_mode_cls_token': True}, ('cls', 'max')),
    (SWITCHES, ('mean',)),
    (SWITCHES | {'pooling_mode_lasttoken': True}, ('lasttoken',)),
    ({'pooling_mode_weightedmean_tokens': True, 'include_prompt': True}, ('weightedmean',)),
    ({'pooling_mode': 'cls', 'embedding_dimension': 32}, ('cls',)),
    ({'pooling_mode': ['mean_sqrt_len_tokens', 'cls']}, ('mean_sqrt_len_tokens', 'cls')),
  ),
  ids=str,
)
def test_the_pooling_of_every_version_is_read_and_goes_back(pooled, modes, tmp_path):
  where = NEW + 'pooling.' if 'pooling_mode' in pooled else OLD
  folder = sentence_folder(tmp_path / 'theirs', pooled, where=where)
  way = sentence_transformers.read(folder, 40, 32)
  assert way == TextEmbedding(modes=modes)
  (tmp_path / 'to').mkdir()
  sentence_transformers.write(tmp_path / 'to', way, 32, 40)
  assert sentence_transformers.read(tmp_path / 'to', 41, 32) == TextEmbedding(modes, max_tokens=40)


def test_everything_else_is_kept_in_the_run_and_goes_back(tmp_path):
  norm = {'norm.weight': np.arange(5, dtype=np.float32), 'norm.bias': np.ones(5, np.float32)}
  folder = sentence_folder(
    tmp_path / 'theirs',
    SWITCHES | {'pooling_mode_cls_token': True, 'include_prompt': False},
    ('Dropout', {'dropout': 0.1}, {}),
    dense(activation_function='torch.nn.modules.activation.ReLU'),
    ('LayerNorm', {'dimension': 5}, norm),
    ('Normalize', {}, {}),
    inner='0_Transformer',
    texts={'max_seq_length': 7, 'do_lower_case': True},
    whole={
      'prompts': {'query': 'ab: ', 'document': None},
      'default_prompt_name': 'query',
      'similarity_fn_name': 'dot',
      '__version__': {'sentence_transformers': '3.0.0'},
    },
  )
  run = imported(folder, tmp_path)
  way = run.embedding
  assert [type(module) for module in way.modules] == [
    pooling.Dense,
    pooling.LayerNorm,
    pooling.Normalize,
  ]
  assert (way.max_tokens, way.lowercase, way.include_prompt, way.similarity) == (7, 1, 0, 'dot')
  assert (way.prompts, way.default_prompt) == ({'query': 'ab: ', 'document': ''}, 'query')
  found = run.embed(TEXTS)
  assert found.shape == (4, 5) and np.linalg.norm(found, axis=1) == pytest.approx(1)
  np.testing.assert_allclose(run.embed(['AB Cd']), found[:1], rtol=1e-4, atol=1e-6)
  with pytest.raises(config_lib.UserError, match=r'texts\[0\] has 9 tokens'):
    run.embed(TEXTS, too_long='error')
  for flag in (False, True):
    exporting.run(tmp_path / 'run', tmp_path / f'to{flag}', sentences=flag, **QUIET)
    again = imported(tmp_path / f'to{flag}', tmp_path, f'again{flag}')
    np.testing.assert_array_equal(again.embed(TEXTS), found)
    builders.assert_same(
      builders.read_tensors(tmp_path / f'to{flag}'), builders.read_tensors(folder / '0_Transformer')
    )
    card = (tmp_path / f'to{flag}' / 'README.md').read_text()
    assert 'library_name: sentence-transformers' in card


@pytest.mark.parametrize(
  'changes, says',
  (
    (dict(layers=[('CNN', {}, {})]), 'modules.json names the module CNN'),
    (dict(where='mine.'), 'names the class mine.Transformer, a program of its own'),
    (dict(pooled={'pooling_mode': 'median'}), "the pooling ['median']"),
    (dict(pooled={'pooling_mode_attention': True}), "the pooling 'pooling_mode_attention'"),
    (dict(pooled={'pooling_mode': 3}), 'the pooling 3'),
    (dict(texts={'max_seq_length': 'long'}), "a text of 'long' tokens at most"),
    (dict(texts={'max_seq_length': 2}), 'a text of 2 tokens at most cannot be'),
    (dict(texts={'max_seq_length': -1}), 'a text of -1 tokens at most cannot be'),
    (dict(texts={'transformer_task': 'fill-mask'}), "transformer_task = 'fill-mask'"),
    (dict(texts={'model_args': {'num_labels': 3}}), 'model_args with num_labels'),
    (dict(texts={'tokenizer_args': {'use_fast': False}}), 'tokenizer_args with use_fast'),
    (dict(texts={'query_expansion': {'length': 32}}), 'query_expansion = '),
    (dict(whole={'model_type': 'SparseEncoder'}), "model_type = 'SparseEncoder'"),
    (dict(whole={'default_prompt_name': 'query'}), 'default_prompt_name names no prompt'),
    (dict(layers=[dense(activation_function='mine.Swish')]), "activation_function = 'mine.Swish'"),
    (
      dict(layers=[dense(activation_function='torch.nn.modules.activation.PReLU')]),
      "activation_function = 'torch.nn.modules.activation.PReLU'",
    ),
    (dict(layers=[dense(module_input_name='token_embeddings')]), "= 'token_embeddings' in 2_Dense"),
    (dict(layers=[dense(), dense()]), 'a Dense for vectors of 32 numbers is given 5'),
    (dict(pooled={'pooling_mode': ['cls', 'max']}, layers=[dense()]), 'is given 64'),
    (dict(layers=[('Dense', {}, {})]), '2_Dense has no model.safetensors'),
    (
      dict(layers=[('Dense', {}, {'weight': np.zeros((5, 32), np.float32)})]),
      "2_Dense lacks the tensor 'linear.weight'",
    ),
  ),
  ids=str,
)
def test_what_has_no_place_in_a_run_is_refused_in_one_line(changes, says, tmp_path):
  changes = {'pooled': {}, 'layers': []} | changes
  pooled, layers = changes.pop('pooled'), changes.pop('layers')
  folder = sentence_folder(tmp_path / 'theirs', pooled, *layers, **changes)
  assert says in refusal(folder, tmp_path)


@pytest.mark.parametrize(
  'file, content',
  (
    ('modules.json', '{'),
    ('modules.json', '[]'),
    ('modules.json', '{"a": 1}'),
    ('modules.json', '[{"path": "../../etc", "type": "sentence_transformers.models.Transformer"}]'),
    ('modules.json', '[{"path": "/etc", "type": "sentence_transformers.models.Transformer"}]'),
    ('modules.json', '[' * 100_000),
    ('1_Pooling/config.json', '[]'),
    ('config_sentence_transformers.json', '{"prompts": []'),
    ('config_sentence_transformers.json', '{"prompts": ["a"]}'),
    ('sentence_bert_config.json', '{"max_seq_length": Infinity}'),
  ),
  ids=str,
)
def test_damaged_files_are_refused_in_one_line(file, content, tmp_path):
  folder = sentence_folder(tmp_path / 'theirs', {})
  (folder / file).write_text(content)
  assert file.split('/')[0] in refusal(folder, tmp_path)


def test_a_pickled_layer_is_refused_with_the_command_that_converts_it(tmp_path):
  folder = sentence_folder(tmp_path / 'theirs', {}, ('Dense', dense()[1], {}))
  (folder / '2_Dense' / 'pytorch_model.bin').write_bytes(b'')
  assert '2_Dense/pytorch_model.bin is a pickle' in refusal(folder, tmp_path)


def test_the_encoder_alone_is_imported_where_the_rest_is_moved_away(tmp_path):
  folder = sentence_folder(tmp_path / 'theirs', {}, ('CNN', {}, {}))
  (folder / 'modules.json').unlink()
  assert imported(folder, tmp_path).embedding == TextEmbedding()
