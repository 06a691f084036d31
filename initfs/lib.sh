# What the scripts of this folder share; sourced, with the current folder being the project's.

# The programs of a node.
PROGRAMS="frisbee-agent frisbee-client imagedump imagegrow imageunzip imagezip"

# For which machines: x86_64 (default) or aarch64.
ARCH=${ARCH:-x86_64}
# Where things are put, if the caller does not say.
NODE=${CARGO_TARGET_DIR:-target}/node
case $ARCH in
    x86_64) DEBIAN_ARCH=amd64 ;;
    aarch64) DEBIAN_ARCH=arm64 ;;
    *) echo "ARCH=$ARCH: expected x86_64 or aarch64" >&2 && exit 1 ;;
esac
[ "$ARCH" = x86_64 ] || NODE=$NODE-$ARCH

PATH=$PATH:/usr/sbin:/sbin

note() {
    echo "${0##*/}: $*" >&2
}

fail() {
    note "$@"
    exit 1
}

# need PACKAGE [PROGRAM]: installs a Debian package if that is missing and we are root; otherwise names it.
need() {
    if [ $# -gt 1 ] && command -v "$2" >/dev/null; then return; fi
    if dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed'; then return; fi
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || fail "missing; on Debian: sudo apt-get install $1"
    note "installing Debian's package $1"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null ||
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null; } ||
        fail "apt-get cannot install $1"
}

# apt_options ARCHITECTURE: sets `options`, with which apt knows the packages of another architecture than this machine's:
# from lists of our own, so that nothing is changed here. Package lists that were never fetched are fetched, if we may.
apt_options() {
    options=()
    if [ "$1" != "$(dpkg --print-architecture)" ]; then
        local lists=$NODE/packages/apt-$1
        mkdir -p "$lists/partial"
        lists=$(realpath "$lists")
        options=(-o "APT::Architectures=$1" -o "Dir::State::Lists=$lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
        [ -e "$lists/updated" ] || { apt-get "${options[@]}" update -qq && touch "$lists/updated"; }
    elif [ -z "$(apt-cache policy busybox-static)" ] && [ "$(id -u)" -eq 0 ]; then
        apt-get update -qq
    fi
}

# architecture_of NAME[:ARCH]: this machine's, if none is said.
architecture_of() {
    case $1 in *:*) echo "${1#*:}" ;; *) dpkg --print-architecture ;; esac
}

# depends_of NAME[:ARCH]: the packages that it needs, one a line.
depends_of() {
    local options
    apt_options "$(architecture_of "$1")"
    apt-cache "${options[@]}" depends "$1" 2>/dev/null | sed -n 's/^ *Depends: *//p' | sed 's/:.*//'
}

# unpack_package NAME[:ARCH] FOLDER: downloads a Debian package and unpacks it there, without installing anything and
# without root. Downloads are kept in $NODE/packages; what was unpacked already is not unpacked again.
unpack_package() {
    local name=$1 folder=$2 kept=$NODE/packages options version file
    mkdir -p "$kept"
    apt_options "$(architecture_of "$name")"
    version=$(apt-cache "${options[@]}" policy "$name" 2>/dev/null | sed -n 's/^ *Candidate: *//p' | grep -v '(none)') ||
        fail "apt knows no package $name; is this Debian, and was 'apt-get update' run?"
    if [ "$(cat "$folder/.package" 2>/dev/null)" = "$name $version" ]; then return; fi
    file=$(find_package "$kept" "$name" "$version")
    if [ -z "$file" ]; then
        note "downloading $name $version"
        # apt complains that it cannot give up being root for a folder of ours.
        (cd "$kept" && apt-get "${options[@]}" download -qq "$name=$version" 2>&1 | grep -v unsandboxed >&2 || true)
        file=$(find_package "$kept" "$name" "$version")
        [ -n "$file" ] || fail "apt-get cannot download $name $version; try 'apt-get update'"
    fi
    rm -rf "$folder"
    mkdir -p "$folder"
    dpkg-deb --extract "$file" "$folder"
    echo "$name $version" >"$folder/.package"
}

# find_package FOLDER NAME VERSION: the downloaded file.
find_package() {
    local file="$1/${2%%:*}_${3//:/%3a}_"
    ls "$file$(architecture_of "$2").deb" "${file}all.deb" 2>/dev/null | head -1 || true
}
