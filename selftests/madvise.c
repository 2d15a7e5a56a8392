// SPDX-License-Identifier: GPL-2.0
/*
 * What a program can ask mm to do with memory that is on a device, madvise()
 * above all, and the kinds of memory that never migrate.
 */
#include <elf.h>
#include <signal.h>
#include <sys/auxv.h>

#include "dmirror_state.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

/* The child has no such memory; the parent's is where it was. */
TEST_F(state, dontfork)
{
	unsigned char vec;
	pid_t pid;

	ASSERT_EQ(0, madvise(self->mem, self->len, MADV_DONTFORK));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		DM_CHECK(mincore(self->mem, self->page, &vec) &&
			 errno == ENOMEM);
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));
	dm_fill(self->buf, self->len, SEED + 1);
	ASSERT_EQ(0, dm_write(self->fd, self->mem, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
}

/* The child's is empty; it fills it, there too. */
TEST_F(state, wipeonfork)
{
	pid_t pid;
	int fd;

	ASSERT_EQ(0, madvise(self->mem, self->len, MADV_WIPEONFORK));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		fd = dm_open_number(self->dm.device);
		DM_CHECK(dm_zero(self->mem, self->len));
		DM_CHECK(!dm_to_device(fd, self->mem, self->len));
		dm_fill(self->buf, self->len, SEED + 1);
		DM_CHECK(!dm_write(fd, self->mem, self->buf, self->len));
		DM_CHECK(!dm_bad(self->mem, self->len, SEED + 1));
		_exit(0);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* mm passes over device memory: it stays, and keeps its contents. */
TEST_F(state, cold_pageout_free)
{
	static const int advice[] = { MADV_COLD, MADV_PAGEOUT, MADV_FREE };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(advice); i++) {
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		ASSERT_EQ(0, madvise(self->mem, self->len, advice[i]));
		EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
				   DMIRROR_PLACE_LOCAL));
		ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf,
				     self->len));
		EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
		EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	}
}

/*
 * Memory that may be freed lazily stays so on its way, since nobody has written to
 * it since; it has its contents or none, by pages. Once the device writes to it,
 * it is kept.
 */
TEST_F(state, free_before)
{
	long kib = self->len / 1024;

	/* What CPUs hold back is not on a list, and is not marked. */
	dm_settle();
	ASSERT_EQ(0, madvise(self->mem, self->len, MADV_FREE));
	dm_settle();
	ASSERT_EQ(kib, dm_smaps(self->mem, self->len, "LazyFree"));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_to_system(self->fd, self->mem, self->len));
	EXPECT_EQ(kib, dm_smaps(self->mem, self->len, "LazyFree"));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	dm_fill(self->buf, self->len, SEED + 1);
	ASSERT_EQ(0, dm_write(self->fd, self->mem, self->buf, self->len));
	ASSERT_EQ(0, dm_to_system(self->fd, self->mem, self->len));
	EXPECT_EQ(0, dm_smaps(self->mem, self->len, "LazyFree"));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 1));
}

/*
 * Memory that may be freed lazily, and to which the CPU writes when it is on the device:
 * of a coherent page only the page table knows of that. It is kept, whoever brings it
 * back.
 */
TEST_F(state, free_and_written_there)
{
	long kib = self->len / 1024;
	unsigned int way;

	for (way = 0; way < DM_WAYS; way++) {
		/* What CPUs hold back is not on a list, and is not marked. */
		dm_settle();
		ASSERT_EQ(0, madvise(self->mem, self->len, MADV_FREE));
		dm_settle();
		ASSERT_EQ(kib, dm_smaps(self->mem, self->len, "LazyFree"));
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		dm_fill(self->mem, self->len, SEED + 1 + way);
		ASSERT_EQ(0, dm_back(self->fd, self->mem, self->len, way));
		EXPECT_EQ(0, dm_smaps(self->mem, self->len, "LazyFree"));
	}
	/* The last one was by physical address. */
	ASSERT_EQ(0, madvise(self->mem, self->len, MADV_PAGEOUT));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + DM_WAYS));
}

/* The same, and the device had it mapped to write to before that: it is kept. */
TEST_F(state, free_as_it_writes)
{
	dm_fill(self->buf, self->len, SEED + 1);
	ASSERT_EQ(0, dm_write(self->fd, self->mem, self->buf, self->len));
	dm_settle();
	ASSERT_EQ(0, madvise(self->mem, self->len, MADV_FREE));
	dm_fill(self->buf, self->len, SEED + 2);
	ASSERT_EQ(0, dm_write(self->fd, self->mem, self->buf, self->len));
	dm_settle();
	ASSERT_EQ(0, madvise(self->mem, self->len, MADV_PAGEOUT));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED + 2));
}

