import pytest

from gateway.core import access
from gateway.core.access import GRANTED, ROUTES, Open, Permission

SEES = {"see the API's description", "see usage", "estimate"}
SETS = {
    "see the API's description",
    "estimate",
    "make runs",
    "set budgets",
    "throw a kill switch",
    "lift a kill switch",
    "resolve unsettled money",
    "set prices",
    "set tokens",
}
TABLE = {
    "llm:call": set(),
    "usage:read": SEES,
    "admin:read": SEES | {"see settings"},
    "admin:write": SETS,
    "admin:*": SEES | SETS | {"see settings", "admit owners"},
    "nonsense": set(),
}


@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("scope", TABLE)
def test_who_may_do_what(scope: str, permission: Permission):
    assert access.may({scope}, permission) == (permission.value in TABLE[scope])


def test_scopes_add_up():
    assert access.may({"usage:read", "admin:write"}, Permission.SEE_USAGE)
    assert access.may({"usage:read", "admin:write"}, Permission.KILL)
    assert not access.may({"usage:read", "admin:write"}, Permission.SEE_SETTINGS)


def test_only_what_shows_nothing_of_the_workspace_is_open():
    opened = {path for (_, path), needed in ROUTES.items() if isinstance(needed, Open)}
    assert opened == {
        "/status",
        "/console",
        "/console/assets/{name}",
        "/console/sign-in/{secret}",
        "/console/sign-out",
    }


def test_nobody_gives_away_more_than_they_have():
    writer = frozenset({"admin:write"})
    assert access.beyond(writer, ["llm:call", "usage:read", "admin:write"]) == []
    assert access.beyond(writer, ["llm:call", "admin:read", "admin:*"]) == ["admin:read", "admin:*"]
    assert access.beyond(frozenset({"admin:*"}), GRANTED) == []


def test_a_token_for_usage_alone_is_confined_to_its_project():
    assert access.is_confined({"usage:read", "llm:call"})
    assert not access.is_confined({"usage:read", "admin:read"})


@pytest.mark.parametrize("permission", Permission)
def test_the_scope_that_is_named_as_missing_gives_the_permission(permission: Permission):
    assert access.may({access.missing(permission)}, permission)
