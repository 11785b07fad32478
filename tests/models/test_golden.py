"""Every variant gives what the classes of `transformers` gave with the same weights, as
tests/golden holds it.

Made in float64 by tests/parity/test_families.py, which compares with them itself.
"""

import numpy as np
import pytest

from tests.models import variants

FLOAT32, GRADIENTS = 5e-5, 1e-4  # as in test_families.py
# One of each family.
QUICK = (
  'bert',
  'distilbert_untied',
  'electra_wide',
  'deberta',
  'deberta_v2',
  'deberta_v3_own',
  'modernbert',
)
EVERY = pytest.mark.parametrize(
  'variant',
  [
    each if each in QUICK else pytest.param(each, marks=pytest.mark.slow)
    for each in variants.VARIANTS
  ],
)
MESSAGE = (
  '{0} differs from what transformers gave by {1:.1e}. `make parity` compares with transformers '
  'itself: where '
  'its tests of {0} fail too, the model is wrong; where only those of golden files do, '
  '`make parity REGENERATE=1` writes them again'
)


def golden(variant):
  """Returns (hidden_NTD, logits_PV, {name: gradient}) of transformers."""
  with np.load(variants.GOLDEN / f'{variant}.npz') as file:
    gradients = {
      name.removeprefix('gradient/'): file[name] for name in file if name.startswith('gradient/')
    }
    return file['hidden_NTD'], file['logits_PV'], gradients


def assert_near(variant, error, tolerance):
  assert error < tolerance, MESSAGE.format(variant, error)


def assert_alike(variant, ours, tolerance):
  theirs = golden(variant)[:2]
  assert [x.shape for x in ours] == [x.shape for x in theirs]
  assert_near(variant, np.max([np.abs(a - b).max() for a, b in zip(ours, theirs)]), tolerance)


@EVERY
def test_packed_documents_and_their_gradients_are_those_of_transformers(variant):
  *ours, gradients = variants.gradients(variant)
  assert_alike(variant, ours, FLOAT32)
  assert_near(
    variant, max(variants.gradient_errors(gradients, golden(variant)[2]).values()), GRADIENTS
  )


@EVERY
def test_padded_documents_are_those_of_transformers_in_float64(variant):
  # Angles of rotary positions are float32 in both, and their cosines depend on the machine.
  assert_alike(
    variant,
    variants.outputs(variant, 'padded', 'float64'),
    1e-5 if variant == 'modernbert' else 1e-9,
  )


def test_there_is_a_golden_file_for_every_variant():
  assert {path.stem for path in variants.GOLDEN.glob('*.npz')} == set(variants.VARIANTS)
