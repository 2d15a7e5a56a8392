/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A storm: threads that do to one piece of memory whatever can be done to it, each
 * by its own sequence of random numbers and a given number of times. Each begins with
 * one step of every kind, in an order that its numbers say; then it draws.
 *
 * Every page has an owner, one of the threads, who alone changes its contents and
 * keeps in the model what they are. What leaves the contents alone anybody does to
 * any page. So each owner knows at any time what every byte of his pages must be.
 */
#ifndef SELFTESTS_DMIRROR_STORM_H
#define SELFTESTS_DMIRROR_STORM_H

#include <assert.h>
#include <signal.h>
#include <sys/syscall.h>

#include "dmirror_advice.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif
#ifndef MADV_COLD
#define MADV_COLD		20
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#endif

#define STORM_HANDS	3
#define STORM_RUN	32	/* pages that a step is about, at most */
#define STORM_STEPS_MIN	40	/* of a thread: it does all kinds, and then some */
#define STORM_STEPS_MAX	10000000
#define STORM_KINDS_MAX	32
#define STORM_LIMIT	36000	/* seconds for one that the environment makes longer */
#define STORM_COMMON	1	/* of pages that have the same contents, for KSM */

struct storm;

/* What was done, in memory that processes share */
struct storm_tally {
	__u64 steps;
	__u64 ran[STORM_KINDS_MAX];	/* of these, by kind, as in storm_ops */
	__u64 to_device;		/* bytes that migrations have moved */
	__u64 to_system;
	__u64 dropped;
};

struct storm_hand {
	struct storm *storm;
	pthread_t thread;
	unsigned int id;
	__u64 random;
	__u64 seed;		/* the last that was used */
	int fds[2];		/* on two devices; -1 while there is none */
	char *buf;
	char *aside;		/* where own pages are moved to, for a moment */
	unsigned int steps;
	unsigned int step;
	unsigned int order[STORM_KINDS_MAX];	/* of the kinds, to begin with */
	__u64 moved;		/* bytes, by the last migration */
	const char *doing;
	int error;
};

struct storm {
	struct dm dm;
	unsigned int devices[2];
	char *mem;
	size_t pages;
	size_t unit;		/* pages that change owner together */
	bool whole;		/* huge pages are not to be mapped by PTEs */
	__u64 *seeds;		/* the model; 0 is a page of zeroes */
	__u64 seed;
	__u64 purges;		/* how many times pages could be dropped from then on */
	__u64 purges_over;	/* and no longer */
	struct storm_tally *tally;
	bool one_by_one;	/* migrations make mm split huge pages */
	pthread_mutex_t turn;	/* of who migrates then */
	struct storm_hand hands[STORM_HANDS];
};

/*
 * From 6.19 on migrate_vma_setup() splits a huge page that is mapped by PTEs, and
 * takes its reference when nothing keeps the page any more: see Limits in
 * README.md. There huge pages stay what they are: what is done to them is done to
 * the whole, and nobody shares them after fork. A migration to coherent memory, for
 * which mm splits them, has no other beside it.
 */
static inline bool storm_huge_pages_race(void)
{
	return !dm_kernel_before(6, 19) && !dm_avoids_nothing();
}

/*
 * What the environment says of a storm, as to have a longer one:
 *
 *	STORM_SEED	what it does; if not that, the time gives it. It is printed
 *	STORM_STEPS	how many steps each thread takes
 *	STORM_PROCESSES	how many processes there are, besides one that is killed
 */
static inline unsigned int storm_setting(const char *name, unsigned int value,
					 unsigned int min, unsigned int max)
{
	const char *text = getenv(name);

	if (text)
		value = strtoul(text, NULL, 0);
	return value < min ? min : value > max ? max : value;
}

static inline __u64 storm_choose_seed(void)
{
	const char *text = getenv("STORM_SEED");
	__u64 seed = text ? strtoull(text, NULL, 0) : dm_now() * 1e6;

	fprintf(stderr, "# STORM_SEED=%llu\n", seed);
	return seed;
}

/* How many steps a thread takes: @n, or fewer where the kernel is slow */
static inline unsigned int storm_usual_steps(unsigned int n)
{
	return dm_rounds(n) < STORM_STEPS_MIN ? STORM_STEPS_MIN : dm_rounds(n);
}

static inline unsigned int storm_steps(unsigned int n)
{
	return storm_setting("STORM_STEPS", storm_usual_steps(n),
			     STORM_STEPS_MIN, STORM_STEPS_MAX);
}

