/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A range of memory in a state: how it comes to be in it, what can be said of each of its
 * pages, and how it goes away again.
 */
#ifndef SELFTESTS_DMIRROR_RANGE_H
#define SELFTESTS_DMIRROR_RANGE_H

#include <linux/userfaultfd.h>

#include "dmirror_advice.h"
#include "dmirror_swap.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#endif

#define RANGE_SEED	0x57a
#define RANGE_PAGES	8	/* if it is not a huge page */

/* Where a page is. Up to the page of zeroes nobody has written to it. */
enum place {
	NOTHING,	/* no mapping */
	HOLE,
	ZERO,		/* the page of zeroes */
	SYSTEM,
	HERE,		/* on the device */
	THERE,		/* on the other device of its kind */
	EXCLUSIVE,	/* the file that is tried has it exclusively */
	TAKEN,		/* another file has */
	SWAPPED,
	DROPPED,
};

/* What else there is to say of a state */
enum {
	DENIED		= 1 << 0,	/* the program may not read it */
	READ_ONLY	= 1 << 1,
	SECRET		= 1 << 2,	/* only the CPU may read it */
	GUARDED		= 1 << 3,
	AWAITED		= 1 << 4,	/* userfaultfd is to bring the pages */
	WATCHED		= 1 << 5,	/* it write-protects them */
	SHARED		= 1 << 6,	/* MAP_SHARED */
	SPECIAL		= 1 << 7,	/* mm does not begin to migrate it */
	OF_FILE		= 1 << 8,	/* the file's pages in a private mapping */
	MERGEABLE	= 1 << 9,
	LOCKED		= 1 << 10,
	FORKED		= 1 << 11,
	PURGEABLE	= 1 << 12,
	HUGE		= 1 << 13,	/* the range is a huge page */
	PART		= 1 << 14,	/* a part of one */
	BY_PAGES	= 1 << 15,	/* of one that is mapped page by page */
};

struct range;

struct state {
	unsigned int row;	/* in the table */
	enum place first;	/* half of the range */
	enum place second;
	unsigned int is;
	int advice;		/* for madvise(), if not 0 */
	size_t gap;		/* this page is not mapped, if not 0 */
	/* NULL, or why there is no such memory; anonymous memory if there is no function */
	const char *(*map)(struct range *r);
};

/* A range in a state, and what has been found to be wrong */
struct range {
	const struct state *state;
	const char *io;		/* the ioctl that is tried */
	struct dm dm;
	size_t page;
	size_t pages;
	size_t len;
	size_t offset;		/* in what is mapped for it */
	char *map;
	size_t map_len;
	char *mem;
	char *want;		/* what it must hold */
	char *buf;
	char *other;		/* plain memory, for the other side of a copy */
	char *plain;		/* a page of it that has no other use */
	bool by_hmm;		/* which ABI is tried */
	int fd;			/* of the device, new for each ioctl */
	int hmm;		/* of the same with the other ABI */
	int other_fd;		/* of who else has pages */
	unsigned int there;	/* the other device */
	int uffd;
	int file;
	__u64 *turn;
	pid_t child;
	bool splits;		/* see dm_splits() */
	bool needed;		/* that has been said since contents were dropped */
	bool module;		/* there is dmirror_entries */
	long long used;		/* of the device's memory, before */
	unsigned int wrong;
};

static inline void same(struct range *r, const char *what, long long want, long long seen)
{
	if (want == seen)
		return;
	fprintf(stderr, "# %s: %s: %lld, not %lld\n", r->io, what, seen, want);
	r->wrong++;
}

static inline enum place place_of(const struct range *r, size_t i)
{
	if (r->state->gap && i == r->state->gap)
		return NOTHING;
	return i < r->pages / 2 ? r->state->first : r->state->second;
}

static inline bool is(const struct range *r, unsigned int flags)
{
	return r->state->is & flags;
}

