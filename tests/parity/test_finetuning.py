"""Fine-tuning beside `transformers` in PyTorch: the same weights and batches, for kinds of tasks.

Rows hold one example with padding after it, since `transformers` does not pack; the same examples
packed give the same loss and gradient.
"""

import functools

import numpy as np
import pytest
import torch

from mlm_jax import models
from mlm_jax.huggingface import heads
from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import names
from mlm_jax.objectives import finetuning
from tests.models import variants
from tests.parity import peers
from tests.parity import test_training
from tests.parity import training
from tests.parity import tuned_tasks
from tests.parity.training import SEP
from tests.parity.training import VOCAB
from tests.parity.tuned_tasks import LABELS
from tests.parity.tuned_tasks import Case

pytestmark = pytest.mark.parity

STEPS = 30
WEIGHTS = (0.5, 2.0, 1.0)
TAGS, ANSWERS = 'token_labelling', 'question_answering'
# A family for each head and each way of putting pairs together; test_task_heads.py has the scores
# of all families, and test_families.py the gradients of all encoders.
OF_TAGS = ('bert', 'distilbert', 'modernbert')
OF_ANSWERS = ('bert', 'roberta', 'distilbert', 'electra', 'modernbert')
CASES = {
  'bert': Case('bert'),
  'bert pairs': Case('bert', has_pairs=True),
  'roberta': Case('roberta'),
  'roberta pairs': Case('roberta', has_pairs=True),
  'modernbert': Case('modernbert'),
  'modernbert mean': Case('modernbert', has_pairs=True, head={'pooled': 'mean'}),
  'electra': Case('electra'),
  'distilbert': Case('distilbert'),
  'deberta_v2': Case('deberta_v2', has_pairs=True),
  'weights and smoothing': Case('bert', head={'weights': WEIGHTS, 'smoothing': 0.2}),
  'several labels': Case('bert', head={'is_multilabel': True}),
  **{f'tags {each}': Case(each, TAGS) for each in OF_TAGS},
  'tags weights and smoothing': Case('bert', TAGS, head={'weights': WEIGHTS, 'smoothing': 0.2}),
  **{f'answers {each}': Case(each, ANSWERS, has_pairs=True) for each in OF_ANSWERS},
}
# At the usual rate 30 steps learn no more than how frequent labels are.
SLOW = ('bert pairs', 'several labels')
EVERY = pytest.mark.parametrize('case', CASES)
FAMILIES = test_training.FAMILIES | {
  'electra': {'model__family': 'electra', 'model__embedding_width': 32},
  'distilbert': {'model__family': 'distilbert', 'model__size': 'base'},
}
# What adds the same to the scores of all places, which a softmax over them does not see.
OF_ALL_PLACES = (
  'qa_outputs.bias',
  'classifier.bias',
  'layer.2.output.LayerNorm.bias',
  'layer.2.output_layer_norm.bias',
)
# Absolute, and relative twice.
LOGITS, GRADIENTS, LOSSES = 1e-5, 1e-4, 1e-5


def config(case):
  rate = {'optim__learning_rate': 5e-3} if case in SLOW else {}
  return training.config(**FAMILIES[CASES[case].family] | rate)


@functools.cache
def objective(case):
  of, config_of = CASES[case], config(case)
  encoder = models.make(config_of.model, VOCAB)
  head = tuned_tasks.KINDS[of.kind].head(of, config_of, encoder.architecture)
  return finetuning.Objective(encoder, head, of.pad_id, SEP, of.has_pairs)


@functools.cache
def start(case):
  """Returns the parameters that both start from."""
  return variants.draw(objective(case).init, objective(case).model.architecture)


@functools.cache
def rules(case):
  of = kinds.of_family(CASES[case].family)[1]
  encoder = of.rules(objective(case).model.architecture)
  head = heads.load(CASES[case].kind).rules(of)
  return [*(rule for rule in encoder if not rule.is_of_head), *head]


def their_model(case):
  kind, labels = tuned_tasks.KINDS[CASES[case].kind], LABELS
  if CASES[case].kind == ANSWERS:
    labels = 2
  said = {
    'id2label': {i: str(i) for i in range(labels)},
    'label2id': {str(i): i for i in range(labels)},
    **kind.said(CASES[case]),
  }
  architecture, pad_id = objective(case).model.architecture, CASES[case].pad_id
  return peers.make(
    config(case).model, pad_id, start(case), architecture, kind.name, rules(case), **said
  )


