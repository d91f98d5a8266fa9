"use strict";
// Images with what is known of them: class, whether they are under the node, how strongly they fire
// the latent, and where it comes from.

const gallery = (() => {
  const { number } = scales;

  /** Darken what does not matter to the latent; `crop` is the central share that the map covers. */
  function overlay(maps, method, image) {
    const { rows, columns, crop } = maps;
    const which = maps.images.indexOf(image);
    const at = maps.methods.indexOf(method);
    if (which < 0 || at < 0 || crop === null) return null;
    const start = (at * maps.images.length + which) * rows * columns;
    const canvas = h("canvas", { width: columns, height: rows, "aria-hidden": "true" });
    canvas.style.left = canvas.style.top = `${50 * (1 - crop)}%`;
    canvas.style.width = canvas.style.height = `${100 * crop}%`;
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(columns, rows);
    for (let i = 0; i < rows * columns; i++)
      // The square root: a few sharp patches must not leave the rest black.
      pixels.data[4 * i + 3] = 190 * (1 - Math.sqrt(maps.values[start + i]));
    context.putImageData(pixels, 0, 0);
    return canvas;
  }

  async function enlarge(dataset, image, facts) {
    const dialog = document.getElementById("dialog");
    const path = h("dd", {}, "…");
    dialog.replaceChildren(
      h("img", { src: study.thumbnail(dataset, image), alt: "" }),
      h(
        "dl",
        {},
        ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
        h("dt", {}, "image"),
        h("dd", {}, String(image)),
        h("dt", {}, "file"),
        path,
      ),
      h("button", { type: "button", onclick: () => dialog.close(), autofocus: true }, "Close"),
    );
    dialog.setAttribute("aria-label", `Image ${image}`);
    dialog.showModal();
    path.textContent = await study.imagePath(dataset, image);
  }

  /**
   * One image. `node` decides whether it counts as right; `relative` is the activation as a share of
   * the latent's largest.
   */
  function tile(tree, image, { node = -1, relative = null, maps = null, method = "" } = {}) {
    const label = tree.labels[image];
    const name = tree.className(label);
    const under = node >= 0 ? tree.covers(node, label) : null;
    const verdict = under === null ? "" : under ? "under the node" : "not under the node";
    const facts = [["class", name]];
    if (node >= 0) facts.push([tree.label(node), under ? "yes" : "no"]);
    if (relative !== null) facts.push(["activation", `${number(relative)} of the largest`]);
    const strength = relative === null ? "" : `, ${number(relative)} of the largest activation`;
    return h(
      "button",
      {
        type: "button",
        class: `tile ${under === null ? "" : under ? "right" : "wrong"}`,
        "aria-label": `${name}${verdict && `, ${verdict}`}${strength}`,
        onclick: () => enlarge(tree.dataset, image, facts),
      },
      h(
        "span",
        { class: "picture" },
        h("img", { src: study.thumbnail(tree.dataset, image), alt: "", loading: "lazy" }),
        maps && method ? overlay(maps, method, image) : null,
      ),
      h("span", { class: "name" }, under === null ? "" : under ? "✓ " : "✗ ", name),
    );
  }

  /** An image of a pair: what it has or lacks, and whether the latent fires on it. */
  function ofPair(dataset, image, what, activation) {
    const images = `${dataset}.pairs`;
    const fires = activation > 0 ? `fires, ${number(activation)}` : "silent";
    return h(
      "button",
      {
        type: "button",
        class: "tile",
        "aria-label": `${what}: ${fires}`,
        onclick: () =>
          enlarge(images, image, [
            ["image of a pair", what],
            ["activation", number(activation)],
          ]),
      },
      h(
        "span",
        { class: "picture" },
        h("img", { src: study.thumbnail(images, image), alt: "", loading: "lazy" }),
      ),
      h("span", { class: "name" }, activation > 0 ? "● " : "○ ", fires),
      h("span", { class: "name" }, what),
    );
  }

  /** A row of images; those that are none are left out. */
  function strip(tree, images, options = {}, relatives = null) {
    const known = Array.from(images, (image, i) => [image, relatives && relatives[i]]).filter(
      ([image]) => image < tree.labels.length,
    );
    if (!known.length) return h("p", { class: "empty" }, "No images.");
    return h(
      "div",
      { class: "strip" },
      ...known.map(([image, relative]) => tile(tree, image, { ...options, relative })),
    );
  }

  /** The key to the marks on images. */
  const key = (tree, node) =>
    h(
      "p",
      { class: "key" },
      h("span", { class: "right" }, `✓ under ${tree.label(node)}`),
      h("span", { class: "wrong" }, "✗ not under it"),
    );

  return { strip, key, ofPair };
})();
