"""The site in a browser: it finds, fills in, copies and compares, and asks no other host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from builder.matrix.target import Target
from builder.site.folder import write
from builder.site.pages import files
from builder.site.records import Catalog
from tests import site_samples
from tests.browser.conftest import DESK, PHONE, SCREENSHOTS, Browser
from tests.site_samples import HOSTILE, Links, broken, image

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

INFERENCE = (
    "huggingface-pytorch-inference",
    "2.13.0-transformers4.57.1-cpu-py311-debian12",
)
OFFICIAL = (
    "huggingface-pytorch-inference",
    "2.6.0-transformers4.51.3-gpu-py312-cu124-ubuntu22.04",
)
UNBUILDABLE = (
    "huggingface-pytorch-inference-neuron",
    "1.10.2-transformers4.20.1-neuron-py37-sdk1.19.1-ubuntu18.04",
)
PAGES = ["index", "tables", "matrix", "layers", "sizes", "tasks", "proof", "compare"]


def page(of: tuple[str, str]) -> str:
    return f"images/{of[0]}/{of[1]}.html"


def shown(browser: Browser) -> list[str]:
    """The images that the table of the home page shows."""
    names: list[str] = browser.run(
        "return [...document.querySelectorAll('#images tbody tr')]"
        ".filter(row => row.offsetParent !== null).map(row => row.dataset.name)"
    )
    return names


def test_no_link_of_any_page_is_broken(site: Mapping[str, bytes]) -> None:
    names = [name for name in site if name.endswith(".html")]
    assert len(names) > 100
    assert broken(site, names) == []
    assert [name for name in names if Links(site[name]).refused] == []


@pytest.mark.parametrize("name", [*(f"{each}.html" for each in PAGES), page(INFERENCE)])
def test_it_asks_no_other_host_and_nobody_complains(name: str, browser: Browser) -> None:
    browser.open(name)
    asked = [each for each in browser.requests() if not each.startswith(("about:", "data:"))]
    assert any(unquote(each) == unquote(browser.base + name) for each in asked)
    assert [each for each in asked if not unquote(each).startswith(unquote(browser.base))] == []
    assert browser.complaints() == []


def test_the_policy_holds(browser: Browser) -> None:
    """What somebody got into a page would not run, nor tell anybody."""
    browser.open("index.html")
    browser.run(
        "const found = document.createElement('div');"
        "found.innerHTML = '<img src=x onerror=\"window.ran=1\">';"
        "document.body.append(found);"
        "const script = document.createElement('script'); script.textContent = 'window.ran=1';"
        "document.body.append(script);"
        "const far = new Image(); far.src = 'http://127.0.0.1:9/far.png';"
        "document.body.append(far);"
    )
    assert browser.run("return window.ran") is None
    told = "\n".join(browser.complaints())
    for what in ("img-src 'self'", "script-src 'self'", "http://127.0.0.1:9/far.png"):
        assert what in told


@pytest.mark.parametrize(
    "query",
    ["pytorch 2.6", "tensorflow gpu", "py312", "training neuronx", "4.51.3 gpu inference"],
)
def test_search_finds_as_one_types(
    query: str, browser: Browser, targets: tuple[Target, ...]
) -> None:
    browser.open("index.html")
    browser.type("#q", query)

    def fits(target: Target) -> bool:
        words = [
            *(target.framework, target.mode, target.device, target.parts.device_tag),
            *(target.framework_version, target.transformers, "py" + target.python.replace(".", "")),
        ]
        return all(
            any(
                word == each or (word.startswith(each) and not word[len(each) :][:1].isdigit())
                for word in words
            )
            for each in query.split()
        )

    wanted = {each.name for each in targets if fits(each)}
    assert wanted
    assert set(shown(browser)) == wanted
    assert f"{len(wanted)} of {len(targets)}" in browser.text("#count")


@pytest.mark.parametrize(
    ("query", "name", "version"),
    [
        ("numpy 1.19", "numpy", "1.19"),
        ("numpy==1.26.4", "numpy", "1.26.4"),
        ("sagemaker_inference 1", "sagemaker-inference", "1"),
        ("tokenizers", "tokenizers", ""),
    ],
)
def test_search_finds_packages(
    query: str, name: str, version: str, browser: Browser, catalog: Catalog
) -> None:
    browser.open("index.html")
    browser.type("#q", query)

    def fits(found: str) -> bool:
        return found.startswith(version) and not (version and found[len(version) :][:1].isdigit())

    wanted = {
        each.name
        for each in catalog.images
        if any(one.name == name and fits(one.version) for one in each.packages)
    }
    assert wanted
    assert set(shown(browser)) == wanted
    assert f"{name} {version}" in browser.text("#images tbody tr:not([hidden]) .found")


def test_filters_are_in_the_address(browser: Browser) -> None:
    browser.open("index.html")
    browser.type("#q", "4.49.0")
    for name, value in (("mode", "inference"), ("device", "gpu")):
        browser.driver.find_element(
            "css selector", f"[data-filter={name}] option[value={value}]"
        ).click()
    found = shown(browser)
    assert found
    assert all("-inference:" in name and "-gpu-" in name for name in found)
    address = browser.driver.current_url
    assert address.endswith("#q=4.49.0&mode=inference&device=gpu")
    browser.open(address.removeprefix(browser.base))
    assert shown(browser) == found
    assert browser.run("return document.getElementById('q').value") == "4.49.0"
    browser.driver.find_element("id", "clear").click()
    assert len(shown(browser)) > len(found)
    assert "#" not in browser.driver.current_url


def test_nothing_found_is_said(browser: Browser) -> None:
    browser.open("index.html#q=no-such-thing&mode=nonsense")
    assert shown(browser) == []
    assert "No image has all of that" in browser.text("#none")
    browser.driver.find_element("id", "again").click()
    assert len(shown(browser)) > 90


def test_the_copy_button_copies_the_full_tag(browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(page(INFERENCE))
    button = browser.driver.find_element("css selector", "[data-copy=tag]")
    button.click()
    _until(browser, "return document.querySelector('[data-copy=tag]').textContent == 'Copied'")
    # What was copied, as somebody pastes it.
    field = browser.driver.find_element("id", "package-q")
    field.send_keys(Keys.CONTROL, "v")
    pasted = browser.run("return document.getElementById('package-q').value")
    assert pasted == ":".join(INFERENCE)


def test_snippets_have_the_account_and_the_region(browser: Browser) -> None:
    browser.open(page(OFFICIAL))
    browser.run("localStorage.clear()")
    browser.open(page(OFFICIAL))
    name = ":".join(OFFICIAL)
    code = "return document.getElementById('code-sagemaker2').textContent"
    assert f'"763104351884.dkr.ecr.us-east-1.amazonaws.com/{name}"' in browser.run(code)
    browser.type("#region", "cn-north-1")
    assert f".dkr.ecr.cn-north-1.amazonaws.com.cn/{name}" in browser.run(code)
    browser.type("#account", "1234")
    assert "twelve digits" in browser.text("#wrong")
    browser.type("#account", "210987654321")
    browser.type("#region", "eu-west-3")
    assert browser.text("#wrong") == ""
    assert f'"210987654321.dkr.ecr.eu-west-3.amazonaws.com/{name}"' in browser.run(code)
    # The next page knows it still.
    browser.open(page(INFERENCE))
    assert "210987654321.dkr.ecr.eu-west-3.amazonaws.com" in browser.run(code)
    browser.run("localStorage.clear()")


def test_the_keyboard_gets_everywhere(browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open("index.html")

    def press(*keys: str) -> str:
        browser.driver.switch_to.active_element.send_keys(*keys)
        return str(
            browser.run(
                "const it = document.activeElement;"
                "return it.id || it.dataset.filter || it.getAttribute('href') || it.tagName"
            )
        )

    assert press(Keys.TAB) == "#main"  # what a key skips to first
    assert browser.run("return document.activeElement.getBoundingClientRect().top >= 0")
    assert press("/") == "q"
    press("4.57.1 inference")
    order = [press(Keys.TAB) for _ in range(8)]
    assert order[:6] == ["mode", "framework", "transformers", "device", "python", "state"]
    assert order[6] == "clear"
    assert order[7] == page(INFERENCE)
    outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    press(Keys.ENTER)
    _until(browser, "return document.querySelector('[role=tab]') !== null")
    tab = browser.driver.find_element("css selector", "[role=tab][aria-selected=true]")
    tab.send_keys(Keys.ARROW_RIGHT)
    assert browser.text("[role=tab][aria-selected=true]") == "docker run"
    assert browser.driver.find_element("id", "code-run").is_displayed()
    assert not browser.driver.find_element("id", "code-pull").is_displayed()


def test_the_matrix_tells_the_reason_on_focus(browser: Browser) -> None:
    browser.open("matrix.html")
    link = browser.driver.find_element("css selector", f"a[href='{page(UNBUILDABLE)}']")
    tip = link.find_element("css selector", ".tip")
    before = browser.run("return arguments[0].getBoundingClientRect().width", tip)
    browser.run("arguments[0].focus()", link)
    box = browser.run("return arguments[0].getBoundingClientRect().toJSON()", tip)
    assert before < 5
    assert box["width"] > 300
    assert 0 <= box["top"] <= box["bottom"] <= DESK[1]
    assert "no SHA-256 of" in tip.text


def test_two_images_are_compared(browser: Browser, catalog: Catalog) -> None:
    after = catalog.image(":".join(INFERENCE))
    assert after
    before = catalog.image(after.former)
    assert before
    browser.open(f"compare.html#a={before.name}&b={after.name}")
    rows = browser.run(
        "return [...document.querySelectorAll('#rows tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    found = {row[0]: (row[2].strip("\u2013"), row[3].strip("\u2013")) for row in rows}
    assert found == {each.name: (each.before, each.after) for each in after.changes}
    browser.driver.find_element("id", "swap").click()
    assert browser.driver.current_url.endswith(f"b={before.name.replace(':', '%3A')}")


def test_pictures_have_what_the_tables_have(browser: Browser) -> None:
    browser.open(page(INFERENCE))
    found = browser.run(
        "return [...document.querySelectorAll('.treemap rect')]"
        ".map(each => each.getBoundingClientRect().toJSON())"
    )
    layers = browser.run("return document.querySelectorAll('#layers tbody tr').length")
    assert 5 < len(found) <= layers
    assert all(box["width"] > 0 and box["height"] > 0 for box in found)
    assert found[0]["width"] * found[0]["height"] == max(b["width"] * b["height"] for b in found)
    for name, selector in (("sizes.html", ".chart circle"), ("layers.html", ".layers rect")):
        browser.open(name)
        assert browser.run(f"return document.querySelectorAll('{selector}').length") > 50


@pytest.mark.parametrize("name", [*(f"{each}.html" for each in PAGES), page(OFFICIAL)])
def test_a_phone_shows_all_of_it(name: str, browser: Browser) -> None:
    """Nothing makes a page wider than the window; wide tables scroll by themselves."""
    browser.open(name, size=PHONE)
    wide = browser.run(
        "const width = document.documentElement.clientWidth;"
        "if (document.documentElement.scrollWidth <= width) return [];"
        "return [...document.querySelectorAll('body *')]"
        ".filter(each => each.getBoundingClientRect().right > width + 1)"
        ".map(each => each.tagName + '.' + each.className).slice(0, 9)"
    )
    assert wide == []


def test_paper_has_all_of_it(online: Browser) -> None:
    online.open(page(INFERENCE))
    online.command("Emulation.setEmulatedMedia", media="print")
    try:
        online.run("window.dispatchEvent(new Event('beforeprint'))")
        for shown_there in ("#code-pull", "#code-kubernetes", "#layers", "#dockerfile-text"):
            assert online.driver.find_element("css selector", shown_there).is_displayed()
        for gone in (".top nav", "#chooser", ".tablist", ".copy"):
            assert not online.driver.find_element("css selector", gone).is_displayed()
    finally:
        online.command("Emulation.setEmulatedMedia", media="")


def test_dark_mode_is_dark(browser: Browser) -> None:
    colours = {}
    for dark in (False, True):
        browser.open("index.html", dark=dark)
        colours[dark] = browser.run(
            "const style = getComputedStyle(document.body);"
            "return [style.backgroundColor, style.color]"
            ".map(each => each.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0))"
        )
    ground, text = colours[False]
    assert ground > text + 500
    ground, text = colours[True]
    assert ground < text - 500


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    "name", [*(f"{each}.html" for each in PAGES), page(OFFICIAL), "templates/stages/java.html"]
)
def test_axe_finds_nothing_serious(name: str, dark: bool, online: Browser, axe: str) -> None:
    online.open(name, dark=dark)
    online.run("for (const each of document.querySelectorAll('details')) each.open = true")
    online.driver.set_script_timeout(120)
    online.run(axe)
    result: dict[str, Any] = online.driver.execute_async_script(
        "const done = arguments[0];"
        "axe.run(document, {resultTypes: ['violations']})"
        ".then(done, error => done({error: String(error)}))"
    )
    assert "error" not in result
    assert len(result["passes"]) > 10
    serious = [
        f"{each['id']}: {node['html'][:160]}: {node['failureSummary'][:200]}"
        for each in result["violations"]
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"][:3]
    ]
    assert serious == []


@pytest.fixture(scope="module")
def bad(driver: WebDriver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A site in which every text tries to be markup."""
    place = tmp_path_factory.mktemp("hostile") / "site"
    write(place, files(site_samples.hostile()))
    yield Browser(driver=driver, base=f"{place.as_uri()}/")


