"""The site of a quarter of the images, made once; `make test-site` looks at all."""

from __future__ import annotations

import pytest

from builder.site.pages import files
from builder.site.records import Catalog
from tests import site_samples

EACH = 4


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return site_samples.real(each=EACH)


@pytest.fixture(scope="session")
def site(catalog: Catalog) -> dict[str, bytes]:
    return files(catalog)
