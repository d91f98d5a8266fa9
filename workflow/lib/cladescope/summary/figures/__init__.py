"""Figures of a study, one module each; the only ones that know seaborn."""
