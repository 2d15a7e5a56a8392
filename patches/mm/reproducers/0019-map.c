// SPDX-License-Identifier: GPL-2.0
/* What MADV_DONTNEED takes away while it migrates is not mapped. */
#include "reproducer.h"

#define LEN	(16 * dm_page_size())
#define ROUNDS	400

static pthread_barrier_t barrier;
static char *mem;
static int fd;

static void *migrate(void *arg)
{
	char *buf = malloc(LEN);
	int round;

	for (round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&barrier);
		hmm_call(fd, HMM_TO_DEV, mem, buf, npages(LEN), NULL);
		pthread_barrier_wait(&barrier);
	}
	free(buf);
	return NULL;
}

/* How many pages are on neither side; the device reads them as zero. */
static int check_taken(void)
{
	char *buf = malloc(dm_page_size());
	__u64 entries[16];
	int taken = 0, i;

	DM_CHECK(!dm_pagemap(mem, LEN, entries));
	for (i = 0; i < 16; i++) {
		if (entries[i] & (DM_PAGEMAP_PRESENT | DM_PAGEMAP_SWAP))
			continue;
		taken++;
		DM_CHECK(!hmm_call(fd, HMM_READ, mem + i * dm_page_size(), buf, 1,
				   NULL));
		DM_CHECK(dm_zero(buf, dm_page_size()));
	}
	free(buf);
	return taken;
}

int main(void)
{
	int round, taken = 0;
	pthread_t thread;

	fd = device(PRIVATE);
	mem = memory(LEN, false);
	run_on_cpu(0);
	pthread_barrier_init(&barrier, NULL, 2);
	DM_CHECK(!pthread_create(&thread, NULL, migrate, NULL));
	take_priority();
	for (round = 0; round < ROUNDS; round++) {
		dm_fill(mem, LEN, SEED);
		pthread_barrier_wait(&barrier);
		any_moment(50, 500);
		DM_CHECK(!madvise(mem, LEN, MADV_DONTNEED));
		pthread_barrier_wait(&barrier);
		taken += check_taken();
	}
	pthread_join(thread, NULL);
	fprintf(stderr, "# %d pages taken away\n", taken);
	return 0;
}
