// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel counts of a program's memory is the same wherever the memory is;
 * and memory that comes back comes to the node that the program asked for.
 */
#include <linux/mempolicy.h>
#include <sys/syscall.h>

#include "dmirror_state.h"

#define NODES		2
#define DELIMITERS	"\n\t "

/* What smaps says of a range, in KiB */
struct counts {
	long rss;
	long pss;
	long anonymous;
	long swap;
};

static struct counts count(const void *mem, size_t len)
{
	return (struct counts) {
		.rss = dm_smaps(mem, len, "Rss"),
		.pss = dm_smaps(mem, len, "Pss"),
		.anonymous = dm_smaps(mem, len, "Anonymous"),
		.swap = dm_smaps(mem, len, "Swap"),
	};
}

static bool counts_are(const void *mem, size_t len, long kib, long pss)
{
	struct counts c = count(mem, len);

	if (c.rss == kib && c.pss == pss && c.anonymous == kib && !c.swap)
		return true;
	fprintf(stderr, "# Rss %ld Pss %ld Anonymous %ld Swap %ld, not %ld %ld\n",
		c.rss, c.pss, c.anonymous, c.swap, kib, pss);
	return false;
}

/* Pages that numa_maps has of the mapping at @addr on a node, or on all for -1 */
static long numa_pages(const void *addr, int node)
{
	char line[512], *word;
	long pages = 0, value;
	int number;
	FILE *f = fopen("/proc/self/numa_maps", "r");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (strtoul(line, NULL, 16) != (uintptr_t)addr)
			continue;
		for (word = strtok(line, DELIMITERS); word; word = strtok(NULL, DELIMITERS))
			if (sscanf(word, "N%d=%ld", &number, &value) == 2 &&
			    (node < 0 || number == node))
				pages += value;
	}
	fclose(f);
	return pages;
}

/*
 * A child maps memory of its own, so that nothing else changes its counters. These
 * are kept by CPU, and are right to some pages only.
 */
static bool rss_is(long before, long kib)
{
	long rss = dm_file_value("/proc/self/status", "RssAnon") - before;

	if (rss > kib - 512 && rss < kib + 512)
		return true;
	fprintf(stderr, "# RssAnon %ld, not %ld\n", rss, kib);
	return false;
}

static void every_step(const struct dm *dm)
{
	const size_t len = DM_HUGE;
	const long kib = len / 1024;
	int fd = dm_open_number(dm->device);
	char *mem = dm_map(dm, len);
	__u64 *turn = dm_shared();
	long before, shared;
	unsigned int way;
	pid_t pid;

	DM_CHECK(fd >= 0 && mem && turn);
	before = dm_file_value("/proc/self/status", "RssAnon");
	DM_CHECK(counts_are(mem, len, 0, 0));
	dm_fill(mem, len, SEED);
	for (way = 0; way < DM_WAYS; way++) {
		DM_CHECK(counts_are(mem, len, kib, kib) && rss_is(before, kib));
		DM_CHECK(numa_pages(mem, -1) == (long)(len / dm->page));
		DM_CHECK(!dm_to_device(fd, mem, len));
		DM_CHECK(counts_are(mem, len, kib, kib) && rss_is(before, kib));
		/* Device memory is on no node that a program could ask for. */
		DM_CHECK(!numa_pages(mem, -1));
		DM_CHECK(!dm_back(fd, mem, len, way));
	}

	/* Shared, by two, then no more. */
	DM_CHECK(!dm_to_device(fd, mem, len));
	/* Of a huge page on a device, smaps of 7.2 takes all for one's own. */
	shared = dm_large(dm) ? kib : kib / 2;
	pid = fork();
	if (!pid) {
		bool right = counts_are(mem, len, kib, shared);

		dm_poke(turn, 1);
		dm_await(turn, 2);
		_exit(!right);
	}
	dm_await(turn, 1);
	DM_CHECK(counts_are(mem, len, kib, shared) && rss_is(before, kib));
	dm_poke(turn, 2);
	DM_CHECK(!dm_wait(pid));
	DM_CHECK(counts_are(mem, len, kib, kib));

	/* A part is given back, then it is used again, then all goes. */
	DM_CHECK(!madvise(mem, len / 4, MADV_DONTNEED));
	DM_CHECK(counts_are(mem, len, kib * 3 / 4, kib * 3 / 4));
	DM_CHECK(rss_is(before, kib * 3 / 4));
	DM_CHECK(!dm_to_device(fd, mem, len));
	DM_CHECK(counts_are(mem, len, kib, kib) && rss_is(before, kib));
	DM_CHECK(!madvise(mem, len, MADV_DONTNEED));
	DM_CHECK(counts_are(mem, len, 0, 0) && rss_is(before, 0));
	_exit(0);
}

