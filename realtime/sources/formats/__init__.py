"""One module per format: bytes of an answer in, plain JSON values out. Each refuses what it cannot bound."""
