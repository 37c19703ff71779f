"""The machine below: systemd, malloc, sensors, X11."""
