/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sequences to begin with: what the tests do, in the fuzzer's terms. The files
 * that are open are a device's own node (OWN_FD) and its other one (HMM_FD).
 */
#ifndef SELFTESTS_FUZZER_SEEDS_H
#define SELFTESTS_FUZZER_SEEDS_H

enum { OWN_FD, HMM_FD, SLOT2, SLOT3 };

/* In the order of fuzz_own[] */
enum {
	QUERY, MIGRATE, READ, WRITE, FILL, COPY, ATOMIC, SNAPSHOT, SUBMIT, WAIT,
	ADVISE,
};

/* Addresses: of the n-th page, and of the n-th huge page */
#define PAGE(n)		(n)
#define BLOCK(n)	(96 + (n))

/* Lengths: some pages, huge pages, words */
#define PAGES(n)	((n) - 1)
#define BLOCKS(n)	(64 + (n))
#define WORDS(n)	(127 + (n))

/* Small values of the test_hmm ABI's own numbers */
#define NR_OF(request)	((request) & 0xff)

#define OWN(nr, addr, len, ptr, value)					\
	{ FUZZ_OWN, OWN_FD, nr, addr, len, ptr, value, 0 }
#define BAD(nr, addr, len, ptr, value, twist)				\
	{ FUZZ_OWN, OWN_FD, nr, addr, len, ptr, value, twist }
#define HMM(request, addr, len, ptr)					\
	{ FUZZ_HMM, HMM_FD, NR_OF(request), addr, len, ptr, 0, 0 }
#define CPU(what, nr, addr, len, value)					\
	{ what, 0, nr, addr, len, 0, value, 0 }
#define OPEN(slot, node)						\
	{ FUZZ_OPEN, slot, node, 0, 0, 0, 0, 0 }
#define FAIL(nth)							\
	{ FUZZ_FAIL, 0, 0, 0, 0, 0, (nth) - 1, 0 }

#define TO_SYSTEM	DMIRROR_TARGET_SYSTEM
#define TO_DEVICE	DMIRROR_TARGET_DEVICE
#define STAY		DMIRROR_TARGET_STAY

#define SEED(name, ...)							\
	{ name, sizeof((struct fuzz_op[]){ __VA_ARGS__ }) /		\
		sizeof(struct fuzz_op), { __VA_ARGS__ } }

