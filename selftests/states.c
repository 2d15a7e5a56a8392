// SPDX-License-Identifier: GPL-2.0
/*
 * Every ioctl of both ABIs on memory in every state. Each state is a line of a table, each
 * ioctl one of another, and what an ioctl has to come to is worked out from what the state
 * says of each page. Whatever it comes to: contents are exactly what they must be, counts
 * add up, no entry is left on its way, and the files go on to work.
 */
#include "kselftest_harness.h"
#include "dmirror_entries.h"
#include "dmirror_range.h"

#define ONE_OF	8

/*
 * What a state means for an ioctl
 */

/* What the device's access to a page comes to */
static int access_error(const struct range *r, size_t i, bool write)
{
	if (place_of(r, i) == NOTHING || is(r, DENIED | SECRET | GUARDED | AWAITED))
		return -EFAULT;
	if (place_of(r, i) == DROPPED)
		return -ENODATA;
	if (write && is(r, READ_ONLY))
		return -EPERM;
	return write && is(r, WATCHED) ? -EFAULT : 0;
}

/* The same of all pages, up to the one at which it ends */
static int accesses(const struct range *r, bool write, size_t *pages)
{
	int ret = 0;

	for (*pages = 0; *pages < r->pages && !ret; *pages += !ret)
		ret = access_error(r, *pages, write);
	return ret;
}

enum fate { MOVED, RESIDENT, BUSY, UNSUPPORTED, FATES };

static enum fate to_device(const struct range *r, enum place place)
{
	if (place == HERE || place == DROPPED)
		return RESIDENT;
	/* The ABI of test_hmm does not go by way of system memory. */
	if (place == THERE && r->by_hmm)
		return BUSY;
	/* mm would lose the protection of a page that nobody has written to. */
	if (is(r, OF_FILE) || (is(r, WATCHED) && place < SYSTEM))
		return UNSUPPORTED;
	if (place == TAKEN || place == SWAPPED || is(r, GUARDED | AWAITED))
		return BUSY;
	return is(r, BY_PAGES) && !r->splits ? BUSY : MOVED;
}

/* To stay is to be collected, of which there is no need if nothing can be. */
static enum fate to_stay(const struct range *r, enum place place)
{
	if (place == THERE || place == EXCLUSIVE || place == TAKEN ||
	    place == SWAPPED || is(r, GUARDED) || (place == HOLE && is(r, OF_FILE)))
		return BUSY;
	return is(r, BY_PAGES) && !r->splits ? BUSY : RESIDENT;
}

static enum fate fate_of(const struct range *r, size_t i, unsigned int target)
{
	enum place place = place_of(r, i);

	if (is(r, SHARED | SPECIAL) ||
	    (is(r, MERGEABLE) && target != DMIRROR_TARGET_SYSTEM))
		return UNSUPPORTED;
	if (target == DMIRROR_TARGET_SYSTEM)
		return place == HERE ? MOVED : RESIDENT;
	if (target == DMIRROR_TARGET_STAY)
		return to_stay(r, place);
	return to_device(r, place);
}

/* What a migration comes to, in bytes of each fate, and how far it gets */
static int fates(const struct range *r, unsigned int target, __u64 *bytes, size_t *pages)
{
	memset(bytes, 0, FATES * sizeof(*bytes));
	for (*pages = 0; *pages < r->pages; ++*pages) {
		if (place_of(r, *pages) == NOTHING || is(r, DENIED))
			return -EFAULT;
		bytes[fate_of(r, *pages, target)] += r->page;
	}
	return 0;
}

/*
 * The driver's own ABI
 */

enum { READ, WRITE, FILL, COPY_FROM, COPY_TO, AS_JOB = 16 };

/* What came of a call */
struct result {
	int ret;
	__u64 done;
	__u64 fault_addr;
};

static void as_job(struct range *r, unsigned int op, const char *addr, __u64 argument,
		   struct dmirror_wait *w)
{
	__u64 job;

