// SPDX-License-Identifier: GPL-2.0
/*
 * A device goes away while it is in use, and comes back: what programs have on
 * it, what they have it do, and what their files answer.
 * Documentation: drivers/dmirror/dmirror.rst.
 */
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "kselftest_harness.h"
#include "dmirror_test.h"
#include "dmirror_load.h"
#include "dmirror_advice.h"

#define SEED		0x0d1e
#define JOBS		32
#define LOADS		2	/* processes, with as many threads each */
#define LOAD_STEPS	2	/* that each thread does before the device goes */
#ifdef DM_SLOW_MACHINE
#define LOAD_ROUNDS	6
#else
#define LOAD_ROUNDS	25	/* 100 with two kinds of pages of two devices */
#endif
#define RACE_ROUNDS	dm_rounds(20)
#define BUSY_ROUNDS	2

#define PAGEMAP_PRESENT	0x8000000000000000ULL

FIXTURE(unplug)
{
	struct dm dm;
	size_t page;
	size_t len;
	char *mem;
	char *buf;
	int fd;
};

FIXTURE_VARIANT(unplug)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(unplug, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(unplug, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(unplug, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(unplug, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

FIXTURE_SETUP(unplug)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->fd = self->dm.fd;
	self->page = self->dm.page;
	self->len = self->dm.len;
	self->mem = dm_alloc(&self->dm, self->len, SEED);
	ASSERT_NE(NULL, self->mem);
	self->buf = malloc(self->len);
	ASSERT_NE(NULL, self->buf);
}

FIXTURE_TEARDOWN(unplug)
{
	dm_knob(dm_debugfs_path(self->dm.device, "hold_faults"), "0");
	EXPECT_EQ(0, dm_plug(self->dm.device));
	free(self->buf);
	munmap(self->mem, self->len);
	close(self->fd);
}

static long plugged(unsigned int device)
{
	return dm_file_number(dm_debugfs_path(device, "plugged"));
}

/* Pages of the range that are in memory that the CPU can reach; does not touch. */
static size_t present(const char *mem, size_t len)
{
	size_t n = len / dm_page_size(), i, count = 0;
	__u64 *entries = calloc(n, sizeof(*entries));

	if (entries && !dm_pagemap(mem, len, entries))
		for (i = 0; i < n; i++)
			count += !!(entries[i] & PAGEMAP_PRESENT);
	free(entries);
	return count;
}

/* All of a program's memory is there when the device is gone, and is its own. */
TEST_F(unplug, contents)
{
	char *word = dm_map(&self->dm, self->page);
	struct dmirror_query q;
	int fd;

	/* One that the device had exclusively is the CPU's again. */
	ASSERT_NE(NULL, word);
	ASSERT_EQ(0, dm_add64(self->fd, word, 41));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_fill_device(self->fd, self->mem, self->page, 7));
	ASSERT_EQ(1, plugged(self->dm.device));
	ASSERT_EQ(0, dm_unplug(self->dm.device));
	EXPECT_EQ(0, plugged(self->dm.device));
	EXPECT_EQ(self->len / self->page, present(self->mem, self->len));
	EXPECT_EQ(0, dm_counter(self->dm.device, "memory_used"));
	EXPECT_EQ(7, dm_peek(self->mem + self->page - 8));
	EXPECT_EQ(0, dm_bad_from(self->mem + self->page, self->len - self->page,
				 SEED, 1));
	EXPECT_EQ(41, dm_peek(word));
	dm_poke(word, 42);
	EXPECT_EQ(42, dm_peek(word));
	munmap(word, self->page);
	dm_fill(self->mem, self->len, SEED + 1);

	/* Again is no error, in either direction. */
	EXPECT_EQ(0, dm_unplug(self->dm.device));
	ASSERT_EQ(0, dm_plug(self->dm.device));
	ASSERT_EQ(0, dm_plug(self->dm.device));
	EXPECT_EQ(1, plugged(self->dm.device));

	/* What is plugged in is a device like the one before, and empty. */
	fd = dm_open_number(self->dm.device);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, dm_query(fd, &q));
	EXPECT_EQ(0, q.memory_used);
	EXPECT_EQ(self->dm.query.memory_size, q.memory_size);
	EXPECT_EQ(self->dm.query.capabilities, q.capabilities);
	ASSERT_EQ(0, dm_to_device(fd, self->mem, self->len));
	EXPECT_TRUE(dm_all(fd, self->mem, self->len, DMIRROR_PLACE_LOCAL));
	ASSERT_EQ(0, dm_read(fd, self->mem, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED + 1));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
	close(fd);
}

/* The knob takes 0 and 1. */
TEST_F(unplug, bad_values)
{
	const char *path = dm_debugfs_path(self->dm.device, "plugged");

	EXPECT_FALSE(dm_knob(path, "2"));
	EXPECT_FALSE(dm_knob(path, "-1"));
	EXPECT_FALSE(dm_knob(path, "yes"));
	EXPECT_EQ(1, plugged(self->dm.device));
	EXPECT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
}

/* How many of the ioctls of the driver's own ABI answer something else */
static int other_than_enodev(int fd, char *mem, size_t len, char *buf)
{
	struct dmirror_page *pages = calloc(len / dm_page_size(), sizeof(*pages));
	struct dmirror_advise advise;
	struct dmirror_atomic a;
	struct dmirror_migrate m;
	struct dmirror_query q;
	struct dmirror_wait w;
	unsigned int advice;
	__u64 job;
	int other;

	other = dm_query(fd, &q) != -ENODEV;
	for (advice = DMIRROR_ADVICE_DONTNEED; advice <= DMIRROR_ADVICE_PREFER_NONE; advice++)
		other += dm_advise(fd, mem, len, advice, &advise) != -ENODEV;
	other += dm_migrate_raw(fd, mem, len, DMIRROR_TARGET_DEVICE, &m) !=
		 -ENODEV;
	other += dm_migrate_raw(fd, mem, len, DMIRROR_TARGET_SYSTEM, &m) !=
		 -ENODEV;
	other += dm_read(fd, mem, buf, len) != -ENODEV;
	other += dm_write(fd, mem, buf, len) != -ENODEV;
	other += dm_fill_device(fd, mem, len, 1) != -ENODEV;
	other += dm_copy(fd, mem, mem + len / 2, len / 2) != -ENODEV;
	other += dm_atomic(fd, DMIRROR_ATOMIC_ADD, mem, 8, 1, 0, &a) != -ENODEV;
	other += dm_snapshot(fd, mem, len, pages) != -ENODEV;
	other += dm_submit(fd, DMIRROR_JOB_FILL, mem, len, 1, -1, &job) !=
		 -ENODEV;
	other += dm_submit(fd, DMIRROR_JOB_MIGRATE, mem, len,
			   DMIRROR_TARGET_DEVICE, -1, &job) != -ENODEV;
	other += dm_submit(fd, DMIRROR_JOB_COPY, mem, len / 2,
			   (uintptr_t)mem + len / 2, -1, &job) != -ENODEV;
	other += dm_wait_job(fd, 1, 0, &w) != -ENODEV;
	free(pages);
	return other;
}

/* The same for the ABI of test_hmm */
static int hmm_other_than_enodev(int fd, char *mem, size_t pages, char *buf)
{
	static const unsigned long calls[] = {
		HMM_READ, HMM_WRITE, HMM_TO_DEV, HMM_TO_SYS, HMM_SNAPSHOT,
		HMM_EXCLUSIVE, HMM_CHECK_EXCLUSIVE, HMM_RELEASE, HMM_FLAGS,
	};
	unsigned int i;
	int other = 0;

	for (i = 0; i < ARRAY_SIZE(calls); i++)
		other += hmm_call(fd, calls[i], mem, buf, pages, NULL) !=
			 -ENODEV;
	return other;
}

/* Files of both ABIs answer ENODEV, and never work again; new ones do. */
TEST_F(unplug, every_ioctl)
{
	int hmm = hmm_open(self->dm.device), again;
	size_t pages = self->len / self->page;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_unplug(self->dm.device));
	EXPECT_EQ(0, other_than_enodev(self->fd, self->mem, self->len,
				       self->buf));
	EXPECT_EQ(-1, dm_open_number(self->dm.device));
	EXPECT_EQ(ENODEV, errno);
	if (hmm >= 0) {
		EXPECT_EQ(0, hmm_other_than_enodev(hmm, self->mem, pages,
						   self->buf));
		EXPECT_EQ(-1, hmm_open(self->dm.device));
		EXPECT_EQ(ENODEV, errno);
	}

	ASSERT_EQ(0, dm_plug(self->dm.device));
	EXPECT_EQ(0, other_than_enodev(self->fd, self->mem, self->len,
				       self->buf));
	again = dm_open_number(self->dm.device);
	ASSERT_LE(0, again);
	EXPECT_EQ(0, dm_to_device(again, self->mem, self->len));
	close(again);
	if (hmm >= 0) {
		EXPECT_EQ(0, hmm_other_than_enodev(hmm, self->mem, pages,
						   self->buf));
		again = hmm_open(self->dm.device);
		ASSERT_LE(0, again);
		EXPECT_EQ(0, hmm_call(again, HMM_READ, self->mem, self->buf,
				      pages, NULL));
		EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
		close(again);
	}
	close(hmm);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* What the kernel says of the device and its files can be read all the time. */
TEST_F(unplug, looked_at)
{
	struct dm_engines engines;
	char path[64];

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_unplug(self->dm.device));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->fd);
	EXPECT_EQ(self->dm.device, dm_file_value(path, "dmirror-device"));
	EXPECT_EQ(0, dm_file_value(path, "dmirror-memory-used"));
	EXPECT_LE(self->len, dm_counter(self->dm.device, "evicted"));
	EXPECT_EQ(0, dm_engines(self->dm.device, &engines));
	EXPECT_EQ(0, engines.depth);
	EXPECT_TRUE(dm_knob(dm_debugfs_path(self->dm.device, "hold_faults"),
			    "1"));
	EXPECT_TRUE(dm_knob(dm_debugfs_path(self->dm.device, "hold_faults"),
			    "0"));
}

