# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Debian packages of any suite, without root and without touching the system's apt: each
# set of suites has a sources list and a state folder of its own. Sourced after lib.sh.

MIRROR=${DMIRROR_MIRROR:-http://deb.debian.org/debian}
SECURITY=${DMIRROR_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
# Debian publishes several kernels a week; ask again after as many days.
APT_MAX_AGE_DAYS=7

# apt_use SET: the commands below then look there. "system" is what the machine is set up with,
# "release" the Debian release that it is.
apt_use() {
	local dir=$CACHE/apt/$1
	APT_OPTIONS=(-o APT::Sandbox::User=root)
	[ "$1" != system ] || return 0
	APT_OPTIONS+=(
		-o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts="$dir/none"
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts="$dir/none"
		-o Dir::State::Lists="$dir/lists" -o Dir::State::status="$dir/status"
		-o Dir::Cache="$dir/cache" -o APT::Architecture=amd64 -o APT::Architectures=amd64
		-o Acquire::Languages=none
		# Signatures are checked; a mirror that lags behind will do for a test VM.
		-o Acquire::Check-Valid-Until=false
	)
	! apt_fresh "$1" "$dir" || return 0
	# Where two come here at once, the second finds what the first has fetched.
	lock "$dir.lock"
	apt_fresh "$1" "$dir" || apt_update "$1" "$dir"
	unlock
}

apt_fresh() {
	[ -n "$(find "$2/updated" -mtime "-$APT_MAX_AGE_DAYS" 2>/dev/null)" ] &&
		apt_set "$1" | cmp -s - "$2/sources.list"
}

apt_update() {
	local dir=$2
	say "asking Debian's archive ($1) for its packages"
	mkdir -p "$dir/none" "$dir/lists/partial" "$dir/cache/archives/partial"
	rm -f "$dir/updated"
	apt_set "$1" >"$dir/sources.list"
	touch "$dir/status"
	quietly "$dir/update.log" apt-get "${APT_OPTIONS[@]}" \
		-o APT::Update::Error-Mode=any update
	touch "$dir/updated"
}

apt_set() {
	case $1 in
	sid)	apt_sources "$MIRROR sid" ;;
	sid-source) apt_sources "$MIRROR sid" | sed 's/^deb/deb-src/' ;;
	release) apt_sources "$MIRROR $(sed -n "s/^VERSION_CODENAME=//p" /etc/os-release)" ;;
	stable)	apt_sources "$MIRROR bookworm" "$SECURITY bookworm-security" \
			"$MIRROR trixie" ;;
	bullseye) apt_sources "$MIRROR bullseye" "$SECURITY bullseye-security" ;;
	esac
}

apt_sources() {
	printf "deb [signed-by=$KEYRING] %s main\n" "$@"
}

# apt_candidate PACKAGE: its newest version in the selected set, or nothing.
apt_candidate() {
	apt-cache "${APT_OPTIONS[@]}" policy "$1" |
		sed -n 's/^  Candidate: \([^(].*\)/\1/p'
}

# apt_depends PACKAGE: names it depends on, one a line.
apt_depends() {
	apt-cache "${APT_OPTIONS[@]}" depends --no-recommends --no-suggests --no-conflicts \
		--no-breaks --no-replaces --no-enhances "$1" |
		sed -nE 's/^[ |]*(Pre)?Depends: //p'
}

# apt_cached PACKAGE VERSION: its file, if the cache has it.
apt_cached() {
	find "$CACHE/deb" -maxdepth 1 -name "$1_${2//:/%3a}_*.deb"
}

# apt_download TEXT PACKAGE=VERSION...: into the cache.
apt_download() {
	local text=$1 dir; shift
	dir=$(mktemp -d "$CACHE/deb/fetch.XXXXXX")
	cd "$dir" || exit
	with_progress "downloading $text" "du -sm '$dir' | sed 's/\t.*/ MB/'" \
		"$dir.log" apt-get "${APT_OPTIONS[@]}" download "$@"
	# Only a whole file gets its name in the cache.
	mv -- *.deb "$CACHE/deb/"
	cd "$OLDPWD" || exit
	rm -r "$dir" "$dir.log"
}

# apt_fetch PACKAGE VERSION: downloads it unless the cache has it; prints the file.
apt_fetch() {
	mkdir -p "$CACHE/deb"
	[ -n "$(apt_cached "$1" "$2")" ] || apt_download "$1 $2" "$1=$2"
	apt_cached "$1" "$2"
}
