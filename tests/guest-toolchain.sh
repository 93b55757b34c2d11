#!/bin/sh
# guest-toolchain.sh DIR
#
# Makes DIR/bin/{rustc,cargo}: a toolchain that builds for wasm32-unknown-unknown. It is a private
# sysroot of symbolic links and a `rustc` that points to it, so nothing outside DIR changes (except
# Debian packages, in the last resort). Where the target's standard library comes from, in this order:
#   1. the toolchain in use has the target already;
#   2. rustup can add it;
#   3. Debian's compiler and its source package: the library is built once, about a minute.
# Quick when there is nothing to do. OFFLINE=1 skips step 2.
set -eu

target=wasm32-unknown-unknown
mkdir -p "$1"
dir=$(cd "$1" && pwd)

has_target() {
    libdir=$("$1" --print target-libdir --target "$target" 2>/dev/null) || return 1
    ls "$libdir"/libstd-*.rlib >/dev/null 2>&1
}

# The folder is up to date if this is its stamp.
key() { # mode rustc
    echo "$1 $("$2" -vV | tr '\n' ' ')"
}

up_to_date() { # mode rustc
    [ -x "$2" ] && [ -e "$dir/stamp" ] && [ "$(cat "$dir/stamp")" = "$(key "$1" "$2")" ]
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "guest-toolchain: no target $target: 'rustup target add $target' failed, and without root" >&2
        echo "  the packages of Debian cannot be installed. Do one of the two, then try again:" >&2
        echo "  rustup target add $target" >&2
        echo "  apt-get install --no-install-recommends rustc-web cargo-web rust-web-src lld   (as root)" >&2
        exit 1
    fi
}

# rustup's proxy would follow every later change of the default toolchain: take what it stands for.
rustc=$(rustup which rustc 2>/dev/null || command -v rustc)
debian=/usr/bin/rustc

# Asked first: where step 3 was needed once, asking rustup again would only cost time.
up_to_date std "$debian" && exit 0

if ! has_target "$rustc" && command -v rustup >/dev/null && [ -z "${OFFLINE:-}" ]; then
    echo "guest-toolchain: rustup target add $target" >&2
    timeout 120 rustup target add "$target" >&2 || echo "guest-toolchain: rustup cannot add it" >&2
fi

if has_target "$rustc"; then
    mode=ready
    up_to_date $mode "$rustc" && exit 0
else
    mode=std
    rustc=$debian
    source=/usr/lib/rustlib/src/rust
    if [ ! -x "$rustc" ] || [ ! -e $source/library/std ] || ! command -v wasm-ld >/dev/null; then
        command -v apt-get >/dev/null || {
            echo "guest-toolchain: this toolchain has no target $target; add it: rustup target add $target" >&2
            exit 1
        }
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            rustc-web cargo-web rust-web-src lld
    fi
fi

sysroot=$("$rustc" --print sysroot)
host=$("$rustc" -vV | sed -n 's/^host: //p')
rm -rf "${dir:?}"/*
mkdir -p "$dir/bin"
mkdir -p "$dir/lib/rustlib"
# Build scripts and procedural macros run on this machine and need its library; rust-lld is in there too.
ln -s "$sysroot/lib/rustlib/$host" "$dir/lib/rustlib/$host"

if [ $mode = ready ]; then
    ln -s "$sysroot/lib/rustlib/$target" "$dir/lib/rustlib/$target"
else
    echo "guest-toolchain: building the standard library for $target (once)" >&2
    build=$dir/std
    mkdir -p "$dir/lib/rustlib/$target/lib" "$build/src"
    : > "$build/src/lib.rs"
    cat > "$build/Cargo.toml" <<'TOML'
[package]
name = "empty"
version = "0.0.0"
edition = "2024"
[workspace]
[profile.release]
opt-level = 3
panic = "abort"
codegen-units = 1
strip = "debuginfo"
TOML
    # RUSTC_BOOTSTRAP allows -Zbuild-std on a stable compiler; it is set for this build only. The paths
    # are mapped so that the same compiler gives the same bytes everywhere.
    resolved=$(readlink -f "$source")
    env -u RUSTFLAGS -u CARGO_BUILD_TARGET -u RUSTC_WRAPPER \
        RUSTC="$rustc" RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$build/target" \
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="--remap-path-prefix=$resolved=/rust --remap-path-prefix=$source=/rust --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/crates" \
        /usr/bin/cargo build -q --release -Zbuild-std=std,panic_abort --target "$target" \
        --manifest-path "$build/Cargo.toml"
    rm -f "$build/target/$target"/release/deps/libempty-*
    cp "$build/target/$target"/release/deps/*.rlib "$dir/lib/rustlib/$target/lib/"
    rm -rf "$build"
fi

cat > "$dir/bin/rustc" <<SH
#!/bin/sh
exec "$rustc" --sysroot="$dir" "\$@"
SH
chmod +x "$dir/bin/rustc"
ln -s "$(dirname "$rustc")/cargo" "$dir/bin/cargo"
key $mode "$rustc" > "$dir/stamp"
