"""Versions exchanged over the wire while clients ask; a corrupt one is refused."""

import httpx
import pytest

from tests.chaos.crowd import Crowd
from tests.chaos.running import scaled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


async def test_reloads_under_load_fail_no_request(launch):
    reloads = scaled(6, least=2)
    async with launch("--wait-s", "0.01", "--read-weights", admin_key="boss") as service:
        url = f"{service.url}/v1/models/hand"
        crowd = Crowd(service, clients=8)
        async with crowd.asking(), httpx.AsyncClient(timeout=120) as admin:

            async def reload(version: str) -> httpx.Response:
                return await admin.post(
                    f"{url}:reload", params={"version": version}, headers={"x-api-key": "boss"}
                )

            for index in range(reloads):
                version = "21"[index % 2]
                moved = await reload(version)
                assert (moved.status_code, moved.json()["version"]) == (200, version)
                await crowd.answered(8)
                refused = await reload("3")
                assert (refused.status_code, refused.json()["code"]) == (422, "invalid_model")
                assert "epoch-02.safetensors" in refused.json()["detail"]
                assert (await admin.get(url)).json()["version"] == version
                await crowd.answered(8)
            assert (await admin.post(f"{url}:reload")).status_code == 403
        assert await service.end() == 0
    crowd.check()
    assert set(crowd.codes) == {"whole"}
    by_version = {v: sum(r.version == v for r in crowd.replies.values()) for v in ("1", "2")}
    assert min(by_version.values()) > 0
    assert sum(by_version.values()) == crowd.sent
    print(f"{reloads} reloads, {reloads} refused: {crowd.sent} requests whole, {by_version}")
