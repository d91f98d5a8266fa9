"use strict";
// Chunks are scripts of one call, receive({...}), with JSON inside: a page that was opened from disk
// may run the scripts beside it, but may fetch nothing. Arrays are base64 of deflated little-endian
// bytes.

const chunks = (() => {
  const TYPES = {
    uint8: Uint8Array,
    int8: Int8Array,
    uint16: Uint16Array,
    uint32: Uint32Array,
    int32: Int32Array,
    float32: Float32Array,
  };
  const KEPT = 300;
  const received = new WeakMap();
  const loading = new Map();

  async function decode(value) {
    if (value === null || typeof value !== "object" || !("base64" in value)) return value;
    const text = atob(value.base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new TYPES[value.dtype](await new Response(inflated).arrayBuffer());
  }

  /** Called by each chunk while it runs. */
  function receive(values) {
    const parts = Object.entries(values).map(async ([name, value]) => [name, await decode(value)]);
    received.set(document.currentScript, Promise.all(parts).then(Object.fromEntries));
  }

  function run(path) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      const fail = () => {
        loading.delete(path);
        reject(new Error(`${path} is missing or damaged; build the atlas again`));
      };
      script.addEventListener("load", () => {
        script.remove();
        if (received.has(script)) received.get(script).then(resolve, fail);
        else fail();
      });
      script.addEventListener("error", () => {
        script.remove();
        fail();
      });
      script.src = path.split("/").map(encodeURIComponent).join("/");
      document.head.append(script);
    });
  }

  /** Load a chunk once; the oldest are forgotten when there are many. */
  function load(path) {
    if (!loading.has(path)) {
      loading.set(path, run(path));
      if (loading.size > KEPT) loading.delete(loading.keys().next().value);
    }
    return loading.get(path);
  }

  return { load, receive };
})();
const receive = chunks.receive;
