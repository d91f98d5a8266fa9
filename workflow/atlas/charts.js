"use strict";
// Small charts. Each has a text that says the same, and tells its series apart by more than colour.

const charts = (() => {
  const { number } = scales;

  /** A score as a bar, its null as a band and a tick on the same scale. */
  function scoreBar(value, null_, nullHigh, threshold = null) {
    const width = 160;
    const at = (x) => Math.min(Math.max(x, 0), 1) * width;
    const known = Number.isFinite(value);
    const text = known
      ? `${number(value)}${Number.isFinite(null_) ? `, null ${number(null_)} (97.5%: ${number(nullHigh)})` : ""}`
      : "no value";
    return h(
      "span",
      { class: "score" },
      s(
        "svg",
        { class: "bar", viewBox: `0 0 ${width} 18`, role: "img", "aria-label": text },
        s("rect", { class: "track", width, height: 18 }),
        Number.isFinite(nullHigh) && s("rect", { class: "band", width: at(nullHigh), height: 18 }),
        known && s("rect", { class: "value", y: 5, width: at(value), height: 8 }),
        Number.isFinite(null_) && s("path", { class: "null", d: `M${at(null_)} 0V18` }),
        threshold !== null && s("path", { class: "threshold", d: `M${at(threshold)} 0V18` }),
      ),
      h("span", { class: "figure" }, number(value)),
    );
  }

  /** Two histograms on one axis: images under the node upwards, others downwards. */
  function histogram(counts, bins, labels) {
    const [width, half] = [480, 90];
    const largest = Math.max(1, ...counts);
    // Square roots: a few images at the top must not vanish beside hundreds at the bottom.
    const tall = (n) => Math.sqrt(n / largest) * (half - 14);
    const step = width / bins;
    const bars = [];
    for (let i = 0; i < bins; i++)
      for (const [side, n] of [counts[i], counts[bins + i]].entries())
        if (n)
          bars.push(
            s(
              "rect",
              {
                class: side ? "outside" : "inside",
                x: i * step + 1,
                width: step - 2,
                y: side ? half + 1 : half - tall(n),
                height: tall(n),
              },
              s(
                "title",
                {},
                `${labels[side]}: ${n} images at ${number(i / bins)} to ${number((i + 1) / bins)} of the largest`,
              ),
            ),
          );
    const total = (side) =>
      counts.slice(side * bins, (side + 1) * bins).reduce((sum, n) => sum + n, 0);
    return h(
      "figure",
      { class: "histogram" },
      s(
        "svg",
        {
          viewBox: `0 0 ${width} ${2 * half + 18}`,
          role: "img",
          "aria-label": `Histogram of activations: ${total(0)} images ${labels[0]}, ${total(1)} images ${labels[1]}`,
        },
        ...bars,
        s("path", { class: "axis", d: `M0 ${half}H${width}` }),
        s("text", { x: 0, y: 11 }, `▲ ${labels[0]}: ${total(0)} images`),
        s("text", { x: 0, y: 2 * half - 2 }, `▼ ${labels[1]}: ${total(1)} images`),
        s("text", { x: 0, y: 2 * half + 14 }, "0"),
        s("text", { x: width, y: 2 * half + 14, "text-anchor": "end" }, "largest activation"),
      ),
      h("figcaption", {}, "Bars grow with the square root of the number of images."),
    );
  }

  const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 4", "1 4"];
  const MARKS = [
    (x, y) => s("circle", { cx: x, cy: y, r: 4 }),
    (x, y) => s("rect", { x: x - 3.5, y: y - 3.5, width: 7, height: 7 }),
    (x, y) => s("path", { d: `M${x} ${y - 5}l5 9h-10z` }),
    (x, y) => s("path", { d: `M${x} ${y - 5}l5 5l-5 5l-5 -5z` }),
    (x, y) => s("path", { d: `M${x - 4} ${y}h8M${x} ${y - 4}v8` }),
    (x, y) => s("path", { d: `M${x - 4} ${y - 4}l8 8M${x + 4} ${y - 4}l-8 8` }),
  ];

  /** Curves over the layers: [{name, term, points: [[layer, value]], main}], and the null's band. */
  function depthChart(series, band, layers, threshold, chosen) {
    const [width, height, left, bottom] = [560, 240, 34, 24];
    const low = Math.min(0, ...series.flatMap(({ points }) => points.map(([, y]) => y)));
    const x = (layer) => {
      const share = layers.length > 1 ? layers.indexOf(layer) / (layers.length - 1) : 0.5;
      return left + 14 + share * (width - left - 28);
    };
    const y = (value) => 10 + ((1 - value) / (1 - low)) * (height - bottom - 10);
    const line = (points) => points.map(([l, v], i) => `${i ? "L" : "M"}${x(l)} ${y(v)}`).join("");
    const every = Math.ceil(layers.length / 14);
    const legend = (mark) =>
      s("svg", { class: "mark", viewBox: "0 0 34 14", "aria-hidden": "true" }, mark);
    const drawn = ({ points }, rank) =>
      s(
        "g",
        { class: `series series${rank}` },
        s("path", { class: "line", d: line(points), "stroke-dasharray": DASHES[rank] }),
        points.length <= 20 && points.map(([l, v]) => MARKS[rank](x(l), y(v))),
      );
    const said = series.map(
      ({ name, points }) =>
        `${name}: ${points.map(([l, v]) => `${number(v)} at layer ${l}`).join(", ")}`,
    );
    return h(
      "figure",
      { class: "depth" },
      s(
        "svg",
        {
          viewBox: `0 0 ${width} ${height}`,
          role: "img",
          "aria-label": `MCC by layer. ${said.join(". ")}`,
        },
        [0, 0.25, 0.5, 0.75, 1].map((v) => [
          s("path", { class: "grid", d: `M${left} ${y(v)}H${width}` }),
          s("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, number(v)),
        ]),
        layers.map(
          (l, i) =>
            (i % every === 0 || l === chosen) &&
            s(
              "text",
              {
                x: x(l),
                y: height - 6,
                "text-anchor": "middle",
                class: l === chosen ? "chosen" : "",
              },
              String(l),
            ),
        ),
        band.length > 0 &&
          s("path", {
            class: "band",
            d: `${line(band)}L${x(band.at(-1)[0])} ${y(0)}L${x(band[0][0])} ${y(0)}Z`,
          }),
        s("path", { class: "threshold", d: `M${left} ${y(threshold)}H${width}` }),
        series.map(drawn).reverse(),
      ),
      h(
        "figcaption",
        { class: "legend" },
        ...series.map(({ name, term: key }, rank) =>
          h(
            "span",
            {},
            legend(
              s(
                "g",
                { class: `series series${rank}` },
                s("path", { class: "line", d: "M0 7H34", "stroke-dasharray": DASHES[rank] }),
                MARKS[rank](17, 7),
              ),
            ),
            key ? term(key, name) : name,
          ),
        ),
        band.length > 0 &&
          h(
            "span",
            {},
            legend(s("rect", { class: "band", width: 34, height: 14 })),
            term("null", "null, up to 97.5%"),
          ),
        h(
          "span",
          {},
          legend(s("path", { class: "threshold", d: "M0 7H34" })),
          term("recovered", "threshold"),
        ),
      ),
    );
  }

  /** Nodes of two dictionaries against each other: [{x, y, label, href}]. */
  function scatter(points, xName, yName, threshold) {
    const [side, left, bottom] = [420, 40, 40];
    const at = (v) => Math.max(v, 0) * (side - left - 12);
    const x = (v) => left + at(v);
    const y = (v) => side - bottom - at(v);
    return s(
      "svg",
      {
        class: "scatter",
        viewBox: `0 0 ${side} ${side}`,
        role: "img",
        "aria-label": `MCC of ${points.length} nodes, ${xName} across, ${yName} upwards; the table has the numbers`,
      },
      [0, 0.5, 1].map((v) => [
        s("path", { class: "grid", d: `M${x(0)} ${y(v)}H${x(1)}M${x(v)} ${y(0)}V${y(1)}` }),
        s("text", { x: x(v), y: side - bottom + 16, "text-anchor": "middle" }, number(v, 1)),
        s("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, number(v, 1)),
      ]),
      s("path", { class: "axis", d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}` }),
      s("path", {
        class: "threshold",
        d: `M${x(threshold)} ${y(0)}V${y(1)}M${x(0)} ${y(threshold)}H${x(1)}`,
      }),
      s("text", { x: x(0.5), y: side - 6, "text-anchor": "middle" }, xName),
      s("text", { x: -y(0.5), y: 11, transform: "rotate(-90)", "text-anchor": "middle" }, yName),
      points.map((p) =>
        s(
          "a",
          { href: p.href, "aria-label": p.text },
          s("circle", { cx: x(p.x), cy: y(p.y), r: 5 }, s("title", {}, p.text)),
        ),
      ),
    );
  }

  return { scoreBar, histogram, depthChart, scatter };
})();
