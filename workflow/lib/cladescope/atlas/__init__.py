"""The atlas: a static site over a finished study, opened from disk without a server.

`chunks.py` writes what the pages load; `latents.py` says what a latent's page shows,
`dictionary.py` and `maps.py` write the pages of one dictionary, `thumbnails.py` the images of a
dataset and `site.py` what all dictionaries share. The pages themselves lie in `workflow/atlas/`;
docs/atlas.md describes the files.
"""
