"""Show what a masking policy does to a text.

Example:
  mlm-jax mask --policy=spanbert --text='Paris is the capital of France, and its largest city.'
  mlm-jax mask --policy=pmi --workdir=runs/mine --text='...' --config.masking.rate=0.3
  mlm-jax mask --workdir=runs/mine --row=0 --visits=10

Each line is another visit of the text. Without --workdir words are pieces, and longer ones
are cut every four letters. With it the text is cut as in the prepared data there, which has
the counts, collocations and classes that some policies need; of a run it shows the run's own
policy with what it has learned, unless another is given. --row takes a held-out row of the
prepared data in place of a text, each of its documents, or sentences of a pair, on a line of
its own.
"""

import dataclasses
import itertools
import pathlib
import sys
from types import SimpleNamespace

from mlm_jax import config as config_lib
from mlm_jax.cli import _config

_STYLES = {
  'mask': 'bold white on red',
  'random': 'bold black on yellow',
  'keep': 'bold black on green',
}
_MARKS = {'mask': '[{}]', 'random': '{{{}}}', 'keep': '<{}>'}
_BOUNDARY = '▁'


def add_arguments(parser):
  parser.add_argument('--text', help='any text')
  parser.add_argument(
    '--row', type=int, metavar='N', help='a held-out row of the prepared data, from 0 on'
  )
  parser.add_argument('--workdir', metavar='DIR', help='of a run, or of prepared data')
  parser.add_argument('--visits', type=int, default=3, help='lines to show (default 3)')
  parser.add_argument('--seed', type=int, default=0, help='of the draws (default 0)')
  parser.add_argument(
    '--progress',
    type=float,
    help="share of the training done (default 0; of a run's own policy, its checkpoint's)",
  )
  _config.add_policy(parser, "the policy to show, instead of a run's own")


def run(args):
  import numpy as np

  from mlm_jax import masking
  from mlm_jax.inference import mask_preview

  _check(args)
  opened = _open_run(args)
  is_own = opened is not None and not (args.policy or args.config or args.overrides)
  settings = _settings(args, opened)
  table, tokenizer, batch = _cut(args, opened, settings)
  if settings['unit'] == 'collocation' and batch.joins_BL is None:
    raise config_lib.UserError(
      'collocations are found when data is prepared: mlm-jax prepare --workdir=DIR '
      '--config.data.source=... --config.data.collocations=20000, then give --workdir=DIR here'
    )
  policy = masking.make(table, length=batch.tokens_BL.shape[1], **settings)
  progress = args.progress or 0.0
  if is_own:
    policy = policy.with_learned(opened.adapted)
    progress = opened.step / opened.config.total_steps if args.progress is None else args.progress
  for visit in range(args.visits):
    batch = dataclasses.replace(batch, visit_B=np.full_like(batch.visit_B, visit))
    (pieces,) = mask_preview.mask_batch(
      policy, batch, tokenizer.piece, tokenizer.pad_id, seed=args.seed, progress=progress
    )
    _show(pieces, {tokenizer.piece(i) for i in (tokenizer.cls_id, tokenizer.sep_id)})
  for note in _notes(policy, progress, pieces):
    _print(note, style='dim')


def _check(args):
  """Raises UserError where the flags do not fit each other."""
  if (args.text is None) == (args.row is None):
    raise config_lib.UserError('give either --text or --row')
  if args.row is not None and args.workdir is None:
    raise config_lib.UserError('--row is one of prepared data: say with --workdir where they are')
  if args.visits < 1 or not 0 <= (args.progress or 0) <= 1 or not 0 <= args.seed < 2**32:
    raise config_lib.UserError(
      '--visits must be at least 1, --progress between 0 and 1, --seed below 2**32'
    )


def _open_run(args):
  """Returns the run.Run in --workdir, None where there is none."""
  if args.workdir is None or not (pathlib.Path(args.workdir) / 'config.json').is_file():
    return None
  from mlm_jax.inference import predictor as run_lib

  return run_lib.open_run(args.workdir)


def _last(opened):
  """Returns the config of a run's last stage."""
  return config_lib.stages(opened.config)[-1][1]


def _settings(args, opened):
  """Returns the settings of the policy: the run's own, where no other one is named, changed by the
  flags.
  """
  if opened is None or args.policy or args.config:
    return _config.policy(args)
  own = _last(opened).masking
  return _config.policy(args, [(f'masking.{key}', str(value)) for key, value in own.items()])


