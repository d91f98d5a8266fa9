from pathlib import Path

from cladescope.files import write_json
from cladescope.images.classes import read_wnid_map
from cladescope.images.indexing import index_images
from cladescope.images.sources import make_source
from cladescope.jobs import job
from cladescope.summary.tables import write_csv

with job(snakemake):
    spec = snakemake.params.spec
    own_ids = "own_ids" in spec
    index, skipped = index_images(
        make_source(**spec["source"]),
        wnid_map=read_wnid_map(spec["wnids"], own_ids) if "wnids" in spec else {},
        own_ids=own_ids,
        expected=spec.get("expected"),
        on_bad_image=spec["on_bad_image"],
        threads=snakemake.threads,
        **spec["listing"],
    )
    write_json(snakemake.output.source, spec["source"])
    write_csv([skipped], snakemake.output.skipped)
    index.save(Path(snakemake.output.index))
