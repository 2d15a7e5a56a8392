// SPDX-License-Identifier: GPL-2.0
/*
 * What migration, faults and invalidation cost, on this driver and on others,
 * in alternation: a round is one run of a case by each driver, and the next
 * round starts with another driver. Prints lines of
 *
 *	case,driver,bytes,pages,median_ns,p99_ns,runs
 *
 * with the driver one of
 *
 *	test_hmm	the kernel's own, at /dev/test_hmm0
 *	dmirror-hmm	this driver by the ABI of that one, at /dev/dmirror_hmm0
 *	dmirror		this driver by its own ABI, at /dev/dmirror0
 *	floor		mm's part: the range is collected and put back where it
 *			was; where memory is unmapped, a process without mirror
 *	memcpy		a copy of the bytes, by words as a kernel copies: an emulator
 *			is slow at the vector registers that the C library uses
 *
 * Each driver has a process of its own, so that what it does invalidates no
 * mirror of another driver, and new memory in each run, so that all find the
 * same. The two numbers are "-" if it could not be done; bytes is then what
 * was moved. What moved is verified.
 *
 *	dmirror_bench [-b SECONDS] [-c PREFIX] [-e]
 *		-b	time for a case of 2 MiB, 10 if not said
 *		-c	only the cases whose names start so
 *		-e	those about a full device, which need one of half their size
 *	dmirror_bench -p
 *		the phases of migrations instead, by the tracepoint
 */
#include <signal.h>

#include "dmirror_test.h"

#define KIB		1024UL
#define MIB		(1024 * KIB)
#define MAX_FILES	100
#define MAX_RUNS	1000
#define MIN_RUNS	5
#define MIN_SLOW_RUNS	3
#define MAX_FAILED	5
#define PHASE_ROUNDS	5
#define PHASE_ROUNDS_MAX	101
#define TRACING		"/sys/kernel/tracing/"

/*
 * In pages: an emulator has one place for addresses that are a power of two apart,
 * and a copy between such would not be what a copy costs.
 */
#define BUFFER_SKEW	37

struct worker;

/* Does something with a part of the memory of a run, at this offset of it */
typedef int (*operation)(struct worker *w, size_t offset, size_t len);

struct abi {
	operation to_device;
	operation to_system;
	operation device_read;
	operation between;
};

enum {
	TEST_HMM	= 1 << 0,
	DMIRROR_HMM	= 1 << 1,
	DMIRROR		= 1 << 2,
	FLOOR		= 1 << 3,
	BARE		= 1 << 4,
	MEMCPY		= 1 << 5,
	DRIVERS		= TEST_HMM | DMIRROR_HMM | DMIRROR,
};

struct driver {
	unsigned int bit;
	const char *name;
	const char *node;
	struct abi abi;
};

/*
 * struct bench_case - a row of the table
 * @names: of what a run measures, one thing or two
 * @run: does it once
 * @bytes: of memory, 0 if it is about none
 * @thp: in huge pages
 * @drivers: who takes part
 * @threads: that share the work, 0 and 1 are the same
 * @files: to open before, 0 and 1 are the same
 * @touched: the device reads the memory before
 * @variant: appended to the name
 */
struct bench_case {
	const char *names[2];
	int (*run)(struct worker *w);
	size_t bytes;
	bool thp;
	unsigned int drivers;
	unsigned int threads;
	unsigned int files;
	bool touched;
	const char *variant;
};

struct sample {
	int ret;
	__u64 bytes;
	__u64 ns[2];
};

/*
 * struct worker - a process that runs a case with a driver
 * @fds: its files, of which the first does the work
 * @mem: the memory of the run
 * @room: how much is mapped there
 * @buf: as much for the other side of copies, for all runs
 * @sample: the result of the run
 * @pid, @ask, @answer: the parent's end
 * @error: of the last run that failed
 * @failed, @runs: counts of them
 * @ns: the results of the others
 */
struct worker {
	const struct bench_case *c;
	const struct driver *d;
	int fds[MAX_FILES];
	char *mem;
	size_t room;
	char *buf;
	struct sample sample;

