"""What names files, without the folders of the machine."""

import pytest

from mlm_jax.core import places


@pytest.mark.parametrize(
  'place, name',
  (
    ('/home/me/texts/wiki.txt', 'wiki.txt'),
    ('~/a b/wiki.txt,/mnt/news/*.jsonl', 'wiki.txt,*.jsonl'),
    ('json:/home/me/x.json', 'json:x.json'),
    ('https://host.org/a/b.txt', 'https://host.org/a/b.txt'),
    ('owner/data', 'owner/data'),
    ('text:MY/*.txt', 'text:MY/*.txt'),
    ('/home/me/corpus/', 'corpus'),
    ('', ''),
  ),
)
def test_places_are_named_without_the_folders_of_the_machine(place, name):
  assert places.without_folders(place) == name


@pytest.mark.parametrize(
  'sentence, shown',
  (
    ("cannot read '/home/me/a.txt': no such file", "cannot read 'a.txt': no such file"),
    ('no run in /srv/runs/x; see docs/a.md', 'no run in x; see docs/a.md'),
    ('5 tokens / second, and/or 3/4', '5 tokens / second, and/or 3/4'),
    ('~/runs/x is full, /tmp too', 'x is full, tmp too'),
  ),
)
def test_a_sentence_keeps_all_but_the_folders(sentence, shown):
  assert places.prose_without_folders(sentence) == shown
