"""Zero-shot scores beside brute force on the exported weights in `transformers`."""

import json

import numpy as np
import pytest
import torch
import transformers

from mlm_jax.evaluation import zero_shot as suites
from mlm_jax.huggingface import exporting
from mlm_jax.inference import predictor
from mlm_jax.inference import zero_shot
from mlm_jax.tasks import pretraining
from tests import shared_runs
from tests import toys
from tests.data.tokenizers.test_tokenizer_json import TEXTS
from tests.parity.interop import QUIET

pytestmark = pytest.mark.parity

FAMILIES = {
  'bert': ('wordpiece', {}),
  'roberta': ('byte_bpe', {}),
  'deberta_v2': ('unigram', {}),
  'modernbert': ('bpe', {}),
}
SENTENCES = [text for text in TEXTS if 3 <= len(text.split()) <= 8 and text.isascii()][:4]


@pytest.fixture(scope='module', params=FAMILIES)
def both(request, tmp_path_factory):
  """Returns (our run, their tokenizer, their model)."""
  folder = tmp_path_factory.mktemp('zero_shot')
  (folder / 'text.txt').write_text('\n'.join(TEXTS))
  kind, _ = FAMILIES[request.param]
  settings = dict(data__tokenizer=kind, data__vocab_size=450, data__row_length=32, total_steps=8)
  config = toys.training_config(
    folder / 'text.txt',
    data__drop_duplicates=False,
    optim__learning_rate=0.1,
    **settings,
    **toys.FAMILIES[request.param],
  )
  with shared_runs.without_scores():
    pretraining.run(config, folder / 'run', lambda line: None)
  exporting.run(folder / 'run', folder / 'to', **QUIET)
  model = transformers.AutoModelForMaskedLM.from_pretrained(folder / 'to').eval()
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder / 'to')
  return predictor.open_run(folder / 'run', log=lambda line: None), tokenizer, model


def log_p(model, ids, hidden, mask_id, place):
  """Returns log p of the token at a place, while others are hidden."""
  row = torch.tensor([[mask_id if p in hidden else i for p, i in enumerate(ids)]])
  with torch.no_grad():
    logits_LV = model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0]
  return float(torch.log_softmax(logits_LV[place].double(), 0)[ids[place]])


def test_likelihoods_of_sentences(both):
  run, tokenizer, model = both
  assert len(SENTENCES) >= 3
  scorer = zero_shot.Scorer(run)
  starts_V, ends_V = run.tokenizer.starts_V, run.tokenizer.ends_V
  for within_word in (False, True):
    for text, terms in zip(SENTENCES, scorer.text_scores(SENTENCES, within_word), strict=True):
      ids = tokenizer(text)['input_ids']
      expected = []
      for place in range(1, len(ids) - 1):
        hidden, later = [place], place + 1
        while within_word and later < len(ids) - 1:
          if starts_V[ids[later]] or ends_V[ids[later - 1]]:
            break
          hidden.append(later)
          later += 1
        expected.append(log_p(model, ids, hidden, tokenizer.mask_token_id, place))
      np.testing.assert_allclose(terms, expected, atol=1e-4)


def test_options_of_a_blank(both):
  run, tokenizer, model = both
  [sentence] = SENTENCES[:1]
  words = sentence.split()
  options = tuple(dict.fromkeys([words[1], *SENTENCES[1].split()[1:], *SENTENCES[2].split()[1:]]))
  before, after = words[0] + ' ', ' ' + ' '.join(words[2:])
  blank = suites.Blank('here', before, after, options)
  [found] = zero_shot.Scorer(run).blank_scores([blank])
  for option, terms in zip(options, found, strict=True):
    ids = tokenizer(before + option + after)['input_ids']
    begin = len(tokenizer(before.strip())['input_ids']) - 1
    places = list(range(begin, begin + len(terms)))
    assert tokenizer.decode(ids[begin : begin + len(terms)]).strip() == tokenizer.decode(
      tokenizer(option)['input_ids'], skip_special_tokens=True
    ).strip()  # fmt: skip
    expected = [log_p(model, ids, places, tokenizer.mask_token_id, place) for place in places]
    np.testing.assert_allclose(terms, expected, atol=1e-4)


def test_minimal_pairs(both, tmp_path):
  run, tokenizer, model = both
  pairs = []
  for sentence in SENTENCES:
    words = sentence.split()
    pairs.append((sentence, ' '.join([*words[:-2], words[-1], words[-2]])))
  records = [{'sentence_good': good, 'sentence_bad': bad} for good, bad in pairs]
  (tmp_path / 'pairs.jsonl').write_text('\n'.join(map(json.dumps, records)))
  found = run.evaluate(f'minimal_pairs:{tmp_path / "pairs.jsonl"}')['scores']
  total = lambda ids: sum(
    log_p(model, ids, [place], tokenizer.mask_token_id, place) for place in range(1, len(ids) - 1)
  )
  right = [np.greater(*(total(tokenizer(text)['input_ids']) for text in pair)) for pair in pairs]
  [accuracy] = [x for x in found if (x['subset'], x['metric']) == ('all', 'accuracy')]
  assert accuracy['score'] == np.mean(right)
