"""Any command with any arguments, recipes and corpora ends with a status and at most one line."""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import pathlib
import shutil
import tarfile
import zipfile

from hypothesis import given
from hypothesis import strategies as st
import pyarrow as pa
import pyarrow.parquet
import pytest
import zstandard

from mlm_jax import cli
from mlm_jax import config as config_lib
from mlm_jax.data.examples import classification
from tests import shared_runs
from tests.bad_input import damage
from tests.bad_input import hostile

pytestmark = pytest.mark.slow

COMMANDS = (
  'config',
  'prepare',
  'train',
  'adapt',
  'finetune',
  'predict',
  'embed',
  'evaluate',
  'fill',
  'mask',
  'import',
  'export',
  'report',
  'sweep',
  'plan',
)
FLAGS = (
  'config', 'workdir', 'data', 'step', 'text', 'policy', 'row', 'visits', 'from', 'to', 'part',
  'out', 'jobs', 'plan', 'verify', 'top-k', 'seed', 'baselines', 'nonsense', 'launcher',
  'input', 'output', 'second-text', 'pooling',
  'prompt', 'too-long', 'suite', 'every', 'topology', 'documents', 'price',
)  # fmt: skip
KEYS = sorted(config_lib.flatten(config_lib.base()))
ADAPT_KEYS = sorted(key for key in config_lib.flatten(config_lib.adaptation()) if key not in KEYS)
TASK_KEYS = sorted(config_lib.flatten(config_lib.finetuning()))


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  return tmp_path_factory.mktemp('place')


@hostile.drill(150)
@given(
  command=st.sampled_from(COMMANDS),
  flags=st.lists(st.tuples(st.sampled_from(FLAGS), st.none() | hostile.odd_texts), max_size=3),
  words=st.lists(hostile.odd_texts, max_size=2),
)
def test_flags(place, command, flags, words):
  # Empty, so that no argument names something that is there; a demo would really train.
  folder = pathlib.Path(place) / 'empty'
  folder.mkdir(exist_ok=True)
  given_flags = [f'--{name}' + ('' if text is None else f'={text}') for name, text in flags]
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    hostile.call([command, *given_flags, *words])
    assert not hostile.names(folder)


@hostile.drill(150)
@given(
  settings=st.lists(st.tuples(st.sampled_from(KEYS), hostile.odd_texts), min_size=1, max_size=2)
)
def test_settings(place, tmp_path_factory, settings):
  """By `prepare`, which checks all of them and compiles nothing."""
  text = shared_runs.corpus(tmp_path_factory)
  recipe, workdir = place / 'recipe.py', place / 'run'
  recipe.write_text(
    'from tests import toys\n'
    f'def get_config(variant=None):\n  return toys.training_config({str(text)!r})\n'
  )
  given_settings = [f'--config.{key}={value}' for key, value in settings]
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(place)
    status = hostile.call(
      ['prepare', f'--config={recipe}', f'--workdir={workdir}', *given_settings]
    )
  if status:
    assert not workdir.exists() or not hostile.names(workdir)
  shutil.rmtree(workdir, ignore_errors=True)


@hostile.drill(100)
@given(
  settings=st.lists(
    st.tuples(st.sampled_from(TASK_KEYS), hostile.odd_texts), min_size=1, max_size=2
  )
)
def test_settings_of_fine_tuning(place, settings):
  """As they are read; without a run to start from nothing is trained."""
  given_settings = [f'--config.{key}={value}' for key, value in settings]
  workdir = place / 'finetuned'
  status = hostile.call(
    ['finetune', '--config=finetune/classification', f'--workdir={workdir}', *given_settings]
  )
  assert status == 2 and not workdir.exists()


@hostile.drill(50)
@given(
  settings=st.lists(
    st.tuples(st.sampled_from(ADAPT_KEYS), hostile.odd_texts), min_size=1, max_size=2
  )
)
def test_settings_of_adaptation(place, settings):
  """As they are read; without a run to start from nothing is trained."""
  given_settings = [f'--config.{key}={value}' for key, value in settings]
  workdir = place / 'adapted'
  status = hostile.call(['adapt', f'--workdir={workdir}', *given_settings])
  assert status == 2 and not workdir.exists()


