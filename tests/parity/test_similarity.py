"""Similarity beside PyTorch: a regression of `transformers`, CosineSimilarityLoss of their pairs.

The same weights and examples, thirty steps without dropout. Rows of ours hold an example with
padding after it, or two of them; of a bi-encoder its two texts are side by side.
"""

import functools

import jax
import numpy as np
import pytest
import torch
import transformers

import mlm_jax
from mlm_jax import models
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.data.examples import store
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import heads
from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import names
from mlm_jax.objectives import finetuning
from mlm_jax.objectives import similarity
from tests.huggingface import builders
from tests.models import variants
from tests.parity import interop
from tests.parity import peers
from tests.parity import test_finetuning
from tests.parity import training
from tests.parity.training import LENGTH
from tests.parity.training import ROWS
from tests.parity.training import SEP
from tests.parity.training import VOCAB

sentence_transformers = pytest.importorskip('sentence_transformers')
their_modules = pytest.importorskip('sentence_transformers.models')
their_losses = pytest.importorskip('sentence_transformers.losses')
pytestmark = pytest.mark.parity

STEPS, CLASSES = 30, 3
# {case: (family, whether texts are encoded alone, what is pooled)}
CASES = {
  'bert cross': ('bert', False, 'cls'),
  'modernbert cross mean': ('modernbert', False, 'mean'),
  'bert bi mean': ('bert', True, 'mean'),
  'roberta bi cls': ('roberta', True, 'cls'),
}
EVERY = pytest.mark.parametrize('case', CASES)
PREDICTED, GRADIENTS, LOSSES = 1e-5, 1e-4, 1e-5


def config(case):
  return training.config(**test_finetuning.FAMILIES[CASES[case][0]])


def pad_id(case):
  return variants.pad_id(CASES[case][0])


@functools.cache
def objective(case):
  _, is_bi, pooled = CASES[case]
  encoder = models.make(config(case).model, VOCAB)
  if is_bi:
    return finetuning.Objective(encoder, similarity.CosineHead(pooled), pad_id(case), SEP)
  module = models.sequence_head(config(case).model, encoder.architecture, 1)
  head = similarity.RegressionHead(module, pooled)
  return finetuning.Objective(encoder, head, pad_id(case), SEP, has_pairs=True)


@functools.cache
def start(case):
  """Returns the parameters that both start from; of a bi-encoder with the masked head of theirs."""
  made = objective(case)
  init = made.model.init if CASES[case][1] else made.init
  return variants.draw(init, made.model.architecture)


def our_start(case):
  return {name: each for name, each in start(case).items() if name != 'head'}


@functools.cache
def rules(case):
  family, is_bi, _ = CASES[case]
  of = kinds.of_family(family)[1]
  encoder = [each for each in of.rules(objective(case).model.architecture) if not each.is_of_head]
  return encoder if is_bi else [*encoder, *heads.load('similarity').rules(of)]


class Embedder(torch.nn.Module):
  """An encoder of `transformers` and a Pooling, called as a SentenceTransformer."""

  def __init__(self, encoder, width, mode):
    super().__init__()
    self.encoder = encoder
    self.pooling = their_modules.Pooling(width, mode)

  def forward(self, features):
    hidden = self.encoder(**features).last_hidden_state
    mask = features['attention_mask']
    return self.pooling({'token_embeddings': hidden, 'attention_mask': mask})


def their_model(case):
  _, is_bi, pooled = CASES[case]
  architecture = objective(case).model.architecture
  if is_bi:
    whole = peers.make(config(case).model, pad_id(case), start(case), architecture)
    ours = names.to_theirs(rules(case), our_start(case), architecture)
    for name, parameter in whole.named_parameters():
      parameter.requires_grad_(name in ours and parameter.requires_grad)  # the head is not used
    return whole
  said = {'id2label': {0: 'LABEL_0'}, 'label2id': {'LABEL_0': 0}, 'problem_type': 'regression'}
  said |= {'classifier_pooling': pooled} if pooled != 'cls' else {}
  kind = 'SequenceClassification'
  return peers.make(
    config(case).model, pad_id(case), start(case), architecture, kind, rules(case), **said
  )


def examples(case, step):
  """Returns [((tokens, tokens), score)]; their pieces tell the score, mostly."""
  random, found = np.random.default_rng(step), []
  for _ in range(ROWS):
    kinds_of = random.integers(CLASSES, size=2)
    texts = [training.document(random, random.integers(4, 12)) for _ in range(2)]
    for text, kind in zip(texts, kinds_of):
      # Of a cross-encoder one piece: else its loss falls so far that only rounding is left of it.
      told = len(text) - 2 if CASES[case][1] else 1
      text[1 : 1 + told] = 5 + int(kind) + CLASSES * random.integers(4, size=told)
    near = 1 - abs(int(kinds_of[0] - kinds_of[1])) / (CLASSES - 1)
    score = near if CASES[case][1] else float(kinds_of.sum() - CLASSES + 1)
    found.append((texts, score + 0.1 * random.normal()))
  return found


