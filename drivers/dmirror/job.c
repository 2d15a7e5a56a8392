// SPDX-License-Identifier: GPL-2.0
/*
 * Jobs: what a program asks of the device, from the request to its completion.
 *
 * A job of the compute engine runs on the device, faults, is served by fault.c
 * and goes on; a migration runs on a worker of the driver. Either way a job is
 * complete exactly once, whatever the program does meanwhile: it may exit, and
 * then its jobs end with -ESRCH, or close the file, which cancels and waits.
 */
#include <linux/completion.h>
#include <linux/eventfd.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "dmirror.h"

/* A file has no more jobs than this that nobody has waited for. */
#define JOBS_MAX	64

static struct dmirror_job *job_alloc(struct dmirror_svm *svm, u64 end)
{
	struct dmirror_job *job = kzalloc_obj(*job, GFP_KERNEL_ACCOUNT);

	if (!job)
		return NULL;
	job->svm = svm;
	job->end = end;
	INIT_LIST_HEAD(&job->link);
	init_completion(&job->done);
	return job;
}

/*
 * Under the lock, since whoever waits frees the job: the eventfd has been signalled by
 * then, and nothing comes after the file is closed. Background work cannot be killed,
 * so -EINTR means that the mirror was stopped.
 */
static void job_complete(struct dmirror_job *job, int ret)
{
	struct eventfd_ctx *eventfd = job->eventfd;
	struct dmirror_svm *svm = job->svm;
	struct dmirror_device *dev = svm->dev;

	spin_lock(&svm->jobs_lock);
	job->ret = ret == -EINTR ? -ECANCELED : ret;
	complete_all(&job->done);
	if (eventfd)
		eventfd_signal(eventfd);
	spin_unlock(&svm->jobs_lock);
	if (eventfd)
		eventfd_ctx_put(eventfd);
	dmirror_device_exit(dev);
}

static void compute_complete(struct dmirror_hw_job *hw, int ret)
{
	struct dmirror_job *job = container_of(hw, struct dmirror_job, hw);

	job->bytes = hw->done;
	job->fault_addr = hw->fault_addr;
	job_complete(job, ret);
}

static struct dmirror_job *compute_alloc(struct dmirror_svm *svm,
					 const struct dmirror_hw_job *template,
					 u64 end)
{
	struct dmirror_job *job = job_alloc(svm, end);

	if (!job)
		return NULL;
	job->hw = *template;
	job->hw.hw = &svm->dev->hw;
	job->hw.pt = &svm->pt;
	job->hw.pt_lock = &svm->lock;
	job->hw.complete = compute_complete;
	return job;
}

/*
 * Add the job to those of the mirror, where who unplugs the device finds it and
 * cancels it. One in the background gets a number, and *id is set to that.
 */
static int job_add(struct dmirror_svm *svm, struct dmirror_job *job, u64 *id)
{
	int ret = 0;

	spin_lock(&svm->jobs_lock);
	if (svm->stopped) {
		ret = -ENODEV;
	} else if (id && svm->nr_jobs == JOBS_MAX) {
		ret = -EBUSY;
	} else {
		if (id) {
			svm->nr_jobs++;
			job->id = ++svm->last_job;
			*id = job->id;
		}
		list_add_tail(&job->link, &svm->jobs);
	}
	spin_unlock(&svm->jobs_lock);
	return ret;
}

static void job_remove(struct dmirror_svm *svm, struct dmirror_job *job)
{
	spin_lock(&svm->jobs_lock);
	list_del(&job->link);
	if (job->id)
		svm->nr_jobs--;
	spin_unlock(&svm->jobs_lock);
	kfree(job);
}

/**
 * dmirror_job_run() - have the compute engine do something, and wait for it
 * @svm: the mirror
 * @template: what to do; what it came to is written back here
 * @end: where the request that the job is a part of ends, an address as
 *	@template->addr is; one fault brings in all that is left of it
 * @faults: counts the faults
 *
 * Context: may sleep; the caller has entered the device and holds a reference
 * on the users of svm->mm.
 * Return: 0 when the job is done; -ENOMEM; -EINTR on a fatal signal or if the
 * mirror was stopped; -ENODEV if it was before; or the error of
 * dmirror_fault_range(), with the address in @template.
 */
