"""Time and memory of the uses of codes at the size of ImageNet-1k's validation split.

    .venv/bin/python benchmarks/uses.py [width] [latents that fire on an image] [dimensions]

Codes and activations are made up. Reports processor seconds and the peak memory of the process so
far, for 1,000 queries, one draw of one number of examples, and one arrangement of the classes.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cladescope.codes.codes import Codes
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.uses.few_shots import Shots, few_shots, transfer
from cladescope.uses.measure import Place, UsesSpec
from cladescope.uses.retrieval import retrieve
from cladescope.uses.rows import code_rows
from cladescope.uses.sparse_probes import sparse_probes

N_IMAGES = 50_000
SPEC = UsesSpec(queries=1, shots=(16,), draws=1, latents=(1, 2, 5), null_draws=0, seed=0)


def imagenet_taxonomy() -> Taxonomy:
    """ImageNet-1k's, made by a process of its own: timm's packages would count as memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "taxonomy.parquet"
        program = f"import scores; scores.imagenet_taxonomy().save({str(path)!r})"
        subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, check=True)
        return Taxonomy.load(path)


def peak() -> str:
    """The most memory that this process has had."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB at most"


def main(width: int = 16_384, k: int = 64, d: int = 768) -> None:
    """Measure and print."""
    random = np.random.default_rng(0)
    taxonomy = imagenet_taxonomy()
    print(f"with packages and taxonomy: {peak()}")
    labels = np.arange(N_IMAGES) % len(taxonomy.leaves)
    latent = np.sort(random.integers(0, width, (N_IMAGES, k)), axis=1).astype(np.int32)
    image = np.repeat(np.arange(N_IMAGES, dtype=np.int32), k)
    active = random.random(N_IMAGES * k).astype(np.float32) + 0.1
    rows = code_rows(Codes(image, latent.ravel(), active, N_IMAGES, width))
    place = Place(random.standard_normal((N_IMAGES, d)), labels, None, taxonomy, SPEC)
    images, shots = place.images, Shots(SPEC.shots, SPEC.draws, SPEC.seed)
    place_of_classes = [np.arange(len(taxonomy.leaves))]
    print(f"{width:,} latents, {k} of an image; {d} dimensions: {peak()}", flush=True)
    for kind, x in (("codes", rows), ("activations", place.x)):
        for name, run in (
            ("retrieval", lambda x: retrieve(x, images, place.queries, place_of_classes)),
            ("few shots", lambda x: [*few_shots(x, images, shots)]),
            ("transfer", lambda x: [*transfer(x, images, shots)]),
            ("sparse probes", lambda x: [*sparse_probes(x, images, SPEC.latents)]),
        ):
            start = time.process_time()
            run(x)
            seconds = time.process_time() - start
            print(f"{kind}, {name}: {seconds:.1f} processor seconds, {peak()}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