/* To populate it is to touch it, which brings private memory back. */
TEST_F(state, populate)
{
	static const int advice[] = { MADV_POPULATE_READ, MADV_POPULATE_WRITE };
	bool stays = variant->backing.memory_type == DMIRROR_MEMORY_COHERENT;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(advice); i++) {
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		ASSERT_EQ(0, madvise(self->mem, self->len, advice[i]));
		EXPECT_TRUE(dm_all(self->fd, self->mem, self->len, stays ?
				   DMIRROR_PLACE_LOCAL : DMIRROR_PLACE_SYSTEM));
		EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	}
}

/*
 * Small pages on a device are gathered into a huge one only by way of system memory:
 * newer kernels fault private ones in for that; before, they wanted one that the CPU can
 * write to. A huge page there is not torn.
 */
TEST_F(state, collapse)
{
	bool comes = variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE &&
		     !dm_kernel_before(6, 19);
	char *mem = dm_map_flags(DM_HUGE, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS);

	ASSERT_NE(NULL, mem);
	dm_fill(mem, DM_HUGE, SEED);
	ASSERT_EQ(0, dm_to_device(self->fd, mem, DM_HUGE));
	ASSERT_EQ(0, madvise(mem, DM_HUGE, MADV_HUGEPAGE));
	EXPECT_EQ(comes ? 0 : -1, madvise(mem, DM_HUGE, MADV_COLLAPSE));
	EXPECT_TRUE(dm_all(self->fd, mem, DM_HUGE, comes ? DMIRROR_PLACE_SYSTEM :
							    DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(comes ? DM_HUGE / 1024 : 0, dm_thp_kib(mem));
	EXPECT_EQ(0, dm_bad(mem, DM_HUGE, SEED));
	munmap(mem, DM_HUGE);

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	madvise(self->mem, self->len, MADV_COLLAPSE);
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len,
			   DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

#define CONTENTS	4	/* that pages have, so that many have the same */

static void fill_alike(char *mem, size_t page, size_t pages, __u64 seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		dm_fill_from(mem + i * page, page, seed, i % CONTENTS);
}

static size_t bad_alike(const char *mem, size_t page, size_t pages, __u64 seed)
{
	size_t i, bad = 0;

	for (i = 0; i < pages; i++)
		bad += dm_bad_from(mem + i * page, page, seed, i % CONTENTS);
	return bad;
}

/* A child writes to what is merged, by the CPU and, to the other half, by the device. */
static void write_to_merged(const struct dm *dm, char *mem, char *buf)
{
	size_t half = dm->len / 2, pages = half / dm->page;
	int fd = dm_open_number(dm->device);

	DM_CHECK(fd >= 0);
	fill_alike(mem, dm->page, pages, SEED + 2);
	fill_alike(buf, dm->page, pages, SEED + 3);
	DM_CHECK(!dm_write(fd, mem + half, buf, half));
	DM_CHECK(!bad_alike(mem, dm->page, pages, SEED + 2));
	DM_CHECK(!bad_alike(mem + half, dm->page, pages, SEED + 3));
	_exit(0);
}

/*
 * Memory that KSM may merge from when it is on the device on: ksmd passes over device
 * memory of either kind, and merges what comes back.
 */
TEST_F_TIMEOUT(state, mergeable_there, 240)
{
	size_t pages = self->len / self->page;
	pid_t pid;

	if (access(DM_KSM "run", W_OK))
		SKIP(return, "nothing merges memory: CONFIG_KSM");
	fill_alike(self->mem, self->page, pages, SEED + 1);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, madvise(self->mem, self->len, MADV_MERGEABLE));
	ASSERT_TRUE(dm_ksm_start());
	ASSERT_TRUE(dm_ksm_reaches("full_scans",
				   dm_file_number(DM_KSM "full_scans") + 4));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len, DMIRROR_PLACE_LOCAL));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	EXPECT_EQ(0, bad_alike(self->buf, self->page, pages, SEED + 1));

	ASSERT_EQ(0, dm_to_system(self->fd, self->mem, self->len));
	ASSERT_TRUE(dm_ksm_reaches("pages_sharing", pages / 2));
	/* Or it would merge again what the device is just about to write to. */
	ASSERT_TRUE(dm_knob(DM_KSM "run", "0"));
	pid = fork();
	if (!pid)
		write_to_merged(&self->dm, self->mem, self->buf);
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(0, bad_alike(self->mem, self->page, pages, SEED + 1));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	EXPECT_EQ(0, bad_alike(self->buf, self->page, pages, SEED + 1));
	ASSERT_TRUE(dm_ksm_stop());
	EXPECT_EQ(0, bad_alike(self->mem, self->page, pages, SEED + 1));
}

