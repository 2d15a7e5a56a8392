// SPDX-License-Identifier: GPL-2.0
/*
 * dmirror: the reference driver for HMM device memory.
 *
 * Module parameters, and the life of the devices: they come with the module and
 * go with it. An open file holds the module, so at exit there are no mirrors
 * left; memory that programs still have on a device is evicted. In between a
 * device can be unplugged and plugged in, see plug.c.
 */
#include <linux/init.h>
#include <linux/kstrtox.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/sizes.h>

#include "dmirror.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#define MAX_PRIVATE	16
#define MAX_COHERENT	2
#define MAX_SIZE_MIB	(512 * 1024)	/* more is too much for one kvcalloc() */
#define MAX_FAULT_ENTRIES	65536

static unsigned int private_devices = 2;
module_param(private_devices, uint, 0444);
MODULE_PARM_DESC(private_devices,
		 "Number of devices with private memory, 0 to 16 (default 2)");

static unsigned long private_size = 512;
module_param(private_size, ulong, 0444);
MODULE_PARM_DESC(private_size,
		 "Memory of each private device in MiB, a multiple of 2 up to 524288 (default 512)");

static unsigned long spm_addr_dev0;
module_param(spm_addr_dev0, ulong, 0444);
MODULE_PARM_DESC(spm_addr_dev0,
		 "Physical address of the first coherent device's memory, a multiple of 2 MiB; give both or none");

static unsigned long spm_addr_dev1;
module_param(spm_addr_dev1, ulong, 0444);
MODULE_PARM_DESC(spm_addr_dev1,
		 "Physical address of the second coherent device's memory, a multiple of 2 MiB; give both or none");

static unsigned long spm_size = 256;
module_param(spm_size, ulong, 0444);
MODULE_PARM_DESC(spm_size,
		 "Memory of each coherent device in MiB, a multiple of 2 up to 524288 (default 256)");

static unsigned long placeholder_size = 128;
module_param(placeholder_size, ulong, 0444);
MODULE_PARM_DESC(placeholder_size,
		 "How much purgeable memory of each device can be dropped and not yet unmapped, in MiB, a multiple of 2 up to 524288, or 0 for none (default 128)");

static bool hmm_abi = true;
module_param(hmm_abi, bool, 0444);
MODULE_PARM_DESC(hmm_abi,
		 "Offer the ABI of test_hmm on /dev/hmm_dmirrorN as well; say N beside test_hmm, which has nodes of that name (default Y)");

static unsigned int min_residency_ms = 10;
module_param(min_residency_ms, uint, 0644);
MODULE_PARM_DESC(min_residency_ms,
		 "How long a block of memory stays on a device after the last of its pages came before it can be evicted for other memory, in ms; 0 for not at all (default 10)");

static int set_window(const char *value, const struct kernel_param *param)
{
	unsigned int kib;
	u64 size;
	int ret;

	ret = kstrtouint(value, 0, &kib);
	if (ret)
		return ret;
	size = kib * (u64)SZ_1K;
	if (kib && (!is_power_of_2(size) || size < PAGE_SIZE ||
		    size > DMIRROR_BLOCK_SIZE)) {
		pr_err("dmirror: %s=%u: give a power of two from %lu to %lu, or 0\n",
		       param->name, kib, PAGE_SIZE / SZ_1K,
		       DMIRROR_BLOCK_SIZE / SZ_1K);
		return -EINVAL;
	}
	WRITE_ONCE(*(unsigned int *)param->arg, kib);
	return 0;
}

static const struct kernel_param_ops window_ops = {
	.set = set_window,
	.get = param_get_uint,
};

static unsigned int cpu_fault_window = 64;
module_param_cb(cpu_fault_window, &window_ops, &cpu_fault_window, 0644);
MODULE_PARM_DESC(cpu_fault_window,
		 "KiB that a CPU fault on device memory brings back, a power of two up to a huge page, or 0 for just the page (default 64)");

static unsigned int device_fault_window;
module_param_cb(device_fault_window, &window_ops, &device_fault_window, 0644);
MODULE_PARM_DESC(device_fault_window,
		 "KiB that a fault of a device's job migrates to the device, a power of two up to a huge page, or 0 for none (default 0)");

static unsigned int fault_entries = 64;
module_param(fault_entries, uint, 0444);
MODULE_PARM_DESC(fault_entries,
		 "Size of each device's fault buffer, 1 to 65536 (default 64)");

static unsigned int copy_engines = 2;
module_param(copy_engines, uint, 0444);
MODULE_PARM_DESC(copy_engines,
		 "Copy engines of each device, 1 to 8 (default 2)");

static bool interconnect;
module_param(interconnect, bool, 0444);
MODULE_PARM_DESC(interconnect,
		 "The devices reach each other's memory, and migrate straight to each other (default N)");

static struct dmirror_hw_link hw_link;
static struct dmirror_device *devices[MAX_PRIVATE + MAX_COHERENT];
static unsigned int nr_devices;