/* Of all tests: in a longer storm nobody waits for what does not get on. */
static inline void storm_set_limits(struct __fixture_metadata *f)
{
	bool longer = getenv("STORM_STEPS") || getenv("STORM_PROCESSES");
	struct __test_metadata *t;

	for (; longer && f; f = f->next)
		for (t = f->tests; t; t = t->next)
			t->timeout = STORM_LIMIT;
}

static inline unsigned int storm_random(struct storm_hand *h,
					unsigned int below)
{
	h->random = h->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (h->random >> 33) % below;
}

/* 0 up to @nr, in an order that the seed gives */
static inline void storm_shuffle(struct storm_hand *h, unsigned int *order,
				 unsigned int nr)
{
	unsigned int i, n;

	for (i = 0; i < nr; i++) {
		n = storm_random(h, i + 1);
		order[i] = order[n];
		order[n] = i;
	}
}

static inline void storm_add(__u64 *word, __u64 n)
{
	__atomic_fetch_add(word, n, __ATOMIC_SEQ_CST);
}

static inline char *storm_page(const struct storm *s, size_t page)
{
	return s->mem + page * s->dm.page;
}

/* Any pages: where they begin, and how many */
static inline char *storm_any(struct storm_hand *h, size_t *len)
{
	struct storm *s = h->storm;
	size_t first = storm_random(h, s->pages);
	size_t nr = 1 + storm_random(h, STORM_RUN);
	size_t huge = DM_HUGE / s->dm.page;

	if (s->whole || (s->dm.backing.thp && !storm_random(h, 4))) {
		first -= first % huge;
		nr = huge;
	}
	if (nr > s->pages - first)
		nr = s->pages - first;
	*len = nr * s->dm.page;
	return storm_page(s, first);
}

/* The first page of one of the thread's own units */
static inline size_t storm_own_unit(struct storm_hand *h)
{
	struct storm *s = h->storm;
	size_t units = s->pages / s->unit / STORM_HANDS;

	return (storm_random(h, units) * STORM_HANDS + h->id) * s->unit;
}

/* One of the thread's own pages */
static inline size_t storm_own(struct storm_hand *h)
{
	return storm_own_unit(h) + storm_random(h, h->storm->unit);
}

/* Whether a page, or a copy of it at @at, is what it has to be */
static inline int storm_check(struct storm_hand *h, size_t page, const char *at)
{
	struct storm *s = h->storm;

	if (s->seeds[page] ? !dm_bad(at, s->dm.page, s->seeds[page]) :
			     dm_zero(at, s->dm.page))
		return 0;
	fprintf(stderr, "# page %zu of thread %u is not of seed %llx\n", page,
		h->id, s->seeds[page]);
	return -EILSEQ;
}

static inline void storm_write(struct storm_hand *h, size_t page, __u64 seed)
{
	struct storm *s = h->storm;

	s->seeds[page] = seed;
	dm_fill(storm_page(s, page), s->dm.page, seed);
}

/* Says who the owner is, so that a page of somebody else's is known. */
static inline __u64 storm_next_seed(struct storm_hand *h)
{
	return ++h->seed;
}

/* Opens what the device has become when it was unplugged; it may not be there. */
static inline int storm_gone(struct storm_hand *h, unsigned int which, int ret)
{
	if (ret != -ENODEV && ret != -EBADF)
		return ret;
	if (h->fds[which] >= 0)
		close(h->fds[which]);
	h->fds[which] = dm_open_number(h->storm->devices[which]);
	return 0;
}

/*
 * Content stays as it is, and so anybody may
 */

static inline int storm_migrate(struct storm_hand *h, char *at, size_t len,
				unsigned int which, unsigned int target)
{
	struct storm *s = h->storm;
	struct dmirror_migrate m;
	int ret;

	if (s->one_by_one)
		pthread_mutex_lock(&s->turn);
	ret = dm_migrate_raw(h->fds[which], at, len, target, &m);
	if (s->one_by_one)
		pthread_mutex_unlock(&s->turn);
	h->moved = m.moved;
	storm_add(target == DMIRROR_TARGET_DEVICE ? &s->tally->to_device :
						    &s->tally->to_system, m.moved);
	if (ret && ret != -ENOSPC)
		return storm_gone(h, which, ret);
	if (dm_migrate_sum(&m) == len)
		return 0;
	fprintf(stderr, "# migration: %llu of %zu counted\n",
		dm_migrate_sum(&m), len);
	return -EILSEQ;
}

