// SPDX-License-Identifier: GPL-2.0
/*
 * Migration: to the device, to system memory, on a CPU fault, and eviction.
 *
 * Every migration is the same protocol, in migration_run():
 *
 *	setup		mm collects, locks and unmaps the source pages. Its
 *			invalidation has svm.c drop what devices map of them
 *	plan		allocate destinations, locked, and list what to copy, with
 *			which engines begin
 *	copy		the rest, by the device's engines
 *	pages		mm moves what it knows of each page to its destination
 *	finalize	mm maps whichever page it now is, unlocks and frees
 *
 * Small pages take the last three steps in pieces of the batch: what is copied is mm's
 * again while engines copy the rest.
 *
 * Of memory that the program has said it does not need, nothing is copied when room
 * is wanted: it migrates to placeholders, private pages that have no memory. Where a
 * page is a placeholder, its contents are zeroes, or nothing (dmirror_pages_check()).
 *
 * There is one way to give up, unplace(), and the protocol goes on after it: a
 * page without a destination stays where it is.
 *
 * Nothing here touches the device's page table. The next access of the device
 * faults the page in through fault.c, which can tell whether what it found is
 * still true; here, after mm has moved the pages, nobody could.
 */
#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/dma-fence.h>
#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/hugetlb_inline.h>
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/userfaultfd_k.h>

#include "dmirror.h"
#include "trace.h"

/* How often eviction goes round in vain before it says so, or gives up (RELEASE). */
#define EVICT_FRUITLESS_MAX	200
#define EVICT_PAUSE_MS		5

/* How often a batch is tried again: others may be quicker to take the room. */
#define MIGRATE_RETRIES_MAX	4

/* How often, and each time how long, it waits for memory to be old enough. */
#define EVICT_WAITS_MAX		3
#define EVICT_WAIT_MAX		(HZ / 10)

/* How often a page with a memory error is asked for. */
#define POISON_TRIES	50

/* What a copy job has of small pages. Less is not worth another one. */
#define COPY_SHARE		SZ_256K

/* How many jobs of a batch there are at a time. */
#define COPY_JOBS_MAX		8

/* How many pages of system memory are allocated at a time. */
#define BULK_PAGES	16

/* Up to so many pages a batch has its arrays on the stack. */
#define STACK_BATCH_PAGES	16

/* What becomes of a page. */
enum fate {
	FATE_LEFT,		/* mm did not collect it */
	FATE_COLLECTED,
	FATE_MOVED,
	FATE_DROPPED,		/* a placeholder stands where the page was */
	FATE_PASSED_ON,		/* moved, and a memory error goes with it */
	FATE_LOST,		/* its contents had been dropped before */
	FATE_POISONED,		/* a memory error has taken its contents */
	FATE_RESIDENT,
	FATE_NO_MEMORY,
	FATE_BUSY,
	FATE_ABSENT,		/* nothing is to be seen there, see end_exclusive() */
	FATE_UNSUPPORTED,
	FATE_FAILED,
	FATE_COUNT
};

enum phase {
	PHASE_SETUP,
	PHASE_ALLOC,
	PHASE_COPY,
	PHASE_PAGES,
	PHASE_FINALIZE,
	PHASE_COUNT
};

/**
 * struct migration - one batch
 * @args: what mm works with; without a vma the batch is an eviction
 * @dev: the device, source or target
 * @target: where to
 * @npages: in the batch
 * @fates: of each page
 * @counts: how many pages have each fate, see tally()
 * @segments: what to copy
 * @first_pages: for each segment, the index of the page that it begins with
 * @nr_segments: how many
 * @share: bytes that a copy job has
 * @room: of these, how many the last one has room for
 * @fences: of the jobs that engines have
 * @ends: for each job, the segment that the next one begins with
 * @nr_jobs: how many
 * @submitted: the first segment that no engine has had
 * @done: the first page that mm has not taken back
 * @to_place: how many pages may still need a destination
 * @bulk: pages of system memory to place, @nr_bulk of them
 * @nr_bulk: how many are left
 * @run: pages of the device to place
 * @drops: some of the destinations are placeholders
 * @purge: drop what is purgeable, and move nothing else
 * @poison: have placeholders stand for poisoned pages, and move nothing else
 * @unplugging: the device goes away, with its placeholders
 * @split: a large folio has to be split: run the batch again for small pages
 * @full: an allocation failed for want of memory
 * @entries: entries of args.src that moved
 * @anon: the mapping is of anonymous memory
 * @whole: no page lacks its contents, see contents()
 * @ns: time spent in each phase, if somebody wants to know
 * @since: when the phase began, 0 if nobody does
 */
struct migration {
	struct migrate_vma args;
	struct dmirror_device *dev;
	enum dmirror_target target;
	unsigned long npages;
	u8 *fates;
	unsigned long counts[FATE_COUNT];
	struct dmirror_hw_segment *segments;
	u16 *first_pages;
	unsigned int nr_segments;
	u64 share;
	u64 room;
	struct dma_fence *fences[COPY_JOBS_MAX];
	unsigned int ends[COPY_JOBS_MAX];
	unsigned int nr_jobs;
	unsigned int submitted;
	unsigned long done;
	unsigned long to_place;
	struct page *bulk[BULK_PAGES];
	unsigned int nr_bulk;
	struct dmirror_run run;
	bool drops;
	bool purge;
	bool poison;
	bool unplugging;
	bool split;
	bool full;
	unsigned int entries;
	bool anon;
	bool whole;
	u64 ns[PHASE_COUNT];
	u64 since;
};

/* The arrays of a batch, and what earlier runs of it have moved. */
struct dmirror_batch {
	struct dmirror_hw_segment *segments;
	unsigned long *src;
	unsigned long *dst;
	u16 *first_pages;
	u8 *fates;
	DECLARE_BITMAP(moved, DMIRROR_BLOCK_PAGES);
};

/* One of few pages, with nothing to allocate. */
struct stack_batch {
	struct dmirror_batch batch;
	struct dmirror_hw_segment segments[STACK_BATCH_PAGES];
	unsigned long src[STACK_BATCH_PAGES];
	unsigned long dst[STACK_BATCH_PAGES];
	u16 first_pages[STACK_BATCH_PAGES];
	u8 fates[STACK_BATCH_PAGES];
};

/* What a page takes in all of the arrays. */
#define BATCH_PAGE_SIZE	(sizeof(struct dmirror_hw_segment) +		\
			 2 * sizeof(unsigned long) + sizeof(u16) + sizeof(u8))

/* For batches of up to @npages, a block at most. Free it with kvfree(). */
static struct dmirror_batch *batch_alloc(unsigned long npages, gfp_t gfp)
{
	struct dmirror_batch *batch;

	batch = kvmalloc(sizeof(*batch) + npages * BATCH_PAGE_SIZE, gfp);
	if (!batch)
		return NULL;
	batch->segments = (void *)(batch + 1);
	batch->src = (void *)(batch->segments + npages);
	batch->dst = batch->src + npages;
	batch->first_pages = (void *)(batch->dst + npages);
	batch->fates = (void *)(batch->first_pages + npages);
	return batch;
}

static struct dmirror_batch *stack_batch_init(struct stack_batch *stack)
{
	struct dmirror_batch *batch = &stack->batch;

	batch->segments = stack->segments;
	batch->src = stack->src;
	batch->dst = stack->dst;
	batch->first_pages = stack->first_pages;
	batch->fates = stack->fates;
	return batch;
}

/* Whoever traces migrations sees the times of their phases. */
static u64 phase_begin(void)
{
	return trace_dmirror_migrate_enabled() ? ktime_get_ns() : 0;
}

static void migration_init(struct migration *m, struct dmirror_device *dev,
			   enum dmirror_target target,
			   struct dmirror_batch *batch)
{
	*m = (struct migration) {
		.args.src	= batch->src,
		.args.dst	= batch->dst,
		.dev		= dev,
		.target		= target,
		.fates		= batch->fates,
		.segments	= batch->segments,
		.first_pages	= batch->first_pages,
		.since		= phase_begin(),
	};
}

static void phase_done(struct migration *m, enum phase phase)
{
	u64 now;

	if (!m->since)
		return;
	now = ktime_get_ns();
	m->ns[phase] += now - m->since;
	m->since = now;
}

static void set_fate(struct migration *m, unsigned long i, unsigned long nr,
		     enum fate fate)
{
	if (nr == 1)
		m->fates[i] = fate;
	else
		memset(m->fates + i, fate, nr);
}

