"""Tests of the edge run on both event loops: uvloop serves, asyncio shows that nothing relies on it."""

import asyncio

import pytest
import uvloop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item):
    if item.path.stem == "test_edge":
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}
