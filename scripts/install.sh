#!/usr/bin/env bash
# Installs picam-infer as a service, or upgrades it in place. Run it again at any time: each step can be interrupted.
#
#   sudo scripts/install.sh                  from this folder, libraries from PyPI
#   sudo scripts/install.sh --wheels DIR     without a network: every library from a folder of wheels
#   scripts/install.sh --fetch DIR           on a machine with a network: fill that folder
#
#   --no-start    install and check, but do not start the service
#   --help        this text
#
# What goes where: program /opt/picam-infer, settings /etc/picam-infer, models /var/lib/picam-infer/models.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
opt=/opt/picam-infer
etc=/etc/picam-infer
user=picam-infer
wheels='' fetch='' start=yes
new='' building=''

say() { echo "install: $*"; }
fail() {
    echo "install: $*" >&2
    exit 1
}

main() {
    parse "$@"
    refuse_wrong_machine
    if [ -n "$fetch" ]; then
        fetch_wheels
        return
    fi
    [ "$(id -u)" = 0 ] || fail "needs root: sudo $0 $*"
    command -v systemctl >/dev/null || fail "needs systemd: picam-infer runs as its service"
    exec 9>/run/picam-infer-install.lock
    # Also what an installation that was killed left running: it would go on writing beside this one.
    flock -n 9 || { say "waiting for another installation to end" && flock -w 900 9; } ||
        fail "another installation is still under way: sudo fuser -v /run/picam-infer-install.lock names it"
    trap clean_up EXIT
    system_packages
    account
    build
    settings
    system_files
    switch
    say "done: picam-infer $("$opt/current/bin/picam-infer" --version | awk '{print $2}')"
    where_to_look
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --wheels | --fetch)
                [ $# -gt 1 ] || fail "$1 needs a folder"
                [ "$1" = --fetch ] || [ -d "$2" ] || fail "$2: no such folder"
                mkdir -p "$2"
                if [ "$1" = --wheels ]; then wheels=$(cd "$2" && pwd); else fetch=$(cd "$2" && pwd); fi
                shift
                ;;
            --no-start) start=no ;;
            -h | --help)
                sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0"
                exit 0
                ;;
            *) fail "unknown option $1; see $0 --help" ;;
        esac
        shift
    done
}

refuse_wrong_machine() {
    local system=unknown arch
    arch=$(dpkg --print-architecture 2>/dev/null || uname -m)
    case $arch in
        arm64 | amd64 | aarch64 | x86_64) ;;
        *) fail "this system is 32-bit ($arch), and OpenVINO has no 32-bit packages: install the 64-bit Raspberry Pi OS" ;;
    esac
    # shellcheck disable=SC1091
    [ ! -r /etc/os-release ] || system=$(. /etc/os-release && echo "${ID:-} ${VERSION_ID:-}")
    case $system in
        "debian 12" | "debian 13" | "raspbian 12" | "raspbian 13") ;;
        "debian "[0-9] | "debian 1"[01] | "raspbian "*) fail "$system is too old: Bookworm (12) or newer is needed" ;;
        *) say "note: $system has not been tried; Debian and Raspberry Pi OS 12 and 13 have" ;;
    esac
}

