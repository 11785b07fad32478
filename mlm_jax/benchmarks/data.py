"""How fast each stage of preparation and loading is, one after another, and the memory it takes."""

import argparse
from collections.abc import Callable
import itertools
import pathlib
import tempfile
import time
from typing import Any

import numpy as np

from mlm_jax import config
from mlm_jax.benchmarks import clock
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import pack
from mlm_jax.data import prepare
from mlm_jax.data import rows as rows_lib
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import duplicates
from mlm_jax.data.corpus import sources as sources_lib

_LOAD_SECONDS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('--source', default='pydocs', help='text:GLOB or pydocs')
  parser.add_argument('--document', default='blocks', help='how text is cut: file, lines or blocks')
  parser.add_argument(
    '--characters', type=int, default=50_000_000, help='how much of it is measured at most'
  )
  parser.add_argument('--batch-size', type=int, default=512, help='rows, for loading')


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Prints MB/s (of UTF-8) and tokens/s of each stage, and the peak resident memory.

  Returns the numbers. The peak of the preparation is printed separately: the stages after it hold
  all texts in memory.
  """
  c = config.base()
  c.data.update(source=args.source, document=args.document)
  config.check(c)
  data = c.data
  with tempfile.TemporaryDirectory() as folder:
    directory = pathlib.Path(folder) / 'data'
    seconds, prepared = _timed(lambda: prepare.prepare(data, directory, log=print))
    found: dict[str, Any] = {'prepared': {'seconds': seconds, 'peak MB': clock.peak_memory()}}
    print(
      f'prepared in {seconds:.1f} s, tokenizer training included; '
      f'peak resident memory {clock.peak_memory():.0f} MB\n'
    )
    print(f'{"stage":14}{"seconds":>9}{"MB/s":>9}{"Mtok/s":>9}')
    found |= _stages(data, prepared, args)
  print(f'peak resident memory {clock.peak_memory():.0f} MB, with all texts held')
  return found


def _stages(data: Any, prepared: Any, args: argparse.Namespace) -> dict[str, dict[str, float]]:
  # MB are of the raw text in every line, so that the stages can be compared.
  seconds, texts = _timed(lambda: _read(data, args.characters))
  size = sum(len(text.encode()) for text in texts)
  lines = [('read', seconds)]

  counts = clean.Counts()
  # Every stage gets what the one before gave, all of it at once.
  seconds, cleaned = _timed(lambda: [clean.document(text, data, counts) for text in texts])
  lines.append(('clean', seconds))

  seen = duplicates.Seen()
  seconds, kept = _timed(
    lambda: [text for text in cleaned if text and seen.add(duplicates.digest(text)[0])]
  )
  lines.append(('deduplicate', seconds))

  seconds, ids = _timed(
    lambda: [
      each for texts in rows_lib.batched(kept) for each in prepared.tokenizer.encode_batch(texts)
    ]
  )
  lines.append(('tokenize', seconds))

  lengths = np.array([len(each) for each in ids])
  pieces_T = np.concatenate(ids)
  seconds, _ = _timed(lambda: _pack(lengths, pieces_T, data, prepared))
  lines.append(('pack', seconds))
  found = {name: _speed(name, seconds, size, len(pieces_T)) for name, seconds in lines}
  return found | {'load': _load(prepared, args.batch_size, size / len(pieces_T))}


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
  # Wall time: reading waits for the disk, and the tokenizer has threads of its own.
  begin = time.perf_counter()
  result = function()
  return time.perf_counter() - begin, result


def _speed(name: str, seconds: float, size: float, tokens: float) -> dict[str, float]:
  """Prints the line of a stage and returns its numbers; size in bytes."""
  found = {'seconds': seconds, 'MB/s': size / seconds / 1e6, 'Mtok/s': tokens / seconds / 1e6}
  print(f'{name:14}{seconds:9.2f}{found["MB/s"]:9.1f}{found["Mtok/s"]:9.2f}', flush=True)
  return found


def _read(data: Any, characters: int) -> list[str]:
  """Returns raw documents of about this many characters together."""
  counts, skipped = clean.Counts(), sources_lib.Skipped()
  documents = itertools.chain.from_iterable(
    source.documents(data, counts, skipped) for source in sources_lib.parse(data)
  )
  texts, total = [], 0
  for text in documents:
    texts.append(text)
    total += len(text)
    if total >= characters:
      break
  return texts


def _pack(lengths: np.ndarray, pieces_T: np.ndarray, data: Any, prepared: Any) -> None:
  plan = pack.best_fit(lengths, data.row_length, data.max_segments)
  # Arrays of the dtypes that preparation has chosen.
  rows = prepared.train[0]
  tokenizer = prepared.tokenizer
  special = tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id
  begins = np.cumsum(lengths) - lengths
  for begin in range(0, plan.rows, 8192):  # the blocks of `rows.write`
    part = pack.Part(plan, begin, begin + 8192, begins, data.row_length)
    part.tokens(pieces_T, special, rows.tokens_RL.dtype)
    part.starts(data.max_segments, rows.starts_RS.dtype)


def _load(prepared: Any, batch_size: int, bytes_a_token: float) -> dict[str, float]:
  """Prints and returns the speed of batches from the store to host arrays."""
  loader = loader_lib.Loader(
    prepared, 'train', min(batch_size, sum(map(len, prepared.train))), seed=0
  )
  tokens, step = 0, 0
  begin = time.perf_counter()
  while time.perf_counter() - begin < _LOAD_SECONDS:
    tokens += loader.batch(step).tokens_BL.size
    step += 1
  return _speed('load', time.perf_counter() - begin, tokens * bytes_a_token, tokens)
