// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs a process that a device mirrors it: nothing for memory that the
 * device never used, one notifier for each block of addresses that it did, and
 * nothing again once the program has unmapped that.
 *
 * The counts of callbacks are of one mirror or of one device, and mm may have
 * reasons of its own to look at memory. So where a number is to be exact it is
 * the least of several rounds.
 */
#include <signal.h>

#include "kselftest_harness.h"
#include "dmirror_test.h"

#define SEED		0x707
#define ROUNDS		4
#define FILES		100
#define BLOCKS		8
#define LOOPS		64
#define LARGE		(16UL << 20)
#define WAIT_SECONDS	20
#define GENERATIONS	500

FIXTURE(notifier)
{
	struct dm dm;
	size_t page;
	char *mem;
	int fd;
};

FIXTURE_VARIANT(notifier)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(notifier, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(notifier, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(notifier, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(notifier, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

static long mirror_value(int fd, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return dm_file_value(path, name);
}

static long watched(int fd)
{
	return mirror_value(fd, "dmirror-notifiers");
}

static long callbacks(int fd)
{
	return mirror_value(fd, "dmirror-invalidations");
}

/* The collector is a work item, and comes when it comes: the last count seen */
static long watched_becomes(int fd, long wanted)
{
	double end = dm_now() + WAIT_SECONDS;
	long n;

	while ((n = watched(fd)) != wanted && dm_now() < end)
		dm_msleep(1);
	return n;
}

/* Has the device use one page of each block; a page that the CPU has touched */
static int touch_blocks(int fd, char *mem, size_t len)
{
	size_t i;
	int ret;

	for (i = 0; i < len; i += DM_HUGE) {
		ret = dm_write64(fd, mem + i, SEED + i);
		if (ret)
			return ret;
	}
	return 0;
}

FIXTURE_SETUP(notifier)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->fd = self->dm.fd;
	self->page = self->dm.page;

	/* A block that the device does use, so that there is a notifier. */
	self->mem = dm_alloc(&self->dm, DM_HUGE, SEED);
	ASSERT_NE(NULL, self->mem);
	ASSERT_EQ(0, watched(self->fd));
	ASSERT_EQ(0, dm_write64(self->fd, self->mem, 1));
	ASSERT_EQ(1, watched(self->fd));
}

FIXTURE_TEARDOWN(notifier)
{
	munmap(self->mem, DM_HUGE);
	close(self->fd);
}

/*
 * Everything that a program can do to memory, on memory that is populated and
 * is nothing to the device.
 */

struct change {
	const char *name;
	void (*apply)(char *mem, size_t len);
};

static void discard(char *mem, size_t len)
{
	madvise(mem, len, MADV_DONTNEED);
}

static void protect(char *mem, size_t len)
{
	mprotect(mem, len, PROT_READ);
}

static void move(char *mem, size_t len)
{
	char *to = dm_map_flags(len, -1, PROT_NONE,
				MAP_PRIVATE | MAP_ANONYMOUS);

	if (to && mremap(mem, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to)
		munmap(to, len);
}

static void unmap(char *mem, size_t len)
{
	munmap(mem, len);
}

static const struct change changes[] = {
	{ "MADV_DONTNEED", discard },
	{ "mprotect", protect },
	{ "mremap", move },
	{ "munmap", unmap },
};

static char *populate(const struct dm *dm, size_t len)
{
	char *p = dm_map(dm, len);
	size_t i;

	for (i = 0; p && i < len; i += dm->page)
		dm_poke(p + i, i);
	return p;
}

/* The least number of callbacks that a change costs, by @count */
static long cost(const struct dm *dm, const struct change *change, size_t len,
		 long (*count)(int fd), int fd)
{
	unsigned int round;
	long least = -1, n;
	char *p;

	for (round = 0; round < ROUNDS && least; round++) {
		p = populate(dm, len);
		if (!p)
			return -1;
		n = count(fd);
		change->apply(p, len);
		n = count(fd) - n;
		munmap(p, len);
		if (least < 0 || n < least)
			least = n;
	}
	return least;
}

/*
 * Memory that the device never used is changed at no cost, though the file is
 * open, and other memory in use.
 */
TEST_F_TIMEOUT(notifier, untouched_memory_is_free, 120)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(changes); i++)
		EXPECT_EQ(0, cost(&self->dm, &changes[i], LARGE, callbacks,
				  self->fd))
			TH_LOG("of %s", changes[i].name);
	EXPECT_EQ(1, watched(self->fd));
}

static long device_callbacks(int fd)
{
	struct dmirror_query query;

	return dm_query(fd, &query) ? -1 : (long)query.invalidations;
}

/* However many files there are, each with memory of its own in use. */
TEST_F_TIMEOUT(notifier, untouched_memory_is_free_with_100_files, 120)
{
	unsigned int i;
	int fd[FILES];

	for (i = 0; i < FILES; i++) {
		fd[i] = dm_open_number(self->dm.device);
		ASSERT_LE(0, fd[i]);
		ASSERT_EQ(0, watched(fd[i]));
		ASSERT_EQ(0, dm_write64(fd[i], self->mem, i));
		ASSERT_EQ(1, watched(fd[i]));
	}
	for (i = 0; i < ARRAY_SIZE(changes); i++)
		EXPECT_EQ(0, cost(&self->dm, &changes[i], LARGE,
				  device_callbacks, self->fd))
			TH_LOG("of %s", changes[i].name);

	/* And what all of them use, all of them are told of. */
	i = device_callbacks(self->fd);
	munmap(self->mem, DM_HUGE);
	EXPECT_LE(FILES + 1, device_callbacks(self->fd) - i);
	for (i = 0; i < FILES; i++) {
		EXPECT_EQ(0, watched_becomes(fd[i], 0));
		close(fd[i]);
	}
}

/* A device that has used nothing watches nothing, not even to migrate. */
TEST_F(notifier, migration_watches_nothing)
{
	int fd = dm_open_number(self->dm.device);
	char *p = dm_alloc(&self->dm, 2 * DM_HUGE, SEED);

	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, p);
	ASSERT_EQ(0, dm_to_device(fd, p, 2 * DM_HUGE));
	EXPECT_EQ(0, watched(fd));
	ASSERT_EQ(0, dm_to_system(fd, p, 2 * DM_HUGE));
	EXPECT_EQ(0, watched(fd));
	EXPECT_EQ(0, dm_bad(p, 2 * DM_HUGE, SEED));
	munmap(p, 2 * DM_HUGE);
	EXPECT_EQ(0, callbacks(fd));
	close(fd);
}

/* Nor does looking, through either ABI, at blocks or across their borders. */
TEST_F(notifier, snapshot_watches_nothing)
{
	const size_t len = 3 * DM_HUGE, half = DM_HUGE / 2;
	char *p = dm_alloc(&self->dm, len, SEED);
	int hmm = hmm_open(self->dm.device);
	__u64 npages = (len - DM_HUGE) / self->page;
	unsigned char *bytes = malloc(npages);

	ASSERT_NE(NULL, p);
	ASSERT_NE(NULL, bytes);
	EXPECT_EQ(len / self->page,
		  dm_count(self->fd, p, len, DMIRROR_PLACE_SYSTEM));
	EXPECT_EQ(1, watched(self->fd));
	ASSERT_EQ(0, dm_write64(self->fd, p + DM_HUGE, 1));
	EXPECT_EQ(2, watched(self->fd));
	EXPECT_EQ(1, dm_count_flags(self->fd, p, len, DMIRROR_PAGE_MAPPED));
	EXPECT_EQ(2, watched(self->fd));
	munmap(p, DM_HUGE);
	EXPECT_EQ(len / self->page - DM_HUGE / self->page,
		  dm_count(self->fd, p, len, DMIRROR_PLACE_SYSTEM));
	EXPECT_EQ(2, watched(self->fd));

	if (hmm >= 0) {
		ASSERT_EQ(0, hmm_call(hmm, HMM_SNAPSHOT, p + half, bytes, npages,
				      NULL));
		EXPECT_EQ(HMM_PROT_ERROR, bytes[0]);
		EXPECT_EQ(0, watched(hmm));
		close(hmm);
	}
	munmap(p, len);
	EXPECT_EQ(1, watched_becomes(self->fd, 1));
	free(bytes);
}

/* A device that tried to use what is not there, or may not be used, does not. */
TEST_F(notifier, failed_fault_watches_nothing)
{
	char *p = dm_map_flags(2 * DM_HUGE, -1, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS);
	struct dmirror_atomic a;
	__u64 value;

	ASSERT_NE(NULL, p);
	EXPECT_EQ(-EFAULT, dm_read64(self->fd, p, &value));
	EXPECT_EQ(1, watched(self->fd));
	munmap(p + DM_HUGE, DM_HUGE);
	EXPECT_EQ(-EFAULT, dm_write64(self->fd, p + DM_HUGE, 1));
	EXPECT_EQ(-EFAULT, dm_atomic(self->fd, DMIRROR_ATOMIC_ADD, p + DM_HUGE,
				     8, 1, 0, &a));
	EXPECT_EQ(1, watched(self->fd));

	/* Half of a range that is used is used. */
	mprotect(p, DM_HUGE - self->page, PROT_READ | PROT_WRITE);
	EXPECT_EQ(-EFAULT, dm_fill_device(self->fd, p, DM_HUGE, 1));
	EXPECT_EQ(2, watched(self->fd));
	munmap(p, DM_HUGE);
	EXPECT_EQ(1, watched_becomes(self->fd, 1));
}

/*
 * A range that the device uses here and there is invalidated there and not
 * here, and the device sees what comes after.
 */
TEST_F_TIMEOUT(notifier, touched_memory_is_invalidated, 120)
{
	const size_t step = LARGE / BLOCKS;
	unsigned int round, i;
	long least = -1, n;
	__u64 value;
	char *p;

	p = populate(&self->dm, LARGE);
	ASSERT_NE(NULL, p);
	for (round = 1; round <= ROUNDS; round++) {
		for (i = 0; i < BLOCKS; i++) {
			dm_poke(p + i * step, round);
			ASSERT_EQ(0, dm_read64(self->fd, p + i * step, &value));
			EXPECT_EQ(round, value);
		}
		EXPECT_EQ(1 + BLOCKS, watched(self->fd));

		n = callbacks(self->fd);
		madvise(p, LARGE, MADV_DONTNEED);
		n = callbacks(self->fd) - n;
		if (least < 0 || n < least)
			least = n;

		for (i = 0; i < BLOCKS; i++) {
			ASSERT_EQ(0, dm_read64(self->fd, p + i * step, &value));
			EXPECT_EQ(0, value);
			dm_poke(p + i * step, ~round);
			ASSERT_EQ(0, dm_read64(self->fd, p + i * step, &value));
			EXPECT_EQ(~round, value);
		}
	}
	EXPECT_EQ(BLOCKS, least);
	munmap(p, LARGE);
	EXPECT_EQ(1, watched_becomes(self->fd, 1));
}

/* What the program unmaps is watched no more; what it discards may be. */
TEST_F(notifier, unmapped_is_collected)
{
	const size_t len = BLOCKS * DM_HUGE;
	unsigned int round;
	char *p;

	for (round = 0; round < ROUNDS; round++) {
		p = populate(&self->dm, len);
		ASSERT_NE(NULL, p);
		ASSERT_EQ(0, touch_blocks(self->fd, p, len));
		EXPECT_EQ(1 + BLOCKS, watched(self->fd));
		madvise(p, len, MADV_DONTNEED);
		EXPECT_EQ(1 + BLOCKS, watched(self->fd));

		if (round % 2)
			unmap(p, len);
		else
			move(p, len);
		EXPECT_EQ(1, watched_becomes(self->fd, 1));
	}
}

/* A block stays for as long as the device uses anything of it. */
TEST_F(notifier, partly_unmapped_stays)
{
	char *p = populate(&self->dm, DM_HUGE);
	__u64 value;

	ASSERT_NE(NULL, p);
	ASSERT_EQ(0, dm_write64(self->fd, p, 1));
	/* A block may have been mapped whole, and unmapped so. */
	munmap(p + DM_HUGE - self->page, self->page);
	ASSERT_EQ(0, dm_write64(self->fd, p, 2));
	ASSERT_EQ(0, dm_write64(self->fd, p + DM_HUGE / 2, 3));
	EXPECT_EQ(2, watched_becomes(self->fd, 2));

	munmap(p + DM_HUGE / 2, DM_HUGE / 2 - self->page);
	dm_msleep(50);
	ASSERT_EQ(0, dm_write64(self->fd, p, 4));
	EXPECT_EQ(2, watched_becomes(self->fd, 2));
	EXPECT_EQ(4, dm_peek(p));
	EXPECT_EQ(-EFAULT, dm_read64(self->fd, p + DM_HUGE / 2, &value));

	madvise(p, DM_HUGE / 2, MADV_DONTNEED);
	ASSERT_EQ(0, dm_read64(self->fd, p, &value));
	EXPECT_EQ(0, value);
	munmap(p, DM_HUGE / 2);
	EXPECT_EQ(1, watched_becomes(self->fd, 1));
}

/* What is unmapped over the border of two blocks is looked at in each of them. */
TEST_F(notifier, unmapped_over_a_border)
{
	char *a = populate(&self->dm, 2 * DM_HUGE), *b = a + DM_HUGE;
	__u64 value;

	ASSERT_NE(NULL, a);
	/* Mappings of their own: to split one, mm invalidates whole blocks. */
	madvise(b - self->page, 2 * self->page, MADV_DONTFORK);
	madvise(b - DM_HUGE / 2, DM_HUGE / 2 - self->page, MADV_DONTDUMP);
	/* All that is used of one, and not all of the other. */
	ASSERT_EQ(0, dm_read64(self->fd, b - self->page, &value));
	ASSERT_EQ(0, dm_read64(self->fd, b, &value));
	ASSERT_EQ(0, dm_read64(self->fd, b + self->page, &value));
	EXPECT_NE(0, value);
	ASSERT_EQ(3, watched(self->fd));
	munmap(b - self->page, 2 * self->page);
	EXPECT_EQ(2, watched_becomes(self->fd, 2));
	dm_msleep(50);
	madvise(b + self->page, self->page, MADV_DONTNEED);
	ASSERT_EQ(0, dm_read64(self->fd, b + self->page, &value));
	EXPECT_EQ(0, value);
	EXPECT_EQ(2, watched(self->fd));

	/* The other way round. */
	ASSERT_EQ(0, dm_read64(self->fd, a, &value));
	ASSERT_EQ(3, watched(self->fd));
	munmap(b - DM_HUGE / 2, DM_HUGE + DM_HUGE / 2);
	EXPECT_EQ(2, watched_becomes(self->fd, 2));
	munmap(a, DM_HUGE / 2);
	EXPECT_EQ(1, watched_becomes(self->fd, 1));
}

/* Exclusive access is a use of the memory, and its loss is noticed. */
TEST_F(notifier, exclusive_is_watched)
{
	char *p = dm_map_flags(self->page, -1, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS);
	unsigned int i;

	ASSERT_NE(NULL, p);
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, dm_add64(self->fd, p, 1));
		ASSERT_EQ(2 * i + 1, dm_peek(p));
		dm_poke(p, 2 * i + 2);
	}
	EXPECT_EQ(2, watched(self->fd));
	ASSERT_EQ(0, dm_add64(self->fd, p, 1));
	munmap(p, self->page);
	EXPECT_EQ(1, watched_becomes(self->fd, 1));
}

