# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# From what the VM sent to a summary. Sourced after boot.sh.
#
# $R_DIR/<suite>.tap is what a suite printed, <suite>.status how it ended: a number, or "died"
# where the VM did. One KTAP document is made of them, and the newest kernel's kunit.py counts.

# Says how far the tests are, from the results as they come.
progress() {
	local line name='' done=0 start=0 told=0
	while read -r line; do
		case $line in
		"dmirror-vm: begin "*)
			name=${line##* } done=0 start=$SECONDS told=$SECONDS ;;
		"dmirror-vm: end "*)
			say "$name: $done tests, $((SECONDS - start)) s" ;;
		"ok "* | "not ok "*)
			done=$((done + 1))
			[ "${line%% *}" = ok ] || say "$name: $line"
			[ $((SECONDS - told)) -lt 15 ] || {
				say "$name: $done tests so far"
				told=$SECONDS
			} ;;
		esac
	done
}

# split_results: takes $V_DIR/results apart; prints the suite that was running at the end.
split_results() {
	awk -v dir="$R_DIR" '
	/^dmirror-vm: begin / { name = $3; tap = dir "/" name ".tap"; printf "" >tap; next }
	/^dmirror-vm: end /   { print $4 >(dir "/" $3 ".status"); name = ""; next }
	name                  { print >tap }
	END                   { if (name) { print "died" >(dir "/" name ".status"); print name } }
	' "$V_DIR/results"
}

# What a kernel that is well does not print. A name, then what to look for; the first fits. Of
# memory that cannot go offline it dumps an unmovable page, or one that it could not isolate or
# migrate.
KERNEL_COMPLAINTS="
lockdep   WARNING: (possible|suspicious|bad|inconsistent|nested|lock)|correctness validator
kasan     KASAN:
ubsan     UBSAN:
hung_task blocked for more than|lockup|detected (expedited )?stalls
kmemleak  kmemleak: .*(new suspected|disabled)
bug       BUG|Oops|general protection|page dumped because: [^imu]|Kernel panic
warning   WARNING"

# What 6.1 says where there is a node without a CPU, as with one CPU and two nodes.
KERNEL_HARMLESS="WARNING: workqueue cpumask: online intersect > possible intersect"

# check_log: the console as a suite of its own, so that a complaint is a failed test also
# where the tests went well. The first of a kind is shown with what the kernel says about it.
check_log() {
	local name pattern found number=0
	tr -d '\r' <"$V_DIR/console" | sed "/$KERNEL_HARMLESS/d" | awk '
	/dmirror-vm: begin/ { suite = $NF }
	{ print (suite ? suite : "boot") ": " $0 }' >"$V_DIR/console.suites"
	echo "TAP version 13"
	echo "1..$(grep -c . <<<"$KERNEL_COMPLAINTS")"
	while read -r name pattern; do
		[ -n "$name" ] || continue
		number=$((number + 1))
		found=$({ grep -E -m 1 -A 150 -- "$pattern" "$V_DIR/console.suites"
			grep -E -- "$pattern" "$V_DIR/console.suites" | sed -n 2,5p; } || :)
		grep -vE -- "$pattern" "$V_DIR/console.suites" >"$V_DIR/console.rest" || :
		mv "$V_DIR/console.rest" "$V_DIR/console.suites"
		[ -z "$found" ] || printf '# %s\nnot ' "${found//$'\n'/$'\n# '}"
		echo "ok $number log_without_$name"
	done <<<"$KERNEL_COMPLAINTS"
}

# verdict SUITE: a result for it as a whole, where its own results do not say how it ended.
verdict() {
	local tap=$R_DIR/$1.tap status
	status=$(cat "$R_DIR/$1.status" 2>/dev/null || echo "not started")
	if [ "$status" = died ]; then echo "the VM died"
	elif [ "$status" = "not started" ]; then echo "$status"
	elif [ "$status" -ge 128 ]; then echo "killed by signal $((status - 128))"
	elif [ "$status" = 0 ] && ! grep -q '^ok\|^not ok' "$tap"; then echo "no results"
	elif [ "$status" != 0 ] && [ "$status" != 4 ] && ! grep -q '^ *not ok' "$tap"; then
		echo "exited with $status"
	fi
}

# assemble SUITE...: the KTAP document.
assemble() {
	local suite why number=0 results=()
	for suite; do
		why=$(verdict "$suite")
		[ -z "$why" ] || results+=("not ok $suite: $why")
		! grep -q '^ok\|^not ok' "$R_DIR/$suite.tap" 2>/dev/null || results+=("tap $suite")
	done
	printf 'KTAP version 1\n1..%s\n' ${#results[@]}
	for suite in "${results[@]}"; do
		number=$((number + 1))
		case $suite in
		tap*)	nested "$number" "${suite#tap }" ;;
		*)	echo "not ok $number ${suite#not ok }" ;;
		esac
	done
}

# Where the VM died in the middle, one result says so, instead of one for each missing test.
nested() {
	local plan='' results
	if [ "$(cat "$R_DIR/$2.status")" = died ]; then
		results=$(grep -c '^ok\|^not ok' "$R_DIR/$2.tap")
		plan="s/^1\.\.[0-9]*$/1..$results/"
	fi
	sed -e "$plan" -e 's/^/    /' "$R_DIR/$2.tap"
	if grep -q '^ *not ok' "$R_DIR/$2.tap"; then printf 'not '; fi
	echo "ok $1 $2"
}

# summarize NAME SUITE...: prints what failed and was skipped, and the counts; leaves
# out/NAME.ktap, .json and .xml (JUnit). False unless all is well.
summarize() {
	local name=$1 kunit; shift
	kunit=$(newest_tool tools/testing/kunit/kunit.py)
	assemble "$@" >"$OUT/$name.ktap"
	python3 "$kunit" parse --failed --json="$OUT/$name.json" --junit="$OUT/$name.xml" \
		"$OUT/$name.ktap" >"$OUT/$name.txt" || :
	sed -n '/Test results stored/d; s/^\[[0-9:]*\] //p' "$OUT/$name.txt"
	what_skipped "$OUT/$name.ktap"
	count "$OUT/$name.json"
}

# what_skipped KTAP: each with its reason. What the harness of 6.1 prints has no name.
what_skipped() {
	awk '
	$1 == "#" && $2 == "RUN"	{ name = $3 " " }
	!/^ *ok [0-9]+ .*# SKIP/	{ next }
	{ sub(/^ *ok [0-9]+ */, ""); sub(/# SKIP */, "# ") }
	/^#/	{ $0 = name $0 }
	{ print "skipped: " $0 }' "$1"
}

# what_failed KTAP: each with what it said.
what_failed() {
	awk -v name="$(basename "$1" .ktap)" '
	$1 == "#"	{ said = ($2 == "RUN" ? "" : said) $0 "\n"; next }
	/^ *not ok/	{ printf "%s%s: %s\n", said, name, $0 }
	{ said = "" }' "$1"
}

# count JSON...: the last line of every run of tests; false if a test failed or none ran. A
# result that cannot be parsed, a plan that was not kept and a run without results are failures.
count() {
	python3 - "$@" <<-'END'
	import json, os, sys
	none = dict(passed=0, failed=0, crashed=0, errors=1, skipped=0)
	runs = [json.load(open(name))["misc"] if os.path.exists(name) else none
	        for name in sys.argv[1:]]
	total = lambda *keys: sum(run[key] for run in runs for key in keys)
	failed = total("failed", "crashed", "errors")
	print(f"{total('passed')} passed, {failed} failed, {total('skipped')} skipped")
	sys.exit(failed > 0 or total("passed") == 0)
	END
}
