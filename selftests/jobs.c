// SPDX-License-Identifier: GPL-2.0
/*
 * Jobs in the background, and the faults of jobs: the fault buffer, duplicates,
 * cancelling, and what is migrated on a fault.
 * Documentation: drivers/dmirror/dmirror.rst.
 */
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/time.h>

#include "kselftest_harness.h"
#include "dmirror_test.h"
#include "dmirror_load.h"

#define SEED		0x10b5
#define JOBS_MAX	64
#define STORM_THREADS	4
#define STORM_ROUNDS	40
#define WAIT_SECONDS	60
#define VAST		0x100000000000UL

FIXTURE(jobs)
{
	struct dm dm;
	size_t len;
	char *mem;
	char dir[64];
};

FIXTURE_VARIANT(jobs)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(jobs, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(jobs, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(jobs, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(jobs, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

/* Whether the device leaves faults in its buffer */
static bool set_hold(const char *dir, bool hold)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/hold_faults", dir);
	return dm_knob(path, hold ? "1" : "0");
}

static void await_faults(unsigned int device, long count)
{
	while (dm_faults_waiting(device) < count)
		dm_msleep(1);
}

/* Until the engine has come upon a full buffer, or a while has passed */
static void await_stall(unsigned int device, const struct dm_faults *before)
{
	struct dm_faults faults;
	unsigned int tries;

	for (tries = 0; tries < 10000; tries++) {
		if (dm_faults(device, &faults) ||
		    faults.stalls > before->stalls)
			return;
		dm_msleep(1);
	}
}

FIXTURE_SETUP(jobs)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	snprintf(self->dir, sizeof(self->dir),
		 "/sys/kernel/debug/dmirror/dmirror%d", self->dm.device);
	self->len = self->dm.len;
	self->mem = dm_alloc(&self->dm, self->len, SEED);
	ASSERT_NE(NULL, self->mem);
}

FIXTURE_TEARDOWN(jobs)
{
	set_hold(self->dir, false);
	dm_knob(DM_PARAM("device_fault_window"), "0");
	munmap(self->mem, self->len);
	close(self->dm.fd);
}

static bool all_words(const void *addr, size_t len, __u64 value)
{
	const __u64 *word = addr;
	size_t i;

	for (i = 0; i < len / sizeof(*word); i++)
		if (word[i] != value)
			return false;
	return true;
}

/* Each kind of job does what the ioctl of its kind does. */
TEST_F(jobs, each_kind)
{
	char *copy = dm_map(&self->dm, self->len);
	struct dmirror_wait w;
	__u64 job;

	ASSERT_NE(NULL, copy);
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_MIGRATE, self->mem,
			       self->len, DMIRROR_TARGET_DEVICE, -1, &job));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_EQ(self->len, w.done);
	EXPECT_EQ(0, w.stayed);
	EXPECT_TRUE(dm_all(self->dm.fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));

	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_COPY, copy, self->len,
			       (uintptr_t)self->mem, -1, &job));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_EQ(self->len, w.done);
	EXPECT_LE(1, w.faults);
	EXPECT_EQ(0, dm_bad(copy, self->len, SEED));

	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, self->mem,
			       self->len, 0xabcd, -1, &job));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_TRUE(all_words(self->mem, self->len, 0xabcd));

	/* A job can be waited for once. */
	EXPECT_EQ(-ENOENT, dm_wait_job(self->dm.fd, job, 0, &w));
	EXPECT_EQ(-ENOENT, dm_wait_job(self->dm.fd, 0, 0, &w));
	EXPECT_EQ(0, dm_bad(copy, self->len, SEED));
	munmap(copy, self->len);
}

/* An eventfd says when the result can be had without waiting. */
TEST_F(jobs, eventfd)
{
	int event = eventfd(0, 0);
	struct dmirror_wait w;
	__u64 job, count;

	ASSERT_LE(0, event);
	ASSERT_TRUE(set_hold(self->dir, true));
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, self->mem,
			       self->len, 7, event, &job));
	EXPECT_EQ(-EAGAIN, dm_wait_job(self->dm.fd, job, DMIRROR_WAIT_POLL,
				       &w));
	ASSERT_TRUE(set_hold(self->dir, false));
	ASSERT_EQ(sizeof(count), read(event, &count, sizeof(count)));
	EXPECT_EQ(1, count);
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, DMIRROR_WAIT_POLL, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_TRUE(all_words(self->mem, self->len, 7));
	close(event);
}

/* So it does of a migration. */
TEST_F(jobs, eventfd_of_a_migration)
{
	struct pollfd event = { .fd = eventfd(0, 0), .events = POLLIN };
	struct dmirror_wait w;
	__u64 job, count;

	ASSERT_LE(0, event.fd);
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_MIGRATE, self->mem,
			       self->len, DMIRROR_TARGET_DEVICE, event.fd,
			       &job));
	ASSERT_EQ(1, poll(&event, 1, WAIT_SECONDS * 1000));
	ASSERT_EQ(sizeof(count), read(event.fd, &count, sizeof(count)));
	EXPECT_EQ(1, count);
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, DMIRROR_WAIT_POLL, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(event.fd);
}

