"""A run opened for use: fill masks, embed texts, score them, look at masks."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax.core import vocabulary
from mlm_jax.data import pack
from mlm_jax.data import statistics
from mlm_jax.data import store
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.annotations import collocations
from mlm_jax.inference import encoder_run
from mlm_jax.inference import encoding
from mlm_jax.inference import hidden_copies
from mlm_jax.inference import mask_html
from mlm_jax.inference import mask_preview
from mlm_jax.inference import packed_copies
from mlm_jax.inference import rows as rows_lib
from mlm_jax.objectives import restored
from mlm_jax.training import saved


@dataclasses.dataclass(frozen=True)
class Prediction:
  """A token that may fill a [MASK], and its probability.

  Attributes:
    token: the piece, as all tokenizers here write it.
    probability: from 0 to 1.
    text: what it decodes to by itself, as `transformers` has it: ' word' of a byte-level piece.
    id: its number in the vocabulary.
  """

  token: str
  probability: float
  text: str
  id: int


def open_run(
  workdir: str | os.PathLike[str],
  step: int | None = None,
  log: Callable[[str], None] = saved.TO_STDERR,
  allow_code: Collection[str] = (),
) -> 'Run':
  """Returns the Run of pretraining in a work directory, at its model or at `step`.

  A broken checkpoint that was passed over is named through `log`. Code that the run's config names
  as module:name is executed by `Run.masked` alone, and only where allow_code names it too.

  Raises:
    UserError: no run there, no intact checkpoint, a tokenizer that is not the model's, or a
      fine-tuned run, which fills no masks.
  """
  model = saved.open_model(workdir, step, log)
  if 'task' in model.config:
    raise config_lib.UserError(
      f'{workdir} was fine-tuned for {model.config.task.name} and fills no masks: mlm-jax predict '
      'uses it'
    )
  return restore(model, log, allow_code)


def restore(
  model: saved.SavedModel, log: Callable[[str], None], allow_code: Collection[str] = ()
) -> 'Run':
  """Returns the Run of a saved model; see `open_run`."""
  tokenizer, objective = restored.restore(model)
  joins = collocations.load(model.workdir / store.COLLOCATIONS, tokenizer)
  table = tokenizer.table(_counts(model.workdir))
  return Run(model, tokenizer, table, joins, objective, log, allow_code)


def _counts(workdir: pathlib.Path) -> np.ndarray | None:
  """Returns counts_V of the pieces in the training text, None where the run's folder has none."""
  path = workdir / store.STATISTICS
  if not os.path.lexists(path):
    return None
  try:
    return statistics.read(config_lib.read_bytes(path)).counts_V
  except (KeyError, ValueError):
    raise config_lib.UserError(f'{path} is damaged; copy it again from the prepared data') from None


def format_predictions(masks: Sequence[Sequence[Prediction]]) -> str:
  """Returns one line a mask: its candidates and their probabilities, without the boundary mark."""
  # A piece that is nothing but the mark is shown as it is.
  text = lambda token: token.removeprefix(tokenizer_lib.BOUNDARY_MARK) or token
  return '\n'.join(
    '  ' + '   '.join(f'{text(each.token)} {each.probability:.3f}' for each in predictions)
    for predictions in masks
  )


