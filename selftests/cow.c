// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that fork() made shared: a process, its child and its grandchild each
 * keep their own view of it, whoever moves it and whoever writes first, from the
 * CPU or from the device.
 */
#include <sys/resource.h>

#include "dmirror_state.h"

#define FAMILY		3
#define ORDERS		6
#define PAGES		(8 * ORDERS)	/* one for each case */
#define BATCHES		4		/* of huge pages, one for each order */

/*
 * Each unit of the memory, a page or a huge page, is a case of its own, so that three
 * processes go through all cases at the same time.
 */
struct family_case {
	bool there_first;	/* on the device when the child is made */
	bool there_second;	/* on the device when the grandchild is */
	bool by_device;		/* who writes: the device, or the CPU */
	unsigned int order;	/* in which the three write */
};

/* Who writes to a unit at this step */
static unsigned int writer(unsigned int order, unsigned int step)
{
	static const unsigned char orders[ORDERS][FAMILY] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
		{ 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
	};

	return orders[order][step];
}

struct family {
	const struct dm *dm;
	char *mem;
	size_t unit;		/* its size */
	unsigned int nr;	/* how many there are */
	struct family_case cases[PAGES];
	unsigned int me;	/* 0: parent, 1: child, 2: grandchild */
	int fd;
	__u64 *turn;		/* shared by all: whose turn it is */
	bool written[PAGES];	/* by me */
};

/* Of pages, each is one of all cases. */
static void cases_of_pages(struct family *f)
{
	unsigned int i;

	for (i = 0; i < f->nr; i++)
		f->cases[i] = (struct family_case) {
			.there_first = i / (4 * ORDERS),
			.there_second = i / (2 * ORDERS) % 2,
			.by_device = i / ORDERS % 2,
			.order = i % ORDERS,
		};
}

/* Huge pages take more memory, and time: a slow kernel has two of the orders each time. */
static void cases_of_huge_pages(struct family *f, unsigned int batch)
{
	unsigned int i;

	for (i = 0; i < f->nr; i++)
		f->cases[i] = (struct family_case) {
			.there_first = batch / 2,
			.there_second = i % 2,
			.by_device = batch % 2,
			.order = (i + 2 * batch) % ORDERS,
		};
}

static char *unit_at(const struct family *f, unsigned int unit)
{
	return f->mem + unit * f->unit;
}

/* What the contents of a unit begin with, for dm_fill_from() and its like */
static __u64 first_of(const struct family *f, unsigned int unit)
{
	return unit * (f->unit / f->dm->page);
}

/* Where a unit is to move to before a child is made; 0: it is there */
static unsigned int place_of(const struct family_case *c, bool second)
{
	if (second ? c->there_second : c->there_first)
		return DMIRROR_TARGET_DEVICE;
	/* Before 6.19 to ask for what is in the system splits huge pages. */
	return second && c->there_first ? DMIRROR_TARGET_SYSTEM : 0;
}

/*
 * Runs of units that are to be at one place. All move, also those that fork has
 * made shared.
 */
static void place_units(const struct family *f, bool second)
{
	unsigned int i, end, place;
	size_t len;

	for (i = 0; i < f->nr; i = end) {
		place = place_of(&f->cases[i], second);
		for (end = i + 1; end < f->nr; end++)
			if (place_of(&f->cases[end], second) != place)
				break;
		len = (end - i) * f->unit;
		if (place == DMIRROR_TARGET_DEVICE)
			DM_CHECK(!dm_to_device(f->fd, unit_at(f, i), len));
		else if (place)
			DM_CHECK(!dm_to_system(f->fd, unit_at(f, i), len));
	}
}

static void write_units(struct family *f, unsigned int step, char *buf)
{
	unsigned int i;

	for (i = 0; i < f->nr; i++) {
		if (writer(f->cases[i].order, step) != f->me)
			continue;
		dm_fill_from(buf, f->unit, SEED + 1 + f->me, first_of(f, i));
		if (f->cases[i].by_device)
			DM_CHECK(!dm_write(f->fd, unit_at(f, i), buf, f->unit));
		else
			memcpy(unit_at(f, i), buf, f->unit);
		f->written[i] = true;
	}
}

/* By the CPU, or by the device, which leaves them where they are */
static void check_units(const struct family *f, bool by_device, char *buf)
{
	unsigned int i;

	if (by_device)
		DM_CHECK(!dm_read(f->fd, f->mem, buf, f->nr * f->unit));
	else
		memcpy(buf, f->mem, f->nr * f->unit);
	for (i = 0; i < f->nr; i++)
		DM_CHECK(!dm_bad_from(buf + i * f->unit, f->unit,
				      SEED + (f->written[i] ? 1 + f->me : 0),
				      first_of(f, i)));
}

/* Waits for the turn of this process in a round; the first begins with 1. */
static void await_turn(const struct family *f, unsigned int round)
{
	dm_await(f->turn, 1 + round * FAMILY + f->me);
}