	memset(w, 0, sizeof(*w));
	same(r, "submit", 0, dm_submit(r->fd, op, addr, r->len, argument, -1, &job));
	same(r, "wait", 0, dm_wait_job(r->fd, job, 0, w));
}

static struct result do_access(struct range *r, unsigned int how)
{
	unsigned int op = how & ~AS_JOB;
	char *dst = op == COPY_FROM ? r->other : r->mem;
	char *src = op == COPY_FROM ? r->mem : r->other;
	struct dmirror_copy c = {
		.size = sizeof(c), .length = r->len,
		.dst = (uintptr_t)dst, .src = (uintptr_t)src,
	};
	struct dmirror_fill f = {
		.size = sizeof(f), .length = r->len,
		.addr = (uintptr_t)dst, .pattern = dm_peek(r->buf),
	};
	struct dmirror_wait w;
	struct dmirror_rw rw;
	int ret;

	if (how & AS_JOB) {
		if (op == FILL)
			as_job(r, DMIRROR_JOB_FILL, dst, f.pattern, &w);
		else
			as_job(r, DMIRROR_JOB_COPY, dst, c.src, &w);
		return (struct result) { -(int)w.error, w.done, w.fault_addr };
	}
	if (op == FILL) {
		ret = dm_call(r->fd, DMIRROR_IOC_FILL, &f);
		return (struct result) { ret, f.done, f.fault_addr };
	}
	if (op == COPY_FROM || op == COPY_TO) {
		ret = dm_call(r->fd, DMIRROR_IOC_COPY, &c);
		return (struct result) { ret, c.done, c.fault_addr };
	}
	ret = dm_rw(r->fd, op == READ ? DMIRROR_IOC_READ : DMIRROR_IOC_WRITE,
		    r->mem, r->buf, r->len, &rw);
	return (struct result) { ret, rw.done, rw.fault_addr };
}

/* What is written to the range is in the buffer before; what is read is there, after. */
static void own_access(struct range *r, unsigned int how)
{
	unsigned int op = how & ~AS_JOB;
	bool write = op != READ && op != COPY_FROM;
	struct result result;
	size_t pages, done, i;
	int ret = accesses(r, write, &pages);

	done = pages * r->page;
	dm_fill(r->buf, r->len, RANGE_SEED + 1);
	for (i = 8; op == FILL && i < r->len; i += 8)
		memcpy(r->buf + i, r->buf, 8);
	if (op == COPY_TO)
		memcpy(r->buf, r->other, r->len);
	result = do_access(r, how);
	same(r, "error", ret, result.ret);
	same(r, "done", done, result.done);
	same(r, "fault_addr", ret ? (uintptr_t)r->mem + done : 0, result.fault_addr);
	if (write)
		memcpy(r->want, r->buf, done);
	else if (op == READ)
		same(r, "what was read", 0, !!memcmp(r->buf, r->want, done));
	else
		same(r, "the copy", 0, !!memcmp(r->other, r->want, done) +
		     dm_bad_from(r->other + done, r->len - done, RANGE_SEED + 2, pages));
}

/* How the device comes by an atomic operation */
static unsigned int atomic_flags(const struct range *r, size_t i)
{
	if (is(r, SHARED | SPECIAL) || (place_of(r, i) == THERE && coherent(r)))
		return DMIRROR_ATOMIC_BUS;
	if (is(r, BY_PAGES) && !r->splits)
		return DMIRROR_ATOMIC_BUS;
	return place_of(r, i) == HERE && writable(r, i) ? DMIRROR_ATOMIC_LOCAL :
							  DMIRROR_ATOMIC_EXCLUSIVE;
}

