// SPDX-License-Identifier: GPL-2.0
/*
 * The ABI of /dev/dmirror0 and up: what each ioctl does on every kind of
 * memory, and every error that linux/dmirror.h promises.
 */
#include "kselftest_harness.h"
#include "dmirror_test.h"
#include "dmirror_load.h"

#define SEED	0xab1

FIXTURE(abi)
{
	struct dm dm;
	char *mem;
};

FIXTURE_VARIANT(abi)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(abi, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(abi, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(abi, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(abi, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

FIXTURE_SETUP(abi)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->mem = dm_alloc(&self->dm, self->dm.len, SEED);
	ASSERT_NE(NULL, self->mem);
}

FIXTURE_TEARDOWN(abi)
{
	munmap(self->mem, self->dm.len);
	close(self->dm.fd);
}

static bool all_bytes(const char *data, size_t len, char value)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (data[i] != value)
			return false;
	return true;
}

TEST_F(abi, query)
{
	struct dmirror_query q, before;
	char *mem = self->mem;
	__u64 value;

	ASSERT_EQ(0, dm_query(self->dm.fd, &before));
	EXPECT_EQ(DMIRROR_ABI_VERSION, before.version);
	EXPECT_EQ((unsigned int)self->dm.device, before.device);
	EXPECT_EQ(variant->backing.memory_type, before.memory_type);
	EXPECT_TRUE(before.capabilities & DMIRROR_CAP_MIGRATE);
	EXPECT_TRUE(before.capabilities & DMIRROR_CAP_ATOMIC);
	EXPECT_EQ(self->dm.page, before.page_size);
	EXPECT_LE(before.memory_used, before.memory_size);
	EXPECT_EQ(0, before.memory_size % before.page_size);

	/* The largest unit is a huge page exactly if the capability says so. */
	EXPECT_EQ(before.capabilities & DMIRROR_CAP_LARGE_FOLIO ?
		  DM_HUGE : before.page_size, before.large_page_size);

	/* What moves to the device is counted, in bytes. */
	ASSERT_EQ(0, dm_to_device(self->dm.fd, mem, self->dm.len));
	ASSERT_EQ(0, dm_query(self->dm.fd, &q));
	EXPECT_EQ(self->dm.len, q.to_device - before.to_device);
	EXPECT_EQ(self->dm.len, q.memory_used - before.memory_used);

	/* So is what moves back, which the device's page table must hear of. */
	ASSERT_EQ(0, dm_read64(self->dm.fd, mem, &value));
	before = q;
	ASSERT_EQ(0, dm_to_system(self->dm.fd, mem, self->dm.len));
	ASSERT_EQ(0, dm_query(self->dm.fd, &q));
	EXPECT_EQ(self->dm.len, q.to_system - before.to_system);
	EXPECT_LT(before.invalidations, q.invalidations);
	EXPECT_EQ(before.evicted, q.evicted);

	/* Device access to memory that the device has not mapped is a fault. */
	before = q;
	ASSERT_EQ(0, dm_fill_device(self->dm.fd, mem, self->dm.page, 1));
	ASSERT_EQ(0, dm_query(self->dm.fd, &q));
	EXPECT_LT(before.device_faults, q.device_faults);
	EXPECT_EQ(before.copy_errors, q.copy_errors);
}

/*
 * A CPU fault on private memory is counted, and brings the page back. Coherent
 * memory is read and written where it is, without a fault.
 */
TEST_F(abi, query_cpu_fault)
{
	struct dmirror_query q, before;

	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->dm.len));
	ASSERT_EQ(0, dm_query(self->dm.fd, &before));
	EXPECT_EQ(0, dm_bad(self->mem, self->dm.page, SEED));
	if (variant->backing.memory_type == DMIRROR_MEMORY_COHERENT) {
		EXPECT_EQ(0, dm_bad(self->mem, self->dm.len, SEED));
		dm_fill(self->mem, self->dm.len, SEED + 1);
		EXPECT_EQ(0, dm_bad(self->mem, self->dm.len, SEED + 1));
		ASSERT_EQ(0, dm_query(self->dm.fd, &q));
		EXPECT_EQ(before.cpu_faults, q.cpu_faults);
		EXPECT_EQ(before.to_system, q.to_system);
		EXPECT_TRUE(dm_all(self->dm.fd, self->mem, self->dm.len,
				   DMIRROR_PLACE_LOCAL));
		return;
	}
	ASSERT_EQ(0, dm_query(self->dm.fd, &q));
	EXPECT_LT(before.cpu_faults, q.cpu_faults);
	EXPECT_LE(before.to_system + self->dm.page, q.to_system);
	EXPECT_EQ(DMIRROR_PLACE_SYSTEM,
		  dm_where(self->dm.fd, self->mem).place);
}

TEST_F(abi, migrate_there_and_back)
{
	struct dmirror_migrate m;
	size_t len = self->dm.len;

	ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem, len,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(len, m.moved);
	EXPECT_EQ(len, dm_migrate_sum(&m));
	EXPECT_TRUE(dm_all(self->dm.fd, self->mem, len, DMIRROR_PLACE_LOCAL));

	/* What is there already has nothing to move. */
	ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem, len,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(len, m.resident);
	EXPECT_EQ(len, dm_migrate_sum(&m));

	ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem, len,
				DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(len, m.moved);
	EXPECT_EQ(len, dm_migrate_sum(&m));
	EXPECT_TRUE(dm_all(self->dm.fd, self->mem, len, DMIRROR_PLACE_SYSTEM));

	ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem, len,
				DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(len, m.resident);
	EXPECT_EQ(len, dm_migrate_sum(&m));
	EXPECT_EQ(0, dm_bad(self->mem, len, SEED));
}

/* Around what a small batch, a copy job and a block have room for, no number is special. */
TEST_F(abi, migrate_any_number)
{
	static const unsigned int numbers[] = {
		1, 15, 16, 17, 63, 64, 65, 511, 512, 513,
	};
	struct dmirror_migrate m;
	unsigned int i;
	size_t len;
	char *mem;

	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		len = numbers[i] * self->dm.page;
		mem = dm_map_flags(len, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS);
		ASSERT_NE(NULL, mem);
		dm_fill(mem, len, SEED + i);

		EXPECT_EQ(0, dm_migrate(self->dm.fd, mem, len,
					DMIRROR_TARGET_DEVICE, &m));
		EXPECT_EQ(len, m.moved);
		EXPECT_TRUE(dm_all(self->dm.fd, mem, len, DMIRROR_PLACE_LOCAL));
		EXPECT_EQ(0, dm_migrate(self->dm.fd, mem, len,
					DMIRROR_TARGET_SYSTEM, &m));
		EXPECT_EQ(len, m.moved);
		EXPECT_EQ(0, dm_bad(mem, len, SEED + i));
		munmap(mem, len);
	}
}