struct call {
	pthread_t thread;
	int fd;
	char *mem;
	size_t len;
	const char *data;
	__u64 job;
	struct dmirror_wait w;
	int ret;
};

static void *call_fill(void *arg)
{
	struct call *call = arg;

	struct dmirror_fill f = {
		.size = sizeof(f),
		.addr = (uintptr_t)call->mem,
		.length = call->len,
	};

	/* Not dm_call(), which tries again when there was a signal. */
	call->ret = ioctl(call->fd, DMIRROR_IOC_FILL, &f) ? -errno : 0;
	return NULL;
}

static void *call_wait(void *arg)
{
	struct call *call = arg;

	call->ret = dm_wait_job(call->fd, call->job, 0, &call->w);
	return NULL;
}

static void *call_write(void *arg)
{
	struct call *call = arg;

	call->ret = dm_write(call->fd, call->mem, call->data, call->len);
	return NULL;
}

/* Calls end with ENODEV, jobs with ECANCELED, whether somebody waits or not. */
TEST_F(unplug, jobs)
{
	struct call fill = { .fd = self->fd, .mem = self->mem, .len = self->len };
	const char *engines = dm_debugfs_path(self->dm.device, "engines");
	int event = eventfd(0, 0);
	struct call wait = fill;
	__u64 jobs[JOBS], count;
	struct dmirror_wait w;
	unsigned int i;

	ASSERT_LE(0, event);
	ASSERT_NE(-1, access(engines, R_OK));
	ASSERT_TRUE(dm_knob(dm_debugfs_path(self->dm.device, "hold_faults"),
			    "1"));
	for (i = 0; i < JOBS; i++)
		ASSERT_EQ(0, dm_submit(self->fd, DMIRROR_JOB_FILL, self->mem,
				       self->len, 1, event, &jobs[i]));
	wait.job = jobs[0];
	ASSERT_EQ(0, pthread_create(&wait.thread, NULL, call_wait, &wait));
	ASSERT_EQ(0, pthread_create(&fill.thread, NULL, call_fill, &fill));
	while (dm_faults_waiting(self->dm.device) < JOBS + 1)
		dm_msleep(1);
	/* Until somebody waits for the first, it can be had by others. */
	while (dm_wait_job(self->fd, jobs[0], DMIRROR_WAIT_POLL, &w) != -ENOENT)
		dm_msleep(1);

	ASSERT_EQ(0, dm_unplug(self->dm.device));
	ASSERT_EQ(sizeof(count), read(event, &count, sizeof(count)));
	EXPECT_EQ(JOBS, count);
	pthread_join(fill.thread, NULL);
	EXPECT_EQ(-ENODEV, fill.ret);
	pthread_join(wait.thread, NULL);
	EXPECT_EQ(0, wait.ret);
	EXPECT_EQ(ECANCELED, wait.w.error);
	for (i = 1; i < JOBS; i++) {
		ASSERT_EQ(0, dm_wait_job(self->fd, jobs[i], 0, &w));
		EXPECT_EQ(ECANCELED, w.error);
		EXPECT_EQ(0, w.done);
	}
	EXPECT_EQ(-ENODEV, dm_wait_job(self->fd, jobs[0], 0, &w));
	EXPECT_EQ(0, dm_faults_waiting(self->dm.device));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(event);
}

