"""A number for a text or a pair of texts: regression, and the similarity of two texts.

A cross-encoder reads a pair as one, and a score is learned on it. A bi-encoder reads each text of a
pair alone and compares their vectors, by their cosine.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.data import tokenizers
from mlm_jax.data.examples import segments
from mlm_jax.data.examples import similarity as examples_lib
from mlm_jax.data.examples import store
from mlm_jax.evaluation import similarity as evaluation
from mlm_jax.models import pooling
from mlm_jax.models import text_embedding
from mlm_jax.models.architecture import Architecture
from mlm_jax.objectives import finetuning
from mlm_jax.objectives import similarity

Example = examples_lib.Example
read, stream, unlabelled = examples_lib.read, examples_lib.stream, examples_lib.unlabelled
_TEXTS = 2  # of a pair
_ROUNDED = 6  # digits of what is written down


def check(task: Any) -> None:
  if _is_bi(task) and not task.second_text:
    raise config_lib.UserError(
      "config.task.second_text = '': must be the column of the second text where "
      'config.task.similarity.encoder is bi: the cosine is of two texts'
    )


def _is_bi(task: Any) -> bool:
  return task.similarity.encoder == 'bi'


def key(example: Example) -> tuple[str, ...]:
  return tuple(sorted(example.texts))  # two texts are as similar the other way round


def facts(task: Any, training: Sequence[Example]) -> dict[str, Any]:
  """Returns {'shift', 'scale'}: (score - shift) / scale is what is learned.

  A cross-encoder learns scores of mean 0 and variance 1, a bi-encoder cosines from 0 to 1 for
  scores from the least to the largest one. What is predicted is in the unit of the scores again.
  """
  score_N = np.array([each.score for each in training], np.float64)
  low, high = float(score_N.min()), float(score_N.max())
  if low == high:
    raise config_lib.UserError(
      f'{task.train}: every training example has the score {low:g}; there is nothing to learn'
    )
  if _is_bi(task):
    return {'shift': low, 'scale': high - low}
  return {'shift': float(score_N.mean()), 'scale': float(score_N.std())}


def encode(
  examples: Sequence[Example], config: Any, tokenizer: tokenizers.Tokenizer, facts: dict
) -> store.Encoded:
  fields = [dataclasses.asdict(each) for each in examples]
  known = [facts['shift'] if each.score is None else each.score for each in examples]
  score_N = ((np.array(known) - facts['shift']) / facts['scale']).astype(np.float32)
  if not _is_bi(config.task):
    seps = models.pair_seps(config.model)
    tokens, cut = segments.encode([each.texts for each in examples], tokenizer, config.data, seps)
    return store.Encoded(fields, tokens, {similarity.SCORE: score_N}, {similarity.SCORE: 0}, cut)
  if config.data.max_segments < _TEXTS:
    raise config_lib.UserError(
      f'config.data.max_segments = {config.data.max_segments}: must be at least {_TEXTS} where '
      'config.task.similarity.encoder is bi: the texts of a pair are in one row'
    )
  texts = [text for each in examples for text in each.texts]
  tokens, cut = segments.encode_alone(texts, tokenizer, config.data, _longest(config))
  each_N = lambda values: np.repeat(values, _TEXTS)
  return store.Encoded(
    fields,
    tokens,
    {
      similarity.SCORE: each_N(score_N),
      finetuning.TEXT: np.tile(np.arange(_TEXTS, dtype=np.int8), len(examples)),
    },
    {similarity.SCORE: 0, finetuning.TEXT: -1},
    cut,
    number=each_N(np.arange(len(examples), dtype=np.int32)),
    together=True,
  )


def _longest(config: Any) -> int:
  """Returns the tokens of a text at most, so that its vector does not depend on the other text."""
  return config.data.row_length // _TEXTS


def head(config: Any, architecture: Architecture, facts: dict) -> finetuning.Head:
  if _is_bi(config.task):
    return similarity.CosineHead(config.task.pooling)
  module = models.sequence_head(config.model, architecture, 1)
  return similarity.RegressionHead(module, config.task.pooling)


def embedding(config: Any) -> text_embedding.TextEmbedding | None:
  """Returns how a bi-encoder makes a vector of a text; None of a cross-encoder."""
  if not _is_bi(config.task):
    return None
  return text_embedding.TextEmbedding(
    modes=(config.task.pooling,),
    modules=(pooling.Normalize(),),
    max_tokens=_longest(config),
    similarity='cosine',
  )


def has_pairs(task: Any) -> bool:
  return bool(task.second_text) and not _is_bi(task)


def metrics(task: Any) -> dict[str, str]:
  return evaluation.METRICS


def score(outputs: list[dict], examples: Sequence[Example], facts: dict) -> dict[str, float]:
  true_N = np.array([each.score for each in examples])
  return evaluation.scores(_predicted(outputs, facts), true_N)


def _predicted(outputs: list[dict], facts: dict) -> np.ndarray:
  """Returns what is predicted for each example, in the unit of the scores."""
  # Of a pair that is two segments the first one has it.
  firsts = {each['example']: each[similarity.PREDICTED] for each in reversed(outputs)}
  predicted_N = np.array([firsts[number] for number in sorted(firsts)], np.float64)
  return predicted_N * facts['scale'] + facts['shift']


def predictions(
  outputs: list[dict], examples: Sequence[Example], facts: dict
) -> list[dict[str, Any]]:
  """Returns {text, second_text, score, prediction, error} of each example.

  Without a second text or a score there is none, nor what follows from it.
  """
  found = []
  for example, predicted in zip(examples, _predicted(outputs, facts).tolist(), strict=True):
    line: dict[str, Any] = dict(zip(('text', 'second_text'), example.texts))
    line |= {} if example.score is None else {'score': example.score}
    line['prediction'] = round(predicted, _ROUNDED)
    if example.score is not None:
      line['error'] = round(predicted - example.score, _ROUNDED)
    found.append(line)
  return found


def errors(predictions: list[dict[str, Any]], facts: dict) -> dict[str, Any]:
  """Returns what evaluation.similarity.tables says."""
  return evaluation.tables(predictions)
