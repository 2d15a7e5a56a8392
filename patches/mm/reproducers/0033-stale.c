// SPDX-License-Identifier: GPL-2.0
/*
 * A thread migrates a block of small pages that were shared by a fork, and then a
 * folio of 64 KiB, which is to be split. A thread with priority on the same CPU gives
 * up the first page meanwhile, and writes to what it then gets. A third one, on
 * another CPU, reads that page all the time, and must see that no later than it is
 * told so.
 */
#include <semaphore.h>
#include <sys/wait.h>

#include "reproducer.h"

#define SIZES	"/sys/kernel/mm/transparent_hugepage/hugepages-"
#define ROUNDS	400
#define LARGE	0x10000
#define NEW	0x6e6577

static char *mem;
static sem_t migrating, given_up;
static unsigned int told, seen;
static unsigned int stale;
static bool stop;

static void *give_up(void *arg)
{
	unsigned int round;
	double end;

	take_priority();
	for (round = 1; round <= ROUNDS; round++) {
		DM_CHECK(!sem_wait(&migrating));
		any_moment(50, 3000);
		DM_CHECK(!madvise(mem, dm_page_size(), MADV_DONTNEED));
		dm_poke(mem, NEW);
		__atomic_store_n(&told, round, __ATOMIC_SEQ_CST);
		/* The reader may wait for the migration, so not for ever. */
		end = dm_now() + 0.02;
		while (__atomic_load_n(&seen, __ATOMIC_SEQ_CST) != round &&
		       dm_now() < end)
			;
		DM_CHECK(!sem_post(&given_up));
	}
	return NULL;
}

static void *keep_reading(void *arg)
{
	unsigned int round;
	char *p;

	run_on_cpu(1);
	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
		round = __atomic_load_n(&told, __ATOMIC_SEQ_CST);
		p = __atomic_load_n(&mem, __ATOMIC_SEQ_CST);
		if (!p)
			continue;
		if (dm_peek(p) != NEW && round > seen)
			stale++;
		__atomic_store_n(&seen, round, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* The last of it is a large folio, and all of it was shared. */
static void fill(char *p)
{
	pid_t pid;

	DM_CHECK(!dm_file_write(SIZES "64kB/enabled", "never"));
	dm_fill(p, DM_HUGE - LARGE, SEED);
	DM_CHECK(!dm_file_write(SIZES "64kB/enabled", "always"));
	dm_fill(p + DM_HUGE - LARGE, LARGE, SEED);
	pid = fork();
	if (!pid)
		_exit(0);
	DM_CHECK(waitpid(pid, NULL, 0) == pid);
}

int main(void)
{
	char *buf = malloc(DM_HUGE), *p;
	int fd = device(PRIVATE), round;
	pthread_t reader, giver;

	DM_CHECK(!dm_file_write(SIZES "2048kB/enabled", "never"));
	DM_CHECK(buf && !sem_init(&migrating, 0, 0) && !sem_init(&given_up, 0, 0));
	DM_CHECK(!pthread_create(&reader, NULL, keep_reading, NULL));
	run_on_cpu(0);
	DM_CHECK(!pthread_create(&giver, NULL, give_up, NULL));
	p = dm_map_flags(DM_HUGE, -1, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS);
	DM_CHECK(p);
	for (round = 1; round <= ROUNDS; round++) {
		fill(p);
		__atomic_store_n(&mem, p, __ATOMIC_SEQ_CST);
		dm_msleep(2);
		DM_CHECK(!sem_post(&migrating));
		hmm_call(fd, HMM_TO_DEV, p, buf, npages(DM_HUGE), NULL);
		DM_CHECK(!sem_wait(&given_up));
		while (__atomic_load_n(&seen, __ATOMIC_SEQ_CST) != (unsigned int)round)
			dm_msleep(1);
		__atomic_store_n(&mem, NULL, __ATOMIC_SEQ_CST);
		DM_CHECK(!madvise(p, DM_HUGE, MADV_DONTNEED));
	}
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	pthread_join(giver, NULL);
	pthread_join(reader, NULL);
	fprintf(stderr, "# %u stale of %u\n", stale, ROUNDS);
	return stale > 0;
}
