"""Pictures: JPEG headers, decoding, crops, letterboxing, picture files."""