/*
 * So do jobs that have no fault to end at. There is too much to do for all of them to be
 * done before the device goes.
 */
TEST_F_TIMEOUT(unplug, jobs_without_faults, 120)
{
	const size_t len = 64 * DM_HUGE;
	unsigned int i, cancelled = 0;
	struct dmirror_wait w;
	__u64 jobs[JOBS];
	char *mem;

	mem = dm_map_flags(len, MADV_HUGEPAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, dm_fill_device(self->fd, mem, len, 1));
	for (i = 0; i < JOBS; i++)
		ASSERT_EQ(0, dm_submit(self->fd, DMIRROR_JOB_FILL, mem, len, 2,
				       -1, &jobs[i]));
	ASSERT_EQ(0, dm_unplug(self->dm.device));
	for (i = 0; i < JOBS; i++) {
		ASSERT_EQ(0, dm_wait_job(self->fd, jobs[i], DMIRROR_WAIT_POLL,
					 &w));
		EXPECT_EQ(w.done < len ? ECANCELED : 0, w.error);
		cancelled += w.done < len;
	}
	EXPECT_LT(0, cancelled);
	munmap(mem, len);
}

/* Jobs of three kinds on the two halves of the memory: how many were taken */
static unsigned int submit_all(int fd, char *mem, size_t half, __u64 *jobs)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < JOBS && !ret; i++) {
		if (!(i % 3))
			ret = dm_submit(fd, DMIRROR_JOB_COPY, mem, half,
					(uintptr_t)mem + half, -1, &jobs[i]);
		else
			ret = dm_submit(fd, DMIRROR_JOB_MIGRATE, mem, 2 * half,
					i % 3, -1, &jobs[i]);
	}
	return i;
}