	pid_t pid;
	int ask;
	int answer;
	int error;
	unsigned int failed;
	unsigned int runs;
	__u64 *ns[2];
};

static __u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/*
 * The drivers
 */

static int hmm_pages(struct worker *w, unsigned long request, size_t offset,
		     size_t len, size_t least)
{
	struct hmm_cmd cmd;
	int ret = hmm_call(w->fds[0], request, w->mem + offset, w->buf + offset,
			   len / dm_page_size(), &cmd);

	return !ret && cmd.cpages < least ? -EAGAIN : ret;
}

static int hmm_to_device(struct worker *w, size_t offset, size_t len)
{
	return hmm_pages(w, HMM_TO_DEV, offset, len, len / dm_page_size());
}

/* A huge page may count as one */
static int hmm_to_system(struct worker *w, size_t offset, size_t len)
{
	return hmm_pages(w, HMM_TO_SYS, offset, len,
			 w->c->thp ? len / DM_HUGE : len / dm_page_size());
}

static int hmm_device_read(struct worker *w, size_t offset, size_t len)
{
	return hmm_pages(w, HMM_READ, offset, len, len / dm_page_size());
}

static int own_migrate(struct worker *w, size_t offset, size_t len,
		       unsigned int target)
{
	struct dmirror_migrate m;
	int ret = dm_migrate_raw(w->fds[0], w->mem + offset, len, target, &m);

	w->sample.bytes = m.moved;
	if (!ret && (target == DMIRROR_TARGET_STAY ? m.resident : m.moved) != len)
		ret = -EBUSY;
	return ret;
}

static int own_to_device(struct worker *w, size_t offset, size_t len)
{
	return own_migrate(w, offset, len, DMIRROR_TARGET_DEVICE);
}

static int own_to_system(struct worker *w, size_t offset, size_t len)
{
	return own_migrate(w, offset, len, DMIRROR_TARGET_SYSTEM);
}

static int own_device_read(struct worker *w, size_t offset, size_t len)
{
	return dm_read(w->fds[0], w->mem + offset, w->buf + offset, len);
}

static int floor_stay(struct worker *w, size_t offset, size_t len)
{
	return own_migrate(w, offset, len, DMIRROR_TARGET_STAY);
}

static void copy_words(char *to, const char *from, size_t len)
{
	const __u64 *src = (const __u64 *)from;
	__u64 *dst = (__u64 *)to;
	size_t i;

#pragma GCC unroll 8
	for (i = 0; i < len / sizeof(*dst); i++) {
		dst[i] = src[i];
		/* So that the compiler does not make memcpy() of it */
		__asm__ volatile("" : : : "memory");
	}
}

static int copy_out(struct worker *w, size_t offset, size_t len)
{
	copy_words(w->buf + offset, w->mem + offset, len);
	return 0;
}

static int copy_in(struct worker *w, size_t offset, size_t len)
{
	copy_words(w->mem + offset, w->buf + offset, len);
	return 0;
}

static const struct driver drivers[] = {
	{ TEST_HMM, "test_hmm", "/dev/test_hmm0",
	  { hmm_to_device, hmm_to_system, hmm_device_read, NULL } },
	{ DMIRROR_HMM, "dmirror-hmm", "/dev/dmirror_hmm0",
	  { hmm_to_device, hmm_to_system, hmm_device_read, NULL } },
	{ DMIRROR, "dmirror", "/dev/dmirror0",
	  { own_to_device, own_to_system, own_device_read, NULL } },
	{ FLOOR, "floor", "/dev/dmirror0",
	  { floor_stay, floor_stay, NULL, own_to_device } },
	{ BARE, "floor", NULL, { NULL } },
	{ MEMCPY, "memcpy", NULL,
	  { copy_out, copy_in, copy_out, NULL } },
};

/* A child asks: the caller's address space gets no mirror by it */
static bool driver_works(const struct driver *d)
{
	pid_t pid;

	if (!d->node)
		return true;
	pid = fork();
	if (!pid)
		_exit(open(d->node, O_RDWR) < 0);
	return !dm_wait(pid);
}

/*
 * Memory: new for each run, one word of each page written
 */

