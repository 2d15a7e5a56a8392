// SPDX-License-Identifier: GPL-2.0
/*
 * The copy engines: what they count, that an engine ends its jobs in order, and
 * that a copy that fails is not a migration: what it was to move stays, whole,
 * and is reported, and nothing else.
 */
#include <setjmp.h>

#include "kselftest_harness.h"
#include "dmirror_test.h"
#include "dmirror_load.h"

#define TRACING		"/sys/kernel/tracing"
#define EVENT		TRACING "/events/dmirror/dmirror_copy/enable"
#define COPY_EVENT	"dmirror_copy: dev=%u engine=%u seqno=%llu segments=%u bytes=%llu depth=%u ns=%llu error=%d"
#define SEED		0xe791
#define LEN		DM_HUGE
#define TRIES_MAX	100

FIXTURE(engines)
{
	struct dm dm;
	struct dm_engines before;
	long long errors;
	unsigned int device;
	size_t page;
	char *mem;
	char *buf;
	int fd;
};

FIXTURE_VARIANT(engines)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(engines, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(engines, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(engines, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(engines, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

FIXTURE_SETUP(engines)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->device = self->dm.device;
	if (dm_engines(self->device, &self->before))
		SKIP(_exit(DM_SKIP_STATUS), "no debugfs: CONFIG_DEBUG_FS");
	self->fd = self->dm.fd;
	self->page = self->dm.page;
	self->mem = dm_alloc(&self->dm, LEN, SEED);
	ASSERT_NE(NULL, self->mem);
	self->buf = malloc(LEN);
	ASSERT_NE(NULL, self->buf);
	self->errors = dm_counter(self->device, "copy_errors");
}

FIXTURE_TEARDOWN(engines)
{
	dm_fail_stop();
	dm_file_write(EVENT, "0");
	dm_file_write(TRACING "/trace_clock", "local");
	free(self->buf);
	munmap(self->mem, LEN);
	close(self->fd);
}

/* What the engines have done since the last call */
static struct dm_engines engines_did(struct dm_engines *before,
				     unsigned int device)
{
	struct dm_engines now, did;

	dm_engines(device, &now);
	did = now;
	did.jobs -= before->jobs;
	did.errors -= before->errors;
	did.bytes -= before->bytes;
	did.ns -= before->ns;
	*before = now;
	return did;
}

/* What is copied is counted, once; engines share a large batch. */
TEST_F(engines, counts)
{
	struct dm_engines did;
	struct dmirror_migrate m;

	ASSERT_EQ(0, dm_migrate(self->fd, self->mem, LEN, DMIRROR_TARGET_DEVICE,
				&m));
	did = engines_did(&self->before, self->device);
	EXPECT_EQ(m.moved, did.bytes);
	EXPECT_LE(did.count > 1 ? 2 : 1, did.jobs);
	EXPECT_EQ(0, did.errors);
	EXPECT_LT(0, did.ns);
	EXPECT_EQ(0, did.depth);
	EXPECT_LE(1, did.depth_max);

	/* What is there already is not copied. */
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, LEN));
	did = engines_did(&self->before, self->device);
	EXPECT_EQ(0, did.jobs);

	ASSERT_EQ(0, dm_to_system(self->fd, self->mem, LEN));
	did = engines_did(&self->before, self->device);
	EXPECT_EQ(LEN, did.bytes);
	EXPECT_EQ(0, did.errors);
	EXPECT_EQ(self->errors, dm_counter(self->device, "copy_errors"));
}

#define LEAK_ROUNDS	64

/* Nor is a page of the system's lost that was to be copied to. */
TEST_F_TIMEOUT(engines, failed_copy_loses_no_page, 120)
{
	const char *why = dm_fail_start(1);
	struct dmirror_query before, after;
	struct dmirror_migrate m;
	unsigned int i;
	long left;

	if (why)
		SKIP(return, "%s", why);
	dm_fail_stop();
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, LEN));
	ASSERT_EQ(0, dm_query(self->fd, &before));
	dm_settle();
	left = dm_file_value("/proc/meminfo", "MemFree");
	ASSERT_EQ(NULL, dm_fail_start(1));
	for (i = 0; i < LEAK_ROUNDS; i++) {
		ASSERT_EQ(-EIO, dm_migrate_raw(self->fd, self->mem, LEN,
					       DMIRROR_TARGET_SYSTEM, &m));
		ASSERT_EQ(LEN, m.failed);
	}
	dm_fail_stop();
	dm_settle();
	/* In KiB: all of them would be four times what is allowed. */
	EXPECT_GT((long)(LEAK_ROUNDS * LEN / 1024 / 4),
		  left - dm_file_value("/proc/meminfo", "MemFree"));
	ASSERT_EQ(0, dm_query(self->fd, &after));
	EXPECT_EQ(before.memory_used, after.memory_used);
	EXPECT_TRUE(dm_all(self->fd, self->mem, LEN, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, LEN, SEED));
}

