"use strict";
// A node, or the nodes that a latent is about, followed through the layers.

const depthView = (() => {
  const { number, count } = scales;

  /** The result nearest to a dictionary in each layer, among those that fit. */
  function perLayer(rows, d, fits) {
    const layers = new Map();
    for (const row of rows) {
      const { dictionary: other } = row;
      // Codes that were made elsewhere are of no layer that is known.
      if (other.layer === null || other.token !== d.token || !fits(other)) continue;
      const gap = ["width", "sparsity", "seed"].filter((key) => other[key] !== d[key]).length;
      const best = layers.get(other.layer);
      if (!best || gap < best.gap) layers.set(other.layer, { gap, row });
    }
    return [...layers.entries()].sort(([a], [b]) => a - b).map(([layer, { row }]) => [layer, row]);
  }

  const own = (rows, d) => perLayer(rows, d, (other) => study.same(other, d, ["layer"]));

  function chart(rows, d) {
    const mine = own(rows, d);
    const points = (found, name = "best_mcc") =>
      found.map(([layer, row]) => [layer, row[name]]).filter(([, value]) => Number.isFinite(value));
    const arm = (variant) => (other) =>
      other.experiment === d.experiment && other.variant === variant;
    const series = [
      { name: study.title(d), points: points(mine) },
      { name: "linear probe", term: "linear probe", points: points(mine, "probe") },
      ...[
        ["neurons", "neurons"],
        ["pca", "pca"],
        ["random directions", "random"],
      ]
        .filter(([, variant]) => variant !== d.variant)
        .map(([name, variant]) => ({
          name,
          term: variant,
          points: points(perLayer(rows, d, arm(variant))),
        })),
      {
        name: "random backbone",
        term: "random backbone",
        points:
          d.weights === "random"
            ? []
            : points(
                perLayer(
                  rows,
                  d,
                  (other) => other.weights === "random" && other.variant === d.variant,
                ),
              ),
      },
    ].filter((one) => one.points.length);
    const layers = [...new Set(series.flatMap((one) => one.points.map(([layer]) => layer)))].sort(
      (a, b) => a - b,
    );
    if (!layers.length) return h("p", { class: "empty" }, "No layer has a result for it.");
    return charts.depthChart(
      series,
      points(mine, "best_mcc_null_permuted_high"),
      layers,
      study.settings.mcc_threshold,
      d.layer,
    );
  }

  /** Each layer's best latent and what it responds to; images are loaded when they come into view. */
  async function layers(tree, rows, d, node) {
    const mine = own(rows, d).reverse();
    const watcher = new IntersectionObserver(
      (entries) => {
        for (const entry of entries.filter(({ isIntersecting }) => isIntersecting)) {
          watcher.unobserve(entry.target);
          fill(entry.target);
        }
      },
      { rootMargin: "300px" },
    );
    const dictionaryOf = new WeakMap();
    async function fill(holder) {
      const nodes = await study.nodes(dictionaryOf.get(holder));
      const each = nodes.examples_per_node;
      holder.replaceChildren(
        gallery.strip(tree, nodes.examples.subarray(node * each, (node + 1) * each), { node }),
      );
    }
    const lines = mine.map(([layer, row]) => {
      const holder = h("div", { class: "later" });
      const other = row.dictionary;
      const { width } = other;
      const known = row.best_latent < width;
      if (known) {
        dictionaryOf.set(holder, other);
        watcher.observe(holder);
      }
      return [
        h(
          "a",
          { href: site.href({ d: other }), "aria-current": other === d ? "true" : null },
          `layer ${layer}`,
        ),
        charts.scoreBar(
          row.best_mcc,
          row.best_mcc_null_permuted,
          row.best_mcc_null_permuted_high,
          study.settings.mcc_threshold,
        ),
        Number.isFinite(row.recovered_null_permuted)
          ? scales.percent(row.recovered_null_permuted)
          : "–",
        known
          ? h(
              "a",
              { href: site.href({ view: "latent", d: other, n: node, j: row.best_latent }) },
              `latent ${row.best_latent}`,
            )
          : "no latent",
        holder,
      ];
    });
    return dom.table(
      ["layer", "best MCC and null", term("null recovers"), "best latent", "responds most to"],
      lines,
      { label: "Layers" },
    );
  }

  async function view(route, nodes) {
    const { tree, d } = route;
    let family = [];
    if (route.j !== null) {
      const latent = await study.latent(d, route.j);
      const relatives = await Promise.all(
        [...latent.parents, ...latent.children]
          .slice(0, 6)
          .map(({ item }) => study.latent(d, item)),
      );
      family = [latent, ...relatives]
        .flatMap((one) => [one.best, one.best_internal])
        .filter((node) => node >= 0);
      if (!family.includes(route.n)) route.n = family[0] ?? route.n;
    }
    if (route.n === null || route.n === tree.root) route.n = nodeView.bestNode(tree, nodes);
    const node = route.n;
    const rows = await study.depth(d.dataset, node);
    const choice = [...new Set([...family, ...tree.path(node).slice(1), ...tree.children[node]])];
    return {
      title: `${tree.label(node)} through the layers`,
      content: [
        nodeView.path(tree, node),
        h("h1", {}, `${tree.label(node)} through the layers`),
        h(
          "p",
          {},
          route.j === null
            ? "For each layer, the latent that matches the node best, whichever it is. "
            : `The nodes that latent ${route.j}, its parents and its children are about, followed through the layers: for each layer, the latent that matches the node best. Latents of two layers are not the same latent; what is followed is what they are about. `,
          h("a", { href: site.href({ view: "node" }) }, "All about the node"),
        ),
        h(
          "nav",
          { class: "choices", "aria-label": "Nodes" },
          ...choice.map((other) =>
            h(
              "a",
              { href: site.href({ n: other }), "aria-current": other === node ? "true" : null },
              tree.label(other),
            ),
          ),
        ),
        chart(rows, d),
        await layers(tree, rows, d, node),
        h(
          "p",
          { class: "quiet" },
          `${count(rows.length)} dictionaries of this dataset were compared. The curve is of ${study.title(d)}; others are the nearest of their kind. At the threshold of ${number(study.settings.mcc_threshold)} a node counts as recovered.`,
        ),
      ],
    };
  }

  return Object.assign(view, { chart, layers });
})();
