"""Cladescope: where, and how strongly, does a vision model encode its class hierarchy?"""
