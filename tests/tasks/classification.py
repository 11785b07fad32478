"""A sketch of tasks/classification.py: texts of one label each, an encoder, a new head."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import models
from mlm_jax.core import batches
from mlm_jax.training import launch
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding


@dataclasses.dataclass(frozen=True)
class Classification:
  """Cross-entropy of the label, from the hidden state of [CLS]."""

  model: models.Model
  labels: int
  coefficients = {'label': 1.0}

  def init(self, key):
    width = self.model.architecture.width
    return self.model.init(key) | {'label': 0.02 * jax.random.normal(key, (width, self.labels))}

  def prepare(self, hparams, aux, batch, root_key, progress):
    return batch

  def weights(self, inputs):
    return {'label': jnp.float32(inputs[1].shape[0])}

  def loss(self, params, inputs, dropout_key):
    tokens_BL, label_B = inputs
    starts_B1 = jnp.zeros((len(label_B), 1), jnp.int32)
    segments_BL = batches.segments(tokens_BL, starts_B1, pad_id=0)
    positions_BL = batches.positions(starts_B1, tokens_BL.shape[1])
    encoded = self.model.apply(
      params, tokens_BL, segments_BL, positions_BL, dropout_key=dropout_key
    )
    log_BC = jax.nn.log_softmax(encoded.hidden_BLD[:, 0] @ params['label'])
    total = -jnp.take_along_axis(log_BC, label_B[:, None], axis=1).sum()
    right = (log_BC.argmax(1) == label_B).sum(dtype=jnp.float32)
    number = jnp.float32(len(label_B))
    return {'label': total}, {'loss': (total, number), 'accuracy': (right, number)}, {}

  def adapt(self, hparams, aux, counts, step, progress):
    return aux


def run(config, workdir, train, validation, log):
  """Fine-tunes on (tokens_NL, label_N) pairs of arrays, ranked by validation accuracy."""
  objective = Classification(models.make(config.model, 64), int(train[1].max()) + 1)

  def make_problem(mesh, log):
    def examples(step):
      random = np.random.default_rng([config.seed, step])
      return random.choice(len(train[1]), config.batch_size)

    def batch(step):
      rows = examples(step)[sharding.local_rows(mesh, config.batch_size)]
      return train[0][rows], train[1][rows]

    accuracy = jax.jit(lambda params: objective.loss(params, validation, None)[1]['accuracy'])
    evaluate = lambda params, aux, progress: {
      'accuracy': float(accuracy(params)[0]) / len(validation[1])
    }
    ranking = problem_lib.Ranking('validation', 'accuracy', 'max', patience=5)
    stage = problem_lib.Stage(0, config, objective, (), batch, examples)
    return problem_lib.Problem(
      (stage,), objective.init, {'validation': evaluate}, ranking, shown=('loss', 'accuracy')
    )

  return launch.run(config, workdir, make_problem, log)
