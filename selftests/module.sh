#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Loading and unloading the driver: with memory on its devices, with files open,
# with other parameters, and with parameters that it has to refuse.

. "$(dirname "$0")/reload.sh"

HOLD=$DIR/dmirror_hold
TMP=${TMPDIR:-/tmp}/dmirror-module.$$

# With devices that come and go quickly, unless a parameter says otherwise
load() {
	# Words of parameters, as many as there are
	# shellcheck disable=SC2086
	insmod "$MODULE" private_size=64 placeholder_size=8 \
		$COHERENT ${COHERENT:+spm_size=64} "$@" 2>"$TMP/insmod"
}

loaded() {
	grep -q '^dmirror ' /proc/modules
}

unload() {
	if loaded; then
		rmmod dmirror 2>"$TMP/rmmod"
	fi
}

# The parameters for coherent devices among those that the driver came with
coherent_args() {
	for arg in $DMIRROR_MODARGS; do
		case $arg in
		spm_*) echo "$arg" ;;
		esac
	done
}

value_of() {
	for arg in $DMIRROR_MODARGS; do
		case $arg in
		"$1"=*) echo "${arg#*=}" ;;
		esac
	done
}

# wait_for FILE WORD: until the file has the word, or for a minute
wait_for() {
	tries=0
	until grep -q "$2" "$1" 2>/dev/null; do
		tries=$((tries + 1))
		[ "$tries" -lt 600 ] || return 1
		sleep 0.1
	done
}

# start_holding HOW NODE [file]: see dmirror_hold
start_holding() {
	rm -f "$TMP/fifo" "$TMP/out"
	mkfifo "$TMP/fifo"
	"$HOLD" "$1" "$2" "$TMP/fifo" ${3:+"$3"} >"$TMP/out" 2>&1 &
	HOLDER=$!
	wait_for "$TMP/out" ready
}

# Lets the holder look at its memory: 0 if it is all there
stop_holding() {
	echo go >"$TMP/fifo"
	wait "$HOLDER"
	status=$?
	[ "$status" = 0 ] || sed 's/^/# /' "$TMP/out"
	return "$status"
}

# Memory of a program that has closed its file stays when the driver goes; what was dropped is
# zeroes.
unload_with_memory() {
	unload && load || return 1
	[ -e "$2" ] || return 4
	start_holding "$1" "$2" || return 1
	unload
	gone=$?
	stop_holding && [ "$gone" = 0 ] && ! loaded
}

# An open file keeps the driver, and its devices go on working.
unload_with_file() {
	unload && load || return 1
	start_holding keep /dev/dmirror0 file || return 1
	rmmod dmirror 2>"$TMP/rmmod"
	busy=$?
	[ -e /dev/dmirror0 ] && loaded && [ "$busy" != 0 ] || return 1
	stop_holding && unload
}

unload_leaves_nothing() {
	unload || return 1
	for node in /dev/dmirror* /dev/hmm_dmirror* /sys/kernel/debug/dmirror \
			/sys/class/dmirror; do
		[ ! -e "$node" ] || { echo "# left: $node"; return 1; }
	done
	if grep -qi dmirror /proc/iomem /proc/devices /proc/misc; then
		grep -i dmirror /proc/iomem /proc/devices /proc/misc | sed 's/^/# /'
		return 1
	fi
	load
}

reload_often() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		unload && load || return 1
	done
}

# Copies that are made to fail do not keep the driver from evicting what programs have left.
unload_with_failing_copies() {
	unload && load || return 1
	[ -e /sys/kernel/debug/dmirror/fail_copy ] || return 5
	start_holding keep /dev/dmirror0 || return 1
	for setting in verbose=0 interval=1 times=-1 probability=100; do
		echo "${setting#*=}" >"/sys/kernel/debug/dmirror/fail_copy/${setting%=*}"
	done
	rmmod dmirror 2>"$TMP/rmmod" &
	tries=0
	while loaded; do
		tries=$((tries + 1))
		[ "$tries" -lt 600 ] || return 1
		sleep 0.1
	done
	stop_holding
}

# Of the nodes some may have been made when there is no memory for the next.
load_with_failures() {
	COHERENT= ; unload || return 1
	"$HOLD" load "$MODULE" "private_devices=1 private_size=4 placeholder_size=2"
	status=$?
	load && return "$status"
}

