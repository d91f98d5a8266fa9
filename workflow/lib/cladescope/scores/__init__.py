"""Sparse codes and a taxonomy in; every score of latents and nodes, with its nulls, out."""
