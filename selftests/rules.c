// SPDX-License-Identifier: GPL-2.0
/*
 * The rules that the driver is built on, each with a test that is named after
 * it and fails, or makes a debugging kernel complain, where the rule is broken.
 * drivers/dmirror/dmirror.rst says why.
 *
 *	 1	every invalidation sets the sequence
 *	 2	a migration maps nothing on the device
 *	 3	what the device maps is dropped before it is copied
 *	 4	the device's page table speaks device addresses
 *	 5	private pages of the device's own keep their rights
 *	 6	a mirror skips no invalidation because of who caused it
 *	 7	there is one abort path
 *	 8	memory does not point back to a mirror
 *	 9	memory is bounded			pressure.c
 *	10	eviction ends				unplug.c
 *	11	a failed copy is no migration		engines.c
 *	12	partial success is reported
 *	13	holds are bounded
 *	14	nothing overflows
 *	15	a file belongs to an mm
 *	16	everybody gets on			and jobs.c, peers.c, module.sh
 */
#include <setjmp.h>
#include <signal.h>

#include "kselftest_harness.h"
#include "dmirror_test.h"
#include "dmirror_inject.h"

#define SEED		0x5eed
#define RACE_PAGES	8
#define RACE_ROUNDS	60
#define RACE_ROUNDS_THP	8

FIXTURE(rules)
{
	struct dm dm;
	size_t page;
	size_t len;
	char *mem;
	char *buf;
	int hmm;
};

FIXTURE_VARIANT(rules)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(rules, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(rules, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(rules, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(rules, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

FIXTURE_SETUP(rules)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);

	/* Without the test_hmm ABI, what can be tried with the other is. */
	self->hmm = hmm_open(self->dm.device);
	self->page = self->dm.page;
	self->len = self->dm.len;
	self->mem = dm_alloc(&self->dm, self->len, SEED);
	ASSERT_NE(NULL, self->mem);
	self->buf = malloc(self->len);
	ASSERT_NE(NULL, self->buf);
}

FIXTURE_TEARDOWN(rules)
{
	free(self->buf);
	munmap(self->mem, self->len);
	if (self->hmm >= 0) {
		hmm_clear_flags(self->hmm);
		close(self->hmm);
	}
	close(self->dm.fd);
}

/* How often to try for a race: moving a whole huge page takes its time */
static unsigned int race_rounds(const struct dm *dm)
{
	return dm_rounds(dm->backing.thp ? RACE_ROUNDS_THP : RACE_ROUNDS);
}

/* A range that a thread moves to the device and back */
struct mover {
	int fd;
	bool hmm;
	char *mem;
	size_t len;
	char *buf;
};

static int move_there_and_back(struct dm_worker *w)
{
	struct mover *m = w->arg;
	size_t npages = m->len / dm_page_size();
	struct dmirror_migrate out;
	int ret;

	if (m->hmm) {
		ret = hmm_call(m->fd, HMM_TO_DEV, m->mem, m->buf, npages, NULL);
		if (ret && ret != -ENOENT && ret != -EBUSY)
			return ret;
		ret = hmm_call(m->fd, HMM_TO_SYS, m->mem, NULL, npages, NULL);
		return ret == -EBUSY ? 0 : ret;
	}
	ret = dm_migrate_raw(m->fd, m->mem, m->len, DMIRROR_TARGET_DEVICE,
			     &out);
	if (ret)
		return ret;
	return dm_migrate_raw(m->fd, m->mem, m->len, DMIRROR_TARGET_SYSTEM,
			      &out);
}

static int move_there(struct dm_worker *w)
{
	struct mover *m = w->arg;
	size_t npages = m->len / dm_page_size();
	struct dmirror_migrate out;
	int ret;

	if (m->hmm) {
		ret = hmm_call(m->fd, HMM_TO_DEV, m->mem, m->buf, npages, NULL);
		return ret == -ENOENT || ret == -EBUSY ? 0 : ret;
	}
	return dm_migrate_raw(m->fd, m->mem, m->len, DMIRROR_TARGET_DEVICE,
			      &out);
}

/* One page through the test_hmm ABI, which may time out in a race */
static int hmm_page(int fd, unsigned long request, char *addr, char *buf)
{
	unsigned int tries;
	int ret;

	for (tries = 0; tries < DM_RETRIES; tries++) {
		ret = hmm_call(fd, request, addr, buf, 1, NULL);
		if (ret != -EBUSY)
			break;
	}
	return ret;
}

/*
 * Every invalidate callback sets the sequence. If one does not, a device fault
 * that races with a migration maps a page that has moved away, and the device
 * goes on with that: what it writes is not what it reads afterwards.
 */
TEST_F_TIMEOUT(rules, rule01_sequence, 120)
{
	struct mover m = { .mem = self->mem, .len = RACE_PAGES * self->page };
	struct dm_worker mover = {
		.step = move_there_and_back, .arg = &m, .limit = 100000,
	};
	const __u64 rounds = race_rounds(&self->dm);
	unsigned int lost = 0;
	__u64 value, i;
	char *word;

	/* With THP, the whole of it moves. */
	if (variant->backing.thp)
		m.len = self->len;
	m.fd = self->dm.fd;
	ASSERT_EQ(0, dm_worker_start(&mover));
	for (i = 1; i <= rounds && !mover.error; i++) {
		word = self->mem + i % RACE_PAGES * self->page;
		ASSERT_EQ(0, dm_write64(self->dm.fd, word, i));
		ASSERT_EQ(0, dm_read64(self->dm.fd, word, &value));
		lost += value != i;
	}
	EXPECT_EQ(0, dm_worker_stop(&mover));
	EXPECT_EQ(0, lost);
	EXPECT_EQ(0, dm_stuck(self->dm.fd, self->mem, self->len));
}

/*
 * The same with one fault for many pages, of which the first move: while the
 * last are looked up, what was found of the first is out of date already.
 */
TEST_F_TIMEOUT(rules, rule01_sequence_long_fault, 120)
{
	struct mover m = { .mem = self->mem, .len = RACE_PAGES * self->page };
	struct dm_worker mover = {
		.step = move_there_and_back, .arg = &m, .limit = 100000,
	};
	const unsigned int rounds = race_rounds(&self->dm);
	unsigned int lost = 0;
	__u64 round, i;

	m.fd = self->dm.fd;
	dm_fill(self->buf, self->len, SEED);
	ASSERT_EQ(0, dm_worker_start(&mover));
	for (round = 1; round <= rounds && !mover.error; round++) {
		for (i = 0; i < RACE_PAGES; i++)
			dm_poke(self->buf + i * self->page, round);
		ASSERT_EQ(0, dm_write(self->dm.fd, self->mem, self->buf,
				      self->len));
		for (i = 0; i < RACE_PAGES; i++)
			lost += dm_peek(self->mem + i * self->page) != round;
	}
	EXPECT_EQ(0, dm_worker_stop(&mover));
	EXPECT_EQ(0, lost);
}

/* The same through the test_hmm ABI, a page at a time. */
TEST_F_TIMEOUT(rules, rule01_sequence_hmm, 120)
{
	struct mover m = {
		.hmm = true, .mem = self->mem, .len = RACE_PAGES * self->page,
		.buf = self->buf,
	};
	struct dm_worker mover = {
		.step = move_there_and_back, .arg = &m, .limit = 100000,
	};
	char *in = malloc(self->page), *out = malloc(self->page), *addr;
	unsigned int lost = 0, i;

	if (self->hmm < 0)
		SKIP(return, "the driver was loaded with hmm_abi=0");
	ASSERT_NE(NULL, in);
	ASSERT_NE(NULL, out);
	m.fd = self->hmm;
	ASSERT_EQ(0, dm_worker_start(&mover));
	for (i = 1; i <= dm_rounds(RACE_ROUNDS / 2) && !mover.error; i++) {
		addr = self->mem + i % RACE_PAGES * self->page;
		memset(in, i, self->page);
		ASSERT_EQ(0, hmm_page(self->hmm, HMM_WRITE, addr, in));
		ASSERT_EQ(0, hmm_page(self->hmm, HMM_READ, addr, out));
		lost += !!memcmp(in, out, self->page);
	}
	EXPECT_EQ(0, dm_worker_stop(&mover));
	EXPECT_EQ(0, lost);
	free(in);
	free(out);
}

/* Throws away what another thread is about to migrate */
struct discard {
	char *mem;
	size_t len;
	__u64 *turn;
};

static int discard_after_turn(struct dm_worker *w)
{
	struct discard *d = w->arg;

	dm_await(d->turn, 2 * w->done + 1);
	if (madvise(d->mem, d->len, MADV_DONTNEED))
		return -errno;
	dm_poke(d->turn, 2 * w->done + 2);
	return 0;
}

/*
 * Migration installs no device PTE. If it does, a MADV_DONTNEED just then
 * leaves the device with a page that the program no longer has: the device
 * reads the old contents where the CPU reads zeros.
 */
TEST_F_TIMEOUT(rules, rule02_no_pte_from_migration, 120)
{
	size_t len = variant->backing.thp ? self->len : RACE_PAGES * self->page;
	const unsigned int rounds = race_rounds(&self->dm);
	struct discard d = { self->mem, len, dm_shared() };
	struct dm_worker discarder = {
		.step = discard_after_turn, .arg = &d, .limit = rounds,
	};
	unsigned int stale = 0, round;
	struct dmirror_page *pages;
	struct dmirror_migrate m;
	__u64 i;

	pages = calloc(len / self->page, sizeof(*pages));
	ASSERT_NE(NULL, pages);
	ASSERT_NE(NULL, d.turn);
	ASSERT_EQ(0, dm_worker_start(&discarder));
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < len; i += self->page)
			dm_poke(self->mem + i, 0xdead0000 + i);

		/* Both start at the word, and both are done after this. */
		dm_poke(d.turn, 2 * round + 1);
		for (i = 0; i < round % 16 * 100; i++)
			dm_peek(d.turn);
		ASSERT_EQ(0, dm_migrate_raw(self->dm.fd, self->mem, len,
					    DMIRROR_TARGET_DEVICE, &m));
		dm_await(d.turn, 2 * round + 2);
		ASSERT_EQ(0, dm_snapshot(self->dm.fd, self->mem, len, pages));
		for (i = 0; i < len / self->page; i++)
			stale += pages[i].place == DMIRROR_PLACE_HOLE &&
				 pages[i].flags & DMIRROR_PAGE_MAPPED;
		ASSERT_EQ(0, dm_read(self->dm.fd, self->mem, self->buf, len));
		stale += !dm_zero(self->buf, len);
		stale += !dm_zero(self->mem, len);
	}
	EXPECT_EQ(0, dm_worker_stop(&discarder));
	EXPECT_EQ(0, stale);
	free(pages);
}