/* Map, use, unmap, for ever: the collector keeps up, wherever it happens. */
static long most_notifiers(const struct dm *dm, bool move_on)
{
	const size_t room = (LOOPS + 1) * DM_HUGE;
	char *start = dm_map_flags(room, -1, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
	long most = 0, n;
	__u64 value;
	char *p;
	int i;

	if (!start)
		return -ENOMEM;
	munmap(start, room);
	for (i = 1; i <= LOOPS; i++) {
		p = start + (move_on ? i * DM_HUGE : 0);
		if (mmap(p, dm->page, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != p)
			return -errno;
		dm_poke(p, i);
		if (dm_read64(dm->fd, p, &value) || value != i)
			return -EIO;
		/* Before the munmap: after it the collector may be quick. */
		n = watched(dm->fd);
		if (n > most)
			most = n;
		munmap(p, dm->page);
	}
	return most;
}

/*
 * One in use, one that was, and at most one more that is being removed: each
 * new one takes an old one away, whatever the collector does.
 */
TEST_F_TIMEOUT(notifier, loop_at_one_address, 120)
{
	long most = most_notifiers(&self->dm, false);

	EXPECT_LE(2, most);
	EXPECT_GE(4, most);
	EXPECT_EQ(1, watched_becomes(self->fd, 1));
}

TEST_F_TIMEOUT(notifier, loop_at_changing_addresses, 120)
{
	long most = most_notifiers(&self->dm, true);

	EXPECT_LE(2, most);
	EXPECT_GE(4, most);
	EXPECT_EQ(1, watched_becomes(self->fd, 1));
}

/* Many threads at once are the first to use a block: one notifier is left. */
struct first_use {
	int fd;
	char *mem;
	__u64 *go;
};

static int use_first(struct dm_worker *w)
{
	struct first_use *f = w->arg;
	char *mem = f->mem + w->done * DM_HUGE;

	dm_await(f->go, w->done + 1);
	/* Faults are served one by one; who looks does so for himself. */
	dm_count(f->fd, mem, dm_page_size(), DMIRROR_PLACE_HOLE);
	return dm_write64(f->fd, mem, w->done);
}

TEST_F_TIMEOUT(notifier, first_use_by_many, 120)
{
	const size_t len = 64 * DM_HUGE;
	struct first_use f = { .fd = self->fd, .go = dm_shared() };
	struct dm_worker w[4] = {};
	unsigned int i;
	__u64 block;

	ASSERT_NE(NULL, f.go);
	f.mem = dm_map_flags(len, -1, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
	ASSERT_NE(NULL, f.mem);
	madvise(f.mem, len, MADV_NOHUGEPAGE);
	for (i = 0; i < ARRAY_SIZE(w); i++) {
		w[i].step = use_first;
		w[i].arg = &f;
		w[i].limit = len / DM_HUGE;
		ASSERT_EQ(0, dm_worker_start(&w[i]));
	}
	for (block = 1; block <= len / DM_HUGE; block++) {
		dm_poke(f.go, block);
		for (i = 0; i < ARRAY_SIZE(w); i++)
			dm_await(&w[i].done, block);
	}
	for (i = 0; i < ARRAY_SIZE(w); i++)
		EXPECT_EQ(0, dm_worker_stop(&w[i]));
	EXPECT_EQ(1 + len / DM_HUGE, watched(self->fd));
	munmap(f.mem, len);
	EXPECT_EQ(1, watched_becomes(self->fd, 1));
	munmap(f.go, self->page);
}

/*
 * A range is mapped anew, again and again, while the device reads and writes it.
 * Each generation is filled with its number before that is published, so the
 * device may find no memory, or a page that is not filled yet, but nothing that
 * is older than what was published before it looked.
 */
#define GEN_PAGES	4

enum gen_word {
	GEN_CPU,	/* the generation, written by the CPU */
	GEN_DEVICE,	/* the same, written by the device once it is published */
	GEN_MARK,	/* a number that the device counts up */
	GEN_WORDS,
};

struct generations {
	int fd;
	char *mem;
	size_t len;
	__u64 current;
	unsigned long seen;
	unsigned long stale;
	unsigned long lost;
};

static __u64 *gen_word(struct generations *g, unsigned long i, enum gen_word word)
{
	return (__u64 *)(g->mem + i % GEN_PAGES * dm_page_size()) + word;
}

static int read_generation(struct dm_worker *w)
{
	struct generations *g = w->arg;
	__u64 before = dm_peek(&g->current);
	__u64 words[GEN_WORDS] = { 0 };
	int ret;

	ret = dm_read(g->fd, gen_word(g, w->done, 0), words, sizeof(words));
	if (ret)
		return ret == -EFAULT ? 0 : ret;
	if ((words[GEN_CPU] && words[GEN_CPU] < before) ||
	    (words[GEN_DEVICE] && words[GEN_DEVICE] < before))
		__atomic_add_fetch(&g->stale, 1, __ATOMIC_RELAXED);
	else if (words[GEN_CPU])
		__atomic_add_fetch(&g->seen, 1, __ATOMIC_RELAXED);
	return 0;
}

/* What the device wrote is there, or else the page is another one. */
static int write_mark(struct dm_worker *w)
{
	struct generations *g = w->arg;
	__u64 *word = gen_word(g, w->done, GEN_MARK);
	__u64 value = 0;
	int ret;

	ret = dm_write64(g->fd, word, w->done + 1);
	if (!ret)
		ret = dm_read64(g->fd, word, &value);
	if (!ret && value && value != w->done + 1)
		__atomic_add_fetch(&g->stale, 1, __ATOMIC_RELAXED);
	return ret == -EFAULT ? 0 : ret;
}

static int next_generation(struct generations *g)
{
	__u64 next = g->current + 1, value;
	unsigned long i;
	int ret = 0;

	munmap(g->mem, g->len);
	if (mmap(g->mem, g->len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != g->mem)
		return -errno;
	for (i = 0; i < GEN_PAGES; i++)
		dm_poke(gen_word(g, i, GEN_CPU), next);
	dm_poke(&g->current, next);

	/* Nobody changes the mapping now: the answers are exact. */
	for (i = 0; i < GEN_PAGES && !ret; i++) {
		ret = dm_read64(g->fd, gen_word(g, i, GEN_CPU), &value);
		if (!ret && value != next)
			__atomic_add_fetch(&g->stale, 1, __ATOMIC_RELAXED);
		if (!ret)
			ret = dm_write64(g->fd, gen_word(g, i, GEN_DEVICE), next);
		if (!ret && dm_peek(gen_word(g, i, GEN_DEVICE)) != next)
			__atomic_add_fetch(&g->lost, 1, __ATOMIC_RELAXED);
	}
	return ret;
}

TEST_F_TIMEOUT(notifier, never_stale_while_remapped, 120)
{
	struct generations g = {
		.fd = self->fd, .len = GEN_PAGES * self->page,
	};
	struct dm_worker reader = {
		.step = read_generation, .arg = &g, .limit = -1UL,
	};
	struct dm_worker writer = {
		.step = write_mark, .arg = &g, .limit = -1UL,
	};

	g.mem = dm_map_flags(DM_HUGE, -1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
	ASSERT_NE(NULL, g.mem);
	ASSERT_EQ(0, dm_worker_start(&reader));
	ASSERT_EQ(0, dm_worker_start(&writer));
	/* As many as it takes to see one at all */
	while (g.current < dm_rounds(GENERATIONS) ||
	       !__atomic_load_n(&g.seen, __ATOMIC_RELAXED)) {
		ASSERT_EQ(0, reader.error);
		ASSERT_EQ(0, writer.error);
		ASSERT_EQ(0, next_generation(&g));
	}
	EXPECT_EQ(0, dm_worker_stop(&reader));
	EXPECT_EQ(0, dm_worker_stop(&writer));
	EXPECT_EQ(0, g.stale);
	EXPECT_EQ(0, g.lost);
	EXPECT_LT(0, g.seen);
	TH_LOG("%llu generations, read %lu times", g.current, g.seen);
	munmap(g.mem, DM_HUGE);
	EXPECT_EQ(1, watched_becomes(self->fd, 1));
}

/*
 * The same with a neighbour in the same block that stays, whose contents the
 * device must keep seeing whatever becomes of the rest.
 */
TEST_F_TIMEOUT(notifier, neighbour_of_what_is_remapped, 120)
{
	struct generations g = {
		.fd = self->fd, .len = GEN_PAGES * self->page,
	};
	struct dm_worker writer = {
		.step = write_mark, .arg = &g, .limit = -1UL,
	};
	unsigned int bad = 0;
	__u64 value, i;
	char *stays;

	g.mem = dm_map_flags(DM_HUGE, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS);
	ASSERT_NE(NULL, g.mem);
	stays = g.mem + DM_HUGE - self->page;
	ASSERT_EQ(0, dm_worker_start(&writer));
	for (i = 1; i <= dm_rounds(GENERATIONS) && !writer.error; i++) {
		dm_poke(stays, i);
		ASSERT_EQ(0, dm_read64(self->fd, stays, &value));
		bad += value != i;
		ASSERT_EQ(0, next_generation(&g));
		madvise(stays, self->page, MADV_DONTNEED);
		ASSERT_EQ(0, dm_read64(self->fd, stays, &value));
		bad += value != 0;
	}
	EXPECT_EQ(0, dm_worker_stop(&writer));
	EXPECT_EQ(0, bad);
	EXPECT_EQ(0, g.stale);
	EXPECT_EQ(0, g.lost);
	munmap(g.mem, DM_HUGE);
	EXPECT_EQ(1, watched_becomes(self->fd, 1));
}

/* A file is closed while what it has to collect is not collected yet. */
TEST_F_TIMEOUT(notifier, close_while_collecting, 120)
{
	const size_t len = BLOCKS * DM_HUGE;
	unsigned int round;
	char *p;
	int fd;

	for (round = 0; round < dm_rounds(100); round++) {
		fd = dm_open_number(self->dm.device);
		ASSERT_LE(0, fd);
		p = dm_map_flags(len, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS);
		ASSERT_NE(NULL, p);
		ASSERT_EQ(0, touch_blocks(fd, p, len));
		if (round % 3)
			munmap(p, len);
		close(fd);
		if (!(round % 3))
			munmap(p, len);
	}
	EXPECT_EQ(1, watched(self->fd));
}

/* And so is a process, with all that it has open, mapped and in use. */
TEST_F_TIMEOUT(notifier, exit_while_collecting, 120)
{
	const size_t len = BLOCKS * DM_HUGE;
	unsigned int round;
	pid_t child;
	char *p;
	int fd;

	for (round = 0; round < dm_rounds(50); round++) {
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			fd = dm_open_number(self->dm.device);
			DM_CHECK(fd >= 0);
			p = dm_map_flags(len, MADV_NOHUGEPAGE,
					 PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS);
			DM_CHECK(p);
			DM_CHECK(!touch_blocks(fd, p, len));
			munmap(p, len / 2);
			if (round % 2)
				_exit(0);
			raise(SIGKILL);
		}
		EXPECT_EQ(round % 2 ? 0 : -SIGKILL, dm_wait(child));
	}
	EXPECT_EQ(1, watched(self->fd));
}

/*
 * A file that outlives the process whose memory it mirrors keeps nothing of it:
 * a grandchild looks at the file after the child that opened it is gone.
 */
TEST_F_TIMEOUT(notifier, exit_with_file_kept, 120)
{
	__u64 *stage = dm_shared();
	pid_t child;
	char *p;
	int fd;

	ASSERT_NE(NULL, stage);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		fd = dm_open_number(self->dm.device);
		DM_CHECK(fd >= 0);
		p = dm_map_flags(BLOCKS * DM_HUGE, MADV_NOHUGEPAGE,
				 PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS);
		DM_CHECK(p);
		DM_CHECK(!touch_blocks(fd, p, BLOCKS * DM_HUGE));
		child = fork();
		DM_CHECK(child >= 0);
		if (child)
			_exit(watched(fd) != BLOCKS);
		dm_await(stage, 1);
		stage[1] = watched_becomes(fd, 0) + 1;
		close(fd);
		dm_poke(stage, 2);
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(child));
	dm_poke(stage, 1);
	dm_await(stage, 2);
	EXPECT_EQ(1, dm_peek(&stage[1]));
	munmap(stage, self->page);
}

TEST_HARNESS_MAIN
