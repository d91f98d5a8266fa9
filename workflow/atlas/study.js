"use strict";
// What the atlas knows: dictionaries, trees, nodes, latents. Everything is loaded when it is first
// asked for. docs/atlas.md describes the chunks.

const study = (() => {
  const PER_FOLDER = 1000;
  const ATTRIBUTES = ["experiment", "token", "layer", "variant", "width", "sparsity", "seed"];
  const dictionaries = [];
  let settings = {};
  let columns = {};

  /** The class hierarchy of a dataset. A node is a number; `root` is the one over all classes. */
  class Tree {
    constructor(chunk, dataset) {
      Object.assign(this, chunk);
      this.dataset = dataset;
      this.size = this.wnid.length;
      this.children = Array.from({ length: this.size }, () => []);
      for (let node = 0; node < this.size; node++)
        if (this.parents[node].length) this.children[this.parents[node][0]].push(node);
      this.root = this.parents.findIndex((above) => !above.length);
      // Rows that a node takes in the drawing: its classes, but for those that hang elsewhere.
      this.leaves = new Uint32Array(this.size);
      const count = (node) => {
        const below = this.children[node].reduce((sum, child) => sum + count(child), 0);
        return (this.leaves[node] = Math.max(1, below));
      };
      count(this.root);
      for (const below of this.children)
        below.sort(
          (a, b) => this.leaves[b] - this.leaves[a] || this.label(a).localeCompare(this.label(b)),
        );
      this.nodeOf = new Map(this.wnid.map((wnid, node) => [wnid, node]));
      this.covered = new Map();
    }
    /** `great_white_shark.n.01` as people write it. */
    static pretty(name) {
      return name.replace(/\.[a-z]\.\d+$/, "").replaceAll("_", " ");
    }
    label(node) {
      return Tree.pretty(this.name[node]);
    }
    /** Classes at or under a node. */
    classes(node) {
      return this.members.slice(this.members_start[node], this.members_start[node + 1]);
    }
    /** Whether a class lies at or under a node. */
    covers(node, label) {
      if (!this.covered.has(node)) this.covered.set(node, new Set(this.classes(node)));
      return this.covered.get(node).has(label);
    }
    images(node) {
      return this.classes(node).reduce((sum, label) => sum + this.class_size[label], 0);
    }
    isClass(node) {
      return this.members_start[node + 1] - this.members_start[node] === 1;
    }
    /** The node and what lies above it, from the root. */
    path(node) {
      const above = this.parents[node].length ? this.path(this.parents[node][0]) : [];
      return [...above, node];
    }
    /** Longest way down, in nodes. */
    levels(node) {
      return 1 + Math.max(0, ...this.children[node].map((child) => this.levels(child)));
    }
    className(label) {
      return this.label(this.class_node[label]);
    }
  }
  async function open() {
    const catalogue = await chunks.load("shared/catalogue.js");
    settings = catalogue.settings;
    columns = catalogue;
    catalogue.folders.forEach((folder, number) => {
      const one = { number, folder };
      for (const [name, values] of Object.entries(catalogue.identity)) one[name] = values[number];
      dictionaries.push(one);
    });
  }

  /** A score of a dictionary, or NaN. */
  const score = (dictionary, name) =>
    columns.scores.includes(name) ? columns[name][dictionary.number] : NaN;

  /** What made a dictionary's numbers: [column, value] pairs (docs/reproducibility.md). */
  const madeFrom = (dictionary) =>
    Object.entries(columns.made_from).map(([name, values]) => [name, values[dictionary.number]]);

  const trees = new Map();
  function tree(dataset) {
    if (!trees.has(dataset))
      trees.set(
        dataset,
        chunks.load(`shared/datasets/${dataset}/tree.js`).then((chunk) => new Tree(chunk, dataset)),
      );
    return trees.get(dataset);
  }

  const nodes = (dictionary) => chunks.load(`dictionaries/${dictionary.folder}/nodes.js`);

  /** One latent: its scores as numbers, its lists as arrays. */
  async function latent(dictionary, number) {
    const { block } = await nodes(dictionary);
    const chunk = await chunks.load(
      `dictionaries/${dictionary.folder}/latents_${Math.floor(number / block)}.js`,
    );
    const row = number % block;
    const rows = chunk.status.length;
    const found = { number };
    for (const [name, values] of Object.entries(chunk)) {
      if (name.endsWith("_start")) {
        const list = name.slice(0, -"_start".length);
        const [start, end] = [values[row], values[row + 1]];
        found[list] = Array.from(chunk[list].subarray(start, end), (item, i) => ({
          item,
          value: chunk[`${list}_values`][start + i],
        }));
      } else if (!(`${name}_start` in chunk || name.endsWith("_values"))) {
        const each = values.length / rows;
        found[name] = each === 1 ? values[row] : values.subarray(row * each, (row + 1) * each);
      }
    }
    // Positions were written one higher, 0 for none.
    for (const name of ["lch", "lch_tau", "best", "best_internal"]) found[name] -= 1;
    found.status = ["dead", "rare", "scored"][found.status];
    return found;
  }

  const same = (a, b, but = []) =>
    ["dataset", ...ATTRIBUTES].every((name) => but.includes(name) || a[name] === b[name]);

  /** How a dictionary's latents recur in other seeds; null if there is no other. */
  async function recurrence(dictionary) {
    const others = dictionaries.filter((other) => same(dictionary, other, ["seed"]));
    if (dictionary.seed === null || others.length < 2) return null;
    return chunks.load(`shared/recurrence/${dictionary.number}.js`);
  }

  /** Every dictionary's result on a node: [{dictionary, best_mcc, ...}]. */
  async function depth(dataset, node) {
    const about = await chunks.load(`shared/datasets/${dataset}/depth.js`);
    const step = about.nodes_per_chunk;
    const chunk = await chunks.load(
      `shared/datasets/${dataset}/depth_${Math.floor(node / step)}.js`,
    );
    const names = Object.keys(chunk).filter((name) => name !== "n_nodes");
    return Array.from(about.dictionaries, (number, row) => {
      const found = { dictionary: dictionaries[number] };
      for (const name of names) found[name] = chunk[name][row * chunk.n_nodes + (node % step)];
      return found;
    });
  }

  const maps = (dictionary, number) =>
    chunks.load(`dictionaries/${dictionary.folder}/maps/${number}.js`);

  const folderOf = (image) => Math.floor(image / PER_FOLDER);
  const thumbnail = (dataset, image) => `images/${dataset}/${folderOf(image)}/${image}.webp`;
  async function imagePath(dataset, image) {
    const { paths } = await chunks.load(`images/${dataset}/${folderOf(image)}/paths.js`);
    return paths[image % PER_FOLDER];
  }

  const title = (dictionary) => {
    const size = dictionary.sparsity === null ? "" : `, sparsity ${dictionary.sparsity}`;
    const seed = dictionary.seed === null ? "" : `, seed ${dictionary.seed}`;
    return `${dictionary.variant}, width ${dictionary.width}${size}${seed}`;
  };
  const place = (dictionary) =>
    `${dictionary.experiment}, ${dictionary.token}, layer ${dictionary.layer}`;

  /** The dictionary that has the wanted value of one attribute and shares most others. */
  function nearest(dictionary, name, value) {
    const gap = (other) =>
      ATTRIBUTES.filter((key) => key !== name).reduce(
        (sum, key, rank) => {
          if (other[key] === dictionary[key]) return sum;
          const [a, b] = [Number(other[key]), Number(dictionary[key])];
          const far = Number.isFinite(a - b) && a + b ? Math.abs(a - b) / (a + b) : 1;
          return sum + (1 + far) * 2 ** (ATTRIBUTES.length - rank);
        },
        other.dataset === dictionary.dataset ? 0 : 0.5,
      );
    const fitting = dictionaries.filter((other) => String(other[name]) === String(value));
    return fitting.reduce((best, other) => (gap(other) < gap(best) ? other : best));
  }

  return {
    ATTRIBUTES,
    dictionaries,
    open,
    score,
    madeFrom,
    tree,
    nodes,
    latent,
    recurrence,
    depth,
    maps,
    thumbnail,
    imagePath,
    title,
    place,
    nearest,
    same,
    get settings() {
      return settings;
    },
  };
})();