static inline bool coherent(const struct range *r)
{
	return r->dm.backing.memory_type == DMIRROR_MEMORY_COHERENT;
}

/* Whether the CPU's entry lets the program write to a page */
static inline bool writable(const struct range *r, size_t i)
{
	enum place place = place_of(r, i);

	return place >= SYSTEM && place != TAKEN && place != SWAPPED &&
	       !is(r, DENIED | READ_ONLY | WATCHED | OF_FILE | FORKED);
}

/*
 * Memory
 */

static inline const char *map_anonymous(struct range *r)
{
	r->dm.backing.thp = is(r, HUGE | PART);
	if (r->state->first == HOLE || r->state->first == ZERO) {
		r->map = dm_map(&r->dm, r->map_len);
		return r->map ? NULL : "no memory";
	}
	r->map = dm_alloc(&r->dm, r->map_len, RANGE_SEED);
	if (r->map && r->dm.backing.thp && dm_thp_kib(r->map) < 2048)
		return "no transparent huge page to be had: CONFIG_TRANSPARENT_HUGEPAGE";
	/* That is not undone when the rights are. */
	if (r->map && is(r, BY_PAGES))
		mprotect(r->map, r->page, PROT_READ);
	return r->map ? NULL : "no memory";
}

static inline const char *map_file(struct range *r, int flags, const char *why)
{
	void *map = mmap(NULL, r->map_len, PROT_READ | PROT_WRITE, flags, r->file, 0);

	if (map == MAP_FAILED)
		return why;
	r->map = map;
	if (!is(r, OF_FILE))
		dm_fill(r->map, r->map_len, RANGE_SEED);
	else if (r->state->first == SYSTEM)
		same(r, "pages of the file", 0, dm_bad(r->map, r->map_len, RANGE_SEED));
	return NULL;
}

static inline const char *map_shared(struct range *r)
{
	return map_file(r, MAP_SHARED | MAP_ANONYMOUS, "no memory");
}

static inline const char *map_hugetlb(struct range *r)
{
	return map_file(r, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
			"no huge pages in the pool: /proc/sys/vm/nr_hugepages");
}

static inline const char *map_secret(struct range *r)
{
	r->file = syscall(__NR_memfd_secret, 0);
	if (r->file < 0 || ftruncate(r->file, r->map_len))
		return "no memfd_secret(): CONFIG_SECRETMEM";
	return map_file(r, MAP_SHARED, "no secret memory");
}

/* Pages that a driver has put there */
static inline const char *map_driver(struct range *r)
{
	r->file = hmm_open(r->dm.device);
	return map_file(r, MAP_SHARED, "the driver was loaded with hmm_abi=0");
}

/* A file, filled as all memory is */
static inline const char *make_file(struct range *r)
{
	r->file = memfd_create("range", MFD_CLOEXEC);
	dm_fill(r->want, r->map_len, RANGE_SEED);
	if (r->file < 0 || write(r->file, r->want, r->map_len) != (ssize_t)r->map_len)
		return "no file: CONFIG_SHMEM, CONFIG_TMPFS";
	return NULL;
}

static inline const char *map_shared_file(struct range *r)
{
	return make_file(r) ?: map_file(r, MAP_SHARED, "no memory");
}

static inline const char *map_private_file(struct range *r)
{
	return make_file(r) ?: map_file(r, MAP_PRIVATE, "no memory");
}

/*
 * Its state
 */

/* Each page by itself: 0, or an error */
static inline int put_exclusive(int fd, char *at, size_t len)
{
	struct dmirror_atomic a;
	int ret = 0;
	char *end;

	for (end = at + len; at < end && !ret; at += dm_page_size()) {
		ret = dm_atomic(fd, DMIRROR_ATOMIC_ADD, at, 8, 0, 0, &a);
		if (!ret && a.flags != DMIRROR_ATOMIC_EXCLUSIVE)
			ret = -EBUSY;
	}
	return ret;
}

