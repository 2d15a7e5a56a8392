// SPDX-License-Identifier: GPL-2.0
/*
 * A second file of the device, when the first one migrates; and what the device writes
 * while memory migrates.
 */
#include "reproducer.h"

#define ROUNDS	300

static int fd;
static char *mem;
static size_t len;
static bool stop;

static void *keep_migrating(void *arg)
{
	char *buf = malloc(len);

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		hmm_call(fd, HMM_TO_DEV, mem, buf, npages(len), NULL);
		hmm_call(fd, HMM_TO_SYS, mem, buf, npages(len), NULL);
	}
	free(buf);
	return NULL;
}

/* test_hmm gives up a fault after a second, which others can want the CPUs for. */
static int use(unsigned long request, __u64 seed)
{
	int ret;

	do
		ret = with_buffer(fd, request, mem, len, seed, NULL);
	while (ret == -EBUSY);
	return ret;
}

/* How often the device does not find what it has just written */
static unsigned int lost_writes(void)
{
	unsigned int round, lost = 0;
	pthread_t thread;

	DM_CHECK(!pthread_create(&thread, NULL, keep_migrating, NULL));
	for (round = 0; round < ROUNDS; round++) {
		DM_CHECK(!use(HMM_WRITE, SEED + round));
		lost += !!use(HMM_READ, SEED + round);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	fprintf(stderr, "# %u of %u writes lost\n", lost, ROUNDS);
	return lost;
}

int main(void)
{
	unsigned int lost;
	int other;

	len = 16 * dm_page_size();
	mem = memory(len, false);
	fd = device(PRIVATE);
	lost = lost_writes();
	DM_CHECK(!hmm_call(fd, HMM_TO_SYS, mem, NULL, npages(len), NULL));
	dm_fill(mem, len, SEED);

	other = device(PRIVATE);
	DM_CHECK(!device_read(other, mem, len, SEED));
	DM_CHECK(!to_device(fd, mem, len));
	DM_CHECK(!device_write(fd, mem, len, SEED + 1));
	DM_CHECK(!device_read(other, mem, len, SEED + 1));
	DM_CHECK(!dm_bad(mem, len, SEED + 1));
	DM_CHECK(!device_read(other, mem, len, SEED + 1));
	return !!lost;
}
