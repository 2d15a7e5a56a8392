// SPDX-License-Identifier: GPL-2.0
/*
 * Where a program prefers its memory to be, and that this is where a fault of the
 * device has it: there, no more and no less of it than was said.
 * Documentation: drivers/dmirror/dmirror.rst.
 */
#include "kselftest_harness.h"
#include "dmirror_test.h"
#include "dmirror_advice.h"

#define SEED		0x93ef
#define RANGES_MAX	1024

FIXTURE(prefer)
{
	struct dm dm;
	size_t page;
	size_t len;
	int fd;
	char *mem;
};

FIXTURE_VARIANT(prefer)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(prefer, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(prefer, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(prefer, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(prefer, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

FIXTURE_SETUP(prefer)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->fd = self->dm.fd;
	self->page = self->dm.page;
	/* One block, so that one fault is about all of it */
	self->len = DM_HUGE;
	self->mem = dm_alloc(&self->dm, self->len, SEED);
	ASSERT_NE(NULL, self->mem);
	ASSERT_EQ(0, dm_set_parameter("device_fault_window", 0));
}

FIXTURE_TEARDOWN(prefer)
{
	dm_set_parameter("device_fault_window", 0);
	munmap(self->mem, self->len);
	close(self->fd);
}

static int prefer(const struct _test_data_prefer *self, char *mem, size_t len,
		  unsigned int advice)
{
	struct dmirror_advise a;
	int ret = dm_advise(self->fd, mem, len, advice, &a);

	return ret ? ret : a.applied == len ? 0 : -EIO;
}

static int touch(const struct _test_data_prefer *self, char *at)
{
	__u64 value;

	return dm_read64(self->fd, at, &value);
}

TEST_F(prefer, device)
{
	/* Nothing moves because it was said. */
	ASSERT_EQ(0, prefer(self, self->mem, self->len,
			    DMIRROR_ADVICE_PREFER_DEVICE));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_SYSTEM));
	ASSERT_EQ(0, touch(self, self->mem + self->len / 2));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* What a fault has brought to the device goes with the program that it is of. */
TEST_F(prefer, exit)
{
	struct dmirror_query before, after;
	struct dmirror_advise a;
	pid_t pid;
	__u64 value;
	char *mem;
	int fd;

	ASSERT_EQ(0, dm_query(self->fd, &before));
	pid = fork();
	if (!pid) {
		fd = dm_open_number(self->dm.device);
		mem = dm_alloc(&self->dm, self->len, SEED);
		DM_CHECK(fd >= 0 && mem);
		DM_CHECK(!dm_advise(fd, mem, self->len,
				    DMIRROR_ADVICE_PREFER_DEVICE, &a));
		DM_CHECK(!dm_read64(fd, mem, &value));
		DM_CHECK(!dm_query(fd, &after));
		_exit(after.memory_used == before.memory_used);
	}
	EXPECT_EQ(0, dm_wait(pid));
	ASSERT_EQ(0, dm_query(self->fd, &after));
	EXPECT_EQ(before.memory_used, after.memory_used);
}

/* Without a preference one fault has all mapped that the job is about. */
TEST_F(prefer, one_fault)
{
	const size_t len = 4 * DM_HUGE;
	char *mem = dm_map(&self->dm, len);
	struct dmirror_fill f = {
		.size = sizeof(f), .addr = (uintptr_t)mem, .length = len,
	};

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, dm_call(self->fd, DMIRROR_IOC_FILL, &f));
	EXPECT_EQ(1, f.faults);
	munmap(mem, len);
}

/* Also of a huge page, which is split for it */
TEST_F(prefer, device_for_a_part)
{
	size_t part = self->len / 4;

	ASSERT_EQ(0, prefer(self, self->mem + part, 2 * part,
			    DMIRROR_ADVICE_PREFER_DEVICE));
	ASSERT_EQ(0, touch(self, self->mem));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_SYSTEM));
	ASSERT_EQ(0, touch(self, self->mem + 2 * part));
	EXPECT_TRUE(dm_all(self->fd, self->mem, part, DMIRROR_PLACE_SYSTEM));
	ASSERT_EQ(0, touch(self, self->mem + 3 * part));
	EXPECT_TRUE(dm_all(self->fd, self->mem + part, 2 * part,
			   DMIRROR_PLACE_LOCAL));
	EXPECT_TRUE(dm_all(self->fd, self->mem + 3 * part, part,
			   DMIRROR_PLACE_SYSTEM));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* Where the policy would have it come, it does not, and around it does. */
TEST_F(prefer, system)
{
	size_t part = self->len / 2;

	ASSERT_EQ(0, dm_set_parameter("device_fault_window", 2048));
	ASSERT_EQ(0, prefer(self, self->mem, part,
			    DMIRROR_ADVICE_PREFER_SYSTEM));
	ASSERT_EQ(0, touch(self, self->mem));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_SYSTEM));
	ASSERT_EQ(0, touch(self, self->mem + part));
	EXPECT_TRUE(dm_all(self->fd, self->mem, part, DMIRROR_PLACE_SYSTEM));
	EXPECT_TRUE(dm_all(self->fd, self->mem + part, part,
			   DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* One request over what is to stay and what is to come: each is where it is to be. */
TEST_F(prefer, one_request_over_two)
{
	size_t part = self->len / 2;
	char *buf = malloc(self->len);

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, prefer(self, self->mem, part,
			    DMIRROR_ADVICE_PREFER_SYSTEM));
	ASSERT_EQ(0, prefer(self, self->mem + part, part,
			    DMIRROR_ADVICE_PREFER_DEVICE));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, buf, self->len));
	EXPECT_TRUE(dm_all(self->fd, self->mem, part, DMIRROR_PLACE_SYSTEM));
	EXPECT_TRUE(dm_all(self->fd, self->mem + part, part,
			   DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(buf, self->len, SEED));
	free(buf);
}

