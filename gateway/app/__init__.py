"""The one composition root: builds, wires, runs, closes. What the commands on this host call."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import uvloop

from gateway.app import lifecycle, standing, supervising
from gateway.app.clock import SystemClock
from gateway.app.opening import Place
from gateway.app.process import journal, one_line
from gateway.config import find, load
from gateway.store import migrate as migrations, state_folder
from gateway.store.database import connect
from gateway.store.embedded import EmbeddedPostgres
from gateway.store.replicas import Role


def serve(
    config_path: Path | None,
    environ: Mapping[str, str],
    *,
    workers: int = 1,
    role: str = Role.ALL.value,
) -> None:
    """Serve until told to stop. Raises GatewayError, whose text is one line for the operator.

    Several `workers` are processes of their own on one port; one is this process itself. `role` is
    one of `Role`'s.
    """
    config = load(config_path, environ)
    place = Place(state_folder.resolve(environ), environ, find(config_path, environ))
    clock = SystemClock()
    begin = lifecycle.serve if workers == 1 else partial(supervising.serve, workers=workers)
    uvloop.run(one_line(begin(config, place, Role(role), journal(clock), clock)))


def check(config_path: Path | None, environ: Mapping[str, str]) -> None:
    """Raise ConfigurationInvalid where `serve` would, for what the configuration alone tells."""
    standing.standing(load(config_path, environ), SystemClock().utc().date())


def migrate(config_path: Path | None, environ: Mapping[str, str], *, check: bool) -> list[str]:
    """Bring the database's schema up to date, or only say what that would apply.

    Raises GatewayError: the database can't be reached, or its schema does not fit this release.
    """
    return uvloop.run(_migrate(config_path, environ, check=check))


async def _migrate(
    config_path: Path | None, environ: Mapping[str, str], *, check: bool
) -> list[str]:
    config = load(config_path, environ)
    if config.database_url is not None:
        return await _apply(config.database_url.reveal(), check=check)
    folder = state_folder.resolve(environ)
    async with EmbeddedPostgres(folder, report=lambda _: None) as server:
        return await _apply(server.dsn, check=check)


async def _apply(dsn: str, *, check: bool) -> list[str]:
    async with connect(dsn, size=1) as database, database.direct() as connection:
        act = migrations.pending if check else migrations.migrate
        return [str(migration) for migration in await act(connection)]
