#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# bounce.sh [FACTOR]: programs of Debian, with bounce.so preloaded into them and into all that they
# start, have to print what they print without it, and to exit as they do. What they have to do is
# the less, the larger FACTOR is; and with one, they use private and coherent devices by turns, not
# each program both. They are in BOUNCE_ROOT: a system's root folder.

. "$(dirname "$0")/reload.sh"

ROOT=${BOUNCE_ROOT:-/programs}
WORK=/tmp/bounce.$$
TMP=${ROOT%/}$WORK
SCALE=$((10 / ${1:-1}))
LIMIT=600
# redis talks over loopback, or by a file where the kernel has no INET.
PORT=
if [ -e /proc/net/tcp ]; then
	ip link set lo up
	PORT=$((20000 + $$ % 10000))
fi

enter() {
	kind=$1
	program=$2
	shift 2
	env -i PATH=/usr/bin:/bin HOME="$WORK" LC_ALL=C PORT="$PORT" "$@" timeout -s KILL "$LIMIT" \
		chroot "$ROOT" /bin/sh "$WORK/bounce_work.sh" "$program" "$SCALE" "$WORK/$kind" \
		</dev/null >"$TMP/$program.$kind" 2>&1
	echo "exited $?" >>"$TMP/$program.$kind"
	rm -rf "${TMP:?}/$kind"
}

# Complaints about what was moved, and a line that says how much that was
judge() {
	awk -v name="$1" '
	{ split("", is); for (i = 3; i < NF; i += 2) is[$i] = $(i + 1) }
	!is["to_device"] || is["errors"] { print "# " $0; bad = 1 }
	{ there += is["to_device"]; back += is["to_system"]; atomics += is["atomics"] }
	END {
		printf "# %s: %d processes, %.1f MiB to devices, %.1f MiB back, %d atomics\n",
			name, NR, there / 1048576, back / 1048576, atomics
		exit bad || !NR
	}' "$2"
}

# bounce PROGRAM KIND
bounce() {
	log=$TMP/$1.$2.log
	enter "$2" "$1" LD_PRELOAD="$WORK/bounce.so" BOUNCE_LOG="$WORK/$1.$2.log" \
		BOUNCE_MEMORY="$2" BOUNCE_SEED="${BOUNCE_SEED:-1}"
	if grep -q ' devices 0 ' "$log" 2>/dev/null; then
		ktap_test_skip "$1.$2: there is no $2 device"
		return
	fi
	good=1
	judge "$1.$2" "$log" || good=0
	[ "$(tail -n 1 "$TMP/$1.without")" = "exited 0" ] || good=0
	diff -U 0 "$TMP/$1.without" "$TMP/$1.$2" >"$TMP/diff" || good=0
	sed -n '3,20s/^/# /p' "$TMP/diff"
	if [ $good = 1 ]; then
		ktap_test_pass "$1.$2"
	else
		ktap_test_fail "$1.$2"
	fi
}

# try PROGRAM KIND...
try() {
	program=$1
	shift
	if [ "$program" = redis ] && [ ! -e /proc/net/unix ]; then
		for kind; do
			ktap_test_skip "$program.$kind: no sockets: CONFIG_UNIX"
		done
		return
	fi
	enter without "$program"
	[ "$(tail -n 1 "$TMP/$program.without")" = "exited 0" ] ||
		sed 's/^/# /' "$TMP/$program.without"
	for memory in "$@"; do
		bounce "$program" "$memory"
	done
}

ktap_print_header
if [ ! -e "$ROOT/bin/sh" ]; then
	ktap_skip_all "there are no programs in $ROOT"
	exit "$KSFT_SKIP"
fi
mkdir -p "$TMP"
cp "$DIR/bounce.so" "$DIR/bounce_work.sh" "$TMP/"
[ -e "$ROOT/dev/null" ] || mount --bind /dev "$ROOT/dev"
[ -e "$ROOT/proc/self" ] || mount -t proc none "$ROOT/proc"

if [ "${1:-1}" = 1 ]; then
	ktap_set_plan 12
	for name in sqlite python compiler compress lines redis; do
		try "$name" private coherent
	done
else
	ktap_set_plan 6
	try sqlite private
	try python coherent
	try compiler private
	try compress coherent
	try lines private
	try redis coherent
fi
rm -rf "$TMP"
ktap_finished
