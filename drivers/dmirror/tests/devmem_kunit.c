// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the allocator of device memory.
 *
 * Every test takes and returns pages through a model, which knows the state of
 * each page and thus what the allocator may answer, and checks it.
 */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/slab.h>

#include "../dmirror.h"

#define NR_BLOCKS	6
#define NR_PAGES	(NR_BLOCKS * DMIRROR_BLOCK_PAGES)

struct devmem_test {
	struct dmirror_devmem devmem;
	DECLARE_BITMAP(taken, NR_PAGES);
};

static int devmem_test_init(struct kunit *test)
{
	struct devmem_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	test->priv = t;
	return dmirror_blocks_init(&t->devmem, NR_BLOCKS * DMIRROR_BLOCK_SIZE);
}

static void devmem_test_exit(struct kunit *test)
{
	struct devmem_test *t = test->priv;

	if (t)
		dmirror_blocks_free(&t->devmem);
}

static unsigned long *block_map(struct devmem_test *t, unsigned int block)
{
	return t->taken + BIT_WORD(block * DMIRROR_BLOCK_PAGES);
}

static unsigned int block_taken(struct devmem_test *t, unsigned int block)
{
	return bitmap_weight(block_map(t, block), DMIRROR_BLOCK_PAGES);
}

static unsigned int blocks_with(struct devmem_test *t, unsigned int least,
				unsigned int most)
{
	unsigned int block, nr = 0;

	for (block = 0; block < NR_BLOCKS; block++)
		if (block_taken(t, block) >= least &&
		    block_taken(t, block) <= most)
			nr++;
	return nr;
}

static unsigned int empty_blocks(struct devmem_test *t)
{
	return blocks_with(t, 0, 0);
}

static unsigned int partial_blocks(struct devmem_test *t)
{
	return blocks_with(t, 1, DMIRROR_BLOCK_PAGES - 1);
}

/* Every block with a page in use is in this list, and no other. */
static void check_lru(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	struct dmirror_block *block;
	unsigned int found = 0;

	list_for_each_entry(block, &t->devmem.lru, lru) {
		KUNIT_EXPECT_NE(test, block->used, 0);
		KUNIT_ASSERT_LE(test, ++found, NR_BLOCKS);
	}
	KUNIT_EXPECT_EQ(test, found, NR_BLOCKS - empty_blocks(t));
}

/* A list has as many blocks as it should, of which each may be there. */
static void check_list(struct kunit *test, struct list_head *list,
		       unsigned int nr, unsigned int least, unsigned int most)
{
	struct dmirror_block *block;
	unsigned int found = 0;

	list_for_each_entry(block, list, link) {
		KUNIT_EXPECT_GE(test, block->used, least);
		KUNIT_EXPECT_LE(test, block->used, most);
		KUNIT_ASSERT_LE(test, ++found, nr);
	}
	KUNIT_EXPECT_EQ(test, found, nr);
}

static void check_all(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	struct dmirror_devmem *devmem = &t->devmem;
	unsigned int block;

	KUNIT_EXPECT_EQ(test, devmem->used, bitmap_weight(t->taken, NR_PAGES));
	for (block = 0; block < NR_BLOCKS; block++) {
		KUNIT_EXPECT_EQ(test, devmem->blocks[block].used,
				block_taken(t, block));
		KUNIT_EXPECT_TRUE(test,
				  bitmap_equal(devmem->blocks[block].map,
					       block_map(t, block),
					       DMIRROR_BLOCK_PAGES));
	}
	check_list(test, &devmem->empty, empty_blocks(t), 0, 0);
	check_list(test, &devmem->partial, partial_blocks(t), 1,
		   DMIRROR_BLOCK_PAGES - 1);
	check_list(test, &devmem->full,
		   NR_BLOCKS - empty_blocks(t) - partial_blocks(t),
		   DMIRROR_BLOCK_PAGES, DMIRROR_BLOCK_PAGES);
	check_lru(test);
}

