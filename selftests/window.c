// SPDX-License-Identifier: GPL-2.0
/*
 * What a CPU that touches one page on the device brings back: the window of 64
 * KiB around it, as far as the mapping goes, and nothing else. A huge page that
 * is one folio comes back as that. Coherent memory stays where it is.
 */
#include "kselftest_harness.h"
#include "dmirror_test.h"

#define SEED	0x31d0
#define WINDOWS	(DM_HUGE / DM_CPU_WINDOW)

FIXTURE(window)
{
	struct dm dm;
	size_t page;
	size_t pages;
	bool stays;
	char *mem;
	int fd;
};

FIXTURE_VARIANT(window)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(window, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(window, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(window, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(window, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

FIXTURE_SETUP(window)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->fd = self->dm.fd;
	self->page = self->dm.page;
	self->pages = DM_CPU_WINDOW / self->page;
	self->stays = variant->backing.memory_type == DMIRROR_MEMORY_COHERENT;
	self->mem = dm_alloc(&self->dm, DM_HUGE, SEED);
	ASSERT_NE(NULL, self->mem);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
}

FIXTURE_TEARDOWN(window)
{
	munmap(self->mem, DM_HUGE);
	close(self->fd);
}

/* Whether exactly the pages from @first to before @end are in system memory */
static bool only_these(int fd, const char *mem, size_t first, size_t end)
{
	size_t page = dm_page_size(), n = DM_HUGE / page, i;
	struct dmirror_page *pages = calloc(n, sizeof(*pages));
	bool right = pages && !dm_snapshot(fd, mem, DM_HUGE, pages);

	for (i = 0; right && i < n; i++) {
		right = pages[i].place == (i >= first && i < end ?
					   DMIRROR_PLACE_SYSTEM :
					   DMIRROR_PLACE_LOCAL);
		if (!right)
			fprintf(stderr, "# page %zu is at place %u, of %zu to %zu\n",
				i, pages[i].place, first, end);
	}
	free(pages);
	return right;
}

/* A read and a write, at the start, in the middle and at the end of a window */
TEST_F(window, exactly_one)
{
	static const unsigned int at[] = { 0, 7, 15 };
	size_t nr = self->pages, page = self->page, first, end;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		size_t window = 3 + 5 * i, touched = window * nr + at[i] * nr / 16;
		char *addr = self->mem + touched * page;

		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
		ASSERT_EQ(dm_word(SEED, touched, 0), dm_peek(addr));
		if (i & 1)
			dm_poke(addr, dm_word(SEED, touched, 0));

		first = window * nr;
		end = first + nr;
		if (dm_large(&self->dm)) {
			first = 0;
			end = WINDOWS * nr;
		}
		if (self->stays)
			end = first;
		EXPECT_TRUE(only_these(self->fd, self->mem, first, end));
	}
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
}

/*
 * A mapping begins and ends in the middle of a window: what is beyond it stays,
 * also where that is memory on the device of the same process.
 */
TEST_F(window, ends_with_the_mapping)
{
	size_t nr = self->pages, page = self->page;
	size_t first = 2 * nr + nr / 4, end = 6 * nr + nr / 2;
	__u64 value;

	/* Of other rights, and so a mapping of its own */
	ASSERT_EQ(0, mprotect(self->mem + first * page, (end - first) * page,
			      PROT_READ));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));

	value = dm_peek(self->mem + first * page);
	EXPECT_EQ(dm_word(SEED, first, 0), value);
	EXPECT_TRUE(only_these(self->fd, self->mem, first,
			       self->stays ? first : 3 * nr));

	value = dm_peek(self->mem + (end - 1) * page);
	EXPECT_EQ(dm_word(SEED, end - 1, 0), value);
	if (!self->stays) {
		EXPECT_EQ(nr / 2, dm_count(self->fd, self->mem + 6 * nr * page,
					   DM_CPU_WINDOW,
					   DMIRROR_PLACE_SYSTEM));
		EXPECT_TRUE(dm_all(self->fd, self->mem + end * page, nr / 2 *
				   page, DMIRROR_PLACE_LOCAL));
	}
	EXPECT_TRUE(dm_all(self->fd, self->mem, first * page,
			   DMIRROR_PLACE_LOCAL));

	/* The end of the address range that is mapped at all */
	ASSERT_EQ(0, munmap(self->mem + 10 * nr * page + page, 3 * page));
	value = dm_peek(self->mem + 10 * nr * page);
	EXPECT_EQ(dm_word(SEED, 10 * nr, 0), value);
	EXPECT_EQ(self->stays ? 0 : 1,
		  dm_count(self->fd, self->mem + 10 * nr * page, DM_CPU_WINDOW,
			   DMIRROR_PLACE_SYSTEM));
	ASSERT_EQ(0, mprotect(self->mem + first * page, (end - first) * page,
			      PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, dm_bad(self->mem, first * page, SEED));
}

/* Pages of another device in the window are none of this device's business. */
TEST_F(window, other_devices_stay)
{
	size_t half = DM_CPU_WINDOW / 2, npages = half / self->page;
	char *mem = self->mem + 4 * DM_CPU_WINDOW;
	unsigned int other;
	int fd;

	other = dm_find(variant->backing.memory_type, 1, &fd);
	ASSERT_LE(0, fd);

	/* By way of system memory, where a huge page is split for it */
	ASSERT_EQ(0, dm_to_system(self->fd, self->mem, DM_HUGE));
	if (!dm_splits(&self->dm))
		ASSERT_EQ(0, madvise(self->mem, DM_HUGE, MADV_DONTNEED));
	madvise(self->mem, DM_HUGE, MADV_NOHUGEPAGE);
	dm_fill(self->mem, DM_HUGE, SEED);
	ASSERT_EQ(0, dm_to_device(self->fd, mem, half));
	ASSERT_EQ(0, dm_to_device(fd, mem + half, half));

	EXPECT_EQ(dm_word(SEED, (mem - self->mem) / self->page, 0),
		  dm_peek(mem));
	EXPECT_EQ(self->stays ? npages : 0,
		  dm_count(self->fd, mem, half, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(npages, dm_count(self->fd, mem + half, half,
				   DMIRROR_PLACE_REMOTE));
	EXPECT_EQ(other, dm_where(self->fd, mem + half).device);
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
	close(fd);
}

TEST_HARNESS_MAIN
