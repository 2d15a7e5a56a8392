#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs the tests of pressure.c, which need devices of a few MiB: loads the driver with such, and
# then again as it was.

DIR=$(dirname "$0")
. "$DIR/ktap_helpers.sh"

MODULE=${DMIRROR_MODULE:-/lib/modules/dmirror.ko}

# The parameters that the driver came with, without the sizes
other_args() {
	for arg in $DMIRROR_MODARGS; do
		case $arg in
		private_size=* | spm_size=* | private_devices=*) ;;
		*) echo "$arg" ;;
		esac
	done
}

reload() {
	if grep -q '^dmirror ' /proc/modules; then
		rmmod dmirror || return 1
	fi
	insmod "$MODULE" "$@"
}

if [ ! -e "$MODULE" ]; then
	ktap_print_header
	ktap_skip_all "there is no module $MODULE to load"
	exit "$KSFT_SKIP"
fi

# shellcheck disable=SC2046 # a list of words
reload $(other_args) private_size=8 spm_size=8 || exit 1
"$DIR/pressure"
status=$?
# shellcheck disable=SC2086
reload $DMIRROR_MODARGS || exit 1
exit "$status"
