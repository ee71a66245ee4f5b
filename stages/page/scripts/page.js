// Code shared by all scripts: the page's data, helpers, and behaviour of the whole page.
"use strict";

/** Data of the page by subject: surfaces, network, history, xor. */
const data = JSON.parse(document.getElementById("data").textContent);
document.documentElement.classList.replace("still", "live"); // the data are complete

const darkMode = matchMedia("(prefers-color-scheme: dark)");

/** @param {Element} element @param {Record<string, string | number>} attributes */
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
}

/** A number with at most four decimals and a minus sign. @param {number} value */
function round(value) {
  return String(Number(value.toFixed(4))).replace("-", "−");
}

/** A whole number with thousands separators. @param {number} value */
const formatCount = (value) => value.toLocaleString("en");

/** The rate on a logarithmic slider, with three significant digits; its initial rate exactly. */
const readRate = (slider, initial) =>
  Math.abs(slider.value - slider.defaultValue) < 1e-6 ? initial : Number((10 ** slider.value).toPrecision(3));

/** Show a slider's value beside it and to screen readers. @param {HTMLInputElement} input @param {string} text */
function showValue(input, text) {
  document.getElementById(`${input.name}-value`).textContent = text;
  input.setAttribute("aria-valuetext", text);
}

/**
 * Make a button start and pause an animation. Returns a function that stops it.
 * @param {HTMLButtonElement} button
 * @param {{start: () => void, advance: (milliseconds: number) => boolean, status?: Element}} animation
 *   `advance` draws the next frame and returns whether it was the last one; with reduced motion its
 *   argument is Infinity. Screen readers ignore `status` while the animation runs.
 */
function makePlayer(button, { start, advance, status }) {
  const name = button.textContent;
  let request = 0;
  const stop = () => {
    cancelAnimationFrame(request);
    request = 0;
    button.textContent = name;
    status?.setAttribute("aria-live", "polite");
  };
  button.addEventListener("click", () => {
    if (request) return stop();
    start();
    button.textContent = "Pause";
    status?.setAttribute("aria-live", "off");
    let before = performance.now();
    const frame = (now) => {
      const passed = matchMedia("(prefers-reduced-motion: reduce)").matches ? Infinity : Math.max(0, now - before);
      before = now;
      if (advance(passed)) stop();
      else request = requestAnimationFrame(frame);
    };
    request = requestAnimationFrame(frame);
  });
  return stop;
}

{
  /** Make boxes wider than the screen scrollable by keyboard. */
  const reachScrollers = () => {
    for (const box of document.querySelectorAll(".scroll, .descent-result, math[display=block], pre")) {
      const label = box.localName === "div" ? { role: "group", "aria-label": "Scrolls horizontally" } : {};
      const reachable = { tabindex: 0, ...label };
      if (box.scrollWidth > box.clientWidth) set(box, reachable);
      else for (const name of Object.keys(reachable)) box.removeAttribute(name);
    }
  };
  window.addEventListener("resize", reachScrollers);
  document.addEventListener("toggle", reachScrollers, true); // toggle does not bubble
  reachScrollers();

  // On phones the long explanations start collapsed.
  if (matchMedia("(max-width: 44rem)").matches) {
    for (const part of document.querySelectorAll("details.part")) part.open = false;
  }
}
