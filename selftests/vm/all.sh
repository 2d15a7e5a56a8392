# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash source-path=SCRIPTDIR
# For the commands: everything, in order.

HERE=$(dirname "${BASH_SOURCE[0]}")
. "$HERE/lib.sh"
. "$HERE/packages.sh"
. "$HERE/apt.sh"
. "$HERE/kernel.sh"
. "$HERE/stock.sh"
. "$HERE/guest.sh"
. "$HERE/programs.sh"
. "$HERE/mutants.sh"
. "$HERE/boot.sh"
. "$HERE/results.sh"

# shellcheck disable=SC2086 # lists of words
need_all() {
	need $BUILD_PACKAGES $VM_PACKAGES
}
