"""Lists of settings, and what can be made of them.

Everything here takes and gives plain lists of {dotted key: value}, one dict a run:

  product(param('masking.rate', [0.15, 0.3]), seeds(3))                          6 runs
  chain(param('masking', ['bert', 'spanbert']), param('masking.unit', ['word'])) 3 runs
  zip(param('batch_size', [32, 64]), param('optim.learning_rate', [1e-3, 2e-3])) 2 runs

A sweep may thus also be written by hand, or with a list comprehension. Numbers of NumPy become
Python's: param('masking.rate', np.linspace(.1, .5, 5)).
"""

import builtins
import itertools

from mlm_jax.config import UserError


def param(key, values):
  """Returns one dict for each value of a setting; as `masking` the names of presets are values."""
  if not isinstance(key, str):
    raise UserError(f'param({key!r}, ...): the key must be text, such as masking.rate')
  values = _listed(values, f'param({key!r}, {values!r})')
  return [{key: value} for value in values]


def seeds(which):
  """Returns one dict for each seed: of a number n the seeds 0 to n - 1, else of what is listed."""
  which = _plain(which)
  which = range(which) if type(which) is int else which
  return [{'seed': seed} for seed in _listed(which, f'seeds({which!r})')]


def product(*lists):
  """Returns every choice of one dict from each list, joined; the last list turns fastest."""
  return [_joined(dicts, 'product') for dicts in itertools.product(*lists)]


def zip(*lists):
  """Returns the first dicts of all lists joined, then the second ones, and so on."""
  lengths = [len(each) for each in lists]
  if len(set(lengths)) > 1:
    raise UserError(f'zip: the lists must be of one length, not {", ".join(map(str, lengths))}')
  return [_joined(dicts, 'zip') for dicts in builtins.zip(*lists)]


def chain(*lists):
  """Returns the dicts of all lists one after another."""
  return list(itertools.chain(*lists))


def _listed(values, what):
  """Returns values as a list; text and single values are mistakes."""
  try:
    listed = [] if isinstance(values, str) else list(map(_plain, values))
  except TypeError:
    listed = []
  if not listed:
    raise UserError(f'{what}: needs a list of values')
  return listed


def _plain(value):
  """Returns a number or an array of NumPy as Python's own number or lists, anything else as it
  is.
  """
  return value.tolist() if hasattr(value, 'tolist') else value


def _joined(dicts, what):
  """Returns dicts as one; UserError where two of them have a key in common."""
  joined = {}
  for each in dicts:
    for key, value in each.items():
      if key in joined:
        raise UserError(f'{what}: config.{key} is set twice, to {joined[key]!r} and {value!r}')
      joined[key] = value
  return joined