/* Up to *nr small pages; sets *nr to how many they are. */
static long take_run(struct kunit *test, unsigned int *nr)
{
	struct devmem_test *t = test->priv;
	unsigned int partial = partial_blocks(t), max = *nr;
	bool room = partial || empty_blocks(t);
	long page = dmirror_pages_take(&t->devmem, 0, nr);
	unsigned long end;

	if (!room || t->devmem.closed) {
		KUNIT_EXPECT_EQ(test, page, -1);
		return -1;
	}
	KUNIT_ASSERT_GE(test, page, 0);
	KUNIT_ASSERT_GE(test, *nr, 1);
	KUNIT_ASSERT_LE(test, *nr, max);
	end = round_up(page + 1, DMIRROR_BLOCK_PAGES);
	KUNIT_ASSERT_LE(test, page + *nr, min_t(unsigned long, end, NR_PAGES));
	/* A block that is begun comes before one that is not. */
	if (partial)
		KUNIT_EXPECT_NE(test, 0,
				block_taken(t, page / DMIRROR_BLOCK_PAGES));
	/* All of them are free, and if there are fewer the next one is not. */
	KUNIT_ASSERT_GE(test, find_next_bit(t->taken, end, page), page + *nr);
	if (*nr < max && page + *nr < end)
		KUNIT_EXPECT_TRUE(test, test_bit(page + *nr, t->taken));
	bitmap_set(t->taken, page, *nr);
	return page;
}

static long take_page(struct kunit *test)
{
	unsigned int nr = 1;

	return take_run(test, &nr);
}

static long take_whole(struct devmem_test *t)
{
	unsigned int nr;

	return dmirror_pages_take(&t->devmem, DMIRROR_BLOCK_ORDER, &nr);
}

static long take_block(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	unsigned int empty = empty_blocks(t);
	long page = take_whole(t);

	if (!empty || t->devmem.closed) {
		KUNIT_EXPECT_EQ(test, page, -1);
		return -1;
	}
	KUNIT_ASSERT_GE(test, page, 0);
	KUNIT_ASSERT_LT(test, page, NR_PAGES);
	KUNIT_ASSERT_EQ(test, page % DMIRROR_BLOCK_PAGES, 0);
	KUNIT_ASSERT_EQ(test, block_taken(t, page / DMIRROR_BLOCK_PAGES), 0);
	bitmap_set(t->taken, page, DMIRROR_BLOCK_PAGES);
	return page;
}

static void return_page(struct kunit *test, long page)
{
	struct devmem_test *t = test->priv;

	KUNIT_ASSERT_TRUE(test, test_and_clear_bit(page, t->taken));
	dmirror_pages_return(&t->devmem, page, 0);
}

static void return_block(struct kunit *test, long page)
{
	struct devmem_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, block_taken(t, page / DMIRROR_BLOCK_PAGES),
			DMIRROR_BLOCK_PAGES);
	bitmap_clear(t->taken, page, DMIRROR_BLOCK_PAGES);
	dmirror_pages_return(&t->devmem, page, DMIRROR_BLOCK_ORDER);
}

static void return_all(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	unsigned long page;

	for_each_set_bit(page, t->taken, NR_PAGES)
		return_page(test, page);
	KUNIT_EXPECT_EQ(test, t->devmem.used, 0);
	check_all(test);
}

static void new_memory_is_empty(struct kunit *test)
{
	struct devmem_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, t->devmem.nr_blocks, NR_BLOCKS);
	KUNIT_EXPECT_EQ(test, t->devmem.used, 0);
	check_all(test);
}

static void page_is_taken_and_returned(struct kunit *test)
{
	long page = take_page(test);

	check_all(test);
	return_page(test, page);
	return_all(test);
}

static void block_is_taken_and_returned(struct kunit *test)
{
	long page = take_block(test);

	check_all(test);
	return_block(test, page);
	return_all(test);
}

