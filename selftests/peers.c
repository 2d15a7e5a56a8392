// SPDX-License-Identifier: GPL-2.0
/*
 * Two devices and one range: from one's memory to the other's, straight where
 * the driver was loaded with interconnect=1, by way of the system where not.
 * Documentation: drivers/dmirror/dmirror.rst.
 */
#include "kselftest_harness.h"
#include "dmirror_test.h"
#include "dmirror_advice.h"
#include "dmirror_entries.h"
#include "dmirror_inject.h"
#include "dmirror_storm.h"

#define SEED		0xbeef
#define RACE_ROUNDS	dm_rounds(30)
#define UNPLUG_ROUNDS	6

FIXTURE(peers)
{
	struct dm dm;
	size_t len;
	char *mem;
	char *buf;
	int fds[2];
	int devices[2];
	unsigned int coherent;	/* which of the two, if one is */
	bool splits;		/* huge pages, before others race for them */
	bool linked;
};

FIXTURE_VARIANT(peers)
{
	struct dm_backing backing;
	unsigned int other_type;
};

FIXTURE_VARIANT_ADD(peers, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
	.other_type = DMIRROR_MEMORY_PRIVATE,
};

FIXTURE_VARIANT_ADD(peers, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
	.other_type = DMIRROR_MEMORY_PRIVATE,
};

FIXTURE_VARIANT_ADD(peers, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
	.other_type = DMIRROR_MEMORY_COHERENT,
};

FIXTURE_VARIANT_ADD(peers, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
	.other_type = DMIRROR_MEMORY_COHERENT,
};

FIXTURE_VARIANT_ADD(peers, private_coherent_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
	.other_type = DMIRROR_MEMORY_COHERENT,
};

FIXTURE_VARIANT_ADD(peers, private_coherent_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
	.other_type = DMIRROR_MEMORY_COHERENT,
};

FIXTURE_VARIANT_ADD(peers, coherent_private_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
	.other_type = DMIRROR_MEMORY_PRIVATE,
};

FIXTURE_VARIANT_ADD(peers, coherent_private_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
	.other_type = DMIRROR_MEMORY_PRIVATE,
};

FIXTURE_SETUP(peers)
{
	const char *why = dm_setup(&self->dm, &variant->backing);
	bool same = variant->backing.memory_type == variant->other_type;

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	self->fds[0] = self->dm.fd;
	self->devices[0] = self->dm.device;
	self->devices[1] = dm_find(variant->other_type, same, &self->fds[1]);
	if (self->devices[1] < 0)
		SKIP(_exit(DM_SKIP_STATUS), "there is no second device");
	self->linked = dm_linked();
	/*
	 * mm splits a huge page for coherent memory, and newer kernels must not be at
	 * that twice at the same time: who has it alone has to be first.
	 */
	self->coherent = variant->other_type == DMIRROR_MEMORY_COHERENT;
	self->splits = variant->backing.thp && storm_huge_pages_race() &&
		       (self->coherent || variant->backing.memory_type ==
					  DMIRROR_MEMORY_COHERENT);
	self->len = self->dm.len;
	self->mem = dm_alloc(&self->dm, self->len, SEED);
	ASSERT_NE(NULL, self->mem);
	self->buf = malloc(self->len);
	ASSERT_NE(NULL, self->buf);
}

FIXTURE_TEARDOWN(peers)
{
	dm_knob(DM_PARAM("device_fault_window"), "0");
	free(self->buf);
	munmap(self->mem, self->len);
	close(self->fds[0]);
	close(self->fds[1]);
}

