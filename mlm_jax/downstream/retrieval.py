"""Retrieval: the documents that answer a query are those whose vectors are nearest to its own."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
from typing import Any
from typing import NoReturn

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.data import store as data_store
from mlm_jax.data import tokenizers
from mlm_jax.data.examples import retrieval as examples_lib
from mlm_jax.data.examples import segments
from mlm_jax.data.examples import store
from mlm_jax.evaluation import rankings
from mlm_jax.evaluation import search
from mlm_jax.models import pooling
from mlm_jax.models import text_embedding
from mlm_jax.models.architecture import Architecture
from mlm_jax.objectives import contrastive
from mlm_jax.objectives import finetuning

Example = examples_lib.Example
splits, files = examples_lib.splits, examples_lib.files
OF_TRAINING = tuple(
  f'task.retrieval.{name}' for name in ('temperature', 'learn_temperature', 'dimensions')
)


def check(task: Any) -> None:
  """Raises UserError for dimensions that are none."""
  sizes = task.retrieval.dimensions
  if not all(isinstance(each, int) and each > 0 for each in sizes) or len({*sizes}) < len(sizes):
    raise config_lib.UserError(
      f'config.task.retrieval.dimensions = {sizes!r}: must be whole numbers above 0 that differ'
    )


def read(path: str, task: Any) -> list[Example]:
  """Returns the queries of a file or folder, and the documents."""
  source = examples_lib.read(path, task)
  _, grades = source.judged('test')
  return source.examples(grades, grades)


def stream(path: str, task: Any) -> Iterator[Example]:
  """Yields the queries of a file or folder, whether judged or not, and the documents."""
  whole = examples_lib.read(path, task).whole
  yield from examples_lib.texts(examples_lib.QUERY, whole.queries)
  yield from examples_lib.texts(examples_lib.DOCUMENT, whole.documents)


def unlabelled(where: str, given: Any, task: Any) -> NoReturn:
  raise config_lib.UserError(
    'a run of retrieval ranks documents: open_run(...).search(queries, documents)'
  )


def key(example: Example) -> tuple[str, str]:
  # Documents are found and not learned: they are shared by all splits.
  kind = example.kind
  return ('', example.texts[0]) if kind != examples_lib.DOCUMENT else (kind, example.id)


def facts(task: Any, training: Sequence[Example]) -> dict[str, Any]:
  """Returns {'prompts': {'query', 'document'}, what is put before each}."""
  return {'prompts': _prompts(task)}


def _prompts(task: Any) -> dict[str, str]:
  return {'query': task.retrieval.query_prompt, 'document': task.retrieval.document_prompt}


def encode(
  examples: Sequence[Example], config: Any, tokenizer: tokenizers.Tokenizer, facts: dict
) -> store.Encoded:
  if examples[0].kind == examples_lib.PAIR:
    return _encode_pairs(examples, config, tokenizer)
  is_query = [each.kind == examples_lib.QUERY for each in examples]
  tokens, cut = _tokens([each.texts[0] for each in examples], is_query, config, tokenizer)
  return store.Encoded([dataclasses.asdict(each) for each in examples], tokens, {}, {}, cut)


def _tokens(
  texts: Sequence[str], is_query: Sequence[bool], config: Any, tokenizer: tokenizers.Tokenizer
) -> tuple[list[np.ndarray], int]:
  """Returns (the tokens of each text behind its prompt, how many were cut)."""
  settings = config.task.retrieval
  found: list[Any] = [None] * len(texts)
  all_cut = 0
  for kind, prompt, longest in (
    (True, settings.query_prompt, settings.max_query_tokens),
    (False, settings.document_prompt, settings.max_document_tokens),
  ):
    places = [n for n, each in enumerate(is_query) if each == kind]
    given = [prompt + texts[n] for n in places]
    tokens, cut = segments.encode_alone(given, tokenizer, config.data, longest)
    all_cut += cut
    for n, each in zip(places, tokens, strict=True):
      found[n] = each
  return found, all_cut


def _encode_pairs(
  examples: Sequence[Example], config: Any, tokenizer: tokenizers.Tokenizer
) -> store.Encoded:
  """Returns each pair as the texts of a row: the query, its document and the negatives."""
  _check_rows(config)
  counts = [len(each.texts) for each in examples]
  texts = [text for each in examples for text in each.texts]
  place_N = np.concatenate([np.arange(count) for count in counts]).astype(np.int8)
  number_N = np.repeat(np.arange(len(examples), dtype=np.int32), counts)
  tokens, cut = _tokens(texts, (place_N == 0).tolist(), config, tokenizer)
  # Equal texts are one document, and so are parts of one.
  numbers: dict[tuple[str, str], int] = {}
  number = lambda *key: numbers.setdefault(key, len(numbers))
  own = [number(each.origin, '' if each.origin else each.texts[1]) for each in examples]
  document_N, known = np.full(len(texts), -1, np.int32), {}
  begins = np.cumsum([0, *counts])
  for n, each in enumerate(examples):
    negatives = [number('', text) for text in each.texts[2:]]
    document_N[begins[n] + 1 : begins[n + 1]] = [own[n], *negatives]
    known.setdefault(each.texts[0], {})[own[n]] = None
  known_NK = np.full((len(texts), max(map(len, known.values()))), -1, np.int32)
  for n, each in enumerate(examples):
    known_NK[begins[n], : len(known[each.texts[0]])] = list(known[each.texts[0]])
  columns = {
    contrastive.DOCUMENT: document_N,
    contrastive.KNOWN: known_NK,
    finetuning.TEXT: place_N,
  }
  fields = [dataclasses.asdict(each) for each in examples]
  fills = dict.fromkeys(columns, -1)
  return store.Encoded(
    fields, tokens, columns, fills, cut, number=number_N, together=True, per_row=1
  )


def _check_rows(config: Any) -> None:
  """Raises UserError where a row does not hold an example."""
  settings, data = config.task.retrieval, config.data
  needed = settings.max_query_tokens + (1 + settings.negatives) * settings.max_document_tokens
  for name, least in (('row_length', needed), ('max_segments', 2 + settings.negatives)):
    if data[name] < least:
      raise config_lib.UserError(
        f'config.data.{name} = {data[name]}: must be at least {least}, for a query, its document '
        f'and {settings.negatives} negatives (config.task.retrieval) in a row'
      )


def row_groups(rows: data_store.Rows) -> np.ndarray:
  """Returns the number of the document that answers the query of each row."""
  return np.asarray(rows.columns[contrastive.DOCUMENT][:, 1])


def head(config: Any, architecture: Architecture, facts: dict) -> finetuning.Head:
  settings = config.task.retrieval
  if max(settings.dimensions, default=0) > architecture.width:
    raise config_lib.UserError(
      f'config.task.retrieval.dimensions = {settings.dimensions!r}: must be at most '
      f'{architecture.width}, the width of the encoder'
    )
  return contrastive.ContrastiveHead(
    config.task.pooling,
    settings.temperature,
    settings.learn_temperature,
    settings.negatives,
    tuple(sorted(settings.dimensions)),
  )


def embedding(config: Any) -> text_embedding.TextEmbedding:
  """Returns how a text's vector is made, with a prompt for queries and one for documents."""
  return text_embedding.TextEmbedding(
    modes=(config.task.pooling,),
    modules=(pooling.Normalize(),),
    max_tokens=config.task.retrieval.max_document_tokens,
    prompts=_prompts(config.task),
    similarity='cosine',
  )


