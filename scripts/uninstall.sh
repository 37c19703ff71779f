#!/usr/bin/env bash
# Removes the service and its program. Settings and models stay, unless --purge is given.
set -euo pipefail

fail() {
    echo "uninstall: $*" >&2
    exit 1
}

purge=no
case ${1:-} in
    '') ;;
    --purge) purge=yes ;;
    -h | --help)
        echo "usage: sudo $0 [--purge]    --purge: settings, models and the service's user too"
        exit 0
        ;;
    *) fail "unknown option $1; see $0 --help" ;;
esac
[ "$(id -u)" = 0 ] || fail "needs root: sudo $0 $*"
[ "$(dpkg-query -W -f '${db:Status-Status}' picam-infer 2>/dev/null)" != installed ] ||
    fail "picam-infer is installed as a Debian package: sudo apt remove picam-infer (or purge)"

mapfile -t units < <(systemctl list-units --all --plain --no-legend 'picam-infer*.service' | awk '{print $1}')
[ ${#units[@]} -eq 0 ] || systemctl stop "${units[@]}"
mapfile -t units < <(systemctl list-unit-files --no-legend --state=enabled 'picam-infer*.service' | awk '{print $1}')
[ ${#units[@]} -eq 0 ] || systemctl disable -q "${units[@]}"
rm -f /etc/systemd/system/picam-infer.service /etc/systemd/system/picam-infer@.service \
    /etc/udev/rules.d/99-picam-infer-*.rules /etc/polkit-1/rules.d/50-picam-infer.rules \
    /etc/xdg/autostart/picam-infer.desktop /usr/share/applications/picam-infer.desktop \
    /usr/share/icons/hicolor/scalable/apps/picam-infer.svg /usr/local/bin/picam-infer \
    /usr/local/share/man/man1/picam-infer.1 /usr/local/share/man/man5/picam-infer.yaml.5
systemctl daemon-reload
systemctl reset-failed 'picam-infer*' 2>/dev/null || true
udevadm control --reload
rm -rf /opt/picam-infer /var/cache/picam-infer /run/picam-infer-install.lock
if [ $purge = yes ]; then
    rm -rf /etc/picam-infer /var/lib/picam-infer
    rm -rf /etc/systemd/system/picam-infer.service.d /etc/systemd/system/picam-infer@*.service.d
    systemctl daemon-reload
    ! id picam-infer >/dev/null 2>&1 || userdel picam-infer
    echo "uninstall: everything is gone"
else
    echo "uninstall: done; kept: /etc/picam-infer and /var/lib/picam-infer (--purge removes them too)"
fi
