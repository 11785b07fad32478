"""A small invented corpus and the settings that suit it."""

import itertools
import random

import jax

from mlm_jax import __main__
from mlm_jax import config
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import sources
from mlm_jax.masking.units import word


def sentences(n, seed=0):
  """Returns n different sentences over some 400 invented words, frequent ones often."""
  draw = random.Random(seed)
  syllables = [a + b for a in 'bdfgklmnprst' for b in 'aeiou']
  words = [''.join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(400)]
  weights = [1 / (i + 1) for i in range(400)]
  return [
    ' '.join(draw.choices(words, weights, k=draw.randint(3, 60))).capitalize() + '.'
    for _ in range(n)
  ]


def settings(**changes):
  """Returns a config's data group for tiny tests."""
  c = config.base()
  c.data.update(
    document='lines', vocab_size=400, row_length=32, max_segments=4, validation_fraction=0.1
  )
  c.data.update(changes)
  config.check(c)
  return c.data


def read(source, **changes):
  """Returns (texts, clean.Counts, sources.Skipped) of a source's documents, as yet uncleaned."""
  data = settings(**{'source': source, 'document': 'file', **changes})
  counts, skipped = clean.Counts(), sources.Skipped()
  (one,) = sources.parse(data)
  assert one.inputs()
  return list(one.documents(data, counts, skipped)), counts, skipped


def odd_texts(n, data):
  """Returns n cleaned texts of odd characters, and some sentences."""
  draw = random.Random(2)
  letters = 'ab .,()[]MASK日本 éไทย😀\x07\u2581\n\t\xa0'
  texts = (''.join(draw.choices(letters, k=draw.randint(0, 40))) for _ in range(n))
  return [clean.normalize(text, data) for text in texts] + sentences(30, seed=5)


def words_of(tokenizer, text):
  """Returns the words of a text, its pieces joined by starts and ends alone."""
  words, after_end = [], True
  for i in tokenizer.encode(text):
    if tokenizer.starts_V[i] or after_end:
      words.append([])
    words[-1].append(i)
    after_end = tokenizer.ends_V[i]
  return [tokenizer.decode(word).strip() for word in words]


def stories(n, seed=0):
  """Returns n documents of one to a dozen short sentences, some of which are quoted."""
  draw = random.Random(seed)
  words = iter(' '.join(sentences(12 * n, seed)).lower().replace('.', '').split())

  def sentence():
    text = ' '.join(itertools.islice(words, draw.randint(1, 6))).capitalize() + draw.choice('.!?')
    return f'"{text}"' if draw.random() < 0.2 else text

  return [' '.join(sentence() for _ in range(draw.randint(1, 12))) for _ in range(n)]


@jax.jit
def word_units(table, batch):
  """Returns units_BL: the words of rows as masking takes them."""
  return word.Word().units(table, batch)


def command(capsys, *argv):
  """Runs mlm-jax in this process; returns (exit status, stdout, stderr)."""
  status = 0
  try:
    __main__.main([str(each) for each in argv])
  except SystemExit as end:
    status = end.code
  return (status, *capsys.readouterr())
