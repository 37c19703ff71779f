"""Model folders (bundles), and the built-in ones."""