static void pages_fill_a_block_before_the_next(struct kunit *test)
{
	long first = take_page(test) / DMIRROR_BLOCK_PAGES;
	unsigned long i;

	for (i = 1; i < DMIRROR_BLOCK_PAGES; i++)
		KUNIT_EXPECT_EQ(test, take_page(test) / DMIRROR_BLOCK_PAGES,
				first);
	check_all(test);
	KUNIT_EXPECT_NE(test, take_page(test) / DMIRROR_BLOCK_PAGES, first);
	check_all(test);
	return_all(test);
}

static void hole_is_filled_before_an_empty_block(struct kunit *test)
{
	long hole;

	take_block(test);
	hole = take_block(test) + 99;
	take_block(test);
	return_page(test, hole);
	check_all(test);
	KUNIT_EXPECT_EQ(test, take_page(test), hole);
	check_all(test);
	return_all(test);
}

static void block_needs_a_block_that_is_all_free(struct kunit *test)
{
	long page = take_page(test), block = -1;
	int i;

	for (i = 1; i < NR_BLOCKS; i++) {
		block = take_block(test);
		KUNIT_EXPECT_NE(test, block, -1);
	}
	KUNIT_EXPECT_EQ(test, take_block(test), -1);
	check_all(test);

	/* Pages go into the block that they have begun. */
	KUNIT_EXPECT_EQ(test, take_page(test) / DMIRROR_BLOCK_PAGES,
			page / DMIRROR_BLOCK_PAGES);

	/* All but one of a block is not enough. */
	for (i = 1; i < DMIRROR_BLOCK_PAGES; i++)
		return_page(test, block + i);
	KUNIT_EXPECT_EQ(test, take_block(test), -1);
	return_page(test, block);
	KUNIT_EXPECT_EQ(test, take_block(test), block);
	check_all(test);
	return_all(test);
}

static void exhausted_by_pages(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	unsigned long i;

	for (i = 0; i < NR_PAGES; i++)
		KUNIT_ASSERT_NE(test, take_page(test), -1);
	KUNIT_EXPECT_EQ(test, t->devmem.used, NR_PAGES);
	KUNIT_EXPECT_EQ(test, take_page(test), -1);
	KUNIT_EXPECT_EQ(test, take_block(test), -1);
	KUNIT_EXPECT_EQ(test, t->devmem.used, NR_PAGES);
	check_all(test);

	return_page(test, NR_PAGES - 1);
	KUNIT_EXPECT_EQ(test, take_page(test), NR_PAGES - 1);
	KUNIT_EXPECT_EQ(test, take_page(test), -1);
	check_all(test);
	return_all(test);
}

static void exhausted_by_blocks(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	unsigned int i;
	long block = -1;

	for (i = 0; i < NR_BLOCKS; i++) {
		block = take_block(test);
		KUNIT_ASSERT_NE(test, block, -1);
	}
	KUNIT_EXPECT_EQ(test, take_block(test), -1);
	KUNIT_EXPECT_EQ(test, take_page(test), -1);
	KUNIT_EXPECT_EQ(test, t->devmem.used, NR_PAGES);
	check_all(test);

	return_block(test, block);
	KUNIT_EXPECT_EQ(test, take_page(test) / DMIRROR_BLOCK_PAGES,
			block / DMIRROR_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, take_block(test), -1);
	check_all(test);
	return_all(test);
}

/* A large folio that mm has split comes back in parts, in any order. */
static void parts_of_a_split_folio_are_returned(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	unsigned long i;
	long block;

	take_block(test);
	block = take_block(test);
	for (i = 0; i < DMIRROR_BLOCK_PAGES; i++) {
		KUNIT_EXPECT_EQ(test, t->devmem.used,
				2 * DMIRROR_BLOCK_PAGES - i);
		/* An odd factor: every page has its turn. */
		return_page(test, block + i * 77 % DMIRROR_BLOCK_PAGES);
		check_all(test);
	}
	for (i = 1; i < NR_BLOCKS; i++)
		KUNIT_EXPECT_NE(test, take_block(test), -1);
	KUNIT_EXPECT_EQ(test, take_block(test), -1);
	return_all(test);
}

