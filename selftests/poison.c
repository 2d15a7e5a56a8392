// SPDX-License-Identifier: GPL-2.0
/*
 * Memory errors on the device: the program has SIGBUS on the page that was hit and
 * on no other, the device has an error, and nobody gets the page again.
 * Documentation: drivers/dmirror/dmirror.rst.
 */
#include <sys/uio.h>

#include "kselftest_harness.h"
#include "dmirror_test.h"
#include "dmirror_advice.h"

#define SEED		0x9015

#ifndef BUS_MCEERR_AR
#define BUS_MCEERR_AR	4
#endif

FIXTURE(poison)
{
	struct dm dm;
	unsigned int device;
	size_t page;
	size_t len;
	int fd;
	char *mem;
	char *buf;
	char *hit;
	__u64 start;
	long long poisoned;
	long long withheld;
};

FIXTURE_VARIANT(poison)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(poison, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(poison, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(poison, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(poison, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

/* The physical address that a device's memory begins at, or 0 */
static __u64 memory_start(unsigned int device)
{
	unsigned long long first, start = 0;
	char line[256], name[64], want[32];
	FILE *f = fopen("/proc/iomem", "r");

	snprintf(want, sizeof(want), "dmirror%u", device);
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " %llx-%*x : %63s", &first, name) == 2 &&
		    !strcmp(name, want))
			start = first;
	if (f)
		fclose(f);
	return start;
}

/* The physical address of a page on the device, by the kernel's own view */
static __u64 physical(const struct dm *dm, const void *addr)
{
	__u64 entry;

	if (dm_pagemap(addr, dm->page, &entry))
		return 0;
	if (entry & DM_PAGEMAP_SWAP)
		return (entry >> 5 & ((1ULL << 50) - 1)) * dm->page;
	return (entry & ((1ULL << 55) - 1)) * dm->page;
}

static int poison_at(unsigned int device, __u64 offset)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", offset);
	return dm_file_write(dm_debugfs_path(device, "poison"), text);
}

FIXTURE_SETUP(poison)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->device = self->dm.device;
	if (dm_counter(self->device, "poisoned") < 0)
		SKIP(_exit(DM_SKIP_STATUS), "no debugfs: CONFIG_DEBUG_FS");
	self->fd = self->dm.fd;
	self->page = self->dm.page;
	self->len = self->dm.len;
	self->start = memory_start(self->device);
	ASSERT_NE(0, self->start);
	ASSERT_EQ(0, dm_trap_init());
	ASSERT_EQ(0, dm_set_parameter("min_residency_ms", 0));
	ASSERT_EQ(0, dm_counter(self->device, "memory_used"));
	self->poisoned = dm_counter(self->device, "poisoned");
	self->withheld = dm_counter(self->device, "withheld");
	ASSERT_EQ(self->poisoned, self->withheld);
	self->mem = dm_alloc(&self->dm, self->len, SEED);
	self->buf = malloc(self->len);
	ASSERT_NE(NULL, self->mem);
	ASSERT_NE(NULL, self->buf);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	self->hit = self->mem + self->len / 2 + 3 * self->page;
}

FIXTURE_TEARDOWN(poison)
{
	munmap(self->mem, self->len);
	free(self->buf);
	EXPECT_EQ(0, dm_counter(self->device, "memory_used"));
	EXPECT_EQ(0, dm_counter(self->device, "placeholders"));
	EXPECT_EQ(dm_counter(self->device, "poisoned"),
		  dm_counter(self->device, "withheld"));
	dm_set_parameter("min_residency_ms", 10);
	close(self->fd);
}

/* An error on the page of the device that is at an address */
static int poison(const struct _test_data_poison *self, const void *addr)
{
	return poison_at(self->device, physical(&self->dm, addr) - self->start);
}

/* All pages but the one that was hit are what they were */
static size_t bad_neighbours(const struct _test_data_poison *self)
{
	size_t before = self->hit - self->mem, after = before + self->page;

	return dm_bad(self->mem, before, SEED) +
	       dm_bad_from(self->mem + after, self->len - after, SEED,
			   after / self->page);
}

