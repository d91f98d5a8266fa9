"use strict";
// What the atlas knows: dictionaries, trees, nodes, latents. Everything is loaded when it is first
// asked for. docs/atlas.md describes the chunks.

const study = (() => {
  const dictionaries = [];
  // shared/catalogue.js. Its `format` declares what the other chunks hold and how it is written
  // (cladescope/atlas/wire.py).
  let catalogue = {};

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
    catalogue = await chunks.load("shared/catalogue.js");
    catalogue.folders.forEach((folder, number) => {
      const one = { number, folder };
      for (const [name, values] of Object.entries(catalogue.identity)) one[name] = values[number];
      dictionaries.push(one);
    });
  }

  /** Load a chunk and check that it holds what is declared. */
  async function load(path, names) {
    const chunk = await chunks.load(path);
    const missing = names.filter((name) => !(name in chunk));
    if (missing.length)
      throw new Error(`${path} lacks ${missing.join(", ")}; build the atlas again`);
    return chunk;
  }

  /** What a written number stands for. */
  const read = ({ scale, shift, words }, value) =>
    words.length ? words[value] : value / scale - shift;

  /** A score of a dictionary, or what stands beside it ("low", "high", "null"); NaN if missing. */
  function score(dictionary, name, beside = null) {
    const column = beside === null ? name : name + catalogue.format.beside[beside];
    return column in catalogue ? catalogue[column][dictionary.number] : NaN;
  }

  /** What made a dictionary's numbers: [column, value] pairs (docs/reproducibility.md). */
  const madeFrom = (dictionary) =>
    Object.entries(catalogue.made_from).map(([name, values]) => [name, values[dictionary.number]]);

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
    const { lists, pair_examples: examples } = catalogue.format;
    const { block, paired } = await nodes(dictionary);
    const latents = { ...catalogue.format.latents, ...(paired ? examples : {}) };
    const chunk = await load(
      `dictionaries/${dictionary.folder}/latents_${Math.floor(number / block)}.js`,
      [...Object.keys(latents), ...Object.keys(lists)],
    );
    const row = number % block;
    const rows = chunk.status.length;
    const found = { number };
    for (const [name, field] of Object.entries(latents)) {
      const each = chunk[name].length / rows;
      const mine = Array.from(chunk[name].subarray(row * each, (row + 1) * each), (value) =>
        read(field, value),
      );
      found[name] = each === 1 ? mine[0] : mine;
    }
    for (const [name, list] of Object.entries(lists)) {
      const [start, end] = chunk[list.start].subarray(row, row + 2);
      found[name] = Array.from(chunk[name].subarray(start, end), (item, i) => ({
        item,
        value: read(list, chunk[list.values][start + i]),
      }));
    }
    return found;
  }

  const same = (a, b, but = []) =>
    ["dataset", ...catalogue.format.attributes].every(
      (name) => but.includes(name) || a[name] === b[name],
    );

  /** How a dictionary's latents recur in other seeds; null if there is no other. */
  async function recurrence(dictionary) {
    const others = dictionaries.filter((other) => same(dictionary, other, ["seed"]));
    if (dictionary.seed === null || others.length < 2) return null;
    const fields = Object.entries(catalogue.format.recurrence);
    const chunk = await load(
      `shared/recurrence/${dictionary.number}.js`,
      fields.map(([name]) => name),
    );
    return Object.fromEntries(
      fields.map(([name, field]) => [name, Array.from(chunk[name], (value) => read(field, value))]),
    );
  }

  /** Every dictionary's result on a node: [{dictionary, best_mcc, ...}]. */
  async function depth(dataset, node) {
    const about = await chunks.load(`shared/datasets/${dataset}/depth.js`);
    const step = about.nodes_per_chunk;
    const names = catalogue.format.depth;
    const chunk = await load(
      `shared/datasets/${dataset}/depth_${Math.floor(node / step)}.js`,
      names,
    );
    return Array.from(about.dictionaries, (number, row) => {
      const found = { dictionary: dictionaries[number] };
      for (const name of names) found[name] = chunk[name][row * chunk.n_nodes + (node % step)];
      return found;
    });
  }

  /** A latent's relevancy maps, as shares of each one's largest value. */
  async function maps(dictionary, number) {
    const { map_values: field, map_measures: measures } = catalogue.format;
    const chunk = await load(
      `dictionaries/${dictionary.folder}/maps/${number}.js`,
      Object.keys(measures),
    );
    return { ...chunk, values: Array.from(chunk.values, (value) => read(field, value)) };
  }

  /** `values` [i × names.length + k] as {name: value}. */
  const named = (names, values, i) =>
    Object.fromEntries(names.map((name, k) => [name, values[i * names.length + k]]));

  /**
   * What the model does without latents: {readout, accuracy, n_images, draws, entries}, an entry for
   * each node and number of latents, with the measures of each kind; null if nothing was ablated.
   */
  async function ablation(dictionary) {
    if (!(await nodes(dictionary)).ablated) return null;
    const { ablation_kinds: kinds, ablation_measures: measures } = catalogue.format;
    const chunk = await load(`dictionaries/${dictionary.folder}/ablation.js`, ["measures"]);
    const entries = Array.from(chunk.node, (node, row) => ({
      node,
      n_latents: chunk.n_latents[row],
      latents: [...chunk.taken.subarray(...chunk.taken_start.subarray(row, row + 2))],
      kinds: Object.fromEntries(
        kinds.map((kind, k) => [kind, named(measures, chunk.measures, row * kinds.length + k)]),
      ),
    }));
    return { ...chunk, entries };
  }

  /** How a node's best latent takes pairs of images, by what changes; null if there are none. */
  async function pairAnswers(dictionary, node) {
    if (!(await nodes(dictionary)).paired) return null;
    const { pair_changes: changes, pair_measures: measures } = catalogue.format;
    const chunk = await load(`dictionaries/${dictionary.folder}/pairs.js`, ["measures"]);
    const row = chunk.node.indexOf(node);
    if (row < 0) return null;
    const all = changes.map((change, k) => [
      change,
      named(measures, chunk.measures, row * changes.length + k),
    ]);
    return Object.fromEntries(all.filter(([, { n_pairs }]) => n_pairs > 0));
  }

  /**
   * How well the best latent of each node finds its patches: [{node, latent, ...}], latent null if
   * none was better than none; null where nothing was held against masks.
   */
  async function segmentation(dictionary) {
    const { segmented, width } = await nodes(dictionary);
    if (!segmented) return null;
    const { n_images, ...columns } = await chunks.load(
      `dictionaries/${dictionary.folder}/segmentation.js`,
    );
    return Array.from(columns.node, (_, row) => {
      const one = { n_images };
      for (const [name, values] of Object.entries(columns)) one[name] = values[row];
      return { ...one, latent: one.latent < width ? one.latent : null };
    });
  }

  /**
   * On which patches of its strongest images a latent fires, in the form of maps by one method, and
   * how strongly it fires on each image, as a share of its largest; null where no places were kept.
   */
  async function places(dictionary, number) {
    const { placed } = await nodes(dictionary);
    if (!placed) return null;
    const file = `places_${Math.floor(number / placed)}.js`;
    const chunk = await load(`dictionaries/${dictionary.folder}/${file}`, ["images", "values"]);
    const patches = chunk.rows * chunk.columns;
    const { images_of_latent: each } = chunk;
    const row = number % placed;
    const mine = (name, size) =>
      Array.from(chunk[name].subarray(row * size, (row + 1) * size));
    const shares = (name, size) =>
      mine(name, size).map((value) => read(catalogue.format.map_values, value));
    return {
      ...chunk,
      methods: ["patches"],
      images: mine("images", each),
      relative: shares("relative", each),
      values: shares("values", each * patches),
    };
  }

  const folderOf = (image) => Math.floor(image / catalogue.format.images_per_folder);
  /** Of a dataset's evaluation images, or of the images of its pairs: `dataset.pairs`. */
  const thumbnail = (dataset, image) => `images/${dataset}/${folderOf(image)}/${image}.webp`;
  async function imagePath(dataset, image) {
    const { paths } = await chunks.load(`images/${dataset}/${folderOf(image)}/paths.js`);
    return paths[image % catalogue.format.images_per_folder];
  }

  const title = (dictionary) => {
    const size = dictionary.sparsity === null ? "" : `, sparsity ${dictionary.sparsity}`;
    const seed = dictionary.seed === null ? "" : `, seed ${dictionary.seed}`;
    return `${dictionary.variant}, width ${dictionary.width}${size}${seed}`;
  };
  /** Where a dictionary's activations come from; of codes made elsewhere only a name is known. */
  const origin = ({ experiment, token, layer }) =>
    layer === null ? experiment : `${experiment}, ${token}, layer ${layer}`;

  /** The dictionary that has the wanted value of one attribute and shares most others. */
  function nearest(dictionary, name, value) {
    const { attributes } = catalogue.format;
    const gap = (other) =>
      attributes.filter((key) => key !== name).reduce(
        (sum, key, rank) => {
          if (other[key] === dictionary[key]) return sum;
          const [a, b] = [Number(other[key]), Number(dictionary[key])];
          const far = Number.isFinite(a - b) && a + b ? Math.abs(a - b) / (a + b) : 1;
          return sum + (1 + far) * 2 ** (attributes.length - rank);
        },
        other.dataset === dictionary.dataset ? 0 : 0.5,
      );
    const fitting = dictionaries.filter((other) => String(other[name]) === String(value));
    return fitting.reduce((best, other) => (gap(other) < gap(best) ? other : best));
  }

  return {
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
    ablation,
    pairAnswers,
    segmentation,
    places,
    thumbnail,
    imagePath,
    title,
    origin,
    nearest,
    same,
    get settings() {
      return catalogue.settings;
    },
    get format() {
      return catalogue.format;
    },
    get scores() {
      return catalogue.scores;
    },
  };
})();