/**
 * dmirror_device_nr() - a device by its number
 * @nr: the number
 *
 * Context: any.
 * Return: the device, which stays as long as a file is open; NULL if there are not as
 * many.
 */
struct dmirror_device *dmirror_device_nr(unsigned int nr)
{
	return nr < nr_devices ? devices[nr] : NULL;
}

/**
 * dmirror_placeholder_size() - how much dropped memory a device keeps track of
 *
 * Context: any.
 * Return: bytes, a multiple of the block size; may be 0.
 */
u64 dmirror_placeholder_size(void)
{
	return placeholder_size * (u64)SZ_1M;
}

/**
 * dmirror_min_residency() - how long memory is safe from eviction
 *
 * Context: any.
 * Return: the time in jiffies.
 */
unsigned long dmirror_min_residency(void)
{
	return msecs_to_jiffies(READ_ONCE(min_residency_ms));
}

/**
 * dmirror_cpu_fault_window() - how much a CPU fault brings back
 *
 * Context: any.
 * Return: bytes, a power of two and at least a page.
 */
u64 dmirror_cpu_fault_window(void)
{
	return max_t(u64, READ_ONCE(cpu_fault_window) * (u64)SZ_1K, PAGE_SIZE);
}

/**
 * dmirror_device_fault_window() - how much a device fault migrates
 *
 * Context: any.
 * Return: bytes, a power of two and at least a page, or 0 for none.
 */
u64 dmirror_device_fault_window(void)
{
	return READ_ONCE(device_fault_window) * (u64)SZ_1K;
}

static int check_size(const char *name, unsigned long mib)
{
	if (mib && mib <= MAX_SIZE_MIB &&
	    IS_ALIGNED(mib * SZ_1M, DMIRROR_BLOCK_SIZE))
		return 0;
	pr_err("dmirror: %s=%lu: give a number of MiB that is a multiple of %lu and no more than %u\n",
	       name, mib, DMIRROR_BLOCK_SIZE / SZ_1M, MAX_SIZE_MIB);
	return -EINVAL;
}

static int check_number(const char *name, unsigned int value, unsigned int max)
{
	if (value && value <= max)
		return 0;
	pr_err("dmirror: %s=%u: give a number from 1 to %u\n", name, value,
	       max);
	return -EINVAL;
}

static int check_coherent(void)
{
	unsigned long size = spm_size * SZ_1M;
	unsigned long low = min(spm_addr_dev0, spm_addr_dev1);
	unsigned long high = max(spm_addr_dev0, spm_addr_dev1);

	if (!high)
		return 0;
	if (!low) {
		pr_err("dmirror: give both spm_addr_dev0 and spm_addr_dev1, or none\n");
		return -EINVAL;
	}
	if (!IS_ALIGNED(low | high, DMIRROR_BLOCK_SIZE)) {
		pr_err("dmirror: spm_addr_dev0 and spm_addr_dev1 must be multiples of %#lx\n",
		       DMIRROR_BLOCK_SIZE);
		return -EINVAL;
	}
	if (check_size("spm_size", spm_size))
		return -EINVAL;
	if (high - low < size || high + size < high) {
		pr_err("dmirror: spm_addr_dev0=%#lx spm_addr_dev1=%#lx: two times %lu MiB overlap or do not fit\n",
		       spm_addr_dev0, spm_addr_dev1, spm_size);
		return -EINVAL;
	}
	return 0;
}

static int check_parameters(void)
{
	if (private_devices > MAX_PRIVATE) {
		pr_err("dmirror: private_devices=%u: no more than %u are possible\n",
		       private_devices, MAX_PRIVATE);
		return -EINVAL;
	}
	if (private_devices && check_size("private_size", private_size))
		return -EINVAL;
	if (check_coherent())
		return -EINVAL;
	if (placeholder_size &&
	    check_size("placeholder_size", placeholder_size))
		return -EINVAL;
	if (check_number("copy_engines", copy_engines, DMIRROR_HW_ENGINES_MAX))
		return -EINVAL;
	if (check_number("fault_entries", fault_entries, MAX_FAULT_ENTRIES))
		return -EINVAL;
	if (!private_devices && !spm_addr_dev0) {
		pr_err("dmirror: no devices: give private_devices or spm_addr_dev0 and spm_addr_dev1\n");
		return -EINVAL;
	}
	return 0;
}

static int add_node(struct miscdevice *misc, const char *name,
		    const struct file_operations *fops)
{
	misc->minor = MISC_DYNAMIC_MINOR;
	misc->name = name;
	misc->fops = fops;
	misc->mode = 0600;
	return misc_register(misc);
}

