#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs the tests of pressure.c with devices of a few MiB, and fewer placeholders.

. "$(dirname "$0")/reload.sh"

# The parameters that the driver came with, without the sizes
other_args() {
	for arg in $DMIRROR_MODARGS; do
		case $arg in
		private_size=* | spm_size=* | private_devices=*) ;;
		*) echo "$arg" ;;
		esac
	done
}

# shellcheck disable=SC2046 # a list of words
run_with pressure $(other_args) private_size=6 spm_size=6 placeholder_size=2
