// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the device's page table.
 *
 * Every test also counts tables: it holds a reference on each page that was
 * ever one, so a table is in use as long as somebody else has another.
 */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/xarray.h>

#include "../pagetable.h"

#define PAGES(n)	((u64)(n) << PAGE_SHIFT)
#define BLOCKS(n)	((u64)(n) * DMIRROR_BLOCK_SIZE)
#define VA_END		BIT_ULL(DPT_VA_BITS)
#define SOMEWHERE	(3 * BIT_ULL(48) + 5 * BIT_ULL(39) + 7 * BIT_ULL(30))
#define MAX_TABLES	256

/* What one table maps; those of level 0 have an entry for each page. */
#define TABLE_SIZE(level)	(DMIRROR_BLOCK_SIZE << ((level) * DPT_BITS))

struct pt_test {
	struct dmirror_pt pt;
	struct dmirror_pt_stash stash;
	struct page *tables[MAX_TABLES];
	unsigned int nr_tables;
	struct xarray model;
};

static void fill_stash(struct kunit *test)
{
	struct pt_test *t = test->priv;
	unsigned int i = t->stash.nr;

	KUNIT_ASSERT_EQ(test, dmirror_pt_stash_fill(&t->stash, 0, GFP_KERNEL), 0);
	KUNIT_ASSERT_EQ(test, t->stash.nr, DPT_LEVELS);
	for (; i < t->stash.nr; i++) {
		struct page *page = virt_to_page(t->stash.tables[i]);

		KUNIT_ASSERT_LT(test, t->nr_tables, MAX_TABLES);
		get_page(page);
		t->tables[t->nr_tables++] = page;
	}
}

/* The tables that the page table has, those in the stash and to spare aside. */
static int tables_used(struct pt_test *t)
{
	unsigned int i = 0;

	while (i < t->nr_tables) {
		if (page_count(t->tables[i]) > 1) {
			i++;
			continue;
		}
		put_page(t->tables[i]);
		t->tables[i] = t->tables[--t->nr_tables];
	}
	return t->nr_tables - t->stash.nr - t->pt.spare.nr;
}

static int pt_test_init(struct kunit *test)
{
	struct pt_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	if (!t)
		return -EAGAIN;
	xa_init(&t->model);
	test->priv = t;
	return 0;
}

/* Whatever a test did, no table may remain. */
static void pt_test_exit(struct kunit *test)
{
	struct pt_test *t = test->priv;

	if (!t)
		return;
	dmirror_pt_destroy(&t->pt);
	dmirror_pt_stash_drain(&t->stash);
	KUNIT_EXPECT_NULL(test, t->pt.root);
	KUNIT_EXPECT_EQ(test, tables_used(t), 0);
	while (t->nr_tables)
		put_page(t->tables[--t->nr_tables]);
	xa_destroy(&t->model);
}

/* The device address that the tests map at @addr unless it matters. */
static u64 device_addr(u64 addr)
{
	return (addr ^ BIT_ULL(40)) & DPTE_ADDR_MASK;
}

static int map(struct kunit *test, u64 addr, unsigned int order, u64 dpte)
{
	struct pt_test *t = test->priv;

	fill_stash(test);
	return dmirror_pt_map(&t->pt, addr, order, dpte, &t->stash);
}

static void map_page(struct kunit *test, u64 addr)
{
	KUNIT_ASSERT_EQ(test, map(test, addr, 0, device_addr(addr)), 0);
}

static void map_block(struct kunit *test, u64 addr)
{
	KUNIT_ASSERT_EQ(test, map(test, addr, DMIRROR_BLOCK_ORDER,
				  device_addr(addr)), 0);
}

static void map_pages(struct kunit *test, u64 addr, unsigned long nr)
{
	while (nr--)
		map_page(test, addr + PAGES(nr));
}

static u64 lookup(struct kunit *test, u64 addr)
{
	struct pt_test *t = test->priv;

	return dmirror_pt_lookup(&t->pt, addr);
}

static void unmap(struct kunit *test, u64 start, u64 last)
{
	struct pt_test *t = test->priv;

	dmirror_pt_unmap(&t->pt, start, last);
}

/* All @nr pages from @addr on are as map_page() and map_block() make them. */
static void expect_mapped(struct kunit *test, u64 addr, unsigned long nr)
{
	for (; nr; nr--, addr += PAGE_SIZE)
		KUNIT_EXPECT_EQ_MSG(test, lookup(test, addr),
				    device_addr(addr) | DPTE_VALID,
				    "at %#llx", addr);
}

