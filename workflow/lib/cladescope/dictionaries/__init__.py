"""Stored activations in; dictionaries of every variant, trained or not, out."""
