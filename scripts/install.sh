#!/usr/bin/env bash
# Installs picam-infer as a service, or upgrades it in place. Run it again at any time: each step can be interrupted.
#
#   sudo scripts/install.sh                  from this folder, libraries from PyPI
#   sudo scripts/install.sh --wheels DIR     without a network: all libraries from a folder of wheels
#   scripts/install.sh --fetch DIR           on a machine with a network: fills that folder
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
new='' building='' scratch='' log=''

say() { echo "install: $*"; }
fail() {
    echo "install: $*" >&2
    exit 1
}

main() {
    parse "$@"
    refuse_wrong_machine
    if [ -n "$fetch" ]; then
        trap clean_up EXIT
        need_network
        fetch_wheels
        return
    fi
    [ "$(id -u)" = 0 ] || fail "needs root: sudo $0 $*"
    command -v systemctl >/dev/null || fail "needs systemd, as picam-infer runs as a service"
    ! installed_as_package || fail "picam-infer is installed as a Debian package: upgrade it with apt, or remove it first"
    exec 9>/run/picam-infer-install.lock
    # Also what an installation that was killed left running: it would go on writing beside this one.
    flock -n 9 || { say "waiting for another installation to end" && flock -w 900 9; } ||
        fail "another installation is still under way: sudo fuser -v /run/picam-infer-install.lock names it"
    trap clean_up EXIT
    remove_unfinished
    [ -n "$wheels" ] || need_network
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
        *) say "note: not tested on $system, only on Debian and Raspberry Pi OS 12 and 13" ;;
    esac
}

installed_as_package() { [ "$(dpkg-query -W -f '${db:Status-Status}' picam-infer 2>/dev/null)" = installed ]; }

# pip itself would notice that after minutes, and report it in a page of text.
need_network() {
    local host
    host=$(python3 "$root/scripts/reach_index.py" 2>/dev/null) || [ -z "$host" ] || fail "$(no_network "$host")"
}

no_network() {
    echo "no network: ${1:-the package index} cannot be reached. Connect it and run this again, or take the wheels from a" \
        "machine of the same kind ($(uname -m), $(python3 -V)): $0 --fetch DIR there, then --wheels DIR here.$(goes_on)"
}

goes_on() { [ ! -e "$opt/current" ] || echo " The previous version continues unchanged."; }

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
    if apt_get "${missing[@]}" || { apt-get update -q >/dev/null 2>&1 && apt_get "${missing[@]}"; }; then
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
    # Whoever installs it may add models and change settings without sudo, from the next login on.
    if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then usermod -aG "$user" "$SUDO_USER"; fi
}

# The new version gets a folder of its own; the running one is not touched.
build() {
    local name old
    name=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/picam_infer/__init__.py")-$(date +%Y%m%d%H%M%S)
    install -d -m 755 "$opt" "$opt/versions"
    # The running version, or one that was built but then failed its check.
    old=$(readlink "$opt/current" || find "$opt/versions" -mindepth 2 -maxdepth 2 -name .complete -printf '%h\n' | sort | tail -n 1)
    new=$opt/versions/$name building=$new
    # On disk: /tmp may be half of a small machine's memory, which the running version needs.
    scratch=$(mktemp -d "$opt/.scratch.XXXXXX") log=$scratch/pip.log
    # The system's own packages stay visible: python3-systemd, and picamera2 for ribbon-cable cameras.
    if reusable "$old"; then
        say "building $new from $(basename "$old")"
        # Files that stay the same are one on disk: pip replaces files, but venv would write into these.
        cp -al "$old" "$new"
        rm -rf "${new:?}/.complete" "${new:?}/pyvenv.cfg" "${new:?}/bin"
        gently python3 -m venv --system-site-packages --without-pip "$new"
    else
        say "building $new (a few minutes on a Pi)"
        gently python3 -m venv --system-site-packages "$new"
    fi
    pip_install "$new/bin/python"
    sync -f "$opt"
    touch "$new/.complete"
    building=
}

