// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that something else holds for long, here an io_uring that has it as its
 * buffer: it does not migrate, the call says so, and when it is let go it does. To
 * be held for long, memory comes to the system first.
 */
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "dmirror_state.h"
#include "dmirror_inject.h"

#define HELD	4	/* pages */

static int ring_open(void)
{
	struct io_uring_params params = { 0 };

	return syscall(SYS_io_uring_setup, 1, &params);
}

static int ring_hold(int ring, void *mem, size_t len)
{
	struct iovec iov = { mem, len };

	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov,
		    1))
		return -errno;
	return 0;
}

static int ring_let_go(int ring)
{
	return syscall(SYS_io_uring_register, ring, IORING_UNREGISTER_BUFFERS,
		       NULL, 0);
}

/* Held here: it stays; what is not held moves, if it is not of one huge page. */
TEST_F(state, held)
{
	char *held = self->mem + 8 * self->page;
	int ring = ring_open();
	struct dmirror_migrate m;

	if (ring < 0)
		SKIP(return, "no io_uring: CONFIG_IO_URING");
	ASSERT_EQ(0, ring_hold(ring, held, HELD * self->page));
	ASSERT_EQ(0, dm_migrate_raw(self->fd, self->mem, self->len,
				    DMIRROR_TARGET_DEVICE, &m));
	EXPECT_LE(HELD * self->page, m.busy);
	EXPECT_EQ(self->len, m.moved + m.busy);
	EXPECT_TRUE(dm_all(self->fd, held, HELD * self->page,
			   DMIRROR_PLACE_SYSTEM));

	/* The device works on it where it is. */
	dm_fill_from(self->buf, HELD * self->page, SEED + 1, 8);
	ASSERT_EQ(0, dm_write(self->fd, held, self->buf, HELD * self->page));
	EXPECT_TRUE(dm_all(self->fd, held, HELD * self->page,
			   DMIRROR_PLACE_SYSTEM));
	EXPECT_EQ(0, dm_bad_from(held, HELD * self->page, SEED + 1, 8));
	dm_fill_from(held, HELD * self->page, SEED, 8);

	ASSERT_EQ(0, ring_let_go(ring));
	close(ring);
	if (dm_splits(&self->dm) || !variant->backing.thp)
		ASSERT_EQ(0, dm_to_device_settled(self->fd, self->mem,
						  self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/*
 * To be held when it is on the device: it comes to system memory, of either kind,
 * and of what is not held private memory comes with it by the window of the fault.
 */
TEST_F(state, held_from_there)
{
	bool coherent = variant->backing.memory_type == DMIRROR_MEMORY_COHERENT;
	char *held = self->mem + 8 * self->page;
	int ring = ring_open();
	struct dmirror_migrate m;

	if (ring < 0)
		SKIP(return, "no io_uring: CONFIG_IO_URING");
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, ring_hold(ring, held, HELD * self->page));
	EXPECT_TRUE(dm_all(self->fd, held, HELD * self->page,
			   DMIRROR_PLACE_SYSTEM));
	if (coherent)
		EXPECT_EQ(HELD, dm_count(self->fd, self->mem, self->len,
					 DMIRROR_PLACE_SYSTEM));
	ASSERT_EQ(0, dm_migrate_raw(self->fd, held, HELD * self->page,
				    DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(HELD * self->page, m.busy);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));

	ASSERT_EQ(0, ring_let_go(ring));
	close(ring);
}

/*
 * Held on the device, by a pipe: it stays there and is said to be busy, also of a job.
 * Twice: of a device's pages mm takes the first reference that it does not know for the
 * device's own.
 */
TEST_F(state, held_over_there)
{
	struct iovec iov[] = {
		{ self->mem, self->page }, { self->mem, self->page },
	};
	struct dmirror_migrate m;
	struct dmirror_wait w;
	int pipes[2];

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	if (variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE) {
		EXPECT_EQ(0, dm_hold_fetches(self->fd, self->mem));
		EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
		return;
	}
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(2 * self->page, vmsplice(pipes[1], iov, 2, 0));
	ASSERT_EQ(0, dm_migrate_raw(self->fd, self->mem, self->len,
				    DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(self->page, m.busy);
	EXPECT_EQ(self->len, m.moved + m.busy);
	EXPECT_EQ(DMIRROR_PLACE_LOCAL, dm_where(self->fd, self->mem).place);
	ASSERT_EQ(0, dm_migrate_job(self->fd, self->mem, self->len,
				    DMIRROR_TARGET_SYSTEM, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_EQ(0, w.done);
	EXPECT_EQ(self->page, w.stayed);

	ASSERT_EQ(self->page, read(pipes[0], self->buf, self->page));
	ASSERT_EQ(self->page, read(pipes[0], self->buf, self->page));
	close(pipes[0]);
	close(pipes[1]);
	ASSERT_EQ(0, dm_to_system_settled(self->fd, self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* A page of them cannot come, since somebody has it: then none is held. */
TEST_F(state, not_to_be_held)
{
	char *wanted = self->mem + 8 * self->page;
	struct iovec first = { wanted, self->page };
	bool coherent = variant->backing.memory_type == DMIRROR_MEMORY_COHERENT;
	int ring = ring_open(), pipes[2];

	if (ring < 0)
		SKIP(return, "no io_uring: CONFIG_IO_URING");
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(self->page, vmsplice(pipes[1], &first, 1, 0));
	/* Who had a page of private memory has brought it. */
	EXPECT_EQ(coherent, !!ring_hold(ring, wanted, HELD * self->page));
	ASSERT_EQ(self->page, read(pipes[0], self->buf, self->page));
	close(pipes[0]);
	close(pipes[1]);
	EXPECT_EQ(0, dm_to_system_settled(self->fd, self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(ring);
}

#define FAILURES_MAX	200

/* There is no memory for them to come to, or for something else: nothing is lost. */
TEST_F_TIMEOUT(state, no_memory_to_be_held, 120)
{
	const char *why = dm_nth_setup();
	int ring = ring_open(), ret;
	bool failed = true;
	unsigned int n;
	char *mem;

	if (ring < 0)
		SKIP(return, "no io_uring: CONFIG_IO_URING");
	if (why)
		SKIP(return, "%s", why);
	for (n = 1; failed && n < FAILURES_MAX; n++) {
		mem = dm_alloc(&self->dm, self->len, SEED);
		ASSERT_NE(NULL, mem);
		ASSERT_EQ(0, dm_to_device_settled(self->fd, mem, self->len));
		ASSERT_EQ(0, dm_nth_start(n));
		ret = ring_hold(ring, mem + 8 * self->page, HELD * self->page);
		failed = dm_nth_stop();
		ASSERT_EQ(0, dm_stuck(self->fd, mem, self->len));
		if (!ret)
			ASSERT_EQ(0, ring_let_go(ring));
		ASSERT_EQ(0, dm_to_system_settled(self->fd, mem, self->len));
		EXPECT_EQ(0, dm_bad(mem, self->len, SEED));
		/*
		 * io_sqe_buffer_register() of 6.1 does not let go of the pages when an
		 * allocation fails that it makes after it has them.
		 */
		if (!dm_kernel_before(6, 12))
			ASSERT_EQ(0, dm_to_device_settled(self->fd, mem, self->len));
		munmap(mem, self->len);
	}
	EXPECT_FALSE(failed);
	close(ring);
}

/* What is held is never shared on write: a child gets copies, and the parent keeps. */
TEST_F(state, held_and_fork)
{
	char *held = self->mem + 8 * self->page;
	struct dmirror_migrate m;
	int ring = ring_open();
	pid_t pid;
	int fd;

	if (ring < 0)
		SKIP(return, "no io_uring: CONFIG_IO_URING");
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, ring_hold(ring, held, HELD * self->page));
	pid = fork();
	if (!pid) {
		fd = dm_open_number(self->dm.device);
		DM_CHECK(!dm_migrate(fd, held, HELD * self->page,
				     DMIRROR_TARGET_DEVICE, &m));
		DM_CHECK(!dm_bad_from(held, HELD * self->page, SEED, 8));
		dm_fill_from(self->buf, HELD * self->page, SEED + 1, 8);
		DM_CHECK(!dm_write(fd, held, self->buf, HELD * self->page));
		DM_CHECK(!dm_bad_from(held, HELD * self->page, SEED + 1, 8));
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	ASSERT_EQ(0, dm_migrate_raw(self->fd, held, HELD * self->page,
				    DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(HELD * self->page, m.busy);
	ASSERT_EQ(0, ring_let_go(ring));
	close(ring);
}

TEST_HARNESS_MAIN