int dmirror_job_run(struct dmirror_svm *svm, struct dmirror_hw_job *template,
		    u64 end, u64 *faults)
{
	struct dmirror_job *job;
	int ret;

	job = compute_alloc(svm, template, end);
	if (!job)
		return -ENOMEM;
	ret = job_add(svm, job, NULL);
	if (ret) {
		kfree(job);
		return ret;
	}
	dmirror_device_hold(svm->dev);
	dmirror_hw_submit(&job->hw);
	if (wait_for_completion_killable(&job->done)) {
		dmirror_hw_cancel(&job->hw);
		wait_for_completion(&job->done);
	}

	*template = job->hw;
	*faults += job->faults;
	ret = job->ret == -ECANCELED ? -EINTR : job->ret;
	job_remove(svm, job);
	return ret;
}

static void migrate_work(struct work_struct *work)
{
	struct dmirror_job *job = container_of(work, struct dmirror_job, work);
	struct dmirror_svm *svm = job->svm;
	struct mem_cgroup *memcg, *old;
	int ret;

	/* What it takes is the program's, not the worker's. */
	memcg = dmirror_svm_memcg(svm);
	old = set_active_memcg(memcg);
	ret = dmirror_migrate_range(svm, job->target, job->start, job->end,
				    &job->stats);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
	job->fault_addr = job->stats.fault_addr;
	job->bytes = job->stats.moved;
	job_complete(job, ret);
}

/* Give the job, if there was memory for it, its number and its eventfd. */
static int job_launch(struct dmirror_svm *svm, struct dmirror_job *job,
		      struct eventfd_ctx *eventfd, u64 *id)
{
	int ret = -ENOMEM;

	if (job) {
		job->eventfd = eventfd;
		ret = job_add(svm, job, id);
	}
	if (ret) {
		kfree(job);
		if (eventfd)
			eventfd_ctx_put(eventfd);
		return ret;
	}

	/* From here on somebody who guesses the number may end the job. */
	dmirror_device_hold(svm->dev);
	return 0;
}

/**
 * dmirror_job_submit() - have something computed in the background
 * @svm: the mirror
 * @template: what to do
 * @eventfd: to signal when the job is complete, or NULL; the job takes it over
 * @id: set to the number of the job
 *
 * Context: may sleep; the caller has entered the device and holds a reference
 * on the users of svm->mm.
 * Return: 0; -ENOMEM; -EBUSY if the file has too many jobs that nobody has
 * waited for; -ENODEV if the mirror was stopped.
 */
int dmirror_job_submit(struct dmirror_svm *svm,
		       const struct dmirror_hw_job *template,
		       struct eventfd_ctx *eventfd, u64 *id)
{
	struct dmirror_job *job;
	int ret;

	job = compute_alloc(svm, template, template->addr + template->len);
	ret = job_launch(svm, job, eventfd, id);
	if (!ret)
		dmirror_hw_submit(&job->hw);
	return ret;
}

/**
 * dmirror_job_migrate() - have a range migrated in the background
 * @svm: the mirror
 * @target: where to
 * @start: first address, page aligned
 * @end: first address after it, page aligned
 * @eventfd: as for dmirror_job_submit()
 * @id: set to the number of the job
 *
 * Context: as dmirror_job_submit().
 * Return: as dmirror_job_submit().
 */
int dmirror_job_migrate(struct dmirror_svm *svm, enum dmirror_target target,
			u64 start, u64 end, struct eventfd_ctx *eventfd, u64 *id)
{
	struct dmirror_job *job = job_alloc(svm, end);
	int ret;

	if (job) {
		job->target = target;
		job->start = start;
		INIT_WORK(&job->work, migrate_work);
	}
	ret = job_launch(svm, job, eventfd, id);
	if (!ret)
		queue_work(svm->dev->workers, &job->work);
	return ret;
}