/* A migration to nowhere moves nothing, wherever the memory is. */
TEST_F(abi, migrate_stay)
{
	size_t len = self->dm.len;
	struct dmirror_migrate m;

	ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem, len,
				DMIRROR_TARGET_STAY, &m));
	EXPECT_EQ(len, m.resident);
	EXPECT_EQ(len, dm_migrate_sum(&m));
	EXPECT_TRUE(dm_all(self->dm.fd, self->mem, len, DMIRROR_PLACE_SYSTEM));

	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, len));
	ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem, len,
				DMIRROR_TARGET_STAY, &m));
	EXPECT_EQ(len, m.resident);
	EXPECT_TRUE(dm_all(self->dm.fd, self->mem, len, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, len, SEED));
}

/* What KSM may merge stays: ksmd goes on to look at its contents. */
TEST_F_TIMEOUT(abi, migrate_ksm, 120)
{
	size_t len = 4 * self->dm.page;
	struct dmirror_migrate m;
	char *mem;

	mem = dm_map_flags(len, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	ASSERT_NE(NULL, mem);
	memset(mem, 0x6b, len);
	ASSERT_EQ(0, madvise(mem, len, MADV_MERGEABLE));
	ASSERT_TRUE(dm_ksm_start());
	ASSERT_TRUE(dm_ksm_reaches("pages_sharing", 3));

	ASSERT_EQ(0, dm_migrate_raw(self->dm.fd, mem, len,
				    DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(len, m.unsupported);
	EXPECT_EQ(len, dm_migrate_sum(&m));
	EXPECT_TRUE(all_bytes(mem, len, 0x6b));
	ASSERT_TRUE(dm_ksm_stop());
	munmap(mem, len);
}

/* Contents are the same after the CPU fetches each page with its own faults. */
TEST_F(abi, migrate_and_fault_back)
{
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->dm.len));
	EXPECT_EQ(0, dm_bad(self->mem, self->dm.len, SEED));
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->dm.len));
	dm_fill(self->mem, self->dm.len, SEED + 1);
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->dm.len));
	EXPECT_EQ(0, dm_bad(self->mem, self->dm.len, SEED + 1));
}