def segments(case, texts):
  """Returns the segments of an example."""
  if CASES[case][1]:
    return texts
  between = [SEP] * (models.pair_seps(config(case).model) - 1)
  return [[*texts[0], *between, *texts[1][1:]]]


def rows(case, step, per_row=1):
  """Returns the Batch of a step, `per_row` examples to a row."""
  made, each = examples(case, step), len(segments(case, [[0, 0], [0, 0]]))
  tokens_BL = np.full((ROWS // per_row, LENGTH), pad_id(case), np.uint16)
  starts_BS = np.full((len(tokens_BL), per_row * each), -1, np.int32)
  score_BS, number_BS = np.zeros(starts_BS.shape, np.float32), starts_BS.copy()
  for n, (texts, score) in enumerate(made):
    b, s = n // per_row, n % per_row * each
    end = int((tokens_BL[b] != pad_id(case)).sum())
    for text in segments(case, texts):
      starts_BS[b, s], score_BS[b, s], number_BS[b, s] = end, score, n
      tokens_BL[b, end : end + len(text)] = text
      end, s = end + len(text), s + 1
  columns = {similarity.SCORE: score_BS, store.EXAMPLE: number_BS}
  if CASES[case][1]:
    text_S = np.tile(np.arange(2, dtype=np.int8), per_row)
    columns[finetuning.TEXT] = np.tile(text_S, (len(tokens_BL), 1))
  example_B2 = np.stack([np.zeros(len(tokens_BL)), np.arange(len(tokens_BL))], 1)
  visit_B = np.full(len(tokens_BL), step, np.uint32)
  return batches.Batch(tokens_BL, starts_BS, example_B2.astype(np.uint32), visit_B, columns)


def our_predictions(case, params, batch):
  """Returns [examples]."""
  made = objective(case)
  inputs = made.prepare({}, {}, batch, rng.root_key(0), 0.0)
  predicted_BS = jax.jit(made.outputs)(params, inputs)[similarity.PREDICTED]
  return np.asarray(predicted_BS)[np.asarray(inputs.firsts_BS)]


def features(case, texts):
  """Returns what theirs reads of lists of tokens, with padding."""
  tokens = np.full((len(texts), LENGTH), pad_id(case))
  for row, text in zip(tokens, texts):
    row[: len(text)] = text
  tokens_BL = torch.tensor(tokens)
  return {'input_ids': tokens_BL, 'attention_mask': (tokens_BL != pad_id(case)).long()}


def their_output(theirs, case, step):
  """Returns (predictions, loss), by the loss of the class."""
  _, is_bi, pooled = CASES[case]
  made = examples(case, step)
  scores = torch.tensor([score for _, score in made], dtype=torch.float32)
  if is_bi:
    model = Embedder(theirs.base_model, config(case).model.width, pooled)
    sides = [features(case, [texts[side] for texts, _ in made]) for side in range(2)]
    loss = their_losses.CosineSimilarityLoss(model)(sides, scores)
    a_ND, b_ND = (model(side)['sentence_embedding'] for side in sides)
    return torch.nn.functional.cosine_similarity(a_ND, b_ND), loss
  inputs = features(case, [segments(case, texts)[0] for texts, _ in made])
  if objective(case).model.architecture.types > 1:
    # Of the second text, by the definition: what follows the first [SEP].
    seps_BL = (inputs['input_ids'] == SEP).long()
    inputs['token_type_ids'] = ((seps_BL.cumsum(1) - seps_BL) > 0).long() * inputs['attention_mask']
  found = theirs(**inputs, labels=scores)
  return found.logits[:, 0], found.loss


def numbers(predictions):
  return predictions.detach().numpy()


@EVERY
def test_starting_predictions_agree(case):
  theirs_N = numbers(their_output(their_model(case), case, 0)[0])
  assert np.std(theirs_N) > 1e-3
  for per_row in (1, 2):
    ours_N = our_predictions(case, our_start(case), rows(case, 0, per_row))
    error = np.abs(ours_N - theirs_N).max()
    print(f'{case}: starting predictions differ by {error:.1e} at most')
    assert error < PREDICTED


@EVERY
@pytest.mark.parametrize('per_row', (1, 2), ids=('alone', 'packed'))
def test_the_first_loss_and_gradient_agree_also_of_packed_rows(case, per_row):
  theirs, batch = their_model(case), rows(case, 0, per_row)
  metrics, gradient = training.our_gradient(objective(case), config(case), our_start(case), batch)
  ours = names.to_theirs(rules(case), gradient, objective(case).model.architecture)
  loss = their_output(theirs, case, 0)[1]
  loss.backward()
  expected = peers.gradients(theirs)
  assert not set(expected) - set(ours)
  errors = variants.gradient_errors(ours, {name: expected[name] for name in ours})
  worst = max(errors, key=errors.get)
  print(f'{case}: first gradients differ by {errors[worst]:.1e} at most ({worst})')
  assert abs(metrics['loss'] / loss.item() - 1) < LOSSES
  assert errors[worst] < GRADIENTS


@EVERY
def test_thirty_steps_of_training_agree_at_every_step_and_predict_the_same(case):
  theirs = their_model(case)
  steps, state = training.our_steps(
    objective(case), config(case), our_start(case), lambda step: rows(case, step), STEPS
  )
  losses = np.array([metrics['loss'] for metrics in steps])

  def loss(step):
    loss = their_output(theirs, case, step)[1]
    return loss, loss.item()

  named = dict(theirs.named_parameters())
  errors = np.abs(losses / training.their_losses(named, loss, config(case).optim, STEPS) - 1)
  print(
    f'{case}: losses, from {losses[0]:.3f} to {losses[-5:].mean():.3f}, differ by '
    f'{errors.max():.1e} at most (step {errors.argmax()})'
  )
  assert losses[-5:].mean() < 0.9 * losses[:5].mean()  # it learns
  assert len(errors) == STEPS and errors.max() < LOSSES
  ours_N = our_predictions(case, state.params, rows(case, STEPS, 2))
  theirs_N = numbers(their_output(theirs, case, STEPS)[0])
  error = np.abs(ours_N - theirs_N).max()
  print(f'{case}: predictions at the end differ by {error:.1e} at most')
  assert np.std(theirs_N) > 0.05 and error < 10 * PREDICTED


def test_first_losses_reveal_another_pooling():
  case = 'bert bi mean'
  theirs = their_model(case)
  batch = rows(case, 0)
  metrics, _ = training.our_gradient(objective(case), config(case), our_start(case), batch)
  loss = their_output(theirs, case, 0)[1].item()
  assert abs(metrics['loss'] / loss - 1) < LOSSES
  theirs.base_model.register_forward_hook(
    lambda module, args, found: found.__class__(found.last_hidden_state.roll(1, 1))
  )
  assert abs(metrics['loss'] / their_output(theirs, case, 0)[1].item() - 1) > 100 * LOSSES


FACTS, QUIET = {'shift': 2.5, 'scale': 1.5}, dict(log=lambda line: None)
TEXTS = builders.texts(np.random.default_rng(0), 8)
PAIRS = list(zip(TEXTS, reversed(TEXTS)))


def exported(folder, **task):
  """Returns (an invented run, the folder of its export)."""
  task = {'name': 'similarity', 'second_text': 'second'} | task
  builders.write_tuned(folder / 'run', FACTS, task=task, model__init_std=0.3)
  exporting.run(folder / 'run', folder / 'to', **QUIET)
  return mlm_jax.open_run(folder / 'run'), folder / 'to'


def test_the_class_predicts_in_the_unit_of_the_scores_what_the_run_does(tmp_path):
  run, folder = exported(tmp_path)
  model = interop.loaded(transformers.AutoModelForSequenceClassification, folder)
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
  inputs = tokenizer(*map(list, zip(*PAIRS)), padding=True, truncation=True, return_tensors='pt')
  with torch.no_grad():
    theirs_N = model(**inputs).logits[:, 0].numpy()
  assert model.config.num_labels == 1 and np.std(theirs_N) > 1e-3
  ours = [each['prediction'] for each in run.predict(PAIRS)]
  assert ours == pytest.approx(theirs_N, abs=PREDICTED)


@pytest.mark.parametrize('pooled', ('mean', 'cls'))
def test_sentence_transformers_embeds_as_a_bi_encoder_does(pooled, tmp_path):
  run, folder = exported(tmp_path, **{'similarity.encoder': 'bi', 'pooling': pooled})
  theirs = sentence_transformers.SentenceTransformer(str(folder), device='cpu')
  texts = [*TEXTS, 'ab cd ' * 30]  # the last one is cut
  theirs_ND = theirs.encode(texts)
  np.testing.assert_allclose(run.embed(texts), theirs_ND, rtol=0, atol=PREDICTED)
  a_ND, b_ND = theirs.encode([one for one, _ in PAIRS]), theirs.encode([two for _, two in PAIRS])
  cosine_N = sentence_transformers.util.pairwise_cos_sim(a_ND, b_ND).numpy()
  ours = [each['prediction'] for each in run.predict(PAIRS)]
  assert ours == pytest.approx(FACTS['shift'] + FACTS['scale'] * cosine_N, abs=PREDICTED)
