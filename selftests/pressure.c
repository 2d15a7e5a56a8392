// SPDX-License-Identifier: GPL-2.0
/*
 * More memory than the device has: what is evicted, in which order, and that
 * nothing is lost on the way. For devices of a few blocks, as pressure.sh has
 * the driver loaded.
 */
#include <sys/time.h>

#include "kselftest_harness.h"
#include "dmirror_test.h"
#include "dmirror_advice.h"

#define SEED		0x9e55
#define MAX_BLOCKS	16
#define RACE_ROUNDS	8
#define LOAD_STEPS	240

FIXTURE(pressure)
{
	struct dm dm;
	unsigned int device;
	size_t page;
	size_t size;
	unsigned int blocks;
	pid_t hog;
	__u64 *words;
	int fd;
};

FIXTURE_VARIANT(pressure)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(pressure, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(pressure, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(pressure, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(pressure, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

FIXTURE_SETUP(pressure)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->device = self->dm.device;
	if (dm_counter(self->device, "evicted") < 0)
		SKIP(_exit(DM_SKIP_STATUS), "no debugfs: CONFIG_DEBUG_FS");
	self->fd = self->dm.fd;
	self->page = self->dm.page;
	self->size = self->dm.query.memory_size;
	self->blocks = self->size / DM_HUGE;
	ASSERT_GE(MAX_BLOCKS, self->blocks) {
		TH_LOG("the devices have to be small, as pressure.sh makes them");
	}
	self->words = dm_shared();
	ASSERT_NE(NULL, self->words);
	ASSERT_EQ(0, dm_set_parameter("min_residency_ms", 0));
	ASSERT_EQ(0, dm_counter(self->device, "memory_used"));
}

FIXTURE_TEARDOWN(pressure)
{
	dm_fail_stop();
	dm_set_parameter("min_residency_ms", 0);
	EXPECT_EQ(0, dm_counter(self->device, "memory_used"));
	munmap(self->words, self->page);
	close(self->fd);
}

/*
 * Another process that needs all of the device and more, all the time
 */

#define HOG_STOP	1	/* index of the word that tells it to end */

static int hog_run(const struct dm *dm, __u64 *words, size_t len)
{
	int fd = dm_open_number(dm->device), ret;
	char *mem = dm_map(dm, len);
	struct dmirror_migrate m;
	size_t at;

	DM_CHECK(fd >= 0 && mem);
	for (at = 0; at < len; at += dm->page)
		dm_poke(mem + at, at + 1);
	for (at = 0; !dm_peek(words + HOG_STOP); at = (at + DM_HUGE) % len) {
		ret = dm_migrate_raw(fd, mem + at, DM_HUGE,
				     DMIRROR_TARGET_DEVICE, &m);
		DM_CHECK(!ret || ret == -ENOSPC);
		DM_CHECK(dm_migrate_sum(&m) == DM_HUGE);
		dm_poke(words, dm_peek(words) + 1);
	}
	for (at = 0; at < len; at += dm->page)
		DM_CHECK(dm_peek(mem + at) == at + 1);
	return 0;
}

static pid_t hog_start(const struct dm *dm, __u64 *words, size_t len)
{
	pid_t pid;

	dm_poke(words, 0);
	dm_poke(words + HOG_STOP, 0);
	pid = fork();
	if (!pid)
		_exit(hog_run(dm, words, len));
	while (dm_peek(words) < len / DM_HUGE && !waitpid(pid, NULL, WNOHANG))
		dm_msleep(1);
	return pid;
}

/* It has lost nothing: 0 */
static int hog_stop(pid_t pid, __u64 *words)
{
	dm_poke(words + HOG_STOP, 1);
	return dm_wait_for(pid, 60);
}

/*
 * Four times as much as there is
 */

static int oversubscribe(const struct dm *dm, size_t len, __u64 seed)
{
	struct dm_load load;

	DM_CHECK(!dm_load_init(&load, dm, len, seed));
	dm_load_cpu_write(&load, 0, load.pages);
	DM_CHECK(!dm_load_migrate(&load, 0, load.pages, DMIRROR_TARGET_DEVICE));
	while (load.steps < dm_rounds(LOAD_STEPS))
		DM_CHECK(!dm_load_step(&load));
	DM_CHECK(!dm_load_check_all(&load));
	return 0;
}

/* One of two: they exit together, so that neither has memory on its way just then. */
static int oversubscribe_together(const struct dm *dm, __u64 *words, size_t len,
				  __u64 seed)
{
	int ret = oversubscribe(dm, len, seed);

	__atomic_add_fetch(words, 1, __ATOMIC_SEQ_CST);
	dm_await(words, 2);
	return ret;
}

/* By two processes at once, and every byte stays what it has to be. */
TEST_F_TIMEOUT(pressure, rule09_memory_is_bounded, 300)
{
	long long evicted = dm_counter(self->device, "evicted");
	bool left[2] = { true, true };
	struct dmirror_query q;
	unsigned int i;
	pid_t pids[2];
	int status;

	for (i = 0; i < 2; i++) {
		pids[i] = fork();
		if (!pids[i])
			_exit(oversubscribe_together(&self->dm, self->words,
						     self->size * 2,
						     (i + 1ULL) << 32));
	}
	while (left[0] || left[1]) {
		ASSERT_EQ(0, dm_query(self->fd, &q));
		ASSERT_GE(q.memory_size, q.memory_used);
		for (i = 0; i < 2; i++) {
			if (!left[i] || waitpid(pids[i], &status, WNOHANG) <= 0)
				continue;
			left[i] = false;
			EXPECT_EQ(0, status);
		}
		dm_msleep(5);
	}
	EXPECT_LT(evicted, dm_counter(self->device, "evicted"));
	EXPECT_LT(0, dm_counter(self->device, "refaults"));
}

/*
 * Eviction while its pages come to an end, in each way that they can
 */

/* To the device, as much as fits just now */
static int crowd_in(int fd, const void *mem, size_t len)
{
	struct dmirror_migrate m;
	int ret = dm_migrate_raw(fd, mem, len, DMIRROR_TARGET_DEVICE, &m);

	return ret == -ENOSPC ? 0 : ret;
}

TEST_F_TIMEOUT(pressure, eviction_and_fork, 120)
{
	char *mem = dm_alloc(&self->dm, DM_HUGE, SEED);
	size_t half = DM_HUGE / 2, half_pages = half / self->page;
	unsigned int i;
	pid_t hog, pid;

	ASSERT_NE(NULL, mem);
	hog = hog_start(&self->dm, self->words, self->size + DM_HUGE);
	for (i = 0; i < dm_rounds(RACE_ROUNDS); i++) {
		dm_fill(mem, half, SEED + i);
		ASSERT_EQ(0, crowd_in(self->fd, mem, DM_HUGE));
		pid = fork();
		if (!pid) {
			int fd = dm_open_number(self->device);

			DM_CHECK(!dm_bad(mem, half, SEED + i));
			dm_fill(mem, half, 1);
			DM_CHECK(!crowd_in(fd, mem, DM_HUGE));
			DM_CHECK(!dm_bad(mem, half, 1));
			DM_CHECK(!dm_bad_from(mem + half, half, SEED,
					      half_pages));
			_exit(0);
		}
		dm_fill(mem, half, SEED + i + 1);

		/* Not at the same time: 7.2 splits what both share unheld. */
		ASSERT_EQ(0, dm_wait_for(pid, 60));
		ASSERT_EQ(0, crowd_in(self->fd, mem, DM_HUGE));
		ASSERT_EQ(0, dm_bad(mem, half, SEED + i + 1));
		ASSERT_EQ(0, dm_bad_from(mem + half, half, SEED, half_pages));
	}
	EXPECT_EQ(0, hog_stop(hog, self->words));
	munmap(mem, DM_HUGE);
}

TEST_F_TIMEOUT(pressure, eviction_and_munmap, 120)
{
	size_t part = DM_HUGE / 4, page = self->page;
	unsigned int i;
	pid_t hog;

	hog = hog_start(&self->dm, self->words, self->size + DM_HUGE);
	for (i = 0; i < dm_rounds(RACE_ROUNDS); i++) {
		char *mem = dm_alloc(&self->dm, DM_HUGE, SEED + i);

		ASSERT_NE(NULL, mem);
		ASSERT_EQ(0, crowd_in(self->fd, mem, DM_HUGE));
		ASSERT_EQ(0, munmap(mem + part, part));
		ASSERT_EQ(0, madvise(mem + 2 * part, part, MADV_DONTNEED));
		ASSERT_EQ(0, dm_bad(mem, part, SEED + i));
		ASSERT_TRUE(dm_zero(mem + 2 * part, part));
		ASSERT_EQ(0, dm_bad_from(mem + 3 * part, part, SEED + i,
					 3 * part / page));
		ASSERT_EQ(0, munmap(mem, DM_HUGE));
	}
	EXPECT_EQ(0, hog_stop(hog, self->words));
}

TEST_F_TIMEOUT(pressure, eviction_and_mremap, 120)
{
	char *mem = dm_alloc(&self->dm, DM_HUGE, SEED), *to;
	size_t part = DM_HUGE / 2;
	unsigned int i;
	pid_t hog;

	ASSERT_NE(NULL, mem);
	hog = hog_start(&self->dm, self->words, self->size + DM_HUGE);
	for (i = 0; i < dm_rounds(RACE_ROUNDS); i++) {
		ASSERT_EQ(0, crowd_in(self->fd, mem, DM_HUGE));
		to = dm_map(&self->dm, DM_HUGE);
		ASSERT_NE(NULL, to);

		/* As a whole, and in two halves */
		if (i & 1) {
			ASSERT_EQ(to, mremap(mem, DM_HUGE, DM_HUGE,
					     MREMAP_MAYMOVE | MREMAP_FIXED,
					     to));
		} else {
			ASSERT_EQ(to, mremap(mem, part, part,
					     MREMAP_MAYMOVE | MREMAP_FIXED,
					     to));
			ASSERT_EQ(to + part,
				  mremap(mem + part, part, part,
					 MREMAP_MAYMOVE | MREMAP_FIXED,
					 to + part));
		}
		mem = to;
		ASSERT_EQ(0, dm_bad(mem, DM_HUGE, SEED));
	}
	EXPECT_EQ(0, hog_stop(hog, self->words));
	munmap(mem, DM_HUGE);
}

TEST_F_TIMEOUT(pressure, eviction_and_exit, 120)
{
	struct dm dm = dm_unmapping(&self->dm);
	unsigned int i;
	pid_t hog, pid;

	hog = hog_start(&self->dm, self->words, self->size + DM_HUGE);
	for (i = 0; i < dm_rounds(RACE_ROUNDS); i++) {
		pid = fork();
		if (!pid) {
			char *mem = dm_alloc(&dm, 2 * DM_HUGE, SEED);
			int fd = dm_open_number(self->device);

			DM_CHECK(!crowd_in(fd, mem, 2 * DM_HUGE));
			_exit(0);
		}
		ASSERT_EQ(0, dm_wait_for(pid, 60));
	}
	EXPECT_EQ(0, hog_stop(hog, self->words));
}

/* Those that are killed are evicting themselves just then, or are evicted. */
TEST_F_TIMEOUT(pressure, eviction_and_kill, 120)
{
	struct dm dm = dm_unmapping(&self->dm);
	size_t len = self->size + DM_HUGE;
	unsigned int i;
	pid_t hog, pid;

	hog = hog_start(&self->dm, self->words, len);
	for (i = 0; i < dm_rounds(RACE_ROUNDS); i++) {
		dm_poke(self->words + 2, 0);
		pid = fork();
		if (!pid)
			_exit(hog_run(&dm, self->words + 2, len));
		while (dm_peek(self->words + 2) < 2 + i % 4)
			dm_msleep(1);
		dm_msleep(i % 5);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(-SIGKILL, dm_wait_for(pid, 60));
	}
	EXPECT_EQ(0, hog_stop(hog, self->words));
}

/*
 * The order
 */

/* What the device has, block by block of @mem, least recently used first */
struct lru {
	unsigned int nr;
	unsigned int blocks[MAX_BLOCKS];
};

static void lru_remove(struct lru *lru, unsigned int i)
{
	lru->nr--;
	memmove(lru->blocks + i, lru->blocks + i + 1,
		(lru->nr - i) * sizeof(*lru->blocks));
}

static bool lru_has(const struct lru *lru, unsigned int block, unsigned int *i)
{
	for (*i = 0; *i < lru->nr; (*i)++)
		if (lru->blocks[*i] == block)
			return true;
	return false;
}

static bool lru_is_true(const struct lru *lru, int fd, const char *mem,
			unsigned int blocks)
{
	unsigned int block, i;
	long count;

	for (block = 0; block < blocks; block++) {
		count = dm_count(fd, mem + block * DM_HUGE, DM_HUGE,
				 DMIRROR_PLACE_LOCAL);
		if (count == (lru_has(lru, block, &i) ?
			      (long)(DM_HUGE / dm_page_size()) : 0))
			continue;
		fprintf(stderr, "# block %u has %ld pages on the device\n",
			block, count);
		return false;
	}
	return true;
}

/*
 * One block of memory makes room for one block, the one that the device has
 * not used for longest, and for nothing else.
 */
TEST_F_TIMEOUT(pressure, least_recently_used, 120)
{
	const unsigned int blocks = self->blocks + 2, rounds = dm_rounds(16);
	long long evicted = dm_counter(self->device, "evicted");
	size_t len = blocks * DM_HUGE;
	char *mem = dm_alloc(&self->dm, len, SEED);
	struct lru lru = { 0 };
	unsigned int i, block, nth;
	__u64 value;

	ASSERT_NE(NULL, mem);
	for (block = 0; block < self->blocks; block++) {
		ASSERT_EQ(0, dm_to_device(self->fd, mem + block * DM_HUGE,
					  DM_HUGE));
		lru.blocks[lru.nr++] = block;
	}
	ASSERT_TRUE(lru_is_true(&lru, self->fd, mem, blocks));
	ASSERT_EQ(evicted, dm_counter(self->device, "evicted"));

	for (i = 0; i < rounds; i++) {
		/* The device uses one of them, a page that it has not mapped. */
		nth = i * 7 % lru.nr;
		block = lru.blocks[nth];
		ASSERT_EQ(0, dm_read64(self->fd, mem + block * DM_HUGE +
				       (i + 1) * self->page, &value));
		ASSERT_EQ(dm_word(SEED, block * (DM_HUGE / self->page) + i + 1,
				  0), value);
		lru_remove(&lru, nth);
		lru.blocks[lru.nr++] = block;

		/* Then it needs one that it does not have. */
		for (block = i % blocks; lru_has(&lru, block, &nth);)
			block = (block + 1) % blocks;
		ASSERT_EQ(0, dm_to_device(self->fd, mem + block * DM_HUGE,
					  DM_HUGE));
		lru_remove(&lru, 0);
		lru.blocks[lru.nr++] = block;
		ASSERT_TRUE(lru_is_true(&lru, self->fd, mem, blocks)) {
			TH_LOG("in round %u, for block %u", i, block);
		}
	}
	EXPECT_EQ(evicted + rounds * DM_HUGE,
		  dm_counter(self->device, "evicted"));
	EXPECT_EQ(0, dm_bad(mem, len, SEED));
	munmap(mem, len);
}

/*
 * What the device uses is not evicted, though it has it mapped and no fault tells of
 * the use; and goes in its turn when it no longer is used.
 */
TEST_F_TIMEOUT(pressure, used_without_a_fault, 120)
{
	const unsigned int blocks = 2 * self->blocks + 2;
	char *mem = dm_alloc(&self->dm, blocks * DM_HUGE, SEED);
	char *other = dm_alloc(&self->dm, DM_HUGE, SEED + 1), *used = NULL;
	long long faults = 0;
	struct lru lru = { 0 };
	unsigned int block, i;
	__u64 value;

	ASSERT_NE(NULL, mem);
	ASSERT_NE(NULL, other);
	/* What used the same device memory before says nothing of who has it now. */
	ASSERT_EQ(0, dm_to_device(self->fd, other, DM_HUGE));
	ASSERT_EQ(0, dm_read64(self->fd, other, &value));
	munmap(other, DM_HUGE);

	for (block = 0; block < blocks; block++) {
		ASSERT_EQ(0, dm_to_device(self->fd, mem + block * DM_HUGE,
					  DM_HUGE));
		if (block >= self->blocks)
			lru_remove(&lru, 0);
		lru.blocks[lru.nr++] = block;
		ASSERT_TRUE(lru_is_true(&lru, self->fd, mem, blocks)) {
			TH_LOG("for block %u", block);
		}

		/* By a fault one block becomes the most recently used. */
		if (block == self->blocks) {
			used = mem + lru.blocks[0] * DM_HUGE;
			ASSERT_EQ(0, dm_read64(self->fd, used, &value));
			faults = dm_counter(self->device, "device_faults");
		}
		/* Then it is used again, without one. */
		if (block == self->blocks + 1) {
			ASSERT_EQ(0, dm_read64(self->fd, used, &value));
			ASSERT_EQ(faults, dm_counter(self->device,
						     "device_faults"));
		}
		if (block == self->blocks || block == self->blocks + 1) {
			ASSERT_TRUE(lru_has(&lru, (used - mem) / DM_HUGE, &i));
			lru_remove(&lru, i);
			lru.blocks[lru.nr++] = (used - mem) / DM_HUGE;
		}
	}
	EXPECT_EQ(0, dm_bad(mem, blocks * DM_HUGE, SEED));
	munmap(mem, blocks * DM_HUGE);
}

/*
 * What comes back to the device after it was evicted is counted as that: an
 * estimate, if a good one, by page frames. What others have left of those is
 * counted once, so the memory goes there and back until nothing is.
 */
TEST_F_TIMEOUT(pressure, refaults, 120)
{
	long long evicted = dm_counter(self->device, "evicted");
	long long refaults = dm_counter(self->device, "refaults");
	size_t len = self->size + DM_HUGE;
	char *mem = dm_alloc(&self->dm, len, SEED);
	struct dmirror_query q;
	unsigned int tries;
	long long before;

	ASSERT_NE(NULL, mem);

	/* khugepaged would give what was evicted other page frames. */
	madvise(mem, len, MADV_NOHUGEPAGE);
	for (tries = 0; tries < 50; tries++) {
		before = refaults;
		ASSERT_EQ(0, dm_to_device(self->fd, mem, self->size));
		refaults = dm_counter(self->device, "refaults");
		if (refaults == before)
			break;
		ASSERT_EQ(0, dm_to_system(self->fd, mem, self->size));
	}
	EXPECT_GT(50, tries);
	EXPECT_EQ(evicted, dm_counter(self->device, "evicted"));
	ASSERT_EQ(0, dm_to_device(self->fd, mem + self->size, DM_HUGE));
	EXPECT_EQ(evicted + DM_HUGE, dm_counter(self->device, "evicted"));

	/* What was evicted comes back, from whichever addresses it was. */
	refaults = dm_counter(self->device, "refaults");
	ASSERT_EQ(0, dm_to_device(self->fd, mem, self->size));
	refaults = dm_counter(self->device, "refaults") - refaults;
	/* Compaction for huge pages may have moved it by then. */
	if (!variant->backing.thp)
		EXPECT_LE(DM_HUGE / 4, refaults);
	EXPECT_GE(dm_counter(self->device, "evicted") - evicted, refaults);
	ASSERT_EQ(0, dm_query(self->fd, &q));
	EXPECT_EQ(q.evicted, dm_counter(self->device, "evicted"));
	EXPECT_EQ(0, dm_bad(mem, len, SEED));
	munmap(mem, len);
}

/*
 * How long memory is safe
 */

TEST_F_TIMEOUT(pressure, long_residency, 120)
{
	long long evicted = dm_counter(self->device, "evicted");
	size_t len = self->size + DM_HUGE + 8 * self->page;
	char *mem = dm_alloc(&self->dm, len, SEED);
	struct dmirror_migrate m;
	double start;

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, dm_set_parameter("min_residency_ms", 600000));
	start = dm_now();
	EXPECT_EQ(-ENOSPC, dm_migrate_raw(self->fd, mem, len,
					  DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->size, m.moved);
	EXPECT_EQ(len - self->size, m.no_memory);
	EXPECT_EQ(len, dm_migrate_sum(&m));
	EXPECT_EQ(evicted, dm_counter(self->device, "evicted"));
	EXPECT_TRUE(dm_all(self->fd, mem, self->size, DMIRROR_PLACE_LOCAL));
	EXPECT_TRUE(dm_all(self->fd, mem + self->size, len - self->size,
			   DMIRROR_PLACE_SYSTEM));

	/* Nobody waits for what will not be. */
	EXPECT_GT(start + 60, dm_now());

	/* What was given back is not waited for either. */
	ASSERT_EQ(0, dm_to_system(self->fd, mem, DM_HUGE));
	ASSERT_EQ(0, dm_to_device(self->fd, mem + self->size, DM_HUGE));
	EXPECT_EQ(evicted, dm_counter(self->device, "evicted"));
	EXPECT_EQ(0, dm_bad(mem, len, SEED));
	munmap(mem, len);
}

/* The call waits as long, whatever signals come, and then there is room. */
TEST_F_TIMEOUT(pressure, short_residency, 120)
{
	struct itimerval often = { { 0, 10000 }, { 0, 10000 } }, never = { };
	const unsigned int ms = 80, rounds = 2 * self->blocks;
	size_t len = self->size + DM_HUGE;
	char *mem = dm_alloc(&self->dm, len, SEED);
	unsigned int i, blocks = len / DM_HUGE;
	double since[MAX_BLOCKS + 1];

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, dm_set_parameter("min_residency_ms", ms));
	ASSERT_EQ(0, dm_take_signal(SIGALRM));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &often, NULL));
	for (i = 0; i < rounds; i++) {
		since[i % blocks] = dm_now();
		ASSERT_EQ(0, dm_to_device(self->fd, mem + i % blocks * DM_HUGE,
					  DM_HUGE));

		/* This made room for it, which had to be old enough, but for a tick. */
		if (i + 1 >= blocks)
			EXPECT_LE(since[(i + 1) % blocks] + (ms - 10) / 1000.0,
				  dm_now());
	}
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));
	EXPECT_EQ(0, dm_bad(mem, len, SEED));
	munmap(mem, len);
}

