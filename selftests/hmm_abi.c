// SPDX-License-Identifier: GPL-2.0
/*
 * The ABI of lib/test_hmm.c, on /dev/hmm_dmirror0 and up: return values, the
 * counts, and the corners that hmm-tests do not look into. All of it is the
 * same on every kernel, the newest ioctls too.
 */
#include <sys/uio.h>

#include "kselftest_harness.h"
#include "dmirror_test.h"
#include "dmirror_inject.h"
#include "dmirror_load.h"

#define SEED	0x4a44

FIXTURE(hmm)
{
	struct dm dm;
	size_t page;
	size_t npages;
	size_t len;
	char *mem;
	char *buf;
	int fd;
};

FIXTURE_VARIANT(hmm)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(hmm, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(hmm, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(hmm, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(hmm, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

FIXTURE_SETUP(hmm)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->fd = hmm_open(self->dm.device);
	ASSERT_LE(0, self->fd);
	self->page = self->dm.page;
	self->len = self->dm.len;
	self->npages = self->len / self->page;
	self->mem = dm_alloc(&self->dm, self->len, SEED);
	ASSERT_NE(NULL, self->mem);
	self->buf = malloc(self->len);
	ASSERT_NE(NULL, self->buf);
	memset(self->buf, 0xee, self->len);
}

FIXTURE_TEARDOWN(hmm)
{
	hmm_clear_flags(self->fd);
	free(self->buf);
	munmap(self->mem, self->len);
	close(self->fd);
	close(self->dm.fd);
}

static unsigned int place_local(const struct dm *dm)
{
	return dm->backing.memory_type == DMIRROR_MEMORY_PRIVATE ?
	       HMM_PROT_PRIVATE_LOCAL : HMM_PROT_COHERENT_LOCAL;
}

/* The snapshot of one page, or a negative errno */
static int hmm_where(int fd, const void *addr)
{
	unsigned char byte = 0xaa;
	int ret = hmm_call(fd, HMM_SNAPSHOT, addr, &byte, 1, NULL);

	return ret ? ret : byte;
}

/* How many of the first pages are where @place says, rights aside */
static long hmm_count(int fd, const void *addr, size_t npages,
		      unsigned int place)
{
	unsigned char *bytes = malloc(npages);
	long count = 0;
	size_t i;
	int ret;

	if (!bytes)
		return -ENOMEM;
	ret = hmm_call(fd, HMM_SNAPSHOT, addr, bytes, npages, NULL);
	for (i = 0; i < npages; i++)
		count += (bytes[i] & HMM_PROT_PLACE) == place;
	free(bytes);
	return ret ? ret : count;
}

/* The first page is read by one fault, and is then mapped. */
TEST_F(hmm, read)
{
	struct hmm_cmd cmd;

	ASSERT_EQ(0, hmm_call(self->fd, HMM_READ, self->mem, self->buf,
			      self->npages, &cmd));
	EXPECT_EQ(self->npages, cmd.cpages);
	EXPECT_EQ(1, cmd.faults);
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));

	ASSERT_EQ(0, hmm_call(self->fd, HMM_READ, self->mem, self->buf,
			      self->npages, &cmd));
	EXPECT_EQ(self->npages, cmd.cpages);
	EXPECT_EQ(0, cmd.faults);
}

TEST_F(hmm, write)
{
	struct hmm_cmd cmd;

	dm_fill(self->buf, self->len, SEED + 1);
	ASSERT_EQ(0, hmm_call(self->fd, HMM_WRITE, self->mem, self->buf,
			      self->npages, &cmd));
	EXPECT_EQ(self->npages, cmd.cpages);
	EXPECT_EQ(1, cmd.faults);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));

	/* One page in the middle, and no other. */
	dm_fill_from(self->buf, self->page, SEED, 5);
	ASSERT_EQ(0, hmm_call(self->fd, HMM_WRITE, self->mem + 5 * self->page,
			      self->buf, 1, &cmd));
	EXPECT_EQ(0, dm_bad_from(self->mem + 5 * self->page, self->page, SEED,
				 5));
	dm_fill_from(self->mem + 5 * self->page, self->page, SEED + 1, 5);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
}

TEST_F(hmm, migrate_there_and_back)
{
	struct hmm_cmd cmd;

	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, &cmd));
	EXPECT_EQ(self->npages, cmd.cpages);

	/* The call answers with what the device has. */
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	EXPECT_EQ(self->npages, hmm_count(self->fd, self->mem, self->npages,
					  place_local(&self->dm)));

	/* Once more: the pages are there, and are read all the same. */
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, &cmd));
	EXPECT_EQ(self->npages, cmd.cpages);

	/* Back: a huge page that moves as one counts as one or as many. */
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_SYS, self->mem, NULL,
			      self->npages, &cmd));
	if (dm_large(&self->dm)) {
		EXPECT_LE(1, cmd.cpages);
		EXPECT_GE(self->npages, cmd.cpages);
	} else {
		EXPECT_EQ(self->npages, cmd.cpages);
	}
	EXPECT_EQ(self->npages, hmm_count(self->fd, self->mem, self->npages,
					  HMM_PROT_NONE));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));

	/* Nothing left to bring back. */
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_SYS, self->mem, NULL,
			      self->npages, &cmd));
	EXPECT_EQ(0, cmd.cpages);
}

