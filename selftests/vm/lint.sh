# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The checks of make lint. Each prints what it has to complain about, and nothing when all is
# well. Sourced after kernel.sh, with the newest kernel's source in TOOLS.

# files PATTERN...: those of the repository, committed or not yet.
files() {
	git -C "$TOP" ls-files -co --exclude-standard --deduplicate -- "$@" | while read -r name; do
		[ ! -e "$TOP/$name" ] || echo "$TOP/$name"
	done
}

# TRACE_EVENT has a layout of its own, which checkpatch does not know.
lint_checkpatch() {
	local patch=("$TOOLS/scripts/checkpatch.pl" --strict --no-tree --no-summary)
	patch+=(-q --terse -f)
	files '*.[ch]' '*.sh' | grep -v '/trace\.h$' | xargs -n 1 perl "${patch[@]}"
	files '*/trace.h' |
		xargs -r perl "${patch[@]}" --ignore OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT
}

lint_kernel_doc() {
	local names
	read -ra names -d '' < <(files 'drivers/*.[ch]' 'include/*.h') || :
	"$TOOLS/scripts/kernel-doc" -none -Wall -Werror "${names[@]}"
}

# The documentation, by docutils. What only Sphinx knows says nothing there, but the files that it
# names have to exist. Debian's python3 has docutils; another that comes first in PATH may not.
lint_rst() {
	local names
	read -ra names -d '' < <(files '*.rst') || :
	/usr/bin/python3 - "$TOP" "${names[@]}" <<-'END'
	import os, sys
	from docutils import nodes
	from docutils.core import publish_doctree
	from docutils.parsers.rst import Directive, directives, roles

	class KernelDoc(Directive):
	    required_arguments = 1
	    names = "doc export functions identifiers internal no-identifiers".split()
	    option_spec = dict.fromkeys(names, directives.unchanged)

	    def run(self):
	        name = self.arguments[0]
	        if not os.path.exists(os.path.join(sys.argv[1], name)):
	            raise self.error(f"there is no {name}")
	        return []

	directives.register_directive("kernel-doc", KernelDoc)
	for role in "ref doc c:func c:type c:macro c:member".split():
	    roles.register_generic_role(role, nodes.literal)
	for name in sys.argv[2:]:
	    with open(name, encoding="utf-8") as file:
	        publish_doctree(file.read(), source_path=name)
	END
}

lint_shellcheck() {
	local names
	read -ra names -d '' < <(files '*' | xargs grep -lE '^#!/bin/(ba)?sh') || :
	# The guest's files are not where the scripts look for them.
	shellcheck -x -e SC1091 "${names[@]}"
	# What one part sets and another uses is no mistake.
	read -ra names -d '' < <(files "$VM/*.sh") || :
	shellcheck -e SC2034,SC2153,SC2154 "${names[@]}"
}

# The kernel's semantic patches, but for three. Two would need an OCaml compiler of 285 MB: one
# is about another driver, the other finds what sparse finds. orplus takes any sum of two
# constants for a mistaken union of flags.
semantic_patches() {
	grep -rl --include='*.cocci' '^virtual.*report' "$K_SRC/scripts/coccinelle" |
		xargs grep -L ocaml | grep -v /orplus
}

lint_coccicheck() {
	prepare_kernel latest 1 gcc
	copy_driver_source
	semantic_patches | xargs -P "$(nproc)" -I {} make -C "$K_BUILD" M="$L_DIR" MODE=report \
		J=1 DEBUG_FILE=/dev/null COCCI={} coccicheck 2>&1 |
		grep -E '\.[ch]:[0-9]+|coccicheck failed|rror:' | sed "s|$L_DIR/||" || :
}

# The structs of the ABI: no holes, the same layout for 32 and 64 bits, C90 and C++.
lint_uapi() {
	local header=$TOP/include/uapi/linux/dmirror.h bits
	local flags=(-Wall -Wextra -Werror -Wpadded -I/usr/include/x86_64-linux-gnu)
	L_DIR=$OUT/lint
	gcc -std=c90 "${flags[@]}" -fsyntax-only -x c "$header"
	g++ "${flags[@]}" -fsyntax-only -x c++ "$header"
	for bits in 32 64; do
		uapi_structs "$header" |
			gcc "-m$bits" -g "${flags[@]}" -c -x c - -o "$L_DIR/uapi$bits.o"
		pahole "$L_DIR/uapi$bits.o" >"$L_DIR/uapi$bits"
	done
	grep -nE 'hole|padding' "$L_DIR/uapi64" || :
	diff "$L_DIR/uapi32" "$L_DIR/uapi64"
}

