"use strict";
// How to read the atlas, its keys and its words.

const helpView = (() => {
  const KEYS = [
    ["/", "search for a node, a class or a latent"],
    ["[ and ]", "previous and next layer"],
    ["t n l d c", "tree, node, latent, depth, compare"],
    ["j and k", "next and previous latent, on a latent's page"],
    ["arrows, Enter, Escape", "in the tree: move, go into a node, go out of it"],
    ["Space", "in the tree: open the node's page"],
    ["?", "this page"],
  ];

  return async ({ d }) => ({
    title: "Help",
    content: [
      h("h1", {}, "How to read this atlas"),
      h(
        "p",
        {},
        "The question is where a vision model encodes the class hierarchy of its world. A sparse dictionary splits the activations of one layer into latents; each latent is compared with every node of the taxonomy. A high score alone proves little: single classes, chance, or the dictionary's size can make one. So every score here stands beside its control.",
      ),
      h(
        "ol",
        {},
        h("li", {}, "Pick a dictionary at the top: a layer, a variant, a width."),
        h(
          "li",
          {},
          "In the tree, look for groups of classes that are recovered beyond their null. Hatched boxes were not recovered.",
        ),
        h(
          "li",
          {},
          "On a node's page, compare with the dictionary before training, the random directions, the raw neurons and the random backbone, and look at the classes that the latents should fire on and do not.",
        ),
        h(
          "li",
          {},
          "On a latent's page, look at the weaker images too, at the false alarms and at the misses: strongest images flatter every latent.",
        ),
        h(
          "li",
          {},
          "Where there are pairs of images, or the model was run without latents, look whether a latent follows what a group shares, and whether the model follows the latent: both beside what would give the same without any concept.",
        ),
      ),
      h("h2", {}, "Keys"),
      dom.table(["key", "what it does"], KEYS, { label: "Keys" }),
      h("h2", {}, "What made the numbers"),
      h(
        "p",
        {},
        `${study.title(d)} of ${study.origin(d)}: the hashes of its settings, code, weights, data and environment, as in every table of the study.`,
      ),
      dom.table(
        ["", "value"],
        study.madeFrom(d).map(([name, value]) => [name, value === null ? "–" : String(value)]),
        { label: "Provenance" },
      ),
      h("h2", {}, "Words"),
      h(
        "dl",
        { class: "glossary" },
        ...Object.entries(terms.MEANING).flatMap(([name, text]) => [
          h("dt", {}, name),
          h("dd", {}, text),
        ]),
      ),
    ],
  });
})();