def has_pairs(task: Any) -> bool:
  return False  # each text is read alone


def metrics(task: Any) -> dict[str, str]:
  return rankings.METRICS


def score(outputs: list[dict], examples: Sequence[Example], facts: dict) -> dict[str, float]:
  """Returns the means over the queries, NaN where a vector is not finite."""
  ranked, grades, scores = _searched(outputs, examples)
  if not np.isfinite(scores).all():
    return dict.fromkeys(rankings.METRICS, float('nan'))
  return rankings.means(rankings.scores(ranked, grades))


def _searched(
  outputs: list[dict], examples: Sequence[Example]
) -> tuple[dict[str, list[str]], dict[str, dict[str, int]], list[list[float]]]:
  """Returns ({query: documents, the best first}, the grades, the scores of these documents)."""
  vectors: dict[str, list] = {examples_lib.QUERY: [], examples_lib.DOCUMENT: []}
  ids: dict[str, list] = {examples_lib.QUERY: [], examples_lib.DOCUMENT: []}
  for output, each in zip(outputs, examples, strict=True):
    vectors[each.kind].append(output[contrastive.EMBEDDING])
    ids[each.kind].append(each.id)
  queries_QD, documents_ND = (np.stack(each) for each in vectors.values())
  scores_QK, numbers_QK = search.top(queries_QD, documents_ND, rankings.DEPTH)
  queries, documents = ids.values()
  ranked = {
    query: [documents[n] for n in row] for query, row in zip(queries, numbers_QK, strict=True)
  }
  grades = {each.id: dict(each.relevant) for each in examples if each.kind == examples_lib.QUERY}
  return ranked, grades, scores_QK.tolist()


def predictions(
  outputs: list[dict], examples: Sequence[Example], facts: dict
) -> list[dict[str, Any]]:
  """Returns {id, query, ranking: [{id, score, grade}], and its scores beside BM25's} of each query.

  Without judgements there are no grades and no scores.
  """
  ranked, grades, scores = _searched(outputs, examples)
  texts = {
    kind: {each.id: each.texts[0] for each in examples if each.kind == kind}
    for kind in (examples_lib.QUERY, examples_lib.DOCUMENT)
  }
  return rankings.lines(ranked, scores, grades, *texts.values())


def errors(predictions: list[dict[str, Any]], facts: dict) -> dict[str, Any]:
  """Returns {'prompts'} and what rankings.tables says."""
  return {'prompts': facts['prompts']} | rankings.tables(predictions)
