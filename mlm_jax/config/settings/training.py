"""Settings of every run: its size, optimizer, evaluation, checkpoints, log and devices."""

import ml_collections

from mlm_jax.config.keys import Config


def run() -> Config:
  """What every run has."""
  c = ml_collections.ConfigDict()
  # root of every random draw; below 2**32
  c.seed = 0
  # rows a step, over all devices
  c.batch_size = 32
  # parts that a batch is computed in, to save memory; the gradient is the same
  c.grad_accumulation_steps = 1
  # steps of the optimizer; of fine-tuning 0 = as many as its epochs take
  c.total_steps = 1000
  # folder of a run whose parameters this one starts from; '' = none
  c.init_from = ''
  # compiled programs are kept for the next start: user (in the user's cache directory, or where
  # JAX_COMPILATION_CACHE_DIR says); '' = they are not
  c.compilation_cache = 'user'
  return c


def optim() -> Config:
  """The optimizer and its learning rate."""
  optim = ml_collections.ConfigDict()
  # adamw, lamb or stable_adamw
  optim.name = 'adamw'
  # at its peak
  optim.learning_rate = 1e-3
  # rtd: a generator learns at this times the rate
  optim.generator_lr_multiplier = 1.0
  # a layer's rate is this times that of the layer above it
  optim.layerwise_lr_decay = 1.0
  # shape of the decay: linear, cosine, polynomial, one_minus_sqrt or constant (none)
  optim.schedule = 'linear'
  # polynomial: power of the share of the decay that is left
  optim.power = 1.0
  # steps in which the rate rises from 0 to its peak
  optim.warmup_steps = 100
  # length of the decay at the end, before it the rate is constant; 0 = all steps after the warm-up
  optim.decay_steps = 0
  # share of the peak that is reached at total_steps
  optim.final_lr_ratio = 0.0
  # share of the first moment, a running mean of the gradient, that is kept at each step
  optim.beta1 = 0.9
  # share of the second moment, a running mean of its square, that is kept at each step
  optim.beta2 = 0.98
  # added to the root of the second moment
  optim.epsilon = 1e-6
  # of Adam's moments; BERT and ELECTRA do without
  optim.bias_correction = True
  # share of a parameter that is taken from it at each step, times the rate
  optim.weight_decay = 0.01
  # what is decayed: ordered (regex over the parameter's path, True or False), the first match
  # counts; LAMB adapts the rate of what is decayed
  optim.decay_rules = ((r'.*(bias|norm/scale)', False), (r'.*', True))
  # a gradient of a larger global norm is scaled down to it; 0 = no clipping
  optim.clip_norm = 1.0
  # rtd: a generator's gradient is clipped by its own norm
  optim.clip_separately = False
  # consecutive non-finite gradients that end the run
  optim.max_consecutive_nonfinite = 10
  return optim


def evaluation() -> Config:
  """Scores on held-out text while it trains."""
  evaluation = ml_collections.ConfigDict()
  # steps between two evaluations; the last step is always evaluated; of fine-tuning 0 = an epoch
  evaluation.every = 500
  # evaluate before the first step too, to see what training changes
  evaluation.at_start = False
  # held-out rows that are scored, about; 0 = all, as always in fine-tuning
  evaluation.rows = 1024
  # rows that are scored at once, over all devices
  evaluation.batch_size = 32
  # evaluations without an improvement of what ranks the checkpoints (of pretraining the held-out
  # reference loss) that end the run; 0 = none do
  evaluation.patience = 0
  # an improvement is larger than this
  evaluation.min_delta = 0.0
  return evaluation


def checkpoint() -> Config:
  """What is saved, to resume from and to use."""
  checkpoint = ml_collections.ConfigDict()
  # steps between two checkpoints; the last step is always saved; of fine-tuning 0 = an epoch
  checkpoint.every = 500
  # how many of the newest are kept
  checkpoint.keep_latest = 2
  # how many of the best are kept besides, by what ranks them: of pretraining the held-out
  # reference loss
  checkpoint.keep_best = 1
  # also save and keep steps 0, 1, 2, 4, 8, ...
  checkpoint.log_spaced = False
  return checkpoint


def log() -> Config:
  """What is written down of the training."""
  log = ml_collections.ConfigDict()
  # steps a line of metrics.jsonl sums over
  log.every = 50
  # a step whose loss is this share above the median of the last 64 is written to spikes.jsonl;
  # 0 = none
  log.spike = 0.3
  # what also shows the numbers: tensorboard, wandb, trackio, joined by commas; '' = nothing
  log.trackers = 'tensorboard'
  # under which wandb and trackio put the run
  log.project = 'mlm_jax'
  return log


def mesh() -> Config:
  """The devices, and what is shared out over them."""
  mesh = ml_collections.ConfigDict()
  # devices that are used; 0 = all
  mesh.devices = 0
  # copies of the model, each with its part of the rows; 0 = as many as the devices allow
  mesh.data = 0
  # devices that the parameters, and the rows too, are sharded over
  mesh.fsdp = 1
  # devices that heads, feed-forward width and vocabulary are sharded over
  mesh.tensor = 1
  return mesh
