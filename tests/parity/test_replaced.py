"""Replaced-token detection beside the ELECTRA of `transformers`: the same samples give the same
training.

What is put in is fixed by the uniform numbers alone: with the generator's own samples, one
that rounding changes would make another training of it.
"""

import functools
from typing import Any

import numpy as np
import pytest
import torch

from mlm_jax import objectives
from mlm_jax.core import rng
from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import names
from mlm_jax.objectives import replaced_token
from tests.models import variants
from tests.parity import peers
from tests.parity import training
from tests.parity.training import ROWS
from tests.parity.training import SEP
from tests.parity.training import STEPS
from tests.parity.training import VOCAB

pytestmark = pytest.mark.parity

PAD = 0
GRADIENTS, LOSSES = 1e-4, 1e-5  # as in test_training.py


@functools.cache
def config():
  return training.config(
    model__family='electra',
    model__embedding_width=24,
    objective__name='rtd',
    objective__generator_width=0.5,
  )


@functools.cache
def objective() -> Any:
  return objectives.make(config(), VOCAB, PAD, SEP, ROWS)


@functools.cache
def start():
  return variants.draw(objective().init, objective().discriminator.architecture)


@pytest.fixture(autouse=True)
def fixed_samples(monkeypatch):
  monkeypatch.setattr(replaced_token, 'sample', lambda logits_PV, uniform_P, _: sample(uniform_P))


def sample(uniform):
  """Returns frequent tokens, so that some are the original."""
  return 5 + (uniform * 40).astype(np.int32)


def rules():
  """Returns the Rules of the discriminator, and of the generator without what it shares with the
  discriminator.
  """
  encoder = lambda model: kinds.rules('electra', model.architecture)
  without = lambda rules, part: [rule for rule in rules if not rule.ours[0].startswith(part)]
  return (
    without(encoder(objective().discriminator), 'head/') + names.discriminator(),
    without(encoder(objective().generator.model), 'embeddings/'),
  )


class Theirs(torch.nn.Module):
  """Generator and discriminator, and what both make of rows."""

  def __init__(self):
    super().__init__()
    ours, params = objective(), start()
    self.discriminator = peers.make(
      config().model,
      PAD,
      ours.encoder_params(params),
      ours.discriminator.architecture,
      'PreTraining',
      rules()[0],
    )
    self.generator = peers.make(
      objectives.generator_config(config()),
      PAD,
      ours.mlm_params(params),
      ours.generator.model.architecture,
    )
    self.generator.electra.embeddings = self.discriminator.electra.embeddings
    self.generator.generator_lm_head.weight = (
      self.discriminator.electra.embeddings.word_embeddings.weight
    )
    self.discriminator_weight, self.hits_are_original, self.seen = (
      50,
      True,
      lambda tokens_BL: tokens_BL != PAD,
    )

  def forward(self, batch):
    """Returns (what is differentiated, [the generator's loss, the discriminator's])."""
    inputs: Any = objective().prepare(training.policy(), {}, batch, rng.root_key(0), 0.0)
    index_P, used_P = (
      np.asarray(inputs.masked.index_GP[0]),
      np.asarray(inputs.masked.action_GP[0]) > 0,
    )
    tokens_BL = np.array(batch.tokens_BL, np.int64)
    sampled_P = sample(np.asarray(inputs.uniform_GP[0]))
    tokens_BL.reshape(-1)[index_P[used_P]] = sampled_P[used_P]
    inputs_BL, labels_BL = training.masks(batch)
    replaced_BL = (
      torch.tensor(tokens_BL != batch.tokens_BL) if self.hits_are_original else labels_BL >= 0
    )
    seen_BL = torch.tensor(batch.tokens_BL != PAD)
    masked = self.generator(
      input_ids=inputs_BL, attention_mask=seen_BL.long(), labels=labels_BL
    ).loss
    detected = self.discriminator(
      input_ids=torch.tensor(tokens_BL), attention_mask=seen_BL.long(), labels=replaced_BL.long()
    ).loss
    return masked + self.discriminator_weight * detected, [masked.item(), detected.item()]

  def losses(self):
    """Returns [steps, 2] losses of training."""
    return training.their_losses(
      dict(self.named_parameters()),
      lambda step: self.forward(training.rows(PAD, step)),
      config().optim,
    )


@functools.cache
def our_losses():
  steps, _ = training.our_steps(
    objective(), config(), start(), lambda step: training.rows(PAD, step)
  )
  put_in = np.mean(
    [
      metrics['replaced_fraction'] / metrics['predicted'] * (1 - metrics['padding'])
      for metrics in steps
    ]
  )
  assert 0.9 < put_in < 0.99  # some samples are the original
  return np.array([[metrics['loss'], metrics['rtd_loss']] for metrics in steps])


def test_the_first_gradient_of_every_parameter_agrees():
  theirs, batch = Theirs(), training.rows(PAD, 0)
  theirs(batch)[0].backward()
  _, gradient = training.our_gradient(objective(), config(), start(), batch)
  of_discriminator, of_generator = rules()
  a, b = objective().discriminator.architecture, objective().generator.model.architecture
  ours = {
    f'discriminator.{name}': x for name, x in names.to_theirs(of_discriminator, gradient, a).items()
  } | {
    f'generator.{name}': x
    for name, x in names.to_theirs(of_generator, gradient['generator'], b).items()
  }
  found = peers.gradients(theirs)
  errors = variants.gradient_errors(ours, found)
  worst = max(errors, key=errors.get)
  print(f'electra: first gradients differ by {errors[worst]:.1e} at most ({worst})')
  assert errors[worst] < GRADIENTS


def test_fifty_steps_of_training_agree_at_every_step():
  ours, errors = our_losses(), np.abs(our_losses() / Theirs().losses() - 1)
  for name, losses, error in zip(('generator', 'discriminator'), ours.T, errors.T):
    print(
      f'{name}: losses, from {losses[0]:.3f} to {losses[-1]:.3f}, differ by {error.max():.1e} at '
      'most'
    )
    assert losses[-1] < 0.95 * losses[0]
  assert len(errors) == STEPS and errors.max() < LOSSES


def test_names_of_the_discriminator_lose_no_bit_there_and_back():
  a, theirs = objective().discriminator.architecture, peers.state(Theirs().discriminator)
  back = names.to_theirs(rules()[0], names.to_ours(rules()[0], theirs, a), a)
  assert back.keys() == theirs.keys() and all(
    back[name].tobytes() == theirs[name].tobytes() for name in back
  )


def _other_weight(theirs):
  theirs.discriminator_weight = 49


def _hits_are_replaced(theirs):
  theirs.hits_are_original = False


def _untied(theirs):
  own = torch.nn.Parameter(theirs.generator.generator_lm_head.weight.detach().clone())
  theirs.generator.generator_lm_head.weight = own


@pytest.mark.parametrize('plant', (_other_weight, _hits_are_replaced, _untied))
def test_losses_reveal_another_training(plant):
  theirs = Theirs()
  plant(theirs)
  assert np.abs(our_losses() / theirs.losses() - 1).max() > LOSSES