TEST_F(hmm, migrate_hole)
{
	char *hole = dm_map(&self->dm, self->len);
	struct hmm_cmd cmd;

	ASSERT_NE(NULL, hole);
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, hole, self->buf,
			      self->npages, &cmd));
	EXPECT_EQ(self->npages, cmd.cpages);
	EXPECT_TRUE(dm_zero(self->buf, self->len));
	EXPECT_TRUE(dm_zero(hole, self->len));
	munmap(hole, self->len);
}

/*
 * Compaction has pages for a moment, and memory that moved is read back by the same call:
 * such a page is tried again.
 */
TEST_F_TIMEOUT(hmm, memory_is_compacted, 600)
{
	size_t len = 4 * DM_HUGE, npages = len / self->page;
	unsigned int i, rounds = dm_rounds(16);
	struct dm dm = self->dm;
	struct hmm_cmd cmd;
	char *mem, *buf;
	int ret = 0;
	pid_t pid;

	/* Or mm might map a huge page by PTEs that it cannot split, and leave it so. */
	dm.backing.thp = dm.backing.thp && dm_splits(&dm);
	mem = dm_alloc(&dm, len, SEED);
	ASSERT_NE(NULL, mem);
	buf = malloc(len);
	ASSERT_NE(NULL, buf);
	pid = fork();
	if (!pid) {
		while (!dm_file_write("/proc/sys/vm/compact_memory", "1"))
			dm_msleep(1);
		_exit(1);
	}
	for (i = 0; i < rounds && !ret; i++) {
		ret = hmm_call(self->fd, HMM_TO_DEV, mem, buf, npages, &cmd);
		if (!ret)
			ret = hmm_call(self->fd, HMM_TO_SYS, mem, NULL, npages,
				       &cmd);
	}
	EXPECT_EQ(0, ret);
	EXPECT_EQ(rounds, i);
	kill(pid, SIGKILL);
	EXPECT_EQ(-SIGKILL, dm_wait(pid));
	EXPECT_EQ(0, dm_bad(buf, len, SEED));
	EXPECT_EQ(0, dm_bad(mem, len, SEED));
	free(buf);
	munmap(mem, len);
}

/* Every value of a snapshot byte that needs no second device. */
TEST_F(hmm, snapshot)
{
	unsigned int pmd = variant->backing.thp ? HMM_PROT_PMD : 0;
	size_t page = self->page;
	struct hmm_cmd cmd;
	char *mem;

	EXPECT_EQ(HMM_PROT_WRITE | pmd, hmm_where(self->fd, self->mem));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, NULL));
	pmd = dm_large(&self->dm) ? HMM_PROT_PMD : 0;
	EXPECT_EQ(place_local(&self->dm) | HMM_PROT_WRITE | pmd,
		  hmm_where(self->fd, self->mem));

	/* Contents come back with the CPU's touch; then it is read-only. */
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	ASSERT_EQ(0, mprotect(self->mem + page, page, PROT_READ));
	if (variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE)
		EXPECT_EQ(HMM_PROT_READ, hmm_where(self->fd, self->mem + page));

	/* No right to read, and nothing mapped, are the same error. */
	ASSERT_EQ(0, mprotect(self->mem + page, page, PROT_NONE));
	EXPECT_EQ(HMM_PROT_ERROR, hmm_where(self->fd, self->mem + page));
	ASSERT_EQ(0, munmap(self->mem + page, page));
	EXPECT_EQ(HMM_PROT_ERROR, hmm_where(self->fd, self->mem + page));

	/* Not touched, then touched by a read. A snapshot touches nothing. */
	mem = dm_map_flags(4 * page, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	ASSERT_NE(NULL, mem);
	EXPECT_EQ(HMM_PROT_NONE, hmm_where(self->fd, mem));
	EXPECT_EQ(HMM_PROT_NONE, hmm_where(self->fd, mem));
	EXPECT_EQ(0, dm_peek(mem));
	EXPECT_EQ(HMM_PROT_ZERO | HMM_PROT_READ, hmm_where(self->fd, mem));

	/* One byte a page, and no more than that is written. */
	memset(self->buf, 0x77, self->page);
	ASSERT_EQ(0, hmm_call(self->fd, HMM_SNAPSHOT, mem, self->buf, 4, &cmd));
	EXPECT_EQ(4, cmd.cpages);
	EXPECT_EQ(HMM_PROT_NONE, self->buf[3]);
	EXPECT_EQ(0x77, self->buf[4]);
	munmap(mem, 4 * page);
}

