"""Masking policies of published systems, as settings of the group `masking`.

Each is the distribution that its paper means. Known defects of the published code are
left out: split by sub-word inside a whole word (BERT), positions drawn twice (ELECTRA),
the empty end of a row (DeBERTa). Other differences from a paper are noted beside the preset.
"""

import difflib
from typing import Any

from mlm_jax.config import defaults
from mlm_jax.config.keys import Config
from mlm_jax.config.keys import UserError

_MASK_ONLY = (1.0, 0.0, 0.0)

PRESETS: dict[str, dict[str, Any]] = {
  # arXiv:1810.04805; its static masks: ten copies of the data.
  'bert': {'static_copies': 10},
  'bert_whole_word': {'unit': 'word', 'static_copies': 10},
  # arXiv:1907.11692.
  'roberta': {},
  # arXiv:1907.10529, section 3.1. Spans tile the text instead of being thrown on it, and two
  # that touch are masked, replaced or kept each by itself.
  'spanbert': {
    'unit': 'span',
    'span_of': 'word',
    'span_length_distribution': 'geometric',
    'span_p': 0.2,
    'span_max': 10,
  },
  # arXiv:2010.01825.
  'pmi': {'unit': 'collocation'},
  # arXiv:2003.10555: the generator's; .25 for its large model.
  'electra': {'corruption_probs': (0.85, 0.0, 0.15)},
  # arXiv:2006.03654: n-grams of 1 to 3 words, P(n) proportional to 1 / n.
  'deberta_ngram': {
    'unit': 'span',
    'span_of': 'word',
    'span_length_distribution': 'harmonic',
    'span_max': 3,
  },
  # arXiv:2208.10806, masking ratio decay, with the numbers of the code published with it
  # (github.com/mutonix/better_masking). The means are .17, .15, .15, .21 and .1; compare the
  # schedules with mean_rate.
  'time_variant': {'schedule': 'cosine', 'rate': 0.32, 'final_rate': 0.02},
  'time_variant_linear': {'schedule': 'linear', 'rate': 0.3, 'final_rate': 0.0},
  'time_variant_ascending': {'schedule': 'linear', 'rate': 0.0, 'final_rate': 0.3},
  'time_variant_square_above': {
    'schedule': 'polynomial',
    'rate': 0.31,
    'final_rate': 0.01,
    'rate_power': 2.0,
  },
  'time_variant_square_below': {
    'schedule': 'early_polynomial',
    'rate': 0.3,
    'final_rate': 0.0,
    'rate_power': 2.0,
  },
  # Weights follow the running loss of each part of speech (needs data.classes). The paper accepts
  # shuffled words by their weight until the budget; here the probability is proportional to it.
  'pos_weighted': {'unit': 'word', 'selection': 'class'},
  # Adaptive masking, the probability of a token falls with the accuracy on its vocabulary entry.
  'amlm': {'selection': 'accuracy', 'schedule': 'linear', 'rate': 0.4, 'final_rate': 0.15},
  # arXiv:2202.08005, "Should you mask 15 %".
  'dinky40': {'rate': 0.4, 'corruption_probs': _MASK_ONLY},
  # arXiv:2410.24159: spans of 1 to 3 tokens tile the row, the rate falls. The history of what
  # was masked before is left out: it would be no function of the example.
  'gptbert': {
    'unit': 'span',
    'span_of': 'token',
    'span_length_distribution': 'uniform',
    'span_max': 3,
    'schedule': 'linear',
    'rate': 0.3,
    'final_rate': 0.15,
  },
  # arXiv:1910.10683: spans of 3 tokens on average. Their number is not fixed here, they may
  # touch, and a row may begin with one.
  't5_spans': {
    'unit': 'span',
    'span_of': 'token',
    'span_length_distribution': 'geometric',
    'span_p': 1 / 3,
    'span_max': 32,
    'corruption_probs': _MASK_ONLY,
  },
  # Masked diffusion and MLM-U: the rate is uniform over rows. Its loss is not weighted by 1 / rate.
  'mlm_uniform_rate': {
    'sampling': 'bernoulli',
    'schedule': 'row',
    'rate': 0.0,
    'final_rate': 1.0,
    'corruption_probs': _MASK_ONLY,
  },
}


def settings(name: str) -> dict[str, Any]:
  """Returns {setting: value} of a preset: the settings that differ from the default.

  Raises:
    UserError: there is no preset of that name; names the nearest.
  """
  if not isinstance(name, str):
    raise UserError('a masking preset is named by text: ' + ', '.join(PRESETS))
  if name not in PRESETS:
    near = difflib.get_close_matches(name, PRESETS, 1)
    raise UserError(
      f'no masking preset {name!r}; '
      + (f'did you mean {near[0]}? ' if near else '')
      + 'There are '
      + ', '.join(PRESETS)
    )
  return dict(PRESETS[name])


def apply(masking: Config, name: str) -> None:
  """Sets a config's group `masking` to a preset: the default, changed by the preset's settings."""
  masking.update(defaults.base().masking)
  masking.update(settings(name))
