"use strict";
// Two dictionaries: their scores beside each other, and the nodes that only one of them finds.

const compareView = (() => {
  const { number, count } = scales;
  const layersOf = (d) =>
    [
      ...new Set(
        study.dictionaries
          .filter((o) => o.experiment === d.experiment && o.token === d.token)
          .map((o) => o.layer),
      ),
    ].sort((a, b) => a - b);

  /** What to compare with if nothing is said: the same kind at the first layer, or what there is. */
  function control(d) {
    const others = study.dictionaries.filter((other) => other !== d && other.dataset === d.dataset);
    const random = others.filter(
      (o) =>
        o.weights === "random" &&
        d.weights !== "random" &&
        o.layer === d.layer &&
        o.variant === d.variant,
    );
    const first = study.nearest(d, "layer", layersOf(d)[0]);
    return random[0] || (first !== d ? first : others[0] || d);
  }

  function scoreTable(a, b) {
    const cell = (d, { name, unit }) => {
      const value = study.score(d, name);
      const low = study.score(d, name, "low");
      const null_ = study.score(d, name, "null");
      return h(
        "span",
        {},
        unit === "latents" && Number.isInteger(value) ? count(value) : number(value),
        Number.isFinite(low) &&
          h(
            "span",
            { class: "quiet" },
            ` (${number(low)} to ${number(study.score(d, name, "high"))})`,
          ),
        Number.isFinite(null_) && h("span", { class: "beside" }, ` null ${number(null_)}`),
      );
    };
    const known = study.scores.filter(({ name }) =>
      [a, b].some((d) => Number.isFinite(study.score(d, name))),
    );
    return dom.table(
      ["score (95% interval), permuted-leaf null", "dictionary", "compared with"],
      known.map((score) => [
        `${score.label}${score.hierarchical < 0 ? " (lower is more hierarchical)" : ""}`,
        cell(a, score),
        cell(b, score),
      ]),
      { label: "Scores of both dictionaries" },
    );
  }

  function differences(tree, groups, one, two, more) {
    const rows = [];
    for (const node of groups) {
      const [a, b] = [one.best_mcc[node], two.best_mcc[node]];
      const gap =
        (Number.isFinite(a) ? Math.max(a, 0) : 0) - (Number.isFinite(b) ? Math.max(b, 0) : 0);
      if (more * gap > 0) rows.push({ node, a, b, gap: Math.abs(gap) });
    }
    rows.sort((x, y) => y.gap - x.gap);
    if (!rows.length) return h("p", { class: "empty" }, "None.");
    return dom.table(
      ["node", "dictionary", "compared with"],
      rows
        .slice(0, 12)
        .map(({ node }) => [
          h("a", { href: site.href({ view: "node", n: node, j: null }) }, tree.label(node)),
          ...[one, two].map((nodes) =>
            charts.scoreBar(
              nodes.best_mcc[node],
              nodes.best_mcc_null_permuted[node],
              nodes.best_mcc_null_permuted_high[node],
              study.settings.mcc_threshold,
            ),
          ),
        ]),
      { label: more > 0 ? "Better in the dictionary" : "Better in the one compared with" },
    );
  }

  async function view(route, nodes) {
    const { tree, d, e } = route;
    const title = "Two dictionaries compared";
    const head = [
      h("h1", {}, title),
      h(
        "p",
        {},
        h("strong", {}, `${study.title(d)} (${study.origin(d)})`),
        " and ",
        h("strong", {}, `${study.title(e)} (${study.origin(e)})`),
        ". ",
        h("a", { href: site.href({ d: e, e: d }) }, "Swap them"),
      ),
      h("section", {}, h("h2", {}, "Scores"), scoreTable(d, e)),
    ];
    if (d.dataset !== e.dataset)
      return {
        title,
        content: [
          ...head,
          h(
            "p",
            { class: "verdict" },
            "They were scored on different datasets, so their nodes cannot be compared.",
          ),
        ],
      };
    const other = await study.nodes(e);
    const groups = Array.from({ length: tree.size }, (_, node) => node).filter(
      (node) => node !== tree.root && !tree.isClass(node),
    );
    const found = (chunk, node) => chunk.n_finders[node] > 0;
    const tally = (a, b) =>
      groups.filter((node) => found(nodes, node) === a && found(other, node) === b).length;
    const points = groups
      .filter(
        (node) => Number.isFinite(nodes.best_mcc[node]) || Number.isFinite(other.best_mcc[node]),
      )
      .map((node) => ({
        x: nodes.best_mcc[node] || 0,
        y: other.best_mcc[node] || 0,
        text: `${tree.label(node)}: ${number(nodes.best_mcc[node])} and ${number(other.best_mcc[node])}`,
        href: site.href({ view: "node", n: node, j: null }),
      }));
    return {
      title,
      content: [
        ...head,
        h(
          "section",
          {},
          h("h2", {}, "Groups of classes"),
          h(
            "p",
            {},
            `Recovered by both: ${tally(true, true)}; by the dictionary alone: ${tally(true, false)}; by the one compared with alone: ${tally(false, true)}; by neither: ${tally(false, false)}.`,
          ),
          charts.scatter(
            points,
            "MCC, dictionary",
            "MCC, compared with",
            study.settings.mcc_threshold,
          ),
        ),
        h(
          "div",
          { class: "columns" },
          h(
            "section",
            {},
            h("h2", {}, "Matched better by the dictionary"),
            differences(tree, groups, nodes, other, 1),
          ),
          h(
            "section",
            {},
            h("h2", {}, "Matched better by the one compared with"),
            differences(tree, groups, nodes, other, -1),
          ),
        ),
      ],
    };
  }

  return Object.assign(view, { control, layersOf });
})();