/* Memory that nobody has touched becomes device memory full of zeros. */
TEST_F(abi, migrate_hole)
{
	char *before = dm_alloc(&self->dm, self->dm.len, SEED);
	char *hole = dm_map(&self->dm, self->dm.len);
	struct dmirror_migrate m;

	/* The pages for the hole had something in them. */
	ASSERT_NE(NULL, before);
	ASSERT_NE(NULL, hole);
	ASSERT_EQ(0, dm_to_device(self->dm.fd, before, self->dm.len));
	munmap(before, self->dm.len);
	ASSERT_EQ(0, dm_migrate(self->dm.fd, hole, self->dm.len,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->dm.len, m.moved);
	EXPECT_TRUE(dm_all(self->dm.fd, hole, self->dm.len,
			   DMIRROR_PLACE_LOCAL));
	EXPECT_TRUE(dm_zero(hole, self->dm.len));

	/* To system memory nothing happens to a hole. */
	munmap(hole, self->dm.len);
	hole = dm_map(&self->dm, self->dm.len);
	ASSERT_NE(NULL, hole);
	ASSERT_EQ(0, dm_migrate(self->dm.fd, hole, self->dm.len,
				DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(self->dm.len, m.resident);
	EXPECT_TRUE(dm_all(self->dm.fd, hole, self->dm.len,
			   DMIRROR_PLACE_HOLE));
	munmap(hole, self->dm.len);
}

/* So does a whole block of it, each page in its place, of which mm gets parts back. */
TEST_F(abi, migrate_large_hole)
{
	char *hole = dm_map(&self->dm, DM_HUGE);
	struct dmirror_migrate m;

	ASSERT_NE(NULL, hole);
	/* At the first go: others would do what is left of each. */
	ASSERT_EQ(0, dm_migrate_raw(self->dm.fd, hole, DM_HUGE,
				    DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(DM_HUGE, m.moved);
	EXPECT_TRUE(dm_all(self->dm.fd, hole, DM_HUGE, DMIRROR_PLACE_LOCAL));
	EXPECT_TRUE(dm_zero(hole, DM_HUGE));
	munmap(hole, DM_HUGE);
}

/* The zero page is read-only system memory: what moves is a page of zeros. */
TEST_F(abi, migrate_zero_page)
{
	char *mem = dm_map(&self->dm, self->dm.len);
	struct dmirror_migrate m;

	ASSERT_NE(NULL, mem);
	EXPECT_TRUE(dm_zero(mem, self->dm.len));

	/* Modules cannot tell the huge zero page from any read-only one. */
	EXPECT_TRUE(dm_all(self->dm.fd, mem, self->dm.len,
			   variant->backing.thp &&
			   dm_where(self->dm.fd, mem).order ?
			   DMIRROR_PLACE_SYSTEM : DMIRROR_PLACE_ZERO));
	EXPECT_EQ(0, dm_count_flags(self->dm.fd, mem, self->dm.len,
				    DMIRROR_PAGE_WRITE));
	ASSERT_EQ(0, dm_migrate(self->dm.fd, mem, self->dm.len,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->dm.len, m.moved);
	EXPECT_TRUE(dm_all(self->dm.fd, mem, self->dm.len,
			   DMIRROR_PLACE_LOCAL));
	ASSERT_EQ(0, dm_write64(self->dm.fd, mem, 1));
	EXPECT_EQ(1, dm_peek(mem));
	EXPECT_TRUE(dm_zero(mem + 8, self->dm.len - 8));
	munmap(mem, self->dm.len);
}

/* One page of many: its neighbours stay, and all keep their contents. */
TEST_F(abi, migrate_part)
{
	size_t page = self->dm.page;
	struct dmirror_migrate m;

	ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem + 3 * page, page,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(page, m.moved);
	EXPECT_EQ(1, dm_count(self->dm.fd, self->mem, self->dm.len,
			      DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(DMIRROR_PLACE_LOCAL,
		  dm_where(self->dm.fd, self->mem + 3 * page).place);

	/* The whole range then: one was there, the others move. */
	ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem, self->dm.len,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(page, m.resident);
	EXPECT_EQ(self->dm.len - page, m.moved);

	ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem + 5 * page, 2 * page,
				DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(2 * page, m.moved);
	EXPECT_EQ(2, dm_count(self->dm.fd, self->mem, self->dm.len,
			      DMIRROR_PLACE_SYSTEM));
	EXPECT_EQ(0, dm_bad(self->mem, self->dm.len, SEED));
}

/* A range may span mappings, and kinds of memory that never move. */
TEST_F(abi, migrate_over_mappings)
{
	size_t page = self->dm.page, len = self->dm.len;
	bool splits = dm_splits(&self->dm);
	struct dmirror_migrate m;

	ASSERT_NE(MAP_FAILED, mmap(self->mem + 4 * page, 4 * page,
				   PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
				   0));
	dm_fill_from(self->mem + 4 * page, 4 * page, SEED, 4);
	ASSERT_EQ(0, mprotect(self->mem + 10 * page, page, PROT_READ));
	ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem, len,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(4 * page, m.unsupported);
	EXPECT_EQ(len - 4 * page, splits ? m.moved : m.busy);
	EXPECT_EQ(len, dm_migrate_sum(&m));
	EXPECT_EQ(m.moved / page, dm_count(self->dm.fd, self->mem, len,
					   DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, len, SEED));
}

/* What the device reads is what the CPU wrote, wherever the page is. */
TEST_F(abi, read)
{
	size_t page = self->dm.page, len = self->dm.len;
	char *copy = malloc(len);
	struct dmirror_rw rw;

	ASSERT_NE(NULL, copy);
	memset(copy, 0xee, len);
	ASSERT_EQ(0, dm_rw(self->dm.fd, DMIRROR_IOC_READ, self->mem, copy, len,
			   &rw));
	EXPECT_EQ(len, rw.done);
	EXPECT_LE(1, rw.faults);
	EXPECT_EQ(0, memcmp(copy, self->mem, len));
	EXPECT_EQ(len / page, dm_count_flags(self->dm.fd, self->mem, len,
					     DMIRROR_PAGE_MAPPED));

	/* A second read finds the pages mapped: no fault. */
	ASSERT_EQ(0, dm_rw(self->dm.fd, DMIRROR_IOC_READ, self->mem, copy, len,
			   &rw));
	EXPECT_EQ(0, rw.faults);

	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, len));
	memset(copy, 0xee, len);
	ASSERT_EQ(0, dm_read(self->dm.fd, self->mem, copy, len));
	EXPECT_TRUE(dm_all(self->dm.fd, self->mem, len, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(copy, len, SEED));

	/* Any byte address and length, over page boundaries, here and there. */
	ASSERT_EQ(0, dm_to_system(self->dm.fd, self->mem + page, page));
	memset(copy, 0xee, len);
	ASSERT_EQ(0, dm_rw(self->dm.fd, DMIRROR_IOC_READ, self->mem + page - 3,
			   copy + 1, page + 7, &rw));
	EXPECT_EQ(page + 7, rw.done);
	EXPECT_EQ(0, memcmp(copy + 1, self->mem + page - 3, page + 7));
	EXPECT_EQ((char)0xee, copy[0]);
	EXPECT_EQ((char)0xee, copy[page + 8]);
	free(copy);
}

/* The CPU sees what the device wrote, and only there. */
TEST_F(abi, write)
{
	size_t page = self->dm.page, len = self->dm.len;
	char *data = malloc(len);
	struct dmirror_rw rw;

	ASSERT_NE(NULL, data);
	dm_fill(data, len, SEED + 2);
	ASSERT_EQ(0, dm_rw(self->dm.fd, DMIRROR_IOC_WRITE, self->mem, data, len,
			   &rw));
	EXPECT_EQ(len, rw.done);
	EXPECT_EQ(0, dm_bad(self->mem, len, SEED + 2));

	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, len));
	dm_fill(data, len, SEED + 3);
	ASSERT_EQ(0, dm_write(self->dm.fd, self->mem, data, len));
	EXPECT_TRUE(dm_all(self->dm.fd, self->mem, len, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, len, SEED + 3));

	/* Some bytes around a page boundary, one page here and one there. */
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, len));
	ASSERT_EQ(0, dm_to_system(self->dm.fd, self->mem + page, page));
	ASSERT_EQ(0, dm_write(self->dm.fd, self->mem + page - 5, "0123456789",
			      10));
	EXPECT_EQ(0, memcmp(self->mem + page - 5, "0123456789", 10));
	memcpy(self->mem + page - 5, data + page - 5, 10);
	EXPECT_EQ(0, dm_bad(self->mem, len, SEED + 3));
	free(data);
}

/* A device write to memory that nobody has touched allocates it. */
TEST_F(abi, write_hole)
{
	char *hole = dm_map(&self->dm, self->dm.len);

	ASSERT_NE(NULL, hole);
	ASSERT_EQ(0, dm_write64(self->dm.fd, hole + 8, 77));
	EXPECT_EQ(77, dm_peek(hole + 8));
	dm_poke(hole + 8, 0);
	EXPECT_TRUE(dm_zero(hole, self->dm.len));
	munmap(hole, self->dm.len);
}

/* Nor does it allocate more than that, also where it faults in the middle. */
TEST_F(abi, write_hole_no_further)
{
	size_t page = self->dm.page;
	char *hole = dm_map_flags(16 * page, MADV_NOHUGEPAGE,
				  PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS);

	ASSERT_NE(NULL, hole);
	ASSERT_EQ(0, dm_write(self->dm.fd, hole, self->mem, 4 * page));
	EXPECT_EQ(4, dm_count(self->dm.fd, hole, 16 * page, DMIRROR_PLACE_SYSTEM));
	ASSERT_EQ(0, dm_write(self->dm.fd, hole, self->mem, 8 * page));
	EXPECT_EQ(8, dm_count(self->dm.fd, hole, 16 * page, DMIRROR_PLACE_SYSTEM));
	EXPECT_TRUE(dm_all(self->dm.fd, hole + 8 * page, 8 * page,
			   DMIRROR_PLACE_HOLE));
	munmap(hole, 16 * page);
}

/*
 * What the device needs beside what it has comes to where it can be had, and what it
 * has stays: holes, and memory of the system, before and among it.
 */
TEST_F(abi, holes_among_local_memory)
{
	size_t page = self->dm.page, n = self->dm.len / page, i;
	char *buf;

	buf = malloc(self->dm.len);
	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->dm.len));
	for (i = 0; i < n; i += 4)
		ASSERT_EQ(0, madvise(self->mem + i * page, page, MADV_DONTNEED));
	ASSERT_EQ(0, dm_read(self->dm.fd, self->mem, buf, self->dm.len));
	EXPECT_EQ(n - n / 4, dm_count(self->dm.fd, self->mem, self->dm.len,
				      DMIRROR_PLACE_LOCAL));
	dm_fill(buf, self->dm.len, SEED + 1);
	ASSERT_EQ(0, dm_write(self->dm.fd, self->mem, buf, self->dm.len));
	EXPECT_EQ(n - n / 4, dm_count(self->dm.fd, self->mem, self->dm.len,
				      DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, self->dm.len, SEED + 1));
	free(buf);
}

TEST_F(abi, fill)
{
	size_t page = self->dm.page, len = self->dm.len, i;
	struct dmirror_fill f = {
		.size = sizeof(f),
		.addr = (uintptr_t)self->mem + 8,
		.length = len - 16,
		.pattern = 0x0123456789abcdefULL,
	};
	unsigned int bad = 0;
	__u64 first = dm_peek(self->mem);
	__u64 last = dm_peek(self->mem + len - 8);

	/* Half of it is on the device. */
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, len / 2));
	ASSERT_EQ(0, dm_call(self->dm.fd, DMIRROR_IOC_FILL, &f));
	EXPECT_EQ(len - 16, f.done);
	EXPECT_EQ(len / 2 / page, dm_count(self->dm.fd, self->mem, len,
					   DMIRROR_PLACE_LOCAL));
	for (i = 8; i < len - 8; i += 8)
		bad += dm_peek(self->mem + i) != f.pattern;
	EXPECT_EQ(0, bad);
	EXPECT_EQ(first, dm_peek(self->mem));
	EXPECT_EQ(last, dm_peek(self->mem + len - 8));
}

