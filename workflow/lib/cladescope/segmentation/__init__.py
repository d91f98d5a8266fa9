"""Masks and activations of patches in; how well single latents find classes and nodes, out."""
