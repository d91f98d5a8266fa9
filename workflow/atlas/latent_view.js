"use strict";
// One latent: why to believe that it is about its node, and where it fails.

const latentView = (() => {
  const { number, count, percent, chance } = scales;

  /** Images with a choice of map on top, where the latent has maps. */
  function withMaps(maps, route, images) {
    if (!maps) return images("");
    const holder = h("div", {});
    const show = (method) => holder.replaceChildren(images(method));
    const chosen = ["none", ...maps.methods].includes(route.m) ? route.m : maps.methods[0];
    show(chosen);
    return h(
      "div",
      { class: "maps" },
      dom.select(
        "Map",
        [
          ["none", "no map"],
          ...maps.methods.map((m) => [
            m,
            m === "shuffled"
              ? "control: another latent's map"
              : m === "random"
                ? "control: patches at random"
                : m.replaceAll("_", " "),
          ]),
        ],
        chosen,
        (method) => {
          site.note({ m: method });
          show(method);
        },
      ),
      term("relevancy map", "What is this?"),
      holder,
    );
  }

  /** p- and q-value, or why there is none. */
  const significance = (latent) =>
    Number.isFinite(latent.p_value)
      ? `${chance(latent.p_value)} / ${chance(latent.q_value)}`
      : "none: the strongest images are of one class";

  /** Next or previous latent that fires at all. */
  async function step(route, by) {
    const { status, width } = await study.nodes(route.d);
    for (let i = 1; i < width; i++) {
      const next = (route.j + by * i + width) % width;
      if (status[next] > 0) return site.go({ j: next });
    }
  }

  function evidence(tree, latent, nodes, recurrence) {
    const { settings } = study;
    const yes = (value) => (Number.isNaN(value) ? "–" : value ? "yes" : "no");
    const internal = latent.best_internal;
    const name = (node) =>
      node < 0
        ? "–"
        : h("a", { href: site.href({ view: "node", n: node, j: null }) }, tree.label(node));
    const rows = [
      [
        [term("MCC"), " with its best node, ", name(latent.best)],
        charts.scoreBar(latent.best_mcc, NaN, NaN, settings.mcc_threshold),
        latent.best >= 0 && tree.isClass(latent.best)
          ? "one class: see the group below"
          : `null ${number(nodes.best_mcc_null_permuted[latent.best])} for the dictionary's best latent`,
      ],
      [
        [term("MCC"), " with its best group, ", name(internal)],
        charts.scoreBar(
          latent.best_internal_mcc,
          nodes.best_mcc_null_permuted[internal],
          nodes.best_mcc_null_permuted_high[internal],
          settings.mcc_threshold,
        ),
        `null: what the best latent reaches for this group, ${number(nodes.best_mcc_null_permuted[internal])} on average`,
      ],
      [term("AUROC"), charts.scoreBar(latent.best_auroc, 0.5, NaN), "chance: .50"],
      [
        [term("precision"), " / ", term("recall")],
        `${number(latent.best_precision)} / ${number(latent.best_recall)}`,
        `at its ${count(latent.best_cutoff)} strongest images of one half`,
      ],
      [
        term("pair-LCH"),
        number(latent.pair_lch),
        `null ${number(latent.pair_lch_null_permuted)}; lower is closer`,
      ],
      [
        [term("p-value"), " / ", term("q-value")],
        significance(latent),
        `at least ${settings.p_draws} rearrangements; significant below ${number(settings.fdr)}: ${yes(latent.significant)}`,
      ],
      [
        term("coherent"),
        yes(latent.coherent),
        [
          "lowest common node (τ = ",
          number(settings.tau, 1),
          "): ",
          name(latent.lch_tau),
          `, share of the strongest images ${number(latent.lch_tau_share)}, `,
          term("coverage"),
          ` ${number(latent.coverage_top)}`,
        ],
      ],
      [
        term("purity"),
        number(latent.purity),
        `${number(latent.effective_classes, 1)} effective classes among the strongest images; purity near 1 is one class, not a group`,
      ],
      [
        term("recurrence"),
        recurrence ? percent(recurrence.recurrence[latent.number]) : "–",
        recurrence
          ? [
              term("cosine over seeds"),
              ` ${number(recurrence.seed_similarity[latent.number])}, null ${number(recurrence.seed_similarity_null[latent.number])}`,
            ]
          : "there is no other seed",
      ],
    ];
    return dom.table(["measure", "value", "beside it"], rows, { label: "Scores and controls" });
  }

  /** How well the maps do, where the object's place is known or patches were removed. */
  function mapTable(maps) {
    const n = maps.images.length;
    const measures = study.format.map_measures;
    const mean = (values, m) => {
      const known = Array.from(values.subarray(m * n, (m + 1) * n)).filter(Number.isFinite);
      return known.length ? known.reduce((a, b) => a + b, 0) / known.length : NaN;
    };
    return dom.table(
      ["map", ...Object.values(measures)],
      maps.methods.map((method, m) => [
        method.replaceAll("_", " "),
        ...Object.keys(measures).map((name) => number(mean(maps[name], m))),
      ]),
      { label: "How right the maps are" },
    );
  }

  const links = (found, text) =>
    found.length
      ? h(
          "ul",
          { class: "links" },
          ...found.map(({ item, value }) =>
            h(
              "li",
              {},
              h("a", { href: site.href({ j: item }) }, `latent ${item}`),
              ` ${text(value)}`,
            ),
          ),
        )
      : h("p", { class: "quiet" }, "None.");

  /** Share of each node's images that fire the latent, on the tree. */
  function profile(tree, latent, width) {
    const fired = new Float64Array(tree.class_size.length);
    for (const { item, value } of latent.classes) fired[item] = value;
    const share = (node) => {
      const labels = tree.classes(node);
      return labels.reduce((sum, label) => sum + fired[label], 0) / tree.images(node);
    };
    const said = (node) =>
      `${tree.label(node)}: fires on ${percent(share(node))} of the images${node === latent.best ? ", its best node" : ""}`;
    said.short = (node) => percent(share(node));
    return icicle.draw(tree, {
      root: tree.root,
      chosen: latent.best < 0 ? tree.root : latent.best,
      width,
      value: share,
      state: (node) => (share(node) > 0 ? "found" : "none"),
      marked: () => false,
      said,
      onpick: (node, open) => open && site.go({ view: "node", n: node, j: null }),
      onenter: (node) => site.go({ view: "node", n: node, j: null }),
      onleave: () => {},
    });
  }

  async function view(route, nodes) {
    const { tree, d } = route;
    if (route.j === null) {
      const best = nodes.best_latent[route.n ?? nodeView.bestNode(tree, nodes)];
      route.j = best < nodes.width ? best : 0;
    }
    const [latent, recurrence] = await Promise.all([study.latent(d, route.j), study.recurrence(d)]);
    const maps = nodes.mapped.includes(route.j) ? await study.maps(d, route.j) : null;
    const title = `Latent ${route.j}`;
    const go = h(
      "p",
      { class: "actions" },
      h("button", { type: "button", id: "previous", onclick: () => step(route, -1) }, "← previous"),
      h("button", { type: "button", id: "next", onclick: () => step(route, 1) }, "next →"),
      h("a", { class: "button", href: site.href({ view: "depth" }) }, "Through the layers"),
    );
    const head = [
      h("h1", {}, title),
      h(
        "p",
        {},
        term("fires on", "Fires on"),
        ` ${count(latent.n_firing)} of ${count(tree.labels.length)} images (${percent(latent.n_firing / tree.labels.length)}); largest activation ${number(latent.strongest)}.`,
      ),
      go,
    ];
    if (latent.status === "dead")
      return {
        title,
        content: [
          ...head,
          h(
            "p",
            { class: "verdict" },
            "Dead: it fires on no evaluation image, so there is nothing to show.",
          ),
        ],
      };

    const places = await placesView.ofLatent(route, latent);
    const causes = await causesView.ofLatent(route, latent);
    const node = latent.best;
    const inside = node >= 0 ? `under ${tree.label(node)}` : "under no node";
    const { bands, bins } = study.format;
    const strips = bands.map((band, i) => {
      const part = (values) => values.slice(i * nodes.images, (i + 1) * nodes.images);
      const options = { node };
      return h(
        "div",
        { class: "band" },
        h("h3", {}, band),
        i === 0
          ? withMaps(maps, route, (method) =>
              gallery.strip(
                tree,
                part(latent.images_of_bands),
                { ...options, maps, method },
                part(latent.relative),
              ),
            )
          : gallery.strip(tree, part(latent.images_of_bands), options, part(latent.relative)),
      );
    });
    const alarms = latent.histogram.slice(bins).reduce((a, b) => a + b, 0);
    const holder = h("div", { class: "tree" });
    return {
      title,
      content: [
        node >= 0 && nodeView.path(tree, node),
        ...head,
        h("p", { class: "verdict" }, saying(tree, latent)),
        h(
          "section",
          {},
          h("h2", {}, "Why believe it?"),
          latent.status === "scored"
            ? evidence(tree, latent, nodes, recurrence)
            : h("p", {}, term("rare", "Rare"), ": it fires on too few images to be scored."),
        ),
        h(
          "section",
          {},
          h("h2", {}, "Images over its whole range"),
          node >= 0 && gallery.key(tree, node),
          ...strips,
          maps && [h("h3", {}, "How right are the maps?"), mapTable(maps)],
        ),
        ...places,
        ...causes,
        h(
          "section",
          {},
          h("h2", {}, "How strongly it fires"),
          charts.histogram(latent.histogram, bins, [inside, "other images"]),
        ),
        node >= 0 &&
          h(
            "section",
            {},
            h("h2", {}, "Where it fails"),
            h(
              "h3",
              {},
              term("false alarms", "False alarms"),
              ` (${count(alarms)} images outside ${tree.label(node)} fire it)`,
            ),
            gallery.strip(tree, latent.false_alarms, { node }),
            h(
              "h3",
              {},
              term("misses", "Misses"),
              ` (${count(latent.n_misses)} of ${count(tree.images(node))} images of ${tree.label(node)} do not fire it)`,
            ),
            gallery.strip(tree, latent.misses, { node }),
            nodeView.classes(tree, latent, node, nodes.classes),
          ),
        h(
          "section",
          {},
          h("h2", {}, "Its classes on the tree"),
          h(
            "p",
            { class: "quiet" },
            `Colour: share of a node's images that fire it.${latent.classes.length >= nodes.classes ? ` Only the ${nodes.classes} classes with most images are counted.` : ""}`,
          ),
          holder,
        ),
        h(
          "section",
          { class: "columns three" },
          h(
            "div",
            {},
            h("h2", {}, term("neighbours", "Neighbours")),
            links(latent.neighbours, (value) => `cosine ${number(value)}`),
          ),
          h(
            "div",
            {},
            h("h2", {}, term("parents", "Parents")),
            links(latent.parents, (value) => `fires on ${percent(value)} of this one's images`),
          ),
          h(
            "div",
            {},
            h("h2", {}, term("children", "Children")),
            links(latent.children, (value) => `${percent(value)} of its images fire this one`),
          ),
        ),
      ]
        .flat()
        .filter(Boolean),
      after: () => holder.replaceChildren(profile(tree, latent, holder.clientWidth)),
    };
  }

  /** In a sentence, what the latent seems to be. */
  function saying(tree, latent) {
    if (latent.status !== "scored" || latent.best < 0)
      return "Too few images fire it to say what it is about.";
    const { mcc_threshold: threshold } = study.settings;
    const name = tree.label(latent.best);
    if (latent.best_mcc >= threshold)
      return tree.isClass(latent.best)
        ? `A latent for one class, ${name}.`
        : `A latent for a group of classes, ${name}.`;
    return `No node matches it well. The closest is ${name}, with an MCC below ${number(threshold, 1)}: do not name it after that.`;
  }

  return Object.assign(view, { withMaps, step, significance });
})();