static int get_memory(struct worker *w)
{
	const struct bench_case *c = w->c;
	size_t page = dm_page_size(), i;

	w->room = c->thp && c->bytes < DM_HUGE ? DM_HUGE : c->bytes;
	w->mem = dm_map_flags(w->room, c->thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE,
			      PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS);
	if (!w->mem)
		return -ENOMEM;
	for (i = 0; i < w->room; i += page)
		dm_poke(w->mem + i, i + 1);
	return c->thp && dm_thp_kib(w->mem) < (long)(w->room / KIB) ? -ENOMEM : 0;
}

static bool verify(const struct worker *w)
{
	size_t page = dm_page_size(), i;

	for (i = 0; i < w->room; i += page)
		if (dm_peek(w->mem + i) != i + 1)
			return false;
	return true;
}

static void put_memory(struct worker *w)
{
	if (w->mem)
		munmap(w->mem, w->room);
	w->mem = NULL;
}

/*
 * Time: of an operation on all the memory, by as many threads as the case says
 */

struct share {
	struct worker *w;
	operation op;
	size_t offset;
	size_t len;
	unsigned int cpu;
	pthread_barrier_t *start;
	__u64 end;
	int ret;
};

static void *do_share(void *arg)
{
	struct share *s = arg;

	pin(s->cpu);
	pthread_barrier_wait(s->start);
	s->ret = s->op(s->w, s->offset, s->len);
	s->end = now_ns();
	return NULL;
}

static int timed_by_two(struct worker *w, operation op, __u64 *ns)
{
	size_t half = w->c->bytes / 2;
	pthread_barrier_t start;
	pthread_t thread;
	__u64 begin;
	struct share shares[2] = {
		{ .w = w, .op = op, .offset = 0, .len = half, .cpu = 1 },
		{ .w = w, .op = op, .offset = half, .len = half, .cpu = 0 },
	};

	pthread_barrier_init(&start, NULL, 2);
	shares[0].start = &start;
	shares[1].start = &start;
	if (pthread_create(&thread, NULL, do_share, &shares[1]))
		return -EAGAIN;
	/* The other one is at the barrier, or so near that it does not show. */
	dm_msleep(2);
	begin = now_ns();
	do_share(&shares[0]);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&start);
	*ns = (shares[0].end > shares[1].end ? shares[0].end : shares[1].end) -
	      begin;
	return shares[0].ret ?: shares[1].ret;
}

static int timed(struct worker *w, operation op, __u64 *ns)
{
	__u64 begin;
	int ret;

	if (w->c->threads > 1)
		return timed_by_two(w, op, ns);
	begin = now_ns();
	ret = op(w, 0, w->c->bytes);
	*ns = now_ns() - begin;
	return ret;
}

/*
 * The cases
 */

static int run_migrate(struct worker *w)
{
	const struct abi *abi = &w->d->abi;
	int ret = get_memory(w);

	if (!ret)
		ret = timed(w, abi->to_device, &w->sample.ns[0]);
	if (!ret && abi->between)
		ret = abi->between(w, 0, w->c->bytes);
	if (!ret)
		ret = timed(w, abi->to_system, &w->sample.ns[1]);
	/* What stayed on the device is no longer of interest. */
	if (!ret && !abi->between && !verify(w))
		ret = -EBADMSG;
	put_memory(w);
	return ret;
}

/* The CPU reads a byte of each page */
static int touch(struct worker *w, size_t offset, size_t len)
{
	size_t page = dm_page_size(), i;

	for (i = 0; i < len; i += page)
		__atomic_load_n(w->mem + offset + i, __ATOMIC_RELAXED);
	return 0;
}

static int run_cpu_read(struct worker *w)
{
	int ret = get_memory(w);

	if (!ret)
		ret = w->d->abi.to_device(w, 0, w->c->bytes);
	if (!ret)
		ret = timed(w, w->d->bit == MEMCPY ? copy_in : touch,
			    &w->sample.ns[0]);
	if (!ret && !verify(w))
		ret = -EBADMSG;
	put_memory(w);
	return ret;
}