# Types that nothing uses leave no debugging information.
uapi_structs() {
	echo "#include \"$1\""
	sed -n 's/^struct \([a-z0-9_]*\) {.*/struct \1 v_\1;/p' "$1"
}

copy_driver_source() {
	L_DIR=$OUT/lint/$K_NAME-$K_CC/drivers/dmirror
	rm -rf "$OUT/lint/$K_NAME-$K_CC"
	mkdir -p "$OUT/lint/$K_NAME-$K_CC"
	rsync -a "${BUILT[@]}" "$TOP/drivers" "$TOP/include" "$OUT/lint/$K_NAME-$K_CC/"
}

# lint_build KERNEL COMPILER [VARIABLE=...]: the driver with W=1. Before the kernel itself is
# built there is no list of its symbols, so modpost knows none.
lint_build() {
	local no_symbols='modpost: .* (undefined!|unresolved symbol)|Symbol info of vmlinux'
	no_symbols+='|Module.symvers"? is missing|may not have dependencies|You may get many unres'
	no_symbols+='|You can set KBUILD_MODPOST|if you want to proceed at your own risk'
	prepare_kernel "$1" 1 "$2"
	copy_driver_source
	make -s -j"$(nproc)" -C "$K_BUILD" M="$L_DIR" CC="$2" W=1 KBUILD_MODPOST_WARN=1 "${@:3}" \
		modules 2>&1 | grep -vE "$no_symbols" | sed "s|$L_DIR/||" || :
}

# Linux 7.2 needs a sparse that knows __typeof_unqual__, newer than Debian 12's or 13's: it is
# built from sid's source package, in a few seconds.
newest_sparse() {
	local dir
	apt_use sid
	dir=$CACHE/build/sparse-$(apt_candidate sparse)
	if [ ! -x "$dir/sparse" ]; then
		apt_use sid-source
		rm -rf "$dir"
		mkdir -p "$dir/source"
		(
			cd "$dir/source" || exit
			quietly ../fetch.log \
				apt-get "${APT_OPTIONS[@]}" source --download-only sparse
			tar -xf ./*.orig.tar.* --strip-components=1
			quietly ../build.log make -j"$(nproc)" sparse
			cp sparse ..
		)
	fi
	echo "$dir/sparse"
}

# Of the newest kernel, the version that patches and mutants are for, while Debian has that.
newest_is_known() {
	find_kernel latest 0 gcc
	[ "$K_VERSION" = "$(cat "$TOP/patches/mm/version")" ]
}

# A mutant has to apply, and to name tests that there are.
lint_mutants() {
	local name tree test suite newest=''
	! newest_is_known || newest=$K_SRC
	find_kernel 6.12 0 gcc
	for name in $(mutant_names); do
		tree=$TOP
		if [ "$(mutant_field "$name" Tree driver)" != driver ]; then
			tree=$K_SRC
			[ -z "$(mutant_field "$name" Kernel)" ] || tree=$newest
		fi
		[ -n "$tree" ] || continue
		patch --dry-run -s -f -p1 -F0 -d "$tree" -i "$MUTANTS/$name.patch" ||
			echo "$name does not apply"
		for test in $(mutant_field "$name" Tests "none"); do
			suite=$TOP/selftests/${test%%:*}
			case $test in
			kunit)	;;
			*:*)	grep -qE "TEST.*, ${test#*:}[,)]" "$suite.c" ;;
			*)	[ -e "$suite" ] || [ -e "$suite.c" ] ;;
			esac || echo "$name: there is no test $test"
		done
	done
}

# Those for mm have to apply one after the other.
lint_mm_patches() {
	local tree=$OUT/lint/mm patches=("$TOP"/patches/mm/*.patch) file
	newest_is_known || return 0
	rm -rf "$tree"
	sed -n 's|^--- a/||p' "${patches[@]}" | sort -u | while read -r file; do
		install -D -m 644 "$K_SRC/$file" "$tree/$file"
	done
	for file in "${patches[@]}"; do
		patch -s -f -p1 -F0 -d "$tree" -i "$file" || echo "${file##*/} does not apply"
	done
	perl "$TOOLS/scripts/checkpatch.pl" --strict --no-tree --no-summary -q --terse \
		--ignore MISSING_SIGN_OFF,UNKNOWN_COMMIT_ID "${patches[@]}"
}