#define TURNS	8	/* of each of two who share the device */

/*
 * One of two, who brings its memory to the device, as much as fits, and has the device
 * write all of it anew, wherever it is. Nothing that it had before is lost.
 */
static void take_turn(int fd, char *mem, char *buf, size_t len, __u64 seed)
{
	struct dmirror_migrate m;
	int ret = dm_migrate_raw(fd, mem, len, DMIRROR_TARGET_DEVICE, &m);

	DM_CHECK(!ret || ret == -ENOSPC);
	DM_CHECK(dm_migrate_sum(&m) == len);
	DM_CHECK(!dm_read(fd, mem, buf, len));
	DM_CHECK(!dm_bad(buf, len, seed));
	dm_fill(buf, len, seed + 1);
	DM_CHECK(!dm_write(fd, mem, buf, len));
}

/* All turns of the one. The two exit when both are done, and not before. */
static void take_turns(const struct dm *dm, size_t len, unsigned int me,
		       __u64 *word)
{
	__u64 seed = SEED + (me << 16);
	unsigned int i, turns = dm_rounds(TURNS);
	int fd = dm_open_number(dm->device);
	char *mem = dm_alloc(dm, len, seed), *buf = malloc(len);

	DM_CHECK(fd >= 0 && mem && buf);
	for (i = 0; i < turns; i++) {
		dm_await(word, 2 * i + me);
		take_turn(fd, mem, buf, len, seed + i);
		dm_poke(word, 2 * i + me + 1);
	}
	dm_await(word, 2 * turns);
	_exit(!!dm_bad(mem, len, seed + turns));
}

