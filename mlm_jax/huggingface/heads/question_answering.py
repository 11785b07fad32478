"""The classes for extractive question answering."""

from collections.abc import Mapping
from typing import Any

from mlm_jax.huggingface import names
from mlm_jax.huggingface import tuned
from mlm_jax.huggingface import values
from mlm_jax.huggingface.kind import Kind
from mlm_jax.objectives import finetuning

CLASS = 'ForQuestionAnswering'
# As in the example run_qa.py of `transformers`; shorter rows have less of the two.
_ROW, _STRIDE, _QUESTION = 384, 128, 64
_MOST = 1 << 20
_ANSWERS = (
  values.whole('n_best', 1, 1 << 10, 20),
  values.whole('max_answer_pieces', 1, _MOST, 30),
)


def rules(of: Kind) -> list[names.Rule]:
  return of.sequence_head.token_rules('qa_outputs', finetuning.HEAD)


def to_theirs(config: Any, facts: Mapping[str, Any], of: Kind) -> dict[str, Any]:
  read, head = config.task.question_answering, of.sequence_head
  return {
    **({head.dropout: config.model.dropout} if head.norm else {}),
    **of.answer_settings,
    **tuned.own_entry(
      config,
      {
        'stride': read.stride,
        'max_question_pieces': read.max_question_pieces,
        **{each.name: facts[each.name] for each in _ANSWERS},
        'has_unanswerable': facts['has_unanswerable'],
        'threshold': facts['threshold'],
      },
    ),
  }


def to_ours(theirs: Mapping[str, Any], of: Kind) -> tuned.Tuned | None:
  if len(tuned.labels(theirs)) != 2:
    values.refuse(theirs, 'id2label', f'of the two scores of a token; {tuned.WITHOUT}')
  most = values.whole('max_position_embeddings', 8, _MOST, _ROW).read(theirs)
  own, row = tuned.own(theirs), min(tuned.row_length(theirs, _ROW), most)
  answers = {each.name: each.read(own) for each in _ANSWERS}
  reading = {
    'stride': values.whole('stride', 0, _MOST, min(_STRIDE, row // 3)).read(own),
    'max_question_pieces': values.whole(
      'max_question_pieces', 1, _MOST, min(_QUESTION, row // 4)
    ).read(own),
  }
  return tuned.Tuned(
    {
      'name': 'question_answering',
      'text': 'question',
      'second_text': 'context',
      **{f'question_answering.{name}': value for name, value in (reading | answers).items()},
    },
    {
      'has_unanswerable': values.flag(own, 'has_unanswerable', False),
      'threshold': values.real('threshold', -1e30, 1e30, 0.0).read(own),
      **answers,
    },
    row,
  )
