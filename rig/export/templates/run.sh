#!/bin/sh
# Performs the calls of README.md on a qemu-system-ppc64 and shows what came of them.
#
#   QEMU=/path/to/qemu-system-ppc64 ./run.sh [further options of QEMU]
#
# Exit status: 0 every check passed, 1 something differs from the contract, or QEMU ended or hung before the end.
set -u
cd "$(dirname "$0")" || exit 3
: "${QEMU:=qemu-system-ppc64}"
command -v "$QEMU" > /dev/null || { echo "run.sh: no $QEMU: set QEMU=/path/to/qemu-system-ppc64" >&2; exit 3; }

timeout "${TIMEOUT:-60}" "$QEMU" {{ arguments }} \
    -nodefaults -no-user-config -display none -no-reboot -bios image.bin \
    -chardev stdio,id=console,signal=off -device spapr-vty,chardev=console "$@" < /dev/null | tee console.txt

if grep -q '^{{ conforms }}' console.txt; then exit 0; fi
grep -q 'DIFFERS' console.txt || echo "QEMU did not reach the end: the last call shown did not return." >&2
exit 1