/* On some of the pages, of which each is on its own */
static void own_atomic(struct range *r, unsigned int op)
{
	size_t i, step = r->pages / RANGE_PAGES;
	struct dmirror_atomic a;
	__u64 *want;
	int ret;

	for (i = 0; i < r->pages; i += step) {
		want = (__u64 *)(r->want + i * r->page) + 1;
		ret = access_error(r, i, true);
		same(r, "error", ret, dm_atomic(r->fd, op, r->mem + i * r->page + 8, 8, 5,
						op == DMIRROR_ATOMIC_CAS ? *want : 0, &a));
		same(r, "fault_addr", ret ? (uintptr_t)r->mem + i * r->page + 8 : 0,
		     a.fault_addr);
		if (ret)
			continue;
		same(r, "flags", atomic_flags(r, i), a.flags);
		same(r, "result", *want, a.result);
		*want = op == DMIRROR_ATOMIC_CAS ? 5 : *want + 5;
	}
}

static struct dmirror_page snapshot_of(const struct range *r, size_t i)
{
	static const unsigned char places[] = {
		[ZERO] = DMIRROR_PLACE_ZERO, [SYSTEM] = DMIRROR_PLACE_SYSTEM,
		[HERE] = DMIRROR_PLACE_LOCAL, [THERE] = DMIRROR_PLACE_REMOTE,
		[EXCLUSIVE] = DMIRROR_PLACE_SYSTEM, [DROPPED] = DMIRROR_PLACE_DROPPED,
	};
	enum place place = place_of(r, i);
	struct dmirror_page page = { .place = places[place] };

	if (place == NOTHING || is(r, DENIED))
		return (struct dmirror_page) { .flags = DMIRROR_PAGE_DENIED };
	if (page.place)
		page.flags = DMIRROR_PAGE_READ | (writable(r, i) ? DMIRROR_PAGE_WRITE : 0);
	if (place == EXCLUSIVE)
		page.flags |= DMIRROR_PAGE_EXCLUSIVE | DMIRROR_PAGE_MAPPED;
	if (place == HERE || place == DROPPED)
		page.device = r->dm.device;
	if (place == THERE)
		page.device = r->there;
	return page;
}

static void own_snapshot(struct range *r, unsigned int unused)
{
	struct dmirror_page *pages = (void *)r->buf, want;
	size_t i;

	same(r, "error", 0, dm_snapshot(r->fd, r->mem, r->len, pages));
	for (i = 0; i < r->pages; i++) {
		want = snapshot_of(r, i);
		same(r, "place", want.place, pages[i].place);
		same(r, "flags", want.flags, pages[i].flags);
		same(r, "device", want.device, pages[i].device);
	}
}

/* Where pages are that a migration has looked at */
static void check_places(struct range *r, unsigned int target, size_t pages)
{
	struct dmirror_page *seen = (void *)r->buf;
	size_t i;

	same(r, "snapshot", 0, dm_snapshot(r->fd, r->mem, r->len, seen));
	for (i = 0; i < pages; i++) {
		bool local = place_of(r, i) == HERE && target != DMIRROR_TARGET_SYSTEM;

		if (target == DMIRROR_TARGET_DEVICE)
			local |= fate_of(r, i, target) == MOVED;
		same(r, "is on the device", local, seen[i].place == DMIRROR_PLACE_LOCAL);
	}
}

/* As dm_migrate(), it is asked again for what somebody else had for a moment. */
static void migrate_job(struct range *r, unsigned int target, __u64 stays, struct dmirror_wait *w)
{
	unsigned int tries = DM_RETRIES;
	__u64 done = 0;

	do {
		as_job(r, DMIRROR_JOB_MIGRATE, r->mem, target, w);
		done += w->done;
	} while (w->stayed > stays && --tries);
	w->done = done;
}

static void own_migrate(struct range *r, unsigned int how)
{
	unsigned int target = how & ~AS_JOB;
	struct dmirror_migrate m;
	struct dmirror_wait w;
	__u64 want[FATES], fault_addr, stays;
	size_t pages;
	int ret = fates(r, target, want, &pages);

	fault_addr = ret ? (uintptr_t)r->mem + pages * r->page : 0;
	stays = want[BUSY] + want[UNSUPPORTED];
	if (how & AS_JOB) {
		migrate_job(r, target, stays, &w);
		same(r, "error", -ret, w.error);
		same(r, "done", want[MOVED], w.done);
		same(r, "stayed", stays, w.stayed);
		same(r, "fault_addr", fault_addr, w.fault_addr);
	} else {
		same(r, "error", ret, dm_migrate(r->fd, r->mem, r->len, target, &m));
		same(r, "moved", want[MOVED], m.moved);
		same(r, "resident", want[RESIDENT], m.resident);
		same(r, "busy", want[BUSY], m.busy);
		same(r, "unsupported", want[UNSUPPORTED], m.unsupported);
		same(r, "what was looked at", pages * r->page, dm_migrate_sum(&m));
		same(r, "fault_addr", fault_addr, m.fault_addr);
	}
	check_places(r, target, pages);
}

