/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the state share that migration must preserve: a fixture, on
 * each kind of device and of page, and what the kernel says about memory.
 */
#ifndef SELFTESTS_DMIRROR_STATE_H
#define SELFTESTS_DMIRROR_STATE_H

#include "kselftest_harness.h"
#include "dmirror_test.h"

#define SEED	0x57a7e

FIXTURE(state)
{
	struct dm dm;
	size_t page;
	size_t len;
	char *mem;
	char *buf;
	int fd;
};

FIXTURE_VARIANT(state)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(state, private_small)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, false },
};

FIXTURE_VARIANT_ADD(state, private_thp)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(state, coherent_small)
{
	.backing = { DMIRROR_MEMORY_COHERENT, false },
};

FIXTURE_VARIANT_ADD(state, coherent_thp)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

FIXTURE_SETUP(state)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->fd = self->dm.fd;
	self->page = self->dm.page;
	self->len = self->dm.len;
	self->mem = dm_alloc(&self->dm, self->len, SEED);
	ASSERT_NE(NULL, self->mem);
	self->buf = malloc(self->len);
	ASSERT_NE(NULL, self->buf);
}

FIXTURE_TEARDOWN(state)
{
	free(self->buf);
	munmap(self->mem, self->len);
	close(self->fd);
}

/* Which way memory takes back from the device */
enum dm_way {
	DM_WAY_CALL,		/* the program asks for it */
	DM_WAY_TOUCH,		/* the CPU touches it; coherent memory stays */
	DM_WAY_EVICT,		/* the device is emptied, by physical address */
	DM_WAYS
};

/* What a device has comes back, whoever it belongs to. */
static inline int dm_empty(int fd, const void *addr, size_t len)
{
	struct dmirror_query q;
	int ret = dm_query(fd, &q), hmm;

	if (ret)
		return ret;
	hmm = hmm_open(q.device);
	if (hmm < 0)
		return hmm;
	ret = hmm_call(hmm, HMM_RELEASE, addr, NULL, 1, NULL);
	close(hmm);
	return ret == -EBUSY ? -EAGAIN : ret;
}

/* Back by one of the ways, and then by a call what is not back yet */
static inline int dm_back(int fd, const char *mem, size_t len, enum dm_way way)
{
	size_t at;
	int ret = 0;

	/* The driver as backported to 5.10 cannot find what to evict. */
	if (way == DM_WAY_EVICT && !dm_kernel_before(6, 1))
		ret = dm_settled(dm_empty, fd, mem, len);
	for (at = 0; way == DM_WAY_TOUCH && at < len; at += dm_page_size())
		dm_peek(mem + at);
	return ret ?: dm_to_system_settled(fd, mem, len);
}

static inline __u64 dm_memory_used(int fd)
{
	struct dmirror_query q;

	return dm_query(fd, &q) ? ~0ULL : q.memory_used;
}

#define DM_PAGEMAP_PFN		0x007fffffffffffffULL
#define DM_KPF_ACTIVE		0x40ULL

/* What the kernel says of the page of system memory at @addr, or 0 */
static inline __u64 dm_kpageflags(const void *addr)
{
	__u64 entry = 0, flags = 0;
	int fd;

	if (dm_pagemap(addr, dm_page_size(), &entry) ||
	    !(entry & DM_PAGEMAP_PRESENT))
		return 0;
	fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (pread(fd, &flags, sizeof(flags),
		  (entry & DM_PAGEMAP_PFN) * sizeof(flags)) != sizeof(flags))
		flags = 0;
	close(fd);
	return flags;
}

/* KiB out of /proc/meminfo, settled, or -1 */
static inline long dm_meminfo(const char *name)
{
	dm_settle();
	return dm_file_value("/proc/meminfo", name);
}

#endif
