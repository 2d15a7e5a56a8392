/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The device's page table: what pagetable.c offers.
 *
 * Replace this with the format of your device's MMU. The rest of the driver
 * needs map, unmap and look up, and that map never allocates.
 */
#ifndef DMIRROR_PAGETABLE_H
#define DMIRROR_PAGETABLE_H

#include <linux/bits.h>
#include <linux/gfp_types.h>
#include <linux/mm.h>
#include <linux/types.h>

/* A block is the large page of the device and of the CPU: 2 MiB on x86. */
#define DMIRROR_BLOCK_ORDER	(PMD_SHIFT - PAGE_SHIFT)
#define DMIRROR_BLOCK_PAGES	BIT(DMIRROR_BLOCK_ORDER)
#define DMIRROR_BLOCK_SIZE	PMD_SIZE
#define DMIRROR_BLOCK_MASK	PMD_MASK

/*
 * A device page table entry: flags and an address as the device sees it, never
 * a pointer to a struct page. Without DPTE_SYSTEM the address is an offset in
 * the device's own memory, with it the bus address of system memory; with
 * DPTE_PEER it is an offset in another device's memory, below that one's number.
 */
#define DPTE_VALID		BIT_ULL(0)
#define DPTE_WRITE		BIT_ULL(1)
#define DPTE_ATOMIC		BIT_ULL(2)	/* device-exclusive */
#define DPTE_SYSTEM		BIT_ULL(3)
#define DPTE_TABLE		BIT_ULL(4)	/* address of the next level */
#define DPTE_PEER		BIT_ULL(5)
#define DPTE_ADDR_MASK		(BIT_ULL(62) - PAGE_SIZE)

#define DPT_BITS		(PAGE_SHIFT - 3)
#define DPT_ENTRIES		BIT(DPT_BITS)
#define DPT_VA_BITS		57
#define DPT_LEVELS		DIV_ROUND_UP(DPT_VA_BITS - PAGE_SHIFT, DPT_BITS)

/**
 * struct dmirror_pt_stash - tables set aside for what is mapped in one block
 * @tables: zeroed tables, @nr of them
 * @nr: how many are left
 */
struct dmirror_pt_stash {
	u64 *tables[DPT_LEVELS];
	unsigned int nr;
};

/**
 * struct dmirror_pt - one address space's page table on the device
 * @root: the top level table, NULL while nothing is mapped
 * @spare: tables that became empty, for the next that are needed
 *
 * Protected by the lock of the mirror that it belongs to: for writing to map
 * and unmap, for reading to look up.
 */
struct dmirror_pt {
	u64 *root;
	struct dmirror_pt_stash spare;
};

unsigned int dmirror_pt_spare(const struct dmirror_pt *pt);
int dmirror_pt_stash_fill(struct dmirror_pt_stash *stash, unsigned int spare,
			  gfp_t gfp);
void dmirror_pt_stash_drain(struct dmirror_pt_stash *stash);

int dmirror_pt_map(struct dmirror_pt *pt, u64 addr, unsigned int order,
		   u64 dpte, struct dmirror_pt_stash *stash);
void dmirror_pt_unmap(struct dmirror_pt *pt, u64 start, u64 last);
void dmirror_pt_destroy(struct dmirror_pt *pt);
u64 dmirror_pt_lookup(const struct dmirror_pt *pt, u64 addr);
bool dmirror_pt_block_used(const struct dmirror_pt *pt, u64 addr);

#endif /* DMIRROR_PAGETABLE_H */
