"""Folders, tar shards and Hugging Face datasets in; an index of hashed, labelled images out."""
