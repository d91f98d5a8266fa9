"""Dictionaries, images and the model in; what follows from changing one of them, out."""