/* Memory of another device: private looks empty, coherent is told as remote. */
TEST_F(hmm, snapshot_remote)
{
	int other, number, expected = HMM_PROT_NONE, seen;

	number = dm_find(variant->backing.memory_type, 1, &other);
	if (number < 0)
		SKIP(return, "there is only one device of this type");
	close(other);
	other = hmm_open(number);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, hmm_call(other, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, NULL));
	if (variant->backing.memory_type == DMIRROR_MEMORY_COHERENT)
		expected = HMM_PROT_COHERENT_REMOTE | HMM_PROT_WRITE;
	seen = hmm_where(self->fd, self->mem);

	/* mm takes a private huge page of another device for an error. */
	if (dm_large(&self->dm))
		EXPECT_TRUE(seen == HMM_PROT_NONE || seen == HMM_PROT_ERROR);
	if (!dm_large(&self->dm))
		EXPECT_EQ(expected, seen & ~HMM_PROT_PMD);

	/* It is not in this device's table, nor is it this one's to bring back. */
	EXPECT_EQ(place_local(&self->dm),
		  hmm_where(other, self->mem) & HMM_PROT_PLACE);
	EXPECT_EQ(0, hmm_call(self->fd, HMM_TO_SYS, self->mem, NULL,
			      self->npages, NULL));
	EXPECT_EQ(place_local(&self->dm),
		  hmm_where(other, self->mem) & HMM_PROT_PLACE);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(other);
}

/* Exclusive access holds until the CPU touches the page. */
TEST_F(hmm, exclusive)
{
	struct hmm_cmd cmd;

	ASSERT_EQ(0, hmm_call(self->fd, HMM_EXCLUSIVE, self->mem, self->buf,
			      self->npages, &cmd));
	EXPECT_EQ(self->npages, cmd.cpages);
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	EXPECT_EQ(-EPERM, hmm_call(self->fd, HMM_CHECK_EXCLUSIVE, self->mem,
				   NULL, self->npages, NULL));
	EXPECT_EQ(-EPERM, hmm_call(self->fd, HMM_CHECK_EXCLUSIVE, self->mem,
				   NULL, 1, NULL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	EXPECT_EQ(0, hmm_call(self->fd, HMM_CHECK_EXCLUSIVE, self->mem, NULL,
			      self->npages, NULL));
}

/* What is exclusive can be made so again; what cannot be had is an error. */
TEST_F(hmm, exclusive_again)
{
	char *none = self->mem + 2 * self->page;
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, hmm_call(self->fd, HMM_EXCLUSIVE, self->mem,
				      self->buf, self->npages, NULL));
		EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	}
	EXPECT_EQ(-EPERM, hmm_call(self->fd, HMM_CHECK_EXCLUSIVE, self->mem,
				   NULL, self->npages, NULL));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, i ? munmap(none, self->page) :
			     mprotect(none, self->page, PROT_NONE));
		EXPECT_EQ(-EFAULT, hmm_call(self->fd, HMM_EXCLUSIVE, self->mem,
					    self->buf, 4, NULL));
	}
	EXPECT_EQ(0, dm_bad(self->mem, 2 * self->page, SEED));
}

/* More ways to end it: a device write, a migration, and that the memory goes. */
TEST_F(hmm, exclusive_ends)
{
	dm_fill(self->buf, self->len, SEED + 1);
	ASSERT_EQ(0, hmm_call(self->fd, HMM_EXCLUSIVE, self->mem, self->buf,
			      self->npages, NULL));
	dm_fill(self->buf, self->len, SEED + 1);
	ASSERT_EQ(0, hmm_call(self->fd, HMM_WRITE, self->mem, self->buf,
			      self->npages, NULL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
	EXPECT_EQ(0, hmm_call(self->fd, HMM_CHECK_EXCLUSIVE, self->mem, NULL,
			      self->npages, NULL));

	ASSERT_EQ(0, hmm_call(self->fd, HMM_EXCLUSIVE, self->mem, self->buf,
			      self->npages, NULL));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED + 1));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, NULL));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED + 1));
	EXPECT_EQ(0, hmm_call(self->fd, HMM_CHECK_EXCLUSIVE, self->mem, NULL,
			      self->npages, NULL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_SYS, self->mem, NULL,
			      self->npages, NULL));

	ASSERT_EQ(0, hmm_call(self->fd, HMM_EXCLUSIVE, self->mem, self->buf,
			      self->npages, NULL));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED + 1));
	ASSERT_EQ(0, madvise(self->mem, self->len, MADV_DONTNEED));
	EXPECT_EQ(0, hmm_call(self->fd, HMM_CHECK_EXCLUSIVE, self->mem, NULL,
			      self->npages, NULL));
	EXPECT_TRUE(dm_zero(self->mem, self->len));
}