/* Jobs of every kind and at every stage end, and none is lost. */
TEST_F(unplug, busy_jobs)
{
	size_t half = self->len / 2;
	struct dmirror_wait w;
	unsigned int i, round;
	__u64 jobs[JOBS];
	int fd;

	for (round = 0; round < BUSY_ROUNDS; round++) {
		fd = dm_open_number(self->dm.device);
		ASSERT_LE(0, fd);
		ASSERT_EQ(JOBS, submit_all(fd, self->mem, half, jobs));
		ASSERT_EQ(0, dm_unplug(self->dm.device));
		for (i = 0; i < JOBS; i++) {
			ASSERT_EQ(0, dm_wait_job(fd, jobs[i],
						 DMIRROR_WAIT_POLL, &w));
			EXPECT_TRUE(!w.error || w.error == ECANCELED);
		}
		close(fd);
		ASSERT_EQ(0, dm_plug(self->dm.device));
	}
	EXPECT_EQ(0, dm_bad_from(self->mem + half, half, SEED,
				 half / self->page));
}

/* Files are closed and processes end while there is no device. */
TEST_F(unplug, close_and_exit)
{
	__u64 *words = dm_shared(), job;
	unsigned int i;
	pid_t pids[2];
	int fd;

	ASSERT_NE(NULL, words);
	fd = dm_open_number(self->dm.device);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, dm_to_device(fd, self->mem, self->len));
	ASSERT_EQ(0, dm_submit(fd, DMIRROR_JOB_FILL, self->mem, self->page, 1,
			       -1, &job));
	/* Children: with a file of their own; the memory is shared by fork. */
	for (i = 0; i < 2; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		fd = dm_open_number(self->dm.device);
		DM_CHECK(fd >= 0);
		DM_CHECK(!dm_read(fd, self->mem, self->buf, self->len));
		dm_poke(words + i, 1);
		dm_await(words + 2, 1);
		DM_CHECK(!dm_bad_from(self->mem + self->page,
				      self->len - self->page, SEED, 1));
		dm_fill(self->mem, self->len, SEED + 2 + i);
		DM_CHECK(dm_read(fd, self->mem, self->buf, 8) == -ENODEV);
		DM_CHECK(!dm_bad(self->mem, self->len, SEED + 2 + i));
		_exit(0);
	}
	dm_await(words, 1);
	dm_await(words + 1, 1);
	ASSERT_EQ(0, dm_unplug(self->dm.device));
	close(fd);
	dm_poke(words + 2, 1);
	EXPECT_EQ(0, dm_wait(pids[0]));
	EXPECT_EQ(0, dm_wait(pids[1]));
	EXPECT_EQ(0, dm_bad_from(self->mem + self->page, self->len - self->page,
				 SEED, 1));
	munmap(words, self->page);
}

