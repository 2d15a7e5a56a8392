# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What make bench does in the guest. Sourced by its job, with the functions of init.

# Both drivers call their nodes /dev/hmm_dmirrorN, so these get other names: /dev/dmirror_hmmN
# and /dev/test_hmmN. Linux 6.1's test_hmm makes none by itself.
load_both() {
	insmod /lib/modules/dmirror.ko
	for link in /sys/class/misc/hmm_dmirror*; do
		IFS=: read -r major minor <"$link/dev"
		mknod "/dev/dmirror_hmm${link##*hmm_dmirror}" c "$major" "$minor"
	done
	rm -f /dev/hmm_dmirror*
	insmod /lib/modules/test_hmm.ko
	major=$(sed -n 's/ HMM_DMIRROR$//p' /proc/devices)
	for minor in 0 1; do
		mknod "/dev/test_hmm$minor" c "$major" "$minor"
	done
	rm -f /dev/hmm_dmirror*
}

# part NAME COMMAND...: its output is what the host finds as NAME.
part() {
	name=$1
	shift
	mark "begin $name"
	"$@" >&5 2>&7
	mark "end $name $?"
}

# hmm_tests DRIVER TEST: of the kernel's hmm-tests, on the nodes of that driver.
hmm_tests() {
	for minor in 0 1; do
		ln -sf "/dev/$1$minor" "/dev/hmm_dmirror$minor"
	done
	echo "# hmm-tests $2 on $1" >&7
	part "hmm-tests-$1" hmm-tests -r "$2"
	rm /dev/hmm_dmirror*
}

# small_device MIB: what fills a device up needs one that is soon full.
small_device() {
	rmmod dmirror
	insmod /lib/modules/dmirror.ko private_size="$1" hmm_abi=0
}