/* Every copy fails: no page moves, and all are reported. */
TEST_F(engines, rule11_failed_copy_is_no_migration)
{
	const char *why = dm_fail_start(1);
	struct dmirror_query q, before;
	struct dmirror_migrate m;
	struct dm_engines did;
	struct dmirror_wait w;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, dm_query(self->fd, &before));
	EXPECT_EQ(-EIO, dm_migrate(self->fd, self->mem, LEN,
				   DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(LEN, m.failed);
	EXPECT_EQ(LEN, dm_migrate_sum(&m));
	ASSERT_EQ(0, dm_migrate_job(self->fd, self->mem, LEN,
				    DMIRROR_TARGET_DEVICE, &w));
	EXPECT_EQ(EIO, w.error);
	EXPECT_EQ(LEN, w.stayed);
	EXPECT_TRUE(dm_all(self->fd, self->mem, LEN, DMIRROR_PLACE_SYSTEM));
	did = engines_did(&self->before, self->device);
	EXPECT_LT(0, did.errors);
	EXPECT_EQ(did.jobs, did.errors);
	EXPECT_EQ(0, did.bytes);

	/* Nothing is counted that was not, and no memory is kept. */
	ASSERT_EQ(0, dm_query(self->fd, &q));
	EXPECT_EQ(before.to_device, q.to_device);
	EXPECT_EQ(before.memory_used, q.memory_used);
	EXPECT_EQ(before.copy_errors + did.errors, q.copy_errors);
	EXPECT_EQ(0, dm_bad(self->mem, LEN, SEED));
	dm_fail_stop();

	/* The other way: they stay on the device. */
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, LEN));
	ASSERT_EQ(NULL, dm_fail_start(1));
	EXPECT_EQ(-EIO, dm_migrate(self->fd, self->mem, LEN,
				   DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(LEN, m.failed);
	EXPECT_EQ(LEN, dm_migrate_sum(&m));
	EXPECT_TRUE(dm_all(self->fd, self->mem, LEN, DMIRROR_PLACE_LOCAL));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, LEN));
	EXPECT_EQ(0, dm_bad(self->buf, LEN, SEED));
	dm_fail_stop();
	EXPECT_EQ(0, dm_bad(self->mem, LEN, SEED));
}

/*
 * Every second job fails: what the other one copied has moved, and only what
 * this one was to copy has not. A large folio moves as a whole or not at all.
 */
