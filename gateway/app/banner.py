"""What a start says to the person who started it. Secrets are in it once, and only here."""

from collections.abc import Mapping

from gateway.app import trying
from gateway.config import Config
from gateway.core.routing import Directory
from gateway.providers import catalog
from gateway.store.installation import FirstStart


def first(
    base_url: str, given: FirstStart, config: Config, spoken: Mapping[str, Directory]
) -> list[str]:
    """Return the lines of a first start: where, the first token, the owner's link, a call to try."""
    site = base_url.removesuffix("/v1")
    token = given.client.secret.reveal()
    return [
        *_where(base_url, config),
        f"Client token: {token}",
        f"Owner sign-in (once, within 30 minutes): {site}/console/sign-in/{given.owner_link.reveal()}",
        *trying.lines(site, token, config, spoken),
    ]


def again(base_url: str, config: Config) -> list[str]:
    """Return the lines of every later start."""
    commands = "gateway tokens create NAME; a link to sign in: gateway sign-in-link"
    return [*_where(base_url, config), f"A token for a client: {commands}"]


def jobs_only() -> list[str]:
    """Return the lines of a process that serves no calls."""
    return ["Jobs alone are done here: no calls are served."]


def _where(base_url: str, config: Config) -> list[str]:
    lines = [f"Base URL: {base_url}", *_other_urls(base_url.removesuffix("/v1"), config)]
    others = [name for name, one in config.providers.items() if not one.is_sandbox]
    if len(others) == len(config.providers):
        return lines
    if others:
        sandbox = "the built-in sandbox (no model, nothing is billed)"
        return [*lines, f"Providers: {', '.join(others)}, and {sandbox}"]
    return [
        *lines,
        "Provider: the built-in sandbox answers (no model, nothing is billed). "
        "Set OPENAI_API_KEY (or ANTHROPIC_API_KEY, GEMINI_API_KEY), or providers: in the configuration, for a real one.",
    ]


def _other_urls(site: str, config: Config) -> list[str]:
    """Return where the APIs are that providers speak and OpenAI's SDKs do not."""
    spoken = {one.dialect for one in config.providers.values()}
    return [
        f"Base URL for {dialect}: {site}{path}"
        for dialect, path in catalog.PATHS.items()
        if dialect in spoken and dialect != "openai"
    ]


def url(config: Config, port: int) -> str:
    """Return the base URL that an OpenAI SDK on this host is to be given."""
    host = config.listen.host
    shown = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104  # shown, not bound
    bracketed = f"[{shown}]" if ":" in shown else shown
    return f"{'http' if config.listen.tls is None else 'https'}://{bracketed}:{port}/v1"
