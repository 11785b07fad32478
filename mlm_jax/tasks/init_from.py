"""The run in config.init_from, from whose parameters another one starts."""

from collections.abc import Callable
import pathlib
from typing import Any

import jax

from mlm_jax import config as config_lib
from mlm_jax import objectives
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.data import extension as extension_lib
from mlm_jax.data import store
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.models import text_embedding
from mlm_jax.objectives import restored
from mlm_jax.tasks import new_rows
from mlm_jax.training import divergence
from mlm_jax.training import saved


def check(config: Any, objective: objectives.Objective) -> None:
  """Raises UserError for what of the errors of `params` can be known before data is prepared.

  Args:
    config: resolved.
    objective: with the pieces of config.data.tokenizer, if that is a file.
  """
  if not config.init_from:
    return
  model = _open(config.init_from)
  path = pathlib.Path(config.data.tokenizer)
  # The tokenizer of data that were prepared before is known when these are opened.
  if config.data.tokenizer not in tokenizer_lib.TRAINED and path.is_file():
    tokenizer = tokenizer_lib.load(path)
    _check_tokenizer(model, tokenizer.sha256, config.init_from)
    # Which parts the new pieces have decides no shape.
    parts = ((0,),) * extension_lib.asked(config)
    _taken(config, objective, model, new_rows.NewRows(tokenizer.size, parts) if parts else None)


def params(
  config: Any,
  objective: objectives.Objective,
  prepared: store.Prepared,
  log: Callable[[str], None],
) -> dict[str, jax.Array] | None:
  """Returns {path: array} of what the run in config.init_from gives, None without one.

  Of the same objective that is all; of another one it is the encoder, and the heads are new. Where
  the tokenizer was extended, each new piece starts from the mean of its parts.

  Raises:
    UserError: no run there, or one with another tokenizer, another encoder, or a parameter that is
      not finite.
  """
  place = config.init_from
  if not place:
    return None
  model = _open(place)
  added = None
  if extension := extension_lib.read((prepared.directory / store.TOKENIZER).parent):
    added = new_rows.NewRows(extension.first_id, extension.parts)
  _check_tokenizer(model, extension.extends if extension else prepared.tokenizer.sha256, place)
  taken, new = _taken(config, objective, model, added)
  tops = lambda paths: ', '.join(dict.fromkeys(path.split('/')[0] for path in paths))
  log(
    f'starts from {place} at step {model.step}: takes {tops(taken)}; new: {tops(new) or "nothing"}'
  )
  return taken


def encoder(
  config: Any, objective: Any, tokenizer: tokenizer_lib.Tokenizer, log: Callable[[str], None]
) -> dict[str, jax.Array] | None:
  """Returns {path: array} of the encoder that the run in config.init_from gives; None for none.

  Its head, whatever it was for, is left behind. With config.task.from_scratch nothing is taken.

  Raises:
    UserError: as `params`.
  """
  if config.task.from_scratch:
    log('starts from scratch: every parameter is new')
    return None
  model = _open(config.init_from)
  _check_tokenizer(model, tokenizer.sha256, config.init_from)
  given = restored.encoder_params(model, tokenizer)
  made = jax.eval_shape(objective.init, rng.root_key(0))
  ours = jax.eval_shape(objective.encoder_params, made)
  try:
    taken, _ = saved.matching(ours, given, tuple(ours))
  except ValueError as error:
    raise config_lib.UserError(
      f'config.init_from = {config.init_from} has another encoder: {error}; leave '
      "config.model.family = '' to take its settings"
    ) from None
  new = len(trees.paths(made)) - len(taken)
  log(f'starts from the encoder of {config.init_from} at step {model.step}; {new} new arrays')
  return taken


def embedding(place: str) -> dict[str, pathlib.Path]:
  """Returns {name: path} of how the run in config.init_from makes vectors of texts, if it says."""
  path = pathlib.Path(place) / text_embedding.FOLDER
  return {text_embedding.FOLDER: path} if place and path.is_dir() else {}


def _open(place: str) -> saved.SavedModel:
  model = saved.open_model(place)
  if path := divergence.nonfinite(model.params):
    raise config_lib.UserError(
      f'config.init_from = {place}: its parameter {path} is not finite at step {model.step}; start '
      'from another run'
    )
  return model


def _check_tokenizer(model: saved.SavedModel, sha256: str, place: str) -> None:
  # With other ids the embeddings would be those of other pieces, and no shape would tell.
  if model.fingerprints.get('tokenizer') != sha256:
    raise config_lib.UserError(
      f'config.init_from = {place} has another tokenizer than the data; prepare them with '
      f'config.data.tokenizer={pathlib.Path(place) / store.TOKENIZER}'
    )


def _taken(
  config: Any,
  objective: objectives.Objective,
  model: saved.SavedModel,
  added: new_rows.NewRows | None = None,
) -> tuple[dict[str, jax.Array], Any]:
  """Returns ({path: array} of what fits, paths that are new)."""
  ours = jax.eval_shape(objective.init, rng.root_key(0))
  given = added.put(model, config.model.vocab_size) if added else model.params
  # With the same structure everything is taken. Else the encoder is; and of another objective not
  # the head, which may predict something else under the same name.
  if trees.paths(ours).keys() != trees.paths(given).keys():
    # Where its encoder is in its parameters depends on no id.
    pieces = model.config.model.vocab_size or config.data.vocab_size
    theirs = objectives.make(model.config, pieces, pad_id=0, sep_id=0, head_rows=1)
    given = theirs.encoder_params(given)
    # A generator is a model of its own, and heads of different objectives mean different things.
    same = model.config.objective.name == config.objective.name
    left_out = ('generator',) if same else ('generator', 'head')
    given = {name: each for name, each in given.items() if name not in left_out}
  encoder = jax.eval_shape(objective.encoder.init, rng.root_key(0))
  # Without all of the encoder the run would start from a mixture of trained and random layers.
  needed = tuple(name for name in encoder if name != 'head')
  try:
    return saved.matching(ours, given, needed)
  except ValueError as error:
    raise config_lib.UserError(
      f'config.init_from = {config.init_from} has another model: {error}; take its settings with '
      f'--config={config.init_from}/config.json'
    ) from None