/* A migration says how much stayed where it was, for whatever reason. */
TEST_F(jobs, migration_counts_what_stayed)
{
	size_t page = self->dm.page, len = DM_PAGES * page, done = 0;
	char *mem = dm_map_flags(len, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS);
	struct dmirror_wait w = { 0 };
	unsigned int tries;
	__u64 job;

	ASSERT_NE(NULL, mem);
	ASSERT_NE(MAP_FAILED, mmap(mem + 8 * page, 4 * page,
				   PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
				   0));
	dm_fill(mem, len, SEED);
	for (tries = 0; tries < DM_RETRIES && done != len - 4 * page; tries++) {
		dm_settle();
		ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_MIGRATE, mem,
				       len, DMIRROR_TARGET_DEVICE, -1, &job));
		ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));
		EXPECT_EQ(0, w.error);
		EXPECT_LE(4 * page, w.stayed);
		done += w.done;
	}
	EXPECT_EQ(len - 4 * page, done);
	EXPECT_EQ(4 * page, w.stayed);
	EXPECT_EQ(0, dm_bad(mem, len, SEED));
	munmap(mem, len);
}

TEST_F(jobs, bad_arguments)
{
	int fd = self->dm.fd, pipes[2];
	char *mem = self->mem;
	struct dmirror_wait w;
	__u64 job;

	EXPECT_EQ(-EINVAL, dm_submit(fd, 0, mem, 8, 0, -1, &job));
	EXPECT_EQ(-EINVAL, dm_submit(fd, 4, mem, 8, 0, -1, &job));
	EXPECT_EQ(-EINVAL, dm_submit(fd, DMIRROR_JOB_FILL, mem, 0, 0, -1,
				     &job));
	EXPECT_EQ(-EINVAL, dm_submit(fd, DMIRROR_JOB_FILL, mem + 1, 8, 0, -1,
				     &job));
	EXPECT_EQ(-EINVAL, dm_submit(fd, DMIRROR_JOB_MIGRATE, mem,
				     self->dm.page, 0, -1, &job));
	EXPECT_EQ(-EINVAL, dm_submit(fd, DMIRROR_JOB_MIGRATE, mem,
				     self->dm.page, 4, -1, &job));
	EXPECT_EQ(-EINVAL, dm_submit(fd, DMIRROR_JOB_MIGRATE, mem + 8,
				     self->dm.page, DMIRROR_TARGET_DEVICE, -1,
				     &job));
	EXPECT_EQ(-EINVAL, dm_submit(fd, DMIRROR_JOB_COPY, mem, 16,
				     (uintptr_t)mem + 8, -1, &job));
	EXPECT_EQ(-EOVERFLOW, dm_submit(fd, DMIRROR_JOB_COPY, mem, 16, ~0ULL,
					-1, &job));
	EXPECT_EQ(-EINVAL, dm_submit(fd, DMIRROR_JOB_FILL, mem, 8, 0, -2,
				     &job));
	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-EBADF, dm_submit(fd, DMIRROR_JOB_FILL, mem, 8, 0, pipes[0],
				    &job));
	close(pipes[0]);
	EXPECT_EQ(-EBADF, dm_submit(fd, DMIRROR_JOB_FILL, mem, 8, 0, pipes[0],
				    &job));
	close(pipes[1]);
	EXPECT_EQ(-EINVAL, dm_wait_job(fd, 1, 2, &w));
	EXPECT_EQ(-ENOENT, dm_wait_job(fd, 1, 0, &w));
	EXPECT_EQ(0, dm_bad(mem, self->len, SEED));
}

/* The number of a job is the file's own: it says nothing of the kernel's memory. */
TEST_F(jobs, numbers)
{
	int fds[] = { dm_open_number(self->dm.device),
		      dm_open_number(self->dm.device) };
	struct dmirror_wait w;
	__u64 jobs[2];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		ASSERT_LE(0, fds[i]);
		ASSERT_EQ(0, dm_submit(fds[i], DMIRROR_JOB_FILL, self->mem, 64,
				       1, -1, &jobs[i]));
	}
	EXPECT_NE(0, jobs[0]);
	EXPECT_EQ(jobs[0], jobs[1]);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, dm_wait_job(fds[i], jobs[i], 0, &w));
		close(fds[i]);
	}
}

struct fill_call {
	int fd;
	struct dmirror_fill fill;
	int ret;
};

static void *call_fill(void *arg)
{
	struct fill_call *call = arg;

	call->ret = dm_call(call->fd, DMIRROR_IOC_FILL, &call->fill);
	return NULL;
}