# Whether a version was built with this Python: its packages can then be reused.
reusable() {
    [ -n "$1" ] && [ -x "$1/bin/python" ] && [ -e "$1/.complete" ] &&
        [ "$("$1/bin/python" -V 2>/dev/null)" = "$(python3 -V)" ]
}

# The running version takes precedence for processor and card.
gently() { nice -n 19 ionice -c 3 "$@"; }

pip_install() {
    local from=() wheel
    if [ -n "$wheels" ]; then
        from=(--no-index --find-links "$wheels")
    else
        pip "$1" wheel --no-deps -w "$scratch" "$(copy_of_source)" || fail "$(why_pip_failed)"
    fi
    wheel=$(own_wheel "${wheels:-$scratch}")
    pip "$1" install "${from[@]}" --force-reinstall --no-deps "$wheel" || fail "$(why_pip_failed)"
    pip "$1" install "${from[@]}" "$wheel$(extras)" || fail "$(why_pip_failed)"
}

# `pip PYTHON WORD…`, with a line for each package; the whole text is in $log.
pip() {
    local python=$1 line
    shift
    TMPDIR=$scratch gently "$python" -m pip --disable-pip-version-check --no-input --no-cache-dir \
        --retries 2 --timeout 15 "$@" 2>&1 | while IFS= read -r line; do
        printf '%s\n' "$line" >>"$log"
        case $line in
            Collecting* | *Building\ wheel\ for* | Installing\ collected*) say "  ${line:0:100}" ;;
        esac
    done
}

why_pip_failed() {
    local kept
    kept=$(goes_on)
    if grep -Eq 'Failed to establish a new connection|Name or service not known|name resolution|Network is unreachable' "$log"; then
        no_network
    elif grep -q 'No space left on device' "$log"; then
        echo "the disk is full: $(df -h --output=avail "$opt" | tail -n 1 | tr -d ' ') left where $opt is.$kept"
    elif [ -n "$wheels" ]; then
        echo "$wheels does not suit this machine ($(uname -m), $(python3 -V)): $(last_error). Fill it with --fetch on" \
            "a machine of the same kind.$kept"
    else
        echo "pip could not install: $(last_error).$kept"
    fi
}

last_error() { grep -E '^ *(ERROR|error)' "$log" | tail -n 1 | sed 's/^ *ERROR: *//; s/\.$//' | cut -c 1-200; }

