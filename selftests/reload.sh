# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Sourced by the suites that need the driver loaded with other parameters.

DIR=$(dirname "$0")
MODULE=${DMIRROR_MODULE:-/lib/modules/dmirror.ko}

# The kernel's helpers are beside the tests in the VM, and in their own folder in a kernel tree. 6.1
# has none.
for helpers in "$DIR" "$DIR/../../kselftest" none; do
	[ "$helpers" != none ] || {
		echo "1..0 # SKIP this kernel's kselftest has no ktap_helpers.sh"
		exit 4
	}
	[ ! -e "$helpers/ktap_helpers.sh" ] || break
done
. "$helpers/ktap_helpers.sh"

reload() {
	if grep -q '^dmirror ' /proc/modules; then
		rmmod dmirror || return 1
	fi
	insmod "$MODULE" "$@"
}

# run_with PROGRAM PARAMETER...: with the driver loaded so, and then again as it was. Ends the
# script.
run_with() {
	program=$1
	shift
	if [ ! -e "$MODULE" ]; then
		ktap_print_header
		ktap_skip_all "there is no module $MODULE to load"
		exit "$KSFT_SKIP"
	fi
	reload "$@" || exit 1
	"$DIR/$program"
	status=$?
	# shellcheck disable=SC2086 # a list of words
	reload $DMIRROR_MODARGS || exit 1
	exit "$status"
}
