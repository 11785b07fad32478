"""Every variant of every family against `transformers`: the same weights and documents give the
same numbers.

The golden files by which `make test` compares without PyTorch are made here, and compared with
what `transformers` gives now: `make parity REGENERATE=1` writes them.
"""

import functools
import os

import numpy as np
import pytest
import torch
from transformers.models.deberta_v2 import modeling_deberta_v2

from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import names
from mlm_jax.models import disentangled
from tests.models import variants
from tests.parity import peers

pytestmark = pytest.mark.parity

FLOAT32, FLOAT64 = 5e-5, 1e-9  # absolute, of numbers around 1
GRADIENTS = 1e-4  # relative to the largest of a parameter
EVERY = pytest.mark.parametrize('variant', variants.VARIANTS)


def their_model(variant, dtype=torch.float32):
  ours = variants.model(variant)
  return peers.make(
    variants.config(variant),
    variants.pad_id(variant),
    variants.weights(ours),
    ours.architecture,
    dtype=dtype,
  )


def their_outputs(theirs, variant, layout):
  """Returns (loss, hidden_NTD, logits_PV) as tensors; see variants.outputs."""
  pad, parts = variants.pad_id(variant), []
  for tokens_BL, types_BL, targets_BL, _ in variants.rows(layout, pad):
    tokens_BL, targets_BL = torch.tensor(tokens_BL), torch.tensor(targets_BL)
    seen_BL, chosen_BL = tokens_BL != pad, targets_BL >= 0
    given = {'attention_mask': seen_BL.long()} if layout == 'padded' else {}
    if variants.model(variant).architecture.types:
      given['token_type_ids'] = torch.tensor(types_BL)
    out = theirs(
      input_ids=tokens_BL,
      labels=torch.where(chosen_BL, targets_BL, -100),
      output_hidden_states=True,
      **given,
    )
    parts.append(
      (out.loss, torch.stack([x[seen_BL] for x in out.hidden_states[1:]]), out.logits[chosen_BL])
    )
  losses, hidden, logits = zip(*parts)
  return torch.stack(losses).sum(), torch.cat(hidden, dim=1), torch.cat(logits)


@functools.cache
def their_numbers(variant, layout, dtype=torch.float32):
  """Returns (hidden_NTD, logits_PV) as they compute it."""
  with torch.no_grad():
    return [x.numpy() for x in their_outputs(their_model(variant, dtype), variant, layout)[1:]]


def their_gradients(variant, dtype=torch.float32):
  """Returns {name: gradient} of the mean masked loss of the two documents, of what ours trains."""
  theirs = their_model(variant, dtype)
  their_outputs(theirs, variant, 'padded')[0].backward()
  return peers.gradients(theirs)


@functools.cache
def ours_packed(variant):
  return variants.gradients(variant)


def error(ours, theirs):
  """Returns the largest difference of (hidden_NTD, logits_PV); NaN where there is one."""
  assert [x.shape for x in ours] == [x.shape for x in theirs]
  return np.max([np.abs(a - b).max() for a, b in zip(ours, theirs)])


def assert_agree(variant, ours, theirs, layout, tolerance):
  worst = error(ours, theirs)
  print(f'{variant}: hidden states and logits of documents {layout} differ by {worst:.1e} at most')
  assert np.abs(theirs[1]).max() > 1  # logits that say nothing would agree too
  assert worst < tolerance


@EVERY
@pytest.mark.parametrize('layout', ('alone', 'padded'))
def test_all_hidden_states_and_logits_agree(variant, layout):
  assert_agree(
    variant, variants.outputs(variant, layout), their_numbers(variant, layout), layout, FLOAT32
  )


@EVERY
def test_packed_documents_are_what_they_are_alone(variant):
  assert_agree(
    variant, ours_packed(variant)[:2], their_numbers(variant, 'alone'), 'packed', FLOAT32
  )