TEST_F(poison, arguments)
{
	EXPECT_NE(0, poison_at(self->device, self->dm.query.memory_size));
	EXPECT_NE(0, poison_at(self->device, ~0ULL));
	EXPECT_EQ(self->poisoned, dm_counter(self->device, "poisoned"));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* The CPU has its signal, for this page, and each time. */
TEST_F(poison, cpu)
{
	unsigned int i;
	__u64 value;

	ASSERT_EQ(0, poison(self, self->hit));
	EXPECT_EQ(self->poisoned + self->page,
		  dm_counter(self->device, "poisoned"));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-EFAULT, dm_cpu_read(self->hit + 8, &value, 8));
		EXPECT_EQ(BUS_MCEERR_AR, dm_trap.code);
		EXPECT_EQ((uintptr_t)self->hit, dm_trap.addr & ~(self->page - 1));
		EXPECT_EQ(self->page, 1UL << dm_trap.lsb);
		EXPECT_EQ(-EFAULT, dm_cpu_write64(self->hit, 1));
		EXPECT_EQ(BUS_MCEERR_AR, dm_trap.code);
		EXPECT_EQ(0, bad_neighbours(self));
	}
	EXPECT_EQ(0, dm_stuck(self->fd, self->mem, self->len));
}

/* The device's node tells of it. Its neighbours are there. */
TEST_F(poison, snapshot)
{
	struct dmirror_page p;

	ASSERT_EQ(0, poison(self, self->hit));
	p = dm_where(self->fd, self->hit);
	EXPECT_EQ(DMIRROR_PLACE_POISONED, p.place);
	EXPECT_EQ(self->device, p.device);
	EXPECT_EQ(self->len / self->page - 1,
		  dm_count(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, bad_neighbours(self));
}

/* The device has an error that says so, at the address, and goes on elsewhere. */
TEST_F(poison, device)
{
	size_t before = self->hit - self->mem, after = before + self->page;
	struct dmirror_atomic atomic;
	struct dmirror_rw rw;

	/* Also if it has the page mapped. */
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	ASSERT_EQ(0, poison(self, self->hit));
	EXPECT_EQ(-EHWPOISON, dm_rw(self->fd, DMIRROR_IOC_READ, self->mem,
				    self->buf, self->len, &rw));
	EXPECT_EQ((uintptr_t)self->hit, rw.fault_addr);
	EXPECT_EQ(before, rw.done);
	EXPECT_EQ(0, dm_bad(self->buf, before, SEED));
	EXPECT_EQ(-EHWPOISON, dm_write64(self->fd, self->hit, 1));
	EXPECT_EQ(-EHWPOISON, dm_atomic(self->fd, DMIRROR_ATOMIC_ADD, self->hit,
					8, 1, 0, &atomic));
	EXPECT_EQ((uintptr_t)self->hit, atomic.fault_addr);
	ASSERT_EQ(0, dm_read(self->fd, self->mem + after, self->buf,
			     self->len - after));
	EXPECT_EQ(0, dm_bad_from(self->buf, self->len - after, SEED,
				 after / self->page));
	EXPECT_EQ(0, bad_neighbours(self));
}

/* Nor can it be filled, or copied from or to; the other operand is as it was. */
TEST_F(poison, device_fills_and_copies)
{
	char *other = dm_alloc(&self->dm, self->page, SEED + 1);

	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, poison(self, self->hit));
	EXPECT_EQ(-EHWPOISON, dm_fill_device(self->fd, self->hit, self->page, 1));
	EXPECT_EQ(-EHWPOISON, dm_copy(self->fd, other, self->hit, self->page));
	EXPECT_EQ(0, dm_bad(other, self->page, SEED + 1));
	EXPECT_EQ(-EHWPOISON, dm_copy(self->fd, self->hit, other, self->page));
	EXPECT_EQ(0, dm_bad(other, self->page, SEED + 1));
	EXPECT_EQ(DMIRROR_PLACE_POISONED, dm_where(self->fd, self->hit).place);
	EXPECT_EQ(0, bad_neighbours(self));
	munmap(other, self->page);
}

