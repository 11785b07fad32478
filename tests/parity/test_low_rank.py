"""Fine-tuning with low-rank adapters beside those of `peft`: the same A, B and batches."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import torch

from mlm_jax import config as config_lib
from mlm_jax import downstream
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.models import low_rank
from mlm_jax.objectives import finetuning
from mlm_jax.training import optim
from tests.models import variants
from tests.parity import test_finetuning
from tests.parity import training
from tests.parity import tuned_tasks

peft = pytest.importorskip('peft')
pytestmark = [
  pytest.mark.parity,
  # Of transformers, which peft asks for it by its old name.
  pytest.mark.filterwarnings('ignore:.is_gradient_checkpointing. is deprecated:FutureWarning'),
]

CASE, STEPS = 'bert', test_finetuning.STEPS
ADAPTERS = low_rank.Adapters(4, 16.0, ('layers/.*',))
# {path of a kernel in a layer: module there}.
MODULES = {
  'attention/query': 'attention.self.query',
  'attention/key': 'attention.self.key',
  'attention/value': 'attention.self.value',
  'attention/out': 'attention.output.dense',
  'feed_forward/in': 'intermediate.dense',
  'feed_forward/out': 'output.dense',
}
GRADIENTS, LOSSES = test_finetuning.GRADIENTS, test_finetuning.LOSSES


@functools.cache
def objective():
  task = config_lib.overlay(config_lib.finetuning(), {'task.lora.rank': ADAPTERS.rank}).task
  made = test_finetuning.objective(CASE)
  return dataclasses.replace(made, freeze=downstream.frozen(task), adapters=ADAPTERS)


@functools.cache
def start():
  drawn = test_finetuning.start(CASE)
  encoder = {name: each for name, each in drawn.items() if name != finetuning.HEAD}
  params = ADAPTERS.add(rng.root_key(0), encoder) | {finetuning.HEAD: drawn[finetuning.HEAD]}
  # Where B is 0, A has no gradient that could be compared.
  random = np.random.default_rng(0)
  leaves = [
    random.normal(0, 0.02, x.shape).astype(np.float32) if path.endswith(low_rank.B) else x
    for path, x in trees.paths(params).items()
  ]
  return jax.tree.unflatten(jax.tree.structure(params), leaves)


def config():
  return training.config(optim__learning_rate=3e-3)


def theirs_of(params):
  """Returns {name there: array} of A and B, and of nothing else."""
  found = {}
  for path, leaf in trees.paths(params).items():
    kernel, _, name = path.removeprefix('layers/').rpartition('/')
    if name in (low_rank.A, low_rank.B):
      for n, matrix in enumerate(np.asarray(leaf)):
        place = f'bert.encoder.layer.{n}.{MODULES[kernel]}.lora_{name[-1].upper()}.default.weight'
        found[f'base_model.model.{place}'] = matrix.T
  return found


def their_model():
  settings = peft.LoraConfig(
    r=ADAPTERS.rank,
    lora_alpha=ADAPTERS.alpha,
    lora_dropout=0.0,
    target_modules=r'bert\.encoder\.layer\.\d+\..*(query|key|value|dense)',
    modules_to_save=['pooler', 'classifier'],
  )
  model = peft.get_peft_model(test_finetuning.their_model(CASE), settings).eval()
  drawn = {name: torch.tensor(array) for name, array in theirs_of(start()).items()}
  adapted = {name for name, _ in model.named_parameters() if '.lora_' in name}
  assert adapted == set(drawn)
  model.load_state_dict(drawn, strict=False)
  return model


def test_as_many_parameters_are_trained_and_their_first_gradients_agree():
  theirs = their_model()
  metrics, gradient = training.our_gradient(
    objective(), config(), start(), tuned_tasks.rows(test_finetuning.CASES[CASE], 0)
  )
  loss = test_finetuning.their_output(theirs, CASE, 0)[1]
  loss.backward()
  trained = {name: p for name, p in theirs.named_parameters() if p.requires_grad}
  frozen = [(each, True) for each in objective().freeze] + [('.*', False)]
  sizes = jax.tree.map(lambda x, no: 0 if no else x.size, start(), trees.match(frozen, start()))
  assert sum(jax.tree.leaves(sizes)) == sum(p.numel() for p in trained.values())
  assert abs(metrics['loss'] / loss.item() - 1) < LOSSES
  ours = theirs_of(gradient)
  errors = variants.gradient_errors(ours, {name: trained[name].grad.numpy() for name in ours})
  assert max(errors.values()) < GRADIENTS


def test_thirty_steps_agree_at_every_step_and_so_do_the_merged_models():
  theirs, optimizer = their_model(), optim.make(config().optim, training.STEPS, objective().freeze)
  steps, state = training.our_steps(
    objective(),
    config(),
    start(),
    lambda step: tuned_tasks.rows(test_finetuning.CASES[CASE], step),
    STEPS,
    optimizer,
  )
  losses = np.array([metrics['loss'] for metrics in steps])

  def loss(step):
    loss = test_finetuning.their_output(theirs, CASE, step)[1]
    return loss, loss.item()

  named = dict(theirs.named_parameters())
  errors = np.abs(losses / training.their_losses(named, loss, config().optim, STEPS) - 1)
  print(f'losses, from {losses[0]:.3f} to {losses[-5:].mean():.3f}, differ by {errors.max():.1e}')
  assert losses[-5:].mean() < 0.9 * losses[:5].mean()  # it learns
  assert errors.max() < LOSSES
  # Merged here and there, and no longer anything but a model of that class.
  params = objective().encoder_params(state.params) | {finetuning.HEAD: state.params['task']}
  ours = test_finetuning.our_scores(CASE, params, STEPS)
  given = test_finetuning.their_output(theirs.merge_and_unload(), CASE, STEPS)[0]
  error = max(np.abs(one - np.asarray(other)).max() for one, other in zip(ours, given, strict=True))
  print(f'merged logits differ by {error:.1e} at most')
  assert error < test_finetuning.LOGITS
