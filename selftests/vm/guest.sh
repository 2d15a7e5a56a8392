# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What goes into the VM: the driver and the tests, built for the selected kernel in a copy
# under out/, so that one checkout serves several kernels. Sourced after kernel.sh.

# What a build in the checkout itself leaves there, and a copy does not want.
BUILT=(--exclude='*.'{o,ko,mod,mod.c,cmd,gcno} --exclude={modules.order,Module.symvers})

# build_guest driver|tests [sample]: sets G_DIR, where things are built, and makes its initramfs:
# the driver, the tests if asked for, and the sample of mutants.
build_guest() {
	local root=$OUT/$K_NAME/root
	G_DIR=$OUT/$K_NAME
	lock "$G_DIR/lock"
	fresh_for_kernel
	rm -rf "$root"
	[ -z "${2:-}" ] || copy_sample "$root"
	build_driver
	copy_driver "$root"
	if [ "$1" = tests ]; then
		build_tests
		copy_tests "$root/tests"
	fi
	pack "$root" >"$G_DIR/initramfs.$$"
	unlock
}

# Objects of another build of the kernel do not fit, nor tests with other limits.
fresh_for_kernel() {
	local key
	key="$K_BUILD $(timeout_factor) ${ROUNDS:-}"
	[ "$(cat "$G_DIR/built-for" 2>/dev/null)" = "$key" ] && return
	rm -rf "$G_DIR/driver" "$G_DIR/tests"
	echo "$key" >"$G_DIR/built-for"
}

# A file gets its time stamp here: what differs from what was built before is built again.
copy_sources() {
	mkdir -p "$G_DIR/driver"
	rsync -rlpc --delete "${BUILT[@]}" "$TOP/drivers" "$TOP/include" "$G_DIR/driver/"
}

make_driver() {
	quietly "$G_DIR/driver.log" \
		make -s -j"$(nproc)" -C "$K_BUILD" M="$G_DIR/driver/drivers/dmirror" \
		"${K_MODULE_ARGS[@]}" modules
}

build_driver() {
	copy_sources
	make_driver
	grep -E '(warning|error):' "$G_DIR/driver.log" >&2 || :
}

# The harness gives a test 30 s, which a debug kernel under TCG cannot always keep, nor a slow
# machine.
timeout_factor() {
	case $K_DEBUG${DMIRROR_SLOW:+slow} in
	1 | kcsan | *slow) echo 10 ;;
	*)	echo 1 ;;
	esac
}

build_tests() {
	mkdir -p "$G_DIR/tests"
	build_test_programs hmm-tests "$(timeout_factor)"
	build_test_programs all "$(timeout_factor)"
}

# build_test_programs TARGET FACTOR
build_test_programs() {
	quietly "$G_DIR/tests.log" make -s -j"$(nproc)" -C "$TOP/selftests" KSRC="$K_SRC" \
		OUTPUT="$G_DIR/tests" HMM_TIMEOUT_FACTOR="$2" \
		ROUNDS="${ROUNDS:-${DMIRROR_SLOW:+few}}" "$1"
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

# copy_program PROGRAM ROOT: to /program there and, unless it is static, the libraries that it asks
# for, at the same paths as here.
copy_program() {
	local file
	mkdir -p "$2/program"
	cp -L "$1" "$2/program/"
	for file in $(ldd "$1" 2>/dev/null | grep -oE '/[^ ]+' || :); do
		mkdir -p "$2${file%/*}"
		cp -L "$file" "$2$file"
	done
}

# pack FOLDER: as an initramfs. Not compressed: unpacking is slow under TCG.
pack() {
	( cd "$1" && find . -mindepth 1 | sort | cpio -o -H newc -R 0:0 --quiet )
}