/* Nobody else can wait for what a call waits for itself: it has no number. */
TEST_F(jobs, call_without_a_number)
{
	struct fill_call call = {
		.fd = self->dm.fd,
		.fill = {
			.size = sizeof(call.fill),
			.addr = (uintptr_t)self->mem,
			.length = self->dm.page,
		},
	};
	struct dmirror_wait w;
	pthread_t thread;

	ASSERT_TRUE(set_hold(self->dir, true));
	ASSERT_EQ(0, pthread_create(&thread, NULL, call_fill, &call));
	await_faults(self->dm.device, 1);
	EXPECT_EQ(-ENOENT, dm_wait_job(self->dm.fd, 0, DMIRROR_WAIT_POLL, &w));
	ASSERT_TRUE(set_hold(self->dir, false));
	pthread_join(thread, NULL);
	EXPECT_EQ(0, call.ret);
	EXPECT_TRUE(all_words(self->mem, self->dm.page, 0));
}

/* A job that runs into a hole says where, and what it did before. */
TEST_F(jobs, fault_that_cannot_be_served)
{
	size_t half = self->len / 2;
	struct dmirror_wait w;
	__u64 job;

	munmap(self->mem + half, half);
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, self->mem,
			       self->len, 9, -1, &job));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));
	EXPECT_EQ(EFAULT, w.error);
	EXPECT_EQ(half, w.done);
	EXPECT_EQ((uintptr_t)self->mem + half, w.fault_addr);
	EXPECT_TRUE(all_words(self->mem, half, 9));

	mprotect(self->mem, half, PROT_READ);
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, self->mem, half,
			       8, -1, &job));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));
	EXPECT_EQ(EPERM, w.error);
	EXPECT_EQ((uintptr_t)self->mem, w.fault_addr);
	EXPECT_TRUE(all_words(self->mem, half, 9));
}

/* A job whose number cannot be told is none of those that a file may have. */
TEST_F(jobs, number_not_told)
{
	struct dmirror_submit *args = mmap(NULL, self->dm.page,
					   PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct dmirror_wait w;
	unsigned int i;
	__u64 job;

	ASSERT_NE(MAP_FAILED, args);
	*args = (struct dmirror_submit) {
		.size = sizeof(*args),
		.op = DMIRROR_JOB_FILL,
		.addr = (uintptr_t)self->mem,
		.length = 64,
		.argument = 5,
		.eventfd = -1,
	};
	ASSERT_EQ(0, mprotect(args, self->dm.page, PROT_READ));
	for (i = 0; i <= JOBS_MAX; i++)
		ASSERT_EQ(-EFAULT, dm_call(self->dm.fd, DMIRROR_IOC_SUBMIT,
					   args));
	/* It is cancelled: nobody waits for a fault that is not served. */
	ASSERT_EQ(0, mprotect(args, self->dm.page, PROT_READ | PROT_WRITE));
	args->addr += self->len / 2;
	ASSERT_EQ(0, mprotect(args, self->dm.page, PROT_READ));
	ASSERT_TRUE(set_hold(self->dir, true));
	EXPECT_EQ(-EFAULT, dm_call(self->dm.fd, DMIRROR_IOC_SUBMIT, args));
	EXPECT_EQ(0, dm_faults_waiting(self->dm.device));
	ASSERT_TRUE(set_hold(self->dir, false));
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, self->mem,
			       self->len, 6, -1, &job));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_TRUE(all_words(self->mem, self->len, 6));
	munmap(args, self->dm.page);
}

/* More jobs than a file may have are refused; those that are waited for go. */
TEST_F(jobs, limit)
{
	__u64 jobs[JOBS_MAX], job, value;
	int event = eventfd(0, EFD_NONBLOCK);
	struct dmirror_wait w;
	unsigned int i;

	ASSERT_LE(0, event);
	/* What a call has waited for itself does not count. */
	for (i = 0; i < JOBS_MAX; i++)
		ASSERT_EQ(0, dm_read64(self->dm.fd, self->mem, &value));
	for (i = 0; i < JOBS_MAX; i++)
		ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL,
				       self->mem + i * 64, 64, i, -1,
				       &jobs[i]));
	EXPECT_EQ(-EBUSY, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, self->mem,
				    64, i, event, &job));
	for (i = 0; i < JOBS_MAX; i++) {
		ASSERT_EQ(0, dm_wait_job(self->dm.fd, jobs[i], 0, &w));
		EXPECT_EQ(0, w.error);
		EXPECT_TRUE(all_words(self->mem + i * 64, 64, i));
	}
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, self->mem, 64, i,
			       -1, &job));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));

	/* Of the job that never was the eventfd has not heard. */
	EXPECT_EQ(-1, read(event, &job, sizeof(job)));
	close(event);
}

