import asyncio

import pytest

from v2vpose.api.mailbox import Mailbox


async def test_a_newer_item_replaces_the_waiting_one_and_is_counted() -> None:
    box: Mailbox[int] = Mailbox(keeps_every=False)
    assert [await box.put(item) for item in (1, 2, 3)] == [None, 1, 2]
    assert await box.get() == 3
    assert box.dropped == 2


async def test_a_sender_waits_for_room_when_every_item_is_kept() -> None:
    box: Mailbox[int] = Mailbox(keeps_every=True)
    await box.put(1)
    second = asyncio.ensure_future(box.put(2))
    done, _ = await asyncio.wait([second], timeout=0.02)
    assert not done
    assert await box.get() == 1
    await second
    assert await box.get() == 2
    assert box.dropped == 0


@pytest.mark.parametrize("keeps_every", [True, False])
async def test_a_receiver_waits_for_an_item(keeps_every: bool) -> None:
    box: Mailbox[int] = Mailbox(keeps_every=keeps_every)
    waiting = asyncio.ensure_future(box.get())
    done, _ = await asyncio.wait([waiting], timeout=0.02)
    assert not done
    await box.put(7)
    assert await waiting == 7


async def test_after_the_close_what_waits_is_taken_and_nothing_more_comes_in() -> None:
    box: Mailbox[int] = Mailbox(keeps_every=True)
    await box.put(1)
    held = asyncio.ensure_future(box.put(2))
    await asyncio.sleep(0)
    await box.close()
    await held
    assert await box.get() == 1
    assert await box.get() is None


async def test_the_senders_failure_comes_after_the_last_item() -> None:
    box: Mailbox[int] = Mailbox(keeps_every=False)
    await box.put(1)
    await box.close(ValueError("broken"))
    assert await box.get() == 1
    with pytest.raises(ValueError, match="broken"):
        await box.get()