static const struct fuzz_seed {
	const char *name;
	size_t nr;
	struct fuzz_op ops[FUZZ_OPS];
} fuzz_seeds[] = {
	SEED("there and back",
	     OWN(QUERY, 0, 0, 0, 0),
	     OWN(MIGRATE, BLOCK(0), BLOCKS(2), 0, TO_DEVICE),
	     OWN(MIGRATE, BLOCK(0), BLOCKS(1), 0, STAY),
	     OWN(SNAPSHOT, BLOCK(0), BLOCKS(2), BLOCK(2), 0),
	     OWN(MIGRATE, PAGE(3), PAGES(5), 0, TO_SYSTEM),
	     CPU(FUZZ_TOUCH, 1, BLOCK(1), PAGES(20), 9),
	     OWN(MIGRATE, BLOCK(0), BLOCKS(3), 0, TO_SYSTEM)),
	SEED("device access",
	     OWN(READ, BLOCK(1), PAGES(16), BLOCK(2), 0),
	     OWN(WRITE, BLOCK(1), PAGES(16), BLOCK(2), 0),
	     OWN(FILL, BLOCK(0), WORDS(60), 0, 5),
	     OWN(COPY, BLOCK(0), PAGES(8), BLOCK(1), 0),
	     OWN(MIGRATE, BLOCK(1), PAGES(4), 0, TO_DEVICE),
	     OWN(READ, BLOCK(1), PAGES(16), BLOCK(2), 0),
	     OWN(COPY, BLOCK(0), PAGES(8), BLOCK(1), 0)),
	SEED("atomic operations",
	     OWN(ATOMIC, BLOCK(1), 0, 1, DMIRROR_ATOMIC_ADD),
	     OWN(ATOMIC, BLOCK(1), 1, 1, DMIRROR_ATOMIC_CAS),
	     CPU(FUZZ_TOUCH, 1, BLOCK(1), PAGES(1), 9),
	     OWN(MIGRATE, BLOCK(1), PAGES(4), 0, TO_DEVICE),
	     OWN(ATOMIC, BLOCK(1), 0, 1, DMIRROR_ATOMIC_ADD),
	     CPU(FUZZ_MAP, 4, PAGE(0), PAGES(4), 0),
	     OWN(ATOMIC, PAGE(1), 0, 1, DMIRROR_ATOMIC_ADD)),
	SEED("jobs",
	     OWN(SUBMIT, BLOCK(0), PAGES(8), BLOCK(1), DMIRROR_JOB_FILL),
	     OWN(SUBMIT, BLOCK(0), PAGES(8), BLOCK(1), DMIRROR_JOB_COPY | 1 << 5),
	     OWN(SUBMIT, BLOCK(0), BLOCKS(1), 0,
		 DMIRROR_JOB_MIGRATE | TO_DEVICE << 3),
	     OWN(SUBMIT, BLOCK(0), PAGES(8), 0, DMIRROR_JOB_FILL | 2 << 5),
	     OWN(WAIT, 0, 0, 0, 1 << 3 | DMIRROR_WAIT_POLL),
	     OWN(WAIT, 0, 0, 0, 1 << 3), OWN(WAIT, 0, 0, 0, 2 << 3),
	     OWN(WAIT, 0, 0, 0, 3 << 3), OWN(WAIT, 0, 0, 0, 3 << 3)),
	SEED("advice",
	     OWN(MIGRATE, BLOCK(1), PAGES(16), 0, TO_DEVICE),
	     OWN(ADVISE, BLOCK(1), PAGES(16), 0, DMIRROR_ADVICE_DONTNEED),
	     CPU(FUZZ_EVICT, 0, 0, 0, 255),
	     OWN(ADVISE, BLOCK(1), PAGES(4), 0, DMIRROR_ADVICE_WILLNEED),
	     CPU(FUZZ_TOUCH, 0, BLOCK(1), PAGES(16), 0),
	     OWN(SNAPSHOT, BLOCK(1), PAGES(16), BLOCK(2), 0),
	     OWN(ADVISE, BLOCK(0), BLOCKS(1), 0, DMIRROR_ADVICE_PREFER_DEVICE),
	     OWN(ADVISE, PAGE(4), PAGES(4), 0, DMIRROR_ADVICE_PREFER_NONE),
	     OWN(ADVISE, PAGE(9), PAGES(4), 0, DMIRROR_ADVICE_PREFER_SYSTEM),
	     OWN(ADVISE, PAGE(9), PAGES(4), 0, DMIRROR_ADVICE_READ_MOSTLY),
	     OWN(FILL, BLOCK(0), BLOCKS(1), 0, 5)),
	SEED("wrong arguments",
	     BAD(MIGRATE, BLOCK(0), PAGES(1), 0, 18, 65),
	     BAD(READ, BLOCK(0), PAGES(1), 0, 18, 66),
	     BAD(FILL, BLOCK(0), PAGES(1), 0, 0, 128),
	     BAD(COPY, BLOCK(0), PAGES(1), 0, 0, 128 + 33 + 16),
	     BAD(ATOMIC, BLOCK(0), PAGES(1), 0, 0, 192),
	     BAD(SNAPSHOT, BLOCK(0), PAGES(1), 0, 0, 192 + 8),
	     BAD(QUERY, BLOCK(0), PAGES(1), 0, 0, 192 + 20),
	     OWN(READ, 200, PAGES(1), PAGE(1), 0),
	     OWN(WRITE, PAGE(1), PAGES(1), 201, 0)),
	SEED("the other ABI",
	     HMM(HMM_READ, BLOCK(1), PAGES(8), BLOCK(2)),
	     HMM(HMM_WRITE, BLOCK(1), PAGES(8), BLOCK(2)),
	     HMM(HMM_TO_DEV, BLOCK(0), BLOCKS(1), BLOCK(2)),
	     HMM(HMM_SNAPSHOT, BLOCK(0), BLOCKS(2), BLOCK(2)),
	     HMM(HMM_TO_SYS, BLOCK(0), BLOCKS(1), 0),
	     HMM(HMM_EXCLUSIVE, BLOCK(1), PAGES(4), BLOCK(2)),
	     HMM(HMM_CHECK_EXCLUSIVE, BLOCK(1), PAGES(4), 0),
	     HMM(HMM_FLAGS, 0, 0, 0),
	     HMM(HMM_RELEASE, BLOCK(0), PAGES(1), 0),
	     { FUZZ_MAP, HMM_FD, 6, PAGE(8), PAGES(8), 0, 0, 0 },
	     HMM(HMM_READ, PAGE(8), PAGES(8), BLOCK(2))),
	SEED("coherent memory, and two devices",
	     OPEN(SLOT2, 2), OPEN(SLOT3, 1),
	     { FUZZ_OWN, SLOT2, MIGRATE, BLOCK(1), PAGES(8), 0, TO_DEVICE, 0 },
	     { FUZZ_OWN, SLOT3, MIGRATE, BLOCK(0), PAGES(8), 0, TO_DEVICE, 0 },
	     OWN(READ, BLOCK(1), PAGES(8), BLOCK(2), 0),
	     OWN(READ, BLOCK(0), PAGES(8), BLOCK(2), 0),
	     OWN(MIGRATE, BLOCK(0), BLOCKS(2), 0, TO_DEVICE),
	     OWN(SNAPSHOT, BLOCK(0), BLOCKS(2), BLOCK(2), 0)),
	SEED("a child",
	     OWN(MIGRATE, BLOCK(1), PAGES(8), 0, TO_DEVICE),
	     CPU(FUZZ_FORK, 0, 0, 0, 0),
	     OPEN(OWN_FD, 0),
	     OWN(WRITE, BLOCK(1), PAGES(4), BLOCK(2), 0),
	     CPU(FUZZ_TOUCH, 1, BLOCK(1), PAGES(8), 7),
	     OWN(MIGRATE, BLOCK(1), PAGES(8), 0, TO_SYSTEM)),
	SEED("mappings that change",
	     OWN(MIGRATE, BLOCK(0), BLOCKS(2), 0, TO_DEVICE),
	     CPU(FUZZ_PROTECT, 0, PAGE(3), PAGES(2), PROT_READ),
	     CPU(FUZZ_UNMAP, 0, PAGE(9), PAGES(2), 0),
	     { FUZZ_MOVE, 0, 1, BLOCK(1), PAGES(16), BLOCK(2), 0, 0 },
	     CPU(FUZZ_ADVISE, 0, PAGE(20), PAGES(2), 0),
	     OWN(FILL, PAGE(0), PAGES(8), 0, 5),
	     OWN(READ, PAGE(4), PAGES(20), BLOCK(2), 0),
	     OWN(MIGRATE, BLOCK(0), BLOCKS(1), 0, TO_SYSTEM)),
	SEED("failures",
	     FAIL(1), OWN(MIGRATE, BLOCK(0), BLOCKS(1), 0, TO_DEVICE),
	     FAIL(3), OWN(MIGRATE, BLOCK(1), PAGES(8), 0, TO_DEVICE),
	     FAIL(2), OWN(READ, BLOCK(1), PAGES(8), BLOCK(2), 0),
	     FAIL(4), CPU(FUZZ_TOUCH, 0, BLOCK(1), PAGES(8), 0),
	     FAIL(5), OWN(MIGRATE, BLOCK(0), BLOCKS(2), 0, TO_SYSTEM),
	     FAIL(2), OPEN(SLOT2, 0)),
};

#endif
