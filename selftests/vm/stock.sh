# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Debian's newest prebuilt kernel: nothing is compiled but what modules_prepare needs.
# Sourced after kernel.sh.
#
# The kernel was built by a newer gcc than the machine's. That is fine for a module: Debian's
# kernel has no MODVERSIONS and forces no signatures, and only the release string must match.

stock_kernel() {
	local release source version
	apt_use sid
	release=$(stock_release)
	if [ -z "$release" ]; then
		stock_unusable "has no kernel for this machine"
		return
	fi
	# The source of exactly this kernel: structs may differ in another one.
	source=$(newest_source)
	version=$(apt_candidate "$source")
	if [ "$version" != "$(apt_candidate "linux-headers-$release")" ]; then
		stock_unusable "is there ($release) and its source is not yet, or no longer"
		return
	fi
	unpack_source "$source" "$version"
	K_BUILD=$CACHE/build/stock-$release-$(gcc -dumpfullversion)
	K_IMAGE=$K_BUILD/vmlinuz
	lock "$K_BUILD.lock"
	if [ ! -e "$K_BUILD/stamp" ]; then
		mkdir -p "$K_BUILD"
		if ! stock_image "$release"; then
			unlock
			stock_unusable "has no vmlinuz in its packages ($release)"
			return
		fi
		prepare_stock "$release"
	fi
	unlock
	if ! grep -qx CONFIG_DEVICE_PRIVATE=y "$K_BUILD/.config"; then
		stock_unusable "has CONFIG_DEVICE_PRIVATE off ($release)"
	elif grep -qx CONFIG_MODULE_SIG_FORCE=y "$K_BUILD/.config"; then
		stock_unusable "loads none but signed modules ($release)"
	fi
}

stock_unusable() {
	say "Debian's newest kernel $1: building Linux 6.12 instead"
	select_kernel 6.12 0
}

# What follows "linux-headers-" in the package that linux-headers-amd64 stands for.
stock_release() {
	apt_depends linux-headers-amd64 | sed -n 's/^linux-headers-\([0-9].*-amd64\)$/\1/p'
}

prepare_stock() {
	local release=$1 headers
	headers=$(apt_fetch "linux-headers-$release" "$(apt_candidate "linux-headers-$release")")
	dpkg-deb --fsys-tarfile "$headers" | tar -x -C "$K_BUILD" --strip-components=4 --wildcards \
		'*/.config' '*/Module.symvers'
	# Only with the same release string is a module loaded.
	sed -i "s/^CONFIG_LOCALVERSION=.*/CONFIG_LOCALVERSION=\"${release#"$(source_version)"}\"/" \
		"$K_BUILD/.config"
	with_progress "preparing to build modules for $release" \
		"tail -n 1 '$K_BUILD/build.log' | cut -c 1-50" \
		"$K_BUILD/build.log" \
		make -C "$K_SRC" O="$K_BUILD" -j"$(nproc)" olddefconfig modules_prepare
	[ "$(cat "$K_BUILD/include/config/kernel.release")" = "$release" ] ||
		die "the source makes $(cat "$K_BUILD/include/config/kernel.release"), not $release"
	touch "$K_BUILD/stamp"
}

source_version() {
	make -s --no-print-directory -C "$K_SRC" kernelversion
}

# Which package has the vmlinuz differs between releases: look into those that
# linux-image-amd64 depends on, except the modules, which are large. False if none has.
stock_image() {
	local package deb
	for package in $(kernel_packages linux-image-amd64 | grep -F -- "$1" | sort); do
		deb=$(apt_fetch "$package" "$(apt_candidate "$package")")
		dpkg-deb --fsys-tarfile "$deb" | tar -xO --wildcards '*/vmlinuz*' \
			>"$K_IMAGE" 2>/dev/null || continue
		return
	done
	return 1
}

# kernel_packages PACKAGE: the kernel's packages it depends on, and theirs.
kernel_packages() {
	local package
	for package in $(apt_depends "$1" | grep -E '^linux-(image|binary|base)-[0-9]' || :); do
		echo "$package"
		kernel_packages "$package"
	done | sort -u
}
