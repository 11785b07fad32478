"""A run opened for use: fill masks, embed texts, score them, look at masks."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
import dataclasses
import functools
import os
import pathlib
from typing import Any
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import vocabulary
from mlm_jax.data import statistics
from mlm_jax.data import store
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.annotations import collocations
from mlm_jax.inference import mask_preview
from mlm_jax.models import Encoded
from mlm_jax.objectives import restored
from mlm_jax.training import saved

ROWS = 32  # texts computed together; the last batch is filled up, so shapes recur


@dataclasses.dataclass(frozen=True)
class Prediction:
  """A token that may fill a [MASK], and its probability."""

  token: str
  probability: float


def open_run(
  workdir: str | os.PathLike[str],
  step: int | None = None,
  log: Callable[[str], None] = saved.TO_STDERR,
  allow_code: Collection[str] = (),
) -> 'Run':
  """Returns the Run in a work directory, at its newest intact checkpoint or at `step`.

  A broken checkpoint that was passed over is named through `log`. Code that the run's config names
  as module:name is executed by `Run.masked` alone, and only where allow_code names it too.

  Raises:
    UserError: no run there, no intact checkpoint, or a tokenizer that is not the model's.
  """
  model = saved.open_model(workdir, step, log)
  tokenizer, objective = restored.restore(model)
  joins = collocations.load(model.workdir / store.COLLOCATIONS, tokenizer)
  table = tokenizer.table(_counts(model.workdir))
  return Run(model, tokenizer, table, joins, objective, allow_code)


def _counts(workdir: pathlib.Path) -> np.ndarray | None:
  """Returns counts_V of the pieces in the training text, None where the run's folder has none."""
  path = workdir / store.STATISTICS
  try:
    return statistics.read(path.read_bytes()).counts_V if path.exists() else None
  except (OSError, KeyError, ValueError, zipfile.BadZipFile):
    raise config_lib.UserError(f'{path} is damaged; copy it again from the prepared data') from None


def format_predictions(masks: Sequence[Sequence[Prediction]]) -> str:
  """Returns one line a mask: its candidates and their probabilities, without the boundary mark."""
  # A piece that is nothing but the mark is shown as it is.
  text = lambda token: token.removeprefix(tokenizer_lib.BOUNDARY_MARK) or token
  return '\n'.join(
    '  ' + '   '.join(f'{text(each.token)} {each.probability:.3f}' for each in predictions)
    for predictions in masks
  )


