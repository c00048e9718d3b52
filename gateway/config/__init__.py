"""The configuration: bytes and the environment to one frozen `Config`, or one line that says why not.

`parse` is pure. `load` is the thin edge that finds and reads the file. Sections are in `sections`,
values that YAML can't name (durations, dollars, secrets) in `forms`. Nothing is guessed and nothing
ignored: what is unknown, impossible or not supported by this release is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.config import document
from gateway.config.checks import check
from gateway.config.decoding import decode
from gateway.config.offered import offered
from gateway.config.reload import reloadable
from gateway.config.schema import schema, schema_text
from gateway.config.sections import Config
from gateway.config.wording import Tree
from gateway.errors import ConfigurationInvalid

DEFAULT_FILE: Final = Path("configs/gateway.yaml")
_VARIABLE: Final = "GATEWAY_CONFIG"


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Return the configuration of a file (`find` says which) and the environment.

    Raises:
        ConfigurationInvalid: the file can't be read, or can't be used; the line begins with its name.
    """
    found = find(path, environ)
    if found is None:
        return parse(b"", environ)
    try:
        return parse(found.read_bytes(), environ)
    except OSError as error:
        message = f"{found}: can't be read: {error.strerror}"
        raise ConfigurationInvalid(message) from error
    except ConfigurationInvalid as error:
        message = f"{found}: {error}"
        raise ConfigurationInvalid(message) from error


def find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: the one given, else `GATEWAY_CONFIG`'s, else `DEFAULT_FILE` if it is there.

    `None` means the built-in defaults.
    """
    if path is not None:
        return path
    named = environ.get(_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def parse(source: bytes, environ: Mapping[str, str]) -> Config:
    """Return the configuration that a file's bytes and the environment describe.

    Raises:
        ConfigurationInvalid: with one line: the path, what was found, what is allowed.
    """
    tree = document.read(source)
    config = decode(Config, _with_providers(tree, environ), environ)
    check(config)
    return config


def _with_providers(tree: dict[str, Tree], environ: Mapping[str, str]) -> dict[str, Tree]:
    """Return the tree with the providers that the environment offers, where the file has no say.

    Without any the section is left out, and its default is the sandbox.
    """
    found = {} if "providers" in tree else offered(environ)
    if found:
        return tree | {"providers": found}
    if tree.get("providers") == {}:
        return {key: value for key, value in tree.items() if key != "providers"}
    return tree


__all__ = [
    "DEFAULT_FILE",
    "Config",
    "find",
    "load",
    "parse",
    "reloadable",
    "schema",
    "schema_text",
]
