# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Debian's programs for the suite bounce.sh, in a tree of their own: /programs in the VM.
# Sourced after guest.sh.
#
# They come from the release that the machine has, so that they share a libc with the library
# that is built here to be preloaded into them.

PROGRAM_PACKAGES="dash coreutils sqlite3 python3 gcc libc6-dev xz-utils redis-server redis-tools"
# What Debian's dependencies would have besides, for installing packages and for what nobody
# runs here: apt is told that these are installed.
PROGRAM_OMITTED="dpkg debianutils tar perl perl-base debconf init-system-helpers adduser passwd
	lsb-base sysvinit-utils net-tools media-types libasan8 liblsan0 libtsan2 libubsan1
	libquadmath0 libitm1 libtirpc-dev libnsl-dev libcrypt-dev rpcsvc-proto libcc1-0 libgprofng0"
# And what is in the packages.
PROGRAM_UNUSED=(usr/share/{doc,man,info,locale,lintian,bug,gcc,gdb,pixmaps} '*/lto1'
	'*lto-dump*' '*/lib*san.a' '*/gprofng*' '*-dwp' '*-ld.gold' '*/gconv/*'
	'usr/include/linux/*/*' etc)
PYTHON_TESTS="test_dict mapping_tests test_sort test_json"

# programs: sets P_CPIO, the tree as an archive.
programs() {
	local list key
	apt_use release
	list=$(program_packages)
	key=$({ echo "$list"; cat "$VM/programs.sh"; } | sha256sum | cut -c 1-10)
	P_CPIO=$CACHE/programs/$key.cpio
	[ ! -e "$P_CPIO" ] || return 0
	lock "$CACHE/programs/lock"
	[ -e "$P_CPIO" ] || make_programs "$list"
	unlock
}

# With what they depend on: names and versions, as apt would install them on an empty system.
program_packages() {
	local status=$CACHE/apt/release/status
	omitted >"$status"
	# shellcheck disable=SC2086 # a list of words
	apt-get "${APT_OPTIONS[@]}" --no-install-recommends -s install $PROGRAM_PACKAGES \
		"$(python_package)-testsuite" |
		sed -n 's/^Inst \([^ ]*\) .*(\([^ ]*\) .*/\1 \2/p' | sort
}

python_package() {
	apt_depends python3 | sed -n 's/^python3\.[0-9]*$/lib&/p'
}

omitted() {
	local package
	for package in $PROGRAM_OMITTED; do
		printf '%s\n' "Package: $package" "Status: install ok installed" "Version: 99:1" \
			"Maintainer: nobody" "Architecture: amd64" "Description: not here" ""
	done
}

# Those that the cache does not have, all at once.
fetch_programs() {
	local package version missing=()
	while read -r package version; do
		[ -n "$(apt_cached "$package" "$version")" ] || missing+=("$package=$version")
	done <<<"$1"
	[ ${#missing[@]} = 0 ] || apt_download "programs, about 90 MB" "${missing[@]}"
}

make_programs() {
	local package version deb tree
	mkdir -p "$CACHE/deb"
	fetch_programs "$1"
	rm -rf "$CACHE/programs"/tree.*
	tree=$(mktemp -d "$CACHE/programs/tree.XXXXXX")
	mkdir -p "$tree/programs"/usr/{bin,sbin,lib,lib64} "$tree/programs"/{dev,proc,tmp}
	for package in bin sbin lib lib64; do
		ln -s "usr/$package" "$tree/programs/$package"
	done
	while read -r package version; do
		deb=$(apt_cached "$package" "$version")
		unpack_program "$deb" "$tree/programs"
	done <<<"$1"
	prepare_python "$tree/programs"
	find "$CACHE/programs" -name '*.cpio' -mtime +7 -delete
	pack "$tree" >"$tree.cpio"
	mv "$tree.cpio" "$P_CPIO"
	rm -r "$tree"
}

unpack_program() {
	local name unused=()
	for name in "${PROGRAM_UNUSED[@]}"; do
		unused+=(--exclude="./$name")
	done
	dpkg-deb --fsys-tarfile "$1" |
		tar -x -C "$2" --keep-directory-symlink --no-same-owner "${unused[@]}"
}

# Of its tests those that are run; and all of it compiled, which the VM would do slowly.
prepare_python() {
	local root=$1 lib name keep=()
	lib=$(echo "$root"/usr/lib/python3.*)
	for name in $PYTHON_TESTS; do
		keep+=(! -name "$name" ! -name "$name.py")
	done
	find "$lib/test" -mindepth 1 -maxdepth 1 ! -name '__init__.py' ! -name support \
		"${keep[@]}" -exec rm -r {} +
	rm -rf "$lib"/{idlelib,lib2to3,tkinter,ensurepip,pydoc_data}
	PYTHONHOME=$root/usr "$root/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" \
		--library-path "$root/usr/lib/x86_64-linux-gnu" "$root/usr/bin/python3" -S \
		-m compileall -q -s "$root" --invalidation-mode unchecked-hash "$lib"
}