/*
 * The three take turns. In each step each of them writes to the units where it is
 * its turn, one moves everything, and all look at what they have.
 */
static void family_life(struct family *f)
{
	char *buf = malloc(f->nr * f->unit);
	struct dmirror_migrate m;
	unsigned int step;

	DM_CHECK(buf);
	for (step = 0; step < FAMILY; step++) {
		await_turn(f, 2 * step);
		write_units(f, step, buf);
		if (step == f->me)
			DM_CHECK(!dm_migrate(f->fd, f->mem, f->nr * f->unit,
					     step & 1 ? DMIRROR_TARGET_SYSTEM :
							DMIRROR_TARGET_DEVICE,
					     &m));
		dm_poke(f->turn, dm_peek(f->turn) + 1);
		await_turn(f, 2 * step + 1);
		check_units(f, step != f->me, buf);
		dm_poke(f->turn, dm_peek(f->turn) + 1);
	}
	/* Nothing is shared any more. */
	check_units(f, false, buf);
	free(buf);
}

/* Makes a child, which goes on as the next one of the family */
static pid_t next_of_family(struct family *f)
{
	pid_t pid = fork();

	DM_CHECK(pid >= 0);
	if (!pid) {
		f->me++;
		f->fd = dm_open_number(f->dm->device);
		DM_CHECK(f->fd >= 0);
	}
	return pid;
}

/* All three, from the first unit's place to their end: 0 if all was well */
static int run_family(struct family *f)
{
	pid_t pid;
	int ret;

	f->turn = dm_shared();
	if (!f->turn)
		return -ENOMEM;
	place_units(f, false);
	pid = next_of_family(f);
	if (!pid) {
		place_units(f, true);
		pid = next_of_family(f);
		/* Nobody is to move anything before that. */
		if (pid)
			dm_poke(f->turn, 1);
		family_life(f);
		if (pid)
			DM_CHECK(!dm_wait(pid));
		_exit(0);
	}
	family_life(f);
	ret = dm_wait(pid);
	munmap(f->turn, f->dm->page);
	return ret;
}

TEST_F_TIMEOUT(state, family, 120)
{
	struct family f = {
		.dm = &self->dm,
		.mem = self->mem,
		.unit = self->page,
		.nr = PAGES,
		.fd = self->fd,
	};

	cases_of_pages(&f);
	EXPECT_EQ(0, run_family(&f));
	EXPECT_EQ(0, dm_bad_from(self->mem + PAGES * self->page,
				 self->len - PAGES * self->page, SEED, PAGES));
}

/* The same with huge pages, each of which is one when the child is made, or as many small ones. */
TEST_F_TIMEOUT(state, family_of_huge_pages, 240)
{
	const unsigned int nr = dm_rounds(ORDERS);
	const size_t len = nr * DM_HUGE;
	__u64 used = dm_memory_used(self->fd);
	unsigned int batch;

	for (batch = 0; batch < BATCHES; batch++) {
		struct family f = {
			.dm = &self->dm,
			.mem = dm_alloc(&self->dm, len, SEED),
			.unit = DM_HUGE,
			.nr = nr,
			.fd = self->fd,
		};

		ASSERT_NE(NULL, f.mem);
		ASSERT_LE(variant->backing.thp ? len / 1024 : 0,
			  dm_thp_kib(f.mem));
		cases_of_huge_pages(&f, batch);
		EXPECT_EQ(0, run_family(&f)) {
			TH_LOG("batch %u", batch);
		}
		munmap(f.mem, len);
		EXPECT_EQ(used, dm_memory_used(self->fd));
	}
}

/*
 * What a process writes to memory that has become its own again, when the other
 * one has gone, stays its own: nobody else has it any more, here or there.
 */
TEST_F(state, last_owner)
{
	__u64 used = dm_memory_used(self->fd);
	unsigned int i;
	pid_t pid;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		pid = fork();
		if (!pid)
			_exit(!!dm_bad(self->mem, self->page, SEED + i));
		EXPECT_EQ(0, dm_wait(pid));
		if (i)
			ASSERT_EQ(0, dm_to_device(self->fd, self->mem,
						  self->len));
		dm_fill(self->buf, self->len, SEED + 1 + i);
		ASSERT_EQ(0, dm_write(self->fd, self->mem, self->buf,
				      self->len));
		EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1 + i));
	}
	ASSERT_EQ(0, dm_to_system(self->fd, self->mem, self->len));
	EXPECT_EQ(used, dm_memory_used(self->fd));
}

