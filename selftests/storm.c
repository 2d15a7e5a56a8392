// SPDX-License-Identifier: GPL-2.0
/*
 * Storms: processes with threads that do everything at the same time, and weather
 * around them: compaction, khugepaged, ksmd, eviction, devices that are unplugged,
 * memory that goes offline. What they do comes from a seed, which is printed, and
 * which the environment gives again, as it may give more steps: see storm_setting().
 *
 * Meanwhile the page tables of all of them are looked at: every migration entry
 * must belong to a locked page. When the storm is over and the devices are gone, no
 * migration entry and no device entry is left in any mapping, and each page has the
 * contents that the model says.
 */
#include <sys/prctl.h>

#include "dmirror_entries.h"
#include "dmirror_state.h"
#include "dmirror_storm.h"
#include "dmirror_swap.h"

#define PROCESSES	2
#define PROCESSES_MAX	16
#define STEPS		160
#define WEATHER_ROUNDS	(dm_rounds(4) / 2)	/* in each, all kinds of it */
#define LOOKS		20000	/* for what is there most of the time */
#define BOUND		60	/* seconds in which whatever is not stuck gets on */

/* What the kernel counts of the weather in /proc/vmstat */
enum vmstat_word {
	PSWPOUT,
	PSWPIN,
	COMPACT_ISOLATED,
	PGMIGRATE_SUCCESS,
	THP_COLLAPSE_ALLOC,
	VMSTAT_WORDS
};

static const char * const vmstat_words[VMSTAT_WORDS] = {
	"pswpout", "pswpin", "compact_isolated", "pgmigrate_success", "thp_collapse_alloc",
};

/*
 * A storm of several processes
 */

struct fleet {
	struct dm dm;
	unsigned int devices[2];
	__u64 seed;
	unsigned int steps;	/* of a thread */
	unsigned int processes;	/* and one more that is killed */
	__u64 *words;		/* shared: what the processes are to do next */
	pid_t pids[PROCESSES_MAX + 1];
	struct storm_tally *tallies[PROCESSES_MAX + 1];
	bool module;
	unsigned long scans;
	unsigned long met;	/* migration entries */
	unsigned int offline;	/* blocks of memory that went, and came back */
	long vmstat[ARRAY_SIZE(vmstat_words)];	/* before the storm */
};

enum word {
	WORD_CHECK,		/* processes may look at their memory */
	WORD_DONE,		/* the first process has ended its storm; and so on */
};

/* Two devices of the kind that the test is about, or one twice */
static void find_devices(const struct dm *dm, unsigned int *devices)
{
	int fd, second = dm_find(dm->backing.memory_type, 1, &fd);

	devices[0] = dm->device;
	devices[1] = second < 0 ? dm->device : second;
	if (fd >= 0)
		close(fd);
}

static void process_main(struct fleet *fleet, unsigned int number)
{
	struct dm small = dm_unmapping(&fleet->dm);
	bool killed = number == fleet->processes;
	static struct storm s;

	DM_CHECK(!storm_init(&s, killed ? &small : &fleet->dm, fleet->devices,
			     fleet->seed, number, fleet->steps));
	s.tally = fleet->tallies[number];
	DM_CHECK(!storm_run(&s));
	DM_CHECK(!storm_check_all(&s));
	dm_poke(fleet->words + WORD_DONE + number, 1);
	dm_await(fleet->words + WORD_CHECK, 1);
	DM_CHECK(!storm_check_all(&s));
	_exit(0);
}

static int fleet_start(struct fleet *fleet)
{
	unsigned int i;

	fleet->words = dm_shared();
	if (!fleet->words)
		return -ENOMEM;
	for (i = 0; i <= fleet->processes; i++) {
		fleet->tallies[i] = (void *)dm_shared();
		if (!fleet->tallies[i])
			return -ENOMEM;
		fleet->pids[i] = fork();
		if (!fleet->pids[i])
			process_main(fleet, i);
		if (fleet->pids[i] < 0)
			return -errno;
	}
	return 0;
}

