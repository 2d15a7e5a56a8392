/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sequences that the fuzzer found, the fewest that reach what it reached; made by
 * selftests/vm/fuzz -m.
 */
#ifndef SELFTESTS_FUZZER_CORPUS_H
#define SELFTESTS_FUZZER_CORPUS_H

static const char *const fuzz_corpus[] = {
"",
};

#endif
