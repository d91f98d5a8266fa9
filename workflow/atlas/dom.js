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

  /** A table: captions of the columns, then rows of cells (text or elements). */
  const table = (head, rows, attributes = {}) =>
    h(
      "div",
      { class: "wide", tabindex: "0", role: "region", "aria-label": attributes.label || "table" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ...head.map((cell) => h("th", { scope: "col" }, cell)))),
        h(
          "tbody",
          {},
          ...rows.map((row) =>
            h(
              "tr",
              {},
              ...row.map((cell, i) => (i ? h("td", {}, cell) : h("th", { scope: "row" }, cell))),
            ),
          ),
        ),
      ),
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

  return { h, s, table, select };
})();
const { h, s } = dom;
