"""Vectors of texts against `encode` of sentence-transformers, both ways."""

import json

import numpy as np
import pytest
from tokenizers import implementations
import torch

from mlm_jax import config as config_lib
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from mlm_jax.inference import predictor
from tests import toys
from tests.huggingface import builders
from tests.parity.interop import QUIET
from tests.parity.interop import their_model
from tests.parity.interop import write

sentence_transformers = pytest.importorskip('sentence_transformers')
models = pytest.importorskip('sentence_transformers.models')

pytestmark = pytest.mark.parity

TEXTS = ['ab cd', '', 'a', 'abc def ' * 30, 'tr QX ab', '  a  b ', 'e\tf\n g', 'AB CD']
PROMPTS = {'query': 'ab: ', 'passage': 'cd'}
COSINE = 0.99999


def opened(folder):
  return predictor.open_run(folder, log=lambda line: None)


def theirs(folder):
  return sentence_transformers.SentenceTransformer(str(folder), device='cpu')


def assert_alike(ours, expected):
  """Compares vectors by their cosines and their lengths."""
  lengths = [np.linalg.norm(x_ND, axis=1) for x_ND in (ours, expected)]
  assert (ours * expected).sum(1) == pytest.approx(lengths[0] * lengths[1], rel=1 - COSINE)
  np.testing.assert_allclose(lengths[0], lengths[1], rtol=1e-4)


def saved(folder, *modules, case='bert_encoder', transformer=(), **settings):
  """Writes a folder of sentence-transformers; returns its path.

  Args:
    folder: path, made here.
    *modules: what follows the model.
    case: of interop.CASES.
    transformer: {name: value} of its Transformer.
    **settings: of the SentenceTransformer.
  """
  plain = folder.with_name(f'{folder.name}_plain')
  write(their_model(case), plain)
  if case.startswith(('roberta', 'modernbert')):  # their classes do not read vocab.txt
    library = implementations.BertWordPieceTokenizer(str(plain / 'vocab.txt'))
    library.save(str(plain / 'tokenizer.json'))
    (plain / 'vocab.txt').unlink()
    roles = ('pad', 'unk', 'cls', 'sep', 'mask')
    names = {f'{role}_token': f'[{role.upper()}]' for role in roles}
    names |= {'tokenizer_class': 'PreTrainedTokenizerFast'}
    (plain / 'tokenizer_config.json').write_text(json.dumps(names))
  first = models.Transformer(str(plain), **dict(transformer))
  whole = sentence_transformers.SentenceTransformer(modules=[first, *modules], **settings)
  whole.save(str(folder))
  return folder


def pooled(mode, **settings):
  return models.Pooling(32, mode, **settings)


def dense(inner, outer, **settings):
  torch.manual_seed(0)
  return models.Dense(inner, outer, **settings)


CASES = {
  **{
    mode: lambda folder, mode=mode: saved(folder, pooled(mode))
    for mode in ('cls', 'max', 'mean', 'mean_sqrt_len_tokens', 'weightedmean', 'lasttoken')
  },
  'several': lambda folder: saved(folder, pooled(('max', 'cls', 'mean'))),
  'norm': lambda folder: saved(folder, pooled('mean'), models.Normalize()),
  'dense': lambda folder: saved(folder, pooled('mean'), dense(32, 7), models.Normalize()),
  'residual': lambda folder: saved(
    folder,
    pooled(('cls', 'max')),
    dense(64, 7, bias=False, activation_function=torch.nn.Identity(), use_residual=True),
    dense(7, 7, activation_function=torch.nn.GELU(), use_residual=True),
    models.LayerNorm(7),
  ),
  'prompt': lambda folder: saved(
    folder, pooled('mean'), prompts=PROMPTS, default_prompt_name='query'
  ),
  **{
    f'without prompt, {mode}': lambda folder, mode=mode: saved(
      folder,
      pooled(mode, include_prompt=False),
      prompts=PROMPTS,
      default_prompt_name='query',
    )
    for mode in ('cls', 'max', 'mean', 'mean_sqrt_len_tokens', 'weightedmean', 'lasttoken')
  },
  'short': lambda folder: saved(folder, pooled('mean'), transformer={'max_seq_length': 9}),
  'lower': lambda folder: saved(folder, pooled('mean'), transformer={'do_lower_case': True}),
  **{
    # RoBERTa's class says two positions more than it has.
    case: lambda folder, case=case: saved(
      folder,
      pooled('mean'),
      models.Normalize(),
      case=case,
      transformer={'max_seq_length': 38},
    )
    for case in ('roberta_encoder', 'electra_encoder', 'deberta_v2_encoder', 'modernbert_encoder')
  },
}