with_parameters() {
	COHERENT= ; unload
	load private_devices=3 private_size=16 || return 1
	[ -e /dev/dmirror2 ] && [ ! -e /dev/dmirror3 ] || return 1
	[ -e /dev/hmm_dmirror2 ] && [ ! -e /dev/hmm_dmirror3 ] || return 1
	[ "$("$HOLD" size /dev/dmirror2)" = 16 ] || return 1
	unload
	load private_devices=1 private_size=2 || return 1
	[ ! -e /dev/dmirror1 ] && [ "$("$HOLD" size /dev/dmirror0)" = 2 ]
}

# As many devices as there can be
with_all_devices() {
	[ "$COHERENT" ] || return 4
	unload
	load private_devices=16 private_size=2 placeholder_size=2 || return 1
	[ -e /dev/dmirror17 ] && [ ! -e /dev/dmirror18 ] || return 1
	for device in 0:2 15:2 16:64 17:64; do
		[ "$("$HOLD" size "/dev/dmirror${device%:*}")" = "${device#*:}" ] ||
			return 1
	done
}

only_coherent() {
	[ "$COHERENT" ] || return 4
	unload
	load private_devices=0 || return 1
	[ -e /dev/dmirror1 ] && [ ! -e /dev/dmirror2 ] || return 1
	[ "$("$HOLD" size /dev/dmirror1)" = 64 ]
}

without_placeholders() {
	unload
	load placeholder_size=0 || return 1
	[ -e "$1" ] || return 4
	"$HOLD" nodrop "$1"
}

without_hmm_abi() {
	COHERENT= ; unload
	load hmm_abi=0 || return 1
	[ -e /dev/dmirror0 ] && [ ! -e /dev/hmm_dmirror0 ] || return 1
	unload
	load hmm_abi=1 || return 1
	[ -e /dev/hmm_dmirror0 ]
}

full_device() {
	COHERENT= ; unload
	# Nothing may be evicted so soon.
	load private_size=2 min_residency_ms=600000 || return 1
	"$HOLD" full /dev/dmirror0 && "$HOLD" full /dev/dmirror1
}

# Memory there and back, with a number of copy engines, of which each has its share
with_engines() {
	COHERENT= ; unload
	load private_size=64 copy_engines="$1" || return 1
	"$HOLD" engines /dev/dmirror0 "$1"
}

# What a CPU fault brings back, with a window of so many KiB
with_window() {
	COHERENT= ; unload
	load private_size=64 cpu_fault_window="$1" || return 1
	[ "$("$HOLD" window /dev/dmirror0)" = "$1" ]
}

# The device has room for one of the two huge pages that a copy is between, and a fault
# on either has it come: the copy ends all the same, wherever in it that is.
rule16_copy_between_two() {
	COHERENT= ; unload
	load private_size=2 device_fault_window=2048 || return 1
	timeout -s KILL 120 "$HOLD" copy /dev/dmirror0
}

# refused WORDS PARAMETER...: the driver does not load, says so with an error
# that names the first of the words (a parameter), and leaves nothing behind
refused() {
	words=$1
	shift
	COHERENT= ; unload
	echo "dmirror-module: refused $$ $*" >/dev/kmsg
	if load "$@"; then
		echo "# loaded with $*"
		return 1
	fi
	dmesg | awk -v mark="refused $$ $*" \
		'after; index($0, mark) { after = 1 }' >"$TMP/log"
	for word in $words; do
		if ! grep -i dmirror "$TMP/log" | grep -q -e "$word"; then
			echo "# no message with $word for $*:"
			sed 's/^/# /' "$TMP/log" "$TMP/insmod"
			return 1
		fi
	done
	! loaded && [ ! -e /dev/dmirror0 ] && [ ! -e /dev/hmm_dmirror0 ] &&
		! grep -qi dmirror /proc/iomem /proc/devices || return 1

	# It loads the next time.
	load
}

# The first System RAM above 1 MiB
system_ram() {
	sed -n 's/^\([0-9a-f]*\)-[0-9a-f]* : System RAM$/0x\1/p' /proc/iomem |
		sed -n '$p'
}

