"""The HTTP surface: data plane, admin API, operations."""
