# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Mutants: the driver, or mm/, with one bug planted. Sourced after guest.sh.
#
# Each is a patch in selftests/mutants/, under a line that says what it breaks, and
#   Tests: what is expected to find it, suites or single tests of suites (SUITE:TEST), the
#          likeliest first; nothing else is run
#   Tree: kernel		for mm/; driver without
#   Undoes: <commit>		the fix of the kernel's that it takes back, if it does
#   Kernel: latest		which one; 6.12 without
#   Debug: 1			for what only that one sees; without, one with config/light.config

MUTANTS=$TOP/selftests/mutants

mutant_names() {
	( cd "$MUTANTS" && printf '%s\n' *.patch | sed 's/\.patch$//' )
}

# mutant_field NAME FIELD [DEFAULT]: from the header of a mutant.
mutant_field() {
	local value
	value=$(sed -n "/^---/q; s/^$2: *//p" "$MUTANTS/$1.patch")
	echo "${value:-${3:-}}"
}

mutant_title() {
	sed -n 1p "$MUTANTS/$1.patch"
}

mutate() {
	quietly "$G_DIR/patch.log" patch -p1 --no-backup-if-mismatch -d "$2" -i "$MUTANTS/$1.patch"
}

# mutant_module NAME: builds it in the folder of the driver, which build_driver makes good again.
mutant_module() {
	copy_sources
	[ "$(mutant_field "$1" Tree driver)" != driver ] || mutate "$1" "$G_DIR/driver"
	make_driver
}

# What make check tries each time, each with one quick test: they break nothing but what that is
# about, so that the guest can go on with the next.
SAMPLE="fault-not-dirty ioctl-other-mm fault-error-address"

# copy_sample ROOT: the modules, and beside each its test.
copy_sample() {
	local name to
	for name in $SAMPLE; do
		to=$1/mutants/$name
		mkdir -p "$to"
		mutant_module "$name"
		cp "$G_DIR/driver/drivers/dmirror/dmirror.ko" "$to/"
		mutant_field "$name" Tests | sed 's/ .*//; s/:/ /' >"$to/test"
	done
}
