// SPDX-License-Identifier: GPL-2.0
/*
 * Memory on a device through the life of the processes that own it: fork,
 * exec, exit, signals, several files, several threads, and everything that a
 * program can do to a mapping.
 */
#include <sys/uio.h>

#include "kselftest_harness.h"
#include "dmirror_test.h"

#define SEED	0x9c0

FIXTURE(process)
{
	struct dm dm;
	size_t page;
	size_t len;
	char *mem;
	char *buf;
	int fd;
};

FIXTURE_VARIANT(process)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(process, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(process, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(process, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(process, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

FIXTURE_SETUP(process)
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

FIXTURE_TEARDOWN(process)
{
	dm_knob(DM_PARAM("cpu_fault_window"), "64");
	free(self->buf);
	munmap(self->mem, self->len);
	close(self->fd);
}

static __u64 memory_used(int fd)
{
	struct dmirror_query q;

	return dm_query(fd, &q) ? ~0ULL : q.memory_used;
}

TEST_F(process, open_close)
{
	int fds[64], i;

	for (i = 0; i < 64; i++) {
		fds[i] = dm_open_number(self->dm.device);
		ASSERT_LE(0, fds[i]);
	}
	for (i = 0; i < 64; i++)
		ASSERT_EQ(0, close(fds[i]));
}

/* Many files of one process, in use at the same time: one view of memory. */
TEST_F(process, many_files)
{
	__u64 value, sum = 0;
	int fds[8], i;

	for (i = 0; i < 8; i++) {
		fds[i] = dm_open_number(self->dm.device);
		ASSERT_LE(0, fds[i]);
	}
	dm_poke(self->mem, 0);
	for (i = 0; i < 32; i++) {
		ASSERT_EQ(0, dm_to_device(fds[i % 8], self->mem, self->len));
		ASSERT_EQ(0, dm_read64(fds[(i + 3) % 8], self->mem, &value));
		ASSERT_EQ(sum, value);
		ASSERT_EQ(0, dm_write64(fds[(i + 5) % 8], self->mem,
					sum += i + 1));
		if (i % 5 == 0)
			ASSERT_EQ(sum, dm_peek(self->mem));
	}
	for (i = 0; i < 8; i++)
		close(fds[i]);
	EXPECT_EQ(sum, dm_peek(self->mem));
	dm_poke(self->mem, dm_word(SEED, 0, 0));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* What a second file sees of memory that the first one put on the device. */
TEST_F(process, two_files)
{
	int second = dm_open_number(self->dm.device);

	ASSERT_LE(0, second);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	EXPECT_TRUE(dm_all(second, self->mem, self->len, DMIRROR_PLACE_LOCAL));
	ASSERT_EQ(0, dm_read(second, self->mem, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	dm_fill(self->buf, self->len, SEED + 1);
	ASSERT_EQ(0, dm_write(second, self->mem, self->buf, self->len));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
	close(second);
}

/* fork() with memory on the device: each of three generations has its own. */
TEST_F(process, fork_and_cpu_writes)
{
	pid_t pid;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		pid = fork();
		if (!pid) {
			DM_CHECK(!dm_bad(self->mem, self->len, SEED));
			dm_fill(self->mem, self->len, SEED + 2);
			DM_CHECK(!dm_bad(self->mem, self->len, SEED + 2));
			_exit(0);
		}
		dm_fill(self->mem, self->len / 2, SEED + 1);
		DM_CHECK(!dm_wait(pid));
		DM_CHECK(!dm_bad(self->mem, self->len / 2, SEED + 1));
		DM_CHECK(!dm_bad_from(self->mem + self->len / 2, self->len / 2,
				      SEED, self->len / 2 / self->page));
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* The parent writes first: it is the child that keeps what was there. */
TEST_F(process, fork_and_parent_writes)
{
	__u64 *word = dm_shared();
	pid_t pid;

	ASSERT_NE(NULL, word);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		dm_await(word, 1);
		DM_CHECK(!dm_bad(self->mem, self->len, SEED));
		_exit(0);
	}
	dm_fill(self->mem, self->len, SEED + 1);
	dm_poke(word, 1);
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
}

/* Devices write, in parent, child and grandchild, each with a file of its own. */
TEST_F(process, fork_and_device_writes)
{
	pid_t pid;
	int fd;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		fd = dm_open_number(self->dm.device);
		DM_CHECK(fd >= 0);
		DM_CHECK(!dm_read(fd, self->mem, self->buf, self->len));
		DM_CHECK(!dm_bad(self->buf, self->len, SEED));
		pid = fork();
		if (!pid) {
			fd = dm_open_number(self->dm.device);
			DM_CHECK(fd >= 0);
			dm_fill(self->buf, self->len, SEED + 2);
			DM_CHECK(!dm_write(fd, self->mem, self->buf,
					   self->len));
			DM_CHECK(!dm_to_device(fd, self->mem, self->len));
			DM_CHECK(!dm_bad(self->mem, self->len, SEED + 2));
			_exit(0);
		}
		dm_fill(self->buf, self->len, SEED + 1);
		DM_CHECK(!dm_write(fd, self->mem, self->buf, self->len));
		DM_CHECK(!dm_wait(pid));
		DM_CHECK(!dm_bad(self->mem, self->len, SEED + 1));
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/*
 * Of what the device writes to, some is shared since the fork, and comes back to be
 * copied. The rest stays where it is.
 */
TEST_F(process, fork_and_device_writes_to_more)
{
	size_t part = self->len / 4, rest = self->len - part;
	__u64 *turn = dm_shared();
	pid_t pid;

	ASSERT_NE(NULL, turn);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		dm_await(turn, 1);
		_exit(dm_bad(self->mem, self->len, SEED) != 0);
	}
	/* A fault of the device's comes by the CPU's, which takes what is around it. */
	ASSERT_TRUE(dm_knob(DM_PARAM("cpu_fault_window"), "0"));
	dm_fill_from(self->mem + part, rest, SEED, part / self->page);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem + part, rest));
	dm_fill(self->buf, self->len, SEED + 1);
	EXPECT_EQ(0, dm_write(self->fd, self->mem, self->buf, self->len));
	EXPECT_TRUE(dm_all(self->fd, self->mem + part, rest, DMIRROR_PLACE_LOCAL));
	EXPECT_TRUE(dm_knob(DM_PARAM("cpu_fault_window"), "64"));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
	dm_poke(turn, 1);
	EXPECT_EQ(0, dm_wait(pid));
	munmap(turn, self->page);
}

#define FORKS	1600

static int take_exclusively(struct dm_worker *w)
{
	const struct _test_data_process *self = w->arg;
	struct dmirror_atomic a;

	return dm_atomic(self->fd, DMIRROR_ATOMIC_ADD,
			 self->mem + w->done % 32 * self->page, 8, 0, 0, &a);
}

static int read_it(struct dm_worker *w)
{
	const struct _test_data_process *self = w->arg;

	return dm_read(self->fd, self->mem + self->len / 2, self->buf,
		       self->len / 2);
}

/* A process that forks while the device takes its pages exclusively gets its child. */
TEST_F_TIMEOUT(process, fork_and_exclusive, 120)
{
	struct dm_worker workers[] = {
		{ .step = take_exclusively, .arg = self, .limit = ~0UL },
		{ .step = read_it, .arg = self, .limit = ~0UL },
	};
	unsigned int rounds = dm_rounds(FORKS), failed = 0, i;
	pid_t pid;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, dm_worker_start(&workers[i]));
	for (i = 0; i < rounds; i++) {
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid < 0)
			failed++;
		else
			ASSERT_EQ(0, dm_wait(pid));
	}
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, dm_worker_stop(&workers[i]));
	/* mm itself may have a page locked for a moment. */
	EXPECT_GE(1, failed);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* A page on the device that two processes share migrates, by either of them. */
TEST_F(process, fork_and_migrate)
{
	struct dmirror_migrate m;
	__u64 *word = dm_shared();
	pid_t pid;

	ASSERT_NE(NULL, word);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		int fd = dm_open_number(self->dm.device);

		DM_CHECK(fd >= 0);
		DM_CHECK(!dm_migrate(fd, self->mem, self->len,
				     DMIRROR_TARGET_SYSTEM, &m));
		DM_CHECK(!dm_bad(self->mem, self->len, SEED));
		DM_CHECK(!dm_migrate(fd, self->mem, self->len,
				     DMIRROR_TARGET_DEVICE, &m));
		dm_poke(word, 1);
		dm_await(word, 2);
		DM_CHECK(!dm_bad(self->mem, self->len, SEED));
		_exit(0);
	}
	dm_await(word, 1);
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	dm_fill(self->buf, self->len, SEED + 1);
	ASSERT_EQ(0, dm_write(self->fd, self->mem, self->buf, self->len));
	dm_poke(word, 2);
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
}

/* A child that ends does not take along what its parent has on the device. */
TEST_F(process, child_exits)
{
	/* What one child writes to may come back, with what is around it. */
	size_t rest = dm_large(&self->dm) ? 0 : self->len / 2 - DM_CPU_WINDOW;
	pid_t pid;
	int i;

	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		pid = fork();
		if (!pid) {
			if (i & 1)
				dm_fill(self->mem, self->len / 2, 1);
			_exit(0);
		}
		EXPECT_EQ(0, dm_wait(pid));
		EXPECT_LE((i & 1 ? rest : self->len) / self->page,
			  dm_count(self->fd, self->mem, self->len,
				   DMIRROR_PLACE_LOCAL));
	}
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* exit() with memory on the device: the device gets it all back. */
TEST_F(process, exit_with_memory_there)
{
	__u64 before = memory_used(self->fd);
	pid_t pid = fork();

	if (!pid) {
		char *mem = dm_alloc(&self->dm, self->len, SEED);
		int fd = dm_open_number(self->dm.device);

		DM_CHECK(mem && fd >= 0);
		DM_CHECK(!dm_to_device(fd, mem, self->len));
		DM_CHECK(memory_used(fd) == before + self->len);
		exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(before, memory_used(self->fd));
}

/* The same with the file closed before. */
TEST_F(process, exit_with_file_closed)
{
	__u64 before = memory_used(self->fd);
	pid_t pid = fork();

	if (!pid) {
		char *mem = dm_alloc(&self->dm, self->len, SEED);
		int fd = dm_open_number(self->dm.device);

		DM_CHECK(mem && fd >= 0);
		DM_CHECK(!dm_to_device(fd, mem, self->len));
		close(fd);
		DM_CHECK(!dm_bad(mem, self->page, SEED));
		exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(before, memory_used(self->fd));
}

/* exec() is the end of an address space; the file, if it stays, mirrors none. */
TEST_F(process, exec)
{
	__u64 before = memory_used(self->fd);
	pid_t pid = fork();

	if (!pid) {
		char *mem = dm_alloc(&self->dm, self->len, SEED);
		int fd = dm_open_number(self->dm.device);
		int keep;

		DM_CHECK(mem && fd >= 0);
		DM_CHECK(!dm_to_device(fd, mem, self->len));
		keep = dup(fd);
		DM_CHECK(keep >= 0);
		execl("/bin/busybox", "busybox", "true", NULL);
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(before, memory_used(self->fd));
}

static int move_step(struct dm_worker *w)
{
	struct dmirror_migrate m;
	void **args = w->arg;
	int fd = (long)args[0];
	size_t len = (size_t)args[2];

	return dm_migrate_raw(fd, args[1], len, (long)args[3], &m);
}

/* SIGKILL at any moment of migration and device access, many times. */
TEST_F_TIMEOUT(process, kill, 120)
{
	const unsigned int rounds = dm_rounds(variant->backing.thp ? 5 : 20);
	__u64 before = memory_used(self->fd), *words = dm_shared();
	unsigned int i;
	pid_t pid;

	ASSERT_NE(NULL, words);
	for (i = 0; i < rounds; i++) {
		dm_poke(words, 0);
		pid = fork();
		if (!pid) {
			char *mem = dm_alloc(&self->dm, self->len, SEED);
			int fd = dm_open_number(self->dm.device);
			void *args[] = {
				(void *)(long)fd, mem, (void *)self->len,
				(void *)(long)DMIRROR_TARGET_DEVICE,
			};
			struct dm_worker w = {
				.step = move_step, .arg = args, .limit = ~0UL,
			};
			struct dmirror_migrate m;
			unsigned long n;

			DM_CHECK(mem && fd >= 0);
			dm_worker_start(&w);
			for (n = 0; ; n++) {
				dm_write(fd, mem, self->buf, self->len);
				dm_peek(mem + n % self->len / 8 * 8);
				dm_add64(fd, mem + 8, 1);
				dm_migrate_raw(fd, mem, self->len,
					       DMIRROR_TARGET_SYSTEM, &m);
				dm_poke(words, n + 1);
			}
		}
		dm_await(words, 1 + i % 3);
		dm_msleep(i % 7);
		kill(pid, SIGKILL);
		ASSERT_EQ(-SIGKILL, dm_wait_for(pid, 20));
	}
	EXPECT_EQ(before, memory_used(self->fd));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* Another process shares the file, and closes it last. */
TEST_F(process, inherited_file_closed_last)
{
	__u64 before = memory_used(self->fd), *word = dm_shared();
	pid_t pid;
	int fd;

	ASSERT_NE(NULL, word);
	pid = fork();
	if (!pid) {
		char *mem = dm_alloc(&self->dm, self->len, SEED);

		fd = dm_open_number(self->dm.device);
		DM_CHECK(mem && fd >= 0);
		DM_CHECK(!dm_to_device(fd, mem, self->len));
		if (fork())
			_exit(0);
		dm_await(word, 1);
		close(fd);
		dm_poke(word, 2);
		_exit(0);
	}
	ASSERT_EQ(0, dm_wait(pid));

	/* The grandchild shares the memory still, if it is not gone. */
	dm_poke(word, 1);
	dm_await(word, 2);
	for (fd = 0; fd < 500 && memory_used(self->fd) != before; fd++)
		dm_msleep(10);
	EXPECT_EQ(before, memory_used(self->fd));
}

/*
 * Two threads move one range in opposite directions while a third one, the
 * CPU, writes to the start of it: every page is whole at any time.
 */
TEST_F_TIMEOUT(process, two_threads_two_directions, 120)
{
	void *there[] = {
		(void *)(long)self->fd, self->mem, (void *)self->len,
		(void *)(long)DMIRROR_TARGET_DEVICE,
	};
	void *back[] = {
		(void *)(long)self->fd, self->mem, (void *)self->len,
		(void *)(long)DMIRROR_TARGET_SYSTEM,
	};
	struct dm_worker a = {
		.step = move_step, .arg = there, .limit = 100000,
	};
	struct dm_worker b = {
		.step = move_step, .arg = back, .limit = 100000,
	};
	const unsigned int rounds = dm_rounds(variant->backing.thp ? 5 : 20);
	const size_t part = 16 * self->page;
	unsigned int i;

	ASSERT_EQ(0, dm_worker_start(&a));
	ASSERT_EQ(0, dm_worker_start(&b));
	dm_await(&a.done, 1);
	dm_await(&b.done, 1);
	for (i = 1; i <= rounds; i++) {
		dm_fill(self->mem, part, SEED + i);
		EXPECT_EQ(0, dm_bad(self->mem, part, SEED + i));
		EXPECT_EQ(0, dm_read(self->fd, self->mem, self->buf, part));
		EXPECT_EQ(0, dm_bad(self->buf, part, SEED + i));
	}
	EXPECT_EQ(0, dm_worker_stop(&a));
	EXPECT_EQ(0, dm_worker_stop(&b));
	EXPECT_EQ(0, dm_bad(self->mem, part, SEED + rounds));
	EXPECT_EQ(0, dm_bad_from(self->mem + part, self->len - part, SEED,
				 part / self->page));
}

/*
 * What a program can do to a mapping while it is on the device
 */

TEST_F(process, unmap)
{
	__u64 before = memory_used(self->fd);
	char *mem = dm_alloc(&self->dm, self->len, SEED);

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, dm_to_device(self->fd, mem, self->len));
	ASSERT_EQ(0, dm_read(self->fd, mem, self->buf, self->len));
	ASSERT_EQ(0, munmap(mem, self->len));
	EXPECT_EQ(before, memory_used(self->fd));
	EXPECT_EQ(-EFAULT, dm_read(self->fd, mem, self->buf, self->page));
}

/* Every third page goes; the rest is there, and whole. */
TEST_F(process, unmap_parts)
{
	size_t i, n = self->len / self->page, gone = 0;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	for (i = 0; i < n; i += 3, gone++)
		ASSERT_EQ(0, munmap(self->mem + i * self->page, self->page));
	EXPECT_EQ(n - gone, dm_count(self->fd, self->mem, self->len,
				     DMIRROR_PLACE_LOCAL));
	for (i = 0; i < n; i++) {
		char *p = self->mem + i * self->page;
		int ret = dm_read(self->fd, p, self->buf, self->page);

		ASSERT_EQ(i % 3 ? 0 : -EFAULT, ret);
		if (i % 3 == 1)
			ASSERT_EQ(0, dm_bad_from(self->buf, self->page, SEED,
						 i));
		if (i % 3 == 2)
			ASSERT_EQ(0, dm_bad_from(p, self->page, SEED, i));
	}
}

/* The mapping moves, the memory does not. */
TEST_F(process, remap)
{
	char *to = dm_map(&self->dm, self->len);
	size_t page = self->page;

	ASSERT_NE(NULL, to);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	ASSERT_EQ(to, mremap(self->mem, self->len, self->len,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(-EFAULT, dm_read(self->fd, self->mem, self->buf, page));
	EXPECT_TRUE(dm_all(self->fd, to, self->len, DMIRROR_PLACE_LOCAL));
	memset(self->buf, 0, self->len);
	ASSERT_EQ(0, dm_read(self->fd, to, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	EXPECT_EQ(0, dm_bad(to, self->len, SEED));
	self->mem = to;
}

/* A part of it moves, which splits a huge page on the device. */
TEST_F(process, remap_part)
{
	size_t page = self->page, part = 4 * page;
	char *to = dm_map(&self->dm, self->len);

	ASSERT_NE(NULL, to);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(to + page, mremap(self->mem + 8 * page, part, part,
				    MREMAP_MAYMOVE | MREMAP_FIXED, to + page));
	EXPECT_EQ(DMIRROR_PLACE_LOCAL, dm_where(self->fd, to + page).place);
	EXPECT_EQ(DMIRROR_PLACE_LOCAL, dm_where(self->fd, self->mem).place);
	ASSERT_EQ(0, dm_read(self->fd, to + page, self->buf, part));
	EXPECT_EQ(0, dm_bad_from(self->buf, part, SEED, 8));
	EXPECT_EQ(0, dm_bad_from(to + page, part, SEED, 8));
	EXPECT_EQ(0, dm_bad(self->mem, 8 * page, SEED));
	EXPECT_EQ(0, dm_bad_from(self->mem + 12 * page, self->len - 12 * page,
				 SEED, 12));
	munmap(to, self->len);
}

TEST_F(process, grow_and_shrink)
{
	char *mem, *more;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	more = mremap(self->mem, self->len, self->len + 8 * self->page,
		      MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, more);
	self->mem = more;
	ASSERT_EQ(0, dm_to_device(self->fd, more, self->len + 8 * self->page));
	mem = mremap(more, self->len + 8 * self->page, self->len, 0);
	ASSERT_EQ(mem, more);
	EXPECT_EQ(0, dm_bad(mem, self->len, SEED));
}

/* Rights that change under the device's hands. */
TEST_F(process, protect)
{
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_write64(self->fd, self->mem, 1));

	ASSERT_EQ(0, mprotect(self->mem, self->len, PROT_READ));
	EXPECT_EQ(-EPERM, dm_write64(self->fd, self->mem, 2));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));

	ASSERT_EQ(0, mprotect(self->mem, self->len, PROT_NONE));
	EXPECT_EQ(-EFAULT, dm_read(self->fd, self->mem, self->buf, self->page));
	EXPECT_EQ(-EFAULT, dm_write64(self->fd, self->mem, 3));

	ASSERT_EQ(0, mprotect(self->mem, self->len, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	EXPECT_EQ(1, dm_peek(self->mem));
	EXPECT_EQ(1, dm_peek(self->buf));
	ASSERT_EQ(0, dm_write64(self->fd, self->mem, dm_word(SEED, 0, 0)));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/*
 * Untouched memory that may only be read: what it becomes on the device may not be
 * written to either, by the device there, nor by the CPU when it is back.
 */
TEST_F(process, protected_hole)
{
	int advice = variant->backing.thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;
	char *mem = dm_map_flags(self->len, advice, PROT_READ,
				 MAP_PRIVATE | MAP_ANONYMOUS);
	pid_t pid;

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, dm_to_device(self->fd, mem, self->len));
	EXPECT_EQ(0, dm_count_flags(self->fd, mem, self->len,
				    DMIRROR_PAGE_WRITE));
	EXPECT_EQ(-EPERM, dm_write64(self->fd, mem, 1));
	ASSERT_EQ(0, dm_to_device(self->fd, mem, self->len));
	EXPECT_EQ(-EPERM, dm_fill_device(self->fd, mem, self->len, 2));
	EXPECT_TRUE(dm_zero(mem, self->len));
	ASSERT_EQ(0, dm_to_system(self->fd, mem, self->len));
	EXPECT_EQ(-EPERM, dm_write64(self->fd, mem, 3));

	/* It may be the program's to write to later, and then it works. */
	ASSERT_EQ(0, dm_to_device(self->fd, mem, self->len));
	ASSERT_EQ(0, mprotect(mem, self->len, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, dm_write64(self->fd, mem, 4));
	EXPECT_EQ(4, dm_peek(mem));
	munmap(mem, self->len);

	/* In a child, with memory of its own: fork would take the right away. */
	pid = fork();
	if (!pid) {
		int fd = dm_open_number(self->dm.device);

		mem = dm_map_flags(self->len, advice, PROT_READ,
				   MAP_PRIVATE | MAP_ANONYMOUS);
		DM_CHECK(fd >= 0 && mem);
		DM_CHECK(!dm_to_device(fd, mem, self->len));
		DM_CHECK(!dm_to_system(fd, mem, self->len));
		dm_poke(mem, 1);
		_exit(0);
	}
	EXPECT_EQ(-SIGSEGV, dm_wait(pid));
}

/* Memory that is given away reads as zeros on both sides. */
TEST_F(process, discard)
{
	__u64 before = memory_used(self->fd), value = 1;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_write64(self->fd, self->mem, 1));
	ASSERT_EQ(0, madvise(self->mem, self->len, MADV_DONTNEED));
	EXPECT_EQ(before, memory_used(self->fd));
	EXPECT_EQ(0, dm_count_flags(self->fd, self->mem, self->len,
				    DMIRROR_PAGE_MAPPED));
	ASSERT_EQ(0, dm_read64(self->fd, self->mem, &value));
	EXPECT_EQ(0, value);
	EXPECT_TRUE(dm_zero(self->mem, self->len));
}

TEST_F(process, discard_parts)
{
	size_t page = self->page, i, n = self->len / page;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	for (i = 0; i < n; i += 2)
		ASSERT_EQ(0, madvise(self->mem + i * page, page,
				     MADV_DONTNEED));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	for (i = 0; i < n; i += 2) {
		ASSERT_TRUE(dm_zero(self->buf + i * page, page));
		ASSERT_TRUE(dm_zero(self->mem + i * page, page));
		ASSERT_EQ(0, dm_bad_from(self->buf + i * page + page, page,
					 SEED, i + 1));
		ASSERT_EQ(0, dm_bad_from(self->mem + i * page + page, page,
					 SEED, i + 1));
	}
}

/* Nobody may read it: not even a migration touches it. */
TEST_F(process, prot_none)
{
	struct dmirror_migrate m;

	ASSERT_EQ(0, mprotect(self->mem, self->len, PROT_NONE));
	EXPECT_EQ(-EFAULT, dm_migrate(self->fd, self->mem, self->len,
				      DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ((uintptr_t)self->mem, m.fault_addr);
	EXPECT_EQ(0, m.moved);
	ASSERT_EQ(0, mprotect(self->mem, self->len, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, dm_count(self->fd, self->mem, self->len,
			      DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* Shared memory never migrates, but the device reads and writes it. */
TEST_F(process, shared_memory)
{
	char *shared = dm_map_flags(self->len, -1, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS);
	struct dmirror_migrate m;

	ASSERT_NE(NULL, shared);
	dm_fill(shared, self->len, SEED);
	ASSERT_EQ(0, dm_migrate(self->fd, shared, self->len,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->len, m.unsupported);
	EXPECT_EQ(self->len, dm_migrate_sum(&m));
	EXPECT_TRUE(dm_all(self->fd, shared, self->len, DMIRROR_PLACE_SYSTEM));
	ASSERT_EQ(0, dm_read(self->fd, shared, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	dm_fill(self->buf, self->len, SEED + 1);
	ASSERT_EQ(0, dm_write(self->fd, shared, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(shared, self->len, SEED + 1));
	munmap(shared, self->len);
}

/* So do the pages of a file; copies of them that were written to can move. */
TEST_F(process, file_memory)
{
	int file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	struct dmirror_migrate m;
	char *map;

	ASSERT_LE(0, file);
	dm_fill(self->buf, self->len, SEED + 1);
	ASSERT_EQ(self->len, write(file, self->buf, self->len));
	map = mmap(NULL, self->len, PROT_READ | PROT_WRITE, MAP_SHARED, file,
		   0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, dm_bad(map, self->len, SEED + 1));
	ASSERT_EQ(0, dm_migrate(self->fd, map, self->len, DMIRROR_TARGET_DEVICE,
				&m));
	EXPECT_EQ(self->len, m.unsupported);
	munmap(map, self->len);

	map = mmap(NULL, self->len, PROT_READ | PROT_WRITE, MAP_PRIVATE, file,
		   0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, dm_bad(map, self->len, SEED + 1));
	dm_fill(map, self->page, SEED + 2);
	ASSERT_EQ(0, dm_migrate(self->fd, map, self->len, DMIRROR_TARGET_DEVICE,
				&m));
	EXPECT_EQ(self->len, dm_migrate_sum(&m));
	EXPECT_GE(self->page, m.moved);
	EXPECT_EQ(0, dm_bad(map, self->page, SEED + 2));
	EXPECT_EQ(0, dm_bad_from(map + self->page, self->len - self->page,
				 SEED + 1, 1));
	munmap(map, self->len);

	/* The file itself is as it was. */
	memset(self->buf, 0, self->len);
	ASSERT_EQ(self->len, pread(file, self->buf, self->len, 0));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED + 1));
	close(file);
}

/* A page that somebody else holds is busy: it stays, and the others move. */
TEST_F(process, pinned)
{
	struct iovec iov = { self->mem, self->page };
	struct dmirror_migrate m;
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(self->page, vmsplice(pipes[1], &iov, 1, 0));
	ASSERT_EQ(0, dm_migrate_raw(self->fd, self->mem, self->len,
				    DMIRROR_TARGET_DEVICE, &m));
	EXPECT_LE(self->page, m.busy);
	EXPECT_EQ(self->len, dm_migrate_sum(&m));
	EXPECT_EQ(DMIRROR_PLACE_SYSTEM, dm_where(self->fd, self->mem).place);

	/* The pipe's end has what was there; then the page can move. */
	ASSERT_EQ(self->page, read(pipes[0], self->buf, self->page));
	EXPECT_EQ(0, dm_bad(self->buf, self->page, SEED));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(pipes[0]);
	close(pipes[1]);
}

/* A system call that reads device memory through the CPU's page table. */
TEST_F(process, system_call)
{
	size_t page = self->page;
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(page, write(pipes[1], self->mem, page));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(page, read(pipes[0], self->mem + page, page));
	EXPECT_EQ(0, memcmp(self->mem, self->mem + page, page));
	dm_fill_from(self->mem + page, page, SEED, 1);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(pipes[0]);
	close(pipes[1]);
}

/* Locked memory migrates when it is asked to, and stays locked. */
TEST_F(process, mlock)
{
	long locked;

	ASSERT_EQ(0, mlock(self->mem, self->len));
	locked = dm_file_value("/proc/self/status", "VmLck");
	EXPECT_EQ(self->len / 1024, locked);
	ASSERT_EQ(0, dm_to_device_settled(self->fd, self->mem,
					  self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	ASSERT_EQ(0, dm_to_device_settled(self->fd, self->mem,
					  self->len));
	ASSERT_EQ(0, munlock(self->mem, self->len));
	ASSERT_EQ(0, mlock(self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	ASSERT_EQ(0, munlock(self->mem, self->len));
	EXPECT_EQ(0, dm_file_value("/proc/self/status", "VmLck"));
}

/* Another process reads and writes it, through /proc. */
TEST_F(process, looked_at_from_outside)
{
	char path[64];
	pid_t pid;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", getpid());
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		ssize_t len = self->len;
		off_t at = (uintptr_t)self->mem;

		fd = open(path, O_RDWR);
		DM_CHECK(fd >= 0);
		memset(self->buf, 0, len);
		DM_CHECK(pread(fd, self->buf, len, at) == len);
		DM_CHECK(!dm_bad(self->buf, len, SEED));
		dm_fill(self->buf, len, SEED + 1);
		DM_CHECK(pwrite(fd, self->buf, len, at) == len);
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
}

TEST_HARNESS_MAIN
