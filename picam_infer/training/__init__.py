"""Training the digit model, teaching classes from pictures, and compiling models for the Movidius stick."""
