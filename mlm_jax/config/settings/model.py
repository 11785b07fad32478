"""Settings of the model."""

import ml_collections

from mlm_jax.config.keys import Config


def model() -> Config:
  """The encoder, and the head that fills masks."""
  model = ml_collections.ConfigDict()
  # bert, roberta, distilbert, electra, deberta, deberta_v2, deberta_v3 or modernbert (the files of
  # models/families); '' = that of the run in init_from, with its other settings of this group but
  # for those that are set here
  model.family = 'bert'
  # a named size of the family, such as small, base or large: gives those of the five that follow
  # that are 0
  model.size = 'small'
  # 0 = those of the size
  model.layers = 0
  # of what passes from layer to layer; 0 = that of the size
  model.width = 0
  # of attention, which share out the width; 0 = those of the size
  model.heads = 0
  # width inside the feed-forward layers; 0 = that of the size
  model.feed_forward = 0
  # of the embedding tables, projected to model.width where they differ; 0 = that of the size, or
  # model.width
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
  # epsilon of the layer norms; 0 = the family's own
  model.norm_epsilon = 0.0
  # initial parameters: normal, or neighbours (see models/neighbour_init.py)
  model.init = 'normal'
  # standard deviation of the initial weights, a truncated normal distribution
  model.init_std = 0.02
  # share that is dropped; drawn in 8 bits: rounded to a multiple of 1/256
  model.dropout = 0.1
  # of the attention weights; -1 = as model.dropout, in modernbert 0
  model.attention_dropout = -1.0
  # of the feed-forward layers: gelu, gelu_tanh (its approximation), relu, silu or tanh
  model.activation = 'gelu'
  # of the masked head; '' = the family's own, mostly as model.activation
  model.head_activation = ''
  # the masked head scores against the token embedding; False = against a table of its own
  model.tied_head = True
  # of the computation: float32 or bfloat16; parameters are float32
  model.dtype = 'float32'
  # one compiled layer for all: compiles faster, runs slower
  model.scan_layers = False
  # recompute activations in the backward pass
  model.remat = False
  # rows whose chosen positions are gathered together; 0 = all rows of a device and micro-batch
  model.head_rows = 0
  model.deberta = _deberta()
  model.modernbert = _modernbert()
  return model


def _deberta() -> Config:
  """For the DeBERTa families only; -1 and '' = the family's own."""
  deberta = ml_collections.ConfigDict()
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
  # of the convolution's output: see model.activation
  deberta.convolution_act = 'gelu'
  # plain, or enhanced: absolute positions enter before the head
  deberta.decoder = 'plain'
  return deberta


def _modernbert() -> Config:
  """For ModernBERT only."""
  modernbert = ml_collections.ConfigDict()
  # tokens that a local layer sees, half of them to each side
  modernbert.window = 128
  # layers 0, 3, 6, ... see the whole document
  modernbert.global_every = 3
  # base of the rotary positions' wavelengths in layers that see all
  modernbert.global_theta = 160_000.0
  # base of the rotary positions' wavelengths in local layers
  modernbert.local_theta = 10_000.0
  # of the embeddings; model.dropout is of attention's output
  modernbert.embedding_dropout = 0.0
  # inside the feed-forward layers
  modernbert.mlp_dropout = 0.0
  return modernbert