/* A thread: looks at the page tables of all as long as the storm lasts */
static int look(struct dm_worker *w)
{
	struct fleet *fleet = w->arg;
	struct entries e;
	unsigned int i;
	int ret;

	for (i = 0; i <= fleet->processes && fleet->module; i++) {
		ret = entries_of(fleet->pids[i], &e);
		/* One is killed. */
		if (ret == -ESRCH)
			continue;
		if (ret)
			return ret;
		fleet->scans++;
		fleet->met += e.migration;
		if (!e.unlocked)
			continue;
		fprintf(stderr,
			"# process %d: of %lu migration entries, %lu are of pages that are not locked\n",
			fleet->pids[i], e.migration, e.unlocked);
		return -EILSEQ;
	}
	sched_yield();
	return 0;
}

/*
 * The weather
 */

#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged/"

static const char * const daemons[][3] = {
	/* file, during the storm, after it */
	{ KHUGEPAGED "scan_sleep_millisecs", "50", "3600000" },
	{ KHUGEPAGED "max_ptes_swap", "64", "0" },
	{ KHUGEPAGED "alloc_sleep_millisecs", "50", "60000" },
	{ DM_KSM "sleep_millisecs", "20", "20" },
	{ DM_KSM "pages_to_scan", "200", "100" },
	{ "/proc/sys/kernel/numa_balancing", "1", "0" },
	{ DM_KSM "run", "0", "2" },
	{ DM_KSM "run", "1", "0" },
};

static void set_daemons(unsigned int column)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(daemons); i++)
		dm_file_write(daemons[i][0], daemons[i][column]);
}

/* One of the last blocks of memory goes offline, if it can, and comes back. */
static bool hotplug(unsigned int from_end)
{
	unsigned int block = 1024;
	char path[96];
	bool offline;
	pid_t pid;

	do {
		if (!block--)
			return false;
		snprintf(path, sizeof(path),
			 "/sys/devices/system/memory/memory%u/state", block);
	} while (access(path, W_OK) || from_end--);
	/* It can take for ever, and then it is killed. */
	pid = fork();
	if (!pid) {
		alarm(2);
		_exit(dm_file_write(path, "offline") ? 1 : 0);
	}
	offline = !dm_wait(pid);
	dm_file_write(path, "online");
	return offline;
}

static void migrate_process(pid_t pid, unsigned int to)
{
	unsigned long from = 1UL << !to, nodes = 1UL << to;

	syscall(SYS_migrate_pages, pid, 8 * sizeof(nodes), &from, &nodes);
}

static int unplug_and_plug(unsigned int device)
{
	return dm_unplug(device) ?: dm_plug(device);
}

enum weather {
	WEATHER_COMPACTION,
	WEATHER_UNPLUG,
	WEATHER_UNPLUG_AGAIN,
	WEATHER_NODE,
	WEATHER_EVICTION,
	WEATHER_HOTPLUG,
	WEATHER_CACHES,
	WEATHER_KINDS
};

static int weather(struct fleet *fleet, struct storm_hand *h, enum weather kind)
{
	unsigned int device = fleet->devices[storm_random(h, 2)];
	pid_t pid = fleet->pids[storm_random(h, fleet->processes)];

	switch (kind) {
	case WEATHER_COMPACTION:
		dm_file_write("/proc/sys/vm/compact_memory", "1");
		return 0;
	case WEATHER_UNPLUG:
	case WEATHER_UNPLUG_AGAIN:
		return unplug_and_plug(device);
	case WEATHER_NODE:
		migrate_process(pid, storm_random(h, 2));
		return 0;
	case WEATHER_EVICTION:
		dm_knob(dm_debugfs_path(device, "evict"), "4194304");
		return 0;
	case WEATHER_HOTPLUG:
		fleet->offline += hotplug(storm_random(h, 8));
		return 0;
	default:
		dm_file_write("/proc/sys/vm/drop_caches", "1");
		return 0;
	}
}