/* Release brings everything of the device back, whoever it belongs to. */
TEST_F(hmm, release)
{
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, NULL));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_RELEASE, self->mem, NULL, 1, NULL));
	EXPECT_EQ(0, hmm_count(self->fd, self->mem, self->npages,
			       place_local(&self->dm)));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));

	/* The device is as useful as before. */
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, NULL));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_RELEASE, self->mem, NULL, 1, NULL));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_RELEASE, self->mem, NULL, 1, NULL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* What somebody holds for long cannot come back: release gives up, and says so. */
TEST_F(hmm, release_held)
{
	struct iovec iov = { self->mem, self->page };
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, NULL));
	if (variant->backing.memory_type != DMIRROR_MEMORY_COHERENT) {
		EXPECT_EQ(0, dm_hold_fetches(self->dm.fd, self->mem));
		EXPECT_EQ(0, hmm_call(self->fd, HMM_RELEASE, self->mem, NULL, 1,
				      NULL));
		EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
		return;
	}
	ASSERT_EQ(self->page, vmsplice(pipes[1], &iov, 1, 0));
	EXPECT_EQ(-EBUSY, hmm_call(self->fd, HMM_RELEASE, self->mem, NULL, 1,
				   NULL));
	EXPECT_EQ(1, hmm_count(self->fd, self->mem, self->npages,
			       place_local(&self->dm)));
	ASSERT_EQ(self->page, read(pipes[0], self->buf, self->page));
	EXPECT_EQ(0, dm_bad(self->buf, self->page, SEED));
	EXPECT_EQ(0, hmm_call(self->fd, HMM_RELEASE, self->mem, NULL, 1, NULL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(pipes[0]);
	close(pipes[1]);
}

/*
 * While everything is brought back the device is full, or what comes meanwhile would
 * give it no end. It lasts here, for no copy succeeds.
 */
TEST_F_TIMEOUT(hmm, release_lets_nothing_in, 120)
{
	char *other = dm_alloc(&self->dm, self->page, SEED);
	long long full;
	struct dmirror_migrate m;
	const char *why;
	unsigned int i;
	pid_t pid;

	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf, 1,
			      NULL));
	why = dm_attr_start("fail_copy", 0, -1);
	if (why)
		SKIP(return, "%s", why);
	full = dm_counter(self->dm.device, "full");
	pid = fork();
	if (!pid) {
		int fd = hmm_open(self->dm.device);

		while (hmm_call(fd, HMM_RELEASE, self->mem, NULL, 1, NULL) == -EBUSY)
			;
		_exit(1);
	}
	for (i = 0; i < 60000 && dm_counter(self->dm.device, "full") == full; i++) {
		dm_migrate_raw(self->dm.fd, other, self->page,
			       DMIRROR_TARGET_DEVICE, &m);
		if (i > 1000)
			dm_msleep(1);
	}
	EXPECT_LT(full, dm_counter(self->dm.device, "full"));
	kill(pid, SIGKILL);
	EXPECT_EQ(-SIGKILL, dm_wait(pid));
	dm_attr_stop("fail_copy");

	EXPECT_EQ(0, hmm_call(self->fd, HMM_RELEASE, self->mem, NULL, 1, NULL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	EXPECT_EQ(0, dm_bad(other, self->page, SEED));
	munmap(other, self->page);
}

/* Where small pages do for a huge one: see try_again() in the driver's hmm_abi.c */
static bool small_pages_do(const struct dm *dm)
{
	return dm_large(dm) ||
	       (dm->backing.thp && dm->backing.memory_type == DMIRROR_MEMORY_COHERENT);
}

/* The next allocation fails, once: what could not move stays and is whole. */
TEST_F(hmm, fail_alloc_to_device)
{
	struct hmm_cmd cmd;
	int ret;

	ASSERT_EQ(0, hmm_call(self->fd, HMM_FLAGS, self->mem, NULL,
			      HMM_FLAG_FAIL_ALLOC, NULL));
	ret = hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
		       self->npages, &cmd);
	if (small_pages_do(&self->dm)) {
		EXPECT_EQ(0, ret);
		EXPECT_EQ(self->npages, cmd.cpages);
		EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	} else {
		/* The one page that stayed is not in the device's table. */
		EXPECT_EQ(-ENOENT, ret);
		EXPECT_EQ(self->npages - 1,
			  hmm_count(self->fd, self->mem, self->npages,
				    place_local(&self->dm)));
	}
	EXPECT_EQ(0, dm_stuck(self->dm.fd, self->mem, self->len));

	/* It was only once. */
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, NULL));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

TEST_F(hmm, fail_alloc_to_system)
{
	int ret;

	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, NULL));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_FLAGS, self->mem, NULL,
			      HMM_FLAG_FAIL_ALLOC, NULL));
	ret = hmm_call(self->fd, HMM_TO_SYS, self->mem, NULL, self->npages,
		       NULL);
	EXPECT_EQ(small_pages_do(&self->dm) ? 0 : -ENOMEM, ret);
	EXPECT_EQ(0, dm_stuck(self->dm.fd, self->mem, self->len));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_SYS, self->mem, NULL,
			      self->npages, NULL));
	EXPECT_EQ(0, hmm_count(self->fd, self->mem, self->npages,
			       place_local(&self->dm)));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* What the device cannot copy is, to the caller, for want of memory. */
