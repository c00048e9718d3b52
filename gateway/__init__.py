"""ReasonRank Gateway: a self-hosted LLM gateway whose caps hold."""

from importlib.metadata import version

__version__ = version("reasonrank-gateway")
