"""Training the digit model, and compiling models for the Movidius stick."""