/* Parts may also be as large as order 3, say. */
static void larger_parts_of_a_split_folio_are_returned(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	long block = take_block(test), i;

	for (i = DMIRROR_BLOCK_PAGES - 8; i >= 0; i -= 8) {
		dmirror_pages_return(&t->devmem, block + i, 3);
		bitmap_clear(t->taken, block + i, 8);
		check_all(test);
	}
	return_all(test);
}

static void closed_memory_answers_as_if_full(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	long page = take_page(test), block = take_block(test);

	t->devmem.closed = 2;
	KUNIT_EXPECT_EQ(test, take_page(test), -1);
	KUNIT_EXPECT_EQ(test, take_block(test), -1);
	return_page(test, page);
	return_block(test, block);
	check_all(test);

	t->devmem.closed = 1;
	KUNIT_EXPECT_EQ(test, take_page(test), -1);
	KUNIT_EXPECT_EQ(test, take_block(test), -1);

	t->devmem.closed = 0;
	KUNIT_EXPECT_NE(test, take_page(test), -1);
	KUNIT_EXPECT_NE(test, take_block(test), -1);
	return_all(test);
}

/* Return all that is taken of a block, in one piece if possible and @whole. */
static void return_rest(struct kunit *test, unsigned int block, bool whole)
{
	unsigned long page = block * DMIRROR_BLOCK_PAGES;
	struct devmem_test *t = test->priv;
	unsigned long end = page + DMIRROR_BLOCK_PAGES;

	if (whole && block_taken(t, block) == DMIRROR_BLOCK_PAGES) {
		return_block(test, page);
		return;
	}
	for_each_set_bit_from(page, t->taken, end)
		return_page(test, page);
}

/* In turns more is taken or more is returned, to be full and empty at times. */
static void random_operations_match_a_model(struct kunit *test)
{
	unsigned int i, full = 0, empty = 0;
	struct devmem_test *t = test->priv;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 512);
	for (i = 1; i <= 20000; i++) {
		unsigned long page = prandom_u32_state(&rnd) % NR_PAGES;
		bool take = prandom_u32_state(&rnd) % 4 != 0;
		u32 r = prandom_u32_state(&rnd);

		if (i / 2000 % 2)
			take = !take;
		t->devmem.closed = prandom_u32_state(&rnd) % 16 == 0;
		if (take && r % 64)
			take_page(test);
		else if (take)
			take_block(test);
		else if (r % 32 == 0)
			return_rest(test, page / DMIRROR_BLOCK_PAGES, r & 32);
		else if (test_bit(page, t->taken))
			return_page(test, page);

		full += t->devmem.used == NR_PAGES;
		empty += t->devmem.used == 0;
		if (i % 16 == 0)
			check_all(test);
	}
	KUNIT_EXPECT_GT(test, full, 1);
	KUNIT_EXPECT_GT(test, empty, 1);
	return_all(test);
}

static long isolate(struct kunit *test, unsigned long residency)
{
	struct devmem_test *t = test->priv;
	unsigned long young = 0;

	return dmirror_devmem_isolate(&t->devmem, residency, &young);
}

static void touch(struct kunit *test, long block)
{
	struct devmem_test *t = test->priv;

	/* Any offset in the block is as good. */
	dmirror_devmem_touch(&t->devmem, block * DMIRROR_BLOCK_SIZE +
			     block * PAGE_SIZE);
}

static void empty_memory_has_nothing_to_evict(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	unsigned long young = 77;

	KUNIT_EXPECT_EQ(test, isolate(test, 0), -1);
	return_page(test, take_page(test));
	return_block(test, take_block(test));
	KUNIT_EXPECT_EQ(test, dmirror_devmem_isolate(&t->devmem, HZ, &young),
			-1);
	KUNIT_EXPECT_EQ(test, young, 77);
	/* Not even what the device uses of it */
	touch(test, 0);
	KUNIT_EXPECT_EQ(test, isolate(test, 0), -1);
	check_all(test);
}