TEST_F(abi, copy)
{
	size_t page = self->dm.page, len = self->dm.len;
	char *dst = dm_alloc(&self->dm, len, SEED + 4);
	struct dmirror_copy c = {
		.size = sizeof(c),
		.src = (uintptr_t)self->mem,
		.dst = (uintptr_t)dst,
		.length = len,
	};

	ASSERT_NE(NULL, dst);

	/* From system memory to system memory. */
	ASSERT_EQ(0, dm_call(self->dm.fd, DMIRROR_IOC_COPY, &c));
	EXPECT_EQ(len, c.done);
	EXPECT_EQ(0, dm_bad(dst, len, SEED));

	/* From the device's memory to its memory: nothing comes back for it. */
	dm_fill(dst, len, SEED + 5);
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, len));
	ASSERT_EQ(0, dm_to_device(self->dm.fd, dst, len));
	ASSERT_EQ(0, dm_copy(self->dm.fd, dst, self->mem, len));
	EXPECT_TRUE(dm_all(self->dm.fd, dst, len, DMIRROR_PLACE_LOCAL));
	EXPECT_TRUE(dm_all(self->dm.fd, self->mem, len, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(dst, len, SEED));

	/* Across the two, with offsets that differ, and from one page there. */
	dm_fill(dst, len, SEED + 6);
	ASSERT_EQ(0, dm_to_system(self->dm.fd, self->mem + page, page));
	dm_fill(self->mem + page, page, SEED + 7);
	ASSERT_EQ(0, dm_copy(self->dm.fd, dst + 3, self->mem + page - 11,
			     page + 100));
	EXPECT_EQ(0, memcmp(dst + 3, self->mem + page - 11, page + 100));

	/* Within one page, right up to each other. */
	ASSERT_EQ(0, dm_copy(self->dm.fd, self->mem + 64, self->mem, 64));
	EXPECT_EQ(0, memcmp(self->mem + 64, self->mem, 64));
	munmap(dst, len);
}

/* Atomic operations of both widths, on system and on device memory. */
TEST_F(abi, atomic)
{
	size_t page = self->dm.page, i;
	struct dmirror_page where;
	struct dmirror_atomic a;
	long long exclusive;
	__u32 *w4;
	__u64 *w8;

	for (i = 0; i < 2; i++) {
		w8 = (__u64 *)(self->mem + 2 * page + 16);
		w4 = (__u32 *)(self->mem + 2 * page + 36);
		w8[0] = 100;
		w8[1] = 0x1111;
		w4[-1] = 0x2222;
		w4[0] = 0xfffffffe;
		w4[1] = 0x3333;
		if (i) {
			ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem,
						  self->dm.len));
		}

		/* To be allowed to write is not enough outside of the device. */
		ASSERT_EQ(0, dm_write64(self->dm.fd, w8, 100));
		exclusive = dm_counter(self->dm.device, "exclusive");
		ASSERT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, w8, 8,
				       5, 0, &a));
		EXPECT_EQ(100, a.result);
		if (exclusive >= 0)
			EXPECT_EQ(exclusive +
				  (a.flags == DMIRROR_ATOMIC_EXCLUSIVE),
				  dm_counter(self->dm.device, "exclusive"));
		ASSERT_EQ(0, dm_snapshot(self->dm.fd, self->mem + 2 * page,
					 page, &where));
		EXPECT_EQ(a.flags == DMIRROR_ATOMIC_EXCLUSIVE,
			  !!(where.flags & DMIRROR_PAGE_EXCLUSIVE));

		/* The flag says by which of the three ways it was done. */
		if (i || !variant->backing.thp) {
			EXPECT_EQ(i ? DMIRROR_ATOMIC_LOCAL :
				  DMIRROR_ATOMIC_EXCLUSIVE, a.flags);
		}
		EXPECT_TRUE(i || a.flags == DMIRROR_ATOMIC_EXCLUSIVE ||
			    a.flags == DMIRROR_ATOMIC_BUS);

		/* A comparison that fails stores nothing, and tells the value. */
		ASSERT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_CAS, w8, 8,
				       7, 104, &a));
		EXPECT_EQ(105, a.result);
		ASSERT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_CAS, w8, 8,
				       0x123456789abcdef0ULL, 105, &a));
		EXPECT_EQ(105, a.result);

		/* A sum of four bytes wraps and leaves its neighbours alone. */
		ASSERT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, w4, 4,
				       4, 0, &a));
		EXPECT_EQ(0xfffffffe, a.result);
		ASSERT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_CAS, w4, 4,
				       0x80000001, 2, &a));
		EXPECT_EQ(2, a.result);
		/* What does not compare is no negative number. */
		ASSERT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_CAS, w4, 4,
				       7, 5, &a));
		EXPECT_EQ(0x80000001, a.result);

		EXPECT_EQ(0x123456789abcdef0ULL, w8[0]);
		EXPECT_EQ(0x1111, w8[1]);
		EXPECT_EQ(0x2222, w4[-1]);
		EXPECT_EQ(0x80000001, w4[0]);
		EXPECT_EQ(0x3333, w4[1]);
	}
}

/* Exclusive access ends when the CPU touches the page, and its data survives. */
TEST_F(abi, atomic_exclusive_and_cpu)
{
	struct dmirror_atomic a;
	__u64 *word = (__u64 *)self->mem;
	unsigned int i;

	*word = 0;
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, word, 8,
				       1, 0, &a));
		EXPECT_EQ(2 * i, a.result);
		if (a.flags == DMIRROR_ATOMIC_EXCLUSIVE) {
			EXPECT_TRUE(dm_where(self->dm.fd, word).flags &
				    DMIRROR_PAGE_EXCLUSIVE);
		}
		__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
		EXPECT_FALSE(dm_where(self->dm.fd, word).flags &
			     DMIRROR_PAGE_EXCLUSIVE);
	}
	EXPECT_EQ(40, *word);
	*word = dm_word(SEED, 0, 0);
	EXPECT_EQ(0, dm_bad(self->mem, self->dm.len, SEED));
}

/* What the device has exclusively is in system memory, and migrates like the rest. */
TEST_F(abi, atomic_exclusive_migrates)
{
	char *other = self->mem + 3 * self->dm.page;
	struct dmirror_atomic a;
	struct dmirror_migrate m;

	ASSERT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, self->mem, 8, 1,
			       0, &a));
	ASSERT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, other, 8, 1, 0,
			       &a));
	dm_settle();
	ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem, self->dm.len,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->dm.len, m.moved);
	EXPECT_EQ(dm_word(SEED, 0, 0) + 1, dm_peek(self->mem));
	EXPECT_EQ(dm_word(SEED, 3, 0) + 1, dm_peek(other));
	dm_poke(self->mem, dm_word(SEED, 0, 0));
	dm_poke(other, dm_word(SEED, 3, 0));
	EXPECT_EQ(0, dm_bad(self->mem, self->dm.len, SEED));
}