/* A child process that unplugs the device, and can be killed while it does */
static pid_t unplug_in_child(unsigned int device)
{
	pid_t pid = fork();

	if (!pid)
		_exit(dm_unplug(device) ? 1 : 0);
	return pid;
}

/*
 * A page of which nobody knows the contents yet: who reads it waits until
 * resolve() says. NULL if this kernel has no userfaultfd.
 */
static char *map_unresolved(size_t page, int *uffd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *mem = dm_map_flags(page, -1, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS);

	*uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (*uffd < 0 || !mem)
		return NULL;
	reg.range.start = (uintptr_t)mem;
	reg.range.len = page;
	if (ioctl(*uffd, UFFDIO_API, &api) ||
	    ioctl(*uffd, UFFDIO_REGISTER, &reg))
		return NULL;
	return mem;
}

static int await_reader(int uffd)
{
	struct pollfd fds = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&fds, 1, -1) != 1)
		return -errno;
	return read(uffd, &msg, sizeof(msg)) == sizeof(msg) ? 0 : -EIO;
}

static int resolve(int uffd, char *mem, const char *data, size_t page)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)mem,
		.src = (uintptr_t)data,
		.len = page,
	};

	return ioctl(uffd, UFFDIO_COPY, &copy) ? -errno : 0;
}

/* Who unplugs waits for a call that is under way, and can be killed: once more. */
TEST_F(unplug, killed_while_a_call_lasts)
{
	struct call call = { .fd = self->fd, .mem = self->mem, .len = self->page };
	char *data;
	pid_t pid;
	int uffd;

	data = map_unresolved(self->page, &uffd);
	if (!data)
		SKIP(return, "no userfaultfd: CONFIG_USERFAULTFD");
	call.data = data;
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, pthread_create(&call.thread, NULL, call_write, &call));
	ASSERT_EQ(0, await_reader(uffd));

	pid = unplug_in_child(self->dm.device);
	while (plugged(self->dm.device))
		dm_msleep(1);
	kill(pid, SIGKILL);
	EXPECT_EQ(-SIGKILL, dm_wait(pid));

	/* It has begun, and stays begun: nothing new, nothing lost. */
	EXPECT_EQ(0, plugged(self->dm.device));
	EXPECT_EQ(-1, dm_open_number(self->dm.device));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_NE(0, dm_file_write(dm_debugfs_path(self->dm.device, "evict"),
				   "4096"));
	EXPECT_EQ(0, other_than_enodev(self->fd, self->mem, self->len,
				       self->buf));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));

	/* The call goes on, and gets no further: nobody would end what it begins now. */
	ASSERT_EQ(0, dm_file_write(dm_debugfs_path(self->dm.device,
						   "hold_faults"), "1"));
	ASSERT_EQ(0, resolve(uffd, data, self->buf, self->page));
	pthread_join(call.thread, NULL);
	EXPECT_EQ(-ENODEV, call.ret);
	dm_file_write(dm_debugfs_path(self->dm.device, "hold_faults"), "0");
	EXPECT_EQ(0, dm_unplug(self->dm.device));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	munmap(data, self->page);
	close(uffd);
}

/*
 * Rule 10: eviction goes on until nothing is left, also where somebody holds a
 * page for long, and ends on a fatal signal. Plugging in comes after that.
 */