@EVERY
def test_all_agrees_to_more_digits_in_float64(variant, monkeypatch):
  """Where theirs computes in float32 all the same, it is kept from that: see peers.in_float64."""
  with peers.in_float64(monkeypatch):
    theirs = their_numbers.__wrapped__(variant, 'padded', torch.float64)
  assert_agree(variant, variants.outputs(variant, 'padded', 'float64'), theirs, 'padded', FLOAT64)


@pytest.mark.parametrize(
  'variant, least, most',
  (
    ('deberta', 1e-7, 1e-5),  # scale and norms in float32
    ('deberta_v3', 1e-9, 1e-6),  # scale in float32
    ('modernbert', 1e-7, 1e-5),
  ),
)  # softmax and angles in float32
def test_what_they_compute_in_float32_is_known(variant, least, most):
  """When this fails, transformers has fixed it: peers.in_float64 can go, in that part."""
  ours = variants.outputs(variant, 'alone', 'float64')
  assert least < error(ours, their_numbers(variant, 'alone', torch.float64)) < most


def test_modernbert_of_transformers_knows_no_padding_in_float64():
  nan_P = np.isnan(their_numbers('modernbert', 'padded', torch.float64)[1]).any(axis=1)
  whole = variants.LENGTHS[0] // 5  # masks of the document without padding
  assert not nan_P[:whole].any() and nan_P[whole:].all()


@EVERY
def test_the_gradient_of_every_parameter_agrees(variant):
  errors = variants.gradient_errors(ours_packed(variant)[2], their_gradients(variant))
  worst = max(errors, key=errors.get)
  print(f'{variant}: gradients differ by {errors[worst]:.1e} of the largest of {worst}')
  assert errors[worst] < GRADIENTS


@EVERY
def test_names_lose_no_bit_there_and_back(variant):
  a = variants.model(variant).architecture
  rules = kinds.rules(variants.config(variant).family, a)
  theirs = peers.state(their_model(variant))
  back = names.to_theirs(rules, names.to_ours(rules, theirs, a), a)
  assert all(
    back[name].tobytes() == theirs[name].tobytes() for name in back
  )  # all there are: peers.make looks


@pytest.mark.parametrize(
  'buckets, farthest', ((256, 512), (16, 72), (32, 129), (128, 513), (4, 5), (9, 50))
)
def test_every_distance_has_the_row_that_it_has_there(buckets, farthest):
  distance_X = np.arange(-2 * farthest, 2 * farthest + 1)
  theirs_X = modeling_deberta_v2.make_log_bucket_position(
    torch.tensor(distance_X), buckets, farthest
  ).long()
  theirs_X = torch.clamp(theirs_X + buckets, 0, 2 * buckets - 1)
  np.testing.assert_array_equal(
    disentangled.row_of_distance(distance_X, buckets, (buckets, farthest)), theirs_X
  )


@EVERY
def test_golden_files_hold_what_transformers_gives(variant, monkeypatch):
  with peers.in_float64(monkeypatch):
    hidden_NTD, logits_PV = their_numbers.__wrapped__(variant, 'alone', torch.float64)
    gradients = their_gradients(variant, torch.float64)
  now = {'hidden_NTD': hidden_NTD, 'logits_PV': logits_PV} | {
    f'gradient/{name}': x.astype(np.float32) for name, x in gradients.items()
  }
  path = variants.GOLDEN / f'{variant}.npz'
  if os.environ.get('REGENERATE'):
    np.savez_compressed(path, **now)
  with np.load(path) as golden:
    alike = golden.keys() == now.keys() and all(
      # A bias of keys has no gradient, since softmax ignores what all scores share: what is left of
      # it is rounding, some 1e-18, and differs from one machine to the next.
      np.allclose(golden[name], x, rtol=0, atol=1e-6 * max(np.abs(x).max(), 1e-9))
      for name, x in now.items()
    )
  assert alike, (
    f'{path} is not what transformers gives now: where the other tests here pass, '
    '`make parity REGENERATE=1` writes it again'
  )