/* What the batch came to, in one pass, once its fates are settled. */
static void tally(struct migration *m)
{
	unsigned long i;

	memset(m->counts, 0, sizeof(m->counts));
	for (i = 0; i < m->npages; i++)
		m->counts[m->fates[i]]++;
}

/* How many pages an entry stands for: a large folio's are in its first. */
static unsigned long entry_pages(unsigned long mpfn)
{
	return mpfn & MIGRATE_PFN_COMPOUND ? DMIRROR_BLOCK_PAGES : 1;
}

/*
 * Whether the batch is one large folio, or one large hole, which moves as a whole or not
 * at all.
 */
static bool is_large(const struct migration *m)
{
	return m->args.src[0] & MIGRATE_PFN_COMPOUND;
}

/* The page at index i of the batch that the entry at index head stands for. */
static struct page *source_page(const struct migration *m, unsigned long head,
				unsigned long i)
{
	struct page *page = migrate_pfn_to_page(m->args.src[head]);

	return page ? page + (i - head) : NULL;
}

static u64 device_addr(const struct migration *m, const struct page *page)
{
	return page ? dmirror_bus_addr(m->dev, page) : DMIRROR_HW_ZERO;
}

/*
 * One more piece to copy, no more than what is left of a share. It becomes a part of
 * the last one if it can, and that is of the same share.
 */
static void add_segment(struct migration *m, unsigned long i, u64 dst, u64 src,
			u64 len)
{
	struct dmirror_hw_segment *prev;
	bool same_share = m->room;

	m->room = (m->room ?: m->share) - len;
	if (m->nr_segments && same_share) {
		prev = &m->segments[m->nr_segments - 1];
		if (prev->dst + prev->len == dst &&
		    (src == DMIRROR_HW_ZERO ? prev->src == src :
		     prev->src + prev->len == src)) {
			prev->len += len;
			return;
		}
	}
	m->first_pages[m->nr_segments] = i;
	m->segments[m->nr_segments++] = (struct dmirror_hw_segment) {
		.dst = dst,
		.src = src,
		.len = len,
	};
}

/* Mostly nothing was dropped, nor hit by an error, and not each page is to be asked. */
static int contents(const struct migration *m, const struct page *page,
		    unsigned long nr)
{
	return m->whole ? 0 : dmirror_pages_check(page, nr);
}

/* Copy a folio, or zeroes without a @src, to @dst at index i of the batch. */
static void add_copy(struct migration *m, unsigned long i,
		     const struct page *dst, const struct page *src, u64 len)
{
	u64 to = device_addr(m, dst), from = device_addr(m, src);
	u64 pos, part;

	/* A share is whole pages, so that one always fits into what is left of it. */
	if (len == PAGE_SIZE) {
		add_segment(m, i, to, from, len);
		return;
	}
	for (pos = 0; pos < len; pos += part) {
		part = min(len - pos, m->room ?: m->share);
		add_segment(m, i, to + pos, src ? from + pos : from, part);
	}
}

/* The same, page by page if not all have contents: the others become zeroes. */
static void add_folio(struct migration *m, unsigned long i, struct page *dst,
		      struct page *src, unsigned int order)
{
	unsigned long j, nr = 1UL << order;

	if (!src || !contents(m, src, nr)) {
		add_copy(m, i, dst, src, PAGE_SIZE << order);
		return;
	}
	for (j = 0; j < nr; j++)
		add_copy(m, i, dst + j,
			 dmirror_pages_check(src + j, 1) ? NULL : src + j,
			 PAGE_SIZE);
}

/* Whether nobody has said which node memory is to come from. */
static bool default_policy(const struct vm_area_struct *vma)
{
#ifdef CONFIG_NUMA
	if (current->mempolicy)
		return false;
#endif
	return !vma || !vma_policy(vma);
}

/*
 * A page of those that were had at once, or NULL. That costs a part of what each
 * by itself does, but a policy would have a say in each. What is not at hand is
 * for the caller to wait for.
 */
static struct page *alloc_bulk(struct migration *m)
{
	const gfp_t gfp = (GFP_HIGHUSER_MOVABLE & ~__GFP_DIRECT_RECLAIM) |
			  __GFP_NOWARN;
	unsigned long want = min(m->to_place, BULK_PAGES);
	struct page *page;

	if (!m->nr_bulk && want > 1 && default_policy(m->args.vma))
		m->nr_bulk = alloc_pages_bulk(gfp, want, m->bulk);
	if (!m->nr_bulk)
		return NULL;
	page = m->bulk[--m->nr_bulk];
	/* What is not NULL would be taken for a page that is there already. */
	m->bulk[m->nr_bulk] = NULL;
	return page;
}

static void free_bulk(struct migration *m)
{
	while (m->nr_bulk)
		put_page(alloc_bulk(m));
}

/*
 * How hard to try for memory that the page at index i is to come back to. Only a CPU
 * that has touched it cannot go on without; for what is brought along, or for a call,
 * no program is to be killed.
 */
static gfp_t system_gfp(const struct migration *m, unsigned long i,
			unsigned int order)
{
	if (order)
		return GFP_TRANSHUGE;
	if (!m->args.fault_page)
		return GFP_HIGHUSER_MOVABLE | __GFP_RETRY_MAYFAIL |
		       __GFP_NOWARN;
	if (migrate_pfn_to_page(m->args.src[i]) == m->args.fault_page)
		return GFP_HIGHUSER_MOVABLE;
	return GFP_HIGHUSER_MOVABLE | __GFP_NORETRY | __GFP_NOWARN;
}

/* A locked folio in system memory. The faulting CPU's policy says which node. */
static struct folio *alloc_system(struct migration *m, unsigned long i,
				  unsigned int order)
{
	struct page *page = order ? NULL : alloc_bulk(m);
	struct folio *folio;

	if (page)
		folio = page_folio(page);
	else if (m->args.vma)
		folio = vma_alloc_folio(system_gfp(m, i, order), order,
					m->args.vma,
					m->args.start + i * PAGE_SIZE);
	else
		folio = folio_alloc(system_gfp(m, i, order) |
				    __GFP_RETRY_MAYFAIL, order);
	if (folio)
		folio_lock(folio);
	return folio;
}

/* Whether a placeholder is all that a page needs that is to leave the device. */
static bool needs_nothing(const struct migration *m, unsigned long i,
			  unsigned long nr)
{
	struct page *page = migrate_pfn_to_page(m->args.src[i]);

	return m->purge || (nr == 1 && page && !m->unplugging &&
			    contents(m, page, 1) == -EHWPOISON);
}

/* That is what the entry at index i gets; false if there is none. */
static bool place_nothing(struct migration *m, unsigned long i,
			  unsigned int order)
{
	struct folio *folio = dmirror_placeholder_alloc(m->dev, order);

	if (!folio) {
		if (m->purge)
			atomic64_add(PAGE_SIZE << order,
				     &m->dev->counters.unpurged);
		return false;
	}
	if (!m->purge)
		dmirror_page_set_poisoned(folio_page(folio, 0));
	m->drops = true;
	m->args.dst[i] = migrate_pfn(folio_pfn(folio)) |
			 (order ? MIGRATE_PFN_COMPOUND : 0);
	return true;
}

/* Give the page at index i a destination; false if there is no memory. */
static bool place(struct migration *m, unsigned long head, unsigned long i,
		  unsigned int order)
{
	struct folio *folio;

	/* Eviction is nobody's. */
	if (m->args.vma &&
	    dmirror_devmem_fail_once(&m->dev->devmem, m->args.vma->vm_mm))
		return false;
	if (m->target == DMIRROR_TARGET_DEVICE)
		folio = dmirror_devmem_alloc(m->dev, order, &m->run,
					     max(m->to_place, 1UL));
	else
		folio = alloc_system(m, i, order);
	if (!folio) {
		m->full = true;
		return false;
	}
	m->to_place -= min(m->to_place, 1UL << order);

	m->args.dst[i] = migrate_pfn(folio_pfn(folio)) |
			 (order ? MIGRATE_PFN_COMPOUND : 0);
	add_folio(m, i, folio_page(folio, 0), source_page(m, head, i), order);
	return true;
}

/* Free the destinations in a range and leave the pages where they are. */
static void unplace(struct migration *m, unsigned long first, unsigned long end,
		    enum fate fate)
{
	unsigned long i;

	for (i = first; i < end; i++) {
		struct page *page = migrate_pfn_to_page(m->args.dst[i]);

		if (!page)
			continue;
		set_fate(m, i, entry_pages(m->args.dst[i]), fate);
		m->args.dst[i] = 0;
		unlock_page(page);
		put_page(page);
	}
}

