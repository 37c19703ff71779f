#!/usr/bin/env bash
# Installs what a Pi needs of NCSDK2 to run a Movidius stick: libmvnc, its Python module, firmware, udev rules.
# Nothing of its toolkit (TensorFlow, Caffe, the compiler). Raspberry Pi OS and Debian, 64 bit; may be run again.
#
#   sudo scripts/install-ncsdk.sh [--archive FILE] [--firmware FILE] [--venv DIR]
#   sudo scripts/install-ncsdk.sh --uninstall [--venv DIR]
#
#   --archive FILE   NCSDK2's source (branch ncsdk2 of movidius/ncsdk) as .zip or .tar.*; default: downloaded
#   --firmware FILE  MvNCAPI-ma2450.mvcmd, or Intel's NCSDK-2.10.01.01.tar.gz that holds it; default: downloaded
#   --venv DIR       a Python environment to install into; default: the system's Python, whose packages the
#                    environments that install.sh makes can see, this one and those of later versions
#
# DESTDIR=DIR installs below DIR and leaves packages, ldconfig and udev alone.
set -euo pipefail

source_url=https://github.com/movidius/ncsdk/archive/refs/heads/ncsdk2.zip
firmware_url=https://downloadmirror.intel.com/28532/eng/NCSDK-2.10.01.01.tar.gz
firmware_name=MvNCAPI-ma2450.mvcmd
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
destdir=${DESTDIR:-}
lib=$destdir/usr/local/lib
rules=$destdir/etc/udev/rules.d/99-picam-infer-ncs.rules
archive='' firmware='' venv='' uninstall=no

say() { printf '%s\n' "$*"; }
fail() {
    printf 'install-ncsdk: %s\n' "$*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --archive | --firmware | --venv)
        [ $# -gt 1 ] || fail "$1 needs a value"
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    --uninstall)
        uninstall=yes
        shift
        ;;
    -h | --help)
        sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
        exit 0
        ;;
    *) fail "unknown option $1 (see --help)" ;;
    esac
done
for file in "$archive" "$firmware"; do
    [ -z "$file" ] || [ -r "$file" ] || fail "$file does not exist or cannot be read"
done
[ -n "$destdir" ] || [ "$(id -u)" = 0 ] || fail "run it with sudo"
python=/usr/bin/python3 user_python=/opt/picam-infer/current/bin/python
if [ -n "$venv" ]; then
    python=$venv/bin/python user_python=$python
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A file appears whole or not at all, also when this is interrupted.
place() {
    mkdir -p "$(dirname "$2")"
    install -m "${3:-644}" "$1" "$2.new"
    mv -f "$2.new" "$2"
}

site_packages() {
    "$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
}

refresh_system() {
    [ -z "$destdir" ] || return 0
    ldconfig
    if command -v udevadm >/dev/null && [ -S /run/udev/control ]; then
        udevadm control --reload
        udevadm trigger --action=change --subsystem-match=usb --attr-match=idVendor=03e7
    fi
}

if [ $uninstall = yes ]; then
    rm -f "$lib/libmvnc.so" "$lib/libmvnc.so.0" "$lib/mvnc/$firmware_name" "$rules"
    [ ! -d "$lib/mvnc" ] || rmdir --ignore-fail-on-non-empty "$lib/mvnc"
    if [ -x "$python" ]; then
        packages=$(site_packages)
        [ ! -e "$packages/mvnc/.picam-infer" ] || rm -rf "$packages/mvnc"
    fi
    refresh_system
    say "NCSDK's library, Python module, firmware and udev rules are removed"
    exit 0
fi

[ -x "$python" ] || fail "no Python environment at $venv"
case $(getconf LONG_BIT) in 64) ;; *) fail "needs a 64-bit system" ;; esac

