"""Every metric and log event of the gateway. See `recorder` for what can be told.

Make a `Journal` on standard error, and one `Telemetry` on it: there is nothing global here but what
`Telemetry.libraries_captured` takes over, which is the process's and given back.
"""

from gateway.telemetry.exposition import ConnectionState, UpstreamConnections
from gateway.telemetry.journal import STANDARD_ERROR, Journal, write_to
from gateway.telemetry.recorder import Telemetry
from gateway.telemetry.series import BudgetFigures

__all__ = [
    "STANDARD_ERROR",
    "BudgetFigures",
    "ConnectionState",
    "Journal",
    "Telemetry",
    "UpstreamConnections",
    "write_to",
]