/* What an advice comes to, in bytes, of each page up to the one at which it ends */
static int advised(const struct range *r, bool needed, struct dmirror_advise *want)
{
	__u64 *count;
	size_t i;

	memset(want, 0, sizeof(*want));
	for (i = 0; i < r->pages; i++) {
		enum place place = place_of(r, i);

		if (place == NOTHING || is(r, DENIED)) {
			want->fault_addr = (uintptr_t)r->mem + i * r->page;
			return -EFAULT;
		}
		count = &want->untouched;
		if (place == HERE || place == DROPPED)
			count = needed || writable(r, i) ? &want->applied : &want->shared;
		else if (place == THERE && needed && coherent(r))
			count = &want->busy;
		*count += r->page;
		if (place == DROPPED && needed)
			want->dropped += r->page;
	}
	want->retained = needed && !want->busy && !want->dropped;
	return want->busy ? -EBUSY : 0;
}

static void own_advise(struct range *r, unsigned int advice)
{
	bool needed = advice == DMIRROR_ADVICE_WILLNEED;
	struct dmirror_advise a, want;
	int ret = advised(r, needed, &want);

	same(r, "error", ret, dm_advise(r->fd, r->mem, r->len, advice, &a));
	same(r, "applied", want.applied, a.applied);
	same(r, "dropped", want.dropped, a.dropped);
	same(r, "shared", want.shared, a.shared);
	same(r, "busy", want.busy, a.busy);
	same(r, "untouched", want.untouched, a.untouched);
	same(r, "retained", want.retained, a.retained);
	if (ret != -EBUSY)
		same(r, "fault_addr", want.fault_addr, a.fault_addr);
	r->needed = needed && !ret;
}

/* What is not about contents: what the device then reads is the same, from where it says. */
static void own_prefer(struct range *r, unsigned int advice)
{
	int ret = advice == DMIRROR_ADVICE_READ_MOSTLY ? -EOPNOTSUPP : 0;
	struct dmirror_advise a;
	size_t pages;

	same(r, "error", ret, dm_advise(r->fd, r->mem, r->len, advice, &a));
	same(r, "applied", ret ? 0 : r->len, a.applied);
	own_access(r, READ);
	accesses(r, false, &pages);
	/* It does not fault on what it has. */
	if (advice == DMIRROR_ADVICE_PREFER_DEVICE && r->state->first != EXCLUSIVE)
		check_places(r, DMIRROR_TARGET_DEVICE, pages);
}

/*
 * The ABI of test_hmm
 */

/* What a migration says that mm refuses, or would if it got there */
static int hmm_migrates(const struct range *r, unsigned int target, __u64 *bytes)
{
	size_t pages;

	return fates(r, target, bytes, &pages) || is(r, SPECIAL) ? -EINVAL : 0;
}

static void hmm_access(struct range *r, unsigned int how)
{
	bool write = how == WRITE;
	struct hmm_cmd cmd;
	size_t pages;
	int ret = accesses(r, write, &pages);

	dm_fill(r->buf, r->len, RANGE_SEED + 1);
	same(r, "error", ret, hmm_call(r->hmm, write ? HMM_WRITE : HMM_READ, r->mem, r->buf,
				       r->pages, &cmd));
	if (!ret)
		same(r, "cpages", r->pages, cmd.cpages);
	if (write)
		memcpy(r->want, r->buf, pages * r->page);
	else
		same(r, "what was read", 0, !!memcmp(r->buf, r->want, pages * r->page));
}

