"""Fixtures and functions that open and touch the page in Chromium."""

import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
expect.set_options(timeout=30_000)  # a busy machine
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
# The RGBA colour at a point of a canvas, in CSS pixels.
COLOUR = """(canvas, [x, y]) => {
    const ratio = canvas.width / canvas.clientWidth;
    return [...canvas.getContext("2d").getImageData(x * ratio, y * ratio, 1, 1).data];
}"""

# The scale of each visible chart; the pointer selects wrong values unless it is 1.
SCALES = """[...document.querySelectorAll(".chart")].filter((e) => e.checkVisibility())
    .map((e) => e.getBoundingClientRect().width / e.viewBox.baseVal.width)"""


def touch(page, *paths):
    """Move one finger along each path, a list of points in the window; all have the same length."""
    session = page.context.new_cdp_session(page)
    for step, places in enumerate(zip(*paths, strict=True)):
        points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(places)]
        event = {"type": "touchMove" if step else "touchStart", "touchPoints": points}
        session.send("Input.dispatchTouchEvent", event)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser, page_path):
    """An open page, for tests that only call functions of its scripts."""
    page = browser.new_page()
    page.goto(page_path.as_uri())
    return page


@pytest.fixture
def open_page(browser, page_path):
    """Return a function that opens a page. It records requests in `page.requests`, and errors and
    warnings in `page.messages`.
    """
    contexts = []

    def open_page(width=1280, scheme="light", file=page_path, **settings):
        viewport = {"width": width, "height": 844 if width == 390 else 900}
        contexts.append(browser.new_context(viewport=viewport, color_scheme=scheme, **settings))
        contexts[-1].set_default_timeout(120_000)  # a busy machine
        page = contexts[-1].new_page()
        page.requests, page.messages = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda error: page.messages.append(str(error)))
        page.on(
            "console",
            lambda message: (
                message.type in ("error", "warning") and page.messages.append(message.text)
            ),
        )
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