/*
 * MADV_HWPOISON of a page that is on the device: mm brings a private one back
 * first, and the driver answers for a coherent one. Either way the page is gone,
 * and its neighbours are not.
 * Not on 6.1, whose DEBUG_VM stops later, when device memory is removed and a page
 * of the system is broken.
 */
TEST_F(state, hwpoison)
{
	char *p = self->mem + 5 * self->page;
	int ret;
	pid_t pid;

	if (dm_kernel_before(6, 12))
		SKIP(return, "not on 6.1: clear_hwpoisoned_pages() stops it later");
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	pid = fork();
	if (!pid) {
		ret = madvise(p, self->page, MADV_HWPOISON) ? errno : 0;
		if (ret == EINVAL)
			_exit(77);
		DM_CHECK(!ret);
		DM_CHECK(!dm_bad(self->mem, 5 * self->page, SEED));
		DM_CHECK(!dm_bad_from(p + self->page, self->len -
				      6 * self->page, SEED, 6));
		dm_peek(p);
		_exit(0);
	}
	ret = dm_wait(pid);
	if (ret == 77)
		SKIP(return, "this kernel breaks no pages: CONFIG_MEMORY_FAILURE");
	EXPECT_EQ(-SIGBUS, ret);
}

/* What KSM may merge from now on comes back, though it would not go there. */
TEST_F(state, mergeable_over_there)
{
	struct dmirror_migrate m;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	if (madvise(self->mem, self->len, MADV_MERGEABLE))
		SKIP(return, "no KSM: CONFIG_KSM");
	ASSERT_EQ(0, dm_migrate(self->fd, self->mem, self->len,
				DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(self->len, m.moved);
	EXPECT_EQ(self->len, dm_migrate_sum(&m));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* Rights to a part of it stay with that part. */
TEST_F(state, protect_part)
{
	char *p = self->mem + 9 * self->page;
	unsigned int i;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, mprotect(p, self->page, PROT_READ));
	for (i = 0; i < 2; i++) {
		if (i)
			ASSERT_EQ(0, dm_to_system(self->fd, self->mem,
						  self->len));
		EXPECT_EQ(-EPERM, dm_write64(self->fd, p, 1));
		EXPECT_EQ(0, dm_write64(self->fd, p - self->page,
					dm_word(SEED, 8, 0)));
	}
	ASSERT_EQ(0, mprotect(p, self->page, PROT_READ | PROT_WRITE));
	dm_poke(p, dm_word(SEED, 9, 0));
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/* The memory moves to another address, and the old one stays, empty. */
TEST_F(state, remap_dontunmap)
{
	char *to = dm_map(&self->dm, self->len);

	ASSERT_NE(NULL, to);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	ASSERT_EQ(to, mremap(self->mem, self->len, self->len, MREMAP_MAYMOVE |
			     MREMAP_FIXED | MREMAP_DONTUNMAP, to));
	EXPECT_TRUE(dm_all(self->fd, to, self->len, DMIRROR_PLACE_LOCAL));
	EXPECT_TRUE(dm_all(self->fd, self->mem, self->len, DMIRROR_PLACE_HOLE));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, self->len));
	EXPECT_TRUE(dm_zero(self->buf, self->len));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, dm_write64(self->fd, self->mem, 1));
	EXPECT_EQ(0, dm_bad(to, self->len, SEED));
	munmap(to, self->len);
}

/*
 * Page by page it is unmapped, in an order that has no order, until nothing is
 * left: each time what is around the gap is whole, and the device gets each page.
 */
TEST_F_TIMEOUT(state, unmap_every_page, 120)
{
	size_t n = self->len / self->page, i, page = 0;
	__u64 used = dm_memory_used(self->fd);
	bool gone[DM_HUGE / 4096] = { 0 };

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	for (i = 0; i < n; i++) {
		size_t next = (page + 1) % n;
		__u64 value;

		ASSERT_EQ(0, munmap(self->mem + page * self->page, self->page));
		gone[page] = true;
		if (!gone[next]) {
			ASSERT_EQ(0, dm_read64(self->fd, self->mem +
					       next * self->page, &value));
			ASSERT_EQ(dm_word(SEED, next, 0), value);
		}
		page = (page + 37) % n;
	}
	EXPECT_EQ(used, dm_memory_used(self->fd));
}

