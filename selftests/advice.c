// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that a program does not need: dropped under pressure, and only then, and
 * said to be lost until it is needed again.
 * Documentation: drivers/dmirror/dmirror.rst.
 */
#include <sys/uio.h>

#include "kselftest_harness.h"
#include "dmirror_test.h"
#include "dmirror_advice.h"

#define SEED		0xad71
#define RACE_ROUNDS	6
#define RACE_TURNS	12
#define DROP_ROUNDS	96
#define DROP_PAGES	128

FIXTURE(advice)
{
	struct dm dm;
	unsigned int device;
	size_t page;
	size_t len;
	int fd;
	char *mem;
	char *buf;
	long long purged;
	long long evicted;
};

FIXTURE_VARIANT(advice)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(advice, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(advice, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(advice, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(advice, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

FIXTURE_SETUP(advice)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->device = self->dm.device;
	if (dm_counter(self->device, "purged") < 0)
		SKIP(_exit(DM_SKIP_STATUS), "no debugfs: CONFIG_DEBUG_FS");
	self->fd = self->dm.fd;
	self->page = self->dm.page;
	self->len = self->dm.len;
	ASSERT_EQ(0, dm_trap_init());
	ASSERT_EQ(0, dm_set_parameter("min_residency_ms", 0));
	ASSERT_EQ(0, dm_counter(self->device, "memory_used"));
	ASSERT_EQ(0, dm_counter(self->device, "placeholders"));
	self->purged = dm_counter(self->device, "purged");
	self->evicted = dm_counter(self->device, "evicted");
	self->mem = dm_alloc(&self->dm, self->len, SEED);
	self->buf = malloc(self->len);
	ASSERT_NE(NULL, self->mem);
	ASSERT_NE(NULL, self->buf);
}

FIXTURE_TEARDOWN(advice)
{
	munmap(self->mem, self->len);
	free(self->buf);
	EXPECT_EQ(0, dm_counter(self->device, "memory_used"));
	EXPECT_EQ(0, dm_counter(self->device, "purgeable"));
	EXPECT_EQ(0, dm_counter(self->device, "placeholders"));
	dm_set_parameter("min_residency_ms", 10);
	close(self->fd);
}

/* What was dropped, and what was evicted with a copy, since the test began */
static long long purged(const struct _test_data_advice *self)
{
	return dm_counter(self->device, "purged") - self->purged;
}

static long long evicted(const struct _test_data_advice *self)
{
	return dm_counter(self->device, "evicted") - self->evicted;
}

/* To the device, not needed, and gone */
static int drop(const struct _test_data_advice *self, char *mem, size_t len)
{
	return dm_to_device(self->fd, mem, len) ?:
	       dm_dontneed(self->fd, mem, len) ?:
	       dm_evict(self->device, len) ?:
	       (dm_all(self->fd, mem, len, DMIRROR_PLACE_DROPPED) ? 0 : -EIO);
}

/*
 * Arguments
 */

TEST_F(advice, arguments)
{
	struct {
		struct dmirror_advise a;
		__u64 more;
	} big = { .a = { .size = sizeof(big), .advice = DMIRROR_ADVICE_WILLNEED } };
	struct dmirror_advise a;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		unsigned int advice = i ? DMIRROR_ADVICE_WILLNEED :
					  DMIRROR_ADVICE_DONTNEED;

		EXPECT_EQ(-EINVAL, dm_advise(self->fd, self->mem + 1, self->len,
					     advice, &a));
		EXPECT_EQ(-EINVAL, dm_advise(self->fd, self->mem, self->len - 1,
					     advice, &a));
		EXPECT_EQ(-EINVAL, dm_advise(self->fd, self->mem, 0, advice, &a));
		EXPECT_EQ(-EOVERFLOW, dm_advise(self->fd, self->mem,
						-self->page, advice, &a));
		EXPECT_EQ(-EOVERFLOW, dm_advise(self->fd, (void *)-self->page,
						self->page, advice, &a));
		EXPECT_EQ(-EOVERFLOW, dm_advise(self->fd, self->mem,
						1UL << 62, advice, &a));
	}
	EXPECT_EQ(-EINVAL, dm_advise(self->fd, self->mem, self->len, 0, &a));
	EXPECT_EQ(-EINVAL, dm_advise(self->fd, self->mem, self->len, ~0U, &a));
	EXPECT_EQ(-EINVAL, dm_advise(self->fd, self->mem, self->len, 1000, &a));

	a = (struct dmirror_advise) {
		.size = sizeof(a), .advice = DMIRROR_ADVICE_WILLNEED,
		.addr = (uintptr_t)self->mem, .length = self->len,
		.reserved = 1,
	};
	EXPECT_EQ(-EINVAL, dm_call(self->fd, DMIRROR_IOC_ADVISE, &a));
	a.reserved = 0;
	a.size = offsetof(struct dmirror_advise, fault_addr);
	EXPECT_EQ(-EINVAL, dm_call(self->fd, DMIRROR_IOC_ADVISE, &a));
	big.a.addr = (uintptr_t)self->mem;
	big.a.length = self->len;
	EXPECT_EQ(0, dm_call(self->fd, DMIRROR_IOC_ADVISE, &big));
	big.more = 1;
	EXPECT_EQ(-E2BIG, dm_call(self->fd, DMIRROR_IOC_ADVISE, &big));
	EXPECT_EQ(-EFAULT, dm_call(self->fd, DMIRROR_IOC_ADVISE, NULL));

	/* Not faked: a second copy of a page is nothing that mm knows. */
	EXPECT_EQ(-EOPNOTSUPP, dm_advise(self->fd, self->mem, self->len,
					 DMIRROR_ADVICE_READ_MOSTLY, &a));
	EXPECT_TRUE(self->dm.query.capabilities & DMIRROR_CAP_PURGE);
}

/* What is not the program's to read is an error, with the address. */
TEST_F(advice, holes)
{
	char *hole = self->mem + self->len / 2;
	struct dmirror_advise a;
	unsigned int advice;

	for (advice = DMIRROR_ADVICE_DONTNEED;
	     advice <= DMIRROR_ADVICE_WILLNEED; advice++) {
		ASSERT_EQ(0, mprotect(hole, self->page, PROT_NONE));
		EXPECT_EQ(-EFAULT, dm_advise(self->fd, self->mem, self->len,
					     advice, &a));
		EXPECT_EQ((uintptr_t)hole, a.fault_addr);
		EXPECT_EQ(0, a.retained);
		EXPECT_EQ(self->len / 2, a.applied + a.untouched);
		ASSERT_EQ(0, mprotect(hole, self->page, PROT_READ | PROT_WRITE));
	}
	ASSERT_EQ(0, munmap(hole, self->page));
	EXPECT_EQ(-EFAULT, dm_advise(self->fd, self->mem, self->len,
				     DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ((uintptr_t)hole, a.fault_addr);
}

/* What cannot be on a device, and what is just not there */
TEST_F(advice, other_memory)
{
	char *shared = mmap(NULL, self->len, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *untouched = dm_map(&self->dm, self->len);
	struct dmirror_advise a;
	unsigned int advice;

	ASSERT_NE(MAP_FAILED, shared);
	ASSERT_NE(NULL, untouched);
	dm_fill(shared, self->len, SEED);
	for (advice = DMIRROR_ADVICE_DONTNEED;
	     advice <= DMIRROR_ADVICE_WILLNEED; advice++) {
		EXPECT_EQ(0, dm_advise(self->fd, shared, self->len, advice, &a));
		EXPECT_EQ(self->len, a.untouched);
		EXPECT_EQ(advice == DMIRROR_ADVICE_WILLNEED, a.retained);
		EXPECT_EQ(0, dm_advise(self->fd, untouched, self->len, advice,
				       &a));
		EXPECT_EQ(self->len, a.untouched);
		EXPECT_EQ(advice == DMIRROR_ADVICE_WILLNEED, a.retained);

		/* In system memory, where nothing is dropped */
		EXPECT_EQ(0, dm_advise(self->fd, self->mem, self->len, advice,
				       &a));
		EXPECT_EQ(self->len, a.untouched);
		EXPECT_EQ(advice == DMIRROR_ADVICE_WILLNEED, a.retained);
	}
	if (variant->backing.thp)
		EXPECT_EQ(2048, dm_thp_kib(self->mem));

	/* And the advice does not wait for it to get there. */
	EXPECT_EQ(0, dm_advise(self->fd, self->mem, self->len,
			       DMIRROR_ADVICE_DONTNEED, &a));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	EXPECT_EQ(0, dm_counter(self->device, "purgeable"));
	ASSERT_EQ(0, dm_evict(self->device, self->len));
	EXPECT_EQ(0, purged(self));
	EXPECT_EQ(self->len, evicted(self));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	EXPECT_EQ(0, dm_bad(shared, self->len, SEED));
	munmap(shared, self->len);
	munmap(untouched, self->len);
}

/*
 * What is not there yet is brought in if it is needed, in case that it is on its way
 * from a device. Where mm has no pages to migrate, or none at all, nothing is lost.
 */
TEST_F(advice, other_memory_untouched)
{
	int file = memfd_create("empty", 0);
	char *huge = mmap(NULL, DM_HUGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	char *end = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			 file, 0);
	struct dmirror_advise a;

	ASSERT_NE(MAP_FAILED, end);
	EXPECT_EQ(0, dm_advise(self->fd, end, self->page,
			       DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(self->page, a.untouched);
	EXPECT_EQ(1, a.retained);
	munmap(end, self->page);
	close(file);
	if (huge == MAP_FAILED)
		SKIP(return, "no huge page in the pool: vm.nr_hugepages");
	EXPECT_EQ(0, dm_advise(self->fd, huge, DM_HUGE,
			       DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(DM_HUGE, a.untouched);
	EXPECT_EQ(1, a.retained);
	munmap(huge, DM_HUGE);
}

/* A page that was dropped is touched: what is around it stays where it is. */
TEST_F(advice, dropped_among_others)
{
	char *at = self->mem + 5 * self->page;
	struct dmirror_advise a;
	__u64 value;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_dontneed(self->fd, at, self->page));
	ASSERT_EQ(0, dm_evict(self->device, self->page));
	EXPECT_EQ(self->page, purged(self));
	EXPECT_EQ(-EFAULT, dm_cpu_read(at, &value, sizeof(value)));
	EXPECT_TRUE(dm_all(self->fd, self->mem, at - self->mem,
			   DMIRROR_PLACE_LOCAL));
	EXPECT_TRUE(dm_all(self->fd, at + self->page,
			   self->mem + self->len - at - self->page,
			   DMIRROR_PLACE_LOCAL));
	ASSERT_EQ(0, dm_advise(self->fd, at, self->page,
			       DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(self->page, a.dropped);
	EXPECT_TRUE(dm_zero(at, self->page));
}

#define BULK_ROUNDS	1000
#define WARM_ROUNDS	100

/*
 * Pages of the system are allocated together, for what is to come back. For what then
 * does not, since it was dropped, they are given back.
 */
TEST_F_TIMEOUT(advice, no_page_for_what_was_dropped, 120)
{
	const size_t live = 8 * self->page, len = DM_PAGES * self->page;
	struct dmirror_migrate m;
	unsigned int i;
	long before = 0;

	ASSERT_EQ(0, drop(self, self->mem + live, len - live));
	for (i = 0; i < BULK_ROUNDS + WARM_ROUNDS; i++) {
		/* By then CPUs have set aside what they do, and KASAN has. */
		if (i == WARM_ROUNDS) {
			dm_settle();
			before = dm_file_value("/proc/meminfo", "MemFree");
		}
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, live));
		ASSERT_EQ(0, dm_migrate(self->fd, self->mem, len,
					DMIRROR_TARGET_SYSTEM, &m));
	}
	dm_settle();
	/* In KiB: 8 pages each time would be as much again as what is allowed. */
	EXPECT_GT(BULK_ROUNDS * 16, before -
		  dm_file_value("/proc/meminfo", "MemFree"));
	EXPECT_EQ(0, dm_bad(self->mem, live, SEED));
}

/*
 * While the device has placeholders, a migration collects what is on it as well: it stays
 * there, and as purgeable as it was.
 */
TEST_F(advice, resident_beside_a_placeholder)
{
	char *other = dm_alloc(&self->dm, self->len, SEED + 1);
	struct dmirror_migrate m;

	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, drop(self, other, self->len));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_dontneed(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_migrate(self->fd, self->mem, self->len,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(0, m.moved);
	EXPECT_EQ(self->len, m.resident);
	EXPECT_EQ(self->len, dm_counter(self->device, "purgeable"));
	munmap(other, self->len);
}

/*
 * Memory that somebody holds cannot be said to be not needed. Twice: of a device's
 * pages mm takes the first reference that it does not know for the device's own.
 */
TEST_F(advice, held)
{
	struct iovec iov[] = {
		{ self->mem, self->page }, { self->mem, self->page },
	};
	struct dmirror_advise a;
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	if (variant->backing.memory_type != DMIRROR_MEMORY_COHERENT) {
		ASSERT_EQ(0, dm_hold_fetches(self->fd, self->mem));
		EXPECT_EQ(0, dm_advise(self->fd, self->mem, self->page,
				       DMIRROR_ADVICE_DONTNEED, &a));
		EXPECT_EQ(self->page, a.untouched);
		return;
	}
	ASSERT_EQ(2 * self->page, vmsplice(pipes[1], iov, 2, 0));
	EXPECT_EQ(-EBUSY, dm_advise(self->fd, self->mem, self->len,
				    DMIRROR_ADVICE_DONTNEED, &a));
	EXPECT_EQ(self->page, a.busy);
	EXPECT_EQ(self->len - self->page, a.applied);
	ASSERT_EQ(self->page, read(pipes[0], self->buf, self->page));
	EXPECT_EQ(0, dm_bad(self->buf, self->page, SEED));
	ASSERT_EQ(self->page, read(pipes[0], self->buf, self->page));
	EXPECT_EQ(0, dm_dontneed(self->fd, self->mem, self->len));
	close(pipes[0]);
	close(pipes[1]);
}

/*
 * Under pressure, and not
 */

TEST_F(advice, dropped)
{
	struct dmirror_atomic atomic;
	struct dmirror_migrate m;
	struct dmirror_advise a;
	struct dmirror_query q;
	struct dmirror_rw rw;
	size_t at;

	ASSERT_EQ(0, drop(self, self->mem, self->len));
	EXPECT_EQ(self->len, purged(self));
	EXPECT_EQ(0, evicted(self));
	EXPECT_EQ(0, dm_counter(self->device, "memory_used"));
	EXPECT_EQ(self->len, dm_counter(self->device, "placeholders"));
	EXPECT_EQ(self->device, dm_where(self->fd, self->mem).device);

	/* Each page says so, to the CPU and to the device. */
	EXPECT_EQ(self->len / self->page,
		  dm_count_code(self->mem, self->len, BUS_ADRERR));
	EXPECT_EQ(-EFAULT, dm_cpu_write64(self->mem, 1));
	at = self->len / 2;
	EXPECT_EQ(-ENODATA, dm_rw(self->fd, DMIRROR_IOC_READ, self->mem + at + 8,
				  self->buf, 8, &rw));
	EXPECT_EQ((uintptr_t)self->mem + at + 8, rw.fault_addr);
	EXPECT_EQ(0, rw.done);
	EXPECT_EQ(-ENODATA, dm_write64(self->fd, self->mem + at, 1));
	EXPECT_EQ(-ENODATA, dm_fill_device(self->fd, self->mem, self->len, 1));
	EXPECT_EQ(-ENODATA, dm_atomic(self->fd, DMIRROR_ATOMIC_ADD, self->mem,
				      8, 1, 0, &atomic));
	EXPECT_EQ(0, dm_stuck(self->fd, self->mem, self->len));

	/* There is nothing to move, to wherever. */
	ASSERT_EQ(0, dm_migrate(self->fd, self->mem, self->len,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->len, m.resident);
	ASSERT_EQ(0, dm_migrate(self->fd, self->mem, self->len,
				DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(self->len, m.resident);
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_DROPPED));

	/* Needed again, it is zeroes, and told once to be those. */
	EXPECT_EQ(0, dm_advise(self->fd, self->mem, self->len,
			       DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(self->len, a.applied);
	EXPECT_EQ(self->len, a.dropped);
	EXPECT_EQ(0, a.retained);
	EXPECT_EQ(0, dm_advise(self->fd, self->mem, self->len,
			       DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(0, a.dropped);
	EXPECT_EQ(1, a.retained);
	memset(self->buf, 1, self->len);
	EXPECT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len / 2));
	EXPECT_TRUE(dm_zero(self->buf, self->len / 2));
	EXPECT_EQ(0, dm_count_code(self->mem, self->len, BUS_ADRERR));
	EXPECT_TRUE(dm_zero(self->mem, self->len));
	EXPECT_EQ(0, dm_counter(self->device, "placeholders"));

	/* And memory like any other. */
	dm_fill(self->mem, self->len, SEED + 1);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_evict(self->device, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
	EXPECT_EQ(self->len, purged(self));
	ASSERT_EQ(0, dm_query(self->fd, &q));
	EXPECT_EQ(dm_counter(self->device, "purged"), q.purged);
	EXPECT_EQ(dm_counter(self->device, "refaults"), q.refaults);
}

/* It can be copied neither from nor to, and the other operand is as it was. */
TEST_F(advice, dropped_in_a_copy)
{
	char *other = dm_alloc(&self->dm, self->page, SEED + 1);

	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, drop(self, self->mem, self->len));
	EXPECT_EQ(-ENODATA, dm_copy(self->fd, other, self->mem, self->page));
	EXPECT_EQ(0, dm_bad(other, self->page, SEED + 1));
	EXPECT_EQ(-ENODATA, dm_copy(self->fd, self->mem, other, self->page));
	EXPECT_EQ(0, dm_bad(other, self->page, SEED + 1));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_DROPPED));
	munmap(other, self->page);
}

/* Another device can neither use it nor get it back, and does not say that it did. */
TEST_F(advice, dropped_elsewhere)
{
	struct dmirror_advise a;
	__u64 value;
	int fd;

	ASSERT_LE(0, dm_find(variant->backing.memory_type, 1, &fd));
	ASSERT_EQ(0, drop(self, self->mem, self->len));
	EXPECT_TRUE(dm_all(fd, self->mem, self->len, DMIRROR_PLACE_REMOTE));
	EXPECT_EQ(-EFAULT, dm_read64(fd, self->mem, &value));
	EXPECT_EQ(-EBUSY, dm_advise(fd, self->mem, self->len,
				    DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(self->len, a.busy);
	EXPECT_EQ(0, a.retained);
	ASSERT_EQ(0, dm_advise(self->fd, self->mem, self->len,
			       DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(self->len, a.dropped);
	EXPECT_TRUE(dm_zero(self->mem, self->len));
	close(fd);
}

/*
 * Said to be needed to another device, it is not dropped any more: it comes to where
 * it cannot be, or the answer is that this has to be said elsewhere.
 */
TEST_F(advice, needed_elsewhere)
{
	bool comes = variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE;
	struct dmirror_advise a;
	int fd;

	ASSERT_LE(0, dm_find(variant->backing.memory_type, 1, &fd));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_dontneed(self->fd, self->mem, self->len));
	EXPECT_EQ(comes ? 0 : -EBUSY,
		  dm_advise(fd, self->mem, self->len, DMIRROR_ADVICE_WILLNEED,
			    &a));
	EXPECT_EQ(comes ? self->len : 0, a.untouched);
	EXPECT_EQ(comes ? 0 : self->len, a.busy);
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   comes ? DMIRROR_PLACE_SYSTEM : DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(fd);
}

/* With room for everybody nothing is dropped, and needed again it is all there. */
TEST_F(advice, retained)
{
	char *other = dm_map(&self->dm, self->len);
	struct dmirror_advise a;

	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_dontneed(self->fd, self->mem, self->len));
	EXPECT_EQ(self->len, dm_counter(self->device, "purgeable"));
	ASSERT_EQ(0, dm_to_device(self->fd, other, self->len));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len, DMIRROR_PLACE_LOCAL));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));

	EXPECT_EQ(0, dm_advise(self->fd, self->mem, self->len,
			       DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(self->len, a.applied);
	EXPECT_EQ(1, a.retained);
	EXPECT_EQ(0, dm_counter(self->device, "purgeable"));
	ASSERT_EQ(0, dm_evict(self->device, 2 * self->len));
	EXPECT_EQ(0, purged(self));
	EXPECT_EQ(2 * self->len, evicted(self));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	munmap(other, self->len);
}

/* Nothing is copied as long as there is something to drop. */
TEST_F(advice, dropped_first)
{
	char *other = dm_alloc(&self->dm, self->len, SEED + 1);

	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, dm_to_device(self->fd, other, self->len));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_dontneed(self->fd, self->mem, self->len));

	/* Neither its age nor its use matters. */
	ASSERT_EQ(0, dm_set_parameter("min_residency_ms", 600000));
	ASSERT_EQ(0, dm_evict(self->device, self->len));
	EXPECT_EQ(self->len, purged(self));
	EXPECT_EQ(0, evicted(self));
	EXPECT_TRUE(dm_all(self->fd, other, self->len, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(other, self->len, SEED + 1));
	munmap(other, self->len);
}

/* A part of it, which of a huge page is a part as well */
/*
 * The device goes away: what it had dropped is zeroes, and no error. What it had not
 * yet dropped is not dropped now.
 */
TEST_F(advice, unplugged)
{
	size_t half = self->len / 2;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_dontneed(self->fd, self->mem, half));
	ASSERT_EQ(0, dm_evict(self->device, self->page));
	ASSERT_EQ(half, purged(self));
	ASSERT_EQ(0, dm_dontneed(self->fd, self->mem + half, half));
	ASSERT_EQ(0, dm_unplug(self->device));
	EXPECT_EQ(half, purged(self));
	EXPECT_EQ(0, dm_count_code(self->mem, half, BUS_ADRERR));
	EXPECT_TRUE(dm_zero(self->mem, half));
	EXPECT_EQ(0, dm_bad_from(self->mem + half, half, SEED,
				 half / self->page));
	dm_fill(self->mem, self->len, SEED + 1);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
	ASSERT_EQ(0, dm_plug(self->device));

	/* The next device knows nothing of that. */
	close(self->fd);
	self->fd = dm_open_number(self->device);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_evict(self->device, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
}

TEST_F(advice, part)
{
	size_t half = self->len / 2, pages = half / self->page;
	struct dmirror_advise a;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_dontneed(self->fd, self->mem + half, half));
	ASSERT_EQ(0, dm_evict(self->device, self->page));
	ASSERT_EQ(0, dm_evict(self->device, half));
	EXPECT_EQ(half, purged(self));
	EXPECT_EQ(pages, dm_count_code(self->mem + half, half, BUS_ADRERR));
	EXPECT_EQ(0, dm_bad(self->mem, half, SEED));

	EXPECT_EQ(0, dm_advise(self->fd, self->mem, self->len,
			       DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(half, a.dropped);
	EXPECT_EQ(self->len, a.applied + a.untouched);
	EXPECT_EQ(0, dm_bad(self->mem, half, SEED));
	EXPECT_TRUE(dm_zero(self->mem + half, half));
}

/* Whoever uses it again has it. */
TEST_F(advice, touched)
{
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_dontneed(self->fd, self->mem, self->len));
	if (variant->backing.memory_type != DMIRROR_MEMORY_PRIVATE)
		ASSERT_EQ(0, dm_to_system(self->fd, self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	EXPECT_EQ(0, dm_counter(self->device, "purgeable"));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_evict(self->device, self->len));
	EXPECT_EQ(0, purged(self));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* Prefetch of what was dropped and is needed again makes it zeroes over there. */
TEST_F(advice, prefetch)
{
	struct dmirror_advise a;
	struct dmirror_wait w;
	__u64 job;

	ASSERT_EQ(0, drop(self, self->mem, self->len));
	ASSERT_EQ(0, dm_advise(self->fd, self->mem, self->len,
			       DMIRROR_ADVICE_WILLNEED, &a));
	ASSERT_EQ(0, dm_submit(self->fd, DMIRROR_JOB_MIGRATE, self->mem,
			       self->len, DMIRROR_TARGET_DEVICE, -1, &job));
	ASSERT_EQ(0, dm_wait_job(self->fd, job, 0, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_EQ(self->len, w.done);
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_counter(self->device, "placeholders"));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	EXPECT_TRUE(dm_zero(self->buf, self->len));
}

/* Not needed once more, before anybody has looked at the zeroes */
TEST_F(advice, dropped_again)
{
	struct dmirror_advise a;

	ASSERT_EQ(0, drop(self, self->mem, self->len));
	ASSERT_EQ(0, dm_advise(self->fd, self->mem, self->len,
			       DMIRROR_ADVICE_WILLNEED, &a));
	ASSERT_EQ(0, dm_dontneed(self->fd, self->mem, self->len));
	EXPECT_EQ(self->len / self->page,
		  dm_count_code(self->mem, self->len, BUS_ADRERR));
	ASSERT_EQ(0, dm_advise(self->fd, self->mem, self->len,
			       DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(self->len, a.dropped);
	EXPECT_TRUE(dm_zero(self->mem, self->len));
}

/*
 * The memory ends, or is another process's as well
 */

TEST_F(advice, discarded)
{
	size_t half = self->len / 2;

	ASSERT_EQ(0, drop(self, self->mem, self->len));
	ASSERT_EQ(0, madvise(self->mem, half, MADV_DONTNEED));
	EXPECT_EQ(0, dm_count_code(self->mem, half, BUS_ADRERR));
	EXPECT_TRUE(dm_zero(self->mem, half));
	EXPECT_EQ(self->len - half, dm_counter(self->device, "placeholders") %
				    self->len ?: self->len - half);
	ASSERT_EQ(0, munmap(self->mem, self->len));
	EXPECT_EQ(0, dm_counter(self->device, "placeholders"));
	self->mem = dm_map(&self->dm, self->len);
	EXPECT_TRUE(dm_zero(self->mem, self->len));
}

/* What a child may share with its parent is not the child's to give away. */
TEST_F(advice, fork_before)
{
	pid_t pid;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		int fd = dm_open_number(self->device);
		struct dmirror_advise a;

		DM_CHECK(!dm_advise(fd, self->mem, self->len,
				    DMIRROR_ADVICE_DONTNEED, &a));
		DM_CHECK(a.shared == self->len && !a.applied);
		DM_CHECK(!dm_evict(self->device, self->len));
		DM_CHECK(!dm_bad(self->mem, self->len, SEED));
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, purged(self));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* What was given away before is gone for both, and comes back for each. */
TEST_F(advice, fork_after)
{
	__u64 *words = dm_shared();
	struct dmirror_advise a;
	pid_t pid;

	ASSERT_NE(NULL, words);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_dontneed(self->fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		int fd = dm_open_number(self->device);

		dm_await(words, 1);
		DM_CHECK(dm_count_code(self->mem, self->page, BUS_ADRERR) == 1);
		DM_CHECK(!dm_advise(fd, self->mem, self->len,
				    DMIRROR_ADVICE_WILLNEED, &a));
		DM_CHECK(a.dropped == self->len && !a.retained);
		DM_CHECK(!dm_write64(fd, self->mem, 1));
		DM_CHECK(dm_peek(self->mem) == 1);
		DM_CHECK(dm_zero(self->mem + 8, self->len - 8));
		dm_fill(self->mem, self->len, SEED + 1);
		dm_poke(words, 2);
		dm_await(words, 3);
		DM_CHECK(!dm_bad(self->mem, self->len, SEED + 1));
		_exit(0);
	}
	ASSERT_EQ(0, dm_evict(self->device, self->len));
	EXPECT_EQ(self->len, purged(self));
	EXPECT_EQ(1, dm_count_code(self->mem, self->page, BUS_ADRERR));
	dm_poke(words, 1);
	while (dm_peek(words) < 2 && !waitpid(pid, NULL, WNOHANG))
		sched_yield();
	EXPECT_TRUE(dm_zero(self->mem, self->len));
	dm_fill(self->mem, self->len, SEED + 2);
	dm_poke(words, 3);
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 2));
	munmap(words, self->page);
}

/*
 * Races: who reads while another thread says what is needed and a third one evicts
 */

struct race {
	const struct _test_data_advice *self;
	__u64 seed;
	size_t from;
	size_t at;
	unsigned int lost;
	bool whole;	/* the CPU's first read of a page has it in the system */
};

static void race_next(struct race *race)
{
	race->at += race->self->page;
	if (race->at == race->self->len)
		race->at = race->from;
}

/* A page is what it was, or zeroes. */
static int check_page(const char *data, size_t page, __u64 seed, size_t at)
{
	if (dm_zero(data, page) || !dm_bad_from(data, page, seed, at / page))
		return 0;
	return -EILSEQ;
}

static int race_device_read(struct dm_worker *w)
{
	struct race *race = w->arg;
	const struct _test_data_advice *self = race->self;
	char buf[self->page];
	int ret = dm_read(self->fd, self->mem + race->at, buf, self->page);

	if (!ret)
		ret = check_page(buf, self->page, race->seed, race->at);
	race->lost += ret == -ENODATA;
	race_next(race);
	return ret == -ENODATA ? 0 : ret;
}

static int race_cpu_read(struct dm_worker *w)
{
	struct race *race = w->arg;
	const struct _test_data_advice *self = race->self;
	size_t len = race->whole ? self->page : sizeof(__u64);
	char buf[self->page];
	int ret = dm_cpu_read(self->mem + race->at, buf, len);
	__u64 word;

	memcpy(&word, buf, sizeof(word));
	if (ret)
		race->lost++;
	else if (race->whole)
		ret = check_page(buf, self->page, race->seed, race->at);
	else if (word && word != dm_word(race->seed, race->at / self->page, 0))
		ret = -EILSEQ;
	race_next(race);
	return ret == -EFAULT ? 0 : ret;
}

static int race_evict(struct dm_worker *w)
{
	struct race *race = w->arg;

	return dm_evict(race->self->device, race->self->len);
}

/*
 * Says that the memory is needed, and then it has to be there: as it was unless it
 * was said to have been dropped.
 */
static int race_need(const struct _test_data_advice *self, __u64 seed,
		     char *known_lost)
{
	size_t at, page = self->page, step = self->len / 16;
	struct dmirror_advise a;
	int ret;

	for (at = 0; at < self->len; at += step) {
		do {
			ret = dm_advise(self->fd, self->mem + at, step,
					DMIRROR_ADVICE_WILLNEED, &a);
			known_lost[at / step] |= a.dropped != 0;
		} while (ret == -EBUSY);
		if (ret)
			return ret;
	}
	for (at = 0; at < self->len; at += page) {
		ret = dm_read(self->fd, self->mem + at, self->buf, page);
		if (ret) {
			fprintf(stderr, "# page %zu is not there: %d\n",
				at / page, ret);
			return ret;
		}
		if (!known_lost[at / step] &&
		    dm_bad_from(self->buf, page, seed, at / page))
			return -EILSEQ;
		ret = check_page(self->buf, page, seed, at);
		if (ret)
			return ret;
	}
	return 0;
}

static int race_round(const struct _test_data_advice *self, __u64 seed,
		      bool private, unsigned int *lost)
{
	size_t last = self->len / 4 * 3;
	struct race races[3] = {
		{ .self = self, .seed = seed },
		/* What the CPU reads is in the system then, to stay. */
		{ .self = self, .seed = seed, .from = last, .at = last,
		  .whole = private },
		{ .self = self },
	};
	struct dm_worker w[3] = {
		{ .step = race_device_read, .arg = &races[0], .limit = ~0UL },
		{ .step = race_cpu_read, .arg = &races[1], .limit = ~0UL },
		{ .step = race_evict, .arg = &races[2], .limit = ~0UL },
	};
	char known_lost[16] = { 0 };
	struct dmirror_advise a;
	unsigned int i;
	int ret = 0, error;

	dm_fill(self->mem, self->len, seed);
	ret = dm_to_device(self->fd, self->mem, self->len) ?:
	      dm_dontneed(self->fd, self->mem, self->len);
	for (i = 0; i < ARRAY_SIZE(w) && !ret; i++)
		ret = dm_worker_start(&w[i]);
	for (i = 0; i < dm_rounds(RACE_TURNS) && !ret; i++) {
		ret = race_need(self, seed, known_lost);
		if (ret)
			break;
		ret = dm_advise(self->fd, self->mem, self->len,
				DMIRROR_ADVICE_DONTNEED, &a);
		if (ret == -EBUSY)
			ret = 0;
		sched_yield();
	}
	for (i = 0; i < ARRAY_SIZE(w); i++) {
		error = dm_worker_stop(&w[i]);
		if (error)
			fprintf(stderr, "# worker %u: %d\n", i, error);
		ret = ret ?: error;
		*lost += races[i].lost;
	}
	return ret;
}

TEST_F_TIMEOUT(advice, race, 120)
{
	bool private = variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE;
	unsigned int rounds = variant->backing.thp ? 2 : dm_rounds(RACE_ROUNDS);
	unsigned int i, lost = 0;

	for (i = 0; i < rounds; i++)
		ASSERT_EQ(0, race_round(self, SEED + i, private, &lost));
	TH_LOG("%u reads of what was lost, %lld bytes dropped", lost,
	       purged(self));
	EXPECT_EQ(0, dm_stuck(self->fd, self->mem, self->len));
}

/*
 * Dropping goes through the pages of a block one after the other, and the last may be
 * needed again by the time it comes to them. What was said to be retained is.
 */

struct drops {
	unsigned int device;
	__u64 told;
	__u64 done;
};

static int drop_when_told(struct dm_worker *w)
{
	struct drops *drops = w->arg;
	int ret;

	dm_await(&drops->told, drops->done + 1);
	ret = dm_evict(drops->device, DM_HUGE);
	dm_poke(&drops->done, drops->done + 1);
	return ret;
}

/*
 * Needs the last pages again, from the end on, until one was dropped: so one of these
 * calls is between the first look at the block and the lock of the page. How many had
 * been retained; negative: an error
 */
static int need_last(int fd, char *mem, size_t page)
{
	struct dmirror_advise a;
	int i, ret;

	for (i = 0; i < DROP_PAGES; i++) {
		do {
			ret = dm_advise(fd, mem + DM_HUGE - (i + 1) * page, page,
					DMIRROR_ADVICE_WILLNEED, &a);
		} while (ret == -EBUSY);
		if (ret || a.dropped)
			return ret ?: i;
	}
	return i;
}

TEST_F_TIMEOUT(advice, needed_as_it_is_dropped, 120)
{
	unsigned int rounds = dm_rounds(DROP_ROUNDS), i, j, between = 0, wait = 0;
	struct drops drops = { .device = self->device };
	struct dm_worker w = {
		.step = drop_when_told, .arg = &drops, .limit = rounds,
	};
	struct dmirror_migrate m;
	struct dmirror_advise a;
	char *mem, *retained;
	int ret;

	mem = dm_alloc(&self->dm, DM_HUGE, SEED);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, dm_worker_start(&w));
	for (i = 0; i < rounds; i++) {
		/* Sometimes khugepaged has taken a part of it back. */
		do {
			ASSERT_EQ(0, dm_migrate(self->fd, mem, DM_HUGE,
						DMIRROR_TARGET_SYSTEM, &m));
			dm_fill(mem, DM_HUGE, SEED + i);
			ASSERT_EQ(0, dm_to_device(self->fd, mem, DM_HUGE));
			ret = dm_dontneed(self->fd, mem, DM_HUGE);
		} while (ret == -EAGAIN);
		ASSERT_EQ(0, ret);
		dm_poke(&drops.told, i + 1);
		for (j = 0; j < wait; j++)
			sched_yield();
		ret = need_last(self->fd, mem, self->page);
		ASSERT_LE(0, ret);
		dm_await(&drops.done, i + 1);
		/* Earlier, or later */
		if (!ret)
			wait -= wait / 4;
		else if (ret == DROP_PAGES)
			wait += 8 + wait / 4;
		else
			between++;
		retained = mem + DM_HUGE - ret * self->page;
		for (j = 0; j < (unsigned int)ret; j++) {
			ASSERT_EQ(0, dm_read(self->fd, retained + j * self->page,
					     self->buf, self->page));
			ASSERT_EQ(0, dm_bad_from(self->buf, self->page, SEED + i,
						 DM_HUGE / self->page - ret + j));
		}
		ASSERT_EQ(0, dm_advise(self->fd, mem, DM_HUGE,
				       DMIRROR_ADVICE_WILLNEED, &a));
	}
	TH_LOG("dropped in between in %u of %u rounds", between, rounds);
	EXPECT_EQ(0, dm_worker_stop(&w));
	munmap(mem, DM_HUGE);
}

TEST_HARNESS_MAIN
