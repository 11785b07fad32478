"""When a run ends before its last step: rules over the evaluations so far."""

from collections.abc import Callable
import math

from mlm_jax.training import problem as problem_lib


def reason(problem: problem_lib.Problem, evaluations: list[dict]) -> str:
  """Returns why a run ends at its last evaluation, '' where it continues.

  Args:
    problem: whose ranking's patience and stop rule decide.
    evaluations: the lines of evaluations.jsonl so far.
  """
  return (
    beyond(problem.ranking, evaluations)
    or patience(problem.ranking)(evaluations)
    or problem.stop_rule(evaluations)
  )


def beyond(ranking: problem_lib.Ranking, evaluations: list[dict]) -> str:
  """Returns why the last evaluation is outside of the ranking's allowance, '' where it is not."""
  guarded = [line for line in evaluations if ranking.guard in line]
  if not guarded or guarded[-1] is not evaluations[-1]:
    return ''
  # A NaN is beyond too.
  first, last = (line[ranking.guard] for line in (guarded[0], guarded[-1]))
  rise = math.nan if first is None or last is None else last - first
  if rise <= ranking.allowance:
    return ''
  return (
    f'{ranking.guard} has risen by {rise:.4f} since step {guarded[0]["step"]}, more than the '
    f'{ranking.allowance:g} allowed'
  )


def best_first(ranking: problem_lib.Ranking, score: float) -> float:
  """Returns a score such that less is better, whatever the ranking's mode."""
  return -score if ranking.mode == 'max' else score


def patience(ranking: problem_lib.Ranking) -> Callable[[list[dict]], str]:
  """Returns the stop rule of a ranking: no improvement in so many evaluations in a row.

  A score that is not finite counts as one that did not improve. An evaluation without a score,
  where nothing was predicted, says nothing of it.
  """

  def rule(evaluations: list[dict]) -> str:
    if not ranking.patience:
      return ''
    # From all lines each time, without a state: so it gives the same after a resume.
    best, since = math.inf, 0
    for score in (line[ranking.field] for line in evaluations if ranking.field in line):
      # `not <` and not `>=`: a NaN is not an improvement.
      if score is None or not best_first(ranking, score) < best - ranking.min_delta:
        since += 1
      else:
        best, since = best_first(ranking, score), 0
    if since < ranking.patience:
      return ''
    return f'{ranking.field} has not improved in {since} evaluations'

  return rule