static void expect_unmapped(struct kunit *test, u64 addr, unsigned long nr)
{
	for (; nr; nr--, addr += PAGE_SIZE)
		KUNIT_EXPECT_EQ_MSG(test, lookup(test, addr), 0,
				    "at %#llx", addr);
}

static void expect_tables(struct kunit *test, int nr)
{
	KUNIT_EXPECT_EQ(test, tables_used(test->priv), nr);
}

static void stash_is_filled_and_drained(struct kunit *test)
{
	struct pt_test *t = test->priv;

	fill_stash(test);
	fill_stash(test);
	KUNIT_EXPECT_EQ(test, t->nr_tables, DPT_LEVELS);
	dmirror_pt_stash_drain(&t->stash);
	KUNIT_EXPECT_EQ(test, t->stash.nr, 0);
	expect_tables(test, 0);
	dmirror_pt_stash_drain(&t->stash);
	KUNIT_EXPECT_EQ(test, t->stash.nr, 0);
}

static void empty_table_maps_nothing(struct kunit *test)
{
	expect_unmapped(test, 0, 2);
	expect_unmapped(test, SOMEWHERE, 2);
	KUNIT_EXPECT_EQ(test, lookup(test, ~0ULL), 0);
	unmap(test, 0, ~0ULL);
	unmap(test, SOMEWHERE, SOMEWHERE);
	expect_tables(test, 0);
}

static void page_is_mapped(struct kunit *test)
{
	map_page(test, SOMEWHERE);
	expect_unmapped(test, SOMEWHERE - PAGE_SIZE, 1);
	expect_mapped(test, SOMEWHERE, 1);
	expect_unmapped(test, SOMEWHERE + PAGE_SIZE, 1);
	expect_tables(test, DPT_LEVELS);

	/* Any byte of the page finds it, none of a neighbour does. */
	KUNIT_EXPECT_EQ(test, lookup(test, SOMEWHERE + PAGE_SIZE - 1),
			lookup(test, SOMEWHERE));
	KUNIT_EXPECT_EQ(test, lookup(test, SOMEWHERE - 1), 0);

	unmap(test, SOMEWHERE, SOMEWHERE + PAGE_SIZE - 1);
	expect_unmapped(test, SOMEWHERE - PAGE_SIZE, 3);
	expect_tables(test, 0);
}

static void entry_is_kept_as_it_is(struct kunit *test)
{
	static const u64 flags[] = {
		0, DPTE_WRITE, DPTE_ATOMIC, DPTE_SYSTEM,
		DPTE_WRITE | DPTE_ATOMIC | DPTE_SYSTEM,
	};
	const u64 highest = BIT_ULL(62) - DMIRROR_BLOCK_SIZE;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		u64 page = BLOCKS(i), block = SOMEWHERE + BLOCKS(i);

		KUNIT_EXPECT_EQ(test, map(test, page, 0, flags[i]), 0);
		KUNIT_EXPECT_EQ(test, lookup(test, page),
				flags[i] | DPTE_VALID);
		KUNIT_EXPECT_EQ(test, map(test, block, DMIRROR_BLOCK_ORDER,
					  highest | flags[i]), 0);
		KUNIT_EXPECT_EQ(test, lookup(test, block),
				highest | flags[i] | DPTE_VALID);
		KUNIT_EXPECT_EQ(test,
				lookup(test, block + DMIRROR_BLOCK_SIZE - 1),
				(BIT_ULL(62) - PAGE_SIZE) | flags[i] |
				DPTE_VALID);
	}
}

static void page_replaces_page(struct kunit *test)
{
	map_page(test, SOMEWHERE);
	KUNIT_EXPECT_EQ(test, map(test, SOMEWHERE, 0, PAGES(9) | DPTE_WRITE),
			0);
	KUNIT_EXPECT_EQ(test, lookup(test, SOMEWHERE),
			PAGES(9) | DPTE_WRITE | DPTE_VALID);

	/* It counts once: unmapping it leaves nothing. */
	unmap(test, SOMEWHERE, SOMEWHERE);
	expect_tables(test, 0);
}

