"""Settings of masking."""

import ml_collections

from mlm_jax.config.keys import Config


def masking() -> Config:
  """What is hidden, and what is seen instead.

  The name of a preset sets the whole group: config.masking = spanbert (see config/presets.py).
  """
  masking = ml_collections.ConfigDict()
  # what is chosen as a whole: token, word, span, collocation or sentence (see masking/units/)
  masking.unit = 'token'
  # spans: of whole words, or of tokens (word or token)
  masking.span_of = 'word'
  # spans: of their lengths: geometric, uniform or harmonic
  masking.span_length_distribution = 'geometric'
  # spans of geometric length: one ends with this probability
  masking.span_p = 0.2
  # spans: the longest, in words or tokens as masking.span_of says
  masking.span_max = 10
  # which units are preferred: uniform, frequency, content, class, accuracy, or module:Class of
  # yours (see masking/selections/)
  masking.selection = 'uniform'
  # frequency: a token weighs its count to minus this power
  masking.frequency_power = 0.5
  # content: the weight of the most frequent pieces, beside 1 of the others
  masking.function_weight = 0.25
  # class: the weights, one a class, or () to follow each class's running loss
  masking.class_weights = ()
  # how units are drawn: fixed_count (of tokens a row) or bernoulli (a draw a unit)
  masking.sampling = 'fixed_count'
  # share of the tokens that is chosen; with a schedule, at the start
  masking.rate = 0.15
  # of the rate: constant, linear, cosine, polynomial, early_polynomial, step, or row (each row its
  # own, uniform between the two); see masking/schedules.py
  masking.schedule = 'constant'
  # share at the end of a schedule
  masking.final_rate = 0.0
  # polynomial schedules: the power
  masking.rate_power = 2.0
  # a schedule is scaled to this mean; 0 = left as it is
  masking.mean_rate = 0.0
  # shares of the chosen that are seen as [MASK], as a random piece, as they are
  masking.corruption_probs = (0.8, 0.1, 0.1)
  # each unit, or each token, is masked, replaced or kept
  masking.corruption_per = 'unit'
  # replacements: uniform, or by their frequency in the text
  masking.replacement_distribution = 'uniform'
  # share of the chosen units that are predicted; the others are only corrupted
  masking.predict_fraction = 1.0
  # static masking with k copies; 0 = dynamic
  masking.static_copies = 0
  return masking