/* A large hole without a large page for it: mm takes small ones, if it gets all. */
static void place_hole(struct migration *m, unsigned long head)
{
	unsigned long i = head, end = head + DMIRROR_BLOCK_PAGES;
	unsigned int segments = m->nr_segments;
	u64 room = m->room;

	while (i < end && place(m, head, i, 0))
		i++;
	if (i == end)
		return;
	unplace(m, head, i, FATE_NO_MEMORY);
	m->nr_segments = segments;
	m->room = room;
	set_fate(m, head, DMIRROR_BLOCK_PAGES, FATE_NO_MEMORY);
}

/*
 * Whether a hole may become a large folio. The program may have said that it wants
 * none. A cgroup has a list of those that are to be split, which mm makes where it
 * allocates one; here it charges one without, and has no list when that is split. For
 * the root cgroup there always is one.
 */
static bool large_hole(const struct migration *m)
{
	struct mem_cgroup *memcg;
	bool root;

	if (vma_thp_disabled(m->args.vma, m->args.vma->vm_flags, false))
		return false;
	memcg = get_mem_cgroup_from_mm(m->args.vma->vm_mm);
	root = !memcg || !parent_mem_cgroup(memcg);
	mem_cgroup_put(memcg);
	return root;
}

/*
 * A large folio for which there is no large destination. Given small ones, mm
 * would split it, but only in the address space that is migrated: one that
 * shares the folio would then map a huge page at a small one. So the batch is
 * run again, and setup is asked to split what it collects.
 *
 * On a CPU fault setup cannot: mm itself holds a reference. But when it is given
 * one small page it replaces the PMD by PTEs before it finds that out, and the
 * next fault is for one page.
 */
static void place_split(struct migration *m, unsigned long head)
{
	if (m->args.fault_page && place(m, head, head, 0))
		return;
	m->split = m->args.vma && !m->args.fault_page;
	set_fate(m, head, DMIRROR_BLOCK_PAGES, FATE_NO_MEMORY);
}

/*
 * Eviction may come to a page that somebody else has just moved, and is about to
 * free. Nobody has that mapped any more, and it has lost its charge to the page
 * that it became: to move it again would be to charge nobody, of which mm warns.
 */
static bool was_moved(const struct migration *m, struct page *page)
{
	return !m->args.vma && !mem_cgroup_disabled() &&
	       !folio_memcg_charged(page_folio(page));
}

/*
 * Whether a page is of the device, or stands for one that was. By owner mm has chosen
 * that. To look again is for where several devices have one owner, and where what is
 * on the device was collected for the sake of placeholders.
 */
static bool is_local(const struct migration *m, const struct page *page)
{
	const unsigned long device = MIGRATE_VMA_SELECT_DEVICE_PRIVATE |
				     MIGRATE_VMA_SELECT_DEVICE_COHERENT;
	bool system = m->args.flags & MIGRATE_VMA_SELECT_SYSTEM;

	if (m->args.vma && !m->dev->hw.link &&
	    !(system && m->args.flags & device))
		return !system;
	return dmirror_page_device(page) == m->dev;
}

/*
 * Whether a collected page is one that this migration is about. On an
 * interconnect mm collects memory of all devices, for it has one owner.
 */
static enum fate screen(const struct migration *m, unsigned long i,
			unsigned long nr)
{
	struct page *page = migrate_pfn_to_page(m->args.src[i]);
	int error = page ? contents(m, page, nr) : 0;
	bool local;

	if (m->target == DMIRROR_TARGET_STAY)
		return FATE_RESIDENT;
	local = page && is_local(m, page);
	if (page && was_moved(m, page))
		return FATE_RESIDENT;
	if (m->purge && !(local && !error && dmirror_page_purgeable(page)))
		return FATE_RESIDENT;
	if (m->target == DMIRROR_TARGET_SYSTEM ? !local : local && !error)
		return FATE_RESIDENT;
	/* With the page of zeroes mm would lose that it is write-protected. */
	if (!page && userfaultfd_wp(m->args.vma))
		return FATE_UNSUPPORTED;
	if (m->poison && error != -EHWPOISON)
		return FATE_RESIDENT;
	if (error == -ENODATA && !m->unplugging)
		return FATE_LOST;
	/* An eviction takes a page away from the error, with a placeholder. */
	if (error == -EHWPOISON && !m->unplugging && (m->args.vma || nr > 1))
		return FATE_POISONED;
	if (page && !PageAnon(page))
		return FATE_UNSUPPORTED;
	return FATE_COLLECTED;
}

/*
 * Have an engine copy what is listed and has not been submitted, up to a segment.
 * False if there is no memory for a job.
 */
static bool submit_copy(struct migration *m, unsigned int end, gfp_t gfp,
			bool last)
{
	unsigned int i = m->nr_jobs;

	m->fences[i] = dmirror_hw_copy(&m->dev->hw, m->segments + m->submitted,
				       end - m->submitted, gfp, last);
	if (!m->fences[i])
		return false;
	m->ends[i] = end;
	m->nr_jobs++;
	m->submitted = end;
	return true;
}

/*
 * While the rest of a block is planned, engines can copy what is. The last share is
 * for submit_shares(). place_hole() and place_split(), which take destinations
 * back, come for large entries only, and those are all of their batch. That memory is
 * allocated with such a job in hand delays nobody: it is of no reserve, and its fence
 * is waited for here alone.
 */
static void begin_copy(struct migration *m)
{
	if (!m->room && m->submitted < m->nr_segments &&
	    m->to_place >= PHYS_PFN(COPY_SHARE) &&
	    m->nr_jobs + 1 < ARRAY_SIZE(m->fences))
		submit_copy(m, m->nr_segments, GFP_NOWAIT, false);
}

static void migration_plan(struct migration *m)
{
	unsigned long i, nr;

	memset(m->args.dst, 0, m->npages * sizeof(*m->args.dst));
	/* A collected placeholder is in use. For later errors, see withdraw_poisoned(). */
	m->whole = !READ_ONCE(m->dev->placeholders.used) &&
		   !READ_ONCE(m->dev->devmem.poisoned) && !m->dev->hw.link;
	m->share = is_large(m) ? m->dev->hw.share : COPY_SHARE;
	m->to_place = m->args.vma ? m->args.cpages : m->npages;
	for (i = 0; i < m->npages; i += nr) {
		enum fate fate = FATE_LEFT;

		nr = entry_pages(m->args.src[i]);
		if (m->args.src[i] & MIGRATE_PFN_MIGRATE)
			fate = screen(m, i, nr);
		if (fate == FATE_POISONED && nr > 1 && m->args.vma) {
			/* The others are taken one by one. */
			set_fate(m, i, nr, FATE_COLLECTED);
			place_split(m, i);
			continue;
		}
		set_fate(m, i, nr, fate);
		if (fate != FATE_COLLECTED)
			continue;

		if (needs_nothing(m, i, nr)) {
			if (!place_nothing(m, i, ilog2(nr)))
				set_fate(m, i, nr, FATE_NO_MEMORY);
		} else if (nr == 1) {
			if (!place(m, i, i, 0))
				m->fates[i] = FATE_NO_MEMORY;
			begin_copy(m);
		} else if (!migrate_pfn_to_page(m->args.src[i])) {
			if (!large_hole(m) ||
			    !place(m, i, i, DMIRROR_BLOCK_ORDER))
				place_hole(m, i);
		} else if (!place(m, i, i, DMIRROR_BLOCK_ORDER)) {
			place_split(m, i);
		}
	}
	free_bulk(m);
	dmirror_devmem_put_run(m->dev, &m->run);
}

/* The page of the batch that a segment begins with, or the end of the batch. */
static unsigned long segment_page(const struct migration *m, unsigned int i)
{
	return i < m->nr_segments ? m->first_pages[i] : m->npages;
}

/* What an engine failed to copy does not move. */
static void copy_failed(struct migration *m, unsigned int first,
			unsigned int end)
{
	if (!is_large(m)) {
		unplace(m, segment_page(m, first), segment_page(m, end),
			FATE_FAILED);
		return;
	}
	unplace(m, 0, m->npages, FATE_FAILED);
	/* Also where there was one small page for it, see place_split(). */
	set_fate(m, 0, m->npages, FATE_FAILED);
}

/*
 * Wait for a job, and look at what its fence says. A wait that could be interrupted would
 * leave the engine writing to pages that are freed. False if it failed.
 */
