"""Repositories of many layouts give the rows of datasets.load_dataset, in its order.

REGENERATE=1 writes some of them, with those rows, for the ordinary suite.
"""

import json
import os
import pathlib
import random

import pytest

from mlm_jax import config
from tests.data import invented
from tests.data.corpus.formats import layouts

datasets = pytest.importorskip('datasets')

# The library warns of much.
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings('default')]

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'huggingface_layouts.json'


def theirs(folder, name, split, cache):
  """Returns the rows, or the text of the error."""
  try:
    rows = datasets.load_dataset(str(folder), name or None, split=split, cache_dir=str(cache))
  except Exception as error:  # whatever the library and its readers raise
    return f'{type(error).__name__}: {error}'
  return rows['text'][:] if 'text' in rows.column_names else f'columns {rows.column_names}'


def ours(folder, name, split):
  try:
    return invented.read(f'hf:{folder}{"/" + name if name else ""}:{split}')[0]
  except config.UserError as error:
    assert '\n' not in str(error)
    return f'UserError: {error}'


def compared(folder, layout, draw):
  """Returns [(config, split, rows)] of what the library reads, after the comparison."""
  layouts.build(folder, layout)
  read = []
  for name in ('', *layout['names']):
    for split in ('train', draw.choice(('test', 'validation', 'other'))):
      right = theirs(folder, name, split, folder.parent / 'cache')
      # What it refuses may be read here: a config of another format than the first one's.
      if isinstance(right, list):
        assert ours(folder, name, split) == right, (folder, name, split)
        read.append((name, split, right))
  return read


@pytest.mark.parametrize('seed', range(20))
def test_random_layouts_give_the_rows_of_load_dataset(tmp_path, seed, monkeypatch):
  monkeypatch.setenv('HF_HUB_OFFLINE', '1')
  datasets.disable_progress_bars()
  draw = random.Random(seed)
  drawn = [layouts.draw_layout(draw) for _ in range(10)]
  read = [compared(tmp_path / f'repository {i}', each, draw) for i, each in enumerate(drawn)]
  assert any(read)
  if os.environ.get('REGENERATE') and seed < 8:
    golden = json.loads(GOLDEN.read_text()) if seed else []
    golden += [{**each, 'read': rows} for each, rows in zip(drawn, read) if rows]
    GOLDEN.write_text(json.dumps(golden, indent=1) + '\n')