# Libraries that OpenCV's wheel and the stick load from the system, and the journal's fields.
system_packages() {
    local missing=() pair known
    known=$(/sbin/ldconfig -p) # whole, at once: a pipe that `grep -q` closes early looks like a failure
    for pair in libGL.so.1:libgl1 libglib-2.0.so.0:libglib2.0-0 libxcb.so.1:libxcb1 libX11.so.6:libx11-6 \
        libXext.so.6:libxext6 libSM.so.6:libsm6 libICE.so.6:libice6 libusb-1.0.so.0:libusb-1.0-0; do
        grep -q "${pair%%:*} " <<<"$known" || missing+=("${pair##*:}")
    done
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
    python3 -c 'import systemd.journal' 2>/dev/null || missing+=(python3-systemd)
    [ ${#missing[@]} -gt 0 ] || return 0
    say "system packages: ${missing[*]}"
    if apt_get "${missing[@]}" || { apt-get update -q >/dev/null && apt_get "${missing[@]}"; }; then
        return 0
    fi
    if [ "${missing[*]}" = python3-systemd ]; then
        say "note: without python3-systemd log lines carry no fields"
    else
        fail "apt-get could not install: ${missing[*]}. With no network, install these .deb files first"
    fi
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1; }

account() {
    local group
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "needs Python 3.11 or newer"
    if ! id "$user" >/dev/null 2>&1; then
        useradd --system --user-group --home-dir /var/lib/picam-infer --no-create-home --shell /usr/sbin/nologin \
            --comment "picam-infer service" "$user"
    fi
    for group in video render input plugdev tty; do
        getent group "$group" >/dev/null || groupadd --system "$group"
        usermod -aG "$group" "$user"
    done
}

# The new version gets a folder of its own; the running one is not touched.
build() {
    local name
    name=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/picam_infer/__init__.py")-$(date +%Y%m%d%H%M%S)
    install -d -m 755 "$opt" "$opt/versions"
    remove_unfinished
    new=$opt/versions/$name building=$new
    say "building $new (a few minutes on a Pi)"
    # The system's own packages stay visible: python3-systemd, and picamera2 for ribbon-cable cameras.
    python3 -m venv --system-site-packages "$new"
    pip_install "$new/bin/python"
    sync -f "$opt"
    touch "$new/.complete"
    building=
}

pip_install() {
    local source
    if [ -n "$wheels" ]; then
        source=$(own_wheel)
        "$1" -m pip install -q --disable-pip-version-check --no-index --find-links "$wheels" "$source$(extras)"
        return
    fi
    source=$(copy_of_source)
    "$1" -m pip install -q --disable-pip-version-check "$source$(extras)"
    rm -rf "$source"
}

# What a configuration that is there asks for: messages through Apprise.
extras() {
    ! grep -Eqs '^[^#]*kind: *["'\'']?notify\b' "$etc"/*.yaml || echo '[notify]'
}

own_wheel() {
    local found
    found=$(find "$wheels" -name 'picam_infer-*.whl' | sort -V | tail -1)
    [ -n "$found" ] || fail "$wheels holds no picam_infer wheel: fill it with $0 --fetch DIR"
    echo "$found"
}

# pip leaves its traces in the folder that it builds from.
copy_of_source() {
    local copy
    copy=$(mktemp -d /tmp/picam-infer.XXXXXX)
    cp -r "$root"/{picam_infer,setup.cfg,pyproject.toml,README.md,LICENSE} "$copy/"
    echo "$copy"
}

fetch_wheels() {
    local source
    source=$(copy_of_source)
    python3 -m pip wheel -q --disable-pip-version-check -w "$fetch" "$source[notify]"
    rm -rf "$source"
    say "$(find "$fetch" -name '*.whl' | wc -l) wheels in $fetch, for $(python3 -V) on $(uname -m)"
}

settings() {
    install -d -m 755 -o "$user" -g "$user" "$etc" /var/lib/picam-infer /var/lib/picam-infer/models
    if [ -e "$etc/config.yaml" ]; then
        put "$root/config/picam-infer.yaml" "$etc/config.yaml.dist"
    else
        put "$root/config/picam-infer.yaml" "$etc/config.yaml"
        chown "$user:$user" "$etc/config.yaml"
    fi
}

system_files() {
    put "$root/systemd/picam-infer.service" /etc/systemd/system/picam-infer.service
    put "$root/systemd/picam-infer@.service" /etc/systemd/system/picam-infer@.service
    put "$root/systemd/99-picam-infer-ncs.rules" /etc/udev/rules.d/99-picam-infer-ncs.rules
    install -d /etc/xdg/autostart
    put "$root/systemd/picam-infer.desktop" /etc/xdg/autostart/picam-infer.desktop
    install -d /usr/local/bin
    link "$opt/current/bin/picam-infer" /usr/local/bin/picam-infer
    systemctl daemon-reload
    udevadm control --reload
    udevadm trigger --subsystem-match=usb --attr-match=idVendor=03e7 || true
}

# A whole file or none, whatever happens in between.
put() {
    local part
    part=$(mktemp "$2.XXXXXX")
    install -m 644 "$1" "$part"
    sync "$part"
    mv -f "$part" "$2"
}

link() {
    ln -sfn "$1" "$2.new"
    mv -fT "$2.new" "$2"
}

# The new version takes over only when it passes its check and starts; else the old one goes on.
switch() {
    local old
    old=$(readlink "$opt/current" 2>/dev/null || true)
    say "checking"
    if ! check; then
        back "$old" "the check of the new version failed"
    fi
    link "$new" "$opt/current"
    systemctl enable -q picam-infer
    if [ "$start" = yes ]; then
        say "starting"
        if ! systemctl restart picam-infer; then
            journalctl -u picam-infer -n 8 --no-pager -o cat >&2 || true
            back "$old" "the new version does not start"
        fi
    fi
    find "$opt/versions" -mindepth 1 -maxdepth 1 ! -path "$new" ! -path "${old:-$new}" -exec rm -rf {} +
}

# What a person can still plug in is no reason to stop: only what the new program cannot do counts.
check() {
    local report
    report=$(runuser -u "$user" -- env HOME=/var/lib/picam-infer "$new/bin/picam-infer" check -c "$etc/config.yaml" 9>&-) || true
    while IFS= read -r line; do say "  $line"; done <<<"$report"
    grep -q '^ok' <<<"$report" && ! grep -Eq '^ERROR (system|config|model|openvino):' <<<"$report"
}

back() {
    if [ -n "$1" ] && [ -x "$1/bin/picam-infer" ]; then
        link "$1" "$opt/current"
        [ "$start" = no ] || systemctl restart picam-infer || true
        rm -rf "$new"
        fail "$2: the version before, $(basename "$1"), goes on unchanged"
    fi
    fail "$2; correct what it names, then run this again (settings: $etc/config.yaml)"
}

remove_unfinished() {
    local folder
    for folder in "$opt"/versions/*/; do
        [ ! -d "$folder" ] || [ -e "$folder/.complete" ] || rm -rf "$folder"
    done
}

clean_up() {
    [ -z "$building" ] || rm -rf "$building"
}

where_to_look() {
    cat <<END
  the monitor       shows what the camera sees; without one:  journalctl -fu picam-infer
  how it is         systemctl status picam-infer
  what is wrong     sudo -u $user picam-infer check
  settings          $etc/config.yaml, then: sudo systemctl reload picam-infer
  your own model    into /var/lib/picam-infer/models, its name as \`model:\` in the settings
END
}

main "$@"
