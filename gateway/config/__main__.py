"""`python -m gateway.config` writes `configs/gateway.schema.json`, from the project's own folder."""

from pathlib import Path

from gateway.config import schema_text

if __name__ == "__main__":
    Path("configs/gateway.schema.json").write_text(schema_text(), encoding="utf-8")