static void least_recently_used_is_evicted_first(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	long blocks[4];
	int i;

	for (i = 0; i < 4; i++)
		blocks[i] = take_block(test) / DMIRROR_BLOCK_PAGES;
	/* By use and not by age: 1, 3, 0, 2 */
	touch(test, blocks[0]);
	touch(test, blocks[2]);
	KUNIT_EXPECT_EQ(test, isolate(test, 0), blocks[1]);
	KUNIT_EXPECT_EQ(test, isolate(test, 0), blocks[3]);
	KUNIT_EXPECT_EQ(test, isolate(test, 0), blocks[0]);
	KUNIT_EXPECT_EQ(test, isolate(test, 0), blocks[2]);
	KUNIT_EXPECT_EQ(test, isolate(test, 0), -1);
	for (i = 0; i < 4; i++)
		dmirror_devmem_putback(&t->devmem, blocks[i]);
	return_all(test);
}

/* To take a page of a block is to use it. */
static void allocation_is_use(struct kunit *test)
{
	long small = take_page(test) / DMIRROR_BLOCK_PAGES;
	long large = take_block(test) / DMIRROR_BLOCK_PAGES;
	struct devmem_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, take_page(test) / DMIRROR_BLOCK_PAGES, small);
	KUNIT_EXPECT_EQ(test, isolate(test, 0), large);
	dmirror_devmem_putback(&t->devmem, large);
	return_all(test);
}

static void run_is_as_long_as_there_is_room(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	const unsigned int third = DMIRROR_BLOCK_PAGES / 3;
	unsigned int nr = DMIRROR_BLOCK_PAGES + 1;
	long first, page;

	/* Not longer than a block, nor than was asked for */
	first = take_run(test, &nr);
	KUNIT_EXPECT_EQ(test, nr, DMIRROR_BLOCK_PAGES);
	nr = third;
	page = take_run(test, &nr);
	KUNIT_EXPECT_EQ(test, nr, third);
	KUNIT_EXPECT_NE(test, page, first);
	nr = DMIRROR_BLOCK_PAGES;
	KUNIT_EXPECT_EQ(test, take_run(test, &nr), page + third);
	KUNIT_EXPECT_EQ(test, nr, DMIRROR_BLOCK_PAGES - third);
	check_all(test);

	/* To the next page that is taken, or that nobody may have */
	for (nr = 0; nr < third; nr++)
		return_page(test, first + third + nr);
	dmirror_devmem_poison(&t->devmem, first + third + 8);
	nr = DMIRROR_BLOCK_PAGES;
	KUNIT_EXPECT_EQ(test, dmirror_pages_take(&t->devmem, 0, &nr),
			first + third);
	KUNIT_EXPECT_EQ(test, nr, 8);
	nr = DMIRROR_BLOCK_PAGES;
	KUNIT_EXPECT_EQ(test, dmirror_pages_take(&t->devmem, 0, &nr),
			first + third + 9);
	KUNIT_EXPECT_EQ(test, nr, third - 9);
}

/* Between isolate and putback, nothing of the block is given out. */
static void isolated_block_gives_nothing(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	long page = take_page(test), other;
	long block = page / DMIRROR_BLOCK_PAGES;
	unsigned int nr = 1;

	KUNIT_ASSERT_EQ(test, isolate(test, 0), block);
	other = dmirror_pages_take(&t->devmem, 0, &nr);
	KUNIT_EXPECT_NE(test, other / DMIRROR_BLOCK_PAGES, block);
	dmirror_pages_return(&t->devmem, other, 0);

	/* Nor once it is empty */
	return_page(test, page);
	other = take_whole(t);
	KUNIT_EXPECT_NE(test, other / DMIRROR_BLOCK_PAGES, block);
	dmirror_pages_return(&t->devmem, other, DMIRROR_BLOCK_ORDER);
	KUNIT_EXPECT_EQ(test, isolate(test, 0), -1);

	dmirror_devmem_putback(&t->devmem, block);
	check_all(test);
	return_all(test);
}

