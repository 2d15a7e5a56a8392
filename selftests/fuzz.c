// SPDX-License-Identifier: GPL-2.0
/*
 * The fuzzer's sequences once more, without the fuzzer: those to begin with, and
 * those it found. See fuzzer/.
 */
#include "kselftest_harness.h"
#include "dmirror_fuzz.h"
#include "fuzzer/seeds.h"
#include "fuzzer/corpus.h"

FIXTURE(replay)
{
	int fd;
};

FIXTURE_SETUP(replay)
{
	self->fd = dm_open_number(0);
	if (self->fd < 0)
		SKIP(_exit(DM_SKIP_STATUS), "there is no device");
	fuzz_init();
}

FIXTURE_TEARDOWN(replay)
{
	close(self->fd);
}

TEST_F(replay, seeds)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fuzz_seeds); i++)
		fuzz_run(fuzz_seeds[i].name, fuzz_seeds[i].ops,
			 fuzz_seeds[i].nr * sizeof(struct fuzz_op));
}

TEST_F_TIMEOUT(replay, corpus, 120)
{
	__u8 bytes[FUZZ_OPS * sizeof(struct fuzz_op)];
	size_t i, nr;

	for (i = 0; i < ARRAY_SIZE(fuzz_corpus); i++) {
		nr = fuzz_bytes(fuzz_corpus[i], bytes);
		ASSERT_LE(sizeof(struct fuzz_op), nr);
		fuzz_run(fuzz_corpus[i], bytes, nr);
	}
}

TEST_HARNESS_MAIN
