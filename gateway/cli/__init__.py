"""The command `gateway`: what it understands, what it prints, and its exit codes.

0: done. 1: refused or failed, with one line on standard error. 2: wrong usage, likewise. Management
commands speak to the API of a running gateway and decide nothing themselves.
"""

from gateway.cli.application import main

__all__ = ["main"]