static int run_device_read(struct worker *w)
{
	int ret = get_memory(w);

	if (!ret)
		ret = timed(w, w->d->abi.device_read, &w->sample.ns[0]);
	if (!ret && memcmp(w->mem, w->buf, w->c->bytes))
		ret = -EBADMSG;
	put_memory(w);
	return ret;
}

static int unmap(struct worker *w, size_t offset, size_t len)
{
	return munmap(w->mem + offset, len) ? -errno : 0;
}

static int run_munmap(struct worker *w)
{
	int ret = get_memory(w);

	if (!ret && w->c->touched && w->d->bit != BARE)
		ret = w->d->abi.device_read(w, 0, w->c->bytes);
	if (!ret)
		ret = timed(w, unmap, &w->sample.ns[0]);
	if (!ret)
		w->mem = NULL;
	put_memory(w);
	return ret;
}

/* Twice as much as the device has: half of it must go for the other half */
static int run_evict(struct worker *w)
{
	struct dmirror_query q;
	int ret = dm_query(w->fds[0], &q);

	if (ret)
		return ret;
	if (2 * q.memory_size != w->c->bytes)
		return -ENODEV;
	ret = get_memory(w) ?: timed(w, own_to_device, &w->sample.ns[0]);
	if (!ret && !verify(w))
		ret = -EBADMSG;
	put_memory(w);
	return ret;
}

static int open_and_close(struct worker *w, size_t offset, size_t len)
{
	int fd = open(w->d->node, O_RDWR);

	return fd < 0 || close(fd) ? -errno : 0;
}

static int run_open_close(struct worker *w)
{
	return timed(w, open_and_close, &w->sample.ns[0]);
}