static inline int storm_to_device(struct storm_hand *h)
{
	size_t len;
	char *at = storm_any(h, &len);

	return storm_migrate(h, at, len, storm_random(h, 2),
			     DMIRROR_TARGET_DEVICE);
}

static inline int storm_to_system(struct storm_hand *h)
{
	size_t len;
	char *at = storm_any(h, &len);

	return storm_migrate(h, at, len, storm_random(h, 2),
			     storm_random(h, 4) ? DMIRROR_TARGET_SYSTEM :
						  DMIRROR_TARGET_STAY);
}

/* What somebody else can do without may be gone, to the device that had it or another. */
static inline int storm_device_read(struct storm_hand *h)
{
	unsigned int which = storm_random(h, 2);
	struct storm *s = h->storm;
	__u64 over = __atomic_load_n(&s->purges_over, __ATOMIC_SEQ_CST);
	size_t len;
	char *at = storm_any(h, &len);
	int ret;

	if (len > STORM_RUN * s->dm.page)
		len = STORM_RUN * s->dm.page;
	ret = dm_read(h->fds[which], at, h->buf, len);
	if ((ret == -ENODATA || ret == -EFAULT) &&
	    __atomic_load_n(&s->purges, __ATOMIC_SEQ_CST) != over)
		return 0;
	return storm_gone(h, which, ret);
}

static inline int storm_snapshot(struct storm_hand *h)
{
	unsigned int which = storm_random(h, 2);
	size_t len;
	char *at = storm_any(h, &len);
	long ret = dm_count(h->fds[which], at, len, DMIRROR_PLACE_LOCAL);

	return ret < 0 ? storm_gone(h, which, ret) : 0;
}

/* What the kernel answers to advice is its own affair. */
static inline int storm_advise(struct storm_hand *h)
{
	static const int advice[] = {
		MADV_COLD, MADV_POPULATE_READ, MADV_WILLNEED, MADV_COLLAPSE,
	};
	size_t len;
	char *at = storm_any(h, &len);

	madvise(at, len, advice[storm_random(h, ARRAY_SIZE(advice))]);
	return 0;
}

/* To swap, all that can: most is on a device or shared. Reclaim maps huge pages by PTEs. */
static inline int storm_pageout(struct storm_hand *h)
{
	struct storm *s = h->storm;

	madvise(storm_page(s, 0), s->pages * s->dm.page, MADV_PAGEOUT);
	return 0;
}

static inline int storm_mlock(struct storm_hand *h)
{
	size_t len;
	char *at = storm_any(h, &len);

	if (storm_random(h, 2))
		mlock(at, len);
	else
		munlock(at, len);
	return 0;
}

/* To one of the two nodes, page by page */
static inline int storm_move_pages(struct storm_hand *h)
{
	int nodes[STORM_RUN], status[STORM_RUN], node = storm_random(h, 2);
	void *pages[STORM_RUN];
	size_t len, i, nr;
	char *at = storm_any(h, &len);

	nr = len / h->storm->dm.page;
	if (nr > STORM_RUN)
		nr = STORM_RUN;
	for (i = 0; i < nr; i++) {
		pages[i] = at + i * h->storm->dm.page;
		nodes[i] = node;
	}
	syscall(SYS_move_pages, 0, nr, pages, nodes, status, 2);
	return 0;
}

static inline int storm_open_close(struct storm_hand *h)
{
	int fd = dm_open_number(h->storm->devices[storm_random(h, 2)]);
	__u64 value;

	if (fd < 0)
		return errno == ENODEV ? 0 : -errno;
	dm_read64(fd, storm_page(h->storm, storm_random(h, h->storm->pages)),
		  &value);
	return close(fd);
}

/* Everything that is on the device comes back, of all processes. */
static inline int storm_release(struct storm_hand *h)
{
	int fd = hmm_open(h->storm->devices[storm_random(h, 2)]);

	if (fd < 0)
		return 0;
	hmm_call(fd, HMM_RELEASE, h->storm->mem, NULL, 1, NULL);
	return close(fd);
}

/*
 * What only the owner may
 */

static inline int storm_cpu_write(struct storm_hand *h)
{
	storm_write(h, storm_own(h), storm_next_seed(h));
	return 0;
}

static inline int storm_cpu_check(struct storm_hand *h)
{
	size_t page = storm_own(h);

	return storm_check(h, page, storm_page(h->storm, page));
}

