"""Objectives: prepare, weights and loss as pure functions of their arguments."""