/* The same where the device does not know any more what it had. */
TEST_F(abi, atomic_exclusive_forgotten)
{
	struct dmirror_atomic a;
	struct dmirror_migrate m;
	unsigned int i;
	char *to;

	to = mmap(NULL, self->dm.page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, to);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, dm_to_system(self->dm.fd, self->mem, self->dm.len));
		ASSERT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, self->mem, 8, 1, 0,
				       &a));
		dm_settle();
		if (i == 0)
			ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem, self->dm.len,
						DMIRROR_TARGET_STAY, &m));
		if (i == 1)
			ASSERT_EQ(0, mprotect(self->mem, self->dm.page, PROT_READ));
		if (i == 2) {
			ASSERT_EQ(to, mremap(self->mem, self->dm.page, self->dm.page,
					     MREMAP_MAYMOVE | MREMAP_FIXED, to));
			ASSERT_EQ(self->mem, mremap(to, self->dm.page, self->dm.page,
						    MREMAP_MAYMOVE | MREMAP_FIXED,
						    self->mem));
		}
		ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem, self->dm.len,
					DMIRROR_TARGET_DEVICE, &m));
		EXPECT_EQ(self->dm.len, m.moved);
		ASSERT_EQ(0, mprotect(self->mem, self->dm.page, PROT_READ | PROT_WRITE));
		EXPECT_EQ(dm_word(SEED, 0, 0) + i + 1, dm_peek(self->mem));
	}
	dm_poke(self->mem, dm_word(SEED, 0, 0));
	EXPECT_EQ(0, dm_bad(self->mem, self->dm.len, SEED));
}

static int add_one(struct dm_worker *w)
{
	__atomic_fetch_add((__u64 *)w->arg, 1, __ATOMIC_SEQ_CST);
	return 0;
}

/* Sums of CPU and device, added at the same time, lose nothing. */
TEST_F(abi, atomic_against_cpu)
{
	__u64 *word = (__u64 *)self->mem;
	struct dm_worker cpu = {
		.step = add_one, .arg = word, .limit = 20000,
	};
	const unsigned int rounds = dm_rounds(300);
	unsigned int i, done = 0, busy = 0;
	struct dmirror_atomic a;
	int ret;

	*word = 0;
	ASSERT_EQ(0, dm_worker_start(&cpu));
	for (i = 0; i < rounds; i++) {
		ret = dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, word, 8, 1, 0,
				&a);
		done += !ret;
		busy += ret == -EBUSY;
	}
	pthread_join(cpu.thread, NULL);
	EXPECT_EQ(rounds, done + busy);
	EXPECT_LT(0, done);
	EXPECT_EQ(cpu.done + done, *word);
}

struct turns {
	char *mem;
	size_t page;
	__u64 begun;
	__u64 ended;
};

static int discard_in_turn(struct dm_worker *w)
{
	struct turns *turns = w->arg;
	unsigned long i;

	dm_await(&turns->begun, w->done + 1);
	for (i = 0; i < w->done % 97 * 300; i++)
		dm_peek(&turns->begun);
	madvise(turns->mem, turns->page, MADV_DONTNEED);
	dm_poke(&turns->ended, w->done + 1);
	return 0;
}

/*
 * What was discarded while the device was about to have it, that has not got: no
 * entry of the CPU's page table holds the page for it.
 */
TEST_F(abi, atomic_lost_meanwhile)
{
	const __u64 held = DM_PAGEMAP_PRESENT | DM_PAGEMAP_SWAP;
	const unsigned int rounds = dm_rounds(1000);
	struct turns turns = { .mem = self->mem, .page = self->dm.page };
	struct dm_worker cpu = {
		.step = discard_in_turn, .arg = &turns, .limit = rounds,
	};
	struct dmirror_atomic a;
	unsigned int i, wrong = 0;
	__u64 entry;

	ASSERT_EQ(0, dm_worker_start(&cpu));
	for (i = 1; i <= rounds; i++) {
		dm_poke(&turns.begun, i);
		dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, self->mem, 8, 1, 0, &a);
		dm_await(&turns.ended, i);
		entry = held;
		dm_pagemap(self->mem, self->dm.page, &entry);
		wrong += !(entry & held) &&
			 dm_where(self->dm.fd, self->mem).flags &
			 DMIRROR_PAGE_MAPPED;
	}
	pthread_join(cpu.thread, NULL);
	EXPECT_EQ(0, wrong);
}

#define CLAIMANTS	4

struct claimant {
	int fd;
	__u64 *word;
	unsigned int added;
};

static int claim_and_touch(struct dm_worker *w)
{
	struct claimant *c = w->arg;
	struct dmirror_atomic a;
	int ret;

	ret = dm_atomic(c->fd, DMIRROR_ATOMIC_ADD, c->word, 8, 1, 0, &a);
	c->added += !ret;
	/* The page is the CPU's again, and so to be claimed anew. */
	__atomic_fetch_add(c->word, 1, __ATOMIC_SEQ_CST);
	return ret == -EBUSY ? 0 : ret;
}

/* Several pages are claimed at the same time by one file, each again and again. */
TEST_F_TIMEOUT(abi, atomic_by_many, 120)
{
	struct claimant claimants[CLAIMANTS] = { 0 };
	struct dm_worker workers[CLAIMANTS] = { 0 };
	unsigned int i;

	for (i = 0; i < CLAIMANTS; i++) {
		claimants[i].fd = self->dm.fd;
		claimants[i].word = (__u64 *)(self->mem + i * self->dm.page);
		dm_poke(claimants[i].word, 0);
		workers[i].step = claim_and_touch;
		workers[i].arg = &claimants[i];
		workers[i].limit = dm_rounds(1000);
	}
	for (i = 0; i < CLAIMANTS; i++)
		ASSERT_EQ(0, dm_worker_start(&workers[i]));
	for (i = 0; i < CLAIMANTS; i++) {
		pthread_join(workers[i].thread, NULL);
		EXPECT_EQ(0, workers[i].error);
		EXPECT_EQ(dm_rounds(1000) + claimants[i].added,
			  dm_peek(claimants[i].word));
	}
}

/* Memory that cannot be had exclusively */
TEST_F(abi, atomic_on_shared_memory)
{
	__u64 *word = mmap(NULL, self->dm.page, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	__u32 *half = (__u32 *)word + 21;
	struct dmirror_atomic a;

	ASSERT_NE(MAP_FAILED, (void *)word);
	*word = 5;
	ASSERT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, word, 8, 2, 0,
			       &a));
	EXPECT_EQ(5, a.result);
	EXPECT_EQ(DMIRROR_ATOMIC_BUS, a.flags);
	EXPECT_EQ(7, *word);

	/* Further on in the page, each alone, and its neighbours stay. */
	word[5] = ~0ULL;
	half[0] = ~0U;
	ASSERT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, word + 5, 8, 3,
			       0, &a));
	EXPECT_EQ(~0ULL, a.result);
	EXPECT_EQ(DMIRROR_ATOMIC_BUS, a.flags);
	ASSERT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, half, 4, 4, 0,
			       &a));
	EXPECT_EQ(~0U, a.result);
	EXPECT_EQ(DMIRROR_ATOMIC_BUS, a.flags);
	EXPECT_EQ(7, word[0]);
	EXPECT_EQ(0, word[4]);
	EXPECT_EQ(2, word[5]);
	EXPECT_EQ(0, word[6]);
	EXPECT_EQ(0, half[-1]);
	EXPECT_EQ(3, half[0]);
	EXPECT_EQ(0, half[1]);
	munmap(word, self->dm.page);
}