need_packages() {
    local missing=()
    command -v gcc >/dev/null || missing+=(gcc libc6-dev)
    command -v make >/dev/null || missing+=(make)
    [ -e /usr/include/libusb-1.0/libusb.h ] || missing+=(libusb-1.0-0-dev)
    [ ${#missing[@]} -gt 0 ] || return 0
    [ -z "$destdir" ] || return 0 # whoever gives DESTDIR sees to that
    say "installing packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -q "${missing[@]}" >"$work/apt.log" 2>&1 ||
        { apt-get update -q && apt-get install -y -q "${missing[@]}"; } >"$work/apt.log" 2>&1 ||
        { tail -5 "$work/apt.log" >&2; fail "apt-get could not install ${missing[*]}"; }
}

download() { # URL FILE
    say "downloading $1"
    "$python" - "$1" "$2" <<'PYTHON'
import shutil, sys, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=60) as answer, open(sys.argv[2], "wb") as file:
        shutil.copyfileobj(answer, file)
except OSError as error:
    sys.exit(f"{error}")
PYTHON
}

unpack() { # ARCHIVE FOLDER
    mkdir -p "$2"
    "$python" - "$1" "$2" <<'PYTHON'
import os, sys, tarfile, zipfile
archive, folder = sys.argv[1:]

def harmless(member):
    """What the filter `data` lets through that an archive of sources needs; Debian 12's Python has no such filter."""
    inside = os.path.realpath(folder) + os.sep
    member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
    member.mode &= 0o755
    place = os.path.realpath(os.path.join(folder, member.name)) + os.sep
    return (member.isreg() or member.isdir()) and place.startswith(inside)

try:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
    else:
        with tarfile.open(archive) as file:
            if hasattr(tarfile, "data_filter"):
                file.extractall(folder, filter="data")
            else:
                file.extractall(folder, [member for member in file if harmless(member)])
except Exception as error:  # zlib, lzma and the rest have exceptions of their own
    sys.exit(f"{archive}: {error}")
PYTHON
}

find_source() {
    if [ -z "$archive" ]; then
        archive=$work/ncsdk2.zip
        download $source_url "$archive" || fail "no source: download $source_url elsewhere and give it with --archive"
    fi
    unpack "$archive" "$work/source" || fail "$archive is not a .zip or .tar archive"
    local found
    found=$(find "$work/source" -path '*/api/python/mvnc/mvncapi.py' | head -1)
    [ -n "$found" ] || fail "$archive does not hold NCSDK2 (api/python/mvnc/mvncapi.py); it must be the branch ncsdk2"
    api=${found%/python/mvnc/mvncapi.py}
    [ -f "$api/src/Makefile" ] || fail "$archive has no api/src/Makefile"
    grep -q '^2\.' "$api/src/version.txt" || fail "$archive is not NCSDK 2 but $(cat "$api/src/version.txt")"
    say "source: NCSDK $(cat "$api/src/version.txt")"
}

build_library() {
    local target flags
    target=obj-$(uname -m)/libmvnc.so.0
    # Sources of 2018: what compilers merely warned of then is an error since gcc 14 (Debian 13).
    flags="-Wno-error=implicit-function-declaration -Wno-error=int-conversion -Wno-error=incompatible-pointer-types"
    # Its assertions name their files: without this, no two installations would give the same library.
    flags+=" -ffile-prefix-map=$(realpath "$work")=ncsdk"
    if ! CFLAGS=$flags \
        make -C "$api/src" "$target" >"$work/make.log" 2>&1; then
        tail -20 "$work/make.log" >&2
        fail "libmvnc did not compile"
    fi
    place "$api/src/$target" "$lib/libmvnc.so.0" 755
    ln -sfn libmvnc.so.0 "$lib/libmvnc.so"
    [ -n "$destdir" ] || ldconfig
    say "library: $lib/libmvnc.so"
}

install_module() {
    local packages fresh
    packages=$(site_packages)
    fresh=$packages/.mvnc.new
    rm -rf "$fresh"
    cp -r "$api/python/mvnc" "$fresh"
    touch "$fresh/.picam-infer" # ours to remove
    rm -rf "$packages/mvnc"
    mv "$fresh" "$packages/mvnc"
    # In a process with a time limit: libmvnc may wait for ever. It takes NumPy, which the system's Python may lack.
    if [ -x "$user_python" ]; then
        LD_LIBRARY_PATH=$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} timeout 60 "$user_python" -W ignore -c \
            'import mvnc.mvncapi' || fail "the Python module mvnc is installed, but $user_python cannot load it"
    fi
    say "Python module: $packages/mvnc"
}

find_firmware() { # sets $firmware to the .mvcmd, or to nothing
    case $firmware in
    *.mvcmd) return ;;
    '')
        firmware=$(find "$work/source" -name $firmware_name | head -1)
        [ -z "$firmware" ] || return 0
        [ ! -s "$lib/mvnc/$firmware_name" ] || { firmware=$lib/mvnc/$firmware_name && return; }
        firmware=$work/firmware.tar.gz
        download $firmware_url "$firmware" || { firmware='' && return; }
        ;;
    esac
    unpack "$firmware" "$work/firmware" || { firmware='' && return; }
    firmware=$(find "$work/firmware" -name $firmware_name | head -1)
}

install_firmware() {
    find_firmware
    [ -n "$firmware" ] && [ -s "$firmware" ] || fail "everything is installed except the stick's firmware: get Intel's" \
        "NCSDK-2.10.01.01.tar.gz ($firmware_url) or $firmware_name from another installation, then run this again" \
        "with --firmware FILE"
    [ "$firmware" -ef "$lib/mvnc/$firmware_name" ] || place "$firmware" "$lib/mvnc/$firmware_name"
    say "firmware: $lib/mvnc/$firmware_name"
}

need_packages
find_source
build_library
install_module
place "$here/systemd/99-picam-infer-ncs.rules" "$rules"
say "udev rules: $rules"
refresh_system
install_firmware
say "done; plug the stick in and run: picam-infer devices, picam-infer check"