static int add_device(enum dmirror_memory_type type, u64 start, u64 size)
{
	struct dmirror_device *dev;
	int ret;

	dev = kzalloc_obj(*dev, GFP_KERNEL);
	if (!dev)
		return -ENOMEM;
	dev->id = nr_devices;
	dev->hw.id = dev->id;
	dev->owner = dev;
	if (interconnect) {
		dev->owner = &hw_link;
		dev->hw.link = &hw_link;
		hw_link.members[dev->id] = &dev->hw;
	}
	dev->type = type;
	dev->start = start;
	snprintf(dev->name, sizeof(dev->name), "dmirror%u", dev->id);
	snprintf(dev->hmm_name, sizeof(dev->hmm_name), "hmm_dmirror%u",
		 dev->id);

	INIT_WORK(&dev->fault_work, dmirror_fault_work);
	dev->hw.faults.interrupt = dmirror_fault_interrupt;
	dmirror_hw_init(&dev->hw, size, copy_engines, fault_entries);
	dev->workers = alloc_workqueue("%s", WQ_UNBOUND, WQ_MAX_ACTIVE,
				       dev->name);
	ret = -ENOMEM;
	if (!dev->workers)
		goto free;
	dev->dispatcher = alloc_ordered_workqueue("%s-faults", 0, dev->name);
	if (!dev->dispatcher)
		goto destroy_workers;
	ret = dmirror_evict_init(dev);
	if (ret)
		goto destroy_dispatcher;
	ret = dmirror_plug_init(dev);
	if (ret)
		goto evict_fini;
	ret = dmirror_plug(dev);
	if (ret)
		goto plug_fini;
	devices[nr_devices++] = dev;
	return 0;

plug_fini:
	dmirror_plug_fini(dev);
evict_fini:
	dmirror_evict_fini(dev);
destroy_dispatcher:
	destroy_workqueue(dev->dispatcher);
destroy_workers:
	destroy_workqueue(dev->workers);
free:
	kfree(dev);
	return ret;
}

static void remove_devices(void)
{
	while (nr_devices) {
		struct dmirror_device *dev = devices[--nr_devices];

		dmirror_plug_fini(dev);
		/* It may have served the last fault and still be looking for another. */
		destroy_workqueue(dev->dispatcher);
		destroy_workqueue(dev->workers);
		dmirror_evict_fini(dev);
		kfree(dev);
	}
}

static int add_devices(void)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < private_devices && !ret; i++)
		ret = add_device(DMIRROR_MEMORY_PRIVATE, 0,
				 private_size * SZ_1M);
	if (!spm_addr_dev0 || ret)
		return ret;

	ret = add_device(DMIRROR_MEMORY_COHERENT, spm_addr_dev0,
			 spm_size * SZ_1M);
	if (!ret)
		ret = add_device(DMIRROR_MEMORY_COHERENT, spm_addr_dev1,
				 spm_size * SZ_1M);
	return ret;
}

static void remove_nodes(unsigned int nr)
{
	while (nr--) {
		if (hmm_abi)
			misc_deregister(&devices[nr]->hmm_misc);
		misc_deregister(&devices[nr]->misc);
	}
}

/*
 * All nodes are registered. Until then loading can fail, and does not wait for files
 * that were opened meanwhile.
 */
static bool ready;

/**
 * dmirror_ready() - can a node be opened yet?
 *
 * Context: any.
 * Return: false while the module may still fail to load.
 */
bool dmirror_ready(void)
{
	return READ_ONCE(ready);
}

/* Once there is a node there may be users: everything else comes before. */
static int add_nodes(void)
{
	struct dmirror_device *dev;
	unsigned int i;
	int ret;

	for (i = 0; i < nr_devices; i++) {
		dev = devices[i];
		ret = add_node(&dev->misc, dev->name, &dmirror_fops);
		if (ret)
			break;
		if (!hmm_abi)
			continue;
		ret = add_node(&dev->hmm_misc, dev->hmm_name,
			       &dmirror_hmm_fops);
		if (ret) {
			misc_deregister(&dev->misc);
			break;
		}
	}
	if (i == nr_devices) {
		WRITE_ONCE(ready, true);
		return 0;
	}
	pr_err("dmirror%u: cannot make its nodes in /dev: error %d\n", i, ret);
	remove_nodes(i);
	return ret;
}

static int __init dmirror_init(void)
{
	int ret;

	ret = check_parameters();
	if (ret)
		return ret;

	ret = add_devices();
	if (ret)
		goto remove_devices;
	dmirror_svm_teach_lockdep(devices[0]);
	ret = add_nodes();
	if (ret)
		goto remove_devices;
	/* Last: if loading failed after it, open files in debugfs would not be waited for. */
	dmirror_debugfs_init();
	pr_info("dmirror: %u devices; for tests, not for production\n",
		nr_devices);
	return 0;

remove_devices:
	remove_devices();
	return ret;
}
module_init(dmirror_init);

static void __exit dmirror_exit(void)
{
	remove_nodes(nr_devices);
	dmirror_debugfs_exit();
	remove_devices();
}
module_exit(dmirror_exit);

MODULE_DESCRIPTION("Reference driver for HMM device memory on a simulated device");
MODULE_LICENSE("GPL");