/* What all storms of this program have met; each is a process of its own. */
static struct sky {
	__u64 storms;
	__u64 without_swap;
	__u64 vmstat[ARRAY_SIZE(vmstat_words)];
} *sky;

static void watch_weather(struct fleet *fleet)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vmstat_words); i++)
		fleet->vmstat[i] = dm_file_value("/proc/vmstat", vmstat_words[i]);
}

/* What it did in one storm is the kernel's own affair, see storms_have_weather. */
static void tell_weather(const struct fleet *fleet, bool swap)
{
	unsigned int i;
	long more;

	fprintf(stderr, "# weather: ksm pages_sharing %ld, blocks offline %u",
		dm_file_number(DM_KSM "pages_sharing"), fleet->offline);
	for (i = 0; i < ARRAY_SIZE(vmstat_words); i++) {
		more = dm_file_value("/proc/vmstat", vmstat_words[i]) - fleet->vmstat[i];
		fprintf(stderr, ", %s %ld", vmstat_words[i], more);
		sky->vmstat[i] += more;
	}
	fprintf(stderr, "\n");
	sky->storms++;
	sky->without_swap += !swap;
}

/* What the processes have done, all together, but for the one that is killed */
static struct storm_tally fleet_tally(const struct fleet *fleet)
{
	struct storm_tally sum = { 0 };
	unsigned int i, kind;

	for (i = 0; i < fleet->processes; i++) {
		const struct storm_tally *t = fleet->tallies[i];

		sum.steps += dm_peek(&t->steps);
		for (kind = 0; kind < ARRAY_SIZE(sum.ran); kind++)
			sum.ran[kind] += dm_peek(&t->ran[kind]);
		sum.to_device += dm_peek(&t->to_device);
		sum.to_system += dm_peek(&t->to_system);
		sum.dropped += dm_peek(&t->dropped);
	}
	return sum;
}

static bool fleet_did_all(const struct fleet *fleet)
{
	struct storm_tally tally = fleet_tally(fleet);

	return storm_did_all(&fleet->dm, &tally);
}

static __u64 steps_done(const struct fleet *fleet)
{
	return fleet_tally(fleet).steps;
}

/* What each thread of a process is doing in the kernel */
static void tell_where(pid_t pid)
{
	char command[128];

	snprintf(command, sizeof(command),
		 "head -n 30 /proc/%d/task/*/stack /proc/%d/task/*/syscall | sed 's/^/# /' >&2",
		 pid, pid);
	if (system(command))
		fprintf(stderr, "# process %d: nothing is known\n", pid);
}

/* Whether nothing has been done for so long that somebody must be stuck */
static bool is_stuck(struct fleet *fleet)
{
	static __u64 done;
	static double since;
	unsigned int i;

	if (steps_done(fleet) != done || !since) {
		done = steps_done(fleet);
		since = dm_now();
	}
	if (dm_now() < since + BOUND)
		return false;
	fprintf(stderr, "# nothing has been done for %u s\n", BOUND);
	for (i = 0; i < fleet->processes; i++) {
		entries_settled(fleet->pids[i], fleet->module);
		tell_where(fleet->pids[i]);
	}
	return true;
}

/* As it does before it is told to only if something is wrong */
static bool one_has_ended(const struct fleet *fleet)
{
	siginfo_t info;
	unsigned int i;

	for (i = 0; i < fleet->processes; i++) {
		info.si_pid = 0;
		if (waitid(P_PID, fleet->pids[i], &info, WEXITED | WNOHANG | WNOWAIT) ||
		    info.si_pid)
			return true;
	}
	return false;
}

