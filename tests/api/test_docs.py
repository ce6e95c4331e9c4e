import re

import pytest

from tests.api.conftest import Rest


async def test_the_page_asks_nobody_but_this_service(rest: Rest) -> None:
    page = await rest.client.get("/docs")
    assert page.status_code == 200
    asked = re.findall(r"""(?:src|href)=["']([^"']+)|url: '([^']+)""", page.text)
    urls = [one or other for one, other in asked]
    assert len(urls) >= 4
    for url in urls:
        assert url.startswith("/"), url
        assert (await rest.client.get(url)).status_code == 200, url


@pytest.mark.parametrize("path", ["../../conftest.py", "nothing.js"])
async def test_only_assets_are_served(rest: Rest, path: str) -> None:
    assert (await rest.client.get(f"/docs/assets/{path}")).status_code == 404