static void block_is_mapped(struct kunit *test)
{
	map_block(test, SOMEWHERE);
	expect_unmapped(test, SOMEWHERE - PAGE_SIZE, 1);
	expect_mapped(test, SOMEWHERE, DMIRROR_BLOCK_PAGES);
	expect_unmapped(test, SOMEWHERE + DMIRROR_BLOCK_SIZE, 1);
	expect_tables(test, DPT_LEVELS - 1);

	unmap(test, SOMEWHERE, SOMEWHERE + DMIRROR_BLOCK_SIZE - 1);
	expect_unmapped(test, SOMEWHERE, DMIRROR_BLOCK_PAGES);
	expect_tables(test, 0);
}

static void block_replaces_block(struct kunit *test)
{
	map_block(test, SOMEWHERE);
	KUNIT_EXPECT_EQ(test, map(test, SOMEWHERE, DMIRROR_BLOCK_ORDER,
				  BLOCKS(9)), 0);
	KUNIT_EXPECT_EQ(test, lookup(test, SOMEWHERE + PAGES(3)),
			(BLOCKS(9) + PAGES(3)) | DPTE_VALID);
	unmap(test, SOMEWHERE, SOMEWHERE);
	expect_tables(test, 0);
}

static void page_replaces_block(struct kunit *test)
{
	map_block(test, SOMEWHERE - DMIRROR_BLOCK_SIZE);
	map_block(test, SOMEWHERE);
	map_block(test, SOMEWHERE + DMIRROR_BLOCK_SIZE);
	expect_tables(test, DPT_LEVELS);
	map_page(test, SOMEWHERE + PAGES(5));
	expect_tables(test, DPT_LEVELS + 1);

	expect_mapped(test, SOMEWHERE - DMIRROR_BLOCK_SIZE, DMIRROR_BLOCK_PAGES);
	expect_unmapped(test, SOMEWHERE, 5);
	expect_mapped(test, SOMEWHERE + PAGES(5), 1);
	expect_unmapped(test, SOMEWHERE + PAGES(6), DMIRROR_BLOCK_PAGES - 6);
	expect_mapped(test, SOMEWHERE + DMIRROR_BLOCK_SIZE, DMIRROR_BLOCK_PAGES);

	/* The page is all that is left of the block. */
	unmap(test, SOMEWHERE + PAGES(5), SOMEWHERE + PAGES(5));
	expect_tables(test, DPT_LEVELS);
}

static void block_replaces_pages(struct kunit *test)
{
	map_page(test, SOMEWHERE - PAGE_SIZE);
	map_page(test, SOMEWHERE);
	map_page(test, SOMEWHERE + PAGES(77));
	map_page(test, SOMEWHERE + DMIRROR_BLOCK_SIZE - PAGE_SIZE);
	map_page(test, SOMEWHERE + DMIRROR_BLOCK_SIZE);
	expect_tables(test, DPT_LEVELS + 3);

	KUNIT_EXPECT_EQ(test, map(test, SOMEWHERE, DMIRROR_BLOCK_ORDER,
				  device_addr(SOMEWHERE)), 0);
	expect_mapped(test, SOMEWHERE - PAGE_SIZE, DMIRROR_BLOCK_PAGES + 2);
	expect_tables(test, DPT_LEVELS + 2);

	unmap(test, SOMEWHERE, SOMEWHERE + DMIRROR_BLOCK_SIZE - 1);
	expect_mapped(test, SOMEWHERE - PAGE_SIZE, 1);
	expect_mapped(test, SOMEWHERE + DMIRROR_BLOCK_SIZE, 1);
	expect_tables(test, DPT_LEVELS + 2);
}

/* At @addr, unmap @nr of pages that go on to both sides. */
static void check_unmap(struct kunit *test, u64 addr, unsigned long nr)
{
	map_pages(test, addr - PAGES(3), nr + 6);
	unmap(test, addr, addr + PAGES(nr) - 1);
	expect_mapped(test, addr - PAGES(3), 3);
	expect_unmapped(test, addr, nr);
	expect_mapped(test, addr + PAGES(nr), 3);
	unmap(test, 0, ~0ULL);
	expect_tables(test, 0);
}

