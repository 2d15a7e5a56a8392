# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The kernels: their sources, their configuration, their build. Sourced after apt.sh.
#
# The cache has src/<version> and build/<version>-<name>-<key>, where key is made of the
# options and the compiler. A folder is complete when it has its stamp file: an interrupted
# build is taken up again.

# select_kernel NAME DEBUG: gets that kernel ready. Sets
#   K_NAME   what it is called in out/ and in messages
#   K_SRC    its source     K_BUILD  what modules are built against     K_IMAGE  what QEMU boots
select_kernel() {
	K_NAME=$1
	K_DEBUG=$2
	[ "$K_DEBUG" = 0 ] || K_NAME=$1-debug
	case $1-$2 in
	stock-1)	die "KERNEL=stock is built by Debian and has no debug variant; use KERNEL=latest DEBUG=1" ;;
	stock-0)	stock_kernel; return ;;
	6.1-* | 6.12-*)	kernel_source "linux-source-$1" system stable ;;
	latest-*)	kernel_source "$(newest_source)" sid ;;
	*)		die "there is no KERNEL=$1; there are stock, 6.1, 6.12 and latest" ;;
	esac
	need_build_space
	build_kernel "$1" "$2"
}

need_build_space() {
	local free
	free=$(df -m --output=avail "$CACHE" | tail -n 1)
	[ "$free" -gt 4000 ] || die "$CACHE is on a disk with $free MB free; a kernel needs 4000"
}

newest_source() {
	apt_use sid
	apt_depends linux-source | grep -m 1 '^linux-source-'
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

# fragments NAME DEBUG: the files that configure it, the strongest last.
fragments() {
	echo "$VM/config/base.config" "$VM/config/$1.config"
	[ "$2" = 0 ] || echo "$VM/config/debug.config"
}

# options FILE...: the lines that are not comment.
options() {
	grep -hE '^(CONFIG_|# CONFIG_[A-Z0-9_]+ is not set)' "$@"
}

build_kernel() {
	local files key objects
	read -ra files -d '' < <(fragments "$1" "$2") || :
	key=$({ options "${files[@]}" | sort; gcc -dumpfullversion; } | sha256sum | cut -c 1-10)
	K_BUILD=$CACHE/build/${K_SRC##*/}-$K_NAME-$key
	K_IMAGE=$K_BUILD/arch/x86/boot/bzImage
	[ ! -e "$K_BUILD/stamp" ] || return 0
	lock "$K_BUILD.lock"
	if [ ! -e "$K_BUILD/stamp" ]; then
		mkdir -p "$K_BUILD"
		configure_kernel "${files[@]}"
		# Good enough for a percentage: 6.1 has some fewer, 7.2 some more.
		objects=1700
		with_progress "building Linux ${K_SRC##*/} ($K_NAME)" \
			"echo \$(grep -c '^  [A-Z]' '$K_BUILD/build.log') of about $objects steps" \
			"$K_BUILD/build.log" make -C "$K_SRC" O="$K_BUILD" -j"$(nproc)" bzImage modules
		touch "$K_BUILD/stamp"
	fi
	unlock
}

# configure_kernel FILE...: the options of the files on allnoconfig, with the kernel's own
# merge script. (Not on tinyconfig: its SLUB_TINY takes KASAN away.)
configure_kernel() {
	: >"$K_BUILD/base"
	( cd "$K_SRC" && KCONFIG_CONFIG=$K_BUILD/.config quietly "$K_BUILD/config.log" \
		scripts/kconfig/merge_config.sh -n -O "$K_BUILD" "$K_BUILD/base" "$@" )
	check_options "$@"
}

# check_options FILE...: every option that was asked for is in the .config; an option that
# depends on one that is off disappears without a word otherwise.
check_options() {
	local line option lost=
	while read -r line; do
		option=$(grep -oE 'CONFIG_[A-Z0-9_]+' <<<"$line" | head -n 1)
		[ "$line" = "$(options "$@" | grep -w "$option" | tail -n 1)" ] || continue
		grep -qxF -- "$line" "$K_BUILD/.config" || option_is_absent "$line" || lost+="$line; "
	done < <(options "$@")
	[ -z "$lost" ] || die "Linux $K_NAME does not take these options: $lost(see $K_BUILD/.config)"
}

# An option that is to be off is also off where it does not exist or cannot be seen.
option_is_absent() {
	[ "${1%is not set}" != "$1" ] && ! grep -q "^$(cut -d ' ' -f 2 <<<"$1")=" "$K_BUILD/.config"
}
