"""Captures of ``call`` and what can be known from them."""
