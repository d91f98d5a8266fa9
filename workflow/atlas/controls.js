"use strict";
// The head of every page: where one is, which dictionary is looked at, the search.

const controls = (() => {
  const VIEWS = [
    ["tree", "Tree"],
    ["node", "Node"],
    ["latent", "Latent"],
    ["depth", "Depth"],
    ["compare", "Compare"],
    ["help", "Help"],
  ];

  /** Selects that lead to another dictionary; attributes that never differ are left out. */
  function dictionaryBar(dictionary, name, onchange) {
    const choices = study.format.attributes.map((key) => {
      const values = [...new Set(study.dictionaries.map((other) => other[key]))];
      values.sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : 0));
      return [key, values];
    }).filter(([, values]) => values.length > 1);
    return h(
      "fieldset",
      { class: "dictionary" },
      h("legend", {}, name),
      ...choices.map(([key, values]) =>
        dom.select(
          key,
          values.map((value) => [String(value), value === null ? "none" : String(value)]),
          String(dictionary[key]),
          (value) => onchange(study.nearest(dictionary, key, value)),
          { id: `${name}-${key}`.replaceAll(" ", "-") },
        ),
      ),
    );
  }

  /** The controls of a dictionary at its layer: [what it is called, the control]. */
  function controlsOf(dictionary) {
    const here = study.dictionaries.filter(
      (other) =>
        other !== dictionary &&
        other.dataset === dictionary.dataset &&
        other.token === dictionary.token &&
        other.layer === dictionary.layer,
    );
    const mine = here.filter((other) => other.experiment === dictionary.experiment);
    const backbone = here.filter(
      (other) =>
        other.weights === "random" &&
        dictionary.weights !== "random" &&
        other.variant === dictionary.variant,
    );
    const found = ["start", "kmeans", "random"]
      .filter((variant) => variant !== dictionary.variant)
      .map((variant) => [variant, mine.filter((other) => other.variant === variant)]);
    const gap = (other) =>
      ["width", "sparsity", "seed"].filter((key) => other[key] !== dictionary[key]).length;
    return [...found, ["random backbone", backbone]]
      .filter(([, others]) => others.length)
      .map(([name, others]) => [name, others.reduce((a, b) => (gap(b) < gap(a) ? b : a))]);
  }

  /** What the dictionary finds, and what its controls find, in one line on every page. */
  function summary(dictionary) {
    const value = (name, beside) => study.score(dictionary, name, beside);
    const { percent, number } = scales;
    const names = { start: "before training", kmeans: "k-means", random: "random directions" };
    return h(
      "p",
      { class: "summary" },
      h("strong", {}, study.title(dictionary)),
      ` of ${study.origin(dictionary)}. On `,
      term("held-out classes"),
      " of a group its latents reach an MCC of ",
      h("strong", {}, number(value("held_out"))),
      " (",
      term("null", "classes rearranged"),
      ` ${number(value("held_out", "null"))}`,
      ...controlsOf(dictionary).map(([name, other]) => [
        "; ",
        term(name, names[name] ?? name),
        ` ${number(study.score(other, "held_out"))}`,
      ]),
      "). Groups recovered ",
      term("own best", "beyond their children"),
      ": ",
      h("strong", {}, percent(value("own_best_recovery"))),
      ` (rearranged ${percent(value("own_best_recovery", "null"))}); `,
      term("recovered", `at an MCC of ${number(study.settings.mcc_threshold, 1)} or more`),
      `: ${percent(value("node_recovery"))} (${percent(value("node_recovery", "null"))}). `,
      `${scales.count(value("n_scored"))} latents are scored, `,
      `${scales.count(value("n_rare"))} are `,
      term("rare"),
      `, ${scales.count(value("n_dead"))} `,
      term("dead"),
      ".",
    );
  }

  /** Nodes whose name, other names or id hold the text; the best match first. */
  function matches(tree, text, width) {
    const wanted = text.trim().toLowerCase();
    const found = [];
    const latent = /^(?:latent\s*)?(\d+)$/.exec(wanted);
    if (latent && Number(latent[1]) < width)
      found.push({ text: `latent ${latent[1]}`, latent: Number(latent[1]) });
    const ranked = [];
    for (let node = 0; node < tree.size && wanted; node++) {
      const names = [
        tree.label(node),
        ...tree.aliases[node].map((n) => tree.constructor.pretty(n)),
        tree.wnid[node],
      ];
      const fits = names.map((name) => {
        const lower = name.toLowerCase();
        return lower === wanted ? 0 : lower.startsWith(wanted) ? 1 : lower.includes(wanted) ? 2 : 3;
      });
      const best = Math.min(...fits);
      if (best < 3)
        ranked.push([
          best,
          tree.isClass(node),
          -tree.leaves[node],
          node,
          names[fits.indexOf(best)],
        ]);
    }
    ranked.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
    for (const [, , , node, name] of ranked.slice(0, 12)) {
      const own = tree.label(node);
      const size = tree.isClass(node) ? "class" : `${tree.classes(node).length} classes`;
      found.push({
        text: name === own ? `${own} (${size})` : `${own} (${size}; also ${name})`,
        node,
      });
    }
    return found;
  }

  function searchBox(tree, width, onfound) {
    let found = [];
    let active = 0;
    const list = h("ul", { id: "matches", role: "listbox", "aria-label": "Matches", hidden: true });
    const box = h("input", {
      id: "search",
      type: "search",
      role: "combobox",
      placeholder: "butterfly, n02274259, latent 12 …",
      autocomplete: "off",
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": "matches",
    });
    const close = () => {
      list.hidden = true;
      box.setAttribute("aria-expanded", "false");
      box.removeAttribute("aria-activedescendant");
    };
    const pick = (match) => {
      close();
      box.value = "";
      onfound(match);
    };
    const show = () => {
      list.replaceChildren(
        ...found.map((match, i) =>
          h(
            "li",
            {
              id: `match-${i}`,
              role: "option",
              "aria-selected": i === active ? "true" : "false",
              onpointerdown: (event) => {
                event.preventDefault();
                pick(match);
              },
            },
            match.text,
          ),
        ),
      );
      if (!found.length && box.value.trim())
        list.append(h("li", { class: "empty" }, "No node or latent has that name."));
      list.hidden = !box.value.trim();
      box.setAttribute("aria-expanded", String(!list.hidden));
      if (found.length) box.setAttribute("aria-activedescendant", `match-${active}`);
    };
    box.addEventListener("input", () => {
      found = matches(tree, box.value, width);
      active = 0;
      show();
    });
    box.addEventListener("blur", close);
    box.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step && found.length) {
        event.preventDefault();
        active = (active + step + found.length) % found.length;
        show();
      } else if (event.key === "Enter" && found.length) pick(found[active]);
      else if (event.key === "Escape") {
        box.value = "";
        close();
      }
    });
    return h(
      "div",
      { class: "search", role: "search" },
      h("label", { for: "search" }, "Search"),
      box,
      list,
    );
  }

  /** Draw the head; whatever had the focus in it keeps it. */
  function draw(route, tree, width) {
    const header = document.getElementById("header");
    const focused = header.contains(document.activeElement) ? document.activeElement.id : null;
    const parts = [
      h(
        "div",
        { class: "top" },
        h(
          "a",
          { class: "brand", href: site.href({ view: "tree", n: null, z: null }) },
          "Cladescope atlas",
        ),
        h(
          "nav",
          { "aria-label": "Views" },
          ...VIEWS.map(([view, text]) =>
            h(
              "a",
              {
                id: `nav-${view}`,
                href: site.href({ view }),
                "aria-current": view === route.view ? "page" : null,
              },
              text,
            ),
          ),
        ),
        searchBox(tree, width, (match) =>
          "latent" in match
            ? site.go({ view: "latent", j: match.latent })
            : site.go({
                view: ["depth", "tree"].includes(route.view) ? route.view : "node",
                n: match.node,
                j: null,
                z: null,
              }),
        ),
      ),
      dictionaryBar(route.d, "Dictionary", (d) => site.go({ d })),
      route.view === "compare" && dictionaryBar(route.e, "Compared with", (e) => site.go({ e })),
      summary(route.d),
    ];
    header.replaceChildren(...parts.filter(Boolean));
    if (focused) document.getElementById(focused)?.focus();
  }

  return { draw };
})();
