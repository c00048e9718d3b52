"""ReasonRank Gateway: a self-hosted LLM gateway whose caps hold."""
