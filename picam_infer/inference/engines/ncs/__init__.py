"""The Movidius Neural Compute Stick: an engine whose library lives in a child process."""
