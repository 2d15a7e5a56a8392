// SPDX-License-Identifier: GPL-2.0
/*
 * Two megabytes that only this process has migrate to the device, while a thread on
 * another CPU uses the address space. How often that CPU is interrupted to flush its
 * TLB: once for a page, or once for what is collected at a time.
 */
#include "reproducer.h"

#define ROUNDS	10

static bool stop;

static void *keep_running(void *arg)
{
	run_on_cpu(1);
	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
		;
	return NULL;
}

/* How often the second CPU was told to flush */
static unsigned long flushes(void)
{
	FILE *f = fopen("/proc/interrupts", "r");
	unsigned long told = 0;
	char line[1024];

	DM_CHECK(f);
	while (fgets(line, sizeof(line), f) &&
	       sscanf(line, " TLB: %*u %lu", &told) != 1)
		;
	fclose(f);
	return told;
}

int main(void)
{
	unsigned long told = 0, before;
	int fd = device(PRIVATE), round;
	char *buf = malloc(DM_HUGE), *mem;
	double since, seconds = 0;
	pthread_t other;

	DM_CHECK(buf && !pthread_create(&other, NULL, keep_running, NULL));
	run_on_cpu(0);
	for (round = 0; round < ROUNDS; round++) {
		mem = memory(DM_HUGE, false);
		dm_settle();
		before = flushes();
		since = dm_now();
		DM_CHECK(!hmm_call(fd, HMM_TO_DEV, mem, buf, npages(DM_HUGE), NULL));
		seconds += dm_now() - since;
		told += flushes() - before;
		munmap(mem, DM_HUGE);
	}
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	pthread_join(other, NULL);
	fprintf(stderr, "# %lu flushes, %.1f ms for %zu pages\n", told / ROUNDS,
		seconds / ROUNDS * 1000, npages(DM_HUGE));
	return told / ROUNDS >= npages(DM_HUGE) / 2;
}