static bool finish_job(struct migration *m, unsigned int job)
{
	struct dma_fence *fence = m->fences[job];
	unsigned int i;
	bool failed;

	for (i = m->nr_jobs; i > job && !dma_fence_is_signaled(fence); i--)
		dmirror_hw_help(m->fences[i - 1]);
	/* A wait costs even where there is nothing to wait for. */
	if (!dma_fence_is_signaled(fence))
		dma_fence_wait(fence, false);
	failed = dma_fence_get_status(fence) < 0;
	dma_fence_put(fence);
	if (failed)
		atomic64_inc(&m->dev->counters.copy_errors);
	return !failed;
}

/*
 * Have engines copy what is left, in shares, as many as there may be. Who has a job in
 * hand may wait for no memory for the next: that could be for ever.
 */
static void submit_shares(struct migration *m)
{
	unsigned int end = m->submitted;
	u64 bytes;
	bool last;

	while (end < m->nr_segments && m->nr_jobs < ARRAY_SIZE(m->fences)) {
		for (bytes = 0; end < m->nr_segments && bytes < m->share; end++)
			bytes += m->segments[end].len;
		/* While others are copied, there may be pages to take back. */
		last = end == m->nr_segments && (is_large(m) || !m->nr_jobs);
		if (!submit_copy(m, end, m->nr_jobs ? GFP_NOWAIT : GFP_KERNEL,
				 last))
			break;
	}
}

/* An error since place(): what is still whole is not to go there. */
static void withdraw_bad_memory(struct migration *m, unsigned long end)
{
	unsigned long i, nr;

	for (i = m->done; i < end; i += nr) {
		struct page *dst = migrate_pfn_to_page(m->args.dst[i]);

		nr = entry_pages(m->args.dst[i]);
		if (!dst || dmirror_page_is_placeholder(dst) ||
		    dmirror_pages_check(dst, nr) != -EHWPOISON)
			continue;
		/* A large hole takes all of its small pages, or none. */
		if (is_large(m)) {
			unplace(m, 0, m->npages, FATE_FAILED);
			return;
		}
		unplace(m, i, i + 1, FATE_FAILED);
	}
}

/*
 * Errors since screen(): what was copied is not what the page held. Of a large folio
 * most pages are whole, and screen() has it split the next time. Not where a small
 * page is given for one on purpose, see place_split().
 */
static void withdraw_poisoned(struct migration *m, unsigned long end)
{
	unsigned long i, nr;

	for (i = m->done; !m->unplugging && i < end; i += nr) {
		struct page *src = migrate_pfn_to_page(m->args.src[i]);
		struct page *dst = migrate_pfn_to_page(m->args.dst[i]);

		nr = entry_pages(m->args.src[i]);
		if (!src || !dst || entry_pages(m->args.dst[i]) != nr ||
		    dmirror_page_is_placeholder(dst))
			continue;
		if (dmirror_pages_check(src, nr) == -EHWPOISON)
			unplace(m, i, i + 1,
				nr > 1 ? FATE_BUSY : FATE_POISONED);
	}
}

/* What moved, with its pages still locked: did it move as it was? */
static void settle_moved(struct migration *m, unsigned long i, unsigned long nr)
{
	struct page *src = migrate_pfn_to_page(m->args.src[i]);
	struct page *dst = migrate_pfn_to_page(m->args.dst[i]);
	unsigned long j;

	if (m->drops && dmirror_page_is_placeholder(dst)) {
		set_fate(m, i, nr, FATE_DROPPED);
		return;
	}
	set_fate(m, i, nr, FATE_MOVED);
	for (j = 0; m->unplugging && j < nr; j++) {
		if (dmirror_pages_check(src + j, 1) != -EHWPOISON)
			continue;
		m->fates[i + j] = FATE_PASSED_ON;
		/* For memory_failure(), which puts it: see pass_on(). */
		if (IS_ENABLED(CONFIG_MEMORY_FAILURE))
			get_page(dst + j);
	}
}

/* After mm has moved the pages: which did it move? */
static void migration_settle(struct migration *m, unsigned long end)
{
	unsigned long i, nr;

	for (i = m->done; i < end; i += nr) {
		bool moved = m->args.dst[i] &&
			     m->args.src[i] & MIGRATE_PFN_MIGRATE;

		nr = entry_pages(m->args.dst[i]);
		if (m->fates[i] != FATE_COLLECTED)
			continue;
		if (moved)
			settle_moved(m, i, nr);
		else
			set_fate(m, i, nr, FATE_BUSY);
		m->entries += moved;
	}
}

/*
 * mm takes back the pages up to @end, all that are to move with their contents in place.
 * It goes by the part of its arrays that it is shown.
 */
static void take_back(struct migration *m, unsigned long end)
{
	struct migrate_vma part = m->args;

	/* On an interconnect the source can be another device. */
	if (READ_ONCE(m->dev->devmem.poisoned) || m->dev->hw.link) {
		withdraw_bad_memory(m, end);
		withdraw_poisoned(m, end);
	}
	phase_done(m, PHASE_COPY);

	part.src += m->done;
	part.dst += m->done;
	part.npages = end - m->done;
	part.end = part.start + end * PAGE_SIZE;
	part.start += m->done * PAGE_SIZE;
	if (part.vma)
		migrate_vma_pages(&part);
	else
		migrate_device_pages(part.src, part.dst, part.npages);
	phase_done(m, PHASE_PAGES);
	migration_settle(m, end);

	if (part.vma)
		migrate_vma_finalize(&part);
	else
		migrate_device_finalize(part.src, part.dst, part.npages);
	phase_done(m, PHASE_FINALIZE);
	m->done = end;
}

/* Several engines have a part of it: all are done before any of it is given up. */
static void finish_large(struct migration *m)
{
	bool whole = true;
	unsigned int i;

	do {
		submit_shares(m);
		for (i = 0; i < m->nr_jobs; i++)
			whole = finish_job(m, i) && whole;
		m->nr_jobs = 0;
	} while (whole && m->submitted < m->nr_segments);
	if (!whole)
		copy_failed(m, 0, m->nr_segments);
	take_back(m, m->npages);
}

static void finish_small(struct migration *m)
{
	unsigned int first = 0, i;

	do {
		submit_shares(m);
		for (i = 0; i < m->nr_jobs; first = m->ends[i++]) {
			if (!finish_job(m, i))
				copy_failed(m, first, m->ends[i]);
			take_back(m, segment_page(m, m->ends[i]));
		}
		m->nr_jobs = 0;
	} while (m->submitted < m->nr_segments);
	if (m->done < m->npages)
		take_back(m, m->npages);
}

/*
 * The device goes away, and the program is still to have its error: hand it on to
 * mm, as one of the system page that took the place, with a reference so that it is
 * nobody else's by then. Until here the page has read as zeroes.
 */
static void pass_on(const struct migration *m)
{
	unsigned long i, j, nr, pfn;

	for (i = 0; i < m->npages; i += nr) {
		nr = entry_pages(m->args.dst[i]);
		for (j = 0; j < nr; j++) {
			if (m->fates[i + j] != FATE_PASSED_ON ||
			    !IS_ENABLED(CONFIG_MEMORY_FAILURE))
				continue;
			pfn = page_to_pfn(migrate_pfn_to_page(m->args.dst[i]));
			memory_failure(pfn + j, MF_COUNT_INCREASED);
		}
	}
}

/*
 * Evicted pages that come back say how much the device is too small. What
 * comes from another device was never in system memory in between.
 */
static void count_origins(struct migration *m)
{
	struct dmirror_counters *counters = &m->dev->counters;
	struct dmirror_devmem *devmem = &m->dev->devmem;
	unsigned long i, nr;

	for (i = 0; i < m->npages; i += nr) {
		struct page *src = migrate_pfn_to_page(m->args.src[i]);
		struct page *dst = migrate_pfn_to_page(m->args.dst[i]);
		struct dmirror_device *peer;
		u64 bytes;

		nr = entry_pages(m->args.dst[i]);
		bytes = nr * PAGE_SIZE;
		if (m->fates[i] != FATE_MOVED || !src)
			continue;
		if (!m->args.vma)
			dmirror_devmem_note_evicted(devmem, page_to_pfn(dst));
		if (!m->args.vma || m->target != DMIRROR_TARGET_DEVICE)
			continue;

		/* Its own are placeholders, for what had been dropped. */
		peer = dmirror_pfn_device(page_to_pfn(src));
		if (peer && peer != m->dev)
			atomic64_add(bytes, &counters->from_peers);
		else if (!peer &&
			 dmirror_devmem_refaulted(devmem, page_to_pfn(src)))
			atomic64_add(bytes, &counters->refaults);
	}
}