/* Where each page is, and what the program may do with it. */
TEST_F(abi, snapshot)
{
	size_t page = self->dm.page, len = self->dm.len, i;
	struct dmirror_page *pages = calloc(len / page, sizeof(*pages));
	struct dmirror_snapshot s = {
		.size = sizeof(s),
		.addr = (uintptr_t)self->mem,
		.length = len,
		.pages = (uintptr_t)pages,
	};
	unsigned int order = variant->backing.thp ? 9 : 0, bad = 0;
	const unsigned int rw = DMIRROR_PAGE_READ | DMIRROR_PAGE_WRITE;

	ASSERT_NE(NULL, pages);
	ASSERT_EQ(0, dm_call(self->dm.fd, DMIRROR_IOC_SNAPSHOT, &s));
	EXPECT_EQ(len / page, s.done);
	for (i = 0; i < len / page; i++)
		bad += pages[i].place != DMIRROR_PLACE_SYSTEM ||
		       pages[i].flags != rw || pages[i].order != order;
	EXPECT_EQ(0, bad);

	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, len));
	ASSERT_EQ(0, dm_snapshot(self->dm.fd, self->mem, len, pages));
	order = dm_large(&self->dm) ? 9 : 0;
	for (i = 0; i < len / page; i++)
		bad += pages[i].place != DMIRROR_PLACE_LOCAL ||
		       (pages[i].flags & rw) != rw || pages[i].order != order ||
		       pages[i].device != self->dm.device;
	EXPECT_EQ(0, bad);

	/* Rights follow mprotect(), the place does not. */
	ASSERT_EQ(0, mprotect(self->mem, len, PROT_READ));
	ASSERT_EQ(0, dm_snapshot(self->dm.fd, self->mem, len, pages));
	for (i = 0; i < len / page; i++)
		bad += pages[i].place != DMIRROR_PLACE_LOCAL ||
		       (pages[i].flags & rw) != DMIRROR_PAGE_READ;
	EXPECT_EQ(0, bad);

	ASSERT_EQ(0, mprotect(self->mem, len, PROT_NONE));
	ASSERT_EQ(0, dm_snapshot(self->dm.fd, self->mem, len, pages));
	for (i = 0; i < len / page; i++)
		bad += !(pages[i].flags & DMIRROR_PAGE_DENIED) ||
		       pages[i].flags & rw;
	EXPECT_EQ(0, bad);

	ASSERT_EQ(0, mprotect(self->mem, len, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, dm_bad(self->mem, len, SEED));
	free(pages);
}

/* What was not written to the array does not count. */
TEST_F(abi, snapshot_written_in_part)
{
	size_t page = self->dm.page, half = DM_HUGE / page;
	char *mem = dm_map(&self->dm, 2 * DM_HUGE);
	char *array = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct dmirror_snapshot s = {
		.size = sizeof(s),
		.addr = (uintptr_t)mem,
		.length = 2 * DM_HUGE,
		.pages = (uintptr_t)array + page -
			 half * sizeof(struct dmirror_page),
		.done = ~0ULL,
	};

	ASSERT_NE(NULL, mem);
	ASSERT_NE(MAP_FAILED, array);
	ASSERT_EQ(0, mprotect(array + page, page, PROT_NONE));
	EXPECT_EQ(-EFAULT, dm_call(self->dm.fd, DMIRROR_IOC_SNAPSHOT, &s));
	EXPECT_EQ(half, s.done);
	s.pages = (uintptr_t)array + page;
	EXPECT_EQ(-EFAULT, dm_call(self->dm.fd, DMIRROR_IOC_SNAPSHOT, &s));
	EXPECT_EQ(0, s.done);
	munmap(array, 2 * page);
	munmap(mem, 2 * DM_HUGE);
}

/* What fdinfo says of the device and of the mirror is so. */
TEST_F(abi, fdinfo)
{
	bool private = variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE;
	char path[64], type[16] = "", line[128];
	struct dmirror_query q;
	__u64 value;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->dm.fd);
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->dm.len));
	ASSERT_EQ(0, dm_query(self->dm.fd, &q));
	EXPECT_LE(self->dm.len, q.memory_used);
	EXPECT_EQ(self->dm.device, dm_file_value(path, "dmirror-device"));
	EXPECT_EQ(q.memory_size, dm_file_value(path, "dmirror-memory-size"));
	EXPECT_EQ(q.memory_used, dm_file_value(path, "dmirror-memory-used"));
	EXPECT_EQ(0, dm_file_value(path, "dmirror-faults"));
	ASSERT_EQ(0, dm_read64(self->dm.fd, self->mem, &value));
	EXPECT_EQ(1, dm_file_value(path, "dmirror-faults"));

	f = fopen(path, "r");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "dmirror-memory-type: %15s", type);
	fclose(f);
	EXPECT_STREQ(private ? "private" : "coherent", type);
}

TEST_F(abi, snapshot_nothing)
{
	size_t page = self->dm.page;
	struct dmirror_page p;
	char *mem = dm_map(&self->dm, self->dm.len);

	ASSERT_NE(NULL, mem);

	/* Not touched: a hole that is nobody's fault. */
	p = dm_where(self->dm.fd, mem);
	EXPECT_EQ(DMIRROR_PLACE_HOLE, p.place);
	EXPECT_EQ(0, p.flags);

	/* Read: the zero page. Modules cannot tell the huge one as such. */
	EXPECT_EQ(0, dm_peek(mem));
	p = dm_where(self->dm.fd, mem);
	EXPECT_EQ(p.order ? DMIRROR_PLACE_SYSTEM : DMIRROR_PLACE_ZERO, p.place);
	EXPECT_EQ(DMIRROR_PAGE_READ, p.flags);

	/* Not mapped, in the middle of what is. */
	ASSERT_EQ(0, munmap(mem + page, page));
	p = dm_where(self->dm.fd, mem + page);
	EXPECT_EQ(DMIRROR_PLACE_HOLE, p.place);
	EXPECT_EQ(DMIRROR_PAGE_DENIED, p.flags);
	EXPECT_EQ(1, dm_count_flags(self->dm.fd, mem, 4 * page,
				    DMIRROR_PAGE_DENIED));
	munmap(mem, self->dm.len);
}

