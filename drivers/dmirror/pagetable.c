// SPDX-License-Identifier: GPL-2.0
/*
 * The device's page table.
 *
 * A radix tree of page-sized tables, as the MMU of a device walks it. An entry
 * of the lowest level maps a page, one of the next level may map a block; all
 * others point to a table. A table that has become empty is taken out at once,
 * so the memory used is bounded by what is mapped: it is freed, but for as many
 * as the next page to be mapped may need, which an empty table is ready for.
 *
 * Nothing here allocates except dmirror_pt_stash_fill(), and nothing here
 * sleeps except that: the notifier calls dmirror_pt_unmap() in places where it
 * must do neither.
 */
#include <linux/build_bug.h>
#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/minmax.h>
#include <kunit/visibility.h>

#include "pagetable.h"

/* A block is what one table of the lowest level maps. */
static_assert(DMIRROR_BLOCK_ORDER == DPT_BITS);

/* The number of entries in use is kept where the table's struct page has room. */
static void table_count(u64 *table, long delta)
{
	struct page *page = virt_to_page(table);

	set_page_private(page, page_private(page) + delta);
}

static bool table_empty(u64 *table)
{
	return !page_private(virt_to_page(table));
}

static void table_free(u64 *table)
{
	set_page_private(virt_to_page(table), 0);
	free_page((unsigned long)table);
}

static u64 *entry_table(u64 entry)
{
	return phys_to_virt(entry & DPTE_ADDR_MASK);
}

static unsigned int level_shift(unsigned int level)
{
	return PAGE_SHIFT + level * DPT_BITS;
}

static unsigned int level_index(u64 addr, unsigned int level)
{
	return (addr >> level_shift(level)) & (DPT_ENTRIES - 1);
}

/**
 * dmirror_pt_spare() - how many tables does a page table have to spare?
 * @pt: the page table
 *
 * Context: any. Without the mirror's lock the answer may be old when it arrives.
 * Return: the number.
 */
unsigned int dmirror_pt_spare(const struct dmirror_pt *pt)
{
	return READ_ONCE(pt->spare.nr);
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_pt_spare);

/**
 * dmirror_pt_stash_fill() - set tables aside for the next dmirror_pt_map()
 * @stash: the stash to fill up
 * @spare: how many tables the page table itself is expected to have to spare
 * @gfp: how to allocate
 *
 * Call it before taking the mirror's lock, then map any number of addresses
 * within one block.
 *
 * Context: may sleep if @gfp allows that.
 * Return: 0, or -ENOMEM.
 */
int dmirror_pt_stash_fill(struct dmirror_pt_stash *stash, unsigned int spare,
			  gfp_t gfp)
{
	while (stash->nr + spare < DPT_LEVELS) {
		u64 *table = (u64 *)get_zeroed_page(gfp);

		if (!table)
			return -ENOMEM;
		stash->tables[stash->nr++] = table;
	}
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_pt_stash_fill);

/**
 * dmirror_pt_stash_drain() - free the tables that were not used
 * @stash: the stash to empty
 *
 * Context: any.
 */
void dmirror_pt_stash_drain(struct dmirror_pt_stash *stash)
{
	while (stash->nr)
		table_free(stash->tables[--stash->nr]);
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_pt_stash_drain);

static u64 *table_take(struct dmirror_pt *pt, struct dmirror_pt_stash *stash)
{
	struct dmirror_pt_stash *spare = &pt->spare;

	if (spare->nr) {
		WRITE_ONCE(spare->nr, spare->nr - 1);
		return spare->tables[spare->nr];
	}
	return stash->nr ? stash->tables[--stash->nr] : NULL;
}

/* Nothing points to the table, and it is empty, as a new one is. */
static void table_retire(struct dmirror_pt *pt, u64 *table)
{
	struct dmirror_pt_stash *spare = &pt->spare;

	if (spare->nr == DPT_LEVELS) {
		table_free(table);
		return;
	}
	spare->tables[spare->nr] = table;
	WRITE_ONCE(spare->nr, spare->nr + 1);
}

static void table_destroy(u64 *table, unsigned int level)
{
	unsigned int i;

	for (i = 0; i < DPT_ENTRIES; i++)
		if (table[i] & DPTE_TABLE)
			table_destroy(entry_table(table[i]), level - 1);
	table_free(table);
}

/**
 * dmirror_pt_map() - map a page or a block
 * @pt: the page table
 * @addr: the virtual address, aligned to the size that is mapped
 * @order: 0 for a page, DMIRROR_BLOCK_ORDER for a block
 * @dpte: device address and DPTE_WRITE, _ATOMIC, _SYSTEM and _PEER as
 *	needed
 * @stash: where tables come from
 *
 * Replaces what was mapped there. A page mapped inside a block takes the place
 * of the whole block: the rest of it faults again.
 *
 * Context: the mirror's lock held for writing. Does not sleep or allocate.
 * Return: 0, -ERANGE if @addr is outside of the device's address space, or
 * -EAGAIN if more tables are needed than the stash and the page table have.
 */
