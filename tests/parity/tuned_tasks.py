"""Kinds of tasks for comparisons of fine-tuning: the same examples and labels for both.

Each kind says what its examples are, how a Batch holds them, and what the class of `transformers`
is given for the same.
"""

import dataclasses
import types
from typing import Any

import jax
import numpy as np
import torch

from mlm_jax import models
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.data.examples import windows
from mlm_jax.objectives import classification
from mlm_jax.objectives import question_answering
from mlm_jax.objectives import token_labelling
from tests.models import variants
from tests.parity import training
from tests.parity.training import LENGTH
from tests.parity.training import ROWS
from tests.parity.training import SEP

LABELS = 3


@dataclasses.dataclass(frozen=True)
class Case:
  """What is compared: a family, a kind of task (a key of KINDS), and settings of its head."""

  family: str
  kind: str = 'classification'
  has_pairs: bool = False
  head: dict[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def pad_id(self):
    return variants.pad_id(self.family)


class Classification:
  """The first piece tells the label, mostly."""

  name = 'SequenceClassification'
  columns = (classification.LABEL, classification.LABELS)

  def head(self, case, config, architecture):
    module = models.sequence_head(config.model, architecture, LABELS)
    return classification.ClassificationHead(module, **{'pooled': 'cls'} | case.head)

  def said(self, case):
    problem = 'multi_label' if 'is_multilabel' in case.head else 'single_label'
    pooling = {'classifier_pooling': case.head['pooled']} if 'pooled' in case.head else {}
    return {'problem_type': f'{problem}_classification'} | pooling

  def label(self, case, random, tokens):
    label = int(random.integers(LABELS))
    tokens[1] = 5 + label + LABELS * int(random.integers(4))
    if 'is_multilabel' not in case.head:
      return {classification.LABEL: label}
    many = [int(label == i or random.random() < 0.2) for i in range(LABELS)]
    return {classification.LABELS: many}

  def targets(self, case, labels):
    (values,) = ([each[name] for each in labels] for name in labels[0])
    dtype = torch.float32 if 'is_multilabel' in case.head else None
    return {'labels': torch.tensor(values, dtype=dtype)}

  def ours(self, outputs):
    return outputs['logits_BSC']

  def theirs(self, found):
    return found.logits.unsqueeze(1)

  def loss(self, case, found, targets):
    return _cross_entropy(case, found, targets, found.logits)

  def predicted(self, case, scores, labels):
    return [
      (each[0] > 0).tolist() if 'is_multilabel' in case.head else each.argmax() for each in scores
    ]


class TokenLabelling:
  """A piece tells its label by its number; a third of them have none, as pieces inside of words."""

  name = 'TokenClassification'

  def head(self, case, config, architecture):
    module = models.token_head(config.model, architecture, LABELS)
    return token_labelling.TokenLabellingHead(module, **case.head)

  def said(self, case):
    return {}

  def label(self, case, random, tokens):
    inside = np.arange(len(tokens)) % (len(tokens) - 1) > 0
    has = inside & (random.random(len(tokens)) < 2 / 3)
    label_T = np.where(has, np.array(tokens) % LABELS, -1)
    return {
      token_labelling.LABEL: label_T,
      token_labelling.WORD: np.where(has, np.cumsum(has) - 1, -1),
    }

  def targets(self, case, labels):
    longest = max(len(each[token_labelling.LABEL]) for each in labels)
    found = np.full((len(labels), longest), -100)
    for n, each in enumerate(labels):
      label_T = each[token_labelling.LABEL]
      found[n, : len(label_T)] = np.where(label_T < 0, -100, label_T)
    return {'labels': torch.tensor(found)}

  def ours(self, outputs):
    return outputs['logits_BLC']

  def theirs(self, found):
    return found.logits

  def loss(self, case, found, targets):
    return _cross_entropy(case, found, targets, found.logits.transpose(1, 2))

  def predicted(self, case, scores, labels):
    return [
      each[label[token_labelling.LABEL] >= 0].argmax(-1).tolist()
      for each, label in zip(scores, labels)
    ]


class QuestionAnswering:
  """The answer is between two pieces that mark it; some have none, for which [CLS] stands.

  Some ends are not marked, so nothing tells them and the loss stays at about one. Where it falls to
  some hundredths, training is unstable and rounding grows: 30 steps in float32, of either side,
  then leave the same 30 in float64 by more than 1e-5.
  All examples are of one length: the loss there is over padding too, and here it is not.
  """

  name = 'QuestionAnswering'
  _MARKS = (190, 191)

  def head(self, case, config, architecture):
    module = models.span_head(config.model, architecture)
    return question_answering.AnswerHead(module, architecture.width)

  def said(self, case):
    return {}

  def label(self, case, random, tokens):
    first = last = 0
    begin = tokens.index(SEP) + 1
    if random.random() < 0.8:
      first, last = np.sort(random.integers(begin + 1, len(tokens) - 1, 2)).tolist()
      for place, mark in zip((first, last), self._MARKS):
        if random.random() < 0.7:
          tokens[place] = mark
    place_T = np.where(np.arange(len(tokens)) > begin, np.arange(len(tokens)), -1)
    return {
      windows.FIRST: first,
      windows.LAST: last,
      windows.BEGIN: place_T,
      windows.END: place_T + (place_T >= 0),
    }

  def targets(self, case, labels):
    return {
      name: torch.tensor([each[ours] for each in labels])
      for name, ours in (('start_positions', windows.FIRST), ('end_positions', windows.LAST))
    }

  def ours(self, outputs):
    names = question_answering.START, question_answering.FINISH
    return np.stack([outputs[name] for name in names], -1)

  def theirs(self, found):
    return torch.stack([found.start_logits, found.end_logits], -1)

  def loss(self, case, found, targets):
    return found.loss

  def predicted(self, case, scores, labels):
    return [each.argmax(0).tolist() for each in scores]


KINDS = {
  'classification': Classification(),
  'token_labelling': TokenLabelling(),
  'question_answering': QuestionAnswering(),
}


def _cross_entropy(case, found, targets, logits):
  """Returns the class's own loss, or where it has no such setting PyTorch's of the logits."""
  if not {'weights', 'smoothing'} & set(case.head):
    return found.loss
  weight = torch.tensor(case.head['weights']) if 'weights' in case.head else None
  smoothing = case.head.get('smoothing', 0.0)
  loss = torch.nn.CrossEntropyLoss(weight, label_smoothing=smoothing)
  return loss(logits, targets['labels'])


def examples(case, step):
  """Returns [(tokens, labels)] of a step: two of them fit into a row."""
  random, found, kind = np.random.default_rng(step), [], KINDS[case.kind]
  seps = [SEP] * models.pair_seps(types.SimpleNamespace(family=case.family))
  is_answer = case.kind == 'question_answering'
  for _ in range(ROWS):
    tokens = training.document(random, 6 if is_answer else random.integers(4, 12))
    if not (case.has_pairs or is_answer):
      labels = kind.label(case, random, tokens)
      found.append((tokens, labels))
      continue
    length = LENGTH // 2 - len(tokens) + 2 - len(seps) if is_answer else random.integers(4, 12)
    second = training.document(random, length)[1:]
    if is_answer:
      tokens = [*tokens[:-1], *seps, *second]
      labels = kind.label(case, random, tokens)
    else:
      labels = kind.label(case, random, tokens)
      tokens = [*tokens[:-1], *seps, *second]
    found.append((tokens, labels))
  return found


def rows(case, step, per_row=1):
  """Returns the Batch of a step, `per_row` examples to a row."""
  made = examples(case, step)
  B = ROWS // per_row
  tokens_BL = np.full((B, LENGTH), case.pad_id, np.uint16)
  starts_BS = np.full((B, per_row), -1, np.int32)
  columns = {
    name: np.full((B, LENGTH if 'BL' in name else per_row, *np.shape(value)['BL' in name :]), -1)
    for name, value in made[0][1].items()
  }
  for n, (tokens, labels) in enumerate(made):
    b, s = divmod(n, per_row)
    end = starts_BS[b, s - 1] + len(made[n - 1][0]) if s else 0
    starts_BS[b, s] = end
    here = slice(end, end + len(tokens))
    tokens_BL[b, here] = tokens
    for name, value in labels.items():
      columns[name][b, here if 'BL' in name else s] = value
  example_B2 = np.stack([np.zeros(B), np.arange(B)], 1).astype(np.uint32)
  columns = {name: each.astype(np.int32) for name, each in columns.items()}
  return batches.Batch(tokens_BL, starts_BS, example_B2, np.full(B, step, np.uint32), columns)


def our_scores(case, objective, params, step, per_row=1):
  """Returns the scores of each example: [1, C] of a text, [T, C] of its tokens."""
  batch = rows(case, step, per_row)
  inputs = objective.prepare({}, {}, batch, rng.root_key(0), 0.0)
  outputs = jax.tree.map(np.asarray, jax.jit(objective.outputs)(params, inputs))
  scores, found = KINDS[case.kind].ours(outputs), []
  for n, (tokens, _) in enumerate(examples(case, step)):
    b, s = divmod(n, per_row)
    begin = s if case.kind == 'classification' else batch.starts_BS[b, s]
    size = 1 if case.kind == 'classification' else len(tokens)
    found.append(scores[b, begin : begin + size])
  return found


def their_output(case, theirs, step, has_types):
  """Returns (the scores of each example as of our_scores, the loss).

  Args:
    case: as said.
    theirs: the model.
    step: of the examples.
    has_types: whether it reads types of tokens.
  """
  kind, made = KINDS[case.kind], examples(case, step)
  longest = max(len(tokens) for tokens, _ in made)
  tokens_BL = torch.tensor(rows(case, step).tokens_BL[:, :longest].astype(np.int64))
  inputs = {'input_ids': tokens_BL, 'attention_mask': (tokens_BL != case.pad_id).long()}
  if has_types:
    # Of the second text, by the definition: what follows the first [SEP].
    seps_BL = (tokens_BL == SEP).long()
    inputs['token_type_ids'] = ((seps_BL.cumsum(1) - seps_BL) > 0).long()
    inputs['token_type_ids'] *= inputs['attention_mask']
  targets = kind.targets(case, [labels for _, labels in made])
  found = theirs(**inputs, **targets)
  scores = kind.theirs(found).detach().numpy()
  is_text = case.kind == 'classification'
  scores = [each if is_text else each[: len(tokens)] for each, (tokens, _) in zip(scores, made)]
  return scores, kind.loss(case, found, targets)
