// SPDX-License-Identifier: GPL-2.0
/*
 * Swap and devices: what the device wrote is written out and comes back, pages in
 * the swap cache migrate, and what is swapped out stays where it is. Swaps to a
 * device of its own, for the time of each test.
 */
#include "dmirror_inject.h"
#include "dmirror_state.h"
#include "dmirror_swap.h"

#define DM_KPF_SWAPCACHE	0x2000ULL

/* The last to write was the device, there; then it is back, out, and in again. */
TEST_F(state, out_after_return)
{
	const char *why = dm_swap_begin();
	unsigned int way;

	if (why)
		SKIP(return, "%s", why);
	for (way = 0; way < DM_WAYS; way++) {
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		dm_fill(self->buf, self->len, SEED + 1 + way);
		ASSERT_EQ(0, dm_write(self->fd, self->mem, self->buf, self->len));
		ASSERT_EQ(0, dm_back(self->fd, self->mem, self->len, way));
		ASSERT_EQ(0, dm_page_out(self->mem, self->len));
		EXPECT_EQ(self->len / 1024, dm_smaps(self->mem, self->len, "Swap"));
		EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1 + way));
		dm_settle();
	}
	dm_swap_end();
}

/*
 * Pages that are in memory and in swap, where a child needs them still: they stay.
 * When it has gone they move, and give their place in swap back; 6.1 does not take
 * pages out of the swap cache, and they stay.
 */
TEST_F(state, swap_cache)
{
	const char *why = dm_swap_begin();
	size_t n = self->len / self->page, i, cached = 0;
	__u64 *turn = dm_shared();
	struct dmirror_migrate m;
	pid_t pid;

	ASSERT_NE(NULL, turn);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, dm_page_out(self->mem, self->len));
	pid = fork();
	if (!pid) {
		dm_await(turn, 1);
		_exit(0);
	}
	for (i = 0; i < n; i++) {
		dm_peek(self->mem + i * self->page);
		cached += !!(dm_kpageflags(self->mem + i * self->page) &
			     DM_KPF_SWAPCACHE);
	}
	EXPECT_EQ(n, cached);
	dm_settle();
	ASSERT_EQ(0, dm_migrate_raw(self->fd, self->mem, self->len,
				    DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->len, m.busy);
	dm_poke(turn, 1);
	ASSERT_EQ(0, dm_wait(pid));

	dm_settle();
	ASSERT_EQ(0, dm_migrate(self->fd, self->mem, self->len,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->len, dm_kernel_before(6, 12) ? m.busy : m.moved);
	EXPECT_EQ(dm_kernel_before(6, 12) ? self->len / 1024 : 0,
		  dm_meminfo("SwapCached"));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	munmap(turn, self->page);
	dm_swap_end();
}

/*
 * Written to while it is in the swap cache, of which only the page table knows. A
 * migration that takes it out of there and fails puts that back, or the page would
 * be dropped as one that is in swap as it is.
 */
TEST_F(state, dirty_in_swap_cache)
{
	const char *why = dm_swap_begin_loop();
	size_t n = self->len / self->page, i, cached = 0;
	struct dmirror_migrate m;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, dm_page_out(self->mem, self->len));
	for (i = 0; i < n; i++) {
		dm_peek(self->mem + i * self->page);
		cached += !!(dm_kpageflags(self->mem + i * self->page) &
			     DM_KPF_SWAPCACHE);
	}
	/* How many stay there is for mm to say; 6.1 keeps one of a huge page. */
	EXPECT_LT(0, cached);
	TH_LOG("%zu of %zu pages in the swap cache", cached, n);
	dm_fill(self->mem, self->len, SEED + 1);
	dm_settle();

	why = dm_attr_start("fail_copy", 0, -1);
	if (why)
		SKIP(dm_swap_end(); return, "%s", why);
	dm_migrate_raw(self->fd, self->mem, self->len, DMIRROR_TARGET_DEVICE, &m);
	dm_attr_stop("fail_copy");
	EXPECT_EQ(0, m.moved);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
	ASSERT_EQ(0, dm_page_out(self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
	dm_swap_end();
}

/* What is in swap alone stays there, and the others around it move. */
TEST_F(state, swapped_out_stays)
{
	const char *why = dm_swap_begin();
	size_t part = self->len / 4;
	bool splits = dm_splits(&self->dm);
	struct dmirror_migrate m;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, dm_page_out(self->mem, self->len));
	ASSERT_EQ(0, dm_migrate_raw(self->fd, self->mem, self->len,
				    DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->len, m.busy);
	EXPECT_EQ(self->len, dm_migrate_sum(&m));
	ASSERT_EQ(0, dm_migrate_raw(self->fd, self->mem, self->len,
				    DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(self->len, m.resident);
	EXPECT_EQ(self->len / self->page, dm_in_swap(self->mem, self->len));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len, DMIRROR_PLACE_HOLE));

	/* The CPU writes to a part of it. */
	dm_fill(self->mem, part, SEED + 1);
	dm_settle();
	ASSERT_EQ(0, dm_migrate_raw(self->fd, self->mem, self->len,
				    DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->len, dm_migrate_sum(&m));
	if (splits)
		EXPECT_LE(part / 2, m.moved);
	EXPECT_LE(self->len / 2, m.busy);

	/* The device reads it all, for which it comes in. */
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(self->buf, part, SEED + 1));
	EXPECT_EQ(0, dm_bad_from(self->buf + part, self->len - part, SEED,
				 part / self->page));
	EXPECT_EQ(0, dm_bad(self->mem, part, SEED + 1));
	EXPECT_EQ(0, dm_bad_from(self->mem + part, self->len - part, SEED,
				 part / self->page));
	dm_swap_end();
}

/*
 * Once the device has had a page exclusively, what is in swap comes as well: a page
 * that it has so looks the same. On 6.1 it may get no further than system memory, see
 * swap_cache.
 */
TEST_F(state, swapped_out_comes)
{
	char *other = dm_alloc(&self->dm, self->len, SEED);
	const char *why = dm_swap_begin();
	struct dmirror_migrate m;
	struct dmirror_atomic a;

	ASSERT_NE(NULL, other);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, dm_to_system_settled(self->fd, other, self->len));
	ASSERT_EQ(0, dm_atomic(self->fd, DMIRROR_ATOMIC_ADD, other, 8, 0, 0, &a));
	if (a.flags != DMIRROR_ATOMIC_EXCLUSIVE)
		SKIP(dm_swap_end(); return, "no page can be had exclusively here");
	ASSERT_EQ(0, dm_page_out(self->mem, self->len));
	if (dm_kernel_before(6, 12)) {
		ASSERT_EQ(0, dm_migrate_raw(self->fd, self->mem, self->len,
					    DMIRROR_TARGET_DEVICE, &m));
		EXPECT_EQ(self->len, m.moved + m.busy);
	} else {
		EXPECT_EQ(0, dm_to_device_settled(self->fd, self->mem, self->len));
	}
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	dm_swap_end();
	munmap(other, self->len);
}

TEST_HARNESS_MAIN
