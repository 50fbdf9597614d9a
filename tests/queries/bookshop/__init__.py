"""An app for tests alone, with every kind of relation and column that a footprint must understand."""
