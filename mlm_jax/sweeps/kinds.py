"""What a sweep asks of its kind of run: pretraining (pretrained) or fine-tuning (finetuned)."""

from collections.abc import Callable
from typing import Any
from typing import Protocol
from typing import cast

from mlm_jax import config as config_lib


class Kind(Protocol):
  """What the module of a kind holds.

  Attributes:
    BUDGETS: what all arms may spend alike; the first one if a sweep names none.
    LENGTHS: settings that say how long a run trains, which are left to the budget.
  """

  BUDGETS: tuple[str, ...]
  LENGTHS: tuple[str, ...]

  def resolve(self, config: config_lib.Config) -> config_lib.Config:
    """Returns a run's config in full, checked as far as that takes no device."""
    ...

  def data_folder(self, config: config_lib.Config, base: config_lib.Config) -> str:
    """Returns the name of the folder of prepared data, equal for runs that can share it."""
    ...

  def data_key(self, config: config_lib.Config) -> Any:
    """Returns what differs between runs whose data is prepared apart."""
    ...

  def prepare(self, config: config_lib.Config, log: Callable[[str], None]) -> None:
    """Prepares the data of a config with data.prepared."""
    ...

  def needs_data(self, budget: str) -> bool:
    """Whether a plan can be made only of prepared data."""
    ...

  def metrics(self, config: config_lib.Config) -> dict[str, str]:
    """Returns {score of a config's run: 'min' or 'max', which is better}; the first one is what a
    sweep is decided by that names none."""
    ...

  def watched(self, metric: str) -> str:
    """Returns the field of evaluations.jsonl that is watched in a sweep that is decided by a
    metric."""
    ...

  def cost(self, config: config_lib.Config) -> dict[str, float]:
    """Returns {budget or another cost: an estimate of what a whole run will spend}."""
    ...

  def own_steps(self, config: config_lib.Config) -> int:
    """Returns the number of steps that a config itself asks for."""
    ...

  def steps(self, config: config_lib.Config, budget: str, spent: float) -> int:
    """Returns the number of steps in which a config's run spends `spent` of a budget."""
    ...

  def with_steps(self, config: config_lib.Config, steps: int) -> config_lib.Config:
    """Returns the config of a run of so many steps, as its folder will hold it."""
    ...


def of(config: config_lib.Config) -> Kind:
  """Returns the kind of a config's run."""
  # Imported here: each imports what the other does not need.
  if 'task' in config:
    from mlm_jax.sweeps import finetuned

    return cast(Kind, finetuned)
  from mlm_jax.sweeps import pretrained

  return cast(Kind, pretrained)