TEST_F_TIMEOUT(rules, rule02_no_pte_from_migration_hmm, 120)
{
	size_t len = RACE_PAGES * self->page;
	const unsigned int rounds = dm_rounds(RACE_ROUNDS / 2);
	struct discard d = { self->mem, len, dm_shared() };
	struct dm_worker discarder = {
		.step = discard_after_turn, .arg = &d, .limit = rounds,
	};
	unsigned int stale = 0, round;
	size_t i;
	int ret;

	if (self->hmm < 0)
		SKIP(return, "the driver was loaded with hmm_abi=0");
	ASSERT_NE(NULL, d.turn);
	ASSERT_EQ(0, dm_worker_start(&discarder));
	for (round = 0; round < rounds; round++) {
		dm_fill(self->mem, len, SEED);
		dm_poke(d.turn, 2 * round + 1);
		ret = hmm_call(self->hmm, HMM_TO_DEV, self->mem, self->buf,
			       RACE_PAGES, NULL);
		ASSERT_TRUE(!ret || ret == -ENOENT || ret == -EBUSY);
		dm_await(d.turn, 2 * round + 2);
		memset(self->buf, 0xee, len);
		for (i = 0; i < RACE_PAGES; i++) {
			ASSERT_EQ(0, hmm_page(self->hmm, HMM_READ,
					      self->mem + i * self->page,
					      self->buf));
			stale += !dm_zero(self->buf, self->page);
		}
		stale += !dm_zero(self->mem, len);
	}
	EXPECT_EQ(0, dm_worker_stop(&discarder));
	EXPECT_EQ(0, stale);
}

/*
 * The device's PTEs go before a page is copied. If they stay, what the device
 * writes between the copy and the end of the migration is lost: the CPU sees
 * the value before.
 */
TEST_F_TIMEOUT(rules, rule03_zap_before_copy, 120)
{
	struct mover m = { .mem = self->mem, .len = RACE_PAGES * self->page };
	struct dm_worker mover = {
		.step = move_there_and_back, .arg = &m, .limit = 100000,
	};
	const __u64 rounds = race_rounds(&self->dm);
	unsigned int lost = 0;
	__u64 i;

	m.fd = self->dm.fd;
	if (variant->backing.thp)
		m.len = self->len;
	for (i = 0; i < RACE_PAGES; i++)
		dm_poke(self->mem + i * self->page, 0);
	ASSERT_EQ(0, dm_worker_start(&mover));
	for (i = 1; i <= rounds && !mover.error; i++) {
		char *word = self->mem + i % RACE_PAGES * self->page;

		ASSERT_EQ(0, dm_write64(self->dm.fd, word, i));

		/* Now and then the CPU looks at once, else at the end. */
		if (i % 3 == 0)
			lost += dm_peek(word) != i;
	}
	EXPECT_EQ(0, dm_worker_stop(&mover));
	for (i = rounds + 1 - RACE_PAGES; i <= rounds; i++)
		lost += dm_peek(self->mem + i % RACE_PAGES * self->page) != i;
	EXPECT_EQ(0, lost);
}

/* The same with sums: whichever side adds, nothing is lost. */
TEST_F_TIMEOUT(rules, rule03_zap_before_copy_sum, 120)
{
	struct mover m = { .mem = self->mem, .len = RACE_PAGES * self->page };
	struct dm_worker mover = {
		.step = move_there_and_back, .arg = &m, .limit = 100000,
	};
	__u64 i, done = 0;
	int ret;

	m.fd = self->dm.fd;
	dm_poke(self->mem, 0);
	ASSERT_EQ(0, dm_worker_start(&mover));
	for (i = 0; i < dm_rounds(RACE_ROUNDS / 2) && !mover.error; i++) {
		ret = dm_add64(self->dm.fd, self->mem, 1);
		ASSERT_TRUE(!ret || ret == -EBUSY);
		done += !ret;
		__atomic_fetch_add((__u64 *)self->mem, 1000000,
				   __ATOMIC_SEQ_CST);
	}
	EXPECT_EQ(0, dm_worker_stop(&mover));
	EXPECT_LT(0, done);
	EXPECT_EQ(i * 1000000 + done, dm_peek(self->mem));
}