TEST_F(hmm, fail_copy)
{
	const char *why;
	int ret;

	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, NULL));
	why = dm_fail_start(1);
	if (why)
		SKIP(return, "%s", why);
	ret = hmm_call(self->fd, HMM_TO_SYS, self->mem, NULL, self->npages,
		       NULL);
	dm_fail_stop();
	EXPECT_EQ(-ENOMEM, ret);
	EXPECT_EQ(self->npages, hmm_count(self->fd, self->mem, self->npages,
					  place_local(&self->dm)));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_SYS, self->mem, NULL,
			      self->npages, NULL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* A CPU fault whose allocation fails is tried again; the program lives on. */
TEST_F(hmm, fail_alloc_in_cpu_fault)
{
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, NULL));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_FLAGS, self->mem, NULL,
			      HMM_FLAG_FAIL_ALLOC, NULL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	dm_fill(self->mem, self->len, SEED + 1);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
}

/* That the window cannot come is no reason for the CPU to fault again. */
TEST_F(hmm, fail_alloc_in_one_cpu_fault)
{
	const uintptr_t window = DM_CPU_WINDOW - 1;
	/* The allocation that fails is of the first page of its window. */
	char *at = (char *)(((uintptr_t)self->mem + window) & ~window);
	struct dmirror_query q, before;

	if (variant->backing.memory_type != DMIRROR_MEMORY_PRIVATE ||
	    variant->backing.thp)
		return;
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, NULL));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_FLAGS, self->mem, NULL,
			      HMM_FLAG_FAIL_ALLOC, NULL));
	ASSERT_EQ(0, dm_query(self->dm.fd, &before));
	EXPECT_EQ(dm_word(SEED, (at - self->mem) / self->page, 0), dm_peek(at));
	ASSERT_EQ(0, dm_query(self->dm.fd, &q));
	EXPECT_EQ(before.cpu_faults + 1, q.cpu_faults);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* What is asked of a file ends with it. */
TEST_F(hmm, fail_alloc_of_a_closed_file)
{
	int fd = hmm_open(self->dm.device);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, hmm_call(fd, HMM_FLAGS, self->mem, NULL,
			      HMM_FLAG_FAIL_ALLOC, NULL));
	close(fd);
	EXPECT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* What does not move for want of memory is told of a job as well. */
TEST_F(hmm, fail_alloc_of_a_job)
{
	struct dmirror_wait w;

	dm_settle();
	ASSERT_EQ(0, hmm_call(self->fd, HMM_FLAGS, self->mem, NULL,
			      HMM_FLAG_FAIL_ALLOC, NULL));
	ASSERT_EQ(0, dm_migrate_job(self->dm.fd, self->mem, self->len,
				    DMIRROR_TARGET_DEVICE, &w));
	EXPECT_EQ(self->len, w.done + w.stayed);
	/* For a huge page, small ones do; for what was busy it is tried again. */
	EXPECT_TRUE(!w.error || w.error == ENOSPC);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* Only the program that asked for it meets it. */
TEST_F(hmm, fail_alloc_of_one_program)
{
	pid_t child;
	int ret;

	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, NULL));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_FLAGS, self->mem, NULL,
			      HMM_FLAG_FAIL_ALLOC, NULL));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int fd = hmm_open(self->dm.device);
		char *mem = dm_alloc(&self->dm, self->len, SEED + 1);

		if (fd < 0 || !mem)
			_exit(1);
		ret = hmm_call(fd, HMM_TO_DEV, mem, self->buf, self->npages,
			       NULL) ?:
		      hmm_call(fd, HMM_TO_SYS, mem, NULL, self->npages, NULL);
		_exit(ret ? 2 : 0);
	}
	EXPECT_EQ(0, dm_wait(child));
	ret = hmm_call(self->fd, HMM_TO_SYS, self->mem, NULL, self->npages,
		       NULL);
	EXPECT_EQ(small_pages_do(&self->dm) ? 0 : -ENOMEM, ret);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/*
 * Errors
 */

