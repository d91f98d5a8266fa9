"use strict";
// The taxonomy, each node coloured by how well the dictionary finds it.

const treeView = (() => {
  const { number, count } = scales;
  const SCORES = [
    ["held", "MCC on held-out classes"],
    ["mcc", "best latent's MCC"],
    ["excess", "MCC minus null"],
    ["finders", "latents that find it"],
    ["recurrence", "best latent's recurrence"],
  ];

  /** How a dictionary does on a node. */
  function result(tree, nodes, recurrence, node) {
    const latent = nodes.best_latent[node] < nodes.width ? nodes.best_latent[node] : null;
    const mcc = nodes.best_mcc[node];
    const null_ = nodes.best_mcc_null_permuted[node];
    return {
      latent,
      held: nodes.held_out[node],
      heldNull: nodes.held_out_null_permuted[node],
      own: nodes.own_best[node] > 0,
      ownNull: nodes.own_best_null_permuted[node],
      mcc,
      null_,
      high: nodes.best_mcc_null_permuted_high[node],
      nullRecovers: nodes.recovered_null_permuted[node],
      excess: mcc - null_,
      finders: nodes.n_finders[node],
      recurrence: recurrence && latent !== null ? recurrence.recurrence[latent] : NaN,
      state: latent === null ? "none" : nodes.n_finders[node] > 0 ? "found" : "weak",
      undrawn: tree.drawn[node] !== null && !tree.drawn[node][0],
    };
  }

  /** In a sentence, what the result amounts to. */
  function verdict(tree, node, one) {
    const threshold = number(study.settings.mcc_threshold, 1);
    if (node === tree.root) return "The root holds every class: there is nothing to tell it from.";
    const undrawn = one.undrawn ? ` ${tree.drawn[node][1]}.` : "";
    if (one.state === "none") return "No latent of this dictionary is about it.";
    const first = tree.isClass(node) ? "" : heldOut(one);
    if (one.state === "weak")
      return `${first}Not recovered: no latent reaches an MCC of ${threshold} on both halves of the images.`;
    if (tree.isClass(node))
      return `Found: ${count(one.finders)} of the latents whose own best node is this class reach ${threshold}.`;
    const beyond = one.mcc > one.high;
    return (
      first +
      `Recovered by ${count(one.finders)} ${one.finders === 1 ? "latent" : "latents"}, ` +
      (one.own
        ? `${one.finders === 1 ? "which" : "one of which"} matches each node under it less. `
        : "but by none that matches each node under it less: it may be about a part. ") +
      (beyond
        ? `The best latent exceeds what ${number(97.5, 1)}% of random arrangements of the classes reach (${number(one.high)}).`
        : `But beware: random arrangements of the classes do as well (97.5% of them reach up to ${number(one.high)}).`) +
      (undrawn && ` Nothing was drawn for it, though:${undrawn}`)
    );
  }

  /** The same before anything else: does it hold on classes that the latent was not chosen on? */
  function heldOut(one) {
    return `On classes that the latent was not chosen on: MCC ${number(one.held)}, with the classes rearranged ${number(one.heldNull)}. `;
  }

  const amountOf = {
    held: (one) => one.held,
    mcc: (one) => one.mcc,
    excess: (one) => one.excess,
    finders: (one) => one.finders,
    recurrence: (one) => one.recurrence,
  };

  /** Functions that `icicle.draw` takes, for a score. */
  function painter(tree, results, score) {
    const amount = amountOf[score];
    const largest = score === "finders" ? Math.max(1, ...results.map((one) => one.finders)) : 1;
    const kinds = { found: "recovered", weak: "not recovered", none: "no latent" };
    const said = (node) => {
      const one = results[node];
      if (node === tree.root)
        return `${tree.label(node)}: the root, ${tree.classes(node).length} classes`;
      return (
        `${tree.label(node)}: ` +
        (tree.isClass(node) ? "" : `held-out classes ${number(one.held)}, `) +
        `${kinds[one.state]}, MCC ${number(one.mcc)}, null ${number(one.null_)}` +
        `${one.undrawn ? ", undrawn" : ""}, ${count(tree.classes(node).length)} classes`
      );
    };
    said.short = (node) => {
      if (node === tree.root) return "";
      const value = amount(results[node]);
      if (score === "finders") return count(value);
      return `${number(value)}${score === "mcc" && !tree.isClass(node) ? ` (null ${number(results[node].null_)})` : ""}`;
    };
    return {
      value: (node) => amount(results[node]) / largest,
      // Without a value there is nothing to paint, whatever the state.
      state: (node) => (Number.isFinite(amount(results[node])) ? results[node].state : "none"),
      marked: (node) => results[node].undrawn,
      said,
      largest,
    };
  }

  function legend(largest, undrawn) {
    const steps = Array.from({ length: 24 }, (_, i) =>
      s("rect", {
        x: i * 7,
        width: 7.5,
        height: 14,
        style: { fill: scales.css(scales.colour(i / 23)) },
      }),
    );
    const key = (kind, text) =>
      h(
        "span",
        {},
        s(
          "svg",
          { viewBox: "0 0 26 16", class: "mark icicle", "aria-hidden": "true" },
          s(
            "g",
            { class: `cell ${kind}` },
            s("rect", {
              class: "box",
              x: 1,
              y: 1,
              width: 24,
              height: 14,
              style: kind === "none" ? {} : { fill: scales.css(scales.colour(0.55)) },
            }),
            kind === "weak" &&
              s("path", { class: "hatching", d: "M2 14L14 2M8 15L22 2M16 15L25 7M1 7L7 2" }),
          ),
        ),
        text,
      );
    return h(
      "div",
      { class: "legend" },
      h(
        "span",
        {},
        "0 ",
        s(
          "svg",
          { viewBox: "0 0 168 14", class: "scale", role: "img", "aria-label": "colour scale" },
          ...steps,
        ),
        ` ${largest === 1 ? "1 (and below 0 as 0)" : largest}`,
      ),
      key("found", term("recovered")),
      key("weak", "not recovered"),
      key("none", "no latent, or no value"),
      undrawn && h("span", {}, "∅ ", term("undrawn")),
    );
  }

  /** What is known of a node, beside the tree. */
  function panel(tree, nodes, results, node) {
    const one = results[node];
    const known = node !== tree.root && one.latent !== null;
    return h(
      "aside",
      { class: "panel", "aria-label": `About ${tree.label(node)}`, "aria-live": "polite" },
      h("h2", {}, tree.label(node)),
      h(
        "p",
        { class: "quiet" },
        `${count(tree.classes(node).length)} of ${count(tree.class_size.length)} classes, ${count(tree.images(node))} images`,
      ),
      h("p", {}, verdict(tree, node, one)),
      tree.leaves[node] < tree.classes(node).length &&
        h(
          "p",
          { class: "quiet" },
          "Some of its classes are drawn elsewhere, under a deeper parent.",
        ),
      known && [
        h(
          "dl",
          { class: "facts" },
          !tree.isClass(node) && [
            h("dt", {}, term("held-out classes"), " and ", term("null")),
            h("dd", {}, charts.scoreBar(one.held, one.heldNull, NaN)),
            h("dt", {}, term("own best")),
            h("dd", {}, `${one.own ? "yes" : "no"}, null ${scales.percent(one.ownNull)}`),
          ],
          h("dt", {}, term("MCC"), " and ", term("null")),
          h("dd", {}, charts.scoreBar(one.mcc, one.null_, one.high, study.settings.mcc_threshold)),
          h("dt", {}, term("null recovers")),
          h(
            "dd",
            {},
            tree.isClass(node) ? "not defined for one class" : scales.percent(one.nullRecovers),
          ),
          h("dt", {}, term("recurrence")),
          h("dd", {}, scales.percent(one.recurrence)),
        ),
        h("h3", {}, "Its best latent responds most to"),
        gallery.strip(
          tree,
          nodes.examples.subarray(
            node * nodes.examples_per_node,
            (node + 1) * nodes.examples_per_node,
          ),
          { node },
        ),
      ],
      h(
        "p",
        { class: "actions" },
        node !== tree.root &&
          h(
            "a",
            { class: "button", href: site.href({ view: "node", n: node }) },
            "Why believe it, where it fails",
          ),
        known &&
          h(
            "a",
            { class: "button", href: site.href({ view: "latent", n: node, j: one.latent }) },
            `Latent ${one.latent}`,
          ),
        node !== tree.root &&
          h(
            "a",
            { class: "button", href: site.href({ view: "depth", n: node, j: null }) },
            "Through the layers",
          ),
      ),
    );
  }

  /** Where to begin: the groups that hold best on classes that their latent was not chosen on. */
  function start(tree, results) {
    const best = results
      .map((one, node) => ({ one, node }))
      .filter(({ one }) => one.held > one.heldNull)
      .sort((a, b) => b.one.held - a.one.held)
      .slice(0, 8);
    return h(
      "aside",
      { class: "panel", "aria-label": "Where to begin" },
      h("h2", {}, "Where to begin"),
      h(
        "p",
        {},
        "Each box is a class or a group of classes; the colour says how well a latent that was chosen on some of its classes tells the others from classes outside. A single class has no such score. Click a box, or search for a name.",
      ),
      best.length
        ? [
            h("p", {}, "Found best on ", term("held-out classes"), " (compare with random directions):"),
            h(
              "ol",
              { class: "best" },
              ...best.map(({ one, node }) =>
                h(
                  "li",
                  {},
                  h("a", { href: site.href({ view: "tree", n: node }) }, tree.label(node)),
                  ` ${number(one.held)}, null ${number(one.heldNull)}`,
                ),
              ),
            ),
          ]
        : h(
            "p",
            {},
            "No group of classes is found beyond its null. That is a result, too: look at another layer, or at this one's controls.",
          ),
    );
  }

  async function view(route, nodes) {
    const { tree, d } = route;
    const recurrence = await study.recurrence(d);
    const results = Array.from({ length: tree.size }, (_, node) =>
      result(tree, nodes, recurrence, node),
    );
    const paint = painter(tree, results, route.s);
    const holder = h("div", { class: "tree" });
    const side = h("div", { class: "side" });
    const trail = h("nav", { class: "trail", "aria-label": "Zoomed into" });

    function show() {
      side.replaceChildren(
        route.n === null ? start(tree, results) : panel(tree, nodes, results, route.n),
      );
    }
    function drawing(focused) {
      if (route.n !== null) route.z = icicle.rootFor(tree, route.n, route.z, holder.clientWidth);
      trail.replaceChildren(
        ...tree
          .path(route.z)
          .map((node) =>
            node === route.z
              ? h("span", { "aria-current": "true" }, tree.label(node))
              : h("a", { href: site.href({ z: node, n: node }) }, tree.label(node)),
          ),
      );
      const picture = icicle.draw(tree, {
        root: route.z,
        chosen: route.n ?? route.z,
        width: holder.clientWidth,
        ...paint,
        onpick(node, open) {
          if (open) return site.go({ view: "node", n: node });
          for (const cell of picture.querySelectorAll(".chosen")) {
            cell.classList.remove("chosen");
            cell.setAttribute("aria-selected", "false");
          }
          const cell = picture.querySelector(`[data-node="${node}"]`);
          cell.classList.add("chosen");
          cell.setAttribute("aria-selected", "true");
          site.note({ n: node });
          show();
        },
        onenter: (node) => site.go({ z: node, n: node }),
        onleave: () => {
          const above = tree.parents[route.z][0];
          if (above !== undefined) site.go({ z: above, n: route.z });
        },
      });
      holder.replaceChildren(picture);
      if (focused) picture.querySelector("[tabindex='0']")?.focus();
    }
    show();
    return {
      title: `Tree of ${d.dataset}`,
      content: [
        h("h1", {}, "What does the dictionary find?"),
        h(
          "div",
          { class: "bar" },
          dom.select("Colour", SCORES, route.s, (value) => site.go({ s: value }), { id: "score" }),
          legend(
            paint.largest,
            results.some((one) => one.undrawn),
          ),
        ),
        trail,
        h("div", { class: "split" }, holder, side),
      ],
      after: drawing,
    };
  }

  return Object.assign(view, { SCORES, result, verdict, painter });
})();
