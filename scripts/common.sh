# Sourced by the scripts beside it: finds Python, makes or reuses .venv, installs what is missing.
# A second run finds the stamp it left and starts at once.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
venv=${PICAM_VENV:-$root/.venv}

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# System libraries and tools: `need_apt FILE_OR_COMMAND PACKAGE …` installs the missing ones with one apt command.
install_apt() {
    [ $# -gt 0 ] || return 0
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        sudo=(sudo -n)
        if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
            fail "missing system packages; run this once, then again $0:  sudo apt-get install -y $*"
        fi
    fi
    command -v apt-get >/dev/null || fail "missing: $* (install them with your system's package manager)"
    echo "installing system packages: $*" >&2
    if ! DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -q "$@" >/dev/null 2>&1; then
        "${sudo[@]}" apt-get update -q >/dev/null
        DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -q "$@" >&2
    fi
}

have_library() {
    local known # whole, at once: a pipe that `grep -q` closes early looks like a failure
    known=$(ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null || true)
    grep -q "$1" <<<"$known"
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

system_packages() {
    local missing=()
    # opencv-python's wheel loads these from the system; Raspberry Pi OS Lite and a bare Debian lack them.
    have_library libGL.so.1 || missing+=(libgl1)
    have_library libglib-2.0.so.0 || missing+=(libglib2.0-0)
    have_library libxcb.so.1 || missing+=(libxcb1)
    have_library libSM.so.6 || missing+=(libsm6)
    have_library libICE.so.6 || missing+=(libice6)
    have_library libXext.so.6 || missing+=(libxext6)
    if ! find_python >/dev/null; then
        missing+=(python3 python3-venv)
    elif ! "$(find_python)" -c 'import venv, ensurepip' 2>/dev/null; then
        missing+=(python3-venv)
    fi
    install_apt "${missing[@]}" "$@"
}

# `prepare EXTRAS`: the virtual environment with picam-infer and those extras in it.
prepare() {
    system_packages
    local python wanted
    python=$(find_python) || fail "needs Python 3.11 or newer (Raspberry Pi OS Bookworm or newer has it)"
    if [ "$("$python" -c 'import struct; print(struct.calcsize("P"))')" != 8 ]; then
        fail "needs a 64-bit system: OpenVINO has no packages for 32-bit ones"
    fi
    wanted="$(cat setup.cfg pyproject.toml | sha256sum) $root"
    # An environment with extras will do without them too.
    if ! grep -qxF "$wanted" "$venv"/.stamp-${1:-*} 2>/dev/null; then
        echo "preparing $venv (once; a few minutes on a Pi)" >&2
        [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
        "$venv/bin/python" -m pip install -q --disable-pip-version-check -e ".${1:+[$1]}"
        echo "$wanted" >"$venv/.stamp-${1:-plain}"
    fi
}

# axe-core, which checks the page's accessibility: beside the virtual environment, if there is npm.
prepare_axe() {
    local axe=4.14.1 folder=$venv/axe
    [ -e "$folder/node_modules/axe-core/axe.min.js" ] && return
    if ! command -v npm >/dev/null; then
        echo "no npm: the page's tests with axe-core will be skipped" >&2
    elif ! npm install --prefix "$folder" --no-audit --no-fund --silent "axe-core@$axe" >/dev/null 2>&1; then
        echo "axe-core could not be installed: the page's tests with it will be skipped" >&2
    fi
}