/* Some weather, spread over the storm; the last process is killed in the middle. */
static int all_weather(struct fleet *fleet)
{
	const unsigned int nr = WEATHER_ROUNDS * WEATHER_KINDS *
				(fleet->steps / storm_usual_steps(STEPS) ?: 1);
	const __u64 all = (__u64)fleet->processes * STORM_HANDS * fleet->steps;
	struct storm_hand h = { .random = fleet->seed };
	pid_t killed = fleet->pids[fleet->processes];
	unsigned int kinds[WEATHER_KINDS] = { 0 };
	unsigned int i;
	int ret = 0;

	for (i = 0; i < nr && !ret; i++) {
		while (steps_done(fleet) < all * i / nr) {
			if (one_has_ended(fleet) || is_stuck(fleet))
				return -ETIME;
			dm_msleep(5);
		}
		if (i == nr / 2)
			kill(killed, SIGKILL);
		if (!(i % WEATHER_KINDS))
			storm_shuffle(&h, kinds, WEATHER_KINDS);
		ret = weather(fleet, &h, kinds[i % WEATHER_KINDS]);
	}
	return ret ?: dm_wait(killed) == -SIGKILL ? 0 : -ECHILD;
}

/* All through with their storms, or a negative errno: then none is left. */
static int fleet_await(struct fleet *fleet)
{
	unsigned int i, n;

	for (i = 0; i < fleet->processes; dm_msleep(5)) {
		if (dm_peek(fleet->words + WORD_DONE + i))
			i++;
		else if (waitpid(fleet->pids[i], NULL, WNOHANG) ||
			 is_stuck(fleet))
			break;
	}
	for (n = 0; i < fleet->processes && n <= fleet->processes; n++)
		kill(fleet->pids[n], SIGKILL);
	return i < fleet->processes ? -ECHILD : 0;
}

struct commuter {
	int fd;
	char *mem;
	size_t len;
};

static int commute(struct dm_worker *w)
{
	const struct commuter *c = w->arg;
	struct dmirror_migrate m;

	return dm_migrate(c->fd, c->mem, c->len, w->done % 2 ?
			  DMIRROR_TARGET_SYSTEM : DMIRROR_TARGET_DEVICE, &m);
}

/* Who looks at the page tables sees what is there: memory does nothing but migrate. */
TEST_F_TIMEOUT(state, entries_are_met, 60)
{
	struct commuter c = { self->fd, self->mem, self->len };
	struct dm_worker w = { .step = commute, .arg = &c, .limit = ~0UL };
	bool private = variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE;
	unsigned long migrating = 0, there = 0;
	struct entries e;
	unsigned int i;

	if (!entries_begin()) {
		ASSERT_TRUE(access(ENTRIES_MODULE, F_OK));
		SKIP(return, "no " ENTRIES);
	}
	ASSERT_EQ(0, dm_worker_start(&w));
	for (i = 0; i < LOOKS && (!migrating || (private && !there)); i++) {
		ASSERT_EQ(0, entries_of(getpid(), &e));
		EXPECT_EQ(0, e.unlocked);
		EXPECT_TRUE(private || !e.device);
		migrating += e.migration;
		there += e.device;
		sched_yield();
	}
	EXPECT_EQ(0, dm_worker_stop(&w));
	EXPECT_LT(0, migrating);
	EXPECT_EQ(private, !!there);
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	entries_end();
}

