"""Every setting with its meaning and its default, and the small variant of every recipe."""

from collections.abc import Mapping
import functools
import types
from typing import Any

import ml_collections

from mlm_jax.config.keys import Config
from mlm_jax.config.keys import UserError
from mlm_jax.config.keys import flatten


def base() -> Config:
  """Returns the default config: every setting, with its meaning."""
  c = ml_collections.ConfigDict()
  # root of every random draw; below 2**32
  c.seed = 0
  # rows a step, over all devices
  c.batch_size = 32
  # parts that a batch is computed in, to save memory; the gradient is the same
  c.grad_accumulation_steps = 1
  c.total_steps = 1000
  # folder of a run whose parameters this one starts from
  c.init_from = ''
  # Parts of the run: each a dict of its `steps` and of the settings that differ in it, as dotted
  # keys (see config/staging.py); their steps add up to total_steps. () = one part.
  c.stages = ()

  c.data = data = ml_collections.ConfigDict()
  # text:GLOB, conllu:GLOB, tfds:NAME, hf:FOLDER, synthetic:STATES/WORDS or pydocs; several are
  # joined by commas (see data/corpus/sources.py)
  data.source = 'pydocs'
  # shares of the rows drawn, one per source; () = by size
  data.weights = ()
  # without weights: shares are proportional to size to this power; 1 = all rows are shuffled
  # together, .3 lifts small languages
  data.sampling_alpha = 1.0
  # the field or column of a record that holds its text
  data.field = 'text'
  # file (or .jsonl record), lines, blocks or regex
  data.document = 'file'
  # blocks: paragraphs are joined until they have this many characters
  data.block_characters = 2000
  # regex: documents are the text between its matches
  data.document_regex = ''
  # NFC, NFKC or none
  data.unicode = 'NFC'
  # remove or keep
  data.control_characters = 'remove'
  # U+2581, which stands for a space in pieces: replace (by an underscore) or keep
  data.boundary_mark = 'replace'
  # collapse (every run becomes one space) or keep
  data.white_space = 'collapse'
  # shorter documents are dropped
  data.min_characters = 1
  # longer documents are dropped; 0 = no limit
  data.max_characters = 0
  # documents that repeat a larger share of themselves are dropped
  data.max_repetition = 1.0
  # documents with a larger share of symbols are dropped; for both see data/corpus/clean.py, 1 = off
  data.max_symbols = 1.0
  # exact duplicates, after cleaning
  data.drop_duplicates = True
  # a training document at least this similar to another is dropped; 0 = off (see
  # data/corpus/near_duplicates.py)
  data.near_duplicates = 0.0
  # share of the documents kept for evaluation
  data.validation_fraction = 0.01
  # unigram, bpe, word, wordpiece, byte_bpe, or the path of a SentencePiece model or a
  # tokenizer.json
  data.tokenizer = 'unigram'
  # pieces of a trained tokenizer; that of a path has its own number
  data.vocab_size = 8192
  # characters of the sample that the tokenizer is trained on
  data.tokenizer_characters = 20_000_000
  # fixed since another number of threads gives other pieces
  data.tokenizer_threads = 2
  # tokens per row
  data.row_length = 128
  # documents per row at most
  data.max_segments = 8
  # best_fit or contiguous
  data.packing = 'best_fit'
  # entries of the vocabulary of collocations, made of the training text; 0 = none (see
  # data/annotations/collocations.py)
  data.collocations = 0
  # classes of words: conllu (parts of speech, from a conllu: source) or module:function of yours;
  # '' = none (see data/annotations/word_classes.py)
  data.classes = ''
  # pairs of sentences in place of documents: nsp (the second part follows the first, or is from
  # another document) or sop (the second follows the first, or the two are swapped); '' = none (see
  # data/annotations/sentence_pairs.py)
  data.pairs = ''
  # folder of the prepared data; '' = WORKDIR/data
  data.prepared = ''

  # What is hidden, and what is seen instead. The name of a preset sets the whole group:
  # config.masking = spanbert (see config/presets.py).
  c.masking = masking = ml_collections.ConfigDict()
  # what is chosen as a whole: token, word, span, collocation or sentence (see masking/units/)
  masking.unit = 'token'
  # spans: of whole words, or of tokens (word or token)
  masking.span_of = 'word'
  # of their lengths: geometric, uniform or harmonic
  masking.span_length_distribution = 'geometric'
  # of the geometric law: a span ends with this probability
  masking.span_p = 0.2
  # longest span
  masking.span_max = 10
  # which units are preferred: uniform, frequency, content, class, accuracy, or module:Class of
  # yours (see masking/selections/)
  masking.selection = 'uniform'
  # frequency: a token weighs its count to minus this power
  masking.frequency_power = 0.5
  # content: of the most frequent pieces, beside 1 of the others
  masking.function_weight = 0.25
  # class: one a class, or () to follow each class's running loss
  masking.class_weights = ()
  # fixed_count (of tokens a row) or bernoulli (a draw a unit)
  masking.sampling = 'fixed_count'
  # share of the tokens that is chosen; with a schedule, at the start
  masking.rate = 0.15
  # of the rate: constant, linear, cosine, polynomial, early_polynomial, step, or row (each row its
  # own, uniform between the two); see masking/schedules.py
  masking.schedule = 'constant'
  # of a schedule
  masking.final_rate = 0.0
  # polynomials: the power
  masking.rate_power = 2.0
  # a schedule is scaled to this mean; 0 = left as it is
  masking.mean_rate = 0.0
  # of the chosen: [MASK], random, kept
  masking.corruption_probs = (0.8, 0.1, 0.1)
  # each unit, or each token, is masked, replaced or kept
  masking.corruption_per = 'unit'
  # replacements: uniform, or by their frequency in the text
  masking.replacement_distribution = 'uniform'
  # share of the chosen units that are predicted; the others are only corrupted
  masking.predict_fraction = 1.0
  # static masking with k copies; 0 = dynamic
  masking.static_copies = 0

  c.model = model = ml_collections.ConfigDict()
  # bert, roberta, distilbert, electra, deberta, deberta_v2, deberta_v3 or modernbert: the files
  # of models/families
  model.family = 'bert'
  # a named size; sets those of the five below that are 0
  model.size = 'small'
  model.layers = 0
  model.width = 0
  model.heads = 0
  model.feed_forward = 0
  # of the embedding tables, projected to width where they differ; 0 = width
  model.embedding_width = 0
  # rows of the token embedding; 0 = the tokenizer's pieces
  model.vocab_size = 0
  # rows of the position table
  model.max_positions = 512
  # token types, such as a pair's two sentences; -1 = the family's own
  model.types = -1
  # rows at the start of the position table that are unused; -1 = the family's own
  model.position_offset = -1
  # a token that takes no position, as RoBERTa's padding: it has the row before the first used one;
  # -1 = none (imported models set it where config.json and tokenizer name other padding)
  model.uncounted_id = -1
  # of the layer norms; 0 = the family's own
  model.norm_epsilon = 0.0
  # normal, or neighbours (see models/neighbour_init.py)
  model.init = 'normal'
  # of the weights' truncated normal distribution
  model.init_std = 0.02
  # drawn in 8 bits: rounded to a multiple of 1/256
  model.dropout = 0.1
  # of the attention weights; -1 = as model.dropout, in modernbert 0
  model.attention_dropout = -1.0
  # of the feed-forward layers: gelu, gelu_tanh (its approximation), relu, silu or tanh
  model.activation = 'gelu'
  # of the masked head; '' = the family's own, mostly as model.activation
  model.head_activation = ''
  # the masked head scores against the token embedding; False = against a table of its own
  model.tied_head = True
  # of the computation: float32 or bfloat16
  model.dtype = 'float32'
  # one compiled layer for all: compiles faster, runs slower
  model.scan_layers = False
  # recompute activations in the backward pass
  model.remat = False
  # rows whose chosen positions are gathered together; 0 = all rows of a device and micro-batch
  model.head_rows = 0

  # For the DeBERTa families only; -1 and '' = the family's own.
  model.deberta = deberta = ml_collections.ConfigDict()
  # the largest relative distance that is distinguished; 0 = max_positions
  deberta.span = 0
  # distances beyond half of these share logarithmic buckets; 0 = none do
  deberta.buckets = -1
  # of relative positions: shared (with the content's) or own
  deberta.projections = ''
  # layer_norm of the table of relative positions, or none
  deberta.relative_norm = ''
  # tokens of the kernel beside the first layer; 0 = no convolution
  deberta.convolution = -1
  # of its output: see model.activation
  deberta.convolution_act = 'gelu'
  # plain, or enhanced: absolute positions enter before the head
  deberta.decoder = 'plain'

  # For ModernBERT only.
  model.modernbert = modernbert = ml_collections.ConfigDict()
  # tokens that a local layer sees, half of them to each side
  modernbert.window = 128
  # layers 0, 3, 6, ... see the whole document
  modernbert.global_every = 3
  # base of the rotary positions' wavelengths
  modernbert.global_theta = 160_000.0
  modernbert.local_theta = 10_000.0
  # of the embeddings, and inside the feed-forward layers; model.dropout is of attention's output
  modernbert.embedding_dropout = 0.0
  modernbert.mlp_dropout = 0.0

  c.objective = objective = ml_collections.ConfigDict()
  # masked, or rtd (replaced-token detection: a discriminator finds the tokens that a small
  # generator replaced)
  objective.name = 'masked'
  # masked: the loss is over every position that a policy may choose, not only the chosen ones;
  # held-out losses are always over the chosen ones
  objective.predict_all = False
  # Weights of the losses that are added up; 0 = this loss is not used.
  # of the masked loss
  objective.masked_weight = 1.0
  # masked: of the sentence-pair loss (data.pairs)
  objective.pairs_weight = 0.0
  # masked: of the span boundary loss: hidden spans are predicted from the tokens at their two ends
  objective.sbo_weight = 0.0
  # rtd: of the discriminator's loss
  objective.rtd_weight = 50.0
  # rtd: of the embeddings: tied, none, or gdes (gradient-disentangled, as in DeBERTa v3)
  objective.sharing = 'tied'
  # rtd: the generator's share of the discriminator's layers
  objective.generator_layers = 1.0
  # rtd: its share of width, heads and feed_forward
  objective.generator_width = 0.25

  c.optim = optim = ml_collections.ConfigDict()
  # adamw, lamb or stable_adamw
  optim.name = 'adamw'
  # peak
  optim.learning_rate = 1e-3
  # a generator learns at this times the rate
  optim.generator_lr_multiplier = 1.0
  # a layer's rate is this times that of the layer above it
  optim.layerwise_lr_decay = 1.0
  # shape of the decay: linear, cosine, polynomial, one_minus_sqrt or constant (none)
  optim.schedule = 'linear'
  # polynomial: power of the share of the decay that is left
  optim.power = 1.0
  optim.warmup_steps = 100
  # length of the decay at the end, before it the rate is constant; 0 = all steps after the warm-up
  optim.decay_steps = 0
  # of the peak, reached at total_steps
  optim.final_lr_ratio = 0.0
  optim.beta1 = 0.9
  optim.beta2 = 0.98
  optim.epsilon = 1e-6
  # of Adam's moments; BERT and ELECTRA have none
  optim.bias_correction = True
  optim.weight_decay = 0.01
  # Ordered (regex over the parameter's path, decayed?); the first match counts. LAMB
  # adapts the rate of what is decayed.
  optim.decay_rules = ((r'.*(bias|norm/scale)', False), (r'.*', True))
  # global norm of the gradient; 0 = no clipping
  optim.clip_norm = 1.0
  # a generator's gradient is clipped by its own norm
  optim.clip_separately = False
  # consecutive non-finite gradients that end the run
  optim.max_consecutive_nonfinite = 10

  c.evaluation = evaluation = ml_collections.ConfigDict()
  # steps; the last step is always evaluated
  evaluation.every = 500
  # held-out rows, about; 0 = all
  evaluation.rows = 1024
  # rows, over all devices
  evaluation.batch_size = 32
  # evaluations without an improvement of the held-out reference loss that end the run; 0 = none do
  evaluation.patience = 0
  # an improvement is larger than this
  evaluation.min_delta = 0.0

  c.checkpoint = checkpoint = ml_collections.ConfigDict()
  # steps; the last step is always saved
  checkpoint.every = 500
  checkpoint.keep_latest = 2
  # by the held-out reference loss
  checkpoint.keep_best = 1
  # also save and keep steps 0, 1, 2, 4, 8, ...
  checkpoint.log_spaced = False

  c.log = log = ml_collections.ConfigDict()
  # steps a line of metrics.jsonl sums over
  log.every = 50
  # a step whose loss is this share above the median of the last 64 is written to spikes.jsonl;
  # 0 = none
  log.spike = 0.3
  log.tensorboard = True

  c.mesh = mesh = ml_collections.ConfigDict()
  # devices that are used; 0 = all
  mesh.devices = 0
  # copies of the model, each with its part of the rows; 0 = as many as the devices allow
  mesh.data = 0
  # devices that the parameters, and the rows too, are sharded over
  mesh.fsdp = 1
  # devices that heads, feed-forward width and vocabulary are sharded over
  mesh.tensor = 1
  c.lock()
  return c


@functools.cache
def flat() -> Mapping[str, Any]:
  """Returns {dotted key: default value}, made once: each check of a config compares with it."""
  return types.MappingProxyType(flatten(base()))


def vary(config: Config, variant: str | None) -> Config:
  """Returns a recipe as its variant asks: None as it is, 'smoke' to see it work on a CPU.

  The smoke variant keeps the family, the masking and the kind of optimizer and
  shrinks everything else to about a minute on two cores, on the built-in corpus.
  """
  if variant is None:
    return config
  if variant != 'smoke':
    raise UserError(f'no variant {variant!r}: there is smoke, or none')
  config.batch_size, config.total_steps = 16, 60
  config.data.update(
    source='pydocs', document='file', vocab_size=2000, row_length=64, tokenizer_characters=500_000
  )
  config.model.update(layers=2, width=64, heads=2, feed_forward=128, dtype='float32')
  config.optim.update(learning_rate=2e-3, warmup_steps=10, decay_steps=0)
  config.evaluation.update(every=30, rows=64, batch_size=16)
  config.checkpoint.every = 30
  config.log.every = 10
  if config.stages:
    config.stages = ({'steps': 40, 'data.row_length': 32}, {'steps': 20})
  return config
