#!/bin/sh
# guest-build.sh TARGET_DIR FOLDER...
#
# Builds the component and puts it as ordain-policy.wasm into every FOLDER, beside the binaries that look
# for it there. With TEST_COMPONENT=1 the component of the tests of isolation goes there too, as
# test-component.wasm. Copies only what changed.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
target_dir=$1
toolchain=$target_dir/guest-toolchain
shift

sh tests/guest-toolchain.sh "$toolchain"

# Debian's compiler has no linker for WebAssembly of its own; rustup's has.
case $(cat "$toolchain/stamp") in
std*) export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld ;;
esac

# The paths of this machine stay out of the component, so that equal source gives equal bytes.
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/crates --remap-path-prefix=$root=/src --remap-path-prefix=$toolchain=/toolchain"

# What another cargo that calls this script has set is not for this one.
build() { # CRATE
    env -u RUSTUP_TOOLCHAIN -u CARGO -u RUSTC -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_TARGET_DIR -u CARGO_BUILD_TARGET \
        PATH="$toolchain/bin:$PATH" \
        cargo build --quiet --locked -p "$1" --profile guest \
        --target wasm32-unknown-unknown --target-dir "$target_dir/guest"
}

put() { # FILE NAME FOLDER...
    module=$target_dir/guest/wasm32-unknown-unknown/guest/$1
    built=$target_dir/guest/${2%.wasm}.component
    if [ ! "$built" -nt "$module" ]; then
        "$target_dir/debug/encode" "$module" "$built"
    fi
    name=$2
    shift 2
    for folder in "$@"; do
        copy=$folder/$name
        if ! cmp -s "$built" "$copy"; then
            mkdir -p "$folder"
            # Renamed into place: whoever opens it sees the old file or the new one, never a half.
            install -m 644 "$built" "$copy.new"
            mv "$copy.new" "$copy"
            echo "$copy: $(wc -c < "$copy") bytes"
        fi
    done
}

# Each by itself: what one package wants of a shared crate is not put upon the other.
for crate in ordain-policy ${TEST_COMPONENT:+test-components}; do
    [ -d "$target_dir/guest" ] || echo "guest: building the component (half a minute, once)" >&2
    build "$crate"
done

# What makes a component of the compiler's module: of this machine's own toolchain. Built last, so that this
# script can run beside a build of the service, which it has its crates from.
cargo build --quiet --locked -p encode --target-dir "$target_dir"

put ordain_policy.wasm ordain-policy.wasm "$@"
if [ -n "${TEST_COMPONENT:-}" ]; then
    put test_components.wasm test-component.wasm "$@"
fi