static void unmap_leaves_the_neighbours(struct kunit *test)
{
	unsigned int level;

	for (level = 0; level < DPT_LEVELS - 1; level++) {
		/* A place where tables of this level and all below meet. */
		u64 border = 6 * TABLE_SIZE(level);

		check_unmap(test, border, 1);
		check_unmap(test, border - PAGE_SIZE, 1);
		check_unmap(test, border - PAGE_SIZE, 2);
		check_unmap(test, border - PAGES(2), 2);
		check_unmap(test, border - PAGES(2), 5);
		check_unmap(test, border, DMIRROR_BLOCK_PAGES);
		check_unmap(test, border - PAGE_SIZE, DMIRROR_BLOCK_PAGES + 2);
		check_unmap(test, border + PAGES(9), 17);
	}
}

static void unmap_counts_bytes(struct kunit *test)
{
	map_pages(test, SOMEWHERE, 4);
	unmap(test, SOMEWHERE + PAGES(2) - 1, SOMEWHERE + PAGES(2) - 1);
	expect_mapped(test, SOMEWHERE, 1);
	expect_unmapped(test, SOMEWHERE + PAGE_SIZE, 1);
	expect_mapped(test, SOMEWHERE + PAGES(2), 2);

	map_page(test, SOMEWHERE + PAGE_SIZE);
	unmap(test, SOMEWHERE + PAGES(2) - 1, SOMEWHERE + PAGES(2));
	expect_mapped(test, SOMEWHERE, 1);
	expect_unmapped(test, SOMEWHERE + PAGE_SIZE, 2);
	expect_mapped(test, SOMEWHERE + PAGES(3), 1);
}

static void unmap_of_nothing(struct kunit *test)
{
	map_pages(test, SOMEWHERE, 3);
	unmap(test, SOMEWHERE + PAGES(2), SOMEWHERE + PAGE_SIZE);
	unmap(test, SOMEWHERE + PAGES(3), SOMEWHERE + DMIRROR_BLOCK_SIZE);
	unmap(test, 0, SOMEWHERE - 1);
	unmap(test, SOMEWHERE + PAGES(3), ~0ULL);
	unmap(test, VA_END, ~0ULL);
	unmap(test, VA_END + SOMEWHERE, VA_END + SOMEWHERE + PAGES(3));
	expect_mapped(test, SOMEWHERE, 3);
	expect_tables(test, DPT_LEVELS);
}

static void unmap_takes_blocks_whole(struct kunit *test)
{
	static const unsigned long pages[] = { 0, 1, DMIRROR_BLOCK_PAGES - 1 };
	u64 block = SOMEWHERE + DMIRROR_BLOCK_SIZE, before, after;
	unsigned int i;

	before = block - DMIRROR_BLOCK_SIZE;
	after = block + DMIRROR_BLOCK_SIZE;
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		u64 addr = block + PAGES(pages[i]);

		map_block(test, before);
		map_block(test, block);
		map_block(test, after);
		unmap(test, addr, addr + PAGE_SIZE - 1);
		expect_mapped(test, before, DMIRROR_BLOCK_PAGES);
		expect_unmapped(test, block, DMIRROR_BLOCK_PAGES);
		expect_mapped(test, after, DMIRROR_BLOCK_PAGES);
	}

	/* The end of one and the beginning of the next. */
	map_block(test, block);
	unmap(test, after - 1, after);
	expect_mapped(test, before, DMIRROR_BLOCK_PAGES);
	expect_unmapped(test, block, 2 * DMIRROR_BLOCK_PAGES);
}

static void unmap_of_everything(struct kunit *test)
{
	map_page(test, 0);
	map_page(test, SOMEWHERE);
	map_block(test, SOMEWHERE + DMIRROR_BLOCK_SIZE);
	map_block(test, VA_END - BLOCKS(2));
	map_page(test, VA_END - PAGE_SIZE);
	unmap(test, 0, VA_END - 1);
	expect_tables(test, 0);
	expect_unmapped(test, 0, 1);
	expect_unmapped(test, SOMEWHERE, 1);
	expect_unmapped(test, VA_END - PAGE_SIZE, 1);

	/* What the notifier says when the address space goes away. */
	map_page(test, 0);
	map_page(test, VA_END - PAGE_SIZE);
	unmap(test, 0, ~0ULL);
	expect_tables(test, 0);
}

static bool block_used(struct kunit *test, u64 addr)
{
	struct pt_test *t = test->priv;

	return dmirror_pt_block_used(&t->pt, addr);
}