/* Has a part of the range go to a place: 0, or an error */
static inline int put(struct range *r, enum place where, char *at, size_t len)
{
	switch (where) {
	case NOTHING:
		return munmap(at, len);
	case ZERO:
		return dm_zero(at, len) ? 0 : -EILSEQ;
	case HERE:
		return dm_to_device(r->fd, at, len);
	case THERE:
		return dm_to_device(r->other_fd, at, len);
	case EXCLUSIVE:
		if (r->by_hmm)
			return hmm_call(r->hmm, HMM_EXCLUSIVE, at, r->buf, len / r->page, NULL);
		return put_exclusive(r->fd, at, len);
	case TAKEN:
		return put_exclusive(r->other_fd, at, len);
	case SWAPPED:
		return dm_page_out(at, len);
	case DROPPED:
		return dm_to_device(r->fd, at, len) ?: dm_dontneed(r->fd, at, len) ?:
		       dm_evict(r->dm.device, len);
	default:
		return 0;
	}
}

static inline const char *watch(struct range *r)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)r->map, r->map_len },
		.mode = is(r, WATCHED) ? UFFDIO_REGISTER_MODE_WP : UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_writeprotect wp = {
		.range = reg.range, .mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	r->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (r->uffd < 0 || ioctl(r->uffd, UFFDIO_API, &api) ||
	    ioctl(r->uffd, UFFDIO_REGISTER, &reg) ||
	    (is(r, WATCHED) && ioctl(r->uffd, UFFDIO_WRITEPROTECT, &wp)))
		return "no userfaultfd that can do this: CONFIG_USERFAULTFD";
	return NULL;
}

/* The child goes on to have what there was when it was made, whatever is done here. */
static inline const char *share(struct range *r)
{
	r->turn = dm_shared();
	r->child = r->turn ? dm_fork() : -1;
	if (!r->child) {
		dm_await(r->turn, 1);
		_exit(!!memcmp(r->mem, r->want, r->len));
	}
	return r->child < 0 ? "no child" : NULL;
}

/* What it holds, without touching it */
static inline void expect_contents(struct range *r)
{
	size_t i;

	for (i = 0; i < r->pages; i++) {
		char *page = r->want + i * r->page;

		if (place_of(r, i) == DROPPED || (r->state->first < SYSTEM && !is(r, OF_FILE)))
			memset(page, 0, r->page);
		else
			dm_fill_from(page, r->page, RANGE_SEED, r->offset / r->page + i);
	}
}

/* What CPUs hold back is on no list, and so is passed over; then they hold it for this. */
static inline const char *advise(struct range *r)
{
	if (!r->state->advice && !is(r, LOCKED))
		return NULL;
	dm_settle();
	if (is(r, LOCKED) && mlock(r->map, r->map_len))
		return "no memory can be locked";
	if (r->state->advice && madvise(r->map, r->map_len, r->state->advice))
		return "no such advice: CONFIG_KSM, or guard pages, from 6.13 on";
	dm_settle();
	return NULL;
}

/* NULL, or why there can be no such state here */
static inline const char *range_make(struct range *r)
{
	const struct state *state = r->state;
	size_t half = r->len / 2;
	const char *why;

	r->file = -1;
	r->fd = dm_open_number(r->dm.device);
	r->hmm = hmm_open(r->dm.device);
	r->other_fd = dm_open_number(state->first == THERE ? r->there : r->dm.device);
	why = state->map ? state->map(r) : map_anonymous(r);
	if (why)
		return why;
	r->mem = r->map + r->offset;
	expect_contents(r);
	why = advise(r);
	if (why)
		return why;
	if (state->first == state->second)
		same(r, "put", 0, put(r, state->first, r->mem, r->len));
	else
		same(r, "put", 0, put(r, state->first, r->mem, half) ?:
				  put(r, state->second, r->mem + half, half));
	if (state->gap)
		munmap(r->mem + state->gap * r->page, r->page);
	if (is(r, PURGEABLE))
		same(r, "not needed", 0, dm_dontneed(r->fd, r->mem, r->len));
	if (is(r, DENIED | READ_ONLY))
		mprotect(r->map, r->map_len, is(r, DENIED) ? PROT_NONE : PROT_READ);
	if (is(r, WATCHED | AWAITED))
		why = watch(r);
	return why ?: is(r, FORKED) ? share(r) : NULL;
}