/*
 * What the device writes is dirty. If not, reclaim takes a page that MADV_FREE
 * has cleaned for one that nobody wrote to since, and drops it.
 */
TEST_F(rules, rule03_device_writes_are_dirty)
{
	char *mem;

	dm_fill(self->buf, self->len, SEED + 1);
	ASSERT_EQ(0, madvise(self->mem, self->len, MADV_FREE));
	ASSERT_EQ(0, dm_write(self->dm.fd, self->mem, self->buf, self->len));
	ASSERT_EQ(0, madvise(self->mem, self->len, MADV_PAGEOUT));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));

	/*
	 * The same with a write while the pages are on the device, and with new
	 * ones: reclaim may have left a huge page mapped by PTEs.
	 */
	mem = dm_alloc(&self->dm, self->len, SEED);
	ASSERT_NE(NULL, mem);
	dm_fill(self->buf, self->len, SEED + 2);
	ASSERT_EQ(0, madvise(mem, self->len, MADV_FREE));
	ASSERT_EQ(0, dm_to_device_settled(self->dm.fd, mem, self->len));
	ASSERT_EQ(0, dm_write(self->dm.fd, mem, self->buf, self->len));
	ASSERT_EQ(0, dm_to_system(self->dm.fd, mem, self->len));
	ASSERT_EQ(0, madvise(mem, self->len, MADV_PAGEOUT));
	EXPECT_EQ(0, dm_bad(mem, self->len, SEED + 2));
	munmap(mem, self->len);
}

/*
 * So it is in shared memory, of which mm makes the entry writable at the CPU's first
 * read: the device writes without a fault of the CPU's, and the page would stay clean.
 */
TEST_F(rules, rule03_device_writes_are_dirty_shared)
{
	char *shared = dm_map_flags(self->len, -1, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS);

	ASSERT_NE(NULL, shared);
	EXPECT_TRUE(dm_zero(shared, self->len));
	dm_fill(self->buf, self->len, SEED + 1);
	ASSERT_EQ(0, dm_write(self->dm.fd, shared, self->buf, self->len));
	/* Pages that a CPU holds back are passed over. */
	dm_settle();
	ASSERT_EQ(0, madvise(shared, self->len, MADV_PAGEOUT));
	EXPECT_EQ(0, dm_bad(shared, self->len, SEED + 1));
	munmap(shared, self->len);
}

TEST_F_TIMEOUT(rules, rule03_zap_before_copy_hmm, 120)
{
	struct mover m = {
		.hmm = true, .mem = self->mem, .len = RACE_PAGES * self->page,
		.buf = self->buf,
	};
	struct dm_worker mover = {
		.step = move_there, .arg = &m, .limit = 100000,
	};
	char *in = malloc(self->page), *addr;
	unsigned int lost = 0;
	__u64 i;

	if (self->hmm < 0)
		SKIP(return, "the driver was loaded with hmm_abi=0");
	ASSERT_NE(NULL, in);
	m.fd = self->hmm;
	ASSERT_EQ(0, dm_worker_start(&mover));
	for (i = 1; i <= dm_rounds(RACE_ROUNDS / 2) && !mover.error; i++) {
		addr = self->mem + i % RACE_PAGES * self->page;
		dm_fill_from(in, self->page, SEED, i);
		ASSERT_EQ(0, hmm_page(self->hmm, HMM_WRITE, addr, in));
		lost += !!dm_bad_from(addr, self->page, SEED, i);
	}
	EXPECT_EQ(0, dm_worker_stop(&mover));
	EXPECT_EQ(0, lost);
	free(in);
}

/*
 * A device PTE to private memory holds a device address, not a page that the
 * CPU has no mapping of. Whoever maps the page by another way than migration
 * reads through the table: after mprotect(), from a second file, in a child.
 */
TEST_F(rules, rule04_page_table_speaks_device_addresses)
{
	int second = dm_open_number(self->dm.device);
	size_t npages = self->len / self->page;
	pid_t pid;

	ASSERT_LE(0, second);
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->len));
	ASSERT_EQ(0, mprotect(self->mem, self->len, PROT_READ));
	ASSERT_EQ(0, dm_read(self->dm.fd, self->mem, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	EXPECT_TRUE(dm_all(self->dm.fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));

	memset(self->buf, 0, self->len);
	ASSERT_EQ(0, dm_read(second, self->mem, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	EXPECT_TRUE(dm_all(second, self->mem, self->len, DMIRROR_PLACE_LOCAL));

	if (self->hmm >= 0) {
		memset(self->buf, 0, self->len);
		ASSERT_EQ(0, hmm_call(self->hmm, HMM_READ, self->mem, self->buf,
				      npages, NULL));
		EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	}

	pid = fork();
	if (!pid) {
		memset(self->buf, 0, self->len);
		second = dm_open_number(self->dm.device);
		DM_CHECK(second >= 0);
		DM_CHECK(!dm_read(second, self->mem, self->buf, self->len));
		DM_CHECK(!dm_bad(self->buf, self->len, SEED));
		DM_CHECK(!dm_bad(self->mem, self->len, SEED));
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));

	/* Writable again, and written through the second file. */
	ASSERT_EQ(0, mprotect(self->mem, self->len, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, dm_write64(second, self->mem, 1));
	EXPECT_EQ(1, dm_peek(self->mem));
	dm_poke(self->mem, dm_word(SEED, 0, 0));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(second);
}

/*
 * A device write to the device's own page that fork() has shared breaks the
 * sharing and works; the other process keeps what it had.
 */
TEST_F(rules, rule05_own_private_pages_keep_their_rights)
{
	__u64 *word = dm_shared();
	pid_t pid;

	ASSERT_NE(NULL, word);
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		dm_await(word, 1);
		DM_CHECK(!dm_bad(self->mem, self->len, SEED));
		_exit(0);
	}
	dm_fill(self->buf, self->len, SEED + 1);
	EXPECT_EQ(0, dm_write(self->dm.fd, self->mem, self->buf, self->len));
	dm_poke(word, 1);
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));

	/* The other way about: the child's device writes, the parent keeps. */
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		int fd = dm_open_number(self->dm.device);

		DM_CHECK(fd >= 0);
		dm_fill(self->buf, self->len, SEED + 2);
		DM_CHECK(!dm_write(fd, self->mem, self->buf, self->len));
		DM_CHECK(!dm_bad(self->mem, self->len, SEED + 2));
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));

	/* An atomic operation is a write too. */
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		dm_await(word, 2);
		DM_CHECK(!dm_bad(self->mem, self->len, SEED + 1));
		_exit(0);
	}
	EXPECT_EQ(0, dm_add64(self->dm.fd, self->mem, 1));
	dm_poke(word, 2);
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(dm_word(SEED + 1, 0, 0) + 1, dm_peek(self->mem));
}

