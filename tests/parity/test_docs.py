"""README's example that needs PyTorch."""

import pytest

from tests.docs import blocks


@pytest.mark.parity
def test_the_masks_of_readme_are_labels_for_pytorch():
  names = {}
  for block in blocks.of(blocks.ROOT / 'README.md'):
    if 'jax.jit(masking.mask_batch)' in block.text or 'import torch' in block.text:
      exec(compile(block.text, block.where, 'exec'), names)
  torch, tokens_BL, labels_BL = names['torch'], names['tokens_BL'], names['labels_BL']
  is_label_BL = labels_BL != -100
  assert 0 < is_label_BL.sum() < labels_BL.numel() / 4
  assert torch.equal(labels_BL[is_label_BL], tokens_BL[is_label_BL])
  logits_BLV = torch.zeros(*labels_BL.shape, 30_522)
  assert torch.nn.functional.cross_entropy(logits_BLV.flatten(0, 1), labels_BL.flatten()) > 0
