"""Speeds in the notes of experiments/throughput are those of a file beside them."""

from tests.experiments import notes

TRAINED = {
  'bert_base, rows of 512, dropout 0.1': 'BERT-base, rows of 512, dropout .1',
  'bert_base, rows of 512, dropout 0': 'BERT-base, rows of 512, dropout 0',
  'modernbert_base, rows of 1,024': 'ModernBERT-base, rows of 1,024',
}


def accelerator(said):
  for row in said.numbers('h200.json'):
    speeds = (f'{row[name]:,.0f}' for name in ('tokens_per_second', 'useful_tokens_per_second'))
    yield [TRAINED[row['run']], *speeds, f'{100 * row["utilisation"]:.1f} %']


def test_throughput_of_an_accelerator():
  said = notes.Notes('experiments/throughput/NOTES.md')
  said.shows(accelerator(said))
  trained = said.numbers('h200.json')
  assert max(row['waited_seconds'] / row['seconds'] for row in trained) < 0.002
  said.says('less than .2 % of the time was spent waiting for data')


def test_throughput_of_fine_tuning():
  said = notes.Notes('experiments/throughput/NOTES.md')
  measured = said.numbers('finetune.json')
  for name, found in measured['found'].items():
    if name != 'versions':
      faster, examples = found['ours is faster by'], found['examples/processor-s']
      said.shows([[name, f'{faster:.2f}x', f'{examples:.0f}', f'{found["memory, MB"]:,.0f}']])
  assert measured['flags']['examples'] == 1024 and measured['flags']['cores'] == 1
