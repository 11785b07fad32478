"""Small folders of the Hugging Face ecosystem, one of each kind that holds its parts otherwise."""

import json

from tests.huggingface import builders
from tests.huggingface import test_imported_tokenizers
from tests.huggingface import test_sentence_transformers


def of_vocab_txt(folder):
  builders.write_published(folder, 'bert')


def of_shards(folder):
  """Two files of tensors, and the index that says which tensor is in which."""
  tensors = builders.write_published(folder, 'bert')
  (folder / 'model.safetensors').unlink()
  places = {
    name: f'model-0000{1 + n % 2}-of-00002.safetensors' for n, name in enumerate(sorted(tensors))
  }
  for file in sorted(set(places.values())):
    builders.write_tensors(
      folder, {name: tensors[name] for name in places if places[name] == file}, file
    )
  index = {'metadata': {'total_size': 1}, 'weight_map': places}
  (folder / 'model.safetensors.index.json').write_text(json.dumps(index))


def of_a_sentencepiece_model(folder):
  published = builders.PUBLISHED['xlm_roberta']
  pieces = 392
  builders.write_published(folder, 'xlm_roberta', vocab_size=pieces)
  (folder / 'vocab.txt').unlink()
  (folder / 'sentencepiece.bpe.model').write_bytes(test_imported_tokenizers.fairseq())
  of = published['config']['vocab_size']
  shapes = {
    name: [pieces if size == of else size for size in shape]
    for name, shape in published['shapes'].items()
  }
  builders.write_tensors(folder, builders.random_tensors(shapes))


def of_sentence_transformers(folder):
  test_sentence_transformers.sentence_folder(
    folder,
    {'pooling_mode_cls_token': True},
    test_sentence_transformers.dense(),
    ('Normalize', {}, {}),
    texts={'max_seq_length': 20, 'do_lower_case': False},
    whole={'prompts': {'query': 'a '}, 'default_prompt_name': 'query'},
  )


ALL = (of_vocab_txt, of_shards, of_a_sentencepiece_model, of_sentence_transformers)
