# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The kernels: their sources, their configuration, their build. Sourced after apt.sh.
#
# The cache has src/<version> and build/<version>-<name>-<key>, where key is made of the
# options, the compiler and what make is told. A folder is complete when it has its stamp file: an
# interrupted build is taken up again.

# What make is told besides, when a kernel is built and when the driver is.
K_ARGS=()
K_MODULE_ARGS=()

# select_kernel NAME DEBUG: gets that kernel ready. DEBUG is 0, 1, light for one with few
# checks that costs little, kcsan for one that looks for data races in the driver and in what of mm/
# it shares data with, or cov for one that counts how often lines of these are run. Sets
#   K_NAME   what it is called in out/ and in messages
#   K_SRC    its source, of K_VERSION
#   K_BUILD  what modules are built against
#   K_IMAGE  what QEMU boots
select_kernel() {
	if [ "$1" = stock ]; then
		[ "$2" = 0 ] || die "KERNEL=stock is built by Debian and has no debug variant;" \
			"use KERNEL=latest DEBUG=1"
		K_NAME=stock
		K_DEBUG=0
		stock_kernel
	else
		find_kernel "$1" "$2" gcc
		build_kernel
	fi
}

# prepare_kernel NAME DEBUG COMPILER: only so far that a module can be compiled against it.
prepare_kernel() {
	find_kernel "$@"
	[ ! -e "$K_BUILD/stamp" ] && [ ! -e "$K_BUILD/prepared" ] || return 0
	lock "$K_BUILD.lock"
	configure_kernel
	quietly "$K_BUILD/prepare.log" \
		make -C "$K_SRC" O="$K_BUILD" CC="$K_CC" -j"$(nproc)" modules_prepare
	touch "$K_BUILD/prepared"
	unlock
}

find_kernel() {
	K_DEBUG=$2
	K_CC=$3
	K_NAME=$1
	case $2 in
	0)	;;
	cov)	K_NAME=$1-cov
		K_ARGS=(GCOV_PROFILE_{migrate_device,hmm}.o=y)
		K_MODULE_ARGS=(GCOV_PROFILE=y) ;;
	light)	K_NAME=$1-light ;;
	kcsan)	K_NAME=$1-kcsan
		K_ARGS=(KCSAN_SANITIZE=n KCSAN_SANITIZE_{migrate_device,hmm}.o=y) ;;
	*)	K_NAME=$1-debug ;;
	esac
	find_source "$1"
	K_VERSION=${K_SRC##*/}
	[ "$K_NAME" != "$1-debug" ] || mapfile -t K_ARGS < <(not_for_kasan)
	read -ra K_CONFIG -d '' < <(fragments "${1%-patched}" "$2") || :
	K_BUILD=$CACHE/build/$K_VERSION-$K_NAME-$(build_key)
	K_IMAGE=$K_BUILD/arch/x86/boot/bzImage
}

find_source() {
	case $1 in
	6.1 | 6.12)	kernel_source "linux-source-$1" system stable ;;
	latest)		kernel_source "$(newest_source)" sid ;;
	5.10)		kernel_source "linux-source-$1" bullseye ;;
	5.10-patched)	kernel_source "linux-source-${1%-*}" bullseye
			patch_source "$TOP/patches/backports/${1%-*}"/0*.patch ;;
	*)		die "there is no KERNEL=$1; there are stock, 6.1, 6.12 and latest" ;;
	esac
}

# not_for_kasan: for make, the files that KASAN does not look into. They hold neither memory of
# programs nor of devices, and what runs at each lock, each timer and each stack trace would be
# nearly half of what it costs. A file goes by its name alone: if one that is to be looked into has
# the same, both are.
not_for_kasan() {
	local out="arch/x86/kernel arch/x86/events arch/x86/pci drivers/acpi drivers/pci"
	out+=" drivers/tty kernel/irq kernel/locking kernel/printk kernel/rcu kernel/sched"
	out+=" kernel/time kernel/trace net"
	out+=" kernel/extable.c kernel/softirq.c kernel/stacktrace.c"
	# shellcheck disable=SC2086 # lists of words
	(
		cd "$K_SRC" || exit
		comm -23 <(names_in $out) \
			<(names_in arch/x86/mm block drivers/dma-buf fs ipc lib mm)
	) | sed 's/.*/KASAN_SANITIZE_&.o=n/'
}

# names_in PATH...: of the C files there, without .c.
names_in() {
	find "$@" -name '*.c' -exec basename -s .c {} + | sort -u
}

need_build_space() {
	local free
	free=$(df -m --output=avail "$CACHE" | tail -n 1)
	[ "$free" -gt 4000 ] || die "$CACHE is on a disk with $free MB free; a kernel needs 4000"
}

newest_source() {
	apt_use sid
	apt_depends linux-source | sed -n '/^linux-source-[0-9]/p'
}

# newest_tool PATH: a file of the newest kernel's source.
newest_tool() {
	local K_SRC
	kernel_source "$(newest_source)" sid
	echo "$K_SRC/$1"
}