/* What is evicted when two have so many blocks of memory each, or -1 */
static long long share_device(const struct dm *dm, unsigned int blocks,
			      __u64 *word, unsigned int residency_ms)
{
	long long evicted = dm_counter(dm->device, "evicted");
	int ret = dm_set_parameter("min_residency_ms", residency_ms);
	unsigned int i;
	pid_t pids[2];

	dm_poke(word, 0);
	for (i = 0; i < 2; i++) {
		pids[i] = fork();
		if (!pids[i])
			take_turns(dm, blocks * DM_HUGE, i, word);
	}
	for (i = 0; i < 2; i++)
		ret = dm_wait(pids[i]) ?: ret;
	return ret ? -1 : dm_counter(dm->device, "evicted") - evicted;
}

/*
 * Two who need more than there is, by turns: each turn evicts what the other has, as
 * often as memory may be evicted and no more often. Where it may not for long, they both
 * go on with what each has.
 */
TEST_F_TIMEOUT(pressure, two_do_not_thrash, 240)
{
	const unsigned int ms = 50, turns = 2 * dm_rounds(TURNS);
	const long long half = turns / 2 * DM_HUGE;
	unsigned int blocks = (self->blocks * 3 + 2) / 4;
	long long evicted;
	double start;

	ASSERT_LT(self->blocks, 2 * blocks);
	evicted = share_device(&self->dm, blocks, self->words, 0);
	/* A block at least in each turn but the first; something may stay once. */
	EXPECT_LE(half, evicted);

	/* Each page of the device once in that time, which can be short of a tick. */
	start = dm_now();
	evicted = share_device(&self->dm, blocks, self->words, ms);
	EXPECT_LE(0, evicted);
	EXPECT_GE(((dm_now() - start) * 1000 / (ms - 10) + 1) * self->size,
		  evicted);

	EXPECT_EQ(0, share_device(&self->dm, blocks, self->words, 600000));
}

