// SPDX-License-Identifier: GPL-2.0
/* A device is emptied while it makes large folios of what was free. */
#include <pthread.h>

#include "reproducer.h"

#define ROUNDS	400

static bool done;

static void *empty(void *arg)
{
	/* Who closes a file empties the whole device. */
	while (!__atomic_load_n(&done, __ATOMIC_RELAXED))
		close(device(PRIVATE));
	return arg;
}

int main(void)
{
	char *mem = memory(DM_HUGE, true), *buf = malloc(DM_HUGE);
	int fd = device(PRIVATE), i;
	pthread_t thread;

	DM_CHECK(buf && !pthread_create(&thread, NULL, empty, NULL));
	for (i = 0; i < ROUNDS; i++) {
		/* Some of it may have been taken away again when it is looked for. */
		hmm_call(fd, HMM_TO_DEV, mem, buf, npages(DM_HUGE), NULL);
		hmm_call(fd, HMM_TO_SYS, mem, buf, npages(DM_HUGE), NULL);
	}
	__atomic_store_n(&done, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	DM_CHECK(!dm_bad(mem, DM_HUGE, SEED));
	return 0;
}
