import inspect
import sys

import pytest

from mlm_jax.data.corpus.formats import pydocs


def write(folder, name, source):
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(source, encoding='utf-8')


LONG = 'A sentence that is long enough to count as prose, since labels do not. '


def module(**docs):
  return '\n'.join(
    [
      f'"""{LONG * 2}{docs["module"]}"""',
      'raise SystemExit("imported")',
      f'def f():\n  """{LONG * 2}{docs["f"]}"""',
      f'class C:\n  """{LONG * 2}{docs["c"]}"""',
      f'  def m(self):\n    """{LONG}{docs["m"]}"""',
    ]
  )


@pytest.fixture
def packages(tmp_path, monkeypatch):
  """Three invented packages, one of them large, in place of the real ones."""
  for name in ('aa', 'bb', 'cc', 'dd', 'ee'):
    for i in range(40 if name == 'cc' else 4):
      docs = {kind: f'{name} {i} {kind}' for kind in ('module', 'f', 'c', 'm')}
      write(tmp_path, f'{name}/m{i:02}.py', module(**docs))
  write(tmp_path, 'aa/broken.py', f'"""{LONG * 3}""" not python')
  write(tmp_path, 'aa/tests/helpers.py', f'"""{LONG * 3}"""')
  write(tmp_path, 'bb/copy.py', (tmp_path / 'aa/m00.py').read_text())
  monkeypatch.setattr(pydocs, 'PACKAGES', ('aa', 'bb', 'cc', 'dd', 'ee', 'absent'))
  monkeypatch.setattr(pydocs.sysconfig, 'get_path', lambda name: tmp_path / 'ee')
  monkeypatch.syspath_prepend(tmp_path)
  return tmp_path


def test_the_corpus_is_balanced_deduplicated_and_in_a_fixed_order(packages):
  documents, absent = pydocs.read()
  assert absent == ['absent']
  assert (documents, absent) == pydocs.read()
  assert len(set(documents)) == len(documents)
  assert not any(d.startswith(LONG * 3) for d in documents)  # neither tests nor broken files
  assert not any(name in sys.modules for name in ('aa', 'bb', 'cc'))
  sizes = {
    name: sum(len(d) for d in documents if f' {name} ' in d)
    for name in ('aa', 'bb', 'cc', 'dd', 'ee')
  }
  order = [int(d.split(' cc ')[1].split()[0]) for d in documents if ' cc ' in d]
  assert order == sorted(order)
  assert 0.2 < sizes['cc'] / sum(sizes.values()) <= 0.25
  assert sizes['aa'] == sizes['bb'] == sizes['dd'] > 0
  assert (
    sum('m00' in d or ' 0 ' in d for d in documents if ' aa ' in d) == 3
  )  # module, function, class


def test_a_class_is_one_document_with_its_methods(packages):
  documents, _ = pydocs.read()
  assert sum(' aa 1 c' in d and ' aa 1 m' in d for d in documents) == 1
  assert not any(' aa 1 f' in d and ' aa 1 c' in d for d in documents)


@pytest.mark.parametrize(
  'sizes',
  [
    [10, 10, 10, 10],
    [100, 10, 10, 10, 10],
    [100, 90, 10, 10, 10, 10],
    [0, 50, 1],
    [100, 100, 100, 10, 9, 8],
    [5],
    [0, 0],
    [7, 7, 7],
  ],
)
def test_no_package_has_more_than_a_quarter_where_that_is_possible(sizes):
  packages = [[f'{i:03}'[:1] for i in range(size)] for size in sizes]
  kept = [sum(map(len, each)) for each in pydocs._balance(packages)]
  if sum(size > 0 for size in sizes) > 4:
    assert max(kept) <= sum(kept) / 4
    assert all(k == s for k, s in zip(kept, sizes) if s <= 10)
  assert all((k > 0) == (s > 0) for k, s in zip(kept, sizes))


def test_prose_has_no_doctests_rulers_or_tables():
  text = inspect.cleandoc("""
      Returns the sum.

      Examples
      --------
      >>> f(1)
      2

      = ====  ====
      | a | b |
      Ends -- with (words).""")
  assert ' '.join(pydocs.prose(text).split()) == 'Returns the sum. Examples Ends -- with (words).'


def test_the_built_in_corpus_is_there():
  topics = pydocs.sysconfig.get_path('stdlib')
  documents = list(pydocs._package(pydocs.pathlib.Path(topics, 'pydoc_data'), set()))
  assert len(documents) > 50 and any('lambda' in d for d in documents)