/* All of it has to be on the device then: what is not is an error. */
static void hmm_to_device(struct range *r, unsigned int fails)
{
	struct hmm_cmd cmd;
	__u64 bytes[FATES];
	size_t i;
	int ret = hmm_migrates(r, DMIRROR_TARGET_DEVICE, bytes), seen;

	/* One allocation fails, and that page stays. */
	if (fails)
		hmm_call(r->hmm, HMM_FLAGS, r->mem, NULL, HMM_FLAG_FAIL_ALLOC, NULL);
	if (fails && bytes[MOVED])
		ret = -ENOENT;
	for (i = 0; i < r->pages && !ret; i++)
		if (place_of(r, i) == DROPPED)
			ret = -ENODATA;
		else if (place_of(r, i) != HERE &&
			 fate_of(r, i, DMIRROR_TARGET_DEVICE) != MOVED)
			ret = -ENOENT;
	seen = hmm_call(r->hmm, HMM_TO_DEV, r->mem, r->buf, r->pages, &cmd);
	hmm_clear_flags(r->hmm);
	/* Unless there is reason to try again: it was to be large, or more has come. */
	if (fails && !seen && (is(r, HUGE) || r->state->second == EXCLUSIVE))
		ret = seen;
	same(r, "error", ret, seen);
	if (ret)
		return;
	same(r, "cpages", r->pages, cmd.cpages);
	same(r, "what was read", 0, !!memcmp(r->buf, r->want, r->len));
	check_places(r, DMIRROR_TARGET_DEVICE, r->pages);
}

static void hmm_to_system(struct range *r, unsigned int unused)
{
	__u64 bytes[FATES];
	struct hmm_cmd cmd;
	int ret = hmm_migrates(r, DMIRROR_TARGET_SYSTEM, bytes);

	same(r, "error", ret, hmm_call(r->hmm, HMM_TO_SYS, r->mem, NULL, r->pages, &cmd));
	if (ret)
		return;
	/* Where huge pages move as such, one counts as one. */
	if (is(r, HUGE) && bytes[MOVED] && cmd.cpages == 1)
		cmd.cpages = r->pages;
	same(r, "cpages", bytes[MOVED] / r->page, cmd.cpages);
	check_places(r, DMIRROR_TARGET_SYSTEM, r->pages);
}

/* What the driver's own says, in fewer words. Which entry maps it is for thp to say. */
static unsigned int hmm_byte(const struct range *r, size_t i)
{
	struct dmirror_page page = snapshot_of(r, i);
	unsigned int rights = page.flags & DMIRROR_PAGE_WRITE ? HMM_PROT_WRITE : HMM_PROT_READ;

	if (page.flags & DMIRROR_PAGE_DENIED)
		return HMM_PROT_ERROR;
	if (page.flags & DMIRROR_PAGE_EXCLUSIVE)
		return HMM_PROT_NONE;
	switch (page.place) {
	case DMIRROR_PLACE_HOLE:
		return HMM_PROT_NONE;
	case DMIRROR_PLACE_SYSTEM:
		return rights;
	case DMIRROR_PLACE_ZERO:
		return rights | HMM_PROT_ZERO;
	case DMIRROR_PLACE_REMOTE:
		return coherent(r) ? rights | HMM_PROT_COHERENT_REMOTE : HMM_PROT_NONE;
	default:
		return rights | (coherent(r) ? HMM_PROT_COHERENT_LOCAL : HMM_PROT_PRIVATE_LOCAL);
	}
}

static void hmm_snapshot(struct range *r, unsigned int unused)
{
	unsigned char *bytes = (void *)r->buf;
	struct hmm_cmd cmd;
	size_t i;

	same(r, "error", 0, hmm_call(r->hmm, HMM_SNAPSHOT, r->mem, bytes, r->pages, &cmd));
	same(r, "cpages", r->pages, cmd.cpages);
	for (i = 0; i < r->pages; i++)
		same(r, "byte", hmm_byte(r, i), bytes[i] == HMM_PROT_ERROR ?
						bytes[i] : bytes[i] & ~HMM_PROT_PMD);
}

