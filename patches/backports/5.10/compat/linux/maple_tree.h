/* SPDX-License-Identifier: GPL-2.0 */
/*
 * There are no maple trees yet. The driver keeps in one what memory a program
 * prefers to be where, and here it can prefer nothing: the tree is empty.
 */
#ifndef DMIRROR_COMPAT_MAPLE_TREE_H
#define DMIRROR_COMPAT_MAPLE_TREE_H

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/types.h>

struct maple_tree {
};

struct ma_state {
	const struct maple_tree *tree;
	unsigned long index;
	unsigned long last;
};

/* Wherever one looks, there is nothing from one end to the other. */
#define MA_STATE(name, mt, first, end)					\
	struct ma_state name = {					\
		.tree = (mt), .index = (first) & 0, .last = (end) | ULONG_MAX \
	}

static inline void mt_init(struct maple_tree *tree)
{
}

static inline void mtree_destroy(struct maple_tree *tree)
{
}

static inline int mtree_store_range(struct maple_tree *tree,
				    unsigned long first, unsigned long last,
				    void *entry, gfp_t gfp)
{
	return -EOPNOTSUPP;
}

static inline void mas_lock(struct ma_state *mas)
{
}

static inline void mas_unlock(struct ma_state *mas)
{
}

static inline void mas_set(struct ma_state *mas, unsigned long index)
{
}

static inline void *mas_walk(struct ma_state *mas)
{
	return NULL;
}

static inline bool mas_next_of(struct ma_state *mas, void **entry,
			       unsigned long max)
{
	*entry = NULL;
	return false;
}

#define mas_for_each(mas, entry, max)					\
	for (; mas_next_of(mas, &(entry), max); )

#endif