TEST_F(rules, rule05_own_private_pages_keep_their_rights_hmm)
{
	size_t npages = self->len / self->page;
	__u64 *word = dm_shared();
	pid_t pid;

	if (self->hmm < 0)
		SKIP(return, "the driver was loaded with hmm_abi=0");
	ASSERT_NE(NULL, word);
	ASSERT_EQ(0, hmm_call(self->hmm, HMM_TO_DEV, self->mem, self->buf,
			      npages, NULL));
	pid = fork();
	if (!pid) {
		dm_await(word, 1);
		DM_CHECK(!dm_bad(self->mem, self->len, SEED));
		_exit(0);
	}
	dm_fill(self->buf, self->len, SEED + 1);
	EXPECT_EQ(0, hmm_call(self->hmm, HMM_WRITE, self->mem, self->buf,
			      npages, NULL));
	dm_poke(word, 1);
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
}

/*
 * What one file migrates invalidates every other mirror of that memory, on the
 * same device too. If it does not, the second file reads a freed page.
 */
TEST_F(rules, rule06_filter_by_context)
{
	int second = dm_open_number(self->dm.device);
	unsigned int i;

	ASSERT_LE(0, second);
	for (i = 0; i < 4; i++) {
		/* The second file maps the pages where they are now. */
		ASSERT_EQ(0, i % 2 ?
			  dm_to_system(self->dm.fd, self->mem, self->len) :
			  dm_to_device(self->dm.fd, self->mem, self->len));
		ASSERT_EQ(0, dm_read(second, self->mem, self->buf, self->len));
		EXPECT_EQ(self->len / self->page,
			  dm_count_flags(second, self->mem, self->len,
					 DMIRROR_PAGE_MAPPED));

		/* The first one moves them, which the second must hear of. */
		ASSERT_EQ(0, i % 2 ?
			  dm_to_device(self->dm.fd, self->mem, self->len) :
			  dm_to_system(self->dm.fd, self->mem, self->len));
		EXPECT_EQ(0, dm_count_flags(second, self->mem, self->len,
					    DMIRROR_PAGE_MAPPED));

		/* What is written now is what the second one reads. */
		dm_fill(self->buf, self->len, SEED + i);
		ASSERT_EQ(0, dm_write(self->dm.fd, self->mem, self->buf,
				      self->len));
		memset(self->buf, 0, self->len);
		ASSERT_EQ(0, dm_read(second, self->mem, self->buf, self->len));
		EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED + i));

		/* And what that one writes is what the first one reads. */
		dm_fill(self->buf, self->len, SEED + 10 + i);
		ASSERT_EQ(0, dm_write(second, self->mem, self->buf, self->len));
		memset(self->buf, 0, self->len);
		ASSERT_EQ(0, dm_read(self->dm.fd, self->mem, self->buf,
				     self->len));
		EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED + 10 + i));
	}
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 13));
	close(second);
}

#define HOLE_ROUNDS	16

/* Who reads, by a file of its own, the last pages of what another one migrates */
struct onlooker {
	int fd;
	char *mem;
};

static int look_on(struct dm_worker *w)
{
	const struct onlooker *o = w->arg;
	__u64 value;

	return dm_read64(o->fd, o->mem + w->done % RACE_PAGES * dm_page_size(),
			 &value);
}

/*
 * A migration that fills holes invalidates twice. Whoever has read a hole since the first
 * time has the page of zeroes mapped, which the program no longer has in the end: if it
 * does not hear of that, it goes on to read zeroes, whatever is written.
 */
TEST_F_TIMEOUT(rules, rule06_filter_by_context_hole, 120)
{
	const size_t len = DM_HUGE, page = self->page;
	const unsigned int rounds = dm_rounds(HOLE_ROUNDS);
	struct onlooker o = { .fd = dm_open_number(self->dm.device) };
	struct dm_worker reader = {
		.step = look_on, .arg = &o, .limit = ~0UL,
	};
	char *hole = dm_map_flags(len, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS);
	unsigned int stale = 0, round, i;
	struct dmirror_migrate m;
	__u64 moved = 0, value;

	ASSERT_LE(0, o.fd);
	ASSERT_NE(NULL, hole);
	/* The last to be filled: until then it takes long. */
	o.mem = hole + len - RACE_PAGES * page;
	ASSERT_EQ(0, dm_worker_start(&reader));
	dm_await(&reader.done, 1);
	for (round = 1; round <= rounds && !reader.error; round++) {
		ASSERT_EQ(0, dm_migrate_raw(self->dm.fd, hole, len,
					    DMIRROR_TARGET_DEVICE, &m));
		moved += m.moved;
		for (i = 0; i < RACE_PAGES; i++) {
			ASSERT_EQ(0, dm_write64(self->dm.fd, o.mem + i * page,
						round));
			ASSERT_EQ(0, dm_read64(o.fd, o.mem + i * page, &value));
			stale += value != round;
		}
		/* Coherent memory the CPU writes to where it is, without a fault. */
		for (i = 0; i < RACE_PAGES; i++) {
			dm_poke(o.mem + i * page, ~round);
			ASSERT_EQ(0, dm_read64(o.fd, o.mem + i * page, &value));
			stale += value != (__u64)~round;
		}
		ASSERT_EQ(0, madvise(hole, len, MADV_DONTNEED));
	}
	EXPECT_EQ(0, dm_worker_stop(&reader));
	EXPECT_LT(0, moved);
	EXPECT_EQ(0, stale);
	munmap(hole, len);
	close(o.fd);
}

TEST_F(rules, rule06_filter_by_context_hmm)
{
	size_t npages = self->len / self->page;
	int second;
	unsigned int i;

	if (self->hmm < 0)
		SKIP(return, "the driver was loaded with hmm_abi=0");
	second = hmm_open(self->dm.device);
	ASSERT_LE(0, second);
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, hmm_call(self->hmm, HMM_TO_DEV, self->mem,
				      self->buf, npages, NULL));
		ASSERT_EQ(0, hmm_call(second, HMM_READ, self->mem, self->buf,
				      npages, NULL));
		ASSERT_EQ(0, hmm_call(self->hmm, HMM_TO_SYS, self->mem, NULL,
				      npages, NULL));
		dm_fill(self->mem, self->len, SEED + i);
		ASSERT_EQ(0, hmm_call(second, HMM_READ, self->mem, self->buf,
				      npages, NULL));
		EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED + i));
	}
	close(second);
}

#define MAX_NTH	2000

static bool injected_error(int ret)
{
	return !ret || ret == -ENOMEM || ret == -EFAULT || ret == -ENOSPC ||
	       ret == -EBUSY || ret == -EIO;
}

/*
 * Every failure between the start and the end of a migration takes one abort
 * path, on which no page and no byte is lost, and no migration entry stays.
 * Fails each allocation of a migration to the device and back, one by one.
 */
