"""A small invented corpus and the settings that suit it."""

import random

from mlm_jax import config
from mlm_jax.data import clean
from mlm_jax.data import sources


def sentences(n, seed=0):
  """Returns n different sentences over some 400 invented words, frequent ones often."""
  draw = random.Random(seed)
  syllables = [a + b for a in 'bdfgklmnprst' for b in 'aeiou']
  words = [''.join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(400)]
  weights = [1 / (i + 1) for i in range(400)]
  return [' '.join(draw.choices(words, weights, k=draw.randint(3, 60))).capitalize() + '.'
          for _ in range(n)]


def settings(**changes):
  """Returns a config's data group for tiny tests."""
  c = config.base()
  c.data.update(document='lines', vocab_size=400, row_length=32, max_segments=4, held_out=0.1)
  c.data.update(changes)
  config.check(c)
  return c.data


def read(source, **changes):
  """Returns (texts, clean.Counts, sources.Skipped) of a source's documents, as yet uncleaned."""
  data = settings(**{'source': source, 'document': 'file', **changes})
  counts, skipped = clean.Counts(), sources.Skipped()
  one, = sources.parse(data)
  assert one.inputs()
  return list(one.documents(data, counts, skipped)), counts, skipped
