"""Dictionaries of other libraries in and out, one file a format."""
