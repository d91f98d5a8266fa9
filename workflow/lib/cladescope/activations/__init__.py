"""Images and a backbone in; one checked store of activations per layer and token out."""