def our_scores(case, params, step, per_row=1):
  return tuned_tasks.our_scores(CASES[case], objective(case), params, step, per_row)


def their_output(theirs, case, step):
  has_types = CASES[case].has_pairs and objective(case).model.architecture.types > 1
  return tuned_tasks.their_output(CASES[case], theirs, step, has_types)


def predicted(case, scores, step):
  labels = [labels for _, labels in tuned_tasks.examples(CASES[case], step)]
  return tuned_tasks.KINDS[CASES[case].kind].predicted(CASES[case], scores, labels)


@functools.cache
def our_training(case):
  """Returns (losses, the parameters at the end)."""
  batch = lambda step: tuned_tasks.rows(CASES[case], step)
  steps, state = training.our_steps(objective(case), config(case), start(case), batch, STEPS)
  return np.array([metrics['loss'] for metrics in steps]), state.params


@functools.cache
def our_gradient(case, per_row=1):
  """Returns (loss, {name there: gradient}) of the first batch."""
  batch = tuned_tasks.rows(CASES[case], 0, per_row)
  metrics, gradient = training.our_gradient(objective(case), config(case), start(case), batch)
  a = objective(case).model.architecture
  return metrics['loss'], names.to_theirs(rules(case), gradient, a)


def logits_error(theirs, case):
  ours, (given, _) = our_scores(case, start(case), 0), their_output(theirs, case, 0)
  assert max(np.abs(each).max() for each in given) > 0.05
  return max(np.abs(one - other).max() for one, other in zip(ours, given, strict=True))


def gradient_errors(theirs, case, per_row=1):
  """Returns ({name: relative error} of the first gradients, relative error of the loss)."""
  loss, ours = our_gradient(case, per_row)
  given = their_output(theirs, case, 0)[1]
  given.backward()
  theirs = peers.gradients(theirs)
  assert not set(theirs) - set(ours)
  unseen = OF_ALL_PLACES if CASES[case].kind == ANSWERS else ()
  errors = variants.gradient_errors(ours, {name: theirs[name] for name in ours}, unseen)
  return errors, abs(loss / given.item() - 1)


def training_errors(theirs, case, steps=STEPS, **optim):
  """Returns the relative errors of the losses of training; `optim` differs on their side."""
  settings = config(case).optim.copy_and_resolve_references().unlock()
  settings.update(optim)

  def loss(step):
    loss = their_output(theirs, case, step)[1]
    return loss, loss.item()

  named = dict(theirs.named_parameters())
  losses = training.their_losses(named, loss, settings, steps)
  return np.abs(our_training(case)[0][:steps] / losses - 1)


@EVERY
def test_starting_logits_agree(case):
  error = logits_error(their_model(case), case)
  print(f'{case}: starting logits differ by {error:.1e} at most')
  assert error < LOGITS


@EVERY
@pytest.mark.parametrize('per_row', (1, 2), ids=('alone', 'packed'))
def test_the_first_loss_and_gradient_agree_also_of_packed_rows(case, per_row):
  errors, loss = gradient_errors(their_model(case), case, per_row)
  worst = max(errors, key=errors.get)
  print(f'{case}: first gradients differ by {errors[worst]:.1e} at most ({worst})')
  assert loss < LOSSES
  assert errors[worst] < GRADIENTS


@EVERY
def test_thirty_steps_of_training_agree_at_every_step_and_predict_the_same(case):
  theirs, (losses, params) = their_model(case), our_training(case)
  errors = training_errors(theirs, case)
  print(
    f'{case}: losses, from {losses[0]:.3f} to {losses[-5:].mean():.3f}, differ by '
    f'{errors.max():.1e} at most (step {errors.argmax()})'
  )
  assert losses[-5:].mean() < 0.9 * losses[:5].mean()  # it learns
  assert len(errors) == STEPS and errors.max() < LOSSES
  ours = predicted(case, our_scores(case, params, STEPS, 2), STEPS)
  assert ours == predicted(case, their_output(theirs, case, STEPS)[0], STEPS)
  assert len(set(map(str, ours))) > 1