TEST_F(engines, every_second_copy_fails)
{
	const unsigned int targets[] = {
		DMIRROR_TARGET_DEVICE, DMIRROR_TARGET_SYSTEM,
	};
	const char *why = dm_fail_start(2);
	struct dmirror_migrate m;
	struct dm_engines did;
	unsigned int i;

	if (why)
		SKIP(return, "%s", why);
	for (i = 0; i < ARRAY_SIZE(targets); i++) {
		ASSERT_EQ(NULL, dm_fail_start(2));
		EXPECT_EQ(-EIO, dm_migrate_raw(self->fd, self->mem, LEN,
					       targets[i], &m));
		did = engines_did(&self->before, self->device);
		ASSERT_LE(2, did.jobs);
		EXPECT_LE(did.jobs / 2, did.errors);
		EXPECT_GE((did.jobs + 1) / 2, did.errors);
		EXPECT_EQ(LEN, dm_migrate_sum(&m));
		EXPECT_LT(0, m.failed);
		if (dm_large(&self->dm)) {
			EXPECT_EQ(LEN, m.failed);
		} else {
			EXPECT_LT(0, m.moved);
			EXPECT_EQ(did.bytes, m.moved);
			EXPECT_EQ(LEN, m.moved + m.failed);
		}
		EXPECT_EQ((targets[i] == DMIRROR_TARGET_DEVICE ? m.moved :
			   m.failed) / self->page,
			  dm_count(self->fd, self->mem, LEN,
				   DMIRROR_PLACE_LOCAL));
		EXPECT_EQ(0, dm_stuck(self->fd, self->mem, LEN));
		ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, LEN));
		EXPECT_EQ(0, dm_bad(self->buf, LEN, SEED));
		dm_fail_stop();
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, LEN));
		engines_did(&self->before, self->device);
	}
	EXPECT_LT(self->errors, dm_counter(self->device, "copy_errors"));
	EXPECT_EQ(0, dm_bad(self->mem, LEN, SEED));
}

static sigjmp_buf bus_error;
static unsigned int bus_errors, tries;

static void on_bus_error(int sig)
{
	bus_errors++;
	siglongjmp(bus_error, 1);
}

/* The word at @addr, with as many tries as that takes */
static __u64 read_again(const char *addr)
{
	tries = 0;
	if (sigsetjmp(bus_error, 1) && ++tries > TRIES_MAX)
		return 0;
	return dm_peek(addr);
}

/*
 * On private memory a copy that fails is a bus error for the CPU, on the page
 * that it touched, and the next try is a new one. Coherent memory is not copied
 * to be read, and stays.
 */
TEST_F_TIMEOUT(engines, cpu_fault_fails, 60)
{
	bool private = variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE;
	size_t i, n = LEN / self->page;
	const char *why;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, LEN));
	why = dm_fail_start(1);
	if (why)
		SKIP(return, "%s", why);
	signal(SIGBUS, on_bus_error);
	bus_errors = 0;
	if (!sigsetjmp(bus_error, 1))
		EXPECT_EQ(dm_word(SEED, 0, 0), dm_peek(self->mem));
	EXPECT_EQ(private, bus_errors);
	EXPECT_TRUE(dm_all(self->fd, self->mem, LEN, DMIRROR_PLACE_LOCAL));

	/* Two jobs can be needed for one page. */
	ASSERT_EQ(NULL, dm_fail_start(3));
	for (i = 0; i < n; i++)
		ASSERT_EQ(dm_word(SEED, i, 0),
			  read_again(self->mem + i * self->page));
	if (!private)
		EXPECT_TRUE(dm_all(self->fd, self->mem, LEN,
				   DMIRROR_PLACE_LOCAL));
	dm_fail_stop();
	EXPECT_EQ(0, dm_bad(self->mem, LEN, SEED));
}

/* Nor is it one on what the CPU has not touched, if only that cannot be copied. */
TEST_F(engines, neighbours_copy_fails)
{
	const char *why;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, LEN));
	why = dm_fail_start(1);
	if (why)
		SKIP(return, "%s", why);
	if (variant->backing.memory_type == DMIRROR_MEMORY_COHERENT ||
	    dm_large(&self->dm))
		return;
	/* The copy of the window fails, and that of the page does not. */
	ASSERT_EQ(0, dm_fail_set("times", "1"));
	EXPECT_EQ(dm_word(SEED, 5, 0), dm_peek(self->mem + 5 * self->page));
	EXPECT_EQ(self->errors + 1, dm_counter(self->device, "copy_errors"));
	EXPECT_EQ(1, dm_count(self->fd, self->mem, LEN, DMIRROR_PLACE_SYSTEM));
	EXPECT_EQ(0, dm_bad(self->mem, LEN, SEED));
}

