#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# bounce_work.sh PROGRAM SCALE FOLDER: has a program of Debian do something in an empty folder, and
# prints what came of it, which is the same each time. bounce.sh compares it.

SCALE=$2

sqlite() {
	sqlite3 db <<-END
	CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, name TEXT);
	BEGIN;
	WITH RECURSIVE c(i) AS
		(SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < $((400 * SCALE)))
		INSERT INTO t SELECT i, i * 7919 % 10007,
			hex(i * 2654435761) || printf('%.60c', '-') FROM c;
	COMMIT;
	CREATE INDEX by_name ON t (name, n);
	UPDATE t SET name = name || id WHERE n % 3 = 0;
	DELETE FROM t WHERE n % 5 = 0;
	VACUUM;
	PRAGMA integrity_check;
	SELECT count(*), sum(n), max(name) FROM t;
	SELECT a.n, b.name FROM t a JOIN t b ON a.id = b.id + 1 ORDER BY b.name, a.n LIMIT 10;
	END
	status=$?
	cksum <db
	return $status
}

python() {
	python3 - "$SCALE" <<-'END'
	import io, random, sys, test.support, unittest
	random.seed(1)
	test.support.verbose = False
	names = ["test.test_sort", "test.test_json.test_decode"]
	if sys.argv[1] != "1":
	    names += ["test.test_dict", "test.test_json"]
	tests = unittest.defaultTestLoader.loadTestsFromNames(names)
	result = unittest.TextTestRunner(stream=io.StringIO()).run(tests)
	for name, text in result.failures + result.errors:
	    print(name, text)
	print(result.testsRun, len(result.skipped), len(result.failures), len(result.errors))
	sys.exit(not result.wasSuccessful())
	END
}

# A program that has memory to lose itself
compiler() {
	cat >list.c <<-'END'
	#include <stdio.h>
	#include <stdlib.h>

	struct item {
		struct item *next;
		unsigned long value;
		char text[48];
	};

	int main(int argc, char **argv)
	{
		unsigned long i, n = atol(argv[1]), value = 1, sum = 0;
		struct item *item, *list = NULL;

		for (i = 0; i < n; i++) {
			item = malloc(sizeof(*item));
			value = value * 6364136223846793005ul + 1;
			item->value = value;
			snprintf(item->text, sizeof(item->text), "%lx", value);
			item->next = list;
			list = item;
		}
		for (; list; list = item) {
			item = list->next;
			if (strtoul(list->text, NULL, 16) != list->value)
				printf("lost %lx\n", list->value);
			sum = sum * 31 + list->value;
			free(list);
		}
		printf("%lx\n", sum);
		return 3;
	}
	END
	gcc -O2 list.c -o list && cksum <list || return
	./list $((2000 * SCALE))
	echo "list: $?"
}

compress() {
	seq 1 $((4000 * SCALE)) | tee plain | xz -1 -T 2 --block-size=65536 >packed
	cksum plain packed
	xz -l packed
	xz -d -c packed | cksum
}

# By any file that has bytes enough
lines() {
	seq 1 $((5000 * SCALE)) | shuf --random-source=/usr/bin/python3 >shuffled
	cksum shuffled
	sort -S 128K --parallel=2 shuffled | cksum
	sort -n --parallel=2 -o sorted shuffled
	status=$?
	cksum sorted
	sort -c -n sorted
	sort -R --random-source=/usr/bin/python3 shuffled | cksum
	return $status
}

if [ "$PORT" ]; then
	AT="-h 127.0.0.1 -p $PORT"
	LISTEN="--bind 127.0.0.1 --port $PORT"
else
	AT="-s socket"
	LISTEN="--port 0 --unixsocket socket"
fi

# shellcheck disable=SC2086 # a list of words
say() {
	redis-cli $AT --raw "$@"
}

# wait_for COMMAND...: for as long as it takes, if not for ever
wait_for() {
	for _ in $(seq 600); do
		"$@" && return
		sleep 0.2
	done
	echo "in vain: $*"
	return 1
}

listens() {
	[ "$(say ping 2>/dev/null)" = PONG ]
}

is_saved() {
	case $(say info persistence) in
	*rdb_bgsave_in_progress:0*rdb_last_bgsave_status:ok*) return 0 ;;
	*) return 1 ;;
	esac
}

# shellcheck disable=SC2086 # lists of words
redis() {
	redis-server $LISTEN --save '' --enable-debug-command local >log 2>&1 &
	server=$!
	wait_for listens || { cat log; return 1; }
	redis-benchmark $AT -q -c 4 -n $((50 * SCALE)) \
		-t set,incr,lpush,lrange_100 >rates
	echo "benchmark: $?"
	seq -f "set key:%g value-%g-$(seq -s . 30)" $((50 * SCALE)) | say | uniq -c
	say dbsize
	say llen mylist
	say get counter:__rand_int__
	say debug digest
	say bgsave
	wait_for is_saved
	redis-check-rdb dump.rdb >rdb
	echo "saved: $?"
	say shutdown nosave
	wait $server
}

mkdir -p "$3" && cd "$3" && "$1"