/* It is said of one file, and another of the same device knows nothing of it. */
TEST_F(prefer, none_and_others)
{
	int fd = dm_open_number(self->dm.device);
	__u64 value;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, prefer(self, self->mem, self->len,
			    DMIRROR_ADVICE_PREFER_DEVICE));
	ASSERT_EQ(0, dm_read64(fd, self->mem, &value));
	EXPECT_TRUE(dm_all(fd, self->mem, self->len, DMIRROR_PLACE_SYSTEM));
	close(fd);

	ASSERT_EQ(0, prefer(self, self->mem, self->len,
			    DMIRROR_ADVICE_PREFER_NONE));
	ASSERT_EQ(0, touch(self, self->mem));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_SYSTEM));
}

/* A file has so many ranges and no more. */
TEST_F(prefer, too_many)
{
	char *at = (char *)(1UL << 40);
	unsigned int i;
	int ret = 0;

	for (i = 0; i <= RANGES_MAX && !ret; i++)
		ret = prefer(self, at + 2 * i * self->page, self->page,
			     DMIRROR_ADVICE_PREFER_SYSTEM);
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_EQ(RANGES_MAX + 1, i);

	/* Another word on one of them makes no more of them. */
	EXPECT_EQ(0, prefer(self, at, self->page, DMIRROR_ADVICE_PREFER_DEVICE));

	/* To say nothing of the middle of one would make two of it. */
	ASSERT_EQ(0, prefer(self, at, 5 * self->page,
			    DMIRROR_ADVICE_PREFER_NONE));
	ASSERT_EQ(0, prefer(self, at, 3 * self->page,
			    DMIRROR_ADVICE_PREFER_DEVICE));
	ASSERT_EQ(0, prefer(self, at + 4 * self->page, self->page,
			    DMIRROR_ADVICE_PREFER_DEVICE));
	ASSERT_EQ(0, prefer(self, at - 2 * self->page, self->page,
			    DMIRROR_ADVICE_PREFER_DEVICE));
	EXPECT_EQ(-ENOSPC, prefer(self, at + self->page, self->page,
				  DMIRROR_ADVICE_PREFER_NONE));
	EXPECT_EQ(-ENOSPC, prefer(self, at + self->page, self->page,
				  DMIRROR_ADVICE_PREFER_SYSTEM));
	EXPECT_EQ(0, prefer(self, at, self->page, DMIRROR_ADVICE_PREFER_NONE));
	ASSERT_EQ(0, prefer(self, at, 2 * RANGES_MAX * self->page,
			    DMIRROR_ADVICE_PREFER_NONE));
	ASSERT_EQ(0, prefer(self, self->mem, self->len,
			    DMIRROR_ADVICE_PREFER_DEVICE));
	ASSERT_EQ(0, touch(self, self->mem));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));
}

/* What is said of pages one by one is said of a range. */
TEST_F(prefer, page_by_page)
{
	char *at = (char *)(1UL << 40);
	unsigned int i;

	/* Up, down, and what joins the two */
	for (i = 0; i < RANGES_MAX; i++) {
		ASSERT_EQ(0, prefer(self, at + (i + 1) * self->page, self->page,
				    DMIRROR_ADVICE_PREFER_DEVICE));
		ASSERT_EQ(0, prefer(self, at - (i + 1) * self->page, self->page,
				    DMIRROR_ADVICE_PREFER_DEVICE));
	}
	ASSERT_EQ(0, prefer(self, at, self->page, DMIRROR_ADVICE_PREFER_DEVICE));
	for (i = 1; i < RANGES_MAX; i++)
		ASSERT_EQ(0, prefer(self, at + (1UL << 30) + 2 * i * self->page,
				    self->page, DMIRROR_ADVICE_PREFER_SYSTEM));
	EXPECT_EQ(-ENOSPC, prefer(self, at + (1UL << 30), self->page,
				  DMIRROR_ADVICE_PREFER_SYSTEM));

	/* A fault brings what all of it is about. */
	ASSERT_EQ(0, prefer(self, at - DM_HUGE * 16, DM_HUGE * 32,
			    DMIRROR_ADVICE_PREFER_NONE));
	for (i = 0; i < self->len / self->page; i++)
		ASSERT_EQ(0, prefer(self, self->mem + i * self->page, self->page,
				    DMIRROR_ADVICE_PREFER_DEVICE));
	ASSERT_EQ(0, touch(self, self->mem));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));
}

TEST_F(prefer, arguments)
{
	unsigned int advice;

	for (advice = DMIRROR_ADVICE_PREFER_DEVICE;
	     advice <= DMIRROR_ADVICE_PREFER_NONE; advice++) {
		EXPECT_EQ(-EINVAL, prefer(self, self->mem + 1, self->page,
					  advice));
		EXPECT_EQ(-EINVAL, prefer(self, self->mem, 0, advice));
		EXPECT_EQ(-EOVERFLOW, prefer(self, (char *)-self->page,
					     self->page, advice));
	}
	EXPECT_EQ(-EINVAL, prefer(self, self->mem, self->len,
				  DMIRROR_ADVICE_PREFER_NONE + 1));
}

TEST_HARNESS_MAIN
