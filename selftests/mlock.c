// SPDX-License-Identifier: GPL-2.0
/*
 * Locked memory on a device: what is locked stays so, there and after it has come
 * back, and all that counts locked memory is in the end what it was.
 */
#include <sys/uio.h>

#include "dmirror_state.h"

/* All in KiB */
struct locks {
	long process;		/* VmLck of the process */
	long mapping;		/* Locked in its smaps */
	long mlocked;		/* Mlocked of the system */
	long unevictable;	/* Unevictable of the system */
};

static struct locks look(const void *mem, size_t len)
{
	return (struct locks) {
		.mlocked = dm_meminfo("Mlocked"),
		.unevictable = dm_file_value("/proc/meminfo", "Unevictable"),
		.process = dm_file_value("/proc/self/status", "VmLck"),
		.mapping = dm_smaps(mem, len, "Locked"),
	};
}

static bool same(const struct locks *a, const struct locks *b)
{
	if (!memcmp(a, b, sizeof(*a)))
		return true;
	fprintf(stderr,
		"# VmLck %ld Locked %ld Mlocked %ld Unevictable %ld, not %ld %ld %ld %ld\n",
		a->process, a->mapping, a->mlocked, a->unevictable, b->process,
		b->mapping, b->mlocked, b->unevictable);
	return false;
}

/* The same with so much more, or less, of it locked */
static struct locks plus(struct locks all, long bytes)
{
	all.process += bytes / 1024;
	all.mapping += bytes / 1024;
	all.mlocked += bytes / 1024;
	all.unevictable += bytes / 1024;
	return all;
}

/*
 * There and back, by a call and by the CPU's hand. On the device it is locked
 * as it was, and only not on a list of the system's unevictable memory.
 */
TEST_F(state, there_and_back)
{
	struct locks before = look(self->mem, self->len), locked, now;
	unsigned int way;

	ASSERT_EQ(0, mlock(self->mem, self->len));
	locked = plus(before, self->len);
	now = look(self->mem, self->len);
	ASSERT_TRUE(same(&now, &locked));
	for (way = 0; way < DM_WAYS; way++) {
		ASSERT_EQ(0, dm_to_device_settled(self->fd, self->mem,
						  self->len));
		now = look(self->mem, self->len);
		EXPECT_EQ(before.unevictable, now.unevictable);
		now.unevictable = locked.unevictable;
		EXPECT_TRUE(same(&now, &locked));
		ASSERT_EQ(0, dm_back(self->fd, self->mem, self->len, way));
		now = look(self->mem, self->len);
		EXPECT_TRUE(same(&now, &locked));
	}
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	ASSERT_EQ(0, munlock(self->mem, self->len));
	now = look(self->mem, self->len);
	EXPECT_TRUE(same(&now, &before));
}

/* Untouched memory that is to be locked when it is touched: the device does. */
TEST_F(state, locked_on_fault)
{
	char *mem = dm_map(&self->dm, self->len);
	struct locks before, locked, now;

	ASSERT_NE(NULL, mem);
	before = look(mem, self->len);
	ASSERT_EQ(0, mlock2(mem, self->len, MLOCK_ONFAULT));
	EXPECT_EQ(before.mlocked, dm_meminfo("Mlocked"));
	ASSERT_EQ(0, dm_to_device(self->fd, mem, self->len));
	now = look(mem, self->len);
	EXPECT_EQ(before.process + self->len / 1024, now.process);
	EXPECT_EQ(before.mapping + self->len / 1024, now.mapping);
	ASSERT_EQ(0, dm_back(self->fd, mem, self->len, DM_WAY_TOUCH));
	now = look(mem, self->len);
	locked = plus(before, self->len);
	EXPECT_TRUE(same(&now, &locked));
	EXPECT_TRUE(dm_zero(mem, self->len));
	ASSERT_EQ(0, munmap(mem, self->len));
	now = look(mem, self->len);
	EXPECT_TRUE(same(&now, &before));
}

/*
 * Locked while it is there: mlock() brings private memory back, since it touches
 * it, and leaves coherent memory, which the CPU can use where it is.
 */