class Run(encoder_run.EncoderRun):
  """A pretrained model with its tokenizer.

  Attributes:
    mlm, mlm_params: what predicts masked tokens: the encoder, but where the objective has a
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
    log: Callable[[str], None],
    allow_code: Collection[str] = (),
  ):
    super().__init__(model, tokenizer, objective, log)
    self._workdir, self._allow_code = model.workdir, allow_code
    self.table, self._joins, self.aux = table, joins, model.aux
    self.mlm, self.mlm_params = objective.mlm.model, objective.mlm_params(model.params)

  def fill(self, text: str, top_k: int = 5, too_long: str = 'window') -> list[list[Prediction]]:
    """Returns, for each [MASK] of the text in turn, a list of top_k Predictions.

    The text is cut as the model's tokenizer does it, also beside a mask; a mask may be called what
    the tokenizer calls it, such as <mask>.

    Args:
      text: with one or more masks.
      top_k: predictions a mask.
      too_long: where the text is longer than a row, each mask is seen with what is around it
        ('window'), only the beginning is read ('truncate'), or the text is refused ('error').

    Raises:
      UserError: an empty text, one without [MASK], one that is refused, or a wrong number.
    """
    [text] = rows_lib.checked([text])
    if not isinstance(top_k, int | np.integer) or not 1 <= top_k <= self.tokenizer.size:
      raise config_lib.UserError(f'top_k = {top_k}: must be between 1 and {self.tokenizer.size}')
    marked = text.replace(self.tokenizer.piece(self.tokenizer.mask_id), tokenizer_lib.MASK)
    contents = self.rows.contents(marked, has_masks=True)
    if not len(contents):
      raise config_lib.UserError('the text is empty')
    [contents] = self.rows.fit([contents], too_long, 'each mask is seen with what is around it')
    places = np.flatnonzero(contents == self.tokenizer.mask_id)
    if not len(places):
      was_cut = tokenizer_lib.MASK in marked
      where = f'the first {self.rows.length} tokens of the text' if was_cut else 'the text'
      raise config_lib.UserError(f'no [MASK] in {where}: {text[:60]!r}')
    # The row once for each of its masks: all the other masks stay hidden while one is filled.
    rows = (self.rows.around(contents, int(place)) for place in places)
    return [
      [self._prediction(int(i), log_V[i]) for i in np.argsort(-log_V, kind='stable')[:top_k]]
      for log_NV in self._log_probabilities(rows)
      for log_V in log_NV  # of equal ones the lower id
    ]

  def _prediction(self, i: int, log_probability: float) -> Prediction:
    text = self.tokenizer.text_of(i)
    return Prediction(self.tokenizer.piece(i), float(np.exp(log_probability)), text, i)

  def pseudo_log_likelihood(
    self,
    texts: Iterable[str],
    too_long: str = 'window',
    *,
    within_word: bool = False,
    masked_together: int = 1,
  ) -> np.ndarray:
    """Returns float64 [n]: the sum over a text's pieces of log p(piece | the others).

    Sources: arXiv:1910.14659; within words arXiv:2305.10588. Special tokens are not counted.

    Args:
      texts: none of them empty.
      too_long: where a text is longer than a row, each piece is seen with the pieces around it, as
        many as a row holds ('window'), only the beginning is read ('truncate'), or it is refused
        ('error').
      within_word: whether the later pieces of its word are hidden with a piece, so that a word of
        several pieces does not give itself away.
      masked_together: pieces of one word that are hidden and scored together, at most.

    Raises:
      UserError: no list of texts, an empty one, or one that is refused, or a wrong number.
    """
    terms = self.piece_log_probabilities(texts, too_long, within_word, masked_together)
    # Summed in float64: a long text has hundreds of terms.
    return np.array([each.sum() for each in terms], np.float64)

  def pseudo_perplexity(
    self,
    texts: Iterable[str],
    too_long: str = 'window',
    *,
    within_word: bool = False,
    masked_together: int = 1,
  ) -> float:
    """Returns exp(- mean log p) over the pieces of all texts; see `pseudo_log_likelihood`.

    Raises:
      UserError: there is no text, or see `pseudo_log_likelihood`.
    """
    terms = self.piece_log_probabilities(texts, too_long, within_word, masked_together)
    if not terms:
      raise config_lib.UserError('texts must hold a text at least')
    return float(np.exp(-np.concatenate(terms).mean()))

  def piece_log_probabilities(
    self,
    texts: Iterable[str],
    too_long: str = 'window',
    within_word: bool = False,
    masked_together: int = 1,
    reader: encoding.Reader | None = None,
  ) -> list[np.ndarray]:
    """Returns float64 [pieces] of each text: the terms of `pseudo_log_likelihood`.

    Args:
      texts, too_long, within_word, masked_together: as there.
      reader: of the model that is asked; None for that of the run.
    """
    if type(masked_together) is not int or masked_together < 1:
      raise config_lib.UserError(f'masked_together = {masked_together!r}: must be 1 or more')
    contents = self.rows.fit(
      self.contents(texts), too_long, 'each piece is seen with those around it'
    )
    copies = lambda ids_T: self._copies(ids_T, within_word, masked_together)
    reader = reader or self.reader(self.mlm, self.mlm_params)
    return packed_copies.by_text(
      contents, copies, packed_copies.log_probabilities, reader, self.ids
    )

  @property
  def ids(self) -> tuple[int, int]:
    """The ids of [CLS] and [SEP]."""
    return self.tokenizer.cls_id, self.tokenizer.sep_id

  def _copies(
    self, ids_T: np.ndarray, within_word: bool, masked_together: int
  ) -> Iterator[hidden_copies.Copies]:
    tokenizer = self.tokenizer
    starts_T = hidden_copies.starts_of_words(ids_T, tokenizer.starts_V, tokenizer.ends_V)
    room = self.rows.length - pack.OVERHEAD
    return hidden_copies.of_text(
      ids_T, starts_T, tokenizer.mask_id, room, within_word, masked_together
    )

  def masked(
    self, texts: Iterable[str], policy: masking.Policy | None = None, seed: int = 0
  ) -> mask_html.MaskedTexts:
    """Returns, for each text, a list of MaskedPiece: what a policy does to it.

    A notebook shows the texts with their masks coloured, and a legend.

    Args:
      texts: list of str.
      policy: a masking.Policy; None for the one that the run trains with, as it is at the
        end of the training. One that selects by classes has their names in its table, so it
        must be given, made with the `table` of the prepared data.
      seed: of the draws; text i is example (0, i) on its first visit.

    Raises:
      UserError: what is given is no policy; a policy that selects by classes is not given, or the
        classes of the run's data are none that a text can have, or it hides collocations, of which
        the run has none.
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
    elif not isinstance(policy, masking.Policy):
      raise config_lib.UserError(f'policy = {policy!r}: must come from masking.make or .preset')
    if 'collocations' in policy.needs and self._joins is None:
      raise config_lib.UserError(
        "masking.unit = 'collocation': the run's data was prepared without collocations"
      )
    texts, classes = rows_lib.checked(texts), None
    contents = self.rows.fit(self.contents(texts), 'error', '')
    rows = [self.rows.row(each) for each in contents]
    if 'classes' in policy.needs:
      self._check_allowed('data.classes')
      classes = [
        mask_preview.classes_of(text, self.tokenizer, data, policy.table.classes) for text in texts
      ]
    return mask_html.MaskedTexts(
      pieces
      for i in range(0, len(rows), encoding.ROWS)
      for pieces in mask_preview.mask_rows(
        policy,
        rows[i : i + encoding.ROWS],
        self.tokenizer.piece,
        self.tokenizer.pad_id,
        length=data.row_length,
        seed=seed,
        first=i,
        joins=self._joins,
        classes=classes and classes[i : i + encoding.ROWS],
      )
    )

  def contents(self, texts: Iterable[str]) -> list[np.ndarray]:
    """Returns the ids of each text; UserError for an empty one."""
    contents = [self.rows.contents(text) for text in rows_lib.checked(texts)]
    for number, each in enumerate(contents):
      if not len(each):
        raise config_lib.UserError(f'{rows_lib.named(contents, number)} is empty')
    return contents

  def evaluate(self, suites: str) -> dict[str, Any]:
    """Returns {'step': ..., 'scores': [{'task', 'subset', 'metric', 'score', ...}, ...]}.

    Args:
      suites: 'NAME:PATH', or several with commas: zero-shot suites and their data, see
        evaluation/zero_shot.

    Raises:
      UserError: no such suite, data that are none, or what a suite refuses.
    """
    from mlm_jax.inference import zero_shot  # it opens runs itself

    return zero_shot.evaluate(self, suites)

  def _check_allowed(self, setting: str) -> None:
    config_lib.check_allowed(self.config, self._allow_code, self._workdir, (setting,))

  def _log_probabilities(self, rows: Iterable[tuple[np.ndarray, int]]) -> Iterator[np.ndarray]:
    """Yields float32 [n, V], batch after batch: log p at a place of each of the rows."""
    reader = self.reader(self.mlm, self.mlm_params)
    return reader.log_probabilities(rows, self.tokenizer.size)
