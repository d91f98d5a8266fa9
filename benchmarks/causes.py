"""What are the pairs and the ablated images behind the means? Draws some at random, to look at.

Of one dictionary of a finished study of the planted world, whose block is the last that is swept,
it writes two sheets: `pairs.png`, of pairs that differ in what a node's classes share, with the
same image without what the class has of its own, and the activations of the node's best latent; and
`ablated.png`, of images whose likeliest class changes when a node's latent is taken away, with the
three likeliest classes before and after. Both are printed, too.

    .venv/bin/python benchmarks/causes.py --study results/demo --out /tmp/causes
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from cladescope.activations.store import ActivationStore
from cladescope.atlas.causes import activations_on, ends_of
from cladescope.backbone.backbone import BackboneSpec
from cladescope.causes.ablate import firing, run, sample_of
from cladescope.causes.kinds import CHOSEN
from cladescope.causes.model import HalvesSpec, Stores, World, prepare_model
from cladescope.causes.trials import ask, plan_trials
from cladescope.codes.codes import Codes
from cladescope.codes.encode import ImageBlocks
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.images.index import ImageIndex, decode_image
from cladescope.images.sources import ImageSource, open_source
from cladescope.names import LEAF
from cladescope.scores.contrasts import SHARED, Contrasts
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import Tree

ROOT = Path(__file__).parents[1]
BACKBONE = BackboneSpec("vit_planted", str(ROOT / "resources/planted_vit/s0.safetensors"), 8)
LAYER, TOKEN = 8, "cls"
IMAGES, SHOWN, SIDE = 10, 10, 144
Row = tuple[list[Image.Image], str]


def pairs(study: Path, folder: Path) -> Iterator[Row]:
    """Draw pairs that differ in a shared part, without a look at what the latents do."""
    data = study / "datasets" / "planted"
    index, source = open_index(data, "pairs")
    contrasts = Contrasts.of(pd.read_parquet(data / "pairs.parquet"))
    nodes = pd.read_parquet(folder / "nodes.parquet").set_index("wnid")
    dictionary = Dictionary.load(str(folder / "sae.safetensors"))
    store = study / "trained" / "activations" / "pairs" / TOKEN / f"L{LAYER}.json"
    everything = (np.arange(len(index)), np.arange(dictionary.width))
    (z,) = activations_on(dictionary, ImageBlocks(ActivationStore.open(store)), [everything])
    shared = contrasts.by_name[SHARED]
    drawn = np.random.default_rng(0).permutation(len(shared.node))[:SHOWN]
    for pair in np.sort(drawn):
        node, whole = int(shared.node[pair]), int(shared.having[pair])
        wnid = contrasts.wnids[node]
        latent = int(nodes.loc[wnid, "best_latent"])
        having, lacking = ends_of(contrasts, LEAF, node)
        images = [whole, int(shared.lacking[pair]), *lacking[having == whole].tolist()]
        lines = [f"{nodes.loc[wnid, 'name']}, latent {latent}"]
        lines += [f"{z[image, latent]:.2f}  {index.paths[image]}" for image in images]
        yield [decode_image(source.read_checked(index, i)) for i in images], "\n".join(lines)


def ablated(study: Path, folder: Path) -> Iterator[Row]:
    """Draw images of a node that are called something else without the node's latent."""
    data = study / "datasets" / "planted"
    index, source = open_index(data, "eval")
    world = World(
        index, source, Taxonomy.load(str(data / "taxonomy.parquet")), HalvesSpec(32, True, 0)
    )
    here = tuple(
        str(study / "trained" / "activations" / split / TOKEN / f"L{LAYER}.json")
        for split in ("train", "eval")
    )
    stores = Stores(here, here, str(data / "images" / "train.parquet"))
    model = prepare_model(BACKBONE, (LAYER, TOKEN), world, stores, ROOT / "resources/nltk_data")
    codes, tree = Codes.load(str(folder / "codes.parquet")), Tree.of(world.taxonomy)
    sample = sample_of(world.parts[1], world.labels, IMAGES, 0)
    trials = plan_trials(world.halves(codes), tree, [], (1,), 0, steer=False)
    inside = tree.covers[world.labels[sample]][:, tree.internal]
    questions = ask(trials, firing(codes, sample), inside, 0)
    p = np.zeros((len(questions.image), len(tree.covers)))
    dictionary = Dictionary.load(str(folder / "sae.safetensors"))
    for runs, found, _ in run(dictionary, world, model, sample, questions, 256):
        p[runs] = found.cpu().numpy()
    # The first run of an image does nothing to it.
    before = p[np.searchsorted(questions.image, questions.image)]
    chosen = trials.is_kind(CHOSEN)[questions.trial]
    image, node = questions.image[questions.run], trials.node[questions.trial]
    asked = chosen & inside[image, node]
    called, now = before[questions.run].argmax(1), p[questions.run].argmax(1)
    changed = np.flatnonzero(asked & (called != now))
    right = called[changed] == world.labels[sample[image[changed]]]
    within = tree.covers[now[changed], tree.internal[node[changed]]]
    print(
        f"{asked.sum()} images of a node on which its latent fires; without it {len(changed)} are "
        f"called something else, {right.sum()} of which were right and {within.sum()} of which "
        f"stay within the node; {(right & within).sum()} both"
    )
    taxonomy = world.taxonomy
    names = [taxonomy.names[taxonomy.nodes.index(leaf)] for leaf in taxonomy.leaves]
    for question in np.sort(np.random.default_rng(0).permutation(changed)[:SHOWN]):
        row, of = questions.run[question], int(tree.internal[node[question]])
        number = int(sample[image[question]])
        lines = [
            f"{index.paths[number]}, {world.taxonomy.names[tree.node[of]]}, "
            f"latent {trials.sources[questions.trial[question], 0]}"
        ]
        for when, values in (("before", before[row]), ("after", p[row])):
            likeliest = np.argsort(-values)[:3]
            of_node = values[tree.covers[:, of]].sum()
            listed = ", ".join(f"{names[c]} {values[c]:.2f}" for c in likeliest)
            lines.append(f"{when}: {listed}; of the node {of_node:.2f}")
        yield [decode_image(source.read_checked(index, number))], "\n".join(lines)


def open_index(data: Path, split: str) -> tuple[ImageIndex, ImageSource]:
    """Return the index of a split, and where its images are."""
    path = str(data / "images" / f"{split}.parquet")
    return ImageIndex.load(path), open_source(path)


def draw(rows: Iterator[Row], path: Path) -> None:
    """Print the rows, and draw their images with the text beside them."""
    found = [*rows]
    most = max(len(images) for images, _ in found)
    sheet = Image.new("RGB", (most * SIDE + 640, len(found) * SIDE), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (images, text) in enumerate(found):
        print(text.replace("\n", " | "))
        for column, image in enumerate(images):
            sheet.paste(image.resize((SIDE - 4, SIDE - 4)), (column * SIDE, row * SIDE))
        pen.text((most * SIDE + 8, row * SIDE + 8), text, fill="black")
    sheet.save(path)


def main() -> None:
    """Write both sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, default=ROOT / "results" / "demo")
    parser.add_argument("--dictionary", default="topk/w256_k8_s0")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    place = options.study / "trained" / "dictionaries" / TOKEN / f"L{LAYER}"
    folder = place / options.dictionary
    draw(pairs(options.study, folder), options.out / "pairs.png")
    draw(ablated(options.study, folder), options.out / "ablated.png")


if __name__ == "__main__":
    main()