/* What an unplugged device had done of it does not count: it is written anew. */
static inline int storm_device_write(struct storm_hand *h)
{
	unsigned int which = storm_random(h, 2);
	struct storm *s = h->storm;
	size_t page = storm_own(h);
	__u64 seed = storm_next_seed(h);
	int ret;

	dm_fill(h->buf, s->dm.page, seed);
	ret = dm_write(h->fds[which], storm_page(s, page), h->buf, s->dm.page);
	if (!ret) {
		s->seeds[page] = seed;
		return 0;
	}
	ret = storm_gone(h, which, ret);
	storm_write(h, page, seed);
	return ret;
}

static inline int storm_device_check(struct storm_hand *h)
{
	unsigned int which = storm_random(h, 2);
	struct storm *s = h->storm;
	size_t page = storm_own(h);
	int ret;

	memset(h->buf, 0x5a, s->dm.page);
	ret = dm_read(h->fds[which], storm_page(s, page), h->buf, s->dm.page);
	return ret ? storm_gone(h, which, ret) : storm_check(h, page, h->buf);
}

static inline int storm_device_copy(struct storm_hand *h)
{
	unsigned int which = storm_random(h, 2);
	size_t from = storm_own(h), to = storm_own(h);
	struct storm *s = h->storm;
	int ret;

	if (from == to)
		return 0;
	ret = dm_copy(h->fds[which], storm_page(s, to), storm_page(s, from),
		      s->dm.page);
	if (!ret) {
		s->seeds[to] = s->seeds[from];
		return 0;
	}
	ret = storm_gone(h, which, ret);
	storm_write(h, to, storm_next_seed(h));
	return ret;
}

/* The same in the background, beside a migration of any pages */
static inline int storm_jobs(struct storm_hand *h)
{
	unsigned int which = storm_random(h, 2);
	size_t from = storm_own(h), to = storm_own(h), len;
	struct storm *s = h->storm;
	struct dmirror_wait copied, moved;
	char *at = storm_any(h, &len);
	int fd = h->fds[which], ret, error;
	__u64 copy, move;

	if (from == to || s->one_by_one)
		return 0;
	error = dm_submit(fd, DMIRROR_JOB_MIGRATE, at, len,
			  DMIRROR_TARGET_DEVICE, -1, &move);
	ret = dm_submit(fd, DMIRROR_JOB_COPY, storm_page(s, to), s->dm.page,
			(uintptr_t)storm_page(s, from), -1, &copy);
	if (!ret)
		ret = dm_wait_job(fd, copy, 0, &copied) ?: -copied.error;
	if (!ret)
		s->seeds[to] = s->seeds[from];
	else
		storm_write(h, to, storm_next_seed(h));
	if (!error)
		error = dm_wait_job(fd, move, 0, &moved) ?: -moved.error;
	if (error == -ENOSPC)
		error = 0;
	/* What ends with the device. */
	if (ret == -ECANCELED)
		ret = -ENODEV;
	if (error == -ECANCELED)
		error = -ENODEV;
	return storm_gone(h, which, ret ?: error);
}

/* Adds to a word and takes it away again. */
static inline int storm_atomic(struct storm_hand *h)
{
	unsigned int which = storm_random(h, 2);
	struct storm *s = h->storm;
	size_t page = storm_own(h);
	__u64 word = s->seeds[page] ? dm_word(s->seeds[page], 0, 0) : 0;
	struct dmirror_atomic a = { 0 };
	int ret;

	ret = dm_atomic(h->fds[which], DMIRROR_ATOMIC_ADD, storm_page(s, page),
			8, 7, 0, &a);
	if (!ret && a.result != word)
		return -EILSEQ;
	if (!ret)
		ret = dm_atomic(h->fds[which], DMIRROR_ATOMIC_CAS,
				storm_page(s, page), 8, word, word + 7, &a);
	if (!ret && a.result != word + 7)
		return -EILSEQ;
	if (ret)
		storm_write(h, page, storm_next_seed(h));
	return ret == -EBUSY ? 0 : storm_gone(h, which, ret);
}

/* One of the thread's own units, which is zeroes if @ret says that it worked */
static inline int storm_zeroed(struct storm_hand *h, size_t first, int ret)
{
	if (!ret)
		memset(h->storm->seeds + first, 0,
		       h->storm->unit * sizeof(*h->storm->seeds));
	return ret;
}

static inline int storm_dontneed(struct storm_hand *h)
{
	struct storm *s = h->storm;
	size_t first = storm_own_unit(h);
	int ret;

	ret = storm_zeroed(h, first,
			   madvise(storm_page(s, first), s->unit * s->dm.page,
				   MADV_DONTNEED));
	/* What is locked is needed. */
	return ret && errno != EINVAL ? -errno : 0;
}