static void migration_count(struct migration *m)
{
	struct dmirror_counters *counters = &m->dev->counters;
	unsigned long moved = m->counts[FATE_MOVED] +
			      m->counts[FATE_PASSED_ON];
	u64 bytes = PFN_PHYS(moved);

	if (m->purge)
		atomic64_add(PFN_PHYS(m->counts[FATE_DROPPED]),
			     &counters->purged);
	if (m->target == DMIRROR_TARGET_DEVICE)
		atomic64_add(bytes, &counters->to_device);
	else
		atomic64_add(bytes, &counters->to_system);
	if (!m->args.vma)
		atomic64_add(bytes, &counters->evicted);
	trace_dmirror_migrate(m->dev->id, m->target, m->args.start, m->npages,
			      moved, m->ns);
}

/*
 * From a setup that collected pages to the end. The order of these calls, and
 * that none is ever left out, is what keeps every page of the program whole.
 */
static void migration_run(struct migration *m)
{
	/* mm may have locked pages of files too, which reclaim may wait for. */
	bool files = m->args.vma && !m->anon;
	unsigned int nofs = 0;

	phase_done(m, PHASE_SETUP);
	if (files)
		nofs = memalloc_nofs_save();
	migration_plan(m);
	phase_done(m, PHASE_ALLOC);
	if (is_large(m))
		finish_large(m);
	else
		finish_small(m);
	if (files)
		memalloc_nofs_restore(nofs);
	tally(m);
	if (m->unplugging)
		pass_on(m);
	if (atomic64_read(&m->dev->counters.evicted) || !m->args.vma ||
	    m->dev->hw.link)
		count_origins(m);
	migration_count(m);
}

static unsigned long select_source(const struct dmirror_device *dev,
				   enum dmirror_target target)
{
	unsigned long select = 0;

	if (target != DMIRROR_TARGET_SYSTEM)
		select |= MIGRATE_VMA_SELECT_SYSTEM;
	if (target != DMIRROR_TARGET_DEVICE)
		select |= dev->type == DMIRROR_MEMORY_COHERENT ?
			  MIGRATE_VMA_SELECT_DEVICE_COHERENT :
			  MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
	/* Placeholders are private pages, and there seldom are any. */
	if (READ_ONCE(dev->placeholders.used))
		select |= MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
	if (target == DMIRROR_TARGET_DEVICE && dev->hw.link)
		select |= MIGRATE_VMA_SELECT_DEVICE_PRIVATE |
			  MIGRATE_VMA_SELECT_DEVICE_COHERENT;
	if (dmirror_has_large_folios(dev))
		select |= MIGRATE_VMA_SELECT_COMPOUND;
	return select;
}

static int setup_and_run(struct migration *m)
{
	int ret;

	m->split = false;
	m->nr_segments = 0;
	m->room = 0;
	m->submitted = 0;
	m->done = 0;
	memset(m->ns, 0, sizeof(m->ns));
	ret = migrate_vma_setup(&m->args);
	if (ret)
		return ret;
	if (m->args.cpages) {
		migration_run(m);
	} else {
		memset(m->fates, FATE_LEFT, m->npages);
		tally(m);
	}
	return 0;
}

/* mmap_lock is held, and stays held until mm is done with the batch. */
static int migrate_batch(struct migration *m, struct vm_area_struct *vma,
			 u64 start, u64 end, struct page *fault_page)
{
	int ret;

	m->npages = (end - start) >> PAGE_SHIFT;
	m->args.vma = vma;
	m->args.start = start;
	m->args.end = end;
	m->args.pgmap_owner = m->dev->owner;
	m->args.flags = select_source(m->dev, m->target);
	m->args.fault_page = fault_page;
	m->anon = vma_is_anonymous(vma);
	if (m->target == DMIRROR_TARGET_DEVICE && vma->vm_flags & VM_NOHUGEPAGE)
		m->args.flags &= ~MIGRATE_VMA_SELECT_COMPOUND;

	ret = setup_and_run(m);
	if (ret || !m->split)
		return ret;
	m->args.flags &= ~MIGRATE_VMA_SELECT_COMPOUND;
	return setup_and_run(m);
}

/*
 * Say why mm left pages alone. This only informs; the pages may move again. Where
 * nothing can be seen, for want of memory, what an earlier run has moved is there.
 */
static void explain(struct dmirror_svm *svm, struct migration *m,
		    const unsigned long *moved)
{
	enum fate here = FATE_BUSY, there = FATE_RESIDENT, absent = FATE_RESIDENT;
	unsigned long *pfns = m->args.src;
	unsigned long i;
	bool unknown;
	int error;

	if (!m->counts[FATE_LEFT])
		return;

	if (m->target == DMIRROR_TARGET_DEVICE) {
		here = FATE_RESIDENT;
		there = m->anon ? FATE_BUSY : FATE_UNSUPPORTED;
		absent = FATE_ABSENT;
	} else if (m->target == DMIRROR_TARGET_STAY) {
		there = FATE_BUSY;
		absent = FATE_BUSY;
	}
	unknown = dmirror_snapshot(svm, m->dev, m->args.start, m->npages, pfns,
				   NULL);
	for (i = 0; i < m->npages; i++) {
		unsigned long pfn = page_to_pfn(hmm_pfn_to_page(pfns[i]));
		bool valid = unknown || pfns[i] & HMM_PFN_VALID;
		bool local = !unknown && valid && dmirror_pfn_device(pfn) == m->dev;

		if (m->fates[i] != FATE_LEFT)
			continue;
		if (unknown && test_bit(i, moved)) {
			m->fates[i] = FATE_RESIDENT;
			continue;
		}
		error = local ? dmirror_pfn_check(pfn) : 0;
		m->fates[i] = error == -EHWPOISON ? FATE_POISONED :
			      error == -ENODATA ? FATE_LOST :
			      local ? here : valid ? there : absent;
	}
	tally(m);
}

static void add_stats(struct dmirror_migrate_stats *stats,
		      const struct migration *m)
{
	stats->moved += m->counts[FATE_MOVED] * PAGE_SIZE;
	stats->resident += (m->counts[FATE_RESIDENT] +
			    m->counts[FATE_LOST]) * PAGE_SIZE;
	stats->no_memory += m->counts[FATE_NO_MEMORY] * PAGE_SIZE;
	stats->busy += m->counts[FATE_BUSY] * PAGE_SIZE;
	stats->unsupported += m->counts[FATE_UNSUPPORTED] * PAGE_SIZE;
	if (m->anon)
		stats->busy += m->counts[FATE_ABSENT] * PAGE_SIZE;
	else
		stats->unsupported += m->counts[FATE_ABSENT] * PAGE_SIZE;
	/* Only a memory error drops what a call migrates. */
	stats->failed += (m->counts[FATE_FAILED] + m->counts[FATE_POISONED] +
			  m->counts[FATE_DROPPED]) * PAGE_SIZE;
	stats->entries += m->entries;
}

/* migrate_vma_setup() has nothing to do with these. */
static bool vma_refused(struct vm_area_struct *vma)
{
	return is_vm_hugetlb_page(vma) || vma->vm_flags & VM_SPECIAL ||
	       vma_is_dax(vma);
}

/*
 * One batch from addr, under mmap_lock for itself. It ends at *end or before,
 * at the end of the block or of the mapping, and sets *end to that. A mapping
 * that cannot migrate is done at once, without fates.
 */
static int migrate_attempt(struct dmirror_svm *svm, struct migration *m,
			   u64 addr, u64 *end,
			   struct dmirror_migrate_stats *stats)
{
	struct vm_area_struct *vma;
	int ret = 0;

	if (mmap_read_lock_killable(svm->mm))
		return -EINTR;

	m->npages = 0;
	vma = vma_lookup(svm->mm, addr);
	if (!vma || !(vma->vm_flags & VM_READ)) {
		ret = -EFAULT;
		goto unlock;
	}
	*end = min_t(u64, *end, vma->vm_end);

	/*
	 * To memory that KSM may merge it would do too much: one page stands for
	 * several there, 6.12 leaves migration entries behind, and ksmd reads what
	 * it has merged wherever that is.
	 */
	if (vma_refused(vma) || vma->vm_flags & VM_SHARED ||
	    (vma->vm_flags & VM_MERGEABLE &&
	     m->target != DMIRROR_TARGET_SYSTEM)) {
		stats->unsupported += *end - addr;
		if (vma_refused(vma))
			stats->refused += *end - addr;
		goto unlock;
	}