TEST_F_TIMEOUT(state, storm, 120)
{
	struct dm_worker eye = { .step = look, .limit = ~0UL };
	const char *swap = dm_swap_begin();
	struct fleet fleet = { .dm = self->dm };
	unsigned int i;

	/* Children of those that are killed are this process's. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	find_devices(&self->dm, fleet.devices);
	fleet.seed = storm_choose_seed();
	fleet.steps = storm_steps(STEPS);
	fleet.processes = storm_setting("STORM_PROCESSES", PROCESSES, 1, PROCESSES_MAX);
	fleet.module = entries_begin();
	ASSERT_TRUE(fleet.module || access(ENTRIES_MODULE, F_OK));
	if (!fleet.module)
		TH_LOG("page tables are not looked at: no " ENTRIES);
	if (swap)
		TH_LOG("nothing is swapped: %s", swap);
	watch_weather(&fleet);
	set_daemons(1);
	ASSERT_EQ(0, fleet_start(&fleet));
	eye.arg = &fleet;
	ASSERT_EQ(0, dm_worker_start(&eye));
	EXPECT_EQ(0, all_weather(&fleet));
	ASSERT_EQ(0, fleet_await(&fleet)) {
		set_daemons(2);
	}
	EXPECT_EQ(0, dm_worker_stop(&eye));
	TH_LOG("%lu looks met %lu migration entries", fleet.scans, fleet.met);
	EXPECT_TRUE(!fleet.module || fleet.scans);
	EXPECT_TRUE(fleet_did_all(&fleet));
	/* While what ksmd has merged is still one */
	tell_weather(&fleet, !swap);
	set_daemons(2);
	if (!swap)
		dm_swap_end();

	/* The devices go; nothing is left of them, or of anything on its way. */
	ASSERT_EQ(0, dm_both(fleet.devices, dm_unplug));
	for (i = 0; i < fleet.processes; i++)
		EXPECT_EQ(0, entries_settled(fleet.pids[i], fleet.module));
	EXPECT_EQ(0, entries_settled(getpid(), fleet.module));
	ASSERT_EQ(0, dm_both(fleet.devices, dm_plug));
	dm_poke(fleet.words + WORD_CHECK, 1);
	for (i = 0; i < fleet.processes; i++)
		EXPECT_EQ(0, dm_wait_for(fleet.pids[i], BOUND));
	while (waitpid(-1, NULL, 0) > 0)
		;
	entries_end();
}

/* What the devices have counted, in bytes; but the last is what is there */
struct counted {
	long long to_device;
	long long to_system;
	long long from_peers;	/* of to_device */
	long long used;
};

static long long count_both(const unsigned int *devices, const char *name)
{
	long long sum = dm_counter(devices[0], name);

	if (devices[1] != devices[0])
		sum += dm_counter(devices[1], name);
	return sum;
}

static struct counted counted_since(const unsigned int *devices,
				    const struct counted *before)
{
	return (struct counted) {
		.to_device = count_both(devices, "to_device") - before->to_device,
		.to_system = count_both(devices, "to_system") - before->to_system,
		.from_peers = count_both(devices, "from_peers") - before->from_peers,
		.used = count_both(devices, "memory_used") - before->used,
	};
}

/* If nobody has unmapped anything, what has come and has not gone is there. */
static bool adds_up(const struct counted *c)
{
	if (c->used == c->to_device - c->from_peers - c->to_system)
		return true;
	fprintf(stderr, "# %lld to devices, %lld of it from peers, %lld back, and %lld there\n",
		c->to_device, c->from_peers, c->to_system, c->used);
	return false;
}

/*
 * Concurrent migrations of one range, by files of each of two devices, both ways: all
 * of them end, and each tells of every page. What they say has moved the devices have
 * counted. These count more: a call that finds pages busy fetches what is on another
 * device, which is none of its own moves, and tries again, and says once, or not at
 * all, what it moves twice, or what is taken from it meanwhile.
 */
static int one_range_step(struct dm_worker *w)
{
	struct storm_hand *h = w->arg;
	struct storm *s = h->storm;
	static const unsigned int targets[] = {
		DMIRROR_TARGET_DEVICE, DMIRROR_TARGET_SYSTEM,
	};

	return storm_migrate(h, s->mem, s->pages * s->dm.page, h->id & 1,
			     targets[storm_random(h, 2)]);
}

/* There mm would split what two migrate: see storm_huge_pages_race(). */
static struct dm to_be_shared(const struct dm *dm)
{
	struct dm small = *dm;

	if (storm_huge_pages_race() &&
	    dm->backing.memory_type == DMIRROR_MEMORY_COHERENT)
		small.backing.thp = false;
	return small;
}

