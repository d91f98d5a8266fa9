"use strict";
// Colours and numbers. Viridis (Smith & van der Walt 2015) is even to the eye, reads in grey and for
// every kind of colour blindness.

const scales = (() => {
  const VIRIDIS = [
    "440154",
    "482878",
    "3e4989",
    "31688e",
    "26828e",
    "1f9e89",
    "35b779",
    "6ece58",
    "b5de2b",
    "fde725",
  ].map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));

  /** [red, green, blue] of a value from 0 to 1. */
  function colour(value) {
    const position = Math.min(Math.max(value, 0), 1) * (VIRIDIS.length - 1);
    const low = Math.min(Math.floor(position), VIRIDIS.length - 2);
    return VIRIDIS[low].map((a, i) => Math.round(a + (VIRIDIS[low + 1][i] - a) * (position - low)));
  }

  const css = ([r, g, b]) => `rgb(${r}, ${g}, ${b})`;

  /** Relative luminance (WCAG 2.2). */
  function luminance(rgb) {
    const [r, g, b] = rgb.map((v) => {
      const share = v / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  /** Black or white, whichever is read better on a colour; at least 4.5 : 1. */
  const ink = (rgb) => (luminance(rgb) > 0.179 ? "#000" : "#fff");

  /** A number with two digits behind the point, without the zero before it; "–" if missing. */
  function number(value, digits = 2) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    const text = Math.abs(value).toFixed(digits).replace(/^0\./, ".");
    return value < 0 && Number(text) ? `−${text}` : text;
  }

  const count = (value) => (Number.isFinite(value) ? value.toLocaleString("en") : "–");
  const percent = (value) => (Number.isFinite(value) ? `${Math.round(100 * value)}%` : "–");
  /** p- and q-values: as many digits as matter. */
  const chance = (value) =>
    Number.isFinite(value) ? (value < 0.001 ? "< .001" : number(value, 3)) : "–";

  return { colour, css, ink, number, count, percent, chance };
})();
