"""Show what a masking policy does to a text.

Example:
  mlm-jax mask --policy=spanbert --text='Paris is the capital of France, and its largest city.'
  mlm-jax mask --policy=pmi --workdir=runs/mine --text='...' --config.masking.rate=0.3

Each line is another visit of the text. Without --workdir words are pieces, and longer ones
are cut every four letters; with it the text is cut as in the prepared data there, which has
the counts, collocations and classes that some policies need.
"""

import pathlib
import sys

from mlm_jax import config as config_lib
from mlm_jax.commands import _config

_STYLES = {'mask': 'bold white on red', 'random': 'bold black on yellow', 'keep': 'bold black on green'}


def add_arguments(parser):
  parser.add_argument('--text', required=True, help='any text')
  parser.add_argument('--workdir', metavar='DIR', help='of a run, or of prepared data')
  parser.add_argument('--visits', type=int, default=3, help='lines to show (default 3)')
  parser.add_argument('--seed', type=int, default=0, help='of the draws (default 0)')
  parser.add_argument('--progress', type=float, default=0.0, help='share of the training done (default 0)')
  _config.add_policy(parser, 'the policy to show')


def run(args):
  from mlm_jax import masked_text
  from mlm_jax import masking
  if args.visits < 1 or not 0 <= args.progress <= 1 or not 0 <= args.seed < 2**32:
    raise config_lib.UserError('--visits must be at least 1, --progress between 0 and 1, --seed below 2**32')
  table, ids, tokenizer, joins = _of_workdir(args) if args.workdir else _plain(args)
  settings = _config.policy(args)
  if settings['unit'] == 'collocation' and joins is None:
    raise config_lib.UserError(
        'collocations are found when data is prepared: mlm-jax prepare --workdir=DIR --config.data.source=... '
        '--config.data.collocations=20000, then give --workdir=DIR here')
  if settings['select'] == 'class':
    raise config_lib.UserError("masking.select = 'class': the words of a text have classes only where it was "
                               'prepared; mlm-jax prepare --inspect shows them')
  policy = masking.make(table, **settings)
  row = [tokenizer.cls_id, *ids, tokenizer.sep_id]
  for visit in range(args.visits):
    pieces, = masked_text.mask_rows(policy, [row], tokenizer.piece, tokenizer.pad_id, seed=args.seed,
                                    visit=visit, progress=args.progress, joins=joins)
    _show(pieces[1:-1])


def _plain(args):
  """Returns (table, ids, tokenizer, joins) of a vocabulary that is made of the text."""
  from mlm_jax import masked_text
  tokenizer = masked_text.PlainTokenizer(args.text)
  if not tokenizer.encode():
    raise config_lib.UserError('the text has nothing to mask')
  return tokenizer.table(), tokenizer.encode(), tokenizer, None


def _of_workdir(args):
  """Returns (table, ids, tokenizer, joins) of prepared data."""
  import types
  from mlm_jax.data import clean
  from mlm_jax.data import store
  folder = pathlib.Path(args.workdir)
  prepared = store.open_prepared(folder if store.finished(folder) else folder / 'data')
  cleaning = types.SimpleNamespace(**prepared.manifest['settings'])
  ids = prepared.tokenizer.encode(clean.normalize(clean.replace_surrogates(args.text)[0], cleaning))
  if not ids:
    raise config_lib.UserError('the text has nothing to mask')
  return prepared.table, ids, prepared.tokenizer, prepared.joins


def _show(pieces):
  """Prints a visit: coloured on a terminal, else with brackets."""
  from rich import console
  from rich import text
  line = text.Text()
  for each in pieces:
    word = each.piece.lstrip('▁')
    line.append(' ' if each.piece.startswith('▁') and line.plain else '')
    if not each.action:
      line.append(word)
      continue
    shown = f'{word}→{each.shown.lstrip("▁")}' if each.action == 'random' else word
    mark = {'mask': '[{}]', 'random': '{{{}}}', 'keep': '<{}>'}[each.action]
    line.append(shown if sys.stdout.isatty() else mark.format(shown), _STYLES[each.action])
  chosen = [each for each in pieces if each.action]
  count = lambda action: sum(each.action == action for each in chosen)
  terminal = console.Console(soft_wrap=True, highlight=False)
  terminal.print(line)
  terminal.print(f'  {len(chosen)} of {len(pieces)} pieces in {len({each.unit for each in chosen})} units: '
                 f'{count("mask")} masked, {count("random")} random, {count("keep")} kept'
                 + ('' if all(each.predicted for each in chosen)
                    else f'; {sum(each.predicted for each in chosen)} predicted'), style='dim')
