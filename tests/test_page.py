"""The page works in a browser on every screen, on paper, in dark mode, and without scripts."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import CHROMIUM, SCALES
from PIL import Image
from pypdf import PdfReader
from workspaces import ENV, ROOT

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")


OPEN_ALL = "for (const part of document.querySelectorAll('details')) part.open = true"
# Figures, buttons and tables whose content is cut.
CUT = """[...document.querySelectorAll("figure, button, select, .values")]
    .filter((e) => e.checkVisibility() && getComputedStyle(e).overflowX !== "auto")
    .filter((e) => e.scrollWidth > e.clientWidth + 1)
    .map((e) => e.outerHTML.slice(0, 80))"""
OTHER_SCREENS = [(320, "light"), (768, "light"), (1280, "dark"), (2560, "light")]
SCREENS = [(390, "dark"), *(pytest.param(*s, marks=pytest.mark.slow) for s in OTHER_SCREENS)]


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_the_page_fits_the_screen_without_requests_or_errors(open_page, width, scheme):
    page = open_page(width, scheme)
    assert [url for url in page.requests if not url.startswith("data:")] == [page.url]
    page.evaluate(OPEN_ALL)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CUT) == []
    assert page.evaluate(SCALES) == pytest.approx([1] * 4)
    assert page.messages == []


@pytest.mark.slow
def test_the_page_fits_a_phone_with_text_at_200_percent(browser, page_path):
    options = ["--no-sandbox", "--blink-settings=defaultFontSize=32"]
    large = browser.browser_type.launch(executable_path=CHROMIUM, args=options)
    page = large.new_page(viewport={"width": 390, "height": 844})
    page.goto(page_path.as_uri())
    assert page.evaluate("getComputedStyle(document.documentElement).fontSize") == "32px"
    page.evaluate(OPEN_ALL)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate(CUT) == []
    large.close()


@pytest.mark.slow
def test_figures_do_not_cut_the_focus_ring(open_page):
    page = open_page(390)
    page.evaluate(OPEN_ALL)
    boxes = page.locator("figure :is(.scroll[tabindex], .chart)")
    page.wait_for_timeout(100)  # until scripts make wide boxes focusable
    assert boxes.count() >= 6
    for box in boxes.all():
        box.focus()
        room = """box => {
            const { outlineStyle, outlineWidth, outlineOffset } = getComputedStyle(box);
            if (outlineStyle === "none") return -1;
            const [inner, outer] = [box, box.parentElement].map((e) => e.getBoundingClientRect());
            const ring = parseFloat(outlineWidth) + parseFloat(outlineOffset);
            return Math.min(inner.left - outer.left, outer.right - inner.right,
                inner.top - outer.top, outer.bottom - inner.bottom) - ring;
        }"""
        assert box.evaluate(room) >= -0.5, box.evaluate("box => box.outerHTML.slice(0, 80)")


@pytest.mark.slow
def test_the_page_is_short_on_a_phone_and_its_explanations_open_on_tap(open_page):
    page = open_page(390, has_touch=True)
    assert page.evaluate("document.documentElement.scrollHeight") <= 14 * 844
    table = page.get_by_text("Maximum on the grid", exact=True)
    assert not table.is_visible()
    page.get_by_text("What do the two losses look like?").tap()
    assert table.is_visible()
    assert open_page(1280).get_by_text("Maximum on the grid", exact=True).is_visible()


@pytest.mark.slow
def test_a_link_opens_the_table_of_numbers(open_page):
    page = open_page()
    page.locator("#xor .origin a").click()
    assert page.get_by_text("written by stages/xor_train.py").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_axe_finds_no_accessibility_violations(open_page, width, scheme):
    page = open_page(width, scheme)
    page.evaluate(OPEN_ALL)
    page.wait_for_timeout(100)  # until scripts make wide boxes focusable
    violations = Axe().run(page).response["violations"]
    assert [f"{rule['id']}: {rule['help']}" for rule in violations] == []


@pytest.mark.slow
def test_images_have_alt_texts_and_figures_are_dark_on_a_dark_page(open_page):
    page = open_page(scheme="dark")
    assert page.evaluate("[...document.images].every(image => image.alt.length > 10)")
    assert page.evaluate(
        "[...document.images].every(image => image.complete && image.naturalWidth)"
    )
    sources = page.locator("picture").evaluate_all(
        "all => all.map(each => each.children[1].currentSrc === each.children[0].srcset)"
    )
    assert len(sources) >= 3
    assert all(sources)


@pytest.mark.slow
def test_static_figures_replace_the_interactive_ones_without_scripts(open_page):
    page = open_page(java_script_enabled=False)
    assert page.locator("canvas").first.is_hidden()
    assert page.get_by_alt_text("Five surfaces over weight and bias").is_visible()
    assert page.get_by_alt_text("Snapshots of the hidden plane").is_visible()


@pytest.mark.slow
def test_make_pdf_prints_the_whole_page_with_collapsed_parts(page_path, tmp_path):
    folder = tmp_path / "a clone"
    (folder / "reports").mkdir(parents=True)
    shutil.copy(page_path, folder / "reports")
    command = ["make", "-f", ROOT / "Makefile", "pdf", "READY=", f"CHROMIUM={CHROMIUM}"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    pages = PdfReader(folder / "reports/report.pdf").pages
    assert 5 <= len(pages) <= 20
    text = " ".join(" ".join(page.extract_text() for page in pages).split())
    for words in (
        "Deep learning basics",
        "XOR with a 2-layer perceptron",
        "All parameters",
        "def descend(",
    ):
        assert words in text
    assert "Drag a surface" not in text  # interactive parts are not printed
    width, height = pages[0].mediabox.width, pages[0].mediabox.height
    assert (round(width), round(height)) == (595, 842)  # A4


@pytest.mark.slow
def test_make_pdf_names_the_missing_browser(tmp_path):
    command = ["make", "-f", ROOT / "Makefile", "pdf", "READY=", "CHROMIUM="]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "apt install chromium" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("firefox-esr"), reason="no firefox-esr is installed")
def test_firefox_classifies_the_example_and_draws_the_page(page_path, tmp_path):
    """Playwright cannot drive Debian's Firefox, so a screenshot is checked for the bar's colour."""
    picture = tmp_path / "page.png"
    command = ["firefox-esr", "--headless", "--no-remote", "--profile", tmp_path]
    command += ["--window-size=1280,900", "--screenshot", picture, page_path.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with Image.open(picture) as image:
        colours = image.convert("RGB").crop((700, 400, 1120, 720)).getcolors(1 << 18)
    accent = (0x00, 0x5F, 0x96)  # of the bar of the predicted class, in light mode
    assert sum(count for count, colour in colours if colour == accent) > 300


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("WebKitWebDriver") and shutil.which("xvfb-run")),
    reason="webkit2gtk-driver or xvfb is not installed",
)
def test_webkit_classifies_the_example_and_draws_square_tables(page_path):
    """WebKit is Safari's engine. Its driver speaks the W3C's WebDriver protocol."""

    def call(path, **body):
        data = json.dumps(body).encode()
        with urlopen(f"http://127.0.0.1:{port}/session{path}", data, timeout=60) as answer:
            return json.load(answer)["value"]

    port = "7055"
    command = ["xvfb-run", "--auto-servernum", "WebKitWebDriver", f"--port={port}"]
    environment = ENV | {"WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}  # it refuses root
    driver = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        for _ in range(100):
            with suppress(URLError), urlopen(f"http://127.0.0.1:{port}/status"):
                break
            time.sleep(0.1)
        options = {"args": ["--automation"]}
        session = call("", capabilities={"alwaysMatch": {"webkitgtk:browserOptions": options}})
        here = f"/{session['sessionId']}"
        call(f"{here}/url", url=page_path.as_uri())
        script = """document.getElementById("maps").scrollIntoView();
            return new Promise((resolve) => setTimeout(() => resolve({
                title: document.getElementById("prediction").textContent,
                cells: document.querySelectorAll(".values td").length,
                sides: [...document.querySelectorAll(".values")].flatMap((table) => {
                    const { width, height } = table.getBoundingClientRect();
                    return [width, height, table.rows.length * table.rows[0].offsetHeight];
                }),
            }), 2000));"""
        shown = call(f"{here}/execute/sync", script=script, args=[])
    finally:
        os.killpg(driver.pid, signal.SIGTERM)
        driver.wait()
    assert re.fullmatch(r"Prediction: (.+), label: \1", shown["title"])
    assert shown["cells"] == 50
    assert max(shown["sides"]) - min(shown["sides"]) < 3
