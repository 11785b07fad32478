"""What `fill` predicts, against the pipeline 'fill-mask' of `transformers` on the same folder."""

import io
import json
import shutil

import pytest
import sentencepiece
from tokenizers import implementations
import torch
import transformers

from mlm_jax.data.tokenizers import json_documents
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from mlm_jax.inference import predictor
from mlm_jax.tasks import pretraining
from tests import shared_runs
from tests import toys
from tests.data.tokenizers.test_tokenizer_json import DOCUMENTS
from tests.data.tokenizers.test_tokenizer_json import MASKED
from tests.data.tokenizers.test_tokenizer_json import NAMES
from tests.data.tokenizers.test_tokenizer_json import OURS
from tests.data.tokenizers.test_tokenizer_json import SPECIAL
from tests.data.tokenizers.test_tokenizer_json import TEXTS
from tests.parity.interop import QUIET

pytestmark = pytest.mark.parity

SIZES = dict(
  hidden_size=32,
  num_hidden_layers=2,
  num_attention_heads=4,
  intermediate_size=64,
  max_position_embeddings=66,
)
OF_DEBERTA = dict(
  relative_attention=True,
  pos_att_type=['p2c', 'c2p'],
  position_biased_input=False,
  share_att_key=True,
  norm_rel_ebd='layer_norm',
  position_buckets=16,
  type_vocab_size=0,
  legacy=True,
)


def write_model(folder, name, vocab_size, pad_id):
  """Writes a model whose predictions differ clearly."""
  of = getattr(transformers, f'{name}ForMaskedLM')
  settings = SIZES | (OF_DEBERTA if name == 'DebertaV2' else {})
  torch.manual_seed(0)
  model = of(of.config_class(vocab_size=vocab_size, pad_token_id=pad_id, **settings)).eval()
  with torch.no_grad():
    for parameter in model.parameters():
      parameter *= 20 if parameter.ndim > 1 else 1
  model.save_pretrained(folder)


def bert(folder):
  oracle = implementations.BertWordPieceTokenizer()
  oracle.train_from_iterator(TEXTS, vocab_size=400, show_progress=False)
  oracle.save_model(str(folder))
  write_model(folder, 'Bert', 400, 0)


def roberta(folder, **settings):
  oracle = implementations.ByteLevelBPETokenizer()
  special = ['<s>', '<pad>', '</s>', '<unk>', '<mask>']
  oracle.train_from_iterator(TEXTS, vocab_size=450, show_progress=False, special_tokens=special)
  oracle.save_model(str(folder))
  (folder / 'tokenizer_config.json').write_text(json.dumps(settings))
  write_model(folder, 'Roberta', 450, 1)


def mask_token(**settings):
  same = {'content': '<mask>', 'normalized': False, 'rstrip': False, 'single_word': False}
  return {'__type': 'AddedToken', **same, **settings}


def deberta(folder):
  out = io.BytesIO()
  pieces = dict(pad='[PAD]', bos='[CLS]', eos='[SEP]', unk='[UNK]')
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(TEXTS),
    model_writer=out,
    vocab_size=400,
    normalization_rule_name='identity',
    minloglevel=2,
    **{f'{role}_id': i for i, role in enumerate(pieces)},
    **{f'{role}_piece': piece for role, piece in pieces.items()},
  )
  (folder / 'spm.model').write_bytes(out.getvalue())
  (folder / 'tokenizer_config.json').write_text('{"do_lower_case": false, "vocab_type": "spm"}')
  write_model(folder, 'DebertaV2', 401, 0)


FILES = {
  'bert': bert,
  'roberta': lambda folder: roberta(folder, mask_token=mask_token(lstrip=False)),
  'roberta, lstrip': lambda folder: roberta(folder, mask_token=mask_token(lstrip=True)),
  'roberta, prefix': lambda folder: roberta(
    folder, mask_token=mask_token(lstrip=True), add_prefix_space=True
  ),
  'deberta': deberta,
}