/* Takes away what keeps the CPU from looking at it. */
static inline void range_open_up(struct range *r)
{
	struct dmirror_advise a;

	if (r->uffd >= 0)
		close(r->uffd);
	r->uffd = -1;
	if (is(r, DENIED))
		mprotect(r->map, r->map_len, PROT_READ);
	if (is(r, GUARDED))
		madvise(r->map, r->map_len, MADV_GUARD_REMOVE);
	if (r->state->first != DROPPED || r->needed)
		return;
	same(r, "still dropped", r->pages, dm_count_code(r->mem, r->len, BUS_ADRERR));
	same(r, "needed", 0, dm_advise(r->fd, r->mem, r->len, DMIRROR_ADVICE_WILLNEED, &a));
	same(r, "dropped", r->len, a.dropped);
}

/* What the program has, what the file has, and what the child has */
static inline void range_check(struct range *r)
{
	size_t i, bad = 0;

	for (i = 0; i < r->pages; i++)
		if (place_of(r, i) != NOTHING)
			bad += !!memcmp(r->mem + i * r->page, r->want + i * r->page, r->page);
	same(r, "pages that are not as they must be", 0, bad);
	if (r->state->map == map_private_file) {
		same(r, "length of the file", r->len, pread(r->file, r->buf, r->len, 0));
		same(r, "pages of the file that have changed", 0,
		     dm_bad(r->buf, r->len, RANGE_SEED));
	}
	if (r->turn) {
		dm_poke(r->turn, 1);
		same(r, "child", 0, dm_wait(r->child));
		munmap(r->turn, r->page);
	}
	r->turn = NULL;
}

static inline void range_undo(struct range *r)
{
	munmap(r->map, r->map_len);
	if (r->file >= 0)
		close(r->file);
	close(r->fd);
	close(r->hmm);
	close(r->other_fd);
	r->needed = false;
	/* A CPU may hold a page of it back. */
	if (dm_counter(r->dm.device, "memory_used") != r->used)
		dm_settle();
	same(r, "memory_used", r->used, dm_counter(r->dm.device, "memory_used"));
}

/* What a state needs to be made again and again: NULL, or why it cannot be */
static inline const char *range_begin(struct range *r, const struct dm_backing *backing)
{
	const char *why = dm_setup(&r->dm, backing);
	int there;

	if (why || r->dm.device < 0)
		return why;
	r->page = r->dm.page;
	r->len = is(r, HUGE) ? DM_HUGE : RANGE_PAGES * r->page;
	r->pages = r->len / r->page;
	r->map_len = is(r, HUGE | PART) ? DM_HUGE : r->len;
	/* Not its first page: with that, mm may take all of a huge page for exclusive. */
	r->offset = is(r, PART) ? 64 * r->page : 0;
	r->uffd = -1;
	r->used = dm_counter(r->dm.device, "memory_used");
	if (r->used < 0)
		return "no debugfs: CONFIG_DEBUG_FS";
	there = dm_find(backing->memory_type, 1, &r->other_fd);
	close(r->other_fd);
	if (r->state->first == THERE && (there < 0 || dm_linked()))
		return "no second device of this kind that is on its own";
	r->there = there;
	if (is(r, BY_PAGES)) {
		r->dm.backing.thp = true;
		r->splits = dm_splits(&r->dm);
	}
	return r->state->first == SWAPPED ? dm_swap_begin() : NULL;
}

#endif