int dmirror_pt_map(struct dmirror_pt *pt, u64 addr, unsigned int order,
		   u64 dpte, struct dmirror_pt_stash *stash)
{
	unsigned int leaf = order ? order / DPT_BITS : 0;
	unsigned int level = DPT_LEVELS - 1;
	u64 *table, *entry;

	if (addr >> DPT_VA_BITS)
		return -ERANGE;

	if (!pt->root)
		pt->root = table_take(pt, stash);
	table = pt->root;
	if (!table)
		return -EAGAIN;

	for (; level > leaf; level--) {
		entry = &table[level_index(addr, level)];
		if (!(*entry & DPTE_TABLE)) {
			u64 *next = table_take(pt, stash);

			if (!next)
				return -EAGAIN;
			if (!*entry)
				table_count(table, 1);
			*entry = virt_to_phys(next) | DPTE_TABLE;
		}
		table = entry_table(*entry);
	}

	entry = &table[level_index(addr, level)];
	if (*entry & DPTE_TABLE)
		table_destroy(entry_table(*entry), level - 1);
	else if (!*entry)
		table_count(table, 1);
	*entry = dpte | DPTE_VALID;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_pt_map);

static void table_unmap(struct dmirror_pt *pt, u64 *table, unsigned int level,
			u64 start, u64 last)
{
	unsigned int shift = level_shift(level);
	u64 size = 1ULL << shift;
	u64 addr = start;
	unsigned int i;

	for (i = level_index(start, level);; i++) {
		/* The last byte that entry i covers, and that is to go. */
		u64 entry_last = min(addr | (size - 1), last);

		if (table[i] & DPTE_TABLE) {
			u64 *next = entry_table(table[i]);

			table_unmap(pt, next, level - 1, addr, entry_last);
			if (table_empty(next)) {
				table_retire(pt, next);
				table[i] = 0;
				table_count(table, -1);
			}
		} else if (table[i]) {
			table[i] = 0;
			table_count(table, -1);
		}

		if (entry_last == last)
			break;
		addr = entry_last + 1;
	}
}

/**
 * dmirror_pt_unmap() - remove every mapping in a range
 * @pt: the page table
 * @start: first byte of the range
 * @last: last byte of the range, so that ~0 is the end of the address space
 *
 * A block of which any part is in the range goes as a whole.
 *
 * Context: the mirror's lock held for writing. Does not sleep or allocate, and
 * does not fail.
 */
void dmirror_pt_unmap(struct dmirror_pt *pt, u64 start, u64 last)
{
	last = min(last, (1ULL << DPT_VA_BITS) - 1);
	if (!pt->root || start > last)
		return;

	table_unmap(pt, pt->root, DPT_LEVELS - 1, start, last);
	if (table_empty(pt->root)) {
		table_retire(pt, pt->root);
		pt->root = NULL;
	}
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_pt_unmap);

/**
 * dmirror_pt_destroy() - remove every mapping and free what there is
 * @pt: the page table
 *
 * Context: nobody else uses the page table. Does not sleep.
 */
void dmirror_pt_destroy(struct dmirror_pt *pt)
{
	dmirror_pt_unmap(pt, 0, U64_MAX);
	dmirror_pt_stash_drain(&pt->spare);
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_pt_destroy);

/**
 * dmirror_pt_lookup() - walk the page table, as the device does
 * @pt: the page table
 * @addr: any virtual address
 *
 * Context: the mirror's lock held.
 * Return: the entry for the page of @addr, also inside of a block; 0 if there
 * is none.
 */
u64 dmirror_pt_lookup(const struct dmirror_pt *pt, u64 addr)
{
	unsigned int level = DPT_LEVELS - 1;
	u64 *table = pt->root;
	u64 entry;

	if (!table || addr >> DPT_VA_BITS)
		return 0;

	for (;; level--) {
		entry = table[level_index(addr, level)];
		if (!(entry & DPTE_TABLE))
			break;
		table = entry_table(entry);
	}
	if (!entry)
		return 0;

	return entry + (addr & ((1ULL << level_shift(level)) - 1) & PAGE_MASK);
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_pt_lookup);

/**
 * dmirror_pt_block_used() - is there anything in a block of addresses?
 * @pt: the page table
 * @addr: any virtual address in the block
 *
 * Context: the mirror's lock held.
 * Return: true if any page of it is mapped. An empty table does not exist, so
 * the entry that would point to it says so.
 */
bool dmirror_pt_block_used(const struct dmirror_pt *pt, u64 addr)
{
	const unsigned int leaf = DMIRROR_BLOCK_ORDER / DPT_BITS;
	unsigned int level = DPT_LEVELS - 1;
	u64 *table = pt->root;
	u64 entry;

	if (!table || addr >> DPT_VA_BITS)
		return false;

	for (; level > leaf; level--) {
		entry = table[level_index(addr, level)];
		if (!entry)
			return false;
		table = entry_table(entry);
	}
	return table[level_index(addr, level)];
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_pt_block_used);