/*
 * Private memory that fork shares comes back before the device writes to it, as by a
 * CPU's fault. If it cannot be copied the write is an error, at the address where, and
 * both processes have what they had.
 */
TEST_F(engines, shared_by_fork_and_copy_fails)
{
	bool private = variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE;
	__u64 *turn = dm_shared();
	struct dmirror_rw rw;
	const char *why;
	pid_t pid;

	ASSERT_NE(NULL, turn);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, LEN));
	pid = dm_fork();
	if (!pid) {
		dm_await(turn, 1);
		_exit(dm_bad(self->mem, LEN, SEED) != 0);
	}
	dm_fill(self->buf, LEN, SEED + 1);
	why = dm_fail_start(1);
	if (!why) {
		EXPECT_EQ(private ? -EFAULT : 0,
			  dm_rw(self->fd, DMIRROR_IOC_WRITE, self->mem,
				self->buf, LEN, &rw));
		EXPECT_EQ(private ? 0 : LEN, rw.done);
		EXPECT_EQ(private ? (uintptr_t)self->mem : 0, rw.fault_addr);
		dm_fail_stop();
		EXPECT_EQ(0, dm_bad(self->mem, LEN, SEED + !private));
		EXPECT_EQ(0, dm_write(self->fd, self->mem, self->buf, LEN));
		EXPECT_EQ(0, dm_bad(self->mem, LEN, SEED + 1));
	}
	dm_poke(turn, 1);
	EXPECT_EQ(0, dm_wait(pid));
	munmap(turn, self->page);
	if (why)
		SKIP(return, "%s", why);
}

struct traffic {
	int fd;
	char *mem;
	size_t len;
};

static int there_and_back(struct dm_worker *w)
{
	const struct traffic *t = w->arg;
	struct dmirror_migrate m;

	return dm_migrate_raw(t->fd, t->mem, t->len, DMIRROR_TARGET_DEVICE, &m) ?:
	       dm_migrate_raw(t->fd, t->mem, t->len, DMIRROR_TARGET_SYSTEM, &m);
}

