// SPDX-License-Identifier: GPL-2.0
/*
 * Unplugging a device while it is in use, and plugging it in again.
 *
 * Whoever is going to use the hardware enters the device first, and leaves it
 * when done: an ioctl, but for DMIRROR_IOC_WAIT, for as long as it runs, a job
 * until it is complete. To
 * unplug a device is
 *
 *	close		nobody enters any more, and new work gets -ENODEV
 *	stop		the mirrors: their jobs are cancelled, their calls end
 *	wait		until everybody has left. From here on nothing uses the
 *			device but mm, by CPU faults on its memory
 *	unmap		all that the device has mapped of anybody's memory
 *	evict		its memory, in passes until nothing is left
 *	tear down	its ZONE_DEVICE memory, then the hardware
 *
 * A CPU fault never enters. It holds a page of the device, whose ZONE_DEVICE
 * memory waits for the last page, and the hardware is there for longer: so a
 * fault works up to the end, and there is nothing that it could be refused.
 *
 * The module is unloaded by the same steps.
 */
#include <linux/completion.h>
#include <linux/percpu-refcount.h>

#include "dmirror.h"

static void last_user_left(struct percpu_ref *users)
{
	struct dmirror_device *dev = container_of(users, struct dmirror_device,
						  users);

	complete_all(&dev->unused);
}

/**
 * dmirror_device_enter() - begin to use the hardware
 * @dev: the device
 *
 * Who has entered leaves again by dmirror_device_exit() and does not wait for
 * anything that only somebody else's entering could bring about.
 *
 * Context: any.
 * Return: false if the device is unplugged, or being unplugged.
 */
bool dmirror_device_enter(struct dmirror_device *dev)
{
	return percpu_ref_tryget_live(&dev->users);
}

/**
 * dmirror_device_hold() - have somebody else use the hardware as well
 * @dev: the device, which the caller has entered
 *
 * For what goes on when the caller has left; it leaves by dmirror_device_exit().
 *
 * Context: any.
 */
void dmirror_device_hold(struct dmirror_device *dev)
{
	percpu_ref_get(&dev->users);
}

/**
 * dmirror_device_exit() - stop using the hardware
 * @dev: the device, which may be torn down as soon as this is called
 *
 * Context: any.
 */
void dmirror_device_exit(struct dmirror_device *dev)
{
	percpu_ref_put(&dev->users);
}

/**
 * dmirror_device_closed() - is the device unplugged, or being unplugged?
 * @dev: the device
 *
 * Context: any. The answer may be old when it arrives, unless the caller holds
 * a lock that dmirror_unplug() takes after it has closed the device.
 * Return: true if so.
 */
bool dmirror_device_closed(struct dmirror_device *dev)
{
	return percpu_ref_is_dying(&dev->users);
}

/* Nobody enters any more, and who has entered is told to leave. */
static void close_device(struct dmirror_device *dev)
{
	if (dmirror_device_closed(dev))
		return;
	reinit_completion(&dev->unused);
	percpu_ref_kill(&dev->users);
	dmirror_mirrors_stop(dev);
}

static int unplug(struct dmirror_device *dev, enum dmirror_evict why)
{
	int ret;

	if (!dev->present)
		return 0;
	close_device(dev);
	if (why == DMIRROR_EVICT_UNLOAD)
		wait_for_completion(&dev->unused);
	else if (wait_for_completion_killable(&dev->unused))
		return -EINTR;

	dmirror_mirrors_unmap(dev);
	ret = dmirror_evict_all(dev, why);
	if (ret)
		return ret;
	dmirror_devmem_fini(dev);
	dev->present = false;
	return 0;
}

/**
 * dmirror_unplug() - take a device away, whoever uses it
 * @dev: the device
 *
 * Files that are open stay open, and answer -ENODEV for ever. Their jobs are
 * cancelled. What programs have on the device comes back to system memory.
 *
 * Context: may sleep, until those who use the device have stopped and those who
 * hold pages of it have given them back.
 * Return: 0 when the device is gone, which it may have been before; -EINTR on a
 * fatal signal. The device stays closed then, with what is left of its memory,
 * and dmirror_unplug() or dmirror_plug() go on where this was interrupted.
 */
int dmirror_unplug(struct dmirror_device *dev)
{
	int ret;

	if (mutex_lock_killable(&dev->plug_lock))
		return -EINTR;
	ret = unplug(dev, DMIRROR_EVICT_UNPLUG);
	mutex_unlock(&dev->plug_lock);
	return ret;
}

static int plug(struct dmirror_device *dev)
{
	int ret;

	if (dev->present && !dmirror_device_closed(dev))
		return 0;
	/* If somebody has begun to unplug it, that has to come to its end. */
	ret = unplug(dev, DMIRROR_EVICT_UNPLUG);
	if (ret)
		return ret;

	ret = dmirror_devmem_init(dev);
	if (ret)
		return ret;
	dev->present = true;
	percpu_ref_reinit(&dev->users);
	return 0;
}

/**
 * dmirror_plug() - bring a device up
 * @dev: the device, from dmirror_plug_init()
 *
 * Its memory is empty, and it has no mirrors but those of files that are dead.
 *
 * Context: may sleep.
 * Return: 0 when the device is there, which it may have been before; -EINTR on a
 * fatal signal; or the error of dmirror_devmem_init().
 */
int dmirror_plug(struct dmirror_device *dev)
{
	int ret;

	if (mutex_lock_killable(&dev->plug_lock))
		return -EINTR;
	ret = plug(dev);
	mutex_unlock(&dev->plug_lock);
	return ret;
}

/**
 * dmirror_plug_init() - what unplugging and plugging in need
 * @dev: the device, which then is one that is unplugged
 *
 * Context: may sleep.
 * Return: 0, or -ENOMEM.
 */
int dmirror_plug_init(struct dmirror_device *dev)
{
	mutex_init(&dev->plug_lock);
	INIT_LIST_HEAD(&dev->mirrors);
	init_completion(&dev->unused);
	return percpu_ref_init(&dev->users, last_user_left,
			       PERCPU_REF_ALLOW_REINIT | PERCPU_REF_INIT_DEAD,
			       GFP_KERNEL);
}

/**
 * dmirror_plug_fini() - undo dmirror_plug_init(), for good
 * @dev: the device; no file of it is open; unplugged here unless it already is
 *
 * Context: may sleep; no signal ends this.
 */
void dmirror_plug_fini(struct dmirror_device *dev)
{
	mutex_lock(&dev->plug_lock);
	unplug(dev, DMIRROR_EVICT_UNLOAD);
	mutex_unlock(&dev->plug_lock);
	percpu_ref_exit(&dev->users);
}
