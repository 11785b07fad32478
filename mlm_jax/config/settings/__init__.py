"""Every setting with its meaning and its default, a function a group.

training   of every run: its size, optimizer, evaluation, checkpoints, log and devices
data       of the text that is trained on, and of examples
masking    what is hidden
model      the encoder and its families
objective  what pretraining learns
task       what fine-tuning learns
adapt      what adaptation to a domain follows and allows

The comment above a setting is its meaning: `mlm-jax config` shows it (see config/meanings.py), so
each stands on its own. The docstring of a function is the meaning of its group.
"""