/* A page that may go is there, or it is zeroes; then it is written. */
static inline int storm_free(struct storm_hand *h)
{
	struct storm *s = h->storm;
	size_t first = storm_own_unit(h), i;
	int ret = 0;

	madvise(storm_page(s, first), s->unit * s->dm.page, MADV_FREE);
	for (i = first; i < first + s->unit && !ret; i++) {
		__u64 *word = (__u64 *)storm_page(s, i), value = *word;

		/* Written to, with what it has, it may not go any more. */
		while (!__atomic_compare_exchange_n(word, &value, value, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
		if (!dm_zero(storm_page(s, i), s->dm.page))
			ret = storm_check(h, i, storm_page(s, i));
		storm_write(h, i, storm_next_seed(h));
	}
	return ret;
}

/* munmap() and mmap() in one, so that nobody else gets the address. */
static inline int storm_map_anew(struct storm_hand *h, size_t first)
{
	struct storm *s = h->storm;
	size_t len = s->unit * s->dm.page;
	char *p = mmap(storm_page(s, first), len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	madvise(p, len, s->dm.backing.thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	if (s->whole)
		madvise(p, len, MADV_DONTFORK);
	return storm_zeroed(h, first, 0);
}

static inline int storm_unmap(struct storm_hand *h)
{
	return storm_map_anew(h, storm_own_unit(h));
}

/*
 * Nothing keeps what has just been mapped from moving, so some of it does, both ways,
 * if it is tried again where somebody else was quicker, or a device is not there.
 */
static inline int storm_there_and_back(struct storm_hand *h)
{
	unsigned int which = storm_random(h, 2), tries;
	struct storm *s = h->storm;
	size_t first = storm_own_unit(h), len = s->unit * s->dm.page;
	char *at = storm_page(s, first);
	int ret = 0;

	/* Huge pages that are not to be unmapped move as they are. */
	if (!dm_huge_pages_stay(&s->dm))
		ret = storm_map_anew(h, first);
	for (tries = 0; !ret && tries < DM_RETRIES; tries++, which = !which) {
		if (tries)
			dm_settle();
		ret = storm_migrate(h, at, len, which, DMIRROR_TARGET_DEVICE) ?:
		      storm_migrate(h, at, len, which, DMIRROR_TARGET_SYSTEM);
		if (h->moved)
			break;
	}
	return ret ?: storm_check(h, first, at);
}

/*
 * Pages are needed again: the device that has them is to know, and to say if it has
 * dropped any; one that was unplugged does not. Of pages that two devices have, each
 * is busy with those of the other.
 */
static inline int storm_need(struct storm_hand *h, char *at, size_t len,
			     bool *dropped)
{
	struct dmirror_advise a;
	int ret = -EBUSY, error;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(h->fds); i++) {
		error = dm_advise(h->fds[i], at, len, DMIRROR_ADVICE_WILLNEED,
				  &a);
		storm_add(&h->storm->tally->dropped, a.dropped);
		*dropped |= a.dropped || error == -ENODEV || error == -EBADF;
		error = storm_gone(h, i, error);
		if (error && error != -EBUSY)
			return error;
		if (!error)
			ret = 0;
	}
	return ret;
}

/* All of them at once, or else one by one, and again where somebody holds one */
static inline int storm_need_all(struct storm_hand *h, char *at, size_t len,
				 bool *dropped)
{
	int ret = storm_need(h, at, len, dropped);
	size_t page = h->storm->dm.page;
	unsigned int tries = 0;
	char *end = at + len;

	while (ret == -EBUSY && at < end && tries < DM_RETRIES) {
		ret = storm_need(h, at, page, dropped);
		if (!ret) {
			at += page;
			ret = at < end ? -EBUSY : 0;
		} else if (ret == -EBUSY) {
			dm_settle();
			tries++;
		}
	}
	return ret;
}

/* What was dropped reads as zeroes, as soon as an unplugged device is gone. */
static inline int storm_check_needed(struct storm_hand *h, size_t page,
				     bool dropped)
{
	struct storm *s = h->storm;
	unsigned int tries;

	for (tries = 0; dm_cpu_read(storm_page(s, page), h->buf, s->dm.page); tries++) {
		if (tries == DM_RETRIES)
			return -EFAULT;
		dm_settle();
	}
	if (dropped && dm_zero(h->buf, s->dm.page))
		return 0;
	return storm_check(h, page, h->buf);
}

/* For a moment the device may drop pages instead of evicting them. */
static inline int storm_purge(struct storm_hand *h)
{
	unsigned int which = storm_random(h, 2);
	struct storm *s = h->storm;
	size_t first = storm_own_unit(h), len = s->unit * s->dm.page, i;
	char *at = storm_page(s, first);
	struct dmirror_advise a;
	bool dropped = false;
	int ret;

	ret = storm_migrate(h, at, len, which, DMIRROR_TARGET_DEVICE);
	if (ret)
		return ret;
	storm_add(&s->purges, 1);
	ret = dm_advise(h->fds[which], at, len, DMIRROR_ADVICE_DONTNEED, &a);
	if (!ret)
		dm_evict(s->devices[which], len);
	ret = ret == -EBUSY ? 0 : storm_gone(h, which, ret);
	ret = ret ?: storm_need_all(h, at, len, &dropped);
	for (i = first; i < first + s->unit && !ret; i++) {
		ret = storm_check_needed(h, i, dropped);
		storm_write(h, i, storm_next_seed(h));
	}
	storm_add(&s->purges_over, 1);
	return ret;
}

static inline int storm_move(char *from, char *to, size_t len)
{
	return mremap(from, len, len,
		      MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
		      to) == to ? 0 : -errno;
}

/* Away and back; what is left meanwhile is a hole of memory, not of addresses. */
static inline int storm_mremap(struct storm_hand *h)
{
	struct storm *s = h->storm;
	size_t first = storm_own_unit(h), len = s->unit * s->dm.page;
	int ret, check;

	ret = storm_move(storm_page(s, first), h->aside, len);
	if (ret)
		return ret;
	check = storm_migrate(h, h->aside, len, storm_random(h, 2),
			      DMIRROR_TARGET_DEVICE) ?:
		storm_check(h, first, h->aside);
	ret = storm_move(h->aside, storm_page(s, first), len);
	return ret ?: check ?: storm_check(h, first, storm_page(s, first));
}

static inline int storm_mprotect(struct storm_hand *h)
{
	unsigned int which = storm_random(h, 2);
	struct storm *s = h->storm;
	size_t first = storm_own_unit(h), len = s->unit * s->dm.page;
	char *at = storm_page(s, first);
	int ret;

	if (mprotect(at, len, PROT_READ))
		return -errno;
	ret = dm_write64(h->fds[which], at, 0);
	ret = ret == -EPERM ? 0 : storm_gone(h, which, ret ?: -EILSEQ);
	ret = ret ?: storm_check(h, first, at);
	return mprotect(at, len, PROT_READ | PROT_WRITE) ? -errno : ret;
}

/* Pages of equal contents, for KSM to make one of them */
static inline int storm_merge(struct storm_hand *h)
{
	struct storm *s = h->storm;
	size_t page = storm_own(h);

	storm_write(h, page, STORM_COMMON);
	madvise(storm_page(s, page), s->dm.page, MADV_MERGEABLE);
	page = storm_own(h);
	madvise(storm_page(s, page), s->dm.page, MADV_UNMERGEABLE);
	return storm_check(h, page, storm_page(s, page));
}

static inline int storm_check_own(struct storm_hand *h)
{
	struct storm *s = h->storm;
	size_t i;
	int ret = 0;

	for (i = 0; i < s->pages && !ret; i++)
		if (i / s->unit % STORM_HANDS == h->id)
			ret = storm_check(h, i, storm_page(s, i));
	return ret;
}

/* The child has the thread's pages for its own, and the model with them. */
static inline void storm_child(struct storm_hand *h, unsigned int end)
{
	struct storm *s = h->storm;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(h->fds); i++)
		h->fds[i] = dm_open_number(s->devices[i]);
	DM_CHECK(!storm_device_check(h));
	DM_CHECK(!storm_to_device(h));
	DM_CHECK(!storm_device_write(h));
	DM_CHECK(!storm_cpu_write(h));
	DM_CHECK(!storm_to_system(h));
	DM_CHECK(!storm_check_own(h));
	switch (end) {
	case 0:
		execl("/bin/busybox", "busybox", "true", NULL);
		execl("/bin/true", "true", NULL);
		_exit(1);
	case 1:
		kill(getpid(), SIGKILL);
	}
	_exit(0);
}

/* Where fork is not to share huge pages, the child has memory of its own. */
static inline void storm_lone_child(struct storm_hand *h)
{
	struct storm *s = h->storm;
	struct dm dm = dm_unmapping(&s->dm);
	char *mem = dm_alloc(&dm, s->unit * s->dm.page, h->seed);
	int fd = dm_open_number(s->devices[0]);

	DM_CHECK(mem);
	if (fd >= 0)
		dm_to_device(fd, mem, s->unit * s->dm.page);
	DM_CHECK(!dm_bad(mem, s->unit * s->dm.page, h->seed));
	_exit(0);
}

static inline int storm_fork(struct storm_hand *h)
{
	unsigned int end = storm_random(h, 4);
	pid_t pid = dm_fork();
	int ret;

	if (!pid && h->storm->whole)
		storm_lone_child(h);
	if (!pid)
		storm_child(h, end);
	if (pid < 0)
		return -errno;
	if (end == 2)
		kill(pid, SIGKILL);
	ret = dm_wait(pid);
	if (!ret || (ret == -SIGKILL && (end == 1 || end == 2)))
		return 0;
	fprintf(stderr, "# child that was to end by way %u: %d\n", end, ret);
	return -ECHILD;
}

struct storm_op {
	const char *name;
	int (*run)(struct storm_hand *h);
	unsigned int weight;
	bool splits;		/* huge pages, so that PTEs map them */
	bool small;		/* takes too long of a huge page, page by page */
	bool unmaps;		/* what may be on the device */
};

static const struct storm_op storm_ops[] = {
	{ "to device", storm_to_device, .weight = 12 },
	{ "to system", storm_to_system, .weight = 6 },
	{ "device read", storm_device_read, .weight = 4 },
	{ "snapshot", storm_snapshot, .weight = 2 },
	{ "madvise", storm_advise, .weight = 4 },
	{ "page out", storm_pageout, .weight = 1, .splits = true },
	{ "mlock", storm_mlock, .weight = 2 },
	{ "move_pages", storm_move_pages, .weight = 2 },
	{ "open and close", storm_open_close, .weight = 2 },
	{ "release", storm_release, .weight = 1 },
	{ "CPU write", storm_cpu_write, .weight = 5 },
	{ "CPU check", storm_cpu_check, .weight = 5 },
	{ "device write", storm_device_write, .weight = 5 },
	{ "device check", storm_device_check, .weight = 5 },
	{ "device copy", storm_device_copy, .weight = 2 },
	{ "jobs", storm_jobs, .weight = 2 },
	{ "atomic", storm_atomic, .weight = 3, .splits = true },
	{ "dontneed", storm_dontneed, .weight = 2, .unmaps = true },
	{ "free", storm_free, .weight = 1 },
	{ "unmap", storm_unmap, .weight = 2, .unmaps = true },
	{ "there and back", storm_there_and_back, .weight = 1 },
	{ "purge", storm_purge, .weight = 2, .small = true },
	{ "mremap", storm_mremap, .weight = 2, .unmaps = true },
	{ "mprotect", storm_mprotect, .weight = 2 },
	{ "merge", storm_merge, .weight = 2, .splits = true },
	{ "fork", storm_fork, .weight = 1 },
};

static_assert(ARRAY_SIZE(storm_ops) <= STORM_KINDS_MAX, "kinds of steps");
static_assert(ARRAY_SIZE(storm_ops) <= STORM_STEPS_MIN, "steps of a thread");

static inline bool storm_whole(const struct dm *dm)
{
	return dm->backing.thp && storm_huge_pages_race();
}

/* What is not to be done to this kind of memory, on this kernel */
static inline bool storm_excludes(const struct dm *dm, const struct storm_op *op)
{
	return ((op->splits || op->small) && storm_whole(dm)) ||
	       (op->unmaps && dm_huge_pages_stay(dm));
}

/* The next kind of step: each of them once, and then any, by its weight */
static inline unsigned int storm_draw(struct storm_hand *h)
{
	unsigned int all = 0, i, n;

	if (h->step < ARRAY_SIZE(storm_ops))
		return h->order[h->step];
	for (i = 0; i < ARRAY_SIZE(storm_ops); i++)
		all += storm_ops[i].weight;
	n = storm_random(h, all);
	for (i = 0; n >= storm_ops[i].weight; i++)
		n -= storm_ops[i].weight;
	return i;
}

static inline void *storm_thread(void *arg)
{
	struct storm_hand *h = arg;
	struct storm *s = h->storm;
	unsigned int kind;

	for (h->step = 0; h->step < h->steps && !h->error; h->step++) {
		kind = storm_draw(h);
		storm_add(&s->tally->steps, 1);
		if (storm_excludes(&s->dm, &storm_ops[kind]))
			continue;
		h->doing = storm_ops[kind].name;
		h->error = storm_ops[kind].run(h);
		storm_add(&s->tally->ran[kind], !h->error);
	}
	if (h->error)
		fprintf(stderr,
			"# STORM_SEED=%llu: process %d, thread %u, step %u, %s: %d\n",
			s->seed, getpid(), h->id, h->step, h->doing, h->error);
	return NULL;
}

static inline int storm_hand_init(struct storm *s, unsigned int id,
				  __u64 number, unsigned int steps)
{
	struct storm_hand *h = &s->hands[id];
	unsigned int i;

	h->storm = s;
	h->id = id;
	h->random = s->seed + number * 0x9e3779b97f4a7c15ULL + id;
	h->seed = (number + 1) << 48 | (__u64)(id + 1) << 40;
	h->steps = steps;
	h->buf = malloc(STORM_RUN * s->dm.page);
	h->aside = dm_map(&s->dm, s->unit * s->dm.page);
	if (!h->buf || !h->aside)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(h->fds); i++)
		h->fds[i] = dm_open_number(s->devices[i]);
	for (i = 0; i < 8; i++)
		storm_random(h, 2);
	storm_shuffle(h, h->order, ARRAY_SIZE(storm_ops));
	return 0;
}

/*
 * Fills @s in for the @number-th process of a storm of @seed, and maps its memory:
 * @units of what one thread owns, for each
 */
static inline int storm_init(struct storm *s, const struct dm *dm,
			     const unsigned int *devices, __u64 seed,
			     unsigned int number, unsigned int steps)
{
	unsigned int i;
	int ret = 0;

	memset(s, 0, sizeof(*s));
	s->dm = *dm;
	memcpy(s->devices, devices, sizeof(s->devices));
	s->seed = seed;
	s->whole = storm_whole(dm);
	s->one_by_one = s->whole &&
			dm->backing.memory_type == DMIRROR_MEMORY_COHERENT;
	s->unit = s->whole ? DM_HUGE / dm->page : 1;
	s->pages = dm->backing.thp ? STORM_HANDS * DM_HUGE / dm->page :
				     STORM_HANDS * 32;
	s->tally = (void *)dm_shared();
	s->seeds = calloc(s->pages, sizeof(*s->seeds));
	s->mem = dm_map(dm, s->pages * dm->page);
	pthread_mutex_init(&s->turn, NULL);
	if (!s->tally || !s->seeds || !s->mem || dm_trap_init())
		return -ENOMEM;
	if (s->whole)
		madvise(s->mem, s->pages * dm->page, MADV_DONTFORK);
	for (i = 0; i < STORM_HANDS && !ret; i++)
		ret = storm_hand_init(s, i, number, steps);
	return ret;
}

/* All threads, to their end */
static inline int storm_run(struct storm *s)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < STORM_HANDS; i++)
		if (pthread_create(&s->hands[i].thread, NULL, storm_thread,
				   &s->hands[i]))
			return -ENOMEM;
	for (i = 0; i < STORM_HANDS; i++) {
		pthread_join(s->hands[i].thread, NULL);
		ret = ret ?: s->hands[i].error;
	}
	return ret;
}

