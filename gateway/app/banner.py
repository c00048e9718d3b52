"""What a start says to the person who started it. Secrets are in it once, and only here."""

from gateway.config import Config
from gateway.store.installation import FirstStart


def first(base_url: str, given: FirstStart, config: Config) -> list[str]:
    """Return the lines of a first start: where, the first token, the owner's link, a call to try."""
    site = base_url.removesuffix("/v1")
    token = given.client.secret.reveal()
    model = "sandbox/echo" if any(p.is_sandbox for p in config.providers.values()) else "MODEL"
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    return [
        *again(base_url, config),
        f"Client token: {token}",
        f"Owner sign-in (once, within 30 minutes): {site}/console/sign-in/{given.owner_link.reveal()}",
        "Try it:",
        f"  curl {base_url}/chat/completions -H 'Authorization: Bearer {token}' "
        f"-H 'Content-Type: application/json' -d '{body}'",
    ]


def again(base_url: str, config: Config) -> list[str]:
    """Return the lines of every start."""
    lines = [f"Base URL: {base_url}"]
    if any(provider.is_sandbox for provider in config.providers.values()):
        lines.append(
            "Provider: the built-in sandbox answers (no model, nothing is billed). "
            "Set OPENAI_API_KEY, or providers: in the configuration, for a real one."
        )
    return lines


def url(config: Config, port: int) -> str:
    """Return the base URL that an OpenAI SDK on this host is to be given."""
    host = config.listen.host
    shown = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104  # shown, not bound
    bracketed = f"[{shown}]" if ":" in shown else shown
    return f"{'http' if config.listen.tls is None else 'https'}://{bracketed}:{port}/v1"