def document(folder, name, lstrip):
  """Writes a folder with a tokenizer.json alone."""
  names = SPECIAL[name]
  order = ('pad', 'unk', 'cls', 'sep', 'mask')
  order = order if names is OURS else ('cls', 'pad', 'sep', 'unk', 'mask')
  roles = dict(zip(order, zip(names, range(5))))
  tokens = [
    each | {'lstrip': lstrip} if each['content'] == names[4] else each
    for each in DOCUMENTS[name]['added_tokens']
  ]
  own = DOCUMENTS[name] | {
    'added_tokens': tokens,
    'post_processor': json_documents.around(roles['cls'], roles['sep']),
    'decoder': {
      'bert': json_documents.WORDPIECE_DECODER,
      'words': json_documents.WORDPIECE_DECODER,
      'roberta': json_documents.byte_level(),
      'prefixed': json_documents.byte_level(),
    }.get(name, {'type': 'Metaspace', 'replacement': '▁', 'prepend_scheme': 'always'}),
  }
  (folder / 'tokenizer.json').write_text(json.dumps(own))
  settings = {f'{role}_token': token for role, (token, _) in roles.items()}
  settings |= {'tokenizer_class': 'PreTrainedTokenizerFast'}
  (folder / 'tokenizer_config.json').write_text(json.dumps(settings))
  write_model(folder, 'Bert' if names is OURS else 'XLMRoberta', 450, roles['pad'][1])


def assert_fills_alike(run, folder):
  """Compares tokens, texts and scores of the best predictions of all masks of MASKED."""
  fill = transformers.pipeline('fill-mask', model=str(folder), device='cpu')
  for text in MASKED:
    named = text.replace('[MASK]', fill.tokenizer.mask_token)
    expected = fill(named, top_k=4)
    expected = [expected] if isinstance(expected[0], dict) else expected
    for masks in (run.fill(text, top_k=4), run.fill(named, top_k=4)):
      assert len(masks) == len(expected)
      for ours, theirs in zip(masks, expected):
        found = [(each.id, each.text) for each in ours]
        assert found == [(each['token'], each['token_str']) for each in theirs], text
        scores = [each['score'] for each in theirs]
        assert [each.probability for each in ours] == pytest.approx(scores, rel=1e-3)


@pytest.mark.parametrize('saved', [False, True], ids=['as it came', 'saved again'])
@pytest.mark.parametrize('kind', FILES)
def test_folders_of_every_kind_of_file(kind, saved, tmp_path):
  folder = tmp_path / 'theirs'
  folder.mkdir()
  FILES[kind](folder)
  if saved:  # as tokenizer.json
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / 'saved')
    for name in ('config.json', 'model.safetensors'):
      shutil.copy(folder / name, tmp_path / 'saved')
    folder = tmp_path / 'saved'
    for name in ('vocab.txt', 'vocab.json', 'merges.txt', 'spm.model'):
      (folder / name).unlink(missing_ok=True)
  importing.run(folder, tmp_path / 'run', **QUIET)
  assert_fills_alike(predictor.open_run(tmp_path / 'run'), folder)


@pytest.mark.parametrize('lstrip', [False, True])
@pytest.mark.parametrize('name', NAMES)
def test_every_kind_of_tokenizer_json(name, lstrip, tmp_path):
  folder = tmp_path / 'theirs'
  folder.mkdir()
  document(folder, name, lstrip)
  importing.run(folder, tmp_path / 'run', **QUIET)
  assert_fills_alike(predictor.open_run(tmp_path / 'run'), folder)


@pytest.mark.parametrize('kind', ['unigram', 'bpe', 'wordpiece', 'byte_bpe'])
def test_runs_of_ours(kind, tmp_path):
  (tmp_path / 'text.txt').write_text('\n'.join(TEXTS))
  settings = dict(data__tokenizer=kind, data__vocab_size=450, data__row_length=32, total_steps=8)
  config = toys.training_config(
    tmp_path / 'text.txt', data__drop_duplicates=False, optim__learning_rate=0.1, **settings
  )
  with shared_runs.without_scores():
    pretraining.run(config, tmp_path / 'run', lambda line: None)
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  assert_fills_alike(predictor.open_run(tmp_path / 'run'), tmp_path / 'to')