/* Every page of it, by a device as far as one is there, and by the CPU */
static inline int storm_check_all(struct storm *s)
{
	size_t size = s->dm.page, i;
	int ret = 0;

	for (i = 0; i < s->pages && !ret; i++) {
		struct storm_hand *h = &s->hands[i / s->unit % STORM_HANDS];

		if (h->fds[0] >= 0 &&
		    !dm_read(h->fds[0], storm_page(s, i), h->buf, size))
			ret = storm_check(h, i, h->buf);
		ret = ret ?: storm_check(h, i, storm_page(s, i));
	}
	return ret;
}

/*
 * Whether every kind of step was taken that is not excluded, and bytes moved both
 * ways: a storm in which all is busy, or nobody forks, is none.
 */
static inline bool storm_did_all(const struct dm *dm,
				 const struct storm_tally *tally)
{
	bool all = tally->to_device && tally->to_system;
	unsigned int i;

	fprintf(stderr,
		"# %llu steps moved %llu bytes to devices, %llu back; %llu were dropped\n",
		tally->steps, tally->to_device, tally->to_system, tally->dropped);
	for (i = 0; i < ARRAY_SIZE(storm_ops); i++) {
		if (tally->ran[i] || storm_excludes(dm, &storm_ops[i]))
			continue;
		fprintf(stderr, "# never done: %s\n", storm_ops[i].name);
		all = false;
	}
	return all;
}

#endif