/* A full buffer stalls the engine: later all jobs are done, none is lost. */
TEST_F(jobs, full_fault_buffer)
{
	int fds[] = { self->dm.fd, dm_open_number(self->dm.device) };
	__u64 jobs[2][JOBS_MAX];
	struct dm_faults before, faults;
	struct dmirror_wait w;
	unsigned int i, f;
	char path[128];

	ASSERT_LE(0, fds[1]);
	ASSERT_EQ(0, dm_faults(self->dm.device, &before));
	ASSERT_TRUE(set_hold(self->dir, true));
	for (f = 0; f < 2; f++)
		for (i = 0; i < JOBS_MAX; i++)
			ASSERT_EQ(0, dm_submit(fds[f], DMIRROR_JOB_FILL,
					       self->mem + (f * JOBS_MAX + i) *
					       64, 64, f * JOBS_MAX + i, -1,
					       &jobs[f][i]));
	await_faults(self->dm.device, JOBS_MAX);
	await_stall(self->dm.device, &before);
	ASSERT_EQ(0, dm_faults(self->dm.device, &faults));
	EXPECT_EQ(JOBS_MAX, faults.waiting);
	EXPECT_EQ(before.reported + JOBS_MAX, faults.reported);
	EXPECT_LT(before.stalls, faults.stalls);
	snprintf(path, sizeof(path), "%s/hold_faults", self->dir);
	EXPECT_EQ(1, dm_file_number(path));
	EXPECT_EQ(-EAGAIN, dm_wait_job(fds[1], jobs[1][JOBS_MAX - 1],
				       DMIRROR_WAIT_POLL, &w));

	ASSERT_TRUE(set_hold(self->dir, false));
	for (f = 0; f < 2; f++)
		for (i = 0; i < JOBS_MAX; i++) {
			ASSERT_EQ(0, dm_wait_job(fds[f], jobs[f][i], 0, &w));
			EXPECT_EQ(0, w.error);
			EXPECT_TRUE(all_words(self->mem + (f * JOBS_MAX + i) *
					      64, 64, f * JOBS_MAX + i));
		}
	EXPECT_EQ(0, dm_faults_waiting(self->dm.device));
	close(fds[1]);
}

/* Of many faults on one page in the buffer, one is served. */
TEST_F(jobs, duplicates)
{
	char path[128];
	__u64 jobs[8];
	struct dmirror_wait w;
	unsigned int i;
	long before;

	snprintf(path, sizeof(path), "%s/counters", self->dir);
	ASSERT_TRUE(set_hold(self->dir, true));
	for (i = 0; i < ARRAY_SIZE(jobs); i++)
		ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL,
				       self->mem + i * 64, 64, i, -1,
				       &jobs[i]));
	await_faults(self->dm.device, ARRAY_SIZE(jobs));
	before = dm_file_value(path, "device_faults");
	ASSERT_TRUE(set_hold(self->dir, false));
	for (i = 0; i < ARRAY_SIZE(jobs); i++) {
		ASSERT_EQ(0, dm_wait_job(self->dm.fd, jobs[i], 0, &w));
		EXPECT_EQ(0, w.error);
		EXPECT_TRUE(all_words(self->mem + i * 64, 64, i));
	}
	/* They may be taken out in more than one batch, but not one by one. */
	EXPECT_GT(ARRAY_SIZE(jobs), dm_file_value(path, "device_faults") -
				    before);
	EXPECT_LT(0, dm_file_value(path, "duplicate_faults"));
}

static void fills_its_own(const struct dm *dm)
{
	int fd = dm_open_number(dm->device);
	char *mem = dm_map_flags(dm->page, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS);
	struct dmirror_wait w;
	__u64 job;

	DM_CHECK(fd >= 0 && mem);
	DM_CHECK(!dm_submit(fd, DMIRROR_JOB_FILL, mem, dm->page, 9, -1, &job));
	DM_CHECK(!dm_wait_job(fd, job, 0, &w));
	DM_CHECK(!w.error);
	_exit(!all_words(mem, dm->page, 9));
}

/* Faults of two programs in the buffer: each is served in the memory of its own. */
TEST_F(jobs, faults_of_two_programs)
{
	struct dmirror_wait w;
	__u64 job;
	pid_t pid;

	ASSERT_TRUE(set_hold(self->dir, true));
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, self->mem,
			       self->dm.page, 8, -1, &job));
	pid = fork();
	if (!pid)
		fills_its_own(&self->dm);
	await_faults(self->dm.device, 2);
	ASSERT_TRUE(set_hold(self->dir, false));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_TRUE(all_words(self->mem, self->dm.page, 8));
	EXPECT_EQ(0, dm_wait(pid));
}