class Run:
  """A trained model with its tokenizer.

  Attributes:
    config, tokenizer, step: what was read.
    trained: the parameters as they were trained.
    model, params: the encoder.
    mlm, mlm_params: what predicts masked tokens: the same, but where the objective has a
      generator for it.
    table: the vocabulary, with the counts of the training text.
    aux: what the masking policy has learned, see step.TrainState.
  """

  def __init__(
    self,
    model: saved.SavedModel,
    tokenizer: tokenizer_lib.Tokenizer,
    table: vocabulary.Table,
    joins: Callable | None,
    objective: Any,
    allow_code: Collection[str] = (),
  ):
    self._workdir, self._allow_code = model.workdir, allow_code
    self.config, self.tokenizer = model.config, tokenizer
    self.table, self._joins = table, joins
    # The last stage: what the model was made for in the end.
    self._last = config_lib.final_stage(model.config)
    self.trained, self.step, self.aux = model.params, model.step, model.aux
    self.model, self.params = objective.encoder, objective.encoder_params(model.params)
    self.mlm, self.mlm_params = objective.mlm.model, objective.mlm_params(model.params)

  def fill(self, text: str, top_k: int = 5) -> list[list[Prediction]]:
    """Returns, for each [MASK] of the text in turn, a list of top_k Predictions.

    Raises:
      UserError: an empty text, one without [MASK], or one longer than a row.
    """
    row = self._row(text, has_masks=True)
    index = np.flatnonzero(row == self.tokenizer.mask_id)
    if not len(index):
      raise config_lib.UserError(f'no [MASK] in the text: {text[:60]!r}')
    if not 1 <= top_k <= self.tokenizer.size:
      raise config_lib.UserError(f'top_k = {top_k}: must be between 1 and {self.tokenizer.size}')
    # The row once for each of its masks: all the other masks stay hidden while one is filled.
    log_V = self._log_probabilities([row] * len(index), index)
    best = np.argsort(-log_V, axis=1, kind='stable')[:, :top_k]  # of equal ones the lower id
    return [
      [Prediction(self.tokenizer.piece(int(i)), float(np.exp(log[i]))) for i in ids]
      for log, ids in zip(log_V, best)
    ]

  def embed(self, texts: Sequence[str], pooling: str = 'mean') -> np.ndarray:
    """Returns float32 [n, D]: the mean over a text's pieces, or its [CLS], of the last layer."""
    if pooling not in ('mean', 'cls'):
      raise config_lib.UserError(f'pooling = {pooling!r}: must be mean or cls')
    rows = self._rows(texts)
    pooled = [
      _pool(
        (self.model, self.tokenizer.pad_id), pooling, self.params, *self._arrays(rows[i : i + ROWS])
      )
      for i in range(0, len(rows), ROWS)
    ]
    # The zeros give no texts a result of the right width too; the last batch was filled up.
    width = self.model.architecture.width
    return np.concatenate([np.zeros((0, width), np.float32), *pooled])[: len(rows)]

  def pseudo_log_likelihood(self, texts: Sequence[str]) -> np.ndarray:
    """Returns float64 [n]: the sum over a text's pieces of log p(piece | the others).

    Source: arXiv:1910.14659. Special tokens are not counted.
    """
    rows = self._rows(texts)
    totals = np.zeros(len(rows), np.float64)
    for n, row in enumerate(rows):
      # One copy of the text a piece, in which that piece alone is hidden; not [CLS] and [SEP].
      index = np.arange(1, len(row) - 1)
      hidden = np.tile(row, (len(index), 1))
      hidden[np.arange(len(index)), index] = self.tokenizer.mask_id
      log_V = self._log_probabilities(list(hidden), index)
      # Summed in float64: a long text has hundreds of terms.
      totals[n] = log_V[np.arange(len(index)), row[index]].astype(np.float64).sum()
    return totals

  def masked(
    self, texts: Sequence[str], policy: masking.Policy | None = None, seed: int = 0
  ) -> list[list[mask_preview.MaskedPiece]]:
    """Returns, for each text, a list of MaskedPiece: what a policy does to it.

    Args:
      texts: list of str.
      policy: a masking.Policy; None for the one that the run trains with, as it is at the
        end of the training. One that selects by classes has their names in its table, so it
        must be given, made with the `table` of the prepared data.
      seed: of the draws; text i is example (0, i) on its first visit.

    Raises:
      UserError: a policy that selects by classes is not given, or the classes of the run's
        data are none that a text can have, or it hides collocations, of which the run has none.
    """
    data = self._last.data
    if policy is None:
      self._check_allowed('masking.selection')
      if self._last.masking.selection == 'class':
        raise config_lib.UserError(
          "masking.selection = 'class': a run's folder does not name the classes; give "
          'policy=masking.make(table, ...) with the table of its prepared data'
        )
      policy = masking.make(self.table, length=data.row_length, **self._last.masking.to_dict())
      policy = policy.with_learned(self.aux)  # else an adaptive one would mask as at its start
    if 'collocations' in policy.needs and self._joins is None:
      raise config_lib.UserError(
        "masking.unit = 'collocation': the run's data was prepared without collocations"
      )
    rows, classes = self._rows(texts), None
    if 'classes' in policy.needs:
      self._check_allowed('data.classes')
      classes = [
        mask_preview.classes_of(text, self.tokenizer, data, policy.table.classes) for text in texts
      ]
    return [
      pieces
      for i in range(0, len(rows), ROWS)
      for pieces in mask_preview.mask_rows(
        policy,
        rows[i : i + ROWS],
        self.tokenizer.piece,
        self.tokenizer.pad_id,
        length=data.row_length,
        seed=seed,
        first=i,
        joins=self._joins,
        classes=classes and classes[i : i + ROWS],
      )
    ]

  def _check_allowed(self, setting: str) -> None:
    config_lib.check_allowed(self.config, self._allow_code, self._workdir, (setting,))

  def _rows(self, texts: Sequence[str]) -> list:
    """Returns the ids of each text; [MASK] in a text is just these letters."""
    # A string is a sequence of strings too: its letters would be taken for texts.
    if isinstance(texts, str):
      raise config_lib.UserError('texts must be a list of texts, not one text')
    return [self._row(text) for text in texts]

  def _row(self, text: str, has_masks: bool = False) -> Any:
    """Returns the ids of [CLS] text [SEP]."""
    row = self.tokenizer.encode_text(text, self._last.data, has_masks)
    if len(row) == 2:
      raise config_lib.UserError('the text is empty')
    longest = self._last.data.row_length
    if len(row) > longest:
      raise config_lib.UserError(
        f'the text has {len(row)} tokens with [CLS] and [SEP]; '
        f'the model was trained on rows of {longest}: shorten it'
      )
    return row

  def _arrays(self, rows: Sequence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (tokens_BL, starts_BS, lengths_B); B and L are rounded up so that shapes recur."""
    longest = max(len(row) for row in rows)
    length = min(-(-longest // 32) * 32, self._last.data.row_length)
    tokens_BL = np.full((ROWS, max(length, longest)), self.tokenizer.pad_id, np.int32)
    for b, row in enumerate(rows):
      tokens_BL[b, : len(row)] = row
    starts_BS = np.zeros((len(tokens_BL), 1), np.int32)  # one document a row, from its beginning
    return tokens_BL, starts_BS, (tokens_BL != self.tokenizer.pad_id).sum(1)

  def _log_probabilities(self, rows: Sequence, index: np.ndarray) -> np.ndarray:
    """Returns float32 [n, V]: log p at position index[i] of rows[i]."""
    parts = []
    for i in range(0, len(rows), ROWS):
      tokens_BL, starts_BS, _ = self._arrays(rows[i : i + ROWS])
      index_B = np.zeros(len(tokens_BL), np.int32)
      index_B[: len(index[i : i + ROWS])] = index[i : i + ROWS]
      log_BV = _log_probabilities(
        (self.mlm, self.tokenizer.pad_id), self.mlm_params, tokens_BL, starts_BS, index_B
      )
      # Without the rows that fill a batch up, and the columns that pad the vocabulary.
      parts.append(np.asarray(log_BV)[: len(rows[i : i + ROWS]), : self.tokenizer.size])
    return np.concatenate(parts)


def _encode(static: Any, params: Any, tokens_BL: jax.Array, starts_BS: jax.Array) -> Encoded:
  """Returns the Encoded rows; static is (model, pad_id), what a program is compiled for."""
  model, pad_id = static
  segments_BL = batches.segments(tokens_BL, starts_BS, pad_id)
  positions_BL = batches.positions(starts_BS, tokens_BL.shape[1])
  return model.apply(params, tokens_BL, segments_BL, positions_BL)


@functools.partial(jax.jit, static_argnums=0)
def _log_probabilities(
  static: Any, params: Any, tokens_BL: jax.Array, starts_BS: jax.Array, index_B: jax.Array
) -> jax.Array:
  # One position a row, taken before the head: [B, L, V] would not fit.
  decoded_BLD = _encode(static, params, tokens_BL, starts_BS).decoded_BLD
  decoded_BD = jnp.take_along_axis(decoded_BLD, index_B[:, None, None], axis=1)[:, 0]
  return jax.nn.log_softmax(static[0].head(params, decoded_BD), axis=1)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _pool(
  static: Any,
  pooling: str,
  params: Any,
  tokens_BL: jax.Array,
  starts_BS: jax.Array,
  lengths_B: jax.Array,
) -> jax.Array:
  hidden_BLD = _encode(static, params, tokens_BL, starts_BS).hidden_BLD.astype(jnp.float32)
  if pooling == 'cls':
    return hidden_BLD[:, 0]
  index_L = jnp.arange(tokens_BL.shape[1])[None]
  inside_BL = (index_L > 0) & (index_L < lengths_B[:, None] - 1)  # not [CLS] and [SEP]
  return (hidden_BLD * inside_BL[:, :, None]).sum(1) / jnp.maximum(inside_BL.sum(1), 1)[:, None]
