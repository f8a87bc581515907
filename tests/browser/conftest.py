"""A headless Chromium, the site in it, and axe-core. What is missing is installed, if it can be."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from builder.site.folder import write
from builder.site.pages import files
from builder.site.records import Catalog
from tests import site_samples
from tests.conftest import ROOT

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

SCREENSHOTS = ROOT / "build" / "screenshots"
PHONE, DESK = (390, 844), (1280, 900)
BROWSERS = (("chromium", "chromedriver"), ("google-chrome", "chromedriver"))
AXE = "axe-core@4.14.1"
AXE_SHA512 = (
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder are of the tier."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(600))


@dataclass(frozen=True, kw_only=True)
class Browser:
    """A browser and the site in it, at `base`, which ends in a slash."""

    driver: WebDriver
    base: str

    def open(self, page: str, *, size: tuple[int, int] = DESK, dark: bool = False) -> None:
        """Load a page anew, in a window of a size."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.command("Emulation.setEmulatedMedia", features=[scheme, still])
        width, height = size
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.driver.get("about:blank")
        self.driver.get(self.base + page)

    def command(self, name: str, **values: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self.driver.execute_cdp_cmd(name, values)

    def run(self, script: str, *values: Any) -> Any:
        """What a script returns in the page."""
        return self.driver.execute_script(script, *values)

    def type(self, selector: str, text: str) -> None:
        """Empty a field, and type into it key by key."""
        element = self.driver.find_element("css selector", selector)
        element.clear()
        element.send_keys(text)

    def text(self, selector: str) -> str:
        """The text of an element."""
        return str(self.driver.find_element("css selector", selector).text)

    def requests(self) -> list[str]:
        """Every address that pages, not Chromium itself, asked for since the last call."""
        log = self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        messages = (json.loads(each["message"])["message"] for each in log)
        found = (
            str(each["params"]["request"]["url"])
            for each in messages
            if each["method"] == "Network.requestWillBeSent"
        )
        return [each for each in found if not each.startswith(("chrome:", "chrome-untrusted:"))]

    def complaints(self) -> list[str]:
        """What the browser's console said since the last call: errors, refusals of the policy."""
        log = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [str(each["message"]) for each in log]

    def picture(self, name: str, *, height: int = 0) -> Path:
        """A screenshot in the folder of screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {"format": "png"}
        if height:
            width = self.run("return window.innerWidth")
            options["clip"] = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            options["captureBeyondViewport"] = True
        found = self.command("Page.captureScreenshot", **options)
        path = SCREENSHOTS / f"{name}.png"
        path.write_bytes(base64.b64decode(found["data"]))
        return path


@pytest.fixture(scope="session")
def chromium() -> tuple[str, str]:
    """Chromium and its driver; they are installed on Debian as root where they are missing."""
    names = next((each for each in BROWSERS if all(map(shutil.which, each))), BROWSERS[0])
    if not all(map(shutil.which, names)):
        if not shutil.which("apt-get") or os.geteuid() != 0:
            pytest.skip("there is no chromium with chromedriver, and only root on Debian gets it")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        packages = ("chromium", "chromium-driver", "fonts-dejavu-core")
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
        for command in (["apt-get", "update"], install):
            ran = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False, timeout=500
            )
            if ran.returncode:
                pytest.skip(f"{' '.join(command[:2])} failed: {ran.stderr[-500:]}")
    found = [shutil.which(name) or "" for name in names]
    return found[0], found[1]


@pytest.fixture(scope="session")
def driver(
    chromium: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebDriver]:
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    binary, program = chromium
    options = ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",  # the tests may be root
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--homepage=about:blank",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
        # Whatever a page asks of another host fails, and is seen.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    found = Chrome(options=options, service=ChromeService(program))
    yield found
    found.quit()


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """All images."""
    return site_samples.real()


@pytest.fixture(scope="session")
def site(catalog: Catalog) -> Mapping[str, bytes]:
    """The site of all images."""
    return files(catalog)


@pytest.fixture(scope="session")
def folder(site: Mapping[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `dlc site` writes it, below a folder that its server shows."""
    found = tmp_path_factory.mktemp("served") / "a path" / "site"
    write(found, site)
    return found


@pytest.fixture(scope="session")
def served(folder: Path) -> Iterator[str]:
    """The address of the site, below a path, on a server of this machine alone."""
    handler = functools.partial(_Quiet, directory=str(folder.parents[1]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/a%20path/site/"
        server.shutdown()


@pytest.fixture(params=["http", "file"])
def browser(
    request: pytest.FixtureRequest, driver: WebDriver, folder: Path, served: str
) -> Browser:
    """The site in the browser, from a server and from a folder."""
    base = served if request.param == "http" else f"{folder.as_uri()}/"
    found = Browser(driver=driver, base=base)
    found.requests()
    found.complaints()
    return found


@pytest.fixture
def online(driver: WebDriver, served: str) -> Browser:
    """The site in the browser, from a server alone."""
    return Browser(driver=driver, base=served)


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, by its hash."""
    if not shutil.which("npm"):
        pytest.skip("there is no npm, which has axe-core")
    place = tmp_path_factory.mktemp("axe")
    ran = subprocess.run(
        ["npm", "pack", "--silent", AXE],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if ran.returncode:
        pytest.skip(f"npm cannot get {AXE}: {ran.stderr[-300:]}")
    archive = place / ran.stdout.strip().splitlines()[-1]
    assert base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() == AXE_SHA512
    with tarfile.open(archive) as opened:
        script = opened.extractfile("package/axe.min.js")
        assert script
        return script.read().decode()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