static long faults_so_far(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/*
 * What a process has for itself is known to be its own when it is back: mm may make it
 * writable again without a fault that finds that out.
 */
TEST_F(state, own_stays_own)
{
	const int both = PROT_READ | PROT_WRITE;
	unsigned int way;
	size_t at;
	long before, most;

	for (way = 0; way < DM_WAYS; way++) {
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		ASSERT_EQ(0, dm_back(self->fd, self->mem, self->len, way));
		for (at = 0; at < self->len; at += self->page)
			dm_poke(self->mem + at, dm_peek(self->mem + at));
		ASSERT_EQ(0, mprotect(self->mem, self->len, PROT_READ));
		ASSERT_EQ(0, mprotect(self->mem, self->len, both));
		/* One fault would do for all of a huge page. */
		most = dm_thp_kib(self->mem) * 1024 < (long)self->len ?
		       self->len / self->page / 4 : 0;
		before = faults_so_far();
		for (at = 0; at < self->len; at += self->page)
			dm_poke(self->mem + at, dm_peek(self->mem + at));
		EXPECT_GE(most, faults_so_far() - before) {
			TH_LOG("way %u", way);
		}
	}
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* That a page of the device was somebody's own is gone with him: what comes next is shared. */
TEST_F_TIMEOUT(state, shared_after_own, 120)
{
	__u64 *written = dm_shared();
	pid_t child;
	char *mem;

	ASSERT_NE(NULL, written);
	/* A huge page stays one there, with an entry for each of its pages. */
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, mprotect(self->mem, self->page, PROT_READ));
	ASSERT_EQ(0, madvise(self->mem, self->len, MADV_DONTNEED));

	mem = dm_map_flags(self->len, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	ASSERT_NE(NULL, mem);
	dm_fill(mem, self->len, SEED + 1);
	child = fork();
	if (!child) {
		dm_await(written, 1);
		_exit(dm_bad(mem, self->len, SEED + 1) ? 1 : 0);
	}
	ASSERT_LT(0, child);
	EXPECT_EQ(0, dm_to_device(self->fd, mem, self->len));
	EXPECT_EQ(0, dm_bad(mem, self->len, SEED + 1));
	dm_fill(mem, self->len, SEED + 2);
	dm_poke(written, 1);
	EXPECT_EQ(0, dm_wait(child));
	EXPECT_EQ(0, dm_bad(mem, self->len, SEED + 2));
	munmap(mem, self->len);
	munmap(written, self->page);
}

/* A page of a file that was copied on write moves; the file's own do not. */
TEST_F(state, copies_of_file_pages)
{
	bool private = variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE;
	int file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	size_t n = self->len / self->page, i;
	struct dmirror_atomic a;
	struct dmirror_migrate m;
	__u64 used;
	char *map;

	ASSERT_LE(0, file);
	ASSERT_EQ(self->len, write(file, self->mem, self->len));
	map = mmap(NULL, self->len, PROT_READ | PROT_WRITE, MAP_PRIVATE, file,
		   0);
	ASSERT_NE(MAP_FAILED, map);
	/* Of what nobody has touched nothing is there that could move. */
	ASSERT_EQ(0, dm_migrate(self->fd, map, self->len, DMIRROR_TARGET_DEVICE,
				&m));
	EXPECT_EQ(self->len, m.unsupported);
	for (i = 0; i < n; i++) {
		if (i % 4)
			dm_peek(map + i * self->page);
		else
			dm_fill_from(map + i * self->page, self->page, SEED + 1,
				     i);
	}
	/* One of them is the device's alone when they are to move. */
	ASSERT_EQ(0, dm_atomic(self->fd, DMIRROR_ATOMIC_ADD, map, 8, 0, 0, &a));
	EXPECT_EQ(DMIRROR_ATOMIC_EXCLUSIVE, a.flags);
	dm_settle();
	ASSERT_EQ(0, dm_migrate(self->fd, map, self->len, DMIRROR_TARGET_DEVICE,
				&m));
	EXPECT_EQ(self->len / 4, m.moved);
	EXPECT_EQ(self->len * 3 / 4, m.unsupported);
	for (i = 0; i < n; i++)
		ASSERT_EQ(i % 4 ? DMIRROR_PLACE_SYSTEM : DMIRROR_PLACE_LOCAL,
			  dm_where(self->fd, map + i * self->page).place);
	ASSERT_EQ(0, dm_read(self->fd, map, self->buf, self->len));
	for (i = 0; i < n; i++) {
		size_t at = i * self->page;

		ASSERT_EQ(0, dm_bad_from(self->buf + at, self->page,
					 SEED + !(i % 4), i));
		ASSERT_EQ(0, dm_bad_from(map + at, self->page,
					 SEED + !(i % 4), i));
	}
	ASSERT_EQ(self->len, pread(file, self->buf, self->len, 0));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));

	/* They can be unmapped there, too. */
	used = dm_memory_used(self->fd);
	ASSERT_EQ(0, dm_migrate(self->fd, map, self->len, DMIRROR_TARGET_DEVICE,
				&m));
	EXPECT_EQ(private ? self->len / 4 : 0, m.moved);
	munmap(map, self->len);
	EXPECT_EQ(private ? used : used - self->len / 4,
		  dm_memory_used(self->fd));
	close(file);
}

TEST_HARNESS_MAIN
