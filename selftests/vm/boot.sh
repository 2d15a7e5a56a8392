# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Boots the VM with a job. Sourced after guest.sh.
#
# The guest talks through virtio-serial ports, each of which is a file here: results (KTAP),
# stdout and stderr (of a program), verdict. The console is the kernel's alone.

MODARGS="spm_addr_dev0=0x100000000 spm_addr_dev1=0x120000000 spm_size=512"

# panic_on_warn and oops=panic: a kernel that has complained is not to be trusted any more.
# memmap: memory for the coherent devices, at 4 GiB, where q35 has nothing but RAM. hugepages: the
# hmm-tests of 6.1 and 6.12 find theirs only if there are some. numa: two nodes, for policies.
# no_timer_check: on a busy machine an emulated timer can be too late for that check, and the kernel
# then stops. rcu_cpu_stall_timeout: nor is a CPU that the machine does not run stalled. tsc: nor
# is its clock wrong; who finds it so has the kernel patch itself in the middle of a run.
CMDLINE="console=ttyS0 panic=-1 panic_on_warn=1 oops=panic transparent_hugepage=always
	memmap=1G\$0x100000000 hugepages=16 numa=fake=2 secretmem.enable=1
	no_timer_check tsc=reliable rcupdate.rcu_cpu_stall_timeout=120 kunit.enable=1
	kunit.autorun=1 printk.devkmsg=on"

# new_vm NAME: a folder for the files of a VM, V_DIR; those of earlier ones are removed.
new_vm() {
	local dir
	for dir in "$G_DIR/$1"-*; do
		kill -0 "${dir##*-}" 2>/dev/null || rm -rf "$dir"
	done
	V_DIR=$G_DIR/$1-$$
	mkdir -p "$V_DIR"
	mv "$G_DIR/initramfs.$$" "$V_DIR/guest.cpio"
	make_ports
}

make_ports() {
	touch "$V_DIR"/{console,results,stdout,stderr,verdict}
}

# boot JOB LIMIT [FILE...]: runs the shell lines JOB in the guest, for LIMIT seconds at most,
# with FILEs (a cpio archive each) in its root. Leaves the ports' files in V_DIR; true if the
# guest came to an end by itself.
boot() {
	local job=$1 limit=$2 tries; shift 2
	mkdir -p "$V_DIR/job"
	printf 'export DMIRROR_MODARGS="%s"\n%s\n' "$MODARGS" "$job" >"$V_DIR/job/job"
	pack "$V_DIR/job" >"$V_DIR/job.cpio"
	cat "$V_DIR/guest.cpio" "$V_DIR/job.cpio" "$@" >"$V_DIR/initramfs"
	for tries in 1 2 3; do
		run_qemu "$limit"
		died_of_emulation || break
		say "the emulator ran an instruction that the kernel had patched already, while" \
			"it booted (try $tries of 3)"
	done
	rm -f "$V_DIR/initramfs"
	grep -q '^\(finished\|exited\)' "$V_DIR/verdict"
}

# An emulated CPU can run an int3 that another one has just replaced, for which nobody is there
# any more. If that was before the guest's first word, nothing that we try can be why.
died_of_emulation() {
	[[ $(accelerator) == *tcg* ]] && [ ! -s "$V_DIR/results" ] && [ ! -s "$V_DIR/verdict" ] &&
		grep -q 'Oops: int3: ' "$V_DIR/console"
}

run_qemu() {
	local limit=$1 status=0
	# shellcheck disable=SC2046,SC2086 # lists of words
	timeout --foreground -k 5 "$limit" qemu-system-x86_64 \
		-nodefaults -no-user-config -no-reboot -display none -pidfile "$V_DIR/pid" \
		-M q35 -m 5G -smp "$(cpus)" $(accelerator) \
		-kernel "$K_IMAGE" -initrd "$V_DIR/initramfs" -append "$(xargs <<<"$CMDLINE")" \
		-serial "${V_CONSOLE:-file:$V_DIR/console}" \
		-device virtio-serial-pci $(ports results stdout stderr verdict) \
		<"${V_INPUT:-/dev/null}" >"${V_OUTPUT:-$V_DIR/qemu.log}" 2>&1 &
	# In the background, so that a signal to this script does not wait for the VM.
	wait $! || status=$?
	[ "$status" != 124 ] || echo "timed out after $limit s" >"$V_DIR/verdict"
	[ "$status" = 0 ] || echo "QEMU's exit status: $status" >>"$V_DIR/qemu.log"
}

# CPUs that wait for each other, as with lockdep, cost most where there are few to run them.
cpus() {
	[ "$K_DEBUG${DMIRROR_SLOW:+slow}" = 1slow ] && echo 1 || echo 2
}

ports() {
	local name
	for name; do
		echo "-chardev file,id=$name,path=$V_DIR/$name"
		echo "-device virtserialport,chardev=$name,name=$name"
	done
}

# relay PORT, end_relay: shows what arrives there while the VM runs.
RELAYS=()
relay() {
	if [ ${#RELAYS[@]} = 0 ]; then
		sleep infinity >/dev/null 2>&1 &
		RELAYED=$!
	fi
	tail -c +1 -s 0.2 -f --pid="$RELAYED" "$V_DIR/$1" &
	RELAYS+=($!)
}

end_relay() {
	kill "$RELAYED"
	wait "$RELAYED" "${RELAYS[@]}" 2>/dev/null || :
	RELAYS=()
}

# /dev/kvm can exist where no guest runs; trust it only with a CPU that has the feature. For
# TCG the plainest CPU is the fastest: others make the kernel copy with rep movsb, which TCG
# emulates byte by byte.
accelerator() {
	if grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo && [ -w /dev/kvm ]; then
		echo "-accel kvm -cpu host"
	else
		echo "-accel tcg,thread=multi -cpu qemu64${V_CPU:-}"
	fi
}

# say_death: why there is no verdict, with the last words of the kernel.
say_death() {
	local why="the VM died"
	! grep -q '^timed out' "$V_DIR/verdict" || why="the VM $(cat "$V_DIR/verdict")"
	say "$why; the end of its console ($V_DIR/console):"
	cat "$V_DIR/qemu.log" >&2
	tail -n 40 "$V_DIR/console" | tr -d '\r' >&2
}