	*end = dmirror_block_end(addr, *end);
	ret = migrate_batch(m, vma, addr, *end, NULL);
unlock:
	mmap_read_unlock(svm->mm);
	return ret;
}

/* Before the batch is run again: what it has done, and is not done again. */
static void remember_moved(const struct migration *m, unsigned long *moved)
{
	unsigned long i;

	for (i = 0; i < m->npages; i++)
		if (m->fates[i] == FATE_MOVED)
			__set_bit(i, moved);
}

/* After it: what an earlier run has moved is not new to the device, but did. */
static void recall_moved(struct migration *m, const unsigned long *moved)
{
	unsigned long i;

	for_each_set_bit(i, moved, m->npages)
		if (m->fates[i] == FATE_RESIDENT)
			m->fates[i] = FATE_MOVED;
	tally(m);
}

/*
 * Evict for what did not fit, without mmap_lock and any lock of a mirror. False
 * if nothing could be evicted, or everything fitted.
 */
static bool make_room(const struct migration *m)
{
	unsigned long wanted = m->counts[FATE_NO_MEMORY];

	return m->target == DMIRROR_TARGET_DEVICE && m->full && wanted &&
	       dmirror_evict_some(m->dev, wanted);
}

/*
 * Memory that other devices have, and that no interconnect leads to, comes by
 * way of system memory. Called when some of the batch has stayed; it then is
 * run again, whatever this could do. The batch's arrays are used for this.
 */
static void fetch_from_others(struct dmirror_svm *svm, u64 addr, u64 end,
			      struct dmirror_batch *batch)
{
	struct dmirror_migrate_stats stats = {};
	struct dmirror_device *dev;
	struct migration m;
	unsigned int i;
	u64 stop;
	int ret;

	for (i = 0; (dev = dmirror_device_nr(i)); i++) {
		if (dev->owner == svm->dev->owner || !dmirror_device_enter(dev))
			continue;
		stop = end;
		migration_init(&m, dev, DMIRROR_TARGET_SYSTEM, batch);
		ret = migrate_attempt(svm, &m, addr, &stop, &stats);
		dmirror_device_exit(dev);
		if (ret)
			return;
	}
}

/*
 * mm collects no page that a device has exclusively, and only a fault ends that. From
 * what was swapped out, or what another device has, nothing tells such a page, so that
 * comes as well.
 */
static int end_exclusive(struct dmirror_svm *svm, const struct migration *m)
{
	unsigned long i;
	int ret;

	for (i = 0; i < m->npages; i++) {
		if (m->fates[i] != FATE_ABSENT)
			continue;
		ret = dmirror_find_page(svm, m->args.start + i * PAGE_SIZE);
		if (ret && !dmirror_is_address_error(ret))
			return ret;
	}
	return 0;
}

/*
 * A batch, with eviction and a way round as needed. *addr moves on by what was
 * looked at.
 */
static int migrate_step(struct dmirror_svm *svm, enum dmirror_target target,
			u64 *addr, u64 range_end, struct dmirror_batch *batch,
			struct dmirror_migrate_stats *stats)
{
	bool faulted = !READ_ONCE(svm->had_exclusive);
	bool fetched = !svm->through_system;
	unsigned long entries = 0;
	unsigned int tries;
	struct migration m;
	int ret = 0;
	u64 end;

	bitmap_zero(batch->moved, DMIRROR_BLOCK_PAGES);
	for (tries = 0; ; tries++) {
		end = range_end;
		migration_init(&m, svm->dev, target, batch);
		ret = ret ?: migrate_attempt(svm, &m, *addr, &end, stats);
		if (ret) {
			/* What an earlier attempt has moved did move. */
			stats->moved += PAGE_SIZE *
				bitmap_weight(batch->moved,
					      DMIRROR_BLOCK_PAGES);
			return ret;
		}
		entries += m.entries;
		if (m.counts[FATE_MOVED] == m.npages ||
		    tries == MIGRATE_RETRIES_MAX)
			break;
		remember_moved(&m, batch->moved);
		if (make_room(&m))
			continue;
		if (target != DMIRROR_TARGET_DEVICE || (fetched && faulted))
			break;
		explain(svm, &m, batch->moved);
		if (!fetched && m.counts[FATE_BUSY] + m.counts[FATE_ABSENT]) {
			fetch_from_others(svm, *addr, end, batch);
			fetched = true;
		} else if (!faulted && m.counts[FATE_ABSENT]) {
			ret = end_exclusive(svm, &m);
			faulted = true;
		} else {
			break;
		}
	}

	explain(svm, &m, batch->moved);
	if (tries)
		recall_moved(&m, batch->moved);
	m.entries = entries;
	add_stats(stats, &m);
	*addr = end;
	return 0;
}

static int migrate_blocks(struct dmirror_svm *svm, enum dmirror_target target,
			  u64 *addr, u64 end, struct dmirror_batch *batch,
			  struct dmirror_migrate_stats *stats)
{
	int ret = 0;

	while (*addr < end && !ret) {
		cond_resched();
		if (dmirror_svm_stopped(svm)) {
			ret = -EINTR;
		} else if (!mmget_not_zero(svm->mm)) {
			ret = -ESRCH;
		} else {
			ret = migrate_step(svm, target, addr, end, batch,
					   stats);
			mmput(svm->mm);
		}
	}
	return ret;
}

static int migrate_on_stack(struct dmirror_svm *svm, enum dmirror_target target,
			    u64 *addr, u64 end,
			    struct dmirror_migrate_stats *stats)
{
	struct stack_batch stack;

	return migrate_blocks(svm, target, addr, end, stack_batch_init(&stack),
			      stats);
}

static int migrate_on_heap(struct dmirror_svm *svm, enum dmirror_target target,
			   u64 *addr, u64 end,
			   struct dmirror_migrate_stats *stats)
{
	struct dmirror_batch *batch;
	int ret;

	batch = batch_alloc(min_t(u64, end - *addr, DMIRROR_BLOCK_SIZE) >>
			    PAGE_SHIFT, GFP_KERNEL_ACCOUNT);
	if (!batch)
		return -ENOMEM;
	ret = migrate_blocks(svm, target, addr, end, batch, stats);
	kvfree(batch);
	return ret;
}

/**
 * dmirror_migrate_range() - migrate a range of the mirrored address space
 * @svm: the mirror
 * @target: the mirror's device, system memory, or where it is
 * @start: first address, page aligned
 * @end: first address after it, page aligned
 * @stats: what came of it, added to what is there
 *
 * Goes on where pages cannot move, and reports them.
 *
 * Context: may sleep; takes mmap_lock and a reference on the users of svm->mm, a
 * block at a time.
 * Return: 0; -ESRCH when the process has exited; -EFAULT where nothing is mapped
 * or nothing may be read; -ENOSPC if the device was full; -ENOMEM if the system
 * was, or for the arrays; -EIO if the copy engine failed or a memory error had hit
 * pages; -EINTR on a fatal signal or if the mirror was stopped.
 */
int dmirror_migrate_range(struct dmirror_svm *svm, enum dmirror_target target,
			  u64 start, u64 end,
			  struct dmirror_migrate_stats *stats)
{
	u64 addr = start;
	int ret;

	if (end - start <= STACK_BATCH_PAGES * PAGE_SIZE)
		ret = migrate_on_stack(svm, target, &addr, end, stats);
	else
		ret = migrate_on_heap(svm, target, &addr, end, stats);

	if (ret)
		stats->fault_addr = addr;
	else if (stats->no_memory)
		ret = target == DMIRROR_TARGET_DEVICE ? -ENOSPC : -ENOMEM;
	else if (stats->failed)
		ret = -EIO;
	return ret;
}

/**
 * dmirror_migrate_window() - migrate what is around an address to the device
 * @svm: the mirror
 * @addr: the address
 * @start: first address of a window that has @addr in it, page aligned
 * @end: first address after it, page aligned
 *
 * As much of the window as is in the mapping of @addr. What cannot move stays
 * where it is. A mapping that takes the place of that one meanwhile may be migrated in
 * its stead: it is the program's as well.
 *
 * Context: as dmirror_migrate_range().
 */
void dmirror_migrate_window(struct dmirror_svm *svm, u64 addr, u64 start,
			    u64 end)
{
	struct dmirror_migrate_stats stats = {};
	struct vm_area_struct *vma = NULL;

	if (!mmget_not_zero(svm->mm))
		return;
	if (!mmap_read_lock_killable(svm->mm)) {
		vma = vma_lookup(svm->mm, addr);
		if (vma) {
			start = max_t(u64, start, vma->vm_start);
			end = min_t(u64, end, vma->vm_end);
		}
		mmap_read_unlock(svm->mm);
	}
	mmput(svm->mm);
	if (vma)
		dmirror_migrate_range(svm, DMIRROR_TARGET_DEVICE, start, end,
				      &stats);
}