/* There, to the other, and back: each time all of it moves, and arrives. */
TEST_F(peers, migrate_between)
{
	struct dmirror_migrate m;
	unsigned int i;
	long system, peers;

	ASSERT_EQ(0, dm_to_device(self->fds[0], self->mem, self->len));
	for (i = 1; i < 5; i++) {
		int from = !(i & 1), to = i & 1;

		system = dm_counter(self->devices[from], "to_system");
		peers = dm_counter(self->devices[to], "from_peers");
		ASSERT_EQ(0, dm_migrate(self->fds[to], self->mem, self->len,
					DMIRROR_TARGET_DEVICE, &m));
		EXPECT_EQ(self->len, m.moved);
		EXPECT_EQ(self->len, dm_migrate_sum(&m));
		EXPECT_TRUE(dm_all(self->fds[to], self->mem, self->len,
				   DMIRROR_PLACE_LOCAL));
		EXPECT_TRUE(dm_all(self->fds[from], self->mem, self->len,
				   DMIRROR_PLACE_REMOTE));

		system = dm_counter(self->devices[from], "to_system") - system;
		peers = dm_counter(self->devices[to], "from_peers") - peers;
		EXPECT_EQ(self->linked ? 0 : self->len, system);
		EXPECT_EQ(self->linked ? self->len : 0, peers);

		ASSERT_EQ(0, dm_read(self->fds[to], self->mem, self->buf,
				     self->len));
		EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	}
	/* What is there has nothing to move. */
	ASSERT_EQ(0, dm_migrate(self->fds[0], self->mem, self->len,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->len, m.resident);

	/* One's file does not bring the other's memory to the system. */
	ASSERT_EQ(0, dm_migrate(self->fds[1], self->mem, self->len,
				DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(self->len, m.resident);
	EXPECT_TRUE(dm_all(self->fds[0], self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/*
 * A migration from the one to the other, with the @nth allocation of the call failing,
 * or the @nth copy: 1 if one did, 0 if there was none, and memory is what it was.
 */
static int fail_between(int *fds, char *mem, char *buf, size_t len, bool copies,
			unsigned int nth)
{
	struct dmirror_migrate m;
	bool failed;
	int ret;

	ret = dm_settled(dm_to_device, fds[0], mem, len);
	if (ret)
		return ret;
	if (copies)
		dm_attr_start("fail_copy", nth - 1, 1);
	else
		dm_nth_start(nth);
	ret = dm_migrate_raw(fds[1], mem, len, DMIRROR_TARGET_DEVICE, &m);
	failed = copies ? !dm_attr_stop("fail_copy") : dm_nth_stop();
	if (ret && ret != -ENOMEM && ret != -EFAULT && ret != -ENOSPC &&
	    ret != -EIO)
		return ret;
	if (!ret && dm_migrate_sum(&m) != len)
		return -ERANGE;
	if (dm_stuck(fds[0], mem, len))
		return -EBUSY;
	if (dm_read(fds[0], mem, buf, len) || dm_bad(buf, len, SEED))
		return -EILSEQ;
	/* The same again, and it arrives. */
	ret = dm_settled(dm_to_device, fds[1], mem, len);
	return ret ?: dm_bad(mem, len, SEED) ? -EILSEQ : failed;
}

TEST_F_TIMEOUT(peers, failures_between, 120)
{
	size_t len = variant->backing.thp ? self->len : 4 * dm_page_size();
	unsigned int end = dm_rounds(variant->backing.thp ? 16 : 64), copies, nth;
	const char *why = dm_nth_setup() ?: dm_attr_start("fail_copy", 1, 0);
	int ret;

	if (why)
		SKIP(return, "%s", why);
	for (copies = 0; copies < 2; copies++) {
		for (nth = 1, ret = 1; ret == 1 && nth <= end; nth++)
			ret = fail_between(self->fds, self->mem, self->buf, len,
					   copies, nth);
		EXPECT_LE(0, ret) {
			TH_LOG("%s %u", copies ? "copy" : "allocation", nth - 1);
		}
		EXPECT_LT(2, nth);
	}
}

/* A part of it is the other's, for which it may take two attempts: all of it has moved. */
TEST_F(peers, migrate_from_both)
{
	size_t half = self->len / 2;
	struct dmirror_migrate m;

	ASSERT_EQ(0, dm_to_device(self->fds[0], self->mem + half, half));
	ASSERT_EQ(0, dm_migrate(self->fds[1], self->mem, self->len,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->len, m.moved);
	EXPECT_EQ(self->len, dm_migrate_sum(&m));
	EXPECT_TRUE(dm_all(self->fds[1], self->mem, self->len, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* What took two attempts in one block does not count as moved in the next. */
TEST_F(peers, migrate_from_both_by_blocks)
{
	const size_t half = DM_HUGE / 2, len = 2 * DM_HUGE;
	struct dmirror_migrate m;
	char *mem;

	mem = dm_alloc(&self->dm, len, SEED);
	ASSERT_NE(NULL, mem);
	/* The halves: the system's and another device's, its own and another's */
	ASSERT_EQ(0, dm_to_device(self->fds[0], mem + half, half));
	ASSERT_EQ(0, dm_to_device(self->fds[1], mem + 2 * half, half));
	ASSERT_EQ(0, dm_to_device(self->fds[0], mem + 3 * half, half));
	dm_settle();
	ASSERT_EQ(0, dm_migrate(self->fds[1], mem, len, DMIRROR_TARGET_DEVICE,
				&m));
	EXPECT_EQ(3 * half, m.moved);
	EXPECT_EQ(half, m.resident);
	EXPECT_EQ(len, dm_migrate_sum(&m));
	EXPECT_TRUE(dm_all(self->fds[1], mem, len, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(mem, len, SEED));
	munmap(mem, len);
}

/* The other device reads and writes it: remotely, or after it came back. */
TEST_F(peers, access)
{
	bool remote = self->linked ||
		      variant->backing.memory_type == DMIRROR_MEMORY_COHERENT;
	__u64 i, value;

	ASSERT_EQ(0, dm_to_device(self->fds[0], self->mem, self->len));
	ASSERT_EQ(0, dm_read(self->fds[1], self->mem, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
	EXPECT_TRUE(dm_all(self->fds[0], self->mem, self->len,
			   remote ? DMIRROR_PLACE_LOCAL :
				    DMIRROR_PLACE_SYSTEM));

	/* Both see what the other writes. */
	for (i = 0; i < 8; i++) {
		char *at = self->mem + (i * self->len / 8 & ~7UL);

		ASSERT_EQ(0, dm_write64(self->fds[i & 1], at, i));
		ASSERT_EQ(0, dm_read64(self->fds[!(i & 1)], at, &value));
		EXPECT_EQ(i, value);
		EXPECT_EQ(i, dm_peek(at));
		dm_poke(at, i + 1);
		ASSERT_EQ(0, dm_read64(self->fds[1], at, &value));
		EXPECT_EQ(i + 1, value);
	}
}

/* The owner's memory goes away under the other one: it sees the new place. */
TEST_F(peers, owner_loses_it)
{
	__u64 value;

	ASSERT_EQ(0, dm_to_device(self->fds[0], self->mem, self->len));
	ASSERT_EQ(0, dm_read64(self->fds[1], self->mem, &value));
	EXPECT_EQ(dm_word(SEED, 0, 0), value);
	ASSERT_EQ(0, dm_to_system(self->fds[0], self->mem, self->len));
	dm_poke(self->mem, 77);
	ASSERT_EQ(0, dm_read64(self->fds[1], self->mem, &value));
	EXPECT_EQ(77, value);
	ASSERT_EQ(0, dm_to_device(self->fds[0], self->mem, self->len));
	ASSERT_EQ(0, dm_write64(self->fds[1], self->mem, 78));
	EXPECT_EQ(78, dm_peek(self->mem));
	munmap(self->mem, self->dm.page);
	EXPECT_EQ(-EFAULT, dm_read64(self->fds[1], self->mem, &value));
}

struct puller {
	pthread_t thread;
	int fd;
	char *mem;
	size_t len;
	unsigned int rounds;
	char *word;
	int ret;
};

static void *pull(void *arg)
{
	struct puller *p = arg;
	unsigned int i;

	for (i = 0; i < p->rounds && !p->ret; i++) {
		struct dmirror_migrate m;

		p->ret = dm_migrate_raw(p->fd, p->mem, p->len,
					DMIRROR_TARGET_DEVICE, &m);
		if (!p->ret && dm_migrate_sum(&m) != p->len)
			p->ret = 1;
		if (!p->ret)
			p->ret = dm_add64(p->fd, p->word, 1);
	}
	return NULL;
}

/* The same, and for good: the owner is unplugged. */
TEST_F(peers, owner_is_unplugged)
{
	struct puller p = {
		.fd = self->fds[1],
		.mem = self->mem,
		.len = self->len,
		.word = self->mem,
	};
	unsigned int i;
	__u64 value;

	if (self->splits)
		ASSERT_EQ(0, dm_to_device(self->fds[self->coherent], self->mem,
					  self->len));
	dm_poke(self->mem, 77);
	for (i = 0; i < UNPLUG_ROUNDS; i++) {
		ASSERT_EQ(0, dm_to_device_settled(self->fds[0], self->mem,
						  self->len));
		ASSERT_EQ(0, dm_read64(self->fds[1], self->mem, &value));
		EXPECT_EQ(77 + i, value);
		/* Every second time the other one pulls it over meanwhile. */
		p.rounds = i & 1;
		p.ret = 0;
		ASSERT_EQ(0, pthread_create(&p.thread, NULL, pull, &p));
		ASSERT_EQ(0, dm_unplug(self->devices[0]));
		pthread_join(p.thread, NULL);
		ASSERT_EQ(0, p.ret);
		ASSERT_EQ(0, dm_counter(self->devices[0], "memory_used"));
		EXPECT_EQ(0, dm_count(self->fds[1], self->mem, self->len,
				      DMIRROR_PLACE_REMOTE));
		if (!p.rounds)
			ASSERT_EQ(0, dm_write64(self->fds[1], self->mem,
						78 + i));
		EXPECT_EQ(78 + i, dm_peek(self->mem));
		ASSERT_EQ(0, dm_plug(self->devices[0]));
		close(self->fds[0]);
		self->fds[0] = dm_open_number(self->devices[0]);
		ASSERT_LE(0, self->fds[0]);
	}
	EXPECT_EQ(0, dm_bad_from(self->mem + self->dm.page,
				 self->len - self->dm.page, SEED, 1));
}

struct unmapping {
	char *mem;
	__u64 told;
	unsigned int most;	/* how often it lets others run first */
};

static int unmap_when_told(struct dm_worker *w)
{
	struct unmapping *u = w->arg;
	unsigned int i;

	dm_await(&u->told, w->done + 1);
	for (i = rand() % (u->most + 1); i; i--)
		sched_yield();
	return munmap(u->mem, DM_HUGE) ? -errno : 0;
}

/* It is gone between two steps of its way: then no device is in use that can be unplugged. */
TEST_F_TIMEOUT(peers, unmapped_on_its_way, 120)
{
	struct unmapping u = { .most = 8 };
	struct dm_worker w = {
		.step = unmap_when_told, .arg = &u, .limit = RACE_ROUNDS,
	};
	unsigned int i, before = 0;
	struct dmirror_migrate m;
	int ret, fd;

	ASSERT_EQ(0, dm_worker_start(&w));
	for (i = 0; i < w.limit; i++) {
		/* Small ones: who unmaps huge ones meets what 7.2 does wrong. */
		u.mem = dm_map_flags(DM_HUGE, MADV_NOHUGEPAGE,
				     PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS);
		ASSERT_NE(NULL, u.mem);
		dm_fill(u.mem, DM_HUGE, SEED);
		ASSERT_EQ(0, dm_to_device_settled(self->fds[0], u.mem, DM_HUGE));
		dm_poke(&u.told, i + 1);
		ret = dm_migrate_raw(self->fds[1], u.mem, DM_HUGE,
				     DMIRROR_TARGET_DEVICE, &m);
		dm_await(&w.done, i + 1);
		if (ret) {
			ASSERT_EQ(-EFAULT, ret);
			before++;
			u.most += 8 + u.most / 8;
		} else {
			u.most -= u.most / 4;
		}
	}
	TH_LOG("unmapped before the end in %u of %u rounds", before, i);
	EXPECT_EQ(0, dm_worker_stop(&w));
	for (i = 0; (fd = dm_open_number(i)) >= 0; i++) {
		close(fd);
		ASSERT_EQ(0, dm_unplug(i));
		ASSERT_EQ(0, dm_plug(i));
	}
}

/* Each device adds to the same words, wherever they are. */
TEST_F(peers, atomics)
{
	unsigned int i;

	dm_poke(self->mem, 0);
	for (i = 0; i < 20; i++) {
		/* The CPU takes back what one of them has exclusively. */
		EXPECT_EQ(i, dm_peek(self->mem));
		if (!(i % 5))
			ASSERT_EQ(0, dm_to_device(self->fds[i / 5 & 1],
						  self->mem, self->len));
		ASSERT_EQ(0, dm_add64(self->fds[i & 1], self->mem, 1));
	}
	EXPECT_EQ(20, dm_peek(self->mem));
}

/* What the other has is not local, though the device may reach it. */
TEST_F(peers, atomic_on_the_other)
{
	struct dmirror_atomic a;

	ASSERT_EQ(0, dm_to_device(self->fds[0], self->mem, self->len));
	ASSERT_EQ(0, dm_write64(self->fds[1], self->mem, 40));
	ASSERT_EQ(0, dm_atomic(self->fds[1], DMIRROR_ATOMIC_ADD, self->mem, 8,
			       2, 0, &a));
	EXPECT_EQ(40, a.result);
	EXPECT_NE(DMIRROR_ATOMIC_LOCAL, a.flags);
	EXPECT_EQ(42, dm_peek(self->mem));
}

/* Of the other's memory a device can say on an interconnect that it is not needed. */
TEST_F(peers, advice)
{
	struct dmirror_advise a;
	__u64 value;

	ASSERT_EQ(0, dm_to_device(self->fds[1], self->mem, self->len));
	ASSERT_EQ(0, dm_advise(self->fds[0], self->mem, self->len,
			       DMIRROR_ADVICE_DONTNEED, &a));
	EXPECT_EQ(self->linked ? self->len : 0, a.applied);
	EXPECT_EQ(self->linked ? 0 : self->len, a.untouched);
	EXPECT_EQ(a.applied, dm_counter(self->devices[1], "purgeable"));
	if (!self->linked)
		return;

	ASSERT_EQ(0, dm_evict(self->devices[1], self->len));
	EXPECT_EQ(-ENODATA, dm_read64(self->fds[0], self->mem, &value));
	ASSERT_EQ(0, dm_advise(self->fds[0], self->mem, self->len,
			       DMIRROR_ADVICE_WILLNEED, &a));
	EXPECT_EQ(self->len, a.dropped);
	EXPECT_EQ(0, a.retained);
	EXPECT_TRUE(dm_zero(self->mem, self->len));
}

/* Rule 16: two devices that want one range both get on. */
TEST_F_TIMEOUT(peers, rule16_two_devices_want_one_range, 120)
{
	struct puller pullers[2];
	unsigned int i;

	if (self->splits)
		ASSERT_EQ(0, dm_to_device(self->fds[self->coherent], self->mem,
					  self->len));
	for (i = 0; i < 2; i++) {
		pullers[i] = (struct puller) {
			.fd = self->fds[i],
			.mem = self->mem,
			.len = self->len,
			.rounds = RACE_ROUNDS,
			.word = self->mem + self->len - 8 * (i + 1),
		};
		dm_poke(pullers[i].word, 0);
	}
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&pullers[i].thread, NULL, pull,
					    &pullers[i]));
	for (i = 0; i < 2; i++) {
		pthread_join(pullers[i].thread, NULL);
		EXPECT_EQ(0, pullers[i].ret);
		EXPECT_EQ(RACE_ROUNDS, dm_peek(pullers[i].word));
	}
	EXPECT_EQ(0, dm_stuck(self->fds[0], self->mem, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len - self->dm.page, SEED));
}

/* The same by device faults that migrate. */
TEST_F_TIMEOUT(peers, rule16_two_devices_fault_one_range, 120)
{
	struct dmirror_wait w[2];
	unsigned int i, f;
	__u64 jobs[2];

	if (self->splits)
		ASSERT_EQ(0, dm_to_device(self->fds[self->coherent], self->mem,
					  self->len));
	ASSERT_TRUE(dm_knob(DM_PARAM("device_fault_window"), "64"));
	for (i = 0; i < RACE_ROUNDS; i++) {
		for (f = 0; f < 2; f++)
			ASSERT_EQ(0, dm_submit(self->fds[f], DMIRROR_JOB_FILL,
					       self->mem + f * self->len / 2,
					       self->len / 2, i * 2 + f, -1,
					       &jobs[f]));
		for (f = 0; f < 2; f++) {
			ASSERT_EQ(0, dm_wait_job(self->fds[f], jobs[f], 0,
						 &w[f]));
			EXPECT_EQ(0, w[f].error);
			EXPECT_EQ(self->len / 2, w[f].done);
		}
		EXPECT_EQ(i * 2, dm_peek(self->mem));
		EXPECT_EQ(i * 2 + 1, dm_peek(self->mem + self->len - 8));
	}
	dm_knob(DM_PARAM("device_fault_window"), "0");
}

/* Whatever can be done to memory, while the two pass it on to each other. */
TEST_F_TIMEOUT(peers, storm, 120)
{
	const unsigned int devices[] = { self->devices[0], self->devices[1] };
	struct dm dm = self->dm;
	static struct storm s;

	/* What huge pages must not meet there depends on the kind of the device. */
	if (storm_huge_pages_race() && variant->backing.memory_type != variant->other_type)
		dm.backing.thp = false;
	ASSERT_EQ(0, storm_init(&s, &dm, devices, storm_choose_seed(), 0,
				storm_steps(160)));
	EXPECT_EQ(0, storm_run(&s));
	EXPECT_TRUE(storm_did_all(&s.dm, s.tally));
	/* This touches all, so that no device has anything exclusively. */
	EXPECT_EQ(0, storm_check_all(&s));
	EXPECT_EQ(0, dm_stuck(self->fds[0], s.mem, s.pages * self->dm.page));
	EXPECT_EQ(0, entries_left_behind(devices));
}

/* Runs when the tests have been registered, as it is behind them. */
static void __attribute__((constructor)) set_limits(void)
{
	storm_set_limits(__fixture_list);
}

TEST_HARNESS_MAIN