/* A word in each page says which it is. How many of them do not */
static size_t bad_words(const char *mem, size_t pages, unsigned int without)
{
	size_t i, bad = 0;

	for (i = 0; i < pages; i++)
		if (i != without)
			bad += dm_peek(mem + i * dm_page_size()) != i + 1;
	return bad;
}

/* Where to begin with every @step of something: each kernel elsewhere */
static unsigned int share_of_kernel(unsigned int step)
{
	unsigned int major, minor;

	dm_kernel_version(&major, &minor);
	/* Of 8: 6.1 with 4, 6.12 with 7, 7.2 with 0, 5.10 with 2. */
	return (3 * major + minor + 1) % step;
}

/*
 * The first page to go from a huge one, at every offset; where that takes long, at some,
 * which are others on each kernel. All others keep their contents.
 */
TEST_F_TIMEOUT(state, unmap_first_page, 120)
{
	const unsigned int pages = self->len / self->page;
	const unsigned int step = pages / dm_rounds(pages);
	__u64 used = dm_memory_used(self->fd);
	unsigned int first, i;
	char *mem;

	first = share_of_kernel(step);
	TH_LOG("pages %u, %u and so on", first, first + step);
	for (; first < pages; first += step) {
		mem = dm_map(&self->dm, self->len);
		ASSERT_NE(NULL, mem);
		for (i = 0; i < pages; i++)
			dm_poke(mem + i * self->page, i + 1);
		ASSERT_EQ(0, dm_to_device(self->fd, mem, self->len));
		ASSERT_EQ(0, munmap(mem + first * self->page, self->page));
		EXPECT_EQ(pages - 1, dm_count(self->fd, mem, self->len,
					      DMIRROR_PLACE_LOCAL));
		EXPECT_EQ(0, bad_words(mem, pages, first)) {
			TH_LOG("without page %u", first);
		}
		munmap(mem, self->len);
		EXPECT_EQ(used, dm_memory_used(self->fd));
	}
}

/* It does not move there, and all of it is counted. */
static void stays(struct __test_metadata *_metadata, int fd, const char *mem,
		  size_t len, unsigned int target)
{
	struct dmirror_migrate m;

	ASSERT_EQ(0, dm_migrate_raw(fd, mem, len, target, &m));
	EXPECT_EQ(len, m.unsupported);
	EXPECT_EQ(len, dm_migrate_sum(&m));
}

/* Neither way does it move, and none of it changes. */
static void refused(struct __test_metadata *_metadata, int fd, char *mem,
		    size_t len)
{
	char *copy = malloc(len);
	unsigned int target;

	ASSERT_NE(NULL, copy);
	memcpy(copy, mem, len);
	for (target = DMIRROR_TARGET_SYSTEM; target <= DMIRROR_TARGET_DEVICE;
	     target++) {
		stays(_metadata, fd, mem, len, target);
		EXPECT_EQ(0, memcmp(copy, mem, len));
	}
	free(copy);
}

