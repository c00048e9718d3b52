"""The one tree of failures. A refusal is a value (`core.refusal`), never one of these.

GatewayError
├── ConfigurationInvalid      the file or the environment says something impossible
├── StateUnusable             the state folder or the embedded database can't be used
│   └── StateBusy             another gateway holds it
├── SchemaUnusable            the database's schema is newer, changed or half migrated
├── LedgerUnavailable         money can't be counted now, so nothing may be spent
│   └── ReplicaRetired        its money was resolved by hand while it was away: never again
└── UpstreamFailed            a provider did not answer as HTTP
    ├── UpstreamUnreachable   nothing was sent: certainly not billed
    ├── UpstreamLost          sent, then broken off: may have been billed
    └── UpstreamTimedOut      sent, no answer in time: may have been billed
"""


class GatewayError(Exception):
    """Any failure of ours. `str()` is one line that says what to do next, and never holds a secret."""


class ConfigurationInvalid(GatewayError):
    """The configuration can't be used; the text names the path, what was found, what is allowed."""


class StateUnusable(GatewayError):
    """The state folder or the embedded database in it can't be used."""


class StateBusy(StateUnusable):
    """Another gateway already runs on this state folder."""


class SchemaUnusable(GatewayError):
    """The database's schema does not fit this release."""


class LedgerUnavailable(GatewayError):
    """The ledger can't be reached or this replica's lease has ended: nothing may be admitted."""


class ReplicaRetired(LedgerUnavailable):
    """This replica was taken for dead and its unsettled money resolved by hand: it must end."""


class UpstreamFailed(GatewayError):
    """A provider did not give a complete HTTP answer."""


class UpstreamUnreachable(UpstreamFailed):
    """No request byte left: refused, no such host, TLS failed. Certainly nothing was billed."""


class UpstreamLost(UpstreamFailed):
    """The connection broke, or spoke no HTTP, after the request was sent. It may be billed."""


class UpstreamTimedOut(UpstreamFailed):
    """The request was sent and the answer, or its next byte, did not come in time."""
