"""A timm model and its weights in; layers, tokens and attention of a batch of images out."""