/* It does not move, and is said to have failed. Its neighbours do. */
TEST_F(poison, migrate)
{
	struct dmirror_migrate m;

	ASSERT_EQ(0, poison(self, self->hit));
	EXPECT_EQ(-EIO, dm_migrate(self->fd, self->mem, self->len,
				   DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(self->len - self->page, m.moved);
	EXPECT_EQ(self->page, m.failed);
	EXPECT_EQ(1, dm_count_code(self->mem, self->len, BUS_MCEERR_AR));
	EXPECT_EQ(0, bad_neighbours(self));
	EXPECT_EQ(-EIO, dm_migrate(self->fd, self->mem, self->len,
				   DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->page, m.failed);
	EXPECT_EQ(1, dm_count_code(self->hit, self->page, BUS_MCEERR_AR));
	EXPECT_EQ(0, bad_neighbours(self));
}

/* Under pressure it is not copied either. */
TEST_F(poison, evict)
{
	ASSERT_EQ(0, poison(self, self->hit));
	ASSERT_EQ(0, dm_evict(self->device, self->len));
	EXPECT_EQ(0, bad_neighbours(self));
	EXPECT_EQ(1, dm_count_code(self->hit, self->page, BUS_MCEERR_AR));
}

/* Once the program has given it up nobody gets it, however much is allocated. */
TEST_F(poison, not_reused)
{
	__u64 bad = physical(&self->dm, self->hit);
	size_t size = 4 * DM_HUGE, at;
	char *mem = dm_map(&self->dm, size);
	struct dmirror_query q;

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, poison(self, self->hit));
	ASSERT_EQ(0, munmap(self->mem, self->len));
	EXPECT_EQ(self->withheld + self->page,
		  dm_counter(self->device, "withheld"));
	EXPECT_EQ(0, dm_counter(self->device, "memory_used"));
	ASSERT_EQ(0, dm_to_device(self->fd, mem, size));
	for (at = 0; at < size; at += self->page)
		if (physical(&self->dm, mem + at) == bad)
			break;
	EXPECT_EQ(size, at);
	ASSERT_EQ(0, dm_query(self->fd, &q));
	EXPECT_EQ(dm_counter(self->device, "poisoned"), q.poisoned);

	/* Nor is the error known twice. */
	EXPECT_NE(0, poison_at(self->device, bad - self->start));
	munmap(mem, size);
	self->mem = dm_map(&self->dm, self->len);
}

/* An error where there is nothing: only that the page is not used. */
TEST_F(poison, unused_page)
{
	__u64 bad = physical(&self->dm, self->hit);

	ASSERT_EQ(0, munmap(self->mem, self->len));
	ASSERT_EQ(0, poison_at(self->device, bad - self->start));
	EXPECT_EQ(self->withheld + self->page,
		  dm_counter(self->device, "withheld"));
	self->mem = dm_alloc(&self->dm, self->len, SEED);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* A child has the memory, and so it has the error. */
TEST_F(poison, fork)
{
	pid_t pid;

	ASSERT_EQ(0, poison(self, self->hit));
	pid = fork();
	if (!pid) {
		DM_CHECK(dm_count_code(self->hit, self->page,
				       BUS_MCEERR_AR) == 1);
		DM_CHECK(!bad_neighbours(self));
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(1, dm_count_code(self->hit, self->page, BUS_MCEERR_AR));
	EXPECT_EQ(0, bad_neighbours(self));
}

/* No advice makes it good again; new memory at the address is. */
TEST_F(poison, discarded)
{
	struct dmirror_advise a;

	ASSERT_EQ(0, poison(self, self->hit));
	EXPECT_EQ(0, dm_advise(self->fd, self->hit, self->page,
			       DMIRROR_ADVICE_DONTNEED, &a));
	EXPECT_EQ(0, dm_evict(self->device, self->len));
	EXPECT_EQ(0, dm_advise(self->fd, self->hit, self->page,
			       DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(self->page, a.untouched);
	EXPECT_EQ(1, dm_count_code(self->hit, self->page, BUS_MCEERR_AR));
	ASSERT_EQ(0, madvise(self->hit, self->page, MADV_DONTNEED));
	EXPECT_TRUE(dm_zero(self->hit, self->page));
	EXPECT_EQ(0, bad_neighbours(self));
}

/* mm was told of an error and works on a queue: the page is zeroes until it is done. */
static bool error_arrives(const struct _test_data_poison *self)
{
	unsigned int tries;

	for (tries = 0; tries < 1000; tries++) {
		if (dm_count_code(self->hit, self->page, BUS_MCEERR_AR))
			return true;
		if (!dm_trap.code && !dm_zero(self->hit, self->page))
			return false;
		dm_msleep(10);
	}
	return false;
}

/*
 * The device goes away, and the program still has its error: as one of the page of
 * system memory that took the place.
 */
TEST_F(poison, unplugged)
{
	size_t nr = variant->backing.thp ? 1 : 20, i;
	char *end = self->hit + nr * self->page;

	if (access("/sys/devices/system/memory/hard_offline_page", F_OK))
		SKIP(return, "CONFIG_MEMORY_FAILURE is missing");
	if (dm_kernel_before(6, 12))
		SKIP(return, "not on 6.1: clear_hwpoisoned_pages() stops it later");
	/* More of them than what mm would queue for later */
	for (i = 0; i < nr; i++)
		ASSERT_EQ(0, poison(self, self->hit + i * self->page));
	ASSERT_EQ(0, dm_unplug(self->device));
	EXPECT_EQ(nr, dm_count_code(self->hit, nr * self->page,
				    BUS_MCEERR_AR));
	EXPECT_EQ(0, dm_bad(self->mem, self->hit - self->mem, SEED));
	EXPECT_EQ(0, dm_bad_from(end, self->mem + self->len - end, SEED,
				 (end - self->mem) / self->page));
	ASSERT_EQ(0, dm_plug(self->device));
	EXPECT_EQ(0, dm_counter(self->device, "poisoned"));
	EXPECT_EQ(nr, dm_count_code(self->mem, self->len, BUS_MCEERR_AR));
}

/*
 * Held, the page cannot be unmapped: whoever poisoned it hears so. It moves when it
 * is let go and the device goes, and then mm has the error to tell the program of.
 */
TEST_F(poison, held_until_the_device_goes)
{
	struct iovec iov = { self->hit, self->page };
	int pipes[2];

	if (variant->backing.memory_type != DMIRROR_MEMORY_COHERENT) {
		ASSERT_EQ(0, dm_hold_fetches(self->fd, self->hit));
		EXPECT_EQ(0, bad_neighbours(self));
		return;
	}
	if (dm_kernel_before(6, 12))
		SKIP(return, "not on 6.1: clear_hwpoisoned_pages() stops it later");
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(self->page, vmsplice(pipes[1], &iov, 1, 0));
	EXPECT_NE(0, poison(self, self->hit));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(self->poisoned + self->page,
		  dm_counter(self->device, "poisoned"));
	ASSERT_EQ(self->page, read(pipes[0], self->buf, self->page));
	close(pipes[0]);
	close(pipes[1]);

	ASSERT_EQ(0, dm_unplug(self->device));
	EXPECT_EQ(0, bad_neighbours(self));
	EXPECT_TRUE(error_arrives(self));
	ASSERT_EQ(0, dm_plug(self->device));
	EXPECT_EQ(0, bad_neighbours(self));
}

/* A placeholder that stood for an error stands for other memory afterwards. */
TEST_F(poison, placeholder_used_again)
{
	struct dmirror_advise a;
	unsigned int i;
	char *mem;

	ASSERT_EQ(0, poison(self, self->hit));
	ASSERT_EQ(0, munmap(self->mem, self->len));
	/* In small pages, and as a large folio where there is one. */
	for (i = 0; i < 2; i++) {
		mem = dm_map_flags(DM_HUGE, i ? MADV_HUGEPAGE : MADV_NOHUGEPAGE,
				   PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS);
		ASSERT_NE(NULL, mem);
		dm_fill(mem, DM_HUGE, SEED);
		ASSERT_EQ(0, dm_to_device(self->fd, mem, DM_HUGE));
		ASSERT_EQ(0, dm_dontneed(self->fd, mem, DM_HUGE));
		ASSERT_EQ(0, dm_evict(self->device, DM_HUGE));
		EXPECT_EQ(DM_HUGE, dm_counter(self->device, "placeholders"));
		EXPECT_TRUE(dm_all(self->fd, mem, DM_HUGE,
				   DMIRROR_PLACE_DROPPED));
		ASSERT_EQ(0, dm_advise(self->fd, mem, DM_HUGE,
				       DMIRROR_ADVICE_WILLNEED, &a));
		EXPECT_EQ(DM_HUGE, a.dropped);
		EXPECT_TRUE(dm_zero(mem, DM_HUGE));
		munmap(mem, DM_HUGE);
	}
}

/*
 * mm is told of the error, by its physical address, and tells the driver. Not on
 * 6.1, which counts it among its own: see madvise.c.
 */
TEST_F(poison, memory_failure)
{
	const char *file = "/sys/devices/system/memory/hard_offline_page";
	char text[32];

	if (access(file, W_OK))
		SKIP(return, "no %s: CONFIG_MEMORY_FAILURE", file);
	if (dm_kernel_before(6, 12))
		SKIP(return, "not on 6.1: clear_hwpoisoned_pages() stops it later");
	snprintf(text, sizeof(text), "0x%llx", physical(&self->dm, self->hit));
	ASSERT_EQ(0, dm_file_write(file, text));
	EXPECT_EQ(self->poisoned + self->page,
		  dm_counter(self->device, "poisoned"));
	EXPECT_EQ(1, dm_count_code(self->mem, self->len, BUS_MCEERR_AR));
	EXPECT_EQ(0, bad_neighbours(self));

	/* Where there is no memory there is no error. */
	snprintf(text, sizeof(text), "0x%llx",
		 self->start + self->dm.query.memory_size);
	dm_file_write(file, text);
	EXPECT_EQ(self->poisoned + self->page,
		  dm_counter(self->device, "poisoned"));
}

TEST_HARNESS_MAIN
