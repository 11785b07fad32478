"""Folders of tokenizers in odd states: the ids of transformers' own AutoTokenizer are right."""

import io
import json
import random
import shutil

import pytest
import sentencepiece
from tokenizers import implementations
import transformers

from mlm_jax import config
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.huggingface import exported_tokenizers
from mlm_jax.huggingface import imported_tokenizers
from tests.huggingface.test_exported_tokenizers import RAW
from tests.huggingface.test_imported_tokenizers import TEXTS

pytestmark = pytest.mark.parity

BERT = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
ROBERTA = ['<s>', '<pad>', '</s>', '<unk>', '<mask>']
ADDED = ['covid', 'zygote', 'New York', '<ent>', '##x', 'É', '日本', ' gap', '\u2581mark', 'baba']
MODELS = {
  'bert': ('bert', ['BertTokenizer', 'BertTokenizerFast', None, 'PreTrainedTokenizerFast']),
  'distilbert': ('bert', ['DistilBertTokenizer', None]),
  'electra': ('bert', ['ElectraTokenizerFast', None]),
  'roberta': ('bpe', ['RobertaTokenizer', 'RobertaTokenizerFast', None, 'OwnTokenizer']),
  'deberta': ('bpe_bert', ['DebertaTokenizer', None]),
  'modernbert': ('bpe_bert', ['PreTrainedTokenizerFast', 'BertTokenizer', None]),
  'deberta-v2': ('spm_bert', ['DebertaV2Tokenizer', 'DebertaV2TokenizerFast', None]),
  'camembert': ('spm_camembert', ['CamembertTokenizer', None]),
  'xlm-roberta': ('spm_fairseq', ['XLMRobertaTokenizer', 'XLMRobertaTokenizerFast', None]),
}
ODD = (
  *(
    'covid',
    'zygote',
    'New York',
    ' ',
    '  ',
    '\n',
    '\t',
    '<ent>',
    'É',
    'É',
    'ＦＵＬＬ',
    '日本語',
    'COVID',
  ),
  *(
    'Zygote',
    'baba',
    '.',
    ',',
    '\xa0',
    '\u2581',
    '\u2581mark',
    '-19',
    'ﬁ',
    '👩\u200d👧',
    '\x00',
    'da',
  ),
)


def unigrams(special, size, rule, **options):
  out = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(TEXTS),
    model_writer=out,
    minloglevel=2,
    vocab_size=size,
    normalization_rule_name=rule,
    **{f'{key}_id': i for i, key in enumerate(special)},
    **{f'{key}_piece': name for key, name in special.items()},
    **options,
  )
  return out.getvalue()


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """Folders with the files of each vocabulary, and with a tokenizer.json made of them."""
  root = tmp_path_factory.mktemp('vocabularies')
  for name in ('bert', 'bpe', 'bpe_bert', 'spm_bert', 'spm_fairseq', 'spm_camembert'):
    (root / name).mkdir()
  upper = TEXTS + [text.upper() for text in TEXTS]
  words = implementations.BertWordPieceTokenizer(lowercase=False)
  words.train_from_iterator(upper, vocab_size=400, show_progress=False, special_tokens=BERT)
  words.save_model(str(root / 'bert'))
  for name, special in (('bpe', ROBERTA), ('bpe_bert', BERT)):
    pairs = implementations.ByteLevelBPETokenizer()
    pairs.train_from_iterator(TEXTS, vocab_size=450, show_progress=False, special_tokens=special)
    pairs.save_model(str(root / name))
  bert = dict(pad='[PAD]', bos='[CLS]', eos='[SEP]', unk='[UNK]')
  (root / 'spm_bert/spm.model').write_bytes(unigrams(bert, 400, 'nmt_nfkc'))
  fairseq = dict(unk='<unk>', bos='<s>', eos='</s>')
  path = root / 'spm_fairseq/sentencepiece.bpe.model'
  path.write_bytes(unigrams(fairseq, 390, 'nmt_nfkc', pad_id=-1))
  path = root / 'spm_camembert/sentencepiece.bpe.model'
  path.write_bytes(unigrams(fairseq, 390, 'nmt_nfkc', pad_id=-1, user_defined_symbols=['<ent>']))
  return root