/* What faults have in common is served once, also where one goes on beyond another. */
TEST_F(jobs, overlapping)
{
	const size_t part = 4 * self->dm.page;
	long long before = dm_counter(self->dm.device, "duplicate_faults");
	struct dmirror_wait w;
	unsigned int i;
	__u64 jobs[4];

	ASSERT_TRUE(set_hold(self->dir, true));
	/* Each has a page that the one before it has not. */
	for (i = 0; i < ARRAY_SIZE(jobs); i++)
		ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL,
				       self->mem + i * self->dm.page, part, 7,
				       -1, &jobs[i]));
	await_faults(self->dm.device, ARRAY_SIZE(jobs));
	ASSERT_TRUE(set_hold(self->dir, false));
	for (i = 0; i < ARRAY_SIZE(jobs); i++) {
		ASSERT_EQ(0, dm_wait_job(self->dm.fd, jobs[i], 0, &w));
		EXPECT_EQ(0, w.error);
		EXPECT_EQ(part, w.done);
	}
	EXPECT_TRUE(all_words(self->mem, part + 3 * self->dm.page, 7));
	EXPECT_LT(before, dm_counter(self->dm.device, "duplicate_faults"));
}

/* Closing the file ends its jobs, also those whose faults nobody serves. */
TEST_F(jobs, close_cancels)
{
	int fd = dm_open_number(self->dm.device), event = eventfd(0, 0);
	__u64 job, count;
	unsigned int i;

	ASSERT_LE(0, fd);
	ASSERT_TRUE(set_hold(self->dir, true));
	for (i = 0; i < JOBS_MAX; i++)
		ASSERT_EQ(0, dm_submit(fd, DMIRROR_JOB_FILL, self->mem,
				       self->len, 1, event, &job));
	close(fd);
	ASSERT_EQ(sizeof(count), read(event, &count, sizeof(count)));
	EXPECT_EQ(JOBS_MAX, count);
	EXPECT_EQ(0, dm_faults_waiting(self->dm.device));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(event);
}

/* So does it where the buffer is full, and the engine waits with what is next. */
TEST_F(jobs, close_cancels_stalled)
{
	int fd = dm_open_number(self->dm.device), event = eventfd(0, 0);
	__u64 jobs[JOBS_MAX], job, count;
	struct dmirror_wait w;
	unsigned int i;

	ASSERT_LE(0, fd);
	ASSERT_TRUE(set_hold(self->dir, true));
	for (i = 0; i < JOBS_MAX; i++)
		ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL,
				       self->mem + i * 64, 64, i, -1,
				       &jobs[i]));
	await_faults(self->dm.device, JOBS_MAX);
	for (i = 0; i < JOBS_MAX; i++)
		ASSERT_EQ(0, dm_submit(fd, DMIRROR_JOB_FILL, self->mem, 64, 99,
				       event, &job));
	close(fd);
	ASSERT_EQ(sizeof(count), read(event, &count, sizeof(count)));
	EXPECT_EQ(JOBS_MAX, count);
	EXPECT_EQ(JOBS_MAX, dm_faults_waiting(self->dm.device));

	ASSERT_TRUE(set_hold(self->dir, false));
	for (i = 0; i < JOBS_MAX; i++) {
		ASSERT_EQ(0, dm_wait_job(self->dm.fd, jobs[i], 0, &w));
		EXPECT_EQ(0, w.error);
		EXPECT_TRUE(all_words(self->mem + i * 64, 64, i));
	}
	close(event);
}

static void on_signal(int signal)
{
}

/* A signal ends a wait, not the job: it can be waited for again. */
TEST_F(jobs, signal_ends_the_wait)
{
	/* Again and again, since the first may come before the wait begins. */
	struct itimerval often = { { 0, 10000 }, { 0, 10000 } }, never = { };
	struct sigaction action = { .sa_handler = on_signal };
	struct dmirror_wait w = { .size = sizeof(w) };

	ASSERT_TRUE(set_hold(self->dir, true));
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, self->mem,
			       self->len, 7, -1, &w.job));
	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &often, NULL));
	EXPECT_EQ(-1, ioctl(self->dm.fd, DMIRROR_IOC_WAIT, &w));
	EXPECT_EQ(EINTR, errno);
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));

	ASSERT_TRUE(set_hold(self->dir, false));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, w.job, 0, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_TRUE(all_words(self->mem, self->len, 7));
}

static unsigned int signals;

static void count_signal(int signal)
{
	__atomic_add_fetch(&signals, 1, __ATOMIC_SEQ_CST);
}

/* Lets the faults be served when there were some signals */
static void *release_later(void *dir)
{
	while (__atomic_load_n(&signals, __ATOMIC_SEQ_CST) < 20)
		dm_msleep(1);
	return (void *)(uintptr_t)set_hold(dir, false);
}