TEST_F(state, locked_there)
{
	struct locks before = look(self->mem, self->len), now;
	bool stays = variant->backing.memory_type == DMIRROR_MEMORY_COHERENT;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, mlock(self->mem, self->len));
	EXPECT_EQ(stays ? self->len / self->page : 0,
		  dm_count(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));
	now = look(self->mem, self->len);
	EXPECT_EQ(before.process + self->len / 1024, now.process);
	EXPECT_EQ(before.mapping + self->len / 1024, now.mapping);
	ASSERT_EQ(0, dm_to_system_settled(self->fd, self->mem,
					  self->len));
	before = plus(before, self->len);
	now = look(self->mem, self->len);
	EXPECT_TRUE(same(&now, &before));
	ASSERT_EQ(0, munlock(self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	before = plus(before, -(long)self->len);
	now = look(self->mem, self->len);
	EXPECT_TRUE(same(&now, &before));
}

/* How memory leaves the device, in a process that then ends */
enum end {
	END_CALL,
	END_UNMAP,
	END_EXIT,
	ENDS
};

static int lock_and_end(const struct dm *dm, bool unlock, enum end end)
{
	int fd = dm_open_number(dm->device);
	char *mem = dm_alloc(dm, dm->len, SEED);

	DM_CHECK(fd >= 0 && mem);
	DM_CHECK(!mlock(mem, dm->len));
	DM_CHECK(!dm_to_device_settled(fd, mem, dm->len));
	if (unlock)
		DM_CHECK(!munlock(mem, dm->len));
	if (end == END_CALL) {
		DM_CHECK(!dm_to_system_settled(fd, mem, dm->len));
		DM_CHECK(!dm_bad(mem, dm->len, SEED));
	} else if (end == END_UNMAP) {
		DM_CHECK(!munmap(mem, dm->len));
	}
	return 0;
}

static void run_ends(struct __test_metadata *_metadata, const struct dm *dm,
		     bool unlock)
{
	struct locks before = look(NULL, 0), now;
	__u64 used = dm_memory_used(dm->fd);
	unsigned int end;
	pid_t pid;

	for (end = 0; end < ENDS; end++) {
		pid = fork();
		if (!pid)
			_exit(lock_and_end(dm, unlock, end));
		EXPECT_EQ(0, dm_wait(pid));
		now = look(NULL, 0);
		EXPECT_TRUE(same(&now, &before))
			TH_LOG("after end %u", end);
		EXPECT_EQ(used, dm_memory_used(dm->fd));
	}
}

/* It is locked, and leaves the device in each way that there is. */
TEST_F(state, ends_locked)
{
	run_ends(_metadata, &self->dm, false);
}

/*
 * Unlocked while it is there. munlock() passes over device memory, so the page
 * still says that it is locked when it leaves the device, and is counted.
 */
TEST_F(state, ends_unlocked)
{
	run_ends(_metadata, &self->dm, true);
}

/* Has the system take note of uses: that makes pages active. Whether it did */
static bool make_active(char *mem, char *buf, size_t len)
{
	struct iovec local = { buf, len }, remote = { mem, len };
	unsigned int i;

	for (i = 0; i < 3; i++) {
		process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
		dm_settle();
	}
	return dm_kpageflags(mem) & DM_KPF_ACTIVE;
}

/*
 * A process has it locked, and a child that has not moves it to the device, as
 * unevictable pages, which end with the two; or back before.
 */
static int lock_and_fork(const struct dm *dm, bool back)
{
	char *mem = dm_alloc(dm, dm->len, SEED);
	pid_t pid;
	int fd;

	DM_CHECK(mem && !mlock(mem, dm->len));
	dm_settle();
	pid = fork();
	if (!pid) {
		fd = dm_open_number(dm->device);
		DM_CHECK(!dm_to_device_settled(fd, mem, dm->len));
		if (back)
			DM_CHECK(!dm_to_system_settled(fd, mem, dm->len));
		_exit(0);
	}
	DM_CHECK(!dm_wait(pid));
	DM_CHECK(!back || !dm_bad(mem, dm->len, SEED));
	return 0;
}

/*
 * Device memory that held unevictable pages then holds active ones, and the other
 * way round. None is both, and the kernel stops if it finds one.
 */
TEST_F(state, used_again)
{
	bool active;
	pid_t pid;

	/*
	 * Mapped as small pages, also where it comes back as a huge one: a use of one
	 * that is mapped as such makes nothing active. khugepaged would map it so.
	 */
	madvise(self->mem, self->len, MADV_NOHUGEPAGE);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_to_system_settled(self->fd, self->mem,
					  self->len));
	ASSERT_EQ(0, mprotect(self->mem, self->page, PROT_READ));
	ASSERT_EQ(0, mprotect(self->mem, self->page, PROT_READ | PROT_WRITE));
	pid = fork();
	if (!pid)
		_exit(lock_and_fork(&self->dm, false));
	ASSERT_EQ(0, dm_wait(pid));
	dm_settle();
	active = make_active(self->mem, self->buf, self->len);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_to_system_settled(self->fd, self->mem,
					  self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	if (!active)
		SKIP(return, "no page was made active: CONFIG_LRU_GEN");

	ASSERT_TRUE(make_active(self->mem, self->buf, self->len));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, munmap(self->mem, self->len));
	pid = fork();
	if (!pid)
		_exit(lock_and_fork(&self->dm, true));
	ASSERT_EQ(0, dm_wait(pid));
}