/*
 * When mm collects a page that no other process has, it flushes that page by itself from
 * the TLB of the other CPU (patches/mm/0035). Where a machine has more to do than CPUs,
 * it waits for that CPU each time, for milliseconds.
 */
static unsigned int one_range_rounds(const struct dm *dm)
{
	return dm_rounds(dm->backing.thp ? 10 : 40);
}

TEST_F_TIMEOUT(state, one_range, 180)
{
	struct dm_worker workers[STORM_HANDS] = { 0 };
	struct dm dm = to_be_shared(&self->dm);
	struct counted before = { 0 }, c;
	unsigned int devices[2], i;
	struct storm s;

	find_devices(&dm, devices);
	ASSERT_EQ(0, storm_init(&s, &dm, devices,
				storm_choose_seed(), 0, 0));
	for (i = 0; i < s.pages; i++)
		storm_write(&s.hands[i / s.unit % STORM_HANDS], i, i + 2);
	before = counted_since(devices, &before);
	for (i = 0; i < STORM_HANDS; i++) {
		workers[i].step = one_range_step;
		workers[i].arg = &s.hands[i];
		workers[i].limit = one_range_rounds(&dm);
		ASSERT_EQ(0, dm_worker_start(&workers[i]));
	}
	for (i = 0; i < STORM_HANDS; i++) {
		pthread_join(workers[i].thread, NULL);
		EXPECT_EQ(0, workers[i].error);
	}
	c = counted_since(devices, &before);
	EXPECT_LE(s.tally->to_device, c.to_device);
	EXPECT_LE(s.tally->to_system, c.to_system);
	EXPECT_TRUE(adds_up(&c));
	EXPECT_EQ(0, dm_stuck(self->fd, s.mem, s.pages * s.dm.page));
	EXPECT_EQ(0, storm_check_all(&s));
	EXPECT_EQ(0, entries_left_behind(devices));
}

/*
 * Two callers of one ABI, each with a file of one device, who take turns together:
 * both want the range in system memory, then both on the device.
 */

#define CALLERS		2

struct caller {
	pthread_barrier_t *turn;
	unsigned int turns;
	int fd;
	bool hmm;
	char *mem;
	size_t len;
	char *buf;
	__u64 to_device;	/* bytes that it was told have moved */
	__u64 to_system;
	int error;
};

static int call_dmirror(struct caller *c, bool back)
{
	struct dmirror_migrate m;
	int ret = dm_migrate_raw(c->fd, c->mem, c->len,
				 back ? DMIRROR_TARGET_SYSTEM :
					DMIRROR_TARGET_DEVICE, &m);

	*(back ? &c->to_system : &c->to_device) += m.moved;
	return ret ?: dm_migrate_sum(&m) == c->len ? 0 : -EILSEQ;
}

/*
 * Here cpages is how much has moved only on the way back. On the way there it is what
 * was read from the device then, which is all, if the other one keeps no page busy.
 */
static int call_hmm(struct caller *c, bool back)
{
	struct hmm_cmd cmd;
	int ret = hmm_call(c->fd, back ? HMM_TO_SYS : HMM_TO_DEV, c->mem, c->buf,
			   c->len / dm_page_size(), &cmd);

	if (!back && ret == -ENOENT)
		return 0;
	if (ret)
		return ret;
	if (back)
		c->to_system += cmd.cpages * dm_page_size();
	return back || cmd.cpages * dm_page_size() == c->len ? 0 : -EILSEQ;
}

/* The other one waits for each turn, also after an error. */
static int take_turn(struct dm_worker *w)
{
	struct caller *c = w->arg;
	bool back = !(c->turns++ & 1);
	int ret;

	pthread_barrier_wait(c->turn);
	ret = c->hmm ? call_hmm(c, back) : call_dmirror(c, back);
	c->error = c->error ?: ret;
	return 0;
}

