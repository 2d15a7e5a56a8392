# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced by all the commands: what they share: where things are, and how to talk to the person.

# A command that fails ends the script; where nothing else has said why, this does.
set -eEuo pipefail
shopt -s inherit_errexit
trap 'say "failed at ${BASH_SOURCE[0]}:$LINENO: $BASH_COMMAND"' ERR

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
VM=$TOP/selftests/vm
OUT=$TOP/out
CACHE=${DMIRROR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dmirror}
export LC_ALL=C
# What make was told is for these scripts, not for the kernel's make.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL
export -n KERNEL DEBUG SUITE JOBS TIMEOUT BOUNCE

say() { echo "dmirror: $*" >&2; }
die() { say "$*"; exit 1; }

# quietly LOG COMMAND...: its output goes to LOG, of which the end is shown if it fails.
quietly() {
	local log=$1; shift
	if ! "$@" >"$log" 2>&1 </dev/null; then
		tail -n 40 "$log" >&2
		die "failed: ${*:0:4} ... (whole log: $log)"
	fi
}

# with_progress TEXT COUNT LOG COMMAND...: runs COMMAND as quietly does, and every few
# seconds says TEXT and what the command line COUNT prints; less often where nobody watches.
with_progress() {
	local text=$1 count=$2 start=$SECONDS owner=$BASHPID status=0 ticker pause=10; shift 2
	[ -t 2 ] || pause=60
	say "$text"
	# Nothing of this outlives the command: it would hold locks, and output that is captured.
	(
		trap 'kill $! 2>/dev/null; exit 0' TERM
		while sleep "$pause" & wait $! && kill -0 "$owner" 2>/dev/null; do
			say "$text: $(eval "$count"), $((SECONDS - start)) s"
		done
	) &
	ticker=$!
	( quietly "$@" ) || status=$?
	kill "$ticker"
	wait "$ticker" 2>/dev/null || :
	[ "$status" = 0 ] || exit "$status"
}

# Nothing that runs beside a command survives it.
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'kill $(jobs -p) 2>/dev/null || :' EXIT

# lock FILE, unlock: one at a time, also between two users of one cache. Locks nest, and end
# with the command.
LOCKS=()
lock() {
	local fd
	mkdir -p "$(dirname "$1")"
	exec {fd}>"$1"
	if ! flock -n "$fd"; then
		say "waiting for another command that holds $1"
		flock "$fd"
	fi
	LOCKS+=("$fd")
}

unlock() {
	local fd=${LOCKS[-1]}
	exec {fd}>&-
	unset 'LOCKS[-1]'
}