_RECORDS = {
  'csv': b'text,label\n"a, b",1\nc d,0\n',
  'tsv': b'text\tlabel\na b\t1\nc d\t0\n',
  'jsonl': b'{"text": "a b", "label": 1}\n{"text": ["c", "d"], "label": [0, 1]}\n',
}


@hostile.drill(150)
@given(
  kind=st.sampled_from(sorted(_RECORDS)),
  change=damage.changes,
  share=st.floats(0, 0.999),
  multilabel=st.booleans(),
)
def test_damaged_examples(place, kind, change, share, multilabel):
  """They are read, or refused in a line that names the file."""
  folder = place / 'examples'
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir()
  path = folder / f'examples.{kind}'
  path.write_bytes(_RECORDS[kind])
  change(path, share)
  task = config_lib.overlay(config_lib.finetuning(), {'task.multilabel': multilabel}).task
  with hostile.bounded(), contextlib.suppress(config_lib.UserError):
    found = classification.read(str(path), task)
    assert all(text.strip() for each in found for text in each.texts)
  if folder.is_file():
    folder.unlink()


RECIPES = (
  '', 'get_config = 3', 'def get_config(:', 'raise KeyError(3)', 'import nothing_like_it',
  'def get_config(variant=None): return get_config(variant)', 'import sys; sys.exit(0)',
  'def get_config(): return 3', 'def get_config(variant=None): return None',
  'def get_config(variant=None): return {}', 'def get_config(variant=None): 1 / 0',
  'def get_config(variant=None): raise SystemExit(5)', '\0', '\tx', 'x = "\udcff"',
  'def get_sweep(): return 3', 'def get_sweep(): return None', 'def get_sweep(): 1 / 0',
  'get_sweep = get_config = print', 'def get_sweep(): raise SystemExit(0)',
  'from mlm_jax import sweeps\ndef get_sweep(): return sweeps.Sweep()',
  'from mlm_jax import sweeps, config\n'
  'def get_sweep(): return sweeps.Sweep(question=3, base=4, runs=5, baseline=6)',
  'from mlm_jax import sweeps, config\n'
  'def get_sweep(): return sweeps.Sweep(question="a", base=config.base(), runs=[3], baseline="b")',
  'from mlm_jax import sweeps, config\n'
  'def get_sweep(): return sweeps.Sweep(question="a", base=config.base(), runs=[{"seed": "x"}], '
  'baseline="b")',
)  # fmt: skip


@hostile.drill(80)
@given(program=st.sampled_from(RECIPES), share=st.floats(0, 1), command=st.integers(0, 2))
def test_recipes_and_sweeps(place, program, share, command):
  """Whole, and cut anywhere."""
  program = program[: len(program) - int(share * share * len(program))]
  folder = place / 'experiment'
  folder.mkdir(exist_ok=True)
  (folder / 'sweep.py').write_bytes(program.encode(errors='surrogateescape'))
  recipe, workdir = folder / 'sweep.py', place / 'run'
  hostile.call(
    (
      ['train', f'--config={recipe}', f'--workdir={workdir}'],
      ['sweep', str(folder), f'--workdir={workdir}', '--plan'],
      ['mask', f'--config={recipe}', '--text=a b c'],
    )[command]
  )
  assert not workdir.exists()


DOCUMENTS = [f'The {word} of the {word} is said to be {number}.' for number, word in enumerate(
  'house tree river stone bread water night morning child garden'.split() * 12)]  # fmt: skip


def _packed(name, content):
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode='w') as tar:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
  return file.getvalue()


def _zipped(name, content):
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(name, content)
  return file.getvalue()


def _parquet():
  file = io.BytesIO()
  pyarrow.parquet.write_table(pa.table({'text': DOCUMENTS}), file)
  return file.getvalue()


