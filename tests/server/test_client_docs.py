"""The Python in the documentation of client and gateway runs as it stands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from support.gateway_service import running_gateway

from cxr_reason.client import MockTransport
from cxr_reason.gateway.config import GatewayConfig, read_config

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(name, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)


@pytest.fixture
def film(tmp_path, rg1_path, monkeypatch):
    shutil.copy(rg1_path, tmp_path / "film.dcm")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("block", blocks("client.md", "python"))
def test_the_client(block, film, monkeypatch, capsys):
    for module in ("client", "async_client"):
        monkeypatch.setattr(f"cxr_reason.client.{module}.open_transport", lambda _: MockTransport())
    exec(block, {"__name__": "docs"})
    captured = capsys.readouterr().out
    assert captured or "conversation" in block or "MockTransport" in block


def test_the_gateway(film, capsys):
    (block,) = blocks("gateway.md", "python")
    with running_gateway(MockTransport()) as gateway:
        exec(block.replace("http://127.0.0.1:8080", gateway.url), {})
    assert capsys.readouterr().out == "The heart is large.\nCardiomegaly\n"


def test_the_config_shows_the_defaults(tmp_path):
    (block,) = blocks("gateway.md", "toml")
    path = tmp_path / "gateway.toml"
    path.write_text(block)
    config = read_config(path)
    assert len(config.keys) == 1
    assert config == GatewayConfig(keys=config.keys)
