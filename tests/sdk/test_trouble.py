"""A server killed under traffic, clients that read nothing: the official SDKs come back and miss nothing."""

from __future__ import annotations

import itertools
import threading
import uuid

import pytest

from tests.delivery.served import furnish, publish
from tests.serving import Server

from .conftest import ALL, Clients

PACE_S = 0.05


class Publisher(threading.Thread):
    """Publishes 1, 2, 3…, each until it is acknowledged: the same value again is no publication."""

    def __init__(self, server: Server, slug: str) -> None:
        super().__init__()
        self._server = server
        self._slug = slug
        self._stopping = threading.Event()
        self.last = 0

    def run(self) -> None:
        for number in itertools.count(1):
            while not self._publish(number):
                self._stopping.wait(PACE_S)
            self.last = number
            if self._stopping.wait(PACE_S):
                return

    def _publish(self, number: int) -> bool:
        try:
            publish(self._server, self._server.token, self._slug, number)
        except OSError:
            return False
        return True

    def stop(self) -> int:
        """The last number, once it is acknowledged."""
        self._stopping.set()
        self.join(60)
        return self.last


def test_a_killed_server_comes_back_and_every_client_has_everything_once(
    any_client: Clients, hub: Server
) -> None:
    slug = f"f{uuid.uuid4().hex}"
    furnish(hub, slug)
    name = f"feed:{slug}"
    everybody = [any_client.open(kind=kind) for kind in ALL]
    deltas = itertools.cycle([{}, {"delta": "fossil"}])
    for client in everybody:
        client.enter()
        client.join(name, recoverable=True, **next(deltas))
    publisher = Publisher(hub, slug)
    publisher.start()
    try:
        heard = [client.values(name, 10) for client in everybody]
        hub.kill()
        for client in everybody:
            client.next("subscribing", name)
            client.next("subscribing", name)
        hub.start()
        for client, values in zip(everybody, heard, strict=True):
            assert client.next("subscribed", name)["recovered"]
            values += client.values(name, 10)
    finally:
        last = publisher.stop()
    for client, values in zip(everybody, heard, strict=True):
        assert values + client.values(name, last - len(values)) == list(range(1, last + 1))
        assert "publication" not in client.heard.kinds()


@pytest.mark.parametrize("clients", ["python json", "node protobuf"], indirect=True)
def test_a_client_that_reads_nothing_is_cut_off_and_its_neighbour_is_not(
    clients: Clients, hub: Server
) -> None:
    slug = f"f{uuid.uuid4().hex}"
    furnish(hub, slug)
    name = f"feed:{slug}"
    # The neighbour is told first: what the slow one is told then is made already.
    sdk, codec = clients.kind.split()
    neighbour = clients.open(kind=f"{'node' if sdk == 'python' else 'python'} {codec}")
    slow = clients.open()
    for each in (neighbour, slow):
        each.enter()
        each.join(name, recoverable=True)
    slow.freeze()
    values = [[number, "x" * 250_000] for number in range(40)]  # twice what the network's buffers take
    for value in values:
        publish(hub, hub.token, slug, value)
    slow.thaw()  # before the server gives up waiting for an answer to its goodbye
    assert neighbour.values(name, len(values)) == values
    assert slow.next("connecting")["code"] == 0
    assert slow.next("connecting")["code"] == 3008
    slow.next("subscribed", name)
    publish(hub, hub.token, slug, "after")
    while slow.next("publication", name)["data"] != "after":
        pass
    assert "connecting" not in neighbour.heard.kinds()[1:]
