"""Dictionaries from other libraries: a short file for each says what its files hold."""

FILES = {
    "cladescope": ("sae.json", "sae.safetensors"),
    "saelens": ("cfg.json", "sae_weights.safetensors"),
    "sparsify": ("cfg.json", "sae.safetensors"),
    "dictionary_learning": ("config.json", "ae.pt"),
}
"""What a folder of each format holds: settings, then weights."""
AGAIN = "copy it again"
"""What to do about a damaged file, which is not ours to delete."""
EXPORTED = ("saelens",)
"""Formats that are written, too."""