static void hmm_exclusive(struct range *r, unsigned int unused)
{
	struct hmm_cmd cmd;
	size_t pages, i;
	int ret = accesses(r, true, &pages), seen;

	for (i = 0; i < pages; i++)
		if (atomic_flags(r, i) == DMIRROR_ATOMIC_BUS)
			ret = -EBUSY;
	seen = hmm_call(r->hmm, HMM_EXCLUSIVE, r->mem, r->buf, r->pages, &cmd);
	/* Newer kernels have another word for it. */
	if (ret == -EBUSY && seen == -EOPNOTSUPP)
		seen = ret;
	same(r, "error", ret, seen);
	if (ret)
		return;
	same(r, "cpages", r->pages, cmd.cpages);
	same(r, "what was read", 0, !!memcmp(r->buf, r->want, r->len));
	same(r, "check", -EPERM, hmm_call(r->hmm, HMM_CHECK_EXCLUSIVE, r->mem, NULL, 1, NULL));
}

static void hmm_check(struct range *r, unsigned int unused)
{
	bool any = r->state->first == EXCLUSIVE || r->state->second == EXCLUSIVE;

	same(r, "error", any ? -EPERM : 0,
	     hmm_call(r->hmm, HMM_CHECK_EXCLUSIVE, r->mem, NULL, r->pages, NULL));
}

static void hmm_release(struct range *r, unsigned int unused)
{
	same(r, "error", 0, hmm_call(r->hmm, HMM_RELEASE, r->mem, NULL, r->pages, NULL));
	same(r, "pages on the device", 0,
	     dm_count(r->fd, r->mem, r->len, DMIRROR_PLACE_LOCAL));
}

struct io {
	const char *name;
	void (*call)(struct range *r, unsigned int how);
	unsigned int how;
};

static const struct io own_ios[] = {
	{ "read", own_access, READ },
	{ "write", own_access, WRITE },
	{ "fill", own_access, FILL },
	{ "copy from", own_access, COPY_FROM },
	{ "copy to", own_access, COPY_TO },
	{ "add", own_atomic, DMIRROR_ATOMIC_ADD },
	{ "compare and swap", own_atomic, DMIRROR_ATOMIC_CAS },
	{ "snapshot", own_snapshot, 0 },
	{ "to device", own_migrate, DMIRROR_TARGET_DEVICE },
	{ "to system", own_migrate, DMIRROR_TARGET_SYSTEM },
	{ "stay", own_migrate, DMIRROR_TARGET_STAY },
	{ "job: fill", own_access, FILL | AS_JOB },
	{ "job: copy from", own_access, COPY_FROM | AS_JOB },
	{ "job: copy to", own_access, COPY_TO | AS_JOB },
	{ "job: to device", own_migrate, DMIRROR_TARGET_DEVICE | AS_JOB },
	{ "job: to system", own_migrate, DMIRROR_TARGET_SYSTEM | AS_JOB },
	{ "job: stay", own_migrate, DMIRROR_TARGET_STAY | AS_JOB },
	{ "not needed", own_advise, DMIRROR_ADVICE_DONTNEED },
	{ "needed", own_advise, DMIRROR_ADVICE_WILLNEED },
	{ "read mostly", own_prefer, DMIRROR_ADVICE_READ_MOSTLY },
	{ "prefer device", own_prefer, DMIRROR_ADVICE_PREFER_DEVICE },
	{ "prefer system", own_prefer, DMIRROR_ADVICE_PREFER_SYSTEM },
	{ "prefer none", own_prefer, DMIRROR_ADVICE_PREFER_NONE },
};

static const struct io hmm_ios[] = {
	{ "read", hmm_access, READ },
	{ "write", hmm_access, WRITE },
	{ "to device", hmm_to_device, false },
	{ "flags, to device", hmm_to_device, true },
	{ "to system", hmm_to_system, 0 },
	{ "snapshot", hmm_snapshot, 0 },
	{ "exclusive", hmm_exclusive, 0 },
	{ "check exclusive", hmm_check, 0 },
	{ "release", hmm_release, 0 },
};

