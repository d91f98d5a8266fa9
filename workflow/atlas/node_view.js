"use strict";
// One node: whether it is found, by which latents, through the layers, and where these fail.

const nodeView = (() => {
  const { number, count, percent } = scales;
  const DETAILED = 3;
  /** Latents below this MCC are not worth naming beside the best one. */
  const WORTH = 0.2;

  /** The node that is found best, where none is asked for. */
  function bestNode(tree, nodes) {
    let best = -1;
    const excess = (node) => nodes.best_mcc[node] - nodes.best_mcc_null_permuted[node];
    for (let node = 0; node < tree.size; node++)
      if (excess(node) > (best < 0 ? -Infinity : excess(best))) best = node;
    return best < 0 ? 0 : best;
  }

  /** The way from the root, as links. */
  const path = (tree, node) =>
    h(
      "nav",
      { class: "trail", "aria-label": "Path in the taxonomy" },
      ...tree.path(node).map((above) =>
        above === node
          ? h("span", { "aria-current": "true" }, tree.label(above))
          : h(
              "a",
              {
                href: site.href({
                  view: above === tree.root ? "tree" : "node",
                  n: above,
                  z: null,
                  j: null,
                }),
              },
              tree.label(above),
            ),
      ),
    );

  /** Of each class, the share of its images that fire the latent: those under the node, and others. */
  function classes(tree, latent, node, limit) {
    const fired = new Map(latent.classes.map(({ item, value }) => [item, value]));
    const cut = latent.classes.length >= limit ? Math.min(...fired.values()) : 0;
    const bar = (label) => {
      const known = fired.has(label) || !cut;
      const share = (fired.get(label) || 0) / tree.class_size[label];
      return h(
        "li",
        {},
        h(
          "a",
          { href: site.href({ view: "node", n: tree.class_node[label], j: null }) },
          tree.className(label),
        ),
        s(
          "svg",
          {
            class: "bar",
            viewBox: "0 0 100 10",
            preserveAspectRatio: "none",
            "aria-hidden": "true",
          },
          s("rect", { class: "track", width: 100, height: 10 }),
          s("rect", {
            class: tree.covers(node, label) ? "value" : "wrong",
            width: 100 * share,
            height: 10,
          }),
        ),
        h(
          "span",
          { class: "figure" },
          known ? percent(share) : `≤ ${percent(cut / tree.class_size[label])}`,
        ),
      );
    };
    const should = Array.from(tree.classes(node)).sort(
      (a, b) => (fired.get(b) || 0) - (fired.get(a) || 0),
    );
    const others = latent.classes
      .map(({ item }) => item)
      .filter((label) => !tree.covers(node, label));
    const list = (labels, most) => [
      h("ul", { class: "classes" }, ...labels.slice(0, most).map(bar)),
      labels.length > most && h("p", { class: "quiet" }, `and ${count(labels.length - most)} more`),
    ];
    return h(
      "div",
      { class: "columns" },
      h("div", {}, h("h4", {}, "Classes it should fire on"), list(should, 16)),
      h(
        "div",
        {},
        h("h4", {}, "Others that it fires on most"),
        others.length ? list(others, 10) : h("p", { class: "quiet" }, "None."),
      ),
    );
  }

  /** A latent seen from a node. */
  async function card(route, nodes, recurrence, number_, mcc) {
    const { tree, d, n: node } = route;
    const latent = await study.latent(d, number_);
    const mapped = nodes.mapped.includes(number_) ? await study.maps(d, number_) : null;
    const images = latent.images_of_bands.slice(0, nodes.images);
    const relative = latent.relative.slice(0, nodes.images);
    const own = latent.best === node ? null : latent.best;
    const side = latent.best === node || latent.best_internal !== node ? "best" : "best_internal";
    return h(
      "article",
      { class: "card" },
      h("h3", {}, h("a", { href: site.href({ view: "latent", j: number_ }) }, `Latent ${number_}`)),
      h(
        "dl",
        { class: "facts" },
        h("dt", {}, term("MCC"), ` with ${tree.label(node)}`),
        h(
          "dd",
          {},
          charts.scoreBar(
            mcc,
            nodes.best_mcc_null_permuted[node],
            nodes.best_mcc_null_permuted_high[node],
            study.settings.mcc_threshold,
          ),
        ),
        latent[side] === node && [
          h("dt", {}, term("precision"), " / ", term("recall")),
          h(
            "dd",
            {},
            `${number(latent[`${side}_precision`])} / ${number(latent[`${side}_recall`])} at its ${count(latent[`${side}_cutoff`])} strongest images (half of the split)`,
          ),
        ],
        h("dt", {}, term("p-value"), " / ", term("q-value")),
        h("dd", {}, latentView.significance(latent)),
        h("dt", {}, term("recurrence", "recurs in other seeds")),
        h(
          "dd",
          {},
          recurrence
            ? `${percent(recurrence.recurrence[number_])} (cosine ${number(recurrence.seed_similarity[number_])}, null ${number(recurrence.seed_similarity_null[number_])})`
            : "no other seed",
        ),
        own !== null &&
          own >= 0 && [
            h("dt", {}, "its own best node"),
            h(
              "dd",
              {},
              h("a", { href: site.href({ n: own }) }, tree.label(own)),
              ` (MCC ${number(latent.best_mcc)})`,
            ),
          ],
      ),
      latentView.withMaps(mapped, route, (method) =>
        gallery.strip(tree, images, { node, maps: mapped, method }, relative),
      ),
      classes(tree, latent, node, nodes.classes),
    );
  }

  /** What other arms reach on the node at this layer. */
  function controlsTable(tree, node, rows, d) {
    const here = rows.filter(
      ({ dictionary }) => dictionary.layer === d.layer && dictionary.token === d.token,
    );
    // A single class cannot be held out.
    const score = tree.isClass(node) ? "best_mcc" : "held_out";
    const best = (found) =>
      found.reduce((a, b) => (b[score] > (a ? a[score] : -Infinity) ? b : a), null);
    const ofVariant = (variant) => (o) =>
      o.experiment === d.experiment && o.variant === variant;
    const arms = [
      ["other seeds", null, (o) => study.same(o, d, ["seed"]) && o !== d],
      ["before training", "start", ofVariant("start")],
      ["random directions", "random", ofVariant("random")],
      ["neurons", "neurons", ofVariant("neurons")],
      ["principal components", "pca", ofVariant("pca")],
      ["k-means", "kmeans", ofVariant("kmeans")],
      ["class means (supervised)", "class_means", ofVariant("class_means")],
      ["node means (supervised)", "node_means", ofVariant("node_means")],
      [
        "random backbone",
        "random backbone",
        (o) => o.weights === "random" && d.weights !== "random",
      ],
    ];
    const lines = arms.flatMap(([name, key, fits]) => {
      const found = best(here.filter(({ dictionary }) => dictionary !== d && fits(dictionary)));
      return found ? [[key ? term(key, name) : name, found]] : [];
    });
    const mine = here.find(({ dictionary }) => dictionary === d);
    // What was told the classes is no rival: it shows what there is to find.
    const rival = best(
      lines
        .map(([, found]) => found)
        .filter(
          ({ dictionary }) =>
            !study.same(dictionary, d, ["seed"]) &&
            !["class_means", "node_means"].includes(dictionary.variant),
        ),
    );
    const cells = (found) => [
      charts.scoreBar(found.held_out, found.held_out_null_permuted, NaN),
      Number.isFinite(found.own_best) ? (found.own_best > 0 ? "yes" : "no") : "–",
      charts.scoreBar(
        found.best_mcc,
        found.best_mcc_null_permuted,
        found.best_mcc_null_permuted_high,
        study.settings.mcc_threshold,
      ),
      count(found.n_finders),
      h("a", { href: site.href({ d: found.dictionary }) }, study.title(found.dictionary)),
    ];
    const sentence =
      rival !== null &&
      h(
        "p",
        {},
        score === "held_out" ? ["On ", term("held-out classes"), ": "] : "",
        mine[score] > rival[score]
          ? "It is ahead of every unsupervised control of this layer; the best is "
          : "A control of this layer does as well or better: ",
        rival.dictionary.weights === d.weights ? rival.dictionary.variant : "the random backbone",
        ` with ${number(rival[score])}.`,
      );
    const table = dom.table(
      [
        "",
        h("span", {}, term("held-out classes"), " and null"),
        term("own best"),
        "best MCC and null",
        "latents that find it",
        "dictionary",
      ],
      [
        [h("strong", {}, "this dictionary"), ...cells(mine)],
        ...lines.map(([name, found]) => [name, ...cells(found)]),
        ...(Number.isFinite(mine.probe)
          ? [
              [
                term("linear probe"),
                charts.scoreBar(mine.probe_held_out, NaN, NaN),
                "",
                charts.scoreBar(mine.probe, NaN, NaN, study.settings.mcc_threshold),
                "",
                "labels, no dictionary",
              ],
            ]
          : []),
      ],
      { label: "Controls" },
    );
    return [sentence, table];
  }

  async function view(route, nodes) {
    const { tree, d } = route;
    if (route.n === null || route.n === tree.root) route.n = bestNode(tree, nodes);
    const node = route.n;
    const [recurrence, rows] = await Promise.all([
      study.recurrence(d),
      study.depth(d.dataset, node),
    ]);
    const one = treeView.result(tree, nodes, recurrence, node);
    const listed = [];
    if (one.latent !== null) listed.push([one.latent, one.mcc]);
    for (let i = nodes.latents_start[node]; i < nodes.latents_start[node + 1]; i++)
      if (nodes.latents[i] !== one.latent && nodes.latents_mcc[i] >= WORTH)
        listed.push([nodes.latents[i], nodes.latents_mcc[i]]);
    const cards = await Promise.all(
      listed.slice(0, DETAILED).map(([latent, mcc]) => card(route, nodes, recurrence, latent, mcc)),
    );
    const places = await placesView.ofNode(route);
    const causes = await causesView.ofNode(route, nodes);
    const others = tree.parents[node].slice(1).filter((above) => above !== tree.root);
    return {
      title: tree.label(node),
      content: [
        path(tree, node),
        h("h1", {}, tree.label(node)),
        h(
          "p",
          { class: "quiet" },
          `${count(tree.classes(node).length)} of ${count(tree.class_size.length)} classes, ${count(tree.images(node))} images. ${tree.wnid[node]}, ${tree.name[node]}`,
          tree.aliases[node].length > 0 &&
            `; with the same classes: ${tree.aliases[node].map((name) => tree.constructor.pretty(name)).join(", ")}`,
          others.length > 0 && [
            "; also under ",
            others.map((above, i) => [
              i > 0 && ", ",
              h("a", { href: site.href({ n: above }) }, tree.label(above)),
            ]),
          ],
          ".",
        ),
        h(
          "section",
          {},
          h("h2", {}, "Is it found?"),
          h("p", { class: "verdict" }, treeView.verdict(tree, node, one)),
          controlsTable(tree, node, rows, d),
          tree.isClass(node) &&
            h(
              "p",
              { class: "quiet" },
              "For a single class the numbers are of the latents whose own best node it is; rearranging the taxonomy cannot change how one class is found, so it has no such null.",
            ),
        ),
        h(
          "section",
          {},
          h("h2", {}, "Its latents in this dictionary"),
          listed.length ? gallery.key(tree, node) : h("p", {}, "None."),
          ...cards,
          listed.length > DETAILED &&
            h(
              "p",
              {},
              "Also about it: ",
              listed
                .slice(DETAILED)
                .map(([latent, mcc], i) => [
                  i > 0 && ", ",
                  h("a", { href: site.href({ view: "latent", j: latent }) }, `latent ${latent}`),
                  ` (${number(mcc)})`,
                ]),
              ".",
            ),
        ),
        ...places,
        ...causes,
        h(
          "section",
          {},
          h("h2", {}, "Through the layers"),
          depthView.chart(rows, d),
          await depthView.layers(tree, rows, d, node),
        ),
        tree.children[node].length > 0 &&
          h(
            "section",
            {},
            h("h2", {}, "What lies under it"),
            dom.table(
              ["node", "best MCC and null", "classes"],
              tree.children[node].map((child) => [
                h("a", { href: site.href({ n: child }) }, tree.label(child)),
                charts.scoreBar(
                  nodes.best_mcc[child],
                  nodes.best_mcc_null_permuted[child],
                  nodes.best_mcc_null_permuted_high[child],
                  study.settings.mcc_threshold,
                ),
                count(tree.classes(child).length),
              ]),
              { label: "Children" },
            ),
          ),
      ].filter(Boolean),
    };
  }

  return Object.assign(view, { bestNode, path, classes });
})();
