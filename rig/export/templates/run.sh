#!/bin/sh
# Performs the calls of README.md on a qemu-system-ppc64 and shows what came of them.
#
#   QEMU=/path/to/qemu-system-ppc64 ./run.sh [further options of QEMU]
#
# Exit status: 0 every check passed, 1 something differs from the contract, or QEMU ended or hung before the end,
# 2 nothing differs that the image can see, and what was wrong when it was exported is not among that.
set -u
cd "$(dirname "$0")" || exit 3
: "${QEMU:=qemu-system-ppc64}"
command -v "$QEMU" > /dev/null || { echo "run.sh: no $QEMU: set QEMU=/path/to/qemu-system-ppc64" >&2; exit 3; }
{% if asks %}
# The image asks for QMP commands and waits on its console until they are answered.
work=$(mktemp -d) || exit 3
mkfifo "$work/console" "$work/monitor.in" "$work/monitor.out" || exit 3
exec 3<> "$work/console" 4<> "$work/monitor.in"
cat "$work/monitor.out" > "$work/qmp" &
trap 'kill $! 2> /dev/null; rm -rf "$work"' EXIT

answers() { grep -E '^\{"(return|error)"' "$work/qmp"; }

asked=0
qmp() { # command: sets answer, to nothing when there is none within ten seconds
    printf '%s\n' "$1" >&4
    asked=$((asked + 1))
    tries=100
    until [ "$(answers | wc -l)" -ge "$asked" ] || [ "$tries" -eq 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    answer=$(answers | sed -n "${asked}p" | tr -d '\r')
}

act() { # command, the answer's beginning if it is permitted
    qmp "$1"
    case $answer in
        "$2"*) echo "  QMP answers $answer"; printf . >&3 ;;
        '') echo "  DIFFERS: QMP does not answer"; printf ! >&3 ;;
        *) echo "  DIFFERS: QMP answers $answer"; printf ! >&3 ;;
    esac
}

serve() {
    qmp '{"execute": "qmp_capabilities"}'
    while IFS= read -r line || [ -n "$line" ]; do
        printf '%s\n' "$line"
        case $line in
            '{{ asked }}'*) act "${line#'{{ asked }}'}" '{"return"' ;;
            '{{ to_be_refused }}'*) act "${line#'{{ to_be_refused }}'}" '{"error"' ;;
        esac
    done
}
{% endif %}
timeout -k 5 "${TIMEOUT:-60}" "$QEMU" {{ arguments }} \
    -nodefaults -no-user-config -display none -no-reboot -bios image.bin \
{% if asks %}    -chardev pipe,id=qmp,path="$work/monitor" -mon chardev=qmp,mode=control "$@" <&3 | serve | tee console.txt
{% else %}    "$@" < /dev/null | tee console.txt
{% endif %}
if grep -q '^{{ conforms }}' console.txt; then exit 0; fi
if grep -q '^{{ passes }}' console.txt; then exit 2; fi
grep -q 'DIFFERS' console.txt || echo "QEMU did not reach the end: the last call shown did not return." >&2
exit 1