/* Not dm_call(), which tries again when there was a signal */
static int call_once(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

static bool all_words(const char *mem, size_t len, __u64 value)
{
	size_t at;

	for (at = 0; at < len; at += sizeof(value))
		if (dm_peek(mem + at) != value)
			return false;
	return true;
}

/* There, filled, and back: all of it is what the device wrote to it. */
static int there_filled_and_back(struct dm_worker *w)
{
	const struct traffic *t = w->arg;
	struct dmirror_migrate m = {
		.size = sizeof(m), .target = DMIRROR_TARGET_DEVICE,
		.addr = (uintptr_t)t->mem, .length = t->len,
	};
	struct dmirror_fill f = {
		.size = sizeof(f), .pattern = w->done + 1,
		.addr = (uintptr_t)t->mem, .length = t->len,
	};
	int ret = call_once(t->fd, DMIRROR_IOC_MIGRATE, &m) ?:
		  call_once(t->fd, DMIRROR_IOC_FILL, &f);

	m.target = DMIRROR_TARGET_SYSTEM;
	ret = ret ?: call_once(t->fd, DMIRROR_IOC_MIGRATE, &m);
	if (!ret && (f.done != t->len || dm_migrate_sum(&m) != t->len ||
		     !all_words(t->mem, t->len, f.pattern)))
		ret = -EILSEQ;
	return ret;
}

/* A signal to each of them every now and then, until all have ended */
static void signal_until_done(struct dm_worker *workers, unsigned int nr)
{
	unsigned int i, busy;

	do {
		for (i = 0, busy = 0; i < nr; i++) {
			if (__atomic_load_n(&workers[i].done,
					    __ATOMIC_ACQUIRE) ==
			    workers[i].limit || workers[i].error)
				continue;
			pthread_kill(workers[i].thread, SIGUSR1);
			busy++;
		}
		dm_msleep(1);
	} while (busy);
}

/*
 * A signal that does not kill ends no call, and no wait for an engine: what is to be
 * copied is copied when the call returns. More threads than engines have some wait.
 */
TEST_F_TIMEOUT(engines, signals_end_nothing, 120)
{
	struct dm_worker workers[3] = { 0 };
	struct traffic traffic[3];
	unsigned int i;

	ASSERT_EQ(0, dm_take_signal(SIGUSR1));
	for (i = 0; i < ARRAY_SIZE(workers); i++) {
		traffic[i].fd = self->fd;
		traffic[i].mem = dm_alloc(&self->dm, LEN, SEED + i);
		traffic[i].len = LEN;
		ASSERT_NE(NULL, traffic[i].mem);
		workers[i].step = there_filled_and_back;
		workers[i].arg = traffic + i;
		workers[i].limit = dm_rounds(48);
	}
	for (i = 0; i < ARRAY_SIZE(workers); i++)
		ASSERT_EQ(0, dm_worker_start(workers + i));
	signal_until_done(workers, ARRAY_SIZE(workers));
	for (i = 0; i < ARRAY_SIZE(workers); i++) {
		pthread_join(workers[i].thread, NULL);
		EXPECT_EQ(0, workers[i].error);
		munmap(traffic[i].mem, LEN);
	}
}

#define ENGINES_MAX	8

/* What the trace says that the engines of a device did */
struct copies {
	struct dm_engines did;
	unsigned int segments;
	unsigned int wrong;		/* jobs that ended out of order */
};

static void read_trace(unsigned int device, struct copies *copies)
{
	unsigned long long seqno, bytes, ns, last[ENGINES_MAX] = { 0 };
	unsigned int dev, engine, segments, depth;
	FILE *f = fopen(TRACING "/trace", "r");
	char line[512], *event;
	int error;

	memset(copies, 0, sizeof(*copies));
	while (f && fgets(line, sizeof(line), f)) {
		event = strstr(line, "dmirror_copy: ");
		if (!event || sscanf(event, COPY_EVENT, &dev, &engine, &seqno,
				     &segments, &bytes, &depth, &ns,
				     &error) != 8 ||
		    dev != device || engine >= ENGINES_MAX)
			continue;
		copies->did.jobs++;
		copies->did.errors += !!error;
		copies->did.bytes += error ? 0 : bytes;
		copies->did.ns += ns;
		if (copies->did.depth_max < depth)
			copies->did.depth_max = depth;
		copies->segments += segments;
		copies->wrong += last[engine] && seqno != last[engine] + 1;
		last[engine] = seqno;
	}
	if (f)
		fclose(f);
}

/* Begin with an empty trace of copies: NULL, or why there is none. */
static const char *trace_start(void)
{
	if (dm_file_write(EVENT, "1"))
		return "no events in " TRACING ": CONFIG_ENABLE_DEFAULT_TRACERS";
	/* Counted events: clocks of two CPUs can disagree. This empties the trace. */
	dm_file_write(TRACING "/trace_clock", "counter");
	return NULL;
}

static void trace_stop(unsigned int device, struct copies *copies)
{
	dm_file_write(EVENT, "0");
	read_trace(device, copies);
	dm_file_write(TRACING "/trace_clock", "local");
}

/*
 * Several threads keep the engines busy, one of them with short jobs; each engine's
 * jobs end one by one.
 */
TEST_F_TIMEOUT(engines, completion_in_order, 60)
{
	struct dm_worker workers[3] = { 0 };
	const char *why = trace_start();
	struct traffic traffic[3];
	struct copies copies;
	struct dm_engines did;
	unsigned int i;

	if (why)
		SKIP(return, "%s", why);
	engines_did(&self->before, self->device);
	for (i = 0; i < ARRAY_SIZE(workers); i++) {
		traffic[i].fd = self->fd;
		traffic[i].mem = dm_alloc(&self->dm, LEN, SEED + i);
		traffic[i].len = i ? LEN : dm_page_size();
		ASSERT_NE(NULL, traffic[i].mem);
		workers[i].step = there_and_back;
		workers[i].arg = traffic + i;
		workers[i].limit = i ? 8 : 100;
	}
	for (i = 0; i < ARRAY_SIZE(workers); i++)
		ASSERT_EQ(0, dm_worker_start(workers + i));
	for (i = 0; i < ARRAY_SIZE(workers); i++) {
		pthread_join(workers[i].thread, NULL);
		EXPECT_EQ(0, workers[i].error);
		EXPECT_EQ(0, dm_bad(traffic[i].mem, LEN, SEED + i));
		munmap(traffic[i].mem, LEN);
	}
	did = engines_did(&self->before, self->device);
	trace_stop(self->device, &copies);
	EXPECT_LT(16, copies.did.jobs);
	EXPECT_EQ(0, copies.wrong);
	EXPECT_EQ(0, did.errors);
	/* What is counted is what is traced. */
	EXPECT_EQ(copies.did.jobs, did.jobs);
	EXPECT_EQ(copies.did.bytes, did.bytes);
	EXPECT_EQ(copies.did.ns, did.ns);
	EXPECT_LE(copies.did.depth_max, did.depth_max);
}

/*
 * A large folio has a job for each engine, and small pages one for each share of them.
 * What is in one piece on both sides is one segment of a job, and what is not is no
 * more than a segment for each page.
 */
TEST_F(engines, one_segment_for_one_piece)
{
	const char *why = trace_start();
	bool one = variant->backing.thp &&
		   !dm_counter(self->device, "withheld");
	struct dmirror_migrate m;
	unsigned long long jobs;
	struct dm_engines did;
	struct copies copies;

	if (why)
		SKIP(return, "%s", why);
	dm_settle();
	engines_did(&self->before, self->device);
	ASSERT_EQ(0, dm_migrate_raw(self->fd, self->mem, LEN,
				    DMIRROR_TARGET_DEVICE, &m));
	did = engines_did(&self->before, self->device);
	trace_stop(self->device, &copies);
	EXPECT_EQ(m.moved, copies.did.bytes);
	if (m.moved == LEN) {
		jobs = one && dm_large(&self->dm) ? did.count : LEN / DM_COPY_SHARE;
		EXPECT_EQ(jobs, copies.did.jobs);
		EXPECT_LE(jobs, copies.segments);
		EXPECT_GE(one ? jobs : LEN / self->page, copies.segments);
	}
}

static bool trace_has(const char *what)
{
	FILE *f = fopen(TRACING "/trace", "r");
	bool found = false;
	char line[512];

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, what);
	if (f)
		fclose(f);
	return found;
}