# check NAME FUNCTION ARGUMENT...
check() {
	name=$1
	shift
	"$@"
	case $? in
	0) ktap_test_pass "$name" ;;
	4) ktap_test_skip "$name: no coherent device: spm_addr_dev0 and spm_addr_dev1 missing" ;;
	5) ktap_test_skip "$name: nothing fails on purpose: CONFIG_FAULT_INJECTION_DEBUG_FS" ;;
	*)
		loaded && grep '^dmirror ' /proc/modules | sed 's/^/# /'
		ktap_test_fail "$name"
		;;
	esac
	COHERENT=$(coherent_args)
}

mkdir -p "$TMP"
COHERENT=$(coherent_args)
ktap_print_header

if [ ! -e "$MODULE" ]; then
	ktap_skip_all "there is no module $MODULE to load"
	exit "$KSFT_SKIP"
fi

SPM0=$(value_of spm_addr_dev0)
SPM1=$(value_of spm_addr_dev1)
: "${SPM0:=0x40000000}" "${SPM1:=0x50000000}"

ktap_set_plan 47
check unload_with_memory.private unload_with_memory keep /dev/dmirror0
check unload_with_memory.coherent unload_with_memory keep /dev/dmirror2
check unload_with_dropped.private unload_with_memory drop /dev/dmirror0
check unload_with_dropped.coherent unload_with_memory drop /dev/dmirror2
check unload_with_failing_copies unload_with_failing_copies
check unload_with_file unload_with_file
check unload_leaves_nothing unload_leaves_nothing
check reload_often reload_often
check load_with_failures load_with_failures
check with_parameters with_parameters
check with_all_devices with_all_devices
check only_coherent only_coherent
check without_placeholders.private without_placeholders /dev/dmirror0
check without_placeholders.coherent without_placeholders /dev/dmirror2
check without_hmm_abi without_hmm_abi
check full_device full_device
check with_engines.1 with_engines 1
check with_engines.3 with_engines 3
check with_engines.8 with_engines 8
check with_window.4 with_window 4
check with_window.2048 with_window 2048
check rule16_copy_between_two rule16_copy_between_two
check refused.no_engines refused copy_engines copy_engines=0
check refused.too_many_engines refused copy_engines copy_engines=9
check refused.small_window refused cpu_fault_window cpu_fault_window=2
check refused.small_device_window refused device_fault_window device_fault_window=1
check refused.odd_window refused cpu_fault_window cpu_fault_window=12
check refused.large_window refused cpu_fault_window cpu_fault_window=4096
check refused.odd_device_window refused device_fault_window device_fault_window=12
check refused.large_device_window refused device_fault_window device_fault_window=4096
check refused.no_fault_buffer refused fault_entries fault_entries=0
check refused.large_fault_buffer refused fault_entries fault_entries=65537
check refused.odd_placeholders refused placeholder_size placeholder_size=3
check refused.absurd_placeholders refused placeholder_size placeholder_size=524290
check refused.too_many_devices refused private_devices private_devices=17
check refused.no_devices refused private_devices private_devices=0
check refused.no_memory refused private_size private_size=0
check refused.odd_size refused private_size private_size=3
check refused.absurd_size refused private_size private_size=4294967295
check refused.only_first_spm refused spm_addr_dev1 "spm_addr_dev0=$SPM0"
check refused.only_second_spm refused spm_addr_dev0 "spm_addr_dev1=$SPM1"
check refused.overlapping_spm refused overlap \
	"spm_addr_dev0=$SPM0" "spm_addr_dev1=$SPM0"
check refused.overlapping_spm_size refused overlap \
	"spm_addr_dev0=$SPM0" "spm_addr_dev1=$SPM1" \
	"spm_size=$(((SPM1 - SPM0) / 1048576 + 2))"
check refused.unaligned_spm refused spm_addr_dev0 \
	"spm_addr_dev0=$(printf '0x%x' $((SPM0 + 4096)))" "spm_addr_dev1=$SPM1"
check refused.no_spm_size refused spm_size \
	"spm_addr_dev0=$SPM0" "spm_addr_dev1=$SPM1" spm_size=0
check refused.system_ram refused "-98 $(system_ram)" \
	"spm_addr_dev0=$(system_ram)" "spm_addr_dev1=$SPM1"
check refused.no_such_value refused "" private_devices=many

# As it was found
unload
# shellcheck disable=SC2086
insmod "$MODULE" $DMIRROR_MODARGS || ktap_print_msg "cannot load the driver again"
rm -rf "$TMP"
ktap_finished
