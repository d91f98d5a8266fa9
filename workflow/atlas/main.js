"use strict";
// Which page is shown: everything about it stands behind the # of the address, so that every page can
// be linked to, and the browser's back and forward work.
//
// view: tree, node, latent, depth, compare, help; d: the dictionary, e: the one compared with;
// n: the node, z: the node that the tree is zoomed into; j: the latent; s: the score; m: the map.

const site = (() => {
  const VIEWS = {
    tree: treeView,
    node: nodeView,
    latent: latentView,
    depth: depthView,
    compare: compareView,
    help: helpView,
  };
  let route = null;
  let turn = 0;

  function parse(hash, trees) {
    const [view, query = ""] = hash.replace(/^#/, "").split("?");
    const given = new URLSearchParams(query);
    const named = (key) => study.dictionaries.find(({ folder }) => folder === given.get(key));
    const shown = study.dictionaries.find(({ dictionary }) => dictionary === study.settings.shown);
    const d = named("d") || shown || study.dictionaries[0];
    const number = (key) => (/^\d+$/.test(given.get(key) || "") ? Number(given.get(key)) : null);
    return {
      view: view in VIEWS ? view : "tree",
      d,
      e: named("e") || compareView.control(d),
      n: given.get("n"),
      z: given.get("z"),
      j: number("j"),
      s: treeView.SCORES.some(([key]) => key === given.get("s")) ? given.get("s") : treeView.SCORES[0][0],
      m: given.get("m") || "",
      tree: trees,
    };
  }

  /** The address of the present page with some of it changed. */
  function href(changes) {
    const next = { ...route, ...changes };
    const { tree } = route;
    const id = (node) => (typeof node === "number" ? tree.wnid[node] : node);
    const query = new URLSearchParams();
    query.set("d", next.d.folder);
    if (next.view === "compare") query.set("e", next.e.folder);
    if (next.n !== null && next.n !== undefined && next.n !== -1) query.set("n", id(next.n));
    if (next.view === "tree" && next.z !== null && next.z !== tree.root) query.set("z", id(next.z));
    if (["latent", "depth"].includes(next.view) && next.j !== null) query.set("j", next.j);
    if (next.s !== treeView.SCORES[0][0]) query.set("s", next.s);
    if (next.m) query.set("m", next.m);
    return `#${next.view}?${query}`;
  }

  const go = (changes) => {
    location.hash = href(changes);
  };

  /** Change the address without a new entry in the browser's history, and without a new page. */
  function note(changes) {
    Object.assign(route, changes);
    history.replaceState(null, "", href({}));
  }

  async function render() {
    const mine = ++turn;
    const main = document.getElementById("main");
    try {
      const next = parse(location.hash, null);
      next.tree = await study.tree(next.d.dataset);
      const { nodeOf, root } = next.tree;
      next.n = nodeOf.has(next.n) ? nodeOf.get(next.n) : null;
      next.z = nodeOf.has(next.z) ? nodeOf.get(next.z) : root;
      const nodes = await study.nodes(next.d);
      if (mine !== turn) return;
      if (next.j !== null && next.j >= nodes.width) next.j = null;
      const moved =
        route === null || route.view !== next.view || route.n !== next.n || route.j !== next.j;
      const inside = main.contains(document.activeElement);
      route = next;
      terms.hide();
      controls.draw(route, route.tree, nodes.width);
      const page = await VIEWS[route.view](route, nodes);
      if (mine !== turn) return;
      main.replaceChildren(...page.content);
      document.title = `${page.title} – Cladescope atlas`;
      document.getElementById("status").textContent = page.title;
      page.after?.(inside);
      if (moved && route.view !== "tree") window.scrollTo(0, 0);
      main.dataset.ready = String(mine);
    } catch (error) {
      if (mine !== turn) return;
      main.replaceChildren(
        h("h1", {}, "This page cannot be shown"),
        h("p", { role: "alert" }, error.message),
      );
      main.dataset.ready = String(mine);
    }
  }

  const typing = (target) => target.closest?.("input, select, textarea, dialog, .icicle");

  function onkey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || typing(event.target) || !route) return;
    const layers = compareView.layersOf(route.d);
    const at = layers.indexOf(route.d.layer);
    const moves = {
      "/": () => document.getElementById("search").focus(),
      "?": () => go({ view: "help" }),
      "[": () => at > 0 && go({ d: study.nearest(route.d, "layer", layers[at - 1]) }),
      "]": () =>
        at < layers.length - 1 && go({ d: study.nearest(route.d, "layer", layers[at + 1]) }),
      t: () => go({ view: "tree" }),
      n: () => go({ view: "node" }),
      l: () => go({ view: "latent" }),
      d: () => go({ view: "depth" }),
      c: () => go({ view: "compare" }),
      j: () => route.view === "latent" && latentView.step(route, 1),
      k: () => route.view === "latent" && latentView.step(route, -1),
    };
    if (event.key in moves) {
      event.preventDefault();
      moves[event.key]();
    } else if (event.key === "Escape") terms.hide();
  }

  async function start() {
    try {
      await study.open();
    } catch (error) {
      document
        .getElementById("main")
        .replaceChildren(
          h("h1", {}, "The atlas is incomplete"),
          h("p", { role: "alert" }, error.message),
        );
      return;
    }
    window.addEventListener("hashchange", render);
    document.addEventListener("keydown", onkey);
    let width = window.innerWidth;
    window.addEventListener("resize", () => {
      // A phone's address bar changes the height alone.
      if (window.innerWidth !== width) render();
      width = window.innerWidth;
    });
    await render();
  }

  start();
  return { href, go, note };
})();