TEST_F(unplug, rule10_killed_while_a_page_is_held)
{
	struct iovec iov = { self->mem, self->page };
	int pipes[2], fd;
	pid_t pid;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	if (variant->backing.memory_type != DMIRROR_MEMORY_COHERENT) {
		ASSERT_EQ(0, dm_hold_fetches(self->fd, self->mem));
		EXPECT_EQ(0, dm_unplug(self->dm.device));
		EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
		ASSERT_EQ(0, dm_plug(self->dm.device));
		return;
	}
	ASSERT_EQ(self->page, vmsplice(pipes[1], &iov, 1, 0));
	pid = unplug_in_child(self->dm.device);
	while (dm_counter(self->dm.device, "memory_used") != self->page)
		dm_msleep(1);
	kill(pid, SIGKILL);
	EXPECT_EQ(-SIGKILL, dm_wait(pid));
	EXPECT_EQ(self->page, dm_counter(self->dm.device, "memory_used"));
	EXPECT_EQ(-1, dm_open_number(self->dm.device));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));

	ASSERT_EQ(self->page, read(pipes[0], self->buf, self->page));
	EXPECT_EQ(0, dm_bad(self->buf, self->page, SEED));
	ASSERT_EQ(0, dm_plug(self->dm.device));
	EXPECT_EQ(0, dm_counter(self->dm.device, "memory_used"));
	fd = dm_open_number(self->dm.device);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, dm_to_device(fd, self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
}

/*
 * A load that goes on whether there is a device or not
 */

struct loader {
	pthread_t thread;
	const struct dm *dm;
	__u64 seed;
	__u64 *steps;		/* done with a device, shared with the parent */
	const __u64 *stop;
	int ret;
};

/* The device is gone: everything is there all the same. Then wait for it. */
static int await_device(struct loader *l, struct dm_load *load)
{
	int ret = dm_load_check(load, load->mem, 0, load->pages, "CPU");

	close(load->fd);
	while (!ret) {
		/* It is back for good before the load is told to stop. */
		bool last = dm_peek(l->stop);

		load->fd = dm_open_number(l->dm->device);
		if (load->fd >= 0)
			break;
		if (errno != ENODEV || last)
			ret = -errno;
		dm_msleep(1);
	}
	return ret;
}

/* Memory that comes and goes, and a child that has it from its parent */
static int fork_and_unmap(struct dm_load *load)
{
	size_t len = DM_LOAD_RUN * load->dm.page;
	char *mem = dm_alloc(&load->dm, len, load->steps);
	struct dmirror_migrate m;
	int ret = -ENOMEM;
	pid_t pid;

	if (!mem)
		return ret;
	dm_migrate_raw(load->fd, mem, len, DMIRROR_TARGET_DEVICE, &m);
	pid = dm_fork();
	if (!pid) {
		munmap(mem, len / 2);
		_exit(!!dm_load_check(load, load->mem, 0, load->pages, "child") +
		      2 * !!dm_bad_from(mem + len / 2, len / 2, load->steps,
					DM_LOAD_RUN / 2));
	}
	munmap(mem + len / 2, len / 2);
	ret = dm_bad(mem, len / 2, load->steps) ? -EILSEQ : 0;
	munmap(mem, len / 2);
	return dm_wait(pid) ? -EILSEQ : ret;
}

static void *load_thread(void *arg)
{
	struct loader *l = arg;
	struct dm_load load;
	int ret;

	ret = dm_load_init(&load, l->dm, DM_HUGE, l->seed);
	if (!ret)
		dm_load_cpu_write(&load, 0, load.pages);
	while (!ret && !dm_peek(l->stop)) {
		ret = dm_load_step(&load);
		if (!ret && !(load.steps % 16))
			ret = fork_and_unmap(&load);
		if (ret == -ENODEV)
			ret = await_device(l, &load);
		else
			__atomic_fetch_add(l->steps, 1, __ATOMIC_RELAXED);
	}
	l->ret = ret ?: dm_load_check_all(&load);
	dm_load_fini(&load);
	return NULL;
}

static void load_process(const struct dm *dm, __u64 seed, __u64 *words)
{
	struct loader loaders[LOADS];
	unsigned int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; i < LOADS; i++) {
		loaders[i] = (struct loader) {
			.dm = dm,
			.seed = seed + i * 0x10000,
			.steps = words + 1 + i,
			.stop = words,
		};
		DM_CHECK(!pthread_create(&loaders[i].thread, NULL, load_thread,
					 &loaders[i]));
	}
	for (i = 0; i < LOADS; i++)
		pthread_join(loaders[i].thread, NULL);
	for (i = 0; i < LOADS; i++)
		DM_CHECK(!loaders[i].ret);
	_exit(0);
}