#define MIGRATE(size, huge, ...)					\
	{ .names = { "to_device", "to_system" }, .run = run_migrate,	\
	  .bytes = (size), .thp = (huge),				\
	  .drivers = DRIVERS | FLOOR | MEMCPY, ##__VA_ARGS__ }
#define CPU_READ(name, size, huge, ...)					\
	{ .names = { name }, .run = run_cpu_read, .bytes = (size),	\
	  .thp = (huge), .drivers = DRIVERS | MEMCPY, ##__VA_ARGS__ }
#define DEVICE_READ(name, size, huge, ...)				\
	{ .names = { name }, .run = run_device_read, .bytes = (size),	\
	  .thp = (huge), .drivers = DRIVERS | MEMCPY, ##__VA_ARGS__ }
#define MUNMAP(huge, ...)						\
	{ .names = { "munmap" }, .run = run_munmap, .bytes = 64 * MIB,	\
	  .thp = (huge), .drivers = DRIVERS | BARE, ##__VA_ARGS__ }

static const struct bench_case cases[] = {
	MIGRATE(4 * KIB, false),
	MIGRATE(4 * KIB, true),
	MIGRATE(64 * KIB, false),
	MIGRATE(64 * KIB, true),
	MIGRATE(2 * MIB, false),
	MIGRATE(2 * MIB, true),
	MIGRATE(64 * MIB, false),
	MIGRATE(64 * MIB, true),
	MIGRATE(64 * MIB, false, .threads = 2),
	MIGRATE(64 * MIB, true, .threads = 2),
	MIGRATE(256 * MIB, false),
	MIGRATE(256 * MIB, true),
	CPU_READ("cpu_readback", 64 * MIB, false),
	CPU_READ("cpu_readback", 64 * MIB, true),
	CPU_READ("cpu_readback", 64 * MIB, false, .threads = 2),
	DEVICE_READ("device_read", 64 * MIB, false),
	DEVICE_READ("device_read", 64 * MIB, true),
	DEVICE_READ("device_read", 64 * MIB, false, .threads = 2),
	CPU_READ("cpu_fault", 4 * KIB, false),
	DEVICE_READ("device_fault", 4 * KIB, false),
	MUNMAP(false, .variant = "touched", .touched = true),
	MUNMAP(false, .variant = "untouched"),
	MUNMAP(false, .variant = "untouched_100_files", .files = MAX_FILES),
	MUNMAP(true, .variant = "touched", .touched = true),
	MUNMAP(true, .variant = "untouched"),
	MUNMAP(true, .variant = "untouched_100_files", .files = MAX_FILES),
	{ .names = { "evict_2x" }, .run = run_evict, .bytes = 256 * MIB,
	  .drivers = DMIRROR },
	{ .names = { "open_close" }, .run = run_open_close,
	  .drivers = DRIVERS },
};

/* The name of what a case measures, such as to_device/64M/small/t2 */
static void case_name(const struct bench_case *c, int which, char *name,
		      size_t size)
{
	size_t bytes = c->bytes;
	const char *unit = "K";
	int n;

	n = snprintf(name, size, "%s", c->names[which]);
	if (!bytes)
		return;
	if (bytes >= MIB) {
		bytes /= KIB;
		unit = "M";
	}
	n += snprintf(name + n, size - n, "/%zu%s/%s", bytes / KIB, unit,
		      c->thp ? "thp" : "small");
	if (c->variant)
		n += snprintf(name + n, size - n, "/%s", c->variant);
	if (c->threads > 1)
		snprintf(name + n, size - n, "/t%u", c->threads);
}

/*
 * Workers
 */

static int open_files(struct worker *w)
{
	unsigned int n = w->c->files ?: 1, i;

	for (i = 0; w->d->node && i < n; i++) {
		w->fds[i] = open(w->d->node, O_RDWR);
		if (w->fds[i] < 0)
			return -errno;
	}
	return 0;
}

static int get_buffer(struct worker *w)
{
	size_t skew = BUFFER_SKEW * dm_page_size();

	if (!w->c->bytes)
		return 0;
	w->buf = dm_map_flags(w->c->bytes + skew, MADV_HUGEPAGE,
			      PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	if (!w->buf)
		return -ENOMEM;
	w->buf += skew;
	memset(w->buf, 1, w->c->bytes);
	return 0;
}

static void work(struct worker *w, int asked, int answer)
{
	int error;
	char c;

	pin(1);
	error = open_files(w) ?: get_buffer(w);
	while (read(asked, &c, 1) == 1) {
		memset(&w->sample, 0, sizeof(w->sample));
		w->sample.ret = error ?: w->c->run(w);
		if (write(answer, &w->sample, sizeof(w->sample)) < 0)
			break;
	}
	_exit(0);
}

static bool start_worker(struct worker *w, const struct bench_case *c,
			 const struct driver *d)
{
	int ask[2], answer[2], i;

	memset(w, 0, sizeof(*w));
	w->c = c;
	w->d = d;
	for (i = 0; i < 2; i++)
		w->ns[i] = calloc(MAX_RUNS, sizeof(*w->ns[i]));
	if (pipe2(ask, O_CLOEXEC) || pipe2(answer, O_CLOEXEC))
		return false;
	w->pid = fork();
	if (!w->pid) {
		close(ask[1]);
		close(answer[0]);
		work(w, ask[0], answer[1]);
	}
	close(ask[0]);
	close(answer[1]);
	w->ask = ask[1];
	w->answer = answer[0];
	return w->pid > 0;
}

static void end_worker(struct worker *w)
{
	int i;

	close(w->ask);
	close(w->answer);
	/* It waits to be asked, with the other ends in workers after it. */
	kill(w->pid, SIGKILL);
	dm_wait(w->pid);
	for (i = 0; i < 2; i++)
		free(w->ns[i]);
}

/* A run; what it takes counts unless it is to warm up */
static void run_once(struct worker *w, bool counts)
{
	int i;

	if (!w->runs && w->failed == MAX_FAILED)
		return;
	if (write(w->ask, "", 1) != 1 ||
	    read(w->answer, &w->sample, sizeof(w->sample)) !=
	    sizeof(w->sample)) {
		memset(&w->sample, 0, sizeof(w->sample));
		w->sample.ret = -EPIPE;
	}
	if (w->sample.ret) {
		w->error = w->sample.ret;
		w->failed++;
	} else if (counts) {
		for (i = 0; i < 2; i++)
			w->ns[i][w->runs] = w->sample.ns[i];
		w->runs++;
	}
}

/*
 * Statistics
 */

static int compare(const void *a, const void *b)
{
	const __u64 *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static __u64 median(__u64 *ns, unsigned int runs)
{
	qsort(ns, runs, sizeof(*ns), compare);
	return (ns[(runs - 1) / 2] + ns[runs / 2]) / 2;
}

static void print_result(const struct worker *w, int which)
{
	size_t bytes = w->runs ? w->c->bytes : w->sample.bytes;
	unsigned int n = w->runs;
	__u64 *ns = w->ns[which];
	char name[64];

	case_name(w->c, which, name, sizeof(name));
	printf("%s,%s,%zu,%zu,", name, w->d->name, bytes, bytes / dm_page_size());
	if (n)
		printf("%llu,", median(ns, n));
	if (n)
		printf("%llu,%u\n", ns[(99 * n + 99) / 100 - 1], n);
	else
		printf("-,-,0\n");
}

static void print_results(const struct worker *w)
{
	int i;

	for (i = 0; i < 2 && w->c->names[i]; i++)
		print_result(w, i);
	if (w->failed)
		fprintf(stderr, "# %s: %u runs of %s failed, the last with: %s\n",
			w->c->names[0], w->failed, w->d->name,
			strerror(-w->error));
	fflush(stdout);
}

/* As many rounds as the time allows; fewer than a few only on a busy machine */
static bool enough(unsigned int rounds, double spent, double budget)
{
	return rounds == MAX_RUNS ||
	       (rounds >= MIN_RUNS && spent > budget) ||
	       (rounds >= MIN_SLOW_RUNS && spent > 2 * budget) ||
	       (rounds && spent > 4 * budget);
}

/* Where a run is short there are many all the same. */
static double weight(const struct bench_case *c)
{
	if (c->bytes < 2 * MIB)
		return 0.5;
	return c->bytes < 64 * MIB || c->run == run_munmap ? 1 : 1.8;
}

static void measure(const struct bench_case *c, unsigned int have, double budget)
{
	static struct worker workers[ARRAY_SIZE(drivers)];
	unsigned int n = 0, rounds, i;
	double begin = dm_now();
	char name[64];

	budget *= weight(c);
	for (i = 0; i < ARRAY_SIZE(drivers); i++)
		if (c->drivers & have & drivers[i].bit &&
		    start_worker(&workers[n], c, &drivers[i]))
			n++;
	for (i = 0; i < n; i++)
		run_once(&workers[i], false);
	for (rounds = 0; !enough(rounds, dm_now() - begin, budget); rounds++)
		for (i = 0; i < n; i++)
			run_once(&workers[(rounds + i) % n], true);
	for (i = 0; i < n; i++) {
		print_results(&workers[i]);
		end_worker(&workers[i]);
	}
	case_name(c, 0, name, sizeof(name));
	fprintf(stderr, "# %s: %u rounds, %.0f s\n", name, rounds,
		dm_now() - begin);
}

static bool chosen(const struct bench_case *c, const char *prefix)
{
	char name[64];
	int i;

	for (i = 0; i < 2 && c->names[i]; i++) {
		case_name(c, i, name, sizeof(name));
		if (!strncmp(name, prefix, strlen(prefix)))
			return true;
	}
	return false;
}

/* The processes that look or run are children: this one never has a mirror. */
static void bench(double budget, const char *prefix, bool evict)
{
	unsigned int have = 0, i;

	for (i = 0; i < ARRAY_SIZE(drivers); i++) {
		if (driver_works(&drivers[i]))
			have |= drivers[i].bit;
		else
			fprintf(stderr, "# without %s\n", drivers[i].name);
	}
	/* A worker may die, and is then asked in vain. */
	signal(SIGPIPE, SIG_IGN);
	puts("case,driver,bytes,pages,median_ns,p99_ns,runs");
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		bool full = cases[i].run == run_evict;

		if (full == evict && chosen(&cases[i], prefix))
			measure(&cases[i], have, budget);
	}
}

/*
 * Phases
 */

static const char * const phases[] = {
	"setup", "alloc", "copy", "pages", "finalize"
};

struct phase_times {
	__u64 total;
	__u64 ns[ARRAY_SIZE(phases)];
};

/* Adds up the batches of one migration */
static int read_phases(struct phase_times *t)
{
	FILE *f = fopen(TRACING "trace", "r");
	char line[512], key[32], *at;
	unsigned int i, batches = 0;

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (!strstr(line, "dmirror_migrate:"))
			continue;
		batches++;
		for (i = 0; i < ARRAY_SIZE(phases); i++) {
			snprintf(key, sizeof(key), " %s=", phases[i]);
			at = strstr(line, key);
			if (at)
				t->ns[i] += strtoull(at + strlen(key), NULL, 10);
		}
	}
	fclose(f);
	return batches ? 0 : -ENODATA;
}

static int trace_one(struct worker *w, operation op, struct phase_times *t)
{
	int fd = open(TRACING "trace", O_WRONLY | O_TRUNC | O_CLOEXEC);

	/* Opened so, it is empty. */
	if (fd < 0)
		return -errno;
	close(fd);
	memset(t, 0, sizeof(*t));
	return timed(w, op, &t->total) ?: read_phases(t);
}

static void print_phases(const struct bench_case *c, int which,
			 struct phase_times *times, unsigned int n)
{
	struct phase_times *t = times;
	__u64 totals[PHASE_ROUNDS_MAX];
	char name[64];
	unsigned int i;

	for (i = 0; i < n; i++)
		totals[i] = times[i].total;
	qsort(totals, n, sizeof(*totals), compare);
	while (t->total != totals[n / 2])
		t++;
	case_name(c, which, name, sizeof(name));
	printf("%s", name);
	for (i = 0; i < ARRAY_SIZE(phases); i++)
		printf(",%llu", t->ns[i]);
	printf(",%llu\n", t->total);
}

/* The round with the median total stands for all; the first warms up */
static int phases_of(const struct bench_case *c)
{
	int rounds = c->bytes < 2 * MIB ? PHASE_ROUNDS_MAX : PHASE_ROUNDS;
	struct phase_times times[2][PHASE_ROUNDS_MAX], *t0, *t1;
	struct worker w = { .c = c, .d = &drivers[2] };
	int ret = open_files(&w), i;

	for (i = -1; !ret && i < rounds; i++) {
		t0 = &times[0][i < 0 ? 0 : i];
		t1 = &times[1][i < 0 ? 0 : i];
		ret = get_memory(&w) ?:
		      trace_one(&w, own_to_device, t0) ?:
		      trace_one(&w, own_to_system, t1);
		put_memory(&w);
	}
	for (i = 0; !ret && i < 2; i++)
		print_phases(c, i, times[i], rounds);
	close(w.fds[0]);
	return ret;
}

static int trace_phases(void)
{
	const char *enable = TRACING "events/dmirror/dmirror_migrate/enable";
	int ret = dm_file_write(enable, "1");
	unsigned int i, failed = !!ret;
	char name[64];

	pin(1);
	printf("case");
	for (i = 0; i < ARRAY_SIZE(phases); i++)
		printf(",%s_ns", phases[i]);
	puts(",total_ns");
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].run != run_migrate || cases[i].threads > 1)
			continue;
		ret = phases_of(&cases[i]);
		if (!ret)
			continue;
		case_name(&cases[i], 0, name, sizeof(name));
		fprintf(stderr, "# phases of %s: %s\n", name, strerror(-ret));
		failed++;
	}
	dm_file_write(enable, "0");
	return !!failed;
}

int main(int argc, char **argv)
{
	const char *prefix = "";
	bool evict = false;
	double budget = 10;
	int c;

	while ((c = getopt(argc, argv, "b:c:ep")) != -1) {
		switch (c) {
		case 'b':
			budget = strtod(optarg, NULL);
			break;
		case 'c':
			prefix = optarg;
			break;
		case 'e':
			evict = true;
			break;
		case 'p':
			return trace_phases();
		default:
			fprintf(stderr, "usage: %s [-b SECONDS] [-c PREFIX] [-e] | -p\n",
				argv[0]);
			return 2;
		}
	}
	bench(budget, prefix, evict);
	return 0;
}