/* A trace says whose the copies are, and what became of the memory. */
TEST_F(engines, events)
{
	char *mem = dm_alloc(&self->dm, LEN, SEED), evicted[64];

	ASSERT_NE(NULL, mem);
	if (dm_file_write(TRACING "/events/dmirror/enable", "1"))
		SKIP(return, "no events in " TRACING ": CONFIG_ENABLE_DEFAULT_TRACERS");
	ASSERT_EQ(0, dm_file_write(TRACING "/events/dma_fence/enable", "1"));
	ASSERT_EQ(0, dm_set_parameter("min_residency_ms", 0));
	ASSERT_EQ(0, dm_to_device(self->fd, mem, LEN));
	snprintf(evicted, sizeof(evicted), "%zu", (size_t)LEN);
	ASSERT_EQ(0, dm_file_write(dm_debugfs_path(self->device, "evict"),
				   evicted));
	dm_set_parameter("min_residency_ms", 10);
	dm_file_write(TRACING "/events/dma_fence/enable", "0");
	dm_file_write(TRACING "/events/dmirror/enable", "0");
	EXPECT_TRUE(trace_has("driver=dmirror timeline=copy"));
	snprintf(evicted, sizeof(evicted), "dmirror_evict: dev=%u",
		 self->device);
	EXPECT_TRUE(trace_has(evicted));
	EXPECT_EQ(0, dm_bad(mem, LEN, SEED));
	munmap(mem, LEN);
}

TEST_HARNESS_MAIN