/*
 * The tables are tried
 */

/* No page is on its way: not before the CPU touches it, which would wait, nor after. */
static void check_entries(struct range *r)
{
	struct entries e = { 0 };

	if (r->module)
		same(r, "entries", 0, entries_of(getpid(), &e));
	same(r, "entries of pages that are not moving", 0, e.unlocked);
}

/* Memory that is nothing special: both files go on to work. */
static void check_plain(struct range *r)
{
	same(r, "plain: to device", 0, dm_to_device(r->fd, r->plain, r->page));
	same(r, "plain: write", 0, dm_write64(r->fd, r->plain, 1));
	same(r, "plain: to system", 0, hmm_call(r->hmm, HMM_TO_SYS, r->plain, NULL, 1, NULL));
	same(r, "plain: read", 0, hmm_call(r->hmm, HMM_READ, r->plain, r->buf, 1, NULL));
	same(r, "plain: word", 1, dm_peek(r->buf));
	same(r, "plain: contents", 0, memcmp(r->plain, r->buf, r->page));
	dm_poke(r->plain, 0);
}

/*
 * Each on memory that is made for it: NULL, or why there is none. On a slow kernel a
 * state has one ioctl of so many, and the next state the next ones.
 */
static const char *try_all(struct range *r, const struct io *ios, size_t nr)
{
	unsigned int every = ONE_OF / dm_rounds(ONE_OF);
	const struct io *io;
	const char *why;

	for (io = ios + r->state->row % every; io < ios + nr; io += every) {
		r->io = io->name;
		dm_fill(r->other, r->len, RANGE_SEED + 2);
		why = range_make(r);
		if (why)
			return why;
		io->call(r, io->how);
		check_entries(r);
		check_plain(r);
		range_open_up(r);
		range_check(r);
		same(r, "entries on their way", 0, dm_stuck(r->fd, r->mem, r->len));
		range_undo(r);
	}
	return NULL;
}

FIXTURE(states)
{
	struct range range;
};

FIXTURE_VARIANT(states)
{
	struct dm_backing backing;
	const struct state *state;
};

