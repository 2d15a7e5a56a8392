// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/debug/dmirror: counters of each device, unplugging it, and fault
 * injection.
 */
#include <linux/debugfs.h>
#include <linux/fault-inject.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>

#include "dmirror.h"

static struct dentry *root;

#ifdef CONFIG_FAULT_INJECTION_DEBUG_FS
static DECLARE_FAULT_ATTR(fail_copy);
static DECLARE_FAULT_ATTR(fail_fault);
static DECLARE_FAULT_ATTR(lose_race);

/* should_fail() counts as if it were called one at a time, and engines run in parallel. */
static DEFINE_SPINLOCK(fault_lock);

static bool should_fail_next(struct fault_attr *attr)
{
	unsigned long flags;
	bool fail;

	if (!READ_ONCE(attr->probability))
		return false;

	spin_lock_irqsave(&fault_lock, flags);
	fail = should_fail(attr, 1);
	spin_unlock_irqrestore(&fault_lock, flags);
	return fail;
}

/**
 * dmirror_should_fail_copy() - is the copy engine to fail this job?
 *
 * Set up in /sys/kernel/debug/dmirror/fail_copy, as the kernel's documentation
 * of fault injection says.
 *
 * Context: any.
 * Return: true if so.
 */
bool dmirror_should_fail_copy(void)
{
	return should_fail_next(&fail_copy);
}

/**
 * dmirror_should_fail_fault() - is a device fault to find no memory for page tables?
 *
 * A worker serves it, which the kernel's own injection cannot be limited to. Set up in
 * /sys/kernel/debug/dmirror/fail_fault.
 *
 * Context: any.
 * Return: true if so.
 */
bool dmirror_should_fail_fault(void)
{
	return should_fail_next(&fail_fault);
}

/**
 * dmirror_should_lose_race() - is what was just found out to be taken for stale?
 *
 * As if the notifier had said so. Set up in /sys/kernel/debug/dmirror/lose_race.
 *
 * Context: any.
 * Return: true if so.
 */
bool dmirror_should_lose_race(void)
{
	return should_fail_next(&lose_race);
}

static void add_fault_injection(void)
{
	fault_create_debugfs_attr("fail_copy", root, &fail_copy);
	fault_create_debugfs_attr("fail_fault", root, &fail_fault);
	fault_create_debugfs_attr("lose_race", root, &lose_race);
}

/* Else nothing could turn it off for the eviction that is to come. */
static void stop_fault_injection(void)
{
	fail_copy.probability = 0;
	fail_fault.probability = 0;
	lose_race.probability = 0;
}
#else
static void add_fault_injection(void) { }
static void stop_fault_injection(void) { }
#endif

static void show(struct seq_file *m, const char *name, const atomic64_t *value)
{
	seq_printf(m, "%s %lld\n", name, atomic64_read(value));
}