TEST_F_TIMEOUT(rules, rule07_one_abort_path, 300)
{
	size_t len = variant->backing.thp ? self->len : RACE_PAGES * self->page;
	const unsigned int step = variant->backing.thp ? 97 : 1;
	const char *why = dm_nth_setup();
	struct dmirror_query before, after;
	unsigned int nth, back, failures;
	struct dmirror_migrate m;
	bool more;
	int ret;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, dm_query(self->dm.fd, &before));
	for (back = 0; back < 2; back++) {
		failures = 0;
		for (nth = 1, more = true; more && nth < MAX_NTH;
		     nth += nth < 32 ? 1 : step) {
			ASSERT_EQ(0, back ?
				  dm_to_device(self->dm.fd, self->mem, len) :
				  dm_to_system(self->dm.fd, self->mem, len));
			ASSERT_EQ(0, dm_nth_start(nth));
			ret = dm_migrate_raw(self->dm.fd, self->mem, len,
					     back ? DMIRROR_TARGET_SYSTEM :
						    DMIRROR_TARGET_DEVICE,
					     &m);
			more = dm_nth_stop();
			failures += more;
			ASSERT_TRUE(injected_error(ret)) {
				TH_LOG("error %d at allocation %u", ret, nth);
			}

			/* The counts tell the truth on errors too. */
			EXPECT_GE(len, dm_migrate_sum(&m));
			if (!ret)
				EXPECT_EQ(len, dm_migrate_sum(&m));
			ASSERT_EQ(0, dm_stuck(self->dm.fd, self->mem, len));
			memset(self->buf, 0, len);
			ASSERT_EQ(0, dm_read(self->dm.fd, self->mem, self->buf,
					     len));
			ASSERT_EQ(0, dm_bad(self->buf, len, SEED));
		}
		EXPECT_FALSE(more);
		EXPECT_LT(0, failures);
	}
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));

	/* All device memory that was taken on the way was given back. */
	ASSERT_EQ(0, dm_to_system(self->dm.fd, self->mem, self->len));
	ASSERT_EQ(0, dm_query(self->dm.fd, &after));
	EXPECT_EQ(before.memory_used, after.memory_used);
}

/* The same with holes, which are filled with zeros or left alone. */
TEST_F_TIMEOUT(rules, rule07_one_abort_path_holes, 300)
{
	size_t len = variant->backing.thp ? self->len : RACE_PAGES * self->page;
	const unsigned int step = variant->backing.thp ? 97 : 1;
	const char *why = dm_nth_setup();
	unsigned int nth, failures = 0;
	struct dmirror_migrate m;
	bool more = true;
	char *hole;
	int ret;

	if (why)
		SKIP(return, "%s", why);
	for (nth = 1; more && nth < MAX_NTH; nth += nth < 32 ? 1 : step) {
		hole = dm_map(&self->dm, len);
		ASSERT_NE(NULL, hole);
		ASSERT_EQ(0, dm_nth_start(nth));
		ret = dm_migrate_raw(self->dm.fd, hole, len,
				     DMIRROR_TARGET_DEVICE, &m);
		more = dm_nth_stop();
		failures += more;
		ASSERT_TRUE(injected_error(ret));
		ASSERT_EQ(0, dm_stuck(self->dm.fd, hole, len));
		EXPECT_TRUE(dm_zero(hole, len));
		munmap(hole, len);
	}
	EXPECT_FALSE(more);
	EXPECT_LT(0, failures);
}

static sigjmp_buf bus_error;

static void on_bus_error(int sig)
{
	siglongjmp(bus_error, 1);
}

static void touch(const char *addr)
{
	if (!sigsetjmp(bus_error, 1))
		dm_peek(addr);
}

/*
 * A CPU fault on device memory whose allocations fail does not cost the data.
 * A device that cannot copy the page is a bus error, and the next try works.
 * Coherent memory is used where it is: there is no fault that could fail.
 */
TEST_F_TIMEOUT(rules, rule07_one_abort_path_cpu_fault, 300)
{
	const char *why = dm_nth_setup();
	unsigned int nth, failures = 0;
	bool more = true;
	__u64 value;

	if (why)
		SKIP(return, "%s", why);
	signal(SIGBUS, on_bus_error);
	if (variant->backing.memory_type == DMIRROR_MEMORY_COHERENT) {
		struct dmirror_query before, after;
		size_t at;

		ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->len));
		ASSERT_EQ(0, dm_query(self->dm.fd, &before));
		for (at = 0; at < self->len; at += self->page) {
			value = dm_word(SEED, at / self->page, 0);
			ASSERT_EQ(0, dm_nth_start(at / self->page % 8 + 1));
			more = sigsetjmp(bus_error, 1);
			if (!more && dm_peek(self->mem + at) == value)
				dm_poke(self->mem + at, value);
			dm_nth_stop();
			ASSERT_FALSE(more);
		}
		ASSERT_EQ(0, dm_query(self->dm.fd, &after));
		EXPECT_EQ(before.cpu_faults, after.cpu_faults);
		EXPECT_EQ(before.to_system, after.to_system);
		EXPECT_TRUE(dm_all(self->dm.fd, self->mem, self->len,
				   DMIRROR_PLACE_LOCAL));
		EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
		return;
	}
	for (nth = 1; more && nth < 200; nth++) {
		ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->len));
		ASSERT_EQ(0, dm_nth_start(nth));
		touch(self->mem);
		more = dm_nth_stop();
		failures += more;
		value = dm_peek(self->mem);
		ASSERT_EQ(dm_word(SEED, 0, 0), value);
		ASSERT_EQ(0, dm_stuck(self->dm.fd, self->mem, self->len));
	}
	EXPECT_FALSE(more);
	EXPECT_LT(0, failures);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* Device access and its faults, and atomics, with every allocation failing. */
TEST_F_TIMEOUT(rules, rule07_one_abort_path_access, 300)
{
	const char *why = dm_nth_setup();
	size_t len = RACE_PAGES * self->page;
	unsigned int nth, failures = 0;
	bool more = true;
	__u64 sum = 0, value;
	struct dmirror_atomic a;
	int ret;

	if (why)
		SKIP(return, "%s", why);
	for (nth = 1; more && nth < MAX_NTH; nth++) {
		/* Nothing is mapped on the device, part of it is there. */
		ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, len));
		ASSERT_EQ(0, dm_to_system(self->dm.fd, self->mem, len / 2));
		ASSERT_EQ(0, dm_nth_start(nth));
		ret = dm_read(self->dm.fd, self->mem, self->buf, len);
		more = dm_nth_stop();
		failures += more;
		ASSERT_TRUE(injected_error(ret));
		if (!ret)
			EXPECT_EQ(0, dm_bad(self->buf, len, SEED));
	}
	EXPECT_FALSE(more);

	value = dm_peek(self->mem);
	for (nth = 1, more = true; more && nth < MAX_NTH; nth++) {
		ASSERT_EQ(0, dm_to_system(self->dm.fd, self->mem, len));
		ASSERT_EQ(value + sum, dm_peek(self->mem));
		ASSERT_EQ(0, dm_nth_start(nth));
		ret = dm_atomic(self->dm.fd, DMIRROR_ATOMIC_ADD, self->mem, 8,
				1, 0, &a);
		more = dm_nth_stop();
		failures += more;
		ASSERT_TRUE(injected_error(ret));

		/* EFAULT can be the answer's copy: then it was added, or not. */
		sum = ret == -EFAULT ? dm_peek(self->mem) - value : sum + !ret;
	}
	EXPECT_FALSE(more);
	EXPECT_LT(0, failures);
	dm_poke(self->mem, value);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* One failed allocation, on any kernel: by the switch of the test_hmm ABI. */
