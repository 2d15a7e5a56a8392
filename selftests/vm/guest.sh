# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What goes into the VM: the driver and the tests, built for the selected kernel in a copy
# under out/, so that one checkout serves several kernels. Sourced after kernel.sh.

BUILT=(--exclude='*.o' --exclude='*.ko' --exclude='*.mod' --exclude='*.mod.c' --exclude='.*.cmd'
	--exclude=modules.order --exclude=Module.symvers)

# build_guest: sets G_DIR, where things are built, and makes $G_DIR/initramfs.
build_guest() {
	G_DIR=$OUT/$K_NAME
	lock "$G_DIR/lock"
	fresh_for_kernel
	build_driver
	build_tests
	build_initramfs
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
	make -s -j"$(nproc)" -C "$K_BUILD" M="$G_DIR/driver/drivers/dmirror" modules \
		>"$G_DIR/driver.log" 2>&1 </dev/null || {
		cat "$G_DIR/driver.log" >&2
		die "the driver does not build for Linux $K_NAME"
	}
	grep -E '(warning|error):' "$G_DIR/driver.log" >&2 || :
}

# The harness gives a test 30 s, which a debug kernel under TCG cannot always keep.
timeout_factor() {
	if [ "$K_DEBUG" = 1 ]; then echo 10; else echo 1; fi
}

build_tests() {
	local target
	mkdir -p "$G_DIR/tests"
	for target in all hmm-tests; do
		make -s -C "$TOP/selftests" KSRC="$K_SRC" OUTPUT="$G_DIR/tests" \
			HMM_TIMEOUT_FACTOR="$(timeout_factor)" "$target" >"$G_DIR/tests.log" 2>&1 </dev/null || {
			tail -n 30 "$G_DIR/tests.log" >&2
			die "the tests do not build for Linux $K_NAME"
		}
	done
}

test_programs() {
	make -s -C "$TOP/selftests" KSRC="$K_SRC" list-programs
}

build_initramfs() {
	local root=$G_DIR/root name
	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,proc,sys,tmp,root,tests,lib/modules}
	cp "$VM/init" "$root/init"
	cp /bin/busybox "$root/bin/"
	ln -s busybox "$root/bin/sh"
	find "$G_DIR/driver/drivers/dmirror" -name '*.ko' -exec cp -t "$root/lib/modules" {} +
	# Shell tests print KTAP with the kernel's helpers, which 6.1 does not have yet.
	cp "$(newest_tool tools/testing/selftests/kselftest/ktap_helpers.sh)" "$root/tests/"
	for name in hmm-tests dmirror_tour $(test_programs); do
		cp "$(first_of "$G_DIR/tests/$name" "$TOP/selftests/$name")" "$root/tests/"
	done
	pack "$root" >"$G_DIR/initramfs"
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
