# From systemd 253 on: systemd sends the reload's signal itself and waits until the service says that it has begun and ended one.
# Older ones take a service that is too busy to say so at once for reloaded.
s/^Type=notify$/Type=notify-reload/
/^ExecReload=/d