/* Arguments that no ioctl accepts, and an ioctl that does not exist. */
TEST_F(hmm, bad_ranges)
{
	static const unsigned long ioctls[] = {
		HMM_READ, HMM_WRITE, HMM_TO_DEV, HMM_TO_SYS, HMM_SNAPSHOT,
		HMM_EXCLUSIVE, HMM_CHECK_EXCLUSIVE, HMM_RELEASE, HMM_FLAGS,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ioctls); i++) {
		EXPECT_EQ(-EINVAL, hmm_call(self->fd, ioctls[i], self->mem,
					    self->buf, 0, NULL));
		EXPECT_EQ(-EINVAL, hmm_call(self->fd, ioctls[i], self->mem + 8,
					    self->buf, 1, NULL));
		EXPECT_EQ(-EINVAL, hmm_call(self->fd, ioctls[i],
					    (void *)-self->page, self->buf, 2,
					    NULL));
		/* So many pages that their bytes do not fit. */
		EXPECT_EQ(-EINVAL, hmm_call(self->fd, ioctls[i], self->mem,
					    self->buf, 1ULL << 52, NULL));
		EXPECT_EQ(-EFAULT, dm_call(self->fd, ioctls[i], NULL));
		EXPECT_EQ(-EFAULT, dm_call(self->fd, ioctls[i],
					   (void *)0x1000));
	}
	EXPECT_EQ(-EINVAL, hmm_call(self->fd, HMM_IOC(9), self->mem, self->buf,
				    1, NULL));
	EXPECT_EQ(-EINVAL, hmm_call(self->fd, HMM_IOC(255), self->mem,
				    self->buf, 1, NULL));
	EXPECT_EQ(-EINVAL, hmm_call(self->fd, DMIRROR_IOC_READ, self->mem,
				    self->buf, 1, NULL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* The structure is written back on success only, with both counts set. */
TEST_F(hmm, outputs)
{
	struct hmm_cmd cmd = {
		.addr = (uintptr_t)self->mem,
		.ptr = (uintptr_t)self->buf,
		.npages = 1,
		.cpages = 77,
		.faults = 78,
	};

	ASSERT_EQ(0, dm_call(self->fd, HMM_TO_SYS, &cmd));
	EXPECT_EQ(0, cmd.cpages);
	EXPECT_EQ(0, cmd.faults);
	EXPECT_EQ((uintptr_t)self->mem, cmd.addr);
	EXPECT_EQ(1, cmd.npages);

	cmd.cpages = 77;
	cmd.faults = 78;
	cmd.npages = 0;
	EXPECT_EQ(-EINVAL, dm_call(self->fd, HMM_READ, &cmd));
	EXPECT_EQ(77, cmd.cpages);
	EXPECT_EQ(78, cmd.faults);

	cmd.npages = 1;
	cmd.ptr = 0;
	EXPECT_EQ(-EFAULT, dm_call(self->fd, HMM_READ, &cmd));
	EXPECT_EQ(77, cmd.cpages);
	EXPECT_EQ(78, cmd.faults);
}

TEST_F(hmm, bad_pointers)
{
	char *none = mmap(NULL, self->page, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* Where a kernel for x86 has all memory: not for a program to read. */
	char *kernel = (char *)(uintptr_t)0xffff888000000000ULL;

	ASSERT_NE(MAP_FAILED, none);
	EXPECT_EQ(-EFAULT, hmm_call(self->fd, HMM_WRITE, self->mem, kernel, 1,
				    NULL));
	EXPECT_EQ(-EFAULT, hmm_call(self->fd, HMM_READ, self->mem, none, 1,
				    NULL));
	EXPECT_EQ(-EFAULT, hmm_call(self->fd, HMM_WRITE, self->mem, none, 1,
				    NULL));
	EXPECT_EQ(-EFAULT, hmm_call(self->fd, HMM_TO_DEV, self->mem, none, 1,
				    NULL));
	EXPECT_EQ(-EFAULT, hmm_call(self->fd, HMM_EXCLUSIVE, self->mem, none, 1,
				    NULL));
	EXPECT_EQ(-EFAULT, hmm_call(self->fd, HMM_SNAPSHOT, self->mem, none, 1,
				    NULL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	munmap(none, self->page);
}

/*
 * The buffer may be the memory itself. The device has that; to be written to it comes
 * back, with what was in it.
 */
TEST_F(hmm, buffer_is_the_memory)
{
	static const unsigned long requests[] = {
		HMM_READ, HMM_TO_DEV, HMM_EXCLUSIVE
	};
	unsigned int i;

	for (i = 0; i < 3; i++) {
		/* Where a huge page cannot be had exclusively is no matter here. */
		if (variant->backing.thp && requests[i] == HMM_EXCLUSIVE)
			continue;
		ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem,
				      self->buf, self->npages, NULL));
		EXPECT_EQ(0, hmm_call(self->fd, requests[i], self->mem,
				      self->mem, self->npages, NULL));
		EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	}
}

/* A read that ends at a hole leaves alone what is further on in the buffer. */
TEST_F(hmm, read_up_to_a_hole)
{
	char *buf = dm_alloc(&self->dm, self->len, SEED + 1);
	size_t readable = 2 * self->page;

	ASSERT_NE(NULL, buf);
	/* So that it is not there when it is to be written to */
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, buf, self->buf,
			      self->npages, NULL));
	ASSERT_EQ(0, munmap(self->mem + readable, self->page));
	EXPECT_EQ(-EFAULT, hmm_call(self->fd, HMM_READ, self->mem, buf,
				    self->npages, NULL));
	EXPECT_EQ(0, dm_bad_from(buf + readable, self->len - readable, SEED + 1,
				 2));
	munmap(buf, self->len);
}

#define VIEWS	40	/* of a file: more pieces than USER_FAULTS_MAX */

/* A file of one huge page's length, again and again, none of it mapped yet */
static char *map_views(void)
{
	char *mem = dm_map_flags(VIEWS * DM_HUGE, -1, PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS);
	int file = memfd_create("views", MFD_CLOEXEC);
	char *view = mmap(NULL, DM_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			  file, 0);
	unsigned int i;

	if (!mem || view == MAP_FAILED || ftruncate(file, DM_HUGE))
		return NULL;
	dm_fill(view, DM_HUGE, SEED);
	munmap(view, DM_HUGE);
	for (i = 0; i < VIEWS; i++)
		if (mmap(mem + i * DM_HUGE, DM_HUGE, PROT_READ,
			 MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED)
			return NULL;
	close(file);
	return mem;
}

/* A buffer may have to be faulted in as often as it is long, if that gets on. */
TEST_F_TIMEOUT(hmm, buffer_in_many_pieces, 120)
{
	const size_t len = VIEWS * DM_HUGE;
	struct hmm_cmd cmd;
	char *mem, *views;

	mem = dm_map_flags(len, MADV_HUGEPAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	views = map_views();
	ASSERT_NE(NULL, mem);
	ASSERT_NE(NULL, views);
	ASSERT_EQ(0, hmm_call(self->fd, HMM_WRITE, mem, views,
			      len / self->page, &cmd));
	EXPECT_EQ(len / self->page, cmd.cpages);
	EXPECT_EQ(0, memcmp(mem, views, len));
	EXPECT_EQ(0, dm_bad(mem + len - DM_HUGE, DM_HUGE, SEED));
	munmap(views, len);
	munmap(mem, len);
}

/* Memory that cannot be read, or is not there. */
TEST_F(hmm, unmapped)
{
	char *none = self->mem + 2 * self->page;
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, i ? munmap(none, self->page) :
			     mprotect(none, self->page, PROT_NONE));
		EXPECT_EQ(-EFAULT, hmm_call(self->fd, HMM_READ, self->mem,
					    self->buf, 4, NULL));
		EXPECT_EQ(-EFAULT, hmm_call(self->fd, HMM_WRITE, none,
					    self->buf, 1, NULL));
		EXPECT_EQ(-EINVAL, hmm_call(self->fd, HMM_TO_DEV, self->mem,
					    self->buf, 4, NULL));
		EXPECT_EQ(-EINVAL, hmm_call(self->fd, HMM_TO_SYS, self->mem,
					    NULL, 4, NULL));
	}

	/* What is left is whole, and readable. */
	EXPECT_EQ(0, hmm_call(self->fd, HMM_READ, self->mem, self->buf, 2,
			      NULL));
	EXPECT_EQ(0, hmm_call(self->fd, HMM_READ, none + self->page, self->buf,
			      1, NULL));
	EXPECT_EQ(0, dm_bad_from(self->buf, self->page, SEED, 3));
}

TEST_F(hmm, read_only)
{
	ASSERT_EQ(0, mprotect(self->mem, self->len, PROT_READ));
	EXPECT_EQ(-EPERM, hmm_call(self->fd, HMM_WRITE, self->mem, self->buf, 1,
				   NULL));
	ASSERT_EQ(0, hmm_call(self->fd, HMM_READ, self->mem, self->buf,
			      self->npages, NULL));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	EXPECT_EQ(-EPERM, hmm_call(self->fd, HMM_WRITE, self->mem, self->buf, 1,
				   NULL));

	/* It migrates, and stays read-only there. */
	ASSERT_EQ(0, hmm_call(self->fd, HMM_TO_DEV, self->mem, self->buf,
			      self->npages, NULL));
	EXPECT_EQ(-EPERM, hmm_call(self->fd, HMM_WRITE, self->mem, self->buf, 1,
				   NULL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* Shared memory never migrates: it is then not in the device's table. */
TEST_F(hmm, shared_memory)
{
	char *shared = dm_map_flags(4 * self->page, -1, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS);

	ASSERT_NE(NULL, shared);
	dm_fill(shared, 4 * self->page, SEED);
	EXPECT_EQ(-ENOENT, hmm_call(self->fd, HMM_TO_DEV, shared, self->buf, 4,
				    NULL));
	EXPECT_EQ(0, hmm_call(self->fd, HMM_READ, shared, self->buf, 4, NULL));
	EXPECT_EQ(0, dm_bad(self->buf, 4 * self->page, SEED));
	dm_fill(self->buf, 4 * self->page, SEED + 1);
	EXPECT_EQ(0, hmm_call(self->fd, HMM_WRITE, shared, self->buf, 4, NULL));
	EXPECT_EQ(0, dm_bad(shared, 4 * self->page, SEED + 1));
	munmap(shared, 4 * self->page);
}

/*
 * This ABI cannot say that a file belongs to another process: an inherited
 * file goes on mirroring the one that opened it, and errs when that is gone.
 */
TEST_F(hmm, inherited_file)
{
	pid_t pid = fork();

	if (!pid) {
		/* The child changes its copy; the device sees the parent's. */
		memset(self->mem, 0, self->len);
		DM_CHECK(!hmm_call(self->fd, HMM_READ, self->mem, self->buf,
				   self->npages, NULL));
		DM_CHECK(!dm_bad(self->buf, self->len, SEED));
		DM_CHECK(dm_zero(self->mem, self->len));
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

TEST_F(hmm, opener_has_exited)
{
	__u64 *word = dm_shared();
	pid_t pid;
	int fd;

	ASSERT_NE(NULL, word);
	pid = fork();
	if (!pid) {
		fd = hmm_open(self->dm.device);
		DM_CHECK(fd >= 0);
		DM_CHECK(!hmm_call(fd, HMM_TO_DEV, self->mem, self->buf,
				   self->npages, NULL));
		if (fork())
			_exit(0);
		dm_await(word, 1);
		if (hmm_call(fd, HMM_READ, self->mem, self->buf, 1, NULL) ==
		    -EFAULT &&
		    hmm_call(fd, HMM_WRITE, self->mem, self->buf, 1, NULL) ==
		    -EFAULT &&
		    hmm_call(fd, HMM_TO_DEV, self->mem, self->buf, 1, NULL) ==
		    -EINVAL &&
		    hmm_call(fd, HMM_TO_SYS, self->mem, NULL, 1, NULL) ==
		    -EINVAL &&
		    hmm_call(fd, HMM_SNAPSHOT, self->mem, self->buf, 1, NULL) ==
		    -EINVAL &&
		    hmm_call(fd, HMM_EXCLUSIVE, self->mem, self->buf, 1,
			     NULL) == -EINVAL &&
		    hmm_call(fd, HMM_CHECK_EXCLUSIVE, self->mem, self->buf, 1,
			     NULL) == -EINVAL &&
		    !hmm_call(fd, HMM_FLAGS, self->mem, NULL, 2, NULL) &&
		    !hmm_call(fd, HMM_RELEASE, self->mem, NULL, 1, NULL))
			dm_poke(word, 2);
		else
			dm_poke(word, 3);
		_exit(0);
	}
	ASSERT_EQ(0, dm_wait(pid));
	dm_poke(word, 1);
	dm_await(word, 2);
	EXPECT_EQ(2, dm_peek(word));
}

#define VAST_PAGES	0x100000000UL

/* A child looks for exclusive pages in sixteen terabytes of nothing. */
static pid_t look_at_vast(const struct dm *dm, __u64 *begun)
{
	pid_t pid;
	int fd, ret;

	dm_poke(begun, 0);
	pid = fork();
	if (pid) {
		dm_await(begun, 1);
		dm_msleep(200);
		return pid;
	}
	fd = hmm_open(dm->device);
	DM_CHECK(fd >= 0);
	dm_poke(begun, 1);
	ret = hmm_call(fd, HMM_CHECK_EXCLUSIVE, NULL, NULL, VAST_PAGES, NULL);
	_exit(ret == -ENODEV ? 19 : 1);
}

/* That ends when it is killed, or the device is unplugged. */
TEST_F_TIMEOUT(hmm, check_exclusive_ends, 180)
{
	__u64 *begun = dm_shared();
	pid_t pid;

	ASSERT_NE(NULL, begun);
	pid = look_at_vast(&self->dm, begun);
	kill(pid, SIGKILL);
	EXPECT_EQ(-SIGKILL, dm_wait_for(pid, 60));

	pid = look_at_vast(&self->dm, begun);
	EXPECT_EQ(0, dm_unplug(self->dm.device));
	EXPECT_EQ(19, dm_wait_for(pid, 60));
	kill(pid, SIGKILL);
	EXPECT_EQ(0, dm_plug(self->dm.device));
}

/* A mapping of the file is plain memory, one page of zeros after the other. */
TEST_F(hmm, map_the_file)
{
	char *map = mmap(NULL, 4 * self->page, PROT_READ | PROT_WRITE,
			 MAP_SHARED, self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_TRUE(dm_zero(map, 4 * self->page));
	EXPECT_EQ(0, hmm_where(self->fd, map) & HMM_PROT_PLACE);
	dm_fill(map, 4 * self->page, SEED);
	EXPECT_EQ(0, hmm_call(self->fd, HMM_READ, map, self->buf, 4, NULL));
	EXPECT_EQ(0, dm_bad(self->buf, 4 * self->page, SEED));

	/* It is of a kind that never moves, to nowhere. */
	EXPECT_EQ(-EINVAL, hmm_call(self->fd, HMM_TO_DEV, map, self->buf, 4,
				    NULL));
	EXPECT_EQ(-EINVAL, hmm_call(self->fd, HMM_TO_SYS, map, NULL, 4, NULL));
	EXPECT_EQ(0, dm_bad(map, 4 * self->page, SEED));
	munmap(map, 4 * self->page);

	/* All of it is memory, so there is an end. */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, (16 << 20) + self->page, PROT_READ,
				   MAP_SHARED, self->fd, 0));
}

TEST_HARNESS_MAIN