def _cut(args, opened, settings):
  """Returns (table, tokenizer, batch): the vocabulary and the one row that is shown."""
  from mlm_jax.data import store
  from mlm_jax.data.annotations import collocations
  from mlm_jax.data.corpus import clean
  from mlm_jax.inference import mask_preview

  if args.workdir is None:
    tokenizer = mask_preview.PlainTokenizer(args.text)
    return tokenizer.table(), tokenizer, _batch(tokenizer, tokenizer.encode())
  prepared = _open_prepared(args, opened, settings)
  place = prepared or opened
  table, tokenizer = place.table, place.tokenizer
  if args.row is not None:
    return table, tokenizer, _held_out(prepared, args.row)
  data = _last(opened).data if opened else SimpleNamespace(**prepared.manifest['settings'])
  path = pathlib.Path(args.workdir) / store.COLLOCATIONS
  joins = prepared.joins if prepared else collocations.load(path, tokenizer)
  classes = None
  if settings['selection'] == 'class' and table.classes:
    classes = [mask_preview.classes_of(args.text, tokenizer, data, table.classes)]
  ids = tokenizer.encode(clean.normalize(clean.replace_surrogates(args.text)[0], data))
  return (
    table,
    tokenizer,
    _batch(tokenizer, ids, length=data.row_length, joins=joins, classes=classes),
  )


def _batch(tokenizer, ids, **settings):
  """Returns the Batch of a text; settings as for masked_text.batch_of."""
  from mlm_jax.inference import mask_preview

  if not ids:
    raise config_lib.UserError('the text has nothing to mask')
  return mask_preview.batch_of(
    [[tokenizer.cls_id, *ids, tokenizer.sep_id]], tokenizer.pad_id, **settings
  )


def _open_prepared(args, opened, settings):
  """Returns the store.Prepared in --workdir, or of the run there; None where a run can do
  without.
  """
  from mlm_jax.data import store

  folder = pathlib.Path(args.workdir)
  if opened is None:
    return store.open_prepared(folder if store.finished(folder) else folder / 'data')
  if args.row is None and settings['selection'] != 'class':
    return None
  from mlm_jax.tasks import pretraining

  prepared = store.open_prepared(pretraining.data_folder(opened.config, folder, _last(opened)))
  if prepared.tokenizer.sha256 != opened.tokenizer.sha256:
    raise config_lib.UserError(
      f'{prepared.directory} was prepared with another tokenizer than {folder}'
    )
  return prepared


def _held_out(prepared, number):
  """Returns the Batch of one held-out row, counted over all sources."""
  from mlm_jax.data import loader as loader_lib

  loader = loader_lib.EvaluationLoader(prepared, 1)
  if not 0 <= number < len(loader):
    raise config_lib.UserError(
      f'--row={number}: the held-out rows of {prepared.directory} are 0 to {len(loader) - 1}'
    )
  return loader.batch(number)


def _show(pieces, ends):
  """Prints a visit: each document on a line, then counts; `ends` are the pieces around them."""
  runs = itertools.groupby(pieces, lambda each: each.piece in ends)
  documents = [list(each) for is_end, each in runs if not is_end]
  for document in documents:
    _print(_line(document))
  pieces = list(itertools.chain(*documents))
  chosen = [each for each in pieces if each.action]
  count = lambda action: sum(each.action == action for each in chosen)
  predicted = sum(each.predicted for each in chosen)
  _print(
    f'  {len(chosen)} of {len(pieces)} pieces in {len({each.unit for each in chosen})} units: '
    f'{count("mask")} masked, {count("random")} random, {count("keep")} kept'
    + (f'; {predicted} predicted' if predicted < len(chosen) else ''),
    style='dim',
  )


def _line(pieces):
  """Returns a rich Text: what is chosen is coloured on a terminal, else it stands in brackets."""
  from rich import text

  line = text.Text()
  for each in pieces:
    word = each.piece.lstrip(_BOUNDARY)
    # A boundary that is a piece alone is a space, and what is done to it must be seen.
    space = ' ' * (len(each.piece) - len(word)) if line.plain and (word or not each.action) else ''
    line.append(space)
    shown = word or (each.piece if each.action else '')
    if each.action == 'random':
      shown += '→' + (each.shown.lstrip(_BOUNDARY) or each.shown)
    if each.action:
      line.append(
        shown if sys.stdout.isatty() else _MARKS[each.action].format(shown), _STYLES[each.action]
      )
    else:
      line.append(shown)
  return line


def _notes(policy, progress, pieces):
  """Yields what a reader might stumble over."""
  from mlm_jax.data.tokenizers import scripts

  rate = lambda progress: float(policy.schedule.mean_at(progress))
  if not rate(progress):
    more = next(each for each in (0.5, 0.0, 1.0) if rate(each))
    yield f'  the rate is 0 at --progress={progress:g}; --progress={more:g} shows more'
  if policy.unit.of_words and any(
    scripts.without_spaces(letter) for each in pieces for letter in each.piece
  ):
    yield '  in text without spaces between words each piece is taken for a word'


def _print(line, style=None):
  from rich import console

  console.Console(soft_wrap=True, highlight=False, markup=False, emoji=False).print(
    line, style=style
  )
