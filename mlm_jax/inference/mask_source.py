"""What `mlm-jax mask` masks and how: a text or a held-out row, and a policy that fits it.

Without a folder a text is its own vocabulary. With prepared data it is cut by their tokenizer and
has the counts, collocations and classes that some policies need. With a run it is masked by what
the run's own policy has learned.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
import dataclasses
import functools
import os
import pathlib
from types import SimpleNamespace
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import compilation_cache
from mlm_jax.core import vocabulary
from mlm_jax.data import folder as folder_lib
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import store
from mlm_jax.data.annotations import collocations
from mlm_jax.inference import mask_preview
from mlm_jax.inference import predictor


@dataclasses.dataclass(frozen=True)
class Source:
  """One row to be masked.

  Attributes:
    policy: masking.Policy.
    batch: batches.Batch of this row alone, on its first visit.
    tokenizer: of the pieces.
    progress: share of the training done, from 0 to 1, for policies that change.
  """

  policy: masking.Policy
  batch: batches.Batch
  tokenizer: Any
  progress: float


def open_run(workdir: str | os.PathLike[str] | None) -> predictor.Run | None:
  """Returns the run in a folder, None where there is no run."""
  if workdir is None or not (pathlib.Path(workdir) / 'config.json').is_file():
    return None
  return predictor.open_run(workdir)


def policy_settings(run: predictor.Run) -> dict[str, Any]:
  """Returns the settings of the policy that a run ends with."""
  return config_lib.final_stage(run.config).masking.to_dict()


def make(
  workdir: str | os.PathLike[str] | None,
  run: predictor.Run | None,
  settings: dict[str, Any],
  *,
  text: str | None,
  row: int | None,
  is_own: bool,
  progress: float | None,
  allow_code: Collection[str] = (),
) -> Source:
  """Returns the Source of a text, or of a held-out row of prepared data.

  Args:
    workdir: of the run or of prepared data; None for the text alone.
    run: the run in workdir, if there is one.
    settings: of the masking policy.
    text: any text; None for a row.
    row: number of a held-out row, counted over all sources; None for a text.
    is_own: whether the settings are the run's own, so that what its policy has learned applies.
    progress: share of the training done; None for that of the run's checkpoint if `is_own`, else 0.
    allow_code: each module:name that the run or the data name and that may be executed to find the
      classes of words.

  Raises:
    UserError: there is no such row, nothing to mask, or the policy needs what the data lacks.
  """
  if run is None:  # it would have said so itself
    compilation_cache.use(config_lib.base().compilation_cache)
  if workdir is None:
    # Nothing trained is needed: the text is its own vocabulary, with its own counts.
    tokenizer = mask_preview.PlainTokenizer(text or '')
    row_of_text = [tokenizer.cls_id, *tokenizer.encode(), tokenizer.sep_id]
    table, batch = tokenizer.table(), _batch(tokenizer, row_of_text)
  else:
    prepared = _open_prepared(workdir, run, needs_rows=row is not None, settings=settings)
    place: Any = prepared or run
    table, tokenizer = place.table, place.tokenizer
    if row is not None:
      assert prepared is not None  # `needs_rows`
      batch = _held_out(prepared, row)
    else:
      classes = functools.partial(_classes, text or '', workdir, allow_code)
      batch = _of_text(text or '', pathlib.Path(workdir), run, prepared, table, settings, classes)
  if settings['unit'] == 'collocation' and batch.joins_BL is None:
    raise config_lib.UserError(
      'collocations are found when data is prepared: mlm-jax prepare --workdir=DIR '
      '--config.data.source=... --config.data.collocations=20000, then give --workdir=DIR here'
    )
  policy = masking.make(table, length=batch.tokens_BL.shape[1], **settings)
  # What was learned belongs to the run's own settings; under others it would mean nothing.
  if is_own and run is not None:
    policy = policy.with_learned(run.aux)
    progress = run.step / run.config.total_steps if progress is None else progress
  return Source(policy, batch, tokenizer, progress or 0.0)


def _of_text(
  text: str,
  workdir: pathlib.Path,
  run: predictor.Run | None,
  prepared: store.Prepared | None,
  table: vocabulary.Table,
  settings: dict[str, Any],
  classes_of: Callable,
) -> batches.Batch:
  """Returns the Batch of a text, cleaned and cut as the data in workdir."""
  place: Any = prepared or run
  tokenizer = place.tokenizer
  if run is not None:
    data: Any = config_lib.final_stage(run.config).data
  else:  # prepared data has no config, but the manifest keeps the settings that made it
    data = SimpleNamespace(**place.manifest['settings'])
  # A run's folder has a copy of its collocations; the data itself may be gone.
  joins = prepared.joins if prepared else collocations.load(workdir / store.COLLOCATIONS, tokenizer)
  classes = None
  if settings['selection'] == 'class' and table.classes:
    classes = [classes_of(tokenizer, data, table.classes)]
  row = tokenizer.encode_text(text, data)
  return _batch(tokenizer, row, length=data.row_length, joins=joins, classes=classes)


def _classes(
  text: str,
  workdir: str | os.PathLike[str],
  allow_code: Collection[str],
  tokenizer: Any,
  data: Any,
  names: Sequence[str],
) -> np.ndarray:
  """Returns the classes of a text's tokens; UserError where that would execute code unasked."""
  config_lib.check_spec('data.classes', data.classes, allow_code, workdir)
  return mask_preview.classes_of(text, tokenizer, data, names)


def _batch(tokenizer: Any, row: Any, **settings: Any) -> batches.Batch:
  """Returns the Batch of one [CLS] text [SEP]; settings as for mask_preview.batch_of."""
  if len(row) == 2:
    raise config_lib.UserError('the text has nothing to mask')
  return mask_preview.batch_of([row], tokenizer.pad_id, **settings)


def _open_prepared(
  workdir: str | os.PathLike[str],
  run: predictor.Run | None,
  needs_rows: bool,
  settings: dict[str, Any],
) -> store.Prepared | None:
  """Returns the prepared data in workdir or of the run there; None where a run needs none."""
  folder = pathlib.Path(workdir)
  if run is None:
    return store.open_prepared(folder if store.finished(folder) else folder / 'data')
  # All else that a text needs is copied into a run's folder, but not the names of the classes.
  if not needs_rows and settings['selection'] != 'class':
    return None
  final = config_lib.final_stage(run.config)
  prepared = store.open_prepared(folder_lib.of_stage(run.config, folder, final))
  if prepared.tokenizer.sha256 != run.tokenizer.sha256:
    raise config_lib.UserError(
      f'{prepared.directory} was prepared with another tokenizer than {folder}'
    )
  return prepared


def _held_out(prepared: store.Prepared, number: int) -> batches.Batch:
  """Returns the Batch of one held-out row, counted over all sources."""
  loader = loader_lib.EvaluationLoader(prepared, 1)
  if not 0 <= number < len(loader):
    raise config_lib.UserError(
      f'--row={number}: the held-out rows of {prepared.directory} are 0 to {len(loader) - 1}'
    )
  return loader.batch(number)
