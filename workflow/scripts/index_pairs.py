from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cladescope.files import write_aside, write_json
from cladescope.images.pairs import index_pairs
from cladescope.jobs import job
from cladescope.taxonomy.outline import check_nodes
from cladescope.taxonomy.taxonomy import Taxonomy

with job(snakemake):
    inputs, outputs = snakemake.input, snakemake.output
    index, pairs = index_pairs(inputs.table, snakemake.threads)
    check_nodes(
        Taxonomy.load(inputs.taxonomy), pairs["node"].unique(), f"{inputs.table}, column node"
    )
    write_json(outputs.source, {"kind": "image_folder", "folder": str(Path(inputs.table).parent)})
    with write_aside(outputs.pairs) as aside:
        pq.write_table(pa.Table.from_pandas(pairs, preserve_index=False), aside)
    index.save(Path(outputs.index))