# kernel_source PACKAGE SET...: unpacks PACKAGE from the first SET that has it, as K_SRC.
kernel_source() {
	local package=$1 set version=; shift
	for set; do
		apt_use "$set"
		version=$(apt_candidate "$package")
		[ -z "$version" ] || break
	done
	[ -n "$version" ] || die "Debian's archive has no $package; see $CACHE/apt"
	unpack_source "$package" "$version"
}

unpack_source() {
	local deb tmp
	K_SRC=$CACHE/src/${2//[^0-9A-Za-z.-]/_}
	[ ! -d "$K_SRC" ] || return 0
	lock "$K_SRC.lock"
	if [ ! -d "$K_SRC" ]; then
		deb=$(apt_fetch "$1" "$2")
		tmp=$(mktemp -d "$CACHE/src/unpack.XXXXXX")
		with_progress "unpacking $1 $2" "du -sm '$tmp' | sed 's/\t.*/ MB of about 1600/'" \
			"$K_SRC.log" unpack_deb "$deb" "$tmp"
		mv "$tmp" "$K_SRC"
	fi
	unlock
}

unpack_deb() {
	dpkg-deb --fsys-tarfile "$1" | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
		tar -xJ -C "$2" --strip-components=1
}

# patch_source PATCH...: K_SRC becomes a copy of what it is with the patches, named after what they
# change, whatever they say.
patch_source() {
	local from=$K_SRC tmp patch
	K_SRC+=-$(sed -s '1,/^---$/d' "$@" | sha256sum | cut -c 1-10)
	[ ! -d "$K_SRC" ] || return 0
	lock "$K_SRC.lock"
	if [ ! -d "$K_SRC" ]; then
		tmp=$(mktemp -d "$CACHE/src/patch.XXXXXX")
		# Links will do: patch makes a new file of what it changes.
		cp -al "$from/." "$tmp"
		for patch; do
			quietly "$K_SRC.log" patch -s -p1 -d "$tmp" -i "$patch"
		done
		mv "$tmp" "$K_SRC"
	fi
	unlock
}

# fragments NAME DEBUG: the files that configure it.
fragments() {
	local name names=(base "$1")
	case $2 in
	0)	names=(base plain "$1") ;;
	cov | kcsan) names+=("$2") ;;
	light)	names+=(light "$1-debug") ;;
	*)	names+=(debug "$1-debug") ;;
	esac
	for name in "${names[@]}"; do
		[ ! -e "$VM/config/$name.config" ] || echo "$VM/config/$name.config"
	done
}

# options FILE...: the lines that are not comment.
options() {
	grep -hE '^(CONFIG_|# CONFIG_[A-Z0-9_]+ is not set)' "$@"
}

build_key() {
	{
		options "${K_CONFIG[@]}" | sort
		compiler
		[ ${#K_ARGS[@]} = 0 ] || printf '%s\n' "${K_ARGS[@]}"
	} | sha256sum | cut -c 1-10
}

# Its version; for gcc, as before there was another.
compiler() {
	"$K_CC" -dumpfullversion 2>/dev/null || "$K_CC" --version
}

# A compiler that asks for huge pages is a tenth faster, where the system gives none unasked.
build_kernel() {
	# Good enough for a percentage: 6.1 has some fewer, 7.2 some more.
	local objects=1500
	[ ! -e "$K_BUILD/stamp" ] || return 0
	need_build_space
	lock "$K_BUILD.lock"
	if [ ! -e "$K_BUILD/stamp" ]; then
		configure_kernel
		with_progress "building Linux $K_VERSION ($K_NAME)" \
			"echo \$(grep -c '^  [A-Z]' '$K_BUILD/build.log') of about $objects steps" \
			"$K_BUILD/build.log" env GLIBC_TUNABLES=glibc.malloc.hugetlb=1 \
			make -C "$K_SRC" O="$K_BUILD" -j"$(nproc)" "${K_ARGS[@]}" bzImage modules
		touch "$K_BUILD/stamp"
	fi
	unlock
}

# configure_kernel: K_CONFIG's options on allnoconfig, with the kernel's own merge script. (Not
# on tinyconfig: its SLUB_TINY takes KASAN away.)
configure_kernel() {
	mkdir -p "$K_BUILD"
	: >"$K_BUILD/base"
	(
		cd "$K_SRC" || exit
		KCONFIG_CONFIG=$K_BUILD/.config MAKEFLAGS="CC=$K_CC" \
		quietly "$K_BUILD/config.log" scripts/kconfig/merge_config.sh -n -O "$K_BUILD" \
			"$K_BUILD/base" "${K_CONFIG[@]}"
	)
	check_options
}

# Every option that was asked for is in the .config: one that depends on an option that is off
# disappears without a word otherwise. Where two files differ the later one counts.
check_options() {
	local option line lost=
	for option in $(options "${K_CONFIG[@]}" | grep -oE 'CONFIG_[A-Z0-9_]+' | sort -u); do
		line=$(options "${K_CONFIG[@]}" | grep -w "$option" | tail -n 1)
		case $line in
		"#"*)	! grep -q "^$option=" "$K_BUILD/.config" ;;
		*)	grep -qxF "$line" "$K_BUILD/.config" ;;
		esac || lost+="$line; "
	done
	[ -z "$lost" ] || die "Linux $K_NAME does not take these options: $lost" \
		"see $K_BUILD/.config"
}