static void block_is_used_as_long_as_a_page_is(struct kunit *test)
{
	u64 block = SOMEWHERE + DMIRROR_BLOCK_SIZE;
	u64 after = block + DMIRROR_BLOCK_SIZE;

	KUNIT_EXPECT_FALSE(test, block_used(test, block));
	KUNIT_EXPECT_FALSE(test, block_used(test, VA_END));

	map_page(test, block);
	map_page(test, after - PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, block_used(test, block));
	KUNIT_EXPECT_TRUE(test, block_used(test, after - 1));
	KUNIT_EXPECT_FALSE(test, block_used(test, block - 1));
	KUNIT_EXPECT_FALSE(test, block_used(test, after));
	KUNIT_EXPECT_FALSE(test, block_used(test, block + BIT_ULL(39)));
	unmap(test, block, block);
	KUNIT_EXPECT_TRUE(test, block_used(test, block));
	unmap(test, after - 1, after - 1);
	KUNIT_EXPECT_FALSE(test, block_used(test, block));

	map_block(test, block);
	map_page(test, after);
	KUNIT_EXPECT_TRUE(test, block_used(test, block + PAGE_SIZE));
	unmap(test, block, block);
	KUNIT_EXPECT_FALSE(test, block_used(test, block + PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, block_used(test, after));
	unmap(test, 0, ~0ULL);
}

static void last_page_of_the_address_space(struct kunit *test)
{
	u64 addr = VA_END - PAGE_SIZE;

	map_pages(test, addr - PAGE_SIZE, 2);
	KUNIT_EXPECT_EQ(test, lookup(test, VA_END - 1), lookup(test, addr));
	unmap(test, addr, VA_END - 1);
	expect_mapped(test, addr - PAGE_SIZE, 1);
	expect_unmapped(test, addr, 1);

	map_page(test, addr);
	unmap(test, addr - PAGE_SIZE, addr - 1);
	expect_unmapped(test, addr - PAGE_SIZE, 1);
	expect_mapped(test, addr, 1);

	unmap(test, addr, ~0ULL);
	expect_tables(test, 0);
}

static void first_page_of_the_address_space(struct kunit *test)
{
	map_pages(test, 0, 2);
	unmap(test, 0, PAGE_SIZE - 1);
	expect_unmapped(test, 0, 1);
	expect_mapped(test, PAGE_SIZE, 1);
	unmap(test, 0, PAGES(2) - 1);
	expect_tables(test, 0);
}

static void nothing_beyond_the_address_space(struct kunit *test)
{
	struct pt_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, map(test, VA_END, 0, 0), -ERANGE);
	KUNIT_EXPECT_EQ(test, map(test, VA_END, DMIRROR_BLOCK_ORDER, 0),
			-ERANGE);
	KUNIT_EXPECT_EQ(test, map(test, BIT_ULL(63) | SOMEWHERE, 0, 0),
			-ERANGE);
	KUNIT_EXPECT_EQ(test, map(test, ~0ULL & PAGE_MASK, 0, 0), -ERANGE);
	KUNIT_EXPECT_EQ(test, t->stash.nr, DPT_LEVELS);
	KUNIT_EXPECT_NULL(test, t->pt.root);

	/* Addresses do not wrap round. */
	map_page(test, 0);
	map_page(test, VA_END - PAGE_SIZE);
	expect_unmapped(test, VA_END, 1);
	expect_unmapped(test, 2 * VA_END - PAGE_SIZE, 1);
	KUNIT_EXPECT_EQ(test, lookup(test, ~0ULL), 0);
}

static void empty_stash_is_an_error(struct kunit *test)
{
	struct pt_test *t = test->priv;
	struct dmirror_pt_stash none = { .nr = 0 };

	KUNIT_EXPECT_EQ(test, dmirror_pt_map(&t->pt, SOMEWHERE, 0, 0, &none),
			-EAGAIN);
	KUNIT_EXPECT_NULL(test, t->pt.root);
	expect_unmapped(test, SOMEWHERE, 1);

	/* What was mapped before stays. */
	map_block(test, SOMEWHERE);
	KUNIT_EXPECT_EQ(test, dmirror_pt_map(&t->pt, SOMEWHERE + PAGE_SIZE, 0,
					     0, &none), -EAGAIN);
	expect_mapped(test, SOMEWHERE, DMIRROR_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, dmirror_pt_map(&t->pt,
					     SOMEWHERE - DMIRROR_BLOCK_SIZE,
					     DMIRROR_BLOCK_ORDER, 0, &none),
			-EAGAIN);
	expect_unmapped(test, SOMEWHERE - DMIRROR_BLOCK_SIZE, 1);

	/* Where there are tables already, none is needed. */
	map_page(test, SOMEWHERE);
	KUNIT_EXPECT_EQ(test, dmirror_pt_map(&t->pt, SOMEWHERE + PAGE_SIZE, 0,
					     device_addr(SOMEWHERE + PAGE_SIZE),
					     &none), 0);
	expect_mapped(test, SOMEWHERE, 2);
}