/* What could not be evicted goes to the list that fits, and to the lru's end. */
static void putback_finds_the_right_list(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	long full, partial, empty, i;

	full = take_block(test) / DMIRROR_BLOCK_PAGES;
	partial = take_block(test) / DMIRROR_BLOCK_PAGES;
	empty = take_block(test) / DMIRROR_BLOCK_PAGES;
	for (i = 0; i < 3; i++)
		KUNIT_ASSERT_NE(test, isolate(test, 0), -1);
	return_page(test, partial * DMIRROR_BLOCK_PAGES + 5);
	return_block(test, empty * DMIRROR_BLOCK_PAGES);
	dmirror_devmem_putback(&t->devmem, partial);
	dmirror_devmem_putback(&t->devmem, full);
	dmirror_devmem_putback(&t->devmem, empty);
	check_all(test);
	KUNIT_EXPECT_EQ(test, take_page(test),
			partial * DMIRROR_BLOCK_PAGES + 5);
	/* The page that was taken last was of the partial one. */
	KUNIT_EXPECT_EQ(test, isolate(test, 0), full);
	dmirror_devmem_putback(&t->devmem, full);
	KUNIT_EXPECT_EQ(test, isolate(test, 0), partial);
	dmirror_devmem_putback(&t->devmem, partial);
	return_all(test);
}

/* Young memory stays, and the time until the first of it is not young is told. */
static void young_memory_stays(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	long blocks[3];
	unsigned long young = 0;
	int i;

	for (i = 0; i < 3; i++)
		blocks[i] = take_block(test) / DMIRROR_BLOCK_PAGES;
	t->devmem.blocks[blocks[0]].since = jiffies - 10 * HZ;
	t->devmem.blocks[blocks[1]].since = jiffies - 70 * HZ;
	t->devmem.blocks[blocks[2]].since = jiffies - 40 * HZ;

	KUNIT_EXPECT_EQ(test, dmirror_devmem_isolate(&t->devmem, 100 * HZ,
						     &young), -1);
	KUNIT_EXPECT_GT(test, young, 25 * HZ);
	KUNIT_EXPECT_LE(test, young, 30 * HZ);

	/* The first that is old enough, also if one that is not comes before. */
	KUNIT_EXPECT_EQ(test, isolate(test, 60 * HZ), blocks[1]);
	KUNIT_EXPECT_EQ(test, isolate(test, 60 * HZ), -1);
	KUNIT_EXPECT_EQ(test, isolate(test, 20 * HZ), blocks[2]);
	dmirror_devmem_putback(&t->devmem, blocks[1]);
	dmirror_devmem_putback(&t->devmem, blocks[2]);

	/* It is young again when a page of it is given out, and not by its use. */
	touch(test, blocks[1]);
	KUNIT_EXPECT_EQ(test, isolate(test, 60 * HZ), blocks[1]);
	dmirror_devmem_putback(&t->devmem, blocks[1]);
	return_page(test, blocks[1] * DMIRROR_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, isolate(test, 60 * HZ), blocks[1]);
	dmirror_devmem_putback(&t->devmem, blocks[1]);
	take_page(test);
	KUNIT_EXPECT_EQ(test, isolate(test, 60 * HZ), -1);
	return_block(test, blocks[1] * DMIRROR_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, take_block(test) / DMIRROR_BLOCK_PAGES,
			blocks[1]);
	KUNIT_EXPECT_EQ(test, isolate(test, 60 * HZ), -1);
	return_all(test);
}

static void refault_is_told_once(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	struct dmirror_devmem *devmem = &t->devmem;

	KUNIT_EXPECT_FALSE(test, dmirror_devmem_refaulted(devmem, 1000));
	dmirror_devmem_note_evicted(devmem, 1000);
	dmirror_devmem_note_evicted(devmem, 1001);
	KUNIT_EXPECT_FALSE(test, dmirror_devmem_refaulted(devmem, 1002));
	KUNIT_EXPECT_TRUE(test, dmirror_devmem_refaulted(devmem, 1000));
	KUNIT_EXPECT_FALSE(test, dmirror_devmem_refaulted(devmem, 1000));
	KUNIT_EXPECT_TRUE(test, dmirror_devmem_refaulted(devmem, 1001));

	/* Two for one slot: the later is remembered, and not taken for the other. */
	dmirror_devmem_note_evicted(devmem, 5);
	dmirror_devmem_note_evicted(devmem, 5 + NR_PAGES);
	KUNIT_EXPECT_FALSE(test, dmirror_devmem_refaulted(devmem, 5));
	KUNIT_EXPECT_TRUE(test, dmirror_devmem_refaulted(devmem,
							 5 + NR_PAGES));
}