def _read_another_token(theirs):
  """Lets the head read the next token."""
  last = theirs.base_model.final_norm if hasattr(theirs.base_model, 'final_norm') else None
  module = last or getattr(theirs.base_model, 'encoder', None) or theirs.base_model.transformer

  def hook(module, args, output):
    if last is not None:
      return output.roll(-1, 1)
    output['last_hidden_state'] = output['last_hidden_state'].roll(-1, 1)
    return output

  module.register_forward_hook(hook)


def _another_activation(theirs):
  if hasattr(theirs, 'bert'):
    theirs.bert.pooler.activation = torch.nn.ReLU()
  elif hasattr(theirs, 'head'):
    theirs.head.act = torch.nn.ReLU()
  else:
    theirs.classifier.activation = torch.nn.Tanh()


def _mean_for_the_first(theirs):
  theirs.config.classifier_pooling = 'cls' if theirs.config.classifier_pooling == 'mean' else 'mean'


def _no_types(theirs):
  _change_inputs(theirs, lambda named: {'token_type_ids': None})


def _exchange_the_ends(theirs):
  with torch.no_grad():
    for parameter in (getattr(theirs, 'qa_outputs', None) or theirs.classifier).parameters():
      parameter.copy_(parameter.flip(0))


def _change_inputs(theirs, change):
  """Lets the model be given other arguments: `change` takes and gives them by name."""
  theirs.register_forward_pre_hook(
    lambda module, args, named: (args, named | change(named)), with_kwargs=True
  )


@pytest.mark.parametrize(
  'case, plant',
  (
    ('bert', _read_another_token),
    ('roberta', _read_another_token),
    ('modernbert', _read_another_token),
    ('tags distilbert', _read_another_token),
    ('answers bert', _read_another_token),
    ('bert', _another_activation),
    ('electra', _another_activation),
    ('modernbert', _another_activation),
    ('tags modernbert', _another_activation),
    ('answers modernbert', _another_activation),
    ('modernbert', _mean_for_the_first),
    ('modernbert mean', _mean_for_the_first),
    ('bert pairs', _no_types),
    ('answers bert', _no_types),
    ('answers electra', _exchange_the_ends),
    ('answers modernbert', _exchange_the_ends),
  ),
)
def test_starting_logits_reveal_another_model(case, plant):
  theirs = their_model(case)
  plant(theirs)
  assert logits_error(theirs, case) > 10 * LOGITS


@pytest.mark.parametrize(
  'case, other',
  (('bert', 'weights and smoothing'), ('tags bert', 'tags weights and smoothing')),
)
def test_first_losses_reveal_another_loss(case, other):
  theirs = their_output(their_model(other), other, 0)[1].item()
  assert abs(our_gradient(case)[0] / theirs - 1) > 100 * LOSSES


def _label_all_tokens(named):
  return {'labels': named['labels'].clamp(min=0)}


def _shift_labels(named):
  return {'labels': named['labels'].roll(1, 0)}


def _shift_the_last(named):
  return {'end_positions': (named['end_positions'] - 1).clamp(min=0)}


def _invert_labels(named):
  return {'labels': 1 - named['labels']}


@pytest.mark.parametrize(
  'case, change',
  (
    ('bert', _shift_labels),
    ('bert pairs', _shift_labels),
    ('several labels', _invert_labels),
    ('tags bert', _label_all_tokens),
    ('answers bert', _shift_the_last),
  ),
)
def test_first_losses_reveal_other_labels(case, change):
  theirs = their_model(case)
  _change_inputs(theirs, change)
  assert gradient_errors(theirs, case)[1] > 10 * LOSSES


# A case of each kind of task.
EACH_KIND = pytest.mark.parametrize(
  'case', ('bert', 'bert pairs', 'several labels', 'tags bert', 'answers bert')
)


@EACH_KIND
def test_first_gradients_reveal_a_thousandth_in_one_parameter(case):
  theirs = their_model(case)
  named = dict(theirs.named_parameters())
  name = next(each for each in named if 'attention.self.value.weight' in each)
  named[name].register_hook(lambda gradient: 1.001 * gradient)
  errors, loss = gradient_errors(theirs, case)
  assert max(errors, key=errors.get) == name and errors[name] > 5 * GRADIENTS
  assert loss < LOSSES


@EACH_KIND
def test_losses_of_training_reveal_another_optimizer(case):
  for optim in ({'beta2': 0.99}, {'weight_decay': 0.1}, {'clip_norm': 0.6}):
    errors = training_errors(their_model(case), case, 12, **optim)
    assert errors.max() > 2 * LOSSES, optim