/* Unless the program wants its calls restarted after a signal: then it goes on. */
TEST_F(jobs, wait_goes_on)
{
	struct itimerval often = { { 0, 10000 }, { 0, 10000 } }, never = { };
	struct sigaction action = {
		.sa_handler = count_signal,
		.sa_flags = SA_RESTART,
	};
	struct dmirror_wait w = { .size = sizeof(w) };
	pthread_t thread;
	sigset_t alarms;

	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_TRUE(set_hold(self->dir, true));
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, self->mem,
			       self->len, 7, -1, &w.job));
	/* The other one has them blocked, so that all are for who waits. */
	pthread_sigmask(SIG_BLOCK, &alarms, NULL);
	ASSERT_EQ(0, pthread_create(&thread, NULL, release_later, self->dir));
	pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &often, NULL));
	EXPECT_EQ(0, ioctl(self->dm.fd, DMIRROR_IOC_WAIT, &w));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));
	EXPECT_LE(20, signals);
	EXPECT_EQ(0, w.error);
	pthread_join(thread, NULL);
	EXPECT_TRUE(all_words(self->mem, self->len, 7));
}

static void submit_and_end(const struct dm *dm, bool by_signal)
{
	int fd = dm_open_number(dm->device);
	char *mem = dm_alloc(dm, dm->len, SEED);
	unsigned int i;
	__u64 job;

	DM_CHECK(fd >= 0 && mem);
	for (i = 0; i < 16; i++)
		DM_CHECK(!dm_submit(fd, i & 1 ? DMIRROR_JOB_MIGRATE :
				    DMIRROR_JOB_FILL, mem, dm->len,
				    i & 2 ? DMIRROR_TARGET_SYSTEM :
				    DMIRROR_TARGET_DEVICE, -1, &job));
	if (by_signal)
		kill(getpid(), SIGKILL);
	_exit(0);
}

/* So does exit, however the process ends. */
TEST_F(jobs, exit_with_jobs)
{
	struct dmirror_query before, after;
	unsigned int i;
	pid_t pid;

	ASSERT_EQ(0, dm_query(self->dm.fd, &before));
	for (i = 0; i < 16; i++) {
		if (i == 8)
			ASSERT_TRUE(set_hold(self->dir, true));
		pid = fork();
		if (!pid)
			submit_and_end(&self->dm, i & 1);
		dm_wait(pid);
	}
	ASSERT_TRUE(set_hold(self->dir, false));
	EXPECT_EQ(0, dm_faults_waiting(self->dm.device));
	ASSERT_EQ(0, dm_query(self->dm.fd, &after));
	EXPECT_EQ(before.memory_used, after.memory_used);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* Exits with a job under way that has much to do, and leaves a child with the file. */
static void exit_at_once(const struct dm *dm, unsigned int op, int event,
			 __u64 *keeper)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	char *mem = dm_map_flags(VAST, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
				 flags);
	char *other = dm_map_flags(VAST, MADV_NOHUGEPAGE,
				   PROT_READ | PROT_WRITE, flags);
	long long before = dm_counter(dm->device, "device_faults");
	int fd = dm_open_number(dm->device);
	pid_t pid;
	__u64 job;

	DM_CHECK(fd >= 0 && mem && other);
	pid = fork();
	while (!pid)
		pause();
	dm_poke(keeper, pid);
	DM_CHECK(!dm_submit(fd, op, mem, VAST,
			    op == DMIRROR_JOB_COPY ? (uintptr_t)other :
			    DMIRROR_TARGET_SYSTEM, event, &job));
	while (op == DMIRROR_JOB_COPY &&
	       dm_counter(dm->device, "device_faults") < before + 4)
		dm_msleep(1);
	_exit(0);
}

/* Such a job is over when the process is: nobody works for who is gone. */
TEST_F_TIMEOUT(jobs, exit_with_file_kept, 180)
{
	static const unsigned int ops[] = {
		DMIRROR_JOB_COPY, DMIRROR_JOB_MIGRATE,
	};
	__u64 *keeper = dm_shared(), count;
	unsigned int i;
	pid_t pid;

	ASSERT_NE(NULL, keeper);
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		struct pollfd event = { .fd = eventfd(0, 0), .events = POLLIN };

		ASSERT_LE(0, event.fd);
		pid = fork();
		if (!pid)
			exit_at_once(&self->dm, ops[i], event.fd, keeper);
		EXPECT_EQ(0, dm_wait(pid));
		EXPECT_EQ(1, poll(&event, 1, WAIT_SECONDS * 1000));
		kill(*keeper, SIGKILL);
		EXPECT_EQ(-SIGKILL, dm_wait(*keeper));
		EXPECT_EQ(sizeof(count), read(event.fd, &count, sizeof(count)));
		close(event.fd);
	}
}

