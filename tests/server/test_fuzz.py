"""Requests at random get an answer that is no failure; `python -m tests.server.fuzz` sends more of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.fuzz import SLOW, Shot, Target
from tests.server.live import LiveServer, live_server

pytestmark = pytest.mark.extras

EXAMPLES = 2000 if os.environ.get("CI") else 400


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("server")) as live:
        yield live


def test_send_requests_at_random_are_answered_without_failure(server: LiveServer) -> None:
    with Target(server) as target:
        strategy: st.SearchStrategy[Shot] = target.strategy()

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=SLOW)
        @given(strategy)
        def fire(shot: Shot) -> None:
            target.fire(shot)

        fire()
    assert target.statuses[200] > EXAMPLES / 50, target.statuses
    assert target.statuses[400] > EXAMPLES / 10, target.statuses
    assert "Traceback" not in server.log.read_text()
