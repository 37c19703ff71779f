"""The operating system: systemd, malloc, sensors, X11."""
