"""Latents and images in; maps of where in an image a latent looks, and their tests, out."""