TEST_F(rules, rule07_one_abort_path_hmm)
{
	size_t npages = self->len / self->page;
	unsigned int i;
	int ret;

	if (self->hmm < 0)
		SKIP(return, "the driver was loaded with hmm_abi=0");
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, hmm_call(self->hmm, HMM_FLAGS, self->mem, NULL,
				      HMM_FLAG_FAIL_ALLOC, NULL));
		ret = hmm_call(self->hmm, HMM_TO_DEV, self->mem, self->buf,
			       npages, NULL);
		ASSERT_TRUE(!ret || ret == -ENOENT);
		ASSERT_EQ(0, dm_stuck(self->dm.fd, self->mem, self->len));
		ASSERT_EQ(0, hmm_call(self->hmm, HMM_TO_DEV, self->mem,
				      self->buf, npages, NULL));
		ASSERT_EQ(0, dm_bad(self->buf, self->len, SEED));

		ASSERT_EQ(0, hmm_call(self->hmm, HMM_FLAGS, self->mem, NULL,
				      HMM_FLAG_FAIL_ALLOC, NULL));
		ret = hmm_call(self->hmm, HMM_TO_SYS, self->mem, NULL, npages,
			       NULL);
		ASSERT_TRUE(!ret || ret == -ENOMEM);
		ASSERT_EQ(0, dm_stuck(self->dm.fd, self->mem, self->len));
		ASSERT_EQ(0, dm_bad(self->mem, self->len, SEED));
	}
}

/*
 * Memory on the device does not belong to the file that put it there. Closing
 * a file evicts nothing of others, and its own memory outlives it.
 */
TEST_F(rules, rule08_no_back_pointers)
{
	int first = dm_open_number(self->dm.device);
	int third = dm_open_number(self->dm.device);
	struct dmirror_query before, after;
	char *other = dm_alloc(&self->dm, self->len, SEED + 1);

	ASSERT_LE(0, first);
	ASSERT_LE(0, third);
	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->len));
	ASSERT_EQ(0, dm_to_device(first, other, self->len));
	ASSERT_EQ(0, dm_query(self->dm.fd, &before));
	ASSERT_EQ(0, close(first));
	ASSERT_EQ(0, close(third));

	/* What another file put there is there. */
	EXPECT_TRUE(dm_all(self->dm.fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));
	ASSERT_EQ(0, dm_query(self->dm.fd, &after));
	EXPECT_EQ(before.evicted, after.evicted);

	/* Whose file is closed can still be read, by device and CPU, ... */
	ASSERT_EQ(0, dm_read(self->dm.fd, other, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED + 1));
	EXPECT_EQ(0, dm_bad(other, self->len, SEED + 1));

	/* ... migrated by another file, ... */
	ASSERT_EQ(0, dm_to_device(self->dm.fd, other, self->len));
	EXPECT_EQ(0, dm_bad(other, self->len, SEED + 1));

	/* ... and freed. */
	first = dm_open_number(self->dm.device);
	ASSERT_LE(0, first);
	ASSERT_EQ(0, dm_to_device(first, other, self->len));
	ASSERT_EQ(0, close(first));
	ASSERT_EQ(0, munmap(other, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* The same between processes: another one's close, or exit, evicts nothing. */
TEST_F(rules, rule08_no_back_pointers_process)
{
	__u64 *word = dm_shared();
	pid_t pid;

	ASSERT_NE(NULL, word);
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		char *mine = dm_alloc(&self->dm, self->len, SEED + 2);
		int fd = dm_open_number(self->dm.device);
		int hmm = hmm_open(self->dm.device);

		DM_CHECK(mine && fd >= 0);
		DM_CHECK(!dm_to_device(fd, mine, self->len));
		if (hmm >= 0)
			close(hmm);
		dm_poke(word, 1);
		dm_await(word, 2);

		/* The parent closed its file; this is not its business. */
		DM_CHECK(dm_all(fd, mine, self->len, DMIRROR_PLACE_LOCAL));
		DM_CHECK(!dm_bad(mine, self->len, SEED + 2));
		_exit(0);
	}
	dm_await(word, 1);
	EXPECT_TRUE(dm_all(self->dm.fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));
	close(self->dm.fd);
	if (self->hmm >= 0)
		close(self->hmm);
	dm_poke(word, 2);
	EXPECT_EQ(0, dm_wait(pid));
	self->dm.fd = dm_open_number(self->dm.device);
	self->hmm = hmm_open(self->dm.device);
	ASSERT_LE(0, self->dm.fd);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* Each call tells how much was done, what was not, and where it ended. */
TEST_F(rules, rule12_partial_success)
{
	size_t page = self->page;
	struct dmirror_migrate m;
	struct dmirror_rw rw;
	int ret;

	/* One page is there; two never migrate, and after twelve is a hole. */
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, page));
	ASSERT_NE(MAP_FAILED, mmap(self->mem + 4 * page, 2 * page,
				   PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
				   0));
	dm_fill_from(self->mem + 4 * page, 2 * page, SEED, 4);
	ASSERT_EQ(0, munmap(self->mem + 12 * page, page));
	ret = dm_migrate(self->dm.fd, self->mem, 16 * page,
			 DMIRROR_TARGET_DEVICE, &m);
	EXPECT_EQ(-EFAULT, ret);
	EXPECT_EQ((uintptr_t)self->mem + 12 * page, m.fault_addr);
	EXPECT_EQ(9 * page, m.moved);
	EXPECT_EQ(page, m.resident);
	EXPECT_EQ(2 * page, m.unsupported);
	EXPECT_EQ(12 * page, dm_migrate_sum(&m));

	/* The device writes up to the first page that it may not write to. */
	ASSERT_EQ(0, mprotect(self->mem + 3 * page, page, PROT_READ));
	dm_fill(self->buf, 8 * page, SEED + 1);
	EXPECT_EQ(-EPERM, dm_rw(self->dm.fd, DMIRROR_IOC_WRITE, self->mem,
				self->buf, 8 * page, &rw));
	EXPECT_EQ(3 * page, rw.done);
	EXPECT_EQ((uintptr_t)self->mem + 3 * page,
		  rw.fault_addr & ~(page - 1));
	EXPECT_EQ(0, dm_bad(self->mem, 3 * page, SEED + 1));
	EXPECT_EQ(0, dm_bad_from(self->mem + 3 * page, 9 * page, SEED, 3));
}

#define VAST	0x100000000000UL