# What an existing configuration needs: messages through Apprise, a model server.
extras() {
    local name wanted=
    for name in notify remote; do
        ! grep -Eqs "^[^#]*kind: *[\"']?$name\\b" "$etc"/*.yaml || wanted+=",$name"
    done
    [ -z "$wanted" ] || echo "[${wanted#,}]"
}

own_wheel() {
    local found
    found=$(find "$1" -name 'picam_infer-*.whl' | sort -V | tail -1)
    [ -n "$found" ] || fail "$1 contains no picam_infer wheel: fill it with $0 --fetch DIR"
    echo "$found"
}

# pip leaves its traces in the folder that it builds from.
copy_of_source() {
    local copy=$scratch/source
    mkdir -p "$copy"
    cp -r "$root"/{picam_infer,setup.cfg,pyproject.toml,README.md,LICENSE} "$copy/"
    echo "$copy"
}

fetch_wheels() {
    scratch=$(mktemp -d "$fetch/.scratch.XXXXXX") log=$scratch/pip.log
    pip python3 wheel -w "$fetch" "$(copy_of_source)[notify,remote]" || fail "$(why_pip_failed)"
    say "$(find "$fetch" -name '*.whl' | wc -l) wheels in $fetch, for $(python3 -V) on $(uname -m)"
}

settings() {
    # Members of the group change settings and add models: what they create belongs to the group too.
    install -d -m 2775 -o "$user" -g "$user" "$etc" /var/lib/picam-infer /var/lib/picam-infer/models
    if [ -e "$etc/config.yaml" ]; then
        put "$root/config/picam-infer.yaml" "$etc/config.yaml.dist"
    else
        put "$root/config/picam-infer.yaml" "$etc/config.yaml"
        chown "$user:$user" "$etc/config.yaml"
        chmod 664 "$etc/config.yaml"
    fi
}

system_files() {
    single_unit >"$scratch/picam-infer.service"
    put "$scratch/picam-infer.service" /etc/systemd/system/picam-infer.service
    unit >"$scratch/picam-infer@.service"
    put "$scratch/picam-infer@.service" /etc/systemd/system/picam-infer@.service
    put "$root/systemd/99-picam-infer-ncs.rules" /etc/udev/rules.d/99-picam-infer-ncs.rules
    put "$root/systemd/99-picam-infer-console.rules" /etc/udev/rules.d/99-picam-infer-console.rules
    install -d -m 755 /etc/polkit-1/rules.d
    put "$root/systemd/picam-infer.polkit" /etc/polkit-1/rules.d/50-picam-infer.rules
    install -d /etc/xdg/autostart
    put "$root/systemd/picam-infer.desktop" /etc/xdg/autostart/picam-infer.desktop
    install -d /usr/share/applications /usr/share/icons/hicolor/scalable/apps
    put "$root/systemd/picam-infer-show.desktop" /usr/share/applications/picam-infer.desktop
    put "$root/picam_infer/outputs/web/page/icon.svg" /usr/share/icons/hicolor/scalable/apps/picam-infer.svg
    install -d /usr/local/bin
    link "$opt/current/bin/picam-infer" /usr/local/bin/picam-infer
    # picam-infer(1) and picam-infer.yaml(5), from this version's own parsers and schema.
    "$new/bin/python" -m picam_infer.cli.manual "$scratch/man" "$root/config/picam-infer.yaml"
    install -d /usr/local/share/man/man1 /usr/local/share/man/man5
    put "$scratch/man/picam-infer.1" /usr/local/share/man/man1/picam-infer.1
    put "$scratch/man/picam-infer.yaml.5" /usr/local/share/man/man5/picam-infer.yaml.5
    systemctl daemon-reload
    udevadm control --reload
    udevadm trigger --subsystem-match=usb --attr-match=idVendor=03e7 || true
    udevadm trigger --sysname-match=tty0 || true
}

single_unit() { unit -f "$root/systemd/single-unit.sed"; }

# The unit as this machine's systemd knows it.
unit() {
    local changes=("$@")
    if [ "$(systemd_version)" -ge 253 ]; then changes+=(-f "$root/systemd/notify-reload.sed"); fi
    sed "${changes[@]}" -e '' "$root/systemd/picam-infer@.service"
}

systemd_version() { systemctl --version | awk 'NR == 1 { print int($2) }'; }

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

# The new version takes over only if it passes its check and starts; otherwise the old one continues.
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
        # The services of further cameras; their version's files would be gone after the next upgrade.
        systemctl try-restart 'picam-infer@*.service' || true
    fi
    find "$opt/versions" -mindepth 1 -maxdepth 1 ! -path "$new" ! -path "${old:-$new}" -exec rm -rf {} +
}

# Missing hardware is no reason to stop, as it can still be plugged in: only what the new program cannot do counts.
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
        fail "$2: the previous version, $(basename "$1"), continues unchanged"
    fi
    fail "$2; fix what it names, then run this again (settings: $etc/config.yaml)"
}

remove_unfinished() {
    local folder
    rm -rf "$opt"/.scratch.*
    for folder in "$opt"/versions/*/; do
        [ ! -d "$folder" ] || [ -e "$folder/.complete" ] || rm -rf "$folder"
    done
}

clean_up() {
    [ -z "$building" ] || rm -rf "$building"
    [ -z "$scratch" ] || rm -rf "$scratch"
}

where_to_look() {
    cat <<END
  the monitor       shows what the camera sees; without one:  journalctl -fu picam-infer
  how it is         systemctl status picam-infer
  what is wrong     sudo picam-infer check
  settings          $etc/config.yaml, then: sudo systemctl reload picam-infer
  your own model    picam-infer use FILE   (after the next login; until then with sudo)
END
}

main "$@"
