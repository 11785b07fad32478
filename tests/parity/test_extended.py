"""Extended tokenizers, and adapted models that have them, as `transformers` reads them."""

import numpy as np
import pytest
import transformers

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.data import extension
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.tokenizers import extending
from mlm_jax.huggingface import exported_tokenizers
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from mlm_jax.tasks import adaptation
from tests.huggingface.builders import texts as made_up
from tests.huggingface.test_exported_tokenizers import CLEANED
from tests.huggingface.test_exported_tokenizers import cleaned
from tests.huggingface.test_exported_tokenizers import raw_texts
from tests.huggingface.test_exported_tokenizers import train
from tests.parity.interop import QUIET
from tests.parity.interop import loaded
from tests.parity.interop import our_outputs
from tests.parity.interop import their_model
from tests.parity.interop import their_outputs
from tests.parity.interop import write

pytestmark = pytest.mark.parity


@pytest.mark.parametrize('kind', ('unigram', 'wordpiece'))
def test_an_extended_tokenizer_cuts_there_as_the_run_does(kind, tmp_path):
  before, texts = train(kind), cleaned(300)
  words = extension.chosen(before, texts, 30)
  model = extending.extended(before, [(piece, parts) for piece, parts, _ in words])
  ours = tokenizer_lib.make(model)
  exported_tokenizers.write_folder(ours, CLEANED, tmp_path, 10_000)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  new = 0
  for text in [*raw_texts(300), *texts]:
    wanted = ours.encode_text(text, CLEANED, has_masks=True)
    assert theirs(text)['input_ids'] == wanted.tolist(), ascii(text)
    new += (wanted >= before.size).sum()
  assert new > 100 and len(theirs) == ours.size


def test_an_imported_model_is_extended_and_goes_back_as_it_is(tmp_path):
  importing.run(write(their_model('bert'), tmp_path / 'theirs'), tmp_path / 'run', **QUIET)
  texts = made_up(np.random.default_rng(5), 400, words=12)
  (tmp_path / 'domain.txt').write_text('\n'.join(texts))
  source = f'text:{tmp_path}/domain.txt'
  settings = {
    **{'init_from': str(tmp_path / 'run'), 'data.source': source, 'adapt.general': source},
    **{'adapt.new_pieces': 90, 'data.document': 'lines', 'data.row_length': 16},
    **{'data.validation_fraction': 0.1, 'batch_size': 4, 'mesh.devices': 1, 'total_steps': 2},
    **{'optim.warmup_steps': 0, 'evaluation.rows': 8, 'evaluation.batch_size': 4},
    **{'log.trackers': ''},
  }
  config = config_lib.overlay(config_lib.load('adaptation'), settings)
  before = mlm_jax.open_run(tmp_path / 'run')
  assert adaptation.run(config, tmp_path / 'adapted', lambda line: None)
  run = mlm_jax.open_run(tmp_path / 'adapted')
  assert run.tokenizer.size == before.tokenizer.size + 90
  exporting.run(tmp_path / 'adapted', tmp_path / 'back', **QUIET)
  cut = transformers.AutoTokenizer.from_pretrained(tmp_path / 'back')
  there = loaded(transformers.AutoModelForMaskedLM, tmp_path / 'back')
  assert there.config.vocab_size == run.tokenizer.size
  # Those with most new pieces.
  new = lambda text: (np.array(run.tokenizer.encode(text)) >= before.tokenizer.size).sum()
  texts = sorted(texts, key=new)[-8:]
  batch = cut(texts, padding=True, return_tensors='np')
  tokens_BL, seen_BL = batch['input_ids'], batch['attention_mask'] > 0
  assert (tokens_BL >= before.tokenizer.size).sum() > 8
  for text, tokens_L, seen_L in zip(texts, tokens_BL, seen_BL):
    assert tokens_L[seen_L].tolist() == run.tokenizer.encode_text(text, config.data).tolist()
  size = run.tokenizer.size
  ours = our_outputs(run.model, run.params, tokens_BL, run.tokenizer.pad_id, size)
  for mine, theirs in zip(ours, their_outputs(there, tokens_BL, seen_BL), strict=True):
    np.testing.assert_allclose(mine[seen_BL], theirs[seen_BL], rtol=0, atol=1e-5)
