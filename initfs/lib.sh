# What the scripts of this folder share; sourced, with the current folder being the project's.

# The programs of a node.
PROGRAMS="frisbee-agent frisbee-client imagedump imagegrow imageunzip imagezip"

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

# unpack_package NAME[:ARCH] FOLDER: downloads a Debian package and unpacks it there, without installing anything and
# without root. Downloads are kept in target/node/packages; what was unpacked already is not unpacked again.
unpack_package() {
    local name=$1 folder=$2 kept=target/node/packages arch=
    case $name in *:*) arch=${name#*:} ;; esac
    mkdir -p "$kept"
    local options=()
    if [ -n "$arch" ] && [ "$arch" != "$(dpkg --print-architecture)" ]; then
        # Lists of our own: the machine's apt knows nothing of this architecture and need not.
        local lists=$PWD/$kept/apt-$arch
        mkdir -p "$lists/lists/partial"
        options=(-o "APT::Architectures=$arch" -o "Dir::State::Lists=$lists/lists" -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=")
        [ -e "$lists/updated" ] || { apt-get "${options[@]}" update -qq && touch "$lists/updated"; }
    fi
    local version
    version=$(package_version "$name" "${options[@]}")
    if [ -z "$version" ]; then
        # Package lists that were never fetched.
        [ "$(id -u)" -ne 0 ] || apt-get update -qq
        version=$(package_version "$name" "${options[@]}")
        [ -n "$version" ] || fail "apt knows no package $name; is this Debian, and was 'apt-get update' run?"
    fi
    if [ "$(cat "$folder/.package" 2>/dev/null)" = "$name $version" ]; then return; fi
    local file
    file=$(find_package "$kept" "$name" "$version")
    if [ -z "$file" ]; then
        note "downloading $name $version"
        (cd "$kept" && apt-get "${options[@]}" download -qq "$name=$version" 2>&1 | grep -v unsandboxed >&2 || true)
        file=$(find_package "$kept" "$name" "$version")
        [ -n "$file" ] || fail "apt-get cannot download $name $version; try 'apt-get update'"
    fi
    rm -rf "$folder"
    mkdir -p "$folder"
    dpkg-deb --extract "$file" "$folder"
    echo "$name $version" >"$folder/.package"
}

# package_version NAME [APT OPTION...]: the version that apt would install.
package_version() {
    local name=$1
    shift
    apt-cache "$@" policy "$name" 2>/dev/null | sed -n 's/^ *Candidate: *//p' | grep -v '(none)' || true
}

# find_package FOLDER NAME VERSION: the downloaded file.
find_package() {
    local file="$1/${2%%:*}_${3//:/%3a}_"
    ls "$file"*.deb 2>/dev/null | head -1 || true
}
