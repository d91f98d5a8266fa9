"use strict";
// Elements made from data. Text becomes text nodes, never markup, so that whatever a class or a file
// is called, it is shown and nothing else. Styles go through `element.style`, which the page's
// content-security policy allows.

const dom = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "style")
        for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== false));
    return element;
  }

  /** h("a", {href: "#tree", class: "big"}, "text", otherElement): an HTML element. */
  const h = (tag, attributes = {}, ...children) =>
    fill(document.createElement(tag), attributes, children);

  /** The same for SVG. */
  const s = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS(SVG, tag), attributes, children);

  // A cell of several parts is one: on a narrow screen they would stand beside each other.
  const one = (cell) => (Array.isArray(cell) ? h("span", {}, cell) : cell);

  /** A table: captions of the columns, then rows of cells (text or elements). Each cell knows its
      caption, and roles are said: on a narrow screen the rows are no table's any more. */
  const table = (head, rows, attributes = {}) =>
    h(
      "div",
      { class: "wide", tabindex: "0", role: "region", "aria-label": attributes.label || "table" },
      h(
        "table",
        { role: "table" },
        h(
          "thead",
          { role: "rowgroup" },
          h(
            "tr",
            { role: "row" },
            ...head.map((cell) => h("th", { scope: "col", role: "columnheader" }, cell)),
          ),
        ),
        h(
          "tbody",
          { role: "rowgroup" },
          ...rows.map((row) =>
            h(
              "tr",
              { role: "row" },
              ...row.map((cell, i) =>
                i
                  ? h("td", { role: "cell", "data-head": head[i].textContent ?? head[i] }, one(cell))
                  : h("th", { scope: "row", role: "rowheader" }, one(cell)),
              ),
            ),
          ),
        ),
      ),
    );

  /** What numbers say and what they do not, one below the other. */
  const saying = ([does, doesNot]) =>
    h(
      "dl",
      { class: "facts" },
      h("dt", {}, "This says"),
      h("dd", {}, does),
      h("dt", {}, "It does not say"),
      h("dd", {}, doesNot),
    );

  /** A select element; `options` are [value, text] pairs. */
  function select(label, options, chosen, onchange, attributes = {}) {
    const box = h(
      "select",
      { onchange: () => onchange(box.value), ...attributes },
      ...options.map(([value, text]) =>
        h("option", { value, selected: String(value) === String(chosen) }, text),
      ),
    );
    return h("label", {}, h("span", {}, label), box);
  }

  return { h, s, table, saying, select };
})();
const { h, s } = dom;