/* Memory on another device: seen as such, readable, and it stays in one piece. */
TEST_F(abi, remote)
{
	struct dmirror_migrate m;
	struct dmirror_page p;
	int other, number;
	__u64 value;

	number = dm_find(variant->backing.memory_type, 1, &other);
	if (number < 0)
		SKIP(return, "there is only one device of this type");
	ASSERT_EQ(0, dm_to_device(other, self->mem, self->dm.len));
	p = dm_where(self->dm.fd, self->mem);
	EXPECT_EQ(DMIRROR_PLACE_REMOTE, p.place);
	EXPECT_EQ(number, p.device);
	p = dm_where(other, self->mem);
	EXPECT_EQ(DMIRROR_PLACE_LOCAL, p.place);
	EXPECT_EQ(number, p.device);

	/* To system memory through this device: not its memory, so left. */
	ASSERT_EQ(0, dm_migrate(self->dm.fd, self->mem, self->dm.len,
				DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(self->dm.len, m.resident);
	EXPECT_TRUE(dm_all(other, self->mem, self->dm.len,
			   DMIRROR_PLACE_LOCAL));

	/* Reading and writing through this device just work. */
	ASSERT_EQ(0, dm_read64(self->dm.fd, self->mem, &value));
	EXPECT_EQ(dm_word(SEED, 0, 0), value);
	ASSERT_EQ(0, dm_to_device(other, self->mem, self->dm.len));
	ASSERT_EQ(0, dm_write64(self->dm.fd, self->mem, 4711));
	ASSERT_EQ(0, dm_read64(other, self->mem, &value));
	EXPECT_EQ(4711, value);
	EXPECT_EQ(4711, dm_peek(self->mem));
	dm_poke(self->mem, dm_word(SEED, 0, 0));
	EXPECT_EQ(0, dm_bad(self->mem, self->dm.len, SEED));
	close(other);
}

/* From device to device: in the end there, whole, whatever the way. */
TEST_F(abi, migrate_between_devices)
{
	struct dmirror_migrate m;
	int other;

	if (dm_find(variant->backing.memory_type, 1, &other) < 0)
		SKIP(return, "there is only one device of this type");
	ASSERT_EQ(0, dm_to_device(other, self->mem, self->dm.len));
	ASSERT_EQ(0, dm_migrate_raw(self->dm.fd, self->mem, self->dm.len,
				    DMIRROR_TARGET_DEVICE, &m));

	/* Either it moved, or it is busy being on another device. */
	EXPECT_EQ(self->dm.len, m.moved + m.busy);
	EXPECT_EQ(m.moved / self->dm.page,
		  dm_count(self->dm.fd, self->mem, self->dm.len,
			   DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, self->dm.len, SEED));
	close(other);
}

/*
 * Errors
 */

FIXTURE(err)
{
	struct dm dm;
	char *mem;
	size_t len;
};

FIXTURE_VARIANT(err)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(err, private)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(err, coherent)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_SETUP(err)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->len = 8 * self->dm.page;
	self->mem = dm_alloc(&self->dm, self->len, SEED);
	ASSERT_NE(NULL, self->mem);
}

FIXTURE_TEARDOWN(err)
{
	munmap(self->mem, self->len);
	close(self->dm.fd);
}

TEST_F(err, unknown_ioctl)
{
	struct dmirror_query args = { .size = sizeof(args) };

	EXPECT_EQ(-ENOTTY, dm_call(self->dm.fd, _IO(DMIRROR_IOC_MAGIC, 0x7f),
				   &args));
	EXPECT_EQ(-ENOTTY, dm_call(self->dm.fd,
				   _IOWR(DMIRROR_IOC_MAGIC, 0x08, args), &args));
	EXPECT_EQ(-ENOTTY, dm_call(self->dm.fd, HMM_READ, &args));

	/* ENOTTY comes before any look at the argument. */
	EXPECT_EQ(-ENOTTY, dm_call(self->dm.fd, _IO(DMIRROR_IOC_MAGIC, 0x7f),
				   NULL));
}

/* What a table of single fields cannot say. */
TEST_F(err, bad_combinations)
{
	struct dmirror_atomic a;

	/* The ranges of a copy overlap. */
	EXPECT_EQ(-EINVAL, dm_copy(self->dm.fd, self->mem + 8, self->mem, 16));
	EXPECT_EQ(-EINVAL, dm_copy(self->dm.fd, self->mem, self->mem + 8, 16));
	EXPECT_EQ(-EINVAL, dm_copy(self->dm.fd, self->mem, self->mem, 1));

	/* Operands of four bytes have to fit. */
	EXPECT_EQ(-EINVAL, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, self->mem,
				     4, 1ULL << 32, 0, &a));
	EXPECT_EQ(-EINVAL, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_CAS, self->mem,
				     4, 1, 1ULL << 32, &a));
	EXPECT_EQ(-EINVAL, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD,
				     self->mem + 2, 4, 1, 0, &a));
	EXPECT_EQ(0, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, self->mem + 4,
			       4, 0, 0, &a));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* Memory that is not mapped, or not readable: EFAULT, and the address of it. */
TEST_F(err, range_not_mapped)
{
	size_t page = self->dm.page;
	uintptr_t bad = (uintptr_t)self->mem + 2 * page;
	struct dmirror_migrate m;
	struct dmirror_fill f = {
		.size = sizeof(f),
		.addr = (uintptr_t)self->mem,
		.length = 4 * page,
	};
	struct dmirror_atomic a;
	struct dmirror_rw rw;
	char *buffer = malloc(self->len);
	int i;

	ASSERT_NE(NULL, buffer);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, i ? munmap((void *)bad, page) :
			     mprotect((void *)bad, page, PROT_NONE));

		memset(buffer, 0xee, self->len);
		EXPECT_EQ(-EFAULT, dm_rw(self->dm.fd, DMIRROR_IOC_READ,
					 self->mem + 8, buffer, 4 * page, &rw));
		EXPECT_EQ(bad, rw.fault_addr & ~(page - 1));
		EXPECT_EQ(2 * page - 8, rw.done);
		EXPECT_EQ(0, memcmp(buffer, self->mem + 8, 2 * page - 8));
		/* Nothing else is written to, least of all what the kernel had. */
		EXPECT_TRUE(all_bytes(buffer + rw.done, self->len - rw.done,
				      0xee));

		EXPECT_EQ(-EFAULT, dm_rw(self->dm.fd, DMIRROR_IOC_WRITE,
					 self->mem, buffer, 4 * page, &rw));
		EXPECT_EQ(bad, rw.fault_addr & ~(page - 1));
		EXPECT_EQ(2 * page, rw.done);
		EXPECT_EQ(0, memcmp(buffer, self->mem, 2 * page));

		EXPECT_EQ(-EFAULT, dm_call(self->dm.fd, DMIRROR_IOC_FILL, &f));
		EXPECT_EQ(bad, f.fault_addr & ~(page - 1));
		EXPECT_EQ(2 * page, f.done);

		EXPECT_EQ(-EFAULT, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD,
					     (void *)bad, 8, 1, 0, &a));
		EXPECT_EQ(bad, a.fault_addr & ~(page - 1));

		EXPECT_EQ(-EFAULT, dm_copy(self->dm.fd, (void *)bad,
					   self->mem + 4 * page, page));
		EXPECT_EQ(-EFAULT, dm_copy(self->dm.fd, self->mem,
					   (void *)bad, page));

		/* What was looked at before it is counted. */
		EXPECT_EQ(-EFAULT, dm_migrate(self->dm.fd, self->mem, 4 * page,
					      DMIRROR_TARGET_DEVICE, &m));
		EXPECT_EQ(bad, m.fault_addr);
		EXPECT_EQ(2 * page, dm_migrate_sum(&m));
		EXPECT_EQ(-EFAULT, dm_migrate(self->dm.fd, self->mem, 4 * page,
					      DMIRROR_TARGET_SYSTEM, &m));
		EXPECT_EQ(bad, m.fault_addr);
		EXPECT_EQ(2 * page, dm_migrate_sum(&m));
		dm_fill(self->mem, 2 * page, SEED);
	}
	EXPECT_EQ(0, dm_bad_from(self->mem + 4 * page, 4 * page, SEED, 4));
	free(buffer);
}

