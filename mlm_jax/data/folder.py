"""Which folder holds the prepared rows of a run, or of one of its stages."""

import pathlib


def of_stage(config, workdir: str | pathlib.Path | None, stage) -> pathlib.Path:
  """Returns the folder of a stage's prepared data; rows of another length have their own.

  Args:
    config: the run's.
    workdir: the run's folder; None where config.data.prepared names one.
    stage: the config of the stage.
  """
  folder = pathlib.Path(stage.data.prepared or pathlib.Path(workdir or '') / 'data')
  ours, first = ((data.row_length, data.max_segments) for data in (stage.data, config.data))
  if ours == first or stage.data.prepared != config.data.prepared:
    return folder
  segments = f'x{ours[1]}' if ours[1] != first[1] else ''
  return folder.with_name(f'{folder.name}_{ours[0]}{segments}')