/* It has no memory of its own that the error could be in. */
static void placeholder_forgets_the_error(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	unsigned long i;
	long page;

	t->devmem.no_memory = true;
	page = take_page(test);
	set_bit(page % DMIRROR_BLOCK_PAGES,
		t->devmem.blocks[page / DMIRROR_BLOCK_PAGES].poisoned);
	return_page(test, page);
	for (i = 0; i < NR_PAGES; i++)
		KUNIT_ASSERT_NE(test, take_page(test), -1);
	return_all(test);
	for (i = 0; i < NR_BLOCKS; i++)
		KUNIT_ASSERT_NE(test, take_block(test), -1);
	return_all(test);
}

/* A block with a bad page has less room when it is back, and is never given out whole. */
static void bad_page_is_never_given_out(struct kunit *test)
{
	struct devmem_test *t = test->priv;
	long block = take_block(test), page;
	unsigned int i, nr = 1;

	t->devmem.poisoned = 1;
	set_bit(7, t->devmem.blocks[block / DMIRROR_BLOCK_PAGES].poisoned);
	KUNIT_ASSERT_EQ(test, isolate(test, 0), block / DMIRROR_BLOCK_PAGES);
	return_block(test, block);
	dmirror_devmem_putback(&t->devmem, block / DMIRROR_BLOCK_PAGES);

	for (i = 1; i < NR_BLOCKS; i++)
		KUNIT_EXPECT_NE(test, take_whole(t), -1);
	KUNIT_EXPECT_EQ(test, take_whole(t), -1);
	for (i = 1; i < DMIRROR_BLOCK_PAGES; i++) {
		page = dmirror_pages_take(&t->devmem, 0, &nr);
		KUNIT_ASSERT_NE(test, page, -1);
		KUNIT_EXPECT_NE(test, page, block + 7);
	}
	KUNIT_EXPECT_EQ(test, dmirror_pages_take(&t->devmem, 0, &nr), -1);
}

static struct kunit_case devmem_cases[] = {
	KUNIT_CASE(new_memory_is_empty),
	KUNIT_CASE(page_is_taken_and_returned),
	KUNIT_CASE(block_is_taken_and_returned),
	KUNIT_CASE(pages_fill_a_block_before_the_next),
	KUNIT_CASE(hole_is_filled_before_an_empty_block),
	KUNIT_CASE(block_needs_a_block_that_is_all_free),
	KUNIT_CASE(exhausted_by_pages),
	KUNIT_CASE(exhausted_by_blocks),
	KUNIT_CASE(parts_of_a_split_folio_are_returned),
	KUNIT_CASE(larger_parts_of_a_split_folio_are_returned),
	KUNIT_CASE(closed_memory_answers_as_if_full),
	KUNIT_CASE(random_operations_match_a_model),
	KUNIT_CASE(empty_memory_has_nothing_to_evict),
	KUNIT_CASE(least_recently_used_is_evicted_first),
	KUNIT_CASE(allocation_is_use),
	KUNIT_CASE(run_is_as_long_as_there_is_room),
	KUNIT_CASE(isolated_block_gives_nothing),
	KUNIT_CASE(putback_finds_the_right_list),
	KUNIT_CASE(young_memory_stays),
	KUNIT_CASE(refault_is_told_once),
	KUNIT_CASE(placeholder_forgets_the_error),
	KUNIT_CASE(bad_page_is_never_given_out),
	{}
};

static struct kunit_suite devmem_suite = {
	.name		= "dmirror_devmem",
	.init		= devmem_test_init,
	.exit		= devmem_test_exit,
	.test_cases	= devmem_cases,
};

kunit_test_suite(devmem_suite);
