"""The tables of scores by slices of the masked tokens."""

from collections.abc import Mapping
from collections.abc import Sequence

from mlm_jax.report import document
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import statistics
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import join
from mlm_jax.report.markup import tag
from mlm_jax.report.sweep_results import Sweep

_SLICES_NOTE = (
  'Loss of masked held-out tokens by their kind, means over seeds, and in small type the mean '
  'difference to the baseline. These are descriptions: nothing here is tested.'
)


def section(sweep: Sweep, findings: findings_lib.Findings) -> Markup | str:
  """Returns the section of scores by slices of the masked tokens, '' where no run has them."""
  arms = [
    arm
    for arm in sweep.arms
    if arm not in findings.refused and any(run.slices for run in sweep.of(arm, 'done'))
  ]
  kinds = dict.fromkeys(kind for run in sweep.runs for kind in run.slices.get('slices', {}))
  if not arms or not kinds:
    return ''
  parts = [tag('h2', 'Where they differ'), tag('p', _SLICES_NOTE, class_='note')]
  for kind in kinds:
    # Each arm has other tokens under its own policy, so there is no difference to show.
    is_policy = kind == 'policy action'
    compared = [] if is_policy else [arm for arm in arms if arm != sweep.baseline]
    heading = 'By what the model saw, under each arm’s own policy' if is_policy else f'By {kind}'
    parts += [
      tag('h3', heading),
      _slices_of(sweep, kind, arms, compared, 'loss'),
      tag(
        'details', tag('summary', 'Accuracy'), _slices_of(sweep, kind, arms, compared, 'accuracy')
      ),
    ]
  return join(parts)


def _slices_of(
  sweep: Sweep, kind: str, arms: Sequence[str], compared: Sequence[str], metric: str
) -> Markup:
  """Returns the table of one kind: a row per slice, a column per arm."""
  scores = {
    arm: {
      run.seed: {row['slice']: row[metric] for row in run.slices.get('slices', {}).get(kind, ())}
      for run in sweep.of(arm, 'done')
    }
    for arm in arms
  }
  # Not every run has every slice: the names are those of all runs, in the order they are met.
  names = dict.fromkeys(
    name for of_arm in scores.values() for of_seed in of_arm.values() for name in of_seed
  )
  baseline = scores.get(sweep.baseline, {})
  against = {arm: baseline if arm in compared else {} for arm in arms}
  # Sorted by their number: a sort by the first column restores the order of slices.json.
  rows = [
    [document.cell(name, number), *(_slice(name, scores[arm], against[arm]) for arm in arms)]
    for number, name in enumerate(names)
  ]
  return document.table(['slice', *arms], rows)


def _slice(
  name: str,
  of_seed: Mapping[int, Mapping[str, float | None]],
  baseline: Mapping[int, Mapping[str, float | None]],
) -> Markup:
  """Returns the cell of one slice in one arm."""
  values = {
    seed: value for seed, of_slice in of_seed.items() if (value := of_slice.get(name)) is not None
  }
  mean = statistics.estimate(values.values()).mean
  if mean is None:
    return document.cell('–', '')
  # Paired by seed, over the seeds that both arms have.
  difference = statistics.estimate(
    [
      value - theirs
      for seed, value in values.items()
      if (theirs := baseline.get(seed, {}).get(name)) is not None
    ]
  ).mean
  small = '' if difference is None else tag('small', f' {difference:+.3f}'.replace('-', '−'))
  return document.cell(join([f'{mean:.3f}', small]), mean)