def odd_folder(draw, made, folder, model):
  """Writes a folder of a model, drawn at random; returns what was drawn."""
  vocabulary, classes = MODELS[model]
  values = {'tokenizer_class': draw.choice(classes)}
  has_json = draw.random() < 0.5 or model == 'modernbert'
  flags = {
    'do_lower_case': [True, False],
    'strip_accents': [True, False, None],
    'tokenize_chinese_chars': [True, False],
    'add_prefix_space': [True, False],
    'split_by_punct': [True, False],
  }
  for path in (made / vocabulary).iterdir():
    (folder / path.name).write_bytes(path.read_bytes())
  (folder / 'config.json').write_text(json.dumps({'model_type': model}))
  own = {each: values for each, values in flags.items() if draw.random() < 0.4}
  if has_json:
    oracle = (
      transformers.AutoTokenizer.from_pretrained(
        folder, **{key: draw.choice(each) for key, each in flags.items() if draw.random() < 0.3}
      )
      if model != 'modernbert'
      else transformers.RobertaTokenizer(
        str(folder / 'vocab.json'),
        str(folder / 'merges.txt'),
        **dict(
          zip(
            (
              'cls_token',
              'bos_token',
              'sep_token',
              'eos_token',
              'pad_token',
              'unk_token',
              'mask_token',
            ),
            ('[CLS]', '[CLS]', '[SEP]', '[SEP]', '[PAD]', '[UNK]', '[MASK]'),
          )
        ),
      )
    )
    oracle.backend_tokenizer.save(str(folder / 'tokenizer.json'))
    if draw.random() < 0.5:
      for path in (made / vocabulary).iterdir():
        (folder / path.name).unlink()
  values |= {key: draw.choice(each) for key, each in own.items()}
  size = len(transformers.AutoTokenizer.from_pretrained(folder))
  added = draw.sample(ADDED, draw.randint(0, 5))
  entry = lambda name: {
    'content': name,
    **{key: draw.random() < 0.4 for key in ('lstrip', 'rstrip', 'single_word', 'normalized')},
    'special': draw.random() < 0.4,
  }
  mask = ROBERTA[4] if vocabulary in ('bpe', 'spm_fairseq', 'spm_camembert') else BERT[4]
  place = draw.choice(['file', 'decoder', 'map', 'config', 'json'])
  if place == 'file':
    content = {name: size + n for n, name in enumerate(added)}
    (folder / 'added_tokens.json').write_text(json.dumps(content))
  elif place == 'decoder':
    values['added_tokens_decoder'] = {size + n: entry(name) for n, name in enumerate(added)}
  elif place == 'map':
    key = draw.choice(['additional_special_tokens', 'extra_special_tokens'])
    entries = [entry(name) for name in added]
    for each in entries:
      del each['special']
    content = {key: draw.choice([added, entries])}
    if draw.random() < 0.3:
      content['mask_token'] = entry(mask)
    (folder / 'special_tokens_map.json').write_text(json.dumps(content))
  elif place == 'config':
    values[draw.choice(['additional_special_tokens', 'extra_special_tokens'])] = added
    if draw.random() < 0.3:
      values['image_token'] = '<img>'
    if draw.random() < 0.5:
      values['mask_token'] = entry(mask) | {'__type': 'AddedToken'}
    if draw.random() < 0.2:
      values |= {'do_basic_tokenize': False, 'never_split': ['covid'], 'unk_id': 7}
  elif has_json:
    document = json.loads((folder / 'tokenizer.json').read_text())
    document['added_tokens'] += [entry(name) | {'id': size + n} for n, name in enumerate(added)]
    (folder / 'tokenizer.json').write_text(json.dumps(document))
  if draw.random() < 0.9 or values['tokenizer_class']:
    values = {
      key: each for key, each in values.items() if each is not None or key != 'tokenizer_class'
    }
    (folder / 'tokenizer_config.json').write_text(json.dumps(values))
  return {'model': model, 'json': has_json, 'place': place, 'added': added, **values}


def texts(draw):
  """Returns odd texts, without names of the special pieces that rows are made with."""
  some = [''.join(draw.choices(ODD, k=draw.randint(0, 20))) for _ in range(60)]
  return some + draw.sample(TEXTS, 20)


def assert_alike(folder, drawn, draw):
  try:
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
  except Exception:
    return 'not loaded'
  try:
    ours = tokenizer_lib.make(imported_tokenizers.from_folder(folder), str(folder))
  except config.UserError as error:
    return str(error)
  assert len(theirs) == ours.size, drawn
  (folder / 'exported').mkdir()
  exported_tokenizers.write_folder(ours, RAW, folder / 'exported', 128)
  shutil.copy(folder / 'config.json', folder / 'exported')
  mask = ours.piece(ours.mask_id)
  again = transformers.AutoTokenizer.from_pretrained(folder / 'exported')
  for text in texts(draw):
    right = theirs(text, add_special_tokens=False)['input_ids']
    assert again(text, add_special_tokens=False)['input_ids'] == right, f'{drawn} {text!a}'
    masked = f'{text} [MASK]{text}[MASK] .'
    wanted = theirs(masked.replace('[MASK]', mask), add_special_tokens=False)
    assert ours.encode_with_masks(masked) == wanted['input_ids'], f'{drawn} {masked!a}'
    assert ours.encode(text) == right, f'{drawn} {text!a} {theirs.tokenize(text)}'
  return ''


@pytest.mark.parametrize('model', MODELS)
def test_odd_folders_are_read_as_transformers_reads_them(model, made, tmp_path):
  draw = random.Random(f'{model} 1')
  refused = []
  for n in range(60):
    folder = tmp_path / str(n)
    folder.mkdir()
    drawn = odd_folder(draw, made, folder, model)
    refused.append(assert_alike(folder, drawn, draw))
  print(model, {each: refused.count(each) for each in refused})
  assert refused.count('') > 40