@pytest.mark.parametrize('case', CASES)
def test_an_imported_run_embeds_as_the_library_and_so_does_its_export(case, tmp_path):
  folder = CASES[case](tmp_path / 'theirs')
  whole = theirs(folder)
  expected = whole.encode(TEXTS)
  importing.run(folder, tmp_path / 'run', **QUIET)
  run = opened(tmp_path / 'run')
  assert_alike(run.embed(TEXTS), expected)
  if 'prompt' in case:
    assert_alike(run.embed(TEXTS, prompt='passage'), whole.encode(TEXTS, prompt_name='passage'))
  for ours, each in zip(
    run.embed(TEXTS, tokens=True), whole.encode(TEXTS, output_value='token_embeddings')
  ):
    np.testing.assert_allclose(ours, each.numpy(), rtol=1e-4, atol=1e-5)
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  back = theirs(tmp_path / 'to')
  assert_alike(back.encode(TEXTS), expected)
  assert (back.prompts, back.default_prompt_name) == (whole.prompts, whole.default_prompt_name)
  assert back.max_seq_length == min(whole.max_seq_length, run.config.data.row_length)


@pytest.mark.parametrize('inner', ['', '0_Transformer'])
@pytest.mark.parametrize('mode', ['cls', 'mean'])
def test_folders_of_old_versions(mode, inner, tmp_path):
  folder = saved(tmp_path / 'new', pooled(mode), models.Normalize())
  old = tmp_path / 'old'
  (old / inner).mkdir(parents=True)
  for path in folder.iterdir():
    if path.is_file() and path.name not in ('modules.json', 'config_sentence_transformers.json'):
      (old / inner / path.name).write_bytes(path.read_bytes())
  kinds = (('Transformer', inner), ('Pooling', '1_Pooling'), ('Normalize', '2_Normalize'))
  content = {
    'modules.json': [
      {'idx': n, 'name': str(n), 'path': path, 'type': f'sentence_transformers.models.{kind}'}
      for n, (kind, path) in enumerate(kinds)
    ],
    '1_Pooling/config.json': {
      'word_embedding_dimension': 32,
      'pooling_mode_cls_token': mode == 'cls',
      'pooling_mode_mean_tokens': mode == 'mean',
      'pooling_mode_max_tokens': False,
      'pooling_mode_mean_sqrt_len_tokens': False,
    },
    f'{inner or "."}/sentence_bert_config.json': {'max_seq_length': 12, 'do_lower_case': False},
  }
  (old / '2_Normalize').mkdir()
  for name, each in content.items():
    (old / name).parent.mkdir(exist_ok=True)
    (old / name).write_text(json.dumps(each))
  expected = theirs(old).encode(TEXTS)
  importing.run(old, tmp_path / 'run', **QUIET)
  assert_alike(opened(tmp_path / 'run').embed(TEXTS), expected)
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  assert_alike(theirs(tmp_path / 'to').encode(TEXTS), expected)


@pytest.mark.parametrize('family', ['bert', 'roberta', 'deberta_v3', 'modernbert'])
def test_a_run_of_ours_embeds_as_its_export_and_as_any_folder_of_transformers(family, tmp_path):
  builders.write_run(tmp_path / 'run', **toys.FAMILIES[family] | {'data__row_length': 32})
  run = opened(tmp_path / 'run')
  expected = run.embed(TEXTS)
  exporting.run(tmp_path / 'run', tmp_path / 'sentences', sentences=True, **QUIET)
  exporting.run(tmp_path / 'run', tmp_path / 'encoder', part='encoder', **QUIET)
  for folder in ('sentences', 'encoder'):
    assert_alike(theirs(tmp_path / folder).encode(TEXTS), expected)


def test_what_the_library_itself_refuses_is_refused(tmp_path):
  folder = saved(tmp_path / 'theirs', pooled('mean'))
  settings = json.loads((folder / '1_Pooling' / 'config.json').read_text())
  (folder / '1_Pooling' / 'config.json').write_text(json.dumps(settings | {'pooling_mode': 'a'}))
  with pytest.raises(ValueError):
    theirs(folder)
  with pytest.raises(config_lib.UserError):
    importing.run(folder, tmp_path / 'run', **QUIET)
