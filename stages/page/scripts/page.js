// The page's data, what all scripts share, and boxes that scroll sideways.
"use strict";

/** Data of the page by subject: surfaces, descent, xor, network, charts. */
const data = JSON.parse(document.getElementById("data").textContent);
document.documentElement.classList.replace("still", "live"); // all that can fail is read

/** @param {Element} element @param {Record<string, string | number>} attributes */
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
}

/** A number with at most four decimals and a minus sign. @param {number} value */
function round(value) {
  return String(Number(value.toFixed(4))).replace("-", "−");
}

{
  /** Makes each box that is wider than the screen scroll by keyboard too. */
  const reachScrollers = () => {
    for (const box of document.querySelectorAll(".scroll, math[display=block], pre")) {
      const label = box.localName === "div" ? { role: "group", "aria-label": "Scrolls sideways" } : {};
      const reachable = { tabindex: 0, ...label };
      if (box.scrollWidth > box.clientWidth) set(box, reachable);
      else for (const name of Object.keys(reachable)) box.removeAttribute(name);
    }
  };
  window.addEventListener("resize", reachScrollers);
  document.addEventListener("toggle", reachScrollers, true); // toggle does not bubble
  reachScrollers();
}
