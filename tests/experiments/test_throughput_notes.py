"""Speeds in the notes of experiments/throughput are those of a file beside them."""

from tests.experiments import notes

TRAINED = {
  'bert_base, rows of 512, dropout 0.1': 'BERT-base, rows of 512, dropout .1',
  'bert_base, rows of 512, dropout 0': 'BERT-base, rows of 512, dropout 0',
  'modernbert_base, rows of 1,024': 'ModernBERT-base, rows of 1,024',
}
PARTS = {
  'relative positions': (
    'relative positions: shifted blocks, beside a gather whose index all heads share'
  ),
  'local attention': 'local attention, window 128: bands, beside whole rows under a mask',
  'replacements': ('replacements: inverse distribution function, beside Gumbel noise, 8,192 ids'),
}
# Sizes and rates of what is measured, in the sentences before the tables and in their heads.
SIZES = '256 512 128 15 .15 .1 2 64 16 2,048 1 4 8 32 8,192 1024 4,096 10'


def figures(value):
  """Returns three figures of a speed, as the notes write it."""
  return f'{value:,.0f}' if value >= 100 else notes.short(value, 1 if value >= 10 else 2)


def masking(found):
  for part in ('beside tokens', 'beside words'):
    for name, row in found[part].items():
      speeds = (figures(row[each]) for each in ('Mtok/s', 'Mtok/processor-s'))
      ratios = (f'{row[each]:.1f}x' for each in ('ratio by wall', 'ratio by processor'))
      yield [name, *speeds, *ratios]


def says_masking(said):
  found = said.numbers('masking.json')['found']
  libraries = ('jax', 'torch', 'transformers', 'keras-hub')
  versions = (f'{name} {found["versions"][name].removesuffix("+cpu")}' for name in libraries)
  said.says(', '.join(versions))
  said.shows(masking(found))
  speed = {name: row['Mtok/processor-s'] for name, row in found['beside tokens'].items()}
  alone = speed['its torch_mask_tokens alone']
  said.says(
    f'beside its masking core alone ours is {speed["token, independent"] / alone:.1f}x '
    f'(independent) and {speed["token, exact"] / alone:.1f}x (exact)'
  )


def says_populations(said):
  for name, row in said.numbers('population.json')['found'].items():
    name = name.removesuffix(' replicas').replace('alone', 'a run alone')
    ratio = notes.short(row['of a run alone'], 2)
    said.shows([[name, f'{row["processor-ms a replica-step"]:.1f}', ratio]])


def says_data(said):
  both = [said.numbers(name)['found'] for name in ('data.json', 'data_novels.json')]
  for stage in both[0].keys() - {'prepared'}:
    cells = (
      figures(found[stage][name]) for found in both for name in ('seconds', 'MB/s', 'Mtok/s')
    )
    said.shows([[stage, *cells]])
  seconds, peak = (
    [f'{found["prepared"][name]:.0f}' for found in both] for name in ('seconds', 'peak MB')
  )
  said.says(f'prepared in {" and ".join(seconds)} s; the process holds {" and ".join(peak)} MB')


def says_steps(said):
  found = said.numbers('step.json')['found']
  dropouts = {'0': found['dropout 0'], '.1': found['dropout 0.1']}
  faster = lambda rows, name: notes.short(rows[name]['ours is faster by'], 2)
  for name in found['dropout 0'].keys() - {'ours'}:
    said.shows([[name, *(faster(rows, name) for rows in dropouts.values())]])
  for dropout, rows in dropouts.items():
    for name, row in rows.items():
      speeds = (figures(row[each]) for each in ('ktok/processor-s', 'GFLOP/processor-s'))
      said.shows([[name, dropout, *speeds, f'{row["memory, MB"]:,.0f}', f'{row["first, s"]:.1f}']])
  guide = notes.Notes('docs/comparisons.md')
  eager, keras = (
    [faster(rows, name) for rows in dropouts.values()]
    for name in ('transformers, eager', 'keras-hub on JAX')
  )
  guide.says(
    f'{eager[0]} times as fast as `transformers` without dropout and {eager[1]} times with it, and '
    f'{keras[0]} and {keras[1]} times as fast as keras-hub on JAX'
  )


def says_parts(said):
  short, long = (said.numbers(name)['found'] for name in ('parts.json', 'parts_long.json'))

  def ratio(found, name):
    row = found.get(f'{name}, ours')
    return f'{notes.short(row["ratio by processor"], 1)}x' if row else ''

  for name, title in PARTS.items():
    each = (
      ratio(found, part) for found in (short, long) for part in (name, f'{name} and its gradient')
    )
    said.says(' '.join(f'| {title} | {" | ".join(each)} |'.split()))
  assert long['relative positions, ours']['ratio by processor'] < 1
  said.says('the shifted blocks are slower than the gather')


def says_fine_tuning(said):
  measured = said.numbers('finetune.json')
  for name, found in measured['found'].items():
    if name != 'versions':
      faster, examples = found['ours is faster by'], found['examples/processor-s']
      said.shows([[name, f'{faster:.2f}x', f'{examples:.0f}', f'{found["memory, MB"]:,.0f}']])
  assert measured['flags']['examples'] == 1024 and measured['flags']['cores'] == 1


def says_accelerators(said):
  trained = said.numbers('h200.json')
  for row in trained:
    speeds = (f'{row[name]:,.0f}' for name in ('tokens_per_second', 'useful_tokens_per_second'))
    said.shows([[TRAINED[row['run']], *speeds, f'{100 * row["utilisation"]:.1f} %']])
  assert max(row['waited_seconds'] / row['seconds'] for row in trained) < 0.002
  said.says('less than .2 % of the time was spent waiting for data')


def test_throughput():
  said = notes.Notes('experiments/throughput/NOTES.md')
  for part in (
    says_masking,
    says_populations,
    says_data,
    says_steps,
    says_parts,
    says_fine_tuning,
    says_accelerators,
  ):
    part(said)
  said.done(settings=SIZES)
