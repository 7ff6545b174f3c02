"""Graft's steps. The version stands here, where an image has it too: there Graft is copied, not installed."""

__version__ = "0.1.0"