/* A process that waits for the device can be killed. */
TEST_F(jobs, kill_who_waits)
{
	pid_t pid;

	ASSERT_TRUE(set_hold(self->dir, true));
	pid = fork();
	if (!pid) {
		int fd = dm_open_number(self->dm.device);

		dm_fill_device(fd, self->mem, self->len, 1);
		_exit(1);
	}
	await_faults(self->dm.device, 1);
	kill(pid, SIGKILL);
	EXPECT_EQ(-SIGKILL, dm_wait(pid));
	EXPECT_EQ(0, dm_faults_waiting(self->dm.device));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

static void read_vast(unsigned int device)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	char *mem = dm_map_flags(VAST, MADV_NOHUGEPAGE, PROT_READ, flags);
	char *buf = dm_map_flags(VAST, -1, PROT_READ | PROT_WRITE, flags);
	int fd = dm_open_number(device);

	DM_CHECK(fd >= 0 && mem && buf);
	dm_read(fd, mem, buf, VAST);
	_exit(1);
}

/* One fault is for all that is left of a request, but not if who asked is killed. */
TEST_F_TIMEOUT(jobs, kill_who_reads_a_lot, 120)
{
	long long before = dm_counter(self->dm.device, "device_faults");
	pid_t pid;

	ASSERT_LE(0, before);
	pid = fork();
	if (!pid)
		read_vast(self->dm.device);
	while (dm_counter(self->dm.device, "device_faults") < before + 10)
		dm_msleep(1);
	kill(pid, SIGKILL);
	EXPECT_EQ(-SIGKILL, dm_wait_for(pid, WAIT_SECONDS));
	kill(pid, SIGKILL);
}

/* By policy a device fault brings the window around it, and nothing else. */
TEST_F(jobs, migrate_on_fault)
{
	size_t window = 64 << 10, len = 2 * DM_HUGE;
	char *mem = dm_alloc(&self->dm, len, SEED), *at;
	struct dmirror_wait w;
	__u64 job;

	ASSERT_NE(NULL, mem);
	ASSERT_TRUE(dm_knob(DM_PARAM("device_fault_window"), "64"));
	at = (char *)(((uintptr_t)mem + DM_HUGE) & ~(DM_HUGE - 1)) + 3 * window;
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, at + 5 * 4096, 8,
			       5, -1, &job));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_TRUE(dm_all(self->dm.fd, at, window, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(window / self->dm.page,
		  dm_count(self->dm.fd, mem, len, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(5, dm_peek(at + 5 * 4096));

	/* Not over the beginning of a mapping, nor its end. */
	munmap(at - window, 4 * 4096);
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL,
			       at - window + 5 * 4096, 8, 4, -1, &job));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_TRUE(dm_all(self->dm.fd, at - window + 4 * 4096,
			   window - 4 * 4096, DMIRROR_PLACE_LOCAL));
	munmap(at + window + 4 * 4096, mem + len - at - window - 4 * 4096);
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, at + window, 8,
			       6, -1, &job));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_TRUE(dm_all(self->dm.fd, at + window, 4 * 4096,
			   DMIRROR_PLACE_LOCAL));

	/* A window that is no power of two is refused, and one of less than a page. */
	EXPECT_FALSE(dm_knob(DM_PARAM("device_fault_window"), "2"));
	EXPECT_FALSE(dm_knob(DM_PARAM("device_fault_window"), "24"));
	munmap(mem, at + window + 4 * 4096 - mem);
}

/* A mapping of these pages of three blocks, and faults at its ends and in the middle */
#define MAP_FIRST	500U
#define MAP_END		1044U

static const unsigned int faults_at[] = { 505, 700, 1040 };

/* Whether a page is in the window, of so many pages, of one of the faults */
static bool in_a_window(unsigned int page, unsigned int pages)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(faults_at); i++)
		if (page / pages == faults_at[i] / pages)
			return page >= MAP_FIRST && page < MAP_END;
	return false;
}

static size_t misplaced(int fd, const char *mem, size_t n, unsigned int pages)
{
	struct dmirror_page *now = calloc(n, sizeof(*now));
	size_t bad = 0, i;

	if (!now || dm_snapshot(fd, mem, n * dm_page_size(), now))
		bad = n;
	for (i = 0; !bad && i < n; i++) {
		bool there = now[i].place == DMIRROR_PLACE_LOCAL;

		if (there == in_a_window(i, pages))
			continue;
		fprintf(stderr, "# page %zu is at place %u\n", i, now[i].place);
		bad++;
	}
	free(now);
	return bad;
}