/* Until each thread has done some more with the device; false if one has ended. */
static bool await_steps(__u64 **words, const pid_t *pids)
{
	__u64 steps[LOADS][LOADS];
	unsigned int i, j;

	for (i = 0; i < LOADS; i++)
		for (j = 0; j < LOADS; j++)
			steps[i][j] = dm_peek(words[i] + 1 + j) + LOAD_STEPS;
	for (i = 0; i < LOADS; i++)
		for (j = 0; j < LOADS; j++)
			while (dm_peek(words[i] + 1 + j) < steps[i][j]) {
				if (waitpid(pids[i], NULL, WNOHANG))
					return false;
				dm_msleep(1);
			}
	return true;
}

/*
 * Rule 10: a device goes away under load, again and again, and every byte of
 * every program is right all the time.
 */
TEST_F_TIMEOUT(unplug, rule10_under_load, 300)
{
	unsigned int i, round;
	__u64 *words[LOADS];
	pid_t pids[LOADS];

	for (i = 0; i < LOADS; i++) {
		words[i] = dm_shared();
		ASSERT_NE(NULL, words[i]);
		pids[i] = fork();
		if (!pids[i])
			load_process(&self->dm, SEED + (i << 20), words[i]);
	}
	for (round = 0; round < LOAD_ROUNDS; round++) {
		ASSERT_TRUE(await_steps(words, pids));
		ASSERT_EQ(0, dm_unplug(self->dm.device));
		EXPECT_EQ(0, dm_counter(self->dm.device, "memory_used"));
		ASSERT_EQ(0, dm_plug(self->dm.device));
	}
	for (i = 0; i < LOADS; i++) {
		dm_poke(words[i], 1);
		EXPECT_EQ(0, dm_wait(pids[i]));
		munmap(words[i], self->page);
	}
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

struct plugger {
	pthread_t thread;
	unsigned int device;
	struct dm dm;
	bool use;
	int ret;
};

/* Unplugs and plugs in; between the two memory is, if it is to be, on the device. */
static void *plug_often(void *arg)
{
	struct plugger *p = arg;
	char *mem = dm_alloc(&p->dm, p->dm.len, SEED);
	unsigned int round;

	if (!mem)
		p->ret = -ENOMEM;
	for (round = 0; round < RACE_ROUNDS && !p->ret; round++) {
		p->ret = dm_unplug(p->device) ?: dm_plug(p->device);
		if (p->use && !p->ret) {
			int fd = dm_open_number(p->device);

			p->ret = fd < 0 ? -errno :
				 dm_to_device(fd, mem, p->dm.len);
			close(fd);
		}
	}
	if (!p->ret && dm_bad(mem, p->dm.len, SEED))
		p->ret = -EILSEQ;
	munmap(mem, p->dm.len);
	return NULL;
}

/* Two devices go and come at the same time, and neither minds the other. */
TEST_F(unplug, two_devices)
{
	struct plugger p[2];
	unsigned int i;
	int fd;

	p[0] = (struct plugger) { .device = self->dm.device };
	p[1] = (struct plugger) {
		.device = dm_find(variant->backing.memory_type, 1, &fd),
	};
	ASSERT_LE(0, fd);
	for (i = 0; i < 2; i++) {
		p[i].dm = self->dm;
		p[i].use = true;
		ASSERT_EQ(0, pthread_create(&p[i].thread, NULL, plug_often,
					    &p[i]));
	}
	for (i = 0; i < 2; i++) {
		pthread_join(p[i].thread, NULL);
		EXPECT_EQ(0, p[i].ret);
		EXPECT_EQ(1, plugged(p[i].device));
	}
	close(fd);
}

/* Where the memory of one device was another's is now, and is taken for that one's. */
TEST_F(unplug, in_place_of_another)
{
	unsigned int first = self->dm.device;
	int fd, second;

	second = dm_find(variant->backing.memory_type, 1, &fd);
	ASSERT_LE(0, second);
	close(fd);
	/* Alone, each of two with private memory has the highest addresses that are free. */
	ASSERT_EQ(0, dm_unplug(second));
	ASSERT_EQ(0, dm_unplug(first));
	ASSERT_EQ(0, dm_plug(first));
	ASSERT_EQ(0, dm_unplug(first));
	ASSERT_EQ(0, dm_plug(second));
	fd = dm_open_number(second);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, dm_to_device(fd, self->mem, self->len));
	EXPECT_TRUE(dm_all(fd, self->mem, self->len, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(second, dm_where(fd, self->mem).device);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(fd);
}

struct adder {
	pthread_t thread;
	char *mem;
	int fd;
	__u64 added;
	int ret;
};

static void *add_to_the_end(void *arg)
{
	struct adder *a = arg;
	struct dmirror_atomic args;

	for (;;) {
		a->ret = dm_atomic(a->fd, DMIRROR_ATOMIC_ADD, a->mem, 8, 1, 0,
				   &args);
		if (a->ret)
			return NULL;
		__atomic_add_fetch(&a->added, 1, __ATOMIC_SEQ_CST);
	}
}

struct unplugger {
	pthread_t thread;
	unsigned int device;
	int ret;
	bool done;
};

static void *unplug_one(void *arg)
{
	struct unplugger *u = arg;

	u->ret = dm_unplug(u->device);
	__atomic_store_n(&u->done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

/*
 * Unplug a device without touching any memory that it has: whether it was done when a
 * minute had passed. A process would have given back what fork finds exclusive.
 */
static bool unplug_by_thread(struct unplugger *u, unsigned int device)
{
	unsigned int i;

	*u = (struct unplugger) { .device = device };
	if (pthread_create(&u->thread, NULL, unplug_one, u))
		return false;
	for (i = 0; i < 6000; i++) {
		if (__atomic_load_n(&u->done, __ATOMIC_SEQ_CST))
			return true;
		dm_msleep(10);
	}
	return false;
}

/*
 * A device goes as it adds to the memory of another. That can go as well afterwards,
 * though the program does not touch its memory.
 */
TEST_F_TIMEOUT(unplug, atomics_on_anothers_memory, 180)
{
	struct adder a = { .mem = self->mem };
	struct unplugger u;
	unsigned int round;
	__u64 before;
	int device;
	bool done;

	if (variant->backing.memory_type != DMIRROR_MEMORY_COHERENT ||
	    variant->backing.thp)
		return;
	dm_poke(self->mem, 0);
	for (round = 0; round < RACE_ROUNDS; round++) {
		device = dm_find(DMIRROR_MEMORY_PRIVATE, 0, &a.fd);
		ASSERT_LE(0, device);
		close(self->fd);
		self->fd = dm_open_number(self->dm.device);
		ASSERT_LE(0, self->fd);
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		before = a.added;
		ASSERT_EQ(0, pthread_create(&a.thread, NULL, add_to_the_end,
					    &a));
		dm_await(&a.added, before + 1);
		EXPECT_EQ(0, dm_unplug(device));
		pthread_join(a.thread, NULL);
		EXPECT_EQ(-ENODEV, a.ret);
		done = unplug_by_thread(&u, self->dm.device);
		/* And if it has waited for this it goes on. */
		EXPECT_EQ(a.added, dm_peek(self->mem));
		pthread_join(u.thread, NULL);
		ASSERT_TRUE(done);
		EXPECT_EQ(0, u.ret);
		close(a.fd);
		ASSERT_EQ(0, dm_plug(device));
		ASSERT_EQ(0, dm_plug(self->dm.device));
	}
	EXPECT_EQ(0, dm_bad_from(self->mem + self->page,
				 self->len - self->page, SEED, 1));
}

/* Two who unplug and plug in one device take turns, and each call does it. */
TEST_F(unplug, two_writers)
{
	struct plugger p[2];
	unsigned int i;
	int fd;

	for (i = 0; i < 2; i++) {
		p[i] = (struct plugger) {
			.device = self->dm.device,
			.dm = self->dm,
		};
		ASSERT_EQ(0, pthread_create(&p[i].thread, NULL, plug_often,
					    &p[i]));
	}
	for (i = 0; i < 2; i++) {
		pthread_join(p[i].thread, NULL);
		EXPECT_EQ(0, p[i].ret);
	}
	ASSERT_EQ(0, dm_plug(self->dm.device));
	fd = dm_open_number(self->dm.device);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, dm_to_device(fd, self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(fd);
}

TEST_HARNESS_MAIN
