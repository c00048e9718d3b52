"""A stand-in for the gateway that tests can kill: runs the embedded PostgreSQL until it is ended.

Prints one line, the server's process id and its URL, when the database answers, or what failed.
"""

import asyncio
import sys
from pathlib import Path

from gateway.errors import GatewayError
from gateway.store.embedded import EmbeddedPostgres


async def main() -> None:
    async with EmbeddedPostgres(Path(sys.argv[1]), report=lambda _: None) as server:
        print(server.pid, server.dsn, flush=True)
        await server.watch()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except GatewayError as error:
        print(type(error).__name__, error, flush=True)