def _arrow():
  file = io.BytesIO()
  table = pa.table({'text': DOCUMENTS})
  with pa.ipc.new_stream(file, table.schema) as writer:
    writer.write_table(table)
  return file.getvalue()


TEXT = '\n'.join(DOCUMENTS).encode()
LINES = '\n'.join(json.dumps({'text': each}) for each in DOCUMENTS).encode()
SENTENCES = '\n\n'.join(
  '\n'.join(f'{n}\t{word}\t_\tNOUN\t_\t_\t_\t_\t_\t_' for n, word in enumerate(document.split(), 1))
  for document in DOCUMENTS
).encode()
CORPORA = {
  'a.txt': TEXT,
  'a.jsonl': LINES,
  'a.conllu': SENTENCES,
  'a.csv': ('text\n' + '\n'.join(f'"{each}"' for each in DOCUMENTS)).encode(),
  'a.parquet': _parquet(),
  'a.arrow': _arrow(),
  'a.txt.gz': gzip.compress(TEXT, mtime=0),
  'a.txt.bz2': bz2.compress(TEXT),
  'a.jsonl.xz': lzma.compress(LINES),
  'a.jsonl.zst': zstandard.compress(LINES),
  'a.tar': _packed('a.txt', TEXT),
  'a.xz': lzma.compress(_packed('a.txt', TEXT)),
  'a.zip': _zipped('a.txt', TEXT),
}
SOURCES = ('text', 'jsonl', 'conllu', 'parquet', 'arrow', 'hf')


@hostile.drill(150)
@given(
  name=st.sampled_from(sorted(CORPORA)),
  kind=st.sampled_from(SOURCES),
  change=st.none() | damage.changes,
  share=damage.shares,
)
def test_corpora(place, name, kind, change, share):
  folder = place / damage.COPY
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir()
  (folder / name).write_bytes(CORPORA[name])
  if change:
    change(folder / name, share)
  workdir = place / 'run'
  recipe = place / 'recipe.py'
  recipe.write_text(
    'from tests import toys\n'
    'def get_config(variant=None):\n  return toys.training_config("x", data__document="lines")\n'
  )
  source = f'{kind}:{folder if kind == "hf" else folder / name}'
  status = hostile.call(
    ['prepare', f'--config={recipe}', f'--config.data.source={source}', f'--workdir={workdir}']
  )
  if status:
    assert not workdir.exists() or not hostile.names(workdir)
  shutil.rmtree(workdir, ignore_errors=True)


SIZES = (
  ('masking', 'rows'), ('masking', 'vocabulary'), ('data', 'characters'), ('data', 'batch-size'),
  ('model', 'window'), ('model', 'repetitions'), ('population', 'batch'),
  ('population', 'replicas'), ('step', 'layers'),
  ('step', 'cores'), ('step', 'dropout'), ('step', 'documents'),
)  # fmt: skip


@hostile.drill(60)
@given(
  of=st.sampled_from(SIZES),
  size=st.integers(-(10**40), -1)
  | st.integers(2**31, 10**40)
  | st.sampled_from(['', 'x', 'nan', '-inf', '1e999', '3.7x', '--rows']),
)
def test_sizes_of_benchmarks(of, size):
  """None that a benchmark could begin with."""
  assert hostile.call(['bench', of[0], f'--{of[1]}={size}']) == 2


@hostile.drill(20)
@given(minutes=st.floats(max_value=0) | st.sampled_from(['', 'x', 'nan', 'inf', '1e999']))
def test_minutes_of_the_demo(place, minutes):
  assert hostile.call(['demo', f'--minutes={minutes}', f'--workdir={place / "demo"}']) == 2
  assert not (place / 'demo').exists()


def test_every_command_is_tried():
  commands = {each.stem for each in pathlib.Path(cli.__path__[0]).glob('[!_]*.py')}
  assert commands == {*COMMANDS, 'bench', 'demo'}