/* Memory out of the pool of huge pages: it stays, and the device can read it. NULL: none */
static char *from_the_pool(struct __test_metadata *_metadata,
			   const struct _test_data_state *self, int flags)
{
	char *mem = mmap(NULL, DM_HUGE, PROT_READ | PROT_WRITE,
			 flags | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	dm_fill(mem, DM_HUGE, SEED);
	refused(_metadata, self->fd, mem, DM_HUGE);
	EXPECT_EQ(0, dm_read(self->fd, mem + DM_HUGE - self->page, self->buf,
			     self->page));
	EXPECT_EQ(0, dm_bad_from(self->buf, self->page, SEED, 511));
	return mem;
}

TEST_F(state, hugetlb)
{
	__u64 *turn;
	char *mem;
	pid_t pid;

	mem = from_the_pool(_metadata, self, MAP_PRIVATE);
	if (!mem)
		SKIP(return, "no huge pages in the pool: /proc/sys/vm/nr_hugepages");

	/* A child shares it until somebody writes. */
	turn = dm_shared();
	ASSERT_NE(NULL, turn);
	pid = fork();
	if (!pid) {
		dm_await(turn, 1);
		_exit(dm_bad(mem, DM_HUGE, SEED) != 0);
	}
	EXPECT_EQ(0, dm_write64(self->fd, mem, 2));
	EXPECT_EQ(2, dm_peek(mem));
	dm_poke(turn, 1);
	EXPECT_EQ(0, dm_wait(pid));
	munmap(turn, self->page);

	/* The device may write to it where the program may. */
	ASSERT_EQ(0, mprotect(mem, DM_HUGE, PROT_READ));
	EXPECT_EQ(-EPERM, dm_write64(self->fd, mem, 1));
	ASSERT_EQ(0, mprotect(mem, DM_HUGE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, dm_write64(self->fd, mem, 1));
	EXPECT_EQ(1, dm_peek(mem));
	munmap(mem, DM_HUGE);
}

/* The same, shared: it stays one memory, whichever process has the device write to it. */
TEST_F(state, hugetlb_shared)
{
	__u64 value;
	char *mem;
	pid_t pid;
	int fd;

	mem = from_the_pool(_metadata, self, MAP_SHARED);
	if (!mem)
		SKIP(return, "no huge pages in the pool: /proc/sys/vm/nr_hugepages");
	pid = fork();
	if (!pid) {
		fd = dm_open_number(self->dm.device);
		DM_CHECK(!dm_write64(fd, mem, 2));
		_exit(dm_peek(mem) != 2);
	}
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(2, dm_peek(mem));
	EXPECT_EQ(0, dm_read64(self->fd, mem, &value));
	EXPECT_EQ(2, value);
	munmap(mem, DM_HUGE);
}

/*
 * memfd_secret() has pages that only their program can reach. The kernel has no
 * mapping of them, and stops if a device is let at them.
 */
TEST_F(state, secret)
{
	struct dmirror_rw rw;
	char *mem;
	int fd;

	fd = syscall(__NR_memfd_secret, 0);
	if (fd < 0)
		SKIP(return, "no memfd_secret(): CONFIG_SECRETMEM");
	ASSERT_EQ(0, ftruncate(fd, self->len));
	mem = mmap(NULL, self->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	refused(_metadata, self->fd, mem, self->page);
	dm_fill(mem, self->page, SEED);
	EXPECT_EQ(-EFAULT, dm_read(self->fd, mem, self->buf, self->page));
	EXPECT_EQ(-EFAULT, dm_write(self->fd, mem, self->buf, self->page));
	/* One that the CPU has not touched yet */
	EXPECT_EQ(-EFAULT, dm_rw(self->fd, DMIRROR_IOC_READ, mem + self->page,
				 self->buf, self->page, &rw));
	EXPECT_EQ((uintptr_t)mem + self->page, rw.fault_addr);
	EXPECT_EQ(0, dm_bad(mem, self->page, SEED));
	munmap(mem, self->len);
	close(fd);
}

/* Pages that the kernel put there itself: the code of the vDSO, a driver's */
TEST_F(state, special_mappings)
{
	char *vdso = (char *)getauxval(AT_SYSINFO_EHDR), *mem;
	int hmm = hmm_open(self->dm.device);

	if (vdso)
		refused(_metadata, self->fd, vdso, self->page);
	if (hmm < 0)
		SKIP(return, "the driver was loaded with hmm_abi=0");
	mem = mmap(NULL, 4 * self->page, PROT_READ | PROT_WRITE, MAP_PRIVATE,
		   hmm, 0);
	ASSERT_NE(MAP_FAILED, mem);
	refused(_metadata, self->fd, mem, 4 * self->page);
	munmap(mem, 4 * self->page);
	close(hmm);
}

/* The length of the mapping of this name, and where it is; 0 if there is none */
static size_t find_mapping(const char *name, char **mem)
{
	FILE *f = fopen("/proc/self/maps", "r");
	uintptr_t start, end;
	size_t len = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) != 2 ||
		    !strstr(line, name))
			continue;
		*mem = (char *)start;
		len = end - start;
	}
	if (f)
		fclose(f);
	return len;
}

/*
 * Mappings of a device, as far as the kernel is concerned: a part of them may not even be
 * there. The clock in them goes on, so that nothing can be compared.
 */
TEST_F(state, device_mappings)
{
	static const char * const names[] = { "[vvar]", "[vvar_vclock]" };
	struct dmirror_rw rw;
	unsigned int i, found = 0;
	size_t len;
	char *mem;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		len = find_mapping(names[i], &mem);
		if (!len)
			continue;
		found++;
		stays(_metadata, self->fd, mem, len, DMIRROR_TARGET_DEVICE);
		stays(_metadata, self->fd, mem, len, DMIRROR_TARGET_SYSTEM);
		EXPECT_EQ(-EFAULT, dm_rw(self->fd, DMIRROR_IOC_READ, mem,
					 self->buf, len, &rw));
		EXPECT_EQ(0, rw.done);
		EXPECT_EQ((uintptr_t)mem, rw.fault_addr);
	}
	if (!found)
		SKIP(return, "the kernel has mapped no clock");
}

TEST_HARNESS_MAIN