static char *map_vast(void)
{
	char *p = mmap(NULL, VAST, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void *call_on_vast(void *arg)
{
	__u64 *words = arg;
	struct dmirror_migrate m;
	int fd = words[2];

	dm_poke(words, 1);
	words[4] = -dm_migrate_raw(fd, (void *)words[1], VAST,
				   DMIRROR_TARGET_SYSTEM, &m);
	dm_poke(words, 2);
	return NULL;
}

/*
 * A call on sixteen terabytes of nothing holds no lock for long: others of the
 * process map and unmap meanwhile. And a signal that kills ends it at once.
 */
TEST_F_TIMEOUT(rules, rule13_bounded_holds, 120)
{
	__u64 *words = dm_shared();
	unsigned int i;
	double start;
	pid_t pid;

	ASSERT_NE(NULL, words);
	pid = fork();
	if (!pid) {
		char *vast = map_vast();
		pthread_t thread;
		char *p;

		DM_CHECK(vast);
		words[1] = (uintptr_t)vast;
		words[2] = dm_open_number(self->dm.device);
		pthread_create(&thread, NULL, call_on_vast, words);
		dm_await(words, 1);
		for (i = 1; ; i++) {
			p = mmap(NULL, dm_page_size(), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			DM_CHECK(p != MAP_FAILED);
			*p = 1;
			munmap(p, dm_page_size());
			dm_poke(words + 3, i);
		}
	}
	start = dm_now();
	while (dm_now() < start + 30 && dm_peek(words + 3) < 100)
		dm_msleep(1);
	EXPECT_LE(100, dm_peek(words + 3));

	/* Either it is that fast, or it is at work still. */
	TH_LOG("the call %s while others mapped memory",
	       dm_peek(words) == 1 ? "was at work" : "ended");
	if (dm_peek(words) == 2)
		EXPECT_EQ(0, words[4]);
	kill(pid, SIGKILL);
	EXPECT_EQ(-SIGKILL, dm_wait_for(pid, 20));
}

/*
 * No ioctl takes memory by the size of what it was asked for: a snapshot and a
 * read of vast ranges work in a small, constant room.
 */
TEST_F_TIMEOUT(rules, rule13_bounded_memory, 120)
{
	const size_t window = 2UL << 20, range = 16UL << 20;
	char *vast = map_vast(), *view;
	struct dmirror_rw rw;
	size_t i;
	int file;

	ASSERT_NE(NULL, vast);

	/* Two MiB of memory that look like 16, with nothing behind. */
	file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, ftruncate(file, window));
	view = mmap(NULL, range + window, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, view);
	for (i = 0; i < range; i += window)
		ASSERT_NE(MAP_FAILED, mmap(view + i, window,
					   PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_FIXED, file, 0));

	/* A snapshot of 1 GiB needs no more than its answer's room. */
	ASSERT_EQ(0, dm_snapshot(self->dm.fd, vast, range * 64,
				 (struct dmirror_page *)view));

	/* A read that is longer than its buffer ends where the buffer does. */
	EXPECT_EQ(-EFAULT, dm_rw(self->dm.fd, DMIRROR_IOC_READ, vast, view,
				 range * 16, &rw));
	EXPECT_LT(0, rw.done);
	EXPECT_GE(range, rw.done);
	if (self->hmm >= 0) {
		EXPECT_EQ(-EFAULT, hmm_call(self->hmm, HMM_READ, vast, view,
					    range * 16 / self->page, NULL));
	}
	munmap(view, range + window);
	munmap(vast, VAST);
	close(file);
}

static long count_mapped(int fd, const char *mem, size_t len)
{
	return dm_count_flags(fd, mem, len, DMIRROR_PAGE_MAPPED);
}

/*
 * A block that one entry maps is invalidated as a whole, and the blocks before
 * and after it not at all.
 */
TEST_F(rules, rule14_overflow_last_block)
{
	const long npages = DM_HUGE / self->page;
	size_t page = self->page, len = 3 * DM_HUGE;
	long left = dm_large(&self->dm) ? 0 : npages - 1;
	char *mem = dm_alloc(&self->dm, len, SEED), *mid, *buf;

	if (!variant->backing.thp)
		left = npages - 1;
	buf = malloc(len);
	ASSERT_NE(NULL, mem);
	ASSERT_NE(NULL, buf);
	mid = mem + DM_HUGE;
	ASSERT_EQ(0, dm_read(self->dm.fd, mem, buf, len));
	EXPECT_EQ(3 * npages, count_mapped(self->dm.fd, mem, len));

	/* The last page of it: in system memory mm splits a huge page first. */
	ASSERT_EQ(0, madvise(mid + DM_HUGE - page, page, MADV_DONTNEED));
	EXPECT_EQ(npages, count_mapped(self->dm.fd, mem, DM_HUGE));
	EXPECT_EQ(variant->backing.thp ? 0 : npages - 1,
		  count_mapped(self->dm.fd, mid, DM_HUGE));
	EXPECT_EQ(npages, count_mapped(self->dm.fd, mid + DM_HUGE, DM_HUGE));

	/* The first page, on the device, where it may be in pages */
	munmap(mem, len);
	mem = dm_alloc(&self->dm, len, SEED);
	ASSERT_NE(NULL, mem);
	mid = mem + DM_HUGE;
	ASSERT_EQ(0, dm_to_device(self->dm.fd, mem, len));
	ASSERT_EQ(0, dm_read(self->dm.fd, mem, buf, len));
	EXPECT_EQ(3 * npages, count_mapped(self->dm.fd, mem, len));
	ASSERT_EQ(0, madvise(mid, page, MADV_DONTNEED));
	EXPECT_EQ(npages, count_mapped(self->dm.fd, mem, DM_HUGE));
	EXPECT_EQ(left, count_mapped(self->dm.fd, mid, DM_HUGE));
	EXPECT_EQ(npages, count_mapped(self->dm.fd, mid + DM_HUGE, DM_HUGE));
	EXPECT_TRUE(dm_zero(mid, page));
	EXPECT_EQ(0, dm_bad_from(mid + page, 2 * DM_HUGE - page, SEED,
				 npages + 1));
	free(buf);
	munmap(mem, len);
}

/*
 * The last page of a range is the last: its neighbour stays as it is. In memory
 * that is in pages: rule14_overflow_last_block is about what is not.
 */
TEST_F(rules, rule14_overflow_last_page)
{
	size_t page = self->page, npages = self->len / page;
	char *hole = self->mem + 8 * page;

	if (variant->backing.thp) {
		/* Fresh memory, so that no huge page is behind it */
		ASSERT_EQ(0, madvise(self->mem, self->len, MADV_DONTNEED));
		madvise(self->mem, self->len, MADV_NOHUGEPAGE);
		dm_fill(self->mem, self->len, SEED);
	}
	ASSERT_EQ(0, dm_read(self->dm.fd, self->mem, self->buf, self->len));
	EXPECT_EQ(npages, dm_count_flags(self->dm.fd, self->mem, self->len,
					 DMIRROR_PAGE_MAPPED));
	ASSERT_EQ(0, madvise(hole, page, MADV_DONTNEED));
	EXPECT_EQ(npages - 1, dm_count_flags(self->dm.fd, self->mem, self->len,
					     DMIRROR_PAGE_MAPPED));
	EXPECT_TRUE(dm_where(self->dm.fd, hole - page).flags &
		    DMIRROR_PAGE_MAPPED);
	EXPECT_FALSE(dm_where(self->dm.fd, hole).flags & DMIRROR_PAGE_MAPPED);
	EXPECT_TRUE(dm_where(self->dm.fd, hole + page).flags &
		    DMIRROR_PAGE_MAPPED);

	/*
	 * On the device as well. Before it splits a mapping in the middle of a
	 * block, mm invalidates the block, whether or not a huge page is there.
	 */
	ASSERT_EQ(0, dm_to_device(self->dm.fd, self->mem, self->len));
	ASSERT_EQ(0, dm_read(self->dm.fd, self->mem, self->buf, self->len));
	ASSERT_EQ(0, variant->backing.thp ?
			     madvise(hole, page, MADV_DONTNEED) :
			     munmap(hole, page));
	EXPECT_EQ(npages - 1, dm_count_flags(self->dm.fd, self->mem, self->len,
					     DMIRROR_PAGE_MAPPED));
	EXPECT_EQ(npages - 1, dm_count(self->dm.fd, self->mem, self->len,
				       DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, 8 * page, SEED));
}

/* Sums that do not fit are refused before anything is done. */
TEST_F(rules, rule14_overflow)
{
	static const __u64 pages[] = {
		1ULL << 51, (1ULL << 52) - 1, 1ULL << 52, (1ULL << 52) + 1,
		1ULL << 63, ~0ULL,
	};
	char *top = (char *)~(self->page - 1), *none;
	__u64 value = 0;
	size_t i;
	int ret;

	none = mmap(NULL, self->page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	ASSERT_NE(MAP_FAILED, none);
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		__u64 len = pages[i] * self->page;

		if (len) {
			struct dmirror_migrate m;

			ret = dm_migrate(self->dm.fd, self->mem, len,
					 DMIRROR_TARGET_DEVICE, &m);
			EXPECT_TRUE(ret == -EOVERFLOW || len == self->page);
			ret = dm_fill_device(self->dm.fd, self->mem, len, 0);
			EXPECT_TRUE(ret == -EOVERFLOW || len == self->page);
			dm_fill(self->mem, self->page, SEED);
		}
		if (self->hmm < 0)
			continue;
		ret = hmm_call(self->hmm, HMM_READ, self->mem, none, pages[i],
			       NULL);
		EXPECT_TRUE(ret == -EINVAL || ret == -EFAULT ||
			    ret == -ENOMEM) {
			TH_LOG("%d for 0x%llx pages", ret, pages[i]);
		}
	}
	EXPECT_EQ(-EOVERFLOW, dm_read64(self->dm.fd, top + self->page - 4,
					&value));
	EXPECT_EQ(-EOVERFLOW, dm_copy(self->dm.fd, self->mem, top, ~0UL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* The top of the address space: no page there, and no overflow either. */
TEST_F(rules, rule14_overflow_top)
{
	__u64 value = 0;
	int ret;

	ret = dm_read64(self->dm.fd, (char *)0x7ffffffff000, &value);
	EXPECT_TRUE(ret == -EFAULT || ret == -EOVERFLOW);
	ret = dm_read64(self->dm.fd, NULL, &value);
	EXPECT_EQ(-EFAULT, ret);
	ret = dm_read64(self->dm.fd, (char *)0xffff800000000000, &value);
	EXPECT_EQ(-EOVERFLOW, ret);
	ret = dm_write64(self->dm.fd, (char *)0xffffffff81000000, 1);
	EXPECT_EQ(-EOVERFLOW, ret);
}

/* A file is of the process that opened it, and refuses all others. */
TEST_F(rules, rule15_file_belongs_to_mm)
{
	__u64 *word = dm_shared();
	struct dmirror_migrate m;
	char *mem = self->mem;
	pid_t pid;

	ASSERT_NE(NULL, word);
	pid = fork();
	if (!pid) {
		DM_CHECK(dm_migrate_raw(self->dm.fd, mem, self->len,
					DMIRROR_TARGET_DEVICE, &m) == -EXDEV);
		DM_CHECK(!m.moved);
		DM_CHECK(dm_write64(self->dm.fd, mem, 0) == -EXDEV);
		DM_CHECK(dm_read64(self->dm.fd, mem, word) == -EXDEV);
		DM_CHECK(dm_count(self->dm.fd, mem, self->len,
				  DMIRROR_PLACE_LOCAL) == -EXDEV);
		DM_CHECK(!dm_bad(mem, self->len, SEED));

		/* Closing the inherited file does nothing to the parent. */
		close(self->dm.fd);
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, dm_to_device(self->dm.fd, mem, self->len));
	EXPECT_EQ(0, dm_bad(mem, self->len, SEED));
}

static void *call_from_thread(void *arg)
{
	struct mover *m = arg;

	return (void *)(long)dm_to_device(m->fd, m->mem, m->len);
}

/* A thread of the process is no other process. */
TEST_F(rules, rule15_file_belongs_to_mm_thread)
{
	struct mover m = {
		.fd = self->dm.fd, .mem = self->mem, .len = self->len,
	};
	pthread_t thread;
	void *ret;

	ASSERT_EQ(0, pthread_create(&thread, NULL, call_from_thread, &m));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(NULL, ret);
	EXPECT_TRUE(dm_all(self->dm.fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));
}

#define TOUCHERS	4
#define TOUCH_ROUNDS	64

/* One of several threads that touch a page of the device at the same time */
struct toucher {
	__u64 *go;
	__u64 *word;		/* its own, in the page */
};

/* Who slept would come late. */
static void spin_until(const __u64 *word, __u64 value)
{
	while (dm_peek(word) < value)
		sched_yield();
}

static int touch_with_others(struct dm_worker *w)
{
	const struct toucher *t = w->arg;

	spin_until(t->go, w->done + 1);
	if (dm_peek(t->word) != w->done)
		return -EILSEQ;
	dm_poke(t->word, w->done + 1);
	return 0;
}

/*
 * Each holds the page that it faults on, which keeps the others from having it: none of
 * them is told of an error, and none tries for ever.
 */
TEST_F_TIMEOUT(rules, rule16_many_touch_one_page, 120)
{
	struct toucher touchers[TOUCHERS];
	struct dm_worker w[TOUCHERS] = {};
	unsigned int i, round;
	__u64 *go = dm_shared();

	ASSERT_NE(NULL, go);
	for (i = 0; i < TOUCHERS; i++) {
		touchers[i].go = go;
		touchers[i].word = (__u64 *)self->mem + i;
		dm_poke(touchers[i].word, 0);
		w[i].step = touch_with_others;
		w[i].arg = &touchers[i];
		w[i].limit = dm_rounds(TOUCH_ROUNDS);
		ASSERT_EQ(0, dm_worker_start(&w[i]));
	}
	for (round = 1; round <= w[0].limit; round++) {
		ASSERT_EQ(0, dm_to_device_settled(self->dm.fd, self->mem,
						  self->len));
		dm_poke(go, round);
		for (i = 0; i < TOUCHERS; i++) {
			dm_await(&w[i].done, round);
			ASSERT_EQ(0, w[i].error);
		}
	}
	for (i = 0; i < TOUCHERS; i++) {
		EXPECT_EQ(0, dm_worker_stop(&w[i]));
		EXPECT_EQ(w[i].limit, dm_peek(touchers[i].word));
	}
	EXPECT_EQ(0, dm_bad_from(self->mem + self->page, self->len - self->page,
				 SEED, 1));
	munmap(go, self->page);
}

/* The same of processes that share the page since a fork. */
TEST_F_TIMEOUT(rules, rule16_many_processes_touch_one_page, 120)
{
	const unsigned int rounds = dm_rounds(TOUCH_ROUNDS / 4);
	pid_t pids[TOUCHERS];
	unsigned int i, round;
	__u64 *go = dm_shared();

	ASSERT_NE(NULL, go);
	for (round = 1; round <= rounds; round++) {
		ASSERT_EQ(0, dm_to_device_settled(self->dm.fd, self->mem,
						  self->len));
		for (i = 0; i < TOUCHERS; i++) {
			pids[i] = fork();
			if (pids[i])
				continue;
			spin_until(go, round);
			if (i % 2)
				dm_poke(self->mem, i);
			_exit(!!dm_bad_from(self->mem + self->page,
					    self->len - self->page, SEED, 1));
		}
		dm_poke(go, round);
		EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
		for (i = 0; i < TOUCHERS; i++)
			EXPECT_EQ(0, dm_wait(pids[i]));
	}
	munmap(go, self->page);
}

TEST_HARNESS_MAIN
