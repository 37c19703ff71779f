# Sourced after common.sh by the scripts that emulate a Pi: an arm64 Debian 12 with the aarch64 wheels, kept for the next run.
# shellcheck shell=bash disable=SC2154

cache=${PICAM_ARM64:-${XDG_CACHE_HOME:-$HOME/.cache}/picam-infer/arm64}
system=$cache/root

packages=python3,libgl1,libglib2.0-0,libxcb1,libx11-6,libsm6,libice6,libxext6,libusb-1.0-0
packages+=,fontconfig,fonts-dejavu-core,fonts-wqy-microhei
# Without these many tests would be skipped: the stick's stand-in is compiled, brokers and X servers are real ones.
packages+=,gcc,libc6-dev,make,openssl,mosquitto,xvfb,xdotool

build_system() {
    [ "$(cat "$system/.complete" 2>/dev/null)" != "$packages" ] || return 0
    echo "building an arm64 Debian in $system (once)" >&2
    rm -rf --one-file-system "$system"
    mkdir -p "$cache"
    local sources=/etc/apt/sources.list.d/debian.sources
    [ -f $sources ] || sources=/etc/apt/sources.list
    mmdebstrap --mode=root --architectures=arm64 --variant=apt --format=directory \
        --include=$packages \
        --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
        bookworm "$system" "$sources" >"$cache/build.log" 2>&1 || {
        tail -20 "$cache/build.log" >&2
        fail "the arm64 system could not be built"
    }
    echo "127.0.0.1 localhost" >"$system/etc/hosts"
    echo "$packages" >"$system/.complete"
}

# Unpacked by this machine's pip: no need to emulate that.
install_wheels() {
    local wanted
    wanted=$(sha256sum setup.cfg | cut -c1-16)
    [ "$(cat "$system/opt/wheels.stamp" 2>/dev/null)" != "$wanted" ] || return 0
    echo "installing aarch64 wheels" >&2
    rm -rf "$system/opt/wheels"
    # shellcheck disable=SC2046
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --target "$system/opt/wheels" --python-version 3.11 \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_35_aarch64 --platform manylinux_2_17_aarch64 \
        --platform manylinux2014_aarch64 --only-binary :all: $("$venv/bin/python" - <<'PY'
import configparser
read = configparser.ConfigParser()
read.read("setup.cfg")
lines = [*read["options"]["install_requires"].split(), "pytest", "pytest-timeout"]
print(*(line for line in lines if line))
PY
    )
    echo "$wanted" >"$system/opt/wheels.stamp"
}

register_emulator() {
    local misc=/proc/sys/fs/binfmt_misc
    [ -e $misc/register ] || mount -t binfmt_misc binfmt_misc $misc
    [ -e $misc/qemu-aarch64 ] || cat /usr/lib/binfmt.d/qemu-aarch64.conf >$misc/register
}

# `inside CPU COMMAND …`: in the arm64 system, with this repository at /src and the shared material beside it.
# OpenVINO dies without /sys. The mounts are this command's own and go with it.
inside() {
    local cpu=$1
    shift
    mkdir -p "$system/src" "$system/shared" "$system/tmp/work"
    # shellcheck disable=SC2016
    unshare --mount --propagation private bash -c '
        system=$1 root=$2; shift 2
        for folder in proc sys dev; do mount --rbind /$folder "$system/$folder"; done
        mount --bind "$root" "$system/src"
        [ ! -d "$root/../shared" ] || mount --bind "$root/../shared" "$system/shared"
        mount --bind "$work" "$system/tmp/work"
        exec chroot "$system" "$@"' bash "$system" "$root" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TMPDIR=/tmp QEMU_CPU="$cpu" \
        PYTHONPATH=/src:/opt/wheels PYTHONDONTWRITEBYTECODE=1 PICAM_EMULATED=1 "$@"
}

# `prepare_arm64`: the system is there, with this repository's requirements.
prepare_arm64() {
    command -v mmdebstrap >/dev/null || install_apt mmdebstrap
    prepare "test"
    build_system
    install_wheels
}