static void short_stash_is_an_error(struct kunit *test)
{
	struct pt_test *t = test->priv;
	unsigned int i, nr;

	for (nr = 1; nr < DPT_LEVELS; nr++) {
		struct dmirror_pt_stash few = { .nr = nr };

		dmirror_pt_stash_drain(&t->pt.spare);
		fill_stash(test);
		for (i = 0; i < nr; i++)
			few.tables[i] = t->stash.tables[--t->stash.nr];

		KUNIT_EXPECT_EQ(test, dmirror_pt_map(&t->pt, SOMEWHERE, 0, 0,
						     &few), -EAGAIN);
		KUNIT_EXPECT_EQ(test, few.nr, 0);
		expect_unmapped(test, SOMEWHERE, 1);

		/* What it has begun is of use to the next, or is cleaned up. */
		if (nr % 2) {
			map_page(test, SOMEWHERE);
			expect_mapped(test, SOMEWHERE, 1);
			expect_tables(test, DPT_LEVELS);
		}
		unmap(test, SOMEWHERE, SOMEWHERE + PAGE_SIZE - 1);
		expect_tables(test, 0);
	}
}

/* What became empty serves what comes next, at another address, and is clean. */
static void empty_tables_are_spare(struct kunit *test)
{
	struct pt_test *t = test->priv;
	struct dmirror_pt_stash none = { .nr = 0 };
	u64 other = SOMEWHERE / 2 & PAGE_MASK;

	map_pages(test, SOMEWHERE, 3);
	KUNIT_EXPECT_EQ(test, dmirror_pt_spare(&t->pt), 0);
	unmap(test, SOMEWHERE, SOMEWHERE + PAGES(3) - 1);
	expect_tables(test, 0);
	KUNIT_EXPECT_EQ(test, dmirror_pt_spare(&t->pt), DPT_LEVELS);

	KUNIT_EXPECT_EQ(test, dmirror_pt_map(&t->pt, other, 0,
					     device_addr(other), &none), 0);
	expect_mapped(test, other, 1);
	expect_unmapped(test, other + PAGE_SIZE, DMIRROR_BLOCK_PAGES);
	expect_unmapped(test, SOMEWHERE, 3);
	expect_tables(test, DPT_LEVELS);
	KUNIT_EXPECT_EQ(test, dmirror_pt_spare(&t->pt), 0);

	/* What there is to spare need not be set aside again. */
	unmap(test, other, other);
	dmirror_pt_stash_drain(&t->stash);
	KUNIT_EXPECT_EQ(test, dmirror_pt_stash_fill(&t->stash,
						    dmirror_pt_spare(&t->pt),
						    GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, t->stash.nr, 0);
}

static void spare_tables_are_bounded(struct kunit *test)
{
	struct pt_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < 2 * DPT_LEVELS; i++)
		map_page(test, SOMEWHERE + i * TABLE_SIZE(1));
	unmap(test, 0, ~0ULL);
	KUNIT_EXPECT_EQ(test, dmirror_pt_spare(&t->pt), DPT_LEVELS);
	expect_tables(test, 0);
	dmirror_pt_destroy(&t->pt);
	KUNIT_EXPECT_EQ(test, dmirror_pt_spare(&t->pt), 0);
	expect_tables(test, 0);
}

