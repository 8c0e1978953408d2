"""When a frontend takes itself for ready."""

from __future__ import annotations

from dynamo_core.runtime.own_server import OPENING, ROUTES, SETTLING, Routes


class Server:
    """A double of the frontend's own server, and of the time."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.now = 0.0
        self.routes = Routes(self.open.__contains__, lambda: self.now)


def test_a_model_is_ready_once_one_of_its_routes_is_open() -> None:
    for route in ROUTES:
        server = Server()
        assert not server.routes.lead_to([])
        assert not server.routes.lead_to(["tiny"])
        server.open.add(route)
        assert not server.routes.lead_to(["tiny"])
        server.now = SETTLING
        assert server.routes.lead_to(["tiny"])
        assert server.routes.lead_to(["tiny", "another"])
        assert not server.routes.lead_to([])


def test_a_model_whose_routes_stay_closed_is_not_ready() -> None:
    server = Server()
    assert not server.routes.lead_to(["tiny"])
    server.now = SETTLING
    assert not server.routes.lead_to(["tiny"])


def test_a_model_that_opens_no_route_is_ready_after_a_moment() -> None:
    server = Server()
    assert not server.routes.lead_to(["embedder"])
    server.now = OPENING + 0.1
    assert server.routes.lead_to(["embedder"])
    assert server.routes.lead_to(["embedder", "another"])


def test_a_model_that_comes_back_is_waited_for_again() -> None:
    server = Server()
    assert not server.routes.lead_to(["tiny"])
    server.now = OPENING + 0.1
    assert not server.routes.lead_to([])
    assert not server.routes.lead_to(["tiny"])
