"use strict";
// What follows from a change: of an image that differs in one thing, and of a model without latents.
// docs/causes.md defines the numbers and says what each allows.

const causesView = (() => {
  const { number, percent, count } = scales;
  const { saying } = dom;
  const KINDS = {
    chosen: "its latents taken away",
    matched: "null: latents that fire alike",
    directions: "null: other directions",
    shrunk: "null: a shorter token",
    permuted: "null: classes rearranged",
    projected: "whole directions",
    "projected permuted": "null: whole directions, rearranged",
  };
  /** Nulls of what is taken away, and what each would mean. */
  const NULLS = {
    matched: "latents that fire as often and as strongly elsewhere",
    directions: "as much taken away in other directions",
    shrunk: "a token shortened by as much",
  };
  const CHANGES = {
    shared: ["TAPA", "what its classes share"],
    leaf: ["own part", "what one class has of its own"],
    shared_over_leaf: ["shared over own", "the shared part rather than the own"],
    other: ["other part", "a part of a node above or below"],
    within: ["within", "another class of it instead"],
    across: ["across", "a class of it for one that is not"],
  };

  /** What a node's ablation allows: a sentence, and the one that it does not. */
  function conclusion(name, kinds, draws) {
    const { chosen, permuted } = kinds;
    if (!chosen.fires_in)
      return [
        `Nothing was taken away: the latents fire on none of the sampled images of ${name}.`,
        "That the model does not use what they stand for.",
      ];
    const reached = Object.keys(NULLS).filter(
      (kind) => kinds[kind].selectivity >= chosen.selectivity,
    );
    if (reached.length || !(chosen.selectivity > 0))
      return [
        reached.length
          ? `No more selective than ${reached.map((kind) => NULLS[kind]).join(", or ")}: that the model uses what the dictionary writes for ${name} is not shown.`
          : `${name} loses no more than other nodes do: that the model uses what the dictionary writes for it is not shown.`,
        "That it does not: other tokens or other latents may carry it.",
      ];
    const rearranged = draws > 1 ? `${draws} rearrangements` : "one rearrangement";
    return [
      `On these images the model's answer “${name}” rests in part on what the dictionary writes at this layer: without it P falls by ${number(chosen.selectivity, 3)} more there than elsewhere, and by less in the same way with ${Object.values(NULLS).join(", or with ")}.`,
      chosen.selectivity > permuted.selectivity
        ? `That it rests on the hierarchy: latents of single classes do much the same, and this is one node beside ${rearranged}. Means over nodes are in tables/ablation.csv.`
        : "That it rests on the hierarchy: latents chosen for classes put together at random take as much away.",
    ];
  }

  const measured = (kind) => [
    number(kind.delta_in, 3),
    number(kind.delta_siblings, 3),
    number(kind.delta_elsewhere, 3),
    number(kind.selectivity, 3),
    number(kind.evenness),
    number(kind.within, 3),
    `${percent(kind.fires_in)} / ${percent(kind.fires_outside)}`,
  ];

  const readout = (found) =>
    `The model is run again on ${count(found.n_images)} images, without what the latents add to the token at this layer; its ${found.readout} is right on ${number(found.accuracy)} of them before.`;

  /** A node's page: what the model says of it without its latents, beside every null. */
  function ablationOfNode(tree, node, found) {
    const [first, ...more] = found.entries.filter((entry) => entry.node === node);
    if (!first) return null;
    return h(
      "section",
      {},
      h("h2", {}, term("ablation", "What happens without its latents")),
      h("p", { class: "quiet" }, readout(found)),
      h("h3", {}, without(first)),
      ofEntry(tree.label(node), first, found.draws),
      more.map((entry) =>
        h(
          "details",
          {},
          h("summary", {}, without(entry)),
          ofEntry(tree.label(node), entry, found.draws),
        ),
      ),
    );
  }

  const without = ({ latents }) => [
    latents.length > 1 ? `Without ${latents.length} latents: ` : "Without ",
    latents.map((latent, i) => [
      i > 0 && ", ",
      h("a", { href: site.href({ view: "latent", j: latent }) }, `latent ${latent}`),
    ]),
    !latents.length && "any: no latent was chosen for it",
  ];

  function ofEntry(name, { n_latents, kinds }, draws) {
    return [
      saying(conclusion(name, kinds, draws)),
      dom.table(
        [
          "what is done",
          term("P lost"),
          "siblings",
          "elsewhere",
          term("selectivity"),
          term("evenness"),
          term("within KL", "choice within"),
          "images changed, of it / others",
        ],
        Object.entries(KINDS).map(([kind, words]) => [term(kind, words), ...measured(kinds[kind])]),
        { label: `Ablation of at most ${n_latents}` },
      ),
      h(
        "p",
        { class: "quiet" },
        `Before, P(${name}) is ${number(kinds.chosen.p_in)} on its images`,
        Number.isFinite(kinds.chosen.steered) && [
          "; ",
          term("steered", "added"),
          ` where they do not fire, they raise it by ${number(kinds.chosen.steered, 3)} (other directions: ${number(kinds.directions.steered, 3)})`,
        ],
        ".",
      ),
    ];
  }

  /** A latent's page: the nodes for which it was taken away alone. */
  function ablationOfLatent(tree, latent, found) {
    const entries = found.entries
      .filter(({ latents, n_latents }) => n_latents === 1 && latents[0] === latent)
      .sort((a, b) => b.kinds.chosen.selectivity - a.kinds.chosen.selectivity);
    const [most] = entries;
    const link = (node) =>
      h("a", { href: site.href({ view: "node", n: node, j: null }) }, tree.label(node));
    return h(
      "section",
      {},
      h("h2", {}, term("ablation", "What happens without it")),
      entries.length
        ? [
            h("p", { class: "quiet" }, readout(found)),
            dom.table(
              ["node", term("P lost"), term("selectivity"), "largest null", term("evenness")],
              entries.map(({ node, kinds }) => {
                const [kind, value] = largestNull(kinds);
                return [
                  link(node),
                  number(kinds.chosen.delta_in, 3),
                  number(kinds.chosen.selectivity, 3),
                  h("span", {}, `${number(value, 3)} `, term(kind, KINDS[kind].replace("null: ", ""))),
                  number(kinds.chosen.evenness),
                ];
              }),
              { label: "Ablation of this latent" },
            ),
            entries.length > 1 &&
              h("p", {}, "For ", link(most.node), ", where it is most selective; for the others see their pages:"),
            saying(conclusion(tree.label(most.node), most.kinds, found.draws)),
          ]
        : h("p", { class: "quiet" }, "It was taken away alone for no node: another is chosen first."),
    );
  }

  function largestNull(kinds) {
    const values = [...Object.keys(NULLS), "permuted"].map((kind) => [
      kind,
      kinds[kind].selectivity,
    ]);
    const known = values.filter(([, value]) => Number.isFinite(value));
    return known.length ? known.reduce((a, b) => (b[1] > a[1] ? b : a)) : ["permuted", NaN];
  }

  const interval = (low, high) =>
    Number.isFinite(low) ? ` [${number(low)}, ${number(high)}]` : "";

  /** What the pairs of a node allow: a sentence, and the one that they do not. */
  function ofPairs(name, { shared, leaf, shared_over_leaf: over }) {
    if (!shared)
      return [
        `Nothing about what the classes of ${name} share: no pair shows it.`,
        "That the latent follows what they share, whatever the other rows are.",
      ];
    const beyond = (one) => one.answer_low > 0 && one.answer > one.answer_random_high;
    if (!beyond(shared))
      return [
        `The latent does not answer to what the classes share more than random latents do: what is left of the object is enough for it, or it is about something else. It fires on ${percent(shared.fires)} of the images, and no answer can be larger.`,
        "That it does not know the group: parts may be redundant.",
      ];
    if (over && beyond(over))
      return [
        "The latent follows what the classes share rather than just any part of them.",
        `That it stands for ${name}: what is shared is one part, the node may be more.`,
      ];
    return [
      `The latent answers to what the classes share, ${leaf ? "but not surely more than to what one class has of its own: it may need the whole object" : "with nothing to compare with"}.`,
      "That it follows the group rather than any large part of its images.",
    ];
  }

  /** A node's page: how its best latent takes pairs of images, beside random latents. */
  function pairsOfNode(tree, node, latent, answers) {
    const known = Object.entries(CHANGES).filter(([change]) => change in answers);
    return h(
      "section",
      {},
      h("h2", {}, term("pairs", "On images that differ in one thing")),
      h(
        "p",
        { class: "quiet" },
        latent === null
          ? "No latent was matched to it."
          : [
              "Of ",
              h("a", { href: site.href({ view: "latent", j: latent }) }, `latent ${latent}`),
              ", which matches it best. The pairs had no say in that.",
            ],
      ),
      saying(ofPairs(tree.label(node), answers)),
      dom.table(
        [
          "what changes",
          "pairs",
          "fires",
          term("answer", "answer, 95%"),
          "random latents",
          term("flips", "decides"),
          "random latents decide",
        ],
        known.map(([change, [key, words]]) => {
          const one = answers[change];
          return [
            term(key, words),
            count(one.n_pairs),
            percent(one.fires),
            `${number(one.answer)}${interval(one.answer_low, one.answer_high)}`,
            interval(one.answer_random_low, one.answer_random_high).trim() || "–",
            percent(one.flips),
            percent(one.flips_random),
          ];
        }),
        { label: "Pairs of images" },
      ),
    );
  }

  /** A latent's page: one image with and without, and on how many pairs it answers. */
  function pairsOfLatent(tree, latent) {
    const { paired, pair_ends: ends, pair_counts: counts } = study.format;
    const node = latent.best_internal;
    const name = tree.label(node);
    const parts = paired.map((change, i) => ({
      change,
      images: latent.pair_images.slice(i * ends.length, (i + 1) * ends.length),
      activations: latent.pair_activations.slice(i * ends.length, (i + 1) * ends.length),
      ...Object.fromEntries(counts.map((of, k) => [of, latent.pair_counts[i * counts.length + k]])),
    }));
    const [shared, leaf] = parts;
    const lacks = {
      shared: `without what the classes of ${name} share`,
      leaf: "without what the class has of its own",
    };
    const same = shared.pairs && leaf.images[0] === shared.images[0];
    const tiles = parts
      .filter(({ pairs }) => pairs)
      .flatMap(({ change, images, activations }, i) => [
        (i === 0 || !same) && [images[0], "with it", activations[0]],
        [images[1], lacks[change], activations[1]],
      ])
      .filter(Boolean);
    const tally = ({ pairs, answers, opposite }) =>
      `${count(answers)} of ${count(pairs)} pairs${opposite ? ` (the other way round on ${count(opposite)})` : ""}`;
    return h(
      "section",
      {},
      h("h2", {}, term("pairs", "On images that differ in one thing")),
      h(
        "p",
        {},
        "The group that it matches best is ",
        h("a", { href: site.href({ view: "node", n: node, j: null }) }, name),
        ` (MCC ${number(latent.best_internal_mcc)}). `,
        shared.pairs > 0 &&
          `When what its classes share is taken away, it falls silent on ${tally(shared)}. `,
        leaf.pairs > 0 &&
          `When what one class has of its own is taken away, which it should leave alone, on ${tally(leaf)}. `,
        "Shown is the pair on which it falls most.",
      ),
      h(
        "div",
        { class: "strip of-pairs" },
        ...tiles.map(([image, what, activation]) =>
          gallery.ofPair(tree.dataset, image, what, activation),
        ),
      ),
      saying(ofTally(name, shared, leaf)),
    );
  }

  function ofTally(name, shared, leaf) {
    const often = ({ pairs, answers, opposite }) => (pairs ? (answers - opposite) / pairs : NaN);
    if (!shared.pairs)
      return [
        `Only whether it minds what one class has of its own: no pair shows what the classes of ${name} share.`,
        "That it follows what they share.",
      ];
    if (often(shared) <= 0)
      return [
        "What is left of the object is enough for it, or it is about something else.",
        `That it does not know ${name}: parts may be redundant.`,
      ];
    if (often(shared) > often(leaf))
      return [
        "On these pairs it follows what the classes share more than what one has of its own.",
        `That it stands for ${name}: pairs are few, and what is shared is one part. The node's page has the interval.`,
      ];
    return [
      leaf.pairs
        ? "It needs the whole object, or any large part of it: the own part does as much."
        : "It answers to the shared part, with nothing to compare with.",
      `That it follows what the classes of ${name} share.`,
    ];
  }

  /** The sections of a node's page, where there is something to show. */
  async function ofNode({ tree, d, n: node }, nodes) {
    const [ablation, answers] = await Promise.all([
      study.ablation(d),
      study.pairAnswers(d, node),
    ]);
    const best = nodes.best_latent[node] < nodes.width ? nodes.best_latent[node] : null;
    return [
      answers && pairsOfNode(tree, node, best, answers),
      ablation && ablationOfNode(tree, node, ablation),
    ];
  }

  /** The same of a latent's. */
  async function ofLatent({ tree, d }, latent) {
    const ablation = await study.ablation(d);
    const paired = "pair_counts" in latent && latent.pair_counts.some((value) => value > 0);
    return [
      paired && pairsOfLatent(tree, latent),
      ablation && ablationOfLatent(tree, latent.number, ablation),
    ];
  }

  return { ofNode, ofLatent, conclusion, ofPairs, ofTally };
})();