/* What both were told is added up in @sum. */
static int take_turns(const struct dm *dm, bool hmm, char *mem, struct caller *sum)
{
	struct dm_worker workers[CALLERS] = { 0 };
	struct caller callers[CALLERS] = { 0 };
	pthread_barrier_t turn;
	unsigned int i;

	pthread_barrier_init(&turn, NULL, CALLERS);
	for (i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller) {
			.turn = &turn,
			.fd = hmm ? hmm_open(dm->device) :
				    dm_open_number(dm->device),
			.hmm = hmm,
			.mem = mem,
			.len = dm->len,
			.buf = malloc(dm->len),
		};
		workers[i].step = take_turn;
		workers[i].arg = &callers[i];
		workers[i].limit = 2 * dm_rounds(24);
		if (callers[i].fd < 0 || !callers[i].buf ||
		    dm_worker_start(&workers[i]))
			return -ENOMEM;
	}
	for (i = 0; i < CALLERS; i++) {
		pthread_join(workers[i].thread, NULL);
		sum->to_device += callers[i].to_device;
		sum->to_system += callers[i].to_system;
		sum->error = sum->error ?: callers[i].error;
		free(callers[i].buf);
		close(callers[i].fd);
	}
	return sum->error;
}

/*
 * What they are told adds up to what the device has counted. Nothing else brings any of
 * it back. And what has arrived there they leave alone, so that none of it is lost
 * before a second try; but on an interconnect mm collects it again.
 */
TEST_F_TIMEOUT(state, one_device, 60)
{
	const unsigned int devices[] = { self->dm.device, self->dm.device };
	struct dm dm = to_be_shared(&self->dm);
	struct counted before, c;
	char *mem = dm_alloc(&dm, dm.len, SEED);
	unsigned int hmm;

	ASSERT_NE(NULL, mem);
	for (hmm = 0; hmm < 2; hmm++) {
		struct caller sum = { 0 };

		ASSERT_EQ(0, dm_to_device_settled(self->fd, mem, dm.len));
		before = (struct counted) { 0 };
		before = counted_since(devices, &before);
		ASSERT_EQ(0, take_turns(&dm, hmm, mem, &sum));
		c = counted_since(devices, &before);
		EXPECT_TRUE(adds_up(&c));
		EXPECT_LT(0, c.to_device);
		EXPECT_LT(0, c.to_system);
		/* A huge page is one of cpages, and so less than it has. */
		EXPECT_LE(sum.to_system, c.to_system);
		if (!hmm || !dm_large(&dm))
			EXPECT_EQ(sum.to_system, c.to_system);
		EXPECT_LE(sum.to_device, c.to_device);
		if (!hmm && !dm_linked())
			EXPECT_EQ(sum.to_device, c.to_device);
		EXPECT_EQ(0, dm_stuck(self->fd, mem, dm.len));
	}
	EXPECT_EQ(0, dm_bad(mem, dm.len, SEED));
	munmap(mem, dm.len);
}

/*
 * After the storms, in the order of these: a test of what was calm tests nothing. What
 * ksmd and khugepaged get done in the time is not for a test to say.
 */
FIXTURE(after) {
};

FIXTURE_SETUP(after) {
}

FIXTURE_TEARDOWN(after) {
}

TEST_F(after, storms_have_weather)
{
	if (!sky->storms)
		SKIP(return, "there was no storm");
	EXPECT_LT(0, sky->vmstat[COMPACT_ISOLATED]);
	EXPECT_LT(0, sky->vmstat[PGMIGRATE_SUCCESS]);
	if (sky->without_swap)
		SKIP(return, "nothing could be swapped");
	EXPECT_LT(0, sky->vmstat[PSWPOUT]);
}

/* Runs when the tests have been registered, as it is behind them. */
static void __attribute__((constructor)) set_up(void)
{
	storm_set_limits(__fixture_list);
	sky = (void *)dm_shared();
}

TEST_HARNESS_MAIN