static vm_fault_t fault_verdict(const struct migration *m, unsigned long i)
{
	switch (m->fates[i]) {
	case FATE_NO_MEMORY:
		return VM_FAULT_OOM;
	case FATE_FAILED:
	case FATE_LOST:
		return VM_FAULT_SIGBUS;
	case FATE_POISONED:
		return VM_FAULT_HWPOISON;
	default:
		/* It moved, or somebody else is at it: the CPU tries again. */
		return 0;
	}
}

static vm_fault_t fault_range(struct vm_fault *vmf, struct migration *m,
			      u64 start, u64 end)
{
	if (migrate_batch(m, vmf->vma, start, end, vmf->page))
		return VM_FAULT_SIGBUS;
	return fault_verdict(m, (vmf->address - start) >> PAGE_SHIFT);
}

/* A folio that one PMD maps, or a window of more than a few pages. */
static vm_fault_t fault_large(struct vm_fault *vmf, struct dmirror_device *dev,
			      u64 start, u64 end)
{
	struct dmirror_batch *batch;
	struct migration m;
	vm_fault_t ret;

	batch = batch_alloc((end - start) >> PAGE_SHIFT,
			    GFP_KERNEL | __GFP_NOWARN);
	if (!batch)
		return VM_FAULT_OOM;
	migration_init(&m, dev, DMIRROR_TARGET_SYSTEM, batch);
	ret = fault_range(vmf, &m, start, end);
	kvfree(batch);
	return ret;
}

static vm_fault_t fault_small(struct vm_fault *vmf, struct dmirror_device *dev,
			      u64 start, u64 end)
{
	struct stack_batch stack;
	struct migration m;

	migration_init(&m, dev, DMIRROR_TARGET_SYSTEM, stack_batch_init(&stack));
	return fault_range(vmf, &m, start, end);
}

/*
 * What to bring back besides the page that was touched: the aligned window
 * around it, as far as the mapping goes. Neighbours are likely to be next.
 */
static vm_fault_t fault_window(struct vm_fault *vmf, struct dmirror_device *dev)
{
	u64 window = dmirror_cpu_fault_window();
	u64 start = ALIGN_DOWN(vmf->address, window);
	u64 end = min_t(u64, start + window, vmf->vma->vm_end);

	start = max_t(u64, start, vmf->vma->vm_start);
	if (end - start > STACK_BATCH_PAGES * PAGE_SIZE)
		return fault_large(vmf, dev, start, end);
	return fault_small(vmf, dev, start, end);
}

/**
 * dmirror_migrate_to_ram() - a CPU touched private device memory
 * @vmf: the fault; vmf->page is the page, referenced and, on newer kernels,
 *	locked by mm
 *
 * The process need not be one that has a file open. A folio that one PMD maps
 * comes back as one, a page with its neighbours, unless a placeholder stands for it.
 * If there is no memory for that, or the copy of it fails, only the page that was touched
 * does; of a folio that one PMD maps, mm maps the pages by PTEs first, and the CPU faults
 * again.
 *
 * Context: mmap_lock held for reading; may sleep.
 * Return: 0 if the CPU is to try again; VM_FAULT_OOM; VM_FAULT_SIGBUS if the
 * device cannot copy the page, or its contents were dropped; VM_FAULT_HWPOISON if a
 * memory error has taken them.
 */
vm_fault_t dmirror_migrate_to_ram(struct vm_fault *vmf)
{
	struct dmirror_device *dev = dmirror_page_device(vmf->page);
	u64 block = vmf->address & DMIRROR_BLOCK_MASK;
	u64 page = vmf->address & PAGE_MASK;
	vm_fault_t ret;

	atomic64_inc(&dev->counters.cpu_faults);
	if (!vmf->pte) {
		ret = fault_large(vmf, dev, block, block + DMIRROR_BLOCK_SIZE);
	} else if (dmirror_page_is_placeholder(vmf->page)) {
		/* What is around it is not needed if this is an error. */
		ret = fault_small(vmf, dev, page, page + PAGE_SIZE);
	} else if (folio_test_large(page_folio(vmf->page))) {
		/*
		 * mm splits it, and afterwards takes its first page for the
		 * one that is locked: that must not be in the range. The CPU
		 * faults again, then on a folio of one page.
		 */
		ret = fault_small(vmf, dev, page, page + PAGE_SIZE);
	} else {
		ret = fault_window(vmf, dev);
		if (ret == VM_FAULT_OOM || ret == VM_FAULT_SIGBUS)
			ret = fault_small(vmf, dev, page, page + PAGE_SIZE);
	}
	trace_dmirror_cpu_fault(dev->id, vmf->address, ret);
	return ret;
}

/*
 * Whether there is a placeholder for the first page that is purgeable of a block:
 * without one it would be unmapped for nothing. A guess, and that is enough.
 */
static bool can_purge(const struct migration *m)
{
	struct page *page = pfn_to_page(m->args.src[0]);

	if (dmirror_placeholders_left(m->dev, folio_order(page_folio(page))))
		return true;
	atomic64_add(PFN_PHYS(m->npages), &m->dev->counters.unpurged);
	return false;
}

/*
 * Migrate what is in use of a block, or is purgeable of it, by physical address. The
 * fates are those of the pages in args.src; false if there was none. Nothing is given
 * out of the block meanwhile, see dmirror_devmem_hold().
 */
static bool evict_pages(struct migration *m, struct dmirror_devmem *devmem,
			unsigned long block)
{
	m->npages = dmirror_devmem_used_pfns(devmem, block, m->purge,
					     m->args.src);
	if (!m->npages || (m->purge && !can_purge(m)))
		return false;
	migrate_device_pfns(m->args.src, m->npages);
	migration_run(m);
	return true;
}

/* Returns how many pages left the block. */
static unsigned long evict_block(struct dmirror_device *dev,
				 struct dmirror_devmem *devmem,
				 unsigned long block, bool unplugging)
{
	struct migration m;
	unsigned long moved;

	migration_init(&m, dev, DMIRROR_TARGET_SYSTEM, dev->evict_batch);
	m.unplugging = unplugging;
	if (!evict_pages(&m, devmem, block))
		return 0;
	moved = m.counts[FATE_MOVED] + m.counts[FATE_DROPPED] +
		m.counts[FATE_PASSED_ON];
	trace_dmirror_evict(dev->id, block, m.npages, moved);
	return moved;
}

/* The same, of what is purgeable, without a copy. */
static unsigned long purge_block(struct dmirror_device *dev, unsigned long block)
{
	struct migration m;
	unsigned long dropped;
	bool some;

	if (!dmirror_devmem_hold(&dev->devmem, block))
		return 0;
	migration_init(&m, dev, DMIRROR_TARGET_SYSTEM, dev->evict_batch);
	m.purge = true;
	some = evict_pages(&m, &dev->devmem, block);
	dmirror_devmem_release(&dev->devmem, block);
	if (!some)
		return 0;
	dropped = m.counts[FATE_DROPPED];
	trace_dmirror_purge(dev->id, block, m.npages, dropped);
	return dropped;
}

/* Wherever it is, and however long: nobody waits for it. */
static unsigned long purge_blocks(struct dmirror_device *dev,
				  unsigned long wanted)
{
	unsigned long dropped = 0, block;

	for (block = 0; block < dev->devmem.nr_blocks; block++) {
		if (dropped >= wanted || fatal_signal_pending(current) ||
		    !READ_ONCE(dev->devmem.purgeable))
			break;
		dropped += purge_block(dev, block);
		cond_resched();
	}
	return dropped;
}

/* What the device has used where no fault told of it: it is evicted later. */
static void heed_accesses(struct dmirror_device *dev)
{
	u64 offset;

	for (offset = 0; offset < dev->hw.size; offset += DMIRROR_BLOCK_SIZE)
		if (dmirror_hw_test_and_clear_accessed(&dev->hw, offset))
			dmirror_devmem_touch(&dev->devmem, offset);
}

static unsigned long evict_blocks(struct dmirror_device *dev,
				  unsigned long wanted, unsigned long *young)
{
	unsigned long moved = purge_blocks(dev, wanted), searched;
	long block;

	if (moved < wanted)
		heed_accesses(dev);
	for (searched = 0; searched < dev->devmem.nr_blocks; searched++) {
		if (moved >= wanted || fatal_signal_pending(current))
			break;
		block = dmirror_devmem_isolate(&dev->devmem,
					       dmirror_min_residency(), young);
		if (block < 0)
			break;
		moved += evict_block(dev, &dev->devmem, block, false);
		dmirror_devmem_putback(&dev->devmem, block);
		cond_resched();
	}
	return moved;
}