/* What the program does not need goes first, however young, and nothing else does. */
TEST_F_TIMEOUT(pressure, not_needed_goes_first, 120)
{
	long long evicted = dm_counter(self->device, "evicted");
	long long purged = dm_counter(self->device, "purged");
	size_t len = self->size + DM_HUGE, kept = self->size - DM_HUGE;
	char *mem = dm_alloc(&self->dm, len, SEED);
	struct dmirror_advise a;

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, dm_to_device(self->fd, mem, self->size));
	ASSERT_EQ(0, dm_dontneed(self->fd, mem + kept, DM_HUGE));
	ASSERT_EQ(0, dm_set_parameter("min_residency_ms", 600000));
	EXPECT_EQ(0, dm_to_device(self->fd, mem + self->size, DM_HUGE));
	EXPECT_EQ(evicted, dm_counter(self->device, "evicted"));
	EXPECT_EQ(purged + DM_HUGE, dm_counter(self->device, "purged"));
	EXPECT_TRUE(dm_all(self->fd, mem, kept, DMIRROR_PLACE_LOCAL));
	EXPECT_TRUE(dm_all(self->fd, mem + self->size, DM_HUGE, DMIRROR_PLACE_LOCAL));
	ASSERT_EQ(0, dm_advise(self->fd, mem + kept, DM_HUGE, DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(0, a.retained);
	EXPECT_EQ(0, dm_bad(mem, kept, SEED));
	EXPECT_TRUE(dm_zero(mem + kept, DM_HUGE));
	EXPECT_EQ(0, dm_bad_from(mem + self->size, DM_HUGE, SEED, self->size / self->page));
	munmap(mem, len);
}

/*
 * Eviction with engines that fail
 */

/* Not a page can be evicted: all stay, and those that want room are told. */
TEST_F_TIMEOUT(pressure, no_copy_works, 120)
{
	long long evicted = dm_counter(self->device, "evicted"), errors;
	size_t len = self->size + DM_HUGE;
	char *mem = dm_alloc(&self->dm, len, SEED);
	struct dmirror_migrate m;
	const char *why;

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, dm_to_device(self->fd, mem, self->size));
	errors = dm_counter(self->device, "copy_errors");
	why = dm_fail_start(1);
	if (why) {
		munmap(mem, len);
		SKIP(return, "%s", why);
	}
	EXPECT_EQ(-ENOSPC, dm_migrate_raw(self->fd, mem + self->size, DM_HUGE,
					  DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(DM_HUGE, m.no_memory);
	EXPECT_EQ(DM_HUGE, dm_migrate_sum(&m));
	EXPECT_LT(errors, dm_counter(self->device, "copy_errors"));
	EXPECT_EQ(evicted, dm_counter(self->device, "evicted"));
	EXPECT_TRUE(dm_all(self->fd, mem, self->size, DMIRROR_PLACE_LOCAL));
	dm_fail_stop();

	/* And it is all as if nothing had been. */
	ASSERT_EQ(0, dm_to_device(self->fd, mem + self->size, DM_HUGE));
	EXPECT_EQ(0, dm_bad(mem, len, SEED));
	munmap(mem, len);
}

/* Every third copy fails, in both directions and under pressure. */
TEST_F_TIMEOUT(pressure, some_copies_fail, 120)
{
	long long errors = dm_counter(self->device, "copy_errors");
	size_t len = self->size * 2, at;
	char *mem = dm_alloc(&self->dm, len, SEED);
	const char *why = dm_fail_start(3);
	struct dmirror_migrate m;
	unsigned int i;
	int ret;

	ASSERT_NE(NULL, mem);
	if (why) {
		munmap(mem, len);
		SKIP(return, "%s", why);
	}
	for (i = 0; i < 3; i++) {
		for (at = 0; at < len; at += DM_HUGE) {
			ret = dm_migrate_raw(self->fd, mem + at, DM_HUGE,
					     DMIRROR_TARGET_DEVICE, &m);
			EXPECT_TRUE(!ret || ret == -EIO || ret == -ENOSPC);
			EXPECT_EQ(DM_HUGE, dm_migrate_sum(&m));
			EXPECT_EQ(ret == -EIO, m.failed && !m.no_memory);
		}
	}
	dm_fail_stop();
	EXPECT_LT(errors, dm_counter(self->device, "copy_errors"));
	EXPECT_EQ(0, dm_stuck(self->fd, mem, len));
	EXPECT_EQ(0, dm_bad(mem, len, SEED));
	munmap(mem, len);
}

/*
 * Fewer placeholders than there is to drop: what has none is not dropped, but evicted
 * as any other memory, with its contents, and that is counted.
 */
TEST_F_TIMEOUT(pressure, placeholders_used_up, 120)
{
	size_t len = 2 * DM_HUGE, n = len / self->page, dropped = 0, bad = 0, i;
	char *mem = dm_alloc(&self->dm, len, 1), *more = dm_map(&self->dm, len);
	long long purged = dm_counter(self->device, "purged");
	long long unpurged = dm_counter(self->device, "unpurged");
	struct dmirror_page *pages = calloc(n, sizeof(*pages));
	struct dmirror_advise a;
	__u64 value;
	long mapped;

	ASSERT_NE(NULL, pages);
	ASSERT_NE(NULL, mem);
	ASSERT_NE(NULL, more);
	ASSERT_GT(self->size, len);
	ASSERT_EQ(0, dm_to_device(self->fd, mem, len));
	ASSERT_EQ(0, dm_dontneed(self->fd, mem, len));
	ASSERT_EQ(0, dm_evict(self->device, self->size));
	EXPECT_EQ(DM_HUGE, dm_counter(self->device, "purged") - purged);
	EXPECT_LT(unpurged, dm_counter(self->device, "unpurged"));
	EXPECT_EQ(DM_HUGE, dm_counter(self->device, "placeholders"));

	ASSERT_EQ(0, dm_snapshot(self->fd, mem, len, pages));
	for (i = 0; i < n; i++) {
		if (pages[i].place == DMIRROR_PLACE_DROPPED)
			dropped++;
		else
			bad += dm_bad_from(mem + i * self->page, self->page, 1, i);
	}
	EXPECT_EQ(DM_HUGE / self->page, dropped);
	EXPECT_EQ(0, bad);

	/* Until some are free, nothing is unmapped to be dropped in vain. */
	dm_fill(more, DM_HUGE, 2);
	ASSERT_EQ(0, dm_to_device(self->fd, more, DM_HUGE));
	ASSERT_EQ(0, dm_dontneed(self->fd, more, DM_HUGE));
	ASSERT_EQ(0, dm_read64(self->fd, more, &value));
	mapped = dm_count_flags(self->fd, more, DM_HUGE, DMIRROR_PAGE_MAPPED);
	EXPECT_LT(0, mapped);
	ASSERT_EQ(0, dm_set_parameter("min_residency_ms", 600000));
	ASSERT_EQ(0, dm_evict(self->device, self->size));
	ASSERT_EQ(0, dm_set_parameter("min_residency_ms", 0));
	EXPECT_EQ(mapped, dm_count_flags(self->fd, more, DM_HUGE,
					 DMIRROR_PAGE_MAPPED));
	ASSERT_EQ(0, dm_evict(self->device, self->size));
	EXPECT_EQ(0, dm_bad(more, DM_HUGE, 2));

	/* Once they are free they serve again. */
	EXPECT_EQ(0, dm_advise(self->fd, mem, len, DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(DM_HUGE, a.dropped);
	munmap(mem, len);
	EXPECT_EQ(0, dm_counter(self->device, "placeholders"));
	ASSERT_EQ(0, dm_to_device(self->fd, more, DM_HUGE));
	ASSERT_EQ(0, dm_dontneed(self->fd, more, DM_HUGE));
	ASSERT_EQ(0, dm_evict(self->device, self->size));
	EXPECT_EQ(DM_HUGE, dm_counter(self->device, "placeholders"));
	munmap(more, len);
	EXPECT_EQ(0, dm_counter(self->device, "placeholders"));
	free(pages);
}

/*
 * What a memory error has taken is no room. A device that is full otherwise evicts, also
 * for a single page. In the end the device is made anew, without the error.
 */
TEST_F_TIMEOUT(pressure, withheld_is_no_room, 120)
{
	size_t len = self->size - self->page;
	char *mem = dm_alloc(&self->dm, self->size, SEED);
	struct dmirror_migrate m;
	long long evicted;

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, dm_file_write(dm_debugfs_path(self->device, "poison"), "0"));
	ASSERT_EQ(self->page, dm_counter(self->device, "withheld"));

	/* All the rest fits, and nothing is evicted for it. */
	evicted = dm_counter(self->device, "evicted");
	ASSERT_EQ(0, dm_to_device(self->fd, mem, len));
	EXPECT_EQ(len, dm_counter(self->device, "memory_used"));
	EXPECT_EQ(evicted, dm_counter(self->device, "evicted"));

	EXPECT_EQ(0, dm_migrate(self->fd, mem + len, self->page,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->page, m.moved);
	EXPECT_LT(evicted, dm_counter(self->device, "evicted"));
	EXPECT_EQ(DMIRROR_PLACE_LOCAL, dm_where(self->fd, mem + len).place);
	EXPECT_EQ(0, dm_bad(mem, self->size, SEED));
	munmap(mem, self->size);
	ASSERT_EQ(0, dm_unplug(self->device));
	ASSERT_EQ(0, dm_plug(self->device));
	EXPECT_EQ(0, dm_counter(self->device, "withheld"));
}

TEST_HARNESS_MAIN
