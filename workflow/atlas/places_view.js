"use strict";
// Where in images a latent fires, and how well it finds the patches of a node, by masks.
// docs/segmentation.md defines the numbers and says what would give the same.

const placesView = (() => {
  const { number, count } = scales;

  /** What a latent's finding of a node's patches allows: a sentence, and the one that it does not. */
  function conclusion(name, found) {
    const { precision, precision_null_permuted: permuted, image_level: level, chance } = found;
    if (found.latent === null || !(precision > chance))
      return [
        `No single latent finds patches of ${name} on other images than those it was chosen on.`,
        "That the layer does not know where it is: several latents together may.",
      ];
    if (!(precision > level))
      return [
        `Patches on which it fires more are patches of ${name} more often than by chance.`,
        `That it knows where ${name} is: a latent that fired on every patch of the right images, and on no others, would have ${number(level)}.`,
      ];
    return [
      `It tells where ${name} is: better than a latent that knew which images show it, and nothing of the place.`,
      Number.isFinite(permuted)
        ? permuted < precision
          ? "That it is about the group: this is one node, and a latent of one of its classes finds that class's share."
          : "That it is about the group: latents chosen for classes put together at random find theirs as well."
        : "That it fires on nothing else: only an average precision of 1 would say so.",
    ];
  }

  const HEAD = () => [
    "latent",
    term("average precision"),
    "null: classes rearranged",
    term("knows the image"),
    "chance",
    term("purity at 16"),
  ];
  const measured = (found) => [
    number(found.precision),
    number(found.precision_null_permuted),
    number(found.image_level),
    number(found.chance, 3),
    number(found.purity_16),
  ];

  /** A node's page: the latent that finds its patches best, beside what knows no place. */
  function ofNode(tree, found) {
    return h(
      "section",
      {},
      h("h2", {}, term("patches", "Which latent finds its patches")),
      h(
        "p",
        { class: "quiet" },
        `Chosen on half of ${count(found.n_images)} images with masks, measured on the other half, which shows it on ${count(found.patches)} patches. It may be another latent than in the rest of the page, which looks at whole images.`,
      ),
      dom.table(
        HEAD(),
        [
          [
            found.latent === null
              ? "none"
              : h("a", { href: site.href({ view: "latent", j: found.latent }) }, `latent ${found.latent}`),
            ...measured(found),
          ],
        ],
        { label: "The best latent by patches" },
      ),
      dom.saying(conclusion(tree.label(found.node), found)),
    );
  }

  /** A latent's page: the nodes whose patches no latent finds better. */
  function ofLatent(tree, all) {
    const [most] = all;
    // The root has no page.
    const name = (node) => (node === tree.root ? "any object" : tree.label(node));
    const link = (node) =>
      node === tree.root
        ? name(node)
        : h("a", { href: site.href({ view: "node", n: node, j: null }) }, name(node));
    return h(
      "section",
      {},
      h("h2", {}, term("patches", "Whose patches it finds")),
      dom.table(
        ["node", ...HEAD().slice(1)],
        all.map((found) => [link(found.node), ...measured(found)]),
        { label: "Nodes whose patches it finds best" },
      ),
      all.length > 1 &&
        h("p", {}, "For ", link(most.node), ", which it finds best; for the others see their pages:"),
      dom.saying(conclusion(name(most.node), most)),
    );
  }

  /** The sections of a node's page, where there is something to show. */
  async function sectionsOfNode({ tree, d, n: node }) {
    const all = (await study.segmentation(d)) ?? [];
    return all.filter((found) => found.node === node).map((found) => ofNode(tree, found));
  }

  /** A latent's page: the patches on which it fires, of images whose codes were kept patch by patch. */
  function firing(tree, node, places) {
    return h(
      "section",
      {},
      h("h2", {}, term("places", "On which patches it fires")),
      gallery.strip(tree, places.images, { node, maps: places, method: "patches" }, places.relative),
      dom.saying([
        "At this layer it fires on the tokens of the bright patches and is silent on those of the dark ones. An image that is bright all over fires it everywhere: there it knows the image, not the place.",
        "That what it responds to lies there: before this layer each token has read of the rest of the image.",
      ]),
    );
  }

  /** The same of a latent's. */
  async function sectionsOfLatent({ tree, d }, latent) {
    const places = await study.places(d, latent.number);
    const all = ((await study.segmentation(d)) ?? [])
      .filter((found) => found.latent === latent.number)
      .sort((a, b) => b.precision - a.precision);
    return [
      places && firing(tree, latent.best, places),
      all.length > 0 && ofLatent(tree, all),
    ].filter(Boolean);
  }

  return { ofNode: sectionsOfNode, ofLatent: sectionsOfLatent, conclusion };
})();
