/* SPDX-License-Identifier: GPL-2.0 */
/* For the driver alone: its KUnit tests are not built. */
#ifndef DMIRROR_COMPAT_VISIBILITY_H
#define DMIRROR_COMPAT_VISIBILITY_H

#define VISIBLE_IF_KUNIT
#define DMIRROR_NOT_EXPORTED(symbol)
#define EXPORT_SYMBOL_IF_KUNIT		DMIRROR_NOT_EXPORTED

#endif