TEST_F(state, every_step)
{
	__u64 used = dm_memory_used(self->fd);
	pid_t pid = fork();

	if (!pid)
		every_step(&self->dm);
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(used, dm_memory_used(self->fd));
}

/* That a page was used, as smaps says it, goes with the page. */
TEST_F(state, referenced)
{
	const long kib = self->len / 1024;
	/* An entry of private memory has no such bit: what the folio knows is left. */
	const long kept = variant->backing.memory_type ==
			  DMIRROR_MEMORY_COHERENT ? kib : 0;
	unsigned int way;

	ASSERT_EQ(0, dm_file_write("/proc/self/clear_refs", "1"));
	/* CPUs are to forget that they have used it. */
	ASSERT_EQ(0, mprotect(self->mem, self->len, PROT_READ));
	ASSERT_EQ(0, mprotect(self->mem, self->len, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, dm_smaps(self->mem, self->len, "Referenced"));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	ASSERT_EQ(kib, dm_smaps(self->mem, self->len, "Referenced"));
	for (way = 0; way < DM_WAYS; way++) {
		/* A touch by the CPU would be one. */
		if (way == DM_WAY_TOUCH)
			continue;
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		EXPECT_EQ(kept, dm_smaps(self->mem, self->len, "Referenced"));
		ASSERT_EQ(0, dm_back(self->fd, self->mem, self->len, way));
		EXPECT_EQ(kept, dm_smaps(self->mem, self->len, "Referenced"));
	}
}

static int bind_to(char *mem, size_t len, unsigned int node)
{
	unsigned long mask = 1UL << node;

	return syscall(SYS_mbind, mem, len, MPOL_BIND, &mask,
		       8 * sizeof(mask), 0);
}

static bool on_node(char *mem, size_t len, unsigned int node)
{
	long pages = numa_pages(mem, node);

	if (pages == (long)(len / dm_page_size()))
		return true;
	fprintf(stderr, "# %ld pages on node %u, %ld on all\n", pages, node,
		numa_pages(mem, -1));
	return false;
}

static int set_policy(unsigned int mode, unsigned int node)
{
	unsigned long mask = 1UL << node;

	return syscall(SYS_set_mempolicy, mode,
		       mode == MPOL_DEFAULT ? NULL : &mask, 8 * sizeof(mask));
}

/* Where the mapping has no policy, the program's says it. */
TEST_F(state, node_of_program)
{
	unsigned int node, way;

	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "there is one node: boot with numa=fake=2");
	for (node = 0; node < NODES; node++) {
		ASSERT_EQ(0, set_policy(MPOL_BIND, node));
		for (way = 0; way < DM_WAY_EVICT; way++) {
			ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
			ASSERT_EQ(0, dm_back(self->fd, self->mem, self->len, way));
			EXPECT_TRUE(on_node(self->mem, self->len, node));
		}
	}
	ASSERT_EQ(0, set_policy(MPOL_DEFAULT, 0));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/*
 * The policy of the mapping says to which node memory comes back, whoever brings
 * it: by a call, by the CPU's touch, and if the policy has changed meanwhile.
 */
TEST_F(state, node)
{
	unsigned int node, way;
	char *mem;

	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "there is one node: boot with numa=fake=2");
	for (node = 0; node < NODES; node++) {
		mem = dm_map(&self->dm, self->len);
		ASSERT_NE(NULL, mem);
		ASSERT_EQ(0, bind_to(mem, self->len, node));
		dm_fill(mem, self->len, SEED);
		/* A physical address has no policy: what is evicted goes anywhere. */
		for (way = 0; way < DM_WAY_EVICT; way++) {
			ASSERT_TRUE(on_node(mem, self->len, node));
			ASSERT_EQ(0, dm_to_device(self->fd, mem, self->len));
			ASSERT_EQ(0, dm_back(self->fd, mem, self->len, way));
			EXPECT_TRUE(on_node(mem, self->len, node));
		}
		ASSERT_EQ(0, dm_to_device(self->fd, mem, self->len));
		ASSERT_EQ(0, bind_to(mem, self->len, !node));
		ASSERT_EQ(0, dm_back(self->fd, mem, self->len, DM_WAY_TOUCH));
		EXPECT_TRUE(on_node(mem, self->len, !node));
		EXPECT_EQ(0, dm_bad(mem, self->len, SEED));
		munmap(mem, self->len);
	}
}

TEST_HARNESS_MAIN
