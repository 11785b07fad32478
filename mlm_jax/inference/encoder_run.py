"""What every opened run can do, whatever it was trained for: vectors of texts and of tokens."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.inference import embedding
from mlm_jax.inference import encoding
from mlm_jax.inference import rows as rows_lib
from mlm_jax.models import text_embedding
from mlm_jax.training import saved


class EncoderRun:
  """A trained encoder with its tokenizer.

  Attributes:
    config, tokenizer, step: what was read.
    trained: the parameters as they were trained.
    model, params: the encoder.
    embedding: how a vector of a text is made, see models.text_embedding.
  """

  def __init__(
    self,
    model: saved.SavedModel,
    tokenizer: tokenizer_lib.Tokenizer,
    objective: Any,
    log: Callable[[str], None],
  ):
    self.config, self.tokenizer = model.config, tokenizer
    # The last stage: what the model was made for in the end.
    self._last = config_lib.final_stage(model.config)
    self.trained, self.step = model.params, model.step
    self.model, self.params = objective.encoder, objective.encoder_params(model.params)
    self.embedding = text_embedding.read(model.workdir) or text_embedding.TextEmbedding()
    length = self._last.data.row_length
    self.rows = rows_lib.Maker(tokenizer, self._last.data, length, log)
    self._name = f'{model.workdir} at step {model.step}'

  def embed(
    self,
    texts: Iterable[str],
    pooling: str | Sequence[str] | None = None,
    *,
    layers: int | Sequence[int] | None = None,
    tokens: bool = False,
    prompt: str | None = None,
    too_long: str = 'truncate',
  ) -> Any:
    """Returns float32 [n, D]: a vector of each text, that of sentence-transformers' `encode`.

    Args:
      texts: of which an empty one is [CLS] [SEP].
      pooling: what is made of the vectors of a text's tokens, [CLS] and [SEP] among them: one of
        models.pooling.MODES, such as 'mean' or 'cls', or several, put side by side. None for what
        the model was imported with, and what follows it there, such as a norm; else the mean.
      layers: numbers as in `hidden_states` of `transformers`: 0 is what the first layer is given,
        1 to N what the layers give, -1 the last one. None for the last one. With a list of numbers
        the result is [n, layers, D].
      tokens: whether the vectors of the tokens themselves are wanted: a list of [tokens, D], or
        [layers, tokens, D], with [CLS] and [SEP].
      prompt: name of the model's prompt that goes before each text, '' for none; None for the one
        that the model was imported with as its default.
      too_long: where a text is longer than a row, or than what the model was imported with, only
        its beginning is read ('truncate'), its parts are and weigh as many as their tokens
        ('window'), or it is refused ('error').

    Raises:
      UserError: no list of texts, one that is refused, or none of these choices.
    """
    length = min(self.embedding.max_tokens or self.rows.length, self.rows.length)
    embedder = embedding.Embedder(
      self.reader(self.model, self.params),
      dataclasses.replace(self.rows, length=length),
      self.embedding,
    )
    modes, modules = self.embedding.modes, self.embedding.modules
    if pooling is not None:
      modes, modules = embedding.choose_modes(pooling), ()
      if tokens:
        raise config_lib.UserError('tokens = True: nothing is pooled then; leave pooling out')
    is_single = not isinstance(layers, Iterable)
    chosen = embedding.choose_layers(layers, self.model.architecture.layers)
    before, texts = embedding.choose_prompt(self.embedding, prompt), rows_lib.checked(texts)
    if tokens:
      found = embedder.tokens(texts, chosen, before, too_long)
      return [each[0] if is_single else each for each in found]
    vectors_KND = embedder(texts, modes, modules, chosen, before, too_long)
    return vectors_KND[0] if is_single else vectors_KND.swapaxes(0, 1)

  def reader(self, model: Any, params: Any) -> encoding.Reader:
    return encoding.Reader(
      model, params, self.tokenizer.pad_id, self._last.data.row_length, self._name
    )