/* The device may not write where the program may not: EPERM, and the address. */
TEST_F(err, range_not_writable)
{
	size_t page = self->dm.page;
	char *bad = self->mem + 2 * page;
	struct dmirror_fill f = {
		.size = sizeof(f),
		.addr = (uintptr_t)self->mem,
		.length = 4 * page,
		.pattern = 3,
	};
	struct dmirror_copy c = {
		.size = sizeof(c),
		.dst = (uintptr_t)self->mem,
		.src = (uintptr_t)self->mem + 4 * page,
		.length = 4 * page,
	};
	struct dmirror_atomic a;
	struct dmirror_rw rw;
	size_t len = self->len - page;
	char *buffer = malloc(self->len);
	int i;

	ASSERT_NE(NULL, buffer);
	memset(buffer, 0x5a, self->len);
	ASSERT_EQ(0, mprotect(bad, page, PROT_READ));
	for (i = 0; i < 2; i++) {
		if (i) {
			ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem,
						  self->len));
		}

		/* That the device has it mapped to read gives no right. */
		EXPECT_EQ(0, dm_read(self->dm.fd, bad, buffer + len, page));
		EXPECT_EQ(-EPERM, dm_rw(self->dm.fd, DMIRROR_IOC_WRITE,
					self->mem + 8, buffer, 4 * page, &rw));
		EXPECT_EQ((uintptr_t)bad, rw.fault_addr & ~(page - 1));
		EXPECT_EQ(2 * page - 8, rw.done);
		EXPECT_EQ(0, memcmp(buffer, self->mem + 8, 2 * page - 8));

		EXPECT_EQ(-EPERM, dm_call(self->dm.fd, DMIRROR_IOC_FILL, &f));
		EXPECT_EQ((uintptr_t)bad, f.fault_addr & ~(page - 1));
		EXPECT_EQ(2 * page, f.done);

		EXPECT_EQ(-EPERM, dm_call(self->dm.fd, DMIRROR_IOC_COPY, &c));
		EXPECT_EQ((uintptr_t)bad, c.fault_addr & ~(page - 1));
		EXPECT_EQ(2 * page, c.done);

		EXPECT_EQ(-EPERM, dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD,
					    bad, 8, 1, 0, &a));
		EXPECT_EQ((uintptr_t)bad, a.fault_addr & ~(page - 1));

		/* Reading it is no problem. */
		EXPECT_EQ(0, dm_read(self->dm.fd, bad, buffer, page));
		EXPECT_EQ(0, dm_bad_from(buffer, page, SEED, 2));
		memset(buffer, 0x5a, self->len);
	}
	EXPECT_EQ(0, dm_bad_from(bad, 6 * page, SEED, 2));
	free(buffer);
}

/* Outputs are written on errors too: nothing of the caller's shines through. */
TEST_F(err, outputs_on_errors)
{
	struct dmirror_migrate m = {
		.size = sizeof(m),
		.target = 77,
		.addr = (uintptr_t)self->mem,
		.length = self->dm.page,
		.moved = 1, .resident = 2, .no_memory = 3, .busy = 4,
		.unsupported = 5, .failed = 6,
	};
	struct dmirror_rw rw = {
		.size = sizeof(rw),
		.addr = (uintptr_t)self->mem,
		.length = 8,
		.data = 0,
		.done = 99,
		.faults = ~0ULL,
	};

	EXPECT_EQ(-EINVAL, dm_call(self->dm.fd, DMIRROR_IOC_MIGRATE, &m));
	EXPECT_EQ(0, dm_migrate_sum(&m));
	EXPECT_EQ(77, m.target);
	EXPECT_EQ(-EFAULT, dm_call(self->dm.fd, DMIRROR_IOC_READ, &rw));
	EXPECT_EQ(0, rw.done);
	EXPECT_GT(100, rw.faults);

	/* Garbage in outputs is no error. */
	m.target = DMIRROR_TARGET_DEVICE;
	m.moved = ~0ULL;
	m.busy = ~0ULL;
	EXPECT_EQ(0, dm_call(self->dm.fd, DMIRROR_IOC_MIGRATE, &m));
	EXPECT_EQ(self->dm.page, dm_migrate_sum(&m));
}

/* Where there was no fault, its address is none. */
TEST_F(err, no_fault_no_address)
{
	struct dmirror_atomic a = {
		.size = sizeof(a),
		.op = DMIRROR_ATOMIC_ADD,
		.addr = (uintptr_t)self->mem,
		.width = 8,
		.fault_addr = ~0ULL,
	};
	struct dmirror_copy c = {
		.size = sizeof(c),
		.dst = (uintptr_t)self->mem + self->dm.page,
		.src = (uintptr_t)self->mem,
		.length = 64,
		.fault_addr = ~0ULL,
	};
	struct dmirror_wait w = { .size = sizeof(w), .fault_addr = ~0ULL };

	EXPECT_EQ(0, dm_call(self->dm.fd, DMIRROR_IOC_ATOMIC, &a));
	EXPECT_EQ(0, a.fault_addr);
	EXPECT_EQ(0, dm_call(self->dm.fd, DMIRROR_IOC_COPY, &c));
	EXPECT_EQ(0, c.fault_addr);
	ASSERT_EQ(0, dm_submit(self->dm.fd, DMIRROR_JOB_FILL, self->mem, 64, 1,
			       -1, &w.job));
	EXPECT_EQ(0, dm_call(self->dm.fd, DMIRROR_IOC_WAIT, &w));
	EXPECT_EQ(0, w.error);
	EXPECT_EQ(0, w.fault_addr);
}

/* A structure that can be read but not written: its outputs are lost. */
TEST_F(err, read_only_structure)
{
	struct dmirror_query *q = mmap(NULL, self->dm.page,
				       PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, (void *)q);
	q->size = sizeof(*q);
	ASSERT_EQ(0, mprotect(q, self->dm.page, PROT_READ));
	EXPECT_EQ(-EFAULT, dm_call(self->dm.fd, DMIRROR_IOC_QUERY, q));
	munmap(q, self->dm.page);
}

/* Some things one can do with any file. */
TEST_F(err, not_a_data_file)
{
	char byte;

	EXPECT_EQ(-1, read(self->dm.fd, &byte, 1));
	EXPECT_EQ(-1, write(self->dm.fd, "x", 1));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->dm.page, PROT_READ, MAP_SHARED,
				   self->dm.fd, 0));
}

TEST_HARNESS_MAIN