/**
 * dmirror_evict_some() - make room on a full device
 * @dev: the device
 * @wanted: how many pages are wanted
 *
 * Drops what is purgeable. If that is not enough, evicts whole blocks, least
 * recently used first, whoever they belong to. If all are too young for that, waits
 * a little until one is not: a short residency time slows down programs that take
 * the memory from each other, and stops none.
 *
 * Context: may sleep. Must be called without mmap_lock and without any lock of
 * a mirror: it locks pages and waits for whoever has them.
 * Return: how many pages were evicted, or are free by now; 0 if nothing can be
 * evicted, or on a fatal signal.
 */
unsigned long dmirror_evict_some(struct dmirror_device *dev,
				 unsigned long wanted)
{
	struct dmirror_devmem *devmem = &dev->devmem;
	unsigned long moved, young;
	unsigned int tries;

	for (tries = 0; tries < EVICT_WAITS_MAX; tries++) {
		young = 0;
		if (mutex_lock_killable(&dev->evict_lock))
			return 0;
		/* Who had the lock, or a program, may have made the room. */
		if (READ_ONCE(devmem->used) + READ_ONCE(devmem->withheld) +
		    wanted <= devmem->nr_blocks * DMIRROR_BLOCK_PAGES) {
			mutex_unlock(&dev->evict_lock);
			return wanted;
		}
		moved = evict_blocks(dev, wanted, &young);
		mutex_unlock(&dev->evict_lock);
		if (moved || !young || young > EVICT_WAIT_MAX)
			return moved;
		if (schedule_timeout_killable(young))
			break;
	}
	return 0;
}

/**
 * dmirror_evict_now() - evict as if room were wanted
 * @dev: the device
 * @wanted: how many pages are wanted
 *
 * For tests. What is too young stays.
 *
 * Context: as dmirror_evict_some().
 * Return: 0; -EINTR on a fatal signal.
 */
int dmirror_evict_now(struct dmirror_device *dev, unsigned long wanted)
{
	unsigned long young;

	if (mutex_lock_killable(&dev->evict_lock))
		return -EINTR;
	evict_blocks(dev, wanted, &young);
	mutex_unlock(&dev->evict_lock);
	return 0;
}

/*
 * Unmap what is mapped of a block, with a poisoned page in it, and put a placeholder
 * where that is, if it is a folio of its own. False if somebody else holds the page.
 */
static bool isolate_poison(struct dmirror_device *dev, unsigned long page)
{
	unsigned long i, block = page / DMIRROR_BLOCK_PAGES;
	unsigned long pfn = dev->devmem.first_pfn + page;
	struct dmirror_batch *batch = dev->evict_batch;
	struct migration m;

	if (!dmirror_devmem_hold(&dev->devmem, block))
		return true;
	migration_init(&m, dev, DMIRROR_TARGET_SYSTEM, batch);
	m.poison = true;
	m.npages = dmirror_devmem_used_pfns(&dev->devmem, block, false,
					    batch->src);
	for (i = 0; i < m.npages && batch->src[i] != pfn; i++)
		;
	if (i < m.npages) {
		migrate_device_pfns(batch->src, m.npages);
		migration_run(&m);
	}
	dmirror_devmem_release(&dev->devmem, block);
	if (i == m.npages)
		return true;
	return m.fates[i] == FATE_DROPPED ||
	       (m.fates[i] != FATE_LEFT && m.fates[i] != FATE_BUSY &&
		dev->type == DMIRROR_MEMORY_PRIVATE);
}

/**
 * dmirror_poison() - a memory error has hit a page of a device
 * @dev: the device
 * @offset: in its memory
 *
 * From here on the page has no contents for anybody. What maps it is told to unmap
 * it: the program has the error when it next touches the page, and nobody has one
 * who does not.
 *
 * Context: may sleep, and takes what eviction takes.
 * Return: 0; -EHWPOISON if that was known; -EINVAL if the device has no such memory;
 * -EBUSY if somebody holds the page, or there is no placeholder for it, so that who
 * has it mapped may go on to use it: a CPU, if the memory is coherent, or a device.
 */
int dmirror_poison(struct dmirror_device *dev, u64 offset)
{
	unsigned long page = PHYS_PFN(offset);
	unsigned int tries;
	bool done = false;

	if (offset >= dev->hw.size)
		return -EINVAL;
	if (!dmirror_devmem_poison(&dev->devmem, page))
		return -EHWPOISON;
	for (tries = 0; tries < POISON_TRIES; tries++) {
		/* A lock of mm's may be held, with which eviction is not to be waited for. */
		if (mutex_trylock(&dev->evict_lock)) {
			done = isolate_poison(dev, page);
			mutex_unlock(&dev->evict_lock);
		}
		if (done)
			return 0;
		msleep(EVICT_PAUSE_MS);
	}
	return -EBUSY;
}

static int evict_passes(struct dmirror_device *dev,
			struct dmirror_devmem *devmem, enum dmirror_evict why)
{
	unsigned long block, moved;
	unsigned int fruitless = 0;

	while (READ_ONCE(devmem->used)) {
		moved = 0;
		for (block = 0; block < devmem->nr_blocks; block++) {
			if (why != DMIRROR_EVICT_UNLOAD &&
			    fatal_signal_pending(current))
				return -EINTR;
			moved += evict_block(dev, devmem, block,
					     why != DMIRROR_EVICT_RELEASE);
			cond_resched();
		}
		if (moved) {
			fruitless = 0;
			continue;
		}

		if (++fruitless % EVICT_FRUITLESS_MAX == 0) {
			if (why == DMIRROR_EVICT_RELEASE)
				return -EBUSY;
			pr_warn("dmirror%u: %lu pages of device memory cannot be evicted yet: they are in use, or the system has no memory, or no huge page, for them\n",
				dev->id, READ_ONCE(devmem->used));
		}
		msleep(EVICT_PAUSE_MS);
	}
	return 0;
}

/**
 * dmirror_evict_all() - bring all of a device's memory back to the system
 * @dev: the device
 * @why: says whether to give up and whether to heed signals
 *
 * Works by physical address, whoever the memory belongs to, and takes no lock
 * that a CPU fault could need. Meanwhile the device answers as one that is
 * full, so there is an end. One that goes away is empty for good: nobody can
 * have memory of it any more. Nothing is dropped; when the device goes away, what
 * had been becomes pages of zeroes.
 *
 * Context: may sleep.
 * Return: 0 when the device is empty; -EINTR on a fatal signal, never for
 * DMIRROR_EVICT_UNLOAD; -EBUSY, for DMIRROR_EVICT_RELEASE, if pages are held by
 * others for long, which includes that the system has no memory.
 */
int dmirror_evict_all(struct dmirror_device *dev, enum dmirror_evict why)
{
	int ret;

	if (why == DMIRROR_EVICT_UNLOAD)
		mutex_lock(&dev->evict_lock);
	else if (mutex_lock_killable(&dev->evict_lock))
		return -EINTR;

	dmirror_devmem_close(dev);
	ret = evict_passes(dev, &dev->devmem, why);
	if (!ret)
		dmirror_hw_trim_all(&dev->hw);
	/* Nothing makes any more of these. */
	if (!ret && why != DMIRROR_EVICT_RELEASE)
		ret = evict_passes(dev, &dev->placeholders, why);
	dmirror_devmem_open(dev);
	mutex_unlock(&dev->evict_lock);
	return ret;
}

/**
 * dmirror_evict_init() - set aside what eviction needs
 * @dev: the device
 *
 * So that eviction, which is for when memory is short, allocates only pages to
 * evict to.
 *
 * Context: may sleep.
 * Return: 0, or -ENOMEM.
 */
int dmirror_evict_init(struct dmirror_device *dev)
{
	mutex_init(&dev->evict_lock);
	dev->evict_batch = batch_alloc(DMIRROR_BLOCK_PAGES, GFP_KERNEL);
	return dev->evict_batch ? 0 : -ENOMEM;
}

/**
 * dmirror_evict_fini() - undo dmirror_evict_init()
 * @dev: the device, from which nothing is evicted any more
 *
 * Context: any.
 */
void dmirror_evict_fini(struct dmirror_device *dev)
{
	kvfree(dev->evict_batch);
}