def test_hostile_texts_stay_texts(bad: Browser) -> None:
    bad.complaints()
    bad.requests()
    first = image()
    for name in (*(f"{each}.html" for each in PAGES), first.page, "templates/stages/bad.html"):
        bad.open(name)
        assert bad.run("return window.broken") is None, name
        assert bad.run("return document.querySelectorAll('body img').length") == 1, name
    assert bad.complaints() == []
    bad.open(first.page)
    assert HOSTILE in bad.run("return document.body.textContent")
    bad.open(f"compare.html#a={first.name}&b={image(1).name}")
    cells = bad.run("return [...document.querySelectorAll('#rows td')].map(it => it.textContent)")
    assert HOSTILE in cells
    assert "__proto__" in cells
    for query in ("__proto__", "constructor", "</script>", "numpy toString"):
        bad.open("index.html")
        bad.type("#q", query)
        assert bad.run("return window.broken") is None
    bad.open("index.html#q=%3Cimg%20src%3Dx%20onerror%3D%22window.broken%3D1%22%3E")
    assert bad.run("return window.broken") is None
    assert bad.complaints() == []
    assert [each for each in bad.requests() if not each.startswith(("file:", "about:"))] == []


def test_screenshots(online: Browser) -> None:
    """Four pages as people see them, in build/screenshots."""
    paths = []
    for name, address, size, dark, height in (
        ("home", "index.html", DESK, False, 1500),
        ("image", page(OFFICIAL), DESK, False, 3200),
        ("matrix-dark", "matrix.html", DESK, True, 1500),
        ("home-phone", "index.html#q=numpy+1.19", PHONE, False, 1800),
        ("sizes", "sizes.html", DESK, False, 1400),
        ("image-dark-phone", page(INFERENCE), PHONE, True, 2400),
    ):
        online.open(address, size=size, dark=dark)
        paths.append(online.picture(name, height=height))
    assert all(path.stat().st_size > 20_000 for path in paths)
    assert {Path(path).parent for path in paths} == {SCREENSHOTS}


def _until(browser: Browser, script: str) -> None:
    """Wait until a script returns true."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser.driver, 10).until(lambda _: browser.run(script))
