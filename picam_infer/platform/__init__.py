"""The machine itself: systemd, malloc, sensors, X11."""