/*
 * Locking and unlocking, migration, and faults of the CPU and of the device at
 * the same time, in a process that ends somewhere in the middle of it.
 */

/* Three more than whole turns of lock_step(), so that part of it is locked. */
#define LOCK_STEPS	(dm_rounds(200) + 3)
#define MOVE_STEPS	dm_rounds(120)

struct race {
	char *mem;
	size_t len;
	int fd;
	bool whole;	/* huge pages stay that on 7.2: see Limits in README.md */
};

static int lock_step(struct dm_worker *w)
{
	struct race *race = w->arg;
	size_t half = race->whole ? race->len : race->len / 2;

	switch (w->done % 5) {
	case 0:
		return mlock(race->mem, race->len);
	case 1:
		return munlock(race->mem, half);
	case 2:
		return mlock2(race->mem, half, MLOCK_ONFAULT);
	case 3:
		return munlock(race->mem + (race->whole ? 0 : half / 2), half);
	default:
		return munlock(race->mem, race->len);
	}
}

static int migrate_step(struct dm_worker *w)
{
	struct race *race = w->arg;
	struct dmirror_migrate m;

	return dm_migrate_raw(race->fd, race->mem, race->len,
			      w->done & 1 ? DMIRROR_TARGET_SYSTEM :
					    DMIRROR_TARGET_DEVICE, &m);
}

/* Ends with what is locked just then, or waits to be killed with all at work */
static int race_child(const struct dm *dm, bool go_on, __u64 *ready)
{
	struct race race = {
		.mem = dm_alloc(dm, dm->len, SEED),
		.len = dm->len,
		.fd = dm_open_number(dm->device),
		.whole = dm->backing.thp && !dm_kernel_before(6, 19),
	};
	struct dm_worker locker = {
		.step = lock_step, .arg = &race, .limit = go_on ? ~0UL : LOCK_STEPS,
	};
	struct dm_worker mover = {
		.step = migrate_step, .arg = &race, .limit = go_on ? ~0UL : MOVE_STEPS,
	};
	size_t at, pages = dm->len / dm->page;
	unsigned int i;

	DM_CHECK(race.mem && race.fd >= 0);
	DM_CHECK(!dm_worker_start(&locker));
	DM_CHECK(!dm_worker_start(&mover));
	for (i = 0; i < 4; i++) {
		at = i * 37 % pages * dm->page;
		DM_CHECK(!dm_bad_from(race.mem + at, dm->page, SEED,
				      at / dm->page));
		DM_CHECK(!dm_write64(race.fd, race.mem + at,
				     dm_word(SEED, at / dm->page, 0)));
		dm_poke(ready, 1);
	}
	pthread_join(locker.thread, NULL);
	pthread_join(mover.thread, NULL);
	DM_CHECK(!locker.error && !mover.error);
	DM_CHECK(!dm_bad(race.mem, dm->len, SEED));
	return 0;
}

TEST_F_TIMEOUT(state, race, 120)
{
	struct locks before = look(NULL, 0), now;
	__u64 used = dm_memory_used(self->fd);
	__u64 *ready = dm_shared();
	unsigned int killed;
	pid_t pid;

	ASSERT_NE(NULL, ready);
	for (killed = 0; killed < 2; killed++) {
		dm_poke(ready, 0);
		pid = fork();
		if (!pid)
			_exit(race_child(&self->dm, killed, ready));
		if (killed) {
			dm_await(ready, 1);
			kill(pid, SIGKILL);
		}
		EXPECT_EQ(killed ? -SIGKILL : 0, dm_wait(pid));
		now = look(NULL, 0);
		EXPECT_TRUE(same(&now, &before));
		EXPECT_EQ(used, dm_memory_used(self->fd));
	}
	munmap(ready, self->page);
}

TEST_HARNESS_MAIN
