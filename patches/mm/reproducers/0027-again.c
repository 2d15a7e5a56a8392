// SPDX-License-Identifier: GPL-2.0
/*
 * A thread migrates a block of folios of 64 KiB, each of which is to be split.
 * Another one of the same process has priority on the same CPU, and gives up all of
 * the memory meanwhile, and with it the page table.
 */
#include "reproducer.h"

#define SIZES	"/sys/kernel/mm/transparent_hugepage/hugepages-"
#define ROUNDS	400

static char *mem;
static bool stop;

static void *give_up(void *arg)
{
	take_priority();
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		any_moment(500, 20000);
		madvise(mem, DM_HUGE, MADV_DONTNEED);
	}
	return NULL;
}

int main(void)
{
	char *buf = malloc(DM_HUGE);
	int fd = device(PRIVATE), round;
	pthread_t thread;

	DM_CHECK(!dm_file_write(SIZES "2048kB/enabled", "never"));
	DM_CHECK(!dm_file_write(SIZES "64kB/enabled", "always"));
	mem = dm_map_flags(DM_HUGE, -1, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	DM_CHECK(buf && mem);
	run_on_cpu(0);
	DM_CHECK(!pthread_create(&thread, NULL, give_up, NULL));
	for (round = 0; round < ROUNDS; round++) {
		dm_fill(mem, DM_HUGE, SEED);
		hmm_call(fd, HMM_TO_DEV, mem, buf, npages(DM_HUGE), NULL);
		hmm_call(fd, HMM_TO_SYS, mem, buf, npages(DM_HUGE), NULL);
		madvise(mem, DM_HUGE, MADV_DONTNEED);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	return 0;
}
