"""Batches of activations and a dictionary to start from in; trained weights and their log out."""