static void tables_are_freed_when_empty(struct kunit *test)
{
	unsigned int level;

	for (level = 0; level < DPT_LEVELS - 1; level++) {
		u64 other = SOMEWHERE + TABLE_SIZE(level);

		/* Only tables above this level serve both. */
		map_page(test, SOMEWHERE);
		map_page(test, other);
		expect_tables(test, DPT_LEVELS + level + 1);
		unmap(test, SOMEWHERE, SOMEWHERE + PAGE_SIZE - 1);
		expect_mapped(test, other, 1);
		expect_tables(test, DPT_LEVELS);
		unmap(test, other, other + PAGE_SIZE - 1);
		expect_tables(test, 0);
	}

	/* A table stays until its last page goes. */
	map_pages(test, SOMEWHERE, DMIRROR_BLOCK_PAGES);
	expect_tables(test, DPT_LEVELS);
	unmap(test, SOMEWHERE, SOMEWHERE + DMIRROR_BLOCK_SIZE - PAGE_SIZE - 1);
	expect_tables(test, DPT_LEVELS);
	unmap(test, SOMEWHERE, SOMEWHERE + DMIRROR_BLOCK_SIZE - 1);
	expect_tables(test, 0);
}

/*
 * The model: what is mapped, by page number. A block is one entry at its first
 * page, with DPTE_VALID, which all entries would have, saying that it is one.
 */
static void *model_block(struct xarray *model, unsigned long page)
{
	void *entry = xa_load(model, round_down(page, DMIRROR_BLOCK_PAGES));

	return entry && xa_to_value(entry) & DPTE_VALID ? entry : NULL;
}

static u64 model_lookup(struct xarray *model, unsigned long page)
{
	void *entry = model_block(model, page);

	if (entry)
		return xa_to_value(entry) + PAGES(page % DMIRROR_BLOCK_PAGES);
	entry = xa_load(model, page);
	return entry ? xa_to_value(entry) | DPTE_VALID : 0;
}

static void model_unmap(struct xarray *model, unsigned long first,
			unsigned long last)
{
	unsigned long page;
	void *entry;

	if (model_block(model, first))
		first = round_down(first, DMIRROR_BLOCK_PAGES);
	xa_for_each_range(model, page, entry, first, last)
		xa_erase(model, page);
}

static void model_map(struct kunit *test, struct xarray *model,
		      unsigned long page, unsigned int order, u64 dpte)
{
	if (order) {
		model_unmap(model, page, page + DMIRROR_BLOCK_PAGES - 1);
		dpte |= DPTE_VALID;
	} else if (model_block(model, page)) {
		xa_erase(model, round_down(page, DMIRROR_BLOCK_PAGES));
	}
	KUNIT_ASSERT_EQ(test, xa_err(xa_store(model, page, xa_mk_value(dpte),
					      GFP_KERNEL)), 0);
}

/* How many tables that takes: each is begun by the first entry below it. */
static int model_tables(struct xarray *model)
{
	unsigned long page, previous = 0;
	unsigned int level;
	bool any = false;
	void *entry;
	int nr = 0;

	xa_for_each(model, page, entry) {
		level = xa_to_value(entry) & DPTE_VALID ? 1 : 0;
		for (; level < DPT_LEVELS; level++) {
			unsigned int shift = (level + 1) * DPT_BITS;

			if (!any || page >> shift != previous >> shift)
				nr++;
		}
		previous = page;
		any = true;
	}
	return nr;
}

/* The windows that the random addresses are in, by their middle, in blocks. */
static const unsigned long windows[] = {
	2,
	1 << 9,
	3 << 18,
	5 << 27,
	(1UL << 36) - 2,
};

#define WINDOW_PAGES	(4 * DMIRROR_BLOCK_PAGES)

static unsigned long window_page(unsigned int i)
{
	return (windows[i] - 2) * DMIRROR_BLOCK_PAGES;
}

/* Mostly next to a border of blocks, for more to be next to each other. */
static unsigned long random_page(struct rnd_state *rnd)
{
	unsigned int window = prandom_u32_state(rnd) % ARRAY_SIZE(windows);
	unsigned long page = prandom_u32_state(rnd) % WINDOW_PAGES;

	switch (prandom_u32_state(rnd) % 4) {
	case 0:
		break;
	case 1:
		page |= DMIRROR_BLOCK_PAGES - 8;
		break;
	default:
		page &= ~(DMIRROR_BLOCK_PAGES - 8);
		break;
	}
	return window_page(window) + page;
}

static void random_map(struct kunit *test, struct rnd_state *rnd,
		       unsigned long page, unsigned int order)
{
	struct pt_test *t = test->priv;
	u64 dpte = PAGES(prandom_u32_state(rnd)) & -PAGES(1UL << order);

	if (prandom_u32_state(rnd) % 2)
		dpte |= DPTE_WRITE;
	model_map(test, &t->model, page, order, dpte);
	KUNIT_ASSERT_EQ(test, map(test, PAGES(page), order, dpte), 0);
}

