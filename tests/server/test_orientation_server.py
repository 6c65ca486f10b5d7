"""The side of a finding does not depend on how its film is stored: through a real tritonserver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stored_forms import SEEDS, check_sides, effusion_forms

from cxr_reason.client import Client
from cxr_reason.engine.config import EngineConfig
from cxr_reason.reading.reading import Reading
from cxr_reason.serving.addresses import Addresses
from cxr_reason.serving.launcher import TritonServer
from cxr_reason.serving.settings import ServingSettings

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def trained_server(trained_engine_dir: Path) -> Iterator[TritonServer]:
    """A tritonserver over the trained checkpoint: only its readings name sides."""
    settings = ServingSettings(trained_engine_dir, EngineConfig(max_batch=4))
    with TritonServer(settings, addresses=Addresses.free()) as server:
        yield server


def test_effusions_stay_on_their_side(trained_server: TritonServer, tmp_path: Path) -> None:
    with Client(trained_server.grpc_address) as client:
        for side in SEEDS:
            forms = effusion_forms(side, tmp_path)
            results = client.read_many(forms, max_tokens=400, concurrency=4)
            readings = [result for result in results if isinstance(result, Reading)]
            assert len(readings) == len(forms)
            check_sides(readings, side)
            # Eight files, so eight films to the server: none came from what it keeps.
            assert len({reading.film.image_digest for reading in readings if reading.film}) == 8