/* Windows of every kind end where the mapping does, though there are others around it. */
TEST_F(jobs, window_ends_with_mapping)
{
	static const char * const windows[] = { "4", "64", "2048" };
	const size_t page = self->dm.page, len = 3 * DM_HUGE;
	unsigned int w, i, at;
	struct dmirror_wait wait;
	__u64 job;
	char *mem;

	for (w = 0; w < ARRAY_SIZE(windows); w++) {
		mem = dm_map(&self->dm, len);
		ASSERT_NE(NULL, mem);
		madvise(mem, MAP_FIRST * page, MADV_DONTFORK);
		madvise(mem + MAP_END * page, len - MAP_END * page,
			MADV_DONTFORK);
		dm_fill(mem, len, SEED);
		/* A fault tries once: no page is to be busy. */
		dm_settle();
		ASSERT_TRUE(dm_knob(DM_PARAM("device_fault_window"),
				    windows[w]));
		for (i = 0; i < ARRAY_SIZE(faults_at); i++) {
			at = faults_at[i];
			ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL,
					       mem + at * page, 8,
					       dm_word(SEED, at, 0), -1, &job));
			ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &wait));
			EXPECT_EQ(0, wait.error);
		}
		EXPECT_EQ(0, misplaced(self->dm.fd, mem, len / page,
				       atoi(windows[w]) * 1024 / page)) {
			TH_LOG("window of %s KiB", windows[w]);
		}
		EXPECT_EQ(0, dm_bad(mem, len, SEED));
		munmap(mem, len);
	}
}

/* A longer job has each window come when it gets there. */
TEST_F(jobs, migrate_on_each_fault)
{
	const size_t len = 8 * (64 << 10);
	struct dmirror_wait w;
	__u64 job;
	char *mem;

	mem = dm_alloc(&self->dm, len, SEED);
	ASSERT_NE(NULL, mem);
	dm_settle();
	ASSERT_TRUE(dm_knob(DM_PARAM("device_fault_window"), "64"));
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, mem, len, 5, -1,
			       &job));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_LE(8, w.faults);
	EXPECT_TRUE(dm_all(self->dm.fd, mem, len, DMIRROR_PLACE_LOCAL));
	EXPECT_TRUE(all_words(mem, len, 5));
	munmap(mem, len);
}

/* A migration in the background says where it found nothing, and what it had done. */
TEST_F(jobs, migration_up_to_a_hole)
{
	size_t half = self->len / 2;
	struct dmirror_wait w;
	__u64 job;

	ASSERT_EQ(0, munmap(self->mem + half, self->dm.page));
	dm_settle();
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_MIGRATE, self->mem,
			       self->len, DMIRROR_TARGET_DEVICE, -1, &job));
	ASSERT_EQ(0, dm_wait_job(self->dm.fd, job, 0, &w));
	EXPECT_EQ(EFAULT, w.error);
	EXPECT_EQ((uintptr_t)self->mem + half, w.fault_addr);
	EXPECT_EQ(half, w.done + w.stayed);
	EXPECT_EQ(0, dm_bad(self->mem, half, SEED));
}

struct storm {
	const struct dm *dm;
	char *mem;
	size_t len;
	unsigned int index;
	bool bad;
	int stop;
};

/* Jobs on memory that comes and goes: they succeed or say where it was gone. */
static void *storm_jobs(void *arg)
{
	struct storm *s = arg;
	unsigned int seed = s->index + 1;
	struct dmirror_wait w;
	__u64 job;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		size_t at = rand_r(&seed) % (s->len / 4096) * 4096;
		size_t len = s->len - at;
		int ret = dm_submit(s->dm->fd, DMIRROR_JOB_FILL, s->mem + at,
				    len, s->index, -1, &job);

		if (ret || dm_wait_job(s->dm->fd, job, 0, &w))
			s->bad = true;
		else if (w.error ? w.error != EFAULT : w.done != len)
			s->bad = true;
		else if (w.error && (w.fault_addr < (uintptr_t)s->mem + at ||
				     w.fault_addr >= (uintptr_t)s->mem + s->len))
			s->bad = true;
	}
	return NULL;
}

/* Rule 16: a fault storm of four threads against munmap comes to an end. */
TEST_F_TIMEOUT(jobs, rule16_fault_storm_against_munmap, 120)
{
	struct storm storms[STORM_THREADS] = {};
	pthread_t threads[STORM_THREADS];
	size_t half = self->len / 2;
	unsigned int i, round;

	for (i = 0; i < STORM_THREADS; i++) {
		storms[i] = (struct storm) {
			.dm = &self->dm,
			.mem = self->mem,
			.len = self->len,
			.index = i,
		};
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, storm_jobs,
					    &storms[i]));
	}
	for (round = 0; round < dm_rounds(STORM_ROUNDS); round++) {
		char *mem = self->mem + (round & 1) * half;

		munmap(mem, half);
		dm_msleep(1);
		ASSERT_EQ(mem, mmap(mem, half, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				    -1, 0));
		if (round & 2)
			dm_to_device(self->dm.fd, mem, half);
	}
	for (i = 0; i < STORM_THREADS; i++)
		__atomic_store_n(&storms[i].stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < STORM_THREADS; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_FALSE(storms[i].bad);
	}
	EXPECT_EQ(0, dm_stuck(self->dm.fd, self->mem, self->len));
}

TEST_HARNESS_MAIN