/* One operation on both; returns a page that it was about. */
static unsigned long random_step(struct kunit *test, struct rnd_state *rnd)
{
	unsigned long first = random_page(rnd), last;
	struct pt_test *t = test->priv;

	switch (prandom_u32_state(rnd) % 16) {
	case 0:
		last = first + prandom_u32_state(rnd) % WINDOW_PAGES;
		break;
	case 1:
		/* From window to window: rarely, or little stays mapped. */
		last = random_page(rnd);
		if (prandom_u32_state(rnd) % 16)
			last = first;
		else if (last < first)
			swap(first, last);
		break;
	case 2 ... 5:
		last = first + prandom_u32_state(rnd) % 16;
		break;
	case 6:
		first = round_down(first, DMIRROR_BLOCK_PAGES);
		random_map(test, rnd, first, DMIRROR_BLOCK_ORDER);
		return first;
	default:
		random_map(test, rnd, first, 0);
		return first;
	}

	model_unmap(&t->model, first, last);
	unmap(test, PAGES(first), PAGES(last + 1) - 1);
	return prandom_u32_state(rnd) % 2 ? first : last;
}

static void compare(struct kunit *test, unsigned long first, unsigned long last)
{
	struct pt_test *t = test->priv;
	unsigned long page;

	for (page = first; page <= last; page++)
		KUNIT_ASSERT_EQ_MSG(test, lookup(test, PAGES(page)),
				    model_lookup(&t->model, page),
				    "at %#llx", PAGES(page));
}

static void random_operations_match_a_model(struct kunit *test)
{
	struct pt_test *t = test->priv;
	struct rnd_state rnd;
	unsigned long page;
	unsigned int i, j;

	prandom_seed_state(&rnd, 57);
	for (i = 1; i <= 4096; i++) {
		page = random_step(test, &rnd);
		compare(test, page - min(page, 2UL), page + 2);
		/* The rest is slow in a kernel that checks every access. */
		if (i % 16)
			continue;
		KUNIT_ASSERT_EQ(test, tables_used(t), model_tables(&t->model));
		if (i % 512)
			continue;
		for (j = 0; j < ARRAY_SIZE(windows); j++)
			compare(test, window_page(j),
				window_page(j) + WINDOW_PAGES - 1);
	}
}

static struct kunit_case pt_cases[] = {
	KUNIT_CASE(stash_is_filled_and_drained),
	KUNIT_CASE(empty_table_maps_nothing),
	KUNIT_CASE(page_is_mapped),
	KUNIT_CASE(entry_is_kept_as_it_is),
	KUNIT_CASE(page_replaces_page),
	KUNIT_CASE(block_is_mapped),
	KUNIT_CASE(block_replaces_block),
	KUNIT_CASE(page_replaces_block),
	KUNIT_CASE(block_replaces_pages),
	KUNIT_CASE(unmap_leaves_the_neighbours),
	KUNIT_CASE(unmap_counts_bytes),
	KUNIT_CASE(unmap_of_nothing),
	KUNIT_CASE(unmap_takes_blocks_whole),
	KUNIT_CASE(unmap_of_everything),
	KUNIT_CASE(block_is_used_as_long_as_a_page_is),
	KUNIT_CASE(first_page_of_the_address_space),
	KUNIT_CASE(last_page_of_the_address_space),
	KUNIT_CASE(nothing_beyond_the_address_space),
	KUNIT_CASE(empty_stash_is_an_error),
	KUNIT_CASE(short_stash_is_an_error),
	KUNIT_CASE(empty_tables_are_spare),
	KUNIT_CASE(spare_tables_are_bounded),
	KUNIT_CASE(tables_are_freed_when_empty),
	KUNIT_CASE(random_operations_match_a_model),
	{}
};

static struct kunit_suite pt_suite = {
	.name		= "dmirror_pagetable",
	.init		= pt_test_init,
	.exit		= pt_test_exit,
	.test_cases	= pt_cases,
};

kunit_test_suite(pt_suite);

MODULE_DESCRIPTION("KUnit tests of the dmirror driver");
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
MODULE_LICENSE("GPL");