#define STATE(name, one, other, ...)					\
	static const struct state state_##name = {			\
		.row = __COUNTER__, .first = one, .second = other,	\
		__VA_ARGS__						\
	};								\
	FIXTURE_VARIANT_ADD(states, private_##name)			\
	{								\
		{ DMIRROR_MEMORY_PRIVATE, false }, &state_##name	\
	};								\
	FIXTURE_VARIANT_ADD(states, coherent_##name)			\
	{								\
		{ DMIRROR_MEMORY_COHERENT, false }, &state_##name	\
	}

STATE(hole, HOLE, HOLE);
STATE(hole_huge, HOLE, HOLE, HUGE);
STATE(zero, ZERO, ZERO);
STATE(small, SYSTEM, SYSTEM);
STATE(huge, SYSTEM, SYSTEM, HUGE);
STATE(huge_part, SYSTEM, SYSTEM, PART);
STATE(huge_by_pages, SYSTEM, SYSTEM, PART | BY_PAGES);
STATE(here, HERE, HERE);
STATE(here_huge, HERE, HERE, HUGE);
STATE(here_half, SYSTEM, HERE);
STATE(here_half_of_huge, HERE, SYSTEM, HUGE);
STATE(here_half_of_hole, HOLE, HERE);
STATE(there, THERE, THERE);
STATE(there_and_here, THERE, HERE);
STATE(exclusive, EXCLUSIVE, EXCLUSIVE);
STATE(exclusive_half, SYSTEM, EXCLUSIVE);
STATE(exclusive_elsewhere, TAKEN, TAKEN);
STATE(read_only, SYSTEM, SYSTEM, READ_ONLY);
STATE(read_only_hole, HOLE, HOLE, READ_ONLY);
STATE(read_only_here, HERE, HERE, READ_ONLY);
STATE(prot_none, SYSTEM, SYSTEM, DENIED);
STATE(prot_none_here, HERE, HERE, DENIED);
STATE(mlocked, SYSTEM, SYSTEM, LOCKED);
STATE(mlocked_here, HERE, HERE, LOCKED);
STATE(forked, SYSTEM, SYSTEM, FORKED);
STATE(forked_huge, SYSTEM, SYSTEM, FORKED | HUGE);
STATE(forked_here, HERE, HERE, FORKED);
STATE(shared, SYSTEM, SYSTEM, SHARED, .map = map_shared);
STATE(shared_file, SYSTEM, SYSTEM, SHARED, .map = map_shared_file);
STATE(private_file, SYSTEM, SYSTEM, OF_FILE, .map = map_private_file);
STATE(private_file_hole, HOLE, HOLE, OF_FILE, .map = map_private_file);
STATE(private_file_written, SYSTEM, SYSTEM, .map = map_private_file);
STATE(private_file_here, HERE, HERE, .map = map_private_file);
STATE(hugetlb, SYSTEM, SYSTEM, SPECIAL | HUGE, .map = map_hugetlb);
STATE(secret, SYSTEM, SYSTEM, SHARED | SECRET, .map = map_secret);
STATE(driver, SYSTEM, SYSTEM, SPECIAL, .map = map_driver);
STATE(swapped, SWAPPED, SWAPPED);
STATE(lazily_free, SYSTEM, SYSTEM, .advice = MADV_FREE);
STATE(mergeable, SYSTEM, SYSTEM, MERGEABLE, .advice = MADV_MERGEABLE);
STATE(guarded, HOLE, HOLE, GUARDED, .advice = MADV_GUARD_INSTALL);
STATE(awaited, HOLE, HOLE, AWAITED);
STATE(write_protected, SYSTEM, SYSTEM, WATCHED);
STATE(write_protected_zero, ZERO, ZERO, WATCHED);
STATE(write_protected_here, HERE, HERE, WATCHED);
STATE(purgeable, HERE, HERE, PURGEABLE);
STATE(dropped, DROPPED, DROPPED);
STATE(gap, SYSTEM, SYSTEM, .gap = RANGE_PAGES / 2);
STATE(gap_here, HERE, HERE, .gap = RANGE_PAGES - 1);
STATE(end, SYSTEM, NOTHING);
STATE(nothing, NOTHING, NOTHING);

FIXTURE_SETUP(states)
{
	struct range *r = &self->range;
	const char *why;

	r->state = variant->state;
	why = range_begin(r, &variant->backing);
	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, r->dm.device);
	ASSERT_EQ(0, dm_trap_init());
	r->module = entries_begin();
	if (!r->module)
		TH_LOG("no dmirror_entries.ko: entries are looked at when they have been used");
	r->want = malloc(r->len);
	r->buf = malloc(r->len);
	r->other = dm_map_flags(r->len + r->page, MADV_NOHUGEPAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS);
	ASSERT_TRUE(r->want && r->buf && r->other);
	r->plain = r->other + r->len;
}

FIXTURE_TEARDOWN(states)
{
	struct range *r = &self->range;

	if (r->state->first == SWAPPED)
		dm_swap_end();
	entries_end();
	munmap(r->other, r->len + r->page);
	free(r->buf);
	free(r->want);
	close(r->dm.fd);
}

TEST_F_TIMEOUT(states, own_abi, 120)
{
	const char *why = try_all(&self->range, own_ios, ARRAY_SIZE(own_ios));

	if (why)
		SKIP(return, "%s", why);
	EXPECT_EQ(0, self->range.wrong);
}

TEST_F_TIMEOUT(states, hmm_abi, 120)
{
	const char *why;

	self->range.by_hmm = true;
	why = try_all(&self->range, hmm_ios, ARRAY_SIZE(hmm_ios));
	if (why)
		SKIP(return, "%s", why);
	EXPECT_EQ(0, self->range.wrong);
}

TEST_HARNESS_MAIN
