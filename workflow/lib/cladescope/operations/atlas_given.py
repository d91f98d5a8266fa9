"""The atlas of codes that were made elsewhere: of one dictionary, without a study around it."""

from pathlib import Path

import numpy as np
import pandas as pd

from cladescope.atlas.dictionary import DictionaryPages, PageSpec
from cladescope.atlas.site import Study, build_atlas
from cladescope.atlas.thumbnails import draw_thumbnails
from cladescope.atlas.wire import IDENTITY
from cladescope.checkout import find_checkout
from cladescope.files import write_aside
from cladescope.images.index import SHA256_BYTES, ImageIndex, sha256_of
from cladescope.images.sources.faults import raise_faults
from cladescope.images.sources.image_folder import ImageFolder
from cladescope.layout import ATLAS, ATLAS_CODE, ATLAS_SHARED, THUMBNAILS, page_folder
from cladescope.names import SETTINGS
from cladescope.operations.score_given import Given
from cladescope.scores.score import DictionaryScores
from cladescope.scores.spec import ScoreSpec

NAMED = {"dictionary": "given/dictionaries/codes", "dataset": "images", "experiment": "given"}
"""What the pages call the codes and their images."""
SIDE = 96
"""Pixels of a thumbnail, as by default in a study."""


def index_given(given: Given, images: str | Path) -> ImageIndex:
    """Index the images of given codes.

    Parameters
    ----------
    images
        Folder that the paths of the labels are in.

    Raises
    ------
    ValueError
        If the labels name no paths, or lists those that are no files of the folder.
    """
    if given.paths is None:
        raise ValueError(
            "the labels do not say which image is which; give a CSV table with a column `path`, or "
            "leave --images out"
        )
    folder, hashes, faults = Path(images).resolve(), [], []
    for path in given.paths:
        file = (folder / path).resolve()
        if file.is_relative_to(folder) and file.is_file():
            hashes.append(sha256_of(file.read_bytes()))
        else:
            faults.append(f"{path}: no file of this folder")
    raise_faults(str(images), faults)
    return ImageIndex(
        paths=np.array(given.paths, np.dtypes.StringDType()),
        labels=given.labels.astype(np.int32),
        wnids=[*given.taxonomy.leaves],
        sha256=np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, SHA256_BYTES),
    )


def write_atlas(
    given: Given,
    scores: DictionaryScores,
    spec: ScoreSpec,
    index: ImageIndex,
    images: str | Path,
    folder: Path,
) -> Path:
    """Write the atlas of scored codes into `folder`, and what it is made from; return its index.

    That is `metrics.csv`, of one row, `taxonomy.parquet` and `index.parquet`. Nothing is known of
    the decoder, so that latents have no neighbours, nor of a layer or a probe.

    Parameters
    ----------
    index, images
        As `index_given` makes it from the folder.

    Raises
    ------
    ValueError
        If a file is no image.
    """
    atlas, dataset = folder / ATLAS, NAMED["dataset"]
    identity = dict.fromkeys(IDENTITY) | NAMED | {"variant": "codes", "width": given.codes.width}
    files = {name: folder / f"{name}.parquet" for name in ("taxonomy", "index")}
    with write_aside(folder / "metrics.csv") as aside:
        pd.DataFrame([{**identity, **scores.scores}]).to_csv(aside, index=False)
    given.taxonomy.save(files["taxonomy"])
    index.save(files["index"])
    draw_thumbnails(
        index, ImageFolder(str(images)), SIDE, folder / THUMBNAILS.format(dataset=dataset)
    )
    tables = {name: getattr(scores, name) for name in ("latents", "nodes", "relations")}
    shown = PageSpec(mcc_threshold=spec.mcc_threshold, seed=spec.seed)
    dictionaries = atlas / "dictionaries"
    pages = DictionaryPages(given.codes, given.labels, given.taxonomy, None, tables, shown)
    pages.save(dictionaries / page_folder(NAMED["dictionary"]))
    study = Study(
        folder / "metrics.csv",
        None,
        [],
        {dataset: {**{name: str(path) for name, path in files.items()}, "drawn": None}},
        dictionaries,
    )
    settings = {name: getattr(spec, name) for name in SETTINGS}
    outputs = {
        "index": atlas / "index.html",
        "pages": folder / ATLAS_CODE,
        "shared": folder / ATLAS_SHARED,
    }
    build_atlas(
        study,
        {**settings, "shown": NAMED["dictionary"]},
        find_checkout() / "workflow" / "atlas",
        {name: str(path) for name, path in outputs.items()},
    )
    return outputs["index"]