static int counters_show(struct seq_file *m, void *unused)
{
	struct dmirror_device *dev = m->private;
	struct dmirror_counters *counters = &dev->counters;

	seq_printf(m, "memory_size %llu\n", dev->hw.size);
	seq_printf(m, "memory_used %llu\n",
		   PFN_PHYS(READ_ONCE(dev->devmem.used)));
	show(m, "to_device", &counters->to_device);
	show(m, "to_system", &counters->to_system);
	show(m, "evicted", &counters->evicted);
	show(m, "refaults", &counters->refaults);
	show(m, "from_peers", &counters->from_peers);
	show(m, "cpu_faults", &counters->cpu_faults);
	show(m, "device_faults", &counters->device_faults);
	show(m, "duplicate_faults", &counters->duplicate_faults);
	show(m, "retries", &counters->retries);
	show(m, "invalidations", &counters->invalidations);
	show(m, "exclusive", &counters->exclusive);
	show(m, "copy_errors", &counters->copy_errors);
	show(m, "full", &counters->full);
	seq_printf(m, "purgeable %llu\n",
		   PFN_PHYS(READ_ONCE(dev->devmem.purgeable)));
	seq_printf(m, "placeholders %llu\n",
		   PFN_PHYS(READ_ONCE(dev->placeholders.used)));
	show(m, "purged", &counters->purged);
	show(m, "unpurged", &counters->unpurged);
	seq_printf(m, "poisoned %llu\n",
		   PFN_PHYS(READ_ONCE(dev->devmem.poisoned)));
	seq_printf(m, "withheld %llu\n",
		   PFN_PHYS(READ_ONCE(dev->devmem.withheld)));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(counters);

static int engines_show(struct seq_file *m, void *unused)
{
	struct dmirror_device *dev = m->private;
	struct dmirror_hw_faults *faults = &dev->hw.faults;
	unsigned int i;

	for (i = 0; i < dev->hw.nr_engines; i++) {
		struct dmirror_hw_engine *engine = &dev->hw.engines[i];

		spin_lock_irq(&engine->lock);
		seq_printf(m, "copy%u jobs %llu errors %llu bytes %llu ns %llu depth %u depth_max %u\n",
			   i, engine->jobs, engine->errors, engine->bytes,
			   engine->ns, engine->depth, engine->depth_max);
		spin_unlock_irq(&engine->lock);
	}

	spin_lock(&faults->lock);
	seq_printf(m, "compute faults %llu stalls %llu waiting %u of %u\n",
		   faults->reported, faults->stalls, faults->nr, faults->size);
	spin_unlock(&faults->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(engines);

static int hold_faults_set(void *data, u64 value)
{
	struct dmirror_device *dev = data;

	dmirror_hw_hold_faults(&dev->hw, value);
	return 0;
}

static int hold_faults_get(void *data, u64 *value)
{
	struct dmirror_device *dev = data;

	*value = READ_ONCE(dev->hw.faults.held);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(hold_faults_fops, hold_faults_get, hold_faults_set,
			 "%llu\n");

/* The write does not return before the device has come or gone. */
static int plugged_set(void *data, u64 value)
{
	if (value > 1)
		return -EINVAL;
	return value ? dmirror_plug(data) : dmirror_unplug(data);
}

static int plugged_get(void *data, u64 *value)
{
	*value = !dmirror_device_closed(data);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(plugged_fops, plugged_get, plugged_set, "%llu\n");

static int evict_set(void *data, u64 value)
{
	struct dmirror_device *dev = data;
	int ret;

	if (!dmirror_device_enter(dev))
		return -ENODEV;
	ret = dmirror_evict_now(dev, (value >> PAGE_SHIFT) +
				     !!offset_in_page(value));
	dmirror_device_exit(dev);
	return ret;
}
DEFINE_DEBUGFS_ATTRIBUTE(evict_fops, NULL, evict_set, "%llu\n");

static int poison_set(void *data, u64 value)
{
	struct dmirror_device *dev = data;
	int ret;

	if (!dmirror_device_enter(dev))
		return -ENODEV;
	ret = dmirror_poison(dev, value);
	dmirror_device_exit(dev);
	return ret;
}
DEFINE_DEBUGFS_ATTRIBUTE(poison_fops, NULL, poison_set, "%llu\n");

static void add_device_dir(struct dmirror_device *dev)
{
	struct dentry *dir = debugfs_create_dir(dev->name, root);

	debugfs_create_file("counters", 0444, dir, dev, &counters_fops);
	debugfs_create_file("engines", 0444, dir, dev, &engines_fops);
	debugfs_create_file("hold_faults", 0600, dir, dev, &hold_faults_fops);
	debugfs_create_file("plugged", 0600, dir, dev, &plugged_fops);
	debugfs_create_file("evict", 0200, dir, dev, &evict_fops);
	debugfs_create_file("poison", 0200, dir, dev, &poison_fops);
}

/**
 * dmirror_debugfs_init() - make the driver's directory
 *
 * Context: module init, when all devices are there; may sleep.
 */
void dmirror_debugfs_init(void)
{
	struct dmirror_device *dev;
	unsigned int nr;

	root = debugfs_create_dir("dmirror", NULL);
	add_fault_injection();
	for (nr = 0; (dev = dmirror_device_nr(nr)); nr++)
		add_device_dir(dev);
}

/**
 * dmirror_debugfs_exit() - remove it and all in it
 *
 * Context: may sleep; waits for readers.
 */
void dmirror_debugfs_exit(void)
{
	debugfs_remove(root);
	stop_fault_injection();
}
