"""Scores of every dictionary in; tables and figures of the study out."""
