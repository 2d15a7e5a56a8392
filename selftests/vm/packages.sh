# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The Debian packages that the commands need. Sourced after lib.sh.

BUILD_PACKAGES="gcc make libc6-dev flex bison bc libelf-dev libssl-dev python3 pahole
	patch rsync xz-utils lz4 cpio debian-archive-keyring ca-certificates"
# 7.2 takes no clang older than 15; Debian 12 and 13 both have this one.
CLANG=clang-19
VM_PACKAGES="qemu-system-x86 busybox-static"
# For the plots.
BENCH_PACKAGES="gnuplot-nox"
FUZZ_PACKAGES="$CLANG libclang-rt-${CLANG#clang-}-dev g++ binutils"
LINT_PACKAGES="perl coccinelle $CLANG shellcheck g++ git python3-docutils"

missing_packages() {
	local p
	for p; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] ||
			echo "$p"
	done
}

# need PACKAGE...: installs what is missing where that is possible, or says what to do.
need() {
	local missing
	command -v apt-get >/dev/null || die \
		"this command takes kernels and tools from Debian's archive with apt, which" \
		"is not here. Build the module alone, with 'make KDIR=<kernel build folder>':" \
		"that needs gcc or clang, make and the kernel's headers. This needs: $*"
	missing=$(missing_packages "$@" | xargs)
	[ -n "$missing" ] || return 0
	[ "$(id -u)" = 0 ] ||
		die "packages are missing; install them with: sudo apt-get install $missing"
	say "installing with apt-get: $missing"
	mkdir -p "$CACHE/log"
	# shellcheck disable=SC2086 # a list of words
	install_packages $missing
}

install_packages() {
	local log=$CACHE/log/apt-install.log
	export DEBIAN_FRONTEND=noninteractive
	# The lists may be stale or, in a container, absent.
	quietly "$log" apt-get update
	with_progress "installing" "sed -n '/^Unpacking/h; \${g;p}' '$log' | cut -c 1-60" \
		"$log" apt-get install -y --no-install-recommends "$@"
}
