# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What goes into the VM: the driver and the tests, built for the selected kernel in a copy
# under out/, so that one checkout serves several kernels. Sourced after kernel.sh.

# What a build in the checkout itself leaves there, and a copy does not want.
BUILT=(--exclude='*.'{o,ko,mod,mod.c,cmd} --exclude={modules.order,Module.symvers})

# build_guest driver|tests: sets G_DIR, where things are built, and makes its initramfs: the
# driver, and the tests if asked for.
build_guest() {
	local root=$OUT/$K_NAME/root
	G_DIR=$OUT/$K_NAME
	lock "$G_DIR/lock"
	fresh_for_kernel
	build_driver
	rm -rf "$root"
	copy_driver "$root"
	if [ "$1" = tests ]; then
		build_tests
		copy_tests "$root/tests"
	fi
	pack "$root" >"$G_DIR/initramfs.$$"
	unlock
}

# Objects of another build of the kernel do not fit.
fresh_for_kernel() {
	[ "$(cat "$G_DIR/built-for" 2>/dev/null)" = "$K_BUILD" ] && return
	rm -rf "$G_DIR/driver" "$G_DIR/tests"
	echo "$K_BUILD" >"$G_DIR/built-for"
}

build_driver() {
	mkdir -p "$G_DIR/driver"
	rsync -a --delete "${BUILT[@]}" "$TOP/drivers" "$TOP/include" "$G_DIR/driver/"
	quietly "$G_DIR/driver.log" \
		make -s -j"$(nproc)" -C "$K_BUILD" M="$G_DIR/driver/drivers/dmirror" modules
	grep -E '(warning|error):' "$G_DIR/driver.log" >&2 || :
}

# The harness gives a test 30 s, which a debug kernel under TCG cannot always keep.
timeout_factor() {
	if [ "$K_DEBUG" = 1 ]; then echo 10; else echo 1; fi
}

build_tests() {
	local target
	mkdir -p "$G_DIR/tests"
	for target in hmm-tests all; do
		quietly "$G_DIR/tests.log" \
			make -s -C "$TOP/selftests" KSRC="$K_SRC" OUTPUT="$G_DIR/tests" \
			HMM_TIMEOUT_FACTOR="$(timeout_factor)" "$target"
	done
}

test_programs() {
	make -s -C "$TOP/selftests" KSRC="$K_SRC" list-programs
}

# What suites call, and the tour.
helper_programs() {
	make -s -C "$TOP/selftests" KSRC="$K_SRC" list-helpers
}

copy_driver() {
	mkdir -p "$1"/{bin,dev,proc,sys,tmp,root,tests,lib/modules}
	cp "$VM/init" "$1/init"
	cp /bin/busybox "$1/bin/"
	ln -s busybox "$1/bin/sh"
	find "$G_DIR/driver/drivers/dmirror" -name '*.ko' -exec cp -t "$1/lib/modules" {} +
}

# Shell tests print KTAP with the kernel's helpers, which 6.1 does not have yet.
copy_tests() {
	local name
	cp "$(newest_tool tools/testing/selftests/kselftest/ktap_helpers.sh)" "$1/"
	for name in hmm-tests $(test_programs) $(helper_programs); do
		cp "$(first_of "$G_DIR/tests/$name" "$TOP/selftests/$name")" "$1/"
	done
}

first_of() {
	local file
	for file; do
		[ ! -e "$file" ] || { echo "$file"; return; }
	done
	die "there is no ${1##*/} among the tests"
}

# pack FOLDER: as an initramfs. Not compressed: unpacking is slow under TCG.
pack() {
	( cd "$1" && find . -mindepth 1 | sort | cpio -o -H newc -R 0:0 --quiet )
}
