"""Optimizers and norm clipping."""

from .optimizers import SGD, Adam, Optimizer, clip_norm

__all__ = ["SGD", "Adam", "Optimizer", "clip_norm"]
