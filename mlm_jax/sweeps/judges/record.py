"""What sweep.json says of the judges: those named, and those that runs were judged by before."""

from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.evaluation import judgements
from mlm_jax.sweeps import judges as judges_lib
from mlm_jax.sweeps.judges import fine_tuned

_SAME = ('score', 'asked')


def before(workdir: pathlib.Path, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns what sweep.json says of the judges, [] where no run of the folder is judged yet.

  Args:
    workdir: of the sweep.
    plan: what sweep.json holds.

  Raises:
    KeyError, TypeError, ValueError: it is damaged.
  """
  names = (judgements.FILE, fine_tuned.FOLDER)
  if not any(each for name in names for each in (workdir / 'runs').glob(f'*/{name}')):
    return []
  return [
    {**each, 'name': str(each['name']), 'score': str(each['score']), 'asked': dict(each['asked'])}
    for each in plan.get('judges', ())
  ]


def check(judges: Mapping[str, judges_lib.Ready], judged: Sequence[dict[str, Any]]) -> None:
  """Raises UserError where a judge has the name of one that was something else."""
  for there in judged:
    if there['name'] not in judges:
      continue
    here = judges[there['name']].described(there['name'])
    # Under one name there would be scores of two protocols.
    if any(here[key] != there[key] for key in _SAME):
      raise config_lib.UserError(
        f'judge {there["name"]}: it judged the runs there as something else: {_change(here, there)}'
        '; give the new one another name'
      )


def _change(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
  """Returns the first thing that differs."""
  flat = [
    {'score': each['score'], **each['asked'], **each['asked'].get('finetune', {})}
    for each in (here, there)
  ]
  keys = sorted((flat[0].keys() | flat[1].keys()) - {'finetune'})
  key = next(each for each in keys if flat[0].get(each) != flat[1].get(each))
  return f'{key} is {flat[0].get(key)!r} here, {flat[1].get(key)!r} there'


def described(
  judges: Mapping[str, judges_lib.Ready], judged: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
  """Returns the judges named, and those that are not any more but have judged runs."""
  # Else who drops the judges that do not please would have narrower intervals of the others.
  left = [{**each, 'removed': True} for each in judged if each['name'] not in judges]
  return [judge.described(name) for name, judge in judges.items()] + left
