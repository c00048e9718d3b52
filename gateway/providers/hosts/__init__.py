"""Where providers are: URL, headers, signature."""