/* Take a job from the file; only one of several who wait for it gets it. */
static struct dmirror_job *job_claim(struct dmirror_svm *svm, u64 id, bool poll)
{
	struct dmirror_job *job, *found;

	spin_lock(&svm->jobs_lock);
	found = ERR_PTR(svm->stopped ? -ENODEV : -ENOENT);
	list_for_each_entry(job, &svm->jobs, link) {
		if (!job->id || job->id != id || job->claimed)
			continue;
		if (poll && !completion_done(&job->done)) {
			found = ERR_PTR(-EAGAIN);
		} else {
			job->claimed = true;
			found = job;
		}
		break;
	}
	spin_unlock(&svm->jobs_lock);
	return found;
}

static void job_unclaim(struct dmirror_svm *svm, struct dmirror_job *job)
{
	spin_lock(&svm->jobs_lock);
	job->claimed = false;
	spin_unlock(&svm->jobs_lock);
}

/**
 * dmirror_job_wait() - wait for a job in the background to complete
 * @svm: the mirror
 * @id: number of the job
 * @poll: do not wait
 *
 * Context: may sleep.
 * Return: the job, to be ended by dmirror_job_finish(); -ENOENT if there is
 * none of that number, or -ENODEV then if the device was unplugged; -EAGAIN if it
 * is not complete and @poll says so; -ERESTARTSYS on a signal.
 */
struct dmirror_job *dmirror_job_wait(struct dmirror_svm *svm, u64 id, bool poll)
{
	struct dmirror_job *job = job_claim(svm, id, poll);
	int ret;

	if (IS_ERR(job))
		return job;
	ret = wait_for_completion_interruptible(&job->done);
	if (!ret)
		return job;
	job_unclaim(svm, job);
	return ERR_PTR(ret);
}

/**
 * dmirror_job_finish() - forget a job that is complete
 * @svm: the mirror
 * @job: the job, from dmirror_job_wait(), which is freed
 *
 * Context: process context.
 */
void dmirror_job_finish(struct dmirror_svm *svm, struct dmirror_job *job)
{
	job_remove(svm, job);
}

/**
 * dmirror_job_forget() - end a job of which nobody has learnt the number
 * @svm: the mirror
 * @id: number of the job
 *
 * So that it is not one of those that a file may have, until the file is closed.
 *
 * Context: may sleep, until the job is complete, or there is a fatal signal.
 */
void dmirror_job_forget(struct dmirror_svm *svm, u64 id)
{
	struct dmirror_job *job = job_claim(svm, id, false);

	if (IS_ERR(job))
		return;
	if (!job->target)
		dmirror_hw_cancel(&job->hw);
	if (wait_for_completion_killable(&job->done))
		job_unclaim(svm, job);
	else
		job_remove(svm, job);
}

/**
 * dmirror_jobs_stop() - have all work for a mirror end soon
 * @svm: the mirror, which is given no more work from here on
 *
 * Jobs are cancelled, and whoever works for the mirror comes to see that it is
 * stopped.
 *
 * Context: process context; does not wait.
 */
void dmirror_jobs_stop(struct dmirror_svm *svm)
{
	struct dmirror_job *job;

	spin_lock(&svm->jobs_lock);
	WRITE_ONCE(svm->stopped, true);
	list_for_each_entry(job, &svm->jobs, link)
		if (!job->target)
			dmirror_hw_cancel(&job->hw);
	spin_unlock(&svm->jobs_lock);
}

/**
 * dmirror_jobs_cancel() - cancel what a mirror has in the background
 * @svm: the mirror, of which nobody submits any more
 *
 * Context: may sleep, until all jobs are complete.
 */
void dmirror_jobs_cancel(struct dmirror_svm *svm)
{
	struct dmirror_job *job, *next;

	dmirror_jobs_stop(svm);
	list_for_each_entry_safe(job, next, &svm->jobs, link) {
		wait_for_completion(&job->done);
		dmirror_job_finish(svm, job);
	}
	/* It may still be about to find that there is nothing to do. */
	cancel_work_sync(&svm->fault_work);
}
