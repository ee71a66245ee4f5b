"""Time the page's response to each stroke segment: preprocessing, forward pass, full update.

python benchmarks/strokes.py measures reports/index.html in Chromium: medians of 100, in ms.
"""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

PAGE = Path(__file__).resolve().parent.parent / "reports/index.html"
MEASURE = """() => {
  const pen = document.getElementById("drawing").getContext("2d");
  const pixels = Float32Array.from(decodeBytes(data.network.inputs[3].pixels));
  const prepare = () => {
    const ink = readInk(pen);
    return averageCells(ink, 280, locateDrawing(ink, 280));
  };
  const median = (work) => {
    const times = Array.from({ length: 100 }, () => {
      const start = performance.now();
      work();
      return performance.now() - start;
    });
    return times.sort((one, other) => one - other)[50];
  };
  return {
    preprocessing: median(prepare),
    "forward pass": median(() => forward(network, pixels)),
    "both, with the page's update": median(() =>
      document.getElementById("centred").dispatchEvent(new Event("change"))),
  };
}"""

if __name__ == "__main__":
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto(PAGE.as_uri())
        for name, milliseconds in page.evaluate(MEASURE).items():
            print(f"{name:30} {milliseconds:6.1f} ms")
        browser.close()
