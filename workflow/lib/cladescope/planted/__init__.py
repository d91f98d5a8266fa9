"""A seed in; images drawn after WordNet nodes, and a backbone trained on them, out."""
