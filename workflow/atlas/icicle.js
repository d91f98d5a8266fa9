"use strict";
// The taxonomy as an icicle: the root on the left, a column for each level, a node as tall as it has
// classes. As many levels are drawn as fit; a click or Enter goes into a node, Escape out of it.

const icicle = (() => {
  const COLUMN = 96;
  const LINE = 15;
  let patterns = 0;

  /**
   * Draw the part of `tree` under `root`.
   *
   * value(node): 0 to 1, or NaN; state(node): "found", "weak" or "none"; marked(node): whether it
   * gets the mark ∅; said(node): its text for who cannot see it; onpick(node), onenter(node) and
   * onleave(): what happens on a click or a key.
   */
  function draw(
    tree,
    { root, chosen, width, value, state, marked, said, onpick, onenter, onleave },
  ) {
    const shown = Math.max(2, Math.min(tree.levels(root), Math.floor(width / COLUMN)));
    const column = width / shown;
    const rows = (node, level) =>
      level === shown || !tree.children[node].length
        ? 1
        : tree.children[node].reduce((sum, child) => sum + rows(child, level + 1), 0);
    const height = Math.min(Math.max(rows(root, 1) * LINE, 360), 960);
    const unit = height / tree.leaves[root];
    const cells = new Map();
    const hatch = `hatch${patterns++}`;
    const pattern = (colour) =>
      s(
        "pattern",
        {
          id: hatch + colour,
          width: 6,
          height: 6,
          patternUnits: "userSpaceOnUse",
          patternTransform: "rotate(45)",
        },
        s("path", { d: "M0 0V6", class: "hatching", style: { stroke: colour } }),
      );
    const drawing = s(
      "svg",
      {
        class: "icicle",
        viewBox: `0 0 ${width} ${height}`,
        height,
        role: "tree",
        "aria-label": `Taxonomy under ${tree.label(root)}. Arrow keys move, Enter goes in, Escape goes out.`,
      },
      s("defs", {}, pattern("white"), pattern("black")),
    );

    function cell(node, level, top) {
      const tall = tree.leaves[node] * unit;
      const deep = tree.children[node].length;
      const amount = value(node);
      const kind = state(node);
      const rgb = Number.isFinite(amount) && kind !== "none" ? scales.colour(amount) : null;
      const paint = rgb ? { fill: scales.css(rgb) } : {};
      const ink = rgb ? { fill: scales.ink(rgb), stroke: scales.css(rgb) } : {};
      const dark = rgb !== null && scales.ink(rgb) === "#fff";
      // Beside a class there is nothing, so that its name may have more room.
      const wide = deep ? column : Math.min(1.6 * column, width - level * column);
      const room = Math.floor((wide - 12) / 6.7);
      const more = deep && level + 1 >= shown ? " ›" : "";
      const name = `${marked(node) ? "∅ " : ""}${tree.label(node)}${more}`;
      const lines = tall >= 30 ? 2 : 1;
      const middle = top + tall / 2 + (lines === 2 ? -2 : 4);
      const text = name.length > room ? `${name.slice(0, room - 1)}…` : name;
      const x = level * column;
      const group = s(
        "g",
        {
          class: `cell ${kind}${marked(node) ? " undrawn" : ""}${node === chosen ? " chosen" : ""}`,
          role: "treeitem",
          tabindex: node === chosen ? "0" : "-1",
          "aria-level": level + 1,
          "aria-selected": node === chosen ? "true" : "false",
          "aria-label": said(node),
          "data-node": node,
          onclick: () =>
            node === root && node !== tree.root ? onleave() : deep ? onenter(node) : onpick(node),
        },
        s("title", {}, said(node)),
        s("rect", {
          class: "box",
          x: x + 0.5,
          y: top + 0.5,
          width: wide - 1,
          height: Math.max(tall - 1, 0.5),
          style: paint,
        }),
        kind === "weak" &&
          s("rect", {
            class: "over",
            x: x + 0.5,
            y: top + 0.5,
            width: wide - 1,
            height: Math.max(tall - 1, 0.5),
            fill: `url(#${hatch}${dark ? "white" : "black"})`,
          }),
        tall >= 11 && s("text", { x: x + 6, y: middle, style: ink }, text),
        lines === 2 &&
          s("text", { class: "amount", x: x + 6, y: middle + 13, style: ink }, said.short(node)),
      );
      cells.set(node, group);
      drawing.append(group);
      if (level + 1 >= shown) return;
      let start = top;
      for (const child of tree.children[node]) {
        cell(child, level + 1, start);
        start += tree.leaves[child] * unit;
      }
    }
    cell(root, 0, 0);
    // Something can always be reached by Tab.
    if (!cells.has(chosen)) cells.get(root).setAttribute("tabindex", "0");

    function focus(node) {
      const next = cells.get(node);
      if (!next) return;
      drawing.querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
      onpick(node);
    }
    drawing.addEventListener("keydown", (event) => {
      const group = event.target.closest("[data-node]");
      if (!group) return;
      const node = Number(group.dataset.node);
      const above = tree.parents[node][0];
      const level = [...cells.keys()].filter(
        (other) => cells.get(other).getAttribute("aria-level") === group.getAttribute("aria-level"),
      );
      const beside = level.indexOf(node);
      const moves = {
        ArrowRight: () =>
          cells.has(tree.children[node][0])
            ? focus(tree.children[node][0])
            : tree.children[node].length && onenter(node),
        ArrowLeft: () => (node === root ? onleave() : focus(above)),
        ArrowUp: () => focus(level[beside - 1]),
        ArrowDown: () => focus(level[beside + 1]),
        Home: () => focus(root),
        Enter: () => (tree.children[node].length ? onenter(node) : onpick(node, true)),
        " ": () => onpick(node, true),
        Escape: onleave,
        Backspace: onleave,
      };
      if (event.key in moves) {
        event.preventDefault();
        moves[event.key]();
      }
    });
    return drawing;
  }

  /** The node to zoom into so that `node` is drawn: `root`, or what lies below it. */
  function rootFor(tree, node, root, width) {
    const path = tree.path(node);
    const shown = Math.max(2, Math.floor(width / COLUMN));
    const from = path.indexOf(root);
    if (from < 0) return root;
    return path[Math.max(from, path.length - shown)];
  }

  return { draw, rootFor };
})();
